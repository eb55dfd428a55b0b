// Operators that take parts of axes: slices, entries, reversed axes; and that write over a part.
#include <limits>
#include <numeric>

#include "ops/families.h"
#include "ops/moves.h"
#include "ops/pointwise.h"

namespace taper {

Expected<Dim> one_size(const Attrs& attrs, std::string_view name) {
  const auto& sizes = attrs.get<Shape>(name);
  if (sizes.size() != 1) return fail("attribute '{}' holds {} sizes, expected one", name, sizes.size());
  return sizes[0];
}

std::size_t axis_of(const Node& node) {
  const std::int64_t dim = node.attrs.integer("dim");
  return static_cast<std::size_t>(dim < 0 ? dim + static_cast<std::int64_t>(node.operands[0]->type.shape.size()) : dim);
}

Array slice_axis(const Array& x, std::size_t axis, std::int64_t start, std::int64_t length, std::int64_t step) {
  const AxisView view = axis_view(x.shape, axis);
  std::vector<std::int64_t> shape = x.shape;
  shape[axis] = length;
  Array out = make_array(x.dtype, shape);
  auto to = out.values.begin();
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < length; ++i)
      to = std::copy_n(x.values.begin() + (o * view.size + start + i * step) * view.inner, view.inner, to);
  return out;
}

namespace {

// What is known of integers that are computed from sizes.
class KnownEntries {
 public:
  // Entry `i` of a vector, or the one number (`i` = 0) of a value without axes.
  std::optional<Dim> entry(const Value* value, std::int64_t i) {
    constexpr int kMostSteps = 1024;  // a file can make as many paths through a few operators as it likes
    constexpr std::int64_t kLongestVector = 1024;
    const auto count = count_of(value);
    if (!count || *count > kLongestVector || i < 0 || i >= *count) return std::nullopt;
    if (value->producer == nullptr || ++steps_ > kMostSteps) return std::nullopt;
    if (const Tensor* tensor = constant_of(value)) {
      if (is_floating(tensor->dtype)) return std::nullopt;
      std::int64_t number = 0;
      std::memcpy(&number, converted(*tensor, DType::i64).bytes().data() + i * 8, sizeof(number));
      return Dim(number);
    }
    const Node& node = *value->producer;
    const Value* x = node.operands.empty() ? nullptr : node.operands[0];
    if (node.op == "shape_of") return x->type.shape[static_cast<std::size_t>(i)];
    if (x == nullptr || is_floating(x->type.dtype)) return std::nullopt;
    if (node.op == "slice") return entry(x, from_end(x, node.attrs.integer("start")) + i * node.attrs.integer("step"));
    if (node.op == "select") return entry(x, from_end(x, node.attrs.integer("index")));
    if (node.op == "concat") return part_entry(node, i);
    if (node.op == "cast" || node.op == "reshape" || node.op == "squeeze" || node.op == "unsqueeze") return entry(x, i);
    return computed_entry(node, i);
  }

 private:
  static std::optional<std::int64_t> count_of(const Value* value) {
    if (value->type.shape.empty()) return 1;
    return value->type.shape.size() == 1 ? value->type.shape[0].constant() : std::nullopt;
  }
  static std::int64_t from_end(const Value* vector, std::int64_t i) {
    return i < 0 ? i + count_of(vector).value_or(0) : i;
  }

  std::optional<Dim> part_entry(const Node& concat, std::int64_t i) {
    for (const Value* part : concat.operands) {
      const auto count = count_of(part);
      if (!count) return std::nullopt;
      if (i < *count) return entry(part, i);
      i -= *count;
    }
    return std::nullopt;
  }

