// Operators on images where their meaning is subtle: numbers that PyTorch 2.13 computes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/rules.h"
#include "ops/table.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

struct Fixture {
  std::string_view name, op;
  std::vector<Integers> operands;  // shapes
  Attrs attrs;
  Integers shape;  // of the result
  std::vector<double> values;
};

void PrintTo(const Fixture& fixture, std::ostream* out) {
  *out << fixture.name;
}

Tensor reals(const std::vector<double>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return make_tensor(DType::f64, {static_cast<std::int64_t>(values.size())}, {bytes.begin(), bytes.end()});
}

// clang-format off
const std::vector<Fixture> kFixtures = {
    {"max_pool_ceil_mode",
     "max_pool",
     {{1, 1, 5, 5}},
     {{"kernel", Integers{2, 2}}, {"stride", Integers{2, 2}}, {"padding", Integers{0, 0, 0, 0}}, {"dilation",
      Integers{1, 1}}, {"ceil_mode", true}},
     {1, 1, 3, 3},
     {0.68, 0.88, -0.06, 0.74, 0.54, 0.94, 0.4, -0.14, 0.6}},
    {"max_pool_ceil_mode_without_the_window_that_begins_in_the_padding",
     "max_pool",
     {{1, 1, 5, 6}},
     {{"kernel", Integers{2, 2}}, {"stride", Integers{3, 3}}, {"padding", Integers{1, 1, 1, 1}}, {"dilation",
      Integers{1, 1}}, {"ceil_mode", true}},
     {1, 1, 2, 3},
     {-1, 0.48, 0.68, 0.2, 0.4, -0.14}},
    {"max_pool_dilated",
     "max_pool",
     {{1, 1, 5, 5}},
     {{"kernel", Integers{2, 2}}, {"stride", Integers{1, 2}}, {"padding", Integers{1, 0, 1, 0}}, {"dilation",
      Integers{2, 3}}, {"ceil_mode", false}},
     {1, 1, 5, 1},
     {0.88, 0.54, 0.88, 0.54, 0.2}},
    {"avg_pool_ceil_mode_with_padding",
     "avg_pool",
     {{1, 1, 5, 6}},
     {{"kernel", Integers{3, 3}}, {"stride", Integers{2, 2}}, {"padding", Integers{1, 1, 1, 1}}, {"ceil_mode",
      true}, {"count_include_pad", true}},
     {1, 1, 3, 4},
     {-0.191111, 0.00444444, -0.131111, -0.0433333, 0.113333, 0.157778, -0.157778, -0.27, 0.117778, 0.131111,
      -0.00444444, 0.02}},
    {"avg_pool_ceil_mode_without_padding",
     "avg_pool",
     {{1, 1, 5, 6}},
     {{"kernel", Integers{3, 3}}, {"stride", Integers{2, 2}}, {"padding", Integers{1, 1, 1, 1}}, {"ceil_mode",
      true}, {"count_include_pad", false}},
     {1, 1, 3, 4},
     {-0.43, 0.00666667, -0.196667, -0.13, 0.17, 0.157778, -0.157778, -0.54, 0.265, 0.196667, -0.00666667, 0.06}},
    {"avg_pool_divisor",
     "avg_pool",
     {{1, 1, 5, 5}},
     {{"kernel", Integers{2, 2}}, {"stride", Integers{2, 2}}, {"padding", Integers{1, 1, 1, 1}}, {"ceil_mode",
      true}, {"divisor", std::int64_t{3}}},
     {1, 1, 3, 3},
     {-0.333333, 0.0733333, -0.286667, 0.34, -0.533333, 0.0933333, -0.113333, -0.0933333, 0.533333}},
    {"adaptive_avg_pool",
     "adaptive_avg_pool",
     {{1, 1, 5, 7}},
     {{"sizes", Shape{3, 4}}},
     {1, 1, 3, 4},
     {-0.06, 0.04, -0.163333, 0.105, -0.0333333, 0.0666667, -0.0244444, 0.3, -0.175, 0.0933333, -0.11, -0.01}},
    {"adaptive_max_pool",
     "adaptive_max_pool",
     {{1, 1, 5, 7}},
     {{"sizes", Shape{3, 4}}},
     {1, 1, 3, 4},
     {0.88, 0.88, 0.68, 0.68, 0.88, 0.88, 0.94, 0.94, 0.4, 1, 0.6, 0.8}},
    {"conv_dilated_in_groups",
     "conv",
     {{1, 4, 5, 5}, {2, 2, 2, 3}, {2}},
     {{"stride", Integers{1, 2}}, {"padding", Integers{1, 1, 1, 1}}, {"dilation", Integers{2, 1}}, {"groups",
      std::int64_t{2}}},
     {1, 2, 5, 3},
     {-0.2296, 1.5008, -1.0316, -0.9776, 0.3292, -0.4792, 1.1468, 0.8844, -1.4324, -0.6476, -1.0248, -0.7696,
      0.9564, -1.1684, -1.2248, -0.2252, 1.9136, -0.1808, 1.1728, 0.4548, -0.8376, 0.0708, 1.1396, -0.8964,
      1.8372, -0.64, -0.1472, 0.212, -0.586, -0.3956}},
    {"conv_transpose_output_padding",
     "conv_transpose",
     {{1, 2, 3, 2}, {2, 2, 3, 3}, {2}},
     {{"stride", Integers{2, 3}}, {"padding", Integers{1, 1, 1, 1}}, {"output_padding", Integers{1, 2}},
      {"dilation", Integers{1, 1}}},
     {1, 2, 6, 6},
     {-0.324, -1.508, -0.3224, -0.694, -0.7828, -0.56, -1.42, 0.4224, 0.1096, -0.342, -0.7936, -0.56, -1.064,
      -0.0576, -0.344, -0.424, -1.312, -0.56, -1.082, -0.838, -1.5092, 0.1172, 0.6528, -0.56, -0.794, -0.5868,
      -1.5372, 0.1692, -0.0232, -0.56, -0.738, -0.4096, -1.5892, 0.1172, -1.4488, -0.56, -0.544, 0.292, 0.0628,
      -0.026, 0.4104, 0.18, -0.824, 0.0488, 0.5828, -0.394, 0.7704, 0.18, 0.492, 0.5288, 0.484, -0.404, 0.324,
      0.18, 0.642, 1.0072, 1.0616, -0.0188, -0.8568, 0.18, 0.114, 0.4424, 0.9456, 0.7532, -0.8128, 0.18, 0.17,
      0.4984, 0.8936, 0.7012, -0.8648, 0.18}},
    {"conv_transpose_dilated_in_groups",
     "conv_transpose",
     {{1, 4, 2, 3}, {4, 1, 2, 2}, {2}},
     {{"stride", Integers{1, 1}}, {"padding", Integers{0, 1, 0, 1}}, {"output_padding", Integers{1, 0}},
      {"dilation", Integers{2, 2}}, {"groups", std::int64_t{2}}},
     {1, 2, 5, 3},
     {-0.3348, -1.2936, -0.4236, -0.4588, -1.5688, -0.2516, -0.7952, -0.1944, -0.3588, -0.7312, 0.5932, -0.4028,
      -0.56, -0.56, -0.56, -0.298, 1.042, 0.7972, -0.5184, 0.978, -0.622, -0.0064, 0.1304, -0.002, 1.052,
      0.0384, -0.5464, 0.18, 0.18, 0.18}},
    {"resize_bilinear",
     "resize",
     {{1, 1, 4, 5}},
     {{"sizes", Shape{7, 3}}, {"mode", std::string("linear")}, {"coordinates", std::string("half_pixel")}},
     {1, 1, 7, 3},
     {-0.753333, 0.48, -0.306667, -0.39381, 0.358571, -0.187619, 0.181429, 0.164286, 0.00285714, 0.0833333,
      -0.03, -0.143333, -0.0628571, -0.224286, -0.241429, 0.127619, -0.418571, 0.33381, 0.246667, -0.54,
      0.693333}},
    {"resize_bilinear_aligned",
     "resize",
     {{1, 1, 4, 5}},
     {{"sizes", Shape{7, 3}}, {"mode", std::string("linear")}, {"coordinates", std::string("align_corners")}},
     {1, 1, 7, 3},
     {-1, 0.48, -0.06, -0.16, 0.31, -0.23, 0.68, 0.14, -0.4, 0.51, -0.03, -0.57, 0.34, -0.2, -0.74, 0.17, -0.37,
      0.1, 0, -0.54, 0.94}},
    {"resize_bilinear_by_scales",
     "resize",
     {{1, 1, 4, 5}},
     {{"sizes", Shape{6, 8}}, {"mode", std::string("linear")}, {"coordinates", std::string("half_pixel")},
      {"scales", reals({1.6, 1.7})}},
     {1, 1, 6, 8},
     {-1, -0.717059, -0.281765, 0.153529, 0.291765, -0.461176, -0.560588, -0.125294, -0.265, -0.319963,
      -0.404522, 0.00477941, 0.272978, 0.0398897, -0.111507, -0.196066, 0.65875, 0.169338, -0.583603, -0.207721,
      0.227574, 0.662868, 0.444632, -0.308309, 0.44625, -0.0431618, -0.796103, -0.420221, 0.0150735, 0.450368,
      0.232132, -0.520809, 0.23375, -0.0143015, -0.395919, -0.354228, -0.197426, 0.237868, 0.22386, -0.157757,
      0.02125, 0.255919, 0.616949, -0.00974265, -0.409926, 0.0253676, 0.419816, 0.780846}},
    {"resize_bicubic",
     "resize",
     {{1, 1, 4, 5}},
     {{"sizes", Shape{6, 3}}, {"mode", std::string("cubic")}, {"coordinates", std::string("half_pixel")}},
     {1, 1, 6, 3},
     {-0.89878, 0.509514, -0.399504, -0.254236, 0.341875, -0.128125, 0.270675, 0.0675926, 0.012581, -0.072581,
      -0.127593, -0.330675, 0.068125, -0.401875, 0.194236, 0.339504, -0.569514, 0.83878}},
    {"resize_bicubic_aligned",
     "resize",
     {{1, 1, 4, 5}},
     {{"sizes", Shape{6, 3}}, {"mode", std::string("cubic")}, {"coordinates", std::string("align_corners")}},
     {1, 1, 6, 3},
     {-1, 0.48, -0.06, 0.06488, 0.30864, -0.23136, 0.7896, 0.05568, -0.5328, 0.4728, -0.11568, -0.8496, 0.17136,
      -0.36864, -0.12488, 0, -0.54, 0.94}},
    {"resize_antialiased_bilinear",
     "resize",
     {{1, 1, 4, 7}},
     {{"sizes", Shape{3, 3}}, {"mode", std::string("linear")}, {"coordinates", std::string("half_pixel")},
      {"antialias", true}},
     {1, 1, 3, 3},
     {-0.153571, -0.184706, 0.0167143, 0.117857, -0.0405882, 0.115, -0.216714, 0.0203529, 0.213286}},
    {"resize_antialiased_bicubic",
     "resize",
     {{1, 1, 4, 7}},
     {{"sizes", Shape{5, 3}}, {"mode", std::string("cubic")}, {"coordinates", std::string("half_pixel")},
      {"antialias", true}, {"cubic_coeff_a", -0.5}},
     {1, 1, 5, 3},
     {-0.429384, -0.148472, 0.0467222, 0.203849, -0.2221, -0.0671607, 0.180731, -0.0486676, 0.114088, -0.202541,
      0.0877457, 0.29864, -0.24637, -0.055477, 0.190969}},
    {"resize_nearest",
     "resize",
     {{1, 1, 4, 5}},
     {{"sizes", Shape{6, 3}}, {"mode", std::string("nearest")}, {"coordinates", std::string("asymmetric")},
      {"rounding", std::string("floor")}},
     {1, 1, 6, 3},
     {-1, -0.26, -0.8, -1, -0.26, -0.8, 0.68, -0.6, 0.88, 0.34, -0.94, 0.54, 0.34, -0.94, 0.54, 0, 0.74, 0.2}},
    {"resize_nearest_exact",
     "resize",
     {{1, 1, 4, 5}},
     {{"sizes", Shape{6, 3}}, {"mode", std::string("nearest")}, {"coordinates", std::string("half_pixel")},
      {"rounding", std::string("round_prefer_ceil")}},
     {1, 1, 6, 3},
     {-1, 0.48, -0.06, 0.68, 0.14, -0.4, 0.68, 0.14, -0.4, 0.34, -0.2, -0.74, 0, -0.54, 0.94, 0, -0.54, 0.94}},
    {"grid_sample_bilinear_zeros",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bilinear")}, {"padding_mode", std::string("zeros")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.106844, 0, -0.032184, -0.099996, 0.0002592, 0, -0.0711144, -0.118403, 0.328481}},
    {"grid_sample_bilinear_zeros_aligned",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bilinear")}, {"padding_mode", std::string("zeros")}, {"align_corners", true}},
     {1, 1, 3, 3},
     {-0.366246, 0.326939, -0.274739, -0.340858, -0.454364, -0.074016, -0.456593, -0.266103, 0.0864}},
    {"grid_sample_bilinear_border",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bilinear")}, {"padding_mode", std::string("border")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.106844, 0.64328, -0.06, -0.3846, 0.0002592, -0.30344, -0.3486, -0.1816, 0.39576}},
    {"grid_sample_bilinear_border_aligned",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bilinear")}, {"padding_mode", std::string("border")}, {"align_corners", true}},
     {1, 1, 3, 3},
     {-0.366246, 0.60996, -0.274739, -0.41568, -0.454364, -0.37008, -0.58688, -0.266103, 0.0864}},
    {"grid_sample_bilinear_reflection",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bilinear")}, {"padding_mode", std::string("reflection")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.106844, 0.54088, -0.06, -0.3846, 0.0002592, 0.04972, -0.3486, -0.1816, 0.39576}},
    {"grid_sample_bilinear_reflection_aligned",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bilinear")}, {"padding_mode", std::string("reflection")}, {"align_corners", true}},
     {1, 1, 3, 3},
     {-0.366246, 0.01604, -0.274739, -0.35448, -0.454364, 0.511712, -0.343071, -0.266103, 0.0864}},
    {"grid_sample_nearest_zeros",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("nearest")}, {"padding_mode", std::string("zeros")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.74, 0, -0.06, 0, 0.34, 0, 0, -0.54, 0.34}},
    {"grid_sample_nearest_border",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("nearest")}, {"padding_mode", std::string("border")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.74, 0.68, -0.06, -0.54, 0.34, -0.4, -0.06, -0.54, 0.34}},
    {"grid_sample_nearest_reflection",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("nearest")}, {"padding_mode", std::string("reflection")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.74, 0.68, -0.06, -0.54, 0.34, -0.4, -0.06, -0.54, 0.34}},
    {"grid_sample_bicubic_zeros",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bicubic")}, {"padding_mode", std::string("zeros")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.235875, -0.0386277, 0.04065, -0.151908, -0.00695982, 0.0259105, -0.0912406, -0.14393, 0.510799}},
    {"grid_sample_bicubic_zeros_aligned",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bicubic")}, {"padding_mode", std::string("zeros")}, {"align_corners", true}},
     {1, 1, 3, 3},
     {-0.414213, 0.579921, -0.35169, -0.520422, -0.55075, -0.0900556, -0.734002, -0.374433, 0.15178}},
    {"grid_sample_bicubic_border",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bicubic")}, {"padding_mode", std::string("border")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.152936, 0.760627, 0.0347572, -0.569741, -0.0418498, -0.27378, -0.441948, -0.229667, 0.57616}},
    {"grid_sample_bicubic_border_aligned",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bicubic")}, {"padding_mode", std::string("border")}, {"align_corners", true}},
     {1, 1, 3, 3},
     {-0.45511, 0.943111, -0.326444, -0.60761, -0.57018, -0.384292, -0.880521, -0.351799, 0.0970404}},
    {"grid_sample_bicubic_reflection",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bicubic")}, {"padding_mode", std::string("reflection")}, {"align_corners", false}},
     {1, 1, 3, 3},
     {0.152936, 0.665253, 0.0759731, -0.632885, -0.0418498, 0.121312, -0.496424, -0.213895, 0.602925}},
    {"grid_sample_bicubic_reflection_aligned",
     "grid_sample",
     {{1, 1, 4, 5}, {1, 3, 3, 2}},
     {{"mode", std::string("bicubic")}, {"padding_mode", std::string("reflection")}, {"align_corners", true}},
     {1, 1, 3, 3},
     {-0.359561, 0.172587, -0.264147, -0.528099, -0.498188, 0.600867, -0.576735, -0.343542, 0.264632}},
    {"im2col",
     "im2col",
     {{1, 2, 4, 4}},
     {{"kernel", Integers{2, 3}}, {"stride", Integers{2, 1}}, {"padding", Integers{1, 0}}, {"dilation",
      Integers{2, 1}}},
     {1, 12, 4},
     {0, 0, -0.06, 0.68, 0, 0, 0.68, -0.6, 0, 0, -0.6, 0.14, -0.06, 0.68, -0.2, 0.54, 0.68, -0.6, 0.54, -0.74,
      -0.6, 0.14, -0.74, 0, 0, 0, -0.34, 0.4, 0, 0, 0.4, -0.88, 0, 0, -0.88, -0.14, -0.34, 0.4, -0.48, 0.26,
      0.4, -0.88, 0.26, 1, -0.88, -0.14, 1, -0.28}},
    {"col2im",
     "col2im",
     {{1, 6, 6}},
     {{"kernel", Integers{2, 3}}, {"stride", Integers{2, 1}}, {"padding", Integers{1, 0}}, {"dilation",
      Integers{1, 1}}, {"output_size", Shape{4, 4}}},
     {1, 1, 4, 4},
     {0.2, 1.54, 0.32, -0.28, 0.48, 0.08, -1.14, 0, -0.34, 0.46, 1.26, -0.82, -0.06, 1.02, -0.2, -0.54}},
    {"pixel_shuffle",
     "depth_to_space",
     {{1, 8, 1, 2}},
     {{"block", std::int64_t{2}}, {"mode", std::string("CRD")}},
     {1, 2, 2, 4},
     {-1, 0.48, -0.26, -0.8, -0.06, -0.6, 0.68, 0.14, 0.88, 0.34, -0.4, -0.94, -0.2, -0.74, 0.54, 0}},
    {"pixel_unshuffle",
     "space_to_depth",
     {{1, 2, 2, 4}},
     {{"block", std::int64_t{2}}, {"mode", std::string("CRD")}},
     {1, 8, 1, 2},
     {-1, 0.48, -0.26, -0.8, -0.06, -0.6, 0.68, 0.14, 0.88, 0.34, -0.4, -0.94, -0.2, -0.74, 0.54, 0}},
    {"local_response_norm_of_even_size",
     "local_response_norm",
     {{1, 5, 1, 2}},
     {{"size", std::int64_t{4}}, {"alpha", 0.5}, {"beta", 0.75}, {"k", 2.0}},
     {1, 5, 1, 2},
     {-0.562466, -0.14966, 0.269941, -0.451159, -0.0332235, 0.383157, -0.335466, 0.0785688, 0.49697, -0.230926}},
    {"group_norm",
     "group_norm",
     {{1, 4, 1, 3}, {4}, {4}},
     {{"groups", std::int64_t{2}}, {"eps", 1e-5}},
     {1, 4, 1, 3},
     {0.509828, -0.43264, -1.37511, 0.2218, 0.173469, 0.125137, 0.34556, 1.1901, 2.03464, -0.0731602, -0.772923,
      0.437478}},
    {"pad_circular",
     "pad",
     {{1, 1, 2, 3}},
     {{"before", Integers{0, 0, 1, 2}}, {"after", Integers{0, 0, 2, 1}}, {"mode", std::string("circular")}},
     {1, 1, 5, 6},
     {-0.06, 0.68, -0.8, -0.06, 0.68, -0.8, -0.26, 0.48, -1, -0.26, 0.48, -1, -0.06, 0.68, -0.8, -0.06, 0.68,
      -0.8, -0.26, 0.48, -1, -0.26, 0.48, -1, -0.06, 0.68, -0.8, -0.06, 0.68, -0.8}},
};
// clang-format on

class AsInPyTorch : public testing::TestWithParam<Fixture> {};

// Element i of operand k is ((37 i + 11 k) mod 101) / 50 - 1; a grid is 1.4 times that for k = 3.
Array operand_of(const Fixture& fixture, std::size_t k) {
  const bool is_grid = fixture.op == "grid_sample" && k == 1;
  Array array = make_array(DType::f32, fixture.operands[k]);
  for (std::size_t i = 0; i < array.values.size(); ++i)
    array.values[i] = (static_cast<double>((i * 37 + (is_grid ? 3 : k) * 11) % 101) / 50 - 1) * (is_grid ? 1.4 : 1);
  return array;
}

TEST_P(AsInPyTorch, computes) {
  const Fixture& fixture = GetParam();
  const Op& op = *find_op(fixture.op);
  Attrs attrs = fixture.attrs;
  ASSERT_TRUE(complete_attrs(op, attrs)) << complete_attrs(op, attrs).error().text();
  std::vector<Array> arrays;
  std::vector<const Array*> operands;
  for (std::size_t k = 0; k < fixture.operands.size(); ++k) arrays.push_back(operand_of(fixture, k));
  for (const Array& array : arrays) operands.push_back(&array);
  const auto results = op.eval({operands, attrs, {}, {}});
  ASSERT_TRUE(results) << results.error().text();
  ASSERT_EQ((*results)[0].shape, fixture.shape);
  for (std::size_t i = 0; i < fixture.values.size(); ++i)
    EXPECT_NEAR((*results)[0].values[i], fixture.values[i], 1e-5) << "element " << i;
}

INSTANTIATE_TEST_SUITE_P(Images, AsInPyTorch, testing::ValuesIn(kFixtures),
                         [](const auto& fixture) { return std::string(fixture.param.name); });

// Of an image of 1 to 16 and a volume of 1 to 64, unaligned: what PyTorch gives where a coordinate is no number.
TEST(GridSample, reads_nonfinite_places_as_pytorch_does) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();
  const std::vector<double> points = {kNan, 0.2, 0.2, kNan, kInf, 0.2, -kInf, 0.2, 0.2, kInf, 0.2, -kInf};
  const std::vector<double> nothing(6, kNan);
  struct Case {
    std::string mode, padding;
    std::vector<double> expected;
  };
  const std::vector<Case> cases = {
      {"bilinear", "zeros", nothing},
      {"bilinear", "border", {8.6, 2.9, 11.6, 8.6, 14.9, 2.9}},
      {"bilinear", "reflection", {8.6, 2.9, 8.6, 8.6, 2.9, 2.9}},
      {"nearest", "zeros", {0, 0, 0, 0, 0, 0}},
      {"nearest", "border", {9, 3, 12, 9, 15, 3}},
      {"nearest", "reflection", {9, 3, 9, 9, 3, 3}},
      {"bicubic", "zeros", nothing},
      {"bicubic", "border", nothing},
      {"bicubic", "reflection", nothing},
  };
  Array image{DType::f32, {1, 1, 4, 4}, {}};
  for (int i = 1; i <= 16; ++i) image.values.push_back(i);
  const Array grid{DType::f32, {1, 1, 6, 2}, points};
  const auto sampled = [&](const std::vector<const Array*>& operands, const std::string& mode, const std::string& pad) {
    const Attrs attrs = {{"mode", mode}, {"padding_mode", pad}, {"align_corners", false}};
    return (*find_op("grid_sample")->eval({operands, attrs, {}, {}}))[0].values;
  };
  const auto expect_same = [](const std::vector<double>& found, const std::vector<double>& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      if (std::isnan(expected[i]))
        EXPECT_TRUE(std::isnan(found[i])) << i;
      else
        EXPECT_NEAR(found[i], expected[i], 1e-6) << i;
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.mode + " " + each.padding);
    expect_same(sampled({&image, &grid}, each.mode, each.padding), each.expected);
  }
  Array volume{DType::f32, {1, 1, 4, 4, 4}, {}};
  for (int i = 1; i <= 64; ++i) volume.values.push_back(i);
  const Array places{DType::f32, {1, 1, 1, 3, 3}, {kNan, 0.2, 0.1, kInf, 0.2, 0.1, 0.1, 0.2, kInf}};
  expect_same(sampled({&volume, &places}, "bilinear", "zeros"), {0, 0, 0});
  expect_same(sampled({&volume, &places}, "bilinear", "border"), {38.8, 38.8, 58.3});
  expect_same(sampled({&volume, &places}, "nearest", "reflection"), {44, 44, 59});
}

