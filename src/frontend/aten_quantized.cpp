// Operators of quantised programs: integers q on a grid stand for (q - zero point) * scale. Those that PyTorch's
// quantisation of exported programs (pt2e) writes, and the simulation of them that training uses.
#include <limits>
#include <span>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

struct Grid {
  Value *scale, *zero;                              // float32, broadcast to what lies on it
  Value* inverse;                                   // 1 / scale, which PyTorch multiplies by
  std::optional<std::vector<float>> scales, zeros;  // where they are numbers or the file's
};

// A number, or a tensor that is laid out in a shape, in float32.
Value* factor(Call& call, std::string_view name, const std::optional<Shape>& laid) {
  const Arg& given = call.arg(name);
  if (given.is_none()) return number(call.build, 0, DType::f32);
  if (given.as<TensorPtr>() == nullptr) return number(call.build, given, DType::f32);
  Value* x = cast(call.build, call.tensor(name), DType::f32);
  return laid && !shape_of(x).empty() ? reshape(call.build, x, *laid) : x;
}

// The elements of a number or of a tensor of the file's.
std::optional<std::vector<float>> known_factor(const Call& call, std::string_view name) {
  const Arg& given = call.arg(name);
  if (given.is_none()) return std::vector{0.0F};
  if (given.as<TensorPtr>() == nullptr) return std::vector{static_cast<float>(call.real(name))};
  const taper::Tensor* stored = constant_of(call.tensor(name));
  if (stored == nullptr) return std::nullopt;
  const std::vector<double> values = to_double(*stored);
  return std::vector<float>(values.begin(), values.end());
}

// PyTorch inverts numbers in float64.
Grid grid_of(Call& call, std::string_view scale, std::string_view zero, const std::optional<Shape>& laid) {
  Builder& build = call.build;
  Value* step = factor(call, scale, laid);
  const double* told = call.arg(scale).as<double>();
  Value* inverse =
      told != nullptr ? number(build, 1 / *told, DType::f32) : build("div", {number(build, 1, DType::f32), step});
  return {step, factor(call, zero, laid), inverse, known_factor(call, scale), known_factor(call, zero)};
}

// A grid for all of a tensor.
Grid grid_of_all(Call& call) {
  return grid_of(call, "scale", "zero_point", Shape{});
}

// A grid for each entry of an axis of x.
Expected<Grid> grid_of_axis(Call& call, const Value* x, std::string_view scale, std::string_view zero) {
  const Shape& shape = shape_of(x);
  TAPER_ASSIGN(const std::size_t axis, call.axis("axis", shape.size()));
  if (shape.empty()) return fail("an axis of a number");
  Shape along(shape.size(), Dim(1));
  along[axis] = shape[axis];
  return grid_of(call, scale, zero, along);
}

// A grid for each row of the last axis, as its scales are laid already.
Grid grid_of_rows(Call& call) {
  return grid_of(call, "scales", "zero_points", std::nullopt);
}

// A grid for each group of entries in the rows of a matrix, which is given as one row for each group.
Grid grid_of_groups(Call& call, const Value* groups) {
  return grid_of(call, "scales", "zero_points", Shape{shape_of(groups)[0], Dim(1)});
}

Value* within_range(Call& call, Value* steps) {
  Builder& build = call.build;
  if (call.arg("quant_min").as<TensorPtr>() == nullptr)
    return build("clamp", {steps},
                 {{"min", static_cast<double>(call.integer("quant_min"))},
                  {"max", static_cast<double>(call.integer("quant_max"))}});
  return build("minimum",
               {build("maximum", {steps, factor(call, "quant_min", Shape{})}), factor(call, "quant_max", Shape{})});
}

// clamp(round(x / scale) + zero point), whole numbers in float32
Value* steps_of(Call& call, Value* x, const Grid& grid) {
  Builder& build = call.build;
  return within_range(call, build("add", {build("round", {build("mul", {x, grid.inverse})}), grid.zero}));
}

// clamp(round(x / scale + zero point))
Value* joint_steps_of(Call& call, Value* x, const Grid& grid) {
  Builder& build = call.build;
  return within_range(call, build("round", {build("add", {build("mul", {x, grid.inverse}), grid.zero})}));
}

Value* real_of(Builder& build, Value* steps, const Grid& grid) {
  return build("mul", {build("sub", {cast(build, steps, DType::f32), grid.zero}), grid.scale});
}

