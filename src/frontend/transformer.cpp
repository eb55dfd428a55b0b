// SignTransformer and SignTransformerCtc.
#include <cmath>

#include "frontend/network.h"
#include "frontend/positional_table.h"

namespace taper {
namespace {

constexpr std::string_view kTable = "pos_encoder.pe";

const Setting kHeads = {
    "n_heads", {"num_heads", "n_heads", "nhead", "heads"}, {"heads"}, {"n_heads", "num_heads", "nhead"}};
const Setting kPooling = {"pooling_method", {"pooling_method", "pooling"}, {}, {"pooling_method", "pooling"}};
// A bare `eps` beside the settings of a training is rather the optimizer's.
const Setting kEps = {"norm_eps", {"eps", "epsilon"}, {"eps"}, {"norm_eps", "layer_norm_eps"}};
const Setting kLayers = {"n_layers", {}, {}, {"n_layers", "num_layers"}};
const Setting kInput = {"input_dim", {}, {}, {"input_dim"}};
const Setting kWidth = {"emb_dim", {}, {}, {"emb_dim"}};
const Setting kFeedForward = {"ff_dim", {}, {}, {"ff_dim"}};
const Setting kMaxLength = {"max_len", {}, {}, {"max_len"}};
const Setting kGlosses = {"num_gloss", {}, {}, {"num_gloss"}};
const Setting kCategories = {"num_cat", {}, {}, {"num_cat"}};

std::string layer_path(std::int64_t i) {
  return fmt::format("encoder_layers.{}", i);
}

std::vector<KeyPattern> norm_keys(const std::string& path) {
  return {key(path + ".gamma", {"E"}), key(path + ".beta", {"E"})};
}

std::vector<KeyPattern> encoder_keys(const KeySet& present) {
  std::vector<KeyPattern> keys = linear_keys("embedding", "E", "F");
  keys.push_back(key(std::string(kTable), {"1", "max_len", "E"}));
  keys.back().is_buffer = true;
  append(keys, norm_keys("input_norm"));
  for (std::int64_t i = 0; i < present.stack_size("encoder_layers."); ++i) {
    const std::string layer = layer_path(i);
    for (const char* projection : {"W_q", "W_k", "W_v", "W_o"})
      append(keys, linear_keys(fmt::format("{}.attention.{}", layer, projection), "E", "E"));
    append(keys, linear_keys(layer + ".feed_forward.linear1", "ff", "E"));
    append(keys, linear_keys(layer + ".feed_forward.linear2", "E", "ff"));
    append(keys, norm_keys(layer + ".residual1.norm"));
    append(keys, norm_keys(layer + ".residual2.norm"));
  }
  return keys;
}

std::vector<KeyPattern> classifier_keys(const KeySet& present) {
  std::vector<KeyPattern> keys = {key("cls_token", {"1", "1", "E"})};
  append(keys, encoder_keys(present));
  append(keys, linear_keys("gloss_head.0", "gloss_hidden", "E"));
  append(keys, linear_keys("gloss_head.3", "G", "gloss_hidden"));
  append(keys, linear_keys("category_head.0", "category_hidden", "E"));
  append(keys, linear_keys("category_head.3", "C", "category_hidden"));
  return keys;
}

std::vector<KeyPattern> ctc_keys(const KeySet& present) {
  std::vector<KeyPattern> keys = encoder_keys(present);
  append(keys, norm_keys("output_norm"));
  append(keys, linear_keys("ctc_head", "K", "E"));
  if (present.any_below("category_head.")) append(keys, linear_keys("category_head", "C", "E"));
  return keys;
}

// The formulas of the forward passes, with what they need to know beside the weights.
class Transformer {
 public:
  explicit Transformer(Network& network) : net_(network), build_(network.build) {}

  Status build_classifier();
  Status build_ctc();

 private:
  void tell_sizes();
  Expected<Value*> encode(Value* x, bool with_class_token);
  Expected<Value*> positional_table(bool with_class_token);
  Value* with_positions(Value* x, Value* table, bool with_class_token);
  Expected<Value*> layer(const std::string& path, Value* x);
  Expected<Value*> attention(const std::string& path, Value* x);
  Expected<Value*> norm(const std::string& path, Value* x);
  Expected<std::int64_t> heads(const std::string& path);
  Expected<std::string> pooling();
  Value* head(const std::string& path, Value* x);

