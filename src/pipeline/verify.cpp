// Written files against the reference: the graph as imported, evaluated in float64 before any pass.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <random>

#include "base/mapped_file.h"
#include "formats/npy.h"
#include "formats/tflite.h"
#include "frontend/tensorflow.h"
#include "frontend/tflite.h"
#include "ops/evaluate.h"
#include "pipeline/model.h"
#include "report/text.h"
#include "verify/compare.h"
#include "verify/litert.h"
#include "verify/tensorflow.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSavedModelKey = "tensorflow";

// One input and what the network gives for it.
struct Trial {
  Array input;
  std::vector<Array> reference;
};

// ------------------------------------------------------------------------------------------------------------- inputs

// Seeded numbers in [0, 1), the range of normalised keypoints; the same on every platform.
Array random_input(std::vector<std::int64_t> shape, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  Array array{DType::f32, std::move(shape), {}};
  std::int64_t count = 1;
  for (const std::int64_t size : array.shape) count *= size;
  array.values.resize(static_cast<std::size_t>(count));
  for (double& value : array.values) value = static_cast<double>(static_cast<float>(generator() >> 40) * 0x1p-24f);
  return array;
}

// The first `batch` windows of x [N, T, F], `steps` frames of each.
Array first_windows(const Array& x, std::int64_t batch, std::int64_t steps) {
  const std::int64_t features = x.size(2);
  Array out{DType::f32, {batch, steps, features}, {}};
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto begin = x.values.begin() + b * x.size(1) * features;
    out.values.insert(out.values.end(), begin, begin + steps * features);
  }
  return out;
}

Expected<Tensor> find_array(const SharedBytes& bytes) {
  if (as_text(bytes.view).starts_with("\x93NUMPY")) return read_npy(bytes);
  if (!as_text(bytes.view).starts_with("PK"))
    return fail_with_hint(fmt::format("{} bytes that are neither a .npy nor a .npz file", bytes.view.size()),
                          "save the input with numpy.save or numpy.savez");
  TAPER_ASSIGN(const std::vector<std::string> names, npz_names(bytes));
  if (names.empty()) return fail("holds no arrays");
  if (std::ranges::find(names, "X") != names.end()) return read_npz_array(bytes, "X");
  if (names.size() == 1) return read_npz_array(bytes, names[0]);
  return fail_with_hint(fmt::format("holds the arrays {}, expected 'X' or a single one", fmt::join(names, ", ")),
                        "save the input under the key 'X'");
}

// x as [N, T, F].
Expected<Array> read_input(const fs::path& path, std::int64_t features) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  TAPER_ASSIGN_WITHIN(const Tensor tensor, find_array(bytes), fmt::format("in file '{}'", path_text(path)));
  std::vector<std::int64_t> shape = tensor.shape;
  if (shape.size() == 2) shape.insert(shape.begin(), 1);
  if (shape.size() != 3 || shape[0] < 1 || shape[1] < 1 || shape[2] != features)
    return fail("an array of shape {}, expected [N, T, {}] or [T, {}] / in file '{}'",
                shape_text(std::span(tensor.shape)), features, features, path_text(path));
  Array x = to_array(converted(tensor, DType::f32));
  x.shape = shape;
  TAPER_TRY(check_unchanged(bytes));
  const auto wrong = std::ranges::find_if_not(x.values, [](double value) { return std::isfinite(value); });
  if (wrong != x.values.end())
    return fail_with_hint(fmt::format("frame {} holds {}, expected numbers that are finite in float32 / in file '{}'",
                                      (wrong - x.values.begin()) / features, *wrong, path_text(path)),
                          "fill gaps in recordings before you verify with them");
  return x;
}

// The export shape and, for dynamic files, a second batch and length.
Expected<std::vector<Array>> choose_inputs(const Model& model, const VerifyOptions& options, bool static_shapes) {
  const std::int64_t features = model.info().input_shape[2];
  const std::int64_t steps = model.impl().sequence_length;
  std::vector<Array> inputs;
  if (!options.input) {
    inputs.push_back(random_input({1, steps, features}, options.seed));
    if (!static_shapes) inputs.push_back(random_input({2, steps / 3 + 1, features}, options.seed + 1));
    return inputs;
  }
  TAPER_ASSIGN(const Array x, read_input(*options.input, features));
  if (static_shapes && x.size(1) < steps)
    return fail_with_hint(
        fmt::format("the input to verify with has {} frames, the static files take {}", x.size(1), steps),
        fmt::format("export with --sequence-length {}, or without --static", x.size(1)));
  const std::int64_t frames = std::min(x.size(1), steps);
  inputs.push_back(first_windows(x, 1, frames));
  if (static_shapes) return inputs;
  const std::int64_t windows = std::min(x.size(0), kMostWindows);
  inputs.push_back(first_windows(x, windows, windows > 1 ? frames : frames / 2 + 1));
  return inputs;
}

// ------------------------------------------------------------------------------------------------------------- judges

// Runs one written file.
using Runner = std::function<Expected<std::vector<Array>>(const Array& input)>;

