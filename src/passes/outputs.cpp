// What comes out as it went in.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {

Expected<Graph> copy_passed_inputs(const Graph& graph) {
  Graph result;
  result.name = graph.name;
  Builder build(result);
  Cloner cloner(build);
  for (const Value* input : graph.inputs()) cloner.bind(input, result.add_input(input->name, input->type));
  const std::vector<Value*> outputs = cloner.inline_nodes(graph);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Value* value = outputs[i];
    if (value != nullptr && value->producer == nullptr) {
      const Shape& shape = value->type.shape;
      value = shape.empty() ? build("reshape", {value}, {{"shape", shape}})
                            : build("concat", {value}, {{"dim", std::int64_t{0}}});
    }
    result.add_output(graph.outputs()[i].name, value);
  }
  TAPER_TRY(build.status());
  return result;
}

}  // namespace taper
