// Runs SavedModels in TensorFlow, through the C API of its library, loaded at run time.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "verify/runtime.h"

namespace taper {

// Where TensorFlow's library is looked for, in this order; only files that exist. The value of TAPER_TENSORFLOW, a
// library or the folder that holds it (then nothing else); libtensorflow_cc.so.2 in an installed tensorflow or
// tensorflow-cpu: the active virtual environment, the user's and the system's site-packages; libtensorflow.so.2 in
// /usr/local/lib and /usr/lib.
std::vector<std::filesystem::path> tensorflow_candidates();

// A loaded runtime. Copies share it. The library itself stays loaded until the program ends.
class Tensorflow {
 public:
  struct Impl;
  explicit Tensorflow(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  const RuntimeInfo& info() const;
  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

// Loads the first of `candidates` that works, which takes about half a second and 300 MB. Errors: none is there (with
// the way to get one as hint), none can be loaded or lacks a function that is needed (each with its reason); a program
// built with AddressSanitizer, which can't load it.
Expected<Tensorflow> load_tensorflow(const std::vector<std::filesystem::path>& candidates = tensorflow_candidates());

// A session of a SavedModel with the tag `serve`, on the CPU; its signature `serving_default`.
class TensorflowModel {
 public:
  struct Impl;
  TensorflowModel(TensorflowModel&&) noexcept;
  TensorflowModel& operator=(TensorflowModel&&) noexcept;
  ~TensorflowModel();

  // Loads the model from its folder, variables included. `threads` is that of its kernels, 0 the runtime's own choice.
  static Expected<TensorflowModel> open(const Tensorflow& runtime, const std::filesystem::path& folder,
                                        int threads = 1);

  // Runs the model once. Inputs are matched by name; outputs come in the order of their names and own their data. A
  // model may be run any number of times. Errors: inputs missing or unknown; the runtime's own errors.
  Expected<std::vector<SignatureTensor>> run(std::span<const SignatureTensor> inputs);

 private:
  explicit TensorflowModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace taper
