// `taper inspect`: what a file is and holds.
#pragma once

#include <string>
#include <vector>

#include "cli/job.h"

namespace taper {

// Runs the command; returns 0, 1 if a file can't be read, or 2 for wrong usage.
int run_inspect(const std::vector<std::string>& arguments, const ProgramContext& context);

}  // namespace taper
