// Activations, and dropout as networks run it when they are not trained.
#include <cmath>
#include <limits>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

using enum Promotion;

Expected<Arg> relu(Call& call) {
  Value* x = call.tensor("self");
  if (is_floating(x->type.dtype)) return fresh(call.build("relu", {x}));
  return fresh(call.build("maximum", {x, integer_number(call.build, 0, x->type.dtype)}));
}

Expected<Arg> gelu(Call& call) {
  const std::string& approximate = call.text("approximate");
  if (approximate != "none" && approximate != "tanh") return fail("approximation '{}' is not known", approximate);
  return fresh(call.build("gelu", {call.tensor("self")}, {{"tanh_approximation", approximate == "tanh"}}));
}

// scale * (max(0, x) + min(0, alpha (exp(input_scale x) - 1)))
Expected<Arg> elu(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const double alpha = call.real("alpha"), scale = call.real("scale"), input_scale = call.real("input_scale");
  if (scale == 1 && input_scale == 1) return fresh(build("elu", {x}, {{"alpha", alpha}}));
  Value* zero = number(build, 0.0, DType::f32);
  Value* below = build("expm1", {build("mul", {build("minimum", {x, zero}), number(build, input_scale, DType::f32)})});
  Value* y = build("add", {build("relu", {x}), build("mul", {below, number(build, alpha, DType::f32)})});
  return fresh(build("mul", {y, number(build, scale, DType::f32)}));
}

Value* clamp(Builder& build, Value* x, double least, double most) {
  return build("clamp", {x}, {{"min", least}, {"max", most}});
}

Expected<Arg> hard_tanh(Call& call) {
  const double least = call.real("min_val"), most = call.real("max_val");
  if (least == 0 && most == 6) return fresh(call.build("relu6", {call.tensor("self")}));
  return fresh(clamp(call.build, call.tensor("self"), least, most));
}

// value where x <= threshold, else x, also where that is no number
Expected<Arg> threshold(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* below = build("less_equal", {x, number(build, call.arg("threshold"), x->type.dtype)});
  return fresh(build("where", {below, number(build, call.arg("value"), x->type.dtype), x}));
}

// 0 where |x| <= lambd, else x, also where that is no number
Expected<Arg> hard_shrink(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* inside = build("less_equal", {build("abs", {x}), number(build, call.real("lambd"), DType::f32)});
  return fresh(build("where", {inside, number(build, 0.0, DType::f32), x}));
}

// x moved towards 0 by lambd
Expected<Arg> soft_shrink(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const double lambd = call.real("lambd");
  return fresh(build("sub", {x, clamp(build, x, -lambd, lambd)}));
}

// x sigmoid(x) and its kin: x - tanh(x), ln sigmoid(x) = -softplus(-x)
Expected<Arg> tanh_shrink(Call& call) {
  Value* x = call.tensor("self");
  return fresh(call.build("sub", {x, call.build("tanh", {x})}));
}

Value* log_sigmoid_of(Builder& build, Value* x) {
  return build("neg", {build("softplus", {build("neg", {x})}, {{"beta", 1.0}, {"threshold", 1e30}})});
}

Expected<Arg> log_sigmoid(Call& call) {
  return fresh(log_sigmoid_of(call.build, call.tensor("self")));
}

// One half of the channels, gated by the other.
Expected<Arg> glu(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const auto halves = build.call("split", {x}, {{"dim", static_cast<std::int64_t>(axis)}, {"parts", std::int64_t{2}}});
  TAPER_TRY(build.status());
  return fresh(build("mul", {halves[0], build("sigmoid", {halves[1]})}));
}

// The weight has one entry, or one per channel (axis 1).
Expected<Arg> prelu(Call& call) {
  Value* x = call.tensor("self");
  Value* weight = call.tensor("weight");
  if (weight->type.shape.size() == 1) weight = per_channel(call.build, weight, x->type.shape.size());
  return fresh(call.build("prelu", {x, weight}));
}

// What a random slope between two bounds is on average.
Expected<Arg> rrelu(Call& call) {
  if (call.flag("training"))
    return fail_with_hint("rrelu draws its slopes at random in training", "export after model.eval()");
  const double slope = (call.real("lower") + call.real("upper")) / 2;
  return fresh(call.build("leaky_relu", {call.tensor("self")}, {{"negative_slope", slope}}));
}

Expected<Arg> rrelu_with_noise(Call& call) {
  TAPER_ASSIGN(Arg y, rrelu(call));
  return Arg(Arg::List{std::move(y), call.arg("noise")});
}

Expected<Arg> softmax(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (!is_floating(x->type.dtype)) x = cast(build, x, call.dtype("dtype").value_or(DType::f32));
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const bool scalar = x->type.shape.empty();
  if (scalar) x = unsqueeze(build, x, 0);
  Value* y = build(call.overload.row, {x}, {{"dim", static_cast<std::int64_t>(axis)}});
  return fresh(scalar ? squeeze(build, y, 0) : y);
}

