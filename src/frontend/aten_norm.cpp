// Normalizations.
#include <algorithm>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// The mean and 1 / sqrt(var + eps) over axes, kept.
struct Statistics {
  Value* mean;
  Value* scale;
};
Statistics statistics(Builder& build, Value* x, const Integers& dims, double eps) {
  Value* mean = reduce(build, "mean", x, dims, true);
  Value* variance = reduce(build, "mean", build("squared_difference", {x, mean}), dims, true);
  return {mean, build("rsqrt", {build("add", {variance, number(build, eps, DType::f32)})})};
}

// Over the last axes as one: gamma and beta are of their shape.
Expected<Value*> layer_norm_of(Call& call, Value* x, const Shape& normalized, double eps) {
  Builder& build = call.build;
  Value* weight = call.tensor("weight");
  Value* bias = call.tensor("bias");
  const Shape& shape = x->type.shape;
  const std::size_t count = normalized.size();
  if (count == 0 || count > shape.size() ||
      !std::equal(normalized.begin(), normalized.end(), shape.end() - static_cast<std::ptrdiff_t>(count)))
    return fail("axes {} of {}", shape_text(normalized), shape_text(shape));
  if (count == 1) return build("layer_norm", {x, weight, bias}, {{"eps", eps}});
  Shape flat(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(count));
  const Dim width = element_count(normalized);
  flat.push_back(width);
  const auto vector = [&](Value* v) { return v != nullptr ? reshape(build, v, {width}) : nullptr; };
  Value* y = build("layer_norm", {reshape(build, x, flat), vector(weight), vector(bias)}, {{"eps", eps}});
  return reshape(build, y, shape);
}

Expected<Arg> layer_norm(Call& call) {
  TAPER_ASSIGN(Value * y, layer_norm_of(call, call.tensor("input"), call.sizes("normalized_shape"), call.real("eps")));
  return fresh(y);
}

Expected<Arg> native_layer_norm(Call& call) {
  Value* x = call.tensor("input");
  const Shape normalized = call.sizes("normalized_shape");
  TAPER_ASSIGN(Value * y, layer_norm_of(call, x, normalized, call.real("eps")));
  Integers dims = all_axes(x->type.shape.size());
  dims.erase(dims.begin(), dims.end() - static_cast<std::ptrdiff_t>(normalized.size()));
  const Statistics found = statistics(call.build, x, dims, call.real("eps"));
  return fresh_list({y, found.mean, found.scale});
}

Expected<Arg> rms_norm(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("input");
  Value* weight = call.tensor("weight");
  const Shape normalized = call.sizes("normalized_shape");
  constexpr double kFloat32 = 1.1920928955078125e-07;
  const double eps = call.real_or("eps", kFloat32);
  const Shape shape = x->type.shape;
  if (normalized.empty() || normalized.size() > shape.size())
    return fail("axes {} of {}", shape_text(normalized), shape_text(shape));
  if (normalized.size() == 1) return fresh(build("rms_norm", {x, weight}, {{"eps", eps}}));
  const Dim width = element_count(normalized);
  Shape flat(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(normalized.size()));
  flat.push_back(width);
  Value* gamma = weight != nullptr ? reshape(build, weight, {width}) : nullptr;
  return fresh(reshape(build, build("rms_norm", {reshape(build, x, flat), gamma}, {{"eps", eps}}), shape));
}

// With statistics of the batch itself, as training has it.
struct Normalized {
  Value* y;
  Statistics statistics = {nullptr, nullptr};  // null where those that the network carries are used
};
Normalized normalized_by_batch(Call& call, Value* x, double eps) {
  Builder& build = call.build;
  const std::size_t rank = x->type.shape.size();
  Integers dims = all_axes(rank);
  if (rank > 1) dims.erase(dims.begin() + 1);
  const Statistics found = statistics(build, x, dims, eps);
  Value* y = build("mul", {build("sub", {x, found.mean}), found.scale});
  if (call.given("weight")) y = build("mul", {y, per_channel(build, call.tensor("weight"), rank)});
  if (call.given("bias")) y = build("add", {y, per_channel(build, call.tensor("bias"), rank)});
  return {y, found};
}

Normalized batch_norm_of(Call& call, double eps) {
  Value* x = call.tensor("input");
  Value* mean = call.tensor("running_mean");
  Value* variance = call.tensor("running_var");
  if (call.flag("training") || mean == nullptr || variance == nullptr) return normalized_by_batch(call, x, eps);
  return {call.build("batch_norm", {x, call.tensor("weight"), call.tensor("bias"), mean, variance}, {{"eps", eps}})};
}

