#include "pipeline/judges.h"

#include <algorithm>
#include <map>

#include "base/mapped_file.h"
#include "formats/tflite.h"
#include "frontend/onnx.h"
#include "frontend/tensorflow.h"
#include "frontend/tflite.h"
#include "ir/quantization.h"
#include "ops/evaluate.h"
#include "report/text.h"
#include "taper/taper.h"
#include "verify/litert.h"
#include "verify/onnxruntime.h"
#include "verify/tensorflow.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

// Only LiteRT wants to know what will come out.
Expected<std::vector<SignatureTensor>> run_in(LitertModel& model, const std::vector<SignatureTensor>& inputs,
                                              const OutputShapes& expected) {
  return model.run(inputs, expected);
}
Expected<std::vector<SignatureTensor>> run_in(auto& model, const std::vector<SignatureTensor>& inputs,
                                              const OutputShapes&) {
  return model.run(inputs);
}

// A judge over a loaded runtime: LiteRT with LitertModel, TensorFlow with TensorflowModel.
template <class Opened, class Runtime>
Judge runtime_judge(const Runtime& runtime, int threads) {
  return {runtime.info().name, runtime.info().version, [=](const fs::path& path) -> Expected<Runner> {
            TAPER_ASSIGN(Opened opened, Opened::open(runtime, path, threads));
            auto model = std::make_shared<Opened>(std::move(opened));
            return Runner([=](const std::vector<NamedArray>& inputs,
                              const OutputShapes& expected) -> Expected<std::vector<NamedArray>> {
              std::vector<SignatureTensor> tensors;
              for (const NamedArray& input : inputs) tensors.push_back({input.name, to_tensor(input.value)});
              Expected<std::vector<SignatureTensor>> results = run_in(*model, tensors, expected);
              TAPER_TRY(results);
              std::vector<NamedArray> outputs;
              for (const SignatureTensor& result : *results) outputs.push_back({result.name, to_array(result.value)});
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
            return Runner([graph](const std::vector<NamedArray>& inputs, const OutputShapes&) {
              return evaluate_by_name(*graph, inputs);
            });
          },
          1, std::move(note)};
}

// The grids of the inputs and outputs that a TFLite file stores as integers, by name.
using PortGrids = std::map<std::string, Quantization, std::less<>>;

Expected<PortGrids> integer_ports(const fs::path& path) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  TAPER_ASSIGN(const TfliteFile file, read_tflite(bytes));
  PortGrids grids;
  for (const auto& signature : file.model.signature_defs)
    for (const auto* ports : {&signature->inputs, &signature->outputs})
      for (const auto& port : *ports) {
        const tflite::TensorT& tensor = *file.model.subgraphs[signature->subgraph_index]->tensors[port->tensor_index];
        const tflite::QuantizationParametersT* given = tensor.quantization.get();
        if (given == nullptr || given->scale.size() != 1 || given->zero_point.size() != 1) continue;
        const int bits = tensor.type == tflite::TensorType::INT16 ? 16 : 8;
        grids.emplace(port->name, per_tensor_grid(bits, given->scale[0], given->zero_point[0]));
      }
  return grids;
}

// Real numbers as the integers of a grid, and back.
NamedArray as_integers(NamedArray real, const PortGrids& grids) {
  const auto found = grids.find(real.name);
  if (found == grids.end()) return real;
  for (double& value : real.value.values) value = quantized_integer(found->second, 0, value);
  real.value.dtype = found->second.bits == 16 ? DType::i16 : DType::i8;
  return real;
}
NamedArray as_reals(NamedArray integers, const PortGrids& grids) {
  const auto found = grids.find(integers.name);
  if (found == grids.end()) return integers;
  const auto zero = static_cast<double>(found->second.zero_points[0]);
  for (double& value : integers.value.values) value = (value - zero) * static_cast<double>(found->second.scales[0]);
  integers.value.dtype = DType::f32;
  return integers;
}

// Gives real numbers to files that take integers, and takes real numbers from them.
Judge with_integer_ports(Judge judge) {
  judge.open = [open = judge.open](const fs::path& path) -> Expected<Runner> {
    TAPER_ASSIGN(const PortGrids grids, integer_ports(path));
    TAPER_ASSIGN(Runner run, open(path));
    if (grids.empty()) return run;
    return Runner([run, grids](std::vector<NamedArray> inputs,
                               const OutputShapes& expected) -> Expected<std::vector<NamedArray>> {
      for (NamedArray& input : inputs) input = as_integers(std::move(input), grids);
      TAPER_ASSIGN(std::vector<NamedArray> outputs, run(inputs, expected));
      for (NamedArray& output : outputs) output = as_reals(std::move(output), grids);
      return outputs;
    });
  };
  return judge;
}

Judge judge_of_tflite(int threads, const KnownShapes& shapes) {
  const auto runtime = load_litert();
  if (runtime) return with_integer_ports(runtime_judge<LitertModel>(*runtime, threads));
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
  if (key == kOnnxKey || key == kQdqKey) return judge_of_onnx(threads, shapes);
  return key == kSavedModelKey ? judge_of_savedmodel(threads, shapes) : judge_of_tflite(threads, shapes);
}

}  // namespace taper
