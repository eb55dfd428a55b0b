#include "formats/onnx.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <onnx/checker.h>
#include <onnx/shape_inference/implementation.h>

#include <array>
#include <limits>

namespace taper {
namespace {

using google::protobuf::io::CodedOutputStream;
using onnx::TensorProto;

struct TypePair {
  DType dtype;
  TensorProto::DataType type;
};
constexpr std::array kTypes = {
    TypePair{DType::f64, TensorProto::DOUBLE},   TypePair{DType::f32, TensorProto::FLOAT},
    TypePair{DType::f16, TensorProto::FLOAT16},  TypePair{DType::bf16, TensorProto::BFLOAT16},
    TypePair{DType::i64, TensorProto::INT64},    TypePair{DType::i32, TensorProto::INT32},
    TypePair{DType::i16, TensorProto::INT16},    TypePair{DType::i8, TensorProto::INT8},
    TypePair{DType::u8, TensorProto::UINT8},     TypePair{DType::u16, TensorProto::UINT16},
    TypePair{DType::u32, TensorProto::UINT32},   TypePair{DType::u64, TensorProto::UINT64},
    TypePair{DType::boolean, TensorProto::BOOL},
};
static_assert(kTypes.size() == kDTypeCount);

// A protobuf message is at most this long.
constexpr std::uint64_t kMaxMessage = std::numeric_limits<std::int32_t>::max();
// Initializers up to this size are shown to shape inference: it reads shapes, axes, starts and sizes, never weights.
constexpr std::uint64_t kShownBytes = 4096;
constexpr std::uint64_t kExternalFrom = 1024;
constexpr std::uint64_t kExternalAlignment = 4096;

// Tags of the wire format: (field number << 3) | 2, a length-delimited field.
constexpr std::uint32_t length_delimited(int field) {
  return static_cast<std::uint32_t>(field) << 3 | 2;
}

std::uint64_t varint_size(std::uint64_t value) {
  return CodedOutputStream::VarintSize64(value);
}

// The size of a length-delimited field with its tag and length; tags here take one byte.
std::uint64_t field_size(std::uint64_t payload) {
  return 1 + varint_size(payload) + payload;
}

// Appends a tag and a length.
void put_prefix(std::string& out, int field, std::uint64_t length) {
  google::protobuf::io::StringOutputStream raw(&out);
  CodedOutputStream coded(&raw);
  coded.WriteTag(length_delimited(field));
  coded.WriteVarint64(length);
}

// The message of a weight but for its value.
TensorProto header_of(const OnnxWeight& weight) {
  TensorProto tensor;
  tensor.set_name(weight.name);
  tensor.set_data_type(onnx_type(weight.source.dtype));
  for (const std::int64_t size : weight.source.tensor.shape) tensor.add_dims(size);
  return tensor;
}

void refer_to(TensorProto& tensor, const std::string& file_name, std::uint64_t offset, std::uint64_t length) {
  tensor.set_data_location(TensorProto::EXTERNAL);
  const auto entry = [&](const char* key, std::string value) {
    auto* pair = tensor.add_external_data();
    pair->set_key(key);
    pair->set_value(std::move(value));
  };
  entry("location", file_name);
  entry("offset", std::to_string(offset));
  entry("length", std::to_string(length));
}

// One initializer on the wire: the serialised message without its value, and how long the value is that follows.
struct WireTensor {
  std::string header;
  std::uint64_t inline_bytes = 0;  // length of raw_data; the field is absent if 0
  std::uint64_t size() const { return header.size() + (inline_bytes > 0 ? field_size(inline_bytes) : 0); }
};

// Lays out the weights, those that go to the external file in its order.
std::vector<WireTensor> wire_tensors(std::span<const OnnxWeight> weights, const OnnxExternalData* external) {
  std::vector<WireTensor> result;
  std::uint64_t position = 0;
  for (const OnnxWeight& weight : weights) {
    TensorProto header = header_of(weight);
    WireTensor wire{.header = {}, .inline_bytes = weight.source.byte_count()};
    if (external != nullptr && wire.inline_bytes >= kExternalFrom) {
      position = (position + kExternalAlignment - 1) / kExternalAlignment * kExternalAlignment;
      refer_to(header, external->file_name, position, wire.inline_bytes);
      position += wire.inline_bytes;
      wire.inline_bytes = 0;
    } else if (wire.inline_bytes == 0) {
      header.set_raw_data("");  // an empty tensor has a value too
    }
    header.SerializeToString(&wire.header);
    result.push_back(std::move(wire));
  }
  return result;
}

Status write_external(std::span<const OnnxWeight> weights, const ByteSink& sink) {
  std::uint64_t position = 0;
  const std::vector<std::byte> zeros(kExternalAlignment);
  for (const OnnxWeight& weight : weights) {
    const std::uint64_t bytes = weight.source.byte_count();
    if (bytes < kExternalFrom) continue;
    const std::uint64_t padding = (kExternalAlignment - position % kExternalAlignment) % kExternalAlignment;
    TAPER_TRY(sink(std::span(zeros).first(padding)));
    TAPER_TRY(stream_elements(weight.source, sink));
    position += padding + bytes;
  }
  return {};
}

// -------------------------------------------------------------------------------------------------------- judging

void declare_input(onnx::GraphProto& graph, const std::string& name, int type, std::span<const std::int64_t> shape) {
  // Before IR version 4 initializers were declared as inputs already.
  for (const auto& input : graph.input())
    if (input.name() == name) return;
  auto* input = graph.add_input();
  input->set_name(name);
  auto* tensor = input->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  auto* dims = tensor->mutable_shape();
  for (const std::int64_t size : shape) dims->add_dim()->set_dim_value(size);
}

// `model` with all initializers, the large ones replaced by graph inputs of their type and shape.
onnx::ModelProto skeleton_of(const onnx::ModelProto& model, std::span<const OnnxWeight> weights) {
  onnx::ModelProto skeleton;
  const onnx::GraphProto& graph = model.graph();
  skeleton.set_ir_version(model.ir_version());
  *skeleton.mutable_opset_import() = model.opset_import();
  *skeleton.mutable_functions() = model.functions();
  skeleton.set_producer_name(model.producer_name());
  onnx::GraphProto& target = *skeleton.mutable_graph();
  target.set_name(graph.name());
  *target.mutable_node() = graph.node();
  *target.mutable_input() = graph.input();
  *target.mutable_output() = graph.output();
  *target.mutable_value_info() = graph.value_info();
  *target.mutable_sparse_initializer() = graph.sparse_initializer();
  for (const TensorProto& tensor : graph.initializer()) {
    if (tensor.raw_data().size() > kShownBytes)
      declare_input(target, tensor.name(), tensor.data_type(),
                    std::span(tensor.dims().data(), static_cast<std::size_t>(tensor.dims_size())));
    else
      *target.add_initializer() = tensor;
  }
  for (const OnnxWeight& weight : weights) {
    const WeightSource& source = weight.source;
    if (source.byte_count() > kShownBytes) {
      declare_input(target, weight.name, onnx_type(source.dtype), source.tensor.shape);
      continue;
    }
    TensorProto* tensor = target.add_initializer();
    *tensor = header_of(weight);
    std::string value(source.byte_count(), '\0');
    convert_elements(source.tensor, source.dtype, std::as_writable_bytes(std::span(value)));
    tensor->set_raw_data(std::move(value));
  }
  return skeleton;
}

// -------------------------------------------------------------------------------------------------------- tensors

// The typed field that holds elements of `type` where raw_data doesn't, as ONNX's schema assigns them; half floats lie
// as bits in int32_data.
Expected<Tensor> from_typed_field(const TensorProto& message, DType dtype, const std::vector<std::int64_t>& shape,
                                  std::int64_t count) {
  const auto build = [&](const auto& field, DType stored) -> Expected<Tensor> {
    if (field.size() != count) return fail("{} elements, expected {} for {}", field.size(), count, shape_text(shape));
    const auto raw = std::as_bytes(std::span(field.data(), static_cast<std::size_t>(field.size())));
    Tensor tensor = make_tensor(stored, shape, {raw.begin(), raw.end()});
    if (stored == dtype) return tensor;
    if (dtype == DType::f16 || dtype == DType::bf16) {
      tensor = converted(tensor, DType::u16);
      tensor.dtype = dtype;
      return tensor;
    }
    return converted(tensor, dtype);
  };
  switch (dtype) {
    case DType::f32:
      return build(message.float_data(), DType::f32);
    case DType::f64:
      return build(message.double_data(), DType::f64);
    case DType::i64:
      return build(message.int64_data(), DType::i64);
    case DType::u32:
    case DType::u64:
      return build(message.uint64_data(), DType::u64);
    default:
      return build(message.int32_data(), DType::i32);
  }
}

}  // namespace

Expected<onnx::ModelProto> read_onnx(Bytes file) {
  if (file.size() > kMaxMessage) return fail("{} bytes, but an ONNX file is at most 2 GiB", file.size());
  onnx::ModelProto model;
  const google::protobuf::LogSilencer quiet;  // the library prints nothing
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())))
    return fail_with_hint(
        fmt::format("not an ONNX file: its {} bytes are not a protobuf message of ONNX's schema", file.size()),
        "the file is probably truncated, or not ONNX: copy or download it again");
  if (!model.has_graph() || !model.has_ir_version() || model.opset_import_size() == 0)
    return fail_with_hint(fmt::format("not an ONNX file: no {}", !model.has_graph()        ? "graph"
                                                                 : !model.has_ir_version() ? "IR version"
                                                                                           : "opset"),
                          "give the file that torch.onnx.export or another exporter of ONNX wrote");
  return model;
}

