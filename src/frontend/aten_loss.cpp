// Losses: how far results lie from their targets.
#include "frontend/aten_loss.h"

#include <array>
#include <cmath>
#include <numbers>

#include "ops/formula.h"

namespace taper::aten {
namespace {

Expected<Arg> loss(const Call& call, const Expr& losses) {
  TAPER_ASSIGN(const Reduction reduction, reduction_of(call));
  return fresh(reduced(call.build, losses.value, reduction));
}

// Two operands, in their common dtype.
std::array<Expr, 2> operand_pair(const Call& call, std::string_view first = "self",
                                 std::string_view second = "target") {
  const auto both = call.promoted({first, second}, Promotion::common);
  return {Expr{&call.build, both[0]}, Expr{&call.build, both[1]}};
}

Expr tensor(const Call& call, std::string_view name) {
  return {&call.build, call.tensor(name)};
}

Expr positive_part(const Expr& x) {
  return apply("maximum", x, 0.0);
}

// ln(1 + exp x), also where exp x is too large
Expr softplus(const Expr& x) {
  return apply("softplus", x, {{"beta", 1.0}, {"threshold", 1e30}});
}

// The result of another operator of the table.
Expected<Expr> called(const Call& call, std::string_view op, const std::vector<NamedArg>& arguments) {
  TAPER_ASSIGN(const Arg result, aten::call(call.context, op, arguments));
  return Expr{&call.build, (*result.as<TensorPtr>())->content(call.build)};
}

// --------------------------------------------------------------------------------------------------------- differences

Expected<Arg> squared_error(Call& call) {
  const auto [x, target] = operand_pair(call);
  return loss(call, apply("squared_difference", x, target));
}

Expected<Arg> absolute_error(Call& call) {
  const auto [x, target] = operand_pair(call);
  return loss(call, apply("abs", x - target));
}

// Squared near 0, straight beyond `width`; the Huber loss is `width` times the smooth one.
Expected<Arg> smooth_error(Call& call, double width, bool huber) {
  if (width <= 0) return absolute_error(call);
  const auto [x, target] = operand_pair(call);
  const Expr size = apply("abs", x - target);
  const Expr near = size * size * (huber ? 0.5 : 0.5 / width);
  const Expr far = huber ? (size - width / 2) * width : size - width / 2;
  return loss(call, where(apply("less", size, width), near, far));
}

// ------------------------------------------------------------------------------------------------------------- classes

// Classes lie on axis 1, of a vector on its only one.
std::size_t class_axis(const Value* logs) {
  return shape_of(logs).size() > 1 ? 1 : 0;
}

struct Picked {
  Value* loss;     // of each target's class
  Value* factor;   // how much it counts; null: 1
  Value* skipped;  // whether it counts nothing; null: never
};

Picked pick_classes(Builder& build, Value* logs, Value* target, Value* weight, std::optional<std::int64_t> ignored) {
  const auto axis = static_cast<std::int64_t>(class_axis(logs));
  Value* index = cast(build, target, DType::i64);
  Picked picked{nullptr, nullptr, nullptr};
  if (ignored) {
    picked.skipped = build("equal", {index, integer_number(build, *ignored)});
    index = build("where", {picked.skipped, integer_number(build, 0), index});
  }
  Value* own = build("gather_elements", {logs, unsqueeze(build, index, axis)}, {{"dim", axis}});
  picked.loss = build("neg", {squeeze(build, own, axis)});
  if (weight != nullptr) picked.factor = build("gather", {weight, index}, {{"dim", std::int64_t{0}}});
  if (picked.skipped == nullptr || build.failed()) return picked;
  Value* zero = number(build, 0.0, logs->type.dtype);
  Value* counted = picked.factor != nullptr ? picked.factor : number(build, 1.0, logs->type.dtype);
  picked.factor = build("where", {picked.skipped, zero, counted});
  // What is skipped counts nothing, even where it is infinite.
  picked.loss = build("where", {picked.skipped, zero, picked.loss});
  return picked;
}

// Losses that are multiplied by their factors already, whose sum the mean divides.
Value* reduced_by_weight(Builder& build, Value* losses, Value* factor, Reduction reduction) {
  if (reduction != Reduction::mean || factor == nullptr) return reduced(build, losses, reduction);
  Value* total = reduced(build, expand(build, factor, shape_of(losses)), Reduction::sum);
  return build("div", {reduced(build, losses, Reduction::sum), total});
}

Value* weighted(Builder& build, const Picked& picked) {
  return picked.factor == nullptr ? picked.loss : build("mul", {picked.loss, picked.factor});
}

Expected<Arg> class_loss(Call& call) {
  TAPER_ASSIGN(const Reduction reduction, reduction_of(call));
  return fresh(negative_log_likelihood(call.build, call.tensor("self"), call.tensor("target"), call.tensor("weight"),
                                       call.integer("ignore_index"), reduction));
}

// The same beside the sum of the targets' weights, which gradients need.
Expected<Arg> class_loss_and_weight(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Reduction reduction, reduction_of(call));
  const Picked picked = pick_classes(build, call.tensor("self"), call.tensor("target"), call.tensor("weight"),
                                     call.integer("ignore_index"));
  Value* total =
      reduction == Reduction::none ? number(build, 0.0, DType::f32) : reduced(build, picked.factor, Reduction::sum);
  return fresh_list({reduced_by_weight(build, weighted(build, picked), picked.factor, reduction), total});
}

// Targets are probabilities of all classes.
Expected<Arg> cross_entropy_of_probabilities(Call& call, Value* logs, const Dim& classes) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Reduction reduction, reduction_of(call));
  const double smoothing = call.real("label_smoothing");
  Value* target = as_large_as(build, call.tensor("target"), shape_of(logs));
  if (smoothing != 0) {
    Value* share = build("div", {number(build, smoothing, DType::f32), number(build, Arg(classes), DType::f32)});
    target = build("add", {build("mul", {target, number(build, 1 - smoothing, DType::f32)}), share});
  }
  Value* losses = build("mul", {logs, target});
  if (call.given("weight"))
    losses = build("mul", {losses, per_channel(build, call.tensor("weight"), shape_of(logs).size())});
  losses = build("neg", {reduce(build, "sum", losses, {static_cast<std::int64_t>(class_axis(logs))}, false)});
  return fresh(reduced(build, losses, reduction));
}

