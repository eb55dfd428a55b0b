// bytes -> graphs; and the whole path, from a checkpoint's bytes to those of every format.
#include "../formats/builders.h"
#include "backend/onnx.h"
#include "backend/tensorflow.h"
#include "backend/tflite.h"
#include "formats/checkpoint_file.h"
#include "frontend/exported_program.h"
#include "frontend/families.h"
#include "frontend/onnx.h"
#include "frontend/tensorflow.h"
#include "frontend/tflite.h"
#include "frontend/torchscript.h"
#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/quantize.h"
#include "targets.h"

namespace taper::fuzz {

// What is read prints as itself.
void ir(Bytes input) {
  static const SharedBytes blob = share(std::vector<std::byte>(256));
  const auto graph = parse(as_text(input), blob);
  if (!graph) return;
  std::vector<std::byte> kept;
  const std::string text = print(*graph, &kept);
  const auto again = parse(text, share(std::move(kept)));
  require(again && same_graph(*graph, *again));
  static_cast<void>(check(*again));
}

namespace {

// A graph read from a file obeys the table.
void use(const Graph& graph) {
  require(check(graph).has_value());
  require(!print(graph).empty());
}

}  // namespace

void tflite(Bytes input) {
  const auto file = read_tflite(share({input.begin(), input.end()}));
  if (!file) return;
  if (const auto graph = import_tflite(*file)) use(*graph);
}

// Without a folder there is no external data.
void onnx_graph(Bytes input) {
  if (const auto program = import_onnx({}, share({input.begin(), input.end()}), {})) use(program->graph);
}

// The SavedModel's graph and the bundle's index, each with its length before it, then the bundle's data.
void tensorflow(Bytes input) {
  const Bytes model_bytes = take_part(input);
  const Bytes index = take_part(input);
  auto model = read_saved_model(model_bytes);
  if (!model) return;
  SavedModelContent content{std::move(*model), {}};
  auto variables = read_tensor_bundle(share({index.begin(), index.end()}), share({input.begin(), input.end()}));
  if (variables) content.variables = std::move(*variables);
  if (const auto graph = import_tensorflow(content)) use(*graph);
}

// The source of a module M without attributes but for `n`, an integer, and `w`, a weight [2, 4].
void torchscript(Bytes input) {
  const std::string data =
      protocol2(pickled_global("__torch__", "M") + ")\x81}(" + pickled_text("n") + pickled_int(3) + pickled_text("w") +
                pickled_tensor(pickled_storage("0", 8), 0, {2, 4}, {4, 1}) + "ub");
  const std::string archive =
      torch_zip(data, {stored("archive/constants.pkl", protocol2(")")), stored("archive/data/0", std::string(32, '\1')),
                       stored("archive/code/__torch__.py", std::string(as_text(input)))});
  ProgramOptions options;
  options.input_shapes["x"] = {Dim::symbol("B"), 4};
  if (const auto program = import_torchscript(shared(archive), options)) use(program->graph);
}

// An archive, or the JSON of one whose only weight has 16 bytes.
void exported_program(Bytes input) {
  const SharedBytes bytes = as_text(input).starts_with("PK") ? share({input.begin(), input.end()})
                                                             : shared(exported_program_of(std::string(as_text(input))));
  for (const bool free : {false, true}) {
    ProgramOptions options;
    if (free) options.dynamic["x"] = {0};
    if (const auto program = import_exported_program(bytes, options)) use(program->graph);
  }
}

namespace {

template <class T>
T must(Expected<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().text().c_str());
  require(result.has_value());
  return std::move(*result);
}

void must(const Status& status) {
  if (!status) std::fprintf(stderr, "%s\n", status.error().text().c_str());
  require(status.has_value());
}

void write_and_read_tflite(const Graph& legal) {
  const TfliteModel spelled =
      must(spell_tflite(legal, {.description = "fuzz", .default_sizes = {{"batch_size", 1}, {"sequence_length", 4}}}));
  std::vector<std::byte> written;
  must(write_tflite(spelled.model, spelled.buffers, sink_to(written)));
  const TfliteFile file = must(read_tflite(share(std::move(written))));
  use(must(import_tflite(file)));
}

void add_ranges(const Graph& graph, Ranges& ranges) {
  for (const Value* input : graph.inputs()) ranges[input] = {-3, 3};
  for (const Node& node : graph.nodes()) {
    for (const Value* result : node.results) ranges[result] = {-3, 3};
    for (const auto& region : node.regions) add_ranges(*region, ranges);
  }
}

// Weights of 8 or 4 bits; with `integers`, all between the layers too.
Graph quantized(const Graph& legal, int bits, bool integers) {
  Ranges ranges;
  add_ranges(legal, ranges);
  LayerConfig config;
  config.quantized = config.integer_compute = true;
  config.weight = TensorScheme{.bits = bits, .per_channel = true, .block = bits == 4 ? 32 : 0};
  if (integers) config.activation = TensorScheme{.bits = 8, .symmetric = false};
  return must(quantize(legal, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges}, nullptr));
}

void export_tflite(const Graph& graph) {
  const Graph legal = must(legalize(graph, taper::Target::tflite));
  write_and_read_tflite(legal);
  write_and_read_tflite(must(store_weights_as_f16(legal, nullptr)));
  write_and_read_tflite(quantized(legal, 8, true));
  write_and_read_tflite(quantized(legal, 4, false));
}

void export_onnx(const Graph& graph) {
  const Graph legal = must(legalize(graph, taper::Target::onnx));
  const OnnxFile file = must(spell_onnx(legal, {}));
  must(check_onnx(file.model, file.weights));
  std::vector<std::byte> written;
  must(write_onnx(file.model, file.weights, sink_to(written)));
  static_cast<void>(must(read_onnx(written)));
}

void export_tensorflow(const Graph& graph) {
  const Graph legal = must(legalize(graph, taper::Target::tensorflow));
  const SavedModelFile file = must(spell_tensorflow(legal, "fuzz"));
  std::vector<std::byte> model, index, data;
  must(write_saved_model(file.model, sink_to(model)));
  must(write_tensor_bundle(file.variables, sink_to(data), sink_to(index)));
  SavedModelContent content{must(read_saved_model(model)), {}};
  content.variables = must(read_tensor_bundle(share(std::move(index)), share(std::move(data))));
  use(must(import_tensorflow(content)));
}

}  // namespace

// Bytes -> checkpoint -> network -> passes -> files, which must read as graphs again. What a checkpoint's bytes decide
// ends with the import: whatever it accepted has to be written.
void export_model(Bytes input) {
  const auto checkpoint = read_checkpoint(share({input.begin(), input.end()}));
  if (!checkpoint) return;
  LoadOptions options;
  options.all_heads = true;
  options.sequence_length = 4;
  const auto model = import_checkpoint(*checkpoint, options);
  constexpr std::int64_t kSmall = 1 << 16;  // weights: larger networks only take longer
  if (!model || model->info.parameters > kSmall) return;
  export_tflite(model->graph);
  export_onnx(model->graph);
  export_tensorflow(model->graph);
}

}  // namespace taper::fuzz
