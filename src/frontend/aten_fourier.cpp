// Fourier transforms, which are products with matrices of cosines and sines, and their transforms of short windows,
// which are convolutions with them.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "frontend/aten_complex.h"

namespace taper::aten {
namespace {

constexpr std::int64_t kLongestTransform = 2048;  // of a transform: its matrix has as many rows and columns

// ------------------------------------------------------------------------------------------------------------ matrices

// What is 0 but for rounding is 0: the angle of a number turns on the sign of its imaginary part.
double without_rounding(double wave) {
  return std::abs(wave) < 1e-12 ? 0 : wave;
}
double cosine(double x) {
  return without_rounding(std::cos(x));
}
double sine(double x) {
  return without_rounding(std::sin(x));
}

// cos and sin of 2 pi row column / period
double cosine_at(std::int64_t row, std::int64_t column, std::int64_t period) {
  return cosine(2 * std::numbers::pi * static_cast<double>(row * column % period) / static_cast<double>(period));
}
double sine_at(std::int64_t row, std::int64_t column, std::int64_t period) {
  return sine(2 * std::numbers::pi * static_cast<double>(row * column % period) / static_cast<double>(period));
}

// By how much the entry of half a transform counts that stands for itself and for its conjugate beyond the half.
double half_weight(std::int64_t row, std::int64_t period) {
  if (row > period / 2) return 0;
  return row == 0 || 2 * row == period ? 1 : 2;
}

struct Waves {
  Value* cosines;
  Value* sines;
};

// The same from sizes that only the running program knows.
Value* half_weights(Builder& build, Value* row, Value* period) {
  Value* twice = build("add", {row, row});
  Value* once = build("logical_or", {build("equal", {row, integer_number(build, 0)}), build("equal", {twice, period})});
  Value* weight = build("where", {once, number(build, 1.0, DType::f32), number(build, 2.0, DType::f32)});
  return build("where", {build("greater", {twice, period}), number(build, 0.0, DType::f32), weight});
}

Waves open_waves(Builder& build, const Dim& rows, const Dim& columns, const Dim& period, bool weighted) {
  Value* row = reshape(build, arange(build, 0, 1, rows, DType::i64), {rows, 1});
  Value* column = reshape(build, arange(build, 0, 1, columns, DType::i64), {1, columns});
  Value* entries = number(build, Arg(period), DType::i64);
  // Whole turns are taken out while the numbers are integers.
  Value* turn = cast(build, build("remainder", {build("mul", {row, column}), entries}), DType::f32);
  turn = build("div", {turn, cast(build, entries, DType::f32)});
  Value* angle = build("mul", {turn, number(build, 2 * std::numbers::pi, DType::f32)});
  Waves waves{build("cos", {angle}), build("sin", {angle})};
  if (!weighted) return waves;
  Value* weights = half_weights(build, row, entries);
  return {build("mul", {waves.cosines, weights}), build("mul", {waves.sines, weights})};
}

// Two matrices [rows, columns]; `weighted` ones are of half a transform.
Waves waves_of(Builder& build, const Dim& rows, const Dim& columns, const Dim& period, bool weighted) {
  const auto r = rows.constant(), c = columns.constant(), n = period.constant();
  if (!r || !c || !n) return open_waves(build, rows, columns, period, weighted);
  std::vector<float> cosines, sines;
  for (std::int64_t row = 0; row < *r; ++row)
    for (std::int64_t column = 0; column < *c; ++column) {
      const double weight = weighted ? half_weight(row, *n) : 1;
      cosines.push_back(static_cast<float>(weight * cosine_at(row, column, *n)));
      sines.push_back(static_cast<float>(weight * sine_at(row, column, *n)));
    }
  return {build.constant(tensor_f32({*r, *c}, cosines), "cosines"),
          build.constant(tensor_f32({*r, *c}, sines), "sines")};
}

// ---------------------------------------------------------------------------------------------------------- transforms

// The size of an axis that is transformed, if it is not too large.
Expected<Dim> checked_size(const Dim& size) {
  if (const auto known = size.constant(); known && (*known < 1 || *known > kLongestTransform))
    return fail("a Fourier transform of {} entries, expected 1 to {}", *known, kLongestTransform);
  return size;
}

Value* resized(const Call& call, Value* x, std::size_t axis, const Dim& size) {
  if (x == nullptr || x->type.shape[axis] == size) return x;
  Builder& build = call.build;
  const Dim present = x->type.shape[axis];
  if (known_less_equal(call.context, size, present) == true) return slice(build, x, axis, 0, size);
  const auto further = (size - present).constant();
  if (!further || *further < 0) {
    build.set_error(
        {fmt::format("a Fourier transform that cuts or pads {} entries to {}", present.text(), size.text()), {}, {}});
    return nullptr;
  }
  Integers before(x->type.shape.size(), 0), after = before;
  after[axis] = *further;
  return build("pad", {x}, {{"before", before}, {"after", after}});
}

// y[k] = sum over j of x[j] exp(sign 2 pi i j k / n), all of its entries or the first half and the middle.
Expected<Complex> transformed(Builder& build, const Complex& x, std::size_t axis, bool forward, bool half) {
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const Dim n, checked_size(shape_of(x.real)[axis]));
  const Waves waves = waves_of(build, n, half ? floor_divide(n, 2) + 1 : n, n, false);
  Value* sines = forward ? build("neg", {waves.sines}) : waves.sines;
  Complex y{product_along(build, x.real, axis, waves.cosines), product_along(build, x.real, axis, sines)};
  if (x.imag != nullptr) {
    y.real = build("sub", {y.real, product_along(build, x.imag, axis, sines)});
    y.imag = build("add", {y.imag, product_along(build, x.imag, axis, waves.cosines)});
  }
  return y;
}

// The real signal of n entries whose transform is y and, beyond it, what makes the signal real.
Expected<Value*> real_signal(Builder& build, const Complex& y, std::size_t axis, const Dim& n) {
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const Dim given, checked_size(shape_of(y.real)[axis]));
  TAPER_TRY(checked_size(n));
  const Waves waves = waves_of(build, given, n, n, true);
  Value* x = product_along(build, y.real, axis, waves.cosines);
  return y.imag == nullptr ? x : build("sub", {x, product_along(build, y.imag, axis, waves.sines)});
}

