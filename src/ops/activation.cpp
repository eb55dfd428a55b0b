// Activations.
#include <cmath>
#include <limits>

#include "ops/families.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

using tflite::BuiltinOperator;

constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
constexpr double kSeluScale = 1.0507009873554804934193349852946;

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}
// NaN stays NaN; where the bounds contradict each other, the upper one holds.
double clamp(double x, double low, double high) {
  const double raised = x < low ? low : x;
  return raised > high ? high : raised;
}
double log_of_one_plus_exp(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}

// Rows whose formula depends on attributes: F(x, attrs).
template <auto F>
Expected<std::vector<Array>> eval_with_attrs(const EvalCall& call) {
  return map_elements(call.operand(0), [&call](double x) { return F(x, call.attrs); });
}

Op floating(Op op, ExpandFn expand) {
  op.infer = infer_floating;
  op.expand = expand;
  if (!op.tensorflow.op.empty()) op.tensorflow.result = "activations";
  return op;
}

// The attributes of a row with the examples for each choice of them.
Op with_attrs(Op op, std::vector<AttrSpec> attrs, const std::vector<Attrs>& choices) {
  op.attrs = std::move(attrs);
  op.examples.clear();
  for (const Attrs& choice : choices) op.examples.push_back({{f32({2, 3, 4})}, choice, -4, 4});
  return op;
}

bool has_unit_alpha(const Node& node) {
  return node.attrs.real("alpha") == 1;
}

// --------------------------------------------------------------------------------------------------------------- clamp

const double kInfinity = std::numeric_limits<double>::infinity();

bool is_clamp(const Attrs& attrs, double low, double high) {
  return attrs.real("min") == low && attrs.real("max") == high;
}

Expr clamp_of(Expr x, const Attrs& attrs) {
  if (attrs.real("min") > -kInfinity) x = apply("maximum", x, attrs.real("min"));
  if (attrs.real("max") < kInfinity) x = apply("minimum", x, attrs.real("max"));
  return x;
}

// ONNX has it with bounds that are operands.
std::vector<Value*> expand_clamp_to_clip(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Expr x{&build, operands[0]};
  const double low = node.attrs.real("min"), high = node.attrs.real("max");
  if (is_clamp(node.attrs, -kInfinity, kInfinity)) return {operands[0]};
  if (is_clamp(node.attrs, 0, kInfinity) && is_floating(x.dtype())) return {build("relu", {operands[0]})};
  return {build("clip", {operands[0], low > -kInfinity ? x.number(low).value : nullptr,
                         high < kInfinity ? x.number(high).value : nullptr})};
}

Expr clamp_for_tflite(Expr x, const Attrs& attrs) {
  if (x.dtype() != DType::f32) return clamp_of(x, attrs);
  if (is_clamp(attrs, 0, kInfinity)) return apply("relu", x);
  if (is_clamp(attrs, 0, 6)) return apply("relu6", x);
  return clamp_of(x, attrs);
}

Op clamp_row() {
  Op op = with_attrs(
      unary(
          "clamp", "min(max(x, `min`), `max`)",
          eval_with_attrs<[](double x, const Attrs& attrs) { return clamp(x, attrs.real("min"), attrs.real("max")); }>),
      {{"min", AttrKind::real, -kInfinity}, {"max", AttrKind::real, kInfinity}},
      {{{"min", -1.0}, {"max", 0.5}}, {{"min", 0.25}}, {{"max", 1.0}}, {{"min", 0.0}, {"max", 6.0}}, {}});
  op.expand = expand_as<clamp_of>;
  op.expand_onnx = expand_clamp_to_clip;
  op.expand_tflite = expand_as<clamp_for_tflite>;
  op.examples.push_back(example_of({i64({2, 3})}, -9, 9, {{"min", -3.0}, {"max", 4.0}}));
  return op;
}

Expected<std::vector<Type>> infer_clip(const InferCall& call) {
  for (std::size_t i = 1; i <= 2; ++i)
    if (call.has(i) && call.type(i) != Type{call.type(0).dtype, {}})
      return fail("{} is {}, expected one {}", i == 1 ? "min" : "max", type_text(call.type(i)),
                  info(call.type(0).dtype).name);
  return same_as_first(call);
}

Op clip() {
  return {
      .name = "clip",
      .doc = "min(max(x, min), max) with scalars for bounds",
      .operands = {"x", "min?", "max?"},
      .infer = infer_clip,
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const double low = call.has(1) ? call.operand(1).values[0] : -kInfinity;
        const double high = call.has(2) ? call.operand(2).values[0] : kInfinity;
        return map_elements(call.operand(0), [=](double x) { return clamp(x, low, high); });
      },
      .expand = [](Builder& build, const Node&, std::span<Value* const> operands) -> std::vector<Value*> {
        Value* x = operands[0];
        if (operands.size() > 1 && operands[1] != nullptr) x = build("maximum", {x, operands[1]});
        if (operands.size() > 2 && operands[2] != nullptr) x = build("minimum", {x, operands[2]});
        return {x};
      },
      .onnx = {.op_type = "Clip", .inputs = {operand(0), operand(1), operand(2)}, .dtypes = onnx_ordered_dtypes()},
      .examples = {{{f32({2, 3}), f32({}), f32({})}, {}, -1, 1}},
  };
}

