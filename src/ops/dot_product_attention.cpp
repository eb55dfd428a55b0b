// Scaled dot product attention over any leading axes, with masks.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/families.h"
#include "ops/moves.h"

namespace taper {
namespace {

// What is added to scores that are ruled out: finite, so that a row without any score stays a number.
constexpr double kRuledOut = -1e9;
constexpr double kNoScore = -std::numeric_limits<double>::infinity();

// q [..., L, D], k [..., S, D], v [..., S, V], mask? broadcast to [..., L, S] -> [..., L, V]
Expected<std::vector<Type>> infer_attention(const InferCall& call) {
  const Shape& q = call.shape(0);
  const Shape& k = call.shape(1);
  const Shape& v = call.shape(2);
  const auto refuse = [&] {
    const auto is_open = [](const Shape& x) { return x.size() > 1 && !x[x.size() - 2].constant(); };
    return fail_with_hint(fmt::format("q, k, v have shapes {}, {}, {}, expected [..., L, D], [..., S, D], [..., S, V]",
                                      shape_text(q), shape_text(k), shape_text(v)),
                          is_open(k) && is_open(v)
                              ? "where the keys and values are inputs, give both lengths one name: --input-shape "
                                "k=...,S,... --input-shape v=...,S,..."
                              : "");
  };
  if (q.size() < 2 || k.size() < 2 || v.size() < 2) return refuse();
  if (q.back() != k.back() || k[k.size() - 2] != v[v.size() - 2] || q.back().is(0)) return refuse();
  const auto leading = [](const Shape& shape) { return Shape(shape.begin(), shape.end() - 2); };
  TAPER_ASSIGN(Shape scores, broadcast(leading(q), leading(k)));
  TAPER_ASSIGN(Shape out, broadcast(scores, leading(v)));
  const Dim& rows = q[q.size() - 2];
  const Dim& columns = k[k.size() - 2];
  if (columns.is(0)) return fail("no keys");
  scores.insert(scores.end(), {rows, columns});
  if (call.has(3)) {
    const auto masked = broadcast(scores, call.shape(3));
    if (!masked || *masked != scores)
      return fail("a mask of shape {} for scores of shape {}", shape_text(call.shape(3)), shape_text(scores));
    if (call.type(3).dtype != DType::boolean && call.type(3).dtype != call.type(0).dtype)
      return fail("mask is {}, expected bools or {}", type_text(call.type(3)), info(call.type(0).dtype).short_name);
  }
  out.insert(out.end(), {rows, v.back()});
  return std::vector{Type{call.type(0).dtype, std::move(out)}};
}

Expected<std::vector<Array>> eval_attention(const EvalCall& call) {
  const Array& q = call.operand(0);
  const Array& k = call.operand(1);
  const Array& v = call.operand(2);
  const std::int64_t rows = q.size(q.rank() - 2), depth = q.size(q.rank() - 1);
  const std::int64_t columns = k.size(k.rank() - 2), width = v.size(v.rank() - 1);
  // The leading axes of the result, and each operand over them.
  std::vector<std::int64_t> leading;
  const std::int64_t rank = std::max({q.rank(), k.rank(), v.rank()});
  for (std::int64_t axis = 2 - rank; axis < 0; ++axis) {
    std::int64_t size = 1;
    for (const Array* x : {&q, &k, &v})
      if (const std::int64_t at = x->rank() - 2 + axis; at >= 0 && x->size(at) != 1) size = x->size(at);
    leading.push_back(size);
  }
  const auto over_all = [&leading](const Array& x, std::int64_t m, std::int64_t n) {
    std::vector<std::int64_t> shape = leading;
    shape.insert(shape.end(), {m, n});
    return broadcast_to(x, shape);
  };
  const Array queries = over_all(q, rows, depth), keys = over_all(k, columns, depth),
              values = over_all(v, columns, width);
  Array mask;
  const bool is_bool = call.has(3) && call.operand(3).dtype == DType::boolean;
  if (call.has(3)) mask = over_all(call.operand(3), rows, columns);
  Array out = over_all(make_array(q.dtype, {1, 1}), rows, width);
  const double scale = call.attrs.real("scale");
  const std::int64_t blocks = std::accumulate(leading.begin(), leading.end(), std::int64_t{1}, std::multiplies{});
  std::vector<double> scores(static_cast<std::size_t>(rows * columns));
  for (std::int64_t block = 0; block < blocks; ++block) {
    std::ranges::fill(scores, 0.0);
    multiply_accumulate(queries.values.data() + block * rows * depth, keys.values.data() + block * columns * depth,
                        scores.data(), rows, columns, depth, true);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::span<double> line(scores.data() + row * columns, static_cast<std::size_t>(columns));
      for (std::int64_t column = 0; column < columns; ++column) {
        double& score = line[static_cast<std::size_t>(column)];
        score *= scale;
        if (call.attrs.flag("causal") && column > row) score = kNoScore;
        if (!call.has(3)) continue;
        const double given = mask.values[static_cast<std::size_t>((block * rows + row) * columns + column)];
        score += !is_bool ? given : given == 0 ? kNoScore : 0;
      }
      if (line.empty()) continue;
      const double largest = *std::ranges::max_element(line);
      if (largest == kNoScore) {
        std::ranges::fill(line, 0.0);
        continue;
      }
      double sum = 0;
      for (double& score : line) sum += score = std::exp(score - largest);
      for (double& score : line) score /= sum;
    }
    multiply_accumulate(scores.data(), values.values.data() + block * columns * width,
                        out.values.data() + block * rows * width, rows, width, columns, false);
  }
  return std::vector{std::move(out)};
}

// The scores of all leading axes.
Dim attention_workspace(const Node& node) {
  const Shape& k = node.operands[1]->type.shape;
  Shape scores(node.results[0]->type.shape.begin(), node.results[0]->type.shape.end() - 1);
  return element_count(scores) * k[k.size() - 2];
}

// [L, S]: 1 up to each row's own column, 0 behind it.
Value* causal_mask(Builder& build, const Dim& rows, const Dim& columns) {
  const auto count = [&](const Dim& length) {
    return build("arange", {}, {{"start", Shape{0}}, {"length", Shape{length}}, {"dtype", DType::i32}});
  };
  Value* row = build("unsqueeze", {count(rows)}, {{"dims", Integers{1}}});
  return build("cast", {build("greater_equal", {row, count(columns)})}, {{"to", DType::f32}});
}

// Whether each row of a mask is known to leave a score; that of every row where `causal` is. Bools rule out where they
// are false, numbers that are added where they are -inf.
bool leaves_a_score(const Value* mask, bool causal) {
  const Tensor* tensor = constant_of(mask);
  if (tensor == nullptr || tensor->rank() == 0 || tensor->shape.back() < 1) return false;
  const double ruling_out = tensor->dtype == DType::boolean ? 0 : kNoScore;
  const std::vector<double> entries = to_double(*tensor);
  const auto columns = static_cast<std::size_t>(tensor->shape.back());
  for (std::size_t row = 0; row < entries.size(); row += columns) {
    const std::span<const double> line = std::span(entries).subspan(row, causal ? 1 : columns);
    if (std::ranges::all_of(line, [&](double x) { return x == ruling_out; })) return false;
  }
  return true;
}

// Whether all scores of some row may be ruled out by an added mask of -inf, as far as the mask's making shows within a
// budget of values looked at.
bool may_rule_out(const Value* mask, int& budget) {
  if (mask == nullptr || !is_floating(mask->type.dtype)) return false;
  if (--budget < 0) return true;
  if (const Tensor* tensor = constant_of(mask)) {
    const std::vector<double> entries = to_double(*tensor);
    return std::ranges::find(entries, kNoScore) != entries.end();
  }
  const Node* node = mask->producer;
  if (node == nullptr || node->op == "log" || !node->regions.empty()) return true;
  if (node->op == "full") return node->attrs.real("value") == kNoScore;
  return std::ranges::any_of(node->operands, [&](const Value* operand) { return may_rule_out(operand, budget); });
}

// Masks are added before they are broadcast, and where they are constants, before the network runs.
std::vector<Value*> expand_attention(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& q = node.operands[0]->type.shape;
  const Shape& k = node.operands[1]->type.shape;
  const bool causal = node.attrs.flag("causal");
  std::vector<Value*> allowed;  // 1, or 0 where a score is ruled out
  if (causal) allowed.push_back(causal_mask(build, q[q.size() - 2], k[k.size() - 2]));
  Value* mask = operands.size() > 3 ? operands[3] : nullptr;
  const bool is_bool = mask != nullptr && node.operands[3]->type.dtype == DType::boolean;
  if (is_bool) allowed.push_back(build("cast", {mask}, {{"to", DType::f32}}));
  Value* scaled = build("mul", {operands[0], build.scalar(node.attrs.real("scale"))});
  Value* scores = build("matmul", {scaled, operands[1]}, {{"transpose_b", true}});
  for (Value* each : allowed) {
    Value* ruled_out = build("sub", {build.scalar(1), each});
    scores = build("add", {scores, build("mul", {ruled_out, build.scalar(kRuledOut)})});
  }
  int budget = 64;
  const bool leaves = mask == nullptr || leaves_a_score(node.operands[3], causal);
  const bool rules_out = !leaves && !is_bool && may_rule_out(mask, budget);
  if (rules_out) {
    Value* left = build("greater", {mask, build.scalar(-std::numeric_limits<float>::infinity())});
    allowed.push_back(build("cast", {left}, {{"to", DType::f32}}));
    mask = build("maximum", {mask, build.scalar(kRuledOut)});
  }
  if (mask != nullptr && !is_bool) scores = build("add", {scores, mask});
  Value* shares = build("softmax", {scores});
  // A row without any score attends to nothing.
  if (rules_out || (is_bool && !leaves))
    for (Value* each : allowed) shares = build("mul", {shares, each});
  return {build("matmul", {shares, operands[2]})};
}

}  // namespace

