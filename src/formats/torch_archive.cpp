#include "formats/torch_archive.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "formats/pickle_scan.h"
#include "formats/text.h"
#include "formats/torch_rebuild.h"

namespace taper {
namespace {

// caffe2/serialize/versions.h: the versions of the zip format that PyTorch itself reads.
constexpr std::int64_t kMostZipVersion = 10;

// The text of a small entry, without white space around it; nothing if there is no such entry.
Expected<std::optional<std::string>> small_text(const ZipArchive& archive, const std::string& name) {
  const ZipEntry* entry = archive.find(name);
  if (!entry) return std::nullopt;
  if (entry->size > 64) return fail("entry '{}' has {} bytes, expected a short text", name, entry->size);
  TAPER_ASSIGN(const SharedBytes bytes, archive.read(*entry));
  std::string text(as_text(bytes.view));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

Status check_version(const ZipArchive& archive, const std::string& top) {
  for (const char* name : {"version", ".data/version"}) {
    TAPER_ASSIGN(const auto text, small_text(archive, top + name));
    if (!text) continue;
    const bool number =
        !text->empty() && text->size() < 4 && std::ranges::all_of(*text, [](char c) { return c >= '0' && c <= '9'; });
    if (!number || std::stoi(*text) > kMostZipVersion)
      return fail("the archive has format version '{}', expected 1 to {}", excerpt(*text), kMostZipVersion);
  }
  return {};
}

Expected<bool> is_big_endian(const ZipArchive& archive, const std::string& top) {
  TAPER_ASSIGN(const auto order, small_text(archive, top + "byteorder"));
  if (!order || *order == "little") return false;  // written since PyTorch 2.1; before that files are little-endian
  if (*order == "big") return true;
  return fail("the archive's byte order is '{}', expected little or big", excerpt(*order));
}

// PyTorch looks entries up without regard to the case of ASCII letters: of two that differ in case alone it takes one,
// others take the other.
Status refuse_ambiguous_names(const ZipArchive& archive) {
  const auto folded = [](std::string name) {
    for (char& letter : name)
      if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    return name;
  };
  std::unordered_map<std::string, const ZipEntry*> seen;
  for (const ZipEntry& entry : archive.entries()) {
    const auto [other, is_new] = seen.emplace(folded(entry.name), &entry);
    if (!is_new)
      return fail("the entries '{}' and '{}' differ in case alone: programs take one for the other",
                  excerpt(other->second->name), excerpt(entry.name));
  }
  return {};
}

}  // namespace

Expected<TorchArchive> open_torch_archive(SharedBytes bytes) {
  TorchArchive archive;
  archive.file_size = bytes.view.size();
  TAPER_ASSIGN(ZipArchive opened, open_zip(std::move(bytes)));
  archive.zip = std::make_shared<const ZipArchive>(std::move(opened));
  TAPER_TRY(refuse_ambiguous_names(*archive.zip));
  return archive;
}

Status check_form(TorchArchive& archive) {
  TAPER_TRY(check_version(*archive.zip, archive.top));
  TAPER_ASSIGN(archive.big_endian, is_big_endian(*archive.zip, archive.top));
  return {};
}

Expected<pickle::Document> read_archived_pickle(const TorchArchive& archive, std::string_view name,
                                                std::initializer_list<const char*> folders) {
  const std::string pickle_name = fmt::format("{}{}", archive.top, name);
  const ZipEntry* entry = archive.zip->find(pickle_name);
  if (!entry) return fail("the archive has no entry '{}'", excerpt(pickle_name));
  TAPER_ASSIGN(SharedBytes pickled, archive.zip->read(*entry));
  TAPER_TRY(refuse_dangerous_pickle(pickled, 0, pickle_name));
  StorageSource source;
  source.big_endian = archive.big_endian;
  source.file_size = std::max(archive.file_size, pickled.view.size());
  const std::string place = fmt::format("in entry '{}'", pickle_name);
  TAPER_ASSIGN_WITHIN(pickle::Document document, pickle::read(std::move(pickled)), place);
  TAPER_ASSIGN_WITHIN(source.references, storage_references(*document.arena), place);
  source.read = [&archive, folders](const StorageReference& reference) -> Expected<SharedBytes> {
    for (const char* folder : folders)
      if (const ZipEntry* storage = archive.zip->find(fmt::format("{}{}{}", archive.top, folder, reference.key)))
        return archive.zip->read(*storage);
    return fail_with_hint(
        fmt::format("the archive has no entry '{}{}{}', which holds {} elements of {}", archive.top, *folders.begin(),
                    excerpt(reference.key), reference.count, excerpt(reference.type)),
        "the file is incomplete: copy or save it again");
  };
  if (auto status = rebuild_values(*document.arena, source); !status)
    return std::unexpected(within(std::move(status).error(), place));
  return document;
}

}  // namespace taper
