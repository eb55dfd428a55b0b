// Operators on single elements, with NumPy's broadcasting where they take two.
#include <cmath>
#include <numbers>

#include "ops/families.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

bool has_no_activation(const Node& node) {
  return node.attrs.text("activation") == "none";
}

// Sums, products and extremes of booleans are logic.
std::string_view logic_of(std::string_view op) {
  return op == "add" || op == "maximum" ? "logical_or" : op == "mul" || op == "minimum" ? "logical_and" : op;
}

std::vector<Value*> expand_booleans(Builder& build, const Node& node, std::span<Value* const> operands) {
  return {build(takes_booleans(node) ? logic_of(node.op) : node.op, {operands.begin(), operands.end()})};
}

std::vector<Value*> expand_activation(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* result = expand_booleans(build, node, operands).front();
  return {has_no_activation(node) ? result : build(node.attrs.text("activation"), {result})};
}

// Where a row is right for integers as well, and for booleans in other words.
void add_integer_examples(Op& op, bool booleans) {
  op.examples.push_back(example_of({i64({2, 3}), i64({3})}, -9, 9));
  op.examples.push_back(example_of({i32({2, 1}), i32({3})}, -9, 9));
  if (booleans) op.examples.push_back(example_of({boolean({2, 3}), boolean({3})}, 0, 2));
}

// The same of numbers in each target; `since64` is the version of TFLite's operator for int64.
Op numeric(Op op, TfliteVersion since64, bool booleans) {
  const TfliteVersion first = {1, op.tflite.since};
  op.onnx.dtypes = op.tensorflow.dtypes = number_dtypes();
  op.tflite.dtypes = {{DType::f32, first}, {DType::i32, first}, {DType::i64, since64}};
  op.expand = expand_booleans;
  op.expands_if = [](const Node& node, Target) {
    return takes_booleans(node) || (node.attrs.find("activation") != nullptr && !has_no_activation(node));
  };
  add_integer_examples(op, booleans);
  return op;
}

// The same of extremes. ONNX Runtime has none of int16.
Op extreme(Op op) {
  op = numeric(std::move(op), {1, "1.14.0"}, true);
  op.onnx.dtypes = onnx_ordered_dtypes();
  return op;
}

// A binary operator whose TFLite form can apply an activation.
template <class Options>
Op with_activation(Op op) {
  op.expand_onnx = op.expand_tensorflow = op.expand_tflite = expand_activation;
  op.onnx.fits = op.tensorflow.fits = has_no_activation;
  op.attrs.push_back(activation_attr());
  const OptionField<Options, tflite::ActivationFunctionType> activation{&Options::fused_activation_function,
                                                                        "activation"};
  if constexpr (requires(Options options) { options.pot_scale_int16; })
    op.tflite.options = tflite_options<Options>(
        activation, DerivedOption<Options, bool>{&Options::pot_scale_int16, false, takes_int16});
  else
    op.tflite.options = tflite_options<Options>(activation);
  return op;
}

std::vector<Value*> expand_squared_difference(Builder& build, const Node&, std::span<Value* const> operands) {
  Value* difference = build("sub", {operands[0], operands[1]});
  return {build("mul", {difference, difference})};
}

// erf x = tanh(x p(x^2)); p is fitted so that the error stays below 6e-8, which float32 can't tell.
Expr erf_of(Expr x) {
  constexpr double kCoefficients[] = {1.12837971,     0.102765482,     -0.000184383794, -0.000625719672,
                                      8.97126856e-05, -5.98571587e-06, 1.58962161e-07};
  return apply("tanh", x * polynomial(x * x, kCoefficients));
}

// Whether x is a sum with a positive number, as what norms divide by; the rest is taken to be no less than 0. Kernels
// of 1 / sqrt(x) may give NaN for x = 0.
bool is_kept_from_zero(const Node& node) {
  const Node* sum = node.operands[0]->producer;
  if (sum == nullptr || sum->op != "add") return false;
  return std::ranges::any_of(sum->operands, [](const Value* part) {
    const Tensor* constant = constant_of(part);
    if (constant == nullptr || constant->element_count() != 1) return false;
    return to_double(*constant)[0] > 0;
  });
}

