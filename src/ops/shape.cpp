// Operators that move elements: reshape, permute, concat, split, slices, gather; and what asks for shapes.
#include "ops/families.h"
#include "ops/rules.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

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

// TFLite's and TensorFlow's one size of -1 is what the others leave of x.
Status resolve_inferred_size(std::span<Value* const> operands, Attrs& attrs) {
  Shape shape = attrs.get<Shape>("shape");
  Dim known = 1;
  std::optional<std::size_t> open;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const std::int64_t size = shape[axis].constant().value_or(0);
    if (size < -1 || (size == -1 && open)) return fail("shape {} can't be inferred", shape_text(shape));
    if (size == -1)
      open = axis;
    else
      known = known * shape[axis];
  }
  if (!open) return {};
  const Shape& from = operands[0]->type.shape;
  const auto rest = divide_exactly(element_count(from), known);
  if (!rest) return fail("elements of shape {} don't fill {}", shape_text(from), shape_text(shape));
  shape[*open] = *rest;
  attrs.set("shape", std::move(shape));
  return {};
}

Op reshape() {
  return {
      .name = "reshape",
      .doc = "the elements of x in row-major order, in another shape",
      .operands = {"x"},
      .attrs = {{"shape", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const auto& shape = call.attrs.get<Shape>("shape");
        if (element_count(call.shape(0)) != element_count(shape))
          return fail("shape {} has another number of elements than {}", shape_text(shape), shape_text(call.shape(0)));
        return std::vector{Type{call.type(0).dtype, shape}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Array out = call.operand(0);
        TAPER_ASSIGN(out.shape, evaluate(call.attrs.get<Shape>("shape"), call.bindings));
        return std::vector{std::move(out)};
      },
      .onnx = {.op_type = "Reshape",
               .inputs = {operand(0), made([](const Node& node) { return *copied_or_inferred_sizes(node); })},
               .fits = [](const Node& node) { return copied_or_inferred_sizes(node).has_value(); }},
      .tflite = {.builtin = tflite::BuiltinOperator::RESHAPE,
                 .since = "1.5.0",
                 .inputs = {operand(0), attr_tensor("shape")},
                 .options = tflite_options<tflite::ReshapeOptionsT>(),
                 .fits = has_at_most_one_symbol,
                 .read_operands = resolve_inferred_size},
      .tensorflow = {.op = "Reshape",
                     .inputs = {operand(0), attr_tensor("shape")},
                     .fits = has_at_most_one_symbol,
                     .read_operands = resolve_inferred_size},
      .examples = {{{f32({2, 3, 4})}, {{"shape", Shape{6, 4}}}}},
  };
}

// Entries start <= i < start + length of an axis, where they lie.
Tensor slice_view(const Tensor& x, std::size_t axis, std::int64_t start, std::int64_t length) {
  Tensor out = x;
  out.shape[axis] = length;
  if (out.element_count() == 0) return out;
  const auto offset = static_cast<std::size_t>(start * x.strides[axis]) * size_of(x.dtype);
  out.storage = x.storage.sub(offset, x.storage.view.size() - offset);
  return out;
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
        for (const std::int64_t dim : call.attrs.integers("dims")) {
          TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, rank));
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
      .onnx = {.op_type = "Unsqueeze", .inputs = {operand(0), attr_tensor("dims")}},
      .tflite = {.builtin = tflite::BuiltinOperator::EXPAND_DIMS,
                 .since = "1.10.0",
                 .inputs = {operand(0), attr_tensor("dims")},
                 .options = tflite_options<tflite::ExpandDimsOptionsT>(),
                 .fits = [](const Node& node) { return node.attrs.integers("dims").size() == 1; }},
      .tensorflow = {.op = "ExpandDims",
                     .inputs = {operand(0), attr_tensor("dims")},
                     .fits = [](const Node& node) { return node.attrs.integers("dims").size() == 1; }},
      .examples = {{{f32({2, 3})}, {{"dims", Integers{1}}}}},
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
  const Array& x = call.operand(0);
  const Integers& dims = call.attrs.integers("dims");
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
  return std::vector{std::move(out)};
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
      .onnx = {.op_type = "Transpose", .inputs = {operand(0)}, .attrs = {{"perm", "dims"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::TRANSPOSE,
                 .since = "1.6.0",
                 .inputs = {operand(0), attr_tensor("dims")},
                 .options = tflite_options<tflite::TransposeOptionsT>()},
      .tensorflow = {.op = "Transpose", .result = "y", .inputs = {operand(0), attr_tensor("dims")}},
      .examples = {{{f32({2, 3, 4})}, {{"dims", Integers{2, 0, 1}}}}, {{f32({3, 4})}, {{"dims", Integers{1, 0}}}}},
  };
}

// ---------------------------------------------------------------------------------------------------- concat and split

Expected<std::vector<Type>> infer_concat(const InferCall& call) {
  if (call.operands.empty()) return fail("nothing to join");
  Shape shape = call.shape(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), shape.size()));
  for (std::size_t i = 1; i < call.operands.size(); ++i) {
    const Shape& other = call.shape(i);
    if (other.size() != shape.size())
      return fail("shapes {} and {} have different ranks", shape_text(shape), shape_text(other));
    for (std::size_t k = 0; k < shape.size(); ++k)
      if (k != axis && other[k] != shape[k])
        return fail("shapes {} and {} differ outside of axis {}", shape_text(shape), shape_text(other), axis);
    shape[axis] = shape[axis] + other[axis];
  }
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

Expected<std::vector<Array>> eval_concat(const EvalCall& call) {
  std::vector<std::int64_t> shape = call.operand(0).shape;
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), shape.size()));
  for (std::size_t i = 1; i < call.operands.size(); ++i) shape[axis] += call.operand(i).shape[axis];
  Array out = make_array(call.operand(0).dtype, shape);
  const AxisView whole = axis_view(shape, axis);
  std::int64_t at = 0;
  for (const Array* part : call.operands) {
    const std::int64_t run = part->shape[axis] * whole.inner;
    for (std::int64_t o = 0; o < whole.outer; ++o)
      std::copy_n(part->values.begin() + o * run, run, out.values.begin() + o * whole.size * whole.inner + at);
    at += run;
  }
  return std::vector{std::move(out)};
}

