// Functions of complex numbers beyond arithmetic, and what fills and chooses them.
#include <algorithm>
#include <numbers>

#include "frontend/aten_complex.h"
#include "frontend/aten_linalg.h"

namespace taper::aten {
namespace {

// -------------------------------------------------------------------------------------------------------- part by part

Value* part_or_zero(Builder& build, Value* imag) {
  return imag != nullptr ? imag : number(build, 0.0, DType::f32);
}

// a where the condition holds, b elsewhere
Complex chosen(Builder& build, Value* condition, const Complex& a, const Complex& b) {
  condition = cast(build, condition, DType::boolean);
  return {build("where", {condition, a.real, b.real}),
          build("where", {condition, part_or_zero(build, a.imag), part_or_zero(build, b.imag)})};
}

Expected<Arg> where_complex(Call& call) {
  return fresh(call.build, chosen(call.build, call.tensor("condition"), complex_argument(call, "self"),
                                  complex_argument(call, "other")));
}

Expected<Arg> masked_fill_complex(Call& call) {
  if (call.arg("self").as<ComplexTensor>() == nullptr) return fail("reals are filled with complex numbers");
  return fresh(call.build, chosen(call.build, call.tensor("mask"), complex_argument(call, "value"),
                                  complex_argument(call, "self")));
}

// The call on each part, where the argument `value` belongs to the real one.
Expected<Arg> padded_parts(Call& call) {
  const auto* z = call.arg("self").as<ComplexTensor>();
  if (z == nullptr) return fail("reals stand for complex numbers");
  const auto padded = [&](const TensorPtr& part, const Arg& value) -> Expected<TensorPtr> {
    std::vector<NamedArg> arguments;
    for (std::size_t i = 0; i < call.args.size(); ++i)
      arguments.push_back({call.schema.parameters[i].name, call.args[i]});
    arguments.front().arg = part;
    arguments.back().arg = value;
    TAPER_ASSIGN(const Arg result, aten::call(call.context, call.schema.name, arguments));
    return *result.as<TensorPtr>();
  };
  const Arg& value = call.arg("value");
  TAPER_ASSIGN(const TensorPtr real, padded(z->real, value));
  TAPER_ASSIGN(const TensorPtr imag, padded(z->imag, value.is_none() ? value : Arg(Dim(0))));
  return Arg(ComplexTensor{real, imag});
}

Expected<Arg> filled_complex(Call& call, const Shape& shape, const Complex& value) {
  Builder& build = call.build;
  const auto part = [&](Value* number) { return number != nullptr ? expand(build, number, shape) : nullptr; };
  return fresh(build, Complex{part(value.real), part(value.imag)});
}

Complex one(Builder& build) {
  return {number(build, 1.0, DType::f32)};
}

// Numbers in the shape of a tensor of complex ones.
Expected<Arg> filled_like(Call& call, const Complex& value) {
  const auto* z = call.arg("self").as<ComplexTensor>();
  if (z == nullptr) return fail("reals stand for complex numbers");
  return filled_complex(call, z->real->type().shape, value);
}

// ------------------------------------------------------------------------------------------------------------ products

// other - alpha self
Expected<Arg> subtracted_from(Call& call) {
  Builder& build = call.build;
  Complex x = complex_argument(call, "self"), y = complex_argument(call, "other");
  if (call.real_or("alpha", 1) != 1) x = product_of(build, x, {number(build, call.real("alpha"), DType::f32)});
  return fresh(build, {build("sub", {y.real, x.real}),
                       build("sub", {part_or_zero(build, y.imag), part_or_zero(build, x.imag)})});
}

// self + value tensor1 tensor2
Expected<Arg> with_product_added(Call& call) {
  Builder& build = call.build;
  const Complex x = complex_argument(call, "self");
  Complex y = product_of(build, complex_argument(call, "tensor1"), complex_argument(call, "tensor2"));
  if (call.real_or("value", 1) != 1) y = product_of(build, y, {number(build, call.real("value"), DType::f32)});
  return fresh(build, {build("add", {x.real, y.real}),
                       build("add", {part_or_zero(build, x.imag), part_or_zero(build, y.imag)})});
}

Complex entries_of(Builder& build, const Complex& z, std::size_t axis, std::int64_t first, std::int64_t last) {
  return {slice(build, z.real, axis, first, last), slice(build, z.imag, axis, first, last)};
}

struct Factors {
  Complex z;
  std::size_t axis;
  std::int64_t count;
};
Expected<Factors> factors_along(Call& call) {
  constexpr std::int64_t kMost = 1 << 16;
  Builder& build = call.build;
  Complex z = complex_argument(call, "self");
  TAPER_TRY(build.status());
  if (!call.given("dim") || z.real->type.shape.empty()) {
    const Shape flat = {element_count(z.real->type.shape)};
    z = {reshape(build, z.real, flat), reshape(build, z.imag, flat)};
  }
  const Shape& shape = shape_of(z.real);
  TAPER_ASSIGN(const std::size_t axis, axis_of(call.integer_or("dim", 0), shape.size()));
  const auto count = shape[axis].constant();
  if (!count || *count < 1 || *count > kMost) return fail("a product of {} complex numbers", shape[axis].text());
  return Factors{z, axis, *count};
}

// Halves times each other; one that is left over waits for its pair.
Expected<Arg> product_along_axis(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Factors factors, factors_along(call));
  auto [z, axis, count] = factors;
  std::optional<Complex> left;
  while (count > 1 && !build.failed()) {
    if (count % 2 != 0) {
      const Complex odd = entries_of(build, z, axis, count - 1, count);
      left = left ? product_of(build, *left, odd) : odd;
    }
    count /= 2;
    z = product_of(build, entries_of(build, z, axis, 0, count), entries_of(build, z, axis, count, 2 * count));
  }
  if (left) z = product_of(build, z, *left);
  const auto dim = static_cast<std::int64_t>(axis);
  if (!call.flag("keepdim")) z = {squeeze(build, z.real, dim), squeeze(build, z.imag, dim)};
  return fresh(build, z);
}

// Each entry times the product that ends before it, of runs whose length doubles.
Expected<Arg> running_product(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Factors factors, factors_along(call));
  auto [z, axis, count] = factors;
  for (std::int64_t run = 1; run < count && !build.failed(); run *= 2) {
    const Complex first = entries_of(build, z, axis, 0, run);
    const Complex rest =
        product_of(build, entries_of(build, z, axis, run, count), entries_of(build, z, axis, 0, count - run));
    z = {concat(build, {first.real, rest.real}, axis), concat(build, {first.imag, rest.imag}, axis)};
  }
  return fresh(build, z);
}