// PyTorch's numbers of norms.
enum Normalization : std::int64_t { by_nothing = 0, by_root = 1, by_count = 2 };
// Its names, where `inverse` functions divide by default.
Expected<std::int64_t> normalization_named(const std::string& name, bool inverse) {
  if (name == "ortho") return by_root;
  if (!name.empty() && name != "backward" && name != "forward") return fail("norm '{}' is not known", name);
  return (name == "forward") != inverse ? by_count : by_nothing;
}

Value* scaled(Builder& build, Value* x, std::int64_t normalization, const Dim& entries) {
  if (x == nullptr || normalization == by_nothing || entries.is(1)) return x;
  if (const auto count = entries.constant()) {
    const auto real = static_cast<double>(*count);
    return build("mul", {x, number(build, 1 / (normalization == by_root ? std::sqrt(real) : real), DType::f32)});
  }
  Value* divisor = number(build, Arg(entries), DType::f32);
  return build("div", {x, normalization == by_root ? build("sqrt", {divisor}) : divisor});
}
Complex scaled(Builder& build, const Complex& x, std::int64_t normalization, const Dim& entries) {
  return {scaled(build, x.real, normalization, entries), scaled(build, x.imag, normalization, entries)};
}

Complex resized(const Call& call, const Complex& x, std::size_t axis, const Dim& size) {
  return {resized(call, x.real, axis, size), resized(call, x.imag, axis, size)};
}