Op concat() {
  using Options = tflite::ConcatenationOptionsT;
  return {
      .name = "concat",
      .doc = "the operands one after another along axis `dim`",
      .operands = {"xs*"},
      .attrs = {{"dim", AttrKind::integer}},
      .infer = infer_concat,
      .eval = eval_concat,
      // Along the first axis the parts follow one another.
      .rearrange = [](std::span<const Tensor* const> operands, const Attrs& attrs) -> std::vector<Tensor> {
        std::vector<std::int64_t> shape = operands[0]->shape;
        if (*normalize_axis(attrs.integer("dim"), shape.size()) != 0) return {};
        std::vector<std::byte> bytes;
        for (const Tensor* part : operands) {
          const std::size_t at = bytes.size();
          bytes.resize(at + static_cast<std::size_t>(part->byte_count()));
          convert_elements(*part, part->dtype, std::span(bytes).subspan(at));
          if (part != operands[0]) shape[0] += part->shape[0];
        }
        return {make_tensor(operands[0]->dtype, std::move(shape), std::move(bytes))};
      },
      .onnx = {.op_type = "Concat", .inputs = {operands_from(0)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::CONCATENATION,
                 .since = "1.5.0",
                 .inputs = {operands_from(0)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::axis, "dim"})},
      .tensorflow = {.op = "ConcatV2", .inputs = {operands_from(0), attr_tensor("dim")}, .count = "N"},
      .examples = {{{f32({2, 3}), f32({2, 4})}, {{"dim", std::int64_t{1}}}},
                   {{f32({1, 3}), f32({2, 3}), f32({1, 3})}, {{"dim", std::int64_t{0}}}}},
  };
}

