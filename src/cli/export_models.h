// The program export_models, but for its process.
#pragma once

#include <string>
#include <vector>

#include "cli/job.h"

namespace taper {

// Runs the program; `arguments` are without its name. Returns the exit status: 0, 1 or 2 (see help_text).
int run_export_models(const std::vector<std::string>& arguments, const ProgramContext& context);

}  // namespace taper
