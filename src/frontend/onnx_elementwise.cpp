// ONNX's operators on single elements.
#include <cmath>
#include <limits>

#include "frontend/onnx_exact.h"
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Operands of two dtypes, as Pow has them: the result has that of the first. Integers with a fractional exponent are
// computed as float64.
void read_pow(Call& call) {
  const DType dtype = call.dtype(0);
  const DType exponent = call.dtype(1);
  if (call.failed()) return;
  const DType common = is_floating(dtype) || !is_floating(exponent) ? dtype : exponent;
  Value* power = call.build("pow", {call.cast(call.x(0), common), call.cast(call.x(1), common)}, {}, call.name());
  call.set(0, call.cast(power, dtype));
}

void read_div(Call& call) {
  const bool whole = !is_floating(call.dtype(0));
  call.set(0, call.build(whole ? "trunc_divide" : "div", {call.x(0), call.x(1)}, {}, call.name()));
}

void read_mod(Call& call) {
  const bool truncated = call.flag("fmod", false);
  call.set(0, call.build(truncated ? "fmod" : "remainder", {call.x(0), call.x(1)}, {}, call.name()));
}

// Max, Min, Sum and Mean of any number of operands.
template <bool kMean>
void fold_operands(Call& call, std::string_view op) {
  Value* result = call.x(0);
  for (std::size_t i = 1; i < call.inputs(); ++i) result = call.build(op, {result, call.x(i)});
  if (kMean) result = call.binary("div", result, static_cast<double>(call.inputs()));
  call.set(0, result);
}

void read_prelu(Call& call) {
  Value *x = call.x(0), *slope = call.x(1);
  if (call.failed()) return;
  if (is_floating(x->type.dtype)) return call.set(0, call.build("prelu", {x, slope}, {}, call.name()));
  Value* below = call.binary("less", x, 0.0);
  call.set(0, call.build("where", {below, call.binary("mul", x, slope), x}, {}, call.name()));
}

void read_is_inf(Call& call) {
  const bool negative = call.flag("detect_negative", true);
  const bool positive = call.flag("detect_positive", true);
  const DType dtype = call.dtype(0);
  Value* x = call.x(0);
  if (call.failed()) return;
  if (negative && positive) return call.set(0, call.build("is_inf", {x}, {}, call.name()));
  if (!negative && !positive) return call.set(0, call.full(call.shape(0), 0, DType::boolean));
  Value* infinity = call.number(positive ? kInfinity : -kInfinity, dtype);
  call.set(0, call.build("equal", {x, infinity}, {}, call.name()));
}

// gamma * (alpha * exp(x) - alpha) for x <= 0, gamma * x above; the usual numbers have a row.
void read_selu(Call& call) {
  const double alpha = call.real("alpha", 1.67326319217681884765625);
  const double gamma = call.real("gamma", 1.05070102214813232421875);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  Value* x = call.x(0);
  if (std::fabs(alpha - 1.6732632) < 1e-6 && std::fabs(gamma - 1.0507010) < 1e-6)
    return call.set(0, call.build("selu", {x}, {}, call.name()));
  call.set(0,
           call.build("mul", {call.build("elu", {x}, {{"alpha", alpha}}), call.number(gamma, dtype)}, {}, call.name()));
}

void read_gelu(Call& call) {
  const bool tanh = call.text("approximate", "none") == "tanh";
  call.set(0, call.build("gelu", {call.x(0)}, {{"tanh_approximation", tanh}}, call.name()));
}

// x for x > alpha, 0 below.
void read_thresholded_relu(Call& call) {
  const double alpha = call.real("alpha", 1.0);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  Value* x = call.x(0);
  Value* above = call.build("greater", {x, call.number(alpha, dtype)});
  call.set(0, call.build("where", {above, x, call.number(0, dtype)}, {}, call.name()));
}

// 1 for x > threshold, 0 below.
void read_binarizer(Call& call) {
  const double threshold = call.real("threshold", 0);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  Value* above = call.build("greater", {call.x(0), call.number(threshold, dtype)});
  call.set(0, call.cast(above, dtype, call.name()));
}

// x + bias for x < -lambd, x - bias for x > lambd, 0 in between.
void read_shrink(Call& call) {
  const double bias = call.real("bias", 0.0);
  const double lambd = call.real("lambd", 0.5);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  Value* x = call.x(0);
  const DType real = is_floating(dtype) ? dtype : DType::f32;
  Value* wide = call.cast(x, real);
  Value* below = call.build("less", {wide, call.number(-lambd, real)});
  Value* above = call.build("greater", {wide, call.number(lambd, real)});
  Value* lowered = call.build("where", {above, call.binary("sub", wide, bias), call.number(0, real)});
  Value* result = call.build("where", {below, call.binary("add", wide, bias), lowered}, {}, call.name());
  call.set(0, call.cast(result, dtype));
}

