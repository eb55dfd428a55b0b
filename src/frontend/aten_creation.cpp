// Tensors made of numbers and sizes.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// Sizes are no dtype of their own: a tensor's default is float32.
DType dtype_or(Call& call, DType fallback) {
  return call.dtype("dtype").value_or(fallback);
}

Expected<Arg> filled(Call& call, const Shape& shape, const Arg& value, DType dtype) {
  for (const Dim& size : shape)
    if (size.constant().value_or(0) < 0) return fail("a tensor of shape {}", shape_text(shape));
  return fresh(full(call.build, shape, value, dtype));
}

Expected<Arg> zeros(Call& call) {
  return filled(call, call.sizes("size"), Arg(Dim(0)), dtype_or(call, DType::f32));
}
Expected<Arg> ones(Call& call) {
  return filled(call, call.sizes("size"), Arg(Dim(1)), dtype_or(call, DType::f32));
}
Expected<Arg> full_of(Call& call) {
  const Arg& value = call.arg("fill_value");
  return filled(call, call.sizes("size"), value, dtype_or(call, number_type(value)));
}

// Filled with a number that is computed when the program runs.
Expected<Arg> full_of_tensor(Call& call, const Shape& shape, DType dtype) {
  Value* value = call.tensor("fill_value");
  if (!shape_of(value).empty()) return fail("a tensor filled with {}", type_text(value->type));
  return fresh(expand(call.build, cast(call.build, value, dtype), shape));
}

Expected<Arg> like(Call& call, const Arg& value) {
  const Type& type = call.place("self")->type();
  return filled(call, type.shape, value, dtype_or(call, type.dtype));
}

Expected<Arg> new_of(Call& call, const Arg& value) {
  return filled(call, call.sizes("size"), value, dtype_or(call, call.place("self")->type().dtype));
}

Expected<Arg> eye(Call& call) {
  Builder& build = call.build;
  const Dim rows = call.size("n");
  const Dim columns = call.given("m") ? call.size("m") : rows;
  Value* row = unsqueeze(build, arange(build, 0, 1, rows, DType::i64), 1);
  Value* column = arange(build, 0, 1, columns, DType::i64);
  return fresh(cast(build, build("equal", {row, column}), dtype_or(call, DType::f32)));
}

// The number of steps from start to end.
Expected<Arg> integer_range(Call& call, const Dim& start, const Dim& end, std::int64_t step, DType dtype) {
  if (step == 0) return fail("a range with step 0");
  const Dim distance = step > 0 ? end - start : start - end;
  const Dim by = step > 0 ? step : -step;
  const Dim length = larger(call.context, ceil_divide(distance, by), 0);
  return fresh(arange(call.build, start, step, length, dtype));
}

// Steps of a size that is a symbol.
Expected<Arg> symbolic_range(Call& call, const Dim& start, const Dim& end, const Dim& step, DType dtype) {
  if (known_less_equal(call.context, 0, step) != true)
    return fail("a range with step {}, which may be negative", step.text());
  Builder& build = call.build;
  const Dim length = larger(call.context, ceil_divide(end - start, step), 0);
  Value* y = build("mul", {arange(build, 0, 1, length, dtype), number(build, Arg(step), dtype)});
  return fresh(start.is(0) ? y : build("add", {y, number(build, Arg(start), dtype)}));
}

// A float that is a whole number, as a size; others as they are.
Arg as_size(const Arg& arg) {
  constexpr double kExact = 9007199254740992.0;
  const double* real = arg.as<double>();
  return real != nullptr && std::trunc(*real) == *real && std::fabs(*real) < kExact
             ? Arg(Dim(static_cast<std::int64_t>(*real)))
             : arg;
}

// A number `times` as large, if that is a whole one.
std::optional<Dim> whole_times(const Arg& arg, std::int64_t times) {
  if (const auto* size = arg.as<Dim>()) return *size * times;
  const double* real = arg.as<double>();
  if (real == nullptr) return std::nullopt;
  const Arg scaled = as_size(*real * static_cast<double>(times));
  const auto* whole = scaled.as<Dim>();
  return whole != nullptr ? std::optional(*whole) : std::nullopt;
}