// The real numbers of weights that a file stores as integers, computed here: folding would hold them in float64.
// `shape` is that in which the grid lies on them. Null where weights or grid are not the file's, or one row has several
// grids.
Value* stored_reals(Call& call, const Value* steps, const Shape& shape, const Grid& grid) {
  const taper::Tensor* stored = constant_of(steps);
  const auto sizes = constant_sizes(shape), laid = constant_sizes(shape_of(grid.scale));
  if (stored == nullptr || !sizes || !laid || !grid.scales || !grid.zeros) return nullptr;
  const std::size_t count = static_cast<std::size_t>(stored->element_count()), scales = grid.scales->size();
  std::size_t neighbours = count;  // that have one scale
  if (scales != 1) {
    if (laid->size() != sizes->size()) return nullptr;
    std::size_t axis = 0;
    while (axis < laid->size() && (*laid)[axis] == 1) ++axis;
    if (axis == laid->size() || (*laid)[axis] != (*sizes)[axis] || scales != static_cast<std::size_t>((*laid)[axis]))
      return nullptr;
    neighbours = 1;
    while (++axis < sizes->size()) neighbours *= static_cast<std::size_t>((*sizes)[axis]);
  }
  if (count == 0 || (grid.zeros->size() != 1 && grid.zeros->size() != scales)) return nullptr;
  std::vector<float> reals(count);
  convert_elements(*stored, DType::f32, std::as_writable_bytes(std::span(reals)));
  for (std::size_t run = 0; run < count / neighbours; ++run) {
    const float factor = (*grid.scales)[run % scales], start = (*grid.zeros)[run % grid.zeros->size()];
    for (float& real : std::span(reals).subspan(run * neighbours, neighbours)) real = (real - start) * factor;
  }
  return call.build.constant(tensor_f32(stored->shape, reals));
}

// The real numbers of all of them, at once where they can be.
Value* reals_of(Call& call, Value* steps, const Grid& grid) {
  Value* stored = stored_reals(call, steps, shape_of(steps), grid);
  return stored != nullptr ? stored : real_of(call.build, steps, grid);
}

Value* real_input(Call& call) {
  return cast(call.build, call.tensor("input"), DType::f32);
}

void tell_of_integers(Call& call) {
  warn_once(call,
            "the program is quantised: the files compute its steps in float32, with weights as real numbers "
            "(--quantize w8 writes integers again); for kernels of integers convert the program from before its "
            "quantisation with --quantize int8");
}

Arg as_integers(Call& call, Value* steps) {
  tell_of_integers(call);
  return fresh(cast(call.build, steps, call.dtype("dtype").value_or(DType::i8)));
}

Arg as_real(Call& call, Value* real, std::string_view dtype) {
  tell_of_integers(call);
  return fresh(cast(call.build, real, call.dtype(dtype).value_or(DType::f32)));
}

Expected<Arg> quantize(Call& call) {
  return as_integers(call, steps_of(call, real_input(call), grid_of_all(call)));
}

Expected<Arg> dequantize(Call& call) {
  return as_real(call, reals_of(call, call.tensor("input"), grid_of_all(call)), "out_dtype");
}

Expected<Arg> quantize_channels(Call& call) {
  Value* x = real_input(call);
  TAPER_ASSIGN(const Grid grid, grid_of_axis(call, x, "scales", "zero_points"));
  return as_integers(call, steps_of(call, x, grid));
}

Expected<Arg> dequantize_channels(Call& call) {
  Value* steps = call.tensor("input");
  TAPER_ASSIGN(const Grid grid, grid_of_axis(call, steps, "scales", "zero_points"));
  return as_real(call, reals_of(call, steps, grid), "out_dtype");
}

Expected<Arg> quantize_rows(Call& call) {
  return as_integers(call, joint_steps_of(call, real_input(call), grid_of_rows(call)));
}

Expected<Arg> dequantize_rows(Call& call) {
  return as_real(call, real_of(call.build, call.tensor("input"), grid_of_rows(call)), "output_dtype");
}

// The rows of a matrix as one row for each group.
Expected<Value*> groups_of(Call& call, Value* matrix) {
  const Shape& shape = shape_of(matrix);
  if (shape.size() != 2) return fail("groups of {}, expected a matrix", shape_text(shape));
  std::int64_t size = call.integer("group_size");
  const std::int64_t columns = shape[1].constant().value_or(0);
  const bool one_group =
      call.given("scales") && shape_of(call.tensor("scales")).size() == 2 && shape_of(call.tensor("scales"))[1].is(1);
  if (size > columns && one_group) size = columns;
  if (size < 1 || columns % size != 0) return fail("rows of {} in groups of {}", shape[1].text(), size);
  Value* groups = reshape(call.build, matrix, {shape[0] * Dim(columns / size), Dim(size)});
  TAPER_TRY(call.build.status());
  return groups;
}

