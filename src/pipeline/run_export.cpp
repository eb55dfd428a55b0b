// What holds the job together: the order of the stages, their times, and that one model's failure stays its own.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <limits>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "pipeline/memory.h"
#include "pipeline/pending_files.h"
#include "pipeline/precision.h"
#include "pipeline/steps.h"
#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// A path that can't be looked at (no permission) counts as found, so that loading it says what is wrong.
bool is_missing(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == fs::file_type::not_found;
}

// ------------------------------------------------------------------------------------------ before the first model

Status check_names(const std::vector<ModelRequest>& models) {
  constexpr const char* kHint = "convert them one by one, each to a folder of its own (--output-dir)";
  std::set<std::string> keys;
  std::set<std::string> stems;
  for (const ModelRequest& model : models) {
    for (const std::string& name : {model.key, model.stem}) TAPER_TRY(check_model_name(name));
    if (!keys.insert(model.key).second)
      return fail_with_hint(fmt::format("two models are named '{}'", model.key), kHint);
    if (!stems.insert(model.stem).second)
      return fail_with_hint(fmt::format("two models would write the files of '{}'", model.stem), kHint);
  }
  return {};
}

Status check_request(const ExportRequest& request) {
  if (request.sequence_length < 1 || request.sequence_length > kLongestSequence) {
    return fail_with_hint(
        fmt::format("the sequence length is {}, expected 1 to {}", request.sequence_length, kLongestSequence),
        "give the number of frames of a typical input; the exported files take other lengths too");
  }
  if (request.jobs < 1) return fail("{} jobs, expected at least 1", request.jobs);
  TAPER_TRY(check_names(request.models));
  const auto& input = request.verification.input;
  if (request.verify && input && is_missing(*input)) {
    return fail_with_hint(fmt::format("the input to verify with does not exist: '{}'", path_text(*input)),
                          "give a .npz or .npy file, or leave it out to verify with random inputs");
  }
  return {};
}

// Makes the folder and proves that files can be made in it: permission bits don't tell root, or of a read-only disk.
Status prepare_folder(const fs::path& folder) {
  const auto refuse = [](Error error) -> Status {
    error.hint = "choose another folder";
    return std::unexpected(std::move(error));
  };
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return refuse({fmt::format("cannot write to the folder '{}': {}", path_text(folder), error.message()), {}, {}});
  const auto probe = StagingFolder::make(folder);
  return probe ? Status() : refuse(probe.error());
}

// ------------------------------------------------------------------------------------------------------- one model

std::string load_text(const ModelInfo& info) {
  std::string text = info.family;
  if (info.kind != SourceKind::family)
    text = fmt::format("{} input{}", info.inputs.size(), info.inputs.size() == 1 ? "" : "s");
  return fmt::format("{}, {} weights, {}", text, human_count(info.parameters), info.source_format);
}

std::string artifact_text(const Artifact& artifact) {
  std::string text = fmt::format("{}, {}", path_text(artifact.path), human_size(artifact.bytes));
  if (artifact.quantization)
    text += fmt::format(", {:.0f} % of multiplications on integers", 100 * artifact.quantization->integer_share);
  for (const std::string& note : artifact.notes) text += ", " + note;
  return text;
}

std::string layer_text(const QuantizationReport::Layer& layer) {
  return fmt::format("{} {}: {}{}", layer.layer, layer.operation, layer.computes,
                     layer.reason.empty() ? std::string() : ", because " + layer.reason);
}

// The layers that cost most.
std::string costs_text(const std::vector<LayerCost>& costs) {
  constexpr std::size_t kMost = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(costs.size(), kMost); ++i)
    text += fmt::format("{}{} ({}, {} weights): {:.1e}", i == 0 ? "" : "; ", costs[i].layer, costs[i].operation,
                        human_count(costs[i].weights), costs[i].relative_error);
  return text;
}

std::string verification_text(const Verification& verification) {
  std::string text = fmt::format("cosine {:.6f}, relative error {:.1e}, {}", verification.worst.cosine_similarity,
                                 verification.worst.relative_error, verification.runtime);
  if (!verification.runtime_version.empty()) text += " " + verification.runtime_version;
  if (verification.held_out)
    text += fmt::format(", top-1 {:.1f} % of {} {}", 100 * verification.worst.top1_agreement,
                        verification.worst.samples, verification.worst.samples == 1 ? "sample" : "samples");
  if (verification.worst.nonfinite > 0)
    text += fmt::format(", {} {} NaN or infinite as in the reference", human_count(verification.worst.nonfinite),
                        verification.worst.nonfinite == 1 ? "value" : "values");
  return verification.passed ? text : text + ", beyond its bound";
}

