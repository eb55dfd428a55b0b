// Complex numbers and Fourier transforms, which are products with matrices of cosines and sines.
#include "frontend/aten_complex.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace taper::aten {
namespace {

struct Complex {
  Value* real = nullptr;
  Value* imag = nullptr;  // null: 0
};

Arg fresh(const Complex& z) {
  return fresh_list({z.real, z.imag});
}

// The argument as a complex number; a tensor of reals has no imaginary part.
Complex complex_argument(const Call& call, std::string_view name) {
  if (!is_complex(call.arg(name))) return {call.tensor(name)};
  const std::vector<Value*> parts = call.tensors(name);
  return {parts[0], parts[1]};
}

// ------------------------------------------------------------------------------------------------------- transforms

// The product of an axis with a matrix.
Value* along(Builder& build, Value* x, std::size_t axis, Value* matrix) {
  if (shape_of(x).size() == 1) return squeeze(build, build("matmul", {unsqueeze(build, x, 0), matrix}), 0);
  const std::size_t last = shape_of(x).size() - 1;
  return transpose(build, build("matmul", {transpose(build, x, axis, last), matrix}), axis, last);
}

// [rows, columns]: weight(row) wave(2 pi row column / period)
Value* waves(Builder& build, std::int64_t rows, std::int64_t columns, std::int64_t period, double (*wave)(double),
             double (*weight)(std::int64_t row, std::int64_t period)) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column) {
      const auto turn = static_cast<double>(row * column % period) / static_cast<double>(period);
      values.push_back(static_cast<float>(weight(row, period) * wave(2 * std::numbers::pi * turn)));
    }
  return build.constant(tensor_f32({rows, columns}, values), "waves");
}

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
double one(std::int64_t, std::int64_t) {
  return 1;
}

// The size of an axis that is transformed into `wanted` entries.
Expected<std::int64_t> known_size(const Value* x, std::size_t axis) {
  constexpr std::int64_t kMost = 2048;
  const auto size = axis < shape_of(x).size() ? shape_of(x)[axis].constant() : std::nullopt;
  if (!size) return fail("a Fourier transform along an axis of open size");
  if (*size < 1 || *size > kMost) return fail("a Fourier transform of {} entries, expected 1 to {}", *size, kMost);
  return *size;
}

// y[k] = sum over j of x[j] exp(sign 2 pi i j k / n), its first `kept` entries.
Expected<Complex> transformed(Builder& build, const Complex& x, std::size_t axis, bool forward, bool half) {
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const std::int64_t n, known_size(x.real, axis));
  const std::int64_t kept = half ? n / 2 + 1 : n;
  Value* cosines = waves(build, n, kept, n, cosine, one);
  Value* sines = waves(build, n, kept, n, sine, one);
  if (forward) sines = build("neg", {sines});
  Complex y{along(build, x.real, axis, cosines), along(build, x.real, axis, sines)};
  if (x.imag != nullptr) {
    y.real = build("sub", {y.real, along(build, x.imag, axis, sines)});
    y.imag = build("add", {y.imag, along(build, x.imag, axis, cosines)});
  }
  return y;
}

// The real signal of n entries whose transform is y and, beyond it, what makes the signal real.
Expected<Value*> real_signal(Builder& build, const Complex& y, std::size_t axis, std::int64_t n) {
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const std::int64_t given, known_size(y.real, axis));
  constexpr std::int64_t kMost = 2048;
  if (n < 1 || n > kMost) return fail("a signal of {} entries, expected 1 to {}", n, kMost);
  const auto weight = [](std::int64_t row, std::int64_t period) -> double {
    if (row > period / 2) return 0;
    return row == 0 || 2 * row == period ? 1 : 2;
  };
  Value* x = along(build, y.real, axis, waves(build, given, n, n, cosine, weight));
  return build("sub", {x, along(build, y.imag, axis, waves(build, given, n, n, sine, weight))});
}

// PyTorch's numbers of norms: by nothing, by the root of the number of entries, by that number.
double factor_of(std::int64_t normalization, double entries) {
  return normalization == 0 ? 1 : normalization == 1 ? 1 / std::sqrt(entries) : 1 / entries;
}
// Its names, where `inverse` functions divide by default.
Expected<std::int64_t> normalization_named(const std::string& name, bool inverse) {
  if (name == "ortho") return 1;
  if (!name.empty() && name != "backward" && name != "forward") return fail("norm '{}' is not known", name);
  return (name == "forward") != inverse ? 2 : 0;
}

Value* scaled(Builder& build, Value* x, double factor) {
  return factor == 1 ? x : build("mul", {x, number(build, factor, DType::f32)});
}
Complex scaled(Builder& build, const Complex& x, double factor) {
  return {scaled(build, x.real, factor), scaled(build, x.imag, factor)};
}

