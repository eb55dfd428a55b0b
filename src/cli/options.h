// The command line of export_models as data.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/job.h"

namespace taper {

struct NamedPath {
  std::string name;
  std::filesystem::path path;
};

struct ExportOptions : JobOptions {
  ExportOptions() { output_dir = "exports"; }

  std::optional<std::filesystem::path> transformer;
  std::optional<std::filesystem::path> gru;
  std::vector<NamedPath> models;
};

// `arguments` without the program's name.
std::variant<ExportOptions, Finish> parse_options(const std::vector<std::string>& arguments);

// The text of --help, and the long flags that parse_options knows.
std::string help_text();
std::vector<std::string> known_flags();

}  // namespace taper
