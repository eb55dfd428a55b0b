// ONNX's normalizations.
#include <numeric>

#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

Integers all_but_channels(std::size_t rank) {
  Integers axes;
  for (std::size_t i = 0; i < rank; ++i)
    if (i != 1) axes.push_back(static_cast<std::int64_t>(i));
  return axes;
}

Value* mean(Call& call, Value* x, const Integers& dims) {
  return call.build("mean", {x}, {{"dims", dims}, {"keepdim", true}});
}

// [C] -> [C, 1, ..., 1], so that it lies along axis 1.
Value* along_channels(Call& call, Value* vector, std::size_t rank) {
  Integers ones(rank < 2 ? 0 : rank - 2);
  std::iota(ones.begin(), ones.end(), std::int64_t{1});
  return call.unsqueeze(vector, ones);
}

void read_batch_norm(Call& call) {
  const double eps = call.real("epsilon", 1e-5), momentum = call.real("momentum", 0.9);
  const bool training = call.flag("training_mode", false);
  const std::size_t rank = call.rank(0);
  const DType dtype = call.dtype(0);
  call.ignore({"spatial"});
  if (call.failed()) return;
  if (!training) {
    std::vector<Value*> operands;
    for (std::size_t i = 0; i < 5; ++i) operands.push_back(call.cast(call.x(i), dtype));
    return call.set(0, call.build("batch_norm", operands, {{"eps", eps}}, call.name()));
  }
  // The statistics of this batch, and the running ones moved towards them.
  const Integers dims = all_but_channels(rank);
  Value* x = call.x(0);
  Value* average = mean(call, x, dims);
  Value* centred = call.build("sub", {x, average});
  Value* variance = mean(call, call.build("mul", {centred, centred}), dims);
  Value* scale = call.build("rsqrt", {call.binary("add", variance, eps)});
  Value* weighted = call.build("mul", {call.build("mul", {centred, scale}), along_channels(call, call.x(1), rank)});
  call.set(0, call.build("add", {weighted, along_channels(call, call.x(2), rank)}, {}, call.name()));
  if (call.failed()) return;
  for (const std::size_t i : {1UL, 2UL}) {
    Value* batch = call.reshape(i == 1 ? average : variance, call.shape(2 + i));
    Value* moved =
        call.build("add", {call.binary("mul", call.x(2 + i), momentum), call.binary("mul", batch, 1 - momentum)});
    call.set(i, moved);
  }
}

void read_instance_norm(Call& call) {
  const double eps = call.real("epsilon", 1e-5);
  const Shape shape = call.shape(0);
  if (call.failed()) return;
  const auto channels = shape.size() < 2 ? std::nullopt : shape[1].constant();
  if (!channels) return call.fail("the number of channels is open");
  call.set(0, call.build("group_norm", {call.x(0), call.x(1), call.x(2)}, {{"groups", *channels}, {"eps", eps}},
                         call.name()));
}

// In opset 18 scale and bias are those of groups, from 21 on those of channels.
void read_group_norm(Call& call) {
  const double eps = call.real("epsilon", 1e-5);
  const std::int64_t groups = call.integer("num_groups", 0);
  call.ignore({"stash_type"});
  const Shape shape = call.shape(0);
  Value* weights[] = {call.x(1), call.x(2)};
  if (call.failed()) return;
  const auto channels = shape.size() < 2 ? std::nullopt : shape[1].constant();
  if (!channels || groups < 1 || *channels % groups != 0)
    return call.fail(fmt::format("{} groups of shape {}", groups, shape_text(shape)));
  for (Value*& weight : weights)
    if (call.version < 21 && groups != *channels)
      weight = call.reshape(
          call.build("expand", {call.unsqueeze(weight, {1})}, {{"shape", Shape{groups, *channels / groups}}}),
          Shape{*channels});
  call.set(0, call.build("group_norm", {call.x(0), weights[0], weights[1]}, {{"groups", groups}, {"eps", eps}},
                         call.name()));
}

