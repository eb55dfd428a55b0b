// Real inputs to verify with, from .npz and .npy files.
#pragma once

#include <filesystem>
#include <vector>

#include "ops/array.h"
#include "pipeline/model.h"

namespace taper {

// The inputs of one run, in the order of the graph's inputs.
using InputSet = std::vector<Array>;

// For a family: frames X [N, T, F] or [T, F], cut into windows of the default length: the first window alone and, for
// dynamic files, several or another length. For a program: an array for each input by its name (a single input also
// from a .npy file or from the only array of a .npz). Errors: arrays that are missing, of another shape or dtype than
// the input, or not finite. With `channels_last` images may also lie as [N, ..., C], where the sizes tell that they do.
Expected<std::vector<InputSet>> read_verify_input(const Model& model, const std::filesystem::path& path,
                                                  bool static_shapes, bool channels_last = false);

}  // namespace taper
