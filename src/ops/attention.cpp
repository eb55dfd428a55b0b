// Attention as a whole operator; each target gets its best form by expansion.
#include <cmath>

#include "ops/families.h"
#include "ops/rules.h"

namespace taper {
namespace {

// q [B, T, E], k [B, S, E], v [B, S, E] -> [B, T, E]; heads are consecutive blocks of D = E / num_heads columns.
Expected<std::vector<Type>> infer_attention(const InferCall& call) {
  const Shape& q = call.shape(0);
  const Shape& k = call.shape(1);
  if (q.size() != 3 || k.size() != 3 || call.shape(2) != k || q[0] != k[0] || q[2] != k[2])
    return fail("q, k, v have shapes {}, {}, {}, expected [B, T, E], [B, S, E], [B, S, E]", shape_text(q),
                shape_text(k), shape_text(call.shape(2)));
  const std::int64_t heads = call.attrs.integer("num_heads");
  const auto width = q[2].constant();
  if (!width || *width < 1 || heads < 1 || *width % heads != 0)
    return fail("{} columns don't split into {} heads", q[2].text(), heads);
  return std::vector{call.type(0)};
}

Expected<std::vector<Array>> eval_attention(const EvalCall& call) {
  const Array& q = call.operand(0);
  const Array& k = call.operand(1);
  const Array& v = call.operand(2);
  const std::int64_t batch = q.size(0), rows = q.size(1), width = q.size(2), columns = k.size(1);
  const std::int64_t heads = call.attrs.integer("num_heads");
  const std::int64_t depth = width / heads;
  const double scale = 1 / std::sqrt(static_cast<double>(depth));
  Array out = make_array(q.dtype, q.shape);
  const auto gather_head = [&](const Array& from, std::int64_t b, std::int64_t head, std::int64_t count) {
    std::vector<double> block(static_cast<std::size_t>(count * depth));
    for (std::int64_t t = 0; t < count; ++t)
      std::copy_n(from.values.begin() + (b * count + t) * width + head * depth, depth, block.begin() + t * depth);
    return block;
  };
  for (std::int64_t b = 0; b < batch; ++b)
    for (std::int64_t head = 0; head < heads; ++head) {
      const auto query = gather_head(q, b, head, rows);
      const auto key = gather_head(k, b, head, columns);
      const auto value = gather_head(v, b, head, columns);
      std::vector<double> scores(static_cast<std::size_t>(rows * columns), 0.0);
      multiply_accumulate(query.data(), key.data(), scores.data(), rows, columns, depth, true);
      for (std::int64_t t = 0; t < rows; ++t) {
        const std::span<double> row(scores.data() + t * columns, static_cast<std::size_t>(columns));
        const double largest = row.empty() ? 0 : *std::ranges::max_element(row);
        double sum = 0;
        for (double& x : row) sum += x = std::exp((x - largest) * scale);
        for (double& x : row) x /= sum;
      }
      std::vector<double> mixed(static_cast<std::size_t>(rows * depth), 0.0);
      multiply_accumulate(scores.data(), value.data(), mixed.data(), rows, depth, columns, false);
      for (std::int64_t t = 0; t < rows; ++t)
        std::copy_n(mixed.begin() + t * depth, depth, out.values.begin() + (b * rows + t) * width + head * depth);
    }
  return std::vector{std::move(out)};
}

// softmax(q k^T / sqrt(D)) v
double score_scale(const Node& node) {
  const std::int64_t head = *node.operands[0]->type.shape[2].constant() / node.attrs.integer("num_heads");
  return 1 / std::sqrt(static_cast<double>(head));
}

// The scores of one head.
Dim attention_workspace(const Node& node) {
  return node.operands[0]->type.shape[1] * node.operands[1]->type.shape[1];
}

// [B, T, E] -> [B, T, H, D], heads moved before time, one batched product, and back.
std::vector<Value*> expand_attention(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::int64_t heads = node.attrs.integer("num_heads");
  const std::int64_t depth = *node.operands[0]->type.shape[2].constant() / heads;
  const auto split_heads = [&](Value* x, const Shape& shape, std::vector<std::int64_t> order) {
    Value* blocks = build("reshape", {x}, {{"shape", Shape{shape[0], shape[1], heads, depth}}});
    return build("permute", {blocks}, {{"dims", std::move(order)}});
  };
  const Shape& queries = node.operands[0]->type.shape;
  const Shape& keys = node.operands[1]->type.shape;
  Value* q = split_heads(build("mul", {operands[0], build.scalar(score_scale(node))}), queries, {0, 2, 1, 3});
  Value* k = split_heads(operands[1], keys, {0, 2, 3, 1});
  Value* v = split_heads(operands[2], keys, {0, 2, 1, 3});
  Value* weights = build("softmax", {build("matmul", {q, k})});
  Value* mixed = build("permute", {build("matmul", {weights, v})}, {{"dims", std::vector<std::int64_t>{0, 2, 1, 3}}});
  return {build("reshape", {mixed}, {{"shape", node.results[0]->type.shape}})};
}

// XNNPACK takes splits into 2 to 4 parts and joins of 2 to 5; with more, attention would leave the delegate.
constexpr std::int64_t kMostParts = 4;

std::int64_t largest_factor(std::int64_t count) {
  for (std::int64_t factor = kMostParts; factor > 1; --factor)
    if (count % factor == 0) return factor;
  return 1;
}

// x [B, T, E] as `heads` values [B, T, D], split in levels; one slice per head where a prime above 4 forbids that.
void split_columns(Builder& build, Value* x, std::int64_t heads, std::int64_t depth, std::vector<Value*>& parts) {
  if (heads == 1) return parts.push_back(x);
  const std::int64_t factor = largest_factor(heads);
  if (factor == 1) {
    for (std::int64_t head = 0; head < heads; ++head)
      parts.push_back(
          build("slice", {x}, {{"dim", std::int64_t{2}}, {"start", head * depth}, {"end", Shape{(head + 1) * depth}}}));
    return;
  }
  const std::vector<Value*> blocks = build.call("split", {x}, {{"dim", std::int64_t{2}}, {"parts", factor}});
  for (std::int64_t i = 0; i < factor && !build.failed(); ++i)
    split_columns(build, blocks[static_cast<std::size_t>(i)], heads / factor, depth, parts);
}

// The parts joined along the last axis, in levels.
Value* join_columns(Builder& build, std::vector<Value*> parts) {
  const Attrs last = {{"dim", std::int64_t{2}}};
  while (parts.size() > 1) {
    std::vector<Value*> joined;
    for (std::size_t at = 0; at < parts.size(); at += kMostParts) {
      const auto end = std::min(parts.size(), at + kMostParts);
      const std::vector<Value*> group(parts.begin() + static_cast<std::ptrdiff_t>(at),
                                      parts.begin() + static_cast<std::ptrdiff_t>(end));
      joined.push_back(group.size() == 1 ? group[0] : build("concat", group, last));
    }
    parts = std::move(joined);
  }
  return parts.front();
}

// Head by head on [B, T, D]: neither batch nor time needs a shape at run time, and XNNPACK runs all of it. Measured
// against heads as rows of one batch ([H*B, T, D], 3 % slower) and reshapes by computed shapes (10 % slower).
std::vector<Value*> expand_attention_by_head(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::int64_t heads = node.attrs.integer("num_heads");
  const std::int64_t depth = *node.operands[0]->type.shape[2].constant() / heads;
  std::vector<Value*> q, k, v, mixed;
  split_columns(build, build("mul", {operands[0], build.scalar(score_scale(node))}), heads, depth, q);
  split_columns(build, operands[1], heads, depth, k);
  split_columns(build, operands[2], heads, depth, v);
  if (build.failed()) return {nullptr};
  for (std::size_t head = 0; head < q.size(); ++head) {
    Value* weights = build("softmax", {build("matmul", {q[head], k[head]}, {{"transpose_b", true}})});
    mixed.push_back(build("matmul", {weights, v[head]}));
  }
  return {join_columns(build, mixed)};
}

}  // namespace

std::vector<Op> attention_ops() {
  const Type x{DType::f32, {2, 3, 8}};
  const Type memory{DType::f32, {2, 5, 8}};
  return {{
      .name = "multi_head_attention",
      .doc = "softmax(q k^T / sqrt(D)) v for each of num_heads blocks of D columns, joined",
      .operands = {"q", "k", "v"},
      .attrs = {{"num_heads", AttrKind::integer}},
      .infer = infer_attention,
      .eval = eval_attention,
      .workspace = attention_workspace,
      .expand = expand_attention,
      .expand_tflite = expand_attention_by_head,
      .expand_tensorflow = expand_attention_by_head,
      .examples = {{{x, x, x}, {{"num_heads", std::int64_t{2}}}},
                   {{x, memory, memory}, {{"num_heads", std::int64_t{8}}}}},
  }};
}

}  // namespace taper
