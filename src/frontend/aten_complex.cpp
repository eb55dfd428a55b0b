// Arithmetic on complex numbers.
#include "frontend/aten_complex.h"

#include <algorithm>
#include <cmath>

#include "formats/complex_tensor.h"
#include "ops/rules.h"

namespace taper::aten {

bool is_complex(const Arg& arg) {
  return arg.as<ComplexTensor>() != nullptr || arg.as<ComplexNumber>() != nullptr;
}

bool holds_complex(const Arg& arg) {
  const auto* list = arg.as<Arg::List>();
  return is_complex(arg) || (list != nullptr && std::ranges::any_of(*list, is_complex));
}

Complex complex_argument(const Call& call, std::string_view name) {
  Builder& build = call.build;
  const Arg& arg = call.arg(name);
  if (const auto* z = arg.as<ComplexTensor>()) return {z->real->content(build), z->imag->content(build)};
  if (const auto* z = arg.as<ComplexNumber>())
    return {number(build, z->real, DType::f32), number(build, z->imag, DType::f32)};
  return {cast(build, call.tensor(name), DType::f32), nullptr};
}

Arg fresh(Builder& build, const Complex& z) {
  if (z.real == nullptr) return fresh(z.real);
  Value* imag = z.imag != nullptr ? z.imag : full(build, z.real->type.shape, Arg(0.0), DType::f32);
  if (imag == nullptr) return fresh(imag);
  const auto shape = broadcast(z.real->type.shape, imag->type.shape);
  if (!shape) {
    build.set_error(shape.error());
    return fresh(static_cast<Value*>(nullptr));
  }
  return ComplexTensor{Tensor::make(expand(build, z.real, *shape)), Tensor::make(expand(build, imag, *shape))};
}

Arg complex_constant(Builder& build, const taper::Tensor& parts, std::string_view name) {
  const auto part = [&](std::size_t index, std::string_view suffix) {
    return Tensor::make(
        build.constant(converted(part_of_complex(parts, index), DType::f32), fmt::format("{}{}", name, suffix)));
  };
  return ComplexTensor{part(0, ".real"), part(1, ".imag")};
}

Expected<Arg> view_as_complex(Context& context, const TensorPtr& x) {
  const NamedArg argument{"", x};
  return call(context, "view_as_complex", std::span(&argument, 1));
}
Expected<Arg> view_as_real(Context& context, const Arg& z) {
  const NamedArg argument{"", z};
  return call(context, "view_as_real", std::span(&argument, 1));
}

Complex conjugate_of(Builder& build, const Complex& z) {
  return {z.real, z.imag != nullptr ? build("neg", {z.imag}) : nullptr};
}

namespace {

// ------------------------------------------------------------------------------------------------------------ by parts

// Operators that move elements or add them up. The arguments at these places are complex, all others are not: an index,
// a mask, sizes.
struct ByParts {
  std::string_view names;
  std::vector<std::size_t> complex;
};
const std::vector<ByParts>& by_parts() {
  static const std::vector<ByParts> rows = {
      {" permute transpose t mT numpy_T swapaxes swapdims movedim moveaxis squeeze unsqueeze select slice narrow view "
       "reshape unflatten flatten expand expand_as view_as reshape_as repeat tile flip roll rot90 unfold diagonal "
       "tril triu gather index index_select take_along_dim cat concat concatenate stack hstack vstack split "
       "split_with_sizes chunk tensor_split unbind clone contiguous alias detach _unsafe_view unsafe_split lift_fresh "
       "lift_fresh_copy resolve_neg zeros_like zero positive neg negative sum mean cumsum fft_fftshift fft_ifftshift "
       "repeat_interleave broadcast_to ",
       {0}},
      {" copy select_scatter slice_scatter ", {0, 1}},
      {" index_put ", {0, 2}},
      {" where ", {1, 2}},
  };
  return rows;
}

// The operator's name without overload, "_" of its in-place form and "_copy" of the one without views.
std::string_view base_of(std::string_view name) {
  name = name.substr(0, name.find('.'));
  if (name.ends_with('_') && !name.ends_with("__")) name.remove_suffix(1);
  if (name.ends_with("_copy")) name.remove_suffix(5);
  return name;
}

bool is_all_complex(const Arg& arg) {
  if (arg.as<ComplexTensor>() != nullptr) return true;
  const auto* list = arg.as<Arg::List>();
  return list != nullptr && !list->empty() &&
         std::ranges::all_of(*list, [](const Arg& entry) { return entry.as<ComplexTensor>() != nullptr; });
}

bool goes_by_parts(std::string_view name, std::span<const NamedArg> arguments) {
  const std::string word = fmt::format(" {} ", base_of(name));
  const auto row = std::ranges::find_if(by_parts(), [&](const ByParts& each) { return each.names.contains(word); });
  if (row == by_parts().end()) return false;
  const bool lends_shape = base_of(name).ends_with("_as");  // the second argument, complex or not
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (lends_shape && i == 1) continue;
    const bool expected = std::ranges::find(row->complex, i) != row->complex.end();
    if (expected ? !is_all_complex(arguments[i].arg) : holds_complex(arguments[i].arg)) return false;
  }
  return true;
}

Arg part_of(const Arg& arg, std::size_t part) {
  if (const auto* z = arg.as<ComplexTensor>()) return part == 0 ? z->real : z->imag;
  if (const auto* z = arg.as<ComplexNumber>()) return part == 0 ? z->real : z->imag;
  const auto* list = arg.as<Arg::List>();
  if (list == nullptr || !holds_complex(arg)) return arg;
  Arg::List parts;
  for (const Arg& entry : *list) parts.push_back(part_of(entry, part));
  return Arg(std::move(parts));
}

// The part of each argument, or of each of two.
std::vector<NamedArg> parts_of(std::span<const NamedArg> arguments, std::size_t part) {
  std::vector<NamedArg> parts;
  for (const NamedArg& argument : arguments) parts.push_back({argument.name, part_of(argument.arg, part)});
  return parts;
}

// Results as complex numbers, list by list.
Arg joined(const Arg& real, const Arg& imag) {
  const auto* a = real.as<TensorPtr>();
  const auto* b = imag.as<TensorPtr>();
  if (a != nullptr && b != nullptr) return ComplexTensor{*a, *b};
  const auto* reals = real.as<Arg::List>();
  const auto* imags = imag.as<Arg::List>();
  if (reals == nullptr || imags == nullptr || reals->size() != imags->size()) return real;
  Arg::List list;
  for (std::size_t i = 0; i < reals->size(); ++i) list.push_back(joined((*reals)[i], (*imags)[i]));
  return Arg(std::move(list));
}

Expected<Arg> each_part(Context& context, std::string_view name, std::span<const NamedArg> arguments) {
  TAPER_ASSIGN(const Arg real, call(context, name, parts_of(arguments, 0)));
  TAPER_ASSIGN(const Arg imag, call(context, name, parts_of(arguments, 1)));
  return joined(real, imag);
}

// ------------------------------------------------------------------------------------------------------------ products

constexpr std::string_view kProducts =
    " matmul linalg_matmul mm bmm mv dot outer ger inner einsum tensordot kron conv1d conv2d conv3d ";

// Where a product's two factors stand: arguments, or entries of one list.
std::vector<Arg*> factors_of(std::vector<NamedArg>& arguments) {
  std::vector<Arg*> factors;
  for (NamedArg& argument : arguments) {
    if (auto* list = std::get_if<Arg::List>(&argument.arg.value); list != nullptr && holds_complex(argument.arg))
      for (Arg& entry : *list) factors.push_back(&entry);
    else if (argument.arg.as<TensorPtr>() != nullptr || is_complex(argument.arg))
      factors.push_back(&argument.arg);
  }
  return factors;
}

// (a + b i) (c + d i), by products of reals.
Expected<Arg> product_of_parts(Context& context, std::string_view name, std::span<const NamedArg> given) {
  const auto multiplied = [&](std::size_t first, std::size_t second) -> Expected<Value*> {
    std::vector<NamedArg> arguments(given.begin(), given.end());
    const std::vector<Arg*> factors = factors_of(arguments);
    if (factors.size() != 2)
      return fail("aten.{}: a product of {} factors, some of them complex", name, factors.size());
    *factors[0] = part_of(*factors[0], first);
    *factors[1] = part_of(*factors[1], second);
    TAPER_ASSIGN(const Arg result, call(context, name, arguments));
    const auto* tensor = result.as<TensorPtr>();
    if (tensor == nullptr) return fail("aten.{}: no single result", name);
    return (*tensor)->content(context.build);
  };
  std::vector<NamedArg> arguments(given.begin(), given.end());
  const std::vector<Arg*> factors = factors_of(arguments);
  if (factors.size() == 1) return each_part(context, name, given);
  const bool both = factors.size() == 2 && is_complex(*factors[0]) && is_complex(*factors[1]);
  TAPER_ASSIGN(Value * real, multiplied(0, 0));
  TAPER_ASSIGN(Value * imag, multiplied(both ? 0 : 1, 1));
  if (both) {
    TAPER_ASSIGN(Value * less, multiplied(1, 1));
    TAPER_ASSIGN(Value * more, multiplied(1, 0));
    real = context.build("sub", {real, less});
    imag = context.build("add", {imag, more});
  }
  TAPER_TRY(context.build.status());
  return fresh(context.build, Complex{real, imag});
}

// -------------------------------------------------------------------------------------------------------------- places

// A view of both parts, which can't be written through.
Expected<Arg> as_real(Call& call) {
  Builder& build = call.build;
  const auto* z = call.arg("self").as<ComplexTensor>();
  if (z == nullptr) return fail("reals stand for complex numbers");
  const View stacked = [imag = z->imag](Builder& builder, Value* real) -> Value* {
    const auto rank = shape_of(real).size();
    const auto behind = static_cast<std::int64_t>(rank);
    return concat(builder, {unsqueeze(builder, real, behind), unsqueeze(builder, imag->content(builder), behind)},
                  rank);
  };
  Shape shape = z->real->type().shape;
  shape.emplace_back(2);
  const Strides strides = z->real->contiguous() == true ? Strides(row_major(shape)) : std::nullopt;
  return Arg(Tensor::make_view(build, z->real, stacked, nullptr, strides));
}

Expected<Arg> as_complex(Call& call) {
  const TensorPtr x = call.place("self");
  const Shape& shape = x->type().shape;
  if (shape.empty() || !shape.back().is(2) || !is_floating(x->type().dtype))
    return fail("complex numbers of {}, whose last axis is not 2", type_text(x->type()));
  const auto part = [&](std::int64_t index) {
    const NamedArg arguments[] = {{"", x}, {"", Dim(-1)}, {"", Dim(index)}};
    return aten::call(call.context, "select.int", arguments);
  };
  TAPER_ASSIGN(const Arg real, part(0));
  TAPER_ASSIGN(const Arg imag, part(1));
  return joined(real, imag);
}

// One part, which can't be written through.
Expected<Arg> part_alone(Call& call, std::size_t part) {
  const Arg found = part_of(call.arg("self"), part);
  const auto* tensor = found.as<TensorPtr>();
  if (tensor == nullptr) return fail("a part of a number");
  return Arg(Tensor::make_view(
      call.build, *tensor, [](Builder&, Value* base) { return base; }, nullptr, (*tensor)->strides()));
}
Expected<Arg> real_part(Call& call) {
  return part_alone(call, 0);
}
Expected<Arg> imaginary_part(Call& call) {
  return part_alone(call, 1);
}

Expected<Arg> conjugate(Call& call) {
  const auto* z = call.arg("self").as<ComplexTensor>();
  if (z == nullptr) return fresh(call.build, conjugate_of(call.build, complex_argument(call, "self")));
  const View negated = [](Builder& build, Value* imag) { return build("neg", {imag}); };
  const WriteBack back = [](Builder& build, Value*, Value* written) { return build("neg", {written}); };
  return Arg(ComplexTensor{z->real, Tensor::make_view(call.build, z->imag, negated, back, z->imag->strides())});
}

Expected<Arg> itself(Call& call) {
  return call.arg("self");
}

// ------------------------------------------------------------------------------------------------------------- numbers

Value* product(Builder& build, Value* a, Value* b) {
  return a == nullptr || b == nullptr ? nullptr : build("mul", {a, b});
}
Value* sum(Builder& build, Value* a, Value* b) {
  if (a == nullptr) return b;
  return b == nullptr ? a : build("add", {a, b});
}
Value* difference(Builder& build, Value* a, Value* b) {
  if (b == nullptr) return a;
  return a == nullptr ? build("neg", {b}) : build("sub", {a, b});
}

Value* square_of_size(Builder& build, const Complex& z) {
  return sum(build, product(build, z.real, z.real), product(build, z.imag, z.imag));
}

}  // namespace

