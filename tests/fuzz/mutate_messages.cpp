// Protobuf messages, the tables of tensor bundles, SavedModels.
#include <leveldb/env.h>
#include <leveldb/options.h>
#include <leveldb/table_builder.h>

#include <algorithm>
#include <optional>

#include "../formats/builders.h"
#include "formats/crc32c.h"
#include "formats/saved_model.h"
#include "formats/weights.h"
#include "mutators.h"

namespace taper::fuzz {
namespace {

// ---- the wire format of protobuf: a key (field number << 3 | form) and a payload, again and again

struct Field {
  std::uint64_t key = 0;
  std::string payload;  // of a length-delimited field: without its length
};
constexpr std::uint64_t kDelimited = 2;

std::string varint(std::uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  return text + static_cast<char>(value);
}

std::optional<std::uint64_t> take_varint(std::string_view& text) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(text.size(), 10); ++i) {
    value |= static_cast<std::uint64_t>(text[i] & 0x7f) << (7 * i);
    if ((text[i] & 0x80) != 0) continue;
    text.remove_prefix(i + 1);
    return value;
  }
  return std::nullopt;
}

// The fields of a message; nothing if it is none.
std::optional<std::vector<Field>> fields_of(std::string_view text) {
  std::vector<Field> fields;
  while (!text.empty()) {
    const auto key = take_varint(text);
    if (!key || *key >> 3 == 0) return std::nullopt;
    std::optional<std::uint64_t> length;
    switch (*key & 7) {
      case 0:
        if (const auto value = take_varint(text); value) {
          fields.push_back({*key, varint(*value)});
          continue;
        }
        return std::nullopt;
      case 1:
        length = 8;
        break;
      case kDelimited:
        length = take_varint(text);
        break;
      case 5:
        length = 4;
        break;
      default:
        break;
    }
    if (!length || *length > text.size()) return std::nullopt;
    fields.push_back({*key, std::string(text.substr(0, *length))});
    text.remove_prefix(*length);
  }
  return fields;
}

std::string message_of(const std::vector<Field>& fields) {
  std::string text;
  for (const Field& field : fields) {
    text += varint(field.key);
    if ((field.key & 7) == kDelimited) text += varint(field.payload.size());
    text += field.payload;
  }
  return text;
}

std::string small_or_edge(Random& random) {
  return varint(random.one_in(2) ? random.below(64) : edge_number(random));
}

void change_field(std::vector<Field>& fields, Random& random, MutateBytes bytes) {
  const std::size_t at = random.below(fields.size());
  const auto place = fields.begin() + static_cast<std::ptrdiff_t>(at);
  Field& field = fields[at];
  switch (random.below(10)) {
    case 0:
      fields.erase(place);
      break;
    case 1:
      fields.push_back(Field(field));
      break;
    case 2:
      std::swap(field, random.pick(fields));
      break;
    case 3:
      field.payload = random.pick(fields).payload;
      if ((field.key & 7) != kDelimited) field.key = field.key / 8 * 8 + kDelimited;
      break;
    case 4:
      fields.insert(place, {(1 + random.below(16)) << 3, small_or_edge(random)});
      break;
    default:
      if ((field.key & 7) == 0)
        field.payload = small_or_edge(random);
      else if ((field.key & 7) != kDelimited)
        field.payload = little(edge_number(random), static_cast<int>(field.payload.size()));
      else if (!field.payload.empty() && fields_of(field.payload))
        field.payload = mutate_message(field.payload, random, bytes);
      else
        field.payload = bytes(field.payload, random);
  }
}

// ---- tensor bundles: a table of leveldb's format

using Rows = std::vector<std::pair<std::string, std::string>>;

class Collected : public leveldb::WritableFile {
 public:
  std::string text;
  leveldb::Status Append(const leveldb::Slice& data) override {
    text.append(data.data(), data.size());
    return {};
  }
  leveldb::Status Close() override { return {}; }
  leveldb::Status Flush() override { return {}; }
  leveldb::Status Sync() override { return {}; }
};

// A table of rows, which are sorted and made unique.
std::string table_of(Rows rows) {
  std::ranges::sort(rows);
  Collected file;
  leveldb::Options options;
  options.compression = leveldb::kNoCompression;
  leveldb::TableBuilder builder(options, &file);
  const std::string* last = nullptr;
  for (const auto& [name, value] : rows) {
    if (last == nullptr || *last != name) builder.Add(name, value);
    last = &name;
  }
  builder.Finish();
  return std::move(file.text);
}

