#include "frontend/aten_counts.h"

#include <algorithm>
#include <limits>

#include "ir/computation.h"

namespace taper::aten {
namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

std::int64_t as_limit(double most) {
  constexpr double kLargest = 1e15;
  return most < kLargest ? static_cast<std::int64_t>(most) : kNoLimit;
}

bool is_used(const Context& context, const std::string& symbol) {
  return context.symbols.contains(symbol) ||
         std::ranges::any_of(context.build.graph().inputs(), [&](const Value* input) {
           return std::ranges::any_of(input->type.shape, [&](const Dim& dim) {
             const std::vector<std::string> names = symbols_of(dim);
             return std::ranges::find(names, symbol) != names.end();
           });
         });
}

}  // namespace

Dim fresh_count(Context& context, const std::optional<Dim>& most) {
  std::string symbol;
  do symbol = fmt::format("count_{}", ++context.counts->named);
  while (is_used(context, symbol));
  context.symbols[symbol] = {.least = 0, .most = most ? as_limit(range_of(context, *most).most) : kNoLimit};
  return Dim::symbol(std::move(symbol));
}

Value* places_of(Context& context, Value* mask) {
  if (mask == nullptr) return nullptr;
  constexpr int kMostNodes = 256;
  for (const auto& [known, places] : context.places) {
    int budget = kMostNodes;
    if (same_computation(known, mask, budget)) return places;
  }
  const Dim count = fresh_count(context, element_count(mask->type.shape));
  Value* places = context.build("nonzero", {mask}, {{"count", Shape{count}}});
  context.places.emplace_back(mask, places);
  return places;
}

Dim measured_size(Context& context, Value* number) {
  Builder& build = context.build;
  const Dim size = fresh_count(context, std::nullopt);
  Value* end = cast(build, number, DType::i64);
  build("range", {integer_number(build, 0), end, integer_number(build, 1)}, {{"length", Shape{size}}});
  return size;
}

}  // namespace taper::aten
