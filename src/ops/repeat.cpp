// Operators that repeat elements: along axes of one entry, along new axes, or whole.
#include <algorithm>

#include "ops/families.h"
#include "ops/moves.h"

namespace taper {

Array broadcast_to(const Array& x, const std::vector<std::int64_t>& shape) {
  Array out = make_array(x.dtype, shape);
  const Integers own = row_major_strides(x.shape);
  Integers strides(shape.size(), 0);
  const std::size_t offset = shape.size() - x.shape.size();
  for (std::size_t axis = 0; axis < x.shape.size(); ++axis) strides[offset + axis] = x.shape[axis] == 1 ? 0 : own[axis];
  Integers index(shape.size(), 0);
  std::int64_t from = 0;
  for (double& value : out.values) {
    value = x.values[static_cast<std::size_t>(from)];
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

namespace {

Expected<std::vector<Type>> infer_expand(const InferCall& call) {
  const auto& shape = call.attrs.get<Shape>("shape");
  const auto broadcasted = broadcast(call.shape(0), shape);
  if (!broadcasted || *broadcasted != shape)
    return fail("a value of shape {} does not expand to {}", shape_text(call.shape(0)), shape_text(shape));
  return std::vector{Type{call.type(0).dtype, shape}};
}

// Whether axis `axis` of the result has the size that x has there.
bool keeps_axis(const Node& node, std::size_t axis) {
  const Shape& from = node.operands[0]->type.shape;
  const Shape& to = node.results[0]->type.shape;
  return axis + from.size() >= to.size() && from[axis + from.size() - to.size()] == to[axis];
}

// The sizes as ONNX's Expand takes them, which broadcasts: 1 keeps what x has. Nothing if a symbol is left.
std::optional<Integers> expanded_sizes(const Node& node) {
  const auto& shape = node.attrs.get<Shape>("shape");
  Integers sizes;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const auto size = keeps_axis(node, axis) ? 1 : shape[axis].constant();
    if (!size) return std::nullopt;
    sizes.push_back(*size);
  }
  return sizes;
}

bool has_constant_shape(const Node& node) {
  return constant_sizes(node.attrs.get<Shape>("shape")).has_value();
}

// Whether x * 1 says the same with few enough ones to write down: a product broadcasts whatever the other sizes are,
// and delegates take it.
bool is_product(const Node& node) {
  constexpr std::int64_t kMostOnes = 4096;
  const Type& type = node.results[0]->type;
  if (type.dtype != DType::f32 && type.dtype != DType::i32 && type.dtype != DType::i64) return false;
  const auto sizes = expanded_sizes(node);
  if (!sizes || type.shape.size() > 4) return false;
  std::int64_t count = 1;
  for (const std::int64_t size : *sizes) count = count > kMostOnes ? count : count * size;
  return count > 0 && count <= kMostOnes;
}

std::vector<Value*> expand_by_product(Builder& build, const Node& node, std::span<Value* const> operands) {
  Array ones = make_array(node.results[0]->type.dtype, *expanded_sizes(node));
  std::ranges::fill(ones.values, 1.0);
  return {build("mul", {operands[0], build.constant(to_tensor(ones), "ones")})};
}

Op expand() {
  return {
      .name = "expand",
      .doc = "x repeated along axes of size 1 and along new axes in front, so that its shape is `shape`",
      .operands = {"x"},
      .attrs = {{"shape", AttrKind::shape}},
      .infer = infer_expand,
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<std::int64_t> shape, evaluate(call.attrs.get<Shape>("shape"), call.bindings));
        TAPER_ASSIGN([[maybe_unused]] const std::int64_t count, checked_element_count(shape));
        return std::vector{broadcast_to(call.operand(0), shape)};
      },
      .expands_if = [](const Node& node, Target) { return is_product(node); },
      .expand_tflite = expand_by_product,
      .onnx = {.op_type = "Expand",
               .inputs = {operand(0), made([](const Node& node) { return *expanded_sizes(node); })},
               .fits = [](const Node& node) { return expanded_sizes(node).has_value(); }},
      .tflite = {.builtin = tflite::BuiltinOperator::BROADCAST_TO,
                 .version = 2,
                 .since = "2.4.0",
                 .inputs = {operand(0), attr_tensor("shape")},
                 .options = tflite_options<tflite::BroadcastToOptionsT>(),
                 .fits = [](const Node& node) { return has_constant_shape(node) && !is_product(node); }},
      .tensorflow = {.op = "BroadcastTo",
                     .inputs = {operand(0), attr_tensor("shape")},
                     .types = {{"T"}, {"Tidx", 0, DType::i32}},
                     .fits = has_constant_shape},
      .examples = {{{f32({2, 1, 3})}, {{"shape", Shape{4, 2, 5, 3}}}}, {{f32({3})}, {{"shape", Shape{2, 3}}}}},
  };
}

Op expand_to() {
  return {
      .name = "expand_to",
      .doc = "expand to the integer vector `sizes`, which is `shape`",
      .operands = {"x", "sizes"},
      .attrs = {{"shape", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_sizes(call.type(1), call.attrs.get<Shape>("shape")));
        return infer_expand(call);
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<std::int64_t> shape, checked_sizes(call.operand(1), call));
        return std::vector{broadcast_to(call.operand(0), shape)};
      },
      .expand_onnx = with_sizes_as<DType::i64>,
      .expand_tflite = with_sizes_as<DType::i32>,
      .onnx = {.op_type = "Expand", .inputs = {operand(0), operand(1)}, .fits = has_sizes_as<DType::i64>},
      .tflite = {.builtin = tflite::BuiltinOperator::BROADCAST_TO,
                 .version = 2,
                 .since = "2.4.0",
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<tflite::BroadcastToOptionsT>(),
                 .fits = has_sizes_as<DType::i32>,
                 .read_operands = resolve_shape_of_sizes},
      .tensorflow = {.op = "BroadcastTo",
                     .inputs = {operand(0), operand(1)},
                     .types = {{"T"}, {"Tidx", 1}},
                     .read_operands = resolve_shape_of_sizes},
      .examples = {{{f32({3, 1}), {DType::i64, {2}}}, {{"shape", Shape{3, 3}}}, 3, 3, 1}},
  };
}

