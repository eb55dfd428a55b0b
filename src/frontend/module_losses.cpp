// Losses of torch.nn.
#include <array>
#include <cmath>
#include <numbers>

#include "frontend/aten_table.h"
#include "frontend/module_calls.h"

namespace taper::modules {
namespace {

using aten::Arg;
using Result = Expected<Arg>;

// All entries, their mean or their sum, as the module's `reduction` says.
Result reduced(const Call& call, const Arg& losses) {
  const Arg reduction = call.attr("reduction");
  const auto* name = reduction.as<std::string>();
  if (!name || (*name != "none" && *name != "mean" && *name != "sum"))
    return fail("module '{}' has a reduction that is not known", call.path);
  if (*name == "none") return losses;
  return call.aten(*name, {{"", losses}});
}

Result called_on(const Call& call, std::string_view op, const Arg& a, const Arg& b) {
  return call.aten(op, {{"", a}, {"", b}});
}

// "batchmean": the sum over the number of examples.
Result divergence(Call& call) {
  const Arg reduction = call.attr("reduction");
  const bool per_example = reduction.as<std::string>() && *reduction.as<std::string>() == "batchmean";
  TAPER_ASSIGN(const Arg losses, call.aten("kl_div", {{"", call.input(0)},
                                                      {"", call.input(1)},
                                                      {"reduction", per_example ? Arg(Dim(2)) : call.reduction()},
                                                      {"log_target", call.attr("log_target")}}));
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  if (!per_example || shape.empty()) return losses;
  return called_on(call, "div", losses, Arg(shape[0]));
}

// (ln v + (x - t)^2 / v) / 2, v the variance, no lower than eps; with `full` ln(2 pi) / 2 more
Result gaussian_loss(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  TAPER_ASSIGN(const Shape given, call.shape(2));
  Arg variance = call.input(2);
  // One variance for each row may leave its axis out.
  if (given.size() + 1 == shape.size()) {
    TAPER_ASSIGN(variance, called_on(call, "unsqueeze", variance, Arg(Dim(-1))));
  }
  TAPER_ASSIGN(variance, called_on(call, "clamp_min", variance, call.attr("eps")));
  TAPER_ASSIGN(const Arg error, called_on(call, "sub", call.input(0), call.input(1)));
  TAPER_ASSIGN(const Arg squares, called_on(call, "mul", error, error));
  TAPER_ASSIGN(const Arg scaled, called_on(call, "div", squares, variance));
  TAPER_ASSIGN(const Arg logarithm, call.aten("log", {{"", variance}}));
  TAPER_ASSIGN(const Arg sum, called_on(call, "add", logarithm, scaled));
  TAPER_ASSIGN(Arg losses, called_on(call, "mul", sum, Arg(0.5)));
  if (call.flag("full")) {
    TAPER_ASSIGN(losses, called_on(call, "add", losses, Arg(0.5 * std::log(2 * std::numbers::pi))));
  }
  return reduced(call, losses);
}

// The mean over classes of -(t ln s(x) + (1 - t) ln s(-x))
Result multilabel_soft_margin(Call& call) {
  TAPER_ASSIGN(const Arg weight, call.tensor("weight"));
  TAPER_ASSIGN(const Arg losses,
               call.aten("binary_cross_entropy_with_logits",
                         {{"", call.input(0)}, {"", call.input(1)}, {"weight", weight}, {"reduction", Arg(Dim(0))}}));
  TAPER_ASSIGN(const Arg means, call.aten("mean", {{"", losses}, {"dim", Arg(Arg::List{Arg(Dim(-1))})}}));
  return reduced(call, means);
}

// Distances are those of a module.
Result triplet_with_distance(Call& call) {
  if (!call.has_child("distance_function"))
    return fail("module '{}' has a distance that is code, which a file does not hold", call.path);
  const auto distance = [&](std::size_t a, std::size_t b) {
    return call.run("distance_function", {call.input(a), call.input(b)});
  };
  TAPER_ASSIGN(const Arg near, distance(0, 1));
  TAPER_ASSIGN(Arg far, distance(0, 2));
  if (call.flag("swap")) {
    TAPER_ASSIGN(const Arg other, distance(1, 2));
    TAPER_ASSIGN(far, called_on(call, "minimum", far, other));
  }
  TAPER_ASSIGN(const Arg closer, called_on(call, "sub", near, far));
  TAPER_ASSIGN(const Arg lacking, called_on(call, "add", closer, call.attr("margin")));
  TAPER_ASSIGN(const Arg losses, called_on(call, "clamp_min", lacking, Arg(Dim(0))));
  return reduced(call, losses);
}

// The logits of a linear layer, of which a class may have several, then the cross entropy.
Result linear_cross_entropy(Call& call) {
  TAPER_ASSIGN(Arg logits, call.run("linear", {call.input(0)}));
  const Arg features = call.attr("out_features");
  if (const auto* more = features.as<Arg::List>(); more && !more->empty()) {
    Arg::List sizes = {call.attr("num_classes")};
    sizes.insert(sizes.end(), more->begin(), more->end());
    TAPER_ASSIGN(logits, call.aten("unflatten", {{"", logits}, {"", Arg(Dim(-1))}, {"", Arg(std::move(sizes))}}));
  }
  TAPER_ASSIGN(const Arg weight, call.tensor("weight"));
  return call.aten("cross_entropy_loss", {{"", logits},
                                          {"", call.input(1)},
                                          {"weight", weight},
                                          {"reduction", call.reduction()},
                                          {"ignore_index", Arg(Dim(call.integer("ignore_index", -100)))},
                                          {"label_smoothing", call.attr("label_smoothing")}});
}

// ln p of all classes: the head's own, then those of each cluster, which the head has one class for.
Result adaptive_log_probabilities(Call& call, const Arg& input) {
  constexpr std::int64_t kMostClusters = 1000;
  const std::int64_t own = call.integer("shortlist_size"), clusters = call.integer("n_clusters");
  const pickle::Value* tail = call.child("tail");
  if (clusters < 1 || clusters > kMostClusters || !tail || !is_module(*tail))
    return fail("module '{}' has {} clusters", call.path, clusters);
  TAPER_ASSIGN(const Arg head, call.run("head", {input}));
  TAPER_ASSIGN(const Arg logs, call.aten("log_softmax", {{"", head}, {"dim", Arg(Dim(1))}}));
  const auto classes = [&](std::int64_t from, std::int64_t count) {
    return call.aten("narrow", {{"", logs}, {"", Arg(Dim(1))}, {"", Arg(Dim(from))}, {"", Arg(Dim(count))}});
  };
  TAPER_ASSIGN(Arg first, classes(0, own));
  Arg::List parts = {std::move(first)};
  for (std::int64_t i = 0; i < clusters; ++i) {
    const std::string number = std::to_string(i);
    const pickle::Value* cluster = pickle::find(*pickle::attribute(*tail, "_modules"), number);
    if (!cluster) return fail("module '{}' has no part 'tail.{}'", call.path, i);
    TAPER_ASSIGN(const Arg logits, call.importer.run(*cluster, call.path_of("tail." + number), {input}));
    TAPER_ASSIGN(const Arg within, call.aten("log_softmax", {{"", logits}, {"dim", Arg(Dim(1))}}));
    TAPER_ASSIGN(const Arg all, classes(own + i, 1));
    TAPER_ASSIGN(Arg part, called_on(call, "add", within, all));
    parts.push_back(std::move(part));
  }
  return called_on(call, "cat", Arg(std::move(parts)), Arg(Dim(1)));
}

// ln p of each target, and its mean as a loss.
Result adaptive_log_softmax(Call& call) {
  TAPER_ASSIGN(const Shape target, call.shape(1));
  if (target.size() != 1) return fail("module '{}' takes targets [N], not {}", call.path, shape_text(target));
  TAPER_ASSIGN(const Arg logs, adaptive_log_probabilities(call, call.input(0)));
  const auto loss = [&](std::int64_t reduction) {
    return call.aten("nll_loss", {{"", logs}, {"", call.input(1)}, {"reduction", Arg(Dim(reduction))}});
  };
  TAPER_ASSIGN(const Arg negative, loss(0));
  TAPER_ASSIGN(Arg output, call.aten("neg", {{"", negative}}));
  TAPER_ASSIGN(Arg mean, loss(1));
  return Arg(Arg::List{std::move(output), std::move(mean)});
}

}  // namespace

std::vector<ModuleRow> loss_modules() {
  constexpr std::string_view kReduction = "reduction=.reduction";
  constexpr std::string_view kMargin = "margin=.margin reduction=.reduction";
  constexpr std::string_view kClasses = "weight=$weight reduction=.reduction ignore_index=.ignore_index";
  const std::vector<ModuleInput> classes = {{"input"}, {"target", DType::i64}};
  const std::vector<ModuleInput> values = {{"input"}, {"target"}};
  const std::vector<ModuleInput> pairs = {{"input1"}, {"input2"}, {"target"}};
  const std::vector<ModuleInput> triplets = {{"anchor"}, {"positive"}, {"negative"}};
  return {
      {"CrossEntropyLoss", "cross_entropy_loss",
       "weight=$weight reduction=.reduction ignore_index=.ignore_index label_smoothing=.label_smoothing", nullptr,
       classes},
      {"NLLLoss", "nll_loss_nd", kClasses, nullptr, classes},
      {"NLLLoss2d", "nll_loss_nd", kClasses, nullptr, classes},
      {"MultiMarginLoss", "multi_margin_loss", "p=.p margin=.margin weight=$weight reduction=.reduction", nullptr,
       classes},
      {"MultiLabelMarginLoss", "multilabel_margin_loss", kReduction, nullptr, classes},
      {"CTCLoss",
       "ctc_loss",
       "blank=.blank reduction=.reduction zero_infinity=.zero_infinity",
       nullptr,
       {{"log_probs"}, {"targets", DType::i64}, {"input_lengths", DType::i64}, {"target_lengths", DType::i64}}},
      {.name = "LinearCrossEntropyLoss", .build = linear_cross_entropy, .inputs = classes},
      {.name = "AdaptiveLogSoftmaxWithLoss",
       .build = adaptive_log_softmax,
       .inputs = {{"input_"}, {"target_", DType::i64}}},
      {"MSELoss", "mse_loss", kReduction, nullptr, values},
      {"L1Loss", "l1_loss", kReduction, nullptr, values},
      {"SmoothL1Loss", "smooth_l1_loss", "reduction=.reduction beta=.beta", nullptr, values},
      {"HuberLoss", "huber_loss", "reduction=.reduction delta=.delta", nullptr, values},
      {"BCELoss", "binary_cross_entropy", "weight=$weight reduction=.reduction", nullptr, values},
      {"BCEWithLogitsLoss", "binary_cross_entropy_with_logits",
       "weight=$weight pos_weight=$pos_weight reduction=.reduction", nullptr, values},
      {.name = "KLDivLoss", .build = divergence, .inputs = values},
      {"PoissonNLLLoss",
       "poisson_nll_loss",
       "log_input=.log_input full=.full eps=.eps reduction=.reduction",
       nullptr,
       {{"log_input"}, {"target"}}},
      {.name = "GaussianNLLLoss", .build = gaussian_loss, .inputs = {{"input"}, {"target"}, {"var"}}},
      {"HingeEmbeddingLoss", "hinge_embedding_loss", kMargin, nullptr, values},
      {"SoftMarginLoss", "soft_margin_loss", kReduction, nullptr, values},
      {.name = "MultiLabelSoftMarginLoss", .build = multilabel_soft_margin, .inputs = values},
      {"CosineEmbeddingLoss", "cosine_embedding_loss", kMargin, nullptr, pairs},
      {"MarginRankingLoss", "margin_ranking_loss", kMargin, nullptr, pairs},
      {"TripletMarginLoss", "triplet_margin_loss", "margin=.margin p=.p eps=.eps swap=.swap reduction=.reduction",
       nullptr, triplets},
      {.name = "TripletMarginWithDistanceLoss", .build = triplet_with_distance, .inputs = triplets},
  };
}

}  // namespace taper::modules
