// Files and folders that appear complete or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/weights.h"

namespace taper {

// Outputs on their way to their final names in one folder. They are written under temporary names beside those
// (".<name>.partial") and named together by publish(); what has not been published is removed in the end. Several
// threads may write at a time, each its own files and folders.
class PendingFiles {
 public:
  explicit PendingFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}
  PendingFiles(const PendingFiles&) = delete;
  PendingFiles& operator=(const PendingFiles&) = delete;
  ~PendingFiles();

  // Writes `name`, relative to the folder; `write` fills it. The first part of a name with several is a folder, which
  // is published as a whole. Returns the file's size. Errors: what the system or `write` says.
  Expected<std::uint64_t> write(const std::filesystem::path& name, const std::function<Status(const ByteSink&)>& write);

  // Gives everything its name. A file or folder of that name is replaced in one step and stays until then.
  Status publish();

 private:
  struct Entry {
    std::string name;
    bool is_folder;
    bool published;
  };
  std::filesystem::path temporary(const Entry& entry) const;
  std::filesystem::path final(const Entry& entry) const { return folder_ / entry.name; }
  // The temporary path of a file or folder, which is made if it is new.
  Expected<std::filesystem::path> begin(const std::string& name, bool is_folder);
  Status publish_folder(const Entry& entry);

  std::filesystem::path folder_;
  std::mutex mutex_;  // over entries_
  std::vector<Entry> entries_;
};

}  // namespace taper