// What the models of a job share.
struct Shared {
  const ExportRequest& request;
  const ExportSteps& steps;
  MemoryBudget& budget;
};

// One model on its way through the stages.
class ModelJob {
 public:
  using Tell = std::function<void(Progress)>;

  ModelJob(const Shared& shared, const ModelRequest& model, Tell tell)
      : request_(shared.request), steps_(shared.steps), budget_(shared.budget), model_(model), tell_(std::move(tell)) {
    report_.key = model.key;
    report_.model_name = model.stem;
    report_.source = model.path;
  }

  ModelReport run() {
    if (is_missing(model_.path)) {
      skip();
    } else {
      tell(Progress::Kind::model_started, {}, path_text(model_.path));
      if (Status done = guarded_stages(); !done) fail_with(std::move(done).error());
    }
    report_.peak_memory = peak_memory();
    return std::move(report_);
  }

 private:
  void skip() {
    report_.skipped = true;
    report_.warnings.push_back(fmt::format("skipped: there is no file '{}'", path_text(model_.path)));
    tell(Progress::Kind::model_skipped, {}, report_.warnings.back());
  }

  void fail_with(Error error) {
    report_.error = std::move(error);
    tell(Progress::Kind::model_failed, {}, error_lines(*report_.error, report_.found ? &*report_.found : nullptr));
  }

  Status guarded_stages() {
    try {
      return stages();
    } catch (const std::bad_alloc&) {
      return fail_with_hint(fmt::format("out of memory in the stage '{}'", stage_),
                            stage_ == "verify" ? "the files are written; --no-verify leaves them as they are"
                                               : "ask for less: --to with fewer formats, --jobs 1, shorter sequences");
    } catch (const std::exception& exception) {
      return fail("unexpected: {}", exception.what());
    }
  }

  Status stages() {
    TAPER_TRY(check_file_size());
    TAPER_ASSIGN(const Model model, load());
    const std::uint64_t bytes = steps_.memory(model, request_);
    TAPER_TRY(check_memory(bytes));
    const MemoryBudget::Share share = budget_.take(bytes);
    TAPER_TRY(convert(model));
    if (request_.verify) TAPER_TRY(verify(model));
    find_costly_layers(model);
    return judge();
  }

  // All pages of the file are read, and count while they stay mapped.
  Status check_file_size() const {
    std::error_code error;
    const std::uint64_t bytes = fs::file_size(model_.path, error);
    return error ? Status() : check_memory(bytes);
  }

  Status check_memory(std::uint64_t bytes) const {
    if (!request_.max_memory || bytes <= *request_.max_memory) return {};
    return fail_with_hint(fmt::format("the export needs about {} of memory, more than the {} that are allowed",
                                      human_size(bytes), human_size(*request_.max_memory)),
                          "allow more with --max-memory, or ask for less: --to with fewer formats, --no-verify");
  }

  Expected<Model> load() {
    LoadOptions options;
    options.config = model_.config;
    options.inputs = model_.inputs;
    options.all_heads = request_.all_heads;
    options.sequence_length = request_.sequence_length;
    const Stopwatch watch = start("load");
    auto loaded = steps_.load(model_.path, options);
    if (!loaded && steps_.unknown_weights) report_.found = steps_.unknown_weights(model_.path, options);
    TAPER_ASSIGN(Model model, std::move(loaded));
    report_.info = steps_.info(model);
    finish("load", load_text(*report_.info), watch.seconds());
    for (const std::string& warning : report_.info->warnings) warn(warning);
    for (const std::string& assumption : report_.info->assumptions) {
      tell(Progress::Kind::warning, {}, printable(assumption));
    }
    return model;
  }

  Status show_plan(const Model& model) {
    TAPER_ASSIGN(const auto plans, steps_.plan(model, request_.convert));
    for (const auto& [key, plan] : plans) {
      tell(Progress::Kind::detail, {}, key);
      for (const QuantizationReport::Layer& layer : plan.layers)
        tell(Progress::Kind::detail, {}, "  " + layer_text(layer));
      for (const QuantizationReport::Tensor& tensor : plan.tensors)
        tell(Progress::Kind::detail, {}, fmt::format("  {}: {}", tensor.name, tensor.storage));
    }
    return {};
  }

