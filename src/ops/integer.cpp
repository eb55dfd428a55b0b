// Division with rests, powers, bits: what is exact for integers.
#include <cmath>
#include <limits>

#include "ops/families.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

using tflite::BuiltinOperator;

// Values that a division is tried with: away from 0.
Op division(Op op) {
  op.examples = {{{f32({2, 3}), f32({2, 3})}, {}, 0.5, 4},
                 {{f32({2, 3, 4}), f32({4})}, {}, 0.5, 4},
                 example_of({i64({2, 3}), i64({3})}, 1, 9),
                 example_of({i32({2, 3}), i32({3})}, 1, 9)};
  return op;
}

Expected<std::vector<Type>> infer_integers(const InferCall& call) {
  if (is_floating(call.type(0).dtype) || call.type(0).dtype == DType::boolean)
    return fail("the operands are {}, expected integers", info(call.type(0).dtype).name);
  return infer_binary(call);
}

Expected<std::vector<Type>> infer_bits(const InferCall& call) {
  if (is_floating(call.type(0).dtype))
    return fail("the operands are {}, expected integers or booleans", info(call.type(0).dtype).name);
  return call.operands.size() == 1 ? same_as_first(call) : infer_binary(call);
}

// TFLite's operators that know no int64: of it they are made in other ways, as exactly.
std::vector<TfliteDType> in_32_bits(TfliteVersion version, bool floats) {
  if (!floats) return {{DType::i32, version}};
  return {{DType::f32, version}, {DType::i32, version}};
}

bool takes_long_integers(const Node& node, Target) {
  return node.operands[0]->type.dtype == DType::i64;
}

// ------------------------------------------------------------------------------------------------------------ division

