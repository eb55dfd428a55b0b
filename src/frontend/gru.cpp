// MediaPipeGRU and MediaPipeGRUCtc.
#include <cmath>

#include "frontend/network.h"

namespace taper {
namespace {

const Setting kInput = {"input_dim", {}, {}, {"input_dim"}};
const Setting kProjection = {"projection_dim", {}, {}, {"projection_dim"}};
const Setting kHidden1 = {"hidden1", {"hidden_size"}, {}, {"hidden1"}};
const Setting kHidden2 = {"hidden2", {"hidden_size"}, {}, {"hidden2"}};
const Setting kBidirectional = {"bidirectional", {"bidirectional"}, {}, {"bidirectional"}};
const Setting kGlosses = {"num_gloss", {}, {}, {"num_gloss"}};
const Setting kCategories = {"num_cat", {}, {}, {"num_cat"}};
const Setting kEps = {"ln_eps", {"eps"}, {}, {"ln_eps", "layer_norm_eps"}};

const std::vector<ClosedModule> kGrus = {{"gru1", "one layer"}, {"gru2", "one layer"}};

bool any_with(const KeySet& present, std::string_view module, std::string_view part) {
  for (const std::string& key : present)
    if (key.starts_with(module) && key.find(part) != std::string::npos) return true;
  return false;
}

bool is_bidirectional(const KeySet& present) {
  return any_with(present, "gru1.", "_l0_reverse") || any_with(present, "gru2.", "_l0_reverse");
}

// torch.nn.GRU(input, hidden, batch_first=True) with one layer; `hidden` is a symbol, `input` a size.
std::vector<KeyPattern> gru_keys(const KeySet& present, const std::string& path, const std::string& hidden,
                                 const std::string& input) {
  const std::string gates = "3*" + hidden;
  const bool biased = any_with(present, path + ".", "bias_");
  std::vector<KeyPattern> keys;
  for (const char* direction : {"_l0", "_l0_reverse"}) {
    if (direction == std::string_view("_l0_reverse") && !is_bidirectional(present)) continue;
    keys.push_back(key(fmt::format("{}.weight_ih{}", path, direction), {gates, input}));
    keys.push_back(key(fmt::format("{}.weight_hh{}", path, direction), {gates, hidden}));
    if (!biased) continue;
    keys.push_back(key(fmt::format("{}.bias_ih{}", path, direction), {gates}));
    keys.push_back(key(fmt::format("{}.bias_hh{}", path, direction), {gates}));
  }
  return keys;
}

// What a GRU of `hidden` gives to the next module: both directions joined.
std::string features(const KeySet& present, const std::string& hidden) {
  return is_bidirectional(present) ? "2*" + hidden : hidden;
}

std::vector<KeyPattern> classifier_keys(const KeySet& present) {
  const bool projected = present.any_below("input_projection.");
  std::vector<KeyPattern> keys;
  if (projected) keys = linear_keys("input_projection", "P", "F");
  append(keys, gru_keys(present, "gru1", "h1", projected ? "P" : "F"));
  append(keys, gru_keys(present, "gru2", "h2", features(present, "h1")));
  append(keys, linear_keys("gloss_head", "G", features(present, "h2")));
  append(keys, linear_keys("category_head", "C", features(present, "h2")));
  return keys;
}

std::vector<KeyPattern> ctc_keys(const KeySet& present) {
  const std::string first = features(present, "h1"), second = features(present, "h2");
  std::vector<KeyPattern> keys = gru_keys(present, "gru1", "h1", "F");
  append(keys, {key("ln1.weight", {first}), key("ln1.bias", {first})});
  append(keys, gru_keys(present, "gru2", "h2", first));
  append(keys, {key("ln2.weight", {second}), key("ln2.bias", {second})});
  append(keys, linear_keys("ctc_head", "K", second));
  if (present.any_below("category_head.")) append(keys, linear_keys("category_head", "C", second));
  return keys;
}

struct GruResult {
  Value* y;     // [B, T, h]; of both directions joined: [B, T, 2h]
  Value* last;  // [B, h] or [B, 2h]
};

GruResult gru(Network& net, const std::string& path, Value* x) {
  net.build.set_scope(path);
  const auto run = [&](const std::string& direction) -> GruResult {
    const auto bias = [&](const char* name) {
      const std::string key = fmt::format("{}.{}{}", path, name, direction);
      return net.has(key) ? net.weight(key) : nullptr;
    };
    Value* input = net.weight(fmt::format("{}.weight_ih{}", path, direction));
    Value* hidden = net.weight(fmt::format("{}.weight_hh{}", path, direction));
    const auto results = net.build.call("gru", {x, input, hidden, bias("bias_ih"), bias("bias_hh")},
                                        {{"reverse", direction == "_l0_reverse"}}, path);
    return {results[0], results[1]};
  };
  const GruResult forward = run("_l0");
  if (!net.has(path + ".weight_ih_l0_reverse")) return forward;
  const GruResult backward = run("_l0_reverse");
  const Attrs joined = {{"dim", std::int64_t{-1}}};
  return {net.build("concat", {forward.y, backward.y}, joined),
          net.build("concat", {forward.last, backward.last}, joined)};
}

void tell_sizes(Network& net) {
  net.told_by_shapes(kInput, net.size("F"));
  net.told_by_shapes(kProjection, net.has("input_projection.weight") ? net.size("P") : 0);
  net.told_by_shapes(kHidden1, net.size("h1"), "gru1");
  net.told_by_shapes(kHidden2, net.size("h2"), "gru2");
  net.told_by_shapes(kBidirectional, net.has("gru1.weight_ih_l0_reverse"), "gru1");
  if (net.has("category_head.weight")) net.told_by_shapes(kCategories, net.size("C"));
}

// torch.nn.LayerNorm.
Expected<Value*> layer_norm(Network& net, const std::string& path, Value* x) {
  const double eps = net.real(kEps, path, {1e-5, "the epsilon of the layer norms", ""});
  if (!(eps >= 0) || !std::isfinite(eps))
    return fail("the epsilon of '{}' is {}, expected a small positive number", path, eps);
  return net.norm(path, x, eps, "weight", "bias");
}

Status build_classifier(Network& net) {
  tell_sizes(net);
  net.told_by_shapes(kGlosses, net.size("G"));
  Value* x = net.input();
  if (net.has("input_projection.weight")) x = net.linear("input_projection", x);
  x = gru(net, "gru1", x).y;
  Value* last = gru(net, "gru2", x).last;
  net.output("output", net.linear("gloss_head", last));
  if (net.wants_category()) net.output("category", net.linear("category_head", last));
  return {};
}

Status build_ctc(Network& net) {
  tell_sizes(net);
  net.told_by_shapes(kGlosses, net.size("K") - 1);
  Value* x = gru(net, "gru1", net.input()).y;
  TAPER_ASSIGN(x, layer_norm(net, "ln1", x));
  x = gru(net, "gru2", x).y;
  TAPER_ASSIGN(x, layer_norm(net, "ln2", x));
  Value* logits = net.linear("ctc_head", x);
  net.output("output", net.build("log_softmax", {logits}));
  if (net.wants_category()) net.output("category", net.linear("category_head", x));
  return {};
}

}  // namespace

Family mediapipe_gru() {
  return {.name = "MediaPipeGRU", .keys = classifier_keys, .closed_modules = kGrus, .build = build_classifier};
}

Family mediapipe_gru_ctc() {
  return {.name = "MediaPipeGRUCtc", .keys = ctc_keys, .closed_modules = kGrus, .build = build_ctc};
}

}  // namespace taper