// ------------------------------------------------------------------------------------------------------- with
// attributes

Op leaky_relu() {
  using Options = tflite::LeakyReluOptionsT;
  Op op = with_attrs(
      spelled(unary("leaky_relu", "x, times `negative_slope` where x < 0",
                    eval_with_attrs<[](double x, const Attrs& a) { return x < 0 ? x * a.real("negative_slope") : x; }>),
              "LeakyRelu", "LeakyRelu", BuiltinOperator::LEAKY_RELU, "1.13.1",
              tflite_options<Options>(OptionField<Options, float>{&Options::alpha, "negative_slope"})),
      {{"negative_slope", AttrKind::real, 0.01}}, {{{"negative_slope", 0.25}}, {}});
  op.onnx.attrs = op.tensorflow.attrs = {{"alpha", "negative_slope"}};
  return floating(std::move(op), nullptr);
}

// Targets without `alpha` have the function for 1: its negative part is alpha times that.
Op elu() {
  Op op = with_attrs(spelled(unary("elu", "x where x > 0, alpha (exp(x) - 1) elsewhere",
                                   eval_with_attrs<[](double x, const Attrs& attrs) {
                                     return 0 < x ? x : attrs.real("alpha") * std::expm1(x);
                                   }>),
                             "Elu", "Elu", BuiltinOperator::ELU, "1.14.0"),
                     {{"alpha", AttrKind::real, 1.0}}, {{}, {{"alpha", 0.5}}});
  op.onnx.attrs = {{"alpha", "alpha"}};
  op.tflite.fits = op.tensorflow.fits = has_unit_alpha;
  return floating(std::move(op), expand_as<[](Expr x, const Attrs& attrs) {
                    return apply("relu", x) + apply("minimum", apply("elu", x), 0.0) * attrs.real("alpha");
                  }>);
}

Op celu() {
  Op op = with_attrs(spelled(unary("celu", "x where x > 0, alpha (exp(x / alpha) - 1) elsewhere",
                                   eval_with_attrs<[](double x, const Attrs& attrs) {
                                     const double alpha = attrs.real("alpha");
                                     return 0 < x ? x : alpha * std::expm1(x / alpha);
                                   }>),
                             "Celu", ""),
                     {{"alpha", AttrKind::real, 1.0}}, {{}, {{"alpha", 2.0}}});
  op.onnx.attrs = {{"alpha", "alpha"}};
  return floating(std::move(op), expand_as<[](Expr x, const Attrs& attrs) {
                    const double alpha = attrs.real("alpha");
                    return alpha == 1 ? apply("elu", x) : apply("elu", x * (1 / alpha)) * alpha;
                  }>);
}

Op hard_sigmoid() {
  Op op = with_attrs(
      spelled(unary("hard_sigmoid", "min(max(alpha x + beta, 0), 1)", eval_with_attrs<[](double x, const Attrs& attrs) {
                      return clamp(attrs.real("alpha") * x + attrs.real("beta"), 0, 1);
                    }>),
              "HardSigmoid", ""),
      {{"alpha", AttrKind::real, 1.0 / 6}, {"beta", AttrKind::real, 0.5}}, {{}, {{"alpha", 0.2}, {"beta", 0.4}}});
  op.onnx.attrs = {{"alpha", "alpha"}, {"beta", "beta"}};
  return floating(std::move(op), expand_as<[](Expr x, const Attrs& attrs) {
                    const Expr line = x * attrs.real("alpha") + attrs.real("beta");
                    return apply("clamp", line, Attrs{{"min", 0.0}, {"max", 1.0}});
                  }>);
}

// Beyond 20 the logarithm adds less than float32 holds: only a lower threshold changes a result.
constexpr double kSoftplusIsLinear = 18;

bool is_plain_softplus(const Node& node) {
  return node.attrs.real("beta") == 1 && node.attrs.real("threshold") >= kSoftplusIsLinear;
}

std::vector<Value*> expand_softplus(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Expr x{&build, operands[0]};
  const double beta = node.attrs.real("beta"), threshold = node.attrs.real("threshold");
  if (is_plain_softplus(node)) return {(apply("relu", x) + log1p_near_zero(apply("exp", -apply("abs", x)))).value};
  const Expr scaled = beta == 1 ? x : x * beta;
  const Expr curve = apply("softplus", scaled);
  const Expr result = beta == 1 ? curve : curve * (1 / beta);
  if (threshold >= kSoftplusIsLinear) return {result.value};
  return {where(apply("greater", scaled, threshold), x, result).value};
}