Expected<Arg> quantize_groups(Call& call) {
  Value* x = real_input(call);
  TAPER_ASSIGN(Value * groups, groups_of(call, x));
  Value* steps = joint_steps_of(call, groups, grid_of_groups(call, groups));
  return as_integers(call, reshape(call.build, steps, shape_of(x)));
}

Expected<Arg> dequantize_groups(Call& call) {
  Value* steps = call.tensor("input");
  TAPER_ASSIGN(Value * groups, groups_of(call, steps));
  const Grid grid = grid_of_groups(call, groups);
  Value* real = stored_reals(call, steps, shape_of(groups), grid);
  if (real == nullptr) real = reshape(call.build, real_of(call.build, groups, grid), shape_of(steps));
  return as_real(call, real, "output_dtype");
}

// What dynamic quantisation takes as the bounds of x: 0 lies between them.
struct Bounds {
  Value *least, *most;
};

Bounds bounds_of(Call& call, Value* x, const Integers& dims, bool keepdim) {
  Builder& build = call.build;
  Value* zero = number(build, 0, DType::f32);
  return {build("minimum", {reduce(build, "amin", x, dims, keepdim), zero}),
          build("maximum", {reduce(build, "amax", x, dims, keepdim), zero})};
}

// The scale [1] and the zero point [1], int64, of a whole tensor.
template <bool symmetric>
Expected<Arg> choose_grid(Call& call) {
  Builder& build = call.build;
  Value* x = real_input(call);
  const Bounds bounds = bounds_of(call, x, all_axes(shape_of(x).size()), false);
  const auto least = static_cast<double>(call.integer("quant_min"));
  const auto most = static_cast<double>(call.integer("quant_max"));
  if (least >= most) return fail("a range from {} to {}", least, most);
  const auto real = [&](double value) { return number(build, value, DType::f32); };
  Value* width = symmetric ? build("maximum", {build("neg", {bounds.least}), bounds.most})
                           : build("sub", {bounds.most, bounds.least});
  Value* scale = build(
      "maximum", {build("div", {width, real(symmetric ? (most - least) / 2 : most - least)}), real(call.real("eps"))});
  Value* zero = real(call.dtype("dtype") == DType::u8 ? 128 : 0);
  if (!symmetric)
    zero = build("clamp", {build("sub", {real(least), build("round", {build("div", {bounds.least, scale})})})},
                 {{"min", least}, {"max", most}});
  return fresh_list({reshape(build, scale, {Dim(1)}), reshape(build, cast(build, zero, DType::i64), {Dim(1)})});
}

// The scale and zero point of each row, [..., 1], for int8.
Expected<Arg> choose_grid_of_rows(Call& call) {
  Builder& build = call.build;
  Value* x = real_input(call);
  if (shape_of(x).empty()) return fail("rows of a number");
  Value* largest = reduce(build, "amax", build("abs", {x}), {static_cast<std::int64_t>(shape_of(x).size()) - 1}, true);
  Value* scale =
      build("div", {build("maximum", {largest, number(build, 1e-5, DType::f32)}), number(build, 127, DType::f32)});
  return fresh_list({scale, full(build, shape_of(scale), Arg(Dim(0)), DType::i64)});
}

// The same with zero points, int64: of the two that map a bound exactly, the one with the smaller error.
Expected<Arg> choose_shifted_grid_of_rows(Call& call) {
  Builder& build = call.build;
  Value* x = real_input(call);
  if (shape_of(x).empty()) return fail("rows of a number");
  const Bounds bounds = bounds_of(call, x, {static_cast<std::int64_t>(shape_of(x).size()) - 1}, true);
  const auto real = [&](double value) { return number(build, value, DType::f32); };
  Value* scale = build("maximum", {build("div", {build("sub", {bounds.most, bounds.least}), real(255)}),
                                   real(std::numeric_limits<float>::epsilon())});
  Value* least = build("div", {bounds.least, scale});
  Value* most = build("div", {bounds.most, scale});
  Value* error = build("add", {build("add", {real(-128), least}), build("add", {real(127), most})});
  Value* zero = build("where", {build("greater", {error, real(0)}), build("sub", {real(-128), least}),
                                build("sub", {real(127), most})});
  zero = build("round", {build("clamp", {zero}, {{"min", -128.0}, {"max", 127.0}})});
  return fresh_list({scale, cast(build, zero, DType::i64)});
}

// x moved to the steps of a grid.
Expected<Arg> fake_quantize(Call& call) {
  Value* x = call.tensor("self");
  const Grid grid = grid_of_all(call);
  return fresh(real_of(call.build, steps_of(call, x, grid), grid));
}

