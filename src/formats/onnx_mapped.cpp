// Reads a model without copying its weights: their bytes stay where they lie in the file.
#include <algorithm>

#include "formats/onnx.h"

namespace taper {
namespace {

constexpr std::uint64_t kMappedFrom = 4096;  // bytes of a weight that is worth it

// A field of a message on the wire: its number, its whole extent with the tag, and the payload of one that has a
// length.
struct WireField {
  std::uint32_t number = 0;
  bool has_length = false;
  Bytes whole, payload;
};

// Reads the fields of a message one after another. What doesn't read as a field ends it with an error; libprotobuf
// then tells what is wrong.
class WireReader {
 public:
  explicit WireReader(Bytes bytes) : bytes_(bytes) {}
  bool at_end() const { return offset_ == bytes_.size(); }

  std::optional<WireField> next() {
    const std::size_t begin = offset_;
    const auto tag = varint();
    if (!tag || *tag >> 3 == 0 || *tag >> 3 > 0x1fffffff) return std::nullopt;
    WireField field{.number = static_cast<std::uint32_t>(*tag >> 3), .has_length = false, .whole = {}, .payload = {}};
    std::uint64_t length = 0;
    switch (*tag & 7) {
      case 0:
        if (!varint()) return std::nullopt;
        break;
      case 1:
        length = 8;
        break;
      case 2: {
        const auto given = varint();
        if (!given) return std::nullopt;
        length = *given;
        field.has_length = true;
        break;
      }
      case 5:
        length = 4;
        break;
      default:
        return std::nullopt;
    }
    if (length > bytes_.size() - offset_) return std::nullopt;
    field.payload = bytes_.subspan(offset_, static_cast<std::size_t>(length));
    offset_ += static_cast<std::size_t>(length);
    field.whole = bytes_.subspan(begin, offset_ - begin);
    return field;
  }

 private:
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && offset_ < bytes_.size(); shift += 7) {
      const auto byte = std::to_integer<std::uint64_t>(bytes_[offset_++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  Bytes bytes_;
  std::size_t offset_ = 0;
};

void append(std::string& out, Bytes bytes) {
  out.append(as_text(bytes));
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void append_message(std::string& out, std::uint32_t number, const std::string& message) {
  append_varint(out, std::uint64_t{number} << 3 | 2);
  append_varint(out, message.size());
  out += message;
}

// A message with some of its fields replaced: `take` gives the new content of a field, or nothing to keep it. False
// where the bytes are no message.
template <class Take>
bool rewrite_fields(Bytes message, std::string& out, Take take) {
  WireReader reader(message);
  while (!reader.at_end()) {
    const auto field = reader.next();
    if (!field) return false;
    if (!take(*field)) append(out, field->whole);
  }
  return true;
}

}  // namespace

Expected<MappedOnnx> read_onnx(const SharedBytes& file) {
  using onnx::GraphProto, onnx::ModelProto, onnx::TensorProto;
  MappedOnnx result;
  std::string skeleton;
  const auto place = [&](Bytes part) {
    return file.sub(static_cast<std::size_t>(part.data() - file.view.data()), part.size());
  };
  const auto take_tensor = [&](const WireField& field, std::string& graph) {
    if (field.number != GraphProto::kInitializerFieldNumber || !field.has_length) return false;
    SharedBytes weight;
    std::string tensor;
    const bool read = rewrite_fields(field.payload, tensor, [&](const WireField& part) {
      if (part.number != TensorProto::kRawDataFieldNumber || part.payload.size() < kMappedFrom) return false;
      weight = place(part.payload);
      return true;
    });
    if (read) append_message(graph, field.number, tensor);
    result.weights.push_back(read ? std::move(weight) : SharedBytes{});
    return read;
  };
  bool graphs = false;
  const bool read = rewrite_fields(file.view, skeleton, [&](const WireField& field) {
    // A graph in several pieces is one for protobuf to join.
    if (field.number != ModelProto::kGraphFieldNumber || !field.has_length || graphs) return false;
    graphs = true;
    std::string graph;
    if (!rewrite_fields(field.payload, graph, [&](const WireField& part) { return take_tensor(part, graph); }))
      return false;
    append_message(skeleton, field.number, graph);
    return true;
  });
  if (!read)
    return fail_with_hint(
        fmt::format("not an ONNX file: its {} bytes are not a protobuf message of ONNX's schema", file.view.size()),
        "the file is probably truncated, or not ONNX: copy or download it again");
  TAPER_ASSIGN(result.model, read_onnx(as_bytes(skeleton)));
  // Whatever did not go as planned: then weights don't match.
  result.weights.resize(static_cast<std::size_t>(result.model.graph().initializer_size()));
  return result;
}

}  // namespace taper