// ------------------------------------------------------------------------------------------- the decomposed operators

// The axes in the order in which they are given.
Expected<std::vector<std::size_t>> axes_in_order(const Integers& dims, std::size_t rank) {
  if (rank == 0) return fail("a Fourier transform of a number");
  std::vector<std::size_t> axes;
  for (const std::int64_t dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dim, rank));
    if (std::ranges::find(axes, axis) != axes.end()) return fail("an axis is named twice");
    axes.push_back(axis);
  }
  if (axes.empty()) return fail("a Fourier transform along no axis");
  return axes;
}

Dim entries_of(const Value* x, std::span<const std::size_t> axes) {
  Dim count = 1;
  for (const std::size_t axis : axes) count = count * shape_of(x)[axis];
  return count;
}

Expected<Arg> real_to_complex(Call& call) {
  Complex x = complex_argument(call, "self");
  TAPER_ASSIGN(const auto axes, axes_in_order(call.integers("dim"), shape_of(x.real).size()));
  const Dim entries = entries_of(x.real, axes);
  for (std::size_t i = axes.size(); i-- > 0;) {
    const bool half = i + 1 == axes.size() && call.flag("onesided");
    TAPER_ASSIGN(x, transformed(call.build, x, axes[i], true, half));
  }
  return fresh(call.build, scaled(call.build, x, call.integer("normalization"), entries));
}

Expected<Arg> complex_to_complex(Call& call) {
  Complex x = complex_argument(call, "self");
  TAPER_ASSIGN(const auto axes, axes_in_order(call.integers("dim"), shape_of(x.real).size()));
  const Dim entries = entries_of(x.real, axes);
  for (const std::size_t axis : axes) {
    TAPER_ASSIGN(x, transformed(call.build, x, axis, call.flag("forward"), false));
  }
  return fresh(call.build, scaled(call.build, x, call.integer("normalization"), entries));
}

// The inverse along all axes, where the last one is half a transform.
Expected<Arg> inverse_to_real(Call& call, Complex y, std::span<const std::size_t> axes, const Dim& size,
                              std::int64_t normalization) {
  const Dim entries = entries_of(y.real, axes.first(axes.size() - 1)) * size;
  for (const std::size_t axis : axes.first(axes.size() - 1)) {
    TAPER_ASSIGN(y, transformed(call.build, y, axis, false, false));
  }
  TAPER_ASSIGN(Value * x, real_signal(call.build, y, axes.back(), size));
  return aten::fresh(scaled(call.build, x, normalization, entries));
}

Expected<Arg> complex_to_real(Call& call) {
  const Complex y = complex_argument(call, "self");
  TAPER_ASSIGN(const auto axes, axes_in_order(call.integers("dim"), shape_of(y.real).size()));
  return inverse_to_real(call, y, axes, call.size("last_dim_size"), call.integer("normalization"));
}

// ------------------------------------------------------------------------------------------------------ torch.fft
// itself

// Along which axes, and to which sizes they are cut or padded first.
struct Extent {
  std::vector<std::size_t> axes;
  std::vector<std::optional<Dim>> sizes;
};

// Of functions along one axis ("n", "dim"), and along several ("s", "dim"): all of them, or the last for which there
// are sizes.
Expected<Extent> extent_of(const Call& call, std::size_t rank) {
  if (const auto* dim = call.arg("dim").as<Dim>()) {
    TAPER_ASSIGN(auto axis, axes_in_order({dim->constant().value_or(0)}, rank));
    return Extent{std::move(axis), {call.given("n") ? std::optional(call.size("n")) : std::nullopt}};
  }
  const Shape sizes = call.sizes("s");
  Integers dims = call.integers("dim");
  if (!call.given("dim")) {
    dims = all_axes(rank);
    if (call.given("s") && sizes.size() <= rank)
      dims.erase(dims.begin(), dims.end() - static_cast<std::ptrdiff_t>(sizes.size()));
  }
  if (call.given("s") && sizes.size() != dims.size()) return fail("{} sizes for {} axes", sizes.size(), dims.size());
  TAPER_ASSIGN(auto axes, axes_in_order(dims, rank));
  Extent extent{std::move(axes), {}};
  for (std::size_t i = 0; i < dims.size(); ++i)
    extent.sizes.push_back(call.given("s") && !sizes[i].is(-1) ? std::optional(sizes[i]) : std::nullopt);
  return extent;
}