// The rest of a / b has the sign of b. Integers: a division by zero gives 0 here, and whatever it likes at run time.
double remainder_of(double a, double b) {
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
double integer_or(double x) {
  return std::isfinite(x) ? x : 0;
}

template <auto F>
Expected<std::vector<Array>> eval_division(const EvalCall& call) {
  TAPER_ASSIGN(Array out, zip_elements(call.operand(0), call.operand(1), call.operand(0).dtype, F));
  if (!is_floating(out.dtype))
    for (double& x : out.values) x = integer_or(x);
  return std::vector{std::move(out)};
}

// ONNX has the rest of Python's division for integers only.
Expr remainder_by_fmod(Expr a, Expr b) {
  const Expr rest = apply("fmod", a, b);
  const Expr mixed = apply("not_equal", apply("less", rest, 0.0), apply("less", b, 0.0));
  return where(apply("logical_and", mixed, apply("not_equal", rest, 0.0)), rest + b, rest);
}
// The rest of C's division has the sign of a. The smallest integer has no absolute value, and by -1 processors don't
// divide it.
Expr fmod_by_remainder(Expr a, Expr b) {
  if (!is_floating(a.dtype())) {
    const Expr divisor = where(apply("equal", b, -1.0), b.number(1), b);
    const Expr rest = apply("remainder", a, divisor);
    const Expr mixed = apply("not_equal", apply("less", rest, 0.0), apply("less", a, 0.0));
    return where(apply("logical_and", mixed, apply("not_equal", rest, 0.0)), rest - divisor, rest);
  }
  const Expr rest = apply("remainder", apply("abs", a), apply("abs", b));
  return where(apply("less", a, 0.0), -rest, rest);
}
// Kernels for rests take few integers: of others both are made in wider ones, not of each other without an end.
template <auto F>
std::vector<Value*> expand_rest(Builder& build, const Node& node, std::span<Value* const> operands) {
  const DType dtype = node.operands[0]->type.dtype;
  if (is_floating(dtype) || dtype == DType::i32 || dtype == DType::i64) return expand_as<F>(build, node, operands);
  return call_as(size_of(dtype) < size_of(DType::i32) ? DType::i32 : DType::i64, build, node, operands);
}

// a / b of int64 where a is a multiple of b, with a kernel for float32 alone. What a quotient of float32 misses is less
// than 2^-21 of it, and is divided again: after three times less than 1/2 is missing of 2^63.
Expr long_quotient(Expr multiple, Expr b) {
  const auto rounded = [&b](Expr a) {
    return cast(apply("round", cast(a, DType::f32) / cast(b, DType::f32)), a.dtype());
  };
  Expr quotient = rounded(multiple);
  for (int i = 0; i < 2; ++i) quotient = quotient + rounded(multiple - quotient * b);
  return quotient;
}
Expr long_floor_divide(Expr a, Expr b) {
  return long_quotient(a - apply("remainder", a, b), b);
}
Expr long_trunc_divide(Expr a, Expr b) {
  return long_quotient(a - apply("fmod", a, b), b);
}

// A quotient of floats that was rounded up to an integer would be off by one, as 1 / 0.1 is.
Expr floor_of_exact_quotient(Expr a, Expr b) {
  const Expr multiple = a - apply("remainder", a, b);
  if (is_floating(a.dtype())) return apply("round", multiple / b);
  return apply("trunc_divide", multiple, b);
}
// a^b of integers by squaring; negative powers are 0, but those of 1 and -1.
std::uint64_t modular_power(std::uint64_t a, std::uint64_t b) {
  const auto is_negative = static_cast<std::int64_t>(b) < 0;
  if (is_negative && a * a != 1) return 0;
  std::uint64_t power = 1;
  for (; b != 0; b >>= 1U, a *= a)
    if ((b & 1U) != 0) power *= a;
  return power;
}

// ---------------------------------------------------------------------------------------------------------------- bits

std::int64_t bits_of(double x) {
  return static_cast<std::int64_t>(x);
}
double number_of(std::int64_t bits) {
  return static_cast<double>(bits);
}

template <auto F>
Expected<std::vector<Array>> eval_bits(const EvalCall& call) {
  return eval_binary<[](double a, double b) { return number_of(F(bits_of(a), bits_of(b))); }>(call);
}

// Booleans are bits: the logical operator of the same meaning, or a formula for integers.
template <auto F>
std::vector<Value*> expand_bits(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (node.operands[0]->type.dtype != DType::boolean) return expand_as<F>(build, node, operands);
  const std::string logical = "logical_" + node.op.substr(std::string_view("bitwise_").size());
  return {build(logical, {operands.begin(), operands.end()})};
}

// What TFLite has for int32 alone, of int64: x = 2^32 high + low with low in 0 .. 2^32 - 1, whose bits int32 holds too.
struct HalfBits {
  Expr high, low;
};
constexpr double kHalf = 4294967296.0;  // 2^32

HalfBits halves_of(Expr x) {
  const Expr low = apply("remainder", x, kHalf);
  const Expr low_signed = apply("remainder", low + kHalf / 2, kHalf) - kHalf / 2;
  return {cast(long_quotient(x - low, x.number(kHalf)), DType::i32), cast(low_signed, DType::i32)};
}

Expr by_halves(std::string_view op, Expr a, Expr b) {
  const HalfBits a_bits = halves_of(a), b_bits = halves_of(b);
  const Expr high = cast(apply(op, a_bits.high, b_bits.high), DType::i64);
  const Expr low = cast(apply(op, a_bits.low, b_bits.low), DType::i64);
  return high * kHalf + apply("remainder", low, kHalf);
}

Op bitwise(Op op, ExpandFn expand) {
  op.infer = infer_bits;
  op.expand = expand;
  op.tensorflow.dtypes = {DType::i64, DType::i32, DType::i16, DType::i8, DType::u8, DType::u16, DType::u32, DType::u64};
  op.examples = {example_of({i64({2, 3}), i64({3})}, -100, 100), example_of({i32({2, 3}), i32({3})}, -100, 100),
                 example_of({boolean({2, 3}), boolean({3})}, 0, 2)};
  if (op.operands.size() == 1)
    for (Example& example : op.examples) example.operands.pop_back();
  return op;
}

Expr with_last_axis(Expr x) {
  return apply("unsqueeze", x, Attrs{{"dims", std::vector<std::int64_t>{-1}}});
}

// Each bit by itself along a last axis: floor(x / 2^k) mod 2.
Expr bit_vector(Expr x, Expr powers) {
  return apply("remainder", apply("floor_divide", with_last_axis(x), powers), 2.0);
}

Expr powers_of(const Expr& x, const std::vector<std::int64_t>& powers) {
  const Tensor tensor = tensor_i64({static_cast<std::int64_t>(powers.size())}, powers);
  return {x.build, x.build->constant(converted(tensor, x.dtype()))};
}

// Two's complement with the sign s is sum (bit_k - s) 2^k - s, where no partial sum is larger than the result.
Expr and_by_bits(Expr a, Expr b) {
  std::vector<std::int64_t> weights;
  for (std::size_t k = 0; k + 1 < 8 * size_of(a.dtype()); ++k) weights.push_back(std::int64_t{1} << k);
  const Expr powers = powers_of(a, weights);
  const Expr sign = cast(apply("logical_and", apply("less", a, 0.0), apply("less", b, 0.0)), a.dtype());
  const Expr bits = bit_vector(a, powers) * bit_vector(b, powers) - with_last_axis(sign);
  const auto sum_of = [&](const Expr& terms) {
    return apply("sum", terms, Attrs{{"dims", std::vector<std::int64_t>{-1}}});
  };
  if (a.dtype() != DType::i64) return sum_of(bits * powers) - sign;
  // ONNX Runtime adds int64 as float64: the bits of either half by themselves.
  std::vector<std::int64_t> low = weights, high(weights.size(), 0);
  for (std::size_t k = 32; k < weights.size(); ++k) {
    low[k] = 0;
    high[k] = weights[k - 32];
  }
  return sum_of(bits * powers_of(a, high)) * kHalf + sum_of(bits * powers_of(a, low)) - sign;
}

std::vector<Value*> expand_and_by_bits(Builder& build, const Node& node, std::span<Value* const> operands) {
  const DType dtype = node.operands[0]->type.dtype;
  if (dtype == DType::u8 || dtype == DType::u16) return call_as(DType::i32, build, node, operands);
  if (dtype == DType::u32) return call_as(DType::i64, build, node, operands);
  return expand_bits<and_by_bits>(build, node, operands);
}

// a + b = (a xor b) + 2 (a and b), of the halves so that nothing overflows; the last bits are multiplied.
Expr and_by_xor(Expr a, Expr b) {
  if (a.dtype() == DType::i64) return by_halves("bitwise_and", a, b);
  const auto half = [](Expr x) { return apply("shift_right", x, 1.0); };
  const Expr a_half = half(a), b_half = half(b);
  const Expr last = (a - a_half * 2) * (b - b_half * 2);
  return a_half + b_half - half(apply("bitwise_xor", a, b)) + last;
}

// Shifts by less than the width of the dtype.
Op shift(Op op, ExpandFn expand) {
  op.infer = infer_integers;
  op.expand = expand;
  op.examples = {example_of({i64({2, 3}), i64({3})}, 0, 12), example_of({i32({2, 3}), i32({3})}, 0, 12)};
  return op;
}

// 2^k, of int64 read from a table; 2^63 wraps around.
Expr power_of_two(Expr exponent) {
  if (exponent.dtype() != DType::i64) return apply("pow", exponent.number(2), exponent);
  std::vector<std::int64_t> powers;
  for (int k = 0; k < 63; ++k) powers.push_back(std::int64_t{1} << k);
  powers.push_back(std::numeric_limits<std::int64_t>::min());
  const Expr table = {exponent.build, exponent.build->constant(tensor_i64({64}, powers))};
  return {exponent.build, (*exponent.build)("gather", {table.value, exponent.value}, {{"dim", std::int64_t{0}}})};
}

// By 63, what leaves the sign alone, in two steps: 2^63 is no positive number.
Expr shifted_right(Expr a, Expr b) {
  if (b.dtype() != DType::i64) return apply("floor_divide", a, power_of_two(b));
  const Expr most = where(apply("less", b, 63.0), b, 62.0);
  return apply("floor_divide", apply("floor_divide", a, power_of_two(most)), power_of_two(b - most));
}

// a^b of int64 as products: of the powers a^(2^k) those that the bits of b name. Beyond 63 only 0, 1 and -1 have
// powers, which depend on whether b is even. Negative powers are 0, but those of 1 and -1.
Expr long_power(Expr a, Expr b) {
  constexpr int kBits = 6;
  constexpr double kMost = 1 << kBits;
  const Expr exponent = apply("abs", b);
  const Expr even = apply("remainder", exponent, 2.0);
  Expr rest = where(apply("less", exponent, kMost), exponent, even + (kMost - 2));
  Expr power = a;
  Expr product = a.number(1);
  for (int k = 0; k < kBits; ++k) {
    const Expr bit = apply("remainder", rest, 2.0);
    product = product * where(apply("equal", bit, 1.0), power, 1.0);
    if (k + 1 == kBits) break;
    rest = long_quotient(rest - bit, rest.number(2));
    power = power * power;
  }
  const Expr vanishes = apply("logical_and", apply("less", b, 0.0), apply("not_equal", a * a, 1.0));
  return where(vanishes, product.number(0), product);
}

// The same for one exponent that is known.
Expr known_power(Expr a, std::int64_t exponent) {
  Expr power = a;
  std::optional<Expr> product;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1) product = product ? *product * power : power;
    if (exponent > 1) power = power * power;
  }
  return *product;
}

