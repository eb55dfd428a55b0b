// From the graph to files: each target's passes, its backend, and files that appear complete or not at all.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>

#include "backend/onnx.h"
#include "backend/tensorflow.h"
#include "backend/tflite.h"
#include "base/mapped_file.h"
#include "passes/passes.h"
#include "passes/qdq.h"
#include "pipeline/fitting_sizes.h"
#include "pipeline/judges.h"
#include "pipeline/layer_costs.h"
#include "pipeline/mix.h"
#include "pipeline/model.h"
#include "pipeline/pass_watcher.h"
#include "pipeline/pending_files.h"
#include "pipeline/precision.h"
#include "pipeline/quantizer.h"
#include "pipeline/steps.h"
#include "pipeline/trials.h"
#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

// The targets that have operators for the whole graph, as far as this has come out; by their numbers.
using Expressible = std::array<std::atomic<bool>, 3>;

struct Job {
  const Model& model;
  const fs::path& folder;
  const std::string& stem;
  const ConvertOptions& options;
  PendingFiles& pending;
  const Graph& graph;  // that of the model, perhaps with other inputs and outputs
  const Trial* trial;  // to check each pass with, where that is asked for
  Expressible& expressible;

  Bindings default_sizes() const { return usual_sizes(model.impl().symbols); }
  bool static_shapes() const { return options.static_shapes || model.impl().symbols.empty(); }
  std::string description() const {
    const std::string& name = model.info().family;
    return fmt::format("{}{}exported by taper {}", name, name.empty() ? "" : " ", version());
  }
};

