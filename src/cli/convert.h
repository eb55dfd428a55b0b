// `taper convert`: any network that PyTorch can save, to verified TFLite, SavedModel and ONNX files.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "cli/job.h"

namespace taper {

struct ConvertCommand : JobOptions {
  ConvertCommand() { output_dir = "."; }

  std::vector<std::filesystem::path> files;
  std::string name;                  // of the outputs; empty: that of each file
  std::vector<InputOptions> inputs;  // of programs
};

// `arguments` without the program's name and the command.
std::variant<ConvertCommand, Finish> parse_convert(const std::vector<std::string>& arguments);

// The long flags that parse_convert knows.
std::vector<std::string> known_convert_flags();

// Runs the command; returns 0, 1 or 2 as export_models does.
int run_convert(const std::vector<std::string>& arguments, const ProgramContext& context);

}  // namespace taper
