#include "verify/litert.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>

#include "verify/captured_stderr.h"
#include "verify/litert_api.h"

namespace taper {

namespace fs = std::filesystem;

namespace litert {
namespace {

struct StatusName {
  StatusCode code;
  const char* name;
};
constexpr std::array kStatusNames = {
    StatusName{0, "ok"},
    StatusName{1, "invalid argument"},
    StatusName{2, "memory allocation failure"},
    StatusName{3, "runtime failure"},
    StatusName{4, "missing input tensor"},
    StatusName{5, "unsupported"},
    StatusName{6, "not found"},
    StatusName{7, "timeout expired"},
    StatusName{8, "wrong version"},
    StatusName{9, "unknown error"},
    StatusName{10, "already exists"},
    StatusName{100, "cancelled"},
    StatusName{500, "file input or output"},
    StatusName{501, "invalid flatbuffer"},
    StatusName{502, "dynamic loading"},
    StatusName{503, "serialization"},
    StatusName{504, "compilation"},
    StatusName{1000, "index out of bounds"},
    StatusName{1001, "invalid IR type"},
    StatusName{1002, "invalid graph invariant"},
};

struct TypePair {
  DType dtype;
  int element_type;
};
constexpr std::array kTypes = {
    TypePair{DType::f64, 11},    TypePair{DType::f32, 1},  TypePair{DType::f16, 10}, TypePair{DType::bf16, 19},
    TypePair{DType::i64, 4},     TypePair{DType::i32, 2},  TypePair{DType::i16, 7},  TypePair{DType::i8, 9},
    TypePair{DType::u8, 3},      TypePair{DType::u16, 17}, TypePair{DType::u32, 16}, TypePair{DType::u64, 13},
    TypePair{DType::boolean, 6},
};
static_assert(kTypes.size() == kDTypeCount);

std::optional<DType> dtype_of(int element_type) {
  for (const TypePair& pair : kTypes)
    if (pair.element_type == element_type) return pair.dtype;
  return std::nullopt;
}

}  // namespace

const char* status_name(StatusCode status) {
  for (const StatusName& entry : kStatusNames)
    if (entry.code == status) return entry.name;
  return "unknown status";
}

}  // namespace litert

namespace {

// Calls the right destroying function of the library.
struct Deleter {
  const litert::Api* api = nullptr;
  void operator()(litert::ModelT* model) const { api->DestroyModel(model); }
  void operator()(litert::OptionsT* options) const { api->DestroyOptions(options); }
  void operator()(litert::CompiledModelT* model) const { api->DestroyCompiledModel(model); }
  void operator()(litert::TensorBufferT* buffer) const { api->DestroyTensorBuffer(buffer); }
  void operator()(litert::EnvironmentT* environment) const { api->DestroyEnvironment(environment); }
};
template <class Handle>
using Owned = std::unique_ptr<Handle, Deleter>;

// ------------------------------------------------------------------------------------------------------------ finding

// A file `libLiteRt.version` beside the library says what it is where no package folder does.
std::string version_of(const fs::path& library) {
  if (std::string version = package_version(library, "ai_edge_litert"); !version.empty()) return version;
  fs::path note = library;
  std::ifstream stream(note.replace_extension(".version"));
  std::string version;
  stream >> version;
  return version;
}

}  // namespace

struct Litert::Impl {
  RuntimeInfo info;
  litert::Api api;
  Owned<litert::EnvironmentT> environment;
  std::string log;
};

struct LitertModel::Impl {
  std::shared_ptr<Litert::Impl> runtime;
  SharedBytes file;  // what the model was opened from, if from memory
  std::string log;
  Owned<litert::ModelT> model;
  Owned<litert::CompiledModelT> compiled;

  // One input or output of the first signature, in the order of the subgraph, which is the order of buffers in a run.
  struct Port {
    std::string name;
    DType dtype = DType::f32;
    int element_type = 0;
    std::vector<std::int64_t> shape;  // of the last run
    std::size_t capacity = 0;         // bytes of the buffer
    Owned<litert::TensorBufferT> buffer;
  };
  std::vector<Port> inputs, outputs;
  std::vector<std::string> input_names, output_names;
  bool allocated = false;    // the runtime has the shapes of `inputs`, and all ports have buffers
  std::size_t call_log = 0;  // where the lines of the last call begin in `log`

