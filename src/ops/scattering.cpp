// Operators that write where integers say.
#include <limits>
#include <set>

#include "ops/families.h"
#include "ops/indices.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

// ------------------------------------------------------------------------------------------------------------- scatter

using Combine = double (*)(double old_value, double update);

Combine combination(const std::string& reduction) {
  struct Row {
    std::string_view name;
    Combine combine;
  };
  static constexpr Row kRows[] = {
      {"none", [](double, double y) { return y; }},
      {"add", [](double x, double y) { return x + y; }},
      {"mul", [](double x, double y) { return x * y; }},
      {"max", [](double x, double y) { return std::isnan(x) || x > y ? x : y; }},
      {"min", [](double x, double y) { return std::isnan(x) || x < y ? x : y; }},
  };
  const auto* row = std::ranges::find(kRows, std::string_view(reduction), &Row::name);
  return row == std::end(kRows) ? nullptr : row->combine;
}

Status check_reduction(const Attrs& attrs) {
  if (combination(attrs.text("reduction")) == nullptr)
    return fail("reduction '{}', expected none, add, mul, max or min", attrs.text("reduction"));
  return {};
}

AttrSpec reduction_attr() {
  return {"reduction", AttrKind::text, std::string("none")};
}

bool is_reduction(const Node& node, std::string_view name) {
  return node.attrs.text("reduction") == name;
}

// ONNX knows the largest and the smallest from version 18 on.
bool has_onnx_reduction(const Node& node) {
  const bool adds = node.operands[0]->type.dtype != DType::f16;  // its runtime has no kernel for these
  return is_reduction(node, "none") || (adds && (is_reduction(node, "add") || is_reduction(node, "mul")));
}

Expected<std::vector<Type>> infer_scatter_nd(const InferCall& call) {
  const Type& x = call.type(0);
  const Type& indices = call.type(1);
  TAPER_TRY(check_reduction(call.attrs));
  TAPER_ASSIGN(const std::size_t depth, index_depth(x, indices, 0));
  Shape expected(indices.shape.begin(), indices.shape.end() - 1);
  expected.insert(expected.end(), x.shape.begin() + static_cast<std::ptrdiff_t>(depth), x.shape.end());
  if (call.type(2) != Type{x.dtype, expected})
    return fail("updates {}, expected {}", type_text(call.type(2)), type_text({x.dtype, expected}));
  return std::vector{x};
}

Status scatter_into(Array& out, const Array& indices, const Array& updates, Combine combine) {
  const auto depth = static_cast<std::size_t>(indices.shape.back());
  TAPER_ASSIGN(const Integers offsets, entry_offsets(indices, out.shape, 0));
  const std::int64_t run = product(std::span(out.shape).subspan(depth));
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const auto to = out.values.begin() + offsets[i] * run;
    std::transform(to, to + run, updates.values.begin() + static_cast<std::int64_t>(i) * run, to, combine);
  }
  return {};
}

Expected<std::vector<Array>> eval_scatter_nd(const EvalCall& call) {
  Array out = call.operand(0);
  TAPER_TRY(scatter_into(out, call.operand(1), call.operand(2), combination(call.attrs.text("reduction"))));
  return std::vector{std::move(out)};
}

// ---------------------------------------------------------------------------------------------------- scatter by sums

bool adds_known_dtypes(const Node& node) {
  const DType dtype = node.operands[1]->type.dtype;
  return dtype != DType::i16 && dtype != DType::u16 && dtype != DType::u32 && dtype != DType::u64;
}