std::vector<Op> dot_product_attention_ops() {
  const Type q = f32({2, 3, 4, 8}), k = f32({2, 3, 5, 8}), v = f32({2, 3, 5, 6});
  const Attrs plain = {{"scale", 0.5}};
  return {{
      .name = "scaled_dot_product_attention",
      .doc = "softmax(scale q k^T + mask) v over the last two axes; a mask of bools rules out the scores where it is "
             "false, `causal` those whose column is greater than the row; a row without any score gives 0",
      .operands = {"q", "k", "v", "mask?"},
      .attrs = {{"scale", AttrKind::real}, {"causal", AttrKind::flag, false}},
      .infer = infer_attention,
      .eval = eval_attention,
      .workspace = attention_workspace,
      .expand = expand_attention,
      .examples = {{{q, k, v}, plain},
                   {{q, k, v}, {{"scale", 0.5}, {"causal", true}}},
                   {{q, k, v, f32({4, 5})}, plain},
                   {{q, k, v, {DType::boolean, {2, 1, 1, 5}}}, plain, 0, 2},
                   {{q, k, v, {DType::boolean, {2, 1, 4, 5}}}, {{"scale", 0.5}, {"causal", true}}, 0, 2},
                   {{f32({4, 8}), f32({5, 8}), f32({5, 6})}, plain}},
  }};
}

}  // namespace taper