// fft, ifft, rfft and those of several axes.
Expected<Arg> transform(Call& call, bool forward, bool half) {
  Builder& build = call.build;
  Complex x = complex_argument(call, "self");
  TAPER_TRY(build.status());
  if (half && x.imag != nullptr) return fail("a transform for reals of complex numbers");
  TAPER_ASSIGN(const Extent extent, extent_of(call, shape_of(x.real).size()));
  for (std::size_t i = 0; i < extent.axes.size(); ++i)
    if (extent.sizes[i]) x = resized(call, x, extent.axes[i], *extent.sizes[i]);
  TAPER_TRY(build.status());
  const Dim entries = entries_of(x.real, extent.axes);
  TAPER_ASSIGN(const std::int64_t normalization, normalization_named(call.text("norm"), !forward));
  for (std::size_t i = extent.axes.size(); i-- > 0;) {
    TAPER_ASSIGN(x, transformed(build, x, extent.axes[i], forward, half && i + 1 == extent.axes.size()));
  }
  return fresh(build, scaled(build, x, normalization, entries));
}
template <bool forward, bool half>
Expected<Arg> transform(Call& call) {
  return transform(call, forward, half);
}

// irfft and those of several axes; hfft is the one of the conjugate, with the other norm.
Expected<Arg> inverse_of_half(Call& call, bool conjugated) {
  Builder& build = call.build;
  Complex y = complex_argument(call, "self");
  if (conjugated) y = conjugate_of(build, y);
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const Extent extent, extent_of(call, shape_of(y.real).size()));
  for (std::size_t i = 0; i + 1 < extent.axes.size(); ++i)
    if (extent.sizes[i]) y = resized(call, y, extent.axes[i], *extent.sizes[i]);
  TAPER_TRY(build.status());
  const Dim size = extent.sizes.back().value_or(2 * (shape_of(y.real)[extent.axes.back()] - 1));
  TAPER_ASSIGN(const std::int64_t normalization, normalization_named(call.text("norm"), !conjugated));
  return inverse_to_real(call, y, extent.axes, size, normalization);
}

Expected<Arg> conjugate_half(Call& call) {
  Builder& build = call.build;
  Complex x = complex_argument(call, "self");
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const Extent extent, extent_of(call, shape_of(x.real).size()));
  const std::size_t axis = extent.axes.front();
  if (extent.sizes.front()) x = resized(call, x, axis, *extent.sizes.front());
  TAPER_TRY(build.status());
  const Dim entries = shape_of(x.real)[axis];
  TAPER_ASSIGN(const std::int64_t normalization, normalization_named(call.text("norm"), true));
  TAPER_ASSIGN(x, transformed(build, x, axis, true, true));
  return fresh(build, scaled(build, conjugate_of(build, x), normalization, entries));
}

// The middle to the front, or back.
Expected<Arg> shifted(Call& call, bool inverse) {
  const Shape shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const Integers axes, call.axes("dim", shape.size()));
  Arg::List shifts, dims;
  for (const std::int64_t axis : axes) {
    const Dim size = shape[static_cast<std::size_t>(axis)];
    const Dim half = floor_divide(size, 2);
    shifts.emplace_back(inverse ? size - half : half);
    dims.emplace_back(Dim(axis));
  }
  const NamedArg arguments[] = {{"", call.arg("self")}, {"", shifts}, {"", dims}};
  return aten::call(call.context, "roll", arguments);
}

