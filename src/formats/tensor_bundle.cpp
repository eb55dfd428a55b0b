// The tensor bundle of a SavedModel: raw tensors in one file, a table of leveldb's format that names them in another.
// leveldb writes the table. It is read here, because leveldb's reader allocates whatever size a table declares.
#include <google/protobuf/stubs/logging.h>
#include <leveldb/env.h>
#include <leveldb/options.h>
#include <leveldb/table_builder.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "formats/crc32c.h"
#include "formats/saved_model.h"

namespace taper {
namespace {

Status to_status(const leveldb::Status& status) {
  if (status.ok()) return {};
  return fail("{}", status.ToString());
}

// Collects the table, which is small: a name and some 20 bytes per variable.
class TableText : public leveldb::WritableFile {
 public:
  const std::string& text() const { return text_; }
  leveldb::Status Append(const leveldb::Slice& data) override {
    text_.append(data.data(), data.size());
    return {};
  }
  leveldb::Status Close() override { return {}; }
  leveldb::Status Flush() override { return {}; }
  leveldb::Status Sync() override { return {}; }

 private:
  std::string text_;
};

leveldb::Options table_options() {
  leveldb::Options options;
  options.compression = leveldb::kNoCompression;
  options.block_size = 256 << 10;
  return options;
}

std::string serialized(const google::protobuf::MessageLite& message) {
  std::string bytes;
  message.SerializeToString(&bytes);
  return bytes;
}

tensorflow::BundleHeaderProto bundle_header() {
  tensorflow::BundleHeaderProto header;
  header.set_num_shards(1);
  header.set_endianness(tensorflow::BundleHeaderProto::LITTLE);
  header.mutable_version()->set_producer(1);
  return header;
}

// Streams a value and says where it lies. `position` is the length of the data so far.
Expected<tensorflow::BundleEntryProto> write_value(const WeightSource& source, std::int64_t position,
                                                   const ByteSink& data) {
  std::uint32_t crc = 0;
  const ByteSink checksummed = [&](Bytes bytes) -> Status {
    // In pieces that stay in the cache between the checksum and the copy.
    constexpr std::size_t kPiece = 256 << 10;
    for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
      const Bytes piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      crc = crc32c(piece, crc);
      TAPER_TRY(data(piece));
    }
    return {};
  };
  TAPER_TRY(stream_elements(source, checksummed));
  tensorflow::BundleEntryProto entry;
  entry.set_dtype(tensorflow_type(source.dtype));
  for (const std::int64_t size : source.tensor.shape) entry.mutable_shape()->add_dim()->set_size(size);
  entry.set_offset(position);
  entry.set_size(static_cast<std::int64_t>(source.byte_count()));
  entry.set_crc32c(masked_crc32c(crc));
  return entry;
}

Expected<Tensor> read_value(const tensorflow::BundleEntryProto& entry, const SharedBytes& data) {
  const auto dtype = dtype_from_tensorflow(entry.dtype());
  if (!dtype) return fail("element type {} is not read", static_cast<int>(entry.dtype()));
  if (entry.shard_id() != 0) return fail("it lies in shard {}, one shard is read", entry.shard_id());
  std::vector<std::int64_t> shape;
  for (const auto& dim : entry.shape().dim()) shape.push_back(dim.size());
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
  const auto size = checked_mul(count, static_cast<std::int64_t>(size_of(*dtype)));
  const auto available = static_cast<std::int64_t>(data.view.size());
  if (!size || *size != entry.size())
    return fail("{} bytes for {} {}", entry.size(), info(*dtype).name, shape_text(shape));
  if (entry.offset() < 0 || entry.offset() > available || *size > available - entry.offset())
    return fail("{} bytes from {} on of a file of {}", *size, entry.offset(), available);
  const SharedBytes bytes = data.sub(static_cast<std::size_t>(entry.offset()), static_cast<std::size_t>(*size));
  if (masked_crc32c(crc32c(bytes.view)) != entry.crc32c()) return fail("the checksum of its bytes is wrong");
  std::vector<std::int64_t> strides = row_major_strides(shape);
  return make_view(*dtype, std::move(shape), std::move(strides), bytes, 0);
}

}  // namespace

