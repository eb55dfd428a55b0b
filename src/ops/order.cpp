// Operators that put the entries of an axis in order, or run along it.
#include <cmath>
#include <numeric>
#include <type_traits>

#include "ops/families.h"
#include "ops/modular.h"
#include "ops/moves.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

using tflite::BuiltinOperator;

bool is_last_axis(const Node& node) {
  return axis_of(node) + 1 == node.operands[0]->type.shape.size();
}

// ------------------------------------------------------------------------------------------------------ the first few

Expected<std::vector<Type>> types_of_first(const InferCall& call, std::size_t axis, const Dim& length, DType indices) {
  Shape shape = call.shape(0);
  if ((shape[axis] - length).constant().value_or(0) < 0 || length.constant().value_or(0) < 0)
    return fail("{} entries of axis {} of {}", length.text(), axis, shape_text(shape));
  shape[axis] = length;
  return std::vector{Type{call.type(0).dtype, shape}, Type{indices, shape}};
}

// The first `length` entries of an axis in order, and their indices. NaN is larger than all numbers; of equals the one
// with the lower index comes first.
Expected<std::vector<Array>> first_in_order(const Array& x, std::size_t axis, std::int64_t length, bool largest,
                                            DType index_dtype) {
  const AxisView view = axis_view(x.shape, axis);
  if (length < 0 || length > view.size) return fail("{} entries of an axis of size {}", length, view.size);
  std::vector<std::int64_t> shape = x.shape;
  shape[axis] = length;
  Array values = make_array(x.dtype, shape);
  Array indices = make_array(index_dtype, shape);
  if (x.values.empty()) return std::vector{std::move(values), std::move(indices)};
  const auto larger = [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a > b; };
  std::vector<std::int64_t> order(static_cast<std::size_t>(view.size));
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < view.inner; ++i) {
      const double* entries = x.values.data() + o * view.size * view.inner + i;
      std::iota(order.begin(), order.end(), 0);
      std::ranges::stable_sort(order, [&](std::int64_t a, std::int64_t b) {
        const double left = entries[a * view.inner], right = entries[b * view.inner];
        return largest ? larger(left, right) : larger(right, left);
      });
      for (std::int64_t k = 0; k < length; ++k) {
        const std::int64_t from = order[static_cast<std::size_t>(k)];
        const auto to = static_cast<std::size_t>((o * length + k) * view.inner + i);
        values.values[to] = entries[from * view.inner];
        indices.values[to] = static_cast<double>(from);
      }
    }
  return std::vector{std::move(values), std::move(indices)};
}

Expected<std::vector<Type>> infer_topk(const InferCall& call) {
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), call.shape(0).size()));
  TAPER_ASSIGN(const Dim k, one_size(call.attrs, "k"));
  return types_of_first(call, axis, k, DType::i64);
}

Expected<std::vector<Array>> eval_topk(const EvalCall& call) {
  const Array& x = call.operand(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  TAPER_ASSIGN(const std::int64_t k, call.attrs.get<Shape>("k")[0].evaluate(call.bindings));
  return first_in_order(x, axis, k, call.attrs.flag("largest"), DType::i64);
}

// The order of axes that swaps one with the last.
std::vector<std::int64_t> swapped_with_last(std::size_t rank, std::size_t axis) {
  std::vector<std::int64_t> order(rank);
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[axis], order[rank - 1]);
  return order;
}

// The call along the last axis of its operand with two axes swapped, swapped back.
std::vector<Value*> call_on_last_axis(Builder& build, const Node& node, Value* x) {
  const std::size_t rank = node.operands[0]->type.shape.size();
  const Attrs swap = {{"dims", swapped_with_last(rank, axis_of(node))}};
  Attrs attrs = node.attrs;
  attrs.set("dim", std::int64_t{-1});
  std::vector<Value*> results = build.call(node.op, {build("permute", {x}, swap)}, attrs);
  for (std::size_t i = 0; i < node.results.size(); ++i) results[i] = build("permute", {results[i]}, swap);
  return results;
}

// Numbers in the opposite order: -x, and of integers -x - 1, which the smallest one has as well.
Value* opposite(Builder& build, Value* x) {
  return build(x != nullptr && is_floating(x->type.dtype) ? "neg" : "bitwise_not", {x});
}