  const litert::Api& api() const { return runtime->api; }
  // Calls the runtime with its lines going to `log`.
  template <class Call>
  litert::StatusCode quietly(Call&& call) {
    call_log = log.size();
    const CapturedStderr capture(log);
    return call();
  }

  Status open_model(const fs::path* path);
  Status compile(int threads);
  Status read_signature();
  Expected<Port> read_port(litert::TensorHandle tensor, const char* name) const;
  Status resize(std::span<const SignatureTensor* const> values, const OutputShapes& expected);
  Expected<std::vector<std::vector<std::int64_t>>> output_shapes(bool allocate);
  Status make_buffer(Port& port, std::vector<std::int64_t> shape, std::size_t spare = 0);
  Status fill(Port& port, const Tensor& value);
  Status spoil(Port& port);
  Expected<Tensor> fetch(Port& port);
  Status run_once(std::span<const SignatureTensor* const> values, const OutputShapes& expected,
                  std::vector<SignatureTensor>& results);
  std::string messages();
};

std::vector<fs::path> litert_candidates() {
  if (const char* path = std::getenv("TAPER_LITERT"); path != nullptr && *path != '\0') return {path};
  std::vector<fs::path> found;
  std::error_code ignored;
  const auto add = [&](const fs::path& path) {
    if (fs::is_regular_file(path, ignored)) found.push_back(path);
  };
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !program.empty()) {
    add(program.parent_path() / "libLiteRt.so");
    add(program.parent_path().parent_path() / "lib" / "taper" / "libLiteRt.so");
  }
  std::ranges::move(installed_in_packages("ai_edge_litert/libLiteRt.so"), std::back_inserter(found));
  return found;
}

const RuntimeInfo& Litert::info() const {
  return impl_->info;
}