bool needs_external_data(const onnx::ModelProto& model, std::span<const OnnxWeight> weights) {
  std::uint64_t bytes = model.ByteSizeLong();
  // Headers, names and lengths take less than 1 KiB a weight.
  for (const OnnxWeight& weight : weights) bytes += weight.source.byte_count() + 1024;
  return bytes > kMaxMessage;
}

Status write_onnx(const onnx::ModelProto& model, std::span<const OnnxWeight> weights, const ByteSink& sink,
                  const OnnxExternalData* external) {
  if (external == nullptr && needs_external_data(model, weights))
    return fail("the model is larger than 2 GiB and needs external data");
  // What is written is the serialised model in which the graph is the last field and its new initializers are the
  // graph's last ones: fields may stand in any order, so theirs can be streamed.
  onnx::ModelProto rest;
  rest.CopyFrom(model);
  rest.clear_graph();
  std::string graph_bytes;
  model.graph().SerializeToString(&graph_bytes);

  const std::vector<WireTensor> tensors = wire_tensors(weights, external);
  std::uint64_t graph_size = graph_bytes.size();
  for (const WireTensor& tensor : tensors) graph_size += field_size(tensor.size());

  std::string piece;
  rest.SerializeToString(&piece);
  put_prefix(piece, onnx::ModelProto::kGraphFieldNumber, graph_size);
  TAPER_TRY(sink(as_bytes(piece)));
  TAPER_TRY(sink(as_bytes(graph_bytes)));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const WireTensor& tensor = tensors[i];
    piece.clear();
    put_prefix(piece, onnx::GraphProto::kInitializerFieldNumber, tensor.size());
    piece += tensor.header;
    if (tensor.inline_bytes > 0) put_prefix(piece, TensorProto::kRawDataFieldNumber, tensor.inline_bytes);
    TAPER_TRY(sink(as_bytes(piece)));
    if (tensor.inline_bytes > 0) TAPER_TRY(stream_elements(weights[i].source, sink));
  }
  if (external != nullptr) TAPER_TRY(write_external(weights, external->sink));
  return {};
}