// (a + b i) (c + d i)
Complex product_of(Builder& build, const Complex& x, const Complex& y) {
  return {difference(build, product(build, x.real, y.real), product(build, x.imag, y.imag)),
          sum(build, product(build, x.real, y.imag), product(build, x.imag, y.real))};
}

Value* size_of(Builder& build, const Complex& z) {
  return z.imag == nullptr ? build("abs", {z.real}) : build("sqrt", {square_of_size(build, z)});
}
Complex quotient_of(Builder& build, const Complex& x, const Complex& y) {
  if (y.imag == nullptr)
    return {build("div", {x.real, y.real}), x.imag != nullptr ? build("div", {x.imag, y.real}) : nullptr};
  const Complex above = product_of(build, x, conjugate_of(build, y));
  Value* below = square_of_size(build, y);
  return {build("div", {above.real, below}), above.imag != nullptr ? build("div", {above.imag, below}) : nullptr};
}

namespace {

Value* angle_of(Builder& build, const Complex& z) {
  Value* imag = z.imag != nullptr ? z.imag : number(build, 0.0, DType::f32);
  return build("atan2", {imag, z.real});
}

Complex of_polar(Builder& build, Value* size, Value* angle) {
  return {build("mul", {size, build("cos", {angle})}), build("mul", {size, build("sin", {angle})})};
}

// x + alpha y, x - alpha y
Expected<Arg> sum_of(Call& call, bool plus) {
  Builder& build = call.build;
  const Complex x = complex_argument(call, "self");
  Complex y = complex_argument(call, "other");
  if (call.real_or("alpha", 1) != 1) y = product_of(build, y, {number(build, call.real("alpha"), DType::f32)});
  if (plus) return fresh(build, {sum(build, x.real, y.real), sum(build, x.imag, y.imag)});
  return fresh(build, {difference(build, x.real, y.real), difference(build, x.imag, y.imag)});
}
Expected<Arg> add(Call& call) {
  return sum_of(call, true);
}
Expected<Arg> subtract(Call& call) {
  return sum_of(call, false);
}

Expected<Arg> multiply(Call& call) {
  return fresh(call.build, product_of(call.build, complex_argument(call, "self"), complex_argument(call, "other")));
}
Expected<Arg> divide(Call& call) {
  return fresh(call.build, quotient_of(call.build, complex_argument(call, "self"), complex_argument(call, "other")));
}
Expected<Arg> reciprocal(Call& call) {
  return fresh(call.build,
               quotient_of(call.build, {number(call.build, 1.0, DType::f32)}, complex_argument(call, "self")));
}
Expected<Arg> square(Call& call) {
  const Complex z = complex_argument(call, "self");
  return fresh(call.build, product_of(call.build, z, z));
}

Expected<Arg> absolute(Call& call) {
  return aten::fresh(size_of(call.build, complex_argument(call, "self")));
}
Expected<Arg> angle(Call& call) {
  return aten::fresh(angle_of(call.build, complex_argument(call, "self")));
}

// z / |z|, 0 at 0
Expected<Arg> sign(Call& call) {
  Builder& build = call.build;
  const Complex z = complex_argument(call, "self");
  Value* size = size_of(build, z);
  Value* zero = build("equal", {size, number(build, 0.0, DType::f32)});
  Value* divisor = build("where", {zero, number(build, 1.0, DType::f32), size});
  return fresh(build, quotient_of(build, z, {divisor}));
}

Expected<Arg> exponential(Call& call) {
  const Complex z = complex_argument(call, "self");
  return fresh(call.build, of_polar(call.build, call.build("exp", {z.real}), z.imag));
}
Expected<Arg> logarithm(Call& call) {
  Builder& build = call.build;
  const Complex z = complex_argument(call, "self");
  return fresh(build, {build("log", {size_of(build, z)}), angle_of(build, z)});
}

// sqrt((|z| + a) / 2) + sign(b) sqrt((|z| - a) / 2) i
Complex root_of(Builder& build, const Complex& z) {
  Value* half = number(build, 0.5, DType::f32);
  Value* zero = number(build, 0.0, DType::f32);
  Value* size = size_of(build, z);
  const auto root = [&](std::string_view combined) {
    Value* inside = build("mul", {build(combined, {size, z.real}), half});
    return build("sqrt", {build("maximum", {inside, zero})});  // rounding may have made it negative
  };
  Value* imag = root("sub");
  imag = build("where", {build("less", {z.imag, zero}), build("neg", {imag}), imag});
  return {root("add"), imag};
}
Expected<Arg> square_root(Call& call) {
  return fresh(call.build, root_of(call.build, complex_argument(call, "self")));
}
Expected<Arg> reciprocal_root(Call& call) {
  Builder& build = call.build;
  return fresh(build,
               quotient_of(build, {number(build, 1.0, DType::f32)}, root_of(build, complex_argument(call, "self"))));
}

// Small whole powers by products, others by size and angle.
Expected<Arg> power(Call& call) {
  Builder& build = call.build;
  constexpr double kMostProducts = 8;
  const Complex z = complex_argument(call, "self");
  const double exponent = call.real("exponent");
  TAPER_TRY(build.status());
  if (exponent == std::trunc(exponent) && exponent != 0 && std::abs(exponent) <= kMostProducts) {
    Complex result = z;
    for (double i = 1; i < std::abs(exponent); ++i) result = product_of(build, result, z);
    if (exponent < 0) result = quotient_of(build, {number(build, 1.0, DType::f32)}, result);
    return fresh(build, result);
  }
  Value* factor = number(build, exponent, DType::f32);
  Value* size = build("pow", {size_of(build, z), factor});
  return fresh(build, of_polar(build, size, build("mul", {angle_of(build, z), factor})));
}

Expected<Arg> equals(Call& call, bool equal) {
  Builder& build = call.build;
  const auto with_both = [&](std::string_view name) {
    Complex z = complex_argument(call, name);
    if (z.imag == nullptr) z.imag = number(build, 0.0, DType::f32);
    return z;
  };
  const Complex x = with_both("self"), y = with_both("other");
  const std::string_view row = equal ? "equal" : "not_equal";
  return aten::fresh(
      build(equal ? "logical_and" : "logical_or", {build(row, {x.real, y.real}), build(row, {x.imag, y.imag})}));
}

// The sum of conj(x) y
Expected<Arg> conjugate_dot(Call& call) {
  Builder& build = call.build;
  const Complex z =
      product_of(build, conjugate_of(build, complex_argument(call, "self")), complex_argument(call, "other"));
  const auto total = [&](Value* part) { return part == nullptr ? part : reduce(build, "sum", part, {0}, false); };
  return fresh(build, {total(z.real), total(z.imag)});
}

Expected<Arg> of_parts(Call& call) {
  return fresh(call.build, {call.tensor("real"), call.tensor("imag")});
}

Expected<Arg> polar(Call& call) {
  return fresh(call.build, of_polar(call.build, call.tensor("abs"), call.tensor("angle")));
}

Expected<Arg> as_dtype(Call& call) {
  const bool copies = call.schema.name == "_to_copy" || call.flag("copy");
  if (!copies && call.arg("self").as<ComplexTensor>() != nullptr) return call.arg("self");
  return fresh(call.build, complex_argument(call, "self"));
}

Expected<Arg> zeros(Call& call) {
  Value* zero = full(call.build, call.sizes("size"), Arg(0.0), DType::f32);
  return Arg(ComplexTensor{Tensor::make(zero), Tensor::make(zero)});
}

}  // namespace