namespace {

Expected<litert::Api> load_api(const fs::path& path) {
  // Never unloaded: the library starts threads and leaves thread-local state behind.
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fail("{}", ::dlerror());
  // Came with the release that gave model creation its environment parameter.
  if (::dlsym(library, "LiteRtCreateModelFromFd") == nullptr)
    return fail("{}: older than LiteRT 2.1.6, or another library", path.string());
  litert::Api api;
  const char* missing = nullptr;
#define TAPER_LOAD(name, ...)                                                        \
  api.name = reinterpret_cast<decltype(api.name)>(::dlsym(library, "LiteRt" #name)); \
  if (api.name == nullptr) missing = "LiteRt" #name;
  TAPER_LITERT_FUNCTIONS(TAPER_LOAD)
#undef TAPER_LOAD
  if (missing != nullptr) return fail("{}: the function {} is missing", path.string(), missing);
  return api;
}

Expected<std::shared_ptr<Litert::Impl>> load_one(const fs::path& path) {
  auto impl = std::make_shared<Litert::Impl>();
  TAPER_ASSIGN(impl->api, load_api(path));
  impl->info = {"LiteRT", path, version_of(path)};
  // Without the first option the runtime looks for accelerators of GPUs and NPUs.
  const std::array options = {
      litert::EnvironmentOption{litert::kOptionAutoRegisterAccelerators, {litert::kAnyInt, litert::kAcceleratorCpu}},
      litert::EnvironmentOption{litert::kOptionMinLoggerSeverity, {litert::kAnyInt, litert::kSeverityError}},
  };
  litert::Environment environment = nullptr;
  litert::StatusCode status;
  {
    const CapturedStderr capture(impl->log);
    status = impl->api.CreateEnvironment(static_cast<int>(options.size()), options.data(), &environment);
  }
  if (status != 0) return fail("{}: {} {}", path.string(), litert::status_name(status), on_one_line(impl->log));
  impl->environment = {environment, Deleter{&impl->api}};
  return impl;
}

}  // namespace

Expected<Litert> load_litert(const std::vector<fs::path>& candidates) {
  const char* hint =
      "pip install ai-edge-litert, or name the file libLiteRt.so in the environment variable TAPER_LITERT";
  if (candidates.empty()) return fail_with_hint("LiteRT (libLiteRt.so) is not installed", hint);
  std::string reasons;
  for (const fs::path& path : candidates) {
    auto impl = load_one(path);
    if (impl) return Litert(std::move(*impl));
    reasons += (reasons.empty() ? "" : "; ") + impl.error().message;
  }
  return fail_with_hint(fmt::format("LiteRT can't be loaded: {}", reasons), hint);
}

// ------------------------------------------------------------------------------------------------------------ opening

std::string LitertModel::Impl::messages() {
  std::string text = on_one_line(std::string_view(log).substr(call_log));
  char* reported = nullptr;
  if (compiled && api().CompiledModelGetErrorMessages(compiled.get(), &reported) == 0 && reported != nullptr) {
    const std::string more = on_one_line(reported);
    if (!more.empty()) text += (text.empty() ? "" : "; ") + more;
    api().CompiledModelClearErrors(compiled.get());
  }
  std::free(reported);
  return text;
}

Status LitertModel::Impl::open_model(const fs::path* path) {
  litert::Model handle = nullptr;
  litert::Environment environment = runtime->environment.get();
  const auto status = quietly([&] {
    if (path != nullptr) return api().CreateModelFromFile(environment, path->c_str(), &handle);
    return api().CreateModelFromBuffer(environment, file.view.data(), file.view.size(), &handle);
  });
  if (status != 0) return fail("LiteRT can't read the model ({}): {}", litert::status_name(status), messages());
  model = {handle, Deleter{&api()}};
  return {};
}

Status LitertModel::Impl::compile(int threads) {
  litert::Options options = nullptr;
  if (const auto status = api().CreateOptions(&options); status != 0)
    return fail("LiteRT makes no options: {}", litert::status_name(status));
  const Owned<litert::OptionsT> owned(options, Deleter{&api()});
  api().SetOptionsHardwareAccelerators(options, litert::kAcceleratorCpu);
  // Options of the parts of the runtime are text in TOML under the part's name; the runtime takes them over.
  const auto add = [&](const char* part, const std::string& text) {
    litert::OpaqueOptions opaque = nullptr;
    char* payload = ::strdup(text.c_str());
    if (api().CreateOpaqueOptions(part, payload, std::free, &opaque) != 0) return std::free(payload);
    api().AddOpaqueOptions(options, opaque);
  };
  if (threads > 0) add("xnnpack", fmt::format("num_threads = {}\n", threads));
  add("runtime_options_string", "error_reporter_mode = 2\n");  // into a buffer, not to standard error

  litert::CompiledModel handle = nullptr;
  const auto status =
      quietly([&] { return api().CreateCompiledModel(runtime->environment.get(), model.get(), options, &handle); });
  if (status != 0) return fail("LiteRT can't compile the model ({}): {}", litert::status_name(status), messages());
  compiled = {handle, Deleter{&api()}};
  return {};
}

Expected<LitertModel::Impl::Port> LitertModel::Impl::read_port(litert::TensorHandle tensor, const char* name) const {
  litert::RankedType type{};
  if (const auto status = api().GetRankedTensorType(tensor, &type); status != 0)
    return fail("no type of '{}': {}", name, litert::status_name(status));
  const auto dtype = litert::dtype_of(type.element_type);
  if (!dtype) return fail("'{}' has element type {}, which can't be run here", name, type.element_type);
  Port port{.name = name, .dtype = *dtype, .element_type = type.element_type, .shape = {}, .buffer = {}};
  port.shape.assign(type.layout.dimensions, type.layout.dimensions + type.layout.rank);
  return port;
}

// Buffers are passed in the order of the subgraph's inputs and outputs, names are known to the signature, in an order
// of its own: the tensor handles tell which is which.
Status LitertModel::Impl::read_signature() {
  const litert::Api& calls = api();
  litert::Signature signature = nullptr;
  litert::Subgraph subgraph = nullptr;
  if (calls.GetModelSignature(model.get(), 0, &signature) != 0 || calls.GetSignatureSubgraph(signature, &subgraph) != 0)
    return fail("LiteRT finds no signature in the model");
  const auto read = [&](auto count_ports, auto port_at, auto count_names, auto name_at, auto tensor_at,
                        std::vector<Port>& ports, std::vector<std::string>& names) -> Status {
    std::size_t port_count = 0;
    std::size_t name_count = 0;
    if (count_ports(subgraph, &port_count) != 0 || count_names(signature, &name_count) != 0)
      return fail("LiteRT can't count the signature's values");
    std::vector<std::pair<litert::TensorHandle, const char*>> named;
    for (std::size_t i = 0; i < name_count; ++i) {
      auto& [tensor, name] = named.emplace_back();
      if (name_at(signature, i, &name) != 0 || tensor_at(signature, i, &tensor) != 0)
        return fail("LiteRT can't name value {} of the signature", i);
      names.emplace_back(name);
    }
    for (std::size_t i = 0; i < port_count; ++i) {
      litert::TensorHandle tensor = nullptr;
      if (port_at(subgraph, i, &tensor) != 0) return fail("LiteRT can't find value {} of the subgraph", i);
      const auto match = std::ranges::find(named, tensor, [](const auto& pair) { return pair.first; });
      if (match == named.end()) return fail("value {} of the subgraph has no name in the signature", i);
      TAPER_ASSIGN(Port port, read_port(tensor, match->second));
      ports.push_back(std::move(port));
    }
    return {};
  };
  TAPER_TRY(read(calls.GetNumSubgraphInputs, calls.GetSubgraphInput, calls.GetNumSignatureInputs,
                 calls.GetSignatureInputName, calls.GetSignatureInputTensorByIndex, inputs, input_names));
  return read(calls.GetNumSubgraphOutputs, calls.GetSubgraphOutput, calls.GetNumSignatureOutputs,
              calls.GetSignatureOutputName, calls.GetSignatureOutputTensorByIndex, outputs, output_names);
}

LitertModel::LitertModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LitertModel::LitertModel(LitertModel&&) noexcept = default;
LitertModel& LitertModel::operator=(LitertModel&&) noexcept = default;
LitertModel::~LitertModel() = default;

Expected<LitertModel> LitertModel::open(const Litert& runtime, const fs::path& path, int threads) {
  auto impl = std::make_unique<Impl>();
  impl->runtime = runtime.impl();
  const auto open = [&]() -> Status {
    TAPER_TRY(impl->open_model(&path));
    TAPER_TRY(impl->compile(threads));
    return impl->read_signature();
  };
  if (auto status = open(); !status)
    return std::unexpected(within(std::move(status).error(), fmt::format("in file '{}'", path.string())));
  return LitertModel(std::move(impl));
}

Expected<LitertModel> LitertModel::open(const Litert& runtime, const SharedBytes& file, int threads) {
  auto impl = std::make_unique<Impl>();
  impl->runtime = runtime.impl();
  impl->file = file;
  TAPER_TRY(impl->open_model(nullptr));
  TAPER_TRY(impl->compile(threads));
  TAPER_TRY(impl->read_signature());
  return LitertModel(std::move(impl));
}

const std::vector<std::string>& LitertModel::input_names() const {
  return impl_->input_names;
}
const std::vector<std::string>& LitertModel::output_names() const {
  return impl_->output_names;
}
std::string LitertModel::log() const {
  return impl_->runtime->log + impl_->log;
}

// ------------------------------------------------------------------------------------------------------------ running

namespace {

// What output buffers hold before a run, so that the result of the run before can't pass for that of this one.
constexpr int kStale = 0xa5;

// What outputs get beside twice what is expected of them where elements decide how large they come out: the runtime may
// write past the end of a buffer before it says that it is too small.
constexpr std::size_t kSpareBytes = std::size_t{1} << 16;

Expected<std::vector<int>> dimensions_of(const Tensor& tensor) {
  std::vector<int> result;
  for (const std::int64_t size : tensor.shape) {
    if (size <= 0 || size > std::numeric_limits<int>::max())
      return fail("shape {} can't be run in LiteRT", shape_text(tensor.shape));
    result.push_back(static_cast<int>(size));
  }
  if (result.size() > litert::kMaxRank) return fail("rank {} is above LiteRT's {}", result.size(), litert::kMaxRank);
  return result;
}

std::size_t byte_count(DType dtype, std::span<const std::int64_t> shape) {
  std::size_t count = size_of(dtype);
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  return count;
}

}  // namespace

Status LitertModel::Impl::make_buffer(Port& port, std::vector<std::int64_t> shape, std::size_t spare) {
  litert::TensorBuffer buffer = nullptr;
  std::size_t bytes = 0;
  const auto create = [&](std::int64_t least) {
    litert::RankedType type{};
    type.element_type = port.element_type;
    type.layout.rank = static_cast<std::uint32_t>(shape.size()) & 0x7fu;
    bytes = size_of(port.dtype);
    for (std::size_t i = 0; i < shape.size(); ++i) {
      type.layout.dimensions[i] = static_cast<std::int32_t>(std::max(shape[i], least));
      bytes *= static_cast<std::size_t>(type.layout.dimensions[i]);
    }
    if (spare > 0) bytes = 2 * bytes + spare;
    return api().CreateManagedTensorBuffer(runtime->environment.get(), litert::kHostMemory, &type, bytes, &buffer);
  };
  auto status = quietly([&] { return create(0); });
  // Of outputs without elements the runtime makes none.
  if (status != 0 && byte_count(port.dtype, shape) == 0) status = quietly([&] { return create(1); });
  if (status != 0)
    return fail("LiteRT makes no buffer for '{}' {}: {}", port.name, shape_text(shape), litert::status_name(status));
  port.buffer = {buffer, Deleter{&api()}};
  port.capacity = bytes;
  port.shape = std::move(shape);
  return {};
}

// The sizes of the outputs as far as the runtime knows them.
Expected<std::vector<std::vector<std::int64_t>>> LitertModel::Impl::output_shapes(bool allocate) {
  std::vector<litert::Layout> layouts(outputs.size());
  const auto status = quietly([&] {
    return api().GetCompiledModelOutputTensorLayouts(compiled.get(), 0, layouts.size(), layouts.data(), allocate);
  });
  if (status != 0)
    return fail("LiteRT can't allocate the model for these shapes ({}): {}", litert::status_name(status), messages());
  std::vector<std::vector<std::int64_t>> shapes;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (layouts[i].rank > litert::kMaxRank) return fail("output '{}' has rank {}", outputs[i].name, +layouts[i].rank);
    shapes.emplace_back(layouts[i].dimensions, layouts[i].dimensions + layouts[i].rank);
    if (std::ranges::any_of(shapes.back(), [](std::int64_t size) { return size < 0; }))
      return fail("LiteRT knows the shape of output '{}' only as {}", outputs[i].name, shape_text(shapes.back()));
  }
  return shapes;
}

// Gives the model the shapes of `values`, and every port a buffer of its size.
Status LitertModel::Impl::resize(std::span<const SignatureTensor* const> values, const OutputShapes& expected) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Port& port = inputs[i];
    const Tensor& value = values[i]->value;
    if (port.buffer && port.shape == value.shape) continue;
    allocated = false;
    if (port.shape != value.shape) {
      TAPER_ASSIGN_WITHIN(const std::vector<int> dims, dimensions_of(value), fmt::format("in input '{}'", port.name));
      const auto status =
          quietly([&] { return api().CompiledModelResizeInputTensor(compiled.get(), 0, i, dims.data(), dims.size()); });
      if (status != 0)
        return fail("LiteRT refuses shape {} for input '{}' ({}): {}", shape_text(value.shape), port.name,
                    litert::status_name(status), messages());
    }
    TAPER_TRY(make_buffer(port, value.shape));
  }
  if (!allocated) {
    TAPER_ASSIGN(std::vector<std::vector<std::int64_t>> shapes, output_shapes(true));
    for (std::size_t i = 0; i < outputs.size(); ++i) TAPER_TRY(make_buffer(outputs[i], std::move(shapes[i])));
    allocated = true;
  }
  // The elements of inputs, too, may decide how large an output comes out.
  for (Port& port : outputs) {
    const auto known = expected.find(port.name);
    if (known != expected.end() && byte_count(port.dtype, known->second) > port.capacity)
      TAPER_TRY(make_buffer(port, known->second, kSpareBytes));
  }
  return {};
}