  std::optional<Dim> computed_entry(const Node& node, std::int64_t i) {
    using Rule = Dim (*)(const Dim&, const Dim&);
    static constexpr std::pair<std::string_view, Rule> kRules[] = {
        {"add", [](const Dim& a, const Dim& b) { return a + b; }},
        {"sub", [](const Dim& a, const Dim& b) { return a - b; }},
        {"mul", [](const Dim& a, const Dim& b) { return a * b; }},
        {"floor_divide", floor_divide},
        {"maximum", dim_max},
        {"minimum", dim_min}};
    const auto rule = std::ranges::find(kRules, node.op, &std::pair<std::string_view, Rule>::first);
    if (rule == std::end(kRules)) return std::nullopt;
    const auto operand_entry = [&](const Value* operand) { return entry(operand, count_of(operand) == 1 ? 0 : i); };
    const auto a = operand_entry(node.operands[0]);
    const auto b = a ? operand_entry(node.operands[1]) : std::nullopt;
    if (!b) return std::nullopt;
    Dim result = rule->second(*a, *b);
    return result.overflowed() ? std::nullopt : std::optional(std::move(result));
  }

  int steps_ = 0;
};

}  // namespace

std::optional<Dim> known_entry(const Value* vector, std::int64_t i) {
  return vector->type.shape.size() == 1 ? KnownEntries().entry(vector, i) : std::nullopt;
}

std::optional<Shape> known_entries(const Value* vector, std::int64_t first, std::int64_t count) {
  Shape entries;
  for (std::int64_t i = first; i < first + count; ++i) {
    const auto entry = known_entry(vector, i);
    if (!entry) return std::nullopt;
    entries.push_back(*entry);
  }
  return entries;
}

std::optional<Dim> known_number(const Value* scalar) {
  return scalar->type.shape.empty() ? KnownEntries().entry(scalar, 0) : std::nullopt;
}

