// Reductions over axes.
#include <cmath>
#include <limits>
#include <type_traits>

#include "ops/families.h"
#include "ops/merged_axes.h"
#include "ops/modular.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

Expected<std::vector<bool>> reduced_axes(const Attrs& attrs, std::size_t rank) {
  std::vector<bool> reduced(rank, false);
  for (const std::int64_t dim : attrs.integers("dims")) {
    TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, rank));
    reduced[axis] = true;
  }
  return reduced;
}

Expected<std::vector<Type>> infer_reduction(const InferCall& call) {
  TAPER_ASSIGN(const std::vector<bool> reduced, reduced_axes(call.attrs, call.shape(0).size()));
  Type out{call.type(0).dtype, {}};
  for (std::size_t axis = 0; axis < reduced.size(); ++axis) {
    if (!reduced[axis]) out.shape.push_back(call.shape(0)[axis]);
    if (reduced[axis] && call.attrs.flag("keepdim")) out.shape.emplace_back(1);
  }
  return std::vector{std::move(out)};
}

// Folds the elements of each result into `start` with `fold`, in row-major order.
template <auto Fold, class Number = double>
Expected<Array> fold_axes(const EvalCall& call, std::type_identity_t<Number> start) {
  const Array& x = call.operand(0);
  TAPER_ASSIGN(const std::vector<bool> reduced, reduced_axes(call.attrs, x.shape.size()));
  std::vector<std::int64_t> kept_shape, shape;
  for (std::size_t axis = 0; axis < reduced.size(); ++axis) {
    kept_shape.push_back(reduced[axis] ? 1 : x.shape[axis]);
    if (!reduced[axis] || call.attrs.flag("keepdim")) shape.push_back(kept_shape.back());
  }
  const std::vector<std::int64_t> strides = row_major_strides(kept_shape);
  Array out = make_array(x.dtype, shape);
  std::vector<Number> totals(out.values.size(), start);
  std::vector<std::int64_t> index(x.shape.size(), 0);
  std::int64_t at = 0;
  for (const double value : x.values) {
    Number& target = totals[static_cast<std::size_t>(at)];
    target = Fold(target, operand_of<Number>(value));
    for (std::size_t axis = index.size(); axis-- > 0;) {
      if (!reduced[axis]) at += strides[axis];
      if (++index[axis] < x.shape[axis]) break;
      if (!reduced[axis]) at -= strides[axis] * x.shape[axis];
      index[axis] = 0;
    }
  }
  std::ranges::transform(totals, out.values.begin(), [&x](Number total) { return element_of(total, x.dtype); });
  return out;
}

Expected<std::vector<Array>> eval_mean(const EvalCall& call) {
  TAPER_ASSIGN(Array out, fold_axes<[](double sum, double x) { return sum + x; }>(call, 0));
  const double count = static_cast<double>(call.operand(0).values.size()) / static_cast<double>(out.values.size());
  for (double& value : out.values) value /= count;
  return std::vector{std::move(out)};
}

std::uint64_t modular_sum(std::uint64_t a, std::uint64_t b) {
  return a + b;
}
std::uint64_t modular_product(std::uint64_t a, std::uint64_t b) {
  return a * b;
}

