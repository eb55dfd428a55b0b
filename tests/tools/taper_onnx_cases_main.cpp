// Runs ONNX's node tests: reads each model, evaluates it and, if asked, runs it as TFLite in LiteRT, as ONNX in ONNX
// Runtime, as a SavedModel in TensorFlow.
//
//   taper_onnx_cases FOLDER [--tflite] [--onnx] [--tensorflow] [--only TEXT] [--jobs N]
//
// FOLDER is onnx/backend/test/data/node of the Python package onnx, or is laid out like it. Prints a line per case: its
// name, "ok" or why the evaluation is not what the test expects, the same for TFLite, the inputs that had to be
// constants, and the same for ONNX and TensorFlow. Reasons begin with the format ("tflite: ") where nothing could be
// written, with the runtime ("litert: ") where the file is not right. Then a line "total CASES EVALUATED TFLITE". Cases
// run in processes of their own, so that none takes the others down.
#include <google/protobuf/stubs/logging.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "backend/onnx.h"
#include "backend/tensorflow.h"
#include "backend/tflite.h"
#include "base/mapped_file.h"
#include "formats/onnx.h"
#include "formats/saved_model.h"
#include "frontend/onnx.h"
#include "ops/evaluate.h"
#include "passes/passes.h"
#include "scratch_folder.h"
#include "verify/litert.h"
#include "verify/onnxruntime.h"
#include "verify/tensorflow.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kSeconds = 20;  // for one case
constexpr std::size_t kCasesPerProcess = 40;

struct Options {
  fs::path folder;
  bool tflite = false, onnx = false, tensorflow = false;
  std::string only;
  std::size_t jobs = 2;
};

struct Result {
  std::string evaluated = "not run";
  std::string tflite = "not run";
  std::string constants;
  std::string onnx = "not run";
  std::string tensorflow = "not run";
};

// The runtimes that were asked for.
struct Runtimes {
  std::optional<Litert> litert = {};
  std::optional<Onnxruntime> onnxruntime = {};
  std::optional<Tensorflow> tensorflow = {};
};

std::string reason(const Error& error) {
  std::string text = error.message;
  for (const std::string& place : error.where) text += "; " + place;
  std::ranges::replace(text, '\n', ' ');
  std::ranges::replace(text, '\t', ' ');
  return text.substr(0, 400);
}

// The tensors of a test, in the order of the model's inputs or outputs.
Expected<std::vector<Tensor>> read_tensors(const fs::path& folder, std::string_view kind, int count) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < count; ++i) {
    TAPER_ASSIGN(const SharedBytes bytes, map_file(folder / fmt::format("{}_{}.pb", kind, i)));
    const auto message = std::make_shared<onnx::TensorProto>();
    const google::protobuf::LogSilencer quiet;
    if (!message->ParseFromArray(bytes.view.data(), static_cast<int>(bytes.view.size())) || message->data_type() == 0)
      return fail("{} {} is no tensor", kind, i);
    OnnxFolder none(folder);
    TAPER_ASSIGN(Tensor tensor, onnx_tensor(*message, none, message));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// Integers of 64 bits have more digits than float64.
bool same_bytes(const Tensor& a, const Tensor& b) {
  std::vector<std::byte> bytes[2];
  for (const Tensor* tensor : {&a, &b}) {
    auto& copy = bytes[tensor == &a ? 0 : 1];
    copy.resize(static_cast<std::size_t>(tensor->byte_count()));
    convert_elements(*tensor, tensor->dtype, copy);
  }
  return bytes[0] == bytes[1];
}

// The tolerances of ONNX's own tests, and a unit in the last place of narrow floats.
Status compare(const Tensor& expected, const Tensor& actual, std::string_view name, double slack) {
  if (expected.dtype != actual.dtype)
    return fail("output '{}' is {}, expected {}", name, info(actual.dtype).name, info(expected.dtype).name);
  if (expected.shape != actual.shape)
    return fail("output '{}' has shape {}, expected {}", name, shape_text(std::span(actual.shape)),
                shape_text(std::span(expected.shape)));
  if (!is_floating(expected.dtype) && !same_bytes(expected, actual)) {
    const std::vector<double> want = to_double(expected), got = to_double(actual);
    if (want == got) return fail("output '{}' differs in digits beyond those of float64", name);
  }
  const std::vector<double> want = to_double(expected), got = to_double(actual);
  const double relative = expected.dtype == DType::bf16 ? 1e-2 : expected.dtype == DType::f16 ? 2e-3 : 1e-3;
  double largest = 0;
  for (const double x : want)
    if (std::isfinite(x)) largest = std::max(largest, std::fabs(x));
  const double absolute = is_floating(expected.dtype) ? 1e-7 + slack * largest : 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (want[i] == got[i] || (std::isnan(want[i]) && std::isnan(got[i]))) continue;
    if (!(std::fabs(want[i] - got[i]) <= absolute + relative * std::fabs(want[i])))
      return fail("output '{}' has {} at {}, expected {}", name, got[i], i, want[i]);
  }
  return {};
}

