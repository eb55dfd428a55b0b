// ONNX's operators on signals, in reals: windows, Fourier transforms as products with known matrices.
#include <cmath>
#include <numbers>
#include <numeric>

#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

constexpr std::int64_t kMostEntries = 1 << 22;  // of a matrix or window that is made here

std::optional<std::int64_t> number_of(Call& call, std::size_t i, std::int64_t least) {
  const Integers values = call.integers_of(i);
  if (call.failed()) return std::nullopt;
  if (values.size() != 1 || values[0] < least || values[0] > kMostEntries) {
    call.fail(fmt::format("input {} is no number of at least {}", i, least));
    return std::nullopt;
  }
  return values[0];
}

// a - b cos(2 pi n / N) + c cos(4 pi n / N)
void window(Call& call, double a, double b, double c) {
  const auto dtype = dtype_from_onnx(static_cast<int>(call.integer("output_datatype", 1)));
  const bool periodic = call.flag("periodic", true);
  const auto size = number_of(call, 0, 1);
  if (!size) return;
  if (!dtype) return call.fail("an element type that is not read");
  const auto period = static_cast<double>(periodic ? *size : *size - 1);
  Array values{*dtype, {*size}, {}};
  for (std::int64_t n = 0; n < *size; ++n) {
    const double angle = period > 0 ? 2 * std::numbers::pi * static_cast<double>(n) / period : 0;
    values.values.push_back(a - b * std::cos(angle) + c * std::cos(2 * angle));
  }
  call.set(0, call.build.constant(to_tensor(values), call.name()));
}

// The parts of a transform of n numbers into the first `rows`: cos and sin of 2 pi k m / n, transposed or not.
struct Transform {
  Value* cosine;
  Value* sine;
};

std::optional<Transform> transform_of(Call& call, std::int64_t n, std::int64_t rows, DType dtype) {
  if (rows > kMostEntries / n) {
    call.fail(fmt::format("a transform of {} numbers", n));
    return std::nullopt;
  }
  Array cosine{dtype, {rows, n}, {}}, sine{dtype, {rows, n}, {}};
  for (std::int64_t k = 0; k < rows; ++k)
    for (std::int64_t m = 0; m < n; ++m) {
      const double angle = 2 * std::numbers::pi * static_cast<double>(k * m % n) / static_cast<double>(n);
      cosine.values.push_back(std::cos(angle));
      sine.values.push_back(std::sin(angle));
    }
  return Transform{call.build.constant(to_tensor(cosine), "cosine"), call.build.constant(to_tensor(sine), "sine")};
}

// [.., n, 1 or 2] -> [.., rows, 2]; sum x exp(-+ 2 pi i k m / n)
Value* fourier(Call& call, Value* x, std::int64_t n, bool inverse, bool one_sided) {
  if (call.failed()) return nullptr;
  const DType dtype = x->type.dtype;
  const auto parts = x->type.shape.back().constant();
  if (parts != 1 && parts != 2) {
    call.fail(fmt::format("the last axis of {} is neither of reals nor of complex numbers", shape_text(x->type.shape)));
    return nullptr;
  }
  const auto transform = transform_of(call, n, one_sided ? n / 2 + 1 : n, dtype);
  if (!transform) return nullptr;
  const auto part = [&](std::int64_t index) {
    return call.build("select", {x}, {{"dim", std::int64_t{-1}}, {"index", index}});
  };
  const auto times = [&](Value* row, Value* matrix) {
    return call.build("matmul", {row, matrix}, {{"transpose_b", true}});
  };
  // Vectors become rows.
  Value* real = part(0);
  Value* imaginary = parts == 2 ? part(1) : nullptr;
  if (call.failed()) return nullptr;
  const bool flat = real->type.shape.size() == 1;
  if (flat) {
    real = call.unsqueeze(real, {0});
    if (imaginary != nullptr) imaginary = call.unsqueeze(imaginary, {0});
  }
  Value* re = times(real, transform->cosine);
  Value* im = times(real, transform->sine);
  if (!inverse) im = call.build("neg", {im});
  if (imaginary != nullptr) {
    Value* cross = times(imaginary, transform->sine);
    re = call.build(inverse ? "sub" : "add", {re, cross});
    im = call.build("add", {im, times(imaginary, transform->cosine)});
  }
  if (inverse) {
    re = call.binary("div", re, static_cast<double>(n));
    im = call.binary("div", im, static_cast<double>(n));
  }
  if (call.failed()) return nullptr;
  const auto last = static_cast<std::int64_t>(re->type.shape.size());
  Value* joined = call.build("concat", {call.unsqueeze(re, {last}), call.unsqueeze(im, {last})}, {{"dim", last}});
  return flat ? call.squeeze(joined, {0}) : joined;
}