Status check_onnx(const onnx::ModelProto& model, std::span<const OnnxWeight> weights) {
  onnx::ModelProto skeleton = skeleton_of(model, weights);
  try {
    onnx::checker::check_model(skeleton);
    const onnx::ShapeInferenceOptions strict{/*check_type=*/true, /*strict_mode=*/1, /*data_prop=*/true};
    onnx::shape_inference::InferShapes(skeleton, onnx::OpSchemaRegistry::Instance(), strict);
  } catch (const std::exception& error) {
    return fail("libonnx rejects the model: {}", error.what());
  }
  return {};
}

TensorProto::DataType onnx_type(DType dtype) {
  for (const TypePair& pair : kTypes)
    if (pair.dtype == dtype) return pair.type;
  return TensorProto::UNDEFINED;
}

std::optional<DType> dtype_from_onnx(int data_type) {
  for (const TypePair& pair : kTypes)
    if (pair.type == data_type) return pair.dtype;
  return std::nullopt;
}

Expected<Tensor> onnx_tensor(const TensorProto& message) {
  const std::string where = fmt::format("in tensor '{}'", message.name());
  const auto dtype = dtype_from_onnx(message.data_type());
  if (!dtype) return std::unexpected(within(fail("element type {} is not read", message.data_type()).error(), where));
  if (message.data_location() == TensorProto::EXTERNAL)
    return std::unexpected(within(fail("its value lies in another file").error(), where));
  std::vector<std::int64_t> shape(message.dims().begin(), message.dims().end());
  TAPER_ASSIGN_WITHIN(const std::int64_t count, checked_element_count(shape), where);
  if (!message.has_raw_data()) {
    TAPER_ASSIGN_WITHIN(Tensor tensor, from_typed_field(message, *dtype, shape, count), where);
    return tensor;
  }
  const auto raw = as_bytes(message.raw_data());
  const auto expected = checked_mul<std::uint64_t>(static_cast<std::uint64_t>(count), size_of(*dtype));
  if (!expected || raw.size() != *expected)
    return std::unexpected(within(
        fail("{} bytes of raw_data for {} {}", raw.size(), info(*dtype).name, shape_text(shape)).error(), where));
  return make_tensor(*dtype, std::move(shape), {raw.begin(), raw.end()});
}

}  // namespace taper