// Steps of halves, quarters, ... to an end that is open: start + i * step. As many as there are whole steps between
// numbers twice, four times, ... as large, which floats can be without an error.
Expected<Arg> broken_range(Call& call, const Arg& start, const Arg& end, double step, DType dtype) {
  constexpr std::int64_t kMostTimes = 1024;
  for (std::int64_t times = 2; times <= kMostTimes; times *= 2) {
    const auto from = whole_times(start, times), to = whole_times(end, times), by = whole_times(step, times);
    if (!from || !to || !by || by->is(0)) continue;
    Builder& build = call.build;
    const Dim distance = step > 0 ? *to - *from : *from - *to;
    const Dim length = larger(call.context, ceil_divide(distance, step > 0 ? *by : Dim(0) - *by), 0);
    Value* y = build("mul", {arange(build, 0, 1, length, DType::f32), number(build, step, DType::f32)});
    return fresh(cast(build, build("add", {number(build, start, DType::f32), y}), dtype));
  }
  return fail_with_hint(fmt::format("a range of open length in steps of {}, whose number hangs on rounding", step),
                        "count in whole steps and scale: torch.arange(n) * step");
}

Expected<Arg> range(Call& call) {
  const Arg none = Dim(0), one = Dim(1);
  const std::array given = {call.given("start") ? call.arg("start") : none, call.arg("end"),
                            call.given("step") ? call.arg("step") : one};
  const auto is_open = [](const Arg& arg) { return arg.as<Dim>() != nullptr && !arg.as<Dim>()->constant(); };
  // Whole floats count like integers beside sizes that are open; the result is of floats.
  const bool mixed = std::ranges::any_of(given, is_open) &&
                     std::ranges::any_of(given, [](const Arg& arg) { return arg.as<double>() != nullptr; });
  const DType counted = mixed ? DType::f32 : DType::i64;
  const Arg start = mixed ? as_size(given[0]) : given[0];
  const Arg end = mixed ? as_size(given[1]) : given[1];
  const Arg step = mixed ? as_size(given[2]) : given[2];
  const auto* from = start.as<Dim>();
  const auto* to = end.as<Dim>();
  const auto by = constant_integer(step);
  if (from != nullptr && to != nullptr && by) return integer_range(call, *from, *to, *by, dtype_or(call, counted));
  if (const auto* width = step.as<Dim>(); from != nullptr && to != nullptr && width != nullptr)
    return symbolic_range(call, *from, *to, *width, dtype_or(call, counted));
  const auto width_known = by                             ? std::optional(static_cast<double>(*by))
                           : step.as<double>() != nullptr ? std::optional(*step.as<double>())
                                                          : std::nullopt;
  if (const DType dtype = dtype_or(call, DType::f32); mixed && width_known && is_floating(dtype))
    return broken_range(call, start, end, *width_known, dtype);
  if ((from != nullptr && !from->constant()) || (to != nullptr && !to->constant()) ||
      (step.as<Dim>() != nullptr && !by))
    return fail("a range of symbolic sizes with steps that are no integers");
  // start + i * step
  const double first = call.given("start") ? call.real("start") : 0, last = call.real("end");
  const double width = call.given("step") ? call.real("step") : 1;
  const double count = std::ceil((last - first) / width);
  constexpr double kMost = 1e9;
  if (!(count < kMost)) return fail("a range from {} to {} by {}", first, last, width);
  const auto length = static_cast<std::int64_t>(std::max(0.0, count));
  Builder& build = call.build;
  Value* index = arange(build, 0, 1, length, DType::f32);
  Value* y = build("mul", {index, number(build, width, DType::f32)});
  if (first != 0) y = build("add", {y, number(build, first, DType::f32)});
  return fresh(cast(build, y, dtype_or(call, DType::f32)));
}

// start + i (end - start) / (steps - 1)
Expected<Arg> linear_space(Call& call) {
  Builder& build = call.build;
  const Dim steps = call.size("steps");
  const DType dtype = dtype_or(call, DType::f32);
  Value* start = number(build, call.arg("start"), DType::f32);
  Value* end = number(build, call.arg("end"), DType::f32);
  if (steps.is(1)) return fresh(cast(build, reshape(build, start, {Dim(1)}), dtype));
  Value* index = arange(build, 0, 1, steps, DType::f32);
  Value* width = build("div", {build("sub", {end, start}), number(build, Arg(steps - Dim(1)), DType::f32)});
  return fresh(cast(build, build("add", {start, build("mul", {index, width})}), dtype));
}

