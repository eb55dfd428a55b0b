#include "frontend/aten_counts.h"

#include <algorithm>
#include <utility>

#include "ops/selecting.h"

namespace taper::aten {
namespace {

std::int64_t as_limit(double most) {
  constexpr double kLargest = 1e15;
  return most < kLargest ? static_cast<std::int64_t>(most) : SymbolRange::kOpen;
}

}  // namespace

Dim fresh_count(Context& context, const std::optional<Dim>& most) {
  const SymbolRange range = {.least = 0, .most = most ? as_limit(range_of(context, *most).most) : SymbolRange::kOpen};
  if (const auto named = std::exchange(context.next_count, std::nullopt)) {
    const auto symbol = named->as_symbol();
    if (symbol && !names_a_size(context.build.graph(), *symbol)) {
      context.symbols.try_emplace(*symbol, range);
      if (most) context.counts->limit(*symbol, *most);
      context.counted.insert(*symbol);
      return *named;
    }
  }
  Dim count = context.counts->fresh(context.build.graph());
  while (context.symbols.contains(*count.as_symbol())) count = context.counts->fresh(context.build.graph());
  context.symbols[*count.as_symbol()] = range;
  if (most) context.counts->limit(*count.as_symbol(), *most);
  context.counted.insert(*count.as_symbol());
  return count;
}

bool may_be_nothing(const Context& context, const Dim& size) {
  return names_one_of(size, context.counted);
}

Value* places_of(Context& context, Value* mask) {
  if (mask == nullptr) return nullptr;
  // The program names the count of this mask, not that of one which it repeats.
  if (repeated_mask(mask).first != mask) context.next_count.reset();
  return places_where(context.build, context.measured, mask,
                      [&](const Dim& most) { return fresh_count(context, most); });
}

Value* measured_range(Context& context, Value* number, const std::optional<Dim>& most) {
  Builder& build = context.build;
  number = cast(build, number, DType::i64);
  if (number == nullptr) return nullptr;
  if (Value* known = context.measured.find(build.graph(), number)) return known;
  Value* range = counted_range(build, number, fresh_count(context, most));
  context.measured.add(number, range);
  return range;
}

Dim measured_size(Context& context, Value* number) {
  const Value* range = measured_range(context, number, std::nullopt);
  return range == nullptr ? Dim(0) : range->type.shape[0];
}

}  // namespace taper::aten