  // The files are converted in one step, which may share work between them; each then has its own time.
  Status convert(const Model& model) {
    if (request_.show_plan && steps_.plan) TAPER_TRY(show_plan(model));
    start("convert");
    ConvertOptions options = request_.convert;
    options.progress = [this](const std::string& what) { start(what); };
    TAPER_ASSIGN(report_.artifacts, steps_.convert(model, request_.output_dir, model_.stem, options));
    if (steps_.info_of_files) report_.info = steps_.info_of_files(model, options);
    for (const Artifact& artifact : report_.artifacts) {
      finish(artifact.key, artifact_text(artifact), artifact.seconds);
      if (artifact.quantization && artifact.quantization->random_calibration)
        warn(fmt::format("{} was calibrated with random numbers: how exact it is with real inputs is not known",
                         artifact.key));
    }
    return {};
  }

  Status verify(const Model& model) {
    start("verify");
    TAPER_ASSIGN(report_.verifications, steps_.verify(model, report_.artifacts, request_.verification));
    for (const Verification& verification : report_.verifications) {
      finish("verify " + verification.key, verification_text(verification), verification.seconds);
    }
    std::set<std::string> notes;
    for (const Verification& verification : report_.verifications) {
      if (!verification.note.empty() && notes.insert(verification.note).second) warn(verification.note);
      if (verification.passed && !verification.verdict.empty())
        warn(fmt::format("{}: {}", verification.key, verification.verdict));
    }
    return {};
  }

  bool is_beyond_its_bound(const Artifact& artifact) const {
    const auto verification = std::ranges::find(report_.verifications, artifact.key, &Verification::key);
    return verification != report_.verifications.end() && !verification->passed;
  }

  // Of files of integers that are beyond their bound, or of all where that was asked for. What can't be measured is
  // left out.
  void find_costly_layers(const Model& model) {
    if (!steps_.layer_costs) return;
    for (const Artifact& artifact : report_.artifacts) {
      if (!artifact.quantization || !(request_.convert.quantize.layer_costs || is_beyond_its_bound(artifact))) continue;
      const Stopwatch watch = start("layers");
      const Precision precision = row_of_key(artifact.key).precision;
      auto costs = precision == Precision::mixed ? Expected<std::vector<LayerCost>>(artifact.quantization->layer_costs)
                                                 : steps_.layer_costs(model, request_.convert, precision);
      if (!costs) continue;
      finish("layers " + artifact.key, "each alone, worst first: " + printable(costs_text(*costs)), watch.seconds());
      report_.layer_costs.emplace_back(artifact.key, *std::move(costs));
    }
  }

  // A file that is not what the model was is an error of the model. The files stay, to be looked into.
  Status judge() const {
    std::string verdicts;
    for (const Verification& verification : report_.verifications) {
      if (verification.passed) continue;
      if (!verdicts.empty()) verdicts += "; ";
      verdicts += fmt::format("{}: {}", verification.key, verification.verdict);
    }
    if (verdicts.empty()) return {};
    for (const auto& [key, costs] : report_.layer_costs) {
      const auto artifact = std::ranges::find(report_.artifacts, key, &Artifact::key);
      if (!costs.empty() && is_beyond_its_bound(*artifact))
        verdicts += fmt::format("; layers that cost {} most, each alone: {}", key, costs_text(costs));
    }
    return fail_with_hint("the written files do not agree with the checkpoint: " + verdicts, judge_hint());
  }

  std::string judge_hint() const {
    std::string hint = "the files were kept for inspection; do not ship them";
    if (!report_.layer_costs.empty())
      hint +=
          "; --exclude keeps layers in float32, --calibration-method and --weight-method choose other scales, "
          "--quantize int16x8 and dynamic lose less, --max-error and --accept-loss take the loss";
    return hint;
  }

  Stopwatch start(const std::string& stage) {
    stage_ = stage;
    tell(Progress::Kind::stage_started, stage, {});
    return {};
  }

  void finish(const std::string& stage, std::string text, double seconds) {
    report_.stage_seconds.emplace_back(stage, seconds);
    tell(Progress::Kind::stage_finished, stage, std::move(text), seconds);
  }

  void warn(const std::string& warning) {
    report_.warnings.push_back(warning);
    tell(Progress::Kind::warning, {}, printable(warning));
  }

  void tell(Progress::Kind kind, std::string stage, std::string text, double seconds = 0) const {
    tell_({kind, model_.key, std::move(stage), std::move(text), seconds});
  }