// 1 / sqrt(x)
std::vector<Value*> expand_rsqrt(Builder& build, const Node&, std::span<Value* const> operands) {
  return {build("div", {build.scalar(1), build("sqrt", {operands[0]})})};
}

std::vector<Value*> expand_gelu(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* x = operands[0];
  Value* phi = nullptr;
  if (node.attrs.flag("tanh_approximation")) {
    Value* cube = build("mul", {build("mul", {x, x}), x});
    Value* inner = build("add", {x, build("mul", {cube, build.scalar(0.044715)})});
    phi = build("tanh", {build("mul", {inner, build.scalar(std::sqrt(2 / std::numbers::pi))})});
  } else {
    phi = build("erf", {build("mul", {x, build.scalar(std::numbers::sqrt2 / 2)})});
  }
  Value* half = build("mul", {x, build.scalar(0.5)});
  return {build("mul", {half, build("add", {phi, build.scalar(1)})})};
}

Expected<std::vector<Array>> eval_gelu(const EvalCall& call) {
  if (call.attrs.flag("tanh_approximation"))
    return map_elements(call.operand(0), [](double x) {
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    });
  return map_elements(call.operand(0), [](double x) { return 0.5 * x * std::erfc(-x * std::numbers::sqrt2 / 2); });
}

Expected<std::vector<Type>> infer_cast(const InferCall& call) {
  return std::vector{Type{call.attrs.get<DType>("to"), call.shape(0)}};
}

// The value after storing it as `to`: floats are rounded and saturated, integers wrap around.
Expected<std::vector<Array>> eval_cast(const EvalCall& call) {
  Array rounded = call.operand(0);
  const bool from_integers = !is_floating(rounded.dtype);
  rounded.dtype = call.attrs.get<DType>("to");
  if (from_integers) wrap_integers(rounded);
  return std::vector{to_array(to_tensor(rounded))};
}

Op cast() {
  using Options = tflite::CastOptionsT;
  return {.name = "cast",
          .doc = "x as `to`: floats become integers by truncation, narrower floats round to nearest even",
          .operands = {"x"},
          .attrs = {{"to", AttrKind::dtype}},
          .infer = infer_cast,
          .eval = eval_cast,
          .per_step = true,
          .on_bases = elements_on_bases,
          .onnx = {.op_type = "Cast", .inputs = {operand(0)}, .attrs = {{"to", "to"}}},
          .tflite = {.builtin = tflite::BuiltinOperator::CAST,
                     .since = "1.5.0",
                     .inputs = {operand(0)},
                     .options = {[](const Node& node, tflite::BuiltinOptionsUnion& out) {
                                   Options options;
                                   options.in_data_type = *tflite_type(node.operands[0]->type.dtype);
                                   options.out_data_type = *tflite_type(node.attrs.get<DType>("to"));
                                   out.Set(options);
                                 },
                                 tflite_options<Options>(
                                     OptionField<Options, tflite::TensorType>{&Options::out_data_type, "to"})
                                     .read}},
          .tensorflow =
              {.op = "Cast", .result = "y", .inputs = {operand(0)}, .types = {{"SrcT"}}, .attrs = {{"DstT", "to"}}},
          .examples = {{{f32({2, 3})}, {{"to", DType::i32}}}}};
}

Expected<std::vector<Array>> eval_bitcast(const EvalCall& call) {
  Tensor bits = to_tensor(call.operand(0));
  bits.dtype = call.attrs.get<DType>("to");
  return std::vector{to_array(bits)};
}

// Files don't say what the bits become: of integers the other kind, with or without a sign.
Status read_other_sign(std::span<Value* const> operands, Attrs& attrs) {
  constexpr std::pair<DType, DType> kKinds[] = {
      {DType::i64, DType::u64}, {DType::i32, DType::u32}, {DType::i16, DType::u16}, {DType::i8, DType::u8}};
  for (const auto& [with, without] : kKinds)
    for (const auto& [from, to] : {std::pair(with, without), std::pair(without, with)})
      if (!operands.empty() && operands[0]->type.dtype == from) {
        attrs.set("to", to);
        return {};
      }
  return fail("the bits of other than integers");
}