struct Case {
  ImportedProgram program;
  std::vector<Tensor> inputs;  // of the graph
  std::vector<std::vector<std::int64_t>> shapes;
  std::vector<Tensor> outputs;
};

Expected<Case> load(const fs::path& folder, Result& result) {
  const fs::path file = folder / "model.onnx";
  TAPER_ASSIGN(const SharedBytes bytes, map_file(file));
  TAPER_ASSIGN(const onnx::ModelProto model, read_onnx(bytes.view));
  ProgramOptions options;
  std::vector<std::string> wanted;
  auto program = import_onnx(file, bytes, options, &wanted);
  const fs::path data = folder / "test_data_set_0";
  // Inputs whose values have to be known get those of the test.
  for (int round = 0; round < 8 && !program && !wanted.empty(); ++round) {
    TAPER_ASSIGN(const std::vector<Tensor> tensors, read_tensors(data, "input", model.graph().input_size()));
    const std::size_t before = options.input_values.size();
    for (int i = 0; i < model.graph().input_size(); ++i)
      if (std::ranges::find(wanted, model.graph().input(i).name()) != wanted.end())
        options.input_values.emplace(model.graph().input(i).name(), tensors[static_cast<std::size_t>(i)]);
    if (options.input_values.size() == before) break;
    program = import_onnx(file, bytes, options, &wanted);
  }
  if (!program) return std::unexpected(program.error());
  for (const auto& [name, value] : options.input_values)
    result.constants += (result.constants.empty() ? "" : ",") + name;
  Case loaded{std::move(*program), {}, {}, {}};
  TAPER_ASSIGN(const std::vector<Tensor> tensors, read_tensors(data, "input", model.graph().input_size()));
  for (const Value* input : loaded.program.graph.inputs())
    for (int i = 0; i < model.graph().input_size(); ++i)
      if (model.graph().input(i).name() == input->name) loaded.inputs.push_back(tensors[static_cast<std::size_t>(i)]);
  for (const Tensor& tensor : loaded.inputs) loaded.shapes.push_back(tensor.shape);
  TAPER_ASSIGN(loaded.outputs, read_tensors(data, "output", model.graph().output_size()));
  return loaded;
}

Status evaluate_case(const Case& loaded) {
  std::vector<Array> arrays;
  for (const Tensor& input : loaded.inputs) arrays.push_back(to_array(input));
  TAPER_ASSIGN(const std::vector<Array> outputs, evaluate(loaded.program.graph, std::move(arrays)));
  for (std::size_t i = 0; i < outputs.size(); ++i)
    TAPER_TRY(compare(loaded.outputs[i], to_tensor(outputs[i]), loaded.program.graph.outputs()[i].name, 1e-6));
  return {};
}

Expected<Graph> legalized(const Case& loaded, Target target) {
  LegalizeOptions options;
  TAPER_ASSIGN(options.freeze, bind_symbols(loaded.program.graph.inputs(), loaded.shapes));
  return legalize(loaded.program.graph, target, options);
}

std::vector<SignatureTensor> named_inputs(const Case& loaded) {
  std::vector<SignatureTensor> inputs;
  for (std::size_t i = 0; i < loaded.inputs.size(); ++i)
    inputs.push_back({loaded.program.graph.inputs()[i]->name, loaded.inputs[i]});
  return inputs;
}

Status compare_outputs(const Case& loaded, const Expected<std::vector<SignatureTensor>>& outputs) {
  TAPER_TRY(outputs);
  for (std::size_t i = 0; i < loaded.outputs.size(); ++i) {
    const std::string& name = loaded.program.graph.outputs()[i].name;
    const auto found = std::ranges::find(*outputs, name, &SignatureTensor::name);
    if (found == outputs->end()) return fail("there is no output '{}'", name);
    TAPER_TRY(compare(loaded.outputs[i], found->value, name, 1e-5));
  }
  return {};
}

Expected<std::vector<std::byte>> tflite_file(const Case& loaded) {
  TAPER_ASSIGN(const Graph legal, legalized(loaded, Target::tflite));
  TAPER_ASSIGN(const TfliteModel spelled, spell_tflite(legal, {}));
  std::vector<std::byte> file;
  TAPER_TRY(write_tflite(spelled.model, spelled.buffers, sink_to(file)));
  return file;
}

Status run_in_litert(const Case& loaded, std::vector<std::byte> file, const Litert& litert) {
  TAPER_ASSIGN(LitertModel model, LitertModel::open(litert, share(std::move(file))));
  OutputShapes expected;
  for (std::size_t i = 0; i < loaded.outputs.size(); ++i)
    expected.emplace(loaded.program.graph.outputs()[i].name, loaded.outputs[i].shape);
  return compare_outputs(loaded, model.run(named_inputs(loaded), expected));
}

