#include "verify/onnxruntime.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "formats/onnx.h"
#include "verify/captured_stderr.h"
#include "verify/onnxruntime_api.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
namespace api = onnxruntime_api;

// Calls the right releasing function of the library.
struct Deleter {
  const api::Api* calls = nullptr;
  void operator()(api::Env* env) const { calls->ReleaseEnv(env); }
  void operator()(api::Status* status) const { calls->ReleaseStatus(status); }
  void operator()(api::MemoryInfo* memory) const { calls->ReleaseMemoryInfo(memory); }
  void operator()(api::Session* session) const { calls->ReleaseSession(session); }
  void operator()(api::SessionOptions* options) const { calls->ReleaseSessionOptions(options); }
  void operator()(api::Value* value) const { calls->ReleaseValue(value); }
  void operator()(api::TypeAndShape* type) const { calls->ReleaseTensorTypeAndShapeInfo(type); }
};
template <class Handle>
using Owned = std::unique_ptr<Handle, Deleter>;

// What a call reports, as a Status of ours.
Status checked(const api::Api& calls, std::string_view what, api::Status* status) {
  if (status == nullptr) return {};
  const Owned<api::Status> owned(status, Deleter{&calls});
  return fail("ONNX Runtime {}: {}", what, on_one_line(calls.GetErrorMessage(status)));
}

// libonnxruntime.so, or with a version behind it, in `folder`.
void add_libraries(const fs::path& folder, std::vector<fs::path>& found) {
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored))
    if (entry->path().filename().native().starts_with("libonnxruntime.so") &&
        fs::is_regular_file(entry->path(), ignored))
      found.push_back(entry->path());
}

}  // namespace

struct Onnxruntime::Impl {
  RuntimeInfo info;
  api::Api calls;
  Owned<api::Env> env;
  Owned<api::MemoryInfo> memory;
  api::Allocator* allocator = nullptr;  // the library's own
};

struct OnnxruntimeModel::Impl {
  std::shared_ptr<Onnxruntime::Impl> runtime;
  Owned<api::Session> session;
  std::vector<std::string> outputs;

  Expected<Owned<api::Value>> to_runtime(const Tensor& tensor) const;
  Expected<Tensor> from_runtime(api::Value* value) const;
};

std::vector<fs::path> onnxruntime_candidates() {
  std::error_code ignored;
  std::vector<fs::path> found;
  if (const char* path = std::getenv("TAPER_ONNXRUNTIME"); path != nullptr && *path != '\0') {
    if (!fs::is_directory(path, ignored)) return {path};
    add_libraries(path, found);
    if (found.empty()) found.emplace_back(path);
    return found;
  }
  for (const fs::path& file : installed_in_packages("onnxruntime/capi/__init__.py"))
    add_libraries(file.parent_path(), found);
  for (const char* folder : {"/usr/local/lib", "/usr/lib"}) add_libraries(folder, found);
  return found;
}

const RuntimeInfo& Onnxruntime::info() const {
  return impl_->info;
}

namespace {

Expected<std::shared_ptr<Onnxruntime::Impl>> load_one(const fs::path& path) {
  auto impl = std::make_shared<Onnxruntime::Impl>();
  // Never unloaded: it starts threads and leaves thread-local state behind.
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fail("{}", ::dlerror());
  const auto get_base = reinterpret_cast<const api::Base* (*)()>(::dlsym(library, "OrtGetApiBase"));
  if (get_base == nullptr) return fail("{}: the function OrtGetApiBase is missing", path.string());
  void* const* table = get_base()->GetApi(api::kApiVersion);
  if (table == nullptr) return fail("{}: it has no API of version {}", path.string(), api::kApiVersion);
#define TAPER_LOAD(place, name, ...) impl->calls.name = reinterpret_cast<decltype(impl->calls.name)>(table[place]);
  TAPER_ONNXRUNTIME_FUNCTIONS(TAPER_LOAD)
#undef TAPER_LOAD
  impl->info = {"ONNX Runtime", path, get_base()->GetVersionString()};
  const api::Api& calls = impl->calls;
  api::Env* env = nullptr;
  TAPER_TRY(checked(calls, "makes no environment", calls.CreateEnv(api::kLogError, "taper", &env)));
  impl->env = {env, Deleter{&calls}};
  api::MemoryInfo* memory = nullptr;
  TAPER_TRY(checked(calls, "describes no memory",
                    calls.CreateCpuMemoryInfo(api::kArenaAllocator, api::kDefaultMemory, &memory)));
  impl->memory = {memory, Deleter{&calls}};
  TAPER_TRY(checked(calls, "has no allocator", calls.GetAllocatorWithDefaultOptions(&impl->allocator)));
  return impl;
}

}  // namespace

Expected<Onnxruntime> load_onnxruntime(const std::vector<fs::path>& candidates) {
  const char* hint =
      "pip install onnxruntime, or name its library libonnxruntime.so in the environment variable TAPER_ONNXRUNTIME";
  if (candidates.empty()) return fail_with_hint("ONNX Runtime (libonnxruntime.so) is not installed", hint);
  std::string reasons;
  for (const fs::path& path : candidates) {
    auto impl = load_one(path);
    if (impl) return Onnxruntime(std::move(*impl));
    reasons += (reasons.empty() ? "" : "; ") + impl.error().message;
  }
  return fail_with_hint(fmt::format("ONNX Runtime can't be loaded: {}", reasons), hint);
}

