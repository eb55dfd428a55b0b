#include "formats/tflite.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <string_view>

namespace taper {
namespace {

using tflite::TensorType;

// The flatbuffers library asserts that a buffer is smaller than this.
constexpr std::size_t kMaxFlatbuffer = (std::size_t{1} << 31) - 2;
constexpr std::size_t kDataAlignment = 16;
constexpr char kIdentifier[] = "TFL3";

struct TypePair {
  DType dtype;
  TensorType type;
};
constexpr std::array kTypes = {
    TypePair{DType::f64, TensorType::FLOAT64},  TypePair{DType::f32, TensorType::FLOAT32},
    TypePair{DType::f16, TensorType::FLOAT16},  TypePair{DType::bf16, TensorType::BFLOAT16},
    TypePair{DType::i64, TensorType::INT64},    TypePair{DType::i32, TensorType::INT32},
    TypePair{DType::i16, TensorType::INT16},    TypePair{DType::i8, TensorType::INT8},
    TypePair{DType::u8, TensorType::UINT8},     TypePair{DType::u16, TensorType::UINT16},
    TypePair{DType::u32, TensorType::UINT32},   TypePair{DType::u64, TensorType::UINT64},
    TypePair{DType::boolean, TensorType::BOOL},
};
static_assert(kTypes.size() == kDTypeCount);

// ------------------------------------------------------------------------------------------------------------ reading

// Calls `unpack` for each table of an optional vector.
template <class Table, class Out>
void unpack_all(const flatbuffers::Vector<flatbuffers::Offset<Table>>* tables, std::vector<Out>& out) {
  if (tables == nullptr) return;
  out.reserve(tables->size());
  for (const Table* table : *tables) out.emplace_back(table->UnPack());
}

Expected<SharedBytes> data_of(const tflite::Buffer& buffer, const SharedBytes& file) {
  // Offsets 0 and 1 mean "not behind the flatbuffer" (1 is a converter's placeholder).
  if (buffer.offset() > 1) {
    const std::size_t size = file.view.size();
    if (buffer.offset() > size || buffer.size() > size - buffer.offset())
      return fail("data at [{}, +{}) lies outside the file of {} bytes", buffer.offset(), buffer.size(), size);
    return file.sub(buffer.offset(), buffer.size());
  }
  if (buffer.data() == nullptr) return SharedBytes{};
  const auto* first = reinterpret_cast<const std::byte*>(buffer.data()->data());
  return file.sub(static_cast<std::size_t>(first - file.view.data()), buffer.data()->size());
}

Status check_index(std::int64_t index, std::int64_t lowest, std::size_t count, std::string_view what) {
  if (index >= lowest && index < static_cast<std::int64_t>(count)) return {};
  return fail("{} {} does not exist, there are {}", what, index, count);
}

Status check_subgraph(const tflite::SubGraphT& graph, const tflite::ModelT& model, std::size_t buffer_count) {
  const std::size_t tensor_count = graph.tensors.size();
  for (const auto& tensor : graph.tensors) TAPER_TRY(check_index(tensor->buffer, 0, buffer_count, "buffer"));
  for (const int index : graph.inputs) TAPER_TRY(check_index(index, 0, tensor_count, "input tensor"));
  for (const int index : graph.outputs) TAPER_TRY(check_index(index, 0, tensor_count, "output tensor"));
  for (const auto& op : graph.operators) {
    TAPER_TRY(check_index(op->opcode_index, 0, model.operator_codes.size(), "operator code"));
    for (const int index : op->inputs) TAPER_TRY(check_index(index, -1, tensor_count, "operand"));
    for (const int index : op->outputs) TAPER_TRY(check_index(index, 0, tensor_count, "result"));
  }
  return {};
}

Status check_signature(const tflite::SignatureDefT& signature, const tflite::ModelT& model) {
  TAPER_TRY(check_index(signature.subgraph_index, 0, model.subgraphs.size(), "subgraph"));
  const std::size_t tensor_count = model.subgraphs[signature.subgraph_index]->tensors.size();
  for (const auto& map : signature.inputs) TAPER_TRY(check_index(map->tensor_index, 0, tensor_count, "tensor"));
  for (const auto& map : signature.outputs) TAPER_TRY(check_index(map->tensor_index, 0, tensor_count, "tensor"));
  return {};
}

// Whatever names something by index names something that is there.
Status check_references(const tflite::ModelT& model, std::size_t buffer_count) {
  for (std::size_t i = 0; i < model.subgraphs.size(); ++i)
    if (auto status = check_subgraph(*model.subgraphs[i], model, buffer_count); !status)
      return std::unexpected(within(std::move(status).error(), fmt::format("in subgraph {}", i)));
  for (const auto& signature : model.signature_defs)
    if (auto status = check_signature(*signature, model); !status)
      return std::unexpected(
          within(std::move(status).error(), fmt::format("in signature '{}'", signature->signature_key)));
  for (const auto& entry : model.metadata)
    if (auto status = check_index(entry->buffer, 0, buffer_count, "buffer"); !status)
      return std::unexpected(within(std::move(status).error(), fmt::format("in metadata '{}'", entry->name)));
  return {};
}

// ------------------------------------------------------------------------------------------------------------ writing

// The whole flatbuffer but for the buffers' data, which follows it: `buffers[i]` is where table i lies in `bytes`.
struct Head {
  flatbuffers::DetachedBuffer bytes;
  std::vector<std::size_t> buffers;
};

// The offsets of `values`, each packed by its own table type.
template <class Table, class Value>
flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<Table>>> pack_all(
    flatbuffers::FlatBufferBuilder& builder, const std::vector<std::unique_ptr<Value>>& values) {
  std::vector<flatbuffers::Offset<Table>> offsets;
  offsets.reserve(values.size());
  for (const auto& value : values) offsets.push_back(Table::Pack(builder, value.get()));
  return offsets.empty() ? 0 : builder.CreateVector(offsets);
}

template <class T>
flatbuffers::Offset<flatbuffers::Vector<T>> pack_numbers(flatbuffers::FlatBufferBuilder& builder,
                                                         const std::vector<T>& numbers) {
  return numbers.empty() ? 0 : builder.CreateVector(numbers);
}

// Vectors that several tensors have: shapes, and zero points, which take eight bytes each, one per channel, and are
// nearly all zero. Each is written once.
class SharedVectors {
 public:
  explicit SharedVectors(flatbuffers::FlatBufferBuilder& builder) : builder_(builder) {}