template <auto Fold>
Expected<std::vector<Array>> fold_modular(const EvalCall& call, std::uint64_t start) {
  TAPER_ASSIGN(Array out, (fold_axes<Fold, std::uint64_t>(call, start)));
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_sum(const EvalCall& call) {
  if (is_modular(call.operand(0))) return fold_modular<modular_sum>(call, 0);
  TAPER_ASSIGN(Array out, fold_axes<[](double sum, double x) { return sum + x; }>(call, 0));
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_amax(const EvalCall& call) {
  const auto larger = [](double a, double b) { return std::isnan(a) || a > b ? a : b; };
  TAPER_ASSIGN(Array out, fold_axes<larger>(call, -std::numeric_limits<double>::infinity()));
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_amin(const EvalCall& call) {
  const auto smaller = [](double a, double b) { return std::isnan(a) || a < b ? a : b; };
  TAPER_ASSIGN(Array out, fold_axes<smaller>(call, std::numeric_limits<double>::infinity()));
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_prod(const EvalCall& call) {
  if (is_modular(call.operand(0))) return fold_modular<modular_product>(call, 1);
  TAPER_ASSIGN(Array out, fold_axes<[](double product, double x) { return product * x; }>(call, 1));
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_any(const EvalCall& call) {
  TAPER_ASSIGN(Array out, fold_axes<[](double any, double x) { return any != 0 || x != 0 ? 1.0 : 0.0; }>(call, 0));
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_all(const EvalCall& call) {
  TAPER_ASSIGN(Array out, fold_axes<[](double all, double x) { return all != 0 && x != 0 ? 1.0 : 0.0; }>(call, 1));
  return std::vector{std::move(out)};
}

Expected<std::vector<Type>> infer_boolean_reduction(const InferCall& call) {
  if (call.type(0).dtype != DType::boolean) return fail("x is {}, expected bool", info(call.type(0).dtype).name);
  return infer_reduction(call);
}

// Over no axes each element is its own result. Targets would take no axes for all.
bool reduces(const Node& node) {
  return !node.attrs.integers("dims").empty();
}
std::vector<Value*> expand_no_reduction(Builder& build, const Node& node, std::span<Value* const> operands) {
  return {reduces(node) ? build(node.op, {operands[0]}, node.attrs) : operands[0]};
}

// ONNX reduces no booleans. As integers their sum tells whether one holds, their smallest whether all do.
std::vector<Value*> as_integers(std::string_view reduction, Builder& build, const Node& node, Value* x) {
  if (!reduces(node)) return {x};
  Value* result = build(reduction, {build("cast", {x}, {{"to", DType::i32}})}, node.attrs);
  return {build("cast", {result}, {{"to", DType::boolean}})};
}

// Kernels and delegates of TFLite reduce up to this many axes.
constexpr std::size_t kMostReducedRank = 5;

bool has_few_axes(const Node& node) {
  return node.operands[0]->type.shape.size() <= kMostReducedRank;
}

// Of many axes one run of neighbouring reduced axes at a time, the last run first, as the middle axis of [outer, run,
// inner].
std::vector<Value*> expand_in_runs(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (!reduces(node) || has_few_axes(node)) return expand_no_reduction(build, node, operands);
  Shape shape = node.operands[0]->type.shape;
  const auto reduced = reduced_axes(node.attrs, shape.size());
  if (!reduced) return {nullptr};
  Value* x = operands[0];
  for (std::size_t end = shape.size(); end > 0; --end) {
    if (!(*reduced)[end - 1]) continue;
    std::size_t begin = end - 1;
    while (begin > 0 && (*reduced)[begin - 1]) --begin;
    const auto first = shape.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = shape.begin() + static_cast<std::ptrdiff_t>(end);
    const Shape runs = {element_count(Shape(shape.begin(), first)), element_count(Shape(first, last)),
                        element_count(Shape(last, shape.end()))};
    x = build("reshape", {x}, {{"shape", runs}});
    x = build(node.op, {x}, {{"dims", std::vector<std::int64_t>{1}}});
    std::fill(first, last, Dim(1));
    end = begin + 1;
  }
  return {build("reshape", {x}, {{"shape", node.results[0]->type.shape}})};
}

struct Reduction {
  std::string_view name, doc;
  EvalFn eval;
  std::string_view onnx;
  tflite::BuiltinOperator builtin;
  std::string_view since;
  std::string_view tensorflow;
};

const std::vector<std::int64_t> kLastAxis = {-1};
const std::vector<std::int64_t> kMiddleAxis = {1};

Op reduction(const Reduction& row) {
  using Options = tflite::ReducerOptionsT;
  Op op = {
      .name = row.name,
      .doc = row.doc,
      .operands = {"x"},
      .attrs = {{"dims", AttrKind::integers}, {"keepdim", AttrKind::flag, false}},
      .infer = infer_reduction,
      .eval = row.eval,
      .on_bases = reduction_on_bases,
      .expand = expand_no_reduction,
      .expands_if = [](const Node& node,
                       Target target) { return !reduces(node) || (target == Target::tflite && !has_few_axes(node)); },
      .expand_tflite = expand_in_runs,
      .tflite = {.builtin = row.builtin,
                 .since = row.since,
                 .inputs = {operand(0), attr_tensor("dims")},
                 .options = tflite_options<Options>(OptionField<Options, bool>{&Options::keep_dims, "keepdim"}),
                 .dtypes = tflite_number_dtypes(row.since),
                 .fits = [](const Node& node) { return reduces(node) && has_few_axes(node); }},
      .tensorflow = {.op = row.tensorflow,
                     .inputs = {operand(0), attr_tensor("dims")},
                     .dtypes = number_dtypes(),
                     .attrs = {{"keep_dims", "keepdim"}},
                     .fits = reduces}};
  if (!row.onnx.empty())
    op.onnx = {.op_type = row.onnx,
               .inputs = {operand(0)},
               .dtypes = row.name == "amax" || row.name == "amin" ? onnx_ordered_dtypes() : onnx_wide_dtypes(),
               .attrs = {{"axes", "dims"}, {"keepdims", "keepdim"}},
               .fits = reduces};
  for (const DType dtype : {DType::f32, DType::i64, DType::i32}) {
    if (row.name == "mean" && dtype != DType::f32) break;
    op.examples.push_back({{{dtype, {2, 3, 4}}}, {{"dims", kLastAxis}, {"keepdim", true}}});
    op.examples.push_back({{{dtype, {2, 3, 4}}}, {{"dims", kMiddleAxis}}});
  }
  if (row.name == "amax" || row.name == "amin")
    op.examples.push_back({{{DType::boolean, {2, 3, 4}}}, {{"dims", kLastAxis}}, 0, 2});
  op.examples.push_back({{f32({2, 3})}, {{"dims", std::vector<std::int64_t>{}}}});
  op.examples.push_back({{f32({2, 3, 4})}, {{"dims", std::vector<std::int64_t>{0, -1}}}});
  op.examples.push_back({{f32({2, 1, 3, 1, 2, 2})}, {{"dims", std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}}}});
  op.examples.push_back({{f32({2, 2, 2, 1, 3, 2, 2})}, {{"dims", std::vector<std::int64_t>{0, 2, 3, -1}}}});
  op.examples.push_back({{f32({2, 2, 2, 1, 3, 2})}, {{"dims", std::vector<std::int64_t>{1, 3, 4}}, {"keepdim", true}}});
  return op;
}

Op boolean_reduction(const Reduction& row) {
  Op op = reduction(row);
  op.infer = infer_boolean_reduction;
  op.expands_if = nullptr;
  op.tflite.dtypes = {{DType::boolean, {1, row.since}}};
  op.tensorflow.dtypes = {DType::boolean};
  op.tensorflow.types = {};
  op.examples = {{{{DType::boolean, {2, 3, 4}}}, {{"dims", kLastAxis}, {"keepdim", true}}, 0, 2},
                 {{{DType::boolean, {2, 2}}}, {{"dims", std::vector<std::int64_t>{0, 1}}}, 0, 2}};
  return op;
}

// -------------------------------------------------------------------------------------------------- place of an
// extreme

Expected<std::vector<Type>> infer_place(const InferCall& call) {
  Shape shape = call.shape(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), shape.size()));
  if (shape[axis].is(0)) return fail("axis {} of {} has no entries", axis, shape_text(shape));
  if (call.attrs.flag("keepdim"))
    shape[axis] = 1;
  else
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  return std::vector{Type{DType::i64, std::move(shape)}};
}

// The first entry that no other one beats. NaN beats all numbers.
template <auto Beats>
Expected<std::vector<Array>> eval_place(const EvalCall& call) {
  const Array& x = call.operand(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  const AxisView view = axis_view(x.shape, axis);
  if (view.size == 0) return fail("an axis without entries");
  std::vector<std::int64_t> shape = x.shape;
  shape[axis] = 1;
  if (!call.attrs.flag("keepdim")) shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  Array out = make_array(DType::i64, shape);
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < view.inner; ++i) {
      const double* entries = x.values.data() + o * view.size * view.inner + i;
      std::int64_t best = 0;
      for (std::int64_t k = 1; k < view.size; ++k) {
        const double champion = entries[best * view.inner], entry = entries[k * view.inner];
        if (!std::isnan(champion) && (std::isnan(entry) || Beats(entry, champion))) best = k;
      }
      out.values[static_cast<std::size_t>(o * view.inner + i)] = static_cast<double>(best);
    }
  return std::vector{std::move(out)};
}

bool drops_axis(const Node& node) {
  return !node.attrs.flag("keepdim");
}

// Kernels of TensorFlow find places along one of this many axes.
constexpr std::size_t kMostPlacedAxes = 7;
bool drops_one_of_few_axes(const Node& node) {
  return drops_axis(node) && !has_more_axes(node, kMostPlacedAxes);
}

// The first of the entries that are the extreme one.
std::vector<Value*> expand_long_place(Builder& build, const Node& node, Value* x) {
  const std::vector<std::int64_t> dims = {node.attrs.integer("dim")};
  Value* extreme = build(node.op == "argmax" ? "amax" : "amin", {x}, {{"dims", dims}, {"keepdim", true}});
  return {build("argmax", {build("cast", {build("equal", {x, extreme})}, {{"to", DType::i32}})}, node.attrs)};
}

// Booleans are compared as int32, which has their order, because a target compares no others.
std::vector<Value*> expand_place(Builder& build, const Node& node, std::span<Value* const> operands) {
  const DType dtype = node.operands[0]->type.dtype;
  if (dtype == DType::boolean) return call_as(DType::i32, build, node, operands);
  const Shape& shape = node.operands[0]->type.shape;
  const std::int64_t dim = node.attrs.integer("dim");
  const std::int64_t axis = dim < 0 ? dim + static_cast<std::int64_t>(shape.size()) : dim;
  if (drops_axis(node) && has_more_axes(node, kMostPlacedAxes)) return call_around_axis(build, node, operands);
  Value* place = build(node.op, {operands[0]}, {{"dim", axis}, {"keepdim", false}});
  if (drops_axis(node)) return {place};
  return {build("unsqueeze", {place}, {{"dims", std::vector{axis}}})};
}

// As reduction_on_bases, of the one axis `dim`.
std::optional<CallOnBases> place_on_bases(const Node& node, std::span<const std::int64_t> dims, std::int64_t) {
  CallOnBases call{node.attrs, {}};
  const std::int64_t place = dims[*normalize_axis(node.attrs.integer("dim"), dims.size())];
  call.attrs.set("dim", place);
  for (const std::int64_t dim : dims) {
    if (node.attrs.flag("keepdim"))
      call.dims.push_back(dim);
    else if (dim != place)
      call.dims.push_back(dim > place ? dim - 1 : dim);
  }
  return call;
}

template <class Options>
Op place(std::string_view name, std::string_view doc, EvalFn eval, std::string_view onnx,
         tflite::BuiltinOperator builtin) {
  return {.name = name,
          .doc = doc,
          .operands = {"x"},
          .attrs = {{"dim", AttrKind::integer}, {"keepdim", AttrKind::flag, false}},
          .infer = infer_place,
          .eval = eval,
          .on_bases = place_on_bases,
          .expand = expand_place,
          .expands_if =
              [](const Node& node, Target target) {
                const DType dtype = node.operands[0]->type.dtype;
                return (dtype == DType::i64 && target == Target::tflite) || dtype == DType::boolean ||
                       !drops_axis(node) || has_more_axes(node, kMostPlacedAxes);
              },
          .expand_tflite =
              [](Builder& build, const Node& node, std::span<Value* const> operands) {
                const bool is_long = node.operands[0]->type.dtype == DType::i64;
                return is_long ? expand_long_place(build, node, operands[0]) : expand_place(build, node, operands);
              },
          .onnx = {.op_type = onnx,
                   .inputs = {operand(0)},
                   .dtypes = onnx_ordered_dtypes(),
                   .attrs = {{"axis", "dim"}, {"keepdims", "keepdim"}}},
          .tflite = {.builtin = builtin,
                     .since = "1.9.0",
                     .inputs = {operand(0), attr_tensor("dim")},
                     .options = tflite_options<Options>(
                         FixedOption<Options, tflite::TensorType>{&Options::output_type, tflite::TensorType::INT64}),
                     .dtypes = {{DType::f32, {1, "1.9.0"}}, {DType::i32, {1, "1.9.0"}}, {DType::u8, {1, "1.9.0"}}},
                     .fits = drops_axis},
          .tensorflow = {.op = onnx,
                         .inputs = {operand(0), attr_tensor("dim")},
                         .dtypes = number_dtypes(),
                         .types = {{"T"}, {"output_type", 0, DType::i64}},
                         .fits = drops_one_of_few_axes},
          .examples = {{{f32({2, 3, 4})}, {{"dim", std::int64_t{-1}}}},
                       {{f32({2, 3, 4})}, {{"dim", std::int64_t{1}}, {"keepdim", true}}},
                       {{{DType::i64, {2, 5}}}, {{"dim", std::int64_t{1}}}},
                       {{{DType::i32, {2, 5}}}, {{"dim", std::int64_t{0}}}},
                       {{{DType::boolean, {2, 5}}}, {{"dim", std::int64_t{1}}}, 0, 2}}};
}

}  // namespace

std::vector<Op> reduce_ops() {
  using tflite::BuiltinOperator;
  std::vector<Op> rows;
  const std::vector<Reduction> numbers = {
      {"mean", "the arithmetic mean over the axes `dims`", eval_mean, "ReduceMean", BuiltinOperator::MEAN, "1.6.0",
       "Mean"},
      {"amax", "the largest over the axes `dims`", eval_amax, "ReduceMax", BuiltinOperator::REDUCE_MAX, "1.11.0",
       "Max"},
      {"amin", "the smallest over the axes `dims`", eval_amin, "ReduceMin", BuiltinOperator::REDUCE_MIN, "1.11.0",
       "Min"},
      {"sum", "the sum over the axes `dims`", eval_sum, "ReduceSum", BuiltinOperator::SUM, "1.10.0", "Sum"},
      {"prod", "the product over the axes `dims`", eval_prod, "ReduceProd", BuiltinOperator::REDUCE_PROD, "1.11.0",
       "Prod"},
  };
  for (const Reduction& row : numbers) rows.push_back(reduction(row));
  // Until opset 17 ReduceSum alone takes its axes as an input.
  Op& sum = *std::ranges::find(rows, "sum", &Op::name);
  sum.onnx.inputs.push_back(attr_tensor("dims"));
  sum.onnx.attrs = {{"keepdims", "keepdim"}};

  // ONNX and its runtime reduce integers.
  rows.push_back(boolean_reduction(
      {"any", "whether one holds over the axes `dims`", eval_any, "", BuiltinOperator::REDUCE_ANY, "1.11.0", "Any"}));
  rows.back().expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) {
    return as_integers("sum", build, node, operands[0]);
  };
  rows.push_back(boolean_reduction(
      {"all", "whether each holds over the axes `dims`", eval_all, "", BuiltinOperator::REDUCE_ALL, "2.6.0", "All"}));
  rows.back().expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) {
    return as_integers("amin", build, node, operands[0]);
  };
  rows.push_back(place<tflite::ArgMaxOptionsT>("argmax", "the index of the first largest entry of axis `dim`",
                                               eval_place<[](double a, double b) { return b < a; }>, "ArgMax",
                                               BuiltinOperator::ARG_MAX));
  rows.push_back(place<tflite::ArgMinOptionsT>("argmin", "the index of the first smallest entry of axis `dim`",
                                               eval_place<[](double a, double b) { return a < b; }>, "ArgMin",
                                               BuiltinOperator::ARG_MIN));
  return rows;
}

}  // namespace taper
