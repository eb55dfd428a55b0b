#include "formats/exported_program.h"

#include <algorithm>

#include "formats/archive_kind.h"
#include "formats/complex_tensor.h"
#include "formats/exported_json.h"
#include "formats/text.h"
#include "formats/torch_checkpoint.h"
#include "formats/zip.h"

namespace taper::exported {
namespace {

// A program of a hundred thousand nodes takes about 200 MB.
constexpr std::uint64_t kMostJsonBytes = std::uint64_t{1} << 30;

constexpr std::string_view kOldProgram = "serialized_exported_program.json";

// The archive and where in it the program lies.
struct Archive {
  ZipArchive zip;
  std::string program;  // the entry of the JSON
  std::string top;      // the top folder with its slash, or ""
  std::string model;    // "model", of "models/model.json"; "" in the old layout
  bool big_endian = false;

  // The names of what holds the weights and constants of the program.
  std::string part(std::string_view folder, std::string_view suffix) const {
    return fmt::format("{}data/{}/{}{}", top, folder, model, suffix);
  }
};

// "a/models/model.json" -> "a/"; nothing if it is no program.
std::optional<std::string> top_of_program(std::string_view name) {
  if (!name.ends_with(".json")) return std::nullopt;
  const std::size_t slash = name.starts_with("models/") ? 0 : name.find('/') + 1;  // npos + 1 is 0
  const std::string_view rest = name.substr(slash);
  if (!rest.starts_with("models/") || rest.find('/', 7) != std::string_view::npos) return std::nullopt;
  return std::string(name.substr(0, slash));
}

Expected<Json> read_json(const ZipArchive& zip, const ZipEntry& entry) {
  if (entry.size > kMostJsonBytes)
    return fail("entry '{}' has {} bytes, at most {} are read", excerpt(entry.name), entry.size, kMostJsonBytes);
  TAPER_ASSIGN(const SharedBytes bytes, zip.read(entry));
  auto json = parse_json(as_text(bytes.view));
  if (!json) return std::unexpected(within(std::move(json).error(), fmt::format("in entry '{}'", excerpt(entry.name))));
  return json;
}

Expected<Archive> open_archive(const SharedBytes& bytes) {
  Archive archive;
  TAPER_ASSIGN(archive.zip, open_zip(bytes));
  std::vector<std::string> programs;
  bool compiled = false;
  for (const ZipEntry& entry : archive.zip.entries()) {
    if (entry.name == kOldProgram) {
      archive.program = entry.name;
      return archive;
    }
    if (top_of_program(entry.name)) programs.push_back(entry.name);
    compiled = compiled || entry.name.find("data/aotinductor/") != std::string::npos;
  }
  if (programs.empty() && compiled)
    return fail_with_hint("the archive holds a program compiled by AOTInductor, which is machine code",
                          "save the exported program itself: torch.export.save(program, 'model.pt2')");
  if (programs.empty())
    return fail_with_hint(fmt::format("a zip archive of {} entries without models/*.json is no exported program",
                                      archive.zip.entries().size()),
                          "save it again: torch.export.save(program, 'model.pt2')");
  if (programs.size() > 1)
    return fail_with_hint(fmt::format("the archive holds {} programs ('{}', '{}', ...), expected one", programs.size(),
                                      excerpt(programs[0]), excerpt(programs[1])),
                          "save each with torch.export.save");
  archive.program = programs[0];
  archive.top = *top_of_program(archive.program);
  archive.model = archive.program.substr(archive.top.size() + 7);
  archive.model.resize(archive.model.size() - 5);
  if (const ZipEntry* order = archive.zip.find(archive.top + "byteorder")) {
    if (order->size > 16) return fail("entry '{}' has {} bytes, expected a short text", order->name, order->size);
    TAPER_ASSIGN(const SharedBytes text, archive.zip.read(*order));
    archive.big_endian = as_text(text.view).starts_with("big");
  }
  return archive;
}

// ------------------------------------------------------------------------------------------------------------- weights

// A dict of tensors as torch.save writes it, in an entry of the archive.
Status read_pickled(const Archive& archive, const std::string& name, Program& program) {
  const ZipEntry* entry = archive.zip.find(name);
  if (entry == nullptr)
    return fail_with_hint(fmt::format("the archive has no entry '{}'", excerpt(name)),
                          "the file is incomplete: copy or save it again");
  TAPER_ASSIGN(SharedBytes bytes, archive.zip.read(*entry));
  TAPER_ASSIGN_WITHIN(const Checkpoint saved, read_torch_checkpoint(std::move(bytes)),
                      fmt::format("in entry '{}'", excerpt(name)));
  for (const pickle::Entry& item : saved.root->entries()) {
    const auto key = item.key->text();
    if (!key) continue;
    if (const pickle::TensorValue* tensor = item.value->tensor())
      program.weights.insert_or_assign(std::string(*key), tensor->tensor);
    else if (const Tensor* complex = item.value->complex_parts())
      program.complex_weights.insert_or_assign(std::string(*key), *complex);
    else if (const pickle::Unsupported* unsupported = item.value->unsupported())
      program.unread.insert_or_assign(std::string(*key), unsupported->reason);
    else
      program.unread.insert_or_assign(std::string(*key), "is " + pickle::describe(*item.value));
  }
  return {};
}

Expected<Tensor> raw_weight(const Archive& archive, const ZipEntry& entry, const WeightMeta& meta) {
  TAPER_ASSIGN(SharedBytes bytes, archive.zip.read(entry));
  if (meta.is_complex)
    return make_complex_view(*meta.dtype, meta.sizes, meta.strides, std::move(bytes), meta.offset, archive.big_endian);
  const auto offset = checked_mul(meta.offset, static_cast<std::int64_t>(size_of(*meta.dtype)));
  if (!offset || *offset < 0) return fail("its offset is {}", meta.offset);
  return make_view(*meta.dtype, meta.sizes, meta.strides, std::move(bytes), *offset, archive.big_endian);
}

// One weight of a configuration: an entry of raw bytes, which several may view, or a pickle.
Status read_weight(const Archive& archive, std::string_view folder, const std::string& name, const Json& payload,
                   Program& program) {
  TAPER_ASSIGN(const std::string path, text_of(payload, "path_name"));
  const std::string place = fmt::format("{}data/{}/{}", archive.top, folder, path);
  const ZipEntry* entry = archive.zip.find(place);
  if (entry == nullptr)
    return fail_with_hint(fmt::format("the archive has no entry '{}'", excerpt(place)),
                          "the file is incomplete: copy or save it again");
  const Json* meta_json = optional_member(payload, "tensor_meta");
  if (meta_json == nullptr) {
    program.unread.insert_or_assign(name, "is an object of a class of its own");
    return {};
  }
  TAPER_ASSIGN(const Json* pickled, member(payload, "use_pickle"));
  TAPER_ASSIGN(const WeightMeta meta, weight_meta(*meta_json));
  if (!meta.unread.empty()) {
    program.unread.insert_or_assign(name, meta.unread);
    return {};
  }
  if (pickled->is_boolean() && pickled->get<bool>()) {
    TAPER_ASSIGN(SharedBytes bytes, archive.zip.read(*entry));
    TAPER_ASSIGN(const Checkpoint saved, read_torch_checkpoint(std::move(bytes)));
    if (const pickle::TensorValue* tensor = saved.root->tensor())
      program.weights.insert_or_assign(name, tensor->tensor);
    else if (const Tensor* complex = saved.root->complex_parts())
      program.complex_weights.insert_or_assign(name, *complex);
    else
      program.unread.insert_or_assign(name, "is " + pickle::describe(*saved.root));
    return {};
  }
  TAPER_ASSIGN(Tensor tensor, raw_weight(archive, *entry, meta));
  (meta.is_complex ? program.complex_weights : program.weights).insert_or_assign(name, std::move(tensor));
  return {};
}

// What `folder` ("weights", "constants") holds for the program.
Status read_part(const Archive& archive, std::string_view folder, Program& program) {
  const std::string config_name = archive.part(folder, fmt::format("_{}_config.json", folder));
  const ZipEntry* entry = archive.zip.find(config_name);
  if (entry == nullptr) return read_pickled(archive, archive.part(folder, ".pt"), program);
  TAPER_ASSIGN(const Json json, read_json(archive.zip, *entry));
  TAPER_ASSIGN(const Json* config, member(json, "config"));
  if (!config->is_object()) return fail("'config' of '{}' is no object", excerpt(config_name));
  for (const auto& [name, payload] : config->items())
    if (auto status = read_weight(archive, folder, name, payload, program); !status)
      return std::unexpected(within(std::move(status).error(), fmt::format("in weight '{}'", excerpt(name))));
  return {};
}

}  // namespace

bool is_exported_program(const SharedBytes& bytes) {
  const auto zip = open_zip(bytes);
  if (!zip) return false;
  return std::ranges::any_of(zip->entries(), [](const ZipEntry& entry) {
    return entry.name == kOldProgram || without_top_folder(entry.name) == "archive_format" ||
           top_of_program(entry.name).has_value();
  });
}

Expected<Program> read_exported_program(const SharedBytes& bytes) {
  TAPER_ASSIGN(const Archive archive, open_archive(bytes));
  TAPER_ASSIGN(const Json json, read_json(archive.zip, *archive.zip.find(archive.program)));
  TAPER_ASSIGN_WITHIN(Program program, program_from_json(json), fmt::format("in entry '{}'", excerpt(archive.program)));
  if (archive.model.empty()) {
    TAPER_TRY(read_pickled(archive, "serialized_state_dict.pt", program));
    TAPER_TRY(read_pickled(archive, "serialized_constants.pt", program));
    return program;
  }
  TAPER_TRY(read_part(archive, "weights", program));
  TAPER_TRY(read_part(archive, "constants", program));
  return program;
}

}  // namespace taper::exported