// k / (n d): from 0 up to the middle, then from the negative ones up, if they are asked for.
Expected<Arg> frequencies(Call& call, bool half) {
  constexpr std::int64_t kMost = 1 << 20;
  const std::int64_t n = call.integer("n");
  const double width = static_cast<double>(n) * call.real("d");
  if (n < 1 || n > kMost || width == 0) return fail("{} frequencies", n);
  std::vector<float> values;
  for (std::int64_t i = 0; i < (half ? n / 2 + 1 : n); ++i)
    values.push_back(static_cast<float>(static_cast<double>(half || 2 * i < n ? i : i - n) / width));
  const auto count = static_cast<std::int64_t>(values.size());
  Value* list = call.build.constant(tensor_f32({count}, values), "frequencies");
  return aten::fresh(cast(call.build, list, call.dtype("dtype").value_or(DType::f32)));
}

// --------------------------------------------------------------------------------------------------- of short windows

// What stft and istft share.
struct Frames {
  std::int64_t size = 0, step = 0;
  bool half = true;            // frequencies up to the middle only
  std::vector<double> window;  // as wide as a frame; ones, if it is computed when the program runs
  Value* computed = nullptr;   // then this, [size]
  double factor = 1;           // of the norm
  std::int64_t frequencies() const { return half ? size / 2 + 1 : size; }
};

// The window in the middle of a frame.
Status set_window(const Call& call, Frames& frames, std::int64_t width) {
  frames.window.assign(static_cast<std::size_t>(frames.size), 0);
  const std::int64_t start = (frames.size - width) / 2;
  const auto middle = frames.window.begin() + start;
  if (!call.given("window")) {
    std::fill_n(middle, width, 1.0);
    return {};
  }
  if (is_complex(call.arg("window"))) return fail("a window of complex numbers");
  Value* given = call.tensor("window");
  if (given == nullptr || given->type.shape != Shape{Dim(width)})
    return fail("a window of {}, expected {} entries", shape_text(shape_of(given)), width);
  const auto values = constant_value(given);
  if (values) {
    std::ranges::copy(values->values, middle);
    return {};
  }
  std::ranges::fill(frames.window, 1.0);
  frames.computed = call.build("pad", {cast(call.build, given, DType::f32)},
                               {{"before", Integers{start}}, {"after", Integers{frames.size - width - start}}});
  return call.build.status();
}

Expected<Frames> frames_of(const Call& call) {
  constexpr std::int64_t kMostSize = 4096, kMostStep = 1 << 20;
  Frames frames;
  frames.size = call.integer("n_fft");
  if (frames.size < 1 || frames.size > kMostSize)
    return fail("frames of {} entries, expected 1 to {}", frames.size, kMostSize);
  frames.step = call.integer_or("hop_length", frames.size / 4);
  const std::int64_t width = call.integer_or("win_length", frames.size);
  if (frames.step < 1 || frames.step > kMostStep) return fail("frames in steps of {}", frames.step);
  if (width < 1 || width > frames.size) return fail("a window of {} in frames of {}", width, frames.size);
  TAPER_TRY(set_window(call, frames, width));
  if (call.flag("normalized")) frames.factor = 1 / std::sqrt(static_cast<double>(frames.size));
  return frames;
}

Attrs convolution_attrs(const Frames& frames) {
  return {{"stride", Integers{frames.step}},
          {"padding", Integers{0, 0}},
          {"dilation", Integers{1}},
          {"groups", std::int64_t{1}}};
}

// [2 frequencies, 1, entries]: the real parts of all frequencies, then the imaginary ones.
template <class ValueOf>
Value* kernels(Builder& build, const Frames& frames, ValueOf value_of) {
  std::vector<float> values;
  for (const bool imaginary : {false, true})
    for (std::int64_t k = 0; k < frames.frequencies(); ++k)
      for (std::int64_t t = 0; t < frames.size; ++t)
        values.push_back(static_cast<float>(value_of(imaginary, k, t) * frames.window[static_cast<std::size_t>(t)]));
  Value* waves = build.constant(tensor_f32({2 * frames.frequencies(), 1, frames.size}, values), "frames");
  return frames.computed != nullptr ? build("mul", {waves, frames.computed}) : waves;
}

