// taper: reads what people save with PyTorch and writes ONNX and TensorFlow Lite, verified in the real runtimes.
//
// The one public header. Everything is a value; nothing here throws, prints or exits. A whole job:
//
//   taper::ExportRequest request;
//   request.models = {{.key = "gru", .stem = "mediapipe_gru", .path = "GRU.pt"}};
//   taper::ExportReport report = taper::export_models(request);
//   std::string json = taper::to_json(report);
//
// or step by step: load, convert, verify. What is read may be a state dict of a known family, a program of torch.export
// (.pt2), TorchScript, a pickled module or ONNX; which of them it is its content tells, not its name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "taper/error.h"

namespace taper {

// The version of this library, "0.1.0".
std::string version();

// ---------------------------------------------------------------------------------------------------------------- load

// What a checkpoint's shapes can't tell and the caller may say; an empty member leaves it to the file, then to
// defaults.
struct ModelConfig {
  std::optional<std::string> family;      // one of known_families(): refuses a checkpoint of another family
  std::optional<std::int64_t> num_heads;  // attention heads H
  std::optional<std::string> pooling;     // "mean", "max" or "cls"
  std::optional<double> norm_eps;         // epsilon of the transformer's norms
};

// Names of the model families known by their state dicts: "SignTransformer", "MediaPipeGRU", ...
std::vector<std::string> known_families();

// Reads a configuration file (JSON): either one object of the members of ModelConfig for all models, the name of a
// family as a string, or an object that maps model keys ("transformer", "gru", a --model name) to either. Unknown
// members are errors. Returns the configuration for `model_key`.
Expected<ModelConfig> read_config(const std::filesystem::path& path, const std::string& model_key);

// What the caller says of one input of a program, by its name.
struct InputOptions {
  std::string name;
  std::optional<std::string> shape;   // "1,3,224,224", "B,T,178": sizes, and symbols for sizes that stay open
  std::optional<std::string> dtype;   // "int64"
  std::vector<std::int64_t> dynamic;  // axes that the program fixed and that are to be open
};

struct LoadOptions {
  ModelConfig config;
  std::vector<InputOptions> inputs;  // of programs
  bool all_heads = false;            // also export the category head, as the output `category`
  std::int64_t sequence_length =
      300;                   // T of the default input shape [1, T, F]; also the least maximum length supported
  bool proves_sizes = true;  // evaluate a program whose frozen sizes are set free, to see whether that was right
};

// One architecture value and where it comes from: "shapes", "config", "module attributes", "hyper-parameters" or
// "assumed".
struct HyperParameter {
  std::string name;
  std::string value;
  std::string origin;
};

// What a model's file is: decides what is known of it.
enum class SourceKind { family, exported_program, torchscript, module, onnx };
// "family", "exported program", "TorchScript", "module", "ONNX".
std::string_view source_kind_name(SourceKind kind);

// An input or output of a model.
struct TensorInfo {
  std::string name;
  std::string dtype;  // "float32"
  std::string shape;  // "[batch_size, sequence_length, 178]"
};

// The weights of a state dict by the modules that their keys name, with all that lies in them.
struct WeightTree {
  struct Weight {
    std::string name;   // in its module: "weight"
    std::string dtype;  // "float32"
    std::vector<std::int64_t> sizes;
  };
  std::string name;  // in the module around it: "encoder", "0"; at the top where the weights lie ("model_state_dict")
  std::string last;  // of several modules that are alike: the name of the last of them
  std::int64_t alike = 1;
  std::string kind;  // "Linear 512 -> 8": a guess from names and shapes, or the class where the file has it
  std::vector<Weight> weights;
  std::vector<WeightTree> parts;
  std::int64_t tensors = 0;     // in it and its parts, in all that are alike together
  std::int64_t parameters = 0;  // elements of floating point but for statistics of norms, each once
  std::int64_t bytes = 0;
};

// What is known of a loaded model.
struct ModelInfo {
  SourceKind kind = SourceKind::family;
  std::string family;  // of programs the name that they give themselves, often empty
  std::vector<HyperParameter> hyper_parameters;
  std::vector<std::string> assumptions;   // a sentence per value that nothing in the file tells
  std::vector<std::string> warnings;      // NaN weights, keys that were left out, ...
  std::vector<std::int64_t> input_shape;  // [1, T, F]; of a program the usual sizes of its first input
  std::vector<std::string> outputs;       // "output", "category"
  std::vector<TensorInfo> inputs;         // types of all inputs
  std::vector<TensorInfo> output_types;   // of all outputs
  std::int64_t parameters = 0;            // number of weights
  std::filesystem::path source;
  std::string source_format;  // "PyTorch zip checkpoint", "safetensors", ...
  std::string source_sha256;  // lower-case hex
};

// A network read from a file: the graph and its weights, which stay mapped from the file while a Model lives. Cheap to
// copy.
class Model {
 public:
  struct Impl;
  explicit Model(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const ModelInfo& info() const;
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

// Reads a checkpoint of a known family (PyTorch's zip and legacy formats, a pickled module, safetensors) or a program
// (torch.export, TorchScript, a pickled module of torch.nn's modules, ONNX). Nothing in the file is executed.
Expected<Model> load(const std::filesystem::path& path, const LoadOptions& options = {});

// The weights of a checkpoint that load() refuses because their network is no known family: what to show in its place.
// Nothing for all other files.
std::optional<WeightTree> unknown_weights(const std::filesystem::path& path, const LoadOptions& options = {});

// ------------------------------------------------------------------------------------------------------------- convert

// What a TFLite file stores and computes: floats of 32 bits, weights of 16 bits, or integers (docs/quantisation.md).
enum class Precision {
  fp32,
  fp16,     // weights of float16
  dynamic,  // int8 weights, one scale per channel; products of integers, all between them float32
  w8,       // int8 weights, computed with as float32
  w4,       // int4 weights in blocks of 32; products of integers
  int8,     // int8 throughout
  int16x8,  // int16 values, int8 weights
  recipe,   // as a recipe says, layer by layer
  mixed     // float16, int8 or int4 weights layer by layer: the smallest file within QuantizeOptions::mix_error
};
// "fp32", "dynamic", ...: files end in "_dynamic.tflite", keys are "tflite_dynamic".
std::string_view precision_name(Precision precision);
std::optional<Precision> precision_from_name(std::string_view name);

// A range that is told instead of measured, for tensors in whose names the pattern is found.
struct NamedRange {
  std::string pattern;
  double low = 0;
  double high = 0;
};

// How files of integers are made.
struct QuantizeOptions {
  // Samples of the inputs, which int8 and int16x8 need: .npz, .npy, or a folder of them. A fifth of them is held out:
  // the files are verified with it.
  std::optional<std::filesystem::path> calibration;
  bool random_calibration = false;        // seeded random numbers take the place of samples; reports say so
  std::string range_method = "min-max";   // "moving-average", "percentile", "mse", "kl": ranges of activations
  std::string weight_method = "min-max";  // "mse", "gptq": scales of weights
  std::int64_t block = 32;                // weights of a row that share a scale, in w4: 32 to 256; 0: all of the row
  bool integer_io = false;                // inputs and outputs are integers too, where all is
  std::vector<std::string> exclude;       // patterns of layers that stay float32
  bool layer_costs = false;               // measure what each layer costs in files within their bound too
  std::vector<NamedRange> ranges;
  std::optional<std::filesystem::path> recipe;  // for Precision::recipe
  double mix_error = 0.01;                      // the relative error that Precision::mixed may have
};

struct ConvertOptions {
  bool static_shapes = false;  // freeze open sizes (batch 1, length T) instead of leaving them dynamic
  std::vector<Precision> tflite = {Precision::fp32, Precision::fp16};
  bool onnx = true;
  bool onnx_qdq = false;  // also the int8 model as ONNX, `<stem>_qdq.onnx`; needs samples as Precision::int8 does
  bool savedmodel = true;
  QuantizeOptions quantize = {};
  bool channels_last = false;  // inputs and outputs [N, C, H, W] (and with three such axes) become [N, H, W, C]
  std::optional<std::filesystem::path> dump_ir = {};  // a folder for the graph after each pass that changed it
  // Called with what is being done where that takes time: "calibrating, sample 3 of 40". By several threads at once.
  std::function<void(const std::string&)> progress = {};
  bool check_each = false;  // evaluate the graph after each pass; an error names the first one that changes results
};

// What it costs to quantise one layer and leave all others as they are.
struct LayerCost {
  std::string layer;      // the module's path, or the name of its result
  std::string operation;  // TFLite's
  std::int64_t weights = 0;
  double relative_error = 0;  // of the outputs, by the reference evaluation
};

// What there is to tell of a file of integers.
struct QuantizationReport {
  std::int64_t calibration_samples = 0;
  bool random_calibration = false;
  double integer_share = 0;  // of the multiplications in layers: how many are of integers
  struct Layer {
    std::string layer;  // the module's path, or the name of its result
    std::string operation;
    std::string computes;  // "int8", "int16", "hybrid" (products of integers, floats between), "float32"
    std::string reason;    // why it computes floats where integers were asked for; else empty
  };
  std::vector<Layer> layers;
  struct Tensor {
    std::string name;
    std::string storage;  // "int8 per channel, scale 0.012"
  };
  std::vector<Tensor> tensors;
  std::optional<double> bound;         // of a mix: the relative error that it was searched for
  std::vector<LayerCost> layer_costs;  // of a mix: what its layers cost as they are in it, worst first
};

// A file or folder that was written. `key` names it in reports: "onnx", "tensorflow", "tflite_fp32", "tflite_fp16".
struct Artifact {
  std::string key;
  std::filesystem::path path;
  std::uint64_t bytes = 0;         // of a folder: of all files in it
  double seconds = 0;              // to build and write it
  std::vector<std::string> notes;  // for instance weights kept in float32 because float16 can't hold them
  bool static_shapes = false;      // takes inputs of one shape only
  bool channels_last = false;      // as ConvertOptions says
  std::optional<QuantizationReport> quantization = {};  // of files of integers
};

// Writes the files `<folder>/<stem>.onnx`, `<folder>/<stem>_fp32.tflite`, ... and the SavedModel `<folder>/<stem>_tf`,
// which takes the place of an older one. Each appears complete or not at all: on
// an error none of them is left behind. `folder` is created if needed.
Expected<std::vector<Artifact>> convert(const Model& model, const std::filesystem::path& folder,
                                        const std::string& stem, const ConvertOptions& options = {});

// What would be done to each layer and tensor, by the keys of the files of integers; that of auto is not known before
// it is made.
Expected<std::vector<std::pair<std::string, QuantizationReport>>> plan_quantization(const Model& model,
                                                                                    const ConvertOptions& options);

// -------------------------------------------------------------------------------------------------------------- verify

// Agreement of one run with the reference (the graph as imported, evaluated in float64). With r the reference and y the
// result over all elements of all outputs:
struct Agreement {
  std::vector<std::int64_t> input_shape;  // of the first input
  double cosine_similarity = 0;           // <r,y> / (|r| |y|)
  double max_error = 0;                   // max |y - r|
  double relative_error = 0;  // the worst output's: max |y - r| / (max r - min r); of a single number |y - r| / |r|
  double top1_agreement = 0;  // share of rows over the last axis whose largest entry is the same
  std::int64_t unlike = 0;    // elements of integer and bool outputs that differ, none of which may
  std::vector<std::vector<std::int64_t>> input_shapes = {};  // of all inputs, where there are several
  double signal_to_noise = 0;  // 10 log10(sum r^2 / sum (y-r)^2), in decibels; infinite where nothing differs
  std::int64_t samples = 1;    // how many runs these figures are taken over
  std::int64_t nonfinite = 0;  // elements that are NaN or infinite, and are so in the reference: they count as equal
  std::int64_t unlike_nonfinite = 0;  // elements that are NaN or infinite on one side alone, none of which may be
};

struct Verification {
  std::string key;      // of the artifact
  std::string runtime;  // "LiteRT", "TensorFlow", "ONNX Runtime", or "taper reference evaluation" in the place of one
  std::string runtime_version;
  std::string note;             // a warning: why it is the reference evaluation
  Agreement worst;              // the worst of each figure over all runs
  std::vector<Agreement> runs;  // one per shape (each ran twice)
  double seconds = 0;           // to open and run it; the reference is evaluated once for all files and not counted
  bool passed = false;          // within the bounds of its precision
  std::string verdict;          // why not, when not; or what was accepted
  bool held_out = false;        // judged by samples that were held out of calibration
};

struct VerifyOptions {
  // .npz (array "X", or the only one) or .npy: real inputs [N, T, F] or [T, F] of a family. Of a program: .npz with an
  // array for each input under its name; .npy for a single input.
  std::optional<std::filesystem::path> input;
  // Samples of the inputs, as QuantizeOptions::calibration: files of integers are judged by the part that is held out.
  std::optional<std::filesystem::path> held_out = {};
  std::optional<double> max_error = {};  // the largest relative error of files of integers, in the place of ours
  bool accept_loss = false;              // files of integers pass beyond their bound too, and the verdict says so
  std::uint64_t seed = 0;
  int threads = 1;
};

// Opens each artifact again from disk and runs it against the reference at the export shape and at a second one (only
// the first for static files). ONNX files of families are judged by libonnx alone, when they are written.
Expected<std::vector<Verification>> verify(const Model& model, const std::vector<Artifact>& artifacts,
                                           const VerifyOptions& options = {});

// The layers of a file of integers by what each alone costs, worst first; as many as can be measured in `seconds`.
Expected<std::vector<LayerCost>> layer_costs(const Model& model, const ConvertOptions& options, Precision precision,
                                             double seconds = 20);

// ------------------------------------------------------------------------------------------------------- the whole job

struct ModelRequest {
  std::string key;   // the name in the results: "transformer", "gru", or another
  std::string stem;  // of the files: "sign_transformer"
  std::filesystem::path path;
  ModelConfig config;
  std::vector<InputOptions> inputs = {};  // of programs
};

// What export_models tells while it works.
struct Progress {
  enum class Kind { model_started, stage_started, stage_finished, detail, warning, model_failed, model_skipped };
  Kind kind = Kind::stage_started;
  std::string model;   // key
  std::string stage;   // "load", "onnx", "tflite_fp32", "verify tflite_fp32", ...
  std::string text;    // for people: what was found or written, or the warning, or the error
  double seconds = 0;  // for stage_finished
};

struct ExportRequest {
  std::vector<ModelRequest> models;
  std::filesystem::path output_dir = "exports";
  std::int64_t sequence_length = 300;
  bool all_heads = false;
  bool verify = true;
  bool show_plan = false;  // tell what is done to each tensor of files of integers, before it is done
  ConvertOptions convert;
  VerifyOptions verification;
  int jobs = 1;                             // models exported side by side, as far as memory allows
  std::optional<std::uint64_t> max_memory;  // bytes; a model that would need more is refused before it is converted
  std::function<void(const Progress&)> progress;  // may be empty; never called by two threads at a time
};

struct ModelReport {
  std::string key;
  std::string model_name;  // the stem
  bool skipped = false;    // the file does not exist
  std::optional<Error> error;
  std::optional<WeightTree> found = {};  // weights in the place of a network, if that is the error
  std::filesystem::path source;
  std::optional<ModelInfo> info;
  std::vector<Artifact> artifacts;
  std::vector<Verification> verifications;
  std::vector<std::pair<std::string, std::vector<LayerCost>>>
      layer_costs;  // by key: of files beyond their bound, or all
  std::vector<std::pair<std::string, double>> stage_seconds;
  std::vector<std::string> warnings;
  std::uint64_t peak_memory = 0;  // bytes, of the process so far
};

struct ExportReport {
  std::vector<ModelReport> models;
  std::filesystem::path results_path;  // export_results.json; empty if it could not be written
  std::optional<Error> error;          // of the job as a whole: folder not writable, bad sequence length
  double seconds = 0;

  // Every model that was found was exported and verified, and at least one was.
  bool succeeded() const;
};

// Loads, converts and verifies each model, then writes `<output_dir>/export_results.json`. A model that fails does not
// stop the others.
ExportReport export_models(const ExportRequest& request);

// The content of export_results.json.
std::string to_json(const ExportReport& report);

}  // namespace taper
