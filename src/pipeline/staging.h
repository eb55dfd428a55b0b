// Hidden folders in which outputs are made, beside where they will be named.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>

#include "base/error.h"

namespace taper {

// A folder ".taper-partial-XXXXXX" in an output folder, on the same file system as the names that its content will get.
// It is locked (flock) while it lives and removed in the end with all that is in it. What a killed run left has no lock
// and is removed by the next run into the same output folder.
class StagingFolder {
 public:
  // Makes one, and removes those whose runs are dead. Errors: what the system says.
  static Expected<std::unique_ptr<StagingFolder>> make(const std::filesystem::path& output_folder);
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;
  ~StagingFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  StagingFolder(std::filesystem::path path, int descriptor);
  std::filesystem::path path_;
  int descriptor_;  // holds the lock
};

// Held while files are created in a staging folder and while outputs get their names: see abandon_staging.
[[nodiscard]] std::unique_lock<std::mutex> staging_lock();

// For a program that is about to end, from any thread: waits for names that are being given, then removes all staging
// folders of the process. Nothing can be staged or named after it: whoever tries waits until the program ends.
void abandon_staging();

}  // namespace taper
