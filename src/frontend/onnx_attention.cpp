// ONNX's Attention and RotaryEmbedding.
#include "frontend/onnx_attention.h"

#include <cmath>
#include <limits>

#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

Value* split_heads(Call& call, Value* x, std::int64_t heads) {
  if (call.failed() || x->type.shape.size() == 4) return x;
  const Shape shape = x->type.shape;
  const auto size = shape.size() == 3 && heads > 0 ? divide_exactly(shape[2], Dim(heads)) : std::nullopt;
  if (!size) {
    call.fail(fmt::format("{} heads of shape {}", heads, shape_text(shape)));
    return nullptr;
  }
  return call.permute(call.reshape(x, Shape{shape[0], shape[1], heads, *size}), {0, 2, 1, 3});
}

Value* repeat_heads(Call& call, Value* x, std::int64_t times) {
  if (call.failed() || times == 1) return x;
  const Shape shape = x->type.shape;
  Value* wide =
      call.build("expand", {call.unsqueeze(x, {2})}, {{"shape", Shape{shape[0], shape[1], times, shape[2], shape[3]}}});
  return call.reshape(wide, Shape{shape[0], shape[1] * Dim(times), shape[2], shape[3]});
}

Value* join_heads(Call& call, Value* x, std::string_view name) {
  if (call.failed()) return nullptr;
  const Shape shape = x->type.shape;
  return call.reshape(call.permute(x, {0, 2, 1, 3}), Shape{shape[0], shape[2], shape[1] * shape[3]}, name);
}

namespace {

Mask mask_of(Call& call, Value* query, Value* key, const Dim& past, bool causal) {
  Mask mask;
  const Dim rows = query->type.shape[2], columns = key->type.shape[2];
  if (Value* given = call.optional(3); given != nullptr) {
    // A mask for the first keys only hides the rest.
    const Dim missing = columns - given->type.shape.back();
    if (!missing.is(0)) {
      Shape shape = given->type.shape;
      shape.back() = missing;
      const bool is_bool = given->type.dtype == DType::boolean;
      Value* rest = call.full(shape, is_bool ? 0.0 : -kInfinity, given->type.dtype);
      given = call.build("concat", {given, rest}, {{"dim", std::int64_t{-1}}});
    }
    (given != nullptr && given->type.dtype == DType::boolean ? mask.allowed : mask.added) = given;
  }
  const auto allow = [&](Value* more) {
    mask.allowed = mask.allowed == nullptr ? more : call.build("logical_and", {mask.allowed, more});
  };
  if (causal)
    allow(call.build("less_equal",
                     {call.unsqueeze(call.arange(columns), {0}), call.unsqueeze(call.arange(rows, past), {1})}));
  if (call.has(6)) {
    Value* lengths = call.unsqueeze(call.cast(call.x(6), DType::i64), {1, 2, 3});
    allow(call.build("less", {call.arange(columns), lengths}));
  }
  return combined(call, mask);
}

}  // namespace

Mask combined(Call& call, Mask mask) {
  if (mask.allowed == nullptr || mask.added == nullptr) return mask;
  const DType dtype = mask.added->type.dtype;
  return {nullptr, call.build("where", {mask.allowed, mask.added, call.number(-kInfinity, dtype)})};
}

namespace {

// The scores step by step, for those who want to see them or cap them.
void attend_openly(Call& call, Value* query, Value* key, Value* value, const Mask& mask, double scale, double softcap,
                   std::int64_t mode, bool joined) {
  const DType dtype = query->type.dtype;
  Value* scores = call.binary("mul", call.build("matmul", {query, key}, {{"transpose_b", true}}), scale);
  Value* shown = scores;
  if (mask.added != nullptr) scores = call.build("add", {scores, call.cast(mask.added, dtype)});
  if (mask.allowed != nullptr) scores = call.build("where", {mask.allowed, scores, call.number(-kInfinity, dtype)});
  if (mode == 1) shown = scores;
  if (softcap > 0) scores = call.binary("mul", call.build("tanh", {call.binary("div", scores, softcap)}), softcap);
  if (mode == 2) shown = scores;
  Value* shares = call.build("softmax", {scores}, {{"dim", std::int64_t{-1}}});
  if (mode == 3) shown = shares;
  Value* result = call.build("matmul", {shares, value});
  if (call.failed()) return;
  if (joined) result = join_heads(call, result, call.name());
  call.set(0, result);
  if (call.wants(3)) call.set(3, shown);
}

void read_attention(Call& call) {
  const std::int64_t query_heads = call.integer("q_num_heads", 0), key_heads = call.integer("kv_num_heads", 0);
  const bool causal = call.flag("is_causal", false);
  const double softcap = call.real("softcap", 0);
  const std::int64_t mode = call.integer("qk_matmul_output_mode", 0);
  call.ignore({"softmax_precision"});
  Value* query = call.x(0);
  Value* key = call.x(1);
  Value* value = call.x(2);
  if (call.failed()) return;
  const bool joined = query->type.shape.size() == 3;
  query = split_heads(call, query, query_heads);
  key = split_heads(call, key, key_heads);
  value = split_heads(call, value, key_heads);
  if (call.failed()) return;
  if (query->type.shape.size() != 4 || key->type.shape.size() != 4 || value->type.shape.size() != 4)
    return call.fail("queries, keys and values have another number of axes than three or four");
  Dim past = 0;
  if (call.has(4)) {
    past = call.rank(4) == 4 ? call.shape(4)[2] : Dim(0);
    key = call.build("concat", {call.x(4), key}, {{"dim", std::int64_t{2}}});
  }
  if (call.has(5)) value = call.build("concat", {call.x(5), value}, {{"dim", std::int64_t{2}}});
  if (call.wants(1)) call.set(1, key);
  if (call.wants(2)) call.set(2, value);
  if (call.failed()) return;
  const auto width = query->type.shape[3].constant();
  const auto heads = query->type.shape[1].constant(), served = key->type.shape[1].constant();
  if (!width || !heads || !served || *served < 1 || *heads % *served != 0)
    return call.fail(fmt::format("queries {}, keys {}", shape_text(query->type.shape), shape_text(key->type.shape)));
  const double scale = call.real("scale", 1 / std::sqrt(static_cast<double>(*width)));
  const Mask mask = mask_of(call, query, key, past, causal);
  key = repeat_heads(call, key, *heads / *served);
  value = repeat_heads(call, value, *heads / *served);
  if (call.failed()) return;
  if (softcap > 0 || call.wants(3)) return attend_openly(call, query, key, value, mask, scale, softcap, mode, joined);
  Value* looked = mask.allowed != nullptr ? mask.allowed : mask.added;
  if (mask.added != nullptr) looked = call.cast(mask.added, query->type.dtype);
  Value* result = call.build("scaled_dot_product_attention", {query, key, value, looked},
                             {{"scale", scale}, {"causal", false}}, joined ? "" : call.name());
  call.set(0, joined ? join_heads(call, result, call.name()) : result);
}

}  // namespace

