// Operators that read where integers say.
#include <limits>

#include "ops/families.h"
#include "ops/indices.h"
#include "ops/pointwise.h"

namespace taper {

Expected<Integers> element_offsets(const Array& index, const std::vector<std::int64_t>& shape, std::size_t axis) {
  const Integers strides = row_major_strides(shape);
  Integers offsets(index.values.size());
  Integers position(index.shape.size(), 0);
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const auto entry = static_cast<std::int64_t>(index.values[i]);
    if (entry < 0 || entry >= shape[axis]) return fail("entry {} of an axis of size {}", entry, shape[axis]);
    for (std::size_t k = 0; k < position.size(); ++k) offsets[i] += (k == axis ? entry : position[k]) * strides[k];
    for (std::size_t k = position.size(); k-- > 0;) {
      if (++position[k] < index.shape[k]) break;
      position[k] = 0;
    }
  }
  return offsets;
}

Expected<std::size_t> check_element_index(const InferCall& call) {
  const Shape& x = call.shape(0);
  const Shape& index = call.shape(1);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.size()));
  bool fits = !is_floating(call.type(1).dtype) && index.size() == x.size();
  for (std::size_t k = 0; fits && k < x.size(); ++k) fits = k == axis || (x[k] - index[k]).constant().value_or(0) >= 0;
  if (!fits) return fail("index {} of a value {}", type_text(call.type(1)), type_text(call.type(0)));
  return axis;
}

Value* element_positions(Builder& build, const Node& node, Value* index) {
  const Type& type = node.operands[1]->type;
  const std::size_t axis = axis_of(node);
  const auto rank = static_cast<std::int64_t>(type.shape.size());
  Value* none = build("zeros_like", {index});
  std::vector<Value*> parts;
  for (std::size_t k = 0; k < type.shape.size(); ++k) {
    Value* part = index;
    if (k != axis) {
      Value* count =
          build("arange", {}, {{"start", Shape{0}}, {"length", Shape{type.shape[k]}}, {"dtype", type.dtype}});
      Integers behind;
      for (auto i = static_cast<std::int64_t>(k) + 1; i < rank; ++i) behind.push_back(i - static_cast<std::int64_t>(k));
      if (!behind.empty()) count = build("unsqueeze", {count}, {{"dims", behind}});
      part = build("add", {none, count});
    }
    parts.push_back(build("unsqueeze", {part}, {{"dims", Integers{rank}}}));
  }
  return parts.size() == 1 ? parts[0] : build("concat", parts, {{"dim", rank}});
}

bool has_int64_indices(const Node& node) {
  return node.operands[1]->type.dtype == DType::i64;
}

Expected<std::size_t> index_depth(const Type& x, const Type& indices, std::size_t batch_axes) {
  const auto depth =
      indices.shape.size() <= batch_axes || is_floating(indices.dtype) ? std::nullopt : indices.shape.back().constant();
  if (!depth || *depth < 1 || batch_axes > x.shape.size() ||
      *depth > static_cast<std::int64_t>(x.shape.size() - batch_axes))
    return fail("indices {} of a value {}", type_text(indices), type_text(x));
  return static_cast<std::size_t>(*depth);
}

Expected<Integers> entry_offsets(const Array& indices, std::span<const std::int64_t> shape, std::size_t first) {
  const auto depth = static_cast<std::size_t>(indices.shape.back());
  Integers offsets(indices.values.size() / depth);
  for (std::size_t i = 0; i < offsets.size(); ++i)
    for (std::size_t k = 0; k < depth; ++k) {
      const auto entry = static_cast<std::int64_t>(indices.values[i * depth + k]);
      const std::int64_t size = shape[first + k];
      if (entry < 0 || entry >= size) return fail("entry {} of an axis of size {}", entry, size);
      offsets[i] = offsets[i] * size + entry;
    }
  return offsets;
}

std::int64_t product(std::span<const std::int64_t> sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return count;
}