// TFLite's SCATTER_ND adds updates of one entry to zeros, and does nothing else.
Op scatter_sum() {
  return {
      .name = "scatter_sum",
      .doc =
          "zeros in `shape`, which the vector `sizes` holds, with each of updates added where the last axis of indices "
          "says",
      .operands = {"indices", "updates", "sizes"},
      .attrs = {{"shape", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const Type x{call.type(1).dtype, call.attrs.get<Shape>("shape")};
        TAPER_TRY(check_sizes(call.type(2), x.shape));
        TAPER_ASSIGN(const std::size_t depth, index_depth(x, call.type(0), 0));
        Shape expected(call.shape(0).begin(), call.shape(0).end() - 1);
        expected.insert(expected.end(), x.shape.begin() + static_cast<std::ptrdiff_t>(depth), x.shape.end());
        if (call.shape(1) != expected || call.type(2).dtype != call.type(0).dtype)
          return fail("updates {} and sizes {}, expected {}", type_text(call.type(1)), type_text(call.type(2)),
                      type_text({x.dtype, expected}));
        return std::vector{x};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<std::int64_t> shape, checked_sizes(call.operand(2), call));
        Array out = make_array(call.operand(1).dtype, shape);
        TAPER_TRY(scatter_into(out, call.operand(0), call.operand(1), combination("add")));
        return std::vector{std::move(out)};
      },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        const auto as_long = [&](Value* x) { return build("cast", {x}, {{"to", DType::i64}}); };
        Value* zeros = build("constant_of_shape", {as_long(operands[2])}, node.attrs);
        zeros = build("cast", {zeros}, {{"to", node.results[0]->type.dtype}});
        return {build("scatter_nd", {zeros, as_long(operands[0]), operands[1]}, {{"reduction", std::string("add")}})};
      },
      .tflite = {.builtin = tflite::BuiltinOperator::SCATTER_ND,
                 .since = "2.1.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = tflite_options<tflite::ScatterNdOptionsT>(),
                 .fits = adds_known_dtypes,
                 .read_operands = [](std::span<Value* const> operands,
                                     Attrs& attrs) { return resolve_shape(operands[2], attrs); }},
      .tensorflow = {.op = "ScatterNd",
                     .inputs = {operand(0), operand(1), operand(2)},
                     .types = {{"T", 1}, {"Tindices", 0}},
                     .read_operands = [](std::span<Value* const> operands,
                                         Attrs& attrs) { return resolve_shape(operands[2], attrs); }},
  };
}

// Pairs of updates are compared where entries may get several: this many updates at most.
constexpr std::int64_t kMostUpdates = 4096;

Dim update_count(const Node& node) {
  const Shape& indices = node.operands[1]->type.shape;
  return element_count(Shape(indices.begin(), indices.end() - 1));
}

// Constant indices that name no entry twice.
bool are_distinct(const Value* indices) {
  const Tensor* tensor = constant_of(indices);
  if (tensor == nullptr) return false;
  const std::vector<double> values = to_double(*tensor);
  const auto depth = static_cast<std::size_t>(tensor->shape.back());
  std::set<std::vector<double>> entries;
  for (std::size_t i = 0; i < values.size(); i += depth) {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(i);
    if (!entries.emplace(first, first + static_cast<std::ptrdiff_t>(depth)).second) return false;
  }
  return true;
}

bool scatters_by_sums(const Node& node) {
  return is_reduction(node, "add") || are_distinct(node.operands[1]) ||
         update_count(node).constant().value_or(0) <= kMostUpdates;
}

double neutral_of(const std::string& reduction) {
  const double infinity = std::numeric_limits<double>::infinity();
  return reduction == "max" ? -infinity : reduction == "min" ? infinity : 1;
}

// Scatters of a call whose leading axes of indices [N, K] and updates [N, ...] are one.
class SumScatter {
 public:
  SumScatter(Builder& build, const Node& node, std::span<Value* const> operands)
      : build_(build),
        x_(operands[0]),
        type_(node.results[0]->type),
        reduction_(node.attrs.text("reduction")),
        distinct_(are_distinct(node.operands[1])),
        count_(update_count(node)),
        depth_(node.operands[1]->type.shape.back()) {
    indices_ = build("cast", {operands[1]}, {{"to", DType::i32}});
    indices_ = build("reshape", {indices_}, {{"shape", Shape{count_, depth_}}});
    Shape updates(type_.shape.begin() + static_cast<std::ptrdiff_t>(*depth_.constant()), type_.shape.end());
    rest_ = updates.size();
    updates.insert(updates.begin(), count_);
    updates_ = build("reshape", {operands[2]}, {{"shape", std::move(updates)}});
  }

  Value* run() {
    if (reduction_ == "add") return build_("add", {x_, scatter(updates_, type_.shape)});
    if (!distinct_) choose_updates();
    Value* placed = scatter(updates_, type_.shape);
    const Shape entries(type_.shape.begin(), type_.shape.end() - static_cast<std::ptrdiff_t>(rest_));
    Value* ones = build_("full", {}, {{"shape", Shape{count_}}, {"value", 1.0}, {"dtype", DType::f32}});
    Value* touched = scatter(ones, entries);
    touched = build_("less", {build_.scalar(0.5), with_axes_behind(touched, entries.size(), rest_)});
    if (reduction_ == "max") placed = build_("maximum", {x_, placed});
    if (reduction_ == "min") placed = build_("minimum", {x_, placed});
    if (reduction_ == "mul") placed = build_("mul", {x_, placed});
    return build_("where", {touched, placed, x_});
  }

