#include "frontend/tied_sizes.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "frontend/tied_calls.h"

namespace taper::exported {
namespace {

using Replacements = std::map<std::string, Dim, std::less<>>;
using Symbols = std::map<std::string, SymbolRange, std::less<>>;

constexpr int kMostRounds = 64;

// `dim` with factors replaced, also functions, by their names.
Dim with_factors(const Dim& dim, const Replacements& factors) {
  Dim sum;
  for (const Dim::Term& term : dim.terms()) {
    Dim product = term.coefficient;
    for (const std::string& symbol : term.symbols) {
      const auto found = factors.find(symbol);
      product = product * (found == factors.end() ? Dim::symbol(symbol) : found->second);
    }
    sum = sum + product;
  }
  return sum;
}

// What guards say of quotients of quotients: floor_div(T, floor_div(T, 2)) is 2.
Replacements known_quotients(const std::vector<Dim>& zeros) {
  Replacements known;
  for (const Dim& zero : zeros) {
    const auto terms = zero.terms();
    for (const Dim::Term& term : terms) {
      if (term.symbols.size() != 1 || std::abs(term.coefficient) != 1) continue;
      const std::string& factor = term.symbols[0];
      const auto function = dim_function(factor);
      if (!function || function->name != "floor_div" || function->b.constant()) continue;
      const Dim rest = zero - Dim(term.coefficient) * Dim::symbol(factor);
      const bool again = std::ranges::any_of(rest.terms(), [&](const Dim::Term& other) {
        return std::ranges::find(other.symbols, factor) != other.symbols.end();
      });
      if (!again) known.emplace(factor, rest * Dim(-term.coefficient));
    }
  }
  return known;
}

// Whether no sizes make it 0: all terms have one sign.
bool is_never_zero(const Dim& sum) {
  const auto terms = sum.terms();
  return !terms.empty() && std::ranges::all_of(terms, [&](const Dim::Term& term) {
    const auto is_function = [](const std::string& symbol) { return symbol.ends_with(')'); };
    return (term.coefficient > 0) == (terms[0].coefficient > 0) && std::ranges::none_of(term.symbols, is_function);
  });
}

constexpr std::int64_t kMostChoices = 1024;
constexpr std::int64_t kMostTries = 1 << 15;  // of all zeros

// The symbols of quotients by numbers, each with the least common multiple of those numbers. Nothing: too large ones.
std::map<std::string, std::int64_t> divisors_in(const Dim& zero) {
  std::map<std::string, std::int64_t> divisors;
  std::int64_t choices = 1;
  for (const Dim::Term& term : zero.terms())
    for (const std::string& factor : term.symbols) {
      const auto function = dim_function(factor);
      const auto divisor = function && function->name == "floor_div" ? function->b.constant() : std::nullopt;
      if (!divisor) continue;
      if (*divisor < 1 || *divisor > kMostChoices) return {};
      for (const std::string& symbol : symbols_of(function->a)) {
        std::int64_t& common = divisors.emplace(symbol, 1).first->second;
        choices /= common;
        common = std::lcm(common, *divisor);
        if (choices > kMostChoices || common > kMostChoices || choices * common > kMostChoices) return {};
        choices *= common;
      }
    }
  return divisors;
}

// Where a zero holds floor_div(T + c, n), it is tried with T = n q + r for all rests r, which leaves no quotients.
struct Kinds {
  using Rests = std::vector<std::int64_t>;           // of each symbol
  std::map<std::string, std::int64_t> divisors;      // n of each symbol
  std::vector<Rests> always;                         // for which it is 0
  std::vector<std::pair<Rests, std::int64_t>> once;  // for which it is 0 with one q alone, where there is one symbol
  std::vector<Rests> tied;                           // for which it is 0 where the q of several symbols say so
  bool complete = false;                             // whether it is 0 for no others
};

// The q with which a q + b is 0, if the sum has that form; negative: none has.
std::optional<std::int64_t> root_of(const Dim& sum) {
  const auto terms = sum.terms();
  if (terms.empty() || terms.size() > 2 || terms.back().symbols.size() != 1) return std::nullopt;
  if (terms.back().symbols[0].ends_with(')') || (terms.size() == 2 && !terms[0].symbols.empty())) return std::nullopt;
  const std::int64_t a = terms.back().coefficient, b = terms.size() == 2 ? terms[0].coefficient : 0;
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  if (a > kMost || a < -kMost || b > kMost || b < -kMost) return std::nullopt;
  return b % a == 0 ? -b / a : -1;
}

Kinds kinds_of(const Dim& zero, std::int64_t& tries) {
  Kinds kinds{divisors_in(zero), {}, {}, {}, false};
  std::int64_t choices = 1;
  for (const auto& [symbol, divisor] : kinds.divisors) choices *= divisor;
  if (kinds.divisors.empty() || choices > tries) return {};
  kinds.complete = true;
  for (std::int64_t choice = 0; choice < choices; ++choice, --tries) {
    Replacements sizes;
    Kinds::Rests rests;
    std::int64_t left = choice;
    for (const auto& [symbol, divisor] : kinds.divisors) {
      rests.push_back(left % divisor);
      left /= divisor;
      sizes[symbol] = Dim(divisor) * Dim::symbol(symbol) + Dim(rests.back());
    }
    const Dim sum = substitute(zero, sizes);
    if (sum.is(0)) {
      kinds.always.push_back(std::move(rests));
    } else if (sum.overflowed()) {
      return {};
    } else if (const auto root = rests.size() == 1 ? root_of(sum) : std::nullopt) {
      if (*root >= 0) kinds.once.emplace_back(std::move(rests), *root);
    } else if (!is_never_zero(sum)) {
      kinds.complete = false;
      if (!has_quotients(sum)) kinds.tied.push_back(std::move(rests));
    }
  }
  return kinds;
}

// T = parts q + rest.
struct Multiple {
  std::int64_t parts, rest;
};

// Rests r of T by n, of all from 0 to n - 1, that are those of T = m q + r0.
std::optional<Multiple> common_rest(const std::set<std::int64_t>& rests, std::int64_t n) {
  const auto count = static_cast<std::int64_t>(rests.size());
  if (count == 0 || n % count != 0) return std::nullopt;
  const std::int64_t parts = n / count, first = *rests.begin();
  std::int64_t expected = first;
  for (const std::int64_t rest : rests) {
    if (rest != expected) return std::nullopt;
    expected += parts;
  }
  return Multiple{parts, first};
}

// Whether no number in it is beyond what sizes are made of.
bool is_modest(const Dim& size) {
  constexpr std::int64_t kMost = 1 << 20;
  return !size.overflowed() &&
         std::ranges::all_of(size.terms(), [](const Dim::Term& term) { return term.coefficient <= kMost; });
}

// Without a number or symbols that all terms have: no size is 0.
Dim reduced(const Dim& zero) {
  const auto terms = zero.terms();
  if (zero.overflowed() || terms.empty()) return zero;
  std::int64_t number = 0;
  std::vector<std::string> symbols = terms[0].symbols;
  std::erase_if(symbols, [](const std::string& symbol) { return symbol.ends_with(')'); });
  for (const Dim::Term& term : terms) {
    if (term.coefficient == std::numeric_limits<std::int64_t>::min()) return zero;
    number = std::gcd(number, term.coefficient);
    std::vector<std::string> both;
    std::ranges::set_intersection(symbols, term.symbols, std::back_inserter(both));
    symbols = std::move(both);
  }
  Dim common = number;
  for (const std::string& symbol : symbols) common = common * Dim::symbol(symbol);
  return divide_exactly(zero, common).value_or(zero);
}

class Solver {
 public:
  Solver(std::vector<Dim> zeros, Symbols symbols, std::vector<std::string> order)
      : zeros_(std::move(zeros)), order_(std::move(order)) {
    found_.symbols = std::move(symbols);
    for (const auto& [symbol, range] : found_.symbols) first_.push_back(symbol);
    tidy();
    const Bindings usual = usual_sizes();
    knows_usual_ = std::ranges::all_of(zeros_, [&](const Dim& zero) { return zero.evaluate(usual).value_or(1) == 0; });
  }

