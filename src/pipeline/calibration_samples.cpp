#include "pipeline/calibration_samples.h"

#include <algorithm>
#include <cmath>

#include "base/mapped_file.h"
#include "ops/evaluate.h"
#include "pipeline/array_file.h"
#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

bool holds_arrays(const fs::path& path) {
  return path.extension() == ".npz" || path.extension() == ".npy";
}

// The file, or those of the folder in the order of their names.
Expected<std::vector<fs::path>> files_at(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector{path};
  constexpr std::size_t kMostFiles = 100'000;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error))
    if (holds_arrays(entry->path()) && files.size() <= kMostFiles) files.push_back(entry->path());
  if (error)
    return fail_with_hint(fmt::format("the folder '{}' can't be read: {}", path_text(path), error.message()),
                          "check who may read it");
  if (files.empty())
    return fail_with_hint(fmt::format("the folder '{}' holds no .npz and no .npy files", path_text(path)),
                          "save samples of the inputs there with numpy.savez, an array under the name of each input; "
                          "folders in it are not looked into");
  if (files.size() > kMostFiles)
    return fail_with_hint(fmt::format("the folder '{}' holds more than {} files", path_text(path), kMostFiles),
                          "some hundred samples are enough: put them into a folder of their own");
  std::ranges::sort(files);
  return files;
}

// Entries [from, from + count) of the first axis.
Tensor rows_of(const Tensor& tensor, std::int64_t from, std::int64_t count) {
  Tensor rows = tensor;
  const auto offset = static_cast<std::size_t>(from * tensor.strides[0]) * size_of(tensor.dtype);
  rows.storage = tensor.storage.sub(offset, tensor.storage.view.size() - offset);
  rows.shape[0] = count;
  return rows;
}

Tensor without_first_axis(Tensor tensor) {
  tensor.shape.erase(tensor.shape.begin());
  tensor.strides.erase(tensor.strides.begin());
  return tensor;
}

// How a program's array is cut into samples.
enum class Cut { along_an_axis_more, along_the_batch, not_at_all };

Expected<Cut> cut_of(const Tensor& tensor, const Value& input, const Bindings& usual) {
  const Shape& shape = input.type.shape;
  const auto rank = static_cast<std::int64_t>(shape.size());
  if (tensor.rank() == rank + 1) return Cut::along_an_axis_more;
  if (tensor.rank() != rank)
    return fail("an array of shape {} for the input '{}', which is {}", shape_text(std::span(tensor.shape)),
                printable(input.name), type_text(input.type));
  return rank > 0 && shape[0].evaluate(usual) == 1 ? Cut::along_the_batch : Cut::not_at_all;
}

// Windows of `steps` frames in a recording; a shorter one counts as a whole.
std::int64_t windows_in(std::int64_t frames, std::int64_t steps) {
  return std::max<std::int64_t>(frames / steps, 1);
}

}  // namespace

Expected<CalibrationSamples> CalibrationSamples::open(const Model& model, const fs::path& path) {
  CalibrationSamples samples(model);
  TAPER_ASSIGN(const std::vector<fs::path> paths, files_at(path));
  for (const fs::path& file : paths) {
    samples.files_.push_back({file, samples.count_});
    TAPER_ASSIGN(const OpenFile open, samples.open_file(samples.files_.size() - 1));
    TAPER_ASSIGN_WITHIN(const std::int64_t count, samples.samples_in(open.arrays),
                        fmt::format("in file '{}'", path_text(file)));
    samples.count_ += count;
  }
  return samples;
}

Expected<CalibrationSamples::OpenFile> CalibrationSamples::open_file(std::size_t index) const {
  const fs::path& path = files_[index].path;
  TAPER_ASSIGN(const SharedBytes bytes, map_array_file(path));
  TAPER_ASSIGN_WITHIN(std::vector<Tensor> arrays, read_arrays(bytes), fmt::format("in file '{}'", path_text(path)));
  return OpenFile{index, bytes, std::move(arrays)};
}

Expected<std::vector<Tensor>> CalibrationSamples::read_arrays(const SharedBytes& bytes) const {
  std::vector<Tensor> arrays;
  if (is_family()) {
    const std::int64_t features = model_.info().input_shape[2];
    TAPER_ASSIGN(Tensor frames, array_of_frames(bytes));
    if (frames.rank() == 2) {
      frames.shape.insert(frames.shape.begin(), 1);
      frames.strides.insert(frames.strides.begin(), 0);
    }
    if (frames.rank() != 3 || frames.shape[0] < 1 || frames.shape[1] < 1 || frames.shape[2] != features)
      return fail("an array of shape {}, expected [N, T, {}] or [T, {}]", shape_text(std::span(frames.shape)), features,
                  features);
    arrays.push_back(std::move(frames));
    return arrays;
  }
  const auto& inputs = model_.impl().graph.inputs();
  for (const Value* input : inputs) {
    TAPER_ASSIGN(Tensor tensor, array_of_input(bytes, input->name, inputs.size() == 1));
    arrays.push_back(std::move(tensor));
  }
  return arrays;
}