// TFLite and TensorFlow take the largest of the last axis; the smallest are the largest in the opposite order.
std::vector<Value*> expand_topk(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (!is_last_axis(node)) return call_on_last_axis(build, node, operands[0]);
  const auto& k = node.attrs.get<Shape>("k");
  const bool largest = node.attrs.flag("largest");
  const DType dtype = node.operands[0]->type.dtype;
  if (!largest && !is_floating(dtype) && size_of(dtype) < size_of(DType::i32))
    return call_as(DType::i32, build, node, operands);
  Value* x = largest ? operands[0] : opposite(build, operands[0]);
  Value* count = nullptr;
  if (const auto number = k[0].constant())
    count = build.scalar_i32(*number);
  else
    count = build("squeeze", {build("sizes", {}, {{"sizes", k}, {"dtype", DType::i32}})},
                  {{"dims", std::vector<std::int64_t>{0}}});
  const std::vector<Value*> found =
      build.call("top_entries", {x, count}, {{"length", k}, {"sorted", node.attrs.flag("sorted")}});
  return {largest ? found[0] : opposite(build, found[0]), build("cast", {found[1]}, {{"to", DType::i64}})};
}

Op topk() {
  return {
      .name = "topk",
      .doc = "the `k` largest (or smallest) entries of axis `dim` in order, and their indices",
      .operands = {"x"},
      .attrs = {{"k", AttrKind::shape},
                {"dim", AttrKind::integer, std::int64_t{-1}},
                {"largest", AttrKind::flag, true},
                {"sorted", AttrKind::flag, true}},
      .infer = infer_topk,
      .eval = eval_topk,
      .expand = expand_topk,
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        const auto& k = node.attrs.get<Shape>("k");
        Value* count = build("sizes", {}, {{"sizes", k}, {"dtype", DType::i64}});
        return build.call("counted_topk", {operands[0], count},
                          {{"length", k},
                           {"dim", node.attrs.integer("dim")},
                           {"largest", node.attrs.flag("largest")},
                           {"sorted", node.attrs.flag("sorted")}});
      },
      .onnx = {.op_type = "TopK",
               .inputs = {operand(0), attr_tensor("k")},
               .dtypes = onnx_ordered_dtypes(),
               .attrs = {{"axis", "dim"}, {"largest", "largest"}, {"sorted", "sorted"}},
               .fits = [](const Node& node) { return node.attrs.get<Shape>("k")[0].constant().has_value(); }},
      .examples = {{{f32({2, 7})}, {{"k", Shape{3}}}},
                   {{f32({3, 5, 2})}, {{"k", Shape{2}}, {"dim", std::int64_t{1}}, {"largest", false}}},
                   {{i64({2, 6})}, {{"k", Shape{2}}}, -50, 50}},
  };
}

// The form that ONNX has where the number is computed.
Op counted_topk() {
  return {
      .name = "counted_topk",
      .doc =
          "the `length` largest (or smallest) entries of axis `dim` in order, and their indices; `k` holds that "
          "number as an int64 vector of one",
      .operands = {"x", "k"},
      .attrs = {{"length", AttrKind::shape},
                {"dim", AttrKind::integer, std::int64_t{-1}},
                {"largest", AttrKind::flag, true},
                {"sorted", AttrKind::flag, true}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        if (call.type(1) != Type{DType::i64, {1}}) return fail("k is {}, expected i64[1]", type_text(call.type(1)));
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), call.shape(0).size()));
        TAPER_ASSIGN(const Dim length, one_size(call.attrs, "length"));
        return types_of_first(call, axis, length, DType::i64);
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        const auto k = static_cast<std::int64_t>(call.operand(1).values[0]);
        return first_in_order(x, axis, k, call.attrs.flag("largest"), DType::i64);
      },
      .onnx = {.op_type = "TopK",
               .inputs = {operand(0), operand(1)},
               .dtypes = onnx_ordered_dtypes(),
               .attrs = {{"axis", "dim"}, {"largest", "largest"}, {"sorted", "sorted"}}},
  };
}

Status read_length(std::span<Value* const> operands, Attrs& attrs) {
  const auto k = operands.size() > 1 ? known_number(operands[1]) : std::nullopt;
  if (!k) return fail("k doesn't follow from the sizes of a value");
  attrs.set("length", Shape{*k});
  return {};
}

