// Operators that give the same elements another shape or order; and what asks for shapes.
#include <algorithm>
#include <numeric>

#include "ops/families.h"
#include "ops/moves.h"

namespace taper {

Status resolve_shape(const Value* sizes, Attrs& attrs) {
  const auto count = sizes->type.shape.size() == 1 ? sizes->type.shape[0].constant() : std::nullopt;
  if (!count || *count > 64) return fail("sizes are {}, expected a short vector", type_text(sizes->type));
  auto shape = known_entries(sizes, 0, *count);
  if (!shape || std::ranges::any_of(*shape, [](const Dim& size) { return size.constant().value_or(0) < 0; }))
    return fail("sizes that don't follow from the sizes of a value");
  attrs.set("shape", std::move(*shape));
  return {};
}

Status resolve_shape_of_sizes(std::span<Value* const> operands, Attrs& attrs) {
  return resolve_shape(operands[1], attrs);
}

Status resolve_height_and_width(const Value* sizes, std::int64_t length, std::int64_t first, std::string_view what,
                                Attrs& attrs) {
  const bool is_vector = sizes != nullptr && sizes->type.shape == Shape{length};
  auto size = is_vector ? known_entries(sizes, first, 2) : std::nullopt;
  if (!size) return fail("{} sizes that don't follow from those of a value", what);
  attrs.set("size", std::move(*size));
  return {};
}

Status check_sizes(const Type& sizes, const Shape& shape) {
  if (is_floating(sizes.dtype) || sizes.shape != Shape{Dim(static_cast<std::int64_t>(shape.size()))})
    return fail("sizes are {}, expected {} integers for shape {}", type_text(sizes), shape.size(), shape_text(shape));
  return {};
}

Expected<std::vector<std::int64_t>> checked_sizes(const Array& sizes, const EvalCall& call) {
  TAPER_ASSIGN(std::vector<std::int64_t> shape, evaluate(call.attrs.get<Shape>("shape"), call.bindings));
  if (!std::ranges::equal(shape, sizes.values,
                          [](std::int64_t size, double given) { return static_cast<double>(size) == given; }))
    return fail("sizes are [{}], expected {}", fmt::join(sizes.values, ", "), shape_text(std::span(shape)));
  TAPER_ASSIGN([[maybe_unused]] const std::int64_t count, checked_element_count(shape));
  return shape;
}

namespace {

// ------------------------------------------------------------------------------------------------------------- reshape

// The sizes as ONNX's Reshape takes them: 0 copies a symbolic size that x has at the same axis, one other symbolic size
// is -1. Nothing if more are left, or if a size of 0 would be taken for a copy.
std::optional<Integers> copied_or_inferred_sizes(const Node& node) {
  const Shape& from = node.operands[0]->type.shape;
  const Shape& to = node.attrs.get<Shape>("shape");
  Integers sizes;
  for (std::size_t axis = 0; axis < to.size(); ++axis) {
    const bool copied = axis < from.size() && from[axis] == to[axis];
    const auto number = to[axis].constant();
    if (number == 0 && !copied) return std::nullopt;
    sizes.push_back(number ? *number : copied ? 0 : -1);
  }
  const auto inferred = std::ranges::count(sizes, -1);
  const bool empty = std::ranges::any_of(to, [](const Dim& size) { return size.is(0); });
  if (inferred > 1 || (inferred == 1 && empty)) return std::nullopt;
  return sizes;
}

bool has_at_most_one_symbol(const Node& node) {
  const auto& shape = node.attrs.get<Shape>("shape");
  return std::ranges::count_if(shape, [](const Dim& dim) { return !dim.constant(); }) <= 1;
}

// Axes of x and of the result with the same product, as few as there can be.
struct AxisGroup {
  std::size_t from_begin, from_end, to_begin, to_end;
};
std::optional<std::vector<AxisGroup>> axis_groups(const Shape& from, const Shape& to) {
  std::vector<AxisGroup> groups;
  std::size_t i = 0, j = 0;
  while (i < from.size() && j < to.size()) {
    AxisGroup group{i, i, j, j};
    Dim left = from[i++], right = to[j++];
    while (left != right) {
      if (i < from.size() && divide_exactly(right, left))
        left = left * from[i++];
      else if (j < to.size() && divide_exactly(left, right))
        right = right * to[j++];
      else
        return std::nullopt;
    }
    group.from_end = i;
    group.to_end = j;
    groups.push_back(group);
  }
  // What is left is of size 1.
  if (groups.empty()) return std::nullopt;
  groups.back().from_end = from.size();
  groups.back().to_end = to.size();
  return groups;
}

// Where only axes of size 1 have moved, the elements lie in the same order. Otherwise axes that are joined or cut have
// to stand beside each other in the base too.
std::optional<CallOnBases> reshape_on_bases(const Node& node, std::span<const std::int64_t> dims,
                                            std::int64_t base_rank) {
  const Shape& from = node.operands[0]->type.shape;
  const Shape& to = node.results[0]->type.shape;
  CallOnBases call{node.attrs, Integers(to.size())};
  std::int64_t last = -1;
  bool in_order = true;
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    if (from[axis].is(1)) continue;
    in_order = in_order && dims[axis] > last;
    last = dims[axis];
  }
  if (in_order) {
    std::iota(call.dims.begin(), call.dims.end(), 0);
    return call;
  }
  auto groups = axis_groups(from, to);
  if (!groups || base_rank != static_cast<std::int64_t>(dims.size())) return std::nullopt;
  for (const AxisGroup& group : *groups)
    for (std::size_t axis = group.from_begin + 1; axis < group.from_end; ++axis)
      if (dims[axis] != dims[axis - 1] + 1) return std::nullopt;
  std::ranges::sort(*groups, {}, [&](const AxisGroup& group) { return dims[group.from_begin]; });
  Shape shape;
  for (const AxisGroup& group : *groups)
    for (std::size_t axis = group.to_begin; axis < group.to_end; ++axis) {
      call.dims[axis] = static_cast<std::int64_t>(shape.size());
      shape.push_back(to[axis]);
    }
  call.attrs.set("shape", std::move(shape));
  return call;
}

}  // namespace