// What a table holds, read off the names and tensors that our reader finds in it.
std::optional<Rows> rows_of(std::string_view index, std::string_view data) {
  const auto tensors = read_tensor_bundle(shared(index), shared(data));
  if (!tensors) return std::nullopt;
  Rows rows;
  tensorflow::BundleHeaderProto header;
  header.set_num_shards(1);
  rows.emplace_back("", header.SerializeAsString());
  const SharedBytes all = shared(data);
  std::int64_t offset = 0;
  for (const auto& [name, tensor] : *tensors) {
    tensorflow::BundleEntryProto entry;
    entry.set_dtype(tensorflow_type(tensor.dtype));
    for (const std::int64_t size : tensor.shape) entry.mutable_shape()->add_dim()->set_size(size);
    const auto size = tensor.element_count() * static_cast<std::int64_t>(size_of(tensor.dtype));
    entry.set_offset(offset);
    entry.set_size(size);
    offset += size;
    rows.emplace_back(name, entry.SerializeAsString());
  }
  return rows;
}

// Makes the checksum of a value right, where the value lies inside the data.
std::string with_checksum(const std::string& row, std::string_view data) {
  tensorflow::BundleEntryProto entry;
  if (!entry.ParseFromString(row) || entry.offset() < 0 || entry.size() < 0) return row;
  const auto offset = static_cast<std::size_t>(entry.offset());
  const auto size = static_cast<std::size_t>(entry.size());
  if (offset > data.size() || size > data.size() - offset) return row;
  entry.set_crc32c(masked_crc32c(crc32c(as_bytes(data.substr(offset, size)))));
  return entry.SerializeAsString();
}

// Bytes of a table with one block, with the checksums of its blocks made right. The footer holds where two blocks lie;
// the third fills the rest.
std::string with_block_checksums(std::string index) {
  constexpr std::size_t kFooter = 48, kTrailer = 5;
  if (index.size() < kFooter) return index;
  std::string_view handles = std::string_view(index).substr(index.size() - kFooter);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> blocks;
  for (int i = 0; i < 2; ++i) {
    const auto offset = take_varint(handles);
    const auto size = take_varint(handles);
    if (!offset || !size || *offset > index.size() || *size > index.size() - *offset) return index;
    blocks.emplace_back(*offset, *size);
  }
  if (blocks[0].first >= kTrailer) blocks.emplace_back(0, blocks[0].first - kTrailer);
  for (const auto& [offset, size] : blocks) {
    if (offset + size + kTrailer > index.size()) continue;
    const std::uint32_t crc = masked_crc32c(crc32c(as_bytes(std::string_view(index).substr(offset, size + 1))));
    index.replace(offset + size + 1, 4, little(crc, 4));
  }
  return index;
}

std::string with_length(const std::string& part) {
  return little(part.size(), 2) + part;
}

std::string text_part(Bytes& input, std::size_t at) {
  if (input.size() < 2) return {};
  const std::size_t length = std::min(at, input.size() - 2);
  std::string part(as_text(input.subspan(2, length)));
  input = input.subspan(2 + length);
  return part;
}

std::size_t declared_length(Bytes input) {
  if (input.size() < 2) return 0;
  return std::to_integer<std::size_t>(input[0]) | std::to_integer<std::size_t>(input[1]) << 8;
}

}  // namespace

std::string mutate_message(std::string input, Random& random, MutateBytes bytes) {
  auto fields = fields_of(input);
  if (!fields || fields->empty()) return bytes(std::move(input), random);
  change_field(*fields, random, bytes);
  return message_of(*fields);
}

std::string mutate_tensor_bundle(std::string input, Random& random, MutateBytes bytes) {
  Bytes rest = as_bytes(input);
  std::string index = text_part(rest, declared_length(rest));
  std::string data(as_text(rest));
  auto rows = rows_of(index, data);
  if (!rows || random.one_in(4)) {
    const std::size_t size = index.size();
    index = bytes(std::move(index), random);
    index.resize(size);  // the footer stays where it is
    return with_length(with_block_checksums(std::move(index))) + data;
  }
  auto& [name, value] = random.pick(*rows);
  switch (random.below(5)) {
    case 0:
      name = bytes(name, random);
      break;
    case 1:
      data = bytes(std::move(data), random);
      break;
    default:
      value = mutate_message(value, random, bytes);
  }
  const bool repaired = !random.one_in(8);
  for (auto& [key, row] : *rows)
    if (repaired && !key.empty()) row = with_checksum(row, data);
  return with_length(table_of(std::move(*rows))) + data;
}

std::string mutate_tensorflow(std::string input, Random& random, MutateBytes bytes) {
  Bytes rest = as_bytes(input);
  std::string model = text_part(rest, declared_length(rest));
  std::string bundle(as_text(rest));
  if (random.one_in(6))
    bundle = mutate_tensor_bundle(std::move(bundle), random, bytes);
  else
    model = mutate_message(std::move(model), random, bytes);
  return with_length(model) + bundle;
}

}  // namespace taper::fuzz