// A number as a tensor.
Expected<Arg> scalar(Call& call, std::string_view name) {
  const Arg& value = call.arg(name);
  return fresh(number(call.build, value, dtype_or(call, number_type(value))));
}

// Nested lists of numbers, as torch.tensor takes them.
struct Elements {
  Shape shape;
  Arg::List numbers;
};
Status collect(const Arg& data, std::size_t depth, Elements& out) {
  constexpr std::size_t kMostAxes = 16, kMostNumbers = 1 << 20;
  const auto* list = data.as<Arg::List>();
  if (list == nullptr) {
    if (out.numbers.size() == kMostNumbers) return fail("more than {} numbers in a list", kMostNumbers);
    if (depth != out.shape.size()) return fail("lists of different depths");
    out.numbers.push_back(data);
    return {};
  }
  const Dim size = static_cast<std::int64_t>(list->size());
  if (depth == kMostAxes) return fail("lists nested more than {} deep", kMostAxes);
  if (depth == out.shape.size()) {
    if (!out.numbers.empty()) return fail("lists of different depths");
    out.shape.push_back(size);
  }
  if (out.shape[depth] != size) return fail("lists of different lengths");
  for (const Arg& entry : *list) TAPER_TRY(collect(entry, depth + 1, out));
  return {};
}

// Symbolic integers make the tensor a computed one.
Expected<Arg> tensor_of(Call& call) {
  Builder& build = call.build;
  Elements elements;
  TAPER_TRY(collect(call.arg("data"), 0, elements));
  DType natural = DType::boolean;
  bool symbolic = false;
  for (const Arg& entry : elements.numbers) {
    if (entry.as<TensorPtr>() != nullptr || entry.as<std::string>() != nullptr || entry.is_none())
      return fail("a tensor of what is no number");
    natural = promote_types(natural, number_type(entry));
    symbolic |= entry.as<Dim>() != nullptr && !entry.as<Dim>()->constant();
  }
  if (elements.numbers.empty()) natural = DType::f32;
  const DType dtype = dtype_or(call, natural);
  if (symbolic) {
    Shape sizes;
    for (const Arg& entry : elements.numbers) {
      if (entry.as<Dim>() == nullptr) return fail("a tensor of symbolic sizes and other numbers");
      sizes.push_back(*entry.as<Dim>());
    }
    return fresh(cast(build, reshape(build, size_vector(build, sizes), elements.shape), dtype));
  }
  std::vector<double> reals;
  std::vector<std::int64_t> integers;
  for (const Arg& entry : elements.numbers) {
    const bool* flag = entry.as<bool>();
    const double* real = entry.as<double>();
    integers.push_back(flag != nullptr ? *flag : constant_integer(entry).value_or(0));
    reals.push_back(real != nullptr ? *real : static_cast<double>(integers.back()));
  }
  const Integers shape = *constant_sizes(elements.shape);
  const auto bytes = std::as_bytes(std::span(reals));
  const auto source =
      is_floating(natural) ? make_tensor(DType::f64, shape, {bytes.begin(), bytes.end()}) : tensor_i64(shape, integers);
  return fresh(build.constant(converted(source, dtype)));
}

// a0 - a1 cos(2 pi i / n) with n = length, or length - 1 for a symmetric window
Expected<Arg> cosine_window(Call& call, double offset, double amplitude) {
  Builder& build = call.build;
  const Dim length = call.size("window_length");
  const bool periodic = !call.given("periodic") || call.flag("periodic");
  if (length.is(1)) return fresh(full(build, {Dim(1)}, Arg(1.0), DType::f32));
  Value* index = arange(build, 0, 1, length, DType::f32);
  Value* period = number(build, Arg(periodic ? length : length - Dim(1)), DType::f32);
  Value* angle = build("div", {build("mul", {index, number(build, 2 * std::numbers::pi, DType::f32)}), period});
  Value* wave = build("mul", {build("cos", {angle}), number(build, amplitude, DType::f32)});
  return fresh(build("sub", {number(build, offset, DType::f32), wave}));
}

