// Arrays that users give for inputs, from .npz and .npy files.
#pragma once

#include <filesystem>
#include <string>

#include "base/bytes.h"
#include "ir/graph.h"
#include "ops/array.h"

namespace taper {

// The mapped bytes of a file that is .npz or .npy. Errors name the file.
Expected<SharedBytes> map_array_file(const std::filesystem::path& path);

// Frames: the only array, or the one called X.
Expected<Tensor> array_of_frames(const SharedBytes& bytes);
// The array for an input: the one of its name, or the only one there is where it is the only input.
Expected<Tensor> array_of_input(const SharedBytes& bytes, const std::string& input, bool only_input);

// As the dtype of the input. Errors: integers for floats and the reverse, numbers that are not finite; but -inf is what
// masks hold.
Expected<Array> checked_array(const Tensor& tensor, const Value& input);

}  // namespace taper
