// ONNX's operators that read images at places that other tensors hold: RoiAlign, DeformConv.
#include <algorithm>
#include <array>

#include "frontend/onnx_importer.h"
#include "frontend/onnx_windows.h"

namespace taper::onnx_reader {
namespace {

// The numbers 0, 1, ... as a row of a dtype.
Value* line(Call& call, std::int64_t length, DType dtype, double scale = 1, double shift = 0) {
  Array values{dtype, {length}, {}};
  for (std::int64_t i = 0; i < length; ++i) values.values.push_back(static_cast<double>(i) * scale + shift);
  return call.build.constant(to_tensor(values));
}

// Whether places [R, P] count, as the edge where they are outside by one step.
Value* places_inside(Call& call, Value* places, std::int64_t size) {
  const DType dtype = places->type.dtype;
  return call.build("logical_and", {call.build("greater_equal", {places, call.number(-1, dtype)}),
                                    call.build("less_equal", {places, call.number(static_cast<double>(size), dtype)})});
}

// The shares that the entries of an axis of known size have in places [R, P], by linear interpolation: [R, P, size].
// Places further outside read nothing.
Value* linear_shares(Call& call, Value* places, std::int64_t size) {
  if (call.failed()) return nullptr;
  const DType dtype = places->type.dtype;
  Value* inside = places_inside(call, places, size);
  Value* within = call.build("clamp", {places}, {{"min", 0.0}, {"max", static_cast<double>(size - 1)}});
  Value* distance = call.build("abs", {call.build("sub", {call.unsqueeze(within, {2}), line(call, size, dtype)})});
  Value* share = call.build("relu", {call.build("sub", {call.number(1, dtype), distance})});
  return call.build("mul", {share, call.unsqueeze(call.cast(inside, dtype), {2})});
}

// The same of the entry before each place and the one behind it by themselves: their sum is the share of both.
std::array<Value*, 2> neighbour_shares(Call& call, Value* places, std::int64_t size) {
  if (call.failed()) return {nullptr, nullptr};
  const DType dtype = places->type.dtype;
  const auto last = static_cast<double>(size - 1);
  Value* inside = call.cast(places_inside(call, places, size), dtype);
  Value* within = call.build("clamp", {places}, {{"min", 0.0}, {"max", last}});
  Value* before = call.build("floor", {within});
  Value* behind = call.build("clamp", {call.binary("add", before, 1.0)}, {{"min", 0.0}, {"max", last}});
  Value* part = call.build("sub", {within, before});
  Value* entries = line(call, size, dtype);
  const auto shares = [&](Value* entry, Value* share) {
    Value* there = call.cast(call.build("equal", {call.unsqueeze(entry, {2}), entries}), dtype);
    return call.build("mul", {there, call.unsqueeze(call.build("mul", {share, inside}), {2})});
  };
  return {shares(before, call.build("sub", {call.number(1, dtype), part})), shares(behind, part)};
}

// Places where a side of regions is sampled: start + (i + 1/2) * length / (cells * samples), for all i: [R, cells
// samples].
Value* sampled(Call& call, Value* start, Value* end, std::int64_t cells, std::int64_t samples, bool half_pixel) {
  if (call.failed()) return nullptr;
  const DType dtype = start->type.dtype;
  Value* length = call.build("sub", {end, start});
  if (!half_pixel) length = call.build("maximum", {length, call.number(1, dtype)});
  Value* step = call.binary("div", length, static_cast<double>(cells * samples));
  return call.build(
      "add", {start, call.build("mul", {step, call.unsqueeze(line(call, cells * samples, dtype, 1, 0.5), {0})})});
}

void read_roi_align(Call& call) {
  const std::string coordinates =
      call.text("coordinate_transformation_mode", call.version < 16 ? "output_half_pixel" : "half_pixel");
  const std::string mode = call.text("mode", "avg");
  const std::int64_t rows = call.integer("output_height", 1), columns = call.integer("output_width", 1);
  const std::int64_t samples = call.integer("sampling_ratio", 0);
  const double scale = call.real("spatial_scale", 1);
  const Shape shape = call.shape(0);
  Value* regions = call.x(1);
  if (call.failed()) return;
  if (mode != "avg" && mode != "max") return call.fail(fmt::format("mode '{}'", mode));
  constexpr std::int64_t kMost = 1024;
  if (samples < 1 || samples > kMost || rows < 1 || rows > kMost || columns < 1 || columns > kMost)
    return call.fail(
        fmt::format("{} x {} cells of {} samples; the number of samples has to be given", rows, columns, samples));
  const auto height = shape.size() == 4 ? shape[2].constant() : std::nullopt;
  const auto width = shape.size() == 4 ? shape[3].constant() : std::nullopt;
  if (!height || !width || *height < 1 || *width < 1)
    return call.fail(fmt::format("images of shape {}", shape_text(shape)));
  const bool half_pixel = coordinates == "half_pixel";
  const auto side = [&](std::int64_t index) {
    Value* place = call.binary("mul", call.slice(regions, 1, index, Dim(index + 1)), scale);
    return half_pixel ? call.binary("sub", place, 0.5) : place;
  };
  Value* across = sampled(call, side(0), side(2), columns, samples, half_pixel);
  Value* down = sampled(call, side(1), side(3), rows, samples, half_pixel);
  Value* images = call.build("gather", {call.x(0), call.x(2)}, {{"dim", std::int64_t{0}}});
  if (call.failed()) return;
  // [R, C, H, W] -> [R, C, rows samples, columns samples].
  const auto cut = [&](Value* row_shares, Value* column_shares) {
    Value* cut_rows = call.build("matmul", {call.unsqueeze(row_shares, {1}), images});
    return call.build("matmul", {cut_rows, call.unsqueeze(column_shares, {1})}, {{"transpose_b", true}});
  };
  Value* read = nullptr;
  if (mode == "avg") {
    read = cut(linear_shares(call, down, *height), linear_shares(call, across, *width));
  } else {
    // The largest share of a neighbour, not of their sum: so do ONNX's reference and its runtime.
    for (Value* row_shares : neighbour_shares(call, down, *height))
      for (Value* column_shares : neighbour_shares(call, across, *width)) {
        Value* share = cut(row_shares, column_shares);
        read = read == nullptr ? share : call.build("maximum", {read, share});
      }
  }
  if (call.failed()) return;
  // The samples of each cell are joined.
  const std::string_view join = mode == "avg" ? "mean" : "amax";
  const Dim count = images->type.shape[0] * images->type.shape[1];
  Value* joined = call.build(join, {call.reshape(read, Shape{count, rows, samples, columns * samples})},
                             {{"dims", std::vector<std::int64_t>{2}}});
  joined = call.build(join, {call.reshape(joined, Shape{count, rows, columns, samples})},
                      {{"dims", std::vector<std::int64_t>{3}}});
  call.set(0, call.reshape(joined, Shape{images->type.shape[0], images->type.shape[1], rows, columns}, call.name()));
}

// Each element of a kernel reads the image where its offset says, and is weighted by the mask.
void read_deform_conv(Call& call) {
  const Shape x = call.shape(0), weight = call.shape(1), offset = call.shape(2);
  const std::int64_t groups = call.integer("group", 1), parts = call.integer("offset_group", 1);
  if (call.failed()) return;
  std::vector<std::int64_t> kernel;
  for (std::size_t i = 2; i < weight.size(); ++i) kernel.push_back(weight[i].constant().value_or(0));
  const auto windows = windows_of(call, x, kernel);
  const auto image = constant_sizes(x), out = constant_sizes(offset), size = constant_sizes(weight);
  if (!windows || call.failed()) return;
  if (!image || !out || !size || image->size() != 4 || out->size() != 4 || size->size() != 4)
    return call.fail("images with two axes of known size are read");
  const std::int64_t points = (*size)[2] * (*size)[3], rows = (*out)[2], columns = (*out)[3], batch = (*image)[0];
  const std::int64_t channels = (*image)[1], outputs = (*size)[0];
  if (parts < 1 || groups < 1 || channels % parts != 0 || channels % groups != 0 || outputs % groups != 0 ||
      (*out)[1] != parts * points * 2 || (*image)[2] < 1 || (*image)[3] < 1 ||
      rows * columns > (1 << 24) / std::max<std::int64_t>(points, 1))
    return call.fail(fmt::format("offsets of shape {} for {} groups", shape_text(offset), parts));
  const DType dtype = call.dtype(0);
  // Where the elements of the kernel lie without offsets: [points, 2, rows, columns].
  Array places{dtype, {1, points, 2, rows, columns}, {}};
  for (std::int64_t point = 0; point < points; ++point)
    for (const std::int64_t axis : {0, 1})
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t column = 0; column < columns; ++column) {
          const auto a = static_cast<std::size_t>(axis);
          const std::int64_t step = axis == 0 ? point / (*size)[3] : point % (*size)[3];
          const std::int64_t start = (axis == 0 ? row : column) * windows->stride[a] - windows->padding[a];
          places.values.push_back(static_cast<double>(start + step * windows->dilation[a]));
        }
  Value* fixed = call.build.constant(to_tensor(places));
  std::vector<Value*> columns_of_parts;
  for (std::int64_t part = 0; part < parts; ++part) {
    Value* moved = call.slice(call.x(2), 1, part * points * 2, Dim((part + 1) * points * 2));
    moved = call.build("add", {call.reshape(moved, Shape{batch, points, 2, rows, columns}), fixed});
    // From pixels to -1 .. 1, x before y.
    const auto normal = [&](std::int64_t axis) {
      Value* place = call.build("select", {moved}, {{"dim", std::int64_t{2}}, {"index", axis}});
      const auto length = static_cast<double>((*image)[static_cast<std::size_t>(2 + axis)]);
      place = call.binary("add", call.binary("mul", place, 2 / length), 1 / length - 1);
      return call.unsqueeze(call.reshape(place, Shape{batch, points * rows, columns}), {3});
    };
    Value* grid = call.build("concat", {normal(1), normal(0)}, {{"dim", std::int64_t{3}}});
    Value* source = call.slice(call.x(0), 1, part * (channels / parts), Dim((part + 1) * (channels / parts)));
    Value* read = call.build(
        "grid_sample", {source, grid},
        {{"mode", std::string("bilinear")}, {"padding_mode", std::string("zeros")}, {"align_corners", false}});
    if (call.has(4)) {
      Value* mask = call.slice(call.x(4), 1, part * points, Dim((part + 1) * points));
      read = call.build("mul", {read, call.reshape(mask, Shape{batch, 1, points * rows, columns})});
    }
    columns_of_parts.push_back(read);
  }
  Value* all = columns_of_parts.size() == 1 ? columns_of_parts[0]
                                            : call.build("concat", columns_of_parts, {{"dim", std::int64_t{1}}});
  all = call.reshape(all, Shape{batch, groups, channels / groups * points, rows * columns});
  Value* kernels = call.reshape(call.x(1), Shape{1, groups, outputs / groups, channels / groups * points});
  Value* sums = call.reshape(call.build("matmul", {kernels, all}), Shape{batch, outputs, rows, columns});
  if (call.has(3)) sums = call.build("add", {sums, call.unsqueeze(call.x(3), {1, 2})});
  call.set(0, sums);
}

}  // namespace

std::vector<Row> sampling_rows() {
  return {
      {.op = "RoiAlign", .operands = 3, .since = 10, .read = read_roi_align},
      {.op = "DeformConv", .operands = 3, .since = 19, .read = read_deform_conv},
  };
}

}  // namespace taper::onnx_reader
