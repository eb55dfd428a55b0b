#include "pipeline/array_file.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/mapped_file.h"
#include "formats/npy.h"
#include "report/text.h"

namespace taper {
namespace {

bool is_npy(const SharedBytes& bytes) {
  return as_text(bytes.view).starts_with("\x93NUMPY");
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

Expected<Array> checked_array(const Tensor& tensor, const Value& input) {
  if (is_floating(tensor.dtype) != is_floating(input.type.dtype))
    return fail("is {}, expected {}", info(tensor.dtype).name, info(input.type.dtype).name);
  Array array = to_array(converted(tensor, input.type.dtype));
  constexpr double kMask = -std::numeric_limits<double>::infinity();
  if (std::ranges::all_of(array.values, [](double value) { return std::isfinite(value) || value == kMask; }))
    return array;
  return fail("holds numbers that are not finite in {}, of which only -inf is taken, as masks hold it",
              info(input.type.dtype).name);
}

}  // namespace taper
