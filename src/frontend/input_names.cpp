#include "frontend/input_names.h"

#include <algorithm>

#include "base/suggest.h"
#include "formats/text.h"

namespace taper {

Status check_input_names(const ProgramOptions& options, const std::vector<std::string>& inputs) {
  constexpr std::size_t kMostNamed = 30;
  const auto check = [&](const auto& settings, std::string_view flag, std::string_view value) -> Status {
    for (const auto& [name, setting] : settings) {
      if (std::ranges::find(inputs, name) != inputs.end()) continue;
      std::vector<std::string> names;
      for (const std::string& input : inputs) names.push_back(excerpt(input));
      const std::string list = names.empty() ? "" : fmt::format("; its inputs are {}", shortened(names, kMostNamed));
      const auto entry =
          std::ranges::find_if(inputs, [&](const std::string& input) { return input.ends_with("_" + name); });
      const auto meant = entry != inputs.end() ? std::optional(*entry) : nearest(name, inputs);
      return fail_with_hint(
          fmt::format("the program has no input '{}'{}", excerpt(name), list),
          meant           ? fmt::format("did you mean {} {}{}?", flag, excerpt(*meant), value)
          : names.empty() ? fmt::format("leave {} out", flag)
                          : fmt::format("give {} the name of one of them: {} {}{}", flag, flag, names.front(), value));
    }
    return {};
  };
  TAPER_TRY(check(options.input_shapes, "--input-shape", "=SIZES"));
  TAPER_TRY(check(options.input_dtypes, "--input-dtype", "=DTYPE"));
  return check(options.dynamic, "--dynamic", ":AXIS");
}

std::string shape_flag(std::string_view name, const Shape& shape) {
  std::string sizes;
  for (const Dim& size : shape) sizes += (sizes.empty() ? "" : ",") + size.text();
  std::erase(sizes, ' ');  // a shell would divide it
  return fmt::format("--input-shape {}={}", excerpt(name), sizes);
}

Expected<std::size_t> freed_axis(std::string_view input, std::int64_t axis, std::size_t rank) {
  const auto count = static_cast<std::int64_t>(rank);
  if (axis >= -count && axis < count) return static_cast<std::size_t>(axis < 0 ? axis + count : axis);
  return fail_with_hint(fmt::format("input '{}' has no axis {}: its rank is {}", excerpt(input), axis, rank),
                        rank == 0 ? "leave --dynamic out: the input is a single number"
                                  : fmt::format("axes are counted from 0: --dynamic {}:0{}", excerpt(input),
                                                rank == 1 ? "" : fmt::format(" to {}:{}", excerpt(input), rank - 1)));
}

}  // namespace taper
