// What a file is, by its first bytes. Internal to formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace taper {

// What loading a file of a kind can run.
enum class Carries : std::uint8_t {
  data,          // nothing: it has no place for code
  perhaps_code,  // programs, or layers with code
  packed,        // another file, which is not looked into
  nothing,       // it is no model at all
};

struct Look {
  std::size_t offset;
  std::string_view magic;
  std::string_view name;  // "a PNG image"
  std::string_view hint;  // what to do if a checkpoint was expected
  Carries carries;
};

// The kind of a file that is no checkpoint of PyTorch's; null if it isn't one of those known.
const Look* look_of(std::string_view text);

bool looks_like_zip(std::string_view text);
bool looks_like_tar(std::string_view text);
bool looks_like_onnx(std::string_view text);
bool looks_like_text(std::string_view text);
bool looks_like_safetensors(std::string_view text);

}  // namespace taper
