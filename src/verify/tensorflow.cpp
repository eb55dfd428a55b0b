#include "verify/tensorflow.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "base/mapped_file.h"
#include "formats/saved_model.h"
#include "verify/captured_stderr.h"
#include "verify/tensorflow_api.h"

namespace taper {

namespace fs = std::filesystem;
namespace api = tensorflow_api;

namespace {

// Sanitizers refuse RTLD_DEEPBIND, and end the program.
#ifdef TAPER_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Calls the right destroying function of the library.
struct Deleter {
  const api::Api* calls = nullptr;
  void operator()(api::Status* status) const { calls->DeleteStatus(status); }
  void operator()(api::Graph* graph) const { calls->DeleteGraph(graph); }
  void operator()(api::SessionOptions* options) const { calls->DeleteSessionOptions(options); }
  void operator()(api::Tensor* tensor) const { calls->DeleteTensor(tensor); }
  void operator()(api::Session* session) const {
    api::Status* status = calls->NewStatus();
    calls->CloseSession(session, status);
    calls->DeleteSession(session, status);
    calls->DeleteStatus(status);
  }
};
template <class Handle>
using Owned = std::unique_ptr<Handle, Deleter>;

}  // namespace

struct Tensorflow::Impl {
  RuntimeInfo info;
  api::Api calls;
  std::string log;
};

struct TensorflowModel::Impl {
  struct Port {
    api::Output output;
    DType dtype;
  };
  std::shared_ptr<Tensorflow::Impl> runtime;
  std::string log;
  Owned<api::Graph> graph;  // outlives the session
  Owned<api::Session> session;
  std::map<std::string, Port> inputs, outputs;  // by name in the signature

