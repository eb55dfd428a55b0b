// Files and folders that appear complete or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "formats/weights.h"
#include "pipeline/staging.h"

namespace taper {

// Outputs on their way to their final names in one folder. They are written to a staging folder in it, synced to the
// disk, and named together by publish(); what has not been published is removed in the end. Several threads may write
// at a time, each its own files and folders.
class PendingFiles {
 public:
  // `folder` exists. Errors: it can't be written to.
  static Expected<PendingFiles> in(const std::filesystem::path& folder);

  // Writes `name`, relative to the folder; `write` fills it. The first part of a name with several is a folder, which
  // is published as a whole. Returns the file's size. Errors: what the system or `write` says.
  Expected<std::uint64_t> write(const std::filesystem::path& name, const std::function<Status(const ByteSink&)>& write);

  // A file in the folder, of any run, that publish() removes in the same step, as what it tells is no longer so.
  void withdraw(const std::string& name);

  // Gives everything its name. A file or folder of that name is replaced in one step and stays until then. If one can't
  // be named, those that were named before it are taken back.
  Status publish();

 private:
  // A file that was written and is not yet known to be on the disk.
  struct Unsynced {
    std::filesystem::path name;
    std::shared_ptr<const int> descriptor;
  };
  struct Entry {
    std::string name;
    bool is_folder = false;
    bool replaced = false;  // while publishing: what bore the name before is in the staging folder now
  };
  PendingFiles(std::filesystem::path folder, std::unique_ptr<StagingFolder> staging)
      : folder_(std::move(folder)), staging_(std::move(staging)) {}
  std::filesystem::path staged(const Entry& entry) const { return staging_->path() / entry.name; }
  std::filesystem::path final(const Entry& entry) const { return folder_ / entry.name; }
  Status add(const std::string& name, bool is_folder);
  Status sync() const;
  Status give_name(Entry& entry) const;
  void take_back(const Entry& entry) const;

  std::filesystem::path folder_;
  std::unique_ptr<StagingFolder> staging_;
  std::vector<Entry> entries_;      // under staging_lock
  std::vector<Unsynced> unsynced_;  // likewise
  std::vector<std::string> withdrawn_;
};

}  // namespace taper