Op softplus_row() {
  Op op =
      with_attrs(spelled(unary("softplus", "ln(1 + exp(beta x)) / beta; x where beta x > threshold",
                               eval_with_attrs<[](double x, const Attrs& attrs) {
                                 const double beta = attrs.real("beta");
                                 return attrs.real("threshold") < beta * x ? x : log_of_one_plus_exp(beta * x) / beta;
                               }>),
                         "Softplus", "Softplus"),
                 {{"beta", AttrKind::real, 1.0}, {"threshold", AttrKind::real, 20.0}},
                 {{}, {{"beta", 2.0}}, {{"beta", 0.5}, {"threshold", 1.5}}});
  op.onnx.fits = op.tensorflow.fits = is_plain_softplus;
  return floating(std::move(op), expand_softplus);
}

// ----------------------------------------------------------------------------------------------------------------
// prelu

Expected<std::vector<Type>> infer_prelu(const InferCall& call) {
  TAPER_ASSIGN(std::vector<Type> types, infer_binary(call));
  if (types[0].shape != call.shape(0))
    return fail("weight {} does not broadcast to {}", shape_text(call.shape(1)), shape_text(call.shape(0)));
  TAPER_TRY(infer_floating(call));
  return types;
}

Op prelu() {
  Op op = binary("prelu", "x, times weight where x < 0",
                 eval_binary<[](double x, double weight) { return x < 0 ? x * weight : x; }>);
  op.operands = {"x", "weight"};
  op = spelled(std::move(op), "PRelu", "", BuiltinOperator::PRELU, "1.8.0");
  op.infer = infer_prelu;
  op.expand = expand_as<[](Expr x, Expr weight) { return apply("relu", x) + apply("minimum", x, 0.0) * weight; }>;
  op.examples = {{{f32({2, 3, 4}), f32({4})}}, {{f32({2, 3, 4}), f32({3, 1})}, {}, -2, 2, 1}};
  return op;
}

}  // namespace

std::vector<Op> activation_ops() {
  std::vector<Op> rows;
  const auto row = [&rows](Op op) { rows.push_back(std::move(op)); };

  row(floating(unary("silu", "x / (1 + exp(-x))", eval_unary<[](double x) { return x * sigmoid(x); }>),
               expand_as<[](Expr x) { return x * apply("sigmoid", x); }>));
  Op relu6 = floating(spelled(unary("relu6", "min(max(x, 0), 6)", eval_unary<[](double x) { return clamp(x, 0, 6); }>),
                              "", "Relu6", BuiltinOperator::RELU6, "1.5.0"),
                      expand_as<[](Expr x) { return apply("clamp", x, Attrs{{"min", 0.0}, {"max", 6.0}}); }>);
  relu6.examples[0].low = -9, relu6.examples[0].high = 9;
  row(std::move(relu6));
  Op hard_swish = floating(
      spelled(unary("hard_swish", "x min(max(x + 3, 0), 6) / 6",
                    eval_unary<[](double x) { return x * clamp(x + 3, 0, 6) / 6; }>),
              "HardSwish", "", BuiltinOperator::HARD_SWISH, "1.15.0", tflite_options<tflite::HardSwishOptionsT>()),
      expand_as<[](Expr x) { return x * apply("relu6", x + 3) * (1.0 / 6); }>);
  hard_swish.examples[0].low = -5, hard_swish.examples[0].high = 5;
  row(std::move(hard_swish));
  row(floating(spelled(unary("softsign", "x / (1 + |x|)", eval_unary<[](double x) { return x / (1 + std::fabs(x)); }>),
                       "Softsign", "Softsign"),
               expand_as<[](Expr x) { return x / (apply("abs", x) + 1); }>));
  // tanh(ln(1 + e)) = n / (n + 2) with n = e (e + 2), e = exp(x): nothing cancels; from 20 on the quotient is 1.
  row(floating(unary("mish", "x tanh(ln(1 + exp(x)))",
                     eval_unary<[](double x) { return x * std::tanh(log_of_one_plus_exp(x)); }>),
               expand_as<[](Expr x) {
                 const Expr e = apply("exp", apply("minimum", x, 20.0));
                 const Expr n = e * (e + 2);
                 return x * (n / (n + 2));
               }>));
  row(floating(
      spelled(unary("selu", "scale (max(x, 0) + min(alpha (exp(x) - 1), 0)), alpha 1.67326..., scale 1.0507...",
                    eval_unary<[](double x) { return kSeluScale * (0 < x ? x : kSeluAlpha * std::expm1(x)); }>),
              "Selu", "Selu"),
      expand_as<[](Expr x) { return apply("elu", x, Attrs{{"alpha", kSeluAlpha}}) * kSeluScale; }>));
  row(leaky_relu());
  row(elu());
  row(celu());
  row(hard_sigmoid());
  row(softplus_row());
  row(clamp_row());
  row(clip());
  row(prelu());
  return rows;
}

}  // namespace taper