void warn_of_training(Call& call) {
  warn_once(
      call,
      "the program was recorded in training mode (call eval() before saving it): its batch normalization uses the "
      "batch's own statistics");
}

Expected<Arg> batch_norm(Call& call) {
  if (call.flag("training") && call.given("running_mean")) warn_of_training(call);
  return fresh(batch_norm_of(call, call.real("eps")).y);
}

// The statistics are results, too; nobody uses them but training.
Expected<Arg> native_batch_norm(Call& call) {
  if (call.flag("training") && call.given("running_mean")) warn_of_training(call);
  Builder& build = call.build;
  const Normalized normalized = batch_norm_of(call, call.real("eps"));
  Value* none = build.constant(tensor_f32({0}, {}));
  std::vector<Value*> results = {normalized.y, none, none};
  if (normalized.statistics.mean != nullptr) {
    TAPER_TRY(build.status());
    const Shape& shape = call.tensor("input")->type.shape;
    const Shape channels = {shape.size() > 1 ? shape[1] : element_count(shape)};
    results = {normalized.y, reshape(build, normalized.statistics.mean, channels),
               reshape(build, normalized.statistics.scale, channels)};
  }
  if (call.schema.name == "_batch_norm_no_update" || call.schema.name == "_batch_norm_impl_index")
    results.push_back(none);
  Arg list = fresh_list(results);
  return list;
}

Expected<Arg> group_norm(Call& call) {
  return fresh(call.build("group_norm", {call.tensor("input"), call.tensor("weight"), call.tensor("bias")},
                          {{"groups", call.integer("num_groups")}, {"eps", call.real("eps")}}));
}

Expected<Arg> native_group_norm(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("input");
  const std::int64_t groups = call.integer("group");
  Value* y = build("group_norm", {x, call.tensor("weight"), call.tensor("bias")},
                   {{"groups", groups}, {"eps", call.real("eps")}});
  TAPER_TRY(build.status());
  const Shape& shape = x->type.shape;
  const auto width = divide_exactly(element_count(shape), shape[0] * Dim(groups));
  if (!width) return fail("{} groups of {}", groups, shape_text(shape));
  const Statistics found = statistics(build, reshape(build, x, {shape[0], Dim(groups), *width}), {2}, call.real("eps"));
  const Shape flat = {shape[0], Dim(groups)};
  return fresh_list({y, reshape(build, found.mean, flat), reshape(build, found.scale, flat)});
}

// Each channel of each example is a group; with running statistics it is batch normalization.
Expected<Arg> instance_norm(Call& call) {
  Value* x = call.tensor("input");
  const auto channels = x->type.shape.size() > 1 ? x->type.shape[1].constant() : std::nullopt;
  if (!channels) return fail("the channels of {}", type_text(x->type));
  const double eps = call.real("eps");
  if (!call.flag("use_input_stats"))
    return fresh(call.build(
        "batch_norm",
        {x, call.tensor("weight"), call.tensor("bias"), call.tensor("running_mean"), call.tensor("running_var")},
        {{"eps", eps}}));
  return fresh(
      call.build("group_norm", {x, call.tensor("weight"), call.tensor("bias")}, {{"groups", *channels}, {"eps", eps}}));
}

// v g / |v|, where |v| is that of each slice along `dim`, or with -1 of the whole tensor.
Expected<Arg> weight_norm(Call& call) {
  Builder& build = call.build;
  Value* v = call.tensor("v");
  if (v == nullptr) return fail("no tensor");
  const std::int64_t rank = static_cast<std::int64_t>(v->type.shape.size());
  std::int64_t dim = call.integer("dim");
  if (dim < -rank || dim >= rank) return fail("axis {} of {}", dim, type_text(v->type));
  if (dim < -1) dim += rank;
  std::vector<std::int64_t> others;
  for (std::int64_t axis = 0; axis < rank; ++axis)
    if (axis != dim) others.push_back(axis);
  Value* squares = build("sum", {build("mul", {v, v})}, {{"dims", std::move(others)}, {"keepdim", true}});
  return fresh(build("mul", {v, build("div", {call.tensor("g"), build("sqrt", {squares})})}));
}

// Entries along an axis, shortened to `most` where their norm is larger.
Value* shortened(Builder& build, Value* x, double order, std::size_t axis, double most) {
  Integers others;
  for (std::size_t i = 0; i < shape_of(x).size(); ++i)
    if (i != axis) others.push_back(static_cast<std::int64_t>(i));
  Value* norm = others.empty() ? build("abs", {x}) : vector_norm(build, x, order, others, true);
  Value* limit = number(build, most, DType::f32);
  Value* factor = build("div", {limit, build("add", {norm, number(build, 1e-7, DType::f32)})});
  Value* longer = build("greater", {norm, limit});
  return build("mul", {x, build("where", {longer, factor, number(build, 1.0, DType::f32)})});
}