  // The largest or smallest without an operator that compares: each update becomes what its entry ends as, so that it
  // doesn't matter which of them is written last.
  Value* run_by_copies() {
    if (!distinct_) updates_ = reduced_groups(same_entry());
    Value* indices = build_("cast", {indices_}, {{"to", DType::i64}});
    Value* before = build_("gather_nd", {x_, indices});
    updates_ = build_(reduction_ == "max" ? "maximum" : "minimum", {before, updates_});
    return build_("scatter_nd", {x_, indices, updates_});
  }

 private:
  Value* scatter(Value* updates, const Shape& shape) {
    Value* sizes = build_("sizes", {}, {{"sizes", shape}, {"dtype", DType::i32}});
    return build_("scatter_sum", {indices_, updates, sizes}, {{"shape", shape}});
  }
  Value* with_axes_behind(Value* x, std::size_t rank, std::size_t count) {
    if (count == 0) return x;
    Integers dims;
    for (std::size_t i = 0; i < count; ++i) dims.push_back(static_cast<std::int64_t>(rank + i));
    return build_("unsqueeze", {x}, {{"dims", dims}});
  }

  Value* unsqueezed(Value* x, std::int64_t axis) { return build_("unsqueeze", {x}, {{"dims", Integers{axis}}}); }

  // [N, N]: whether two updates are of one entry.
  Value* same_entry() {
    Value* apart = build_("sub", {unsqueezed(indices_, 1), unsqueezed(indices_, 0)});
    Value* distance = build_("sum", {build_("mul", {apart, apart})}, {{"dims", Integers{2}}, {"keepdim", false}});
    return build_("less", {distance, build_.scalar_i32(1)});
  }

  // For each update those of its entry, [N, N, ...], reduced over the second axis.
  Value* reduced_groups(Value* same) {
    Value* group = build_(
        "where", {with_axes_behind(same, 2, rest_), unsqueezed(updates_, 0), number_like(neutral_of(reduction_))});
    const std::string_view op = reduction_ == "max" ? "amax" : reduction_ == "min" ? "amin" : "prod";
    return build_(op, {group}, {{"dims", Integers{1}}, {"keepdim", false}});
  }

  // Of the updates of one entry the last is left, which for a reduction holds that of all of them; zeros stand for the
  // others.
  void choose_updates() {
    Value* same = same_entry();
    Value* number = build_("arange", {}, {{"start", Shape{0}}, {"length", Shape{count_}}, {"dtype", DType::i32}});
    Value* later = build_("less", {unsqueezed(number, 1), number});
    const auto as_float = [this](Value* x) { return build_("cast", {x}, {{"to", DType::f32}}); };
    Value* replaced =
        build_("sum", {build_("mul", {as_float(same), as_float(later)})}, {{"dims", Integers{1}}, {"keepdim", false}});
    Value* last = with_axes_behind(build_("less", {replaced, build_.scalar(0.5)}), 1, rest_);
    if (reduction_ != "none") updates_ = reduced_groups(same);
    updates_ = build_("where", {last, updates_, number_like(0)});
    // The entries of the others are counted too, so that whether an entry is touched doesn't change.
  }
  Value* number_like(double value) { return build_.constant(to_tensor(Array{type_.dtype, {}, {value}}), "number"); }

  Builder& build_;
  Value* x_;
  const Type& type_;
  const std::string& reduction_;
  bool distinct_;
  Dim count_, depth_;
  std::size_t rest_ = 0;
  Value* indices_ = nullptr;
  Value* updates_ = nullptr;
};

std::vector<Value*> expand_scatter_by_sums(Builder& build, const Node& node, std::span<Value* const> operands) {
  return {SumScatter(build, node, operands).run()};
}

// TensorFlow counts updates along an axis.
bool counts_updates(const Node& node) {
  return node.operands[1]->type.shape.size() > 1;
}

std::vector<Value*> expand_scatter_tensorflow(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (!is_reduction(node, "none") || counts_updates(node)) return expand_scatter_by_sums(build, node, operands);
  const auto one = [&build](Value* x) { return build("unsqueeze", {x}, {{"dims", Integers{0}}}); };
  return {build("scatter_nd", {operands[0], one(operands[1]), one(operands[2])}, node.attrs)};
}

std::vector<Value*> scatter_in_f32(Builder& build, const Node& node, std::span<Value* const> operands) {
  const auto as = [&build](DType dtype, Value* x) { return build("cast", {x}, {{"to", dtype}}); };
  Value* wide =
      build("scatter_nd", {as(DType::f32, operands[0]), operands[1], as(DType::f32, operands[2])}, node.attrs);
  return {as(node.operands[0]->type.dtype, wide)};
}