// (1 - s) of the loss of the target's class, and s of the mean over all classes.
Expected<Arg> cross_entropy_of_classes(Call& call, Value* logs, const Dim& classes) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Reduction reduction, reduction_of(call));
  const double smoothing = call.real("label_smoothing");
  Value* weight = call.tensor("weight");
  const Picked picked = pick_classes(build, logs, call.tensor("target"), weight, call.integer("ignore_index"));
  Value* own = reduced_by_weight(build, weighted(build, picked), picked.factor, reduction);
  if (smoothing == 0) return fresh(own);
  Value* all = weight == nullptr ? logs : build("mul", {logs, per_channel(build, weight, shape_of(logs).size())});
  all = build("neg", {reduce(build, "sum", all, {static_cast<std::int64_t>(class_axis(logs))}, false)});
  all = as_large_as(build, all, shape_of(picked.loss));
  all = build("where", {picked.skipped, number(build, 0.0, DType::f32), all});
  all = reduced_by_weight(build, all, picked.factor, reduction);
  Value* share = build("div", {number(build, smoothing, DType::f32), number(build, Arg(classes), DType::f32)});
  return fresh(
      build("add", {build("mul", {own, number(build, 1 - smoothing, DType::f32)}), build("mul", {all, share})}));
}

Expected<Arg> cross_entropy(Call& call) {
  const Value* x = call.tensor("self");
  const Type& target = call.tensor("target")->type;
  if (x->type.shape.empty()) return fail("{}, expected an axis of classes", type_text(x->type));
  const auto axis = static_cast<std::int64_t>(class_axis(x));
  const Dim classes = x->type.shape[class_axis(x)];
  Value* logs = call.build("log_softmax", {call.tensor("self")}, {{"dim", axis}});
  TAPER_TRY(call.build.status());
  if (target.shape.size() != x->type.shape.size()) return cross_entropy_of_classes(call, logs, classes);
  if (!is_floating(target.dtype)) return fail("a target of probabilities that is {}", type_text(target));
  return cross_entropy_of_probabilities(call, logs, classes);
}

// ------------------------------------------------------------------------------------------------------- probabilities

// -(t ln p + (1 - t) ln (1 - p)), logarithms no lower than -100
Expected<Arg> binary_cross_entropy(Call& call) {
  const auto [p, target] = operand_pair(call);
  const auto bounded = [](const Expr& logarithm) { return apply("maximum", logarithm, -100.0); };
  Expr losses = (target - 1) * bounded(apply("log1p", -p)) - target * bounded(apply("log", p));
  if (call.given("weight")) losses = losses * tensor(call, "weight");
  return loss(call, losses);
}