Op bitcast() {
  return {
      .name = "bitcast",
      .doc = "the bits of x as `to`, of as many",
      .operands = {"x"},
      .attrs = {{"to", AttrKind::dtype}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const DType from = call.type(0).dtype, to = call.attrs.get<DType>("to");
        if (size_of(from) != size_of(to) || from == DType::boolean || to == DType::boolean)
          return fail("x is {}, which has no bits of {}", info(from).name, info(to).name);
        return infer_cast(call);
      },
      .eval = eval_bitcast,
      .per_step = true,
      .rearrange = [](std::span<const Tensor* const> operands, const Attrs& attrs) -> std::vector<Tensor> {
        Tensor bits = *operands[0];
        bits.dtype = attrs.get<DType>("to");
        return {std::move(bits)};
      },
      .on_bases = elements_on_bases,
      // Which keeps the bits of integers.
      .onnx = {.op_type = "Cast",
               .inputs = {operand(0)},
               .attrs = {{"to", "to"}},
               .fits =
                   [](const Node& node) { return !takes_floats(node) && !is_floating(node.attrs.get<DType>("to")); }},
      .tflite = {.builtin = tflite::BuiltinOperator::BITCAST,
                 .since = "2.13.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<tflite::BitcastOptionsT>(),
                 .read_operands = read_other_sign},
      .tensorflow = {.op = "Bitcast", .inputs = {operand(0)}, .attrs = {{"type", "to"}}},
      .examples = {{{i64({2, 3})}, {{"to", DType::u64}}, 0, 9}}};
}

// What an operator's stored operand becomes: floats of another width, or integers behind which real numbers stand.
Expected<std::vector<Array>> eval_stored(const EvalCall& call) {
  Array out = call.operand(0);
  out.dtype = DType::f32;
  return std::vector{std::move(out)};
}

bool is_stored(const Value& value) {
  return value.type.dtype == DType::f16 || value.quantization != nullptr;
}

TfliteVersion dequantize_version(const Node& node) {
  const Quantization* grid = node.operands[0]->quantization.get();
  if (grid == nullptr || grid->bits == 16) return {3, "1.15.0"};
  if (grid->bits == 4) return {6, "2.18.0"};
  return grid->per_tensor() ? TfliteVersion{2, "1.14.0"} : TfliteVersion{5, "2.7.0"};
}

Op dequantize() {
  return {.name = "dequantize",
          .doc = "x as float32, exactly: a float16 constant, which runtimes fold into its user, or a quantised value",
          .operands = {"x"},
          .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
            return std::vector{Type{DType::f32, call.shape(0)}};
          },
          .eval = eval_stored,
          .expand = [](Builder& build, const Node&, std::span<Value* const> operands) -> std::vector<Value*> {
            return {build("cast", {operands[0]}, {{"to", DType::f32}})};
          },
          .tflite = {.builtin = tflite::BuiltinOperator::DEQUANTIZE,
                     .version = 3,
                     .since = "1.15.0",
                     .inputs = {operand(0)},
                     .options = tflite_options<tflite::DequantizeOptionsT>(),
                     .version_for = dequantize_version,
                     .fits = [](const Node& node) { return is_stored(*node.operands[0]); }}};
}

// From one grid to another, or from floats to one, which is that of the result.
Op quantize() {
  return {.name = "quantize",
          .doc = "x, rounded to the grid of the result",
          .operands = {"x"},
          .infer = same_as_first,
          .eval = eval_stored,
          .tflite = {.builtin = tflite::BuiltinOperator::QUANTIZE,
                     .since = "1.14.0",
                     .inputs = {operand(0)},
                     .options = tflite_options<tflite::QuantizeOptionsT>(),
                     .dtypes = {{DType::f32, {1, "1.14.0"}}},
                     .version_for = [](const Node& node) {
                       const bool wide =
                           node.results[0]->quantization != nullptr && node.results[0]->quantization->bits == 16;
                       return wide ? TfliteVersion{2, "1.15.0"} : TfliteVersion{1, "1.14.0"};
                     }}};
}

}  // namespace

