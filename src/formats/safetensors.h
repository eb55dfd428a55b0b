// The safetensors format: uint64 header length, JSON header, tensor bytes (https://github.com/huggingface/safetensors).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/tensor.h"

namespace taper {

struct Safetensors {
  std::vector<std::pair<std::string, Tensor>> tensors;        // in the order of the header; views of the file
  std::vector<std::pair<std::string, std::string>> metadata;  // `__metadata__`
  std::vector<std::pair<std::string, std::string>>
      unsupported;  // name and reason: dtypes that taper doesn't read (F8_E4M3)
};

// Errors: truncated, header over 100 MB or not the JSON expected, names given twice, sizes that don't multiply to the
// byte range, ranges that overlap, leave gaps, or don't cover the rest of the file.
Expected<Safetensors> read_safetensors(const SharedBytes& bytes);

}  // namespace taper