Expected<std::vector<Type>> infer_split(const InferCall& call) {
  const std::int64_t parts = call.attrs.integer("parts");
  Type type = call.type(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
  const auto size = parts > 0 && parts < 65536 ? divide_exactly(type.shape[axis], Dim(parts)) : std::nullopt;
  if (!size) return fail("axis {} of {} does not split into {} equal parts", axis, shape_text(type.shape), parts);
  type.shape[axis] = *size;
  return std::vector<Type>(static_cast<std::size_t>(parts), type);
}

Expected<std::vector<Array>> eval_split(const EvalCall& call) {
  const Array& x = call.operand(0);
  const std::int64_t parts = call.attrs.integer("parts");
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  const AxisView view = axis_view(x.shape, axis);
  const std::int64_t run = view.size / parts * view.inner;
  std::vector<std::int64_t> shape = x.shape;
  shape[axis] = view.size / parts;
  std::vector<Array> out;
  for (std::int64_t part = 0; part < parts; ++part) {
    out.push_back(make_array(x.dtype, shape));
    for (std::int64_t o = 0; o < view.outer; ++o)
      std::copy_n(x.values.begin() + o * view.size * view.inner + part * run, run, out.back().values.begin() + o * run);
  }
  return out;
}

Op split() {
  using Options = tflite::SplitOptionsT;
  return {
      .name = "split",
      .doc = "x cut into `parts` equal parts along axis `dim`",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer}, {"parts", AttrKind::integer}},
      .infer = infer_split,
      .eval = eval_split,
      .rearrange = [](std::span<const Tensor* const> operands, const Attrs& attrs) -> std::vector<Tensor> {
        const std::size_t axis = *normalize_axis(attrs.integer("dim"), operands[0]->shape.size());
        const std::int64_t parts = attrs.integer("parts");
        const std::int64_t size = operands[0]->shape[axis] / parts;
        std::vector<Tensor> out;
        out.reserve(static_cast<std::size_t>(parts));
        for (std::int64_t part = 0; part < parts; ++part)
          out.push_back(slice_view(*operands[0], axis, part * size, size));
        return out;
      },
      .onnx = {.op_type = "Split", .inputs = {operand(0)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::SPLIT,
                 .since = "1.5.0",
                 .inputs = {attr_tensor("dim"), operand(0)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::num_splits, "parts"})},
      .tensorflow = {.op = "Split", .inputs = {attr_tensor("dim"), operand(0)}, .attrs = {{"num_split", "parts"}}},
      .examples = {{{f32({2, 6})}, {{"dim", std::int64_t{1}}, {"parts", std::int64_t{3}}}}},
  };
}

// -------------------------------------------------------------------------------------------------------------- slices

Array slice_axis(const Array& x, std::size_t axis, std::int64_t start, std::int64_t length) {
  const AxisView view = axis_view(x.shape, axis);
  std::vector<std::int64_t> shape = x.shape;
  shape[axis] = length;
  Array out = make_array(x.dtype, shape);
  for (std::int64_t o = 0; o < view.outer; ++o)
    std::copy_n(x.values.begin() + (o * view.size + start) * view.inner, length * view.inner,
                out.values.begin() + o * length * view.inner);
  return out;
}

// The one size that an attribute holds.
Expected<Dim> one_size(const Attrs& attrs, std::string_view name) {
  const auto& sizes = attrs.get<Shape>(name);
  if (sizes.size() != 1) return fail("attribute '{}' holds {} sizes, expected one", name, sizes.size());
  return sizes[0];
}