// A tensor of no entries, made to be filled, becomes one as large as the template. The old one is of another type: it
// can't be read any more.
Expected<Arg> resize_as(Call& call) {
  const TensorPtr self = call.place("self");
  const Shape shape = self->type().shape, wanted = call.place("the_template")->type().shape;
  if (shape == wanted) return Arg(self);
  if (!element_count(shape).is(0) || !self->bases().empty())
    return fail("a tensor {} becomes one of {} in place: only one without entries of its own is resized",
                shape_text(shape), shape_text(wanted));
  Value* zeros = full(call.build, wanted, Arg(0.0), self->type().dtype);
  self->lose("a tensor is read that was resized in place: only what resize_as_ gives back is known");
  return fresh(zeros);
}

Expected<Arg> triangle_indices(Call& call, bool lower) {
  const std::int64_t rows = call.integer("row"), columns = call.integer("col"), offset = call.integer("offset");
  constexpr std::int64_t kMost = 1024;
  if (rows < 0 || columns < 0 || rows > kMost || columns > kMost) return fail("a triangle of {} by {}", rows, columns);
  std::vector<std::int64_t> first, second;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      if (lower ? j <= i + offset : j >= i + offset) {
        first.push_back(i);
        second.push_back(j);
      }
  const auto count = static_cast<std::int64_t>(first.size());
  first.insert(first.end(), second.begin(), second.end());
  return fresh(call.build.constant(converted(tensor_i64({2, count}, first), dtype_or(call, DType::i64))));
}

Expected<Arg> random(Call&) {
  return fail_with_hint(
      "random numbers are drawn when the program runs: pass them as an input, or call eval() before saving it",
      "a layer that draws them in eval() too takes them when it is made: FractionalMaxPool2d(..., "
      "_random_samples=...)");
}

}  // namespace

// Where a tensor lives changes no number.
#define TAPER_PLACE "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None"
#define TAPER_FORMAT TAPER_PLACE ", MemoryFormat? memory_format=None"

