#include "frontend/size_limits.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>

namespace taper::exported {
namespace {

using Symbols = std::map<std::string, SymbolRange, std::less<>>;

constexpr std::int64_t kLargest = 1 << 14;
constexpr std::int64_t kMostSteps = 20'000'000;  // of conditions, in all

// One condition by the sizes that are left.
struct Condition {
  const SizeCondition* condition;
  std::vector<Dim> sizes;            // of its own symbols
  std::vector<std::string> symbols;  // that these hold
};

// The export doesn't tell a size of 1 from 2: it says of none that it is 2 or more because of that.
std::int64_t first_looked_at(const SymbolRange& range) {
  return std::clamp<std::int64_t>(range.least, 1, 2);
}

class Limiter {
 public:
  explicit Limiter(Symbols symbols) : looked_at_(symbols) {
    for (auto& [symbol, range] : looked_at_) range = {first_looked_at(range), kOpen, range.usual};
    found_.symbols = std::move(symbols);
  }

  // What holds below a bound that another guard sets says nothing: a bound found makes for another round.
  SizeLimits run(const std::vector<Condition>& conditions) {
    constexpr int kMostRounds = 4;
    bool narrowed = true;
    for (int round = 0; narrowed && round < kMostRounds; ++round) {
      narrowed = false;
      for (const Condition& each : conditions)
        if (!is_tie(each))
          for (const std::string& symbol : each.symbols) narrowed = bound(each, symbol) || narrowed;
    }
    for (const std::string& symbol : bounded_) {
      const SymbolRange& range = found_.symbols.at(symbol);
      found_.notes.push_back(range_note(symbol, range));
    }
    tell_of_others(conditions);
    return std::move(found_);
  }

 private:
  static constexpr std::int64_t kOpen = std::numeric_limits<std::int64_t>::max();

  static std::string range_note(const std::string& symbol, const SymbolRange& range) {
    const std::string limits = range.most == kOpen         ? fmt::format("is {} or more", range.least)
                               : range.least == range.most ? fmt::format("is {}", range.least)
                               : range.least <= 2          ? fmt::format("is at most {}", range.most)
                                                  : fmt::format("lies between {} and {}", range.least, range.most);
    return fmt::format("the size '{}' {}: the program takes no others", symbol, limits);
  }

  // What tied_sizes looks at: here it only tells where that didn't follow it.
  static bool is_tie(const Condition& each) { return each.condition->text().find("==") != std::string::npos; }

  // Whether it holds; also where that isn't known.
  bool holds(const Condition& each, const Bindings& bindings) {
    if (steps_ > kMostSteps) return true;
    steps_ += static_cast<std::int64_t>(each.condition->length()) + 16;
    std::vector<std::int64_t> sizes;
    for (const Dim& size : each.sizes) {
      const auto value = size.evaluate(bindings);
      if (!value) return true;
      sizes.push_back(*value);
    }
    return each.condition->holds(sizes).value_or(true);
  }

