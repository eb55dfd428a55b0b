// Operators of torchvision, which programs call beside PyTorch's own.
#include <limits>

#include "frontend/aten_counts.h"

namespace taper::aten {
namespace {

// The boxes with the best scores, of which none overlaps a better one by more than a threshold.
Expected<Arg> nms(Call& call) {
  Builder& build = call.build;
  Value *boxes = call.tensor("dets"), *scores = call.tensor("scores");
  const Shape shape = shape_of(boxes);
  if (shape.size() != 2 || shape_of(scores).size() != 1)
    return fail("boxes {} and scores {}", type_text(boxes->type), type_text(scores->type));
  Value* most = reshape(build, size_vector(build, {shape[0]}), {});
  const auto threshold = [&](double value) { return number(build, value, DType::f32); };
  const Dim count = fresh_count(call.context, shape[0]);
  Value* rows = build("non_max_suppression",
                      {unsqueeze(build, cast(build, boxes, DType::f32), 0),
                       reshape(build, cast(build, scores, DType::f32), {1, 1, shape[0]}), most,
                       threshold(call.real("iou_threshold")), threshold(-std::numeric_limits<double>::infinity())},
                      {{"count", Shape{count}}});
  return fresh(build("select", {rows}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{2}}}));
}

}  // namespace

std::vector<Overload> vision_overloads() {
  return {
      {"torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", nms},
  };
}

}  // namespace taper::aten
