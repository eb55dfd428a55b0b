#include "tools/random_onnx.h"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backend/onnx.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "random_graphs.h"

namespace taper {
namespace {

using Json = nlohmann::json;

Json json_of(const Array& array) {
  return {{"dtype", info(array.dtype).name}, {"shape", array.shape}, {"values", array.values}};
}

RandomGraph graph_of(const RandomCall& call) {
  RandomGraph made;
  Builder build(made.graph);
  std::vector<Value*> operands;
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const Array& array = call.operands[i];
    if (i < call.example.inputs) inputs.push_back(array);
    operands.push_back(i < call.example.inputs ? made.graph.add_input("x", {array.dtype, to_shape(array.shape)})
                                               : build.constant(to_tensor(array)));
  }
  const std::vector<Value*> results = build.call(call.op->name, operands, call.example.attrs);
  for (std::size_t i = 0; i < results.size(); ++i) made.graph.add_output("y" + std::to_string(i), results[i]);
  made.inputs.push_back(std::move(inputs));
  made.exact.assign(results.size(), true);
  return made;
}

Expected<Json> runs_of(const RandomGraph& made) {
  Json runs = Json::array();
  for (const std::vector<Array>& inputs : made.inputs) {
    TAPER_ASSIGN(const std::vector<Array> outputs, evaluate(made.graph, inputs));
    Json run = {{"inputs", Json::object()}, {"outputs", Json::object()}};
    for (std::size_t i = 0; i < inputs.size(); ++i) run["inputs"][made.graph.inputs()[i]->name] = json_of(inputs[i]);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      Json& output = run["outputs"][made.graph.outputs()[i].name] = json_of(outputs[i]);
      if (!made.exact[i]) output.erase("values");
    }
    runs.push_back(std::move(run));
  }
  return runs;
}

Status write_one(const std::filesystem::path& folder, std::uint64_t seed) {
  Random random(seed);
  const bool is_call = seed % 2 == 0;
  double tolerance = 1e-4;
  RandomGraph made;
  if (is_call) {
    const RandomCall call = random_call(random, 1);
    tolerance = call.op->tolerance;
    made = graph_of(call);
  } else {
    made = random_graph(seed);
  }
  Json line = {{"seed", seed}, {"text", print(made.graph)}, {"tolerance", tolerance}};
  const auto legal = legalize(made.graph, Target::onnx);
  if (!legal && legal.error().message.starts_with("operators that")) return {};  // rows of other targets only
  if (!legal) return std::unexpected(within(legal.error(), line.dump()));
  TAPER_ASSIGN(const OnnxFile spelled, spell_onnx(*legal));
  std::vector<std::byte> bytes;
  TAPER_TRY(write_onnx(spelled.model, spelled.weights, sink_to(bytes)));
  const std::string path = (folder / fmt::format("{}.onnx", seed)).string();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  line["file"] = path;
  TAPER_ASSIGN(line["runs"], runs_of(made));
  std::puts(line.dump().c_str());
  return {};
}

}  // namespace

Status write_random_onnx(const std::filesystem::path& folder, std::uint64_t seed, std::uint64_t count) {
  for (std::uint64_t i = seed; i < seed + count; ++i) TAPER_TRY(write_one(folder, i));
  return {};
}

}  // namespace taper
