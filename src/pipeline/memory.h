// How much memory a job will need, and how models share what there is.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>

#include "taper/taper.h"

namespace taper {

// The most bytes that the process will hold at a time, mapped pages of the checkpoint included, while it converts and,
// if asked to, verifies this model alone. An upper estimate from the sizes of the weights and, for verification, of the
// largest operator at the shape of verification; 1.2 to 3 times what is measured.
std::uint64_t estimate_memory(const Model& model, const ExportRequest& request);

// The most memory in bytes that the process held so far.
std::uint64_t peak_memory();

// Bytes that the system could give to programs without writing others' to disk, within the limit of the cgroup; nothing
// where it doesn't tell.
std::optional<std::uint64_t> available_memory();

// A share of memory for each of the models that are exported side by side.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::uint64_t bytes) : free_(bytes), total_(bytes) {}

  // Held while a model takes its share.
  class Share {
   public:
    Share(MemoryBudget& budget, std::uint64_t bytes) : budget_(budget), bytes_(bytes) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { budget_.give_back(bytes_); }

   private:
    MemoryBudget& budget_;
    std::uint64_t bytes_;
  };

  // Waits until the share is free. One that is larger than all there is gets everything, when nobody else has any.
  [[nodiscard]] Share take(std::uint64_t bytes);

 private:
  void give_back(std::uint64_t bytes);

  std::mutex mutex_;
  std::condition_variable given_back_;
  std::uint64_t free_;
  std::uint64_t total_;
};

}  // namespace taper