Array permute_array(const Array& x, std::span<const std::int64_t> dims) {
  const Integers strides = row_major_strides(x.shape);
  Integers shape, steps;
  for (const std::int64_t dim : dims) {
    shape.push_back(x.size(dim));
    steps.push_back(strides[static_cast<std::size_t>(dim)]);
  }
  Array out = make_array(x.dtype, shape);
  Integers index(shape.size(), 0);
  std::int64_t from = 0;
  for (double& value : out.values) {
    value = x.values[static_cast<std::size_t>(from)];
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      from += steps[axis];
      if (++index[axis] < shape[axis]) break;
      from -= steps[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

std::optional<Dim> remaining_size(Shape from, const Shape& to, std::size_t open) {
  Dim others = 1;
  for (std::size_t axis = 0; axis < to.size(); ++axis) {
    if (axis == open) continue;
    if (to[axis].is(0)) return Dim(0);
    const auto same = std::ranges::find(from, to[axis]);
    if (same != from.end())
      from.erase(same);
    else
      others = others * to[axis];
  }
  return divide_exactly(element_count(from), others);
}

namespace {

// TFLite's and TensorFlow's one size of -1 is what the others leave of x.
Status resolve_inferred_size(std::span<Value* const> operands, Attrs& attrs) {
  Shape shape = attrs.get<Shape>("shape");
  std::optional<std::size_t> open;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const std::int64_t size = shape[axis].constant().value_or(0);
    if (size < -1 || (size == -1 && open)) return fail("shape {} can't be inferred", shape_text(shape));
    if (size == -1) open = axis;
  }
  if (!open) return {};
  const Shape& from = operands[0]->type.shape;
  const auto rest = remaining_size(from, shape, *open);
  if (!rest) return fail("elements of shape {} don't fill {}", shape_text(from), shape_text(shape));
  shape[*open] = *rest;
  attrs.set("shape", std::move(shape));
  return {};
}

Expected<std::vector<Type>> infer_reshape(const InferCall& call) {
  const auto& shape = call.attrs.get<Shape>("shape");
  if (element_count(call.shape(0)) != element_count(shape))
    return fail("shape {} has another number of elements than {}", shape_text(shape), shape_text(call.shape(0)));
  return std::vector{Type{call.type(0).dtype, shape}};
}

// TFLite takes a constant without elements, the sizes of a scalar, for a tensor that is computed at run time.
bool has_sizes_for_tflite(const Node& node) {
  return has_at_most_one_symbol(node) && !node.attrs.get<Shape>("shape").empty();
}

std::vector<Value*> expand_reshape_to_scalar(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (!node.attrs.get<Shape>("shape").empty()) return {build("reshape", {operands[0]}, node.attrs)};
  Integers all(node.operands[0]->type.shape.size());
  std::iota(all.begin(), all.end(), 0);
  return {build("squeeze", {operands[0]}, {{"dims", all}})};
}

Op reshape() {
  return {
      .name = "reshape",
      .doc = "the elements of x in row-major order, in another shape",
      .operands = {"x"},
      .attrs = {{"shape", AttrKind::shape}},
      .infer = infer_reshape,
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Array out = call.operand(0);
        TAPER_ASSIGN(out.shape, evaluate(call.attrs.get<Shape>("shape"), call.bindings));
        return std::vector{std::move(out)};
      },
      .on_bases = reshape_on_bases,
      .expands_if =
          [](const Node& node, Target) {
            const Shape& x = node.operands[0]->type.shape;
            return node.attrs.get<Shape>("shape").empty() && !x.empty() &&
                   std::ranges::all_of(x, [](const Dim& size) { return size.is(1); });
          },
      .expand_tflite = expand_reshape_to_scalar,
      .onnx = {.op_type = "Reshape",
               .inputs = {operand(0), made([](const Node& node) { return *copied_or_inferred_sizes(node); })},
               .fits = [](const Node& node) { return copied_or_inferred_sizes(node).has_value(); }},
      .tflite = {.builtin = tflite::BuiltinOperator::RESHAPE,
                 .since = "1.5.0",
                 .inputs = {operand(0), attr_tensor("shape")},
                 .options = tflite_options<tflite::ReshapeOptionsT>(),
                 .fits = has_sizes_for_tflite,
                 .read_operands = resolve_inferred_size},
      .tensorflow = {.op = "Reshape",
                     .inputs = {operand(0), attr_tensor("shape")},
                     .fits = has_at_most_one_symbol,
                     .read_operands = resolve_inferred_size},
      .examples = {{{f32({2, 3, 4})}, {{"shape", Shape{6, 4}}}}, {{f32({1, 1})}, {{"shape", Shape{}}}}},
  };
}

Op reshape_to() {
  return {
      .name = "reshape_to",
      .doc = "reshape to the integer vector `sizes`, which is `shape`",
      .operands = {"x", "sizes"},
      .attrs = {{"shape", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_sizes(call.type(1), call.attrs.get<Shape>("shape")));
        return infer_reshape(call);
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Array out = call.operand(0);
        TAPER_ASSIGN(out.shape, checked_sizes(call.operand(1), call));
        return std::vector{std::move(out)};
      },
      .expand_onnx = with_sizes_as<DType::i64>,
      .expand_tflite = with_sizes_as<DType::i32>,
      .onnx = {.op_type = "Reshape", .inputs = {operand(0), operand(1)}, .fits = has_sizes_as<DType::i64>},
      .tflite = {.builtin = tflite::BuiltinOperator::RESHAPE,
                 .since = "1.5.0",
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<tflite::ReshapeOptionsT>(),
                 .fits = has_sizes_as<DType::i32>,
                 .read_operands = resolve_shape_of_sizes},
      .tensorflow = {.op = "Reshape",
                     .inputs = {operand(0), operand(1)},
                     .types = {{"T"}, {"Tshape", 1}},
                     .read_operands = resolve_shape_of_sizes},
      .examples = {{{f32({3, 3}), {DType::i64, {2}}}, {{"shape", Shape{3, 3}}}, 3, 3, 1}},
  };
}

bool adds_one_axis(const Node& node) {
  return node.attrs.integers("dims").size() == 1;
}

// EXPAND_DIMS adds one axis.
std::vector<Value*> expand_unsqueeze_axis_by_axis(Builder& build, const Node& node, std::span<Value* const> operands) {
  const auto rank = static_cast<std::int64_t>(node.results[0]->type.shape.size());
  Value* x = operands[0];
  for (const std::int64_t dim : node.attrs.integers("dims"))
    x = build("unsqueeze", {x}, {{"dims", Integers{dim < 0 ? dim + rank : dim}}});
  return {x};
}

// Adding and removing axes of size 1.
Op unsqueeze() {
  return {
      .name = "unsqueeze",
      .doc = "x with an axis of size 1 at each of `dims` of the result",
      .operands = {"x"},
      .attrs = {{"dims", AttrKind::integers}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        Shape shape = call.shape(0);
        const std::size_t rank = shape.size() + call.attrs.integers("dims").size();
        std::vector<bool> is_new(rank, false);
        for (const std::int64_t dim : call.attrs.integers("dims")) {
          TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, rank));
          if (is_new[axis]) return fail("axis {} is added twice", axis);
          is_new[axis] = true;
          if (axis > shape.size())
            return fail("dims {} are not in order", fmt::join(call.attrs.integers("dims"), ", "));
          shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), Dim(1));
        }
        return std::vector{Type{call.type(0).dtype, std::move(shape)}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Array out = call.operand(0);
        const std::size_t rank = out.shape.size() + call.attrs.integers("dims").size();
        for (const std::int64_t dim : call.attrs.integers("dims")) {
          TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, rank));
          out.shape.insert(out.shape.begin() + static_cast<std::ptrdiff_t>(axis), 1);
        }
        return std::vector{std::move(out)};
      },
      .rearrange = [](std::span<const Tensor* const> operands, const Attrs& attrs) -> std::vector<Tensor> {
        Tensor out = *operands[0];
        const std::size_t rank = out.shape.size() + attrs.integers("dims").size();
        for (const std::int64_t dim : attrs.integers("dims")) {
          const auto axis = static_cast<std::ptrdiff_t>(*normalize_axis(dim, rank));
          out.shape.insert(out.shape.begin() + axis, 1);
          out.strides.insert(out.strides.begin() + axis, 1);
        }
        return {out};
      },
      .axes_of_x =
          [](const Node& node) {
            const std::size_t rank = node.results[0]->type.shape.size();
            Integers axes(rank, 0);
            for (const std::int64_t dim : node.attrs.integers("dims")) axes[*normalize_axis(dim, rank)] = -1;
            std::int64_t next = 0;
            for (std::int64_t& axis : axes) axis = axis == 0 ? next++ : axis;
            return axes;
          },
      .expands_if = [](const Node& node, Target) { return node.attrs.integers("dims").size() > 1; },
      .expand_tflite = expand_unsqueeze_axis_by_axis,
      .expand_tensorflow = expand_unsqueeze_axis_by_axis,
      .onnx = {.op_type = "Unsqueeze", .inputs = {operand(0), attr_tensor("dims")}},
      .tflite = {.builtin = tflite::BuiltinOperator::EXPAND_DIMS,
                 .since = "1.10.0",
                 .inputs = {operand(0), attr_tensor("dims")},
                 .options = tflite_options<tflite::ExpandDimsOptionsT>(),
                 .fits = adds_one_axis},
      .tensorflow = {.op = "ExpandDims", .inputs = {operand(0), attr_tensor("dims")}, .fits = adds_one_axis},
      .examples = {{{f32({2, 3})}, {{"dims", Integers{1}}}}, {{f32({2, 3})}, {{"dims", Integers{0, 2, 4}}}}},
  };
}