  // Every step leaves fewer zeros, fewer symbols, or larger multiples, which are bounded.
  Expected<TiedSizes> run(TieChoice choice) {
    for (int round = 0; round < kMostRounds; ++round) {
      bool changed = false;
      for (const TieChoice each : {TieChoice::none, TieChoice::kind, TieChoice::number})
        if (each <= choice && !changed) {
          TAPER_ASSIGN(changed, step(each));
        }
      if (!changed) break;
    }
    found_.open = !zeros_.empty();
    for (const std::string& symbol : first_)
      if (const auto size = found_.sizes.find(symbol); size != found_.sizes.end())
        found_.notes.push_back(fmt::format("the size '{}' is {}: {}", symbol, size->second.text(),
                                           chosen_.contains(symbol)
                                               ? "the program takes others, which these files are not made for"
                                               : "the program takes no others"));
    for (const std::string& symbol : bounded_)
      if (const auto range = found_.symbols.find(symbol); range != found_.symbols.end())
        found_.notes.push_back(
            fmt::format("the size '{}' lies between {} and {}: the export froze what follows from it", symbol,
                        range->second.least, range->second.most));
    return std::move(found_);
  }

 private:
  // ---- zeros

  // The simple ones first.
  void tidy() {
    std::map<std::pair<std::size_t, std::string>, Dim> sorted;
    const Replacements known = known_quotients(zeros_);
    for (const Dim& zero : zeros_) {
      Dim simple = zero;
      if (!known.empty()) {
        const Dim other = with_factors(zero, known);
        // A zero that says what a quotient is is gone with it.
        if (!other.overflowed() && !other.is(0)) simple = other;
      }
      simple = reduced(simple);
      if (simple.overflowed() || simple.constant()) continue;
      if (simple.terms().back().coefficient < 0) simple = simple * Dim(-1);
      std::string text = simple.text();
      sorted.emplace(std::pair(text.size(), std::move(text)), std::move(simple));
    }
    zeros_.clear();
    for (auto& [text, zero] : sorted) zeros_.push_back(std::move(zero));
  }

