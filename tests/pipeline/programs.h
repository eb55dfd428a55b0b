// Programs made by hand, as the frontends would give them.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "ir/text.h"
#include "pipeline/model.h"

namespace taper::testing_support {

// A model of the graph that `text` says, with symbols of these ranges.
inline Model program(const std::string& text, Symbols symbols = {}) {
  auto impl = std::make_shared<Model::Impl>();
  auto graph = parse(text);
  if (!graph) throw std::runtime_error(graph.error().text());
  impl->graph = std::move(*graph);
  impl->symbols = std::move(symbols);
  impl->info.kind = SourceKind::exported_program;
  impl->info.input_shape = {1};
  for (const Output& output : impl->graph.outputs()) impl->info.outputs.push_back(output.name);
  return Model(std::move(impl));
}

}  // namespace taper::testing_support
