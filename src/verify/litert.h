// Runs TFLite files in LiteRT, Google's runtime, through the C API of libLiteRt.so, loaded at run time.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "verify/runtime.h"

namespace taper {

// Where libLiteRt.so is looked for, in this order; only files that exist. The value of TAPER_LITERT (then nothing
// else); beside this program and in ../lib/taper; in an installed ai-edge-litert: the active virtual environment, the
// user's and the system's site-packages.
std::vector<std::filesystem::path> litert_candidates();

// A loaded runtime. Copies share it. The library itself stays loaded until the program ends.
class Litert {
 public:
  struct Impl;
  explicit Litert(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  const RuntimeInfo& info() const;
  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

// Loads the first of `candidates` that works. Errors: none is there (with the way to get one as hint), none can be
// loaded or lacks a function that is needed (each with its reason).
Expected<Litert> load_litert(const std::vector<std::filesystem::path>& candidates = litert_candidates());

// A compiled model: CPU, one signature.
class LitertModel {
 public:
  struct Impl;
  LitertModel(LitertModel&&) noexcept;
  LitertModel& operator=(LitertModel&&) noexcept;
  ~LitertModel();

  // Reads the model again from disk. `threads` is that of its CPU kernels, 0 the runtime's own choice.
  static Expected<LitertModel> open(const Litert& runtime, const std::filesystem::path& path, int threads = 1);
  // The same from memory, which must stay alive and unchanged: the model shares its owner.
  static Expected<LitertModel> open(const Litert& runtime, const SharedBytes& file, int threads = 1);

  // Names in the first signature; a file without one has names made up by the runtime.
  const std::vector<std::string>& input_names() const;
  const std::vector<std::string>& output_names() const;

  // Runs the model once, in the calling thread and those of its kernels. Inputs are matched by name; each is resized to
  // its tensor's shape if that differs from the one of the last run. Outputs own their data. A model may be run any
  // number of times. Where sizes are computed in the model, the runtime learns those of the outputs while it runs, and
  // needs buffers before: `expected` tells them. Errors: inputs missing, unknown or of another dtype; a shape that the
  // model refuses; outputs larger than was known; the runtime's own errors with its log lines.
  Expected<std::vector<SignatureTensor>> run(std::span<const SignatureTensor> inputs,
                                             const OutputShapes& expected = {});

  // What the runtime has printed while this model was opened and run, which nobody saw.
  std::string log() const;

 private:
  explicit LitertModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace taper