// The graph that a target's backend can spell.
Expected<Graph> legalized(const Job& job, Target target) {
  const LegalizeOptions options = {.freeze = job.options.static_shapes ? job.default_sizes() : Bindings{}};
  PassWatcher watcher(job.graph, target, job.options, job.stem, job.trial);
  Expected<Graph> legal = legalize(job.graph, target, options, watcher.observer());
  TAPER_TRY(watcher.status());
  job.expressible[static_cast<std::size_t>(target)] = legal.has_value();
  if (!legal && job.options.static_shapes) return std::unexpected(wanting_sizes(std::move(legal).error(), job.model));
  return legal;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Expected<Artifact> write_file(const Job& job, const std::string& key, const std::string& suffix,
                              std::chrono::steady_clock::time_point start, std::vector<std::string> notes,
                              const std::function<Status(const ByteSink&)>& write) {
  const std::string name = job.stem + suffix;
  TAPER_ASSIGN(const std::uint64_t bytes, job.pending.write(name, write));
  return Artifact{key,
                  job.folder / name,
                  bytes,
                  seconds_since(start),
                  std::move(notes),
                  job.static_shapes(),
                  job.options.channels_last};
}

template <class Result>
using Task = std::function<Expected<Result>()>;

// Starts the tasks; those of large models that need memory of their own, one after another as they are waited for.
template <class Result>
std::vector<std::future<Expected<Result>>> start(const Job& job, const std::vector<Task<Result>>& tasks,
                                                 bool streamed) {
  const bool large = job.model.info().parameters > kMostWeightsSideBySide;
  const auto policy = large && !streamed ? std::launch::deferred : std::launch::async | std::launch::deferred;
  std::vector<std::future<Expected<Result>>> running;
  running.reserve(tasks.size());
  for (const Task<Result>& task : tasks) running.push_back(std::async(policy, std::cref(task)));
  return running;
}

// The results in the order of the tasks, or the first error.
template <class Result>
Expected<std::vector<Result>> side_by_side(const Job& job, const std::vector<Task<Result>>& tasks, bool streamed) {
  std::vector<Result> results;
  for (std::future<Expected<Result>>& future : start(job, tasks, streamed)) {
    TAPER_ASSIGN(Result result, future.get());  // an error waits for the others as it leaves
    results.push_back(std::move(result));
  }
  return results;
}

// What the int8 file needs, where its model is to become ONNX.
ConvertOptions with_int8_for_qdq(ConvertOptions options) {
  if (options.onnx_qdq && std::ranges::find(options.tflite, Precision::int8) == options.tflite.end())
    options.tflite.push_back(Precision::int8);
  return options;
}

// The files of one format.
using Artifacts = Expected<std::vector<Artifact>>;

Expected<Artifact> write_onnx_graph(const Job& job, const Graph& legal, const std::string& key,
                                    const std::string& suffix, std::vector<std::string> notes,
                                    std::chrono::steady_clock::time_point start) {
  TAPER_ASSIGN(const OnnxFile file,
               spell_onnx(legal, {.producer_version = version(), .description = job.description()}));
  TAPER_TRY(check_onnx(file.model, file.weights));
  const auto write = [&](const ByteSink& sink, const OnnxExternalData* external) {
    return write_onnx(file.model, file.weights, sink, external);
  };
  if (!needs_external_data(file.model, file.weights))
    return write_file(job, key, suffix, start, std::move(notes),
                      [&](const ByteSink& sink) { return write(sink, nullptr); });
  // A protobuf message ends at 2 GiB: the weights go to a file beside it, which the model names.
  const std::string data_name = job.stem + suffix + ".data";
  std::uint64_t data_bytes = 0;
  const auto write_both = [&](const ByteSink& sink) -> Status {
    TAPER_ASSIGN(data_bytes, job.pending.write(data_name, [&](const ByteSink& data) {
      const OnnxExternalData external{data_name, data};
      return write(sink, &external);
    }));
    return {};
  };
  notes.push_back(fmt::format("its weights are in '{}'", data_name));
  TAPER_ASSIGN(Artifact artifact, write_file(job, key, suffix, start, std::move(notes), write_both));
  artifact.bytes += data_bytes;
  return artifact;
}

Artifacts write_onnx_artifact(const Job& job) {
  const auto start = std::chrono::steady_clock::now();
  TAPER_ASSIGN(const Graph legal, legalized(job, Target::onnx));
  TAPER_ASSIGN(Artifact artifact, write_onnx_graph(job, legal, "onnx", ".onnx", {}, start));
  return std::vector{std::move(artifact)};
}

// Only a SavedModel or an empty folder is replaced: what else bears the name belongs to somebody.
Status check_replaceable(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(folder, error);
  if (!fs::exists(status)) return {};
  const char* const hint = "move it away, or choose another output folder";
  if (!fs::is_directory(status))
    return fail_with_hint(fmt::format("'{}' exists and is not a folder", path_text(folder)), hint);
  if (!fs::is_empty(folder, error) && !fs::exists(folder / kSavedModelFile, error))
    return fail_with_hint(fmt::format("the folder '{}' exists and holds no SavedModel", path_text(folder)), hint);
  return {};
}

// TensorFlow takes the path of a bundle for a pattern, in which brackets don't stand for themselves.
Status check_loadable(const fs::path& folder) {
  if (path_text(folder).find_first_of("[]") == std::string::npos) return {};
  return fail_with_hint(
      fmt::format("TensorFlow can't load a SavedModel from '{}': it takes brackets for a pattern", path_text(folder)),
      "choose a name without [ and ], or leave the SavedModel out with --to onnx,tflite");
}

// Inputs and outputs whose names TensorFlow doesn't take.
std::vector<std::string> notes_on_names(const Graph& graph) {
  const SignatureNames names = signature_names(graph);
  std::vector<std::string> notes;
  const auto add = [&](std::string_view kind, const std::string& name, const std::string& spelled) {
    if (name != spelled)
      notes.push_back(fmt::format("the {} '{}' is called '{}' here: TensorFlow does not take its name", kind,
                                  printable(name), printable(spelled)));
  };
  for (std::size_t i = 0; i < names.inputs.size(); ++i) add("input", graph.inputs()[i]->name, names.inputs[i]);
  for (std::size_t i = 0; i < names.outputs.size(); ++i) add("output", graph.outputs()[i].name, names.outputs[i]);
  return notes;
}

Artifacts write_savedmodel_artifact(const Job& job) {
  const auto start = std::chrono::steady_clock::now();
  const fs::path name = job.stem + "_tf";
  TAPER_TRY(check_loadable(job.folder / name));
  TAPER_TRY(check_replaceable(job.folder / name));
  TAPER_ASSIGN(const Graph legal, legalized(job, Target::tensorflow));
  TAPER_ASSIGN(const SavedModelFile file, spell_tensorflow(legal, job.description()));
  std::uint64_t bytes = 0;
  const auto write = [&](std::string_view part, const std::function<Status(const ByteSink&)>& content) -> Status {
    TAPER_ASSIGN(const std::uint64_t size, job.pending.write(name / part, content));
    bytes += size;
    return {};
  };
  std::vector<std::byte> index;
  TAPER_TRY(write(kBundleDataFile,
                  [&](const ByteSink& sink) { return write_tensor_bundle(file.variables, sink, sink_to(index)); }));
  TAPER_TRY(write(kBundleIndexFile, [&](const ByteSink& sink) { return sink(index); }));
  TAPER_TRY(write(kSavedModelFile, [&](const ByteSink& sink) { return write_saved_model(file.model, sink); }));
  return std::vector{Artifact{"tensorflow", job.folder / name, bytes, seconds_since(start), notes_on_names(legal),
                              job.static_shapes(), job.options.channels_last}};
}

Expected<StoredGraph> halved(const Graph& graph) {
  std::vector<HalfPrecisionNote> kept;
  StoredGraph stored;
  TAPER_ASSIGN(stored.graph, store_weights_as_f16(graph, &kept));
  for (const HalfPrecisionNote& note : kept)
    stored.notes.push_back(fmt::format("'{}' stays float32: it {}", note.tensor, note.reason));
  return stored;
}

Expected<StoredGraph> mixed(const Job& job, const Graph& graph, const Quantizer& quantizer) {
  TAPER_ASSIGN(std::vector<InputSet> samples, bench_samples(job.model, job.options, false));
  TAPER_ASSIGN(const Bench bench, Bench::make(graph, std::move(samples)));
  return find_mix(graph, quantizer, bench, job.options.quantize.mix_error, job.options.progress);
}

Expected<StoredGraph> stored_as(const Job& job, const Graph& graph, const Quantizer& quantizer, Precision precision) {
  if (precision == Precision::fp16) return halved(graph);
  return precision == Precision::mixed ? mixed(job, graph, quantizer) : quantizer.stored_as(precision);
}

Expected<Artifact> write_tflite_artifact(const Job& job, const Graph& graph, const Quantizer& quantizer,
                                         Precision precision, std::chrono::steady_clock::time_point start) {
  StoredGraph stored;
  if (precision != Precision::fp32) {
    TAPER_ASSIGN(stored, stored_as(job, graph, quantizer, precision));
  }
  TAPER_ASSIGN(const TfliteModel spelled,
               spell_tflite(precision == Precision::fp32 ? graph : stored.graph,
                            {.description = job.description(), .default_sizes = job.default_sizes()}));
  const std::string name(precision_name(precision));
  const auto write = [&](const ByteSink& sink) { return write_tflite(spelled.model, spelled.buffers, sink); };
  TAPER_ASSIGN(Artifact artifact,
               write_file(job, "tflite_" + name, "_" + name + ".tflite", start, std::move(stored.notes), write));
  artifact.quantization = std::move(stored.report);
  return artifact;
}

// The int8 model as ONNX: made of the graph that the int8 file of TFLite holds, so that both give the same.
Expected<Artifact> write_qdq_artifact(const Job& job, const Quantizer& quantizer) {
  const auto start = std::chrono::steady_clock::now();
  TAPER_ASSIGN(StoredGraph stored, quantizer.stored_as(Precision::int8));
  auto spelled = with_qdq(stored.graph);
  if (!spelled) {
    Error error = within(std::move(spelled).error(), "in the QDQ form of the int8 model");
    error.hint = "leave --onnx-qdq out; --quantize int8 writes the same model for TFLite";
    return std::unexpected(std::move(error));
  }
  TAPER_ASSIGN(Artifact artifact,
               write_onnx_graph(job, *spelled, std::string(kQdqKey), "_qdq.onnx", std::move(stored.notes), start));
  artifact.quantization = std::move(stored.report);
  return artifact;
}

// What is made of TFLite's graph.
Artifacts write_tflite_artifacts(const Job& job) {
  const auto start = std::chrono::steady_clock::now();
  TAPER_ASSIGN(const Graph legal, legalized(job, Target::tflite));
  TAPER_ASSIGN(const Quantizer quantizer, Quantizer::make(job.model, legal, with_int8_for_qdq(job.options)));
  std::vector<Task<Artifact>> tasks;
  tasks.reserve(job.options.tflite.size() + 1);
  for (const Precision precision : job.options.tflite) {
    const auto begin = tasks.empty() ? start : std::chrono::steady_clock::now();
    tasks.push_back([&job, &legal, &quantizer, precision, begin] {
      return write_tflite_artifact(job, legal, quantizer, precision, begin);
    });
  }
  if (job.options.onnx_qdq) tasks.push_back([&job, &quantizer] { return write_qdq_artifact(job, quantizer); });
  // Floats are rounded while they are written.
  const bool floats = std::ranges::all_of(job.options.tflite, [](Precision precision) {
    return precision == Precision::fp32 || precision == Precision::fp16;
  });
  return side_by_side(job, tasks, floats && !job.options.onnx_qdq);
}

// A format as it is asked for on the command line.
struct Format {
  std::string_view name;
  Target target;
};

// What stands in the way in all formats, each with its own operators and places, and how to get the others.
Error refusal(std::vector<Error> refused, const std::vector<std::string_view>& possible) {
  Error error = std::move(refused.front());
  if (refused.size() > 1) {
    error.message = error.text();
    error.where.clear();
    for (const Error& other : std::span(refused).subspan(1)) error.message += "; " + other.text();
  }
  if (possible.empty()) return error;
  return hinted(std::move(error), fmt::format("--to {} writes what can be written", fmt::join(possible, ",")));
}

// All formats are tried, so that one error tells what none of them has. Other errors end the run at once.
Artifacts write_formats(const Job& job) {
  std::vector<Format> formats;
  std::vector<Task<std::vector<Artifact>>> tasks;
  const auto add = [&](bool wanted, Format format, Artifacts (*write)(const Job&)) {
    if (!wanted) return;
    formats.push_back(format);
    tasks.push_back([&job, write] { return write(job); });
  };
  add(job.options.onnx, {"onnx", Target::onnx}, write_onnx_artifact);
  add(job.options.savedmodel, {"savedmodel", Target::tensorflow}, write_savedmodel_artifact);
  add(!job.options.tflite.empty() || job.options.onnx_qdq, {"tflite", Target::tflite}, write_tflite_artifacts);
  std::vector<std::future<Artifacts>> running = start(job, tasks, false);
  std::vector<Artifact> all;
  std::vector<Error> refused;
  std::vector<std::string_view> possible;
  for (std::size_t i = 0; i < formats.size(); ++i) {
    Artifacts artifacts = running[i].get();
    if (artifacts) {
      possible.push_back(formats[i].name);
      std::ranges::move(*artifacts, std::back_inserter(all));
    } else if (job.expressible[static_cast<std::size_t>(formats[i].target)]) {
      return std::unexpected(std::move(artifacts).error());  // waits for the others as it leaves
    } else {
      refused.push_back(std::move(artifacts).error());
    }
  }
  if (!refused.empty()) return std::unexpected(refusal(std::move(refused), possible));
  return all;
}

// A file that is written over the one it is made from would be the end of both.
Status check_source_stays(const Job& job) {
  std::vector<std::string> names;
  if (job.options.onnx) names.insert(names.end(), {".onnx", ".onnx.data"});
  if (job.options.onnx_qdq) names.insert(names.end(), {"_qdq.onnx", "_qdq.onnx.data"});
  if (job.options.savedmodel) names.emplace_back("_tf");
  for (const Precision precision : job.options.tflite)
    names.push_back(fmt::format("_{}.tflite", precision_name(precision)));
  for (const std::string& name : names) {
    std::error_code error;
    if (fs::equivalent(job.folder / (job.stem + name), job.model.info().source, error))
      return fail_with_hint(
          fmt::format("the output '{}' is the file that is converted", path_text(job.folder / (job.stem + name))),
          "choose another folder or name for the outputs");
  }
  return {};
}

// Images as inputs or outputs, which is what channels last moves.
bool holds_images(const Graph& graph) {
  return std::ranges::any_of(graph.inputs(), [](const Value* input) { return holds_image(input->type); }) ||
         std::ranges::any_of(graph.outputs(), [](const Output& output) { return holds_image(output.value->type); });
}

// The graph that files of TFLite are made of, apart from a job.
Expected<Graph> tflite_graph(const Model& model, const ConvertOptions& options) {
  const LegalizeOptions how = {.freeze = options.static_shapes ? usual_sizes(model.impl().symbols) : Bindings{}};
  if (!options.channels_last) return legalize(model.impl().graph, Target::tflite, how);
  TAPER_ASSIGN(const Graph turned, put_channels_last(model.impl().graph));
  return legalize(turned, Target::tflite, how);
}

}  // namespace

