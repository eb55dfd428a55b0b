// Values that sizes and numbers determine: filled tensors, ranges, triangles.
#include "ops/families.h"
#include "ops/moves.h"

namespace taper {
namespace {

// A constant of one number.
Value* number(Builder& build, double value, DType dtype) {
  return build.constant(to_tensor(Array{dtype, {}, {value}}), "number");
}

// --------------------------------------------------------------------------------------------------------------- full

Op full() {
  return {
      .name = "full",
      .doc = "`value` in each element of `shape`",
      .attrs = {{"shape", AttrKind::shape}, {"value", AttrKind::real}, {"dtype", AttrKind::dtype}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        return std::vector{Type{call.attrs.get<DType>("dtype"), call.attrs.get<Shape>("shape")}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<std::int64_t> shape, evaluate(call.attrs.get<Shape>("shape"), call.bindings));
        TAPER_ASSIGN([[maybe_unused]] const std::int64_t count, checked_element_count(shape));
        Array out = make_array(call.attrs.get<DType>("dtype"), shape);
        std::ranges::fill(out.values, call.attrs.real("value"));
        return std::vector{std::move(out)};
      },
      .expand = [](Builder& build, const Node& node, std::span<Value* const>) -> std::vector<Value*> {
        Value* value = number(build, node.attrs.real("value"), node.attrs.get<DType>("dtype"));
        return {build("expand", {value}, {{"shape", node.attrs.get<Shape>("shape")}})};
      },
      .examples = {{{}, {{"shape", Shape{2, 3}}, {"value", 1.5}, {"dtype", DType::f32}}},
                   {{}, {{"shape", Shape{4}}, {"value", 7.0}, {"dtype", DType::i32}}}},
  };
}

// -------------------------------------------------------------------------------------------------------------- arange

Expected<std::vector<Array>> eval_arange(const EvalCall& call) {
  TAPER_ASSIGN(const std::int64_t start, call.attrs.get<Shape>("start")[0].evaluate(call.bindings));
  TAPER_ASSIGN(const std::int64_t length, call.attrs.get<Shape>("length")[0].evaluate(call.bindings));
  if (length < 0) return fail("{} numbers", length);
  const auto step = static_cast<double>(call.attrs.integer("step"));
  Array out = make_array(call.attrs.get<DType>("dtype"), {length});
  for (std::size_t i = 0; i < out.values.size(); ++i)
    out.values[i] = static_cast<double>(start) + step * static_cast<double>(i);
  return std::vector{std::move(out)};
}

// A length that is a number gives a constant, unless it is a weight's worth; any other needs `range` and, at run time,
// its end (passes/dims.cpp).
bool has_known_length(const Node& node, Target) {
  constexpr std::int64_t kLongest = std::int64_t{1} << 24;
  const auto length = node.attrs.get<Shape>("length")[0].constant();
  return length && *length <= kLongest;
}

std::vector<Value*> expand_arange(Builder& build, const Node& node, std::span<Value* const>) {
  const DType dtype = node.attrs.get<DType>("dtype");
  const auto length = node.attrs.get<Shape>("length")[0].constant();
  const auto step = static_cast<double>(node.attrs.integer("step"));
  const auto start = node.attrs.get<Shape>("start")[0].constant();
  Array steps = make_array(dtype, {*length});
  for (std::size_t i = 0; i < steps.values.size(); ++i)
    steps.values[i] = static_cast<double>(start.value_or(0)) + step * static_cast<double>(i);
  Value* numbers = build.constant(to_tensor(steps), "range");
  if (start) return {numbers};
  Value* first = build("sizes", {}, {{"sizes", node.attrs.get<Shape>("start")}, {"dtype", dtype}});
  return {build("add", {numbers, first})};
}

Op arange() {
  return {
      .name = "arange",
      .doc = "start + i * step for each i < length",
      .attrs = {{"start", AttrKind::shape},
                {"step", AttrKind::integer, std::int64_t{1}},
                {"length", AttrKind::shape},
                {"dtype", AttrKind::dtype, DType::i64}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_ASSIGN([[maybe_unused]] const Dim start, one_size(call.attrs, "start"));
        TAPER_ASSIGN(const Dim length, one_size(call.attrs, "length"));
        return std::vector{Type{call.attrs.get<DType>("dtype"), {length}}};
      },
      .eval = eval_arange,
      .expand = expand_arange,
      .expands_if = has_known_length,
      .examples = {{{}, {{"start", Shape{2}}, {"length", Shape{5}}, {"step", std::int64_t{3}}}},
                   {{}, {{"start", Shape{0}}, {"length", Shape{4}}, {"dtype", DType::f32}}}},
  };
}

// What an evaluation makes of bounds that were computed.
constexpr double kMostNumbers = 1 << 28;

// The length where it follows from sizes; else bounds that are computed from elements decide it.
Status resolve_range(std::span<Value* const> operands, Attrs& attrs) {
  const auto start = known_number(operands[0]), end = known_number(operands[1]), step = known_number(operands[2]);
  if (!start || !end || !step) {
    const std::string name = fmt::format("count{}by{}by{}", operands[0]->id, operands[1]->id, operands[2]->id);
    attrs.set("length", Shape{Dim::symbol(name)});
    return {};
  }
  if (!step->constant() || step->is(0)) return fail("a range whose step is not known");
  Dim length = ceil_divide(*end - *start, *step);
  if (length.overflowed()) return fail("a range that overflows 64 bits");
  if (length.constant().value_or(0) < 0) length = 0;
  attrs.set("length", Shape{length});
  return {};
}

Op range() {
  return {
      .name = "range",
      .doc = "start, start + step, ... before `end`: `length` numbers",
      .operands = {"start", "end", "step"},
      .attrs = {{"length", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        for (std::size_t i = 0; i < 3; ++i)
          if (is_floating(call.type(i).dtype) || call.type(i) != Type{call.type(0).dtype, {}})
            return fail("bounds {}, {}, {}, expected integers of one dtype", type_text(call.type(0)),
                        type_text(call.type(1)), type_text(call.type(2)));
        TAPER_ASSIGN(const Dim length, one_size(call.attrs, "length"));
        return std::vector{Type{call.type(0).dtype, {length}}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const auto expected = call.attrs.get<Shape>("length")[0].evaluate(call.bindings);
        const double start = call.operand(0).values.at(0), step = call.operand(2).values.at(0);
        const double count = std::max(0.0, std::ceil((call.operand(1).values.at(0) - start) / step));
        if (step == 0 || (expected && count != static_cast<double>(*expected)))
          return fail("{} numbers between {} and {}, expected {}", count, start, call.operand(1).values[0],
                      expected.value_or(0));
        if (!(count <= kMostNumbers))
          return fail("{} numbers between {} and {}", count, start, call.operand(1).values[0]);
        Array out = make_array(call.operand(0).dtype, {static_cast<std::int64_t>(count)});
        for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] = start + step * static_cast<double>(i);
        return std::vector{std::move(out)};
      },
      .measures_sizes = true,
      .onnx = {.op_type = "Range", .inputs = {operand(0), operand(1), operand(2)}},
      .tflite = {.builtin = tflite::BuiltinOperator::RANGE,
                 .since = "1.13.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = tflite_options<tflite::RangeOptionsT>(),
                 .read_operands = resolve_range},
      .tensorflow = {.op = "Range",
                     .inputs = {operand(0), operand(1), operand(2)},
                     .types = {{"Tidx"}},
                     .read_operands = resolve_range},
  };
}

// ----------------------------------------------------------------------------------------------------------- triangles

Expected<std::vector<Type>> infer_triangle(const InferCall& call) {
  if (call.shape(0).size() < 2) return fail("x has shape {}, expected two axes or more", shape_text(call.shape(0)));
  return std::vector{call.type(0)};
}

template <bool upper>
Expected<std::vector<Array>> eval_triangle(const EvalCall& call) {
  Array out = call.operand(0);
  const std::int64_t rows = out.size(out.rank() - 2), columns = out.size(out.rank() - 1);
  const std::int64_t diagonal = call.attrs.integer("diagonal");
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t row = at / columns % rows, column = at % columns;
    if (upper ? column - row < diagonal : column - row > diagonal) out.values[i] = 0;
  }
  return std::vector{std::move(out)};
}

// Elements whose column and row compare as the diagonal wants, 0 for the others.
template <bool upper>
std::vector<Value*> expand_triangle(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Type& type = node.results[0]->type;
  const std::size_t rank = type.shape.size();
  const auto count = [&](const Dim& start, const Dim& length) {
    return build("arange", {}, {{"start", Shape{start}}, {"length", Shape{length}}, {"dtype", DType::i32}});
  };
  Value* columns = count(0, type.shape[rank - 1]);
  // Row r ends or begins at column r + diagonal.
  Value* rows = build("unsqueeze", {count(node.attrs.integer("diagonal"), type.shape[rank - 2])},
                      {{"dims", std::vector<std::int64_t>{1}}});
  Value* dropped = upper ? build("less", {columns, rows}) : build("less", {rows, columns});
  return {build("where", {dropped, number(build, 0, type.dtype), operands[0]})};
}

template <bool upper>
Op triangle(std::string_view name, std::string_view doc) {
  return {
      .name = name,
      .doc = doc,
      .operands = {"x"},
      .attrs = {{"diagonal", AttrKind::integer, std::int64_t{0}}},
      .infer = infer_triangle,
      .eval = eval_triangle<upper>,
      .expand = expand_triangle<upper>,
      .examples = {{{f32({2, 3, 4})}}, {{f32({4, 3})}, {{"diagonal", std::int64_t{-1}}}}},
  };
}

}  // namespace

std::vector<Op> filling_ops() {
  std::vector<Op> rows = {full(), arange(), range()};
  rows.push_back(triangle<true>("triu", "the elements of x with column - row >= diagonal, 0 elsewhere"));
  rows.push_back(triangle<false>("tril", "the elements of x with column - row <= diagonal, 0 elsewhere"));
  return rows;
}

}  // namespace taper
