#include "frontend/size_limits.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "formats/text.h"

namespace taper::exported {
namespace {

using Symbols = std::map<std::string, SymbolRange, std::less<>>;

using Span = SizeCondition::Span;

constexpr std::int64_t kOpen = SymbolRange::kOpen;
constexpr std::int64_t kLargest = 1 << 14;
constexpr std::int64_t kMostSteps = 20'000'000;  // of conditions, in all
constexpr std::size_t kMostTogether = 8;         // sizes of a condition
constexpr std::size_t kMostTried = 3;            // of which many are tried

// The export doesn't tell a size of 1 from 2: it says of none that it is 2 or more because of that.
std::int64_t first_looked_at(const SymbolRange& range) {
  return std::clamp<std::int64_t>(range.least, 1, 2);
}

class Limiter {
 public:
  explicit Limiter(Symbols symbols) : looked_at_(symbols) {
    for (auto& [symbol, range] : looked_at_)
      range = {std::min(range.least, first_looked_at(range)), kOpen, range.usual};
    found_.symbols = std::move(symbols);
  }

  // Guards that are not looked at.
  void leave_out(const std::string& first, std::size_t count) {
    if (left_out_ == 0) first_left_out_ = excerpt(first);
    left_out_ += count;
  }

  // What holds below a bound that another guard sets says nothing: a bound found makes for another round.
  SizeLimits run(const std::vector<SizeCondition>& conditions) {
    constexpr int kMostRounds = 4;
    bool narrowed = true;
    for (int round = 0; narrowed && round < kMostRounds; ++round) {
      narrowed = false;
      for (const SizeCondition& each : conditions)
        if (!is_tie(each) && steps_ <= kMostSteps)
          for (std::size_t i = 0; i < each.symbols().size(); ++i) narrowed = bound(each, i) || narrowed;
    }
    for (const std::string& symbol : bounded_) {
      const SymbolRange& range = found_.symbols.at(symbol);
      found_.notes.push_back(range_note(symbol, range));
    }
    tell_of_others(conditions);
    return std::move(found_);
  }

 private:
  static std::string range_note(const std::string& symbol, const SymbolRange& range) {
    const std::string limits = range.most == kOpen         ? fmt::format("is {} or more", range.least)
                               : range.least == range.most ? fmt::format("is {}", range.least)
                               : range.least <= 2          ? fmt::format("is at most {}", range.most)
                                                  : fmt::format("lies between {} and {}", range.least, range.most);
    return fmt::format("the size '{}' {}: the program takes no others", symbol, limits);
  }

  // What tied_sizes looks at: here it only tells where that didn't follow it.
  static bool is_tie(const SizeCondition& each) { return each.equal_sides().has_value(); }

  // As SizeCondition::holds(); nothing where there is no time left.
  std::optional<bool> holds(const SizeCondition& each, const std::vector<Span>& sizes) {
    if (steps_ > kMostSteps) return std::nullopt;
    steps_ += static_cast<std::int64_t>(each.length()) + 16;
    return each.holds(sizes);
  }

  static Span span_of(std::int64_t least, std::int64_t most) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return {static_cast<double>(least), most == kOpen ? kInfinity : static_cast<double>(most)};
  }

  // All sizes that the program is known to take.
  std::vector<Span> all_sizes(const SizeCondition& each, std::int64_t least) const {
    std::vector<Span> sizes;
    for (const std::string& symbol : each.symbols()) {
      const SymbolRange& range = found_.symbols.at(symbol);
      sizes.push_back(span_of(std::max(range.least, least), range.most));
    }
    return sizes;
  }

