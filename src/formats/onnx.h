// ONNX files: bytes <-> protobuf messages, and libonnx as the judge of what was written. The only header that includes
// ONNX's own.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/tensor.h"
#include "formats/weights.h"

namespace taper {

// One initializer of the main graph: its name, and its value, which is written as `raw_data` in row-major order.
struct OnnxWeight {
  std::string name;
  WeightSource source;
};

// Where weights go that don't fit into a protobuf message (2 GiB): a second file, named relative to the model's folder.
struct OnnxExternalData {
  std::string file_name;
  ByteSink sink;
};

// Reads a model; at most 2 GiB. Errors: not a protobuf message, no graph, no IR version, no opset.
Expected<onnx::ModelProto> read_onnx(Bytes file);

// A model whose weights lie in its file.
struct MappedOnnx {
  onnx::ModelProto model;
  std::vector<SharedBytes>
      weights;  // the raw_data of each initializer of the main graph; empty where the message has it
};

// The same without a copy of large weights: the result shares the file's owner.
Expected<MappedOnnx> read_onnx(const SharedBytes& file);

// Whether a model has to be written with external data.
bool needs_external_data(const onnx::ModelProto& model, std::span<const OnnxWeight> weights);

// Writes `model` with `weights` appended to the initializers of its main graph. Without `external` the weights are
// streamed into the file itself; with it, those of 1 KiB and more go to its sink, aligned to 4096 bytes. Memory: the
// model without its weights, and one piece of a weight. Errors: a dtype that ONNX has no name for, more than 2 GiB
// without `external`, what a sink returns.
Status write_onnx(const onnx::ModelProto& model, std::span<const OnnxWeight> weights, const ByteSink& sink,
                  const OnnxExternalData* external = nullptr);

// Runs libonnx's checker and its strict, full shape inference on `model` with `weights` as initializers of its main
// graph. Only what shape inference may read is shown to it as a value: weights up to 4 KiB. Larger ones, here and in
// `model` itself, are declared as typed graph inputs, so nothing large is copied. Errors: libonnx's own words.
Status check_onnx(const onnx::ModelProto& model, std::span<const OnnxWeight> weights = {});

// ONNX's element type of a dtype and back. Every DType has one.
onnx::TensorProto::DataType onnx_type(DType dtype);
std::optional<DType> dtype_from_onnx(int data_type);

// The dtype that keeps the values of an element type of ONNX: dtype_from_onnx, and float32 for float8 and float4, int8
// and uint8 for integers of 2 and 4 bits.
std::optional<DType> widened_dtype(int data_type);
// `count` elements of one of the small types, from the bytes that raw_data has, as their widened dtype. Errors: another
// number of bytes.
Expected<std::vector<std::byte>> widen_small_elements(int data_type, Bytes packed, std::int64_t count);

// The folder of a model, whose files hold its external data. Each is mapped once. Without a folder there are none.
class OnnxFolder {
 public:
  OnnxFolder() = default;
  explicit OnnxFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // The file `location`, a path relative to the folder. Errors: an absolute path, one that leaves the folder, a
  // symbolic link on the way, no regular file.
  Expected<SharedBytes> file(const std::string& location);
  // All files mapped so far.
  const std::map<std::string, SharedBytes, std::less<>>& files() const { return files_; }

 private:
  std::filesystem::path folder_;
  std::map<std::string, SharedBytes, std::less<>> files_;
};

// The value of a tensor message in its widened dtype, without a copy where it lies in raw_data or in a file of
// `folder`; `owner` keeps the message alive. `raw`, unless empty, takes the place of raw_data. Errors: as for
// onnx_tensor; external data outside of its file.
Expected<Tensor> onnx_tensor(const onnx::TensorProto& message, OnnxFolder& folder, std::shared_ptr<const void> owner,
                             const SharedBytes& raw = {});

// What newer versions of ONNX's schema than the library's say: the overload that a node calls or that a function is,
// and the defaults of a function's attributes.
std::string onnx_overload(const onnx::NodeProto& node);
std::string onnx_overload(const onnx::FunctionProto& function);
std::vector<onnx::AttributeProto> onnx_defaults(const onnx::FunctionProto& function);

// The value of a tensor message: raw_data is copied, typed fields are converted. Errors: external data, an element type
// without a DType, a count of elements that is not the shape's.
Expected<Tensor> onnx_tensor(const onnx::TensorProto& message);

}  // namespace taper
