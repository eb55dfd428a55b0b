// `taper scan`: what checkpoints would run if they were loaded with Python's pickle.
#pragma once

#include <string>
#include <vector>

#include "cli/taper.h"
#include "formats/pickle_scan.h"

namespace taper {

struct ScannedFile {
  std::filesystem::path path;
  FileScan scan;
};

// Runs the command; returns 0 if every file is clean, 1 if one isn't, 2 for wrong usage.
int run_scan(const std::vector<std::string>& arguments, const ProgramContext& context);

// The documents of --json and --sarif (docs/scan.md).
std::string scan_json(const std::vector<ScannedFile>& files);
std::string scan_sarif(const std::vector<ScannedFile>& files);

// The worst of all verdicts.
Verdict worst_verdict(const std::vector<ScannedFile>& files);

}  // namespace taper
