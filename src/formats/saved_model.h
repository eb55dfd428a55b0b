// TensorFlow's SavedModel: its protobuf messages, and the tensor bundle that holds its variables. The only header that
// includes what protoc makes of schema/tensorflow.proto.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/tensor.h"
#include "formats/schema/tensorflow.pb.h"
#include "formats/weights.h"

namespace taper {

// The files of a SavedModel, relative to its folder.
inline constexpr std::string_view kSavedModelFile = "saved_model.pb";
inline constexpr std::string_view kBundleIndexFile = "variables/variables.index";
inline constexpr std::string_view kBundleDataFile = "variables/variables.data-00000-of-00001";

// A variable: its name in the graph and in the bundle, and its value.
struct SavedModelVariable {
  std::string name;
  WeightSource source;
};

// A SavedModel without the values of its variables, and those.
struct SavedModelFile {
  tensorflow::SavedModel model;
  std::vector<SavedModelVariable> variables;
};

// ---------------------------------------------------------------------------------------------------------- writing

// The model's message, the same bytes for the same model (maps are sorted by key). Errors: more than 2 GiB.
Status write_saved_model(const tensorflow::SavedModel& model, const ByteSink& sink);

// Writes a bundle of one shard: to `data` the values, row-major and little-endian, in the order of their names, each
// checksummed while it passes; to `index` the table that names them (leveldb's format: the empty key holds
// BundleHeaderProto, each name BundleEntryProto). Nothing is copied. Errors: two variables of one name, no name, what a
// sink returns.
Status write_tensor_bundle(std::span<const SavedModelVariable> variables, const ByteSink& data, const ByteSink& index);

// ---------------------------------------------------------------------------------------------------------- reading

// Parses a model. Errors: not a protobuf message of this kind, not exactly one graph.
Expected<tensorflow::SavedModel> read_saved_model(Bytes file);

// The tensors of a bundle of one shard, which share the storage of `data`. Errors: not a table, checksums that are
// wrong, entries outside the data, compressed or sliced tensors, dtypes that aren't numbers.
Expected<std::map<std::string, Tensor>> read_tensor_bundle(const SharedBytes& index, const SharedBytes& data);

// A whole folder; the variables are mapped.
struct SavedModelContent {
  tensorflow::SavedModel model;
  std::map<std::string, Tensor> variables;
};
Expected<SavedModelContent> read_saved_model_folder(const std::filesystem::path& folder);

// TensorFlow's element type of a dtype and back. Every DType has one.
tensorflow::DataType tensorflow_type(DType dtype);
std::optional<DType> dtype_from_tensorflow(tensorflow::DataType type);

// The value of a constant: its bytes are copied; one float_val may stand for all elements. Errors: a count of bytes
// that is not the shape's, values in other fields.
Expected<Tensor> tensorflow_tensor(const tensorflow::TensorProto& message);

}  // namespace taper