// Both parts of the frames' transforms: [batch, frequencies, frames].
Complex transformed_frames(Builder& build, Value* x, const Frames& frames, Value* weight) {
  if (x == nullptr) return {};
  Value* y = build("conv", {unsqueeze(build, x, 1), weight, nullptr}, convolution_attrs(frames));
  return {slice(build, y, 1, 0, frames.frequencies()),
          slice(build, y, 1, frames.frequencies(), 2 * frames.frequencies())};
}

// Half a frame more at both ends.
Value* centred(const Call& call, Value* x, std::int64_t half) {
  const Integers amounts = {0, half};
  return call.build("pad", {x}, {{"before", amounts}, {"after", amounts}, {"mode", call.text("pad_mode")}});
}

// X[f, m] = sum over t of window[t] x[m step + t] exp(-2 pi i f t / size)
Expected<Arg> short_transform(Call& call) {
  Builder& build = call.build;
  Complex x = complex_argument(call, "self");
  TAPER_TRY(build.status());
  const bool single = shape_of(x.real).size() == 1;
  if (!single && shape_of(x.real).size() != 2) return fail("a signal of {}", shape_text(shape_of(x.real)));
  if (call.flag("align_to_window")) return fail("frames that are aligned to their window");
  TAPER_ASSIGN(Frames frames, frames_of(call));
  frames.half = call.given("onesided") ? call.flag("onesided") : x.imag == nullptr;
  if (frames.half && x.imag != nullptr) return fail("half a transform of complex numbers");
  for (Value** part : {&x.real, &x.imag}) {
    if (*part == nullptr) continue;
    if (single) *part = unsqueeze(build, *part, 0);
    if (call.flag("center")) *part = centred(call, *part, frames.size / 2);
  }
  Value* weight = kernels(build, frames, [&](bool imaginary, std::int64_t k, std::int64_t t) {
    return frames.factor * (imaginary ? -sine_at(k, t, frames.size) : cosine_at(k, t, frames.size));
  });
  Complex y = transformed_frames(build, x.real, frames, weight);
  if (x.imag != nullptr) {
    const Complex turned = transformed_frames(build, x.imag, frames, weight);
    y = {build("sub", {y.real, turned.imag}), build("add", {y.imag, turned.real})};
  }
  if (single) y = {squeeze(build, y.real, 0), squeeze(build, y.imag, 0)};
  TAPER_TRY(build.status());
  Arg result = fresh(build, y);
  const bool complex = call.given("return_complex") ? call.flag("return_complex") : x.imag != nullptr;
  if (complex) return result;
  return view_as_real(call.context, result);
}

// Frames added up where they lie, [batch, entries]; of the frames' transforms x, [batch, 2 frequencies, frames].
Value* added_up(Builder& build, Value* x, Value* weight, const Frames& frames) {
  Attrs attrs = convolution_attrs(frames);
  attrs.set("output_padding", Integers{0});
  return squeeze(build, build("conv_transpose", {x, weight, nullptr}, std::move(attrs)), 1);
}

// [1, 1, size]
Value* squared_window(Builder& build, const Frames& frames) {
  if (frames.computed != nullptr)
    return reshape(build, build("mul", {frames.computed, frames.computed}), {1, 1, Dim(frames.size)});
  std::vector<float> squares;
  for (const double value : frames.window) squares.push_back(static_cast<float>(value * value));
  return build.constant(tensor_f32({1, 1, frames.size}, squares), "squares");
}