Expected<std::vector<Type>> infer_slice(const InferCall& call) {
  Type type = call.type(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
  TAPER_ASSIGN(const Dim end, one_size(call.attrs, "end"));
  const std::int64_t start = call.attrs.integer("start");
  const Dim length = end - Dim(start);
  // Differences that are no numbers are known at run time.
  const auto negative = [](const Dim& difference) { return difference.constant().value_or(0) < 0; };
  if (start < 0 || negative(length) || negative(type.shape[axis] - end) || negative(type.shape[axis] - Dim(start)))
    return fail("entries {} to {} of axis {} of {}", start, end.text(), axis, shape_text(type.shape));
  type.shape[axis] = length;
  return std::vector{std::move(type)};
}

Expected<std::vector<Array>> eval_slice(const EvalCall& call) {
  const Array& x = call.operand(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  TAPER_ASSIGN(const std::int64_t end, call.attrs.get<Shape>("end")[0].evaluate(call.bindings));
  const std::int64_t start = call.attrs.integer("start");
  if (end < start || end > x.shape[axis])
    return fail("entries {} to {} of axis {} of size {}", start, end, axis, x.shape[axis]);
  return std::vector{slice_axis(x, axis, start, end - start)};
}

std::size_t axis_of(const Node& node) {
  const std::int64_t dim = node.attrs.integer("dim");
  return static_cast<std::size_t>(dim < 0 ? dim + static_cast<std::int64_t>(node.operands[0]->type.shape.size()) : dim);
}

std::vector<std::int64_t> zeros_for_rank(const Node& node) {
  return Integers(node.operands[0]->type.shape.size(), 0);
}
std::vector<std::int64_t> ones_for_rank(const Node& node) {
  return Integers(node.operands[0]->type.shape.size(), 1);
}

// TFLite and TensorFlow slice with strided slices, whose masks take all axes but one whole; XNNPACK runs them.
std::vector<std::int64_t> at_axis(const Node& node, std::int64_t value) {
  Integers positions = zeros_for_rank(node);
  positions[axis_of(node)] = value;
  return positions;
}

// How far the end of a slice is from the end of its axis; nothing if that depends on a symbol.
std::optional<std::int64_t> entries_behind(const Node& node) {
  return (node.operands[0]->type.shape[axis_of(node)] - node.attrs.get<Shape>("end")[0]).constant();
}

bool has_constant_end(const Node& node) {
  return node.attrs.get<Shape>("end")[0].constant().has_value();
}
bool has_plain_end(const Node& node) {
  return has_constant_end(node) || entries_behind(node).has_value();
}

// The end as STRIDED_SLICE takes it: a number, or counted from the end of the axis; 0 where the mask says "all".
std::int64_t slice_end(const Node& node) {
  const auto constant = node.attrs.get<Shape>("end")[0].constant();
  return constant ? *constant : -*entries_behind(node);
}

enum class Slicing { range, shrink };

// Stands for the size of the sliced axis in an `end` that was read, until the operand is known.
Dim axis_size() {
  return Dim::symbol(":axis");
}

// Bit i stands for axis i: taken from its begin, taken to its end, removed.
struct SliceMasks {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t shrink_axis = 0;
};

SliceMasks masks_of(const Node& node, Slicing slicing) {
  const std::int64_t all = (std::int64_t{1} << node.operands[0]->type.shape.size()) - 1;
  const std::int64_t own = std::int64_t{1} << axis_of(node);
  const bool to_the_end = node.attrs.find("end") != nullptr && !has_constant_end(node) && entries_behind(node) == 0;
  return {all & ~own, to_the_end ? all : all & ~own, slicing == Slicing::shrink ? own : 0};
}

Status read_masks(const SliceMasks& masks, Slicing slicing, Attrs& attrs) {
  if ((masks.shrink_axis != 0) != (slicing == Slicing::shrink)) return fail("a strided slice of another kind");
  std::int64_t axis = 0;
  while (axis < 8 && ((masks.begin >> axis) & 1) != 0) ++axis;
  attrs.set("dim", axis);
  if (((masks.end >> axis) & 1) != 0) attrs.set("end", Shape{axis_size()});
  return {};
}

TfliteOptions strided_slice_options(Slicing slicing) {
  using Options = tflite::StridedSliceOptionsT;
  return {[slicing](const Node& node, tflite::BuiltinOptionsUnion& out) {
            const SliceMasks masks = masks_of(node, slicing);
            Options options;
            options.begin_mask = static_cast<std::int32_t>(masks.begin);
            options.end_mask = static_cast<std::int32_t>(masks.end);
            options.shrink_axis_mask = static_cast<std::int32_t>(masks.shrink_axis);
            out.Set(options);
          },
          [slicing](const tflite::BuiltinOptionsUnion& in, Attrs& attrs) -> Status {
            const Options* options = in.AsStridedSliceOptions();
            if (options == nullptr) return fail("STRIDED_SLICE without options");
            return read_masks({options->begin_mask, options->end_mask, options->shrink_axis_mask}, slicing, attrs);
          }};
}

template <Slicing slicing>
TensorflowComputed strided_slice_masks() {
  return {{"begin_mask", "end_mask", "shrink_axis_mask"},
          [](const Node& node) {
            const SliceMasks masks = masks_of(node, slicing);
            return Integers{masks.begin, masks.end, masks.shrink_axis};
          },
          [](std::span<const std::int64_t> values, Attrs& attrs) {
            return read_masks({values[0], values[1], values[2]}, slicing, attrs);
          }};
}

// The entry for axis `dim` of the constant input `i`.
Expected<std::int64_t> constant_at_dim(std::span<const Tensor* const> constants, std::size_t i, const Attrs& attrs) {
  const auto axis = static_cast<std::size_t>(attrs.integer("dim"));
  if (i >= constants.size() || constants[i] == nullptr) return fail("a strided slice with computed bounds");
  const std::vector<double> values = to_double(*constants[i]);
  if (axis >= values.size()) return fail("a strided slice of an axis that doesn't exist");
  return static_cast<std::int64_t>(values[axis]);
}

Status read_slice(std::span<const Tensor* const> constants, Attrs& attrs) {
  TAPER_ASSIGN(const std::int64_t start, constant_at_dim(constants, 1, attrs));
  TAPER_ASSIGN(const std::int64_t end, constant_at_dim(constants, 2, attrs));
  attrs.set("start", start);
  if (attrs.find("end") == nullptr) attrs.set("end", Shape{end < 0 ? axis_size() + Dim(end) : Dim(end)});
  return {};
}

std::vector<TensorflowType> strided_slice_types() {
  return {{"T"}, {"Index", 0, DType::i32}};
}

// Ends counted from the back of the axis, as numbers or sizes.
Status resolve_slice_end(std::span<Value* const> operands, Attrs& attrs) {
  const Shape& shape = operands[0]->type.shape;
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(attrs.integer("dim"), shape.size()));
  const auto from_back = (attrs.get<Shape>("end").at(0) - axis_size()).constant();
  if (from_back) attrs.set("end", Shape{shape[axis] + Dim(*from_back)});
  return {};
}

// A symbolic end is the size of an axis of one of the graph's inputs (passes/materialize_dims.h rewrites those).
Op slice() {
  return {
      .name = "slice",
      .doc = "entries start <= i < end of axis `dim`; `end` may be symbolic",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer}, {"start", AttrKind::integer, std::int64_t{0}}, {"end", AttrKind::shape}},
      .infer = infer_slice,
      .eval = eval_slice,
      .onnx = {.op_type = "Slice",
               .inputs = {operand(0), made([](const Node& node) { return Integers{node.attrs.integer("start")}; }),
                          attr_tensor("end"),
                          made([](const Node& node) { return Integers{node.attrs.integer("dim")}; })},
               .fits = has_constant_end},
      .tflite = {.builtin = tflite::BuiltinOperator::STRIDED_SLICE,
                 .since = "1.6.0",
                 .inputs = {operand(0),
                            made([](const Node& node) { return at_axis(node, node.attrs.integer("start")); }),
                            made([](const Node& node) { return at_axis(node, slice_end(node)); }), made(ones_for_rank)},
                 .options = strided_slice_options(Slicing::range),
                 .fits = has_plain_end,
                 .read_inputs = read_slice,
                 .read_operands = resolve_slice_end},
      .tensorflow = {.op = "StridedSlice",
                     .inputs = {operand(0),
                                made([](const Node& node) { return at_axis(node, node.attrs.integer("start")); }),
                                made([](const Node& node) { return at_axis(node, slice_end(node)); }),
                                made(ones_for_rank)},
                     .types = strided_slice_types(),
                     .computed = strided_slice_masks<Slicing::range>(),
                     .fits = has_plain_end,
                     .read_inputs = read_slice,
                     .read_operands = resolve_slice_end},
      .examples = {{{f32({2, 5, 3})}, {{"dim", std::int64_t{1}}, {"start", std::int64_t{1}}, {"end", Shape{4}}}}},
  };
}

