// Small files made by hand, right and wrong, for the tests of the readers.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace taper {

inline SharedBytes shared(std::string_view text) {
  const Bytes bytes = as_bytes(text);
  return share({bytes.begin(), bytes.end()});
}

// A text with NUL bytes inside.
template <std::size_t n>
std::string raw(const char (&literal)[n]) {
  return std::string(literal, n - 1);
}

inline std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

inline std::string floats_text(std::initializer_list<float> values) {
  std::string text;
  for (const float value : values) text.append(reinterpret_cast<const char*>(&value), sizeof(value));
  return text;
}

// Raw deflate, as zip entries hold it.
inline std::string deflated(std::string_view text) {
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Every field of an entry, so that a test can lie about any of them.
struct ZipFileEntry {
  std::string name;
  std::string data;  // as stored in the file
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
  std::uint32_t crc = 0;
  std::uint64_t size = 0;
  std::uint64_t compressed_size = 0;
  std::string local_name;
  std::string extra;                // of the directory's record
  std::int64_t header_offset = -1;  // -1: where it is
};

inline ZipFileEntry stored(std::string name, std::string data) {
  ZipFileEntry entry;
  entry.crc =
      static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
  entry.size = entry.compressed_size = data.size();
  entry.name = entry.local_name = std::move(name);
  entry.data = std::move(data);
  return entry;
}

inline ZipFileEntry compressed(std::string name, const std::string& data) {
  ZipFileEntry entry = stored(std::move(name), data);
  entry.method = 8;
  entry.data = deflated(data);
  entry.compressed_size = entry.data.size();
  return entry;
}

struct ZipOptions {
  std::int64_t entries = -1;  // as declared; -1: as many as there are
  std::string comment;
  std::string before;  // in front of everything
  std::string gap;     // between the directory and its end
};

inline std::string zip_file(const std::vector<ZipFileEntry>& entries, const ZipOptions& options = {}) {
  std::string file = options.before;
  std::string directory;
  for (const ZipFileEntry& entry : entries) {
    const std::uint64_t offset = entry.header_offset >= 0 ? static_cast<std::uint64_t>(entry.header_offset)
                                                          : file.size() - options.before.size();
    const std::string common = little(entry.flags, 2) + little(entry.method, 2) + little(0, 4) + little(entry.crc, 4) +
                               little(entry.compressed_size, 4) + little(entry.size, 4);
    file += "PK\x03\x04" + little(20, 2) + common + little(entry.local_name.size(), 2) + little(0, 2) +
            entry.local_name + entry.data;
    directory += "PK\x01\x02" + little(20, 2) + little(20, 2) + common + little(entry.name.size(), 2) +
                 little(entry.extra.size(), 2) + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) +
                 little(offset, 4) + entry.name + entry.extra;
  }
  const std::uint64_t count = options.entries >= 0 ? static_cast<std::uint64_t>(options.entries) : entries.size();
  const std::string end = "PK\x05\x06" + little(0, 4) + little(count, 2) + little(count, 2) +
                          little(directory.size(), 4) + little(file.size() - options.before.size(), 4) +
                          little(options.comment.size(), 2);
  return file + directory + options.gap + end + options.comment;
}

// A pickle of protocol 2 with this body.
inline std::string protocol2(const std::string& body) {
  return "\x80\x02" + body + ".";
}
inline std::string pickled_text(std::string_view text) {
  return "X" + little(text.size(), 4) + std::string(text);
}
inline std::string pickled_global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string pickled_int(std::int32_t value) {
  return "J" + little(static_cast<std::uint32_t>(value), 4);
}
inline std::string pickled_ints(std::initializer_list<std::int32_t> values) {
  std::string tuple = "(";
  for (const std::int32_t value : values) tuple += pickled_int(value);
  return tuple + "t";
}

// torch.save's reference to a storage.
inline std::string pickled_storage(const std::string& key, std::int32_t count,
                                   const std::string& type = "FloatStorage") {
  return "(" + pickled_text("storage") + pickled_global("torch", type) + pickled_text(key) + pickled_text("cpu") +
         pickled_int(count) + "tQ";
}

// A tensor over it, rebuilt as PyTorch does.
inline std::string pickled_tensor(const std::string& storage, std::int32_t offset,
                                  std::initializer_list<std::int32_t> size, std::initializer_list<std::int32_t> stride,
                                  const std::string& more = "") {
  return pickled_global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + pickled_int(offset) +
         pickled_ints(size) + pickled_ints(stride) + "\x89" + pickled_global("collections", "OrderedDict") + ")R" +
         more + "tR";
}

inline std::string torch_zip(const std::string& pickled, std::vector<ZipFileEntry> more = {}) {
  std::vector<ZipFileEntry> entries = {stored("archive/data.pkl", pickled), stored("archive/version", "3\n")};
  entries.insert(entries.end(), more.begin(), more.end());
  return zip_file(entries);
}

// An archive of torch.export with this program and the weight `w`, float32 [2, 2].
inline std::string exported_program_of(const std::string& json) {
  return zip_file({stored("a/models/model.json", json),
                   stored("a/data/weights/model_weights_config.json",
                          R"({"config": {"w": {"path_name": "weight_0", "is_param": true, "use_pickle": false,
                              "tensor_meta": {"dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 2}],
                              "strides": [{"as_int": 2}, {"as_int": 1}], "storage_offset": {"as_int": 0}, "layout": 7}}}})"),
                   stored("a/data/constants/model_constants_config.json", R"({"config": {}})"),
                   stored("a/data/weights/weight_0", floats_text({1, 2, 3, 4}))});
}

}  // namespace taper