  // Whether it found something.
  Expected<bool> step(TieChoice choice) {
    if (choice != TieChoice::number)
      for (const Dim& zero : zeros_) {
        TAPER_ASSIGN(const bool solved, solve(zero, choice == TieChoice::kind));
        if (solved) return true;
      }
    for (const Dim& zero : zeros_) {
      const std::string key = zero.text();
      auto known = kinds_.find(key);
      if (known == kinds_.end()) known = kinds_.emplace(key, kinds_of(zero, tries_)).first;
      TAPER_ASSIGN(const bool changed, choice == TieChoice::none   ? divide(known->second)
                                       : choice == TieChoice::kind ? choose_kind(known->second)
                                                                   : choose_number(known->second));
      if (changed) return true;
    }
    return false;
  }

  Bindings usual_sizes() const {
    Bindings usual;
    for (const auto& [symbol, range] : found_.symbols) usual[symbol] = range.usual;
    return usual;
  }

  bool is_size(const std::string& symbol) const { return found_.symbols.contains(symbol); }

  // ---- equal sizes

  Expected<bool> solve(Dim zero, bool choose) {
    if (choose) {
      const auto inside = equal_insides(zero);
      return inside ? solve(*inside, true, zero) : Expected<bool>(false);
    }
    return solve(zero, false, zero);
  }