// The form that TFLite and TensorFlow have.
Op top_entries() {
  return {
      .name = "top_entries",
      .doc = "the `length` largest entries of the last axis in order, and their indices; `k` says that number",
      .operands = {"x", "k"},
      .attrs = {{"length", AttrKind::shape}, {"sorted", AttrKind::flag, true}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        if (call.type(1) != Type{DType::i32, {}}) return fail("k is {}, expected i32[]", type_text(call.type(1)));
        if (call.shape(0).empty()) return fail("x is a scalar, expected at least one axis");
        TAPER_ASSIGN(const Dim length, one_size(call.attrs, "length"));
        return types_of_first(call, call.shape(0).size() - 1, length, DType::i32);
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const auto k = static_cast<std::int64_t>(call.operand(1).values[0]);
        return first_in_order(call.operand(0), call.operand(0).shape.size() - 1, k, true, DType::i32);
      },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Value* k = build("reshape", {build("cast", {operands[1]}, {{"to", DType::i64}})}, {{"shape", Shape{1}}});
        std::vector<Value*> results = build.call("counted_topk", {operands[0], k}, node.attrs);
        results[1] = build("cast", {results[1]}, {{"to", DType::i32}});
        return results;
      },
      .tflite = {.builtin = BuiltinOperator::TOPK_V2,
                 .since = "1.7.0",
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<tflite::TopKV2OptionsT>(),
                 .dtypes = tflite_moved_dtypes("1.7.0", {DType::boolean}),
                 .read_operands = read_length},
      .tensorflow = {.op = "TopKV2",
                     .result = "values",
                     .inputs = {operand(0), operand(1)},
                     .attrs = {{"sorted", "sorted"}},
                     .read_operands = read_length,
                     .results = {"values", "indices"}},
  };
}

Op sort() {
  return {
      .name = "sort",
      .doc = "the entries of axis `dim` in order, of equals the one that came first, and their indices",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer, std::int64_t{-1}},
                {"descending", AttrKind::flag, false},
                {"stable", AttrKind::flag, true}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_ASSIGN([[maybe_unused]] const std::size_t axis,
                     normalize_axis(call.attrs.integer("dim"), call.shape(0).size()));
        return std::vector{call.type(0), Type{DType::i64, call.shape(0)}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Array& x = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
        return first_in_order(x, axis, x.shape[axis], call.attrs.flag("descending"), DType::i64);
      },
      .expand = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        return build.call("topk", {operands[0]},
                          {{"k", Shape{node.operands[0]->type.shape[axis_of(node)]}},
                           {"dim", node.attrs.integer("dim")},
                           {"largest", node.attrs.flag("descending")}});
      },
      .examples = {{{f32({2, 7})}},
                   {{f32({3, 5})}, {{"dim", std::int64_t{0}}, {"descending", true}}},
                   {{i64({2, 9})}, {}, -4, 4}},
  };
}

// ------------------------------------------------------------------------------------------------------- running
// totals

Expected<std::vector<Type>> infer_running(const InferCall& call) {
  TAPER_ASSIGN([[maybe_unused]] const std::size_t axis,
               normalize_axis(call.attrs.integer("dim"), call.shape(0).size()));
  return same_as_first(call);
}

template <auto Join, class Number = double>
Expected<std::vector<Array>> run_along(const EvalCall& call, std::type_identity_t<Number> start, bool exclusive,
                                       bool reverse) {
  Array out = call.operand(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), out.shape.size()));
  const AxisView view = axis_view(out.shape, axis);
  if (out.values.empty()) return std::vector{std::move(out)};
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < view.inner; ++i) {
      double* entries = out.values.data() + o * view.size * view.inner + i;
      Number total = start;
      for (std::int64_t step = 0; step < view.size; ++step) {
        double& entry = entries[(reverse ? view.size - 1 - step : step) * view.inner];
        const Number before = total;
        total = Join(total, operand_of<Number>(entry));
        entry = element_of(exclusive ? before : total, out.dtype);
      }
    }
  return std::vector{std::move(out)};
}