Status write_file(const fs::path& path, const std::vector<std::byte>& bytes) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return fail("can't write {}", path.string());
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  return std::fclose(file) == 0 && written ? Status() : fail("can't write {}", path.string());
}

Status write_onnx_file(const Case& loaded, const fs::path& path) {
  TAPER_ASSIGN(const Graph legal, legalized(loaded, Target::onnx));
  TAPER_ASSIGN(const OnnxFile spelled, spell_onnx(legal));
  TAPER_TRY(check_onnx(spelled.model, spelled.weights));
  std::vector<std::byte> file;
  TAPER_TRY(write_onnx(spelled.model, spelled.weights, sink_to(file)));
  return write_file(path, file);
}

Status run_in_onnxruntime(const Case& loaded, const fs::path& path, const Onnxruntime& runtime) {
  TAPER_ASSIGN(OnnxruntimeModel model, OnnxruntimeModel::open(runtime, path));
  return compare_outputs(loaded, model.run(named_inputs(loaded)));
}

Status write_savedmodel(const Case& loaded, const fs::path& folder) {
  TAPER_ASSIGN(const Graph legal, legalized(loaded, Target::tensorflow));
  TAPER_ASSIGN(const SavedModelFile spelled, spell_tensorflow(legal));
  std::vector<std::byte> data, index, model;
  TAPER_TRY(write_tensor_bundle(spelled.variables, sink_to(data), sink_to(index)));
  TAPER_TRY(write_saved_model(spelled.model, sink_to(model)));
  TAPER_TRY(write_file(folder / kBundleDataFile, data));
  TAPER_TRY(write_file(folder / kBundleIndexFile, index));
  return write_file(folder / kSavedModelFile, model);
}

Status run_in_tensorflow(const Case& loaded, const fs::path& folder, const Tensorflow& runtime) {
  TAPER_ASSIGN(TensorflowModel model, TensorflowModel::open(runtime, folder));
  return compare_outputs(loaded, model.run(named_inputs(loaded)));
}

// "ok", or what went wrong: "FORMAT: ..." where nothing was written, "RUNTIME: ..." where the file is not right.
template <class Written>
std::string outcome(std::string_view format, const Written& written, std::string_view runtime,
                    const std::function<Status()>& run) {
  if (!written) return fmt::format("{}: {}", format, reason(written.error()));
  const Status ran = run();
  return ran ? "ok" : fmt::format("{}: {}", runtime, reason(ran.error()));
}

Result run_case(const fs::path& folder, const Runtimes& runtimes, const fs::path& scratch) {
  Result result;
  const auto loaded = load(folder, result);
  if (!loaded) {
    result.evaluated = result.tflite = result.onnx = result.tensorflow = "read: " + reason(loaded.error());
    return result;
  }
  const Status evaluated = evaluate_case(*loaded);
  result.evaluated = evaluated ? "ok" : "evaluate: " + reason(evaluated.error());
  if (runtimes.litert) {
    auto file = tflite_file(*loaded);
    result.tflite =
        outcome("tflite", file, "litert", [&] { return run_in_litert(*loaded, std::move(*file), *runtimes.litert); });
  }
  if (runtimes.onnxruntime)
    result.onnx = outcome("onnx", write_onnx_file(*loaded, scratch / "case.onnx"), "onnxruntime",
                          [&] { return run_in_onnxruntime(*loaded, scratch / "case.onnx", *runtimes.onnxruntime); });
  if (runtimes.tensorflow)
    result.tensorflow = outcome("tensorflow", write_savedmodel(*loaded, scratch / "case_tf"), "tensorflow runs",
                                [&] { return run_in_tensorflow(*loaded, scratch / "case_tf", *runtimes.tensorflow); });
  return result;
}

// ----------------------------------------------------------------------------------------------------------- processes

// One process that runs cases from `next` on; lines come through the pipe, one per finished case.
struct Worker {
  pid_t process = -1;
  int pipe = -1;
  std::string received;
  std::size_t next = 0, end = 0;
};

// Loads a runtime that was asked for. Where there is none the program ends.
template <class Runtime, class Load>
void load_if(bool wanted, std::optional<Runtime>& runtime, Load load) {
  if (!wanted) return;
  auto loaded = load();
  if (!loaded) {
    fmt::print(stderr, "{}\n", reason(loaded.error()));
    std::_Exit(2);
  }
  runtime = std::move(*loaded);
}

