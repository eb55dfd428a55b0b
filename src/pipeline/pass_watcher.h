// What looks at the graph after each pass: dumps for people, and the search for a pass that changes results.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "passes/passes.h"
#include "pipeline/trials.h"

namespace taper {

// Watches the passes for one target. Its first problem is kept, as passes go on whatever an observer finds.
class PassWatcher {
 public:
  // `trial`: inputs with the results that each pass has to leave as they are; nothing to let results be.
  PassWatcher(const Graph& imported, Target target, const ConvertOptions& options, const std::string& stem,
              const Trial* trial);

  // For legalize; empty where nothing is to be watched. Valid while the watcher lives.
  PassObserver observer();
  // Errors: a dump that can't be written; "the pass 'fold_scales' for TFLite changes ...".
  Status status() const;

 private:
  void see(std::string_view pass, const Graph& graph);
  Status dump(std::string_view pass, const Graph& graph);
  Status check_results(std::string_view pass, const Graph& graph) const;

  Target target_;
  const std::optional<std::filesystem::path>& folder_;
  std::string stem_;
  const Trial* trial_;
  std::unique_ptr<Graph> before_;  // as the last pass left it, where there are dumps
  int number_ = 0;
  std::optional<Error> problem_;
};

}  // namespace taper
