// Type promotion, and small calls that many operators are made of.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "frontend/aten_table.h"
#include "ops/rules.h"

namespace taper::aten {

DType graph_dtype(DType dtype) {
  return is_floating(dtype) ? DType::f32 : dtype;
}

DType promote_types(DType a, DType b) {
  if (a == b) return a;
  if (is_floating(a) && is_floating(b)) return a == DType::f64 || b == DType::f64 ? DType::f64 : DType::f32;
  if (is_floating(a)) return a;
  if (is_floating(b)) return b;
  if (a == DType::boolean) return b;
  if (b == DType::boolean) return a;
  const auto is_signed = [](DType x) {
    return x == DType::i8 || x == DType::i16 || x == DType::i32 || x == DType::i64;
  };
  if (is_signed(a) == is_signed(b)) return size_of(a) > size_of(b) ? a : b;
  const DType with_sign = is_signed(a) ? a : b;
  const DType without = is_signed(a) ? b : a;
  if (size_of(with_sign) > size_of(without)) return with_sign;
  return size_of(without) == 1 ? DType::i16 : size_of(without) == 2 ? DType::i32 : DType::i64;
}

DType number_type(const Arg& number) {
  return number.as<bool>() != nullptr ? DType::boolean : number.as<double>() != nullptr ? DType::f32 : DType::i64;
}

// Tensors with axes count before tensors of rank 0, and those before numbers: a lower one matters only if its kind
// (bool, integer, float) is higher.
DType result_type(std::span<const Arg> operands) {
  std::array<std::optional<DType>, 3> levels;
  for (const Arg& operand : operands) {
    if (operand.is_none()) continue;
    const auto* tensor = operand.as<TensorPtr>();
    const DType dtype = tensor != nullptr ? (*tensor)->type().dtype : number_type(operand);
    auto& level = levels[tensor == nullptr ? 2 : (*tensor)->type().shape.empty() ? 1 : 0];
    level = level ? promote_types(*level, dtype) : dtype;
  }
  const auto combine = [](std::optional<DType> higher, std::optional<DType> lower) {
    if (!higher || !lower) return higher ? higher : lower;
    if (is_floating(*higher)) return higher;
    if (*higher == DType::boolean || is_floating(*lower)) return std::optional(promote_types(*higher, *lower));
    return higher;
  };
  return combine(levels[0], combine(levels[1], levels[2])).value_or(DType::f32);
}

// --------------------------------------------------------------------------------------------------------------
// numbers

namespace {

Value* constant_of_type(Builder& build, const taper::Tensor& tensor, DType dtype) {
  return build.constant(converted(tensor, dtype));
}

}  // namespace

Value* number(Builder& build, double value, DType dtype) {
  if (dtype == DType::boolean) value = value != 0 ? 1 : 0;
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return constant_of_type(build, make_tensor(DType::f64, {}, {bytes.begin(), bytes.end()}), dtype);
}

Value* integer_number(Builder& build, std::int64_t value, DType dtype) {
  if (dtype == DType::boolean) value = value != 0 ? 1 : 0;
  return constant_of_type(build, tensor_i64({}, std::array{value}), dtype);
}

Value* number(Builder& build, const Arg& value, DType dtype) {
  if (const bool* flag = value.as<bool>()) return integer_number(build, *flag ? 1 : 0, dtype);
  if (const double* real = value.as<double>()) return number(build, *real, dtype);
  const Dim* dim = value.as<Dim>();
  if (dim == nullptr) return nullptr;
  if (const auto constant = dim->constant()) return integer_number(build, *constant, dtype);
  return cast(build, reshape(build, size_vector(build, {*dim}), {}), dtype);
}

Value* integer_vector(Builder& build, std::span<const std::int64_t> values, DType dtype) {
  return constant_of_type(build, tensor_i64({static_cast<std::int64_t>(values.size())}, values), dtype);
}

Value* size_vector(Builder& build, const Shape& sizes, DType dtype) {
  if (const auto constants = constant_sizes(sizes)) return integer_vector(build, *constants, dtype);
  return build("sizes", {}, {{"sizes", sizes}, {"dtype", dtype}});
}

Value* cast(Builder& build, Value* x, DType to) {
  if (x == nullptr || x->type.dtype == to) return x;
  if (to == DType::boolean) {
    Value* zero = number(build, 0.0, x->type.dtype);
    return build("not_equal", {x, zero});
  }
  constexpr std::int64_t kFew = 4096;
  if (const taper::Tensor* tensor = constant_of(x); tensor != nullptr && tensor->element_count() <= kFew)
    return build.constant(converted(*tensor, to));
  return build("cast", {x}, {{"to", to}});
}

// ---------------------------------------------------------------------------------------------------------------
// shapes

const Shape& shape_of(const Value* x) {
  static const Shape none;
  return x != nullptr ? x->type.shape : none;
}

Integers all_axes(std::size_t rank) {
  Integers dims(rank);
  std::iota(dims.begin(), dims.end(), std::int64_t{0});
  return dims;
}

Value* reshape(Builder& build, Value* x, const Shape& shape) {
  if (x != nullptr && x->type.shape == shape) return x;
  return build("reshape", {x}, {{"shape", shape}});
}

Value* expand(Builder& build, Value* x, const Shape& shape) {
  if (x != nullptr && x->type.shape == shape) return x;
  return build("expand", {x}, {{"shape", shape}});
}

Value* unsqueeze(Builder& build, Value* x, std::int64_t dim) {
  return build("unsqueeze", {x}, {{"dims", Integers{dim}}});
}

Value* squeeze(Builder& build, Value* x, std::int64_t dim) {
  return build("squeeze", {x}, {{"dims", Integers{dim}}});
}

Value* permute(Builder& build, Value* x, Integers dims) {
  if (std::ranges::is_sorted(dims)) return x;
  return build("permute", {x}, {{"dims", std::move(dims)}});
}

Value* transpose(Builder& build, Value* x, std::size_t a, std::size_t b) {
  Integers dims = all_axes(shape_of(x).size());
  if (a >= dims.size() || b >= dims.size()) return x;
  std::swap(dims[a], dims[b]);
  return permute(build, x, std::move(dims));
}

Value* per_channel(Builder& build, Value* vector, std::size_t rank) {
  if (vector == nullptr || rank <= 2) return vector;
  Shape shape(rank - 1, Dim(1));
  shape[0] = element_count(vector->type.shape);
  return reshape(build, vector, shape);
}

Value* slice(Builder& build, Value* x, std::size_t axis, const Dim& start, const Dim& end) {
  if (x == nullptr) return x;
  const auto dim = static_cast<std::int64_t>(axis);
  if (axis < x->type.shape.size() && start.is(0) && end == x->type.shape[axis]) return x;
  if (start == end && axis < x->type.shape.size()) {
    // XNNPACK takes a slice of nothing for one of all.
    Shape none = x->type.shape;
    none[axis] = 0;
    return full(build, none, Arg(Dim(0)), x->type.dtype);
  }
  if (const auto first = start.constant())
    return build("slice", {x}, {{"dim", dim}, {"start", *first}, {"end", Shape{end}}});
  return build("dynamic_slice", {x, reshape(build, size_vector(build, {start}), {})},
               {{"dim", dim}, {"length", Shape{length_between(start, end)}}});
}

Value* concat(Builder& build, std::vector<Value*> parts, std::size_t axis) {
  if (std::ranges::any_of(parts, [](const Value* part) { return part == nullptr; })) return nullptr;
  Value* first = parts[0];
  std::erase_if(parts,
                [axis](const Value* part) { return axis < part->type.shape.size() && part->type.shape[axis].is(0); });
  if (parts.empty()) return first;
  if (parts.size() == 1) return parts[0];
  return build("concat", std::move(parts), {{"dim", static_cast<std::int64_t>(axis)}});
}

Value* full(Builder& build, const Shape& shape, const Arg& value, DType dtype) {
  const auto* dim = value.as<Dim>();
  if (dim != nullptr && !dim->constant()) return expand(build, number(build, value, dtype), shape);
  double real = 0;
  if (dim != nullptr) real = static_cast<double>(*dim->constant());
  if (const double* number = value.as<double>()) real = *number;
  if (const bool* flag = value.as<bool>()) real = *flag ? 1 : 0;
  // Attributes are floating: an integer beyond 2^53 must be a constant.
  constexpr double kExact = 9007199254740992.0;
  if (dim != nullptr && std::abs(real) >= kExact)
    return expand(build, integer_number(build, *dim->constant(), dtype), shape);
  if (shape.empty()) return number(build, real, dtype);
  if (dtype == DType::boolean) real = real != 0 ? 1 : 0;
  if (!is_floating(dtype)) real = std::trunc(real);
  return build("full", {}, {{"shape", shape}, {"value", real}, {"dtype", dtype}});
}

Value* arange(Builder& build, const Dim& start, std::int64_t step, const Dim& length, DType dtype) {
  return build("arange", {}, {{"start", Shape{start}}, {"step", step}, {"length", Shape{length}}, {"dtype", dtype}});
}

Value* reduce(Builder& build, std::string_view row, Value* x, Integers dims, bool keepdim) {
  if (x == nullptr || dims.empty()) return x;
  return build(row, {x}, {{"dims", std::move(dims)}, {"keepdim", keepdim}});
}

Value* has_nan(Builder& build, Value* x, std::size_t axis, bool keepdim) {
  return reduce(build, "any", build("is_nan", {x}), {static_cast<std::int64_t>(axis)}, keepdim);
}

Value* product_along(Builder& build, Value* x, std::size_t axis, Value* matrix) {
  if (shape_of(x).size() == 1) return squeeze(build, build("matmul", {unsqueeze(build, x, 0), matrix}), 0);
  const std::size_t last = shape_of(x).size() - 1;
  return transpose(build, build("matmul", {transpose(build, x, axis, last), matrix}), axis, last);
}

Value* counted_from_end(Builder& build, Value* place, const Dim& size) {
  const DType dtype = place->type.dtype;
  Value* negative = build("less", {place, number(build, 0.0, dtype)});
  return build("where", {negative, build("add", {place, number(build, Arg(size), dtype)}), place});
}

}  // namespace taper::aten