[[noreturn]] void run_cases(const Options& options, const std::vector<std::string>& names, std::size_t begin,
                            std::size_t end, fs::path scratch, int pipe) {
  Runtimes runtimes;
  load_if(options.tflite, runtimes.litert, [] { return load_litert(); });
  load_if(options.onnx, runtimes.onnxruntime, [] { return load_onnxruntime(); });
  load_if(options.tensorflow, runtimes.tensorflow, [] { return load_tensorflow(); });
  scratch /= std::to_string(getpid());
  for (std::size_t i = begin; i < end; ++i) {
    alarm(kSeconds);
    const Result result = run_case(options.folder / names[i], runtimes, scratch);
    std::string line = fmt::format("{}\t{}\t{}", result.evaluated, result.tflite, result.constants);
    if (options.onnx) line += "\t" + result.onnx;
    if (options.tensorflow) line += "\t" + result.tensorflow;
    line += '\n';
    for (std::size_t sent = 0; sent < line.size();) {
      const ssize_t count = write(pipe, line.data() + sent, line.size() - sent);
      if (count <= 0) std::_Exit(1);
      sent += static_cast<std::size_t>(count);
    }
  }
  std::_Exit(0);
}

bool start(Worker& worker, const Options& options, const std::vector<std::string>& names, const fs::path& scratch) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  worker.process = fork();
  if (worker.process == 0) {
    close(ends[0]);
    run_cases(options, names, worker.next, worker.end, scratch, ends[1]);
  }
  close(ends[1]);
  worker.pipe = ends[0];
  return worker.process > 0;
}

// Takes what a worker has sent. False when it has ended.
bool receive(Worker& worker, std::vector<std::string>& lines) {
  char buffer[4096];
  const ssize_t count = read(worker.pipe, buffer, sizeof buffer);
  if (count > 0) worker.received.append(buffer, static_cast<std::size_t>(count));
  for (std::size_t end; (end = worker.received.find('\n')) != std::string::npos;) {
    lines[worker.next++] = worker.received.substr(0, end);
    worker.received.erase(0, end + 1);
  }
  return count > 0;
}

int run_all(const Options& options, const std::vector<std::string>& names) {
  const testing_support::ScratchFolder scratch;
  std::vector<std::string> lines(names.size());
  std::vector<Worker> workers(options.jobs);
  std::size_t given = 0;
  while (true) {
    std::vector<pollfd> polled;
    for (Worker& worker : workers) {
      if (worker.process < 0 && worker.next == worker.end && given < names.size()) {
        worker.next = given;
        given = worker.end = std::min(given + kCasesPerProcess, names.size());
      }
      if (worker.process < 0 && worker.next < worker.end && !start(worker, options, names, scratch.path())) return 1;
      if (worker.process > 0) polled.push_back({worker.pipe, POLLIN, 0});
    }
    if (polled.empty()) break;
    poll(polled.data(), polled.size(), -1);
    for (Worker& worker : workers) {
      const auto ready = std::ranges::find(polled, worker.pipe, &pollfd::fd);
      if (worker.process < 0 || ready == polled.end() || ready->revents == 0 || receive(worker, lines)) continue;
      int status = 0;
      waitpid(worker.process, &status, 0);
      close(worker.pipe);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return 2;
      if (worker.next < worker.end) {  // it died in a case
        const std::string how = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "takes too long" : "crashes";
        lines[worker.next++] = fmt::format("{0}\t{0}\t\t{0}\t{0}", how);
      }
      worker = {.next = worker.next, .end = worker.end};
    }
  }
  std::size_t evaluated = 0, tflite = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    evaluated += lines[i].starts_with("ok\t") ? 1 : 0;
    tflite += lines[i].find("\tok\t") != std::string::npos ? 1 : 0;
    fmt::print("{}\t{}\n", names[i], lines[i]);
  }
  fmt::print("total\t{}\t{}\t{}\n", names.size(), evaluated, tflite);
  return 0;
}

int run(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--tflite")
      options.tflite = true;
    else if (argument == "--onnx")
      options.onnx = true;
    else if (argument == "--tensorflow")
      options.tensorflow = true;
    else if (argument == "--only" && i + 1 < argc)
      options.only = argv[++i];
    else if (argument == "--jobs" && i + 1 < argc)
      options.jobs = static_cast<std::size_t>(std::clamp(std::atoi(argv[++i]), 1, 64));
    else
      options.folder = argument;
  }
  if (options.folder.empty()) {
    fmt::print(stderr, "taper_onnx_cases FOLDER [--tflite] [--onnx] [--tensorflow] [--only TEXT] [--jobs N]\n");
    return 2;
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(options.folder))
    if (const std::string name = entry.path().filename(); name.find(options.only) != std::string::npos)
      names.push_back(name);
  std::ranges::sort(names);
  return run_all(options, names);
}

}  // namespace
}  // namespace taper

int main(int argc, char** argv) {
  return taper::run(argc, argv);
}
