// The program taper, but for its process. Its commands are rows of a table.
#pragma once

#include <string>
#include <vector>

#include "cli/job.h"

namespace taper {

// Runs a command; `arguments` are without the program's name. Returns the exit status: 2 for wrong usage, else what
// the command says.
int run_taper(const std::vector<std::string>& arguments, const ProgramContext& context);

}  // namespace taper