std::optional<Expected<Arg>> call_by_parts(Context& context, std::string_view name,
                                           std::span<const NamedArg> arguments) {
  if (goes_by_parts(name, arguments)) return each_part(context, name, arguments);
  if (kProducts.contains(fmt::format(" {} ", base_of(name)))) return product_of_parts(context, name, arguments);
  return std::nullopt;
}

std::vector<Overload> complex_overloads() {
  std::vector<Overload> rows = {
      {"view_as_real(Complex self) -> Tensor", as_real},
      {"view_as_complex(Tensor self) -> Complex", as_complex},
      {"complex(Tensor real, Tensor imag) -> Complex", of_parts},
      {"polar(Tensor abs, Tensor angle) -> Complex", polar},
      {"real(Complex self) -> Tensor", real_part},
      {"imag(Complex self) -> Tensor", imaginary_part},
      {"conj(Complex self) -> Complex", conjugate},
      {"_conj(Complex self) -> Complex", conjugate},
      {"_conj_physical(Complex self) -> Complex", conjugate},
      {"conj_physical(Complex self) -> Complex", conjugate},
      {"resolve_conj(Complex self) -> Complex", itself},
      {"is_complex(Complex self) -> bool", [](Call&) { return Expected<Arg>(Arg(true)); }},
      {"abs(Complex self) -> Tensor", absolute},
      {"angle(Complex self) -> Tensor", angle},
      {"sgn(Complex self) -> Complex", sign},
      {"exp(Complex self) -> Complex", exponential},
      {"log(Complex self) -> Complex", logarithm},
      {"sqrt(Complex self) -> Complex", square_root},
      {"rsqrt(Complex self) -> Complex", reciprocal_root},
      {"square(Complex self) -> Complex", square},
      {"reciprocal(Complex self) -> Complex", reciprocal},
      {"pow.Tensor_Scalar(Complex self, Scalar exponent) -> Complex", power},
      {"add.Tensor(Complex self, Complex other, *, Scalar alpha=1) -> Complex", add},
      {"add.Scalar(Complex self, Complex other, Scalar alpha=1) -> Complex", add},
      {"sub.Tensor(Complex self, Complex other, *, Scalar alpha=1) -> Complex", subtract},
      {"sub.Scalar(Complex self, Complex other, Scalar alpha=1) -> Complex", subtract},
      {"mul.Tensor(Complex self, Complex other) -> Complex", multiply},
      {"mul.Scalar(Complex self, Complex other) -> Complex", multiply},
      {"div.Tensor(Complex self, Complex other) -> Complex", divide},
      {"div.Scalar(Complex self, Complex other) -> Complex", divide},
      {"eq.Tensor(Complex self, Complex other) -> Tensor", [](Call& call) { return equals(call, true); }},
      {"eq.Scalar(Complex self, Complex other) -> Tensor", [](Call& call) { return equals(call, true); }},
      {"ne.Tensor(Complex self, Complex other) -> Tensor", [](Call& call) { return equals(call, false); }},
      {"ne.Scalar(Complex self, Complex other) -> Tensor", [](Call& call) { return equals(call, false); }},
      {"vdot(Complex self, Complex other) -> Complex", conjugate_dot},
      {"_to_copy(Tensor self, *, ComplexDType dtype, Layout? layout=None, Device? device=None, bool? pin_memory=None, "
       "bool non_blocking=False, MemoryFormat? memory_format=None) -> Complex",
       as_dtype},
      {"_to_copy(Complex self, *, ComplexDType dtype, Layout? layout=None, Device? device=None, bool? pin_memory=None, "
       "bool non_blocking=False, MemoryFormat? memory_format=None) -> Complex",
       as_dtype},
      {"zeros(SymInt[] size, *, ComplexDType dtype, Layout? layout=None, Device? device=None, bool? pin_memory=None) "
       "-> Complex",
       zeros},
  };
  for (const std::string_view schema :
       {"to.dtype(Tensor self, ComplexDType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? "
        "memory_format=None) -> Complex",
        "to.dtype(Complex self, ComplexDType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? "
        "memory_format=None) -> Complex",
        "to.dtype_layout(Tensor self, *, ComplexDType dtype, Layout? layout=None, Device? device=None, bool? "
        "pin_memory=None, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Complex",
        "to.dtype_layout(Complex self, *, ComplexDType? dtype=None, Layout? layout=None, Device? device=None, bool? "
        "pin_memory=None, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Complex",
        "to.device(Tensor self, Device device, ComplexDType dtype, bool non_blocking=False, bool copy=False, "
        "MemoryFormat? memory_format=None) -> Complex",
        "to.device(Complex self, Device device, ComplexDType dtype, bool non_blocking=False, bool copy=False, "
        "MemoryFormat? memory_format=None) -> Complex",
        "to.prim_Device(Complex self, Device? device, ComplexDType? dtype=None, bool non_blocking=False, bool "
        "copy=False) -> Complex"})
    rows.push_back({schema, as_dtype});
  const std::vector<Overload> functions = complex_function_overloads();
  rows.insert(rows.end(), functions.begin(), functions.end());
  return rows;
}

}  // namespace taper::aten
