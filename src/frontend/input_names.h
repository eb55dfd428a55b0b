// What callers say of inputs, held against those that a program has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/program.h"

namespace taper {

// Whether all inputs that the options speak of are among `inputs`. Error: one that isn't, with the nearest that is.
Status check_input_names(const ProgramOptions& options, const std::vector<std::string>& inputs);

// "--input-shape x=B,3,4*H,4*W".
std::string shape_flag(std::string_view name, const Shape& shape);

// The axis of an input of this rank that --dynamic names, counted from 0: it may be given from the end. Error: there is
// none.
Expected<std::size_t> freed_axis(std::string_view input, std::int64_t axis, std::size_t rank);

}  // namespace taper