Status write_tensor_bundle(std::span<const SavedModelVariable> variables, const ByteSink& data, const ByteSink& index) {
  std::vector<const SavedModelVariable*> sorted;
  for (const SavedModelVariable& variable : variables) sorted.push_back(&variable);
  std::ranges::sort(sorted, {},
                    [](const SavedModelVariable* variable) -> const std::string& { return variable->name; });
  TableText table;
  leveldb::TableBuilder builder(table_options(), &table);
  builder.Add(leveldb::Slice(), serialized(bundle_header()));
  std::int64_t position = 0;
  const std::string* last = nullptr;
  Status status;
  for (const SavedModelVariable* variable : sorted) {
    const std::string& name = variable->name;
    if (name.empty() || (last != nullptr && *last == name)) {
      status = fail("two variables are named '{}', or one has no name", name);
      break;
    }
    const auto entry = write_value(variable->source, position, data);
    if (!entry) {
      status = std::unexpected(within(entry.error(), fmt::format("in variable '{}'", name)));
      break;
    }
    builder.Add(name, serialized(*entry));
    position += entry->size();
    last = &name;
  }
  if (!status) {
    builder.Abandon();
    return status;
  }
  TAPER_TRY(to_status(builder.Finish()));
  return index(as_bytes(table.text()));
}

namespace {

// ---- the table (leveldb's doc/table_format.md): blocks, each with a byte of kind and a checksum behind it, and a
// footer that says where the block of blocks lies

struct Handle {
  std::uint64_t offset;
  std::uint64_t size;
};

Expected<std::uint64_t> take_varint(ByteReader& reader) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    TAPER_ASSIGN(const auto byte, reader.read<std::uint8_t>());
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return fail("a number of more than 64 bits");
}

Expected<Handle> take_handle(ByteReader& reader) {
  TAPER_ASSIGN(const std::uint64_t offset, take_varint(reader));
  TAPER_ASSIGN(const std::uint64_t size, take_varint(reader));
  return Handle{offset, size};
}

Expected<Handle> block_of_blocks(Bytes table) {
  constexpr std::size_t kFooter = 48;
  constexpr std::uint64_t kTableMagic = 0xdb4775248b80fb57;
  std::uint64_t magic = 0;
  if (table.size() >= kFooter) std::memcpy(&magic, table.data() + table.size() - sizeof(magic), sizeof(magic));
  if (magic != kTableMagic) return fail("not a table: it does not end in leveldb's magic number");
  ByteReader footer(table.last(kFooter));
  TAPER_ASSIGN([[maybe_unused]] const Handle filters, take_handle(footer));
  return take_handle(footer);
}

Expected<Bytes> block_at(Bytes table, Handle handle) {
  constexpr std::size_t kTrailer = 5;
  if (handle.offset > table.size() || handle.size > table.size() - handle.offset ||
      table.size() - handle.offset - handle.size < kTrailer)
    return fail("a block of {} bytes at offset {} lies outside of the table of {} bytes", handle.size, handle.offset,
                table.size());
  const Bytes block = table.subspan(handle.offset, handle.size);
  ByteReader trailer(table.subspan(handle.offset + handle.size, kTrailer));
  TAPER_ASSIGN(const auto kind, trailer.read<std::uint8_t>());
  // TensorFlow writes no compressed blocks here; few bytes could claim gigabytes.
  if (kind != 0) return fail("a block is compressed");
  TAPER_ASSIGN(const auto checksum, trailer.read<std::uint32_t>());
  if (masked_crc32c(crc32c(table.subspan(handle.offset, handle.size + 1))) != checksum)
    return fail("the checksum of a block is wrong");
  return block;
}

