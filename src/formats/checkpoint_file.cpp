#include "formats/checkpoint_file.h"

#include <algorithm>

#include "base/mapped_file.h"
#include "formats/safetensors.h"
#include "formats/text.h"

namespace taper {
namespace {

// What a file that is no checkpoint looks like.
struct Look {
  std::size_t offset;
  std::string_view magic;
  std::string_view name;
  std::string_view hint;
};

using namespace std::string_view_literals;

constexpr std::string_view kDownloadHint = "download the file itself, not the page that links to it";

constexpr Look kLooks[] = {
    {0, "version https://git-lfs"sv, "a git-lfs pointer, which stands for a file that was not downloaded",
     "run 'git lfs pull' in that repository, or download the file itself"},
    {0, "<!DOCTYPE"sv, "an HTML page", kDownloadHint},
    {0, "<!doctype"sv, "an HTML page", kDownloadHint},
    {0, "<html"sv, "an HTML page", kDownloadHint},
    {0, "<HTML"sv, "an HTML page", kDownloadHint},
    {0, "<?xml"sv, "an XML file", kDownloadHint},
    {0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file, perhaps a Keras model (.h5)", ""},
    {4, "TFL3"sv, "a TFLite model", "it needs no export"},
    {0, "\x93NUMPY"sv, "a NumPy array (.npy)", "give it to --verify-input if it holds sample inputs"},
    {0, "GGUF"sv, "a GGUF file (llama.cpp)", ""},
    {0, "\x89PNG"sv, "a PNG image", ""},
    {0, "\xff\xd8\xff"sv, "a JPEG image", ""},
    {0, "%PDF"sv, "a PDF document", ""},
    {0,
     "\x7f"
     "ELF"sv,
     "a program or shared library (ELF)", ""},
    {0, "\x1f\x8b"sv, "a gzip archive", "unpack it first"},
    {0, "BZh"sv, "a bzip2 archive", "unpack it first"},
    {0,
     "\xfd"
     "7zXZ"sv,
     "an xz archive", "unpack it first"},
    {0, "\x28\xb5\x2f\xfd"sv, "a zstd archive", "unpack it first"},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive", "unpack it first"},
    {0, "Rar!"sv, "a RAR archive", "unpack it first"},
};

bool has(std::string_view text, std::size_t offset, std::string_view magic) {
  return text.size() >= offset && text.substr(offset).starts_with(magic);
}

// ModelProto starts with ir_version (field 1, a small varint), then as a rule opset_import, producer_name or graph.
bool looks_like_onnx(std::string_view text) {
  return text.size() > 3 && text[0] == 0x08 && text[1] > 0 && text[1] < 0x20 &&
         (text[2] == 0x12 || text[2] == 0x1a || text[2] == 0x3a || text[2] == 0x42);
}

bool looks_like_text(std::string_view text) {
  const std::string_view head = text.substr(0, 512);
  return std::ranges::none_of(
             head,
             [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t'; }) &&
         check_utf8(head.substr(0, head.size() < 4 ? head.size() : head.size() - 4)) != Utf8::invalid;
}

// A length, then '{'. With '{"' the length may be absurd: then it is the reader who says so.
bool looks_like_safetensors(std::string_view text) {
  if (!has(text, 8, "{")) return false;
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, text.data(), 8);
  return header_size <= (std::uint64_t{1} << 32) || has(text, 8, "{\"");
}

std::unexpected<Error> not_a_checkpoint(std::string_view text) {
  constexpr std::string_view kExpected = "expected a PyTorch checkpoint (.pt, .pth) or safetensors";
  if (text.empty()) return fail("the file is empty, {}", kExpected);
  for (const Look& look : kLooks)
    if (has(text, look.offset, look.magic))
      return fail_with_hint(fmt::format("the file looks like {}, {}", look.name, kExpected), std::string(look.hint));
  if (looks_like_onnx(text)) return fail("the file looks like an ONNX model, {}", kExpected);
  if (std::ranges::all_of(text.substr(0, 4096), [](char c) { return c == 0; }))
    return fail_with_hint(fmt::format("the file holds only zeros, {}", kExpected),
                          "the copy or download was probably interrupted");
  if (looks_like_text(text))
    return fail("the file looks like text ('{}'), {}",
                excerpt(text.substr(0, std::min<std::size_t>(text.find('\n'), 40))), kExpected);
  return fail(
      "the file starts with bytes {:02x}, {}",
      fmt::join(std::span(reinterpret_cast<const unsigned char*>(text.data()), std::min<std::size_t>(text.size(), 8)),
                " "),
      kExpected);
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
  const bool zip = text.starts_with("PK\x03\x04") || text.starts_with("PK\x05\x06");
  if (zip || has(text, 257, "ustar")) return read_torch_checkpoint(std::move(bytes));
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
