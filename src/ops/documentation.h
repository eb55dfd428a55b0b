// The table of operators for people: docs/operators.md is this text, and a test holds it to that.
#pragma once

#include <string>
#include <vector>

namespace taper {

// An operator and how each target gets it: by its name there, "in simpler operators", "-" for not at all; constants are
// an initializer, a buffer, a variable.
struct OperatorRow {
  std::string name;
  std::string doc;  // the formula
  std::string onnx;
  std::string tflite;
  std::string since;  // the first TFLite runtime that has it
  std::string tensorflow;
};
std::vector<OperatorRow> operator_rows();

// A Markdown table: operator, formula, and how ONNX and TFLite spell it.
std::string operators_markdown();

}  // namespace taper