// ----------------------------------------------------------------------------------------------------------- functions

// Functions of the real part times functions of the imaginary one: { f(a) g(b), sign h(a) k(b) }
struct Mixed {
  std::string_view f, g, h, k;
  bool negative = false;
};
Complex mixed(Builder& build, const Complex& z, const Mixed& how) {
  const auto product = [&](std::string_view left, std::string_view right) {
    return build("mul", {build(left, {z.real}), build(right, {z.imag})});
  };
  Value* imag = product(how.h, how.k);
  return {product(how.f, how.g), how.negative ? build("neg", {imag}) : imag};
}
constexpr Mixed kSine = {"sin", "cosh", "cos", "sinh"};
constexpr Mixed kCosine = {"cos", "cosh", "sin", "sinh", true};
constexpr Mixed kHyperbolicSine = {"sinh", "cos", "cosh", "sin"};
constexpr Mixed kHyperbolicCosine = {"cosh", "cos", "sinh", "sin"};

template <const Mixed& how>
Expected<Arg> mixed_function(Call& call) {
  return fresh(call.build, mixed(call.build, complex_argument(call, "self"), how));
}

// tanh(a + b i) = (t + t' i) / (1 + t t' i) with t = tanh a and t' = tan b
Expected<Arg> hyperbolic_tangent(Call& call) {
  Builder& build = call.build;
  const Complex z = complex_argument(call, "self");
  const Complex tangents = {build("tanh", {z.real}), build("tan", {z.imag})};
  const Complex below = {number(build, 1.0, DType::f32), build("mul", {tangents.real, tangents.imag})};
  return fresh(build, quotient_of(build, tangents, below));
}

