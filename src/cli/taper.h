// The program taper, but for its process: streams and environment are handed in. Its commands are rows of a table.
#pragma once

#include <string>
#include <vector>

#include "cli/terminal.h"

namespace taper {

struct TaperContext {
  Stream out;
  Stream err;
  Environment environment;
};

// Runs a command; `arguments` are without the program's name. Returns the exit status: 2 for wrong usage, else what
// the command says.
int run_taper(const std::vector<std::string>& arguments, const TaperContext& context);

}  // namespace taper