Op scatter_nd() {
  return {
      .name = "scatter_nd",
      .doc =
          "x with the entries that the last axis of indices names replaced by those of updates, or combined with "
          "them: none, add, mul, max, min; of several updates of one entry the last counts",
      .operands = {"x", "indices", "updates"},
      .attrs = {reduction_attr()},
      .infer = infer_scatter_nd,
      .eval = eval_scatter_nd,
      .expand = expand_scatter_by_sums,
      .expands_if =
          [](const Node& node, Target target) {
            return target == Target::onnx && has_onnx_reduction(node) ? !has_int64_indices(node)
                                                                      : scatters_by_sums(node);
          },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        if (node.operands[0]->type.dtype == DType::f16 && !has_onnx_reduction(node))
          return scatter_in_f32(build, node, operands);
        if (!has_onnx_reduction(node)) return {SumScatter(build, node, operands).run_by_copies()};
        Value* indices = build("cast", {operands[1]}, {{"to", DType::i64}});
        return {build("scatter_nd", {operands[0], indices, operands[2]}, node.attrs)};
      },
      .expand_tensorflow = expand_scatter_tensorflow,
      .onnx = {.op_type = "ScatterND",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"reduction", "reduction"}},
               .fits = [](const Node& node) { return has_int64_indices(node) && has_onnx_reduction(node); }},
      .tensorflow = {.op = "TensorScatterUpdate",
                     .inputs = {operand(0), operand(1), operand(2)},
                     .types = {{"T"}, {"Tindices", 1}},
                     .fits = [](const Node& node) { return is_reduction(node, "none") && counts_updates(node); }},
      .examples = {{{f32({4, 2, 3}), {DType::i32, {1, 1}}, f32({1, 2, 3})}, {}, 0, 3},
                   {{f32({4, 2, 3}), {DType::i64, {1}}, f32({2, 3})}, {}, 0, 3},
                   {{f32({3, 4}), {DType::i64, {5, 2}}, f32({5})}, {{"reduction", std::string("add")}}, 0, 2.5},
                   {{f32({3, 2}), {DType::i64, {2, 2, 1}}, f32({2, 2, 2})}, {}, 0, 2.5},
                   {{f32({3, 2}), {DType::i64, {5, 1}}, f32({5, 2})}, {{"reduction", std::string("max")}}, 0, 2.5},
                   {{f32({3, 2}), {DType::i64, {5, 1}}, f32({5, 2})}, {{"reduction", std::string("mul")}}, 0, 2.5}},
  };
}

Op scatter_elements() {
  return {
      .name = "scatter_elements",
      .doc =
          "x with x[.., index[.., i, ..], ..] replaced by updates[.., i, ..] along axis `dim`, or combined with it: "
          "none, add, mul, max, min",
      .operands = {"x", "index", "updates"},
      .attrs = {{"dim", AttrKind::integer}, reduction_attr()},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_reduction(call.attrs));
        TAPER_ASSIGN([[maybe_unused]] const std::size_t axis, check_element_index(call));
        if (call.type(2) != Type{call.type(0).dtype, call.shape(1)})
          return fail("updates {}, expected {}", type_text(call.type(2)),
                      type_text({call.type(0).dtype, call.shape(1)}));
        return std::vector{call.type(0)};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Array out = call.operand(0);
        TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), out.shape.size()));
        TAPER_ASSIGN(const Integers offsets, element_offsets(call.operand(1), out.shape, axis));
        const Combine combine = combination(call.attrs.text("reduction"));
        for (std::size_t i = 0; i < offsets.size(); ++i) {
          double& value = out.values[static_cast<std::size_t>(offsets[i])];
          value = combine(value, call.operand(2).values[i]);
        }
        return std::vector{std::move(out)};
      },
      .expand = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        return {build("scatter_nd", {operands[0], element_positions(build, node, operands[1]), operands[2]},
                      {{"reduction", node.attrs.text("reduction")}})};
      },
      .onnx = {.op_type = "ScatterElements",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"axis", "dim"}, {"reduction", "reduction"}},
               .fits = has_onnx_reduction},
      .examples = {{{f32({3, 4}), {DType::i64, {2, 4}}, f32({2, 4})},
                    {{"dim", std::int64_t{0}}, {"reduction", std::string("add")}},
                    0,
                    2.5},
                   {{f32({3, 4}), {DType::i64, {1, 4}}, f32({1, 4})}, {{"dim", std::int64_t{0}}}, 0, 2.5},
                   {{f32({3, 4}), {DType::i64, {5, 4}}, f32({5, 4})},
                    {{"dim", std::int64_t{0}}, {"reduction", std::string("min")}},
                    0,
                    2.5}},
  };
}

}  // namespace

std::vector<Op> scattering_ops() {
  return {scatter_sum(), scatter_nd(), scatter_elements()};
}

}  // namespace taper