  // A - B of floor_div(A, n) - floor_div(B, n), if the program had sizes that were equal.
  std::optional<Dim> equal_insides(const Dim& zero) const {
    const auto terms = zero.terms();
    if (terms.size() != 2 || terms[0].coefficient != -terms[1].coefficient) return std::nullopt;
    if (terms[0].symbols.size() != 1 || terms[1].symbols.size() != 1) return std::nullopt;
    const auto a = dim_function(terms[0].symbols[0]), b = dim_function(terms[1].symbols[0]);
    if (!a || !b || a->name != "floor_div" || b->name != "floor_div" || a->b != b->b) return std::nullopt;
    Dim difference = a->a - b->a;
    const auto value = difference.evaluate(usual_sizes());
    return value && *value == 0 ? std::optional(std::move(difference)) : std::nullopt;
  }

  Expected<bool> solve(const Dim& sum, bool chosen, const Dim& zero) {
    const auto terms = sum.terms();
    struct Candidate {
      int rank;  // of the form of the other side
      std::ptrdiff_t order;
      std::string symbol;
      Dim size;
    };
    std::optional<Candidate> best;
    for (const Dim::Term& term : terms) {
      if (term.symbols.size() != 1 || std::abs(term.coefficient) != 1 || !is_size(term.symbols[0])) continue;
      const std::string& symbol = term.symbols[0];
      const Dim size = (sum - Dim(term.coefficient) * Dim::symbol(symbol)) * Dim(-term.coefficient);
      const auto others = symbols_of(size);
      if (std::ranges::find(others, symbol) != others.end()) continue;
      if (!std::ranges::all_of(others, [&](const std::string& other) { return is_size(other); })) continue;
      const auto sides = size.terms();
      const bool plain = !std::ranges::any_of(sides, [](const Dim::Term& each) {
        return std::ranges::any_of(each.symbols, [](const std::string& factor) { return factor.ends_with(')'); });
      });
      const bool positive = std::ranges::all_of(sides, [](const Dim::Term& each) { return each.coefficient > 0; });
      if (!positive && others.size() != 1) continue;
      const Candidate one{(plain ? 0 : 2) + (positive ? 0 : 1), std::ranges::find(order_, symbol) - order_.begin(),
                          symbol, size};
      if (!best || one.rank < best->rank || (one.rank == best->rank && one.order > best->order)) best = one;
    }
    if (best) return replace({{best->symbol, best->size}}, chosen, zero);
    if (const auto root = only_root(sum)) return replace({{symbols_of(sum)[0], Dim(*root)}}, chosen, zero);
    return solve_for_both(sum, chosen, zero);
  }

  // The one size with which a sum is 0 that grows with it: 4 of T T - 16.
  std::optional<std::int64_t> only_root(const Dim& sum) const {
    const auto terms = sum.terms();
    const auto names = symbols_of(sum);
    if (names.size() != 1 || !is_size(names[0])) return std::nullopt;
    for (const Dim::Term& term : terms) {
      if (term.symbols.empty() != (term.coefficient < 0)) return std::nullopt;
      if (std::ranges::any_of(term.symbols, [](const std::string& factor) { return factor.ends_with(')'); }))
        return std::nullopt;
    }
    const std::int64_t root = first_with(sum, names[0], 0, std::int64_t{1} << 40, 0);
    const auto value = sum.evaluate({{names[0], root}});
    return value && *value == 0 ? std::optional(root) : std::nullopt;
  }

