// Written files against the reference: the graph as imported, evaluated in float64 before any pass.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "backend/tensorflow.h"
#include "base/mapped_file.h"
#include "ops/table.h"
#include "passes/rewrite.h"
#include "pipeline/judges.h"
#include "pipeline/model.h"
#include "pipeline/precision.h"
#include "pipeline/trials.h"
#include "report/text.h"
#include "verify/compare.h"

namespace taper {
namespace {

// What a runtime is asked and what is expected of it.
struct Question {
  const Model& model;
  const Trials& trials;
  Bounds bounds;
  // Where the network itself rounds to steps: the outputs that don't lie behind, and what holds for them. Else empty.
  std::vector<bool> exact = {};
  Bounds exact_bounds = {};

  const Graph& graph() const { return model.impl().graph; }
};

std::vector<NamedArray> named_inputs(const Graph& graph, const Trial& trial) {
  std::vector<NamedArray> inputs;
  inputs.reserve(trial.inputs.size());
  for (std::size_t i = 0; i < trial.inputs.size(); ++i) inputs.push_back({graph.inputs()[i]->name, trial.inputs[i]});
  return inputs;
}

OutputShapes expected_shapes(const Graph& graph, const Trial& trial) {
  OutputShapes shapes;
  for (std::size_t i = 0; i < trial.reference.size(); ++i)
    shapes.emplace(graph.outputs()[i].name, trial.reference[i].shape);
  return shapes;
}

std::int64_t count_unlike(const Array& reference, const Array& measured) {
  std::int64_t unlike = 0;
  for (std::size_t i = 0; i < reference.values.size(); ++i) unlike += reference.values[i] == measured.values[i] ? 0 : 1;
  return unlike;
}

// A comparison of outputs: of floats, and how many integers differ.
struct Compared {
  Comparer comparer = {};
  std::int64_t unlike = 0;
};

// Whether elements decide how large something is.
bool measures_sizes(const Graph& graph) {
  return any_node(graph, [](const Node& node) { return op_of(node).measures_sizes; });
}

// Adds the outputs of a run, or those that `chosen` has, if it isn't empty.
Status add_outputs(const Graph& graph, const Trial& trial, const std::vector<NamedArray>& outputs,
                   const std::vector<bool>& chosen, Compared& compared) {
  for (std::size_t i = 0; i < trial.reference.size(); ++i) {
    if (!chosen.empty() && !chosen[i]) continue;
    const std::string& name = graph.outputs()[i].name;
    const auto found = std::ranges::find(outputs, name, &NamedArray::name);
    if (found == outputs.end()) return fail("the file has no output '{}'", name);
    const Array& reference = trial.reference[i];
    const Array& measured = found->value;
    if (measured.shape != reference.shape) {
      std::string shapes = fmt::format("an output has shape {}, expected {}", shape_text(std::span(measured.shape)),
                                       shape_text(std::span(reference.shape)));
      if (!measures_sizes(graph)) return fail("{}", shapes);
      return fail_with_hint(shapes + ": elements decide how large it is, and rounding moved some across that edge",
                            "--quantize fp32 where weights are rounded, or --no-verify to have the files as they are");
    }
    if (!is_floating(reference.dtype)) {
      compared.unlike += count_unlike(reference, measured);
      continue;
    }
    const std::int64_t last_axis = measured.shape.empty() ? 1 : measured.shape.back();
    TAPER_TRY(compared.comparer.add(reference.values, measured.values, last_axis, i));
  }
  return {};
}

Agreement agreement_of(const Compared& compared, const Trial& trial) {
  const Comparison result = compared.comparer.result();
  Agreement agreement{.cosine_similarity = result.cosine,
                      .max_error = result.max_error,
                      .relative_error = result.relative_error,
                      .top1_agreement = result.top1_agreement,
                      .unlike = compared.unlike,
                      .signal_to_noise = result.signal_to_noise,
                      .nonfinite = result.same_nonfinite,
                      .unlike_nonfinite = result.unlike_nonfinite};
  for (const Array& input : trial.inputs) agreement.input_shapes.push_back(input.shape);
  if (!trial.inputs.empty()) agreement.input_shape = trial.inputs.front().shape;
  return agreement;
}

// The worse of each figure; NaN is worst.
void worsen(Agreement& worst, const Agreement& next) {
  const auto lower = [](double a, double b) { return std::isnan(a) || a < b ? a : b; };
  const auto higher = [](double a, double b) { return std::isnan(a) || a > b ? a : b; };
  worst.cosine_similarity = lower(worst.cosine_similarity, next.cosine_similarity);
  worst.max_error = higher(worst.max_error, next.max_error);
  worst.relative_error = higher(worst.relative_error, next.relative_error);
  worst.top1_agreement = lower(worst.top1_agreement, next.top1_agreement);
  worst.signal_to_noise = lower(worst.signal_to_noise, next.signal_to_noise);
  worst.unlike = std::max(worst.unlike, next.unlike);
  worst.nonfinite = std::max(worst.nonfinite, next.nonfinite);
  worst.unlike_nonfinite = std::max(worst.unlike_nonfinite, next.unlike_nonfinite);
}

// The outputs of floats that are NaN throughout, and whether no output holds numbers.
struct Nothing {
  std::vector<std::string> outputs;
  bool everywhere = false;
};

Nothing outputs_without_numbers(const Graph& graph, const Trials& trials) {
  const auto is_nan = [](double value) { return std::isnan(value); };
  Nothing found;
  std::size_t with_elements = 0;
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    const auto values = [&](const Trial& trial) -> const std::vector<double>& { return trial.reference[i].values; };
    const auto is_empty = [&](const Trial& trial) { return values(trial).empty(); };
    if (!is_floating(graph.outputs()[i].value->type.dtype) || std::ranges::all_of(trials.all, is_empty)) continue;
    ++with_elements;
    if (std::ranges::all_of(trials.all, [&](const Trial& trial) { return std::ranges::all_of(values(trial), is_nan); }))
      found.outputs.push_back(graph.outputs()[i].name);
  }
  found.everywhere = with_elements > 0 && found.outputs.size() == with_elements;
  return found;
}

// NaN equals NaN when outputs are compared, but a network of NaN proves nothing.
void tell_of_nothing(Verification& verification, const Nothing& nothing) {
  if (nothing.outputs.empty()) return;
  const std::string text = fmt::format(
      "the reference itself is NaN throughout in {}: are the weights? If it "
      "is because of the numbers that were drawn, give real ones with --verify-input",
      printable(fmt::format("{}", fmt::join(nothing.outputs, ", "))));
  if (nothing.everywhere) {
    verification.passed = false;
    verification.verdict = text;
  } else {
    verification.note += (verification.note.empty() ? "" : "; ") + text;
  }
}

const Node* made_by(const Value* value, std::string_view op) {
  return value->producer != nullptr && value->producer->op == op ? value->producer : nullptr;
}

// Whether the node keeps rounded values within a range.
bool clamps_steps(const Node& node) {
  if (node.op != "clamp") return false;
  const Node* sum = made_by(node.operands[0], "add");
  return made_by(sum == nullptr ? node.operands[0] : sum->operands[0], "round") != nullptr;
}

// Whether the node rounds values to steps of small integers, as networks that were quantised do: where kernels compute
// a last digit otherwise, a value is a whole step away.
bool rounds_to_steps(const Node& node) {
  const DType dtype = node.results[0]->type.dtype;
  if (node.op != "cast" || size_of(dtype) > 2 || is_floating(dtype)) return false;
  const Node* clamp = made_by(node.operands[0], "clamp");
  return clamp != nullptr && clamps_steps(*clamp);
}

// For each output, whether it is computed from values that the network rounds to steps, or simulates to. An output that
// is rounded at the end makes no other value lie on steps.
std::vector<bool> outputs_behind_steps(const Graph& graph) {
  std::set<const Value*> behind, used_as_reals;
  for (const Node& node : graph.nodes())
    if (node.op != "cast") used_as_reals.insert(node.operands.begin(), node.operands.end());
  const auto is_behind = [&](const Value* value) { return behind.contains(value); };
  for (const Node& node : graph.nodes()) {
    const bool leaves = std::ranges::find(graph.outputs(), node.results[0], &Output::value) != graph.outputs().end();
    if ((rounds_to_steps(node) && !leaves) || (clamps_steps(node) && used_as_reals.contains(node.results[0])) ||
        std::ranges::any_of(node.operands, is_behind))
      behind.insert(node.results.begin(), node.results.end());
  }
  std::vector<bool> outputs;
  for (const Output& output : graph.outputs()) outputs.push_back(is_behind(output.value));
  return outputs;
}

// What a file of integers may lose is the user's to say; a mix was made for its bound.
Bounds bounds_of(const Artifact& artifact, SourceKind kind, const VerifyOptions& options) {
  const PrecisionRow& row = row_of_key(artifact.key);
  Bounds bounds = kind == SourceKind::family ? row.family : row.program;
  if (!artifact.quantization) return bounds;
  if (const auto told = options.max_error ? options.max_error : artifact.quantization->bound) bounds = {-1, *told, 1};
  return bounds;
}

// Whether steps of the network's own are to be allowed for: in files that are otherwise exact.
bool allows_for_steps(const Artifact& artifact, SourceKind kind) {
  return kind != SourceKind::family && row_of_key(artifact.key).precision == Precision::fp32 && !artifact.quantization;
}

Question question_on(const Artifact& artifact, const Model& model, const Trials& trials, const VerifyOptions& options) {
  Question question{model, trials, bounds_of(artifact, model.info().kind, options)};
  if (!allows_for_steps(artifact, model.info().kind)) return question;
  std::vector<bool> exact = outputs_behind_steps(question.graph());
  exact.flip();
  if (std::ranges::all_of(exact, std::identity())) return question;
  question.exact_bounds = question.bounds;
  question.bounds = row_of(Precision::dynamic).program;
  if (std::ranges::any_of(exact, std::identity())) question.exact = std::move(exact);
  return question;
}

// Of the outputs that `chosen` has, if it isn't empty.
std::int64_t integer_elements(const Trials& trials, const std::vector<bool>& chosen) {
  std::int64_t elements = 0;
  for (const Trial& trial : trials.all)
    for (std::size_t i = 0; i < trial.reference.size(); ++i)
      if (!is_floating(trial.reference[i].dtype) && (chosen.empty() || chosen[i]))
        elements += static_cast<std::int64_t>(trial.reference[i].values.size());
  return elements;
}

// What is wrong with the worst figures; empty if nothing is.
std::string verdict_on(const Agreement& worst, const Bounds& bounds, std::int64_t integers) {
  // Written so that NaN fails.
  if (worst.unlike_nonfinite > 0)
    return fmt::format("{} values are NaN or infinite that are not so in the reference, or the other way round",
                       worst.unlike_nonfinite);
  if (!(worst.cosine_similarity > bounds.cosine_similarity))
    return fmt::format("the cosine similarity is {:.6f}, expected more than {}", worst.cosine_similarity,
                       bounds.cosine_similarity);
  if (!(worst.relative_error < bounds.relative_error))
    return fmt::format("the relative error is {:.2e}, expected less than {:.0e}", worst.relative_error,
                       bounds.relative_error);
  if (static_cast<double>(worst.unlike) > bounds.unlike * static_cast<double>(integers))
    return fmt::format("{} elements of integer outputs differ of {}", worst.unlike, integers);
  return {};
}

// The figures of all outputs, and of those that are to be exact where others are not.
struct Figures {
  Agreement all;
  std::optional<Agreement> exact = {};
};

void worsen(Figures& worst, const Figures& next) {
  worsen(worst.all, next.all);
  if (worst.exact && next.exact) worsen(*worst.exact, *next.exact);
}

class ComparedRuns {
 public:
  explicit ComparedRuns(const Question& question) : question_(question) {}

