// The tensor bundle of a SavedModel: raw tensors in one file, a table of leveldb's format that names them in another.
#include <leveldb/comparator.h>
#include <leveldb/env.h>
#include <leveldb/iterator.h>
#include <leveldb/options.h>
#include <leveldb/table.h>
#include <leveldb/table_builder.h>

#include <algorithm>
#include <memory>

#include "formats/crc32c.h"
#include "formats/saved_model.h"

namespace taper {
namespace {

Status to_status(const leveldb::Status& status) {
  if (status.ok()) return {};
  return fail("{}", status.ToString());
}

leveldb::Slice slice_of(std::string_view text) {
  return {text.data(), text.size()};
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

// A table in memory. Refuses compressed blocks, which TensorFlow doesn't write here: few bytes could claim gigabytes.
class TableBytes : public leveldb::RandomAccessFile {
 public:
  explicit TableBytes(Bytes bytes) : bytes_(bytes) {}
  leveldb::Status Read(std::uint64_t offset, std::size_t count, leveldb::Slice* result, char*) const override {
    constexpr std::size_t kBlockTrailer = 5;  // a byte of kind, four of checksum
    constexpr std::size_t kFooter = 48;
    if (offset > bytes_.size() || count > bytes_.size() - offset)
      return leveldb::Status::Corruption("a block ends behind the file");
    const Bytes block = bytes_.subspan(static_cast<std::size_t>(offset), count);
    const bool footer = count == kFooter && offset + count == bytes_.size();
    if (!footer && (count < kBlockTrailer || block[count - kBlockTrailer] != std::byte{0}))
      return leveldb::Status::Corruption("a block is compressed");
    *result = slice_of(as_text(block));
    return {};
  }

 private:
  Bytes bytes_;
};

leveldb::Options table_options() {
  leveldb::Options options;
  options.compression = leveldb::kNoCompression;
  options.block_size = 256 << 10;
  options.paranoid_checks = true;
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
    return fail("bytes {} to {} of a file of {}", entry.offset(), entry.offset() + *size, available);
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

Expected<std::map<std::string, Tensor>> read_tensor_bundle(const SharedBytes& index, const SharedBytes& data) {
  TableBytes bytes(index.view);
  leveldb::Table* opened = nullptr;
  TAPER_TRY(to_status(leveldb::Table::Open(table_options(), &bytes, index.view.size(), &opened)));
  const std::unique_ptr<leveldb::Table> table(opened);
  leveldb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  const std::unique_ptr<leveldb::Iterator> entry(table->NewIterator(options));
  std::map<std::string, Tensor> tensors;
  bool header_read = false;
  for (entry->SeekToFirst(); entry->Valid(); entry->Next()) {
    const std::string name = entry->key().ToString();
    const leveldb::Slice value = entry->value();
    if (name.empty()) {
      tensorflow::BundleHeaderProto header;
      if (!header.ParseFromArray(value.data(), static_cast<int>(value.size())) || header.num_shards() != 1 ||
          header.endianness() != tensorflow::BundleHeaderProto::LITTLE)
        return fail("a bundle of several shards or of big-endian numbers");
      header_read = true;
      continue;
    }
    tensorflow::BundleEntryProto message;
    const std::string place = fmt::format("in variable '{}'", name);
    if (!message.ParseFromArray(value.data(), static_cast<int>(value.size())))
      return std::unexpected(within(fail("not an entry of a tensor bundle").error(), place));
    TAPER_ASSIGN_WITHIN(Tensor tensor, read_value(message, data), place);
    if (!tensors.try_emplace(name, std::move(tensor)).second)
      return std::unexpected(within(fail("it stands twice").error(), place));
  }
  TAPER_TRY(to_status(entry->status()));
  if (!header_read) return fail("a table without a header");
  return tensors;
}

}  // namespace taper
