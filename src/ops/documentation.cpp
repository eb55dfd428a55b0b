#include "ops/documentation.h"

#include <algorithm>

#include "ops/table.h"

namespace taper {
namespace {

// How a target gets the operator: by its name for it, by simpler operators, or not at all.
std::string spelling(std::string_view own_name, bool expands) {
  if (!own_name.empty()) return fmt::format("`{}`", own_name);
  return expands ? "in simpler operators" : "—";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string operators_markdown() {
  std::string text =
      "# Operators\n\n"
      "The operators of taper's graph, their meaning, and what ONNX (opset 17), TFLite and TensorFlow have for them.\n"
      "Generated from `src/ops`; after a change run the test `ops_test` with `TAPER_UPDATE_DOCS=1`.\n\n"
      "| operator | meaning | ONNX | TFLite | since runtime | TensorFlow |\n| --- | --- | --- | --- | --- | --- |\n";
  for (const Op& op : op_table()) {
    const std::string_view builtin = op.tflite.builtin ? tflite::EnumNameBuiltinOperator(*op.tflite.builtin) : "";
    const std::string onnx = op.is_constant ? "initializer" : spelling(op.onnx.op_type, op.expansion_for(Target::onnx));
    const std::string lite = op.is_constant ? "buffer" : spelling(builtin, op.expansion_for(Target::tflite));
    const std::string tensorflow =
        op.is_constant ? "variable" : spelling(op.tensorflow.op, op.expansion_for(Target::tensorflow));
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", op.name, escaped(op.doc), onnx, lite, op.tflite.since,
                        tensorflow);
  }
  return text;
}

}  // namespace taper