Expected<Arg> fake_quantize_channels(Call& call) {
  const bool simulated = call.schema.parameters.front().name == "self";
  Value* x = call.tensor(simulated ? "self" : "input");
  TAPER_ASSIGN(const Grid grid, simulated ? grid_of_axis(call, x, "scale", "zero_point")
                                          : grid_of_axis(call, x, "scales", "zero_points"));
  return fresh(real_of(call.build, steps_of(call, x, grid), grid));
}

}  // namespace

std::vector<Overload> quantized_overloads() {
  return {
      {"fake_quantize_per_tensor_affine(Tensor self, float scale, int zero_point, int quant_min, int quant_max) -> "
       "Tensor",
       fake_quantize},
      {"fake_quantize_per_tensor_affine.tensor_qparams(Tensor self, Tensor scale, Tensor zero_point, int quant_min, "
       "int quant_max) -> Tensor",
       fake_quantize},
      {"fake_quantize_per_channel_affine(Tensor self, Tensor scale, Tensor zero_point, int axis, int quant_min, int "
       "quant_max) -> Tensor",
       fake_quantize_channels},
      {"quantized_decomposed::fake_quant_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis, int "
       "quant_min, int quant_max) -> Tensor",
       fake_quantize_channels},
      {"quantized_decomposed::quantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, int "
       "quant_max, ScalarType dtype) -> Tensor",
       quantize},
      {"quantized_decomposed::quantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int quant_min, "
       "int quant_max, ScalarType dtype) -> Tensor",
       quantize},
      {"quantized_decomposed::quantize_per_tensor.tensor2(Tensor input, Tensor scale, Tensor zero_point, Tensor "
       "quant_min, Tensor quant_max, ScalarType dtype) -> Tensor",
       quantize},
      {"quantized_decomposed::dequantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, int "
       "quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor",
       dequantize},
      {"quantized_decomposed::dequantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int "
       "quant_min, int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor",
       dequantize},
      {"quantized_decomposed::dequantize_per_tensor.tensor2(Tensor input, Tensor scale, Tensor zero_point, Tensor "
       "quant_min, Tensor quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor",
       dequantize},
      {"quantized_decomposed::quantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis, int "
       "quant_min, int quant_max, ScalarType dtype) -> Tensor",
       quantize_channels},
      {"quantized_decomposed::dequantize_per_channel(Tensor input, Tensor scales, Tensor? zero_points, int axis, int "
       "quant_min, int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor",
       dequantize_channels},
      {"quantized_decomposed::quantize_per_token(Tensor input, Tensor scales, Tensor zero_points, int quant_min, int "
       "quant_max, ScalarType dtype) -> Tensor",
       quantize_rows},
      {"quantized_decomposed::dequantize_per_token(Tensor input, Tensor scales, Tensor zero_points, int quant_min, int "
       "quant_max, ScalarType dtype, ScalarType output_dtype) -> Tensor",
       dequantize_rows},
      {"quantized_decomposed::quantize_per_channel_group(Tensor input, Tensor scales, Tensor zero_points, int "
       "quant_min, int quant_max, ScalarType dtype, int group_size) -> Tensor",
       quantize_groups},
      {"quantized_decomposed::dequantize_per_channel_group(Tensor input, Tensor scales, Tensor? zero_points, int "
       "quant_min, int quant_max, ScalarType dtype, int group_size, ScalarType output_dtype) -> Tensor",
       dequantize_groups},
      {"quantized_decomposed::choose_qparams.tensor(Tensor input, int quant_min, int quant_max, float eps, ScalarType "
       "dtype) -> (Tensor, Tensor)",
       choose_grid<false>},
      {"quantized_decomposed::choose_qparams_symmetric.tensor(Tensor input, int quant_min, int quant_max, float eps, "
       "ScalarType dtype) -> (Tensor, Tensor)",
       choose_grid<true>},
      {"quantized_decomposed::choose_qparams_per_token(Tensor input, ScalarType dtype) -> (Tensor, Tensor)",
       choose_grid_of_rows},
      {"quantized_decomposed::choose_qparams_per_token_asymmetric(Tensor input, ScalarType dtype) -> (Tensor, Tensor)",
       choose_shifted_grid_of_rows},
      {"quantized_decomposed::_choose_qparams_per_token_asymmetric_impl(Tensor input, ScalarType dtype) -> (Tensor, "
       "Tensor)",
       choose_shifted_grid_of_rows},
      {"quantized_decomposed::convert_element_type.no_fuse(Tensor input, ScalarType dtype) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         return fresh(cast(call.build, call.tensor("input"), call.dtype("dtype").value_or(DType::f32)));
       }},
  };
}

}  // namespace taper::aten