// x cut or filled up with zeros to a length.
Value* fit_axis(Call& call, Value* x, std::int64_t axis, std::int64_t length) {
  if (call.failed()) return nullptr;
  const auto size = x->type.shape[static_cast<std::size_t>(axis)].constant();
  if (size == length) return x;
  if (!size) {
    call.fail("an axis of open size");
    return nullptr;
  }
  Integers before(x->type.shape.size(), 0), after(x->type.shape.size(), 0);
  after[static_cast<std::size_t>(axis)] = length - *size;
  return call.build("pad", {x},
                    {{"before", before}, {"after", after}, {"mode", std::string("constant")}, {"value", 0.0}});
}

void dft(Call& call, std::int64_t given_axis) {
  const bool inverse = call.flag("inverse", false), one_sided = call.flag("onesided", false);
  Value* x = call.x(0);
  if (call.failed()) return;
  const std::size_t rank = x->type.shape.size();
  const std::int64_t axis = call.axis(given_axis, rank);
  if (call.failed()) return;
  if (rank < 2 || axis + 1 >= static_cast<std::int64_t>(rank))
    return call.fail(fmt::format("axis {} of {}", given_axis, shape_text(x->type.shape)));
  if (inverse && one_sided) return call.fail("inverse transforms to reals are not read");
  auto length = x->type.shape[static_cast<std::size_t>(axis)].constant();
  if (call.has(1)) length = number_of(call, 1, 1);
  if (call.failed()) return;
  if (!length || *length < 1) return call.fail("an axis of open size");
  x = fit_axis(call, x, axis, *length);
  // The axis goes in front of the complex parts, and back.
  Integers order(rank);
  std::iota(order.begin(), order.end(), std::int64_t{0});
  order.erase(order.begin() + axis);
  order.insert(order.end() - 1, axis);
  Integers back(rank);
  for (std::size_t i = 0; i < rank; ++i) back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  Value* result = fourier(call, call.permute(x, order), *length, inverse, one_sided);
  if (!call.failed()) call.set(0, call.permute(result, back, call.name()));
}

void read_dft_17(Call& call) {
  dft(call, call.integer("axis", 1));
}

void read_dft(Call& call) {
  std::int64_t axis = -2;
  if (call.has(2)) {
    const Integers given = call.integers_of(2);
    if (call.failed()) return;
    if (given.size() != 1) return call.fail("the axis is no number");
    axis = given[0];
  }
  dft(call, axis);
}

