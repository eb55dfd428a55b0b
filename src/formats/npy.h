// NumPy's .npy (versions 1 to 3, numpy.lib.format) and .npz (a zip archive of them).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/tensor.h"

namespace taper {

// A view of the file's bytes; Fortran order becomes strides, big-endian data is marked so. Errors: not .npy, truncated,
// dtypes other than bool, int8-64, uint8-64, float16-64 (object arrays would need a pickle).
Expected<Tensor> read_npy(const SharedBytes& bytes);
// Whether a file begins as a .npy array of such a dtype does, however many elements follow.
bool has_npy_header(const SharedBytes& bytes);
// The arrays by name, without ".npy", in the order of the archive. Errors name the array.
Expected<std::vector<std::pair<std::string, Tensor>>> read_npz(const SharedBytes& bytes);
// The names alone, and one array by its name: the others may be of kinds that taper doesn't read.
Expected<std::vector<std::string>> npz_names(const SharedBytes& bytes);
Expected<Tensor> read_npz_array(const SharedBytes& bytes, std::string_view name);
// Version 1.0, C order, little-endian. bfloat16, which NumPy doesn't know, is written as float32.
std::vector<std::byte> write_npy(const Tensor& tensor);

// "f4" -> float32; nothing for kinds that taper doesn't read. Used for NumPy's dtypes, without their byte order.
std::optional<DType> dtype_from_numpy(std::string_view code);

}  // namespace taper