template <class Sizes, class IsOne>
Status remove_axes(Sizes& shape, const Integers& dims, IsOne is_one) {
  std::vector<std::size_t> axes;
  for (const std::int64_t dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, shape.size()));
    if (!is_one(shape[axis])) return fail("axis {} is not of size 1", dim);
    axes.push_back(axis);
  }
  std::ranges::sort(axes, std::greater{});
  if (std::ranges::adjacent_find(axes) != axes.end()) return fail("dims {} name an axis twice", fmt::join(dims, ", "));
  for (const std::size_t axis : axes) shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  return {};
}

Op squeeze() {
  using Options = tflite::SqueezeOptionsT;
  return {
      .name = "squeeze",
      .doc = "x without the axes `dims`, each of size 1",
      .operands = {"x"},
      .attrs = {{"dims", AttrKind::integers}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        Type type = call.type(0);
        TAPER_TRY(remove_axes(type.shape, call.attrs.integers("dims"), [](const Dim& dim) { return dim.is(1); }));
        return std::vector{std::move(type)};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Array out = call.operand(0);
        TAPER_TRY(remove_axes(out.shape, call.attrs.integers("dims"), [](std::int64_t size) { return size == 1; }));
        return std::vector{std::move(out)};
      },
      .axes_of_x =
          [](const Node& node) {
            const std::size_t rank = node.operands[0]->type.shape.size();
            std::vector<bool> removed(rank, false);
            for (const std::int64_t dim : node.attrs.integers("dims")) removed[*normalize_axis(dim, rank)] = true;
            Integers axes;
            for (std::size_t axis = 0; axis < rank; ++axis)
              if (!removed[axis]) axes.push_back(static_cast<std::int64_t>(axis));
            return axes;
          },
      .onnx = {.op_type = "Squeeze", .inputs = {operand(0), attr_tensor("dims")}},
      .tflite = {.builtin = tflite::BuiltinOperator::SQUEEZE,
                 .since = "1.6.0",
                 .inputs = {operand(0)},
                 .options = {[](const Node& node, tflite::BuiltinOptionsUnion& out) {
                               Options options;
                               for (const std::int64_t dim : node.attrs.integers("dims"))
                                 options.squeeze_dims.push_back(static_cast<std::int32_t>(dim));
                               out.Set(std::move(options));
                             },
                             [](const tflite::BuiltinOptionsUnion& in, Attrs& attrs) -> Status {
                               const Options* options = in.AsSqueezeOptions();
                               if (options == nullptr) return fail("SQUEEZE without options");
                               attrs.set("dims", Integers(options->squeeze_dims.begin(), options->squeeze_dims.end()));
                               return {};
                             }}},
      .tensorflow = {.op = "Squeeze", .inputs = {operand(0)}, .attrs = {{"squeeze_dims", "dims"}}},
      .examples = {{{f32({2, 1, 3})}, {{"dims", Integers{1}}}}},
  };
}