// 1 / (1 + exp(-z))
Expected<Arg> logistic(Call& call) {
  Builder& build = call.build;
  const Complex z = complex_argument(call, "self");
  Value* size = build("exp", {build("neg", {z.real})});
  Value* unit = number(build, 1.0, DType::f32);
  const Complex below = {build("add", {unit, build("mul", {size, build("cos", {z.imag})})}),
                         build("neg", {build("mul", {size, build("sin", {z.imag})})})};
  return fresh(build, quotient_of(build, {unit}, below));
}

// Norms, which look at sizes alone.
Expected<Arg> of_sizes(Call& call) {
  std::vector<NamedArg> arguments;
  for (std::size_t i = 0; i < call.args.size(); ++i)
    arguments.push_back({call.schema.parameters[i].name, call.args[i]});
  arguments.front().arg = aten::fresh(size_of(call.build, complex_argument(call, "self")));
  const std::string overload = call.schema.overload.empty() ? "default" : call.schema.overload;
  return aten::call(call.context, fmt::format("{}.{}", call.schema.name, overload), arguments);
}

// 0 or pi
Expected<Arg> angle_of_real(Call& call) {
  Builder& build = call.build;
  Value* x = call.promoted({"self"}, Promotion::floating)[0];
  Value* zero = number(build, 0.0, DType::f32);
  return fresh(build("where", {build("less", {x, zero}), number(build, std::numbers::pi, DType::f32), zero}));
}

// ------------------------------------------------------------------------------------------------------------ matrices

Expected<Arg> adjoint(Call& call) {
  Builder& build = call.build;
  const Complex z = conjugate_of(build, complex_argument(call, "self"));
  TAPER_TRY(build.status());
  const std::size_t rank = z.real->type.shape.size();
  if (rank < 2) return fail("{} has no matrices", type_text(z.real->type));
  return fresh(build, {transpose(build, z.real, rank - 2, rank - 1), transpose(build, z.imag, rank - 2, rank - 1)});
}

// With X + Y i the inverse of A + B i, that of [A, -B; B, A] is [X, -Y; Y, X].
Expected<Arg> inverse_matrix(Call& call, bool with_info) {
  Builder& build = call.build;
  const Complex z = complex_argument(call, call.schema.parameters[0].name);
  TAPER_TRY(build.status());
  const std::size_t rank = z.real->type.shape.size();
  if (rank < 2) return fail("{} has no matrices", type_text(z.real->type));
  Value* above = concat(build, {z.real, build("neg", {z.imag})}, rank - 1);
  Value* below = concat(build, {z.imag, z.real}, rank - 1);
  TAPER_ASSIGN(Value * inverse, inverse_of(build, concat(build, {above, below}, rank - 2)));
  const Dim n = z.real->type.shape[rank - 1];
  Value* left = slice(build, inverse, rank - 1, 0, n);
  Arg result = fresh(build, {slice(build, left, rank - 2, 0, n), slice(build, left, rank - 2, n, n + n)});
  if (!with_info) return result;
  return Arg(Arg::List{std::move(result), Arg()});
}

}  // namespace

#define TAPER_COMPLEX_PLACE \
  "ComplexDType dtype, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Complex"
#define TAPER_ANY_PLACE "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None"