namespace {

// -------------------------------------------------------------------------------------------------------------- gather

Expected<std::vector<Type>> infer_gather(const InferCall& call) {
  Type type = call.type(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
  if (is_floating(call.type(1).dtype)) return fail("index is {}, expected integers", type_text(call.type(1)));
  const Shape& index = call.shape(1);
  const auto at = type.shape.begin() + static_cast<std::ptrdiff_t>(axis);
  type.shape.insert(type.shape.erase(at), index.begin(), index.end());
  return std::vector{std::move(type)};
}

Expected<std::vector<Array>> eval_gather(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Array& index = call.operand(1);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  const AxisView view = axis_view(x.shape, axis);
  std::vector<std::int64_t> shape = x.shape;
  const auto at = shape.begin() + static_cast<std::ptrdiff_t>(axis);
  shape.insert(shape.erase(at), index.shape.begin(), index.shape.end());
  Array out = make_array(x.dtype, shape);
  const auto count = static_cast<std::int64_t>(index.values.size());
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < count; ++i) {
      const auto entry = static_cast<std::int64_t>(index.values[static_cast<std::size_t>(i)]);
      if (entry < 0 || entry >= view.size) return fail("entry {} of an axis of size {}", entry, view.size);
      std::copy_n(x.values.begin() + (o * view.size + entry) * view.inner, view.inner,
                  out.values.begin() + (o * count + i) * view.inner);
    }
  return std::vector{std::move(out)};
}

Op gather() {
  using Options = tflite::GatherOptionsT;
  return {
      .name = "gather",
      .doc = "the entries of axis `dim` that the integers of `index` name; the axes of index replace that axis",
      .operands = {"x", "index"},
      .attrs = {{"dim", AttrKind::integer}},
      .infer = infer_gather,
      .eval = eval_gather,
      .picks_rows = [](const Node& node) { return node.attrs.integer("dim") == 0; },
      .onnx = {.op_type = "Gather", .inputs = {operand(0), operand(1)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::GATHER,
                 .since = "1.6.0",
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::axis, "dim"},
                                                    FixedOption<Options, std::int32_t>{&Options::batch_dims, 0}),
                 .dtypes = tflite_moved_dtypes("1.6.0"),
                 .half_operand = 0},
      .tensorflow = {.op = "GatherV2",
                     .inputs = {operand(0), operand(1), attr_tensor("dim")},
                     .types = {{"Tparams"}, {"Tindices", 1}, {"Taxis", 0, DType::i32}}},
      .examples = {{{f32({2, 3, 4}), {DType::i32, {}}}, {{"dim", std::int64_t{1}}}, 0, 2.5},
                   {{f32({3, 4}), {DType::i32, {2}}}, {{"dim", std::int64_t{0}}}, 0, 2.5}},
  };
}

// ----------------------------------------------------------------------------------------------------- gather_elements

Op gather_elements() {
  return {
      .name = "gather_elements",
      .doc = "y[.., i, ..] = x[.., index[.., i, ..], ..] along axis `dim`",
      .operands = {"x", "index"},
      .attrs = {{"dim", AttrKind::integer}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_ASSIGN([[maybe_unused]] const std::size_t axis, check_element_index(call));
        return std::vector{Type{call.type(0).dtype, call.shape(1)}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        TAPER_ASSIGN(const Integers offsets, element_offsets(call.operand(1), x.shape, axis));
        Array out = make_array(x.dtype, call.operand(1).shape);
        for (std::size_t i = 0; i < offsets.size(); ++i) out.values[i] = x.values[static_cast<std::size_t>(offsets[i])];
        return std::vector{std::move(out)};
      },
      .expand = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        return {build("gather_nd", {operands[0], element_positions(build, node, operands[1])})};
      },
      .onnx = {.op_type = "GatherElements", .inputs = {operand(0), operand(1)}, .attrs = {{"axis", "dim"}}},
      .examples = {{{f32({3, 4}), {DType::i64, {2, 4}}}, {{"dim", std::int64_t{0}}}, 0, 2.5},
                   {{f32({2, 3, 4}), {DType::i64, {2, 3, 5}}}, {{"dim", std::int64_t{-1}}}, 0, 3.5}},
  };
}

