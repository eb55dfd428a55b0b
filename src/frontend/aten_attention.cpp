// Attention: the operator as it is called directly, and inside of the fused layers of transformers.
#include <algorithm>
#include <cmath>

#include "frontend/aten_counts.h"

namespace taper::aten {
namespace {

// Heads of keys that several heads of queries share, once for each.
Value* repeated_heads(Builder& build, Value* x, const Dim& heads) {
  const std::size_t rank = shape_of(x).size();
  if (build.failed() || rank < 3 || shape_of(x)[rank - 3] == heads) return x;
  const auto times = divide_exactly(heads, shape_of(x)[rank - 3]);
  if (!times) {
    build.set_error(
        {fmt::format("{} heads of queries share {} of keys", heads.text(), shape_of(x)[rank - 3].text()), {}, {}});
    return nullptr;
  }
  Shape shape = shape_of(x), wide = shape;
  wide.insert(wide.begin() + static_cast<std::ptrdiff_t>(rank) - 2, *times);
  shape[rank - 3] = heads;
  return reshape(build, expand(build, unsqueeze(build, x, static_cast<std::int64_t>(rank) - 2), wide), shape);
}

struct Attention {
  Value* q;
  Value* k;
  Value* v;
  Value* mask = nullptr;
  double scale = 0;
  bool causal = false;
};

Expected<double> default_scale(const Value* q) {
  const auto depth = shape_of(q).empty() ? std::nullopt : shape_of(q).back().constant();
  if (!depth || *depth < 1) return fail("queries of {}", q != nullptr ? type_text(q->type) : "nothing");
  return 1 / std::sqrt(static_cast<double>(*depth));
}

Value* attend(Builder& build, const Attention& a) {
  Value* mask = a.mask;
  if (mask != nullptr && mask->type.dtype != DType::boolean) mask = cast(build, mask, a.q->type.dtype);
  std::vector<Value*> operands = {a.q, a.k, a.v};
  if (mask != nullptr) operands.push_back(mask);
  return build("scaled_dot_product_attention", std::move(operands), {{"scale", a.scale}, {"causal", a.causal}});
}

Expected<Value*> attention_of(Call& call, std::string_view mask) {
  Builder& build = call.build;
  Attention a{call.tensor("query"), call.tensor("key"), call.tensor("value")};
  if (a.q->type.shape.size() < 2) return fail("queries of {}", type_text(a.q->type));
  a.mask = call.tensor(mask);
  a.causal = call.flag("is_causal");
  TAPER_ASSIGN(const double fallback, default_scale(a.q));
  a.scale = call.real_or("scale", fallback);
  if (call.flag("enable_gqa") && a.q->type.shape.size() > 2) {
    const Dim heads = a.q->type.shape[a.q->type.shape.size() - 3];
    a.k = repeated_heads(build, a.k, heads);
    a.v = repeated_heads(build, a.v, heads);
  }
  return attend(build, a);
}

Expected<Arg> attention(Call& call) {
  TAPER_ASSIGN(Value * y, attention_of(call, "attn_mask"));
  return fresh(y);
}

// Forms that also give what their backward pass needs, which is nothing here.
Expected<Arg> attention_with_extras(Call& call, std::string_view mask, std::size_t extras) {
  TAPER_ASSIGN(Value * y, attention_of(call, mask));
  Arg::List results = {fresh(y)};
  results.resize(1 + extras);
  return Arg(std::move(results));
}

// -------------------------------------------------------------------------------------------------------- fused layers

// [B, T, E] -> [B, H, T, E / H]
Value* split_heads(Builder& build, Value* x, std::int64_t heads, std::int64_t depth) {
  const Shape& shape = shape_of(x);
  if (shape.size() != 3) return nullptr;
  return permute(build, reshape(build, x, {shape[0], shape[1], heads, depth}), {0, 2, 1, 3});
}

// Kinds of masks: of queries and keys [T, S], of keys [B, S].
constexpr std::int64_t kMasksKeys = 1;

// True, or -inf, where keys are left out; as a mask that broadcasts to [B, H, T, S] and is true where they take part.
Expected<Value*> mask_of(Builder& build, Value* mask, std::int64_t kind) {
  if (mask == nullptr) return mask;
  if (mask->type.dtype == DType::boolean) mask = build("logical_not", {mask});
  const std::size_t rank = shape_of(mask).size();
  if (kind == kMasksKeys && rank == 2) return unsqueeze(build, unsqueeze(build, mask, 1), 1);
  if ((kind == 0 && rank == 2) || rank == 4) return mask;
  return fail("a mask of {}", type_text(mask->type));
}

struct HeadedAttention {
  Value* query;
  Value* key;
  Value* value;
  std::int64_t width, heads;
  Value* qkv_weight;
  Value* qkv_bias;
  Value* proj_weight;
  Value* proj_bias;
  Value* mask;
  std::int64_t mask_kind;
};

Expected<Value*> headed_attention(Builder& build, const HeadedAttention& a) {
  if (a.heads < 1 || a.width < 1 || a.width % a.heads != 0) return fail("{} columns for {} heads", a.width, a.heads);
  if (a.query->type.shape.size() != 3) return fail("queries of {}", type_text(a.query->type));
  const std::int64_t depth = a.width / a.heads;
  const auto weights = build.call("split", {a.qkv_weight}, {{"dim", std::int64_t{0}}, {"parts", std::int64_t{3}}});
  const auto biases = build.call("split", {a.qkv_bias}, {{"dim", std::int64_t{0}}, {"parts", std::int64_t{3}}});
  const auto project = [&](Value* x, std::size_t part) {
    return split_heads(build, build("linear", {x, weights[part], biases[part]}), a.heads, depth);
  };
  Attention inner{project(a.query, 0), project(a.key, 1), project(a.value, 2)};
  TAPER_TRY(build.status());
  if (inner.q == nullptr || inner.k == nullptr || inner.v == nullptr) return fail("keys or values without a batch");
  TAPER_ASSIGN(inner.mask, mask_of(build, a.mask, a.mask_kind));
  inner.scale = 1 / std::sqrt(static_cast<double>(depth));
  Value* mixed = permute(build, attend(build, inner), {0, 2, 1, 3});
  const Shape& shape = a.query->type.shape;
  return build("linear", {reshape(build, mixed, {shape[0], shape[1], a.width}), a.proj_weight, a.proj_bias});
}

HeadedAttention headed_attention_of(Call& call, Value* x, std::string_view heads) {
  return {.query = x,
          .key = x,
          .value = x,
          .width = call.integer("embed_dim"),
          .heads = call.integer(heads),
          .qkv_weight = call.tensor("qkv_weight"),
          .qkv_bias = call.tensor("qkv_bias"),
          .proj_weight = call.tensor("proj_weight"),
          .proj_bias = call.tensor("proj_bias"),
          .mask = call.tensor("mask"),
          .mask_kind = call.integer_or("mask_type", 0)};
}

Expected<Arg> multi_head_attention(Call& call) {
  if (call.flag("need_weights")) return fail("attention whose weights are a result (need_weights=True)");
  HeadedAttention a = headed_attention_of(call, call.tensor("query"), "num_head");
  a.key = call.tensor("key");
  a.value = call.tensor("value");
  TAPER_ASSIGN(Value * y, headed_attention(call.build, a));
  return Arg(Arg::List{fresh(y), Arg{}});
}

Arg nested_tensor(Value* padded, Value* mask) {
  TensorPtr tensor = Tensor::make(padded);
  tensor->make_nested(mask);
  return tensor;
}

// x + attention, norm, x + feed-forward, norm; or with the norms in front.
Expected<Arg> encoder_layer(Call& call) {
  Builder& build = call.build;
  Value* nested = call.place("src")->nested_mask();
  const bool norm_first = call.flag("norm_first");
  const double eps = call.real("eps");
  const auto norm = [&](Value* x, std::string_view weight, std::string_view bias) {
    return build("layer_norm", {x, call.tensor(weight), call.tensor(bias)}, {{"eps", eps}});
  };
  const auto feed_forward = [&](Value* x) {
    Value* inner = build("linear", {x, call.tensor("ffn_weight_1"), call.tensor("ffn_bias_1")});
    inner = build(call.flag("use_gelu") ? "gelu" : "relu", {inner});
    return build("linear", {inner, call.tensor("ffn_weight_2"), call.tensor("ffn_bias_2")});
  };
  Value* x = call.tensor("src");
  Value* input = norm_first ? norm(x, "norm_weight_1", "norm_bias_1") : x;
  TAPER_TRY(build.status());
  HeadedAttention attention = headed_attention_of(call, input, "num_heads");
  if (nested != nullptr) {
    if (attention.mask != nullptr) return fail("a mask beside a nested tensor");
    attention.mask = build("logical_not", {nested});
    attention.mask_kind = kMasksKeys;
  }
  TAPER_ASSIGN(Value * mixed, headed_attention(build, attention));
  x = build("add", {x, mixed});
  if (!norm_first) x = norm(x, "norm_weight_1", "norm_bias_1");
  Value* second = norm_first ? norm(x, "norm_weight_2", "norm_bias_2") : x;
  x = build("add", {x, feed_forward(second)});
  if (!norm_first) x = norm(x, "norm_weight_2", "norm_bias_2");
  TAPER_TRY(build.status());
  return nested == nullptr ? fresh(x) : nested_tensor(x, nested);
}

// -------------------------------------------------------------------------------------------------------------- nested

// The first entries of each row of x [B, T, ...], as many as the mask [B, T] has true ones.
Expected<Arg> nested_from_mask(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("t");
  Value* mask = cast(build, call.tensor("mask"), DType::boolean);
  const Shape& shape = x->type.shape;
  if (shape.size() != 3 || shape_of(mask) != Shape{shape[0], shape[1]})
    return fail("a mask of {} for {}", type_text(mask->type), type_text(x->type));
  Value* counts = reduce(build, "sum", cast(build, mask, DType::i32), {1}, true);
  Value* there = build("less", {arange(build, 0, 1, shape[1], DType::i32), counts});
  // What isn't there may be anything: weights of 0 don't hide NaN and infinities.
  Value* held = build("where", {unsqueeze(build, there, 2), x, number(build, Dim(0), x->type.dtype)});
  TAPER_TRY(build.status());
  return nested_tensor(held, there);
}

// The padded batch with a number in the place of what isn't there.
Expected<Arg> to_padded(Call& call) {
  Builder& build = call.build;
  const TensorPtr self = call.place("self");
  Value* x = call.tensor("self");
  Value* there = self->nested_mask();
  if (there == nullptr) return fail("{} is no nested tensor", type_text(x->type));
  Value* padding = number(build, call.real("padding"), x->type.dtype);
  Value* padded = build("where", {unsqueeze(build, there, 2), x, padding});
  if (call.given("output_size")) {
    const Shape wanted = call.sizes("output_size");
    if (wanted != x->type.shape)
      return fail("a padded size of {}, expected {}", shape_text(wanted), shape_text(x->type.shape));
    return fresh(padded);
  }
  Value* counts = reduce(build, "sum", cast(build, there, DType::i64), {1}, false);
  const Value* steps = measured_range(call.context, reduce(build, "amax", counts, {0}, false), x->type.shape[1]);
  TAPER_TRY(build.status());
  return fresh(slice(build, padded, 1, 0, steps->type.shape[0]));
}

}  // namespace

#define TAPER_QKV "Tensor query, Tensor key, Tensor value, "

std::vector<Overload> attention_overloads() {
  return {
      {"scaled_dot_product_attention(" TAPER_QKV
       "Tensor? attn_mask=None, float dropout_p=0., bool is_causal=False, *, float? scale=None, bool enable_gqa=False) "
       "-> Tensor",
       attention},
      {"_scaled_dot_product_attention_math(" TAPER_QKV
       "Tensor? attn_mask=None, float dropout_p=0., bool is_causal=False, Tensor? dropout_mask=None, *, float? "
       "scale=None, bool enable_gqa=False) -> (Tensor, Tensor)",
       [](Call& call) { return attention_with_extras(call, "attn_mask", 1); }},
      {"_scaled_dot_product_flash_attention_for_cpu(" TAPER_QKV
       "float dropout_p=0., bool is_causal=False, *, Tensor? attn_mask=None, float? scale=None) -> (Tensor output, "
       "Tensor logsumexp)",
       [](Call& call) { return attention_with_extras(call, "attn_mask", 1); }},
      {"_scaled_dot_product_flash_attention(" TAPER_QKV
       "float dropout_p=0., bool is_causal=False, bool return_debug_mask=False, *, float? scale=None) -> (Tensor, "
       "Tensor, Tensor, Tensor, SymInt, SymInt, Tensor, Tensor, Tensor)",
       [](Call& call) { return attention_with_extras(call, "attn_mask", 8); }},
      {"_scaled_dot_product_efficient_attention(" TAPER_QKV
       "Tensor? attn_bias, bool compute_log_sumexp, float dropout_p=0., bool is_causal=False, *, float? scale=None) -> "
       "(Tensor, Tensor, Tensor, Tensor)",
       [](Call& call) { return attention_with_extras(call, "attn_bias", 3); }},
      {"_scaled_dot_product_cudnn_attention(" TAPER_QKV
       "Tensor? attn_bias, bool compute_log_sumexp, float dropout_p=0., bool is_causal=False, bool "
       "return_debug_mask=False, *, float? scale=None) -> (Tensor, Tensor, Tensor, Tensor, SymInt, SymInt, Tensor, "
       "Tensor, Tensor)",
       [](Call& call) { return attention_with_extras(call, "attn_bias", 8); }},
      {"_scaled_dot_product_fused_attention_overrideable(" TAPER_QKV
       "Tensor? attn_bias=None, float dropout_p=0., bool is_causal=False, bool return_debug_mask=False, *, float? "
       "scale=None) -> (Tensor, Tensor, Tensor, Tensor, SymInt, SymInt, Tensor, Tensor, Tensor)",
       [](Call& call) { return attention_with_extras(call, "attn_bias", 8); }},
      {"_native_multi_head_attention(" TAPER_QKV
       "int embed_dim, int num_head, Tensor qkv_weight, Tensor qkv_bias, Tensor proj_weight, Tensor proj_bias, Tensor? "
       "mask=None, bool need_weights=True, bool average_attn_weights=True, int? mask_type=None) -> (Tensor, Tensor)",
       multi_head_attention},
      {"_transformer_encoder_layer_fwd(Tensor src, int embed_dim, int num_heads, Tensor qkv_weight, Tensor qkv_bias, "
       "Tensor proj_weight, Tensor proj_bias, bool use_gelu, bool norm_first, float eps, Tensor norm_weight_1, Tensor "
       "norm_bias_1, Tensor norm_weight_2, Tensor norm_bias_2, Tensor ffn_weight_1, Tensor ffn_bias_1, Tensor "
       "ffn_weight_2, Tensor ffn_bias_2, Tensor? mask=None, int? mask_type=None) -> Tensor",
       encoder_layer},
      {"_nested_tensor_from_mask(Tensor t, Tensor mask, bool mask_check=True) -> Tensor", nested_from_mask},
      // Whether the fast path may be taken: both paths give the same for what is there.
      {"_nested_tensor_from_mask_left_aligned(Tensor t, Tensor mask) -> bool",
       [](Call&) -> Expected<Arg> { return Arg(true); }},
      {"to_padded_tensor(Tensor self, float padding, SymInt[]? output_size=None) -> Tensor", to_padded},
  };
}

}  // namespace taper::aten