namespace {

Expected<std::vector<Type>> infer_slice(const InferCall& call) {
  Type type = call.type(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
  TAPER_ASSIGN(const Dim end, one_size(call.attrs, "end"));
  const std::int64_t start = call.attrs.integer("start");
  const std::int64_t step = call.attrs.integer("step");
  if (step < 1) return fail("step {}, expected 1 or more", step);
  const Dim& size = type.shape[axis];
  const Dim first = start < 0 ? size + Dim(start) : Dim(start);
  // Differences that are no numbers are known at run time.
  const auto negative = [](const Dim& difference) { return difference.constant().value_or(0) < 0; };
  if (negative(first) || negative(end - first) || negative(size - end) || negative(size - first))
    return fail("entries {} to {} of axis {} of {}", start, end.text(), axis, shape_text(type.shape));
  type.shape[axis] = ceil_divide(end - first, step);
  return std::vector{std::move(type)};
}

Expected<std::vector<Array>> eval_slice(const EvalCall& call) {
  const Array& x = call.operand(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  TAPER_ASSIGN(const std::int64_t end, call.attrs.get<Shape>("end")[0].evaluate(call.bindings));
  const std::int64_t start = call.attrs.integer("start") + (call.attrs.integer("start") < 0 ? x.shape[axis] : 0);
  if (start < 0 || end < start || end > x.shape[axis])
    return fail("entries {} to {} of axis {} of size {}", start, end, axis, x.shape[axis]);
  const std::int64_t step = call.attrs.integer("step");
  const std::int64_t length = end == start ? 0 : (end - start - 1) / step + 1;
  return std::vector{slice_axis(x, axis, start, length, step)};
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

// The same as ONNX's Slice takes it, which has no mask: what lies behind the axis is its end.
Integers onnx_slice_end(const Node& node) {
  const bool to_the_end = !has_constant_end(node) && entries_behind(node) == 0;
  return {to_the_end ? std::numeric_limits<std::int64_t>::max() : slice_end(node)};
}

Integers slice_begins(const Node& node) {
  return at_axis(node, node.attrs.integer("start"));
}
Integers slice_ends(const Node& node) {
  return at_axis(node, slice_end(node));
}
Integers slice_steps(const Node& node) {
  Integers steps = ones_for_rank(node);
  steps[axis_of(node)] = node.attrs.integer("step");
  return steps;
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
  TAPER_ASSIGN(const std::int64_t step, constant_at_dim(constants, 3, attrs));
  attrs.set("start", start);
  attrs.set("step", step);
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

Op slice() {
  return {
      .name = "slice",
      .doc =
          "every `step`th entry start <= i < end of axis `dim`; a negative start counts from the end of the axis, "
          "`end` may be symbolic",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer},
                {"start", AttrKind::integer, std::int64_t{0}},
                {"end", AttrKind::shape},
                {"step", AttrKind::integer, std::int64_t{1}}},
      .infer = infer_slice,
      .eval = eval_slice,
      .on_bases = axis_on_bases,
      .onnx = {.op_type = "Slice",
               .inputs = {operand(0), made([](const Node& node) { return Integers{node.attrs.integer("start")}; }),
                          made(onnx_slice_end),
                          made([](const Node& node) { return Integers{node.attrs.integer("dim")}; }),
                          made([](const Node& node) { return Integers{node.attrs.integer("step")}; })},
               .fits = has_plain_end},
      .tflite = {.builtin = tflite::BuiltinOperator::STRIDED_SLICE,
                 .since = "1.6.0",
                 .inputs = {operand(0), made(slice_begins), made(slice_ends), made(slice_steps)},
                 .options = strided_slice_options(Slicing::range),
                 .fits = has_plain_end,
                 .read_inputs = read_slice,
                 .read_operands = resolve_slice_end},
      .tensorflow = {.op = "StridedSlice",
                     .inputs = {operand(0), made(slice_begins), made(slice_ends), made(slice_steps)},
                     .types = strided_slice_types(),
                     .computed = strided_slice_masks<Slicing::range>(),
                     .fits = has_plain_end,
                     .read_inputs = read_slice,
                     .read_operands = resolve_slice_end},
      .examples =
          {{{f32({2, 5, 3})}, {{"dim", std::int64_t{1}}, {"start", std::int64_t{1}}, {"end", Shape{4}}}},
           {{f32({2, 9})},
            {{"dim", std::int64_t{1}}, {"start", std::int64_t{1}}, {"end", Shape{9}}, {"step", std::int64_t{3}}}},
           {{f32({2, 5})}, {{"dim", std::int64_t{1}}, {"start", std::int64_t{-2}}, {"end", Shape{5}}}}},
  };
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
    if (size && (index >= *size || index < -*size))
      return fail("entry {} of an axis of size {}", index, type.shape[axis].text());
    type.shape.erase(type.shape.begin() + static_cast<std::ptrdiff_t>(axis));
    return std::vector{std::move(type)};
  };
  return {
      .name = "select",
      .doc = "entry `index` of axis `dim`, without that axis; a negative index counts from the end of the axis",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer}, {"index", AttrKind::integer}},
      .infer = drop_axis,
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        const std::int64_t index = call.attrs.integer("index") + (call.attrs.integer("index") < 0 ? x.shape[axis] : 0);
        if (index < 0 || index >= x.shape[axis]) return fail("entry {} of an axis of size {}", index, x.shape[axis]);
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
      .examples = {{{f32({2, 3, 4})}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{2}}}},
                   {{f32({2, 3})}, {{"dim", std::int64_t{-1}}, {"index", std::int64_t{-1}}}}},
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

// The axes along which an update is not as large as x.
std::vector<std::size_t> updated_axes(const Node& node) {
  const Shape& x = node.operands[0]->type.shape;
  const Shape& update = node.operands[1]->type.shape;
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis < x.size(); ++axis)
    if (x[axis] != update[axis]) axes.push_back(axis);
  return axes;
}