// ----------------------------------------------------------------------------------------------------------- gather_nd

Expected<std::vector<Type>> infer_gather_nd(const InferCall& call) {
  const Shape& x = call.shape(0);
  const Shape& indices = call.shape(1);
  const std::int64_t batch_dims = call.attrs.integer("batch_dims");
  if (batch_dims < 0 || batch_dims >= static_cast<std::int64_t>(indices.size()))
    return fail("{} batch axes of indices {}", batch_dims, shape_text(indices));
  TAPER_ASSIGN(const std::size_t depth, index_depth(call.type(0), call.type(1), static_cast<std::size_t>(batch_dims)));
  if (!std::equal(indices.begin(), indices.begin() + batch_dims, x.begin()))
    return fail("{} batch axes of {} and {}", batch_dims, shape_text(x), shape_text(indices));
  Shape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), x.begin() + batch_dims + static_cast<std::ptrdiff_t>(depth), x.end());
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

Expected<std::vector<Array>> eval_gather_nd(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Array& indices = call.operand(1);
  const auto batch_dims = static_cast<std::size_t>(call.attrs.integer("batch_dims"));
  const auto depth = static_cast<std::size_t>(indices.shape.back());
  const std::span shape(x.shape);
  TAPER_ASSIGN(const Integers offsets, entry_offsets(indices, shape, batch_dims));
  std::vector<std::int64_t> result(indices.shape.begin(), indices.shape.end() - 1);
  result.insert(result.end(), x.shape.begin() + static_cast<std::ptrdiff_t>(batch_dims + depth), x.shape.end());
  Array out = make_array(x.dtype, result);
  const std::int64_t run = product(shape.subspan(batch_dims + depth));
  const std::int64_t entries = product(shape.subspan(batch_dims, depth));
  const std::int64_t batches = product(shape.first(batch_dims));
  const std::int64_t per_batch = batches == 0 ? 0 : static_cast<std::int64_t>(offsets.size()) / batches;
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const std::int64_t batch = static_cast<std::int64_t>(i) / per_batch;
    std::copy_n(x.values.begin() + (batch * entries + offsets[i]) * run, run,
                out.values.begin() + static_cast<std::int64_t>(i) * run);
  }
  return std::vector{std::move(out)};
}

bool has_no_batch(const Node& node) {
  return node.attrs.integer("batch_dims") == 0;
}

// Batch axes become indices of their own.
std::vector<Value*> expand_batched_gather(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::int64_t batch_dims = node.attrs.integer("batch_dims");
  const Type& type = node.operands[1]->type;
  const auto rank = static_cast<std::int64_t>(type.shape.size());
  Value* first = build("slice", {operands[1]}, {{"dim", std::int64_t{-1}}, {"end", Shape{1}}});
  Value* none = build("zeros_like", {first});
  std::vector<Value*> parts;
  for (std::int64_t k = 0; k < batch_dims; ++k) {
    Value* count =
        build("arange", {},
              {{"start", Shape{0}}, {"length", Shape{type.shape[static_cast<std::size_t>(k)]}}, {"dtype", type.dtype}});
    Integers behind;
    for (std::int64_t i = 1; i < rank - k; ++i) behind.push_back(i);
    parts.push_back(build("add", {none, build("unsqueeze", {count}, {{"dims", behind}})}));
  }
  parts.push_back(operands[1]);
  return {build("gather_nd", {operands[0], build("concat", parts, {{"dim", rank - 1}})})};
}