// x * sigmoid(alpha * x)
void read_swish(Call& call) {
  const double alpha = call.real("alpha", 1.0);
  Value* x = call.x(0);
  if (call.failed()) return;
  if (alpha == 1.0) return call.set(0, call.build("silu", {x}, {}, call.name()));
  call.set(0, call.build("mul", {x, call.build("sigmoid", {call.binary("mul", x, alpha)})}, {}, call.name()));
}

void clip(Call& call, std::optional<double> low, std::optional<double> high) {
  if (!low && !high) return call.set(0, call.x(0));
  Attrs attrs;
  if (low) attrs.set("min", *low);
  if (high) attrs.set("max", *high);
  call.set(0, call.build("clamp", {call.x(0)}, attrs, call.name()));
}

void read_clip_6(Call& call) {
  const double lowest = std::numeric_limits<float>::lowest(), highest = std::numeric_limits<float>::max();
  clip(call, call.real("min", lowest), call.real("max", highest));
}

// The bounds are operands; numbers where they are known and exact.
void read_clip(Call& call) {
  Value* x = call.x(0);
  if (call.failed()) return;
  std::optional<double> bounds[2];
  bool known = true;
  for (const std::size_t i : {1UL, 2UL}) {
    if (!call.has(i)) continue;
    const auto tensor = call.constant(i);
    if (tensor && tensor->element_count() == 1 && is_exact_in_float64(*tensor))
      bounds[i - 1] = to_double(*tensor)[0];
    else
      known = false;
  }
  // The larger bound wins where they cross.
  if (bounds[0] && bounds[1] && *bounds[0] > *bounds[1]) known = false;
  if (known) return clip(call, bounds[0], bounds[1]);
  if (call.has(1)) x = call.build("maximum", {x, call.x(1)});
  if (call.has(2)) x = call.build("minimum", {x, call.x(2)});
  call.set(0, x);
}

void read_bit_shift(Call& call) {
  const std::string direction = call.text("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") return call.fail(fmt::format("direction '{}'", direction));
  const char* op = direction == "LEFT" ? "shift_left" : "shift_right";
  call.set(0, call.build(op, {call.x(0), call.x(1)}, {}, call.name()));
}

void read_identity(Call& call) {
  Slot slot = call.slot(0);
  call.set(0, std::move(slot));
}

// In inference nothing is dropped; the mask says so.
void read_dropout(Call& call) {
  call.ignore({"seed", "ratio", "is_test"});
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  if (call.has(2)) {
    const auto training = call.needed_constant(2);
    if (!training) return;
    const bool trains = training->element_count() == 1 && to_double(*training)[0] != 0;
    const std::vector<double> ratio = trains && call.has(1) ? call.reals_of(1) : std::vector{0.5};
    if (call.failed()) return;
    if (trains && (ratio.size() != 1 || ratio[0] != 0)) return call.fail("training_mode drops elements at random");
  }
  call.set(0, call.x(0));
  if (call.wants(1)) call.set(1, call.full(call.shape(0), 1, call.version < 10 ? dtype : DType::boolean));
}

// -------------------------------------------------------------------------------------------------------------- casts

constexpr int kFloat4 = 23;  // ONNX's element type

struct SmallType {
  int element;
  double largest;  // the largest finite number
  int mantissa;    // bits after the point
  int least;       // the least normal exponent
  bool has_infinity;
  bool unsigned_only;
};
constexpr SmallType kFloats[] = {{17, 448, 3, -6, false, false},
                                 {18, 240, 3, -7, false, false},
                                 {19, 57344, 2, -14, true, false},
                                 {20, 57344, 2, -15, false, false},
                                 {23, 6, 1, 0, false, false}};
struct SmallInteger {
  int element;
  int bits;
  bool is_signed;
};
constexpr SmallInteger kIntegers[] = {{21, 4, false}, {22, 4, true}, {25, 2, false}, {26, 2, true}};

