#include "formats/saved_model.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

#include <array>
#include <limits>

#include "base/mapped_file.h"

namespace taper {

using tensorflow::DataType;

namespace {

struct TypePair {
  DType dtype;
  DataType type;
};
constexpr std::array kTypes = {
    TypePair{DType::f64, tensorflow::DT_DOUBLE},   TypePair{DType::f32, tensorflow::DT_FLOAT},
    TypePair{DType::f16, tensorflow::DT_HALF},     TypePair{DType::bf16, tensorflow::DT_BFLOAT16},
    TypePair{DType::i64, tensorflow::DT_INT64},    TypePair{DType::i32, tensorflow::DT_INT32},
    TypePair{DType::i16, tensorflow::DT_INT16},    TypePair{DType::i8, tensorflow::DT_INT8},
    TypePair{DType::u8, tensorflow::DT_UINT8},     TypePair{DType::u16, tensorflow::DT_UINT16},
    TypePair{DType::u32, tensorflow::DT_UINT32},   TypePair{DType::u64, tensorflow::DT_UINT64},
    TypePair{DType::boolean, tensorflow::DT_BOOL},
};
static_assert(kTypes.size() == kDTypeCount);

}  // namespace

DataType tensorflow_type(DType dtype) {
  for (const TypePair& pair : kTypes)
    if (pair.dtype == dtype) return pair.type;
  return tensorflow::DT_INVALID;
}

std::optional<DType> dtype_from_tensorflow(DataType type) {
  for (const TypePair& pair : kTypes)
    if (pair.type == type) return pair.dtype;
  return std::nullopt;
}

Status write_saved_model(const tensorflow::SavedModel& model, const ByteSink& sink) {
  if (model.ByteSizeLong() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    return fail("the graph is larger than 2 GiB");
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream raw(&bytes);
    google::protobuf::io::CodedOutputStream coded(&raw);
    coded.SetSerializationDeterministic(true);
    model.SerializeToCodedStream(&coded);
  }
  return sink(as_bytes(bytes));
}

Expected<tensorflow::SavedModel> read_saved_model(Bytes file) {
  if (file.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    return fail("{} bytes, but a saved_model.pb is at most 2 GiB", file.size());
  tensorflow::SavedModel model;
  const google::protobuf::LogSilencer quiet;  // the library prints nothing
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())))
    return fail("not a SavedModel: its {} bytes are not a protobuf message of that schema", file.size());
  if (model.meta_graphs_size() != 1) return fail("{} graphs, expected one", model.meta_graphs_size());
  return model;
}

Expected<SavedModelContent> read_saved_model_folder(const std::filesystem::path& folder) {
  const auto map = [&](std::string_view name) { return map_file(folder / name); };
  SavedModelContent content;
  TAPER_ASSIGN(const SharedBytes model, map(kSavedModelFile));
  TAPER_ASSIGN_WITHIN(content.model, read_saved_model(model.view), fmt::format("in file '{}'", kSavedModelFile));
  TAPER_ASSIGN(const SharedBytes index, map(kBundleIndexFile));
  TAPER_ASSIGN(const SharedBytes data, map(kBundleDataFile));
  TAPER_ASSIGN_WITHIN(content.variables, read_tensor_bundle(index, data),
                      fmt::format("in file '{}'", kBundleIndexFile));
  return content;
}

Expected<Tensor> tensorflow_tensor(const tensorflow::TensorProto& message) {
  const auto dtype = dtype_from_tensorflow(message.dtype());
  if (!dtype) return fail("element type {} is not read", static_cast<int>(message.dtype()));
  if (message.tensor_shape().unknown_rank()) return fail("a constant of unknown rank");
  std::vector<std::int64_t> shape;
  for (const auto& dim : message.tensor_shape().dim()) shape.push_back(dim.size());
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
  const Bytes content = as_bytes(message.tensor_content());
  const auto size = checked_mul(count, static_cast<std::int64_t>(size_of(*dtype)));
  if (size && content.size() == static_cast<std::size_t>(*size) && message.float_val_size() == 0)
    return make_tensor(*dtype, std::move(shape), {content.begin(), content.end()});
  if (!size || !content.empty() || *dtype != DType::f32 || message.float_val_size() != 1)
    return fail("{} bytes of content for {} {}", content.size(), info(*dtype).name, shape_text(shape));
  // One number for all elements: it is stored once, whatever the shape says.
  const Tensor one = tensor_f32({}, std::array{message.float_val(0)});
  std::vector<std::int64_t> strides(shape.size(), 0);
  return make_view(*dtype, std::move(shape), std::move(strides), one.storage, 0);
}

}  // namespace taper
