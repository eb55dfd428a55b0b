// Pools.
#include <algorithm>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// The tensor with an axis for the batch, which pools may be called without.
struct Batched {
  Value* x;
  bool added;
};
Batched with_batch(Builder& build, Value* x, std::size_t axes) {
  const bool added = shape_of(x).size() == axes + 1;
  return {added ? unsqueeze(build, x, 0) : x, added};
}
Value* without_batch(Builder& build, const Batched& batched, Value* y) {
  return batched.added ? squeeze(build, y, 0) : y;
}

Expected<Integers> per_axis(Integers values, std::size_t axes) {
  if (values.size() == 1) values.resize(axes, values[0]);
  if (values.size() != axes) return fail("{} entries for {} axes", values.size(), axes);
  return values;
}

Expected<Attrs> pool_attrs(Call& call, std::size_t axes) {
  TAPER_ASSIGN(const Integers kernel, per_axis(call.integers("kernel_size"), axes));
  const Integers given = call.integers("stride");
  TAPER_ASSIGN(const Integers stride, per_axis(given.empty() ? kernel : given, axes));
  TAPER_ASSIGN(Integers padding, per_axis(call.integers("padding"), axes));
  padding.insert(padding.end(), padding.begin(), padding.begin() + static_cast<std::ptrdiff_t>(axes));
  return Attrs{{"kernel", kernel}, {"stride", stride}, {"padding", padding}, {"ceil_mode", call.flag("ceil_mode")}};
}

Expected<Arg> max_pool(Call& call, std::size_t axes, bool with_indices) {
  Builder& build = call.build;
  TAPER_ASSIGN(Attrs attrs, pool_attrs(call, axes));
  TAPER_ASSIGN(const Integers dilation, per_axis(call.integers("dilation"), axes));
  attrs.set("dilation", dilation);
  const Batched input = with_batch(build, call.tensor("self"), axes);
  if (!with_indices) return fresh(without_batch(build, input, build("max_pool", {input.x}, std::move(attrs))));
  // Positions that nobody asks for are not computed.
  Value* values = build("max_pool", {input.x}, attrs);
  const auto results = build.call("max_pool_with_indices", {input.x}, std::move(attrs));
  return fresh_list({without_batch(build, input, values), without_batch(build, input, results[1])});
}

Expected<Arg> avg_pool(Call& call, std::size_t axes) {
  Builder& build = call.build;
  TAPER_ASSIGN(Attrs attrs, pool_attrs(call, axes));
  attrs.set("count_include_pad", call.flag("count_include_pad"));
  attrs.set("divisor", call.integer_or("divisor_override", 0));
  const Batched input = with_batch(build, call.tensor("self"), axes);
  return fresh(without_batch(build, input, build("avg_pool", {input.x}, std::move(attrs))));
}

Expected<Value*> adaptive(Call& call, std::string_view row, const Batched& input, std::size_t axes) {
  const Shape& shape = shape_of(input.x);
  if (shape.size() != axes + 2) return fail("{} for {} spatial axes", shape_text(shape), axes);
  TAPER_ASSIGN(const Integers sizes, per_axis(call.integers("output_size"), axes));
  return call.build(row, {input.x}, {{"sizes", sizes}});
}

Expected<Arg> adaptive_avg_pool(Call& call, std::size_t axes) {
  const Batched input = with_batch(call.build, call.tensor("self"), axes);
  TAPER_ASSIGN(Value * y, adaptive(call, "adaptive_avg_pool", input, axes));
  return fresh(without_batch(call.build, input, y));
}

// With the positions of the largest, where bins are windows of one size.
Expected<Arg> adaptive_max_pool(Call& call, std::size_t axes) {
  Builder& build = call.build;
  const Batched input = with_batch(build, call.tensor("self"), axes);
  TAPER_ASSIGN(Value * y, adaptive(call, "adaptive_max_pool", input, axes));
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const Integers sizes, per_axis(call.integers("output_size"), axes));
  Integers kernel;
  for (std::size_t i = 0; i < axes; ++i) {
    const auto size = shape_of(input.x)[i + 2].constant();
    if (size && sizes[i] > 0 && *size % sizes[i] == 0) kernel.push_back(*size / sizes[i]);
  }
  // Else nobody can have the positions, which hardly anybody asks for.
  if (kernel.size() != axes) return Arg(Arg::List{fresh(without_batch(build, input, y)), Arg{}});
  const auto results = build.call("max_pool_with_indices", {input.x},
                                  {{"kernel", kernel},
                                   {"stride", kernel},
                                   {"padding", Integers(2 * axes, 0)},
                                   {"dilation", Integers(axes, 1)},
                                   {"ceil_mode", false}});
  return fresh_list({without_batch(build, input, y), without_batch(build, input, results[1])});
}

}  // namespace

#define TAPER_POOL(size)                                                                                     \
  "(Tensor self, int[" #size "] kernel_size, int[" #size "] stride=[], int[" #size "] padding=0, int[" #size \
  "] dilation=1, bool ceil_mode=False) -> "
#define TAPER_AVERAGE(size) \
  "(Tensor self, int[" #size "] kernel_size, int[" #size "] stride=[], int[" #size "] padding=0, bool "

std::vector<Overload> pool_overloads() {
  return {
      {"max_pool1d" TAPER_POOL(1) "Tensor", [](Call& call) { return max_pool(call, 1, false); }},
      {"max_pool2d" TAPER_POOL(2) "Tensor", [](Call& call) { return max_pool(call, 2, false); }},
      {"max_pool3d" TAPER_POOL(3) "Tensor", [](Call& call) { return max_pool(call, 3, false); }},
      {"max_pool1d_with_indices" TAPER_POOL(1) "(Tensor, Tensor)", [](Call& call) { return max_pool(call, 1, true); }},
      {"max_pool2d_with_indices" TAPER_POOL(2) "(Tensor, Tensor)", [](Call& call) { return max_pool(call, 2, true); }},
      {"max_pool3d_with_indices" TAPER_POOL(3) "(Tensor, Tensor)", [](Call& call) { return max_pool(call, 3, true); }},
      {"avg_pool1d" TAPER_AVERAGE(1) "ceil_mode=False, bool count_include_pad=True) -> Tensor",
       [](Call& call) { return avg_pool(call, 1); }},
      {"avg_pool2d" TAPER_AVERAGE(2) "ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> "
                                     "Tensor",
       [](Call& call) { return avg_pool(call, 2); }},
      {"avg_pool3d" TAPER_AVERAGE(3) "ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> "
                                     "Tensor",
       [](Call& call) { return avg_pool(call, 3); }},
      {"adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 1); }},
      {"adaptive_avg_pool2d(Tensor self, int[2] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 2); }},
      {"adaptive_avg_pool3d(Tensor self, int[3] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 3); }},
      {"_adaptive_avg_pool2d(Tensor self, int[2] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 2); }},
      {"_adaptive_avg_pool3d(Tensor self, int[3] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 3); }},
      {"adaptive_max_pool1d(Tensor self, int[1] output_size) -> (Tensor, Tensor)",
       [](Call& call) { return adaptive_max_pool(call, 1); }},
      {"adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)",
       [](Call& call) { return adaptive_max_pool(call, 2); }},
      {"adaptive_max_pool3d(Tensor self, int[3] output_size) -> (Tensor, Tensor)",
       [](Call& call) { return adaptive_max_pool(call, 3); }},
  };
}

}  // namespace taper::aten