// Entries of the one updated axis, which is put in front, replaced by those of the update.
std::vector<Value*> expand_update_slice(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::vector<std::size_t> axes = updated_axes(node);
  if (axes.empty()) return {operands[1]};
  const std::size_t axis = axes[0];
  const Type& x = node.operands[0]->type;
  const Dim length = node.operands[1]->type.shape[axis];
  const DType dtype = node.operands[2]->type.dtype;
  const auto at = static_cast<std::int64_t>(axis);
  const auto turned = [&](Value* value) {
    Integers dims(x.shape.size());
    std::iota(dims.begin(), dims.end(), 0);
    std::swap(dims[0], dims[axis]);
    return axis == 0 ? value : build("permute", {value}, {{"dims", dims}});
  };
  Value* start = build("slice", {operands[2]}, {{"dim", std::int64_t{0}}, {"start", at}, {"end", Shape{at + 1}}});
  Value* last = build("sizes", {}, {{"sizes", Shape{x.shape[axis] - length}}, {"dtype", dtype}});
  Value* first = build("sizes", {}, {{"sizes", Shape{0}}, {"dtype", dtype}});
  start = build("maximum", {build("minimum", {start, last}), first});
  Value* steps = build("arange", {}, {{"start", Shape{0}}, {"length", Shape{length}}, {"dtype", dtype}});
  Value* places = build("unsqueeze", {build("add", {steps, start})}, {{"dims", Integers{1}}});
  return {turned(build("scatter_nd", {turned(operands[0]), places, turned(operands[1])}))};
}

Op update_slice() {
  return {
      .name = "update_slice",
      .doc = "x with `update` written over it at position `starts`, which is clamped so that the update fits",
      .operands = {"x", "update", "starts"},
      .infer = infer_update_slice,
      .eval = eval_update_slice,
      .expands_if = [](const Node& node, Target) { return updated_axes(node).size() <= 1; },
      .expand_onnx = expand_update_slice,
      .expand_tensorflow = expand_update_slice,
      .tflite = {.builtin = tflite::BuiltinOperator::DYNAMIC_UPDATE_SLICE,
                 .since = "2.9.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = tflite_options<tflite::DynamicUpdateSliceOptionsT>(),
                 .dtypes = tflite_moved_dtypes("2.9.0", {DType::u8, DType::i16})},
      .examples = {{{f32({4, 3}), f32({2, 3}), {DType::i32, {2}}}, {}, 0, 2}},
  };
}

// -------------------------------------------------------------------------------------------------------- at run time

Expected<std::vector<Type>> infer_dynamic_slice(const InferCall& call) {
  Type type = call.type(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
  TAPER_ASSIGN(const Dim length, one_size(call.attrs, "length"));
  if (is_floating(call.type(1).dtype) || !call.shape(1).empty())
    return fail("start is {}, expected an integer", type_text(call.type(1)));
  if ((type.shape[axis] - length).constant().value_or(0) < 0)
    return fail("{} entries of axis {} of {}", length.text(), axis, shape_text(type.shape));
  type.shape[axis] = length;
  return std::vector{std::move(type)};
}

// Gathered, because slices that begin where a value says have no shape before they run.
std::vector<Value*> expand_dynamic_slice(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* steps = build(
      "arange", {},
      {{"start", Shape{0}}, {"length", node.attrs.get<Shape>("length")}, {"dtype", node.operands[1]->type.dtype}});
  return {build("gather", {operands[0], build("add", {steps, operands[1]})}, {{"dim", node.attrs.integer("dim")}})};
}

Op dynamic_slice() {
  return {
      .name = "dynamic_slice",
      .doc = "`length` entries of axis `dim` from the integer `start` on",
      .operands = {"x", "start"},
      .attrs = {{"dim", AttrKind::integer}, {"length", AttrKind::shape}},
      .infer = infer_dynamic_slice,
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        TAPER_ASSIGN(const std::int64_t length, call.attrs.get<Shape>("length")[0].evaluate(call.bindings));
        const auto start = static_cast<std::int64_t>(call.operand(1).values.at(0));
        if (start < 0 || length < 0 || start > x.shape[axis] - length)
          return fail("{} entries from {} on of axis {} of size {}", length, start, axis, x.shape[axis]);
        return std::vector{slice_axis(x, axis, start, length)};
      },
      .expand = expand_dynamic_slice,
      .examples = {{{f32({2, 5, 3}), {DType::i32, {}}}, {{"dim", std::int64_t{1}}, {"length", Shape{2}}}, 1, 3}},
  };
}