std::vector<Overload> complex_function_overloads() {
  return {
      {"where.self(Tensor condition, Complex self, Complex other) -> Complex", where_complex},
      {"where.ScalarSelf(Tensor condition, Complex self, Complex other) -> Complex", where_complex},
      {"where.ScalarOther(Tensor condition, Complex self, Complex other) -> Complex", where_complex},
      {"where.Scalar(Tensor condition, Complex self, Complex other) -> Complex", where_complex},
      {"masked_fill.Scalar(Complex self, Tensor mask, Complex value) -> Complex", masked_fill_complex},
      {"masked_fill.Tensor(Complex self, Tensor mask, Complex value) -> Complex", masked_fill_complex},
      {"constant_pad_nd(Complex self, SymInt[] pad, Scalar value=0) -> Complex", padded_parts},
      {"pad(Complex self, SymInt[] pad, str mode='constant', float? value=None) -> Complex", padded_parts},
      {"copy(Complex self, Complex src, bool non_blocking=False) -> Complex",
       [](Call& call) { return filled_like(call, complex_argument(call, "src")); }},
      {"fill.Scalar(Complex self, Complex value) -> Complex",
       [](Call& call) { return filled_like(call, complex_argument(call, "value")); }},
      {"fill.Tensor(Complex self, Complex value) -> Complex",
       [](Call& call) { return filled_like(call, complex_argument(call, "value")); }},
      {"ones_like(Complex self, *, " TAPER_ANY_PLACE ", MemoryFormat? memory_format=None) -> Complex",
       [](Call& call) { return filled_like(call, one(call.build)); }},
      {"full_like(Complex self, Complex fill_value, *, " TAPER_ANY_PLACE
       ", MemoryFormat? memory_format=None) -> Complex",
       [](Call& call) { return filled_like(call, complex_argument(call, "fill_value")); }},
      {"ones(SymInt[] size, *, " TAPER_COMPLEX_PLACE,
       [](Call& call) { return filled_complex(call, call.sizes("size"), one(call.build)); }},
      {"full(SymInt[] size, Complex fill_value, *, " TAPER_COMPLEX_PLACE,
       [](Call& call) { return filled_complex(call, call.sizes("size"), complex_argument(call, "fill_value")); }},
      {"full(SymInt[] size, Complex fill_value, *, " TAPER_ANY_PLACE ") -> Complex",
       [](Call& call) { return filled_complex(call, call.sizes("size"), complex_argument(call, "fill_value")); }},
      {"rsub.Scalar(Complex self, Complex other, Scalar alpha=1) -> Complex", subtracted_from},
      {"rsub.Tensor(Complex self, Complex other, *, Scalar alpha=1) -> Complex", subtracted_from},
      {"addcmul(Complex self, Complex tensor1, Complex tensor2, *, Scalar value=1) -> Complex", with_product_added},
      {"prod(Complex self, *, ComplexDType? dtype=None) -> Complex", product_along_axis},
      {"prod.dim_int(Complex self, int dim, bool keepdim=False, *, ComplexDType? dtype=None) -> Complex",
       product_along_axis},
      {"cumprod(Complex self, int dim, *, ComplexDType? dtype=None) -> Complex", running_product},
      {"mH(Complex self) -> Complex", adjoint},
      {"matrix_H(Complex self) -> Complex", adjoint},
      {"adjoint(Complex self) -> Complex", adjoint},
      {"inverse(Complex self) -> Complex", [](Call& call) { return inverse_matrix(call, false); }},
      {"linalg_inv(Complex A) -> Complex", [](Call& call) { return inverse_matrix(call, false); }},
      {"linalg_inv_ex(Complex A, *, bool check_errors=False) -> (Complex inverse, Tensor info)",
       [](Call& call) { return inverse_matrix(call, true); }},
      {"sin(Complex self) -> Complex", mixed_function<kSine>},
      {"cos(Complex self) -> Complex", mixed_function<kCosine>},
      {"sinh(Complex self) -> Complex", mixed_function<kHyperbolicSine>},
      {"cosh(Complex self) -> Complex", mixed_function<kHyperbolicCosine>},
      {"tanh(Complex self) -> Complex", hyperbolic_tangent},
      {"sigmoid(Complex self) -> Complex", logistic},
      {"linalg_vector_norm(Complex self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? "
       "dtype=None) -> Tensor",
       of_sizes},
      {"linalg_norm(Complex self, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) "
       "-> "
       "Tensor",
       of_sizes},
      {"norm.Scalar(Complex self, Scalar p=2) -> Tensor", of_sizes},
      {"norm.ScalarOpt_dim(Complex self, Scalar? p, int[1] dim, bool keepdim=False) -> Tensor", of_sizes},
      {"angle(Tensor self) -> Tensor", angle_of_real},
  };
}

}  // namespace taper::aten
