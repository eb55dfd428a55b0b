// The part of TensorFlow's C API that is used here: declarations as in its tensorflow/c/c_api.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace taper::tensorflow_api {

struct Status;
struct Graph;
struct SessionOptions;
struct Session;
struct Operation;
struct Tensor;
struct Buffer;

// Result `index` of an operation, TF_Output.
struct Output {
  Operation* operation;
  int index;
};

// name without the prefix TF_, result, parameters
#define TAPER_TENSORFLOW_FUNCTIONS(F)                                                                                \
  F(Version, const char*, void)                                                                                      \
  F(NewStatus, Status*, void)                                                                                        \
  F(DeleteStatus, void, Status*)                                                                                     \
  F(GetCode, int, const Status*)                                                                                     \
  F(Message, const char*, const Status*)                                                                             \
  F(NewGraph, Graph*, void)                                                                                          \
  F(DeleteGraph, void, Graph*)                                                                                       \
  F(NewSessionOptions, SessionOptions*, void)                                                                        \
  F(DeleteSessionOptions, void, SessionOptions*)                                                                     \
  F(SetConfig, void, SessionOptions*, const void*, std::size_t, Status*)                                             \
  F(LoadSessionFromSavedModel, Session*, const SessionOptions*, const Buffer*, const char*, const char* const*, int, \
    Graph*, Buffer*, Status*)                                                                                        \
  F(CloseSession, void, Session*, Status*)                                                                           \
  F(DeleteSession, void, Session*, Status*)                                                                          \
  F(GraphOperationByName, Operation*, Graph*, const char*)                                                           \
  F(SessionRun, void, Session*, const Buffer*, const Output*, Tensor* const*, int, const Output*, Tensor**, int,     \
    const Operation* const*, int, Buffer*, Status*)                                                                  \
  F(AllocateTensor, Tensor*, int, const std::int64_t*, int, std::size_t)                                             \
  F(DeleteTensor, void, Tensor*)                                                                                     \
  F(TensorType, int, const Tensor*)                                                                                  \
  F(NumDims, int, const Tensor*)                                                                                     \
  F(Dim, std::int64_t, const Tensor*, int)                                                                           \
  F(TensorByteSize, std::size_t, const Tensor*)                                                                      \
  F(TensorData, void*, const Tensor*)

struct Api {
#define TAPER_DECLARE(name, result, ...) result (*name)(__VA_ARGS__) = nullptr;
  TAPER_TENSORFLOW_FUNCTIONS(TAPER_DECLARE)
#undef TAPER_DECLARE
};

}  // namespace taper::tensorflow_api