  // All small ones, some around the usual one, and ever fewer large ones.
  static std::vector<std::int64_t> sizes_between(std::int64_t least, std::int64_t most, std::int64_t usual,
                                                 std::int64_t dense) {
    std::set<std::int64_t> sizes;
    most = std::min(most, std::max(kLargest, usual));
    const auto add = [&](std::int64_t size) {
      if (size >= least && size <= most) sizes.insert(size);
    };
    for (std::int64_t i = 0; i < dense; ++i) add(least + i);
    for (std::int64_t i = -2; i <= 2; ++i) add(usual + i);
    for (std::int64_t size = least + dense; size < most; size += size / 2 + 1) add(size);
    for (std::int64_t power = 1; power < most; power *= 2) add(power);
    add(most);
    return {sizes.begin(), sizes.end()};
  }

  // Narrows the range of a symbol by what is proven: that the condition holds for none of the sizes below or beyond,
  // whatever the others are. Whether it did. Sizes that are tried prove nothing of those between.
  bool bound(const SizeCondition& each, std::size_t at) {
    constexpr std::int64_t kMost = std::int64_t{1} << 40;
    const std::string& symbol = each.symbols()[at];
    SymbolRange& range = looked_at_.at(symbol);
    const std::int64_t usual = range.usual;
    if (usual < range.least || usual > range.most || usual >= kMost) return false;
    std::vector<Span> sizes = all_sizes(each, 0);
    const auto none = [&](std::int64_t first, std::int64_t last) {
      sizes[at] = span_of(first, last);
      return holds(each, sizes) == false;
    };
    if (none(usual, usual)) return false;
    const SymbolRange before = range;
    range.least = least_of(none, before.least, usual);
    range.most = std::min(before.most, most_of(none, usual, std::min(before.most, kMost)));
    if (range.least == before.least && range.most == before.most) return false;
    SymbolRange& told = found_.symbols.at(symbol);
    if (range.least != before.least) told.least = std::max(told.least, range.least);
    told.most = std::min(told.most, range.most);
    if (told.least > 2 || told.most != kOpen) bounded_.insert(symbol);
    return true;
  }

  static constexpr int kOneByOne = 256;

  // The first size for which it isn't known that there is `none`.
  static std::int64_t least_of(const auto& none, std::int64_t least, std::int64_t usual) {
    std::int64_t past = usual, below = least - 1;
    while (past - below > 1) {
      const std::int64_t middle = below + (past - below) / 2;
      (none(least, middle) ? below : past) = middle;
    }
    for (int i = 0; i < kOneByOne && past < usual && none(past, past); ++i) ++past;
    return past;
  }

  // The last one; kOpen: of those beyond `limit` it isn't known.
  static std::int64_t most_of(const auto& none, std::int64_t usual, std::int64_t limit) {
    if (limit <= usual || !none(limit, kOpen)) return kOpen;
    std::int64_t most = usual, beyond = limit;
    while (beyond - most > 1) {
      const std::int64_t middle = most + (beyond - most) / 2;
      (none(middle, kOpen) ? beyond : most) = middle;
    }
    for (int i = 0; i < kOneByOne && most > usual && none(most, most); ++i) --most;
    return most;
  }

  // ---- what no range says

  // Sizes in their ranges for which it doesn't hold.
  std::optional<std::vector<std::int64_t>> exception_to(const SizeCondition& each) {
    constexpr std::array<std::int64_t, kMostTried> kDense = {256, 24, 6};
    const std::size_t count = each.symbols().size();
    if (holds(each, all_sizes(each, 1)) == true) return std::nullopt;
    if (count > kMostTried) {
      leave_out(each.text(), 1);
      return std::nullopt;
    }
    std::vector<std::vector<std::int64_t>> sizes;
    for (const std::string& symbol : each.symbols()) {
      const SymbolRange& range = found_.symbols.at(symbol);
      sizes.push_back(sizes_between(std::max<std::int64_t>(range.least, 1), range.most, range.usual,
                                    count == 0 ? 0 : kDense[count - 1]));
      if (sizes.back().empty()) return std::nullopt;
    }
    std::vector<std::size_t> at(count);
    std::vector<std::int64_t> chosen(count);
    std::vector<Span> spans(count);
    while (steps_ <= kMostSteps) {
      for (std::size_t i = 0; i < count; ++i) {
        chosen[i] = sizes[i][at[i]];
        spans[i] = span_of(chosen[i], chosen[i]);
      }
      if (holds(each, spans) == false) return chosen;
      std::size_t i = 0;
      while (i < count && ++at[i] == sizes[i].size()) at[i++] = 0;
      if (i == count) return std::nullopt;
    }
    return std::nullopt;
  }