  // a S = b T + k has the solutions S = b' q + s, T = a' q + t.
  Expected<bool> solve_for_both(const Dim& sum, bool chosen, const Dim& zero) {
    const auto terms = sum.terms();
    if (terms.size() < 2 || terms.size() > 3 || (terms.size() == 3 && !terms[0].symbols.empty())) return false;
    const Dim::Term *first = &terms[terms.size() - 2], *second = &terms.back();
    for (const Dim::Term* term : {first, second})
      if (term->symbols.size() != 1 || !is_size(term->symbols[0])) return false;
    if (std::ranges::find(order_, second->symbols[0]) < std::ranges::find(order_, first->symbols[0]))
      std::swap(first, second);
    if ((first->coefficient > 0) == (second->coefficient > 0)) return false;
    const std::int64_t a = std::abs(first->coefficient), b = std::abs(second->coefficient);
    const std::int64_t k = terms.size() == 2        ? 0
                           : first->coefficient > 0 ? -terms[0].coefficient
                                                    : terms[0].coefficient;
    if (a > kMostChoices || b > kMostChoices || std::abs(k) > (1 << 20)) return false;
    const std::int64_t common = std::gcd(a, b), parts = b / common;
    for (std::int64_t s = 0; s < parts; ++s) {
      const std::int64_t rest = a * s - k;
      if (rest % b != 0) continue;
      const std::string& symbol = first->symbols[0];
      const Dim q = Dim::symbol(share_of(symbol, parts));
      Replacements both{{symbol, Dim(parts) * q + Dim(s)}, {second->symbols[0], Dim(a / common) * q + Dim(rest / b)}};
      return replace(both, chosen, zero);
    }
    return false;
  }

  // ---- multiples

  // T_over_6, also for a third of T_over_2.
  std::string share_of(const std::string& symbol, std::int64_t parts) {
    std::pair<std::string, std::int64_t> share{symbol, parts};
    if (const auto known = shares_.find(symbol); known != shares_.end())
      share = {known->second.first, known->second.second * parts};
    std::string name = fmt::format("{}_over_{}", share.first, share.second);
    while (is_size(name) || found_.sizes.contains(name)) name += "_";
    shares_[name] = std::move(share);
    return name;
  }

  Expected<bool> divide(const Kinds& kinds) {
    if (!kinds.complete) return false;
    if (kinds.always.empty()) return bound(kinds);
    if (!kinds.once.empty()) return false;
    std::size_t product = 1, i = 0;
    std::map<std::string, Multiple> multiples;
    for (const auto& [symbol, divisor] : kinds.divisors) {
      std::set<std::int64_t> rests;
      for (const auto& each : kinds.always) rests.insert(each[i]);
      const auto multiple = common_rest(rests, divisor);
      if (!multiple) return false;
      product *= rests.size();
      multiples.emplace(symbol, *multiple);
      ++i;
    }
    return product == kinds.always.size() ? multiply(multiples, false) : Expected<bool>(false);
  }

  // Those sizes alone, if they are all from the first to the last.
  Expected<bool> bound(const Kinds& kinds) {
    std::set<std::int64_t> sizes;
    const auto& [symbol, divisor] = *kinds.divisors.begin();
    for (const auto& [rests, q] : kinds.once) sizes.insert(divisor * q + rests[0]);
    if (sizes.empty() || !is_size(symbol)) return false;
    const std::int64_t least = *sizes.begin(), most = *sizes.rbegin();
    if (most - least + 1 != static_cast<std::int64_t>(sizes.size())) return false;
    if (least == most) return replace({{symbol, Dim(least)}}, false, Dim());
    SymbolRange& range = found_.symbols.at(symbol);
    if (range.least >= least && range.most <= most) return false;
    range = {std::max(range.least, least), std::min(range.most, most), range.usual};
    if (range.least > range.most)
      return fail("size {} lies between {} and {}: nothing does", symbol, range.least, range.most);
    range.usual = std::clamp(range.usual, range.least, range.most);
    if (range.least == range.most) return replace({{symbol, Dim(range.least)}}, false, Dim());
    bounded_.insert(symbol);
    return true;
  }

