#include "pipeline/fitting_sizes.h"

#include <algorithm>
#include <chrono>

#include "frontend/input_names.h"
#include "passes/passes.h"

namespace taper {
namespace {

// Null stands for an operand that is left out.
bool is_empty(const Value* value) {
  return value != nullptr && std::ranges::any_of(value->type.shape, [](const Dim& size) { return size.is(0); });
}

// Whether a node makes nothing of something, as a window does that is longer than what it slides over.
bool leaves_nothing(const Node& node) {
  return !node.operands.empty() && std::ranges::none_of(node.operands, is_empty) &&
         std::ranges::any_of(node.results, is_empty);
}

// By the shape rules alone, which cost no arithmetic.
bool runs_at(const Graph& graph, const Bindings& sizes) {
  const Expected<Graph> frozen = freeze_symbols(graph, sizes);
  return frozen && std::ranges::none_of(frozen->nodes(), leaves_nothing);
}

}  // namespace

bool counts_samples(const Graph& graph, const std::string& symbol) {
  return std::ranges::all_of(graph.inputs(), [&](const Value* input) {
    const Shape& shape = input->type.shape;
    for (std::size_t axis = 1; axis < shape.size(); ++axis)
      if (std::ranges::count(symbols_of(shape[axis]), symbol) > 0) return false;
    return true;
  });
}

void fit_usual_sizes(const Graph& graph, Symbols& symbols) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kLargest = 16384;
  constexpr std::chrono::seconds kPatience{5};
  const auto start = Clock::now();
  Symbols grown = symbols;
  std::erase_if(grown, [&](const auto& entry) {
    const auto& [name, range] = entry;
    const bool untold = range.usual == std::max<std::int64_t>(range.least, 1) && range.usual < range.most;
    return !untold || counts_samples(graph, name);
  });
  Bindings sizes = usual_sizes(symbols);
  if (grown.empty() || runs_at(graph, sizes)) return;
  for (std::int64_t size = 2; size <= kLargest && Clock::now() - start < kPatience; size *= 2) {
    for (const auto& [name, range] : grown) sizes[name] = std::clamp(size, range.usual, range.most);
    if (!runs_at(graph, sizes)) continue;
    for (const auto& [name, range] : grown) symbols.at(name).usual = sizes.at(name);
    return;
  }
}

Error wanting_sizes(Error error, const Model& model) {
  const auto& inputs = model.impl().graph.inputs();
  if (model.impl().symbols.empty() || model.info().kind == SourceKind::family || inputs.empty()) return error;
  return hinted(std::move(error), fmt::format("the network does not run at the sizes that were tried ({}): give others "
                                              "as numbers, {}",
                                              sizes_text(usual_sizes(model.impl().symbols)),
                                              shape_flag(inputs[0]->name, inputs[0]->type.shape)));
}

std::string sizes_text(const Bindings& sizes) {
  std::string text;
  for (const auto& [name, size] : sizes) text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", name, size);
  return text;
}

}  // namespace taper