Expected<Arg> renorm(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape_of(x).size()));
  if (shape_of(x).size() < 2) return fail("{} has no entries of more than a number", type_text(x->type));
  return fresh(shortened(call.build, x, call.real("p"), axis, call.real("maxnorm")));
}

// The rows of a table that are looked up are shortened in it.
Expected<Arg> embedding_renorm(Call& call) {
  Builder& build = call.build;
  Value* table = call.tensor("self");
  Value* rows = call.tensor("indices");
  if (shape_of(table).size() != 2) return fail("a table {}, expected rows", type_text(table->type));
  rows = cast(build, reshape(build, rows, {element_count(shape_of(rows))}), DType::i64);
  TAPER_TRY(build.status());
  const Shape column = {shape_of(table)[0]};
  Value* none = full(build, column, Arg(0.0), DType::f32);
  Value* ones = full(build, shape_of(rows), Arg(1.0), DType::f32);
  Value* used =
      build("scatter_elements", {none, rows, ones}, {{"dim", std::int64_t{0}}, {"reduction", std::string("none")}});
  used = unsqueeze(build, build("greater", {used, number(build, 0.0, DType::f32)}), 1);
  Value* shorter = shortened(build, table, call.real("norm_type"), 0, call.real("max_norm"));
  return fresh(build("where", {used, shorter, table}));
}

Expected<Arg> local_response_norm(Call& call) {
  return fresh(call.build("local_response_norm", {call.tensor("self")},
                          {{"size", call.integer("size")},
                           {"alpha", call.real("alpha")},
                           {"beta", call.real("beta")},
                           {"k", call.real("k")}}));
}

}  // namespace

std::vector<Overload> norm_overloads() {
  return {
      {"layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, "
       "bool cudnn_enable=True) -> Tensor",
       layer_norm},
      {"native_layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, float eps) -> "
       "(Tensor, "
       "Tensor, Tensor)",
       native_layer_norm},
      {"rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor", rms_norm},
      {"_fused_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float? eps) -> (Tensor, Tensor)",
       [](Call& call) -> Expected<Arg> {
         TAPER_ASSIGN(Arg y, rms_norm(call));
         return Arg(Arg::List{y, y});
       }},
      {"batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool "
       "training, float momentum, float eps, bool cudnn_enabled) -> Tensor",
       batch_norm},
      {"native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool "
       "training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
       native_batch_norm},
      {"_native_batch_norm_legit(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean, Tensor running_var, "
       "bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
       native_batch_norm},
      {"_native_batch_norm_legit.no_stats(Tensor input, Tensor? weight, Tensor? bias, bool training, float momentum, "
       "float eps) -> (Tensor, Tensor, Tensor)",
       native_batch_norm},
      {"_native_batch_norm_legit_no_training(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean, Tensor "
       "running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
       native_batch_norm},
      {"_batch_norm_no_update(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
       "float momentum, float eps) -> (Tensor, Tensor, Tensor, Tensor)",
       native_batch_norm},
      {"cudnn_batch_norm(Tensor input, Tensor weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool "
       "training, float exponential_average_factor, float epsilon) -> (Tensor, Tensor, Tensor, Tensor)",
       [](Call& call) -> Expected<Arg> {
         Value* none = call.build.constant(tensor_f32({0}, {}));
         return fresh_list({batch_norm_of(call, call.real("epsilon")).y, none, none, none});
       }},
      {"group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool "
       "cudnn_enabled=True) -> Tensor",
       group_norm},
      {"native_group_norm(Tensor input, Tensor? weight, Tensor? bias, SymInt N, SymInt C, SymInt HxW, int group, float "
       "eps) -> (Tensor, Tensor, Tensor)",
       native_group_norm},
      {"instance_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool "
       "use_input_stats, float momentum, float eps, bool cudnn_enabled) -> Tensor",
       instance_norm},
      {"local_response_norm(Tensor self, int size, float alpha=0.0001, float beta=0.75, float k=1.0) -> Tensor",
       local_response_norm},
      {"renorm(Tensor self, Scalar p, int dim, Scalar maxnorm) -> Tensor", renorm},
      {"embedding_renorm(Tensor self, Tensor indices, float max_norm, float norm_type) -> Tensor", embedding_renorm},
      {"_weight_norm(Tensor v, Tensor g, int dim=0) -> Tensor", weight_norm},
  };
}

}  // namespace taper::aten