  flatbuffers::Offset<flatbuffers::Vector<std::int32_t>> pack(const std::vector<std::int32_t>& numbers) {
    return pack(numbers, sizes_);
  }
  flatbuffers::Offset<flatbuffers::Vector<std::int64_t>> pack(const std::vector<std::int64_t>& numbers) {
    return pack(numbers, zero_points_);
  }

 private:
  template <class T>
  using Known = std::map<std::vector<T>, flatbuffers::Offset<flatbuffers::Vector<T>>>;

  template <class T>
  flatbuffers::Offset<flatbuffers::Vector<T>> pack(const std::vector<T>& numbers, Known<T>& known) {
    auto& packed = known[numbers];
    if (packed.IsNull()) packed = pack_numbers(builder_, numbers);
    return packed;
  }

  flatbuffers::FlatBufferBuilder& builder_;
  Known<std::int32_t> sizes_;
  Known<std::int64_t> zero_points_;
};

flatbuffers::Offset<tflite::QuantizationParameters> pack_quantization(flatbuffers::FlatBufferBuilder& builder,
                                                                      const tflite::QuantizationParametersT& given,
                                                                      SharedVectors& shared) {
  const auto zero_points = shared.pack(given.zero_point);
  const auto least = pack_numbers(builder, given.min), largest = pack_numbers(builder, given.max);
  const auto scales = pack_numbers(builder, given.scale);
  return tflite::CreateQuantizationParameters(builder, least, largest, scales, zero_points, given.details.type,
                                              given.details.Pack(builder), given.quantized_dimension);
}

flatbuffers::Offset<tflite::Tensor> pack_tensor(flatbuffers::FlatBufferBuilder& builder, const tflite::TensorT& tensor,
                                                SharedVectors& shared) {
  if (tensor.sparsity != nullptr || !tensor.variant_tensors.empty()) return tflite::Tensor::Pack(builder, &tensor);
  const auto quantization = tensor.quantization == nullptr ? flatbuffers::Offset<tflite::QuantizationParameters>()
                                                           : pack_quantization(builder, *tensor.quantization, shared);
  const auto shape = shared.pack(tensor.shape), signature = shared.pack(tensor.shape_signature);
  const auto name = tensor.name.empty() ? 0 : builder.CreateString(tensor.name);
  return tflite::CreateTensor(builder, shape, tensor.type, tensor.buffer, name, quantization, tensor.is_variable, 0,
                              signature, tensor.has_rank, 0, tensor.external_buffer);
}

flatbuffers::Offset<tflite::SubGraph> pack_subgraph(flatbuffers::FlatBufferBuilder& builder,
                                                    const tflite::SubGraphT& subgraph, SharedVectors& shared) {
  std::vector<flatbuffers::Offset<tflite::Tensor>> tensors;
  tensors.reserve(subgraph.tensors.size());
  for (const auto& tensor : subgraph.tensors) tensors.push_back(pack_tensor(builder, *tensor, shared));
  const auto tensor_vector = tensors.empty() ? 0 : builder.CreateVector(tensors);
  const auto inputs = pack_numbers(builder, subgraph.inputs), outputs = pack_numbers(builder, subgraph.outputs);
  const auto operators = pack_all<tflite::Operator>(builder, subgraph.operators);
  const auto name = subgraph.name.empty() ? 0 : builder.CreateString(subgraph.name);
  return tflite::CreateSubGraph(builder, tensor_vector, inputs, outputs, operators, name,
                                subgraph.debug_metadata_index);
}

std::vector<std::unique_ptr<tflite::OperatorCodeT>> with_deprecated_codes(const tflite::ModelT& model) {
  std::vector<std::unique_ptr<tflite::OperatorCodeT>> codes;
  for (const auto& code : model.operator_codes) {
    auto copy = std::make_unique<tflite::OperatorCodeT>(*code);
    const auto limit = tflite::BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES;
    copy->deprecated_builtin_code = static_cast<std::int8_t>(std::min(code->builtin_code, limit));
    codes.push_back(std::move(copy));
  }
  return codes;
}

// A buffer table has either a vector `data`, still empty, or `offset` and `size`, still 1: both are patched when the
// data has found its place.
Head build_head(const tflite::ModelT& model, std::span<const WeightSource> buffers, bool external) {
  flatbuffers::FlatBufferBuilder builder(1 << 16);
  const auto codes = pack_all<tflite::OperatorCode>(builder, with_deprecated_codes(model));
  SharedVectors shared(builder);
  std::vector<flatbuffers::Offset<tflite::SubGraph>> packed;
  packed.reserve(model.subgraphs.size());
  for (const auto& subgraph : model.subgraphs) packed.push_back(pack_subgraph(builder, *subgraph, shared));
  const auto subgraphs = packed.empty() ? 0 : builder.CreateVector(packed);
  const auto description = model.description.empty() ? 0 : builder.CreateString(model.description);
  const auto no_data = builder.CreateVector(std::vector<std::uint8_t>{});
  std::vector<flatbuffers::Offset<tflite::Buffer>> tables;
  for (const WeightSource& source : buffers) {
    tflite::BufferBuilder table(builder);
    if (source.byte_count() > 0 && external) {
      table.add_offset(1);
      table.add_size(1);
    } else if (source.byte_count() > 0) {
      table.add_data(no_data);
    }
    tables.push_back(table.Finish());
  }
  const auto buffer_vector = builder.CreateVector(tables);
  const auto metadata_buffer = model.metadata_buffer.empty() ? 0 : builder.CreateVector(model.metadata_buffer);
  const auto metadata = pack_all<tflite::Metadata>(builder, model.metadata);
  const auto signatures = pack_all<tflite::SignatureDef>(builder, model.signature_defs);
  const auto groups = pack_all<tflite::ExternalBufferGroup>(builder, model.external_buffer_groups);
  const auto externals = pack_all<tflite::ExternalBuffer>(builder, model.external_buffers);
  builder.Finish(tflite::CreateModel(builder, 3, codes, subgraphs, description, buffer_vector, metadata_buffer,
                                     metadata, signatures, groups, externals),
                 kIdentifier);
  Head head;
  // Offsets count from the end of the buffer, which grows towards its front.
  for (const auto& table : tables) head.buffers.push_back(builder.GetSize() - table.o);
  head.bytes = builder.Release();
  return head;
}

template <class T>
void patch(Head& head, std::size_t table, flatbuffers::voffset_t field, T value) {
  auto* fields = reinterpret_cast<flatbuffers::Table*>(head.bytes.data() + table);
  flatbuffers::WriteScalar(fields->GetAddressOf(field), value);
}

// Where the data of each buffer begins in the file, and the file's size. Inside the flatbuffer a length of 4 bytes
// stands before each.
struct Layout {
  std::vector<std::uint64_t> data;
  std::uint64_t end = 0;
};

Layout lay_out(std::size_t head_size, std::span<const WeightSource> buffers, std::uint64_t prefix) {
  Layout layout{.data = {}, .end = head_size};
  for (const WeightSource& source : buffers) {
    const std::uint64_t bytes = source.byte_count();
    const std::uint64_t start =
        bytes == 0 ? 0 : (layout.end + prefix + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
    layout.data.push_back(start);
    if (bytes > 0) layout.end = start + bytes;
  }
  return layout;
}

void place_buffers(Head& head, std::span<const WeightSource> buffers, const Layout& layout, bool external) {
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (layout.data[i] == 0) continue;
    const std::size_t table = head.buffers[i];
    if (external) {
      patch(head, table, tflite::Buffer::VT_OFFSET, layout.data[i]);
      patch(head, table, tflite::Buffer::VT_SIZE, buffers[i].byte_count());
    } else {
      // A reference counts from the place where it is stored.
      const auto* fields = reinterpret_cast<const flatbuffers::Table*>(head.bytes.data() + table);
      const auto place = static_cast<std::uint64_t>(fields->GetAddressOf(tflite::Buffer::VT_DATA) - head.bytes.data());
      const std::uint64_t vector = layout.data[i] - sizeof(std::uint32_t);
      patch(head, table, tflite::Buffer::VT_DATA, static_cast<flatbuffers::uoffset_t>(vector - place));
    }
  }
}

Status stream_data(std::uint64_t position, std::span<const WeightSource> buffers, const Layout& layout, bool external,
                   const ByteSink& sink) {
  constexpr std::array<std::byte, 2 * kDataAlignment> kZeros{};
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (layout.data[i] == 0) continue;
    const std::uint64_t prefix = external ? 0 : sizeof(std::uint32_t);
    TAPER_TRY(sink(std::span(kZeros).first(layout.data[i] - prefix - position)));
    if (!external) {
      const auto length = static_cast<std::uint32_t>(buffers[i].byte_count());
      TAPER_TRY(sink(std::as_bytes(std::span(&length, 1))));
    }
    TAPER_TRY(stream_elements(buffers[i], sink));
    position = layout.data[i] + buffers[i].byte_count();
  }
  return {};
}

}  // namespace

