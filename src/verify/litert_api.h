// The part of LiteRT's C API (litert/c) that is needed to run a model on the CPU, as libLiteRt.so exports it
// since 2.1.6. Types are declared here so that nothing of LiteRT has to be installed to build.
#pragma once

#include <cstddef>
#include <cstdint>

namespace taper::litert {

using StatusCode = int;  // 0 is success; the code's name comes from status_name()

struct EnvironmentT;
struct ModelT;
struct SignatureT;
struct SubgraphT;
struct TensorT;
struct OptionsT;
struct OpaqueOptionsT;
struct CompiledModelT;
struct TensorBufferT;
using Environment = EnvironmentT*;
using Model = ModelT*;
using Signature = SignatureT*;
using Subgraph = SubgraphT*;
using TensorHandle = TensorT*;
using Options = OptionsT*;
using OpaqueOptions = OpaqueOptionsT*;
using CompiledModel = CompiledModelT*;
using TensorBuffer = TensorBufferT*;

// A tagged value; only integers are passed here.
struct Any {
  int type;
  std::int64_t value;
};
constexpr int kAnyInt = 2;

struct EnvironmentOption {
  int tag;
  Any value;
};
constexpr int kOptionAutoRegisterAccelerators = 24;
constexpr int kOptionMinLoggerSeverity = 25;
constexpr int kSeverityError = 3;

constexpr int kAcceleratorCpu = 1;

constexpr std::size_t kMaxRank = 8;
struct Layout {
  std::uint32_t rank : 7;
  std::uint32_t has_strides : 1;
  std::int32_t dimensions[kMaxRank];
  std::uint32_t strides[kMaxRank];
};
struct RankedType {
  int element_type;
  Layout layout;
};
static_assert(sizeof(EnvironmentOption) == 24 && sizeof(Layout) == 68 && sizeof(RankedType) == 72);

constexpr int kHostMemory = 1;
constexpr int kLockRead = 0;
constexpr int kLockWrite = 1;

// X(name, result, parameters...): what is called; the library's symbol is LiteRt + name.
#define TAPER_LITERT_FUNCTIONS(X)                                                                                     \
  X(CreateEnvironment, StatusCode, int, const EnvironmentOption*, Environment*)                                       \
  X(DestroyEnvironment, void, Environment)                                                                            \
  X(CreateModelFromFile, StatusCode, Environment, const char*, Model*)                                                \
  X(CreateModelFromBuffer, StatusCode, Environment, const void*, std::size_t, Model*)                                 \
  X(DestroyModel, void, Model)                                                                                        \
  X(GetNumModelSignatures, StatusCode, Model, std::size_t*)                                                           \
  X(GetModelSignature, StatusCode, Model, std::size_t, Signature*)                                                    \
  X(GetSignatureSubgraph, StatusCode, Signature, Subgraph*)                                                           \
  X(GetNumSignatureInputs, StatusCode, Signature, std::size_t*)                                                       \
  X(GetSignatureInputName, StatusCode, Signature, std::size_t, const char**)                                          \
  X(GetSignatureInputTensorByIndex, StatusCode, Signature, std::size_t, TensorHandle*)                                \
  X(GetNumSignatureOutputs, StatusCode, Signature, std::size_t*)                                                      \
  X(GetSignatureOutputName, StatusCode, Signature, std::size_t, const char**)                                         \
  X(GetSignatureOutputTensorByIndex, StatusCode, Signature, std::size_t, TensorHandle*)                               \
  X(GetNumSubgraphInputs, StatusCode, Subgraph, std::size_t*)                                                         \
  X(GetSubgraphInput, StatusCode, Subgraph, std::size_t, TensorHandle*)                                               \
  X(GetNumSubgraphOutputs, StatusCode, Subgraph, std::size_t*)                                                        \
  X(GetSubgraphOutput, StatusCode, Subgraph, std::size_t, TensorHandle*)                                              \
  X(GetRankedTensorType, StatusCode, TensorHandle, RankedType*)                                                       \
  X(CreateOptions, StatusCode, Options*)                                                                              \
  X(DestroyOptions, void, Options)                                                                                    \
  X(SetOptionsHardwareAccelerators, StatusCode, Options, int)                                                         \
  X(CreateOpaqueOptions, StatusCode, const char*, void*, void (*)(void*), OpaqueOptions*)                             \
  X(AddOpaqueOptions, StatusCode, Options, OpaqueOptions)                                                             \
  X(CreateCompiledModel, StatusCode, Environment, Model, Options, CompiledModel*)                                     \
  X(DestroyCompiledModel, void, CompiledModel)                                                                        \
  X(CompiledModelResizeInputTensor, StatusCode, CompiledModel, std::size_t, std::size_t, const int*, std::size_t)     \
  X(GetCompiledModelOutputTensorLayouts, StatusCode, CompiledModel, std::size_t, std::size_t, Layout*, bool)          \
  X(CompiledModelGetErrorMessages, StatusCode, CompiledModel, char**)                                                 \
  X(CompiledModelClearErrors, StatusCode, CompiledModel)                                                              \
  X(RunCompiledModel, StatusCode, CompiledModel, std::size_t, std::size_t, TensorBuffer*, std::size_t, TensorBuffer*) \
  X(CreateManagedTensorBuffer, StatusCode, Environment, int, const RankedType*, std::size_t, TensorBuffer*)           \
  X(DestroyTensorBuffer, void, TensorBuffer)                                                                          \
  X(LockTensorBuffer, StatusCode, TensorBuffer, void**, int)                                                          \
  X(UnlockTensorBuffer, StatusCode, TensorBuffer)

// The functions of a loaded library.
struct Api {
#define TAPER_DECLARE(name, result, ...) result (*name)(__VA_ARGS__) = nullptr;
  TAPER_LITERT_FUNCTIONS(TAPER_DECLARE)
#undef TAPER_DECLARE
};

// LiteRtStatus by name, as litert_common.h lists it.
const char* status_name(StatusCode status);

}  // namespace taper::litert