// -(w t ln s(x) + (1 - t) ln s(-x)), where -ln s(x) = ln(1 + exp(-x)) and w weighs what is positive
Expected<Arg> binary_cross_entropy_with_logits(Call& call) {
  const auto [x, target] = operand_pair(call);
  Expr losses = (1 - target) * x;
  losses = losses +
           (call.given("pos_weight") ? ((tensor(call, "pos_weight") - 1) * target + 1) * softplus(-x) : softplus(-x));
  if (call.given("weight")) losses = losses * tensor(call, "weight");
  return loss(call, losses);
}

// t (ln t - x), 0 where t is 0
Expected<Arg> divergence(Call& call) {
  const auto [x, target] = operand_pair(call);
  if (call.flag("log_target")) return loss(call, apply("exp", target) * (target - x));
  TAPER_ASSIGN(const Expr own, called(call, "xlogy.Tensor", {{"", fresh(target.value)}, {"", fresh(target.value)}}));
  return loss(call, own - target * x);
}

// exp x - t x, or x - t ln x, and with `full` Stirling's ln t!
Expected<Arg> poisson_loss(Call& call) {
  const auto [x, target] = operand_pair(call, "input");
  Expr losses = call.flag("log_input") ? apply("exp", x) - target * x : x - target * apply("log", x + call.real("eps"));
  if (call.flag("full")) {
    const Expr t = apply("maximum", target, 1.0);  // up to 1 the term is left out
    const Expr factorial = t * apply("log", t) - t + apply("log", t * (2 * std::numbers::pi)) * 0.5;
    losses = losses + where(apply("greater", target, 1.0), factorial, 0.0);
  }
  return loss(call, losses);
}

// ------------------------------------------------------------------------------------------------------------- margins

// 1 - cos of what belongs together, the cosine beyond a margin of what doesn't.
Expected<Arg> cosine_embedding_loss(Call& call) {
  constexpr double kNearZero = 1e-12;
  const auto [a, b] = operand_pair(call, "input1", "input2");
  const Expr target = tensor(call, "target");
  const auto axis = static_cast<std::int64_t>(shape_of(target.value).size());
  if (shape_of(a.value).size() != shape_of(target.value).size() + 1)
    return fail("a target of {} for {}", type_text(target.value->type), type_text(a.value->type));
  const auto dot = [&](const Expr& v, const Expr& w) {
    return Expr{&call.build, reduce(call.build, "sum", (v * w).value, {axis}, false)};
  };
  const Expr cosine = dot(a, b) / apply("sqrt", (dot(a, a) + kNearZero) * (dot(b, b) + kNearZero));
  const Expr apart = where(apply("equal", target, -1.0), positive_part(cosine - call.real("margin")), 0.0);
  return loss(call, where(apply("equal", target, 1.0), 1 - cosine, apart));
}

Expected<Arg> margin_ranking_loss(Call& call) {
  const auto [a, b] = operand_pair(call, "input1", "input2");
  return loss(call, positive_part(-tensor(call, "target") * (a - b) + call.real("margin")));
}

// x where the target is 1, what x lacks of a margin where it is -1; both elsewhere.
Expected<Arg> hinge_embedding_loss(Call& call) {
  const auto [x, target] = operand_pair(call);
  const Expr lacking = positive_part(call.real("margin") - x);
  return loss(call, where(apply("equal", target, 1.0), x.number(0), lacking) +
                        where(apply("equal", target, -1.0), x.number(0), x));
}

Expected<Arg> soft_margin_loss(Call& call) {
  const auto [x, target] = operand_pair(call);
  return loss(call, softplus(-(target * x)));
}

Expected<Arg> triplet_margin_loss(Call& call) {
  const auto distance = [&](std::string_view a, std::string_view b) {
    return called(call, "pairwise_distance",
                  {{"", call.arg(a)}, {"", call.arg(b)}, {"p", call.arg("p")}, {"eps", call.arg("eps")}});
  };
  TAPER_ASSIGN(const Expr near, distance("anchor", "positive"));
  TAPER_ASSIGN(Expr far, distance("anchor", "negative"));
  if (call.flag("swap")) {
    TAPER_ASSIGN(const Expr other, distance("positive", "negative"));
    far = apply("minimum", far, other);
  }
  return loss(call, positive_part(near - far + call.real("margin")));
}