Expected<TfliteFile> read_tflite(const SharedBytes& file) {
  if (reinterpret_cast<std::uintptr_t>(file.view.data()) % kDataAlignment != 0) {
    // Structure is read in place, so it has to be aligned; a mapped file is.
    return read_tflite(share(std::vector<std::byte>(file.view.begin(), file.view.end())));
  }
  if (file.view.size() < 8 || as_text(file.view.subspan(4, 4)) != kIdentifier)
    return fail("not a TFLite file: the identifier 'TFL3' is missing at byte 4");
  const auto* data = reinterpret_cast<const std::uint8_t*>(file.view.data());
  flatbuffers::Verifier verifier(data, std::min(file.view.size(), kMaxFlatbuffer), 64, 1'000'000);
  if (!tflite::VerifyModelBuffer(verifier))
    return fail("the structure of the TFLite file is damaged: the flatbuffers verifier rejects it");
  const tflite::Model* model = tflite::GetModel(data);
  if (model->version() != 3) return fail("TFLite schema version {}, expected 3", model->version());

  TfliteFile result;
  result.model.version = model->version();
  unpack_all(model->operator_codes(), result.model.operator_codes);
  unpack_all(model->subgraphs(), result.model.subgraphs);
  if (model->description() != nullptr) result.model.description = model->description()->str();
  if (model->metadata_buffer() != nullptr)
    result.model.metadata_buffer.assign(model->metadata_buffer()->begin(), model->metadata_buffer()->end());
  unpack_all(model->metadata(), result.model.metadata);
  unpack_all(model->signature_defs(), result.model.signature_defs);
  unpack_all(model->external_buffer_groups(), result.model.external_buffer_groups);
  unpack_all(model->external_buffers(), result.model.external_buffers);
  if (model->buffers() != nullptr)
    for (const tflite::Buffer* buffer : *model->buffers()) {
      TAPER_ASSIGN_WITHIN(SharedBytes bytes, data_of(*buffer, file),
                          fmt::format("in buffer {}", result.buffers.size()));
      result.buffers.push_back(std::move(bytes));
    }
  // Files from before builtin_code existed have only the old, narrower field; both are to be read as the larger one.
  for (auto& code : result.model.operator_codes)
    code->builtin_code =
        std::max(code->builtin_code, static_cast<tflite::BuiltinOperator>(code->deprecated_builtin_code));
  TAPER_TRY(check_references(result.model, result.buffers.size()));
  return result;
}