  Status add(const Trial& trial, const std::vector<NamedArray>& outputs) {
    TAPER_TRY(add_outputs(question_.graph(), trial, outputs, {}, all_));
    if (question_.exact.empty()) return {};
    return add_outputs(question_.graph(), trial, outputs, question_.exact, exact_);
  }
  Figures figures(const Trial& first) const {
    Figures figures{agreement_of(all_, first)};
    if (!question_.exact.empty()) figures.exact = agreement_of(exact_, first);
    return figures;
  }

 private:
  const Question& question_;
  Compared all_, exact_;
};

// The figures of one trial, run as often as the judge wants.
Expected<Figures> run_trial(const Runner& run, int repeats, const Question& question, const Trial& trial) {
  const Graph& graph = question.graph();
  std::optional<Figures> all;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    TAPER_ASSIGN(const std::vector<NamedArray> outputs, run(named_inputs(graph, trial), expected_shapes(graph, trial)));
    ComparedRuns compared(question);
    TAPER_TRY(compared.add(trial, outputs));
    const Figures figures = compared.figures(trial);
    if (!all) all = figures;
    worsen(*all, figures);
  }
  return *all;
}

// The figures of all trials together: of single samples, top1_agreement would be all or nothing.
Expected<Figures> run_together(const Runner& run, const Question& question) {
  const Graph& graph = question.graph();
  ComparedRuns compared(question);
  for (const Trial& trial : question.trials.all) {
    TAPER_ASSIGN(const std::vector<NamedArray> outputs, run(named_inputs(graph, trial), expected_shapes(graph, trial)));
    TAPER_TRY(compared.add(trial, outputs));
  }
  Figures figures = compared.figures(question.trials.all.front());
  figures.all.samples = static_cast<std::int64_t>(question.trials.all.size());
  return figures;
}