// The entries from `start` on of signals x that were added up: as many as are asked for, zeros behind the last.
Value* cut_signal(const Call& call, Value* x, std::int64_t start) {
  Builder& build = call.build;
  if (x == nullptr) return x;
  const Dim total = x->type.shape[1];
  if (!call.given("length")) return slice(build, x, 1, start, call.flag("center") ? total - start : total);
  const Dim length = call.size("length");
  if (known_less_equal(call.context, length + start, total) == true) return slice(build, x, 1, start, length + start);
  Value* zeros = full(build, {x->type.shape[0], length}, Arg(0.0), DType::f32);
  return slice(build, concat(build, {x, zeros}, 1), 1, start, length + start);
}

// The signal whose windowed frames are nearest to the given ones: their sum divided by that of the squared windows.
Expected<Arg> inverse_short_transform(Call& call) {
  Builder& build = call.build;
  Complex z = complex_argument(call, "self");
  TAPER_TRY(build.status());
  const bool single = shape_of(z.real).size() == 2;
  if (!single && shape_of(z.real).size() != 3) return fail("transforms of {}", shape_text(shape_of(z.real)));
  if (call.flag("return_complex")) return fail("a signal of complex numbers");
  TAPER_ASSIGN(Frames frames, frames_of(call));
  frames.half = call.given("onesided") ? call.flag("onesided") : !shape_of(z.real)[single ? 0 : 1].is(frames.size);
  if (single) z = {unsqueeze(build, z.real, 0), z.imag != nullptr ? unsqueeze(build, z.imag, 0) : nullptr};
  if (!shape_of(z.real)[1].is(frames.frequencies()))
    return fail("{} frequencies in frames of {}", shape_of(z.real)[1].text(), frames.size);
  frames.half = true;  // the signal is real: the rest says the same
  const Dim count = shape_of(z.real)[2];
  Value* imag = z.imag != nullptr ? z.imag : full(build, shape_of(z.real), Arg(0.0), DType::f32);
  Value* both = concat(
      build, {slice(build, z.real, 1, 0, frames.frequencies()), slice(build, imag, 1, 0, frames.frequencies())}, 1);
  const double factor = 1 / (frames.factor * static_cast<double>(frames.size));
  Value* weight = kernels(build, frames, [&](bool imaginary, std::int64_t k, std::int64_t t) {
    const double wave = imaginary ? -sine_at(k, t, frames.size) : cosine_at(k, t, frames.size);
    return factor * half_weight(k, frames.size) * wave;
  });
  Value* square = squared_window(build, frames);
  Value* signal = added_up(build, both, weight, frames);
  Value* envelope = added_up(build, full(build, {1, 1, count}, Arg(1.0), DType::f32), square, frames);
  const std::int64_t start = call.flag("center") ? frames.size / 2 : 0;
  Value* y = cut_signal(call, build("div", {signal, envelope}), start);
  return aten::fresh(single ? squeeze(build, y, 0) : y);
}

#define TAPER_ONE "(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> "
#define TAPER_ONE_COMPLEX "(Complex self, SymInt? n=None, int dim=-1, str? norm=None) -> "
#define TAPER_TWO "(Tensor self, SymInt[1]? s=None, int[1] dim=[-2,-1], str? norm=None) -> "
#define TAPER_TWO_COMPLEX "(Complex self, SymInt[1]? s=None, int[1] dim=[-2,-1], str? norm=None) -> "
#define TAPER_ALL "(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> "
#define TAPER_ALL_COMPLEX "(Complex self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> "
#define TAPER_MADE "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor"
#define TAPER_FRAMES "int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, "

Expected<Arg> irfft(Call& call) {
  return inverse_of_half(call, false);
}
Expected<Arg> hfft(Call& call) {
  return inverse_of_half(call, true);
}

}  // namespace