Status write_tflite(const tflite::ModelT& model, std::span<const WeightSource> buffers, const ByteSink& sink,
                    const TfliteWriteOptions& options) {
  if (!model.buffers.empty()) return fail("{} buffers in the model, expected them apart from it", model.buffers.size());
  if (buffers.empty() || buffers[0].byte_count() != 0) return fail("buffer 0 must be there and empty");
  TAPER_TRY(check_references(model, buffers.size()));

  Head head = build_head(model, buffers, false);
  Layout layout = lay_out(head.bytes.size(), buffers, sizeof(std::uint32_t));
  const bool external = layout.end > options.external_above;
  if (external) {
    head = build_head(model, buffers, true);
    layout = lay_out(head.bytes.size(), buffers, 0);
  }
  place_buffers(head, buffers, layout, external);
  TAPER_TRY(sink(std::as_bytes(std::span(head.bytes.data(), head.bytes.size()))));
  return stream_data(head.bytes.size(), buffers, layout, external, sink);
}

std::optional<TensorType> tflite_type(DType dtype) {
  for (const TypePair& pair : kTypes)
    if (pair.dtype == dtype) return pair.type;
  return std::nullopt;
}

std::optional<DType> dtype_from_tflite(TensorType type) {
  for (const TypePair& pair : kTypes)
    if (pair.type == type) return pair.dtype;
  return std::nullopt;
}