Expected<std::vector<Figures>> run_all(const Runner& run, int repeats, const Question& question) {
  std::vector<Figures> runs;
  if (question.trials.together) {
    TAPER_ASSIGN(Figures figures, run_together(run, question));
    runs.push_back(std::move(figures));
    return runs;
  }
  for (const Trial& trial : question.trials.all) {
    TAPER_ASSIGN(Figures figures, run_trial(run, repeats, question, trial));
    runs.push_back(std::move(figures));
  }
  return runs;
}

Expected<Verification> verify_file(const Artifact& artifact, const Judge& judge_with, const Question& question) {
  const auto start = std::chrono::steady_clock::now();
  Verification verification{
      .key = artifact.key, .runtime = judge_with.name, .runtime_version = judge_with.version, .note = judge_with.note};
  TAPER_ASSIGN(const Runner run, judge_with.open(artifact.path));
  TAPER_ASSIGN(const std::vector<Figures> runs, run_all(run, judge_with.repeats, question));
  Figures worst = runs.front();
  for (const Figures& figures : runs) {
    worsen(worst, figures);
    verification.runs.push_back(figures.all);
  }
  verification.worst = worst.all;
  verification.held_out = question.trials.together;
  verification.verdict = verdict_on(worst.all, question.bounds, integer_elements(question.trials, {}));
  if (verification.verdict.empty() && worst.exact)
    if (const std::string verdict =
            verdict_on(*worst.exact, question.exact_bounds, integer_elements(question.trials, question.exact));
        !verdict.empty())
      verification.verdict = fmt::format("of outputs that the network does not round to steps, {}", verdict);
  verification.passed = verification.verdict.empty();
  verification.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return verification;
}