// Entry `i` of an integer vector that is computed from sizes; nothing if it isn't one that can be known.
std::optional<Dim> known_entry(const Value* vector, std::int64_t i) {
  while (vector->producer != nullptr && vector->type.shape.size() == 1) {
    const Node& node = *vector->producer;
    const auto count = vector->type.shape[0].constant();
    if (!count || i < 0 || i >= *count) return std::nullopt;
    if (const Tensor* tensor = constant_of(vector)) {
      if (is_floating(tensor->dtype)) return std::nullopt;
      std::int64_t entry = 0;
      std::memcpy(&entry, converted(*tensor, DType::i64).bytes().data() + i * 8, sizeof(entry));
      return Dim(entry);
    }
    if (node.op == "shape_of") return node.operands[0]->type.shape[static_cast<std::size_t>(i)];
    std::size_t part = 0;
    if (node.op == "slice") {
      i += node.attrs.integer("start");
    } else if (node.op == "concat") {
      while (part + 1 < node.operands.size()) {
        const auto size = node.operands[part]->type.shape[0].constant();
        if (!size) return std::nullopt;
        if (i < *size) break;
        i -= *size;
        ++part;
      }
    } else {
      return std::nullopt;
    }
    vector = node.operands[part];
  }
  return std::nullopt;
}

