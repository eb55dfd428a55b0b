#include "frontend/padding.h"

#include <array>

#include "ops/array.h"

namespace taper {
namespace {

// The entry of x that stands at each place; in mode constant any, where a place is outside.
Value* padded_entries(Builder& build, const std::string& mode, const Dim& size, Value* place) {
  const auto integer = [&](const Dim& value) { return size_as_number(build, value, DType::i32); };
  if (mode == "circular") return build("remainder", {place, integer(size)});
  if (mode == "replicate" || mode == "constant")
    return build("minimum", {build("maximum", {place, integer(0)}), integer(size - Dim(1))});
  // |i|, and from the last entry on back again
  Value* mirrored = build("maximum", {place, build("sub", {integer(0), place})});
  return build("minimum", {mirrored, build("sub", {integer(2 * (size - Dim(1))), mirrored})});
}

}  // namespace

Value* size_as_number(Builder& build, const Dim& size, DType dtype) {
  if (const auto known = size.constant()) return build.constant(converted(tensor_i64({}, std::array{*known}), dtype));
  const DType whole = dtype == DType::i32 ? DType::i32 : DType::i64;
  Value* number =
      build("reshape", {build("sizes", {}, {{"sizes", Shape{size}}, {"dtype", whole}})}, {{"shape", Shape{}}});
  return dtype == whole ? number : build("cast", {number}, {{"to", dtype}});
}

Value* entries_at(Builder& build, Value* x, std::size_t axis, Value* places, const Padding& padding,
                  bool may_be_nothing) {
  if (x == nullptr || places == nullptr) return nullptr;
  const Dim size = x->type.shape[axis];
  const Attrs along = {{"dim", static_cast<std::int64_t>(axis)}};
  if (padding.mode != "constant") return build("gather", {x, padded_entries(build, padding.mode, size, places)}, along);
  Value* end = size_as_number(build, size, DType::i32);
  Value* inside = build("logical_and", {build("greater_equal", {places, size_as_number(build, 0, DType::i32)}),
                                        build("less", {places, end})});
  const Tensor fill = to_tensor(Array{x->type.dtype, {}, {padding.fill}});
  if (may_be_nothing) {
    // Nothing could be looked up in nothing: what is written stands behind the last entry.
    Shape one = x->type.shape;
    one[axis] = 1;
    Value* last = build("full", {}, {{"shape", one}, {"value", padding.fill}, {"dtype", x->type.dtype}});
    return build("gather", {build("concat", {x, last}, along), build("where", {inside, places, end})}, along);
  }
  Value* y = build("gather", {x, padded_entries(build, padding.mode, size, places)}, along);
  if (y == nullptr) return y;
  Shape line(x->type.shape.size() - axis, Dim(1));
  line[0] = y->type.shape[axis];
  return build("where", {build("reshape", {inside}, {{"shape", line}}), y, build.constant(fill)});
}

}  // namespace taper