// ------------------------------------------------------------------------------------------------------------- permute

Expected<std::vector<Array>> eval_permute(const EvalCall& call) {
  return std::vector{permute_array(call.operand(0), call.attrs.integers("dims"))};
}

Op permute() {
  return {
      .name = "permute",
      .doc = "y[i0, i1, ...] = x with its axes in the order `dims`",
      .operands = {"x"},
      .attrs = {{"dims", AttrKind::integers}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const Integers& dims = call.attrs.integers("dims");
        const Shape& x = call.shape(0);
        Integers sorted = dims;
        std::ranges::sort(sorted);
        bool complete = sorted.size() == x.size();
        for (std::size_t i = 0; complete && i < sorted.size(); ++i)
          complete = sorted[i] == static_cast<std::int64_t>(i);
        if (!complete) return fail("dims [{}] are no order of {} axes", fmt::join(dims, ", "), x.size());
        Shape shape;
        for (const std::int64_t dim : dims) shape.push_back(x[static_cast<std::size_t>(dim)]);
        return std::vector{Type{call.type(0).dtype, std::move(shape)}};
      },
      .eval = eval_permute,
      .rearrange = [](std::span<const Tensor* const> operands, const Attrs& attrs) -> std::vector<Tensor> {
        const Tensor& x = *operands[0];
        Tensor out = x;
        const Integers& dims = attrs.integers("dims");
        for (std::size_t i = 0; i < dims.size(); ++i) {
          out.shape[i] = x.shape[static_cast<std::size_t>(dims[i])];
          out.strides[i] = x.strides[static_cast<std::size_t>(dims[i])];
        }
        return {out};
      },
      .axes_of_x = [](const Node& node) { return node.attrs.integers("dims"); },
      .onnx = {.op_type = "Transpose", .inputs = {operand(0)}, .attrs = {{"perm", "dims"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::TRANSPOSE,
                 .since = "1.6.0",
                 .inputs = {operand(0), attr_tensor("dims")},
                 .options = tflite_options<tflite::TransposeOptionsT>()},
      .tensorflow = {.op = "Transpose", .result = "y", .inputs = {operand(0), attr_tensor("dims")}},
      .examples = {{{f32({2, 3, 4})}, {{"dims", Integers{2, 0, 1}}}}, {{f32({3, 4})}, {{"dims", Integers{1, 0}}}}},
  };
}

// ------------------------------------------------------------------------------------------------------------ shape_of

Op shape_of() {
  using Options = tflite::ShapeOptionsT;
  return {
      .name = "shape_of",
      .doc = "the sizes of x as an integer vector",
      .operands = {"x"},
      .attrs = {{"dtype", AttrKind::dtype, DType::i64}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        return std::vector{
            Type{call.attrs.get<DType>("dtype"), {Dim(static_cast<std::int64_t>(call.shape(0).size()))}}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        return std::vector{Array{call.attrs.get<DType>("dtype"), {x.rank()}, {x.shape.begin(), x.shape.end()}}};
      },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Value* shape = build("shape_of", {operands[0]}, {{"dtype", DType::i64}});
        return {build("cast", {shape}, {{"to", node.attrs.get<DType>("dtype")}})};
      },
      .onnx = {.op_type = "Shape",
               .inputs = {operand(0)},
               .fits = [](const Node& node) { return node.attrs.get<DType>("dtype") == DType::i64; }},
      .tflite = {.builtin = tflite::BuiltinOperator::SHAPE,
                 .since = "1.10.0",
                 .inputs = {operand(0)},
                 .options =
                     tflite_options<Options>(OptionField<Options, tflite::TensorType>{&Options::out_type, "dtype"})},
      .tensorflow = {.op = "Shape", .inputs = {operand(0)}, .attrs = {{"out_type", "dtype"}}},
      .examples = {{{f32({2, 3})}}},
  };
}

// A vector of sizes. Those that are symbolic are computed from the sizes of the graph's inputs (passes/dims.cpp).
Op sizes() {
  return {
      .name = "sizes",
      .doc = "the sizes, which may be symbolic, as an integer vector",
      .attrs = {{"sizes", AttrKind::shape}, {"dtype", AttrKind::dtype, DType::i64}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const auto count = static_cast<std::int64_t>(call.attrs.get<Shape>("sizes").size());
        return std::vector{Type{call.attrs.get<DType>("dtype"), {count}}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<std::int64_t> sizes, evaluate(call.attrs.get<Shape>("sizes"), call.bindings));
        return std::vector{Array{
            call.attrs.get<DType>("dtype"), {static_cast<std::int64_t>(sizes.size())}, {sizes.begin(), sizes.end()}}};
      },
      .examples = {{{}, {{"sizes", Shape{2, 3}}}}},
  };
}

}  // namespace

std::vector<Op> shape_ops() {
  return {reshape(), reshape_to(), unsqueeze(), squeeze(), permute(), shape_of(), sizes()};
}

}  // namespace taper