Op cumsum() {
  using Options = tflite::CumsumOptionsT;
  const auto dim = [](std::int64_t axis) { return NamedAttr{"dim", axis}; };
  return {
      .name = "cumsum",
      .doc = "sums of the entries of axis `dim` up to each one (`exclusive`: before it; `reverse`: from the end)",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer}, {"exclusive", AttrKind::flag, false}, {"reverse", AttrKind::flag, false}},
      .infer = infer_running,
      .eval =
          [](const EvalCall& call) {
            const bool exclusive = call.attrs.flag("exclusive"), reverse = call.attrs.flag("reverse");
            if (is_modular(call.operand(0)))
              return run_along<[](std::uint64_t sum, std::uint64_t x) { return sum + x; }, std::uint64_t>(
                  call, 0, exclusive, reverse);
            return run_along<[](double sum, double x) { return sum + x; }>(call, 0, exclusive, reverse);
          },
      .onnx = {.op_type = "CumSum",
               .inputs = {operand(0), attr_tensor("dim")},
               .dtypes = onnx_wide_dtypes(),
               .attrs = {{"exclusive", "exclusive"}, {"reverse", "reverse"}}},
      .tflite = {.builtin = BuiltinOperator::CUMSUM,
                 .since = "2.4.0",
                 .inputs = {operand(0), attr_tensor("dim")},
                 .options = tflite_options<Options>(OptionField<Options, bool>{&Options::exclusive, "exclusive"},
                                                    OptionField<Options, bool>{&Options::reverse, "reverse"}),
                 .dtypes = tflite_number_dtypes("2.4.0")},
      .tensorflow = {.op = "Cumsum",
                     .result = "out",
                     .inputs = {operand(0), attr_tensor("dim")},
                     .attrs = {{"exclusive", "exclusive"}, {"reverse", "reverse"}}},
      .examples = {{{f32({2, 5})}, {dim(-1)}},
                   {{f32({3, 4, 2})}, {dim(1), {"exclusive", true}}},
                   {{f32({3, 4})}, {dim(0), {"reverse", true}}},
                   {{i64({2, 5})}, {dim(1), {"exclusive", true}, {"reverse", true}}}},
  };
}

// Each round joins runs of `step` entries with those before them.
Value* product_by_doubling(Builder& build, Value* x, std::int64_t dim, std::int64_t size) {
  const auto part = [&](std::int64_t start, std::int64_t end) {
    return build("slice", {x}, {{"dim", dim}, {"start", start}, {"end", Shape{end}}});
  };
  for (std::int64_t step = 1; step < size; step *= 2) {
    Value* joined = build("mul", {part(step, size), part(0, size - step)});
    x = build("concat", {part(0, step), joined}, {{"dim", dim}});
  }
  return x;
}

// For an axis of unknown size: each entry's product over those that are not behind it, 1 in place of the others.
Value* product_by_masking(Builder& build, Value* x, std::int64_t dim, std::int64_t rank) {
  const Expr one = Expr{&build, build("zeros_like", {x})} + 1;
  Value* place = build("cumsum", {one.value}, {{"dim", dim}});
  const std::int64_t axis = dim < 0 ? dim + rank : dim;
  const auto along = [&](Value* value, std::int64_t at) {
    return Expr{&build, build("unsqueeze", {value}, {{"dims", std::vector{at}}})};
  };
  const Expr counts = apply("greater_equal", along(place, axis + 1), along(place, axis));
  const Expr factors = where(counts, along(x, axis), 1);
  return build("prod", {factors.value}, {{"dims", std::vector{axis + 1}}});
}

Op cumprod() {
  return {
      .name = "cumprod",
      .doc = "products of the entries of axis `dim` up to each one",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer}},
      .infer = infer_running,
      .eval =
          [](const EvalCall& call) {
            if (is_modular(call.operand(0)))
              return run_along<[](std::uint64_t product, std::uint64_t x) { return product * x; }, std::uint64_t>(
                  call, 1, false, false);
            return run_along<[](double product, double x) { return product * x; }>(call, 1, false, false);
          },
      .expand = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        const Shape& shape = node.operands[0]->type.shape;
        const std::int64_t dim = node.attrs.integer("dim");
        if (const auto size = shape[axis_of(node)].constant())
          return {product_by_doubling(build, operands[0], dim, *size)};
        return {product_by_masking(build, operands[0], dim, static_cast<std::int64_t>(shape.size()))};
      },
      .tensorflow = {.op = "Cumprod", .result = "out", .inputs = {operand(0), attr_tensor("dim")}},
      .examples = {{{f32({2, 5})}, {{"dim", std::int64_t{-1}}}}, {{f32({3, 4})}, {{"dim", std::int64_t{0}}}}},
  };
}

}  // namespace

std::vector<Op> order_ops() {
  return {topk(), counted_topk(), top_entries(), sort(), cumsum(), cumprod()};
}

}  // namespace taper