// ---------------------------------------------------------------------------------------------------- opening, running

OnnxruntimeModel::OnnxruntimeModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OnnxruntimeModel::OnnxruntimeModel(OnnxruntimeModel&&) noexcept = default;
OnnxruntimeModel& OnnxruntimeModel::operator=(OnnxruntimeModel&&) noexcept = default;
OnnxruntimeModel::~OnnxruntimeModel() = default;

Expected<OnnxruntimeModel> OnnxruntimeModel::open(const Onnxruntime& runtime, const fs::path& path, int threads) {
  auto impl = std::make_unique<Impl>();
  impl->runtime = runtime.impl();
  const api::Api& calls = impl->runtime->calls;
  std::string log;
  const CapturedStderr capture(log);
  api::SessionOptions* options = nullptr;
  TAPER_TRY(checked(calls, "makes no options", calls.CreateSessionOptions(&options)));
  const Owned<api::SessionOptions> owned(options, Deleter{&calls});
  TAPER_TRY(checked(calls, "takes no threads", calls.SetIntraOpNumThreads(options, threads)));
  api::Session* session = nullptr;
  TAPER_TRY(checked(calls, "can't load the model",
                    calls.CreateSession(impl->runtime->env.get(), path.c_str(), options, &session)));
  impl->session = {session, Deleter{&calls}};
  std::size_t count = 0;
  TAPER_TRY(checked(calls, "can't count the outputs", calls.SessionGetOutputCount(session, &count)));
  for (std::size_t i = 0; i < count; ++i) {
    char* name = nullptr;
    TAPER_TRY(checked(calls, "can't name an output",
                      calls.SessionGetOutputName(session, i, impl->runtime->allocator, &name)));
    impl->outputs.emplace_back(name);
    TAPER_TRY(checked(calls, "can't free a name", calls.AllocatorFree(impl->runtime->allocator, name)));
  }
  return OnnxruntimeModel(std::move(impl));
}

// The value refers to the tensor's bytes.
Expected<Owned<api::Value>> OnnxruntimeModel::Impl::to_runtime(const Tensor& tensor) const {
  const api::Api& calls = runtime->calls;
  api::Value* value = nullptr;
  const Bytes bytes = tensor.bytes();
  // The runtime reads inputs only.
  auto* data = const_cast<std::byte*>(bytes.data());
  TAPER_TRY(checked(calls, "takes no input",
                    calls.CreateTensorWithDataAsOrtValue(runtime->memory.get(), data, bytes.size(), tensor.shape.data(),
                                                         tensor.shape.size(), onnx_type(tensor.dtype), &value)));
  return Owned<api::Value>(value, Deleter{&calls});
}

Expected<Tensor> OnnxruntimeModel::Impl::from_runtime(api::Value* value) const {
  const api::Api& calls = runtime->calls;
  api::TypeAndShape* type = nullptr;
  TAPER_TRY(checked(calls, "gives an output without type", calls.GetTensorTypeAndShape(value, &type)));
  const Owned<api::TypeAndShape> owned(type, Deleter{&calls});
  int element_type = 0;
  std::size_t rank = 0;
  void* data = nullptr;
  TAPER_TRY(checked(calls, "gives an output without type", calls.GetTensorElementType(type, &element_type)));
  TAPER_TRY(checked(calls, "gives an output without shape", calls.GetDimensionsCount(type, &rank)));
  std::vector<std::int64_t> shape(rank);
  TAPER_TRY(checked(calls, "gives an output without shape", calls.GetDimensions(type, shape.data(), rank)));
  const auto dtype = dtype_from_onnx(element_type);
  if (!dtype) return fail("an output has element type {}, which can't be compared here", element_type);
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
  TAPER_TRY(checked(calls, "gives an output without data", calls.GetTensorMutableData(value, &data)));
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size_of(*dtype));
  if (!bytes.empty()) std::memcpy(bytes.data(), data, bytes.size());
  return make_tensor(*dtype, std::move(shape), std::move(bytes));
}

Expected<std::vector<SignatureTensor>> OnnxruntimeModel::run(std::span<const SignatureTensor> inputs) {
  const api::Api& calls = impl_->runtime->calls;
  std::vector<const char*> input_names, output_names;
  std::vector<Owned<api::Value>> owned;
  std::vector<const api::Value*> values;
  for (const SignatureTensor& input : inputs) {
    TAPER_ASSIGN(Owned<api::Value> value, impl_->to_runtime(input.value));
    values.push_back(value.get());
    owned.push_back(std::move(value));
    input_names.push_back(input.name.c_str());
  }
  for (const std::string& name : impl_->outputs) output_names.push_back(name.c_str());
  std::vector<api::Value*> results(output_names.size(), nullptr);
  std::string log;
  {
    const CapturedStderr capture(log);
    TAPER_TRY(checked(calls, "can't run the model",
                      calls.Run(impl_->session.get(), nullptr, input_names.data(), values.data(), values.size(),
                                output_names.data(), output_names.size(), results.data())));
  }
  for (api::Value* result : results) owned.emplace_back(result, Deleter{&calls});
  std::vector<SignatureTensor> outputs;
  for (std::size_t i = 0; i < results.size(); ++i) {
    TAPER_ASSIGN(Tensor tensor, impl_->from_runtime(results[i]));
    outputs.push_back({impl_->outputs[i], std::move(tensor)});
  }
  return outputs;
}

}  // namespace taper
