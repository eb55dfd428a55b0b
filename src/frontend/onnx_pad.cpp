// ONNX's padding, by numbers, symbols and amounts that the file computes.
#include <algorithm>
#include <numeric>

#include "frontend/onnx_exact.h"
#include "frontend/onnx_importer.h"
#include "frontend/padding.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

// What stands before and after each axis: a size, or a number of rank 0 that the file computes.
struct Amount {
  Dim size = 0;
  Value* computed = nullptr;
};
struct Amounts {
  std::vector<Amount> before, after;  // by axis
};

bool is_at_least_nothing(const Importer& importer, const Dim& amount) {
  return surely_at_most(importer, 0, amount) || dim_max(amount, 0) == amount;
}

// x with an axis padded by amounts that are no numbers.
Value* pad_axis(Call& call, Value* x, std::size_t axis, const Amount& before, const Amount& after,
                const Padding& padding) {
  if (call.failed()) return nullptr;
  Builder& build = call.build;
  const Dim size = x->type.shape[axis];
  const auto dim = static_cast<std::int64_t>(axis);
  const bool is_known = before.computed == nullptr && after.computed == nullptr;
  if (is_known && padding.mode == "constant" && is_at_least_nothing(call.importer, before.size) &&
      is_at_least_nothing(call.importer, after.size)) {
    std::vector<Value*> parts;
    const auto add_block = [&](const Dim& amount) {
      Shape shape = x->type.shape;
      shape[axis] = amount;
      if (!amount.is(0)) parts.push_back(call.full(shape, padding.fill, x->type.dtype));
    };
    add_block(before.size);
    parts.push_back(x);
    add_block(after.size);
    return build("concat", parts, {{"dim", dim}});
  }
  Value* places = nullptr;
  if (is_known) {
    places = call.arange(before.size + size + after.size, Dim(0) - before.size, DType::i32);
  } else {
    const auto number = [&](const Amount& amount) {
      return amount.computed != nullptr ? amount.computed : size_as_number(build, amount.size, DType::i32);
    };
    Value* begin = build("sub", {call.number(0, DType::i32), number(before)});
    Value* end = build("add", {size_as_number(build, size, DType::i32), number(after)});
    places = build("range", {begin, end, call.number(1, DType::i32)},
                   {{"length", Shape{call.importer.fresh_count(build.graph())}}});
  }
  return entries_at(build, x, axis, places, padding, call.importer.may_be_nothing(size));
}

void pad(Call& call, const Amounts& amounts, Padding padding) {
  Value* x = call.x(0);
  if (padding.mode == "edge") padding.mode = "replicate";
  if (padding.mode == "wrap") padding.mode = "circular";
  Integers before, after;
  for (std::size_t axis = 0; axis < amounts.before.size() && !call.failed(); ++axis) {
    const Amount &first = amounts.before[axis], &last = amounts.after[axis];
    const auto known = [](const Amount& amount) {
      return amount.computed == nullptr ? amount.size.constant() : std::nullopt;
    };
    const bool are_numbers = known(first) && known(last);
    before.push_back(are_numbers ? *known(first) : 0);
    after.push_back(are_numbers ? *known(last) : 0);
    if (!are_numbers) x = pad_axis(call, x, axis, first, last, padding);
  }
  if (call.failed()) return;
  const auto is_nothing = [](std::int64_t amount) { return amount == 0; };
  const bool done = x != call.x(0) && std::ranges::all_of(before, is_nothing) && std::ranges::all_of(after, is_nothing);
  if (!done)
    x = call.build("pad", {x}, {{"before", before}, {"after", after}, {"mode", padding.mode}, {"value", padding.fill}},
                   call.name());
  call.set(0, x);
}

// By axis, from a list of all befores and then all afters.
template <class Entry>
std::optional<Amounts> amounts_by_axis(Call& call, std::size_t count, std::optional<Integers> axes,
                                       const Entry& entry) {
  const std::size_t rank = call.rank(0);
  if (call.failed()) return std::nullopt;
  if (!axes) {
    axes.emplace(rank);
    std::iota(axes->begin(), axes->end(), std::int64_t{0});
  }
  if (count != 2 * axes->size()) {
    call.fail(fmt::format("{} pads for {} axes", count, axes->size()));
    return std::nullopt;
  }
  Amounts amounts{std::vector<Amount>(rank), std::vector<Amount>(rank)};
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const auto axis = static_cast<std::size_t>(call.axis((*axes)[i], rank));
    if (call.failed()) return std::nullopt;
    amounts.before[axis] = entry(i);
    amounts.after[axis] = entry(i + axes->size());
  }
  return call.failed() ? std::nullopt : std::optional(std::move(amounts));
}

