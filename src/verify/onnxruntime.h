// Runs ONNX files in ONNX Runtime, through the C API of libonnxruntime.so, loaded at run time.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "verify/runtime.h"

namespace taper {

// Where libonnxruntime.so is looked for, in this order; only files that exist. The value of TAPER_ONNXRUNTIME, a
// library or the folder that holds it (then nothing else); an installed onnxruntime: the active virtual environment,
// the user's and the system's site-packages; /usr/local/lib and /usr/lib.
std::vector<std::filesystem::path> onnxruntime_candidates();

// A loaded runtime. Copies share it. The library itself stays loaded until the program ends.
class Onnxruntime {
 public:
  struct Impl;
  explicit Onnxruntime(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  const RuntimeInfo& info() const;
  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

// Loads the first of `candidates` that works. Errors: none is there (with the way to get one as hint), none can be
// loaded (each with its reason).
Expected<Onnxruntime> load_onnxruntime(const std::vector<std::filesystem::path>& candidates = onnxruntime_candidates());

// A session of a model, on the CPU.
class OnnxruntimeModel {
 public:
  struct Impl;
  OnnxruntimeModel(OnnxruntimeModel&&) noexcept;
  OnnxruntimeModel& operator=(OnnxruntimeModel&&) noexcept;
  ~OnnxruntimeModel();

  // Loads the model from its file, external data included. `threads` is that of its kernels, 0 the runtime's own
  // choice.
  static Expected<OnnxruntimeModel> open(const Onnxruntime& runtime, const std::filesystem::path& path,
                                         int threads = 1);

  // Runs the model once. Inputs are matched by name; outputs come in the order of the file and own their data. A model
  // may be run any number of times. Errors: the runtime's own, such as inputs missing, unknown or of another type.
  Expected<std::vector<SignatureTensor>> run(std::span<const SignatureTensor> inputs);

 private:
  explicit OnnxruntimeModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace taper