  const api::Api& calls() const { return runtime->calls; }
  // Runs `call` with a status and its lines going to the log; what the status says is the result.
  template <class Call>
  Status checked(std::string_view what, Call&& call) {
    const Owned<api::Status> status(calls().NewStatus(), Deleter{&calls()});
    {
      const CapturedStderr capture(log);
      call(status.get());
    }
    if (calls().GetCode(status.get()) == 0) return {};
    return fail("TensorFlow {}: {}", what, on_one_line(calls().Message(status.get())));
  }
  Expected<std::map<std::string, Port>> find_ports(
      const google::protobuf::Map<std::string, tensorflow::TensorInfo>& signature) const;
  Expected<Owned<api::Tensor>> to_tensorflow(const Tensor& value) const;
  Expected<Tensor> from_tensorflow(const api::Tensor* value, DType dtype) const;
};

std::vector<fs::path> tensorflow_candidates() {
  std::error_code ignored;
  constexpr const char* kNames[] = {"libtensorflow_cc.so.2", "libtensorflow.so.2"};
  if (const char* path = std::getenv("TAPER_TENSORFLOW"); path != nullptr && *path != '\0') {
    for (const char* name : kNames)
      if (fs::is_regular_file(fs::path(path) / name, ignored)) return {fs::path(path) / name};
    return {path};
  }
  std::vector<fs::path> found = installed_in_packages(fs::path("tensorflow") / kNames[0]);
  for (const char* folder : {"/usr/local/lib", "/usr/lib"})
    if (fs::is_regular_file(fs::path(folder) / kNames[1], ignored)) found.push_back(fs::path(folder) / kNames[1]);
  return found;
}

const RuntimeInfo& Tensorflow::info() const {
  return impl_->info;
}

namespace {

Expected<std::shared_ptr<Tensorflow::Impl>> load_one(const fs::path& path) {
  if (kSanitized) return fail("{}: a program with AddressSanitizer or ThreadSanitizer can't load it", path.string());
  auto impl = std::make_shared<Tensorflow::Impl>();
  void* library = nullptr;
  {
    const CapturedStderr capture(impl->log);
    // The library exports its own protobuf, of another version than ours: each must find its own symbols first. Never
    // unloaded: it starts threads and leaves thread-local state behind.
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  }
  if (library == nullptr) return fail("{}", ::dlerror());
  const char* missing = nullptr;
#define TAPER_LOAD(name, ...)                                                                     \
  impl->calls.name = reinterpret_cast<decltype(impl->calls.name)>(::dlsym(library, "TF_" #name)); \
  if (impl->calls.name == nullptr) missing = "TF_" #name;
  TAPER_TENSORFLOW_FUNCTIONS(TAPER_LOAD)
#undef TAPER_LOAD
  if (missing != nullptr) return fail("{}: the function {} is missing", path.string(), missing);
  impl->info = {"TensorFlow", path, impl->calls.Version()};
  return impl;
}

}  // namespace

Expected<Tensorflow> load_tensorflow(const std::vector<fs::path>& candidates) {
  const char* hint =
      "pip install tensorflow-cpu, or name its library libtensorflow_cc.so.2 in the environment variable "
      "TAPER_TENSORFLOW";
  if (candidates.empty()) return fail_with_hint("TensorFlow (libtensorflow_cc.so.2) is not installed", hint);
  std::string reasons;
  for (const fs::path& path : candidates) {
    auto impl = load_one(path);
    if (impl) return Tensorflow(std::move(*impl));
    reasons += (reasons.empty() ? "" : "; ") + impl.error().message;
  }
  return fail_with_hint(fmt::format("TensorFlow can't be loaded: {}", reasons), hint);
}

// ------------------------------------------------------------------------------------------------------------- opening

namespace {

// A ConfigProto with intra_op_parallelism_threads (field 2) and inter_op_parallelism_threads (field 5).
std::string session_config(int threads) {
  const char count = static_cast<char>(std::clamp(threads, 0, 127));
  return {'\x10', count, '\x28', count};
}

Expected<tensorflow::SignatureDef> read_signature(const fs::path& folder) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(folder / kSavedModelFile));
  TAPER_ASSIGN(const tensorflow::SavedModel model, read_saved_model(bytes.view));
  const auto& signatures = model.meta_graphs(0).signature_def();
  const auto found = signatures.find("serving_default");
  if (found == signatures.end()) return fail("there is no signature 'serving_default'");
  return found->second;
}

}  // namespace

Expected<std::map<std::string, TensorflowModel::Impl::Port>> TensorflowModel::Impl::find_ports(
    const google::protobuf::Map<std::string, tensorflow::TensorInfo>& signature) const {
  std::map<std::string, Port> ports;
  for (const auto& [name, info] : signature) {
    const auto dtype = dtype_from_tensorflow(info.dtype());
    if (!dtype) return fail("'{}' has element type {}, which can't be run here", name, static_cast<int>(info.dtype()));
    const std::string node = info.name().substr(0, info.name().rfind(':'));
    api::Operation* operation = calls().GraphOperationByName(graph.get(), node.c_str());
    if (operation == nullptr || info.name() != node + ":0") return fail("'{}' is no node '{}'", name, info.name());
    ports.emplace(name, Port{{operation, 0}, *dtype});
  }
  return ports;
}

TensorflowModel::TensorflowModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TensorflowModel::TensorflowModel(TensorflowModel&&) noexcept = default;
TensorflowModel& TensorflowModel::operator=(TensorflowModel&&) noexcept = default;
TensorflowModel::~TensorflowModel() = default;

Expected<TensorflowModel> TensorflowModel::open(const Tensorflow& runtime, const fs::path& folder, int threads) {
  auto impl = std::make_unique<Impl>();
  impl->runtime = runtime.impl();
  const api::Api& calls = impl->calls();
  const std::string place = fmt::format("in folder '{}'", folder.string());
  TAPER_ASSIGN_WITHIN(const tensorflow::SignatureDef signature, read_signature(folder), place);
  const Owned<api::SessionOptions> options(calls.NewSessionOptions(), Deleter{&calls});
  const std::string config = session_config(threads);
  TAPER_TRY(impl->checked("takes no configuration", [&](api::Status* status) {
    calls.SetConfig(options.get(), config.data(), config.size(), status);
  }));
  impl->graph = {calls.NewGraph(), Deleter{&calls}};
  const char* const tags[] = {"serve"};
  const Status loaded = impl->checked("can't load the model", [&](api::Status* status) {
    api::Session* session = calls.LoadSessionFromSavedModel(options.get(), nullptr, folder.c_str(), tags, 1,
                                                            impl->graph.get(), nullptr, status);
    if (session != nullptr) impl->session = {session, Deleter{&calls}};
  });
  if (!loaded) return std::unexpected(within(loaded.error(), place));
  TAPER_ASSIGN_WITHIN(impl->inputs, impl->find_ports(signature.inputs()), place);
  TAPER_ASSIGN_WITHIN(impl->outputs, impl->find_ports(signature.outputs()), place);
  return TensorflowModel(std::move(impl));
}

// ------------------------------------------------------------------------------------------------------------- running

Expected<Owned<api::Tensor>> TensorflowModel::Impl::to_tensorflow(const Tensor& value) const {
  const auto bytes = static_cast<std::size_t>(value.byte_count());
  Owned<api::Tensor> tensor(calls().AllocateTensor(tensorflow_type(value.dtype), value.shape.data(),
                                                   static_cast<int>(value.shape.size()), bytes),
                            Deleter{&calls()});
  if (!tensor) return fail("TensorFlow makes no tensor of shape {}", shape_text(value.shape));
  convert_elements(value, value.dtype, {static_cast<std::byte*>(calls().TensorData(tensor.get())), bytes});
  return tensor;
}

Expected<Tensor> TensorflowModel::Impl::from_tensorflow(const api::Tensor* value, DType dtype) const {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(std::max(calls().NumDims(value), 0)));
  for (std::size_t axis = 0; axis < shape.size(); ++axis) shape[axis] = calls().Dim(value, static_cast<int>(axis));
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
  const std::span raw(static_cast<const std::byte*>(calls().TensorData(value)), calls().TensorByteSize(value));
  if (calls().TensorType(value) != tensorflow_type(dtype) ||
      raw.size() != static_cast<std::size_t>(count) * size_of(dtype))
    return fail("an output is not the {} that the signature says", info(dtype).name);
  return make_tensor(dtype, std::move(shape), {raw.begin(), raw.end()});
}

