// ONNX's losses.
#include "frontend/aten_loss.h"
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

aten::Reduction reduction_of(Call& call) {
  const std::string name = call.text("reduction", "mean");
  if (name == "none") return aten::Reduction::none;
  if (name == "sum") return aten::Reduction::sum;
  if (name != "mean") call.fail(fmt::format("reduction '{}'", name));
  return aten::Reduction::mean;
}

std::optional<std::int64_t> ignored_index(Call& call) {
  if (!call.has_attribute("ignore_index")) return std::nullopt;
  return call.integer("ignore_index", 0);
}

void read_nll(Call& call) {
  const auto ignored = ignored_index(call);
  const aten::Reduction reduction = reduction_of(call);
  if (call.failed()) return;
  call.set(0, aten::negative_log_likelihood(call.build, call.x(0), call.x(1), call.optional(2), ignored, reduction));
}

void read_softmax_cross_entropy(Call& call) {
  const auto ignored = ignored_index(call);
  const aten::Reduction reduction = reduction_of(call);
  if (call.failed()) return;
  Value* logs = call.build("log_softmax", {call.x(0)}, {{"dim", std::int64_t{1}}});
  call.set(0, aten::negative_log_likelihood(call.build, logs, call.x(1), call.optional(2), ignored, reduction));
  call.set(1, logs);
}

}  // namespace

std::vector<Row> loss_rows() {
  return {
      {.op = "NegativeLogLikelihoodLoss", .operands = 2, .since = 12, .read = read_nll},
      {.op = "SoftmaxCrossEntropyLoss", .operands = 2, .since = 12, .read = read_softmax_cross_entropy},
  };
}

}  // namespace taper::onnx_reader
