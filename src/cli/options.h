// The command line of export_models as data.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "taper/taper.h"

namespace taper {

struct NamedPath {
  std::string name;
  std::filesystem::path path;
};

struct ExportOptions {
  std::optional<std::filesystem::path> transformer;
  std::optional<std::filesystem::path> gru;
  std::vector<NamedPath> models;
  std::filesystem::path output_dir = "exports";
  std::optional<std::filesystem::path> config;
  std::int64_t sequence_length = 300;  // as given; the job checks its range
  bool all_heads = false;
  bool verify = true;
  std::optional<std::filesystem::path> verify_input;
  ConvertOptions convert;
  int jobs = 1;
  std::optional<std::uint64_t> max_memory;  // bytes
  bool sandbox = true;
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  bool colour = true;
};

// What to print instead of running: help and version (status 0), or what is wrong with the command line (status 2).
struct Finish {
  int status = 0;
  std::string text;
};

// `arguments` without the program's name.
std::variant<ExportOptions, Finish> parse_options(const std::vector<std::string>& arguments);

// The text of --help, and the long flags that parse_options knows.
std::string help_text();
std::vector<std::string> known_flags();

}  // namespace taper