std::vector<Op> elementwise_ops() {
  std::vector<Op> rows;
  const auto row = [&rows](Op op) { rows.push_back(std::move(op)); };

  Op relu = spelled(unary("relu", "max(x, 0)", eval_unary<[](double x) { return x < 0 ? 0.0 : x; }>), "Relu", "Relu",
                    tflite::BuiltinOperator::RELU, "1.5.0");
  relu.tensorflow.result = "activations";
  relu.onnx.fits = relu.tflite.fits = takes_floats;
  relu.expand = expand_as<[](Expr x) { return apply("maximum", x, 0.0); }>;
  relu.examples.push_back(example_of({i64({2, 3})}, -9, 9));
  row(std::move(relu));
  row(spelled(unary("sigmoid", "1 / (1 + exp(-x))", eval_unary<[](double x) { return 1 / (1 + std::exp(-x)); }>),
              "Sigmoid", "Sigmoid", tflite::BuiltinOperator::LOGISTIC, "1.14.0"));
  row(spelled(unary("tanh", "tanh(x)", eval_unary<[](double x) { return std::tanh(x); }>), "Tanh", "Tanh",
              tflite::BuiltinOperator::TANH, "1.14.0"));
  row(spelled(unary("exp", "exp(x)", eval_unary<[](double x) { return std::exp(x); }>), "Exp", "Exp",
              tflite::BuiltinOperator::EXP, "1.7.0", tflite_options<tflite::ExpOptionsT>()));
  Op neg = spelled(unary("neg", "-x", eval_unary<[](double x) { return -x; }>), "Neg", "Neg",
                   tflite::BuiltinOperator::NEG, "1.9.0", tflite_options<tflite::NegOptionsT>());
  const std::vector<DType> with_signs = {DType::f64, DType::f32, DType::f16, DType::bf16,
                                         DType::i64, DType::i32, DType::i16, DType::i8};
  neg.onnx.dtypes = neg.tensorflow.dtypes = with_signs;
  neg.tflite.dtypes = tflite_number_dtypes("1.9.0");
  neg.examples.push_back(example_of({i64({2, 3})}, -9, 9));
  row(std::move(neg));
  Op abs = spelled(unary("abs", "|x|", eval_unary<[](double x) { return std::fabs(x); }>), "Abs", "Abs",
                   tflite::BuiltinOperator::ABS, "1.13.0", tflite_options<tflite::AbsOptionsT>());
  abs.tensorflow.dtypes = with_signs;
  abs.tflite.dtypes = {{DType::f32, {1, "1.13.0"}}, {DType::i32, {5, "2.12.0"}}};
  abs.expand = expand_as<[](Expr x) { return is_unsigned(x.dtype()) ? x : apply("maximum", x, -x); }>;
  abs.examples.push_back(example_of({i64({2, 3})}, -9, 9));
  abs.examples.push_back(example_of({i32({2, 3})}, -9, 9));
  row(std::move(abs));
  Op erf = spelled(
      unary("erf", "2/sqrt(pi) * integral of exp(-t^2) from 0 to x", eval_unary<[](double x) { return std::erf(x); }>),
      "Erf", "Erf");
  erf.onnx.dtypes = {DType::f32, DType::f16};
  erf.expand = expand_as<erf_of>;
  row(std::move(erf));

  Op log = spelled(unary("log", "ln x", eval_unary<[](double x) { return std::log(x); }>), "Log", "Log",
                   tflite::BuiltinOperator::LOG, "1.14.0");
  Op sqrt = spelled(unary("sqrt", "x^(1/2)", eval_unary<[](double x) { return std::sqrt(x); }>), "Sqrt", "Sqrt",
                    tflite::BuiltinOperator::SQRT, "1.10.0");
  Op rsqrt = spelled(unary("rsqrt", "x^(-1/2)", eval_unary<[](double x) { return 1 / std::sqrt(x); }>), "", "Rsqrt",
                     tflite::BuiltinOperator::RSQRT, "1.10.0");
  rsqrt.expand = expand_rsqrt;
  rsqrt.tflite.fits = is_kept_from_zero;
  for (Op* op : {&log, &sqrt, &rsqrt}) {
    op->examples = {{{f32({2, 3})}, {}, 0.1, 4}};  // the domain is x > 0
    row(std::move(*op));
  }

  Op gelu = spelled(unary("gelu", "x * Phi(x), Phi the normal distribution's; or its approximation by tanh", eval_gelu),
                    "", "", tflite::BuiltinOperator::GELU, "2.9.0");
  using Gelu = tflite::GeluOptionsT;
  gelu.attrs = {{"tanh_approximation", AttrKind::flag, false}};
  gelu.tflite.options = tflite_options<Gelu>(OptionField<Gelu, bool>{&Gelu::approximate, "tanh_approximation"});
  gelu.expand = expand_gelu;
  gelu.examples = {{{f32({3, 4})}}, {{f32({3, 4})}, {{"tanh_approximation", true}}}};
  gelu.tolerance = 5e-4;  // LiteRT's exact form is itself an approximation of erf
  row(std::move(gelu));

  row(numeric(with_activation<tflite::AddOptionsT>(
                  spelled(binary("add", "a + b", eval_binary<[](double a, double b) { return a + b; }>), "Add", "AddV2",
                          tflite::BuiltinOperator::ADD, "1.5.0")),
              {4, "2.6.0"}, true));
  row(numeric(with_activation<tflite::SubOptionsT>(
                  spelled(binary("sub", "a - b", eval_binary<[](double a, double b) { return a - b; }>), "Sub", "Sub",
                          tflite::BuiltinOperator::SUB, "1.6.0")),
              {4, "2.4.0"}, false));
  row(numeric(with_activation<tflite::MulOptionsT>(
                  spelled(binary("mul", "a * b",
                                 eval_arithmetic<[](double a, double b) { return a * b; },
                                                 [](std::uint64_t a, std::uint64_t b) { return a * b; }>),
                          "Mul", "Mul", tflite::BuiltinOperator::MUL, "1.5.0")),
              {5, "2.6.0"}, true));
  Op div = with_activation<tflite::DivOptionsT>(
      spelled(binary("div", "a / b of floating numbers", eval_binary<[](double a, double b) { return a / b; }>), "Div",
              "RealDiv", tflite::BuiltinOperator::DIV, "1.6.0"));
  div.infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
    TAPER_TRY(infer_floating(call));
    return infer_binary(call);
  };
  for (Example& example : div.examples) example.low = 0.5;  // away from the pole
  row(std::move(div));
  // NaN is larger and smaller than all numbers.
  row(extreme(spelled(
      binary("maximum", "max(a, b)", eval_binary<[](double a, double b) { return a < b || std::isnan(b) ? b : a; }>),
      "Max", "Maximum", tflite::BuiltinOperator::MAXIMUM, "1.14.0", tflite_options<tflite::MaximumMinimumOptionsT>())));
  row(extreme(spelled(
      binary("minimum", "min(a, b)", eval_binary<[](double a, double b) { return b < a || std::isnan(b) ? b : a; }>),
      "Min", "Minimum", tflite::BuiltinOperator::MINIMUM, "1.14.0", tflite_options<tflite::MaximumMinimumOptionsT>())));
  Op squared = spelled(binary("squared_difference", "(a - b)^2",
                              eval_arithmetic<[](double a, double b) { return (a - b) * (a - b); },
                                              [](std::uint64_t a, std::uint64_t b) { return (a - b) * (a - b); }>),
                       "", "SquaredDifference", tflite::BuiltinOperator::SQUARED_DIFFERENCE, "1.13.1",
                       tflite_options<tflite::SquaredDifferenceOptionsT>());
  squared.expand = expand_squared_difference;
  squared.tflite.dtypes = {{DType::f32, {1, "1.13.1"}}, {DType::i32, {1, "1.13.1"}}};
  row(std::move(squared));

  row(cast());
  row(bitcast());
  row(dequantize());
  row(quantize());
  return rows;
}

}  // namespace taper
