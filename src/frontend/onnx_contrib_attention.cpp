// ONNX Runtime's own attention: layers with joined projections, grouped heads, caches.
#include <cmath>
#include <limits>

#include "frontend/onnx_attention.h"
#include "frontend/onnx_importer.h"
#include "frontend/onnx_quantized.h"

namespace taper::onnx_reader {
namespace {

// Queries, keys and values as [B, heads, L, D].
struct Heads {
  Value* query = nullptr;
  Value* key = nullptr;
  Value* value = nullptr;
};

bool has_heads(Call& call, const Heads& heads) {
  if (call.failed()) return false;
  for (const Value* x : {heads.query, heads.key, heads.value})
    if (x->type.shape.size() != 4 || !x->type.shape[3].constant() || !x->type.shape[1].constant()) {
      call.fail(fmt::format("heads of shape {}", shape_text(x->type.shape)));
      return false;
    }
  return true;
}

// The parts of the last axis, of known sizes.
std::vector<Value*> parts_of(Call& call, Value* x, const std::vector<Dim>& sizes) {
  std::vector<Value*> parts;
  if (call.failed()) return std::vector<Value*>(sizes.size(), nullptr);
  const auto last = static_cast<std::int64_t>(x->type.shape.size()) - 1;
  Dim start = 0;
  for (const Dim& size : sizes)
    if (!size.constant()) {
      call.fail(fmt::format("parts of open sizes {}", shape_text(sizes)));
      return std::vector<Value*>(sizes.size(), nullptr);
    }
  for (const Dim& size : sizes) {
    parts.push_back(call.build("slice", {x},
                               {{"dim", last}, {"start", start.constant().value_or(0)}, {"end", Shape{start + size}}}));
    start = start + size;
  }
  return parts;
}

// What ONNX Runtime's masks of integers add to the scores of [B, heads, L, S]: 0 where they are positive, else the
// filter. [B]: how many of the first keys count; [2 B]: up to where, then from where; [B, S], [B, L, S], [B, 1, L, S].
Value* filtered(Call& call, Value* mask, const Shape& scores, double filter) {
  if (call.failed()) return nullptr;
  const Shape shape = mask->type.shape;
  const Dim batch = scores[0], rows = scores[2], keys = scores[3];
  Value* counts = nullptr;
  if (shape.size() == 1 && (shape[0] == batch || shape[0] == batch * Dim(2))) {
    const bool both = shape[0] != batch;
    Value* place = call.arange(keys);
    const auto limits = [&](const Dim& start) {
      Value* part =
          both ? call.build(
                     "slice", {mask},
                     {{"dim", std::int64_t{0}}, {"start", start.constant().value_or(0)}, {"end", Shape{start + batch}}})
               : mask;
      return call.unsqueeze(call.cast(part, DType::i64), {1, 2, 3});
    };
    if (both && !batch.constant()) {
      call.fail("a mask of ends and starts with an open batch");
      return nullptr;
    }
    counts = call.build("less", {place, limits(0)});
    if (both) counts = call.build("logical_and", {counts, call.build("greater_equal", {place, limits(batch)})});
  } else if (shape.size() >= 2 && shape.size() <= 4 && shape.back() == keys &&
             (shape.size() == 2 || shape[shape.size() - 2] == rows)) {
    if (shape.size() == 2) mask = call.unsqueeze(mask, {1, 2});
    if (shape.size() == 3) mask = call.unsqueeze(mask, {1});
    if (call.failed()) return nullptr;
    counts = call.build("greater", {mask, call.number(0, mask->type.dtype)});
  } else {
    call.fail(fmt::format("a mask of shape {} for scores of shape {}", shape_text(shape), shape_text(scores)));
    return nullptr;
  }
  return call.build("where", {counts, call.number(0, DType::f32), call.number(filter, DType::f32)});
}

// Queries see the keys up to their own, the last query the last key; and of them, maybe, only so many of the last.
Value* causal_mask(Call& call, const Dim& rows, const Dim& keys, std::int64_t window) {
  Value* key = call.unsqueeze(call.arange(keys), {0});
  Value* query = call.unsqueeze(call.arange(rows, keys - rows), {1});
  Value* allowed = call.build("less_equal", {key, query});
  if (window > 0)
    allowed = call.build(
        "logical_and", {allowed, call.build("greater", {call.binary("add", key, static_cast<double>(window)), query})});
  return allowed;
}

// softmax(q k' scale + mask) v -> [B, L, heads D]; scores are kept within the cap, if there is one, by tanh.
void set_attention(Call& call, const Heads& heads, Mask mask, double scale, double softcap = 0) {
  if (call.failed()) return;
  const DType dtype = heads.query->type.dtype;
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(*heads.query->type.shape[3].constant()));
  if (mask.added != nullptr) mask.added = call.cast(mask.added, dtype);
  mask = combined(call, mask);
  if (softcap <= 0) {
    Value* result = call.build("scaled_dot_product_attention",
                               {heads.query, heads.key, heads.value, mask.added == nullptr ? mask.allowed : mask.added},
                               {{"scale", scale}, {"causal", false}});
    return call.set(0, join_heads(call, result, call.name()));
  }
  Value* scores = call.build("matmul", {heads.query, heads.key}, {{"transpose_b", true}});
  if (call.failed()) return;
  scores = call.binary("mul", call.build("tanh", {call.binary("mul", scores, scale / softcap)}), softcap);
  if (mask.added != nullptr) scores = call.build("add", {scores, mask.added});
  if (mask.allowed != nullptr)
    scores = call.build("where", {mask.allowed, scores, call.number(-std::numeric_limits<double>::infinity(), dtype)});
  Value* shares = call.build("softmax", {scores}, {{"dim", std::int64_t{-1}}});
  call.set(0, join_heads(call, call.build("matmul", {shares, heads.value}), call.name()));
}

Shape scores_of(const Heads& heads) {
  return {heads.query->type.shape[0], heads.query->type.shape[1], heads.query->type.shape[2], heads.key->type.shape[2]};
}

Value* behind(Call& call, Value* past, Value* x) {
  return call.build("concat", {past, x}, {{"dim", std::int64_t{2}}});
}

// The attention of one projection of x to queries, keys and values, joined [B, L, Dq + Dk + Dv]. The mask, the past
// [2, B, heads, P, D] and the bias of the scores are operands, the first at `mask`.
void attend_joined(Call& call, Value* projected, std::size_t mask, std::size_t past, std::optional<std::size_t> bias) {
  const std::int64_t count = call.integer("num_heads", 0);
  const bool causal = call.flag("unidirectional", false);
  const double filter = call.real("mask_filter_value", -10000), scale = call.real("scale", 0);
  const auto sizes = call.integers("qkv_hidden_sizes");
  if (call.flag("do_rotary", false) || call.flag("past_present_share_buffer", false))
    return call.fail("do_rotary and past_present_share_buffer are not read");
  if (call.failed()) return;
  const Shape shape = projected->type.shape;
  std::vector<Dim> parts;
  if (sizes) {
    for (const std::int64_t size : *sizes) parts.emplace_back(size);
  } else if (const auto third = shape.empty() ? std::nullopt : divide_exactly(shape.back(), Dim(3))) {
    parts.assign(3, *third);
  }
  if (parts.size() != 3 || shape.size() != 3)
    return call.fail(fmt::format("queries, keys and values of shape {}", shape_text(shape)));
  const std::vector<Value*> split = parts_of(call, projected, parts);
  Heads heads = {split_heads(call, split[0], count), split_heads(call, split[1], count),
                 split_heads(call, split[2], count)};
  if (call.has(past)) {
    const auto of_past = [&](std::int64_t index) {
      return call.build("select", {call.x(past)}, {{"dim", std::int64_t{0}}, {"index", index}});
    };
    heads.key = behind(call, of_past(0), heads.key);
    heads.value = behind(call, of_past(1), heads.value);
  }
  if (!has_heads(call, heads)) return;
  if (call.wants(1))
    call.set(1, call.build("concat", {call.unsqueeze(heads.key, {0}), call.unsqueeze(heads.value, {0})},
                           {{"dim", std::int64_t{0}}}));
  Mask looked;
  if (call.has(mask)) looked.added = filtered(call, call.x(mask), scores_of(heads), filter);
  if (bias && call.has(*bias))
    looked.added = looked.added == nullptr ? call.x(*bias) : call.build("add", {looked.added, call.x(*bias)});
  if (causal) looked.allowed = causal_mask(call, scores_of(heads)[2], scores_of(heads)[3], 0);
  set_attention(call, heads, looked, scale);
}

void read_attention(Call& call) {
  if (call.has(6)) return call.fail("a past of its own length (past_sequence_length) is not read");
  Value* projected = call.apply("MatMul", 13, {call.x(0), call.x(1)})[0];
  if (call.has(2)) projected = call.build("add", {projected, call.x(2)});
  attend_joined(call, projected, 3, 4, 5);
}

// Attention with a quantized projection: x, weights, bias, their scales, mask, zero points, past.
void read_quantized_attention(Call& call) {
  Value* x = centred(call, call.x(0), call.optional(6));
  Value* weights = centred(call, call.x(1), per_column(call, call.optional(7)));
  Value* scale = call.build("mul", {call.x(3), per_column(call, call.x(4))});
  Value* projected = call.build("mul", {call.build("matmul", {x, weights}), scale});
  attend_joined(call, call.build("add", {projected, call.x(2)}), 5, 8, std::nullopt);
}

// Queries, keys and values are given apart; or joined, [B, L, heads, 3, D]; or keys and values are.
void read_multi_head(Call& call) {
  const std::int64_t count = call.integer("num_heads", 0);
  const bool causal = call.flag("unidirectional", false);
  const double filter = call.real("mask_filter_value", -10000), scale = call.real("scale", 0);
  if (call.has(8)) return call.fail("a past of its own length (past_sequence_length) is not read");
  const auto part = [&](std::size_t i, std::int64_t index) {
    return call.permute(call.build("select", {call.x(i)}, {{"dim", std::int64_t{3}}, {"index", index}}), {0, 2, 1, 3});
  };
  const std::size_t rank = call.rank(0);
  const std::size_t key_rank = call.has(1) ? call.rank(1) : 0;
  if (call.failed()) return;
  Heads heads;
  if (rank == 5) {
    heads = {part(0, 0), part(0, 1), part(0, 2)};
  } else if (key_rank == 5) {
    heads = {call.x(0), part(1, 0), part(1, 1)};
  } else {
    heads = {call.x(0), call.x(1), call.x(2)};
  }
  if (call.has(3)) {
    // [Dq + Dk + Dv]
    for (const Value* x : {heads.query, heads.key, heads.value})
      if (call.failed() || x == nullptr || x->type.shape.size() != 3)
        return call.fail("a bias for queries, keys and values that are split into heads is not read");
    const std::vector<Value*> biases =
        parts_of(call, call.x(3), {heads.query->type.shape[2], heads.key->type.shape[2], heads.value->type.shape[2]});
    heads = {call.build("add", {heads.query, biases[0]}), call.build("add", {heads.key, biases[1]}),
             call.build("add", {heads.value, biases[2]})};
  }
  heads = {split_heads(call, heads.query, count), split_heads(call, heads.key, count),
           split_heads(call, heads.value, count)};
  if (call.has(6)) heads.key = behind(call, call.x(6), heads.key);
  if (call.has(7)) heads.value = behind(call, call.x(7), heads.value);
  if (!has_heads(call, heads)) return;
  if (call.wants(1)) call.set(1, heads.key);
  if (call.wants(2)) call.set(2, heads.value);
  Mask looked;
  if (call.has(4)) looked.added = filtered(call, call.x(4), scores_of(heads), filter);
  if (call.has(5)) looked.added = looked.added == nullptr ? call.x(5) : call.build("add", {looked.added, call.x(5)});
  if (causal) looked.allowed = causal_mask(call, scores_of(heads)[2], scores_of(heads)[3], 0);
  set_attention(call, heads, looked, scale);
}

// The angles of positions: rows of a cache [positions, turned / 2] -> [B or 1, L, turned / 2].
Value* angles_at(Call& call, Value* cache, Value* positions) {
  Value* rows = call.build("gather", {cache, positions}, {{"dim", std::int64_t{0}}});
  return call.failed() || rows->type.shape.size() != 2 ? rows : call.unsqueeze(rows, {0});
}

// Keys and values serve several heads of queries each, behind those of the past, and queries see what is before them.
void read_grouped(Call& call) {
  const std::int64_t count = call.integer("num_heads", 0), served = call.integer("kv_num_heads", 0);
  const std::int64_t window = call.integer("local_window_size", -1);
  const double scale = call.real("scale", 0), softcap = call.real("softcap", 0);
  const bool rotary = call.flag("do_rotary", false), interleaved = call.flag("rotary_interleaved", false);
  if (call.integer("smooth_softmax", -1) == 1 || call.has(11)) return call.fail("sinks (smooth_softmax) are not read");
  constexpr std::int64_t kMostHeads = 1 << 20;
  if (count < 1 || count > kMostHeads || served < 1 || count % served != 0)
    return call.fail(fmt::format("{} heads of queries, {} of keys", count, served));
  Value* x = call.x(0);
  if (call.failed()) return;
  const Shape shape = x->type.shape;
  if (shape.size() != 3) return call.fail(fmt::format("queries of shape {}", shape_text(shape)));
  Value* given[3] = {x, call.optional(1), call.optional(2)};
  if (given[1] == nullptr) {
    const auto size = divide_exactly(shape[2], Dim(count + 2 * served));
    if (!size) return call.fail(fmt::format("queries, keys and values of shape {}", shape_text(shape)));
    const std::vector<Value*> parts = parts_of(call, x, {*size * Dim(count), *size * Dim(served), *size * Dim(served)});
    for (std::size_t i = 0; i < 3; ++i) given[i] = parts[i];
  }
  Heads heads = {split_heads(call, given[0], count), split_heads(call, given[1], served),
                 split_heads(call, given[2], served)};
  if (!has_heads(call, heads)) return;
  Dim past = 0;
  if (call.has(3) && call.rank(3) == 4) past = call.shape(3)[2];
  if (rotary) {
    const Shape cache = call.shape(7);
    const auto half = cache.size() == 2 ? cache[1].constant() : std::nullopt;
    if (call.failed()) return;
    if (!half || *half < 1 || *half > *heads.query->type.shape[3].constant() / 2)
      return call.fail(fmt::format("angles of shape {}", shape_text(cache)));
    Value* positions = call.has(9) ? call.x(9) : call.arange(shape[1], past);
    Value* cosine = angles_at(call, call.x(7), positions);
    Value* sine = angles_at(call, call.x(8), positions);
    for (Value** part : {&heads.query, &heads.key})
      *part = call.permute(turn(call, call.permute(*part, {0, 2, 1, 3}), cosine, sine, 2 * *half, interleaved),
                           {0, 2, 1, 3});
  }
  if (call.has(3)) heads.key = behind(call, call.x(3), heads.key);
  if (call.has(4)) heads.value = behind(call, call.x(4), heads.value);
  if (call.failed()) return;
  if (call.wants(1)) call.set(1, heads.key);
  if (call.wants(2)) call.set(2, heads.value);
  if (window > 0)
    call.importer.assume(fmt::format(
        "GroupQueryAttention looks at {} keys, its own among them (local_window_size); older runtimes look at one more",
        window));
  call.importer.assume(
      "GroupQueryAttention takes all of its past and of its sequence as real: seqlens_k and total_sequence_length are "
      "not read (no padding, no buffer longer than the past)");
  Mask looked;
  looked.allowed = causal_mask(call, shape[1], heads.key->type.shape[2], window);
  if (call.has(10)) looked.added = call.x(10);
  heads.key = repeat_heads(call, heads.key, count / served);
  heads.value = repeat_heads(call, heads.value, count / served);
  set_attention(call, heads, looked, scale, softcap);
}

// x, positions [B, L] or the first one [1], cosines, sines.
void read_rotary(Call& call) {
  const bool interleaved = call.flag("interleaved", false);
  const std::int64_t count = call.integer("num_heads", 0), turned = call.integer("rotary_embedding_dim", 0);
  if (call.flag("is_packed_batching", false)) return call.fail("packed batches are not read");
  if (call.real("scale", 1) != 1) return call.fail("scaled angles are not read");
  Value* x = call.x(0);
  const Shape cache = call.shape(2);
  Value* positions = call.x(1);
  if (call.failed()) return;
  const Shape shape = x->type.shape;
  const auto half = cache.size() == 2 ? cache[1].constant() : std::nullopt;
  if (!half || *half < 1 || *half > 1 << 20 || (turned != 0 && turned != 2 * *half))
    return call.fail(fmt::format("angles of shape {}", shape_text(cache)));
  const bool split = shape.size() == 4;
  if (!split) {
    const auto size = shape.size() != 3 ? std::nullopt : shape[2].constant();
    const std::int64_t width = count > 0 && size ? *size / count : 2 * *half;
    if (!size || width < 2 * *half || *size % width != 0)
      return call.fail(fmt::format("heads of {} in shape {}", width, shape_text(shape)));
    x = call.reshape(x, Shape{shape[0], shape[1], *size / width, width});
  } else {
    if (!shape[3].constant() || *shape[3].constant() < 2 * *half) return call.fail("heads of open size");
    x = call.permute(x, {0, 2, 1, 3});
  }
  if (call.failed()) return;
  if (positions->type.shape.size() == 1)
    positions = call.build("add", {call.arange(x->type.shape[1]), call.cast(positions, DType::i64)});
  Value* result = turn(call, x, angles_at(call, call.x(2), positions), angles_at(call, call.x(3), positions), 2 * *half,
                       interleaved);
  if (split) return call.set(0, call.permute(result, {0, 2, 1, 3}, call.name()));
  call.set(0, call.reshape(result, shape, call.name()));
}

}  // namespace

std::vector<Row> contrib_attention_rows() {
  return {
      {.op = "Attention", .operands = 2, .read = read_attention, .domain = kContrib},
      {.op = "QAttention", .operands = 5, .read = read_quantized_attention, .domain = kContrib},
      {.op = "MultiHeadAttention", .read = read_multi_head, .domain = kContrib},
      {.op = "GroupQueryAttention", .read = read_grouped, .domain = kContrib},
      {.op = "RotaryEmbedding", .operands = 4, .read = read_rotary, .domain = kContrib},
  };
}

}  // namespace taper::onnx_reader