// x rounded to the numbers that a small float type has. Numbers beyond the largest saturate, or become NaN or infinity.
Value* round_to_small_float(Call& call, Value* x, const SmallType& type, bool saturate) {
  Value* wide = call.cast(x, DType::f32);
  if (call.failed()) return nullptr;
  // The step at x is 2^(floor(log2 |x|) - mantissa), at least that of the subnormal numbers.
  Value* magnitude = call.build("clamp", {call.build("abs", {wide})},
                                {{"min", std::ldexp(1.0, type.least)}, {"max", std::ldexp(1.0, 20)}});
  Value* exponent = call.build("floor", {call.build("log2", {magnitude})});
  Value* step = call.build("pow", {call.number(2, DType::f32), call.binary("sub", exponent, type.mantissa)});
  Value* rounded = call.build("mul", {call.build("round", {call.build("div", {wide, step})}), step});
  Value* bounded = call.build("clamp", {rounded}, {{"min", -type.largest}, {"max", type.largest}});
  if (saturate) {
    // Infinities saturate too, but for NaN, which float4 does not have.
    Value* of_nan = type.element == kFloat4 ? call.number(0, DType::f32) : wide;
    return call.build("where", {call.build("is_nan", {wide}), of_nan, bounded});
  }
  Value* beyond = call.build("greater", {call.build("abs", {rounded}), call.number(type.largest, DType::f32)});
  Value* instead = type.has_infinity
                       ? call.build("mul", {call.build("sign", {wide}), call.number(kInfinity, DType::f32)})
                       : call.number(std::nan(""), DType::f32);
  Value* result = call.build("where", {beyond, instead, bounded});
  return call.build("where", {call.build("is_nan", {wide}), wide, result});
}

}  // namespace

Value* small_float(Call& call, Value* x, int element, bool saturate) {
  const auto* type = std::ranges::find(kFloats, element, &SmallType::element);
  if (type != std::end(kFloats)) return round_to_small_float(call, x, *type, saturate || element == kFloat4);
  call.fail(fmt::format("rounding to element type {} is not read", element));
  return nullptr;
}

namespace {

// The low bits of an integer; fractions are cut off.
Value* wrap_to_small_integer(Call& call, Value* x, const SmallInteger& type) {
  Value* whole = call.cast(x, DType::i32);
  if (call.failed()) return nullptr;
  const double count = std::ldexp(1.0, type.bits);
  Value* low = call.binary("remainder", whole, count);
  if (type.is_signed)
    low = call.binary("sub", call.binary("remainder", call.binary("add", low, count / 2), count), count / 2);
  return call.cast(low, type.is_signed ? DType::i8 : DType::u8);
}

void cast_to(Call& call, int element) {
  const bool saturate = call.flag("saturate", true);
  call.ignore({"round_mode"});
  const auto dtype = dtype_of_element(element);
  if (!dtype) return call.fail(fmt::format("element type {} is not read", element));
  Value* x = call.x(0);
  if (call.failed()) return;
  Slot result;
  result.element = dtype_from_onnx(element) ? 0 : element;
  if (result.element == 0) {
    result.value = call.build("cast", {x}, {{"to", *dtype}}, call.name());
  } else if (call.slot(0).element == element) {
    result.value = x;
  } else if (const auto* whole = std::ranges::find(kIntegers, element, &SmallInteger::element);
             whole != std::end(kIntegers)) {
    result.value = wrap_to_small_integer(call, x, *whole);
  } else {
    result.value = small_float(call, x, element, saturate);
  }
  call.set(0, std::move(result));
}

void read_cast(Call& call) {
  cast_to(call, static_cast<int>(call.integer("to", 0)));
}

void read_cast_like(Call& call) {
  if (const int element = call.slot(1).element; element != 0) return cast_to(call, element);
  const DType dtype = call.dtype(1);
  if (call.failed()) return;
  // What is known stays so: only the second operand's type counts.
  constexpr std::int64_t kFew = 4096;
  if (const auto known = call.constant(0); known && known->element_count() <= kFew && call.slot(0).element == 0) {
    call.ignore({"saturate", "round_mode"});
    return call.set(0, call.build.constant(converted(*known, dtype), call.name()));
  }
  cast_to(call, onnx_type(dtype));
}

Row unary(std::string_view op, std::string_view ours, std::int64_t since = 1) {
  return {.op = op, .since = since, .ours = ours};
}

}  // namespace

