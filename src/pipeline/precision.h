// What a TFLite file's precision means: its name, how its layers are stored, and how close its results are to be.
#pragma once

#include <array>
#include <string_view>

#include "quantize/recipe.h"
#include "taper/taper.h"

namespace taper {

// Worst figures that a verified file may have.
struct Bounds {
  double cosine_similarity;
  double relative_error;
  double unlike;  // share of the elements of integer and bool outputs
};

struct PrecisionRow {
  Precision precision;
  std::string_view name;  // "fp16": files end in "_fp16.tflite", keys are "tflite_fp16"
  Bounds family;
  Bounds program;  // may amplify rounding more than families are known to
};

const PrecisionRow& row_of(Precision precision);
// Whether such files hold integers in the place of floats.
inline bool stores_integers(Precision precision) {
  return precision != Precision::fp32 && precision != Precision::fp16;
}
// Of the artifact with this key: of the QDQ form of the int8 model that of int8, of other formats that of fp32.
const PrecisionRow& row_of_key(std::string_view key);

// How such a file stores its layers. Only for files of integers: fp32 and fp16 have passes of their own.
LayerConfig layer_config(Precision precision);

}  // namespace taper
