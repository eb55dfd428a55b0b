// Weights that torch.nn.utils makes anew before each call: by weight_norm and spectral_norm (those that are hooks) and
// by pruning. Their parameters are known, so the weight is computed; what other hooks do is code that a file does not
// hold.
#include <algorithm>

#include "frontend/aten_table.h"
#include "frontend/module_calls.h"

namespace taper::modules {
namespace {

using aten::Arg;
using Result = Expected<Arg>;

struct HookRow {
  std::string_view class_path;  // ends with a dot: all classes of the module
  std::string_view weight;      // the hook's attribute that names the weight
  Result (*compute)(const Call& call, std::string_view weight, const pickle::Value& hook);
};

std::int64_t axis_of_hook(const pickle::Value& hook) {
  const pickle::Value* dim = pickle::attribute(hook, "dim");
  return dim ? dim->integer().value_or(0) : 0;
}

// The tensors beside a weight: "weight_orig" and the like.
Result beside(const Call& call, std::string_view weight, std::string_view suffix) {
  TAPER_ASSIGN(Arg tensor, call.tensor(fmt::format("{}_{}", weight, suffix)));
  if (tensor.is_none()) return fail("module '{}' has no '{}_{}'", call.path, weight, suffix);
  return tensor;
}

// v g / |v|
Result normed_weight(const Call& call, std::string_view weight, const pickle::Value& hook) {
  TAPER_ASSIGN(const Arg g, beside(call, weight, "g"));
  TAPER_ASSIGN(const Arg v, beside(call, weight, "v"));
  return call.aten("_weight_norm", {{"v", v}, {"g", g}, {"dim", Arg(Dim(axis_of_hook(hook)))}});
}

// W / (u W v), W being a matrix with axis `dim` for rows
Result spectral_weight(const Call& call, std::string_view weight, const pickle::Value& hook) {
  TAPER_ASSIGN(const Arg original, beside(call, weight, "orig"));
  TAPER_ASSIGN(const Arg u, beside(call, weight, "u"));
  TAPER_ASSIGN(const Arg v, beside(call, weight, "v"));
  TAPER_ASSIGN(const Arg rows_first,
               call.aten("movedim", {{"", original}, {"", Arg(Dim(axis_of_hook(hook)))}, {"", Arg(Dim(0))}}));
  TAPER_ASSIGN(const Arg matrix, call.aten("flatten", {{"", rows_first}, {"start_dim", Arg(Dim(1))}}));
  TAPER_ASSIGN(const Arg product, call.aten("mv", {{"", matrix}, {"", v}}));
  TAPER_ASSIGN(const Arg sigma, call.aten("dot", {{"", u}, {"", product}}));
  return call.aten("div", {{"", original}, {"", sigma}});
}

Result pruned_weight(const Call& call, std::string_view weight, const pickle::Value&) {
  TAPER_ASSIGN(const Arg original, beside(call, weight, "orig"));
  TAPER_ASSIGN(const Arg mask, beside(call, weight, "mask"));
  return call.aten("mul", {{"", original}, {"", mask}});
}

constexpr HookRow kHooks[] = {
    {"torch.nn.utils.weight_norm.WeightNorm", "name", normed_weight},
    {"torch.nn.utils.spectral_norm.SpectralNorm", "name", spectral_weight},
    {"torch.nn.utils.prune.", "_tensor_name", pruned_weight},
};

struct KnownHook {
  const HookRow* row;
  std::string_view weight;
};

std::optional<KnownHook> known_hook(const pickle::Value& hook) {
  const std::string path = pickle::class_path(hook);
  const auto* row = std::ranges::find_if(kHooks, [&](const HookRow& known) {
    return known.class_path.ends_with('.') ? path.starts_with(known.class_path) : path == known.class_path;
  });
  if (row == std::end(kHooks)) return std::nullopt;
  const pickle::Value* name = pickle::attribute(hook, row->weight);
  if (!name || !name->text()) return std::nullopt;
  return KnownHook{row, *name->text()};
}

std::span<const pickle::Entry> entries_of(const pickle::Value& module, std::string_view attribute) {
  const pickle::Value* hooks = pickle::attribute(module, attribute);
  return hooks ? hooks->entries() : std::span<const pickle::Entry>{};
}

}  // namespace

bool has_unknown_hooks(const pickle::Value& module) {
  constexpr std::size_t kMostHooks = 64;
  const auto before = entries_of(module, "_forward_pre_hooks");
  if (!entries_of(module, "_forward_hooks").empty() || before.size() > kMostHooks) return true;
  std::vector<std::string_view> weights;
  for (const pickle::Entry& entry : before) {
    const auto hook = known_hook(*entry.value);
    if (!hook || std::ranges::find(weights, hook->weight) != weights.end()) return true;
    weights.push_back(hook->weight);
  }
  return false;
}

std::optional<Expected<aten::Arg>> hooked_weight(const Call& call, std::string_view weight) {
  for (const pickle::Entry& entry : entries_of(call.module, "_forward_pre_hooks"))
    if (const auto hook = known_hook(*entry.value); hook && hook->weight == weight)
      return hook->row->compute(call, weight, *entry.value);
  return std::nullopt;
}

}  // namespace taper::modules