Op gather_nd() {
  return {
      .name = "gather_nd",
      .doc =
          "the entries of x that the last axis of indices names, within the same entries of the first `batch_dims` "
          "axes",
      .operands = {"x", "indices"},
      .attrs = {{"batch_dims", AttrKind::integer, std::int64_t{0}}},
      .infer = infer_gather_nd,
      .eval = eval_gather_nd,
      .expands_if = [](const Node& node, Target target) { return target == Target::onnx || !has_no_batch(node); },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Value* indices = build("cast", {operands[1]}, {{"to", DType::i64}});
        return {build("gather_nd", {operands[0], indices}, node.attrs)};
      },
      .expand_tflite = expand_batched_gather,
      .expand_tensorflow = expand_batched_gather,
      .onnx = {.op_type = "GatherND",
               .inputs = {operand(0), operand(1)},
               .attrs = {{"batch_dims", "batch_dims"}},
               .fits = has_int64_indices},
      .tflite = {.builtin = tflite::BuiltinOperator::GATHER_ND,
                 .since = "1.14.0",
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<tflite::GatherNdOptionsT>(),
                 .dtypes = tflite_moved_dtypes("1.14.0"),
                 .fits = has_no_batch},
      .tensorflow = {.op = "GatherNd",
                     .inputs = {operand(0), operand(1)},
                     .types = {{"Tparams"}, {"Tindices", 1}},
                     .fits = has_no_batch},
      .examples = {{{f32({3, 3, 4}), {DType::i64, {5, 2}}}, {}, 0, 2.5},
                   {{f32({2, 3, 4}), {DType::i32, {2, 2, 1}}}, {{"batch_dims", std::int64_t{1}}}, 0, 2.5}},
  };
}

// ------------------------------------------------------------------------------------------------------------- one_hot

Op one_hot() {
  return {
      .name = "one_hot",
      .doc = "y[.., i] = 1 where index[..] is i, 0 elsewhere, for each i < depth",
      .operands = {"index"},
      .attrs = {{"depth", AttrKind::integer}, {"dtype", AttrKind::dtype, DType::i64}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const std::int64_t depth = call.attrs.integer("depth");
        if (depth < 1 || depth > std::numeric_limits<std::int32_t>::max()) return fail("depth {}", depth);
        if (is_floating(call.type(0).dtype)) return fail("index is {}", type_text(call.type(0)));
        Shape shape = call.shape(0);
        shape.push_back(depth);
        return std::vector{Type{call.attrs.get<DType>("dtype"), std::move(shape)}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& index = call.operand(0);
        const std::int64_t depth = call.attrs.integer("depth");
        std::vector<std::int64_t> shape = index.shape;
        shape.push_back(depth);
        TAPER_ASSIGN([[maybe_unused]] const std::int64_t count, checked_element_count(shape));
        Array out = make_array(call.attrs.get<DType>("dtype"), std::move(shape));
        for (std::size_t i = 0; i < index.values.size(); ++i) {
          const auto entry = static_cast<std::int64_t>(index.values[i]);
          if (entry >= 0 && entry < depth)
            out.values[i * static_cast<std::size_t>(depth) + static_cast<std::size_t>(entry)] = 1;
        }
        return std::vector{std::move(out)};
      },
      .expand = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        const Type& type = node.operands[0]->type;
        Value* index =
            build("unsqueeze", {operands[0]}, {{"dims", Integers{static_cast<std::int64_t>(type.shape.size())}}});
        Value* entries = build(
            "arange", {}, {{"start", Shape{0}}, {"length", Shape{node.attrs.integer("depth")}}, {"dtype", type.dtype}});
        return {build("cast", {build("equal", {index, entries})}, {{"to", node.attrs.get<DType>("dtype")}})};
      },
      .examples = {{{{DType::i64, {2, 3}}}, {{"depth", std::int64_t{4}}}, 0, 3.5},
                   {{{DType::i32, {3}}}, {{"depth", std::int64_t{3}}, {"dtype", DType::f32}}, 0, 2.5}},
  };
}

}  // namespace

std::vector<Op> indexing_ops() {
  return {gather(), gather_elements(), gather_nd(), one_hot()};
}

}  // namespace taper
