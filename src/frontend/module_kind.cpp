#include "frontend/module_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace taper {
namespace {

using Sizes = std::vector<std::int64_t>;

// The weights of a module by their names, whichever way they are parametrized.
class OwnWeights {
 public:
  OwnWeights(const WeightTree& module, std::string_view called, std::string_view of_class)
      : name(called), class_name(of_class), module_(module) {}

  // The shape of a weight; nothing if there is none of that name or it is none of real numbers.
  const Sizes* find(std::string_view weight) const {
    const auto found = std::ranges::find(module_.weights, weight, &WeightTree::Weight::name);
    return found == module_.weights.end() || !is_real(found->dtype) ? nullptr : &found->sizes;
  }
  // Of `rank` axes.
  const Sizes* find(std::string_view weight, std::size_t rank) const {
    const Sizes* sizes = find(weight);
    return sizes != nullptr && sizes->size() == rank ? sizes : nullptr;
  }
  const Sizes* bias() const { return find("bias", 1); }
  // Whether there is a bias of more axes, which no linear layer nor convolution has.
  bool has_wide_bias() const { return find("bias") != nullptr && bias() == nullptr; }
  // The weight that a convolution or linear layer multiplies with; under weight_norm that of its directions. What
  // spectral_norm calls weight_v is a vector beside weight_orig.
  const Sizes* factor() const {
    if (const Sizes* weight = find("weight")) return weight;
    if (const Sizes* original = find("weight_orig")) return original;
    return find("weight_v");
  }
  bool is_a(std::string_view word) const { return class_name == word; }

  std::string_view name;
  std::string_view class_name;

 private:
  static bool is_real(std::string_view dtype) { return dtype.starts_with("float") || dtype.starts_with("bfloat"); }

