#include "passes/quantize.h"

#include "ops/table.h"
#include "passes/quantize_build.h"

namespace taper {

Expected<Graph> quantize(const Graph& graph, const QuantizeRequest& request, QuantizationPlan* plan) {
  QuantizationPlan unused;
  QuantizationPlan& told = plan != nullptr ? *plan : unused;
  const Modes modes(graph, request);
  GridClasses grids(graph, request, modes);
  WeightStore weights(request, told);
  TAPER_ASSIGN(Graph result, QuantizedBuild({request, modes, grids, weights, told}).run(graph, nullptr));
  TAPER_TRY(check(result));
  return result;
}

}  // namespace taper