// ---------------------------------------------------------------------------------------------------------------- flip

Expected<std::vector<Type>> infer_flip(const InferCall& call) {
  const Integers& dims = call.attrs.integers("dims");
  std::vector<std::size_t> axes;
  for (const std::int64_t dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, call.shape(0).size()));
    axes.push_back(axis);
  }
  std::ranges::sort(axes);
  if (std::ranges::adjacent_find(axes) != axes.end()) return fail("dims {} name an axis twice", fmt::join(dims, ", "));
  return std::vector{call.type(0)};
}

Expected<std::vector<Array>> eval_flip(const EvalCall& call) {
  Array out = call.operand(0);
  for (const std::int64_t dim : call.attrs.integers("dims")) {
    TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, out.shape.size()));
    const AxisView view = axis_view(out.shape, axis);
    for (std::int64_t o = 0; o < view.outer; ++o) {
      const auto row = out.values.begin() + o * view.size * view.inner;
      for (std::int64_t i = 0; i < view.size / 2; ++i)
        std::swap_ranges(row + i * view.inner, row + (i + 1) * view.inner, row + (view.size - 1 - i) * view.inner);
    }
  }
  return std::vector{std::move(out)};
}

// REVERSE_V2 takes several axes only where they follow one another, and in new runtimes.
std::vector<Value*> expand_flip_axis_by_axis(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* x = operands[0];
  for (const std::int64_t dim : node.attrs.integers("dims")) x = build("flip", {x}, {{"dims", Integers{dim}}});
  return {x};
}

Integers each_dim(const Node& node, std::int64_t value) {
  return Integers(node.attrs.integers("dims").size(), value);
}

Op flip() {
  return {
      .name = "flip",
      .doc = "x with the axes `dims` from back to front",
      .operands = {"x"},
      .attrs = {{"dims", AttrKind::integers}},
      .infer = infer_flip,
      .eval = eval_flip,
      .expands_if = [](const Node& node, Target) { return node.attrs.integers("dims").size() != 1; },
      .expand_tflite = expand_flip_axis_by_axis,
      .onnx = {.op_type = "Slice",
               .inputs = {operand(0), made([](const Node& node) { return each_dim(node, -1); }),
                          made([](const Node& node) {
                            return each_dim(node, std::numeric_limits<std::int64_t>::min());
                          }),
                          attr_tensor("dims"), made([](const Node& node) { return each_dim(node, -1); })}},
      .tflite = {.builtin = tflite::BuiltinOperator::REVERSE_V2,
                 .since = "1.14.0",
                 .inputs = {operand(0), attr_tensor("dims")},
                 .options = tflite_options<tflite::ReverseV2OptionsT>(),
                 .dtypes = tflite_moved_dtypes("1.14.0"),
                 .fits = [](const Node& node) { return node.attrs.integers("dims").size() == 1; }},
      .tensorflow = {.op = "ReverseV2",
                     .inputs = {operand(0), attr_tensor("dims")},
                     .types = {{"T"}, {"Tidx", 0, DType::i32}}},
      .examples = {{{f32({2, 3, 4})}, {{"dims", Integers{1}}}}, {{f32({2, 3, 4})}, {{"dims", Integers{0, -1}}}}},
  };
}

}  // namespace

std::vector<Op> slicing_ops() {
  return {slice(), narrow(), narrow_to(), select(), update_slice(), dynamic_slice(), flip()};
}

}  // namespace taper