Value* turn(Call& call, Value* x, Value* cosine, Value* sine, std::int64_t turned, bool interleaved) {
  if (call.failed()) return nullptr;
  const Shape shape = x->type.shape;
  const std::int64_t width = shape[3].constant().value_or(turned), half = turned / 2;
  Value* angles[2] = {call.unsqueeze(cosine, {2}), call.unsqueeze(sine, {2})};
  Value* part = turned == width ? x : call.slice(x, 3, 0, turned);
  Value* first = nullptr;
  Value* second = nullptr;
  if (interleaved) {
    Value* pairs = call.reshape(part, Shape{shape[0], shape[1], shape[2], half, 2});
    first = call.build("select", {pairs}, {{"dim", std::int64_t{4}}, {"index", std::int64_t{0}}});
    second = call.build("select", {pairs}, {{"dim", std::int64_t{4}}, {"index", std::int64_t{1}}});
  } else {
    first = call.slice(part, 3, 0, half);
    second = call.slice(part, 3, half, turned);
  }
  Value* real = call.build("sub", {call.build("mul", {angles[0], first}), call.build("mul", {angles[1], second})});
  Value* imaginary = call.build("add", {call.build("mul", {angles[1], first}), call.build("mul", {angles[0], second})});
  Value* result = nullptr;
  if (interleaved) {
    Value* pairs =
        call.build("concat", {call.unsqueeze(real, {4}), call.unsqueeze(imaginary, {4})}, {{"dim", std::int64_t{4}}});
    result = call.reshape(pairs, Shape{shape[0], shape[1], shape[2], turned});
  } else {
    result = call.build("concat", {real, imaginary}, {{"dim", std::int64_t{3}}});
  }
  if (turned != width)
    result = call.build("concat", {result, call.slice(x, 3, turned, width)}, {{"dim", std::int64_t{3}}});
  return result;
}

namespace {

void read_rotary(Call& call) {
  const bool interleaved = call.flag("interleaved", false);
  const std::int64_t heads = call.integer("num_heads", 0);
  std::int64_t turned = call.integer("rotary_embedding_dim", 0);
  Value* x = call.x(0);
  if (call.failed()) return;
  const Shape given = x->type.shape;
  // [B, L, heads, D]
  if (given.size() == 4) x = call.permute(x, {0, 2, 1, 3});
  if (given.size() == 3) {
    const auto size = heads > 0 ? divide_exactly(given[2], Dim(heads)) : std::nullopt;
    if (!size) return call.fail(fmt::format("{} heads of shape {}", heads, shape_text(given)));
    x = call.reshape(x, Shape{given[0], given[1], heads, *size});
  }
  if (call.failed()) return;
  const Shape shape = x->type.shape;
  const auto width = shape.size() == 4 ? shape[3].constant() : std::nullopt;
  if (!width || turned < 0 || turned > *width || (turned == 0 ? *width : turned) % 2 != 0)
    return call.fail(fmt::format("{} of shape {} are turned", turned, shape_text(shape)));
  if (turned == 0) turned = *width;
  Value* angles[2] = {call.x(1), call.x(2)};
  for (Value*& angle : angles)
    if (call.has(3)) angle = call.build("gather", {angle, call.x(3)}, {{"dim", std::int64_t{0}}});
  Value* result = turn(call, x, angles[0], angles[1], turned, interleaved);
  if (given.size() == 4) return call.set(0, call.permute(result, {0, 2, 1, 3}, call.name()));
  call.set(0, call.reshape(result, given, call.name()));
}

}  // namespace

std::vector<Row> attention_rows() {
  return {
      {.op = "Attention", .operands = 3, .since = 23, .read = read_attention},
      {.op = "RotaryEmbedding", .operands = 3, .since = 23, .read = read_rotary},
  };
}

}  // namespace taper::onnx_reader
