// What networks are calibrated with: samples of their inputs from .npz and .npy files, one at a time.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/model.h"
#include "pipeline/verify_input.h"

namespace taper {

// Samples of a file, or of all .npz and .npy files of a folder in the order of their names.
//
// For a family, frames X [N, T, F] or [T, F]: each recording is cut into windows of the default length; one that is
// shorter is a sample as it is. For a program, an array for each input by its name (a single input also from a .npy
// file or the only array of a .npz): with one axis more than the input it holds samples along its first axis; else,
// where the first size of the input is usually 1, as of a batch, each row is a sample; else the array is one sample. An
// array that is one sample goes with all samples of the other inputs.
//
// One file is open at a time; memory doesn't grow with the number of samples.
class CalibrationSamples {
 public:
  // Errors: nothing to be read at `path`, arrays that are missing or of another shape or dtype than the input, arrays
  // with different numbers of samples.
  static Expected<CalibrationSamples> open(const Model& model, const std::filesystem::path& path);

  std::int64_t count() const { return count_; }
  // Errors: numbers that are not finite (-inf is taken for a mask of a program), sizes that contradict the input's, a
  // file that changed.
  Expected<InputSet> at(std::int64_t sample);

 private:
  struct File {
    std::filesystem::path path;
    std::int64_t first = 0;  // the number of its first sample
  };
  struct OpenFile {
    std::optional<std::size_t> index;  // of the file
    SharedBytes bytes;
    std::vector<Tensor> arrays;  // by input; of a family [recordings, T, F]
  };

  explicit CalibrationSamples(const Model& model) : model_(model) {}
  Expected<std::vector<Tensor>> read_arrays(const SharedBytes& bytes) const;
  Expected<std::int64_t> samples_in(const std::vector<Tensor>& arrays) const;
  Expected<InputSet> cut(const std::vector<Tensor>& arrays, std::int64_t sample) const;
  Expected<OpenFile> open_file(std::size_t index) const;
  bool is_family() const { return model_.info().kind == SourceKind::family; }

  Model model_;
  std::vector<File> files_;
  std::int64_t count_ = 0;
  OpenFile open_;
};

// Which samples ranges are measured on, and which are held out to judge by.
struct SampleSplit {
  std::vector<std::int64_t> calibration;
  std::vector<std::int64_t> held_out;
};

// At most `most` samples, spread evenly over all; each fifth of them is held out. Fewer than five serve for both.
SampleSplit split_samples(std::int64_t count, std::int64_t most = 128);

}  // namespace taper
