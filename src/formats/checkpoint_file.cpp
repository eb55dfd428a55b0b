#include "formats/checkpoint_file.h"

#include <algorithm>

#include "base/mapped_file.h"
#include "formats/file_look.h"
#include "formats/safetensors.h"
#include "formats/text.h"

namespace taper {
namespace {

std::unexpected<Error> not_a_checkpoint(std::string_view text) {
  constexpr std::string_view kExpected =
      "expected a PyTorch checkpoint or program (.pt, .pth, .pt2), ONNX or safetensors";
  constexpr const char* kNext =
      "give the file that torch.save, torch.jit.save, torch.export.save or torch.onnx.export wrote";
  constexpr const char* kNextOfText = "configurations, indices and sources hold no weights: give the file that does";
  if (text.empty())
    return fail_with_hint(fmt::format("the file is empty, {}", kExpected),
                          "the copy or download was probably interrupted");
  if (const Look* look = look_of(text))
    return fail_with_hint(fmt::format("the file looks like {}, {}", look->name, kExpected), std::string(look->hint));
  if (looks_like_onnx(text)) return fail("the file looks like an ONNX model, {}", kExpected);
  if (std::ranges::all_of(text.substr(0, 4096), [](char c) { return c == 0; }))
    return fail_with_hint(fmt::format("the file holds only zeros, {}", kExpected),
                          "the copy or download was probably interrupted");
  if (looks_like_text(text))
    return fail_with_hint(fmt::format("the file looks like text ('{}'), {}",
                                      excerpt(text.substr(0, std::min<std::size_t>(text.find('\n'), 40))), kExpected),
                          kNextOfText);
  const std::span first(reinterpret_cast<const unsigned char*>(text.data()), std::min<std::size_t>(text.size(), 8));
  return fail_with_hint(fmt::format("the file starts with bytes {:02x}, {}", fmt::join(first, " "), kExpected), kNext);
}

// The same form as torch.save(state_dict): a dict of tensors.
Checkpoint checkpoint_of(Safetensors file) {
  auto arena = std::make_shared<pickle::Arena>();
  std::vector<pickle::Entry> entries;
  for (auto& [name, tensor] : file.tensors) {
    const pickle::Value* key = arena->add_text(name);
    pickle::TensorValue value;
    value.tensor = std::move(tensor);
    value.storage_key = *key->text();
    entries.push_back({key, arena->add_tensor(std::move(value))});
  }
  for (auto& [name, reason] : file.unsupported) {
    pickle::Unsupported& value = arena->unsupported.emplace_back(pickle::Unsupported{name, reason});
    entries.push_back({arena->add_text(name), arena->add(&value)});
  }
  const pickle::Value* root = arena->add_dict(std::move(entries));
  return Checkpoint{"safetensors", std::move(arena), root, std::move(file.metadata)};
}

}  // namespace

Expected<Checkpoint> read_checkpoint(SharedBytes bytes) {
  const std::string_view text = as_text(bytes.view);
  if (looks_like_zip(text) || looks_like_tar(text)) return read_torch_checkpoint(std::move(bytes));
  if (!looks_like_safetensors(text)) {
    const bool pickle = text.starts_with('\x80') || text.starts_with("L1195470371460388013333");
    return pickle ? read_torch_checkpoint(std::move(bytes)) : not_a_checkpoint(text);
  }
  TAPER_ASSIGN(Safetensors file, read_safetensors(bytes));
  return checkpoint_of(std::move(file));
}

Expected<Checkpoint> read_checkpoint(const std::filesystem::path& path) {
  TAPER_ASSIGN(SharedBytes bytes, map_file(path));
  auto checkpoint = read_checkpoint(std::move(bytes));
  if (!checkpoint)
    return std::unexpected(within(std::move(checkpoint).error(), fmt::format("in file '{}'", path.string())));
  return checkpoint;
}

}  // namespace taper