Expected<Arg> softmin(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  return fresh(call.build("softmax", {call.build("neg", {x})}, {{"dim", static_cast<std::int64_t>(axis)}}));
}

void warn_of_training(Call& call) {
  warn_once(call, "the program was recorded in training mode (call eval() before saving it): its dropout is left out");
}

Expected<Arg> dropout(Call& call) {
  if (call.flag("train")) warn_of_training(call);
  return call.arg("input");
}

// The kept elements are all of them.
Expected<Arg> native_dropout(Call& call) {
  if (call.flag("train")) warn_of_training(call);
  Value* x = call.tensor("input");
  Value* mask = full(call.build, x->type.shape, Arg(true), DType::boolean);
  return Arg(Arg::List{call.arg("input"), fresh(mask)});
}

}  // namespace

std::vector<Overload> activation_overloads() {
  std::vector<Overload> rows = {
      {.schema = "sigmoid(Tensor self) -> Tensor", .row = "sigmoid", .promotion = floating},
      {.schema = "tanh(Tensor self) -> Tensor", .row = "tanh", .promotion = floating},
      {.schema = "silu(Tensor self) -> Tensor", .row = "silu"},
      {.schema = "relu6(Tensor self) -> Tensor", .row = "relu6"},
      {.schema = "hardswish(Tensor self) -> Tensor", .row = "hard_swish"},
      {.schema = "hardsigmoid(Tensor self) -> Tensor", .row = "hard_sigmoid"},
      {.schema = "softsign(Tensor self) -> Tensor", .row = "softsign"},
      {.schema = "mish(Tensor self) -> Tensor", .row = "mish"},
      {.schema = "selu(Tensor self) -> Tensor", .row = "selu"},
      {.schema = "leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor",
       .row = "leaky_relu",
       .attrs = {{"negative_slope", "negative_slope"}}},
      {.schema = "celu(Tensor self, Scalar alpha=1.0) -> Tensor", .row = "celu", .attrs = {{"alpha", "alpha"}}},
      {.schema = "softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
       .row = "softplus",
       .attrs = {{"beta", "beta"}, {"threshold", "threshold"}}},
      {"relu(Tensor self) -> Tensor", relu},
      {"gelu(Tensor self, *, str approximate='none') -> Tensor", gelu},
      {"elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor", elu},
      {"hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor", hard_tanh},
      {"threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor", threshold},
      {"hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor", hard_shrink},
      {"softshrink(Tensor self, Scalar lambd=0.5) -> Tensor", soft_shrink},
      {"tanhshrink(Tensor self) -> Tensor", tanh_shrink},
      {"log_sigmoid(Tensor self) -> Tensor", log_sigmoid},
      {"log_sigmoid_forward(Tensor self) -> (Tensor output, Tensor buffer)",
       [](Call& call) -> Expected<Arg> {
         Value* y = log_sigmoid_of(call.build, call.tensor("self"));
         return fresh_list({y, y});
       }},
      {"glu(Tensor self, int dim=-1) -> Tensor", glu},
      {"prelu(Tensor self, Tensor weight) -> Tensor", prelu},
      {"_prelu_kernel(Tensor self, Tensor weight) -> Tensor", prelu},
      {"rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False, Generator? "
       "generator=None) -> Tensor",
       rrelu},
      {"rrelu_with_noise_functional(Tensor self, Tensor noise, Scalar lower=0.125, Scalar upper=0.3333333333333333, "
       "bool "
       "training=False, Generator? generator=None) -> (Tensor, Tensor noise_out)",
       rrelu_with_noise},
      {.schema = "softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
       .build = softmax,
       .row = "softmax"},
      {.schema = "special_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
       .build = softmax,
       .row = "softmax"},
      {.schema = "_softmax(Tensor self, int dim, bool half_to_float) -> Tensor", .build = softmax, .row = "softmax"},
      {.schema = "_safe_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
       .build = softmax,
       .row = "softmax"},
      {.schema = "log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
       .build = softmax,
       .row = "log_softmax"},
      {.schema = "special_log_softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
       .build = softmax,
       .row = "log_softmax"},
      {.schema = "_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
       .build = softmax,
       .row = "log_softmax"},
      {"softmin.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor", softmin},
      {"native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)", native_dropout},
  };
  for (const std::string_view schema : {"dropout(Tensor input, float p, bool train) -> Tensor",
                                        "feature_dropout(Tensor input, float p, bool train) -> Tensor",
                                        "alpha_dropout(Tensor input, float p, bool train) -> Tensor",
                                        "feature_alpha_dropout(Tensor input, float p, bool train) -> Tensor"})
    rows.push_back({schema, dropout});
  return rows;
}

}  // namespace taper::aten