std::vector<Value*> expand_long_power(Builder& build, const Node& node, std::span<Value* const> operands) {
  const DType dtype = node.operands[0]->type.dtype;
  if (dtype != DType::i64) return call_as(dtype, build, node, operands);
  const Expr a{&build, operands[0]}, b{&build, operands[1]};
  const Tensor* exponent = constant_of(operands[1]);
  if (exponent != nullptr && exponent->rank() == 0) {
    const double known = to_double(*exponent)[0];
    if (known >= 1 && known < 64) return {known_power(a, static_cast<std::int64_t>(known)).value};
  }
  return {long_power(a, b).value};
}

// -x - 1, of what knows no negative numbers the largest one - x.
Expr inverted(Expr x) {
  const DType dtype = x.dtype();
  if (dtype != DType::u8 && dtype != DType::u16 && dtype != DType::u32) return -x - 1;
  const DType wide = dtype == DType::u32 ? DType::i64 : DType::i32;
  return cast((std::ldexp(1.0, static_cast<int>(8 * size_of(dtype))) - 1) - cast(x, wide), dtype);
}

}  // namespace

std::vector<Op> integer_ops() {
  std::vector<Op> rows;
  const auto row = [&rows](Op op) { rows.push_back(std::move(op)); };

  Op pow = spelled(binary("pow", "a to the power of b",
                          eval_arithmetic<[](double a, double b) { return std::pow(a, b); }, modular_power>),
                   "Pow", "Pow", BuiltinOperator::POW, "1.10.0", tflite_options<tflite::PowOptionsT>());
  pow.examples = {{{f32({2, 3}), f32({2, 3})}, {}, 0.1, 3},
                  {{f32({2, 3}), f32({})}, {}, 0.1, 3},
                  example_of({i64({2, 3}), i64({3})}, 0, 6),
                  example_of({i32({2, 3}), i32({})}, 0, 6)};
  pow.onnx.dtypes = onnx_wide_dtypes();
  pow.tflite.dtypes = in_32_bits({1, "1.10.0"}, true);
  pow.expand = expand_long_power;
  pow.expands_if = takes_long_integers;
  row(std::move(pow));

  Op remainder = division(
      spelled(binary("remainder", "a - b floor(a / b), which has the sign of b", eval_division<remainder_of>), "Mod",
              "FloorMod", BuiltinOperator::FLOOR_MOD, "1.13.0", tflite_options<tflite::FloorModOptionsT>()));
  remainder.onnx.fits = [](const Node& node) { return !takes_floats(node); };
  remainder.expand = expand_rest<remainder_by_fmod>;
  row(std::move(remainder));

  Op fmod = division(spelled(binary("fmod", "a - b trunc(a / b), which has the sign of a",
                                    eval_division<[](double a, double b) { return std::fmod(a, b); }>),
                             "Mod", "TruncateMod"));
  fmod.onnx.fixed = {{"fmod", std::int64_t{1}}};
  fmod.tensorflow.dtypes = {DType::f64, DType::f32, DType::i64, DType::i32};
  fmod.expand = expand_rest<fmod_by_remainder>;
  row(std::move(fmod));

  Op floor_divide = division(
      spelled(binary("floor_divide", "floor(a / b)",
                     eval_division<[](double a, double b) { return std::nearbyint((a - remainder_of(a, b)) / b); }>),
              "", "FloorDiv", BuiltinOperator::FLOOR_DIV, "1.14.0", tflite_options<tflite::FloorDivOptionsT>()));
  floor_divide.tensorflow.fits = [](const Node& node) { return !takes_floats(node); };
  floor_divide.tflite.dtypes = in_32_bits({1, "1.14.0"}, false);
  floor_divide.expand = expand_as<floor_of_exact_quotient>;
  floor_divide.expand_tflite = [](Builder& build, const Node& node, std::span<Value* const> operands) {
    if (takes_floats(node)) return expand_as<floor_of_exact_quotient>(build, node, operands);
    if (takes_long_integers(node, Target::tflite)) return expand_as<long_floor_divide>(build, node, operands);
    return call_as(DType::i32, build, node, operands);
  };
  row(std::move(floor_divide));

  Op trunc_divide =
      division(spelled(binary("trunc_divide", "a / b of integers without its fraction",
                              eval_division<[](double a, double b) { return std::trunc(a / b); }>),
                       "Div", "TruncateDiv", BuiltinOperator::DIV, "1.6.0", tflite_options<tflite::DivOptionsT>()));
  trunc_divide.infer = infer_integers;
  trunc_divide.tflite.dtypes = in_32_bits({1, "1.6.0"}, false);
  trunc_divide.expand = expand_as<long_trunc_divide>;
  trunc_divide.expands_if = takes_long_integers;
  std::erase_if(trunc_divide.examples, [](const Example& e) { return is_floating(e.operands[0].dtype); });
  row(std::move(trunc_divide));

  Op bitwise_not = bitwise(spelled(unary("bitwise_not", "-x - 1; not x of booleans",
                                         [](const EvalCall& call) -> Expected<std::vector<Array>> {
                                           if (call.operand(0).dtype == DType::boolean)
                                             return map_elements(call.operand(0), [](double x) { return 1 - x; });
                                           return map_elements(call.operand(0), [](double x) { return -x - 1; });
                                         }),
                                   "", "Invert"),
                           expand_bits<inverted>);
  row(std::move(bitwise_not));
  Op bitwise_and = bitwise(spelled(binary("bitwise_and", "the bits that both have",
                                          eval_bits<[](std::int64_t a, std::int64_t b) { return a & b; }>),
                                   "", "BitwiseAnd"),
                           expand_and_by_bits);
  bitwise_and.expand_tflite = expand_bits<and_by_xor>;
  row(std::move(bitwise_and));
  // a + b counts common bits twice.
  row(bitwise(spelled(binary("bitwise_or", "the bits that either has",
                             eval_bits<[](std::int64_t a, std::int64_t b) { return a | b; }>),
                      "", "BitwiseOr"),
              expand_bits<[](Expr a, Expr b) { return a + b - apply("bitwise_and", a, b); }>));
  Op bitwise_xor = bitwise(spelled(binary("bitwise_xor", "the bits that one of them has",
                                          eval_bits<[](std::int64_t a, std::int64_t b) { return a ^ b; }>),
                                   "", "BitwiseXor", BuiltinOperator::BITWISE_XOR, "2.13.0"),
                           expand_bits<[](Expr a, Expr b) { return a + b - apply("bitwise_and", a, b) * 2; }>);
  bitwise_xor.tflite.dtypes = in_32_bits({1, "2.13.0"}, false);
  bitwise_xor.expand_tflite = expand_bits<[](Expr a, Expr b) {
    if (a.dtype() == DType::i64) return by_halves("bitwise_xor", a, b);
    return cast(apply("bitwise_xor", cast(a, DType::i32), cast(b, DType::i32)), a.dtype());
  }>;
  row(std::move(bitwise_xor));
  row(shift(spelled(binary("shift_left", "a 2^b",
                           eval_arithmetic<[](double a, double b) { return std::ldexp(a, static_cast<int>(b)); },
                                           [](std::uint64_t a, std::uint64_t b) { return b < 64 ? a << b : 0; }>),
                    "", "LeftShift"),
            expand_as<[](Expr a, Expr b) { return a * power_of_two(b); }>));
  Op shift_right = shift(
      spelled(binary("shift_right", "floor(a / 2^b)",
                     eval_binary<[](double a, double b) { return std::floor(std::ldexp(a, -static_cast<int>(b))); }>),
              "", "RightShift", BuiltinOperator::RIGHT_SHIFT, "2.13.0"),
      expand_as<shifted_right>);
  shift_right.tflite.dtypes = in_32_bits({1, "2.13.0"}, false);
  shift_right.expands_if = [](const Node& node, Target target) {
    return target != Target::tflite || takes_long_integers(node, target);
  };
  row(std::move(shift_right));
  return rows;
}

}  // namespace taper
