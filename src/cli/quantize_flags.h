// The flags that say how files of integers are made, for the programs that convert.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "taper/taper.h"

namespace CLI {
class App;
}

namespace taper {

// As CLI11 sees them: texts, which have yet to make sense.
struct QuantizeTexts {
  std::string calibration, calibration_method = "min-max", weight_method = "min-max", io = "float32", recipe;
  std::string block_size = "32", max_error;
  std::vector<std::string> ranges, exclude;
  bool accept_loss = false, layer_costs = false, show_recipe = false, onnx_qdq = false;
};

extern const std::string_view kQuantizeHelp;

void declare_quantize_flags(CLI::App& app, QuantizeTexts& texts);

// Fills what the flags say; `convert.tflite` holds the precisions that are asked for, to which a recipe adds its own.
// Errors: words that are not known, flags that no file would heed.
Status read_quantize_options(const CLI::App& app, const QuantizeTexts& texts, ConvertOptions& convert,
                             VerifyOptions& verification);

}  // namespace taper