  // The kind of the sizes that the program had, as wide as it is.
  Expected<bool> choose_kind(const Kinds& kinds) {
    if (kinds.always.empty() && kinds.tied.empty()) return false;
    Kinds::Rests rests;
    for (const auto& [symbol, divisor] : kinds.divisors) {
      const auto range = found_.symbols.find(symbol);
      if (range == found_.symbols.end()) return false;
      rests.push_back(range->second.usual % divisor);
    }
    const auto holds = [](const std::vector<Kinds::Rests>& those, const Kinds::Rests& one) {
      return std::ranges::find(those, one) != those.end();
    };
    const bool usual = holds(kinds.always, rests) || holds(kinds.tied, rests);
    if (!usual && knows_usual_) return false;
    if (!usual) rests = kinds.always.empty() ? kinds.tied.front() : kinds.always.front();
    std::map<std::string, Multiple> multiples;
    std::size_t i = 0;
    for (const auto& [symbol, divisor] : kinds.divisors) multiples[symbol] = {divisor, rests[i++]};
    // Fewer parts, where the sizes between are of the same use.
    i = 0;
    for (const auto& [symbol, divisor] : kinds.divisors) {
      for (std::int64_t parts = 1; parts < divisor && holds(kinds.always, rests); ++parts) {
        if (divisor % parts != 0) continue;
        bool all = true;
        Kinds::Rests other = rests;
        for (other[i] = rests[i] % parts; all && other[i] < divisor; other[i] += parts)
          all = holds(kinds.always, other);
        if (!all) continue;
        multiples[symbol] = {parts, rests[i] % parts};
        break;
      }
      ++i;
      if (kinds.divisors.size() > 1) break;  // boxes of several sizes would have to be tried as such
    }
    return multiply(multiples, true);
  }

  // The size that the program had, of those for which a tie holds.
  Expected<bool> choose_number(const Kinds& kinds) {
    if (kinds.once.empty()) return false;
    const auto& [symbol, divisor] = *kinds.divisors.begin();
    const auto range = found_.symbols.find(symbol);
    if (range == found_.symbols.end()) return false;
    std::set<std::int64_t> sizes;
    for (const auto& [rests, q] : kinds.once) sizes.insert(divisor * q + rests[0]);
    const std::int64_t usual = range->second.usual;
    return replace({{symbol, Dim(sizes.contains(usual) ? usual : *sizes.begin())}}, true, Dim());
  }

  Expected<bool> multiply(const std::map<std::string, Multiple>& multiples, bool chosen) {
    Replacements one;
    for (const auto& [symbol, multiple] : multiples) {
      if (multiple.parts == 1) continue;
      if (!is_size(symbol)) return false;
      one[symbol] = Dim(multiple.parts) * Dim::symbol(share_of(symbol, multiple.parts)) + Dim(multiple.rest);
    }
    return one.empty() ? Expected<bool>(false) : replace(one, chosen, Dim());
  }

  // ---- what is found

  // The least value from `low` to `high` of a symbol with which a growing size is `wanted` or more; `high` if none is.
  static std::int64_t first_with(const Dim& size, const std::string& symbol, std::int64_t low, std::int64_t high,
                                 std::int64_t wanted) {
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (size.evaluate({{symbol, middle}}).value_or(SymbolRange::kOpen) >= wanted)
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }

  // What the range of a symbol says of the one that it is replaced by.
  Status narrow(const std::string& symbol, const Dim& size, const SymbolRange& range) {
    const auto names = symbols_of(size);
    const auto nothing = [&] {
      return fail("size {} = {} lies between {} and {}: nothing does", symbol, size.text(), range.least, range.most);
    };
    if (const auto number = size.constant(); number && (*number < range.least || *number > range.most))
      return nothing();
    if (names.size() != 1) return {};
    constexpr std::int64_t kMost = std::int64_t{1} << 40;
    const std::int64_t usual = first_with(size, names[0], 0, kMost, range.usual);
    SymbolRange& left = found_.symbols.emplace(names[0], SymbolRange{0, SymbolRange::kOpen, usual}).first->second;
    left.least = first_with(size, names[0], left.least, kMost, range.least);
    if (range.most < kMost) left.most = std::min(left.most, first_with(size, names[0], 0, kMost, range.most + 1) - 1);
    if (left.least >= kMost || left.least > left.most) return nothing();
    left.usual = std::clamp(left.usual, left.least, left.most);
    return {};
  }

