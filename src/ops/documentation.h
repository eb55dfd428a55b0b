// The table of operators for people: docs/operators.md is this text, and a test holds it to that.
#pragma once

#include <string>

namespace taper {

// A Markdown table: operator, formula, and how ONNX and TFLite spell it.
std::string operators_markdown();

}  // namespace taper
