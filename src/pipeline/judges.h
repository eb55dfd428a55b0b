// Who runs written files: the target's own runtime where it is to be found, else taper, which reads them back.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "frontend/read_back.h"
#include "ops/array.h"
#include "verify/runtime.h"

namespace taper {

// Keys of artifacts, beside those that begin with "tflite".
inline constexpr std::string_view kOnnxKey = "onnx";
inline constexpr std::string_view kQdqKey = "onnx_qdq";
inline constexpr std::string_view kSavedModelKey = "tensorflow";

struct NamedArray {
  std::string name;
  Array value;
};

// Runs one opened file, whose outputs are to have these shapes.
using Runner = std::function<Expected<std::vector<NamedArray>>(const std::vector<NamedArray>& inputs,
                                                               const OutputShapes& expected)>;

struct Judge {
  std::string name;
  std::string version;
  std::function<Expected<Runner>(const std::filesystem::path&)> open;
  int repeats = 2;        // of each run: what a first run leaves behind shows in the second
  std::string note = {};  // why it isn't the real runtime, where that is worth a warning
};

// The judge of the artifacts with a key. Loads the runtime. `shapes` are those of the inputs, which relate open sizes
// where a file is read back.
Judge judge_of(const std::string& key, int threads, const KnownShapes& shapes);

}  // namespace taper