// The product of the sizes of the axes.
Expected<double> entries_of(const Value* x, const Integers& dims) {
  double count = 1;
  for (const std::int64_t dim : dims) {
    TAPER_ASSIGN(const std::int64_t size, known_size(x, static_cast<std::size_t>(dim)));
    count *= static_cast<double>(size);
  }
  return count;
}

// The axes in the order in which they are given.
Expected<Integers> axes_in_order(const Call& call, std::size_t rank) {
  Integers dims = call.integers("dim");
  if (dims.empty()) return fail("a Fourier transform along no axis");
  for (std::int64_t& dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dim, rank));
    dim = static_cast<std::int64_t>(axis);
  }
  return dims;
}

Expected<Arg> real_to_complex(Call& call) {
  Complex x{call.tensor("self")};
  TAPER_ASSIGN(const Integers dims, axes_in_order(call, shape_of(x.real).size()));
  TAPER_ASSIGN(const double entries, entries_of(x.real, dims));
  for (std::size_t i = dims.size(); i-- > 0;) {
    const bool half = i + 1 == dims.size() && call.flag("onesided");
    TAPER_ASSIGN(x, transformed(call.build, x, static_cast<std::size_t>(dims[i]), true, half));
  }
  return fresh(scaled(call.build, x, factor_of(call.integer("normalization"), entries)));
}

Expected<Arg> complex_to_complex(Call& call) {
  Complex x = complex_argument(call, "self");
  TAPER_ASSIGN(const Integers dims, axes_in_order(call, shape_of(x.real).size()));
  TAPER_ASSIGN(const double entries, entries_of(x.real, dims));
  for (const std::int64_t dim : dims) {
    TAPER_ASSIGN(x, transformed(call.build, x, static_cast<std::size_t>(dim), call.flag("forward"), false));
  }
  return fresh(scaled(call.build, x, factor_of(call.integer("normalization"), entries)));
}

Expected<Arg> complex_to_real(Call& call) {
  Complex y = complex_argument(call, "self");
  TAPER_ASSIGN(Integers dims, axes_in_order(call, shape_of(y.real).size()));
  const auto size = call.size("last_dim_size").constant();
  if (!size) return fail("a signal of open size");
  const auto last = static_cast<std::size_t>(dims.back());
  dims.pop_back();
  TAPER_ASSIGN(const double entries, entries_of(y.real, dims));
  for (const std::int64_t dim : dims) {
    TAPER_ASSIGN(y, transformed(call.build, y, static_cast<std::size_t>(dim), false, false));
  }
  TAPER_ASSIGN(Value * x, real_signal(call.build, y, last, *size));
  const double factor = factor_of(call.integer("normalization"), entries * static_cast<double>(*size));
  return aten::fresh(scaled(call.build, x, factor));
}