  // False: it would make numbers larger than those of sizes.
  Expected<bool> replace(const Replacements& one, bool chosen, const Dim& zero) {
    Replacements together = found_.sizes;
    std::set<std::string> touched;
    for (auto& [symbol, size] : together) {
      const auto names = symbols_of(size);
      if (std::ranges::any_of(names, [&](const std::string& name) { return one.contains(name); }))
        touched.insert(symbol);
      size = substitute(size, one);
    }
    together.insert(one.begin(), one.end());
    if (!std::ranges::all_of(together, [](const auto& each) { return is_modest(each.second); })) return false;
    found_.sizes = std::move(together);
    for (const auto& [symbol, size] : one) {
      const auto names = symbols_of(size);
      const auto place = std::ranges::find(order_, symbol);
      if (names.size() == 1 && !is_size(names[0])) order_.insert(place, names[0]);
      const SymbolRange range = found_.symbols.at(symbol);
      found_.symbols.erase(symbol);
      TAPER_TRY(narrow(symbol, size, range));
      touched.insert(symbol);
    }
    if (chosen) chosen_.insert(touched.begin(), touched.end());
    std::erase(zeros_, zero);
    for (Dim& each : zeros_) each = substitute(each, one);
    tidy();
    return true;
  }

  std::vector<Dim> zeros_;
  std::vector<std::string> first_;                                                   // symbols of the program
  std::vector<std::string> order_;                                                   // as the inputs have them
  std::map<std::string, Kinds, std::less<>> kinds_;                                  // by the text of zeros
  std::map<std::string, std::pair<std::string, std::int64_t>, std::less<>> shares_;  // of which size, and how many
  std::set<std::string> chosen_, bounded_;
  bool knows_usual_ = false;  // whether the usual sizes are those that the program was made with
  std::int64_t tries_ = kMostTries;
  TiedSizes found_;
};

}  // namespace

Expected<TiedSizes> tied_sizes(const Program& program, const Replacements& replacements, Symbols symbols,
                               TieChoice choice) {
  std::vector<Dim> zeros = program.zeros;
  for (Dim& zero : zeros) {
    zero = substitute(zero, replacements);
    if (const auto number = zero.constant(); number && *number != 0)
      return fail("sizes are given that the program doesn't take: its guards don't hold for them");
  }
  for (const Dim& zero : ties_of_calls(program.graph)) zeros.push_back(substitute(zero, replacements));
  std::vector<std::string> order;
  for (const Input& input : program.inputs) {
    const auto* name = input.argument.as<ValueName>();
    if (name == nullptr || input.kind != InputKind::user) continue;
    const auto meta = program.graph.tensors.find(name->name);
    if (meta == program.graph.tensors.end()) continue;
    for (const Dim& size : meta->second.sizes)
      for (std::string& symbol : symbols_of(substitute(size, replacements)))
        if (std::ranges::find(order, symbol) == order.end()) order.push_back(std::move(symbol));
  }
  // Those that data decide are no sizes of inputs: nothing ties them.
  Symbols others;
  std::set<std::string> unknown;
  for (const std::string& symbol : order)
    if (symbols.emplace(symbol, SymbolRange{}).second) unknown.insert(symbol);
  std::erase_if(symbols, [&](const auto& each) {
    const bool other = std::ranges::find(order, each.first) == order.end();
    if (other) others.insert(each);
    return other;
  });
  TAPER_ASSIGN(TiedSizes found, Solver(std::move(zeros), std::move(symbols), std::move(order)).run(choice));
  for (const std::string& symbol : unknown) found.symbols.erase(symbol);
  found.symbols.merge(others);
  return found;
}

}  // namespace taper::exported