Expected<std::vector<LayerCost>> layer_costs(const Model& model, const ConvertOptions& options, Precision precision,
                                             double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto after = [start = Clock::now()](double part) {
    return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(part));
  };
  TAPER_ASSIGN(const Graph legal, tflite_graph(model, options));
  ConvertOptions alone = options;
  alone.tflite = {precision};
  TAPER_ASSIGN(const Quantizer quantizer, Quantizer::make(model, legal, alone, after(seconds / 3)));
  TAPER_ASSIGN(std::vector<InputSet> samples, bench_samples(model, options, true));
  TAPER_ASSIGN(const Bench bench, Bench::make(legal, std::move(samples), seconds / 50));
  return layer_costs(quantizer, bench, precision, after(seconds));
}

Expected<std::vector<std::pair<std::string, QuantizationReport>>> plan_quantization(const Model& model,
                                                                                    const ConvertOptions& options) {
  TAPER_ASSIGN(const Graph legal, tflite_graph(model, options));
  TAPER_ASSIGN(const Quantizer quantizer, Quantizer::make(model, legal, with_int8_for_qdq(options)));
  std::vector<std::pair<std::string, QuantizationReport>> plans;
  const auto add = [&](std::string key, Precision precision) -> Status {
    TAPER_ASSIGN(StoredGraph stored, quantizer.stored_as(precision));
    plans.emplace_back(std::move(key), *std::move(stored.report));
    return {};
  };
  for (const Precision precision : options.tflite)
    if (stores_integers(precision) && precision != Precision::mixed)
      TAPER_TRY(add(fmt::format("tflite_{}", precision_name(precision)), precision));
  if (options.onnx_qdq) TAPER_TRY(add(std::string(kQdqKey), Precision::int8));
  return plans;
}