void read_pad_2(Call& call) {
  const auto pads = call.integers("pads");
  if (!pads) return call.fail("pads are missing");
  const auto amounts =
      amounts_by_axis(call, pads->size(), std::nullopt, [&](std::size_t i) { return Amount{(*pads)[i]}; });
  if (amounts) pad(call, *amounts, {call.text("mode", "constant"), call.real("value", 0)});
}

// The amounts of operand 1: known, or computed when the file runs.
std::optional<Amounts> amounts_of(Call& call, std::optional<Integers> axes) {
  if (const auto known = call.known_if_any(1))
    return amounts_by_axis(call, known->elements.size(), std::move(axes),
                           [&](std::size_t i) { return Amount{known->elements[i]}; });
  Value* vector = call.x(1);
  if (call.failed()) return std::nullopt;
  const auto count = vector->type.shape.size() == 1 ? vector->type.shape[0].constant() : std::nullopt;
  if (vector->producer == nullptr || !count) {
    call.known(1);  // an error that tells what is wanted
    return std::nullopt;
  }
  return amounts_by_axis(call, static_cast<std::size_t>(*count), std::move(axes), [&](std::size_t i) -> Amount {
    const auto at = static_cast<std::int64_t>(i);
    if (const auto entry = entry_of(call.importer, vector, at)) return {*entry};
    return {0, call.cast(call.build("select", {vector}, {{"dim", std::int64_t{0}}, {"index", at}}), DType::i32)};
  });
}

// With a value that is computed when the file runs, or that no attribute holds.
void pad_with_computed(Call& call, const Amounts& amounts, const std::string& mode) {
  Value* value = call.cast(call.reshape(call.x(2), Shape{}), call.dtype(0));
  Integers before, after;
  for (std::size_t axis = 0; axis < amounts.before.size(); ++axis)
    for (const auto& [amount, list] :
         {std::pair(&amounts.before[axis], &before), std::pair(&amounts.after[axis], &after)}) {
      const auto number = amount->computed == nullptr ? amount->size.constant() : std::nullopt;
      if (!number || *number < 0)
        return call.fail("a computed value beside amounts that are computed or negative",
                         "give the value to pad with as a constant");
      list->push_back(*number);
    }
  if (mode != "constant") return call.fail(fmt::format("a value for mode '{}'", mode));
  call.set(0, call.build("pad_with", {call.x(0), value}, {{"before", before}, {"after", after}}, call.name()));
}

void read_pad(Call& call) {
  double value = 0;
  const auto given = call.has(2) ? call.constant(2) : std::nullopt;
  const bool is_computed = call.has(2) && (!given || !is_exact_in_float64(*given));
  if (call.has(2) && !is_computed) {
    const std::vector<double> values = call.reals_of(2);
    if (call.failed()) return;
    if (values.size() != 1) return call.fail("the value to pad with is no number");
    value = values[0];
  }
  std::optional<Integers> axes;
  if (call.has(3)) axes = call.integers_of(3);
  if (call.failed()) return;
  const std::string mode = call.text("mode", "constant");
  const auto amounts = amounts_of(call, std::move(axes));
  if (!amounts) return;
  if (is_computed) return pad_with_computed(call, *amounts, mode);
  pad(call, *amounts, {mode, value});
}

// Crops or pads axes around their middle to given sizes.
void read_center_crop_pad(Call& call) {
  auto axes = call.integers("axes");
  const Integers sizes = call.integers_of(1);
  Value* x = call.x(0);
  if (call.failed()) return;
  const std::size_t rank = x->type.shape.size();
  if (!axes) {
    axes.emplace(rank);
    std::iota(axes->begin(), axes->end(), std::int64_t{0});
  }
  if (axes->size() != sizes.size()) return call.fail(fmt::format("{} sizes for {} axes", sizes.size(), axes->size()));
  Integers before(rank, 0), after(rank, 0);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto axis = static_cast<std::size_t>(call.axis((*axes)[i], rank));
    if (call.failed()) return;
    const auto size = x->type.shape[axis].constant();
    if (!size) return call.fail("the size of an axis is not known");
    const std::int64_t more = sizes[i] - *size;
    before[axis] = more >= 0 ? more / 2 : -(-more / 2);
    after[axis] = more - before[axis];
  }
  call.set(0, call.build("pad", {x},
                         {{"before", before}, {"after", after}, {"mode", std::string("constant")}, {"value", 0.0}},
                         call.name()));
}

}  // namespace

std::vector<Row> pad_rows() {
  return {
      {.op = "Pad", .since = 2, .read = read_pad_2},
      {.op = "Pad", .operands = 2, .since = 11, .read = read_pad},
      {.op = "CenterCropPad", .operands = 2, .since = 18, .read = read_center_crop_pad},
  };
}

}  // namespace taper::onnx_reader