// Over the axes from one on. They are joined to one for the row, which knows the last axis alone.
void read_layer_norm(Call& call) {
  const double eps = call.real("epsilon", 1e-5);
  const Shape shape = call.shape(0);
  const std::int64_t axis = call.axis(call.integer("axis", -1), shape.size());
  call.ignore({"stash_type"});
  Value* x = call.x(0);
  Value* scale = call.x(1);
  Value* bias = call.optional(2);
  if (call.failed()) return;
  const Shape outer(shape.begin(), shape.begin() + axis), inner(shape.begin() + axis, shape.end());
  const bool plain = scale->type.shape == inner && (bias == nullptr || bias->type.shape == inner);
  const bool moments = call.wants(1) || call.wants(2);
  const Dim joined = element_count(inner);
  if (plain && !moments) {
    Shape flat = outer;
    flat.push_back(joined);
    Value* normal = call.build("layer_norm",
                               {call.reshape(x, flat), call.reshape(scale, Shape{joined}),
                                bias == nullptr ? nullptr : call.reshape(bias, Shape{joined})},
                               {{"eps", eps}}, inner.size() == 1 ? call.name() : "");
    return call.set(0, call.reshape(normal, shape, call.name()));
  }
  Integers dims(inner.size());
  std::iota(dims.begin(), dims.end(), axis);
  Value* average = mean(call, x, dims);
  Value* centred = call.build("sub", {x, average});
  Value* deviation =
      call.build("rsqrt", {call.binary("add", mean(call, call.build("mul", {centred, centred}), dims), eps)});
  Value* normal = call.build("mul", {call.build("mul", {centred, deviation}), scale});
  if (bias != nullptr) normal = call.build("add", {normal, bias});
  call.set(0, normal);
  call.set(1, average);
  call.set(2, deviation);
}

void read_rms_norm(Call& call) {
  const double eps = call.real("epsilon", 1e-5);
  const Shape shape = call.shape(0);
  const std::int64_t axis = call.axis(call.integer("axis", -1), shape.size());
  call.ignore({"stash_type"});
  Value* x = call.x(0);
  Value* scale = call.x(1);
  if (call.failed()) return;
  const Shape outer(shape.begin(), shape.begin() + axis), inner(shape.begin() + axis, shape.end());
  if (scale->type.shape == inner) {
    Shape flat = outer;
    flat.push_back(element_count(inner));
    Value* normal = call.build("rms_norm", {call.reshape(x, flat), call.reshape(scale, Shape{element_count(inner)})},
                               {{"eps", eps}}, inner.size() == 1 ? call.name() : "");
    return call.set(0, call.reshape(normal, shape, call.name()));
  }
  Integers dims(inner.size());
  std::iota(dims.begin(), dims.end(), axis);
  Value* power = mean(call, call.build("mul", {x, x}), dims);
  Value* normal = call.build("mul", {x, call.build("rsqrt", {call.binary("add", power, eps)})});
  call.set(0, call.build("mul", {normal, scale}, {}, call.name()));
}

}  // namespace

std::vector<Row> norm_rows() {
  return {
      {.op = "BatchNormalization", .operands = 5, .since = 7, .read = read_batch_norm},
      {.op = "InstanceNormalization", .operands = 3, .since = 6, .read = read_instance_norm},
      {.op = "GroupNormalization", .operands = 3, .since = 18, .read = read_group_norm},
      {.op = "LayerNormalization",
       .operands = 2,
       .read = read_layer_norm},  // since 17; ONNX Runtime has it in all versions
      {.op = "RMSNormalization", .operands = 2, .since = 23, .read = read_rms_norm},
      {.op = "SimplifiedLayerNormalization", .operands = 2, .read = read_rms_norm},  // ONNX Runtime's
      {.op = "LRN",
       .read =
           [](Call& c) {
             c.set(0, c.build("local_response_norm", {c.x(0)},
                              {{"size", c.integer("size", 1)},
                               {"alpha", c.real("alpha", 0.0001)},
                               {"beta", c.real("beta", 0.75)},
                               {"k", c.real("bias", 1.0)}},
                              c.name()));
           }},
  };
}

}  // namespace taper::onnx_reader