ModelInfo info_of_files(const Model& model, const ConvertOptions& options) {
  ModelInfo info = model.info();
  const auto turn = [](auto& sizes) {
    const auto source = sizes;
    const std::vector<std::int64_t> order = channels_last_order(source.size());
    for (std::size_t axis = 0; axis < source.size(); ++axis)
      sizes[axis] = source[static_cast<std::size_t>(order[axis])];
  };
  const auto describe = [&](TensorInfo& tensor, Type type) {
    if (!holds_image(type)) return;
    turn(type.shape);
    tensor.shape = shape_text(type.shape);
  };
  const Graph& graph = model.impl().graph;
  if (!options.channels_last) return info;
  for (std::size_t i = 0; i < graph.inputs().size(); ++i) describe(info.inputs[i], graph.inputs()[i]->type);
  for (std::size_t i = 0; i < graph.outputs().size(); ++i)
    describe(info.output_types[i], graph.outputs()[i].value->type);
  if (!graph.inputs().empty() && holds_image(graph.inputs()[0]->type) &&
      info.input_shape.size() == graph.inputs()[0]->type.shape.size())
    turn(info.input_shape);
  return info;
}

namespace {

// What `--io-layout nhwc` made of the program's inputs and outputs.
std::string note_on_layout(const Graph& turned) {
  if (!holds_images(turned))
    return "no input and no output has the four axes of images [N, C, H, W] or the five of volumes, so that putting "
           "channels last changes nothing";
  std::vector<std::string> shapes;
  const auto add = [&](std::string_view kind, const std::string& name, const Type& is) {
    if (holds_image(is)) shapes.push_back(fmt::format("{} '{}' is {}", kind, printable(name), shape_text(is.shape)));
  };
  for (const Value* input : turned.inputs()) add("input", input->name, input->type);
  for (const Output& output : turned.outputs()) add("output", output.name, output.value->type);
  return fmt::format("the files have channels last: {}", fmt::join(shapes, ", "));
}

}  // namespace