// A window that begins in the padding at the end is none, whatever the size turns out to be.
TEST(Pools, have_symbolic_sizes) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {1, 2, Dim::symbol("H"), Dim::symbol("W")}});
  const Attrs attrs = {{"kernel", Integers{3, 2}},
                       {"stride", Integers{2, 3}},
                       {"padding", Integers{1, 1, 1, 1}},
                       {"dilation", Integers{1, 1}},
                       {"ceil_mode", true}};
  const Value* y = build("max_pool", {x}, attrs);
  ASSERT_TRUE(build.status()) << build.status().error().text();
  EXPECT_EQ(y->type.shape[2].text(), "floor_div(H, 2) + 1");
  for (const std::int64_t size : {3, 4, 5, 6, 7, 8}) {
    Array image = make_array(DType::f32, {1, 2, size, size});
    const Array* const operands[] = {&image};
    const auto pooled = find_op("max_pool")->eval({operands, attrs, {}, {}});
    ASSERT_TRUE(pooled) << pooled.error().text();
    for (const std::size_t axis : {2u, 3u})
      EXPECT_EQ(y->type.shape[axis].evaluate({{"H", size}, {"W", size}}).value(), (*pooled)[0].shape[axis]) << size;
  }
}

}  // namespace
}  // namespace taper