Status resolve_length(std::span<Value* const> operands, Attrs& attrs) {
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(attrs.integer("dim"), operands[0]->type.shape.size()));
  const auto length = known_entry(operands[1], static_cast<std::int64_t>(axis));
  if (!length || length->constant().value_or(0) < 0)
    return fail("a strided slice up to an end that doesn't follow from the sizes of a value");
  attrs.set("length", Shape{*length});
  return {};
}

Op narrow_to() {
  return {
      .name = "narrow_to",
      .doc = "the first sizes[dim] entries of axis `dim`; `length` says that number symbolically",
      .operands = {"x", "sizes"},
      .attrs = {{"dim", AttrKind::integer}, {"length", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        Type type = call.type(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
        if (call.shape(1) != Shape{Dim(static_cast<std::int64_t>(type.shape.size()))})
          return fail("sizes have shape {}, expected [{}]", shape_text(call.shape(1)), type.shape.size());
        TAPER_ASSIGN(type.shape[axis], one_size(call.attrs, "length"));
        return std::vector{std::move(type)};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        const auto length = static_cast<std::int64_t>(call.operand(1).values[axis]);
        if (length < 0 || length > x.shape[axis])
          return fail("{} entries of an axis of size {}", length, x.shape[axis]);
        return std::vector{slice_axis(x, axis, 0, length)};
      },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        const auto axis = static_cast<std::int64_t>(axis_of(node));
        Value* length =
            build("slice", {operands[1]}, {{"dim", std::int64_t{0}}, {"start", axis}, {"end", Shape{axis + 1}}});
        return {build("narrow", {operands[0], length}, {{"dim", axis}, {"length", node.attrs.get<Shape>("length")}})};
      },
      .tflite = {.builtin = tflite::BuiltinOperator::STRIDED_SLICE,
                 .since = "1.6.0",
                 .inputs = {operand(0), made(zeros_for_rank), operand(1), made(ones_for_rank)},
                 .options = strided_slice_options(Slicing::range),
                 .read_operands = resolve_length},
      .tensorflow = {.op = "StridedSlice",
                     .inputs = {operand(0), made(zeros_for_rank), operand(1), made(ones_for_rank)},
                     .types = strided_slice_types(),
                     .computed = strided_slice_masks<Slicing::range>(),
                     .read_operands = resolve_length},
  };
}

Op narrow() {
  return {
      .name = "narrow",
      .doc = "the first `count` entries of axis `dim`, count an integer vector of one; `length` says it symbolically",
      .operands = {"x", "count"},
      .attrs = {{"dim", AttrKind::integer}, {"length", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        Type type = call.type(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
        if (is_floating(call.type(1).dtype) || call.shape(1) != Shape{1})
          return fail("count is {}, expected one integer", type_text(call.type(1)));
        TAPER_ASSIGN(type.shape[axis], one_size(call.attrs, "length"));
        return std::vector{std::move(type)};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        const auto length = static_cast<std::int64_t>(call.operand(1).values.at(0));
        if (length < 0 || length > x.shape[axis])
          return fail("{} entries of an axis of size {}", length, x.shape[axis]);
        return std::vector{slice_axis(x, axis, 0, length)};
      },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        return {build("narrow", {operands[0], build("cast", {operands[1]}, {{"to", DType::i64}})}, node.attrs)};
      },
      .onnx = {.op_type = "Slice",
               .inputs = {operand(0), made([](const Node&) { return Integers{0}; }), operand(1),
                          made([](const Node& node) { return Integers{static_cast<std::int64_t>(axis_of(node))}; })},
               // Slice takes both ends in one dtype.
               .fits = [](const Node& node) { return node.operands[1]->type.dtype == DType::i64; }},
      .examples = {{{f32({2, 5}), {DType::i64, {1}}}, {{"dim", std::int64_t{1}}, {"length", Shape{3}}}, 3, 3}},
  };
}

Status read_select(std::span<const Tensor* const> constants, Attrs& attrs) {
  TAPER_ASSIGN(const std::int64_t index, constant_at_dim(constants, 1, attrs));
  attrs.set("index", index);
  return {};
}

Op select() {
  const auto drop_axis = [](const InferCall& call) -> Expected<std::vector<Type>> {
    Type type = call.type(0);
    TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
    const auto size = type.shape[axis].constant();
    const std::int64_t index = call.attrs.integer("index");
    if (index < 0 || (size && index >= *size))
      return fail("entry {} of an axis of size {}", index, type.shape[axis].text());
    type.shape.erase(type.shape.begin() + static_cast<std::ptrdiff_t>(axis));
    return std::vector{std::move(type)};
  };
  return {
      .name = "select",
      .doc = "entry `index` of axis `dim`, without that axis",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer}, {"index", AttrKind::integer}},
      .infer = drop_axis,
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        const std::int64_t index = call.attrs.integer("index");
        if (index >= x.shape[axis]) return fail("entry {} of an axis of size {}", index, x.shape[axis]);
        Array out = slice_axis(x, axis, index, 1);
        out.shape.erase(out.shape.begin() + static_cast<std::ptrdiff_t>(axis));
        return std::vector{std::move(out)};
      },
      .onnx = {.op_type = "Gather", .inputs = {operand(0), attr_tensor("index")}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::STRIDED_SLICE,
                 .since = "1.6.0",
                 .inputs = {operand(0),
                            made([](const Node& node) { return at_axis(node, node.attrs.integer("index")); }),
                            made([](const Node& node) { return at_axis(node, node.attrs.integer("index") + 1); }),
                            made(ones_for_rank)},
                 .options = strided_slice_options(Slicing::shrink),
                 .read_inputs = read_select},
      .tensorflow = {.op = "StridedSlice",
                     .inputs = {operand(0),
                                made([](const Node& node) { return at_axis(node, node.attrs.integer("index")); }),
                                made([](const Node& node) { return at_axis(node, node.attrs.integer("index") + 1); }),
                                made(ones_for_rank)},
                     .types = strided_slice_types(),
                     .computed = strided_slice_masks<Slicing::shrink>(),
                     .read_inputs = read_select},
      .examples = {{{f32({2, 3, 4})}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{2}}}}},
  };
}