Status LitertModel::Impl::fill(Port& port, const Tensor& value) {
  void* memory = nullptr;
  if (const auto status = api().LockTensorBuffer(port.buffer.get(), &memory, litert::kLockWrite); status != 0)
    return fail("LiteRT locks no buffer of '{}': {}", port.name, litert::status_name(status));
  convert_elements(value, port.dtype, {static_cast<std::byte*>(memory), byte_count(port.dtype, port.shape)});
  api().UnlockTensorBuffer(port.buffer.get());
  return {};
}

Status LitertModel::Impl::spoil(Port& port) {
  void* memory = nullptr;
  if (const auto status = api().LockTensorBuffer(port.buffer.get(), &memory, litert::kLockWrite); status != 0)
    return fail("LiteRT locks no buffer of '{}': {}", port.name, litert::status_name(status));
  std::memset(memory, kStale, port.capacity);
  api().UnlockTensorBuffer(port.buffer.get());
  return {};
}

Expected<Tensor> LitertModel::Impl::fetch(Port& port) {
  void* memory = nullptr;
  if (const auto status = api().LockTensorBuffer(port.buffer.get(), &memory, litert::kLockRead); status != 0)
    return fail("LiteRT locks no buffer of '{}': {}", port.name, litert::status_name(status));
  const std::span raw(static_cast<const std::byte*>(memory), byte_count(port.dtype, port.shape));
  std::vector<std::byte> bytes(raw.begin(), raw.end());
  api().UnlockTensorBuffer(port.buffer.get());
  return make_tensor(port.dtype, port.shape, std::move(bytes));
}

