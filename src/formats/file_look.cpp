#include "formats/file_look.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "formats/text.h"

namespace taper {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kDownloadHint = "download the file itself, not the page that links to it";
constexpr std::string_view kKerasHint =
    "TensorFlow converts its own models (tf.lite.TFLiteConverter); taper reads them as ONNX, which tf2onnx writes";
constexpr std::string_view kNoNetworkHint =
    "give the file that torch.save, torch.jit.save, torch.export.save or torch.onnx.export wrote";

constexpr Look kLooks[] = {
    {0, "version https://git-lfs"sv, "a git-lfs pointer, which stands for a file that was not downloaded",
     "run 'git lfs pull' in that repository, or download the file itself", Carries::nothing},
    {0, "<!DOCTYPE"sv, "an HTML page", kDownloadHint, Carries::nothing},
    {0, "<!doctype"sv, "an HTML page", kDownloadHint, Carries::nothing},
    {0, "<html"sv, "an HTML page", kDownloadHint, Carries::nothing},
    {0, "<HTML"sv, "an HTML page", kDownloadHint, Carries::nothing},
    {0, "<?xml"sv, "an XML file", kDownloadHint, Carries::nothing},
    {0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file, perhaps a Keras model (.h5)", kKerasHint, Carries::perhaps_code},
    {4, "TFL3"sv, "a TFLite model", "it is what taper writes, and needs no export; 'taper inspect' shows what it holds",
     Carries::data},
    {0, "\x93NUMPY"sv, "a NumPy array (.npy)", "give it to --verify-input if it holds sample inputs", Carries::data},
    {0, "GGUF"sv, "a GGUF file (llama.cpp)",
     "it holds weights alone: save the PyTorch model that it was made from as a program (torch.export.save)",
     Carries::data},
    {0, "\x89PNG"sv, "a PNG image", kNoNetworkHint, Carries::data},
    {0, "\xff\xd8\xff"sv, "a JPEG image", kNoNetworkHint, Carries::data},
    {0, "%PDF"sv, "a PDF document", kNoNetworkHint, Carries::nothing},
    {0,
     "\x7f"
     "ELF"sv,
     "a program or shared library (ELF)", kNoNetworkHint, Carries::perhaps_code},
    {0, "\x1f\x8b"sv, "a gzip archive", "unpack it first", Carries::packed},
    {0, "BZh"sv, "a bzip2 archive", "unpack it first", Carries::packed},
    {0,
     "\xfd"
     "7zXZ"sv,
     "an xz archive", "unpack it first", Carries::packed},
    {0, "\x28\xb5\x2f\xfd"sv, "a zstd archive", "unpack it first", Carries::packed},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive", "unpack it first", Carries::packed},
    {0, "Rar!"sv, "a RAR archive", "unpack it first", Carries::packed},
};

bool has(std::string_view text, std::size_t offset, std::string_view magic) {
  return text.size() >= offset && text.substr(offset).starts_with(magic);
}

}  // namespace

const Look* look_of(std::string_view text) {
  const auto* look = std::ranges::find_if(kLooks, [&](const Look& row) { return has(text, row.offset, row.magic); });
  return look != std::end(kLooks) ? look : nullptr;
}

bool looks_like_zip(std::string_view text) {
  return text.starts_with("PK\x03\x04") || text.starts_with("PK\x05\x06");
}

// POSIX ustar and GNU tar: "ustar" in the first header.
bool looks_like_tar(std::string_view text) {
  return text.size() >= 512 && has(text, 257, "ustar");
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

}  // namespace taper
