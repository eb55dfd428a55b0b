// The part of ONNX Runtime's C API that is used here. The library hands out a table of functions whose beginning never
// changes: functions are known by their places in it, as in its onnxruntime_c_api.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace taper::onnxruntime_api {

struct Status;
struct Env;
struct SessionOptions;
struct Session;
struct Value;
struct MemoryInfo;
struct Allocator;
struct TypeAndShape;

constexpr std::uint32_t kApiVersion = 1;
constexpr int kLogError = 3;
constexpr int kArenaAllocator = 1;
constexpr int kDefaultMemory = 0;

// What OrtGetApiBase returns.
struct Base {
  void* const* (*GetApi)(std::uint32_t version);
  const char* (*GetVersionString)();
};

// place in the table, name, result, parameters
#define TAPER_ONNXRUNTIME_FUNCTIONS(F)                                                                                \
  F(2, GetErrorMessage, const char*, const Status*)                                                                   \
  F(3, CreateEnv, Status*, int, const char*, Env**)                                                                   \
  F(7, CreateSession, Status*, const Env*, const char*, const SessionOptions*, Session**)                             \
  F(9, Run, Status*, Session*, const void*, const char* const*, const Value* const*, std::size_t, const char* const*, \
    std::size_t, Value**)                                                                                             \
  F(10, CreateSessionOptions, Status*, SessionOptions**)                                                              \
  F(24, SetIntraOpNumThreads, Status*, SessionOptions*, int)                                                          \
  F(31, SessionGetOutputCount, Status*, const Session*, std::size_t*)                                                 \
  F(37, SessionGetOutputName, Status*, const Session*, std::size_t, Allocator*, char**)                               \
  F(49, CreateTensorWithDataAsOrtValue, Status*, const MemoryInfo*, void*, std::size_t, const std::int64_t*,          \
    std::size_t, int, Value**)                                                                                        \
  F(51, GetTensorMutableData, Status*, Value*, void**)                                                                \
  F(60, GetTensorElementType, Status*, const TypeAndShape*, int*)                                                     \
  F(61, GetDimensionsCount, Status*, const TypeAndShape*, std::size_t*)                                               \
  F(62, GetDimensions, Status*, const TypeAndShape*, std::int64_t*, std::size_t)                                      \
  F(65, GetTensorTypeAndShape, Status*, const Value*, TypeAndShape**)                                                 \
  F(69, CreateCpuMemoryInfo, Status*, int, int, MemoryInfo**)                                                         \
  F(76, AllocatorFree, Status*, Allocator*, void*)                                                                    \
  F(78, GetAllocatorWithDefaultOptions, Status*, Allocator**)                                                         \
  F(92, ReleaseEnv, void, Env*)                                                                                       \
  F(93, ReleaseStatus, void, Status*)                                                                                 \
  F(94, ReleaseMemoryInfo, void, MemoryInfo*)                                                                         \
  F(95, ReleaseSession, void, Session*)                                                                               \
  F(96, ReleaseValue, void, Value*)                                                                                   \
  F(99, ReleaseTensorTypeAndShapeInfo, void, TypeAndShape*)                                                           \
  F(100, ReleaseSessionOptions, void, SessionOptions*)

struct Api {
#define TAPER_DECLARE(place, name, result, ...) result (*name)(__VA_ARGS__) = nullptr;
  TAPER_ONNXRUNTIME_FUNCTIONS(TAPER_DECLARE)
#undef TAPER_DECLARE
};

}  // namespace taper::onnxruntime_api