Status LitertModel::Impl::run_once(std::span<const SignatureTensor* const> values, const OutputShapes& expected,
                                   std::vector<SignatureTensor>& results) {
  TAPER_TRY(resize(values, expected));
  std::vector<litert::TensorBuffer> input_buffers;
  std::vector<litert::TensorBuffer> output_buffers;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    TAPER_TRY(fill(inputs[i], values[i]->value));
    input_buffers.push_back(inputs[i].buffer.get());
  }
  for (Port& port : outputs) {
    TAPER_TRY(spoil(port));
    output_buffers.push_back(port.buffer.get());
  }
  const auto status = quietly([&] {
    return api().RunCompiledModel(compiled.get(), 0, input_buffers.size(), input_buffers.data(), output_buffers.size(),
                                  output_buffers.data());
  });
  if (status != 0) return fail("LiteRT can't run the model ({}): {}", litert::status_name(status), messages());
  TAPER_ASSIGN(std::vector<std::vector<std::int64_t>> shapes, output_shapes(false));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Port& port = outputs[i];
    if (byte_count(port.dtype, shapes[i]) > port.capacity)
      return fail("output '{}' came out as {}, larger than its buffer", port.name, shape_text(shapes[i]));
    port.shape = std::move(shapes[i]);
    TAPER_ASSIGN(Tensor value, fetch(port));
    results.push_back({port.name, std::move(value)});
  }
  return {};
}

Expected<std::vector<SignatureTensor>> LitertModel::run(std::span<const SignatureTensor> values,
                                                        const OutputShapes& expected) {
  std::vector<const SignatureTensor*> ordered;
  for (const Impl::Port& port : impl_->inputs) {
    const auto match = std::ranges::find(values, port.name, &SignatureTensor::name);
    if (match == values.end()) return fail("input '{}' is missing", port.name);
    if (match->value.dtype != port.dtype)
      return fail("input '{}' is {}, the model takes {}", port.name, info(match->value.dtype).name,
                  info(port.dtype).name);
    ordered.push_back(&*match);
  }
  for (const SignatureTensor& value : values)
    if (std::ranges::find(impl_->inputs, value.name, &Impl::Port::name) == impl_->inputs.end())
      return fail("the model has no input '{}', only '{}'", value.name, fmt::join(impl_->input_names, "', '"));
  std::vector<SignatureTensor> results;
  TAPER_TRY(impl_->run_once(ordered, expected, results));
  return results;
}

}  // namespace taper