Expected<std::vector<SignatureTensor>> TensorflowModel::run(std::span<const SignatureTensor> values) {
  const api::Api& calls = impl_->calls();
  std::vector<api::Output> inputs, outputs;
  std::vector<Owned<api::Tensor>> tensors;
  std::vector<api::Tensor*> given;
  for (const SignatureTensor& value : values) {
    const auto port = impl_->inputs.find(value.name);
    if (port == impl_->inputs.end()) return fail("the model has no input '{}'", value.name);
    if (value.value.dtype != port->second.dtype)
      return fail("input '{}' is {}, the model takes {}", value.name, info(value.value.dtype).name,
                  info(port->second.dtype).name);
    inputs.push_back(port->second.output);
    TAPER_ASSIGN(Owned<api::Tensor> tensor, impl_->to_tensorflow(value.value));
    given.push_back(tensor.get());
    tensors.push_back(std::move(tensor));
  }
  if (inputs.size() != impl_->inputs.size())
    return fail("{} inputs, the model takes {}", inputs.size(), impl_->inputs.size());
  for (const auto& [name, port] : impl_->outputs) outputs.push_back(port.output);
  std::vector<api::Tensor*> fetched(outputs.size(), nullptr);
  const Status ran = impl_->checked("can't run the model", [&](api::Status* status) {
    calls.SessionRun(impl_->session.get(), nullptr, inputs.data(), given.data(), static_cast<int>(inputs.size()),
                     outputs.data(), fetched.data(), static_cast<int>(outputs.size()), nullptr, 0, nullptr, status);
  });
  for (api::Tensor* tensor : fetched)
    if (tensor != nullptr) tensors.push_back({tensor, Deleter{&calls}});
  TAPER_TRY(Status(ran));
  std::vector<SignatureTensor> results;
  for (const auto& [name, port] : impl_->outputs) {
    TAPER_ASSIGN(Tensor value, impl_->from_tensorflow(fetched[results.size()], port.dtype));
    results.push_back({name, std::move(value)});
  }
  return results;
}

}  // namespace taper
