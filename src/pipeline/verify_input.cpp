#include "pipeline/verify_input.h"

#include <algorithm>
#include <cmath>

#include "base/mapped_file.h"
#include "ops/evaluate.h"
#include "pipeline/array_file.h"
#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

// ------------------------------------------------------------------------------------------------------------ families

// x as [N, T, F].
Expected<Array> read_frames(const fs::path& path, std::int64_t features) {
  TAPER_ASSIGN(const SharedBytes bytes, map_array_file(path));
  TAPER_ASSIGN_WITHIN(const Tensor tensor, array_of_frames(bytes), fmt::format("in file '{}'", path_text(path)));
  std::vector<std::int64_t> shape = tensor.shape;
  if (shape.size() == 2) shape.insert(shape.begin(), 1);
  if (shape.size() != 3 || shape[0] < 1 || shape[1] < 1 || shape[2] != features)
    return fail("an array of shape {}, expected [N, T, {}] or [T, {}] / in file '{}'",
                shape_text(std::span(tensor.shape)), features, features, path_text(path));
  Array x = to_array(converted(tensor, DType::f32));
  x.shape = shape;
  TAPER_TRY(check_unchanged(bytes));
  const auto wrong = std::ranges::find_if_not(x.values, [](double value) { return std::isfinite(value); });
  if (wrong != x.values.end())
    return fail_with_hint(fmt::format("frame {} holds {}, expected numbers that are finite in float32 / in file '{}'",
                                      (wrong - x.values.begin()) / features, *wrong, path_text(path)),
                          "fill gaps in recordings before you verify with them");
  return x;
}

// The first `batch` windows of x [N, T, F], `steps` frames of each.
InputSet first_windows(const Array& x, std::int64_t batch, std::int64_t steps) {
  const std::int64_t features = x.size(2);
  Array out{DType::f32, {batch, steps, features}, {}};
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto begin = x.values.begin() + b * x.size(1) * features;
    out.values.insert(out.values.end(), begin, begin + steps * features);
  }
  return {std::move(out)};
}

Expected<std::vector<InputSet>> read_windows(const Model& model, const fs::path& path, bool static_shapes) {
  const std::int64_t features = model.info().input_shape[2];
  const std::int64_t steps = model.info().input_shape[1];
  TAPER_ASSIGN(const Array x, read_frames(path, features));
  if (static_shapes && x.size(1) < steps)
    return fail_with_hint(
        fmt::format("the input to verify with has {} frames, the static files take {}", x.size(1), steps),
        fmt::format("export with --sequence-length {}, or without --static", x.size(1)));
  const std::int64_t frames = std::min(x.size(1), steps);
  std::vector<InputSet> sets = {first_windows(x, 1, frames)};
  if (static_shapes) return sets;
  const std::int64_t windows = std::min(x.size(0), kMostWindows);
  sets.push_back(first_windows(x, windows, windows > 1 ? frames : frames / 2 + 1));
  return sets;
}

// ------------------------------------------------------------------------------------------------------------ programs

// `shape` are the input's sizes, where files take no others.
Status check_sizes(const std::vector<std::int64_t>& sizes, const Shape& shape, const Bindings& bindings) {
  TAPER_ASSIGN(const std::vector<std::int64_t> expected, evaluate(shape, bindings));
  if (expected == sizes) return {};
  return fail("has shape {}, the static files take {}", shape_text(std::span(sizes)), shape_text(std::span(expected)));
}

Expected<InputSet> read_arrays(const Graph& graph, const SharedBytes& bytes, bool channels_last) {
  InputSet set;
  std::vector<std::vector<std::int64_t>> shapes;
  for (const Value* input : graph.inputs()) {
    const std::string place = fmt::format("in the array for the input '{}'", printable(input->name));
    TAPER_ASSIGN(Tensor tensor, array_of_input(bytes, input->name, graph.inputs().size() == 1));
    if (channels_last) tensor = with_channels_first(std::move(tensor), input->type);
    TAPER_ASSIGN_WITHIN(Array array, checked_array(tensor, *input), place);
    shapes.push_back(array.shape);
    set.push_back(std::move(array));
  }
  TAPER_ASSIGN([[maybe_unused]] const Bindings bound, bind_symbols(graph.inputs(), shapes));
  return set;
}

Expected<std::vector<InputSet>> read_program_inputs(const Model& model, const fs::path& path, bool static_shapes,
                                                    bool channels_last) {
  const Graph& graph = model.impl().graph;
  const std::string place = fmt::format("in file '{}'", path_text(path));
  TAPER_ASSIGN(const SharedBytes bytes, map_array_file(path));
  Expected<InputSet> read = read_arrays(graph, bytes, channels_last);
  if (!read) return std::unexpected(expecting_inputs(within(std::move(read).error(), place), graph));
  InputSet set = *std::move(read);
  TAPER_TRY(check_unchanged(bytes));
  if (static_shapes) {
    const Bindings sizes = usual_sizes(model.impl().symbols);
    for (std::size_t i = 0; i < set.size(); ++i)
      if (Status same = check_sizes(set[i].shape, graph.inputs()[i]->type.shape, sizes); !same)
        return std::unexpected(expecting_inputs(
            within(
                within(std::move(same).error(), fmt::format("in the array '{}'", printable(graph.inputs()[i]->name))),
                place),
            graph, sizes));
  }
  return std::vector<InputSet>{std::move(set)};
}

}  // namespace

Expected<std::vector<InputSet>> read_verify_input(const Model& model, const fs::path& path, bool static_shapes,
                                                  bool channels_last) {
  return model.info().kind == SourceKind::family ? read_windows(model, path, static_shapes)
                                                 : read_program_inputs(model, path, static_shapes, channels_last);
}

}  // namespace taper
