#include "pipeline/array_file.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/mapped_file.h"
#include "formats/npy.h"
#include "formats/text.h"
#include "passes/passes.h"
#include "report/text.h"

namespace taper {
namespace {

bool is_npy(const SharedBytes& bytes) {
  return as_text(bytes.view).starts_with("\x93NUMPY");
}

// Whether an array may have these sizes, as far as they are numbers.
bool may_be(const std::vector<std::int64_t>& sizes, const Shape& shape) {
  return std::ranges::equal(
      sizes, shape, [](std::int64_t size, const Dim& expected) { return expected.constant().value_or(size) == size; });
}

}  // namespace

Expected<SharedBytes> map_array_file(const std::filesystem::path& path) {
  TAPER_ASSIGN(SharedBytes bytes, map_file(path));
  if (is_npy(bytes) || as_text(bytes.view).starts_with("PK")) return bytes;
  Error error{fmt::format("{} bytes that are neither a .npy nor a .npz file", bytes.view.size()),
              {},
              "save the input with numpy.save or numpy.savez"};
  return std::unexpected(within(std::move(error), fmt::format("in file '{}'", path_text(path))));
}

Expected<Tensor> array_of_frames(const SharedBytes& bytes) {
  if (is_npy(bytes)) return read_npy(bytes);
  TAPER_ASSIGN(const std::vector<std::string> names, npz_names(bytes));
  if (names.empty()) return fail("holds no arrays");
  if (std::ranges::find(names, "X") != names.end()) return read_npz_array(bytes, "X");
  if (names.size() == 1) return read_npz_array(bytes, names[0]);
  return fail_with_hint(fmt::format("holds the arrays {}, expected 'X' or a single one", fmt::join(names, ", ")),
                        "save the input under the key 'X'");
}

Expected<Tensor> array_of_input(const SharedBytes& bytes, const std::string& input, bool only_input) {
  if (is_npy(bytes)) {
    if (only_input) return read_npy(bytes);
    return fail_with_hint("a .npy file holds one array, and the program has several inputs",
                          "save an array for each input under its name with numpy.savez");
  }
  TAPER_ASSIGN(const std::vector<std::string> names, npz_names(bytes));
  if (std::ranges::find(names, input) != names.end()) return read_npz_array(bytes, input);
  if (only_input && names.size() == 1) return read_npz_array(bytes, names[0]);
  return fail_with_hint(
      fmt::format("holds {}, expected an array '{}'",
                  names.empty() ? "no arrays" : fmt::format("the arrays {}", fmt::join(names, ", ")), printable(input)),
      "save an array for each input under its name with numpy.savez");
}

Tensor with_channels_first(Tensor tensor, const Type& type) {
  const std::size_t rank = type.shape.size();
  if (!holds_image(type) || tensor.shape.size() != rank || may_be(tensor.shape, type.shape)) return tensor;
  Tensor first = tensor;
  const std::vector<std::int64_t> order = channels_first_order(rank);
  for (std::size_t axis = 0; axis < rank; ++axis) {
    first.shape[axis] = tensor.shape[static_cast<std::size_t>(order[axis])];
    first.strides[axis] = tensor.strides[static_cast<std::size_t>(order[axis])];
  }
  return may_be(first.shape, type.shape) ? first : tensor;
}

Error expecting_inputs(Error error, const Graph& graph, const Bindings& sizes) {
  std::vector<std::string> inputs;
  for (const Value* input : graph.inputs()) {
    Shape shape = input->type.shape;
    for (Dim& size : shape)
      if (const auto number = size.evaluate(sizes)) size = Dim(*number);
    inputs.push_back(fmt::format("{} {} {}", printable(input->name), info(input->type.dtype).name, shape_text(shape)));
  }
  return hinted(std::move(error), fmt::format("give arrays that the program takes: {}", shortened(inputs, 8)));
}

Expected<Array> checked_array(const Tensor& tensor, const Value& input) {
  if (is_floating(tensor.dtype) != is_floating(input.type.dtype))
    return fail("is {}, expected {}", info(tensor.dtype).name, info(input.type.dtype).name);
  Array array = to_array(converted(tensor, input.type.dtype));
  constexpr double kMask = -std::numeric_limits<double>::infinity();
  if (std::ranges::all_of(array.values, [](double value) { return std::isfinite(value) || value == kMask; }))
    return array;
  return fail_with_hint(
      fmt::format("holds numbers that are not finite in {}, of which only -inf is taken, as masks hold it",
                  info(input.type.dtype).name),
      "fill gaps in recordings, and keep numbers within what the dtype holds");
}

}  // namespace taper