// -------------------------------------------------------------------------------------------------------------- gather

Expected<std::vector<Type>> infer_gather(const InferCall& call) {
  Type type = call.type(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
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
      .onnx = {.op_type = "Gather", .inputs = {operand(0), operand(1)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::GATHER,
                 .since = "1.6.0",
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::axis, "dim"},
                                                    FixedOption<Options, std::int32_t>{&Options::batch_dims, 0})},
      .tensorflow = {.op = "GatherV2",
                     .inputs = {operand(0), operand(1), attr_tensor("dim")},
                     .types = {{"Tparams"}, {"Tindices", 1}, {"Taxis", 0, DType::i32}}},
      .examples = {{{f32({2, 3, 4}), {DType::i32, {}}}, {{"dim", std::int64_t{1}}}, 0, 2.5},
                   {{f32({3, 4}), {DType::i32, {2}}}, {{"dim", std::int64_t{0}}}, 0, 2.5}},
  };
}

// x with `update` written over it from position `starts` (an int32 vector with an entry per axis) on.
Expected<std::vector<Array>> eval_update_slice(const EvalCall& call) {
  Array out = call.operand(0);
  const Array& update = call.operand(1);
  const Integers strides = row_major_strides(out.shape);
  std::int64_t base = 0;
  for (std::size_t axis = 0; axis < out.shape.size(); ++axis) {
    if (update.shape[axis] > out.shape[axis])
      return fail("an update of shape {} does not fit into {}", shape_text(std::span(update.shape)),
                  shape_text(std::span(out.shape)));
    // Starts are clamped so that the update fits, as TFLite does.
    const auto start = std::clamp<std::int64_t>(static_cast<std::int64_t>(call.operand(2).values[axis]), 0,
                                                out.shape[axis] - update.shape[axis]);
    base += start * strides[axis];
  }
  Integers index(out.shape.size(), 0);
  std::int64_t at = base;
  for (const double value : update.values) {
    out.values[static_cast<std::size_t>(at)] = value;
    for (std::size_t axis = index.size(); axis-- > 0;) {
      at += strides[axis];
      if (++index[axis] < update.shape[axis]) break;
      at -= strides[axis] * update.shape[axis];
      index[axis] = 0;
    }
  }
  return std::vector{std::move(out)};
}

