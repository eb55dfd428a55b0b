#include "pipeline/pass_watcher.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "passes/rewrite.h"
#include "report/text.h"
#include "verify/compare.h"

namespace taper {
namespace {

// Constants that passes compute are rounded to float32 once; anything beyond that is another network.
constexpr double kRounding = 1e-5;

}  // namespace

PassWatcher::PassWatcher(const Graph& imported, Target target, const ConvertOptions& options, const std::string& stem,
                         const Trial* trial)
    : target_(target), folder_(options.dump_ir), stem_(stem), trial_(trial) {
  if (!folder_) return;
  before_ = copy(imported);
  if (Status written = dump("imported", imported); !written) problem_ = std::move(written).error();
}

PassObserver PassWatcher::observer() {
  if (!folder_ && trial_ == nullptr) return {};
  return [this](std::string_view pass, const Graph& graph) { see(pass, graph); };
}

Status PassWatcher::status() const {
  if (problem_) return std::unexpected(*problem_);
  return {};
}

void PassWatcher::see(std::string_view pass, const Graph& graph) {
  if (problem_) return;
  Status status;
  if (folder_) {
    ++number_;
    if (!same_graph(*before_, graph)) {
      status = dump(pass, graph);
      before_ = copy(graph);
    }
  }
  if (status && trial_ != nullptr) status = check_results(pass, graph);
  if (!status) problem_ = std::move(status).error();
}

Status PassWatcher::dump(std::string_view pass, const Graph& graph) {
  std::error_code error;
  std::filesystem::create_directories(*folder_, error);
  constexpr const char* kHint = "name a folder that can be written to: --dump-ir DIR";
  if (error)
    return fail_with_hint(
        fmt::format("cannot write graphs to the folder '{}': {}", path_text(*folder_), error.message()), kHint);
  const std::filesystem::path path =
      *folder_ / fmt::format("{}.{}.{:02}_{}.ir", stem_, target_name(target_), number_, pass);
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  file << print(graph);
  file.close();
  if (!file)
    return fail_with_hint(fmt::format("cannot write the graph to '{}': {}", path_text(path),
                                      std::strerror(errno)),  // NOLINT(concurrency-mt-unsafe)
                          kHint);
  return {};
}

Status PassWatcher::check_results(std::string_view pass, const Graph& graph) const {
  const std::string place = fmt::format("after pass '{}' for {}", pass, target_name(target_));
  TAPER_ASSIGN_WITHIN(const std::vector<Array> results, evaluate(graph, trial_->inputs), place);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Array& expected = trial_->reference[i];
    const std::string& name = graph.outputs()[i].name;
    if (results[i].shape != expected.shape)
      return fail("the pass '{}' for {} changes the shape of the output '{}' from {} to {}", pass, target_name(target_),
                  printable(name), shape_text(std::span(expected.shape)), shape_text(std::span(results[i].shape)));
    Comparer comparer;
    TAPER_TRY(comparer.add(expected.values, results[i].values, expected.shape.empty() ? 1 : expected.shape.back()));
    if (const Comparison found = comparer.result(); !(found.relative_error <= kRounding))
      return fail("the pass '{}' for {} changes the output '{}': relative error {:.1e}, expected at most {:.0e}", pass,
                  target_name(target_), printable(name), found.relative_error, kRounding);
  }
  return {};
}

}  // namespace taper