struct Judge {
  std::string name;
  std::string version;
  std::function<Expected<Runner>(const fs::path&)> open;
  int repeats = 2;        // of each run: what a first run leaves behind shows in the second
  std::string note = {};  // why it isn't the real runtime, where that is worth a warning
};

// Outputs in the order of `names`, each in the shape the file gave.
Expected<std::vector<Array>> in_order(std::vector<SignatureTensor> outputs, const std::vector<std::string>& names) {
  std::vector<Array> ordered;
  for (const std::string& name : names) {
    const auto found = std::ranges::find(outputs, name, &SignatureTensor::name);
    if (found == outputs.end()) return fail("the file has no output '{}'", name);
    ordered.push_back(to_array(found->value));
  }
  return ordered;
}

// A judge over a loaded runtime: LiteRT with LitertModel, TensorFlow with TensorflowModel.
template <class Opened, class Runtime>
Judge runtime_judge(const Runtime& runtime, int threads, const std::vector<std::string>& outputs) {
  return {runtime.info().name, runtime.info().version, [=](const fs::path& path) -> Expected<Runner> {
            TAPER_ASSIGN(Opened opened, Opened::open(runtime, path, threads));
            auto model = std::make_shared<Opened>(std::move(opened));
            return Runner([=](const Array& input) -> Expected<std::vector<Array>> {
              const std::vector inputs{SignatureTensor{.name = "input", .value = to_tensor(input)}};
              TAPER_ASSIGN(std::vector<SignatureTensor> results, model->run(inputs));
              return in_order(std::move(results), outputs);
            });
          }};
}

Expected<Graph> read_tflite_graph(const fs::path& path) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  TAPER_ASSIGN(const TfliteFile file, read_tflite(bytes));
  return import_tflite(file);
}

Expected<Graph> read_savedmodel_graph(const fs::path& path) {
  TAPER_ASSIGN(const SavedModelContent content, read_saved_model_folder(path));
  return import_tensorflow(content);
}

// Reads the written bytes back and evaluates them: for where the runtime is not to be found.
Judge evaluation_judge(Expected<Graph> (*read)(const fs::path&), std::string note) {
  return {"taper reference evaluation", version(),
          [read](const fs::path& path) -> Expected<Runner> {
            TAPER_ASSIGN(Graph read_back, read(path));
            auto graph = std::make_shared<Graph>(std::move(read_back));
            return Runner([graph](const Array& input) { return evaluate(*graph, {input}); });
          },
          1, std::move(note)};
}

Judge judge_of_tflite(int threads, const std::vector<std::string>& outputs) {
  const auto runtime = load_litert();
  if (runtime) return runtime_judge<LitertModel>(*runtime, threads, outputs);
  const bool installed = !litert_candidates().empty();
  return evaluation_judge(
      read_tflite_graph,
      fmt::format("{}: the TFLite files were read back and judged by taper's own reference evaluation",
                  installed ? runtime.error().message : "LiteRT was not found"));
}

// Few who convert models have TensorFlow, so that its absence is no warning; one that doesn't load is.
Judge judge_of_savedmodel(int threads, const std::vector<std::string>& outputs) {
  const auto runtime = load_tensorflow();
  if (runtime) return runtime_judge<TensorflowModel>(*runtime, threads, outputs);
  if (tensorflow_candidates().empty()) return evaluation_judge(read_savedmodel_graph, {});
  return evaluation_judge(read_savedmodel_graph,
                          fmt::format("{}: the SavedModel was read back and judged by taper's own reference evaluation",
                                      runtime.error().message));
}

// --------------------------------------------------------------------------------------------------------- comparison

Expected<Agreement> compare_outputs(const Trial& trial, const std::vector<Array>& outputs) {
  Comparer comparer;
  for (std::size_t i = 0; i < trial.reference.size(); ++i) {
    if (i >= outputs.size() || outputs[i].shape != trial.reference[i].shape)
      return fail("an output has shape {}, expected {}",
                  i < outputs.size() ? shape_text(std::span(outputs[i].shape)) : std::string("none"),
                  shape_text(std::span(trial.reference[i].shape)));
    TAPER_TRY(comparer.add(trial.reference[i].values, outputs[i].values, outputs[i].shape.back()));
  }
  const Comparison result = comparer.result();
  return Agreement{trial.input.shape, result.cosine, result.max_error, result.relative_error, result.top1_agreement};
}

// The worse of each figure; NaN is worst.
void worsen(Agreement& worst, const Agreement& next) {
  const auto lower = [](double a, double b) { return std::isnan(a) || a < b ? a : b; };
  const auto higher = [](double a, double b) { return std::isnan(a) || a > b ? a : b; };
  worst.cosine_similarity = lower(worst.cosine_similarity, next.cosine_similarity);
  worst.max_error = higher(worst.max_error, next.max_error);
  worst.relative_error = higher(worst.relative_error, next.relative_error);
  worst.top1_agreement = lower(worst.top1_agreement, next.top1_agreement);
}

struct Bounds {
  double cosine_similarity;
  double relative_error;
};