// Whether the update fits is known at run time only where sizes are symbolic.
Expected<std::vector<Type>> infer_update_slice(const InferCall& call) {
  const Type& x = call.type(0);
  const Type& update = call.type(1);
  const Type& starts = call.type(2);
  if (update.dtype != x.dtype || update.shape.size() != x.shape.size())
    return fail("update {} of a value {}", type_text(update), type_text(x));
  for (std::size_t axis = 0; axis < x.shape.size(); ++axis)
    if ((x.shape[axis] - update.shape[axis]).constant().value_or(0) < 0)
      return fail("update {} does not fit into {}", shape_text(update.shape), shape_text(x.shape));
  if (is_floating(starts.dtype) || starts.shape != Shape{Dim(static_cast<std::int64_t>(x.shape.size()))})
    return fail("starts are {}, expected {} integers", type_text(starts), x.shape.size());
  return std::vector{x};
}

Op update_slice() {
  return {
      .name = "update_slice",
      .doc = "x with `update` written over it at position `starts`, which is clamped so that the update fits",
      .operands = {"x", "update", "starts"},
      .infer = infer_update_slice,
      .eval = eval_update_slice,
      .tflite = {.builtin = tflite::BuiltinOperator::DYNAMIC_UPDATE_SLICE,
                 .since = "2.9.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = tflite_options<tflite::DynamicUpdateSliceOptionsT>()},
      .examples = {{{f32({4, 3}), f32({2, 3}), {DType::i32, {2}}}, {}, 0, 2}},
  };
}

// x [N, ...] with the entries that `indices` [K, 1] names replaced by those of `updates` [K, ...].
Expected<std::vector<Type>> infer_scatter(const InferCall& call) {
  const Type& x = call.type(0);
  const Type& indices = call.type(1);
  const Type& updates = call.type(2);
  if (x.shape.empty() || is_floating(indices.dtype) || indices.shape.size() != 2 || !indices.shape[1].is(1))
    return fail("entries {} of a value {}, expected indices [K, 1]", type_text(indices), type_text(x));
  Shape expected = x.shape;
  expected[0] = indices.shape[0];
  if (updates != Type{x.dtype, expected})
    return fail("updates {}, expected {}", type_text(updates), type_text({x.dtype, expected}));
  return std::vector{x};
}

Expected<std::vector<Array>> eval_scatter(const EvalCall& call) {
  Array out = call.operand(0);
  const std::int64_t entries = out.size(0);
  const Array& indices = call.operand(1);
  const Array& updates = call.operand(2);
  const std::int64_t run = entries == 0 ? 0 : static_cast<std::int64_t>(out.values.size()) / entries;
  for (std::size_t k = 0; k < indices.values.size(); ++k) {
    const auto entry = static_cast<std::int64_t>(indices.values[k]);
    if (entry < 0 || entry >= entries) return fail("entry {} of an axis of size {}", entry, entries);
    std::copy_n(updates.values.begin() + static_cast<std::int64_t>(k) * run, run, out.values.begin() + entry * run);
  }
  return std::vector{std::move(out)};
}

Op scatter() {
  return {
      .name = "scatter",
      .doc = "x with entry indices[k, 0] of its first axis replaced by updates[k], for each k",
      .operands = {"x", "indices", "updates"},
      .infer = infer_scatter,
      .eval = eval_scatter,
      .expand_onnx = [](Builder& build, const Node&, std::span<Value* const> operands) -> std::vector<Value*> {
        return {build("scatter", {operands[0], build("cast", {operands[1]}, {{"to", DType::i64}}), operands[2]})};
      },
      .onnx = {.op_type = "ScatterND",
               .inputs = {operand(0), operand(1), operand(2)},
               .fits = [](const Node& node) { return node.operands[1]->type.dtype == DType::i64; }},
      .tensorflow = {.op = "TensorScatterUpdate",
                     .inputs = {operand(0), operand(1), operand(2)},
                     .types = {{"T"}, {"Tindices", 1}}},
      .examples = {{{f32({4, 2, 3}), {DType::i32, {1, 1}}, f32({1, 2, 3})}, {}, 0, 3}},
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

}  // namespace

std::vector<Op> shape_ops() {
  return {reshape(), unsqueeze(), squeeze(), permute(),      concat(),  split(),  slice(),
          narrow(),  narrow_to(), select(),  update_slice(), scatter(), gather(), shape_of()};
}

}  // namespace taper
