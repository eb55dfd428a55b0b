// Attention and transformers of torch.nn.
#include <algorithm>

#include "frontend/aten_table.h"
#include "frontend/module_calls.h"

namespace taper::modules {
namespace {

using aten::Arg;
using Result = Expected<Arg>;

Arg integer(std::int64_t value) {
  return Arg(Dim(value));
}

Arg axes(std::initializer_list<std::int64_t> values) {
  Arg::List list;
  for (const std::int64_t value : values) list.push_back(integer(value));
  return Arg(std::move(list));
}

// The rows [begin, begin + size) of a projection of query, key and value that is stored as one.
Result projection_part(Call& call, const Arg& packed, std::int64_t begin, std::int64_t size) {
  if (packed.is_none()) return Arg{};
  return call.aten("narrow", {{"", packed}, {"", integer(0)}, {"", integer(begin)}, {"", integer(size)}});
}

// [B, L, E] -> [B, heads, L, E / heads]
Result split_heads(Call& call, const Arg& x, std::int64_t heads) {
  TAPER_ASSIGN(const Arg split, call.aten("unflatten", {{"", x}, {"", integer(-1)}, {"", axes({heads, -1})}}));
  return call.aten("transpose", {{"", split}, {"", integer(1)}, {"", integer(2)}});
}

Expected<bool> has_batch(const Call& call, const Arg& x) {
  const auto* tensor = x.as<aten::TensorPtr>();
  const std::size_t rank = tensor ? (*tensor)->type().shape.size() : 0;
  if (rank != 2 && rank != 3)
    return fail("module '{}' takes tensors of rank 2 or 3: batch, sequence, features", call.path);
  return rank == 3;
}

// [B, L, E]: the batch first, of one where there is none.
Result with_batch(const Call& call, const Arg& x, bool batch_first) {
  TAPER_ASSIGN(const bool batched, has_batch(call, x));
  if (!batched) return call.aten("unsqueeze", {{"", x}, {"", integer(0)}});
  if (batch_first) return x;
  return call.aten("transpose", {{"", x}, {"", integer(0)}, {"", integer(1)}});
}

// One more entry along an axis, the same for the whole batch.
Result appended(const Call& call, const Arg& x, const Arg& entry, std::int64_t axis) {
  Shape sizes = (*x.as<aten::TensorPtr>())->type().shape;
  sizes[static_cast<std::size_t>(axis)] = 1;
  TAPER_ASSIGN(const Arg wide, call.aten("expand", {{"", entry}, {"", Arg(Arg::List(sizes.begin(), sizes.end()))}}));
  return call.aten("cat", {{"", Arg(Arg::List{x, wide})}, {"", integer(axis)}});
}

// Keys or values [B, S, E] and a learned one (add_bias_kv).
Result with_bias_key(const Call& call, const Arg& keys, std::string_view bias) {
  TAPER_ASSIGN(const Arg entry, call.tensor(bias));
  if (entry.is_none()) return keys;
  return appended(call, keys, entry, 1);
}

// Keys or values [B, heads, S, E] and one of zeros (add_zero_attn).
Result with_zero_key(const Call& call, const Arg& keys) {
  TAPER_ASSIGN(const Arg zero, call.aten("zeros", {{"size", axes({1, 1, 1, 1})}, {"dtype", Arg(DType::f32)}}));
  return appended(call, keys, zero, 2);
}

// Attention multiplies by the weight of out_proj that lies there: hooks that make it anew are not run.
Result project_out(const Call& call, const Arg& x) {
  const pickle::Value* part = call.child("out_proj");
  const pickle::Value* made = part != nullptr ? pickle::attribute(*part, "weight") : nullptr;
  if (made == nullptr || !made->tensor()) return call.run("out_proj", {x});
  const Call out{call.importer, *part, call.path_of("out_proj"), "Linear", {}};
  TAPER_ASSIGN(const Arg weight, call.importer.weight(*made, out.path_of("weight")));
  TAPER_ASSIGN(const Arg bias, out.tensor("bias"));
  return out.aten("linear", {{"", x}, {"", weight}, {"", bias}});
}

// Query, key and value -> the output, and the attention's weights if they are asked for.
Result attend(Call& call, bool weights) {
  const std::int64_t heads = call.integer("num_heads", 1);
  const std::int64_t size = call.integer("embed_dim");
  if (heads < 1 || size < heads || size % heads != 0)
    return fail("module '{}' has {} heads for {} features", call.path, heads, size);
  TAPER_ASSIGN(const Arg packed_weight, call.tensor("in_proj_weight"));
  TAPER_ASSIGN(const Arg packed_bias, call.tensor("in_proj_bias"));
  const bool batch_first = call.flag("batch_first");
  Arg::List projected;
  for (std::size_t i = 0; i < 3; ++i) {
    Arg x = call.input(std::min(i, call.inputs.size() - 1));
    TAPER_ASSIGN(x, with_batch(call, x, batch_first));
    Arg weight;
    if (packed_weight.is_none()) {
      constexpr std::string_view kNames[] = {"q_proj_weight", "k_proj_weight", "v_proj_weight"};
      TAPER_ASSIGN(weight, call.tensor(kNames[i]));
    } else {
      TAPER_ASSIGN(weight, projection_part(call, packed_weight, static_cast<std::int64_t>(i) * size, size));
    }
    TAPER_ASSIGN(const Arg bias, projection_part(call, packed_bias, static_cast<std::int64_t>(i) * size, size));
    TAPER_ASSIGN(Arg y, call.aten("linear", {{"", x}, {"", weight}, {"", bias}}));
    if (i > 0) {
      TAPER_ASSIGN(y, with_bias_key(call, y, i == 1 ? "bias_k" : "bias_v"));
    }
    TAPER_ASSIGN(Arg split, split_heads(call, y, heads));
    if (i > 0 && call.flag("add_zero_attn")) {
      TAPER_ASSIGN(split, with_zero_key(call, split));
    }
    projected.push_back(std::move(split));
  }
  Arg mixed, scores;
  if (weights) {
    TAPER_ASSIGN(const Arg keys, call.aten("transpose", {{"", projected[1]}, {"", integer(-2)}, {"", integer(-1)}}));
    TAPER_ASSIGN(const Arg products, call.aten("matmul", {{"", projected[0]}, {"", keys}}));
    const double scale = 1 / std::sqrt(static_cast<double>(size / heads));
    TAPER_ASSIGN(const Arg scaled, call.aten("mul", {{"", products}, {"", Arg(scale)}}));
    TAPER_ASSIGN(scores, call.aten("softmax", {{"", scaled}, {"dim", integer(-1)}}));
    TAPER_ASSIGN(mixed, call.aten("matmul", {{"", scores}, {"", projected[2]}}));
  } else {
    TAPER_ASSIGN(
        mixed, call.aten("scaled_dot_product_attention", {{"", projected[0]}, {"", projected[1]}, {"", projected[2]}}));
  }
  TAPER_ASSIGN(const Arg back, call.aten("transpose", {{"", mixed}, {"", integer(1)}, {"", integer(2)}}));
  TAPER_ASSIGN(const Arg joined, call.aten("flatten", {{"", back}, {"start_dim", integer(2)}}));
  TAPER_ASSIGN(Arg result, project_out(call, joined));
  TAPER_ASSIGN(const bool batched, has_batch(call, call.input(0)));
  if (!batched) {
    TAPER_ASSIGN(result, call.aten("squeeze", {{"", result}, {"", integer(0)}}));
  } else if (!batch_first) {
    TAPER_ASSIGN(result, call.aten("transpose", {{"", result}, {"", integer(0)}, {"", integer(1)}}));
  }
  if (!weights) return result;
  TAPER_ASSIGN(Arg mean, call.aten("mean", {{"", scores}, {"dim", axes({1})}}));
  if (!batched) {
    TAPER_ASSIGN(mean, call.aten("squeeze", {{"", mean}, {"", integer(0)}}));
  }
  return Arg(Arg::List{result, mean});
}

Result multihead_attention(Call& call) {
  return attend(call, true);
}

// A sub-module's attention without its weights.
Result attention_of(Call& call, std::string_view child, const Arg& query, const Arg& memory) {
  const pickle::Value* part = call.child(child);
  if (!part) return fail("module '{}' has no part '{}'", call.path, child);
  Call inner{call.importer, *part, call.path_of(child), "MultiheadAttention", {query, memory, memory}};
  TAPER_ASSIGN(const std::string_view name, call.importer.class_name(*part, inner.path));
  if (name != inner.name) return call.run(child, inner.inputs);
  return attend(inner, false);
}

Result activation(Call& call, const Arg& x) {
  const pickle::Value* function = pickle::attribute(call.module, "activation");
  if (!function && call.has_child("activation")) return call.run("activation", {x});
  if (auto result = function ? call_function(call, *function, x) : std::nullopt) return *std::move(result);
  return fail("module '{}' has the activation {}, which is not known", call.path,
              function ? pickle::describe(*function) : "None");
}

Result feed_forward(Call& call, const Arg& x) {
  TAPER_ASSIGN(const Arg inner, call.run("linear1", {x}));
  TAPER_ASSIGN(const Arg active, activation(call, inner));
  return call.run("linear2", {active});
}

// x + part(norm(x)), or norm(x + part(x)).
template <class Part>
Result residual(Call& call, const Arg& x, std::string_view norm, Part part) {
  if (call.flag("norm_first")) {
    TAPER_ASSIGN(const Arg normed, call.run(norm, {x}));
    TAPER_ASSIGN(const Arg y, part(normed));
    return call.aten("add", {{"", x}, {"", y}});
  }
  TAPER_ASSIGN(const Arg y, part(x));
  TAPER_ASSIGN(const Arg sum, call.aten("add", {{"", x}, {"", y}}));
  return call.run(norm, {sum});
}

Result encoder_layer(Call& call) {
  Arg x = call.input(0);
  TAPER_ASSIGN(x, residual(call, x, "norm1", [&](const Arg& y) { return attention_of(call, "self_attn", y, y); }));
  return residual(call, x, "norm2", [&](const Arg& y) { return feed_forward(call, y); });
}

Result decoder_layer(Call& call) {
  Arg x = call.input(0);
  const Arg memory = call.input(1);
  TAPER_ASSIGN(x, residual(call, x, "norm1", [&](const Arg& y) { return attention_of(call, "self_attn", y, y); }));
  TAPER_ASSIGN(
      x, residual(call, x, "norm2", [&](const Arg& y) { return attention_of(call, "multihead_attn", y, memory); }));
  return residual(call, x, "norm3", [&](const Arg& y) { return feed_forward(call, y); });
}

// The layers one after another, each with the memory as well if there is one, then the norm.
Result stack(Call& call) {
  Args values = call.inputs;
  const pickle::Value* layers = call.child("layers");
  if (!layers || !is_module(*layers)) return fail("module '{}' has no layers", call.path);
  for (const pickle::Entry& layer : pickle::attribute(*layers, "_modules")->entries()) {
    if (!layer.key->text()) continue;
    const std::string path = call.path_of(fmt::format("layers.{}", *layer.key->text()));
    TAPER_ASSIGN(values[0], call.importer.run(*layer.value, path, values));
  }
  if (call.has_child("norm")) return call.run("norm", {values[0]});
  return values[0];
}

Result transformer(Call& call) {
  TAPER_ASSIGN(const Arg memory, call.run("encoder", {call.input(0)}));
  return call.run("decoder", {call.input(1), memory});
}

// Functions of one tensor that ATen has under the same name, but for some, and with the same defaults.
constexpr std::string_view kFunctions[] = {
    "celu",        "cos",        "elu",      "erf",        "exp",         "gelu",       "hardshrink",
    "hardsigmoid", "hardswish",  "hardtanh", "leaky_relu", "log_sigmoid", "logsigmoid", "mish",
    "relu",        "relu6",      "rrelu",    "selu",       "sigmoid",     "silu",       "sin",
    "softplus",    "softshrink", "softsign", "square",     "tanh",        "tanhshrink"};

}  // namespace

std::optional<Expected<aten::Arg>> call_function(const Call& call, const pickle::Value& function, const aten::Arg& x) {
  const std::string path = pickle::global_path(function);
  for (const std::string_view module : {"torch.nn.functional.", "torch._C._nn.", "torch._C._VariableFunctionsClass."}) {
    if (!path.starts_with(module)) continue;
    const std::string_view name = std::string_view(path).substr(module.size());
    if (std::ranges::find(kFunctions, name) == std::end(kFunctions)) continue;
    return call.aten(name == "logsigmoid" ? "log_sigmoid" : name, {{"", x}});
  }
  return std::nullopt;
}

std::vector<ModuleRow> attention_modules() {
  return {
      {.name = "MultiheadAttention", .build = multihead_attention, .inputs = {{"query"}, {"key"}, {"value"}}},
      {.name = "TransformerEncoderLayer", .build = encoder_layer, .inputs = {{"src"}}},
      {.name = "TransformerEncoder", .build = stack, .inputs = {{"src"}}},
      {.name = "TransformerDecoderLayer", .build = decoder_layer, .inputs = {{"tgt"}, {"memory"}}},
      {.name = "TransformerDecoder", .build = stack, .inputs = {{"tgt"}, {"memory"}}},
      {.name = "Transformer", .build = transformer, .inputs = {{"src"}, {"tgt"}}},
  };
}

}  // namespace taper::modules
