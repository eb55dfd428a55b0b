#include "pipeline/judges.h"

#include <algorithm>

#include "base/mapped_file.h"
#include "formats/tflite.h"
#include "frontend/onnx.h"
#include "frontend/tensorflow.h"
#include "frontend/tflite.h"
#include "ops/evaluate.h"
#include "report/text.h"
#include "taper/taper.h"
#include "verify/litert.h"
#include "verify/onnxruntime.h"
#include "verify/tensorflow.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

// A judge over a loaded runtime: LiteRT with LitertModel, TensorFlow with TensorflowModel.
template <class Opened, class Runtime>
Judge runtime_judge(const Runtime& runtime, int threads) {
  return {runtime.info().name, runtime.info().version, [=](const fs::path& path) -> Expected<Runner> {
            TAPER_ASSIGN(Opened opened, Opened::open(runtime, path, threads));
            auto model = std::make_shared<Opened>(std::move(opened));
            return Runner([=](const std::vector<NamedArray>& inputs) -> Expected<std::vector<NamedArray>> {
              std::vector<SignatureTensor> tensors;
              for (const NamedArray& input : inputs) tensors.push_back({input.name, to_tensor(input.value)});
              TAPER_ASSIGN(const std::vector<SignatureTensor> results, model->run(tensors));
              std::vector<NamedArray> outputs;
              for (const SignatureTensor& result : results) outputs.push_back({result.name, to_array(result.value)});
              return outputs;
            });
          }};
}

Expected<Graph> read_tflite_graph(const fs::path& path, const KnownShapes& shapes) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  TAPER_ASSIGN(const TfliteFile file, read_tflite(bytes));
  return import_tflite(file, shapes);
}

Expected<Graph> read_savedmodel_graph(const fs::path& path, const KnownShapes& shapes) {
  TAPER_ASSIGN(const SavedModelContent content, read_saved_model_folder(path));
  return import_tensorflow(content, shapes);
}

// Sizes have names in the file.
Expected<Graph> read_onnx_graph(const fs::path& path, const KnownShapes&) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  TAPER_ASSIGN(ImportedProgram program, import_onnx(path, bytes, {}));
  return std::move(program.graph);
}

Expected<std::vector<NamedArray>> evaluate_by_name(const Graph& graph, const std::vector<NamedArray>& inputs) {
  std::vector<Array> ordered;
  for (const Value* input : graph.inputs()) {
    const auto found = std::ranges::find(inputs, input->name, &NamedArray::name);
    if (found == inputs.end()) return fail("the file has an input '{}', which the program has not", input->name);
    ordered.push_back(found->value);
  }
  TAPER_ASSIGN(std::vector<Array> results, evaluate(graph, std::move(ordered)));
  std::vector<NamedArray> outputs;
  for (std::size_t i = 0; i < results.size(); ++i) outputs.push_back({graph.outputs()[i].name, std::move(results[i])});
  return outputs;
}

// Reads the written bytes back and evaluates them: for where the runtime is not to be found.
Judge evaluation_judge(Expected<Graph> (*read)(const fs::path&, const KnownShapes&), const KnownShapes& shapes,
                       std::string note) {
  return {"taper reference evaluation", version(),
          [read, shapes](const fs::path& path) -> Expected<Runner> {
            TAPER_ASSIGN(Graph read_back, read(path, shapes));
            auto graph = std::make_shared<Graph>(std::move(read_back));
            return Runner([graph](const std::vector<NamedArray>& inputs) { return evaluate_by_name(*graph, inputs); });
          },
          1, std::move(note)};
}

Judge judge_of_tflite(int threads, const KnownShapes& shapes) {
  const auto runtime = load_litert();
  if (runtime) return runtime_judge<LitertModel>(*runtime, threads);
  const bool installed = !litert_candidates().empty();
  return evaluation_judge(
      read_tflite_graph, shapes,
      fmt::format("{}: the TFLite files were read back and judged by taper's own reference evaluation",
                  installed ? runtime.error().message : "LiteRT was not found"));
}

// Neither is the absence of ONNX Runtime a warning.
Judge judge_of_onnx(int threads, const KnownShapes& shapes) {
  const auto runtime = load_onnxruntime();
  if (runtime) return runtime_judge<OnnxruntimeModel>(*runtime, threads);
  if (onnxruntime_candidates().empty()) return evaluation_judge(read_onnx_graph, shapes, {});
  return evaluation_judge(read_onnx_graph, shapes,
                          fmt::format("{}: the ONNX file was read back and judged by taper's own reference evaluation",
                                      runtime.error().message));
}

// Few who convert models have TensorFlow, so that its absence is no warning; one that doesn't load is.
Judge judge_of_savedmodel(int threads, const KnownShapes& shapes) {
  const auto runtime = load_tensorflow();
  if (runtime) return runtime_judge<TensorflowModel>(*runtime, threads);
  if (tensorflow_candidates().empty()) return evaluation_judge(read_savedmodel_graph, shapes, {});
  return evaluation_judge(read_savedmodel_graph, shapes,
                          fmt::format("{}: the SavedModel was read back and judged by taper's own reference evaluation",
                                      runtime.error().message));
}

}  // namespace

Judge judge_of(const std::string& key, int threads, const KnownShapes& shapes) {
  if (key == kOnnxKey) return judge_of_onnx(threads, shapes);
  return key == kSavedModelKey ? judge_of_savedmodel(threads, shapes) : judge_of_tflite(threads, shapes);
}

}  // namespace taper
