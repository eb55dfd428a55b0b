// What to do about operators of PyTorch's that are not read.
#pragma once

#include <string_view>

namespace taper::aten {

// The nearest form that is read, of an operator by its name with or without an overload ("linalg_eig.out"); empty: none
// is known.
std::string_view nearest_form(std::string_view name);

}  // namespace taper::aten