  const WeightTree& module_;
};

// "LSTM", "GRU", "RNN" by the rows of weight_hh for each hidden unit.
std::string_view cell_of(std::int64_t rows, std::int64_t hidden) {
  if (hidden > 0 && rows == 4 * hidden) return "LSTM";
  if (hidden > 0 && rows == 3 * hidden) return "GRU";
  return rows == hidden ? "RNN" : "";
}

// weight_ih_l0 [G*H, I], weight_hh_l0 [G*H, H or P], weight_hr_l0 [P, H], and the same of further layers and of the
// other direction (torch.nn.RNNBase).
std::string recurrent_kind(const OwnWeights& own) {
  const Sizes* in = own.find("weight_ih_l0", 2);
  const Sizes* back = own.find("weight_hh_l0", 2);
  if (in == nullptr || back == nullptr) return "";
  const Sizes* projection = own.find("weight_hr_l0", 2);
  const std::int64_t hidden = projection != nullptr ? (*projection)[1] : (*back)[1];
  const std::string_view cell = cell_of((*back)[0], hidden);
  if (cell.empty()) return "";
  int layers = 1;
  while (own.find(fmt::format("weight_ih_l{}", layers), 2) != nullptr) ++layers;
  std::string text = fmt::format("{} input {}, hidden {}", cell, (*in)[1], hidden);
  if (projection != nullptr) text += fmt::format(", projected to {}", (*projection)[0]);
  if (layers > 1) text += fmt::format(", {} layers", layers);
  if (own.find("weight_ih_l0_reverse", 2) != nullptr) text += ", bidirectional";
  if (own.find("bias_ih_l0") == nullptr) text += ", without biases";
  return text;
}

std::string cell_kind(const OwnWeights& own) {
  const Sizes* in = own.find("weight_ih", 2);
  const Sizes* back = own.find("weight_hh", 2);
  if (in == nullptr || back == nullptr) return "";
  const std::string_view cell = cell_of((*back)[0], (*back)[1]);
  return cell.empty() ? "" : fmt::format("{}Cell input {}, hidden {}", cell, (*in)[1], (*back)[1]);
}

// in_proj_weight [3E, E], or q_proj_weight [E, E] with k and v of other widths (torch.nn.MultiheadAttention).
std::string attention_kind(const OwnWeights& own) {
  const Sizes* joint = own.find("in_proj_weight", 2);
  const Sizes* query = own.find("q_proj_weight", 2);
  if (joint != nullptr && (*joint)[0] != 3 * (*joint)[1]) return "";
  if (joint == nullptr && (query == nullptr || own.find("k_proj_weight", 2) == nullptr)) return "";
  return fmt::format("MultiheadAttention embed {}, heads not told", (joint != nullptr ? *joint : *query)[1]);
}

std::string batch_norm_kind(const OwnWeights& own) {
  const Sizes* mean = own.find("running_mean", 1);
  if (mean == nullptr || own.find("running_var", 1) == nullptr) return "";
  return fmt::format("BatchNorm {}{}", (*mean)[0], own.find("weight") == nullptr ? ", without weights" : "");
}

// weight [N], bias [N]; of LayerNorm perhaps more axes.
std::string norm_kind(const OwnWeights& own) {
  if (own.has_wide_bias()) {
    const Sizes* wide = own.find("weight", own.find("bias")->size());
    return wide != nullptr && *wide == *own.find("bias") ? fmt::format("LayerNorm {}", fmt::join(*wide, "x")) : "";
  }
  const Sizes* weight = own.find("weight", 1);
  if (weight == nullptr) return "";
  if (const Sizes* bias = own.bias()) {
    if (*bias != *weight) return "";
    return fmt::format("{} {}", own.is_a("GroupNorm") ? "GroupNorm" : "LayerNorm or GroupNorm", (*weight)[0]);
  }
  return (*weight)[0] == 1 ? "PReLU"
                           : fmt::format("RMSNorm{} {}", own.class_name.empty() ? " or PReLU" : "", (*weight)[0]);
}

bool is_called_an_embedding(std::string_view name) {
  constexpr std::array<std::string_view, 7> kWords = {"emb", "wte", "wpe", "token", "position", "lookup", "codebook"};
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  if (lower.find("proj") != std::string::npos) return false;  // "position_proj"
  return std::ranges::any_of(kWords, [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

// weight [O, I] and perhaps bias [O]; tables of embeddings [N, D] look the same and have no bias.
std::string matrix_kind(const OwnWeights& own) {
  const Sizes* weight = own.factor();
  if (weight == nullptr || weight->size() != 2 || own.has_wide_bias()) return "";
  const Sizes* bias = own.bias();
  if (bias != nullptr) {
    if ((*bias)[0] == (*weight)[0]) return fmt::format("Linear {} -> {}", (*weight)[1], (*weight)[0]);
    // GPT-2's Conv1D.
    return (*bias)[0] == (*weight)[1] ? fmt::format("Linear {} -> {}, transposed", (*weight)[0], (*weight)[1]) : "";
  }
  if (own.is_a("Embedding") || (own.class_name.empty() && is_called_an_embedding(own.name)))
    return fmt::format("Embedding {} of {}", (*weight)[0], (*weight)[1]);
  return fmt::format("Linear {} -> {}, without bias", (*weight)[1], (*weight)[0]);
}

// weight [O, I/groups, ...], or transposed [I, O/groups, ...], which a bias [O] tells.
std::string convolution_kind(const OwnWeights& own) {
  const Sizes* weight = own.factor();
  if (weight == nullptr || weight->size() < 3 || weight->size() > 5 || own.has_wide_bias()) return "";
  const Sizes* bias = own.bias();
  const std::int64_t first = (*weight)[0], second = (*weight)[1];
  const bool transposed =
      own.class_name.starts_with("ConvTranspose") ||
      (bias != nullptr && (*bias)[0] != first && (*bias)[0] % std::max<std::int64_t>(second, 1) == 0);
  const std::string kernel = fmt::format("{}", fmt::join(weight->begin() + 2, weight->end(), "x"));
  const std::string sizes = transposed                 ? fmt::format("{} -> {}", first, second)
                            : second == 1 && first > 1 ? fmt::format("1 -> {} (or depthwise)", first)
                                                       : fmt::format("{} -> {}", second, first);
  return fmt::format("Conv{}{}d {}, kernel {}", transposed ? "Transpose" : "", weight->size() - 2, sizes, kernel);
}

constexpr std::string (*kGuesses[])(const OwnWeights&) = {recurrent_kind, cell_kind,   attention_kind,  batch_norm_kind,
                                                          norm_kind,      matrix_kind, convolution_kind};

}  // namespace

std::string module_kind(const WeightTree& module, std::string_view name, std::string_view class_name) {
  const OwnWeights own(module, name, class_name);
  std::string kind;
  for (const auto guess : kGuesses) {
    kind = guess(own);
    if (!kind.empty()) break;
  }
  if (!kind.empty() && (own.find("weight_g") != nullptr || own.find("weight_orig") != nullptr))
    kind += own.find("weight_g") != nullptr ? ", weight_norm" : ", spectral_norm or pruned";
  if (class_name == "LayerNorm" && kind.starts_with("LayerNorm or GroupNorm"))
    return "LayerNorm" + kind.substr(std::string_view("LayerNorm or GroupNorm").size());
  if (class_name.empty() || kind.starts_with(class_name)) return kind;
  // "BatchNorm 64" of a BatchNorm2d is "BatchNorm2d 64"; what a class of one's own computes is not known.
  const std::size_t space = kind.find(' ');
  const bool is_kind = space != std::string::npos && class_name.starts_with(kind.substr(0, space));
  return std::string(class_name) + (is_kind ? kind.substr(space) : "");
}

}  // namespace taper