std::vector<Overload> fourier_overloads() {
  return {
      {"_fft_r2c(Tensor self, int[] dim, int normalization, bool onesided) -> Complex", real_to_complex},
      {"_fft_c2r(Complex self, int[] dim, int normalization, SymInt last_dim_size) -> Tensor", complex_to_real},
      {"_fft_c2c(Complex self, int[] dim, int normalization, bool forward) -> Complex", complex_to_complex},
      {"fft_fft" TAPER_ONE "Complex", transform<true, false>},
      {"fft_fft" TAPER_ONE_COMPLEX "Complex", transform<true, false>},
      {"fft_fft2" TAPER_TWO "Complex", transform<true, false>},
      {"fft_fft2" TAPER_TWO_COMPLEX "Complex", transform<true, false>},
      {"fft_fftn" TAPER_ALL "Complex", transform<true, false>},
      {"fft_fftn" TAPER_ALL_COMPLEX "Complex", transform<true, false>},
      {"fft_ifft" TAPER_ONE "Complex", transform<false, false>},
      {"fft_ifft" TAPER_ONE_COMPLEX "Complex", transform<false, false>},
      {"fft_ifft2" TAPER_TWO "Complex", transform<false, false>},
      {"fft_ifft2" TAPER_TWO_COMPLEX "Complex", transform<false, false>},
      {"fft_ifftn" TAPER_ALL "Complex", transform<false, false>},
      {"fft_ifftn" TAPER_ALL_COMPLEX "Complex", transform<false, false>},
      {"fft_rfft" TAPER_ONE "Complex", transform<true, true>},
      {"fft_rfft2" TAPER_TWO "Complex", transform<true, true>},
      {"fft_rfftn" TAPER_ALL "Complex", transform<true, true>},
      {"fft_irfft" TAPER_ONE "Tensor", irfft},
      {"fft_irfft" TAPER_ONE_COMPLEX "Tensor", irfft},
      {"fft_irfft2" TAPER_TWO_COMPLEX "Tensor", irfft},
      {"fft_irfftn" TAPER_ALL_COMPLEX "Tensor", irfft},
      {"fft_hfft" TAPER_ONE "Tensor", hfft},
      {"fft_hfft" TAPER_ONE_COMPLEX "Tensor", hfft},
      {"fft_ihfft" TAPER_ONE "Complex", conjugate_half},
      {"fft_fftshift(Tensor self, int[1]? dim=None) -> Tensor", [](Call& call) { return shifted(call, false); }},
      {"fft_ifftshift(Tensor self, int[1]? dim=None) -> Tensor", [](Call& call) { return shifted(call, true); }},
      {"fft_fftfreq(int n, float d=1., *, " TAPER_MADE, [](Call& call) { return frequencies(call, false); }},
      {"fft_rfftfreq(int n, float d=1., *, " TAPER_MADE, [](Call& call) { return frequencies(call, true); }},
      {"stft(Tensor self, " TAPER_FRAMES
       "bool normalized=False, bool? onesided=None, bool? return_complex=None, bool? align_to_window=None) -> Complex",
       short_transform},
      {"stft(Complex self, " TAPER_FRAMES
       "bool normalized=False, bool? onesided=None, bool? return_complex=None, bool? align_to_window=None) -> Complex",
       short_transform},
      {"stft.center(Tensor self, " TAPER_FRAMES
       "bool center=True, str pad_mode='reflect', bool normalized=False, bool? onesided=None, bool? "
       "return_complex=None, bool? align_to_window=None) -> Complex",
       short_transform},
      {"stft.center(Complex self, " TAPER_FRAMES
       "bool center=True, str pad_mode='reflect', bool normalized=False, bool? onesided=None, bool? "
       "return_complex=None, bool? align_to_window=None) -> Complex",
       short_transform},
      {"istft(Complex self, " TAPER_FRAMES
       "bool center=True, bool normalized=False, bool? onesided=None, SymInt? length=None, bool return_complex=False) "
       "-> Tensor",
       inverse_short_transform},
  };
}

}  // namespace taper::aten