std::vector<Overload> creation_overloads() {
  std::vector<Overload> rows = {
      {"zeros(SymInt[] size, *, " TAPER_PLACE ") -> Tensor", zeros},
      {"ones(SymInt[] size, *, " TAPER_PLACE ") -> Tensor", ones},
      {"empty.memory_format(SymInt[] size, *, " TAPER_FORMAT ") -> Tensor", zeros},
      {"resize_as_(Tensor self, Tensor the_template, *, MemoryFormat? memory_format=None) -> Tensor", resize_as},
      {"empty_strided(SymInt[] size, SymInt[] stride, *, " TAPER_PLACE ") -> Tensor", zeros},
      {"empty_permuted(SymInt[] size, int[] physical_layout, *, " TAPER_PLACE ") -> Tensor", zeros},
      {"full(SymInt[] size, Scalar fill_value, *, " TAPER_PLACE ") -> Tensor", full_of},
      {"full(SymInt[] size, Tensor fill_value, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) {
         return full_of_tensor(call, call.sizes("size"), dtype_or(call, call.place("fill_value")->type().dtype));
       }},
      {"zeros_like(Tensor self, *, " TAPER_FORMAT ") -> Tensor", [](Call& call) { return like(call, Arg(Dim(0))); }},
      {"ones_like(Tensor self, *, " TAPER_FORMAT ") -> Tensor", [](Call& call) { return like(call, Arg(Dim(1))); }},
      {"empty_like(Tensor self, *, " TAPER_FORMAT ") -> Tensor", [](Call& call) { return like(call, Arg(Dim(0))); }},
      {"full_like(Tensor self, Scalar fill_value, *, " TAPER_FORMAT ") -> Tensor",
       [](Call& call) { return like(call, call.arg("fill_value")); }},
      {"full_like(Tensor self, Tensor fill_value, *, " TAPER_FORMAT ") -> Tensor",
       [](Call& call) {
         const Type& type = call.place("self")->type();
         return full_of_tensor(call, type.shape, dtype_or(call, type.dtype));
       }},
      {"new_zeros(Tensor self, SymInt[] size, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return new_of(call, Arg(Dim(0))); }},
      {"new_ones(Tensor self, SymInt[] size, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return new_of(call, Arg(Dim(1))); }},
      {"new_empty(Tensor self, SymInt[] size, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return new_of(call, Arg(Dim(0))); }},
      {"new_empty_strided(Tensor self, SymInt[] size, SymInt[] stride, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return new_of(call, Arg(Dim(0))); }},
      {"new_full(Tensor self, SymInt[] size, Scalar fill_value, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return new_of(call, call.arg("fill_value")); }},
      {"fill.Scalar(Tensor self, Scalar value) -> Tensor", [](Call& call) { return like(call, call.arg("value")); }},
      {"fill.Tensor(Tensor self, Tensor value) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         const Type& type = call.place("self")->type();
         return fresh(expand(call.build, cast(call.build, call.tensor("value"), type.dtype), type.shape));
       }},
      {"zero(Tensor self) -> Tensor", [](Call& call) { return like(call, Arg(Dim(0))); }},
      {"eye(SymInt n, *, " TAPER_PLACE ") -> Tensor", eye},
      {"eye.m(SymInt n, SymInt m, *, " TAPER_PLACE ") -> Tensor", eye},
      {"arange(Scalar end, *, " TAPER_PLACE ") -> Tensor", range},
      {"arange.start(Scalar start, Scalar end, *, " TAPER_PLACE ") -> Tensor", range},
      {"arange.start_step(Scalar start, Scalar end, Scalar step=1, *, " TAPER_PLACE ") -> Tensor", range},
      {"linspace(Scalar start, Scalar end, SymInt steps, *, " TAPER_PLACE ") -> Tensor", linear_space},
      // PyTorch takes a Scalar, which may be a float that is computed from sizes.
      {"scalar_tensor(Tensor s, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) -> Expected<Arg> {
         const DType dtype = dtype_or(call, DType::f32);
         if (call.arg("s").as<TensorPtr>() == nullptr) return fresh(number(call.build, call.arg("s"), dtype));
         return fresh(cast(call.build, call.tensor("s"), dtype));
       }},
      {"tensor.float(float t, *, ScalarType? dtype=None, Device? device=None, bool requires_grad=False) -> Tensor",
       [](Call& call) { return scalar(call, "t"); }},
      {"tensor.int(SymInt t, *, ScalarType? dtype=None, Device? device=None, bool requires_grad=False) -> Tensor",
       [](Call& call) { return scalar(call, "t"); }},
      {"tensor.bool(bool t, *, ScalarType? dtype=None, Device? device=None, bool requires_grad=False) -> Tensor",
       [](Call& call) { return scalar(call, "t"); }},
      {"tensor(any data, *, ScalarType? dtype=None, Device? device=None, bool requires_grad=False) -> Tensor",
       tensor_of},
      {"as_tensor.list(any data, *, ScalarType? dtype=None, Device? device=None) -> Tensor", tensor_of},
      {"hann_window(SymInt window_length, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return cosine_window(call, 0.5, 0.5); }},
      {"hann_window.periodic(SymInt window_length, bool periodic, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return cosine_window(call, 0.5, 0.5); }},
      {"hamming_window(SymInt window_length, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return cosine_window(call, 0.54, 0.46); }},
      {"hamming_window.periodic(SymInt window_length, bool periodic, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return cosine_window(call, 0.54, 0.46); }},
      {"tril_indices(int row, int col, int offset=0, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return triangle_indices(call, true); }},
      {"triu_indices(int row, int col, int offset=0, *, " TAPER_PLACE ") -> Tensor",
       [](Call& call) { return triangle_indices(call, false); }},
  };
  for (const std::string_view schema : {
           "rand(SymInt[] size, *, " TAPER_PLACE ") -> Tensor",
           "randn(SymInt[] size, *, " TAPER_PLACE ") -> Tensor",
           "randperm(SymInt n, *, " TAPER_PLACE ") -> Tensor",
           "rand_like(Tensor self, *, " TAPER_FORMAT ") -> Tensor",
           "randn_like(Tensor self, *, " TAPER_FORMAT ") -> Tensor",
           "bernoulli(Tensor self, *, Generator? generator=None) -> Tensor",
       })
    rows.push_back({schema, random});
  return rows;
}

}  // namespace taper::aten