  Bindings usual_sizes(const Condition& each) const {
    Bindings usual;
    for (const std::string& symbol : each.symbols) usual[symbol] = found_.symbols.at(symbol).usual;
    return usual;
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

  // Whether it holds with some of the other sizes.
  bool holds_with(const Condition& each, const std::string& symbol, std::int64_t size) {
    Bindings bindings = usual_sizes(each);
    bindings[symbol] = size;
    return holds_with(each, symbol, bindings, 0);
  }

  bool holds_with(const Condition& each, const std::string& symbol, Bindings& bindings, std::size_t at) {
    while (at < each.symbols.size() && each.symbols[at] == symbol) ++at;
    if (at == each.symbols.size()) return holds(each, bindings);
    const std::string& other = each.symbols[at];
    const SymbolRange& range = looked_at_.at(other);
    std::set<std::int64_t> few = {range.usual, range.least};
    for (const std::int64_t size : {17, 255, 1 << 20}) few.insert(std::min<std::int64_t>(range.most, size));
    const bool any = std::ranges::any_of(few, [&](std::int64_t size) {
      bindings[other] = size;
      return holds_with(each, symbol, bindings, at + 1);
    });
    bindings[other] = range.usual;
    return any;
  }

  // Narrows the range where the condition holds for none of the sizes below or beyond one. Whether it did.
  bool bound(const Condition& each, const std::string& symbol) {
    SymbolRange& range = looked_at_.at(symbol);
    const std::int64_t dense = each.condition->length() > 64 ? 16 : 64;
    const std::vector<std::int64_t> sizes = sizes_between(range.least, range.most, range.usual, dense);
    const auto usual = std::ranges::find(sizes, range.usual);
    if (usual == sizes.end() || !holds_with(each, symbol, range.usual)) return false;
    std::vector<bool> fits;
    for (const std::int64_t size : sizes) fits.push_back(holds_with(each, symbol, size));
    // Those that don't fit reach from an end up to one that does.
    const auto at = static_cast<std::size_t>(usual - sizes.begin());
    std::size_t first = 0, last = sizes.size() - 1;
    while (first < at && !fits[first]) ++first;
    while (last > at && !fits[last]) --last;
    const SymbolRange before = range;
    if (first > 0) range.least = boundary(each, symbol, sizes[first], sizes[first - 1]);
    if (last + 1 < sizes.size()) range.most = boundary(each, symbol, sizes[last], sizes[last + 1]);
    if (range.least == before.least && range.most == before.most) return false;
    SymbolRange& told = found_.symbols.at(symbol);
    if (range.least != before.least) told.least = std::max(told.least, range.least);
    told.most = std::min(told.most, range.most);
    if (told.least > 2 || told.most != kOpen) bounded_.insert(symbol);
    return true;
  }

  // Of the sizes from one that fits to one that doesn't, the last one that fits.
  std::int64_t boundary(const Condition& each, const std::string& symbol, std::int64_t fitting, std::int64_t other) {
    while (std::abs(fitting - other) > 1) {
      const std::int64_t middle = fitting + (other - fitting) / 2;
      (holds_with(each, symbol, middle) ? fitting : other) = middle;
    }
    return fitting;
  }

  // ---- what no range says

  // Sizes in their ranges for which it doesn't hold.
  std::optional<Bindings> exception_to(const Condition& each) {
    constexpr std::size_t kMostTogether = 3;
    if (each.symbols.size() > kMostTogether) return std::nullopt;
    constexpr std::array<std::int64_t, kMostTogether> kDense = {256, 24, 6};
    std::vector<std::vector<std::int64_t>> sizes;
    for (const std::string& symbol : each.symbols) {
      const SymbolRange& range = found_.symbols.at(symbol);
      sizes.push_back(sizes_between(std::max<std::int64_t>(range.least, 1), range.most, range.usual,
                                    kDense[each.symbols.size() - 1]));
    }
    Bindings bindings;
    std::vector<std::size_t> at(sizes.size());
    while (true) {
      for (std::size_t i = 0; i < at.size(); ++i) bindings[each.symbols[i]] = sizes[i][at[i]];
      if (!holds(each, bindings)) return bindings;
      std::size_t i = 0;
      while (i < at.size() && ++at[i] == sizes[i].size()) at[i++] = 0;
      if (i == at.size()) return std::nullopt;
    }
  }

  void tell_of_others(const std::vector<Condition>& conditions) {
    constexpr std::size_t kMostTold = 3, kLongestTold = 120;
    std::size_t count = 0;
    for (const Condition& each : conditions) {
      const auto exception = exception_to(each);
      if (!exception || ++count > kMostTold) continue;
      std::string sizes;
      for (const auto& [symbol, size] : *exception)
        sizes += fmt::format("{}{} = {}", sizes.empty() ? "" : ", ", symbol, size);
      const std::string& text = each.condition->text();
      found_.notes.push_back(
          fmt::format("the program does not take all sizes: one of its guards{} does not hold for {}",
                      text.size() > kLongestTold ? "" : fmt::format(" ({})", text),
                      sizes.empty() ? "the sizes that are given" : sizes));
    }
    if (count > kMostTold)
      found_.notes.push_back(fmt::format("{} more guards of the program don't hold for all sizes", count - kMostTold));
    if (steps_ > kMostSteps)
      found_.notes.push_back("the program has too many guards to look at all sizes that they speak of");
  }

  SizeLimits found_;
  Symbols looked_at_;  // which reach beyond the ranges that the program tells
  std::set<std::string> bounded_;
  std::int64_t steps_ = 0;
};

}  // namespace

SizeLimits size_limits(const Program& program, const std::map<std::string, Dim, std::less<>>& replacements,
                       Symbols symbols) {
  std::vector<Condition> conditions;
  for (const SizeCondition& condition : program.conditions) {
    Condition each{&condition, {}, {}};
    std::set<std::string> names;
    for (const std::string& symbol : condition.symbols()) {
      const auto replaced = replacements.find(symbol);
      each.sizes.push_back(replaced == replacements.end() ? Dim::symbol(symbol) : replaced->second);
      for (std::string& name : symbols_of(each.sizes.back())) names.insert(std::move(name));
    }
    each.symbols.assign(names.begin(), names.end());
    if (std::ranges::all_of(names, [&](const std::string& name) { return symbols.contains(name); }))
      conditions.push_back(std::move(each));
  }
  std::ranges::stable_sort(conditions, {}, [](const Condition& each) { return each.condition->length(); });
  return Limiter(std::move(symbols)).run(conditions);
}

}  // namespace taper::exported