// torch.fft.rfft and fft.fft of entries as they are.
template <bool half, bool forward>
Expected<Arg> transform(Call& call) {
  const Complex x = complex_argument(call, "self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape_of(x.real).size()));
  TAPER_ASSIGN(const std::int64_t n, known_size(x.real, axis));
  if (call.given("n") && !call.size("n").is(n)) return fail("a Fourier transform that cuts or pads {} entries", n);
  TAPER_ASSIGN(const std::int64_t normalization, normalization_named(call.text("norm"), !forward));
  TAPER_ASSIGN(const Complex y, transformed(call.build, x, axis, forward, half));
  return fresh(scaled(call.build, y, factor_of(normalization, static_cast<double>(n))));
}

Expected<Arg> inverse_of_real(Call& call) {
  const Complex y = complex_argument(call, "self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape_of(y.real).size()));
  TAPER_ASSIGN(const std::int64_t given, known_size(y.real, axis));
  const auto n = call.given("n") ? call.size("n").constant() : std::optional(2 * (given - 1));
  if (!n || *n < 1) return fail("a signal of open size, or without entries");
  TAPER_ASSIGN(const std::int64_t normalization, normalization_named(call.text("norm"), true));
  TAPER_ASSIGN(Value * x, real_signal(call.build, y, axis, *n));
  return aten::fresh(scaled(call.build, x, factor_of(normalization, static_cast<double>(*n))));
}

// -------------------------------------------------------------------------------------------------------- arithmetic

Expected<Arg> as_real(Call& call) {
  Builder& build = call.build;
  const Complex z = complex_argument(call, "self");
  const auto rank = shape_of(z.real).size();
  const auto behind = static_cast<std::int64_t>(rank);
  return aten::fresh(concat(build, {unsqueeze(build, z.real, behind), unsqueeze(build, z.imag, behind)}, rank));
}

Expected<Arg> as_complex(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (x->type.shape.empty() || !x->type.shape.back().is(2))
    return fail("complex numbers of {}, whose last axis is not 2", shape_text(x->type.shape));
  const auto part = [&](std::int64_t index) {
    return build("select", {x}, {{"dim", std::int64_t{-1}}, {"index", index}});
  };
  return fresh(Complex{part(0), part(1)});
}

Expected<Arg> of_parts(Call& call) {
  return fresh(Complex{call.tensor("real"), call.tensor("imag")});
}

Expected<Arg> polar(Call& call) {
  Builder& build = call.build;
  Value* size = call.tensor("abs");
  Value* angle = call.tensor("angle");
  return fresh(Complex{build("mul", {size, build("cos", {angle})}), build("mul", {size, build("sin", {angle})})});
}

Expected<Arg> real_part(Call& call) {
  return aten::fresh(complex_argument(call, "self").real);
}
Expected<Arg> imaginary_part(Call& call) {
  return aten::fresh(complex_argument(call, "self").imag);
}

Expected<Arg> absolute(Call& call) {
  Builder& build = call.build;
  const Complex z = complex_argument(call, "self");
  Value* squares = build("add", {build("mul", {z.real, z.real}), build("mul", {z.imag, z.imag})});
  return aten::fresh(build("sqrt", {squares}));
}

Expected<Arg> angle(Call& call) {
  const Complex z = complex_argument(call, "self");
  return aten::fresh(call.build("atan2", {z.imag, z.real}));
}

Expected<Arg> conjugate(Call& call) {
  const Complex z = complex_argument(call, "self");
  return fresh(Complex{z.real, call.build("neg", {z.imag})});
}

// (a + b i) (c + d i)
Expected<Arg> product(Call& call) {
  Builder& build = call.build;
  const Complex x = complex_argument(call, "self"), y = complex_argument(call, "other");
  const auto times = [&](Value* a, Value* b) { return build("mul", {a, b}); };
  return fresh(Complex{build("sub", {times(x.real, y.real), times(x.imag, y.imag)}),
                       build("add", {times(x.real, y.imag), times(x.imag, y.real)})});
}

}  // namespace

bool is_complex(const Arg& arg) {
  const auto* parts = arg.as<Arg::List>();
  return parts != nullptr && parts->size() == 2 && std::ranges::all_of(*parts, [](const Arg& part) {
           const auto* tensor = part.as<TensorPtr>();
           return tensor != nullptr && *tensor != nullptr && is_floating((*tensor)->type().dtype);
         });
}

bool goes_by_parts(std::string_view name, std::span<const NamedArg> arguments) {
  constexpr std::string_view kMoves[] = {"permute", "transpose", "squeeze", "unsqueeze", "select", "slice",     "view",
                                         "reshape", "expand",    "flatten", "clone",     "neg",    "contiguous"};
  const std::string_view base = name.substr(0, name.find('.'));
  const auto complex = [&](std::size_t i) { return i < arguments.size() && is_complex(arguments[i].arg); };
  if (std::ranges::find(kMoves, base) != std::end(kMoves)) return complex(0);
  if (base == "add" || base == "sub") return complex(0) && complex(1);
  if (base == "mul") return complex(0) != complex(1);
  return base == "div" && complex(0) && !complex(1);
}

std::vector<NamedArg> part_of(std::span<const NamedArg> arguments, std::size_t part) {
  std::vector<NamedArg> parts;
  for (const NamedArg& argument : arguments)
    parts.push_back({argument.name, is_complex(argument.arg) ? (*argument.arg.as<Arg::List>())[part] : argument.arg});
  return parts;
}

std::vector<Overload> complex_overloads() {
  return {
      {"_fft_r2c(Tensor self, int[] dim, int normalization, bool onesided) -> Complex", real_to_complex},
      {"_fft_c2r(Complex self, int[] dim, int normalization, SymInt last_dim_size) -> Tensor", complex_to_real},
      {"_fft_c2c(Complex self, int[] dim, int normalization, bool forward) -> Complex", complex_to_complex},
      {"fft_rfft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Complex", transform<true, true>},
      {"fft_irfft(Complex self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor", inverse_of_real},
      {"fft_fft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Complex", transform<false, true>},
      {"fft_fft(Complex self, SymInt? n=None, int dim=-1, str? norm=None) -> Complex", transform<false, true>},
      {"fft_ifft(Complex self, SymInt? n=None, int dim=-1, str? norm=None) -> Complex", transform<false, false>},
      {"view_as_real(Complex self) -> Tensor", as_real},
      {"view_as_complex(Tensor self) -> Complex", as_complex},
      {"complex(Tensor real, Tensor imag) -> Complex", of_parts},
      {"polar(Tensor abs, Tensor angle) -> Complex", polar},
      {"real(Complex self) -> Tensor", real_part},
      {"imag(Complex self) -> Tensor", imaginary_part},
      {"abs(Complex self) -> Tensor", absolute},
      {"angle(Complex self) -> Tensor", angle},
      {"_conj(Complex self) -> Complex", conjugate},
      {"_conj_physical(Complex self) -> Complex", conjugate},
      {"mul.Tensor(Complex self, Complex other) -> Complex", product},
  };
}

}  // namespace taper::aten