// A loss that was accepted is still told. What is no number is no loss.
void accept(Verification& verification) {
  if (verification.passed || !std::isfinite(verification.worst.relative_error)) return;
  verification.passed = true;
  verification.verdict += ", which was accepted";
}

// How open sizes of the inputs are related, which not all formats can say.
KnownShapes known_shapes(const Model& model, const Artifact& file) {
  KnownShapes shapes;
  if (file.channels_last || file.static_shapes) return shapes;
  const Graph& graph = model.impl().graph;
  const SignatureNames names = signature_names(graph);
  for (const Value* input : graph.inputs())
    shapes.emplace(file.key == kSavedModelKey ? names.inputs[input->index] : input->name, input->type.shape);
  return shapes;
}

// Asks a judge of SavedModels by the names that these have.
Judge with_signature_names(Judge judge, const Graph& graph) {
  judge.open = [open = judge.open, names = signature_names(graph),
                &graph](const std::filesystem::path& path) -> Expected<Runner> {
    TAPER_ASSIGN(Runner run, open(path));
    return Runner([run, names, &graph](std::vector<NamedArray> inputs,
                                       const OutputShapes& expected) -> Expected<std::vector<NamedArray>> {
      for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i].name = names.inputs[i];
      TAPER_ASSIGN(std::vector<NamedArray> outputs, run(inputs, expected));
      for (NamedArray& output : outputs) {
        const auto at = std::ranges::find(names.outputs, output.name) - names.outputs.begin();
        if (at < std::ssize(names.outputs)) output.name = graph.outputs()[static_cast<std::size_t>(at)].name;
      }
      return outputs;
    });
  };
  return judge;
}