std::vector<Row> elementwise_rows() {
  return {
      unary("Abs", "abs"),
      unary("Acos", "acos"),
      unary("Acosh", "acosh"),
      unary("Asin", "asin"),
      unary("Asinh", "asinh"),
      unary("Atan", "atan"),
      unary("Atanh", "atanh"),
      unary("BitwiseNot", "bitwise_not"),
      unary("Ceil", "ceil"),
      unary("Cos", "cos"),
      unary("Cosh", "cosh"),
      unary("Erf", "erf"),
      unary("Exp", "exp"),
      unary("Floor", "floor"),
      unary("HardSwish", "hard_swish"),
      unary("IsNaN", "is_nan"),
      unary("Log", "log"),
      unary("Mish", "mish"),
      unary("Neg", "neg"),
      unary("Not", "logical_not"),
      unary("Reciprocal", "reciprocal"),
      unary("Relu", "relu"),
      unary("Round", "round"),
      unary("Sigmoid", "sigmoid"),
      unary("Sign", "sign"),
      unary("Sin", "sin"),
      unary("Sinh", "sinh"),
      unary("Softsign", "softsign"),
      unary("Sqrt", "sqrt"),
      unary("Tan", "tan"),
      unary("Tanh", "tanh"),
      {.op = "Softplus",
       .read =
           [](Call& c) { c.set(0, c.build("softplus", {c.x(0)}, {{"beta", 1.0}, {"threshold", 20.0}}, c.name())); }},
      {.op = "LeakyRelu", .ours = "leaky_relu", .attrs = {{"alpha", "negative_slope", 0.01}}},
      {.op = "Elu", .ours = "elu", .attrs = {{"alpha", "alpha", 1.0}}},
      {.op = "Celu", .since = 12, .ours = "celu", .attrs = {{"alpha", "alpha", 1.0}}},
      {.op = "HardSigmoid", .ours = "hard_sigmoid", .attrs = {{"alpha", "alpha", 0.2}, {"beta", "beta", 0.5}}},
      {.op = "Selu", .read = read_selu},
      {.op = "Gelu", .since = 20, .read = read_gelu},
      {.op = "Gelu", .since = 1, .read = read_gelu, .domain = "com.microsoft"},
      {.op = "ThresholdedRelu", .read = read_thresholded_relu},
      {.op = "Binarizer", .read = read_binarizer, .domain = "ai.onnx.ml"},
      {.op = "Shrink", .since = 9, .read = read_shrink},
      {.op = "Swish", .since = 24, .read = read_swish},
      {.op = "IsInf", .since = 10, .read = read_is_inf},
      {.op = "Clip", .since = 6, .read = read_clip_6},
      {.op = "Clip", .since = 11, .read = read_clip},
      {.op = "PRelu", .operands = 2, .since = 7, .read = read_prelu},
      {.op = "Add", .operands = 2, .since = 7, .ours = "add"},
      {.op = "Sub", .operands = 2, .since = 7, .ours = "sub"},
      {.op = "Mul", .operands = 2, .since = 7, .ours = "mul"},
      {.op = "Div", .operands = 2, .since = 7, .read = read_div},
      {.op = "Pow", .operands = 2, .since = 7, .read = read_pow},
      {.op = "Mod", .operands = 2, .since = 10, .read = read_mod},
      {.op = "And", .operands = 2, .since = 7, .ours = "logical_and"},
      {.op = "Or", .operands = 2, .since = 7, .ours = "logical_or"},
      {.op = "Xor", .operands = 2, .since = 7, .ours = "logical_xor"},
      {.op = "Equal", .operands = 2, .since = 7, .ours = "equal"},
      {.op = "Greater", .operands = 2, .since = 7, .ours = "greater"},
      {.op = "GreaterOrEqual", .operands = 2, .since = 12, .ours = "greater_equal"},
      {.op = "Less", .operands = 2, .since = 7, .ours = "less"},
      {.op = "LessOrEqual", .operands = 2, .since = 12, .ours = "less_equal"},
      {.op = "BitwiseAnd", .operands = 2, .since = 18, .ours = "bitwise_and"},
      {.op = "BitwiseOr", .operands = 2, .since = 18, .ours = "bitwise_or"},
      {.op = "BitwiseXor", .operands = 2, .since = 18, .ours = "bitwise_xor"},
      {.op = "BitShift", .operands = 2, .since = 11, .read = read_bit_shift},
      {.op = "Where", .operands = 3, .since = 9, .ours = "where"},
      {.op = "Max", .since = 6, .read = [](Call& c) { fold_operands<false>(c, "maximum"); }},
      {.op = "Min", .since = 6, .read = [](Call& c) { fold_operands<false>(c, "minimum"); }},
      {.op = "Sum", .since = 6, .read = [](Call& c) { fold_operands<false>(c, "add"); }},
      {.op = "Mean", .since = 6, .read = [](Call& c) { fold_operands<true>(c, "add"); }},
      {.op = "Identity", .read = read_identity},
      {.op = "Dropout", .read = read_dropout},
      {.op = "Cast", .since = 6, .read = read_cast},
      {.op = "CastLike", .operands = 2, .since = 15, .read = read_cast_like},
  };
}

}  // namespace taper::onnx_reader
