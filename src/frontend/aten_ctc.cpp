// Connectionist temporal classification: -ln of the probability of all alignments of a sequence of labels.
#include <limits>

#include "frontend/aten_loss.h"
#include "ops/formula.h"

namespace taper::aten {
namespace {

// ln 0, near enough, which stays finite when two of it are added.
constexpr double kNever = -1e30;

// Labels with blanks around them, [N, L], L = 2 S + 1, and for each ln 1 where the label two places before it may come
// directly before it, else ln 0.
struct Paths {
  Value* classes;
  Value* skips;
};

Paths paths_of(Builder& build, Value* targets, std::int64_t blank) {
  const Dim batch = shape_of(targets)[0], pairs = Dim(2) * shape_of(targets)[1];
  const auto filled = [&](const Dim& width, std::int64_t label) {
    return full(build, {batch, width}, Arg(Dim(label)), DType::i64);
  };
  Value* blanks = full(build, shape_of(targets), Arg(Dim(blank)), DType::i64);
  Value* both = concat(build, {unsqueeze(build, blanks, 2), unsqueeze(build, targets, 2)}, 2);
  Value* classes = concat(build, {reshape(build, both, {batch, pairs}), filled(1, blank)}, 1);
  constexpr std::int64_t kNone = -1;
  Value* before = concat(build, {filled(2, kNone), slice(build, classes, 1, 0, pairs - Dim(1))}, 1);
  Value* differs = build("not_equal", {classes, before});
  Value* is_label = build("not_equal", {classes, integer_number(build, blank)});
  Value* skips = build("where", {build("logical_and", {differs, is_label}), number(build, 0.0, DType::f32),
                                 number(build, kNever, DType::f32)});
  return {classes, skips};
}

// ln of the sum of probabilities.
Expr log_sum(const Expr& a, const Expr& b) {
  const Expr largest = apply("maximum", a, b);
  return largest + apply("log", apply("exp", a - largest) + apply("exp", b - largest));
}

// One step: a path stays at its label, or comes from the one before, or from that before the blank between them. Paths
// of sequences that have ended stay as they are.
std::unique_ptr<Graph> step_of_paths(const Type& state, const Type& active, Status& status) {
  auto body = std::make_unique<Graph>();
  Builder step(*body);
  const Expr paths{&step, body->add_input("paths", state)};
  const Expr skips{&step, body->add_input("skips", state)};
  const Expr logs{&step, body->add_input("logs", state)};
  const Expr runs{&step, body->add_input("runs", active)};
  const auto shifted = [&](std::int64_t by) {
    Value* wide =
        step("pad", {paths.value}, {{"before", Integers{0, by}}, {"after", Integers{0, 0}}, {"value", kNever}});
    return Expr{&step, slice(step, wide, 1, 0, state.shape[1])};
  };
  const Expr next = log_sum(log_sum(paths, shifted(1)), shifted(2) + skips) + logs;
  body->add_output("paths", where(apply("greater", runs, 0.5), next, paths).value);
  body->add_output("skips", skips.value);
  status = step.status();
  return body;
}

// logs [N, T, L] of the labels' classes, active [N, T, 1] -> ln p [N, L] of the paths that end at each label.
Expected<Value*> run_paths(Builder& build, const Paths& paths, Value* logs, Value* active) {
  const Type state{DType::f32, shape_of(paths.skips)};
  Status status;
  std::vector<std::unique_ptr<Graph>> regions;
  regions.push_back(step_of_paths(state, {DType::f32, {state.shape[0], 1}}, status));
  TAPER_TRY(status);
  Value* place = arange(build, 0, 1, state.shape[1], DType::i64);
  Value* start = build("where", {build("equal", {place, integer_number(build, 0)}), number(build, 0.0, DType::f32),
                                 number(build, kNever, DType::f32)});
  const std::vector<Value*> results =
      build.call("scan", {expand(build, start, state.shape), paths.skips, logs, active},
                 {{"states", std::int64_t{2}}, {"reverse_inputs", Integers{0, 0}}, {"reverse_outputs", Integers{}}},
                 "scan", std::move(regions));
  TAPER_TRY(build.status());
  return results[0];
}

// Paths end at the last label or at the blank behind it; without labels at the first blank.
Expr at_ends(Builder& build, Value* paths, Value* lengths) {
  Value* last = unsqueeze(build, build("mul", {lengths, integer_number(build, 2)}), 1);
  Value* label = build("maximum", {build("sub", {last, integer_number(build, 1)}), integer_number(build, 0)});
  const auto at = [&](Value* index) {
    return Expr{&build, squeeze(build, build("gather_elements", {paths, index}, {{"dim", std::int64_t{1}}}), 1)};
  };
  const Expr has_labels{&build, build("greater", {lengths, integer_number(build, 0)})};
  return log_sum(at(last), where(has_labels, at(label), kNever));
}

// A length for each of `batch` sequences.
Value* lengths_of(Call& call, std::string_view name, const Dim& batch) {
  if (call.arg(name).as<Arg::List>() != nullptr) return integer_vector(call.build, call.integers(name));
  Value* lengths = cast(call.build, call.tensor(name), DType::i64);
  if (shape_of(lengths).empty()) lengths = unsqueeze(call.build, lengths, 0);
  return as_large_as(call.build, lengths, {batch});
}

}  // namespace

Expected<Arg> ctc_loss(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Reduction reduction, reduction_of(call));
  Value* logs = call.tensor("log_probs");
  Value* targets = cast(build, call.tensor("targets"), DType::i64);
  const bool batched = shape_of(logs).size() == 3;
  if (!batched) logs = unsqueeze(build, logs, 1);
  TAPER_TRY(build.status());
  if (shape_of(logs).size() != 3) return fail("{}, expected [T, N, C]", type_text(logs->type));
  const Dim steps = shape_of(logs)[0], batch = shape_of(logs)[1];
  if (shape_of(targets).size() == 1 && batch.is(1)) targets = unsqueeze(build, targets, 0);
  TAPER_TRY(build.status());
  if (shape_of(targets).size() != 2)
    return fail("targets {} that follow one another, expected a row for each sequence", type_text(targets->type));
  targets = as_large_as(build, targets, {batch, shape_of(targets)[1]});
  Value* lengths = lengths_of(call, "target_lengths", batch);
  const Paths paths = paths_of(build, targets, call.integer("blank"));
  TAPER_TRY(build.status());
  Value* classes = expand(build, unsqueeze(build, paths.classes, 1), {batch, steps, shape_of(paths.classes)[1]});
  Value* own = build("gather_elements", {permute(build, logs, {1, 0, 2}), classes}, {{"dim", std::int64_t{2}}});
  Value* runs = build(
      "less", {arange(build, 0, 1, steps, DType::i64), unsqueeze(build, lengths_of(call, "input_lengths", batch), 1)});
  Value* active = expand(build, unsqueeze(build, cast(build, runs, DType::f32), 2), {batch, steps, 1});
  TAPER_ASSIGN(Value * ends, run_paths(build, paths, own, active));
  const Expr losses = -at_ends(build, ends, lengths);
  const double impossible = call.flag("zero_infinity") ? 0 : std::numeric_limits<double>::infinity();
  Expr result = where(apply("greater", losses, -kNever / 10), losses.number(impossible), losses);
  if (reduction == Reduction::mean)
    result = result / apply("maximum", Expr{&build, cast(build, lengths, DType::f32)}, 1.0);
  Value* y = reduced(build, result.value, reduction);
  return fresh(!batched && reduction == Reduction::none ? squeeze(build, y, 0) : y);
}

}  // namespace taper::aten