Expected<Tensor> tflite_constant(const TfliteFile& file, const tflite::TensorT& tensor) {
  const auto where = [&] { return fmt::format("in tensor '{}'", tensor.name); };
  const auto dtype = dtype_from_tflite(tensor.type);
  if (!dtype) return fail("no tensors of type {} here / {}", tflite::EnumNameTensorType(tensor.type), where());
  if (tensor.buffer >= file.buffers.size() || file.buffers[tensor.buffer].view.empty())
    return fail("not a constant: its buffer {} has no data / {}", tensor.buffer, where());
  std::vector<std::int64_t> shape(tensor.shape.begin(), tensor.shape.end());
  TAPER_ASSIGN_WITHIN([[maybe_unused]] const std::int64_t count, checked_element_count(shape), where());
  std::vector<std::int64_t> strides = row_major_strides(shape);
  TAPER_ASSIGN_WITHIN(Tensor view,
                      make_view(*dtype, std::move(shape), std::move(strides), file.buffers[tensor.buffer], 0), where());
  if (static_cast<std::uint64_t>(view.byte_count()) != view.storage.view.size())
    return std::unexpected(within(
        fail("{} needs {} bytes, its buffer holds {}", describe(view), view.byte_count(), view.storage.view.size())
            .error(),
        where()));
  return view;
}

}  // namespace taper
