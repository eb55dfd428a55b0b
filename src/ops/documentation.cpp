#include "ops/documentation.h"

#include <algorithm>

#include "ops/table.h"

namespace taper {
namespace {

constexpr std::string_view kExpanded = "in simpler operators";
constexpr std::string_view kNowhere = "-";

std::string spelling(const Op& op, Target target, std::string_view own_name, std::string_view of_constant) {
  if (op.is_constant) return std::string(of_constant);
  if (!own_name.empty()) return std::string(own_name);
  return std::string(op.expansion_for(target) != nullptr ? kExpanded : kNowhere);
}

// Names in the target's own words stand as code.
std::string cell(const OperatorRow& row, const std::string& text) {
  if (text == kNowhere) return "—";
  return text == kExpanded || row.name == "constant" ? text : fmt::format("`{}`", text);
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

std::vector<OperatorRow> operator_rows() {
  std::vector<OperatorRow> rows;
  for (const Op& op : op_table()) {
    const std::string_view builtin = op.tflite.builtin ? tflite::EnumNameBuiltinOperator(*op.tflite.builtin) : "";
    rows.push_back({std::string(op.name), std::string(op.doc),
                    spelling(op, Target::onnx, op.onnx.op_type, "initializer"),
                    spelling(op, Target::tflite, builtin, "buffer"), std::string(op.tflite.since),
                    spelling(op, Target::tensorflow, op.tensorflow.op, "variable")});
  }
  return rows;
}

std::string operators_markdown() {
  std::string text =
      "# Operators\n\n"
      "The operators of taper's graph, their meaning, and what ONNX (opset 17), TFLite and TensorFlow have for them.\n"
      "Generated from `src/ops`; after a change run the test `ops_test` with `TAPER_UPDATE_DOCS=1`.\n\n"
      "| operator | meaning | ONNX | TFLite | since runtime | TensorFlow |\n| --- | --- | --- | --- | --- | --- |\n";
  for (const OperatorRow& row : operator_rows())
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", row.name, escaped(row.doc), cell(row, row.onnx),
                        cell(row, row.tflite), row.since, cell(row, row.tensorflow));
  return text;
}

}  // namespace taper
