#include "pipeline/precision.h"

#include <algorithm>

#include "pipeline/judges.h"

namespace taper {
namespace {

// Bounds are a few times what the examples and the fixtures measure (docs/quantisation.md).
constexpr std::array kRows = {
    PrecisionRow{Precision::fp32, "fp32", {0.99, 1e-4, 0}, {0.99, 1e-3, 0}},
    PrecisionRow{Precision::fp16, "fp16", {0.95, 2e-2, 0}, {0.95, 5e-2, 0.05}},
    PrecisionRow{Precision::dynamic, "dynamic", {0.95, 0.1, 0}, {0.95, 0.2, 0.1}},
    PrecisionRow{Precision::w8, "w8", {0.95, 0.1, 0}, {0.95, 0.2, 0.1}},
    PrecisionRow{Precision::w4, "w4", {0.8, 0.5, 0}, {0.8, 0.5, 0.5}},
    PrecisionRow{Precision::int8, "int8", {0.9, 0.25, 0}, {0.9, 0.3, 0.25}},
    PrecisionRow{Precision::int16x8, "int16x8", {0.95, 0.1, 0}, {0.95, 0.2, 0.1}},
    PrecisionRow{Precision::recipe, "recipe", {0.8, 0.5, 0}, {0.8, 0.5, 0.5}},
    PrecisionRow{Precision::mixed, "auto", {0.8, 0.5, 0}, {0.8, 0.5, 0.5}},
};

// Smaller weights may stay as they are, where they save little.
constexpr std::int64_t kLeastWeights = 1024;
// int4 weights of one scale per 32 keep what whole rows lose.
constexpr std::int64_t kBlock = 32;

}  // namespace

const PrecisionRow& row_of(Precision precision) {
  return *std::ranges::find(kRows, precision, &PrecisionRow::precision);
}

const PrecisionRow& row_of_key(std::string_view key) {
  constexpr std::string_view kPrefix = "tflite_";
  if (key == kQdqKey) return row_of(Precision::int8);
  if (key.starts_with(kPrefix)) key.remove_prefix(kPrefix.size());
  const auto found = std::ranges::find(kRows, key, &PrecisionRow::name);
  return found == kRows.end() ? kRows.front() : *found;
}

std::string_view precision_name(Precision precision) {
  return row_of(precision).name;
}

std::optional<Precision> precision_from_name(std::string_view name) {
  const auto found = std::ranges::find(kRows, name, &PrecisionRow::name);
  return found == kRows.end() ? std::nullopt : std::optional(found->precision);
}

LayerConfig layer_config(Precision precision) {
  LayerConfig config{.quantized = true, .min_weight_elements = kLeastWeights};
  config.weight = TensorScheme{.bits = 8, .symmetric = true, .per_channel = true};
  if (precision == Precision::mixed) {  // before the search
    config.weight = TensorScheme{.bits = 16, .floating = true};
    return config;
  }
  config.integer_compute = precision != Precision::w8;
  config.explicit_dequantize = precision == Precision::w8;
  if (precision == Precision::w4) config.weight = TensorScheme{.bits = 4, .symmetric = true, .block = kBlock};
  if (precision == Precision::int8 || precision == Precision::int16x8) {
    const bool wide = precision == Precision::int16x8;
    config.activation = TensorScheme{.bits = wide ? 16 : 8, .symmetric = wide};
    config.min_weight_elements = 0;
  }
  return config;
}

}  // namespace taper