Bounds bounds_of(const std::string& key) {
  return key.ends_with("fp16") ? Bounds{0.95, 2e-2} : Bounds{0.99, 1e-4};
}

void judge(Verification& verification) {
  const Bounds bounds = bounds_of(verification.key);
  const Agreement& worst = verification.worst;
  // Written so that NaN fails.
  if (!(worst.cosine_similarity > bounds.cosine_similarity))
    verification.verdict = fmt::format("the cosine similarity is {:.6f}, expected more than {}",
                                       worst.cosine_similarity, bounds.cosine_similarity);
  else if (!(worst.relative_error < bounds.relative_error))
    verification.verdict = fmt::format("the relative error is {:.2e}, expected less than {:.0e}", worst.relative_error,
                                       bounds.relative_error);
  verification.passed = verification.verdict.empty();
}

Expected<Verification> verify_file(const Artifact& artifact, const Judge& judge_with,
                                   const std::vector<Trial>& trials) {
  const auto start = std::chrono::steady_clock::now();
  Verification verification{
      .key = artifact.key, .runtime = judge_with.name, .runtime_version = judge_with.version, .note = judge_with.note};
  TAPER_ASSIGN(const Runner run, judge_with.open(artifact.path));
  for (const Trial& trial : trials) {
    Agreement both{.input_shape = trial.input.shape, .cosine_similarity = 1, .top1_agreement = 1};
    for (int repeat = 0; repeat < judge_with.repeats; ++repeat) {
      TAPER_ASSIGN(const std::vector<Array> outputs, run(trial.input));
      TAPER_ASSIGN(const Agreement agreement, compare_outputs(trial, outputs));
      worsen(both, agreement);
    }
    if (verification.runs.empty()) verification.worst = both;
    worsen(verification.worst, both);
    verification.runs.push_back(both);
  }
  judge(verification);
  verification.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return verification;
}

// Whether the written file takes one batch and length only.
Expected<bool> has_static_input(const Artifact& artifact) {
  if (artifact.key == kSavedModelKey) {
    TAPER_ASSIGN(const SharedBytes bytes, map_file(artifact.path / kSavedModelFile));
    TAPER_ASSIGN(const tensorflow::SavedModel file, read_saved_model(bytes.view));
    for (const auto& [key, signature] : file.meta_graphs(0).signature_def())
      for (const auto& [name, input] : signature.inputs())
        for (const auto& dim : input.tensor_shape().dim())
          if (dim.size() < 0) return false;
    return true;
  }
  TAPER_ASSIGN(const SharedBytes bytes, map_file(artifact.path));
  TAPER_ASSIGN(const TfliteFile file, read_tflite(bytes));
  const auto& main = *file.model.subgraphs.at(0);
  return std::ranges::all_of(
      main.inputs, [&](std::int32_t i) { return main.tensors[static_cast<std::size_t>(i)]->shape_signature.empty(); });
}

}  // namespace

Expected<std::vector<Verification>> verify(const Model& model, const std::vector<Artifact>& artifacts,
                                           const VerifyOptions& options) {
  std::vector<Artifact> files;
  std::ranges::copy_if(artifacts, std::back_inserter(files),
                       [](const Artifact& a) { return a.key == kSavedModelKey || a.key.starts_with("tflite"); });
  std::vector<Verification> verifications;
  if (files.empty()) return verifications;

  TAPER_ASSIGN(const bool static_shapes, has_static_input(files[0]));
  TAPER_ASSIGN(std::vector<Array> inputs, choose_inputs(model, options, static_shapes));
  const Graph& graph = model.impl().imported.graph;
  std::vector<Trial> trials;
  for (Array& input : inputs) {
    TAPER_ASSIGN(std::vector<Array> reference, evaluate(graph, {input}));
    trials.push_back({std::move(input), std::move(reference)});
  }
  const bool finite = std::ranges::all_of(trials, [](const Trial& trial) {
    return std::ranges::all_of(trial.reference, [](const Array& output) {
      return std::ranges::all_of(output.values, [](double value) { return std::isfinite(value); });
    });
  });
  std::map<bool, Judge> judges;  // of SavedModels, of TFLite files: each loaded once, and only where needed
  for (const Artifact& file : files) {
    const bool savedmodel = file.key == kSavedModelKey;
    if (!judges.contains(savedmodel))
      judges.emplace(savedmodel,
                     (savedmodel ? judge_of_savedmodel : judge_of_tflite)(options.threads, model.info().outputs));
    TAPER_ASSIGN_WITHIN(Verification verification, verify_file(file, judges.at(savedmodel), trials),
                        fmt::format("in file '{}'", path_text(file.path)));
    // NaN equals NaN when outputs are compared, but a network of NaN proves nothing.
    if (!finite) {
      verification.passed = false;
      verification.verdict = "the reference itself is NaN or infinite: are the weights?";
    }
    verifications.push_back(std::move(verification));
  }
  TAPER_TRY(check_unchanged(model.impl().source));
  return verifications;
}

}  // namespace taper