Judge judge_of_file(const Artifact& file, const Model& model, int threads) {
  Judge judge = judge_of(file.key, threads, known_shapes(model, file));
  return file.key == kSavedModelKey ? with_signature_names(std::move(judge), model.impl().graph) : judge;
}

// The ONNX files of families hold few operators, which libonnx has checked.
bool is_judged(const Artifact& artifact, SourceKind kind) {
  if (artifact.key == kOnnxKey) return kind != SourceKind::family;
  return artifact.key == kQdqKey || artifact.key == kSavedModelKey || artifact.key.starts_with("tflite");
}

}  // namespace

Expected<std::vector<Verification>> verify(const Model& model, const std::vector<Artifact>& artifacts,
                                           const VerifyOptions& options) {
  std::vector<Artifact> files;
  std::ranges::copy_if(artifacts, std::back_inserter(files),
                       [&](const Artifact& file) { return is_judged(file, model.info().kind); });
  std::vector<Verification> verifications;
  if (files.empty()) return verifications;

  // Files of integers are judged by samples where there are some, others by numbers of all kinds.
  Trials plain, samples;
  const auto by_samples = [&](const Artifact& file) { return file.quantization && options.held_out; };
  if (!std::ranges::all_of(files, by_samples)) {
    TAPER_ASSIGN(plain, make_trials(model, options, files[0].static_shapes, files[0].channels_last));
  }
  if (std::ranges::any_of(files, by_samples)) {
    TAPER_ASSIGN(samples, held_out_trials(model, *options.held_out));
  }
  if (files[0].channels_last)
    for (Trials* trials : {&plain, &samples})
      for (Trial& trial : trials->all) trial = with_channels_last(model.impl().graph, trial);
  std::map<std::string, Judge> judges;  // by format: each loaded once, and only where needed
  for (const Artifact& file : files) {
    const std::string format = file.key.substr(0, file.key.find('_'));
    if (!judges.contains(format)) judges.emplace(format, judge_of_file(file, model, options.threads));
    const Trials& trials = by_samples(file) ? samples : plain;
    const Question question = question_on(file, model, trials, options);
    TAPER_ASSIGN_WITHIN(Verification verification, verify_file(file, judges.at(format), question),
                        fmt::format("in file '{}'", path_text(file.path)));
    if (file.quantization && options.accept_loss) accept(verification);
    if (!trials.note.empty()) verification.note += (verification.note.empty() ? "" : "; ") + trials.note;
    tell_of_nothing(verification, outputs_without_numbers(model.impl().graph, trials));
    verifications.push_back(std::move(verification));
  }
  TAPER_TRY(check_unchanged(model.impl().source));
  return verifications;
}

}  // namespace taper