// Calls `visit(key, value)` for each entry of a block. Each key repeats the first bytes of the one before it, so the
// length of keys does not follow from the file's size.
template <class Visit>
Status visit_entries(Bytes block, Visit visit) {
  constexpr std::size_t kMostKeyBytes = 1024;
  std::uint32_t restarts = 0;
  if (block.size() < sizeof(restarts)) return fail("a block is truncated");
  std::memcpy(&restarts, block.data() + block.size() - sizeof(restarts), sizeof(restarts));
  const std::size_t most = block.size() / sizeof(restarts) - 1;
  if (restarts > most) return fail("a block of {} bytes has {} restarts", block.size(), restarts);
  ByteReader reader(block.first(block.size() - sizeof(restarts) * (std::size_t{restarts} + 1)));
  std::string key;
  while (!reader.at_end()) {
    TAPER_ASSIGN(const std::uint64_t shared, take_varint(reader));
    TAPER_ASSIGN(const std::uint64_t fresh, take_varint(reader));
    TAPER_ASSIGN(const std::uint64_t value_size, take_varint(reader));
    TAPER_ASSIGN(const Bytes rest, reader.take(fresh));
    TAPER_ASSIGN(const Bytes value, reader.take(value_size));
    if (shared > key.size()) return fail("a key repeats {} bytes of one of {}", shared, key.size());
    if (shared + fresh > kMostKeyBytes) return fail("a key is longer than {} bytes", kMostKeyBytes);
    key.resize(shared);
    key += as_text(rest);
    TAPER_TRY(visit(std::string_view(key), value));
  }
  return {};
}

template <class Visit>
Status visit_table(Bytes table, Visit visit) {
  TAPER_ASSIGN(const Handle handle, block_of_blocks(table));
  TAPER_ASSIGN(const Bytes blocks, block_at(table, handle));
  std::optional<std::string> last;
  const auto in_order = [&](std::string_view key, Bytes value) -> Status {
    // So no block can be read twice.
    if (last && *last >= key) return fail("its names are not in order");
    last = key;
    return visit(key, value);
  };
  return visit_entries(blocks, [&](std::string_view, Bytes value) -> Status {
    ByteReader reader(value);
    TAPER_ASSIGN(const Handle block, take_handle(reader));
    TAPER_ASSIGN(const Bytes entries, block_at(table, block));
    return visit_entries(entries, in_order);
  });
}

template <class Message>
bool parse_message(Message& message, Bytes bytes) {
  return bytes.size() <= std::numeric_limits<int>::max() &&
         message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

Expected<std::map<std::string, Tensor>> read_tensor_bundle(const SharedBytes& index, const SharedBytes& data) {
  const google::protobuf::LogSilencer quiet;  // the library prints nothing
  std::map<std::string, Tensor> tensors;
  bool header_read = false;
  std::int64_t bytes = 0;  // of all values: each is checksummed
  const auto visit = [&](std::string_view name, Bytes value) -> Status {
    if (name.empty()) {
      tensorflow::BundleHeaderProto header;
      if (!parse_message(header, value) || header.num_shards() != 1 ||
          header.endianness() != tensorflow::BundleHeaderProto::LITTLE)
        return fail("a bundle of several shards or of big-endian numbers");
      header_read = true;
      return {};
    }
    tensorflow::BundleEntryProto message;
    const std::string place = fmt::format("in variable '{}'", name);
    if (!parse_message(message, value))
      return std::unexpected(within(fail("not an entry of a tensor bundle").error(), place));
    const auto sum = checked_add(bytes, message.size());
    if (message.size() < 0 || !sum || *sum > static_cast<std::int64_t>(data.view.size()))
      return std::unexpected(
          within(fail("{} bytes behind {} of others, of a file of {}", message.size(), bytes, data.view.size()).error(),
                 place));
    bytes = *sum;
    TAPER_ASSIGN_WITHIN(Tensor tensor, read_value(message, data), place);
    tensors.emplace(name, std::move(tensor));
    return {};
  };
  TAPER_TRY(visit_table(index.view, visit));
  if (!header_read) return fail("a table without a header");
  return tensors;
}

}  // namespace taper
