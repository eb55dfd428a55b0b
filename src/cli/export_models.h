// The program export_models, but for its process: streams, environment and the job itself are handed in.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/terminal.h"
#include "taper/taper.h"

namespace taper {

struct ProgramContext {
  Stream out;
  Stream err;
  Environment environment;
  std::function<ExportReport(const ExportRequest&)> job;  // export_models
  std::vector<std::string> families;                      // known_families()
  std::function<Status()> give_up_rights = {};            // of the process, unless --no-sandbox; may be empty
};

// Runs the program; `arguments` are without its name. Returns the exit status: 0, 1 or 2 (see help_text).
int run_export_models(const std::vector<std::string>& arguments, const ProgramContext& context);

}  // namespace taper