Expected<std::vector<Artifact>> convert(const Model& model, const fs::path& folder, const std::string& stem,
                                        const ConvertOptions& options) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail("cannot create the folder '{}': {}", path_text(folder), error.message());
  TAPER_ASSIGN(PendingFiles pending, PendingFiles::in(folder));
  std::optional<Trial> trial;
  if (options.check_each) {
    TAPER_ASSIGN(trial, random_trial(model, 0));
  }
  Graph turned;
  if (options.channels_last) {
    TAPER_ASSIGN(turned, put_channels_last(model.impl().graph));
    if (trial) trial = with_channels_last(model.impl().graph, *trial);
  }
  const Graph& graph = options.channels_last ? turned : model.impl().graph;
  Expressible expressible{};
  const Job job{model, folder, stem, options, pending, graph, trial ? &*trial : nullptr, expressible};
  TAPER_TRY(check_source_stays(job));
  TAPER_ASSIGN(std::vector<Artifact> artifacts, unless_changed(model.impl().source, write_formats(job)));
  pending.withdraw(std::string(kResultsName));  // it tells of the files that these replace
  TAPER_TRY(pending.publish());
  if (options.channels_last && !artifacts.empty()) artifacts.front().notes.push_back(note_on_layout(graph));
  return artifacts;
}

}  // namespace taper