  Network& net_;
  Builder& build_;
};

void Transformer::tell_sizes() {
  net_.told_by_shapes(kInput, net_.size("F"));
  net_.told_by_shapes(kWidth, net_.size("E"));
  std::int64_t layers = 0;
  while (net_.has(layer_path(layers) + ".attention.W_q.weight")) ++layers;
  net_.told_by_shapes(kLayers, layers);
  net_.told_by_shapes(kFeedForward, net_.size("ff"));
  net_.told_by_shapes(kMaxLength, net_.size("max_len"));
}

Expected<std::int64_t> Transformer::heads(const std::string& path) {
  const std::int64_t width = net_.size("E");
  const std::int64_t heads = net_.integer(
      kHeads, path, {8, "the number of attention heads", "to tell it: --config with {\"num_heads\": ...}"});
  if (heads >= 1 && width % heads == 0) return heads;
  return fail_with_hint(
      fmt::format("{} attention heads don't divide the embedding of {} columns, expected a divisor of {}", heads, width,
                  width),
      "tell the number of heads that the model was trained with: --config with {\"num_heads\": ...}");
}

Expected<std::string> Transformer::pooling() {
  std::string pooling = net_.text(
      kPooling, "",
      {"mean", "the pooling over time", "to tell it: --config with {\"pooling\": \"mean\", \"max\" or \"cls\"}"});
  if (pooling == "mean" || pooling == "max" || pooling == "cls") return pooling;
  return fail("the pooling is {}, expected 'mean', 'max' or 'cls'", scalar_text(pooling));
}

Expected<Value*> Transformer::norm(const std::string& path, Value* x) {
  const double eps =
      net_.real(kEps, path, {1e-6, "the epsilon of the norms", "to tell it: --config with {\"norm_eps\": ...}"});
  if (!(eps >= 0) || !std::isfinite(eps))
    return fail("the epsilon of '{}' is {}, expected a small positive number", path, eps);
  return net_.norm(path, x, eps, "gamma", "beta");
}

// softmax(q k^T / sqrt(D)) v per head, then W_o.
Expected<Value*> Transformer::attention(const std::string& path, Value* x) {
  TAPER_ASSIGN(const std::int64_t num_heads, heads(path));
  Value* q = net_.linear(path + ".W_q", x);
  Value* k = net_.linear(path + ".W_k", x);
  Value* v = net_.linear(path + ".W_v", x);
  build_.set_scope(path);
  Value* mixed = build_("multi_head_attention", {q, k, v}, {{"num_heads", num_heads}}, path);
  return net_.linear(path + ".W_o", mixed);
}

// x += attention(norm1(x)), x += linear2(relu(linear1(norm2(x)))).
Expected<Value*> Transformer::layer(const std::string& path, Value* x) {
  TAPER_ASSIGN(Value * first, norm(path + ".residual1.norm", x));
  TAPER_ASSIGN(Value * attended, attention(path + ".attention", first));
  build_.set_scope(path + ".residual1");
  x = build_("add", {x, attended}, {}, path + ".residual1");
  TAPER_ASSIGN(Value * second, norm(path + ".residual2.norm", x));
  Value* hidden = net_.linear(path + ".feed_forward.linear1", second);
  hidden = build_("relu", {hidden});
  Value* forward = net_.linear(path + ".feed_forward.linear2", hidden);
  build_.set_scope(path + ".residual2");
  return build_("add", {x, forward}, {}, path + ".residual2");
}

// The stored table, continued where the wanted length needs it and the sinusoid allows it.
Expected<Value*> Transformer::positional_table(bool with_class_token) {
  const std::int64_t stored = net_.size("max_len");
  const std::int64_t wanted = net_.options.sequence_length + (with_class_token ? 1 : 0);
  const std::string key(kTable);
  if (wanted <= stored) return net_.weight(key);
  const Tensor& table = *net_.weights.tensors.find(key)->second;
  if (!is_sinusoid(table))
    return fail_with_hint(
        fmt::format("'{}' holds {} positions, the sequence length {} needs {}; it is not the sinusoid, so "
                    "it can't be continued",
                    key, stored, net_.options.sequence_length, wanted),
        fmt::format("export with --sequence-length {} or less", stored - (with_class_token ? 1 : 0)));
  net_.report("positions", fmt::format("{}, the sinusoid of {} continued", wanted, stored), origin::shapes);
  return build_.constant(continued_sinusoid(table, wanted), key);
}

// x + pe[:, :T]; with a class token before frame 0: cls + pe[:, :1], x + pe[:, 1:T+1].
Value* Transformer::with_positions(Value* x, Value* table, bool with_class_token) {
  if (build_.failed()) return nullptr;
  const Dim frames = x->type.shape[1];
  if (!with_class_token)
    return build_("add", {x, build_("slice", {table}, {{"dim", std::int64_t{1}}, {"end", Shape{frames}}})});
  const Attrs first = {{"dim", std::int64_t{1}}, {"end", Shape{1}}};
  const Attrs rest = {{"dim", std::int64_t{1}}, {"start", std::int64_t{1}}, {"end", Shape{frames + 1}}};
  Value* token = build_("add", {net_.weight("cls_token"), build_("slice", {table}, first)});
  // Only x knows the batch: zeros of its first frame repeat the token.
  Value* tokens = build_("add", {build_("zeros_like", {build_("slice", {x}, first)}), token});
  Value* shifted = build_("add", {x, build_("slice", {table}, rest)});
  return build_("concat", {tokens, shifted}, {{"dim", std::int64_t{1}}});
}

Expected<Value*> Transformer::encode(Value* x, bool with_class_token) {
  x = net_.linear("embedding", x);
  build_.set_scope("pos_encoder");
  TAPER_ASSIGN(Value * table, positional_table(with_class_token));
  x = with_positions(x, table, with_class_token);
  TAPER_ASSIGN(x, norm("input_norm", x));
  for (std::int64_t i = 0; net_.has(layer_path(i) + ".attention.W_q.weight"); ++i) {
    TAPER_ASSIGN(x, layer(layer_path(i), x));
  }
  return x;
}

// Linear, ReLU, (Dropout), Linear.
Value* Transformer::head(const std::string& path, Value* x) {
  Value* hidden = build_("relu", {net_.linear(path + ".0", x)});
  return net_.linear(path + ".3", hidden);
}

Status Transformer::build_classifier() {
  tell_sizes();
  net_.told_by_shapes(kGlosses, net_.size("G"));
  net_.told_by_shapes(kCategories, net_.size("C"));
  TAPER_ASSIGN(const std::string pooling_method, pooling());
  TAPER_ASSIGN(Value * x, encode(net_.input(), pooling_method == "cls"));
  build_.set_scope("pooling");
  const Attrs over_time = {{"dims", std::vector<std::int64_t>{1}}};
  if (pooling_method == "mean") x = build_("mean", {x}, over_time);
  if (pooling_method == "max") x = build_("amax", {x}, over_time);
  if (pooling_method == "cls") x = build_("select", {x}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{0}}});
  net_.output("output", head("gloss_head", x));
  if (net_.wants_category()) net_.output("category", head("category_head", x));
  return {};
}

Status Transformer::build_ctc() {
  tell_sizes();
  net_.told_by_shapes(kGlosses, net_.size("K") - 1);
  if (net_.has("category_head.weight")) net_.told_by_shapes(kCategories, net_.size("C"));
  TAPER_ASSIGN(Value * x, encode(net_.input(), false));
  TAPER_ASSIGN(x, norm("output_norm", x));
  Value* logits = net_.linear("ctc_head", x);
  net_.output("output", build_("log_softmax", {logits}));
  if (net_.wants_category()) net_.output("category", net_.linear("category_head", x));
  return {};
}

}  // namespace

Family sign_transformer() {
  return {.name = "SignTransformer", .keys = classifier_keys, .closed_modules = {}, .build = [](Network& network) {
            return Transformer(network).build_classifier();
          }};
}

Family sign_transformer_ctc() {
  return {.name = "SignTransformerCtc", .keys = ctc_keys, .closed_modules = {}, .build = [](Network& network) {
            return Transformer(network).build_ctc();
          }};
}

}  // namespace taper
