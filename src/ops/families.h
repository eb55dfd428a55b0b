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
std::vector<Op> adaptive_pooling_ops();
std::vector<Op> convolution_last_ops();
std::vector<Op> pooling_last_ops();
std::vector<Op> image_last_ops();
std::vector<Op> resize_ops();
std::vector<Op> padding_ops();
std::vector<Op> channel_norm_ops();
std::vector<Op> image_ops();
std::vector<Op> attention_ops();
std::vector<Op> dot_product_attention_ops();
std::vector<Op> reduce_ops();
std::vector<Op> shape_ops();
std::vector<Op> repeat_ops();
std::vector<Op> joining_ops();
std::vector<Op> slicing_ops();
std::vector<Op> indexing_ops();
std::vector<Op> scattering_ops();
std::vector<Op> selecting_ops();
std::vector<Op> filling_ops();
std::vector<Op> recurrent_ops();
std::vector<Op> lstm_ops();
std::vector<Op> control_ops();
std::vector<Op> math_ops();
std::vector<Op> activation_ops();
std::vector<Op> comparison_ops();
std::vector<Op> integer_ops();
std::vector<Op> onnx_quantized_ops();
std::vector<Op> order_ops();

// Fills in the column `quantized`.
void add_quantized_forms(std::vector<Op>& rows);

}  // namespace taper