// The operand with an axis of examples, which calls on one example leave out.
Value* with_examples(Call& call, std::string_view name, std::size_t rank) {
  Value* x = call.tensor(name);
  return shape_of(x).size() < rank ? reshape(call.build, x, rank == 1 ? Shape{1} : Shape{1, element_count(shape_of(x))})
                                   : x;
}

Expected<Arg> loss_of_examples(Call& call, Value* losses) {
  if (call.tensor("self")->type.shape.size() < 2) losses = squeeze(call.build, losses, 0);
  return loss(call, {&call.build, losses});
}

// The mean over all classes of max(0, margin - x[target] + x[i])^p, the target's own left out.
Expected<Arg> multi_margin_loss(Call& call) {
  Builder& build = call.build;
  const double order = call.real("p");
  if (order != 1 && order != 2) return fail("p is {}, expected 1 or 2", order);
  const Expr x{&build, with_examples(call, "self", 2)};
  TAPER_TRY(build.status());
  if (shape_of(x.value).size() != 2) return fail("{}, expected [N, C]", type_text(x.value->type));
  Value* target = cast(build, with_examples(call, "target", 1), DType::i64);
  target = as_large_as(build, target, {shape_of(x.value)[0]});
  Value* index = unsqueeze(build, target, 1);
  const Expr own{&build, build("gather_elements", {x.value, index}, {{"dim", std::int64_t{1}}})};
  Expr over = positive_part(x - own + call.real("margin"));
  if (order == 2) over = over * over;
  if (call.given("weight"))
    over = over * Expr{&build, build("gather", {call.tensor("weight"), index}, {{"dim", std::int64_t{0}}})};
  Value* classes = arange(build, 0, 1, shape_of(x.value)[1], DType::i64);
  const Expr is_own{&build, build("equal", {index, classes})};
  return loss_of_examples(call, reduce(build, "mean", where(is_own, over.number(0), over).value, {1}, false));
}

struct MultiLabel {
  Value* losses;     // [N]
  Value* is_target;  // [N, C]
};

// The sum over the targets j, which are those before the first negative one, and all classes i that are no targets, of
// max(0, 1 - x[j] + x[i]), divided by the number of classes.
Expected<MultiLabel> multilabel_margin(Call& call) {
  Builder& build = call.build;
  const Expr x{&build, with_examples(call, "self", 2)};
  TAPER_TRY(build.status());
  if (shape_of(x.value).size() != 2) return fail("{}, expected [N, C]", type_text(x.value->type));
  Value* target = cast(build, with_examples(call, "target", 2), DType::i64);
  target = as_large_as(build, target, shape_of(x.value));
  const Dim count = shape_of(x.value)[1];
  Value* zero = integer_number(build, 0);
  Value* ended = build("cumsum", {cast(build, build("less", {target, zero}), DType::i64)}, {{"dim", std::int64_t{1}}});
  Value* valid = build("equal", {ended, zero});
  Value* index = build("where", {valid, target, zero});
  const Expr own{&build, build("gather_elements", {x.value, index}, {{"dim", std::int64_t{1}}})};
  Value* same = build("equal", {unsqueeze(build, index, 2), arange(build, 0, 1, count, DType::i64)});
  Value* named = build("logical_and", {same, unsqueeze(build, valid, 2)});
  Value* is_target = reduce(build, "any", named, {1}, false);
  Value* pairs =
      build("logical_and", {unsqueeze(build, valid, 2), unsqueeze(build, build("logical_not", {is_target}), 1)});
  const Expr over =
      positive_part(1 - Expr{&build, unsqueeze(build, own.value, 2)} + Expr{&build, unsqueeze(build, x.value, 1)});
  Value* sum = reduce(build, "sum", where({&build, pairs}, over, 0.0).value, {1, 2}, false);
  return MultiLabel{build("div", {sum, number(build, Arg(count), DType::f32)}), is_target};
}

Expected<Arg> multilabel_margin_loss(Call& call) {
  TAPER_ASSIGN(const MultiLabel found, multilabel_margin(call));
  return loss_of_examples(call, found.losses);
}

Expected<Arg> multilabel_margin_loss_forward(Call& call) {
  TAPER_ASSIGN(const MultiLabel found, multilabel_margin(call));
  TAPER_ASSIGN(const Arg result, loss_of_examples(call, found.losses));
  Value* is_target =
      reshape(call.build, cast(call.build, found.is_target, DType::f32), call.tensor("self")->type.shape);
  return Arg(Arg::List{result, fresh(is_target)});
}

}  // namespace

