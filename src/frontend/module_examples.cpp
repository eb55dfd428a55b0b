// Shapes that classes of torch.nn take, for the advice to give one.
#include <algorithm>

#include "frontend/module_calls.h"

namespace taper::modules {
namespace {

// The example of a class: "{in_features}" stands for an attribute of the module, "{layers.0.norm}" for one of a part.
struct Example {
  std::string_view classes, sizes;
};
constexpr Example kExamples[] = {
    {"Linear NonDynamicallyQuantizableLinear", "1,{in_features}"},
    {"Conv1d ConvTranspose1d", "1,{in_channels},100"},
    {"Conv2d ConvTranspose2d", "1,{in_channels},224,224"},
    {"Conv3d ConvTranspose3d", "1,{in_channels},16,64,64"},
    {"BatchNorm1d InstanceNorm1d", "1,{num_features},100"},
    {"BatchNorm2d InstanceNorm2d SyncBatchNorm", "1,{num_features},224,224"},
    {"BatchNorm3d InstanceNorm3d", "1,{num_features},16,64,64"},
    {"GroupNorm", "1,{num_channels},224,224"},
    {"LayerNorm RMSNorm", "1,{normalized_shape}"},
    {"RNN LSTM GRU", "1,100,{input_size}"},
    {"RNNCell LSTMCell GRUCell", "1,{input_size}"},
    {"MultiheadAttention", "1,100,{embed_dim}"},
    {"TransformerEncoderLayer TransformerDecoderLayer", "1,100,{self_attn.embed_dim}"},
    {"TransformerEncoder TransformerDecoder", "1,100,{layers.0.self_attn.embed_dim}"},
    {"Transformer", "1,100,{d_model}"},
    {"Embedding EmbeddingBag", "1,16"},
};

// Where the class does not say, its name tells how many axes it works on.
constexpr Example kSuffixes[] = {{"1d", "1,3,100"}, {"3d", "1,3,16,64,64"}};
constexpr std::string_view kImages = "1,3,224,224";

std::string class_of(const pickle::Value& module) {
  const std::string path = pickle::class_path(module);
  return path.substr(path.rfind('.') + 1);
}

// "512" or "16,64", the numbers of an attribute below dots; nothing if the module has none.
std::string numbers_of(const pickle::Value& module, std::string_view attribute) {
  const pickle::Value* at = &module;
  while (true) {
    const std::string_view part = attribute.substr(0, attribute.find('.'));
    if (part.size() == attribute.size()) break;
    const pickle::Value* parts = pickle::attribute(*at, "_modules");
    at = parts ? pickle::find(*parts, part) : nullptr;
    if (!at) return "";
    attribute.remove_prefix(part.size() + 1);
  }
  const pickle::Value* value = pickle::attribute(*at, attribute);
  if (!value) return "";
  if (const auto number = value->integer()) return fmt::format("{}", *number);
  constexpr std::size_t kMostAxes = 8;
  std::vector<std::int64_t> numbers;
  if (value->sequence())
    for (const pickle::Value* item : value->items())
      if (const auto number = item->integer(); number && numbers.size() < kMostAxes) numbers.push_back(*number);
  return fmt::format("{}", fmt::join(numbers, ","));
}

std::string example_of(const pickle::Value& module) {
  const std::string name = class_of(module);
  const auto* found =
      std::ranges::find_if(kExamples, [&](const Example& each) { return names_class(each.classes, name); });
  if (found == std::end(kExamples)) return "";
  const std::string_view sizes = found->sizes;
  const std::size_t open = sizes.find('{'), close = sizes.find('}');
  if (open == std::string_view::npos) return std::string(sizes);
  const std::string numbers = numbers_of(module, sizes.substr(open + 1, close - open - 1));
  return numbers.empty() ? "" : fmt::format("{}{}{}", sizes.substr(0, open), numbers, sizes.substr(close + 1));
}

// The example of the first part, in the order of the file, that has one. `room`: modules that may yet be looked at, as
// one can stand in many places.
std::string first_example(const pickle::Value& module, int& room) {
  if (room-- <= 0) return "";
  if (std::string example = example_of(module); !example.empty()) return example;
  const pickle::Value* parts = pickle::attribute(module, "_modules");
  if (!parts) return "";
  for (const pickle::Entry& part : parts->entries())
    if (room > 0 && pickle::attribute(*part.value, "_modules"))
      if (std::string example = first_example(*part.value, room); !example.empty()) return example;
  return "";
}

}  // namespace

std::string example_shape(const pickle::Value& root, const pickle::Value& first) {
  const std::string name = class_of(first);
  int room = 1000;
  if (std::string example = first_example(root, room); !example.empty()) return example;
  for (const auto& [suffix, sizes] : kSuffixes)
    if (name.ends_with(suffix)) return std::string(sizes);
  return std::string(kImages);
}

}  // namespace taper::modules
