// Reads ONNX models, opsets 7 to 25, as graphs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "frontend/program.h"

namespace taper {

// Builds the graph of a model. Operators of ONNX become ours by the table in onnx_operators.h; functions of the model
// are inlined; what only computes shapes becomes symbolic sizes. Initializers are constants, also those that are listed
// as inputs; `options.input_values` does the same with inputs proper. Sizes named by dim_param become symbols, nameless
// ones symbols `<input>_<axis>`.
//
// `path` names the file that `bytes` came from: external data lies in its folder. It may be empty where there is none.
// `wanted`, unless null, gets the names of the inputs whose values have to be known for the file to be read.
//
// Errors: no ONNX file; an opset that is not read; operators without a row (all at once); values that are used before
// they are computed, or computed twice; subgraphs and functions more than 16 deep, functions that call themselves;
// external data outside of the folder or of its file; attributes and inputs of values that no row has.
Expected<ImportedProgram> import_onnx(const std::filesystem::path& path, const SharedBytes& bytes,
                                      const ProgramOptions& options, std::vector<std::string>* wanted = nullptr);

// The operators that are read, in order: "Add", and of other domains than ONNX's "com.microsoft.Gelu".
std::vector<std::string> known_onnx_operators();

}  // namespace taper
