// Inputs and outputs of images with their channels last.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {

bool holds_image(const Type& type) {
  return type.shape.size() == 4 || type.shape.size() == 5;
}

std::vector<std::int64_t> channels_last_order(std::size_t rank) {
  std::vector<std::int64_t> order(rank, 0);
  for (std::size_t axis = 1; axis + 1 < rank; ++axis) order[axis] = static_cast<std::int64_t>(axis) + 1;
  order.back() = 1;
  return order;
}

std::vector<std::int64_t> channels_first_order(std::size_t rank) {
  std::vector<std::int64_t> order(rank, 0);
  order[1] = static_cast<std::int64_t>(rank) - 1;
  for (std::size_t axis = 2; axis < rank; ++axis) order[axis] = static_cast<std::int64_t>(axis) - 1;
  return order;
}

Expected<Graph> put_channels_last(const Graph& graph) {
  Graph result;
  result.name = graph.name;
  Builder build(result);
  Cloner cloner(build);
  for (const Value* input : graph.inputs()) {
    const std::size_t rank = input->type.shape.size();
    if (!holds_image(input->type)) {
      cloner.bind(input, result.add_input(input->name, input->type));
      continue;
    }
    Type type = input->type;
    for (std::size_t axis = 0; axis < rank; ++axis)
      type.shape[axis] = input->type.shape[static_cast<std::size_t>(channels_last_order(rank)[axis])];
    Value* last = result.add_input(input->name, std::move(type));
    cloner.bind(input, build("permute", {last}, {{"dims", channels_first_order(rank)}}));
  }
  const std::vector<Value*> outputs = cloner.inline_nodes(graph);
  TAPER_TRY(build.status());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Value* output = outputs[i];
    if (holds_image(output->type))
      output = build("permute", {output}, {{"dims", channels_last_order(output->type.shape.size())}});
    result.add_output(graph.outputs()[i].name, output);
  }
  TAPER_TRY(build.status());
  return result;
}

}  // namespace taper
