// Prints what taper's readers see in files, one line of JSON per file, for tests/judge/test_differential.py to compare
// with what other readers see:
//
//   taper_read pickle|zip|safetensors FILE...
//   taper_read random-onnx FOLDER SEED COUNT    see random_onnx.h
//
// A file that the reader refuses gives {"error": "..."}; the exit status is 0 all the same.
#include <zlib.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "formats/pickle.h"
#include "formats/safetensors.h"
#include "formats/zip.h"
#include "tools/random_onnx.h"

namespace taper {
namespace {

using Json = nlohmann::json;

std::string hex(Bytes bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

std::uint32_t crc_of(Bytes bytes) {
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

// ------------------------------------------------------------------------------------------------------------- pickles

// A value as a list of nodes in the order of their discovery, breadth first: shared values and cycles are indices into
// the list, and nothing recurses. A node is [tag, ...]; scalars stand in their place as [tag, payload].
class Flattener {
 public:
  Json flatten(const pickle::Value& root) {
    Json start = refer(&root);
    Json nodes = Json::array();
    for (std::size_t i = 0; i < queue_.size(); ++i) nodes.push_back(node(*queue_[i]));
    return {{"root", std::move(start)}, {"nodes", std::move(nodes)}};
  }

 private:
  Json refer(const pickle::Value* value) {
    using pickle::Kind;
    if (value == nullptr) return nullptr;
    switch (value->kind()) {
      case Kind::none:
        return {"none"};
      case Kind::boolean:
        return {"bool", *value->boolean()};
      case Kind::integer:
        return {"int", std::to_string(*value->integer())};
      case Kind::real:
        return {"float", fmt::format("{:016x}", std::bit_cast<std::uint64_t>(*value->number()))};
      case Kind::text:
        return {"str", std::string(*value->text())};
      case Kind::bytes:
        return {"bytes", hex(*value->bytes())};
      case Kind::big_integer: {
        const auto& number = *std::get<pickle::BigInteger*>(value->data);
        return {number.decimal ? "decimal" : "two's complement",
                number.decimal ? std::string(as_text(number.bytes)) : hex(number.bytes)};
      }
      case Kind::global:
        return {"global", std::string(value->global()->module), std::string(value->global()->name)};
      default:
        if (pickle::is_tuple(*value) && value->items().empty()) return {"tuple", Json::array()};
        break;
    }
    const auto [place, is_new] = places_.try_emplace(value, queue_.size());
    if (is_new) queue_.push_back(value);
    return place->second;
  }

  Json all(std::span<const pickle::Value* const> values) {
    Json list = Json::array();
    for (const pickle::Value* value : values) list.push_back(refer(value));
    return list;
  }
  Json pairs(std::span<const pickle::Entry> entries) {
    Json list = Json::array();
    for (const pickle::Entry& entry : entries) {
      Json key = refer(entry.key);  // in an order that is the same in every compiler
      Json value = refer(entry.value);
      list.push_back(Json::array({std::move(key), std::move(value)}));
    }
    return list;
  }

  Json node(const pickle::Value& value) {
    constexpr const char* kSequences[] = {"list", "tuple", "set", "frozenset"};
    if (value.sequence()) return {kSequences[static_cast<std::size_t>(value.sequence()->kind)], all(value.items())};
    if (value.dict()) return {"dict", pairs(value.entries())};
    if (value.persistent_id()) return {"persistent", refer(value.persistent_id())};
    const pickle::Object* object = value.object();
    if (object == nullptr) return {"unexpected", pickle::describe(value)};
    Json type = refer(object->type);
    Json arguments = refer(object->arguments);
    Json keywords = refer(object->keywords);
    Json state = refer(object->state);
    Json items = all(object->items);
    Json entries = pairs(object->entries);
    return {"object",         std::move(type),  std::move(arguments), std::move(keywords),
            std::move(state), std::move(items), std::move(entries)};
  }

  std::unordered_map<const pickle::Value*, std::size_t> places_;
  std::vector<const pickle::Value*> queue_;
};

Expected<Json> read_pickle(const SharedBytes& bytes) {
  TAPER_ASSIGN(const pickle::Document document, pickle::read(bytes));
  return Json{{"size", document.size}, {"value", Flattener().flatten(*document.root)}};
}

// ---------------------------------------------------------------------------------------------------------------- zips

Expected<Json> read_zip(const SharedBytes& bytes) {
  TAPER_ASSIGN(const ZipArchive archive, open_zip(bytes));
  Json entries = Json::array();
  for (const ZipEntry& entry : archive.entries()) {
    Json row = {{"name", entry.name}, {"size", entry.size}, {"crc", entry.crc32}, {"deflated", entry.deflated}};
    const auto content = archive.read(entry);
    const Status whole = content ? archive.verify(entry) : Status(std::unexpected(content.error()));
    if (whole) {
      row["content"] = crc_of(content->view);
      row["content_size"] = content->view.size();
    } else {
      row["error"] = whole.error().text();
    }
    entries.push_back(std::move(row));
  }
  return Json{{"entries", std::move(entries)}};
}

// --------------------------------------------------------------------------------------------------------- safetensors

Expected<Json> read_safetensors_file(const SharedBytes& bytes) {
  TAPER_ASSIGN(const Safetensors file, read_safetensors(bytes));
  Json tensors = Json::object();
  for (const auto& [name, tensor] : file.tensors)
    tensors[name] = {{"dtype", info(tensor.dtype).name}, {"shape", tensor.shape}, {"content", crc_of(tensor.bytes())}};
  Json metadata = Json::object();
  for (const auto& [key, text] : file.metadata) metadata[key] = text;
  Json unsupported = Json::object();
  for (const auto& [name, reason] : file.unsupported) unsupported[name] = reason;
  return Json{
      {"tensors", std::move(tensors)}, {"metadata", std::move(metadata)}, {"unsupported", std::move(unsupported)}};
}

int run(std::span<char*> arguments) {
  const std::string_view what = arguments.empty() ? "" : arguments[0];
  if (what == "random-onnx" && arguments.size() == 4) {
    const Status status = write_random_onnx(arguments[1], std::strtoull(arguments[2], nullptr, 10),
                                            std::strtoull(arguments[3], nullptr, 10));
    if (!status) std::fprintf(stderr, "error: %s\n", status.error().text().c_str());
    return status ? 0 : 1;
  }
  const auto reader = what == "pickle"        ? read_pickle
                      : what == "zip"         ? read_zip
                      : what == "safetensors" ? read_safetensors_file
                                              : nullptr;
  if (reader == nullptr) {
    std::fputs("usage: taper_read pickle|zip|safetensors FILE...\n", stderr);
    return 2;
  }
  for (const char* path : arguments.subspan(1)) {
    const auto bytes = map_file(path);
    const auto seen = bytes ? reader(*bytes) : std::unexpected(bytes.error());
    const Json line = seen ? *seen : Json{{"error", seen.error().text()}};
    std::puts(line.dump(-1, ' ', true, Json::error_handler_t::replace).c_str());
  }
  return 0;
}

}  // namespace
}  // namespace taper

int main(int argc, char** argv) {
  return taper::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
}