Value* as_large_as(Builder& build, Value* x, const Shape& shape) {
  for (std::size_t axis = 0; axis < std::min(shape.size(), shape_of(x).size()); ++axis) {
    const Dim& size = x->type.shape[axis];
    if (size != shape[axis] && !(size.constant() && shape[axis].constant())) x = slice(build, x, axis, 0, shape[axis]);
  }
  return x;
}

Value* reduced(Builder& build, Value* losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  return reduce(build, reduction == Reduction::mean ? "mean" : "sum", losses, all_axes(shape_of(losses).size()), false);
}

Expected<Reduction> reduction_of(const Call& call) {
  const std::int64_t number = call.integer("reduction");
  if (number < 0 || number > 2) return fail("reduction {}, expected 0 (none), 1 (mean) or 2 (sum)", number);
  return static_cast<Reduction>(number);
}

Value* negative_log_likelihood(Builder& build, Value* logs, Value* target, Value* weight,
                               std::optional<std::int64_t> ignored, Reduction reduction) {
  const Picked picked = pick_classes(build, logs, target, weight, ignored);
  return reduced_by_weight(build, weighted(build, picked), picked.factor, reduction);
}

#define TAPER_CLASSES "(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt ignore_index=-100"

std::vector<Overload> loss_overloads() {
  return {
      {"mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor", squared_error},
      {"l1_loss(Tensor self, Tensor target, int reduction=1) -> Tensor", absolute_error},
      {"smooth_l1_loss(Tensor self, Tensor target, int reduction=1, float beta=1.0) -> Tensor",
       [](Call& call) { return smooth_error(call, call.real("beta"), false); }},
      {"huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.0) -> Tensor",
       [](Call& call) { return smooth_error(call, call.real("delta"), true); }},
      {"cross_entropy_loss" TAPER_CLASSES ", float label_smoothing=0.0) -> Tensor", cross_entropy},
      {"nll_loss_nd" TAPER_CLASSES ") -> Tensor", class_loss},
      {"nll_loss" TAPER_CLASSES ") -> Tensor", class_loss},
      {"nll_loss2d" TAPER_CLASSES ") -> Tensor", class_loss},
      {"nll_loss_forward" TAPER_CLASSES ") -> (Tensor output, Tensor total_weight)", class_loss_and_weight},
      {"nll_loss2d_forward" TAPER_CLASSES ") -> (Tensor output, Tensor total_weight)", class_loss_and_weight},
      {"binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, int reduction=1) -> Tensor",
       binary_cross_entropy},
      {"binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, Tensor? pos_weight=None, int "
       "reduction=1) -> Tensor",
       binary_cross_entropy_with_logits},
      {"kl_div(Tensor self, Tensor target, int reduction=1, *, bool log_target=False) -> Tensor", divergence},
      {"poisson_nll_loss(Tensor input, Tensor target, bool log_input, bool full, float eps, int reduction) -> Tensor",
       poisson_loss},
      {"cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, int reduction=1) -> "
       "Tensor",
       cosine_embedding_loss},
      {"margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, int reduction=1) -> Tensor",
       margin_ranking_loss},
      {"hinge_embedding_loss(Tensor self, Tensor target, float margin=1.0, int reduction=1) -> Tensor",
       hinge_embedding_loss},
      {"soft_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor", soft_margin_loss},
      {"triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2.0, float "
       "eps=1e-06, bool swap=False, int reduction=1) -> Tensor",
       triplet_margin_loss},
      {"multi_margin_loss(Tensor self, Tensor target, Scalar p=1, Scalar margin=1, Tensor? weight=None, int "
       "reduction=1) -> Tensor",
       multi_margin_loss},
      {"ctc_loss.IntList(Tensor log_probs, Tensor targets, int[] input_lengths, int[] target_lengths, int blank=0, int "
       "reduction=1, bool zero_infinity=False) -> Tensor",
       ctc_loss},
      {"ctc_loss.Tensor(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank=0, "
       "int reduction=1, bool zero_infinity=False) -> Tensor",
       ctc_loss},
      {"multilabel_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor", multilabel_margin_loss},
      {"multilabel_margin_loss_forward(Tensor self, Tensor target, int reduction) -> (Tensor output, Tensor is_target)",
       multilabel_margin_loss_forward},
  };
}

#undef TAPER_CLASSES

}  // namespace taper::aten