  const ExportRequest& request_;
  const ExportSteps& steps_;
  MemoryBudget& budget_;
  const ModelRequest& model_;
  const Tell tell_;
  ModelReport report_;
  std::string stage_;  // the one that runs
};

// ----------------------------------------------------------------------------------------------------- all of them

// Every model bears the error of the job, so that a reader of the results finds it under the name that was asked for.
void fail_all(const ExportRequest& request, Error error, ExportReport& report) {
  for (const ModelRequest& model : request.models) {
    ModelReport failed;
    failed.key = model.key;
    failed.model_name = model.stem;
    failed.source = model.path;
    failed.error = error;
    report.models.push_back(std::move(failed));
  }
  report.error = std::move(error);
}

Error nothing_found(const ExportRequest& request) {
  std::string paths;
  for (const ModelRequest& model : request.models) {
    paths += fmt::format("{}'{}'", paths.empty() ? "" : ", ", path_text(model.path));
  }
  return {"no checkpoint was found: there is no file " + paths, {}, "check the paths and the current folder"};
}

// What models that run side by side tell, in the order of the models: later ones wait for their turn.
class OrderedProgress {
 public:
  OrderedProgress(const std::function<void(const Progress&)>& listener, std::size_t models)
      : listener_(listener), waiting_(models), finished_(models) {}

  void tell(std::size_t model, Progress progress) {
    const std::lock_guard lock(mutex_);
    waiting_[model].push_back(std::move(progress));
    flush();
  }

  void finish(std::size_t model) {
    const std::lock_guard lock(mutex_);
    finished_[model] = true;
    flush();
  }

 private:
  void flush() {
    for (; turn_ < waiting_.size(); ++turn_) {
      for (const Progress& progress : std::exchange(waiting_[turn_], {}))
        if (listener_) listener_(progress);
      if (!finished_[turn_]) return;
    }
  }

  const std::function<void(const Progress&)>& listener_;
  std::mutex mutex_;
  std::size_t turn_ = 0;
  std::vector<std::vector<Progress>> waiting_;
  std::vector<bool> finished_;
};

void run_models(const ExportRequest& request, const ExportSteps& steps, ExportReport& report) {
  const std::size_t count = request.models.size();
  report.models.resize(count);
  OrderedProgress progress(request.progress, count);
  constexpr auto kAll = std::numeric_limits<std::uint64_t>::max();
  MemoryBudget budget(request.max_memory.value_or(available_memory().value_or(kAll)));
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      const auto tell = [&progress, i](Progress told) { progress.tell(i, std::move(told)); };
      report.models[i] = ModelJob({request, steps, budget}, request.models[i], tell).run();
      progress.finish(i);
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < std::min<std::size_t>(count, static_cast<std::size_t>(request.jobs)); ++i)
      helpers.emplace_back(work);
    work();
  }
  if (std::ranges::all_of(report.models, &ModelReport::skipped)) report.error = nothing_found(request);
}

Status write_text(const fs::path& folder, std::string_view name, std::string_view text) {
  TAPER_ASSIGN(PendingFiles file, PendingFiles::in(folder));
  TAPER_TRY(file.write(name, [&](const ByteSink& sink) { return sink(as_bytes(text)); }));
  return file.publish();
}

void write_results(const ExportRequest& request, ExportReport& report) {
  const Status written = write_text(request.output_dir, kResultsName, to_json(report));
  if (written) {
    report.results_path = request.output_dir / kResultsName;
  } else if (!report.error) {
    report.error = written.error();
  }
}

}  // namespace

bool ExportReport::succeeded() const {
  const auto found = [](const ModelReport& model) { return !model.skipped; };
  const auto sound = [](const ModelReport& model) {
    return model.skipped || (!model.error && std::ranges::all_of(model.verifications, &Verification::passed));
  };
  return !error && std::ranges::any_of(models, found) && std::ranges::all_of(models, sound);
}

ExportReport run_export(const ExportRequest& request, const ExportSteps& steps) {
  const Stopwatch watch;
  ExportReport report;
  const Status sound = check_request(request);
  const Status writable = prepare_folder(request.output_dir);
  if (!sound) {
    fail_all(request, sound.error(), report);
  } else if (!writable) {
    fail_all(request, writable.error(), report);
  } else {
    run_models(request, steps, report);
  }
  report.seconds = watch.seconds();
  if (writable) write_results(request, report);
  return report;
}

}  // namespace taper