void read_stft(Call& call) {
  const bool one_sided = call.flag("onesided", true);
  Value* signal = call.x(0);
  const auto step = number_of(call, 1, 1);
  if (!step || call.failed()) return;
  if (signal->type.shape.size() == 2) signal = call.unsqueeze(signal, {2});  // as torch.onnx writes reals
  if (call.failed()) return;
  const Shape shape = signal->type.shape;
  const auto samples = shape.size() == 3 ? shape[1].constant() : std::nullopt;
  std::optional<std::int64_t> length;
  if (call.has(3))
    length = number_of(call, 3, 1);
  else if (call.has(2) && !call.shape(2).empty())
    length = call.shape(2)[0].constant();
  if (call.failed()) return;
  if (!samples || !length || *length < 1 || *length > *samples)
    return call.fail(fmt::format("frames of a signal of shape {}", shape_text(shape)));
  const std::int64_t frames = (*samples - *length) / *step + 1;
  if (frames > kMostEntries / *length) return call.fail(fmt::format("{} frames", frames));
  Integers places;
  for (std::int64_t frame = 0; frame < frames; ++frame)
    for (std::int64_t i = 0; i < *length; ++i) places.push_back(frame * *step + i);
  Value* index = call.build.constant(tensor_i64({frames, *length}, places));
  Value* cut = call.build("gather", {signal, index}, {{"dim", std::int64_t{1}}});  // [B, frames, length, parts]
  if (call.has(2)) cut = call.build("mul", {cut, call.unsqueeze(call.x(2), {1})});
  call.set(0, fourier(call, cut, *length, false, one_sided));
}

// Triangles along the mel scale: [dft_length / 2 + 1, bins].
void read_mel_weights(Call& call) {
  const auto dtype = dtype_from_onnx(static_cast<int>(call.integer("output_datatype", 1)));
  const auto bins = number_of(call, 0, 1), length = number_of(call, 1, 1), rate = number_of(call, 2, 1);
  const std::vector<double> low = call.reals_of(3), high = call.reals_of(4);
  if (call.failed()) return;
  const std::int64_t rows = *length / 2 + 1;
  if (!dtype || low.size() != 1 || high.size() != 1 || rows > kMostEntries / *bins)
    return call.fail("edges or sizes are out of range");
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double step = (mel(high[0]) - mel(low[0])) / static_cast<double>(*bins + 2);
  std::vector<std::int64_t> edges;
  for (std::int64_t i = 0; i < *bins + 2; ++i) {
    const double hertz = 700 * (std::pow(10.0, (static_cast<double>(i) * step + mel(low[0])) / 2595) - 1);
    const double place = std::floor(static_cast<double>(*length + 1) * hertz / static_cast<double>(*rate));
    if (!(place >= 0 && place < static_cast<double>(rows))) return call.fail("an edge outside of the spectrum");
    edges.push_back(static_cast<std::int64_t>(place));
  }
  Array weights{*dtype, {rows, *bins}, std::vector<double>(static_cast<std::size_t>(rows * *bins))};
  const auto at = [&](std::int64_t row, std::int64_t bin) -> double& {
    return weights.values[static_cast<std::size_t>(row * *bins + bin)];
  };
  for (std::int64_t bin = 0; bin < *bins; ++bin) {
    const auto i = static_cast<std::size_t>(bin);
    const std::int64_t lower = edges[i], centre = edges[i + 1], upper = edges[i + 2];
    if (centre == lower) at(centre, bin) = 1;
    for (std::int64_t row = lower; centre > lower && row <= centre; ++row)
      at(row, bin) = static_cast<double>(row - lower) / static_cast<double>(centre - lower);
    for (std::int64_t row = centre; row < upper; ++row)
      at(row, bin) = static_cast<double>(upper - row) / static_cast<double>(upper - centre);
  }
  call.set(0, call.build.constant(to_tensor(weights), call.name()));
}

}  // namespace

std::vector<Row> signal_rows() {
  return {
      {.op = "HannWindow", .since = 17, .read = [](Call& c) { window(c, 0.5, 0.5, 0); }},
      {.op = "HammingWindow", .since = 17, .read = [](Call& c) { window(c, 25.0 / 46, 21.0 / 46, 0); }},
      {.op = "BlackmanWindow", .since = 17, .read = [](Call& c) { window(c, 0.42, 0.5, 0.08); }},
      {.op = "MelWeightMatrix", .operands = 5, .since = 17, .read = read_mel_weights},
      {.op = "DFT", .since = 17, .read = read_dft_17},
      {.op = "DFT", .since = 20, .read = read_dft},
      {.op = "STFT", .operands = 2, .since = 17, .read = read_stft},
  };
}

}  // namespace taper::onnx_reader
