// ONNX's losses.
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

// -weight[target] * x[target] at each place, then summed, averaged by the weights, or as it is.
Value* negative_log_likelihood(Call& call, Value* x, Value* target, Value* weight, std::optional<std::int64_t> ignored,
                               const std::string& reduction) {
  if (call.failed()) return nullptr;
  const DType dtype = x->type.dtype;
  Value* index = call.cast(target, DType::i64);
  Value* skipped = nullptr;
  if (ignored) {
    skipped = call.build("equal", {index, call.number(static_cast<double>(*ignored), DType::i64)});
    index = call.build("where", {skipped, call.number(0, DType::i64), index});
  }
  Value* picked =
      call.squeeze(call.build("gather_elements", {x, call.unsqueeze(index, {1})}, {{"dim", std::int64_t{1}}}), {1});
  Value* loss = call.build("neg", {picked});
  Value* factor = weight == nullptr ? nullptr : call.build("gather", {weight, index}, {{"dim", std::int64_t{0}}});
  if (skipped != nullptr) {
    Value* zero = call.number(0, dtype);
    factor = call.build("where", {skipped, zero, factor == nullptr ? call.number(1, dtype) : factor});
    // What is skipped counts nothing, even where it is infinite.
    loss = call.build("where", {skipped, zero, loss});
  }
  if (factor != nullptr) loss = call.build("mul", {loss, factor});
  if (call.failed() || reduction == "none") return loss;
  std::vector<std::int64_t> dims;
  for (std::size_t i = 0; i < loss->type.shape.size(); ++i) dims.push_back(static_cast<std::int64_t>(i));
  const Attrs all = {{"dims", dims}};
  if (reduction == "sum") return call.build("sum", {loss}, all);
  if (reduction != "mean") call.fail(fmt::format("reduction '{}'", reduction));
  if (factor == nullptr) return call.build("mean", {loss}, all);
  if (factor->type.shape != loss->type.shape) factor = call.build("expand", {factor}, {{"shape", loss->type.shape}});
  return call.build("div", {call.build("sum", {loss}, all), call.build("sum", {factor}, all)});
}

std::optional<std::int64_t> ignored_index(Call& call) {
  if (!call.has_attribute("ignore_index")) return std::nullopt;
  return call.integer("ignore_index", 0);
}

void read_nll(Call& call) {
  const auto ignored = ignored_index(call);
  const std::string reduction = call.text("reduction", "mean");
  call.set(0, negative_log_likelihood(call, call.x(0), call.x(1), call.x(2), ignored, reduction));
}

void read_softmax_cross_entropy(Call& call) {
  const auto ignored = ignored_index(call);
  const std::string reduction = call.text("reduction", "mean");
  Value* logs = call.build("log_softmax", {call.x(0)}, {{"dim", std::int64_t{1}}});
  call.set(0, negative_log_likelihood(call, logs, call.x(1), call.x(2), ignored, reduction));
  call.set(1, logs);
}

}  // namespace

std::vector<Row> loss_rows() {
  return {
      {.op = "NegativeLogLikelihoodLoss", .since = 12, .read = read_nll},
      {.op = "SoftmaxCrossEntropyLoss", .since = 12, .read = read_softmax_cross_entropy},
  };
}

}  // namespace taper::onnx_reader