  void tell_of_others(const std::vector<SizeCondition>& conditions) {
    constexpr std::size_t kMostTold = 3, kLongestTold = 120;
    std::size_t count = 0;
    for (const SizeCondition& each : conditions) {
      const auto exception = exception_to(each);
      if (!exception || ++count > kMostTold) continue;
      std::map<std::string, std::int64_t> sizes;
      for (std::size_t i = 0; i < exception->size(); ++i) sizes[each.symbols()[i]] = (*exception)[i];
      std::string list;
      for (const auto& [symbol, size] : sizes)
        list += fmt::format("{}{} = {}", list.empty() ? "" : ", ", excerpt(symbol), size);
      const std::string& text = each.text();
      found_.notes.push_back(
          fmt::format("the program does not take all sizes: one of its guards{} does not hold for {}",
                      text.size() > kLongestTold ? "" : fmt::format(" ({})", text),
                      list.empty() ? "the sizes that are given" : list));
    }
    if (count > kMostTold)
      found_.notes.push_back(fmt::format("{} more guards of the program don't hold for all sizes", count - kMostTold));
    if (steps_ > kMostSteps)
      found_.notes.push_back("the program has too many guards to look at all sizes that they speak of");
    if (left_out_ > 0)
      found_.notes.push_back(
          fmt::format("{} on its sizes {} not read ({}{}): it may refuse sizes that the files take",
                      left_out_ == 1 ? "a guard of the program" : fmt::format("{} guards of the program", left_out_),
                      left_out_ == 1 ? "is" : "are", left_out_ == 1 ? "" : "the first: ", first_left_out_));
  }

  SizeLimits found_;
  Symbols looked_at_;  // which reach beyond the ranges that the program tells
  std::set<std::string> bounded_;
  std::int64_t steps_ = 0;
  std::size_t left_out_ = 0;
  std::string first_left_out_;
};

// The condition by the sizes in files. Nothing: it speaks of too many, or of what is no size of an input.
std::optional<SizeCondition> by_sizes(const SizeCondition& condition,
                                      const std::map<std::string, Dim, std::less<>>& replacements,
                                      const Symbols& symbols) {
  if (condition.symbols().size() > kMostTogether) return std::nullopt;
  std::vector<std::string> sizes;
  for (const std::string& symbol : condition.symbols()) {
    const auto replaced = replacements.find(symbol);
    sizes.push_back(replaced == replacements.end() ? symbol : "(" + replaced->second.text() + ")");
  }
  auto of_sizes = condition.with(sizes);
  if (!of_sizes || of_sizes->symbols().size() > kMostTogether) return std::nullopt;
  if (!std::ranges::all_of(of_sizes->symbols(), [&](const std::string& name) { return symbols.contains(name); }))
    return std::nullopt;
  return of_sizes;
}

}  // namespace

SizeLimits size_limits(const Program& program, const std::map<std::string, Dim, std::less<>>& replacements,
                       Symbols symbols) {
  std::vector<SizeCondition> conditions;
  Limiter limiter(symbols);
  limiter.leave_out(program.unread_guard, program.unread_guards);
  for (const SizeCondition& condition : program.conditions) {
    if (auto each = by_sizes(condition, replacements, symbols))
      conditions.push_back(std::move(*each));
    else if (!condition.equal_sides())
      limiter.leave_out(condition.text(), 1);
  }
  std::ranges::stable_sort(conditions, {}, &SizeCondition::length);
  return limiter.run(conditions);
}

}  // namespace taper::exported
