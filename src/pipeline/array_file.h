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

// An image whose axes are those of `type` with the channels last, seen in the order of `type`; any other as it is.
// Where both orders fit, it is taken to be in that of `type`.
Tensor with_channels_first(Tensor tensor, const Type& type);

// The error with what the program takes as its next step, if it has none: "give arrays of these shapes and dtypes: x
// float32 [B, 3]". Sizes that are known stand as numbers.
Error expecting_inputs(Error error, const Graph& graph, const Bindings& sizes = {});

// As the dtype of the input. Errors: integers for floats and the reverse, numbers that are not finite; but -inf is what
// masks hold.
Expected<Array> checked_array(const Tensor& tensor, const Value& input);

}  // namespace taper