Op tile() {
  return {
      .name = "tile",
      .doc = "x repeated `repeats` times along each axis",
      .operands = {"x"},
      .attrs = {{"repeats", AttrKind::integers}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const Integers& repeats = call.attrs.integers("repeats");
        Type type = call.type(0);
        if (repeats.size() != type.shape.size() || std::ranges::any_of(repeats, [](auto n) { return n < 1; }))
          return fail("repeats [{}] of a value of shape {}", fmt::join(repeats, ", "), shape_text(type.shape));
        for (std::size_t axis = 0; axis < repeats.size(); ++axis) type.shape[axis] = type.shape[axis] * repeats[axis];
        return std::vector{std::move(type)};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        // [a, b] is [1, a, 1, b] expanded to [m, a, n, b].
        const Integers& repeats = call.attrs.integers("repeats");
        Array x = call.operand(0);
        Integers apart, repeated, joined;
        for (std::size_t axis = 0; axis < repeats.size(); ++axis) {
          apart.insert(apart.end(), {1, x.shape[axis]});
          repeated.insert(repeated.end(), {repeats[axis], x.shape[axis]});
          TAPER_ASSIGN(const std::int64_t size, checked_element_count(std::array{repeats[axis], x.shape[axis]}));
          joined.push_back(size);
        }
        TAPER_ASSIGN([[maybe_unused]] const std::int64_t count, checked_element_count(joined));
        x.shape = std::move(apart);
        Array out = broadcast_to(x, repeated);
        out.shape = std::move(joined);
        return std::vector{std::move(out)};
      },
      .onnx = {.op_type = "Tile", .inputs = {operand(0), attr_tensor("repeats")}},
      .tflite = {.builtin = tflite::BuiltinOperator::TILE,
                 .since = "1.10.1",
                 .inputs = {operand(0), attr_tensor("repeats")},
                 .options = tflite_options<tflite::TileOptionsT>()},
      .tensorflow = {.op = "Tile",
                     .inputs = {operand(0), attr_tensor("repeats")},
                     .fits = [](const Node& node) { return node.operands[0]->type.dtype != DType::u16; }},
      .examples = {{{f32({2, 3})}, {{"repeats", Integers{2, 3}}}},
                   {{f32({2, 1, 3})}, {{"repeats", Integers{1, 4, 1}}}}},
  };
}

}  // namespace

std::vector<Op> repeat_ops() {
  return {expand(), expand_to(), tile()};
}

}  // namespace taper
