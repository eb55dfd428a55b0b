// `taper ops`: the table of operators, and what of PyTorch and ONNX it covers.
#pragma once

#include <string>
#include <vector>

#include "cli/job.h"

namespace taper {

int run_ops(const std::vector<std::string>& arguments, const ProgramContext& context);

}  // namespace taper