Expected<std::int64_t> CalibrationSamples::samples_in(const std::vector<Tensor>& arrays) const {
  if (is_family()) return arrays[0].shape[0] * windows_in(arrays[0].shape[1], model_.info().input_shape[1]);
  const auto& inputs = model_.impl().graph.inputs();
  const Bindings usual = usual_sizes(model_.impl().symbols);
  std::optional<std::int64_t> samples;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    TAPER_ASSIGN(const Cut cut, cut_of(arrays[i], *inputs[i], usual));
    if (cut == Cut::not_at_all) continue;
    const std::int64_t count = arrays[i].shape[0];
    if (count == 0) return fail("the array for the input '{}' is empty", printable(inputs[i]->name));
    if (count == 1 && samples) continue;
    if (samples && *samples != 1 && *samples != count)
      return fail("{} samples for the input '{}', others have {}", count, printable(inputs[i]->name), *samples);
    samples = count;
  }
  return samples.value_or(1);
}

Expected<InputSet> CalibrationSamples::cut(const std::vector<Tensor>& arrays, std::int64_t sample) const {
  const auto& inputs = model_.impl().graph.inputs();
  InputSet set;
  if (is_family()) {
    const std::int64_t steps = model_.info().input_shape[1];
    const std::int64_t windows = windows_in(arrays[0].shape[1], steps);
    const Tensor recording = without_first_axis(rows_of(arrays[0], sample / windows, 1));
    const std::int64_t from = sample % windows * steps;
    const Tensor window = rows_of(recording, from, std::min(steps, recording.shape[0] - from));
    TAPER_ASSIGN(Array array, checked_array(window, *inputs[0]));
    if (!std::ranges::all_of(array.values, [](double value) { return std::isfinite(value); }))
      return fail("holds numbers that are not finite");
    array.shape.insert(array.shape.begin(), 1);
    set.push_back(std::move(array));
    return set;
  }
  const Bindings usual = usual_sizes(model_.impl().symbols);
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    TAPER_ASSIGN(const Cut cut, cut_of(arrays[i], *inputs[i], usual));
    Tensor tensor = arrays[i];
    if (cut != Cut::not_at_all) tensor = rows_of(tensor, tensor.shape[0] == 1 ? 0 : sample, 1);
    if (cut == Cut::along_an_axis_more) tensor = without_first_axis(std::move(tensor));
    TAPER_ASSIGN_WITHIN(Array array, checked_array(tensor, *inputs[i]),
                        fmt::format("in the array for the input '{}'", printable(inputs[i]->name)));
    set.push_back(std::move(array));
  }
  return set;
}

Expected<InputSet> CalibrationSamples::at(std::int64_t sample) {
  const auto after = std::ranges::upper_bound(files_, sample, {}, &File::first);
  const auto index = static_cast<std::size_t>(after - files_.begin()) - 1;
  const File& file = files_[index];
  if (open_.index != index) {
    open_ = {};
    TAPER_ASSIGN(open_, open_file(index));
  }
  const std::string place = fmt::format("in sample {} of file '{}'", sample - file.first, path_text(file.path));
  TAPER_ASSIGN_WITHIN(InputSet set, cut(open_.arrays, sample - file.first), place);
  TAPER_TRY(check_unchanged(open_.bytes));
  std::vector<std::vector<std::int64_t>> shapes;
  shapes.reserve(set.size());
  for (const Array& array : set) shapes.push_back(array.shape);
  TAPER_ASSIGN_WITHIN([[maybe_unused]] const Bindings bound, bind_symbols(model_.impl().graph.inputs(), shapes), place);
  return set;
}

SampleSplit split_samples(std::int64_t count, std::int64_t most) {
  constexpr std::int64_t kHeldOut = 5;
  const std::int64_t chosen = std::min(count, most);
  SampleSplit split;
  for (std::int64_t i = 0; i < chosen; ++i) {
    const std::int64_t sample = i * count / chosen;
    const bool held_out = chosen >= kHeldOut && i % kHeldOut == kHeldOut - 1;
    (held_out ? split.held_out : split.calibration).push_back(sample);
  }
  if (split.held_out.empty()) split.held_out = split.calibration;
  return split;
}

}  // namespace taper
