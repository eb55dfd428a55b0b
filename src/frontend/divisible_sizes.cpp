#include "frontend/divisible_sizes.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace taper::exported {
namespace {

using Replacements = std::map<std::string, Dim, std::less<>>;

constexpr std::size_t kMostZeros = 2048;
constexpr int kMostRounds = 16;

constexpr std::array<std::string_view, 6> kKeepingCounts = {
    "torch.ops.aten.view.default",      "torch.ops.aten.reshape.default",         "torch.ops.aten._unsafe_view.default",
    "torch.ops.aten.view_copy.default", "torch.ops.aten.pixel_unshuffle.default", "torch.ops.aten.unflatten.int",
};

bool has_quotients(const Dim& size) {
  return std::ranges::any_of(size.terms(), [](const Dim::Term& term) {
    return std::ranges::any_of(term.symbols,
                               [](const std::string& factor) { return factor.starts_with("floor_div("); });
  });
}

// The sizes that a call names, by the program's symbols. Nothing: one is left to the operator, or unknown.
std::optional<Dim> named_count(const Graph& graph, const Node& node) {
  const auto* list = node.inputs.size() != 2 ? nullptr : node.inputs[1].value.as<Argument::List>();
  if (list == nullptr) return std::nullopt;
  Dim count = 1;
  for (const Argument& argument : *list) {
    const auto* number = argument.as<std::int64_t>();
    const auto* name = argument.as<ValueName>();
    const auto symbolic = name == nullptr ? graph.integers.end() : graph.integers.find(name->name);
    if (number == nullptr ? symbolic == graph.integers.end() : *number < 0) return std::nullopt;
    count = count * (number != nullptr ? Dim(*number) : symbolic->second);
  }
  return count;
}

std::vector<Dim> zeros_of_reshapes(const Graph& graph) {
  std::vector<Dim> zeros;
  const auto meta_of = [&](const Argument& argument) {
    const auto* name = argument.as<ValueName>();
    return name == nullptr ? graph.tensors.end() : graph.tensors.find(name->name);
  };
  for (const Node& node : graph.nodes) {
    if (std::ranges::find(kKeepingCounts, node.target) == kKeepingCounts.end()) continue;
    if (node.inputs.empty() || node.outputs.size() != 1 || zeros.size() >= kMostZeros) continue;
    const auto from = meta_of(node.inputs[0].value), to = meta_of(node.outputs[0]);
    if (from == graph.tensors.end() || to == graph.tensors.end()) continue;
    const Dim before = element_count(from->second.sizes);
    for (const auto& after : {std::optional(element_count(to->second.sizes)), named_count(graph, node)}) {
      const Dim difference = after ? before - *after : Dim();
      if (!difference.overflowed() && has_quotients(difference)) zeros.push_back(difference);
    }
  }
  return zeros;
}

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

// What is left of a number of parts.
struct Multiple {
  std::string symbol;
  std::int64_t parts, rest;  // T = parts * q + rest
};

// Whether no sizes make it 0: all terms have one sign.
bool is_never_zero(const Dim& sum) {
  const auto terms = sum.terms();
  return !terms.empty() && std::ranges::all_of(terms, [&](const Dim::Term& term) {
    const auto is_function = [](const std::string& symbol) { return symbol.ends_with(')'); };
    return (term.coefficient > 0) == (terms[0].coefficient > 0) && std::ranges::none_of(term.symbols, is_function);
  });
}

constexpr std::int64_t kMostChoices = 1024;
constexpr std::int64_t kMostTries = 1 << 14;  // of all zeros

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

// Rests r of T by n, of all from 0 to n - 1, that are those of T = m q + r0.
std::optional<Multiple> common_rest(const std::string& symbol, const std::vector<std::int64_t>& rests, std::int64_t n) {
  const auto count = static_cast<std::int64_t>(rests.size());
  if (count == 0 || n % count != 0 || n == count) return std::nullopt;
  const std::int64_t parts = n / count;
  for (std::size_t i = 1; i < rests.size(); ++i)
    if (rests[i] != rests[i - 1] + parts) return std::nullopt;
  return Multiple{symbol, parts, rests[0]};
}

// Where a zero holds floor_div(T + c, n), it is tried with T = n q + r for all rests r, which leaves no quotients:
// where it is 0 for some of them and never for others, the size has one of those rests.
std::vector<Multiple> multiples_in(const Dim& zero, std::int64_t& tries) {
  const auto divisors = divisors_in(zero);
  std::int64_t choices = 1;
  for (const auto& [symbol, divisor] : divisors) choices *= divisor;
  if (choices > tries) return {};
  std::vector<std::vector<std::int64_t>> found;  // rests by symbol
  for (std::int64_t choice = 0; choice < choices && !divisors.empty(); ++choice, --tries) {
    Replacements sizes;
    std::vector<std::int64_t> rests;
    std::int64_t left = choice;
    for (const auto& [symbol, divisor] : divisors) {
      rests.push_back(left % divisor);
      left /= divisor;
      sizes[symbol] = Dim(divisor) * Dim::symbol(symbol) + Dim(rests.back());
    }
    const Dim sum = substitute(zero, sizes);
    if (sum.is(0))
      found.push_back(std::move(rests));
    else if (sum.overflowed() || !is_never_zero(sum))
      return {};
  }
  std::vector<Multiple> multiples;
  if (divisors.size() == 1) {
    std::vector<std::int64_t> rests;
    for (const auto& each : found) rests.push_back(each[0]);
    if (auto one = common_rest(divisors.begin()->first, rests, divisors.begin()->second)) multiples.push_back(*one);
  } else if (found.size() == 1) {
    for (const auto& [symbol, divisor] : divisors) multiples.push_back({symbol, divisor, found[0][multiples.size()]});
  }
  return multiples;
}

// Whether no number in it is beyond what sizes are made of.
bool is_modest(const Dim& size) {
  constexpr std::int64_t kMost = 1 << 20;
  return !size.overflowed() &&
         std::ranges::all_of(size.terms(), [](const Dim::Term& term) { return term.coefficient <= kMost; });
}

}  // namespace

Expected<DivisibleSizes> divisible_sizes(const Program& program, const Replacements& replacements) {
  std::vector<Dim> zeros = program.zeros;
  for (Dim& zero : zeros) {
    zero = substitute(zero, replacements);
    if (const auto number = zero.constant(); number && *number != 0)
      return fail("sizes are given that the program doesn't take: its guards don't hold for them");
  }
  for (const Dim& zero : zeros_of_reshapes(program.graph)) zeros.push_back(substitute(zero, replacements));
  DivisibleSizes found;
  std::int64_t tries = kMostTries;
  for (int round = 0; round < kMostRounds; ++round) {
    const Replacements known = known_quotients(zeros);
    std::vector<Multiple> next;
    for (const Dim& zero : zeros)
      if (next = multiples_in(with_factors(zero, known), tries); !next.empty()) break;
    if (next.empty()) break;
    Replacements one;
    for (const auto& [symbol, parts, rest] : next)
      one[symbol] = Dim(parts) * Dim::symbol(fmt::format("{}_over_{}", symbol, parts)) + Dim(rest);
    DivisibleSizes together = found;
    for (auto& [symbol, size] : together) size = substitute(size, one);
    if (!std::ranges::all_of(together, [](const auto& each) { return is_modest(each.second); })) break;
    found = std::move(together);
    found.insert(one.begin(), one.end());
    for (Dim& zero : zeros) zero = substitute(zero, one);
    std::erase_if(zeros, [](const Dim& zero) { return zero.overflowed() || zero.constant(); });
  }
  return found;
}

}  // namespace taper::exported
