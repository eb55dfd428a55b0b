// The families of the op table, one function per file.
#pragma once

#include <vector>

#include "ops/op.h"

namespace taper {

std::vector<Op> constant_ops();
std::vector<Op> elementwise_ops();
std::vector<Op> matrix_ops();
std::vector<Op> normalization_ops();
std::vector<Op> convolution_ops();
std::vector<Op> pooling_ops();
std::vector<Op> resize_ops();
std::vector<Op> padding_ops();
std::vector<Op> channel_norm_ops();
std::vector<Op> image_ops();
std::vector<Op> attention_ops();
std::vector<Op> reduce_ops();
std::vector<Op> shape_ops();
std::vector<Op> recurrent_ops();
std::vector<Op> control_ops();

}  // namespace taper
