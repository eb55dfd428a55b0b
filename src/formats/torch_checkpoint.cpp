#include "formats/torch_checkpoint.h"

#include <algorithm>
#include <unordered_map>

#include "formats/archive_kind.h"
#include "formats/file_look.h"
#include "formats/pickle_scan.h"
#include "formats/text.h"
#include "formats/torch_rebuild.h"
#include "formats/zip.h"

namespace taper {
namespace {

// torch/serialization.py: MAGIC_NUMBER 0x1950a86a20f9469cfc6c and PROTOCOL_VERSION of the legacy format.
constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::string_view kLegacyMagicDecimal = "119547037146038801333356";
constexpr std::int64_t kLegacyProtocol = 1001;
// caffe2/serialize/versions.h: the versions of the zip format that PyTorch itself reads.
constexpr std::int64_t kMostZipVersion = 10;

constexpr std::string_view kDamagedHint = "the file is probably truncated or damaged: copy or download it again";

Expected<Checkpoint> finish(pickle::Document document, StorageSource source, std::string_view format) {
  TAPER_TRY(rebuild_values(*document.arena, source));
  return Checkpoint{std::string(format), std::move(document.arena), document.root, {}};
}

// ---- the zip format

// The top folder with its slash ("archive/"), which is any name.
Expected<std::string> top_folder(const ZipArchive& archive) {
  if (const ArchiveKind* kind = other_archive(archive))
    return fail_with_hint(std::string(kind->message), std::string(kind->hint));
  std::vector<std::string> tops;
  for (const ZipEntry& entry : archive.entries())
    if (without_top_folder(entry.name) == "data.pkl") tops.push_back(entry.name.substr(0, entry.name.size() - 8));
  if (tops.size() == 1) return tops.front();
  if (tops.empty())
    return fail("a zip archive of {} entries without a data.pkl is not a PyTorch checkpoint", archive.entries().size());
  return fail("the archive holds {} files data.pkl, in '{}' and '{}', expected one", tops.size(), tops[0], tops[1]);
}

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

Expected<Checkpoint> read_zip_checkpoint(SharedBytes bytes) {
  const std::size_t file_size = bytes.view.size();
  TAPER_ASSIGN(ZipArchive opened, open_zip(std::move(bytes)));
  const auto archive = std::make_shared<const ZipArchive>(std::move(opened));
  TAPER_TRY(refuse_ambiguous_names(*archive));
  TAPER_ASSIGN(const std::string top, top_folder(*archive));
  TAPER_TRY(check_version(*archive, top));
  StorageSource source;
  TAPER_ASSIGN(source.big_endian, is_big_endian(*archive, top));
  source.file_size = file_size;
  const std::string pickle_name = top + "data.pkl";
  TAPER_ASSIGN(SharedBytes pickled, archive->read(*archive->find(pickle_name)));
  source.file_size = std::max(file_size, pickled.view.size());
  TAPER_TRY(refuse_dangerous_pickle(pickled, 0, pickle_name));
  const std::string place = fmt::format("in entry '{}'", pickle_name);
  TAPER_ASSIGN_WITHIN(pickle::Document document, pickle::read(std::move(pickled)), place);
  TAPER_ASSIGN_WITHIN(source.references, storage_references(*document.arena), place);
  source.read = [archive, top](const StorageReference& reference) -> Expected<SharedBytes> {
    for (const char* folder : {"data/", ".data/"})
      if (const ZipEntry* entry = archive->find(fmt::format("{}{}{}", top, folder, reference.key)))
        return archive->read(*entry);
    return fail_with_hint(fmt::format("the archive has no entry '{}data/{}', which holds {} elements of {}", top,
                                      excerpt(reference.key), reference.count, excerpt(reference.type)),
                          "the file is incomplete: copy or save it again");
  };
  auto checkpoint = finish(std::move(document), std::move(source), "PyTorch zip");
  if (!checkpoint) return std::unexpected(within(std::move(checkpoint).error(), place));
  return checkpoint;
}

// ---- the legacy format: five pickles, then the storages

bool is_legacy_magic(const pickle::Value& value) {
  const auto* const* number = std::get_if<pickle::BigInteger*>(&value.data);
  return number && as_text((*number)->bytes) == ((*number)->decimal ? kLegacyMagicDecimal : kLegacyMagic);
}

// Reads a pickle at `offset` and moves it past.
Expected<pickle::Document> next_pickle(const SharedBytes& bytes, std::size_t& offset, std::string_view what,
                                       pickle::Limits limits) {
  const std::size_t start = offset;
  TAPER_TRY(refuse_dangerous_pickle(bytes, start, ""));
  auto document = pickle::read(bytes.sub(start, bytes.view.size() - start), limits);
  if (!document) {
    Error error = within(std::move(document).error(), fmt::format("in the {}, which starts at byte {}", what, start));
    error.hint = kDamagedHint;
    return std::unexpected(std::move(error));
  }
  offset += document->size;
  return document;
}

using StorageBytes = std::unordered_map<std::string_view, SharedBytes>;

// Each storage is its number of elements as int64, then the elements. PyTorch writes both little-endian on every
// machine (torch/csrc/serialization.cpp), whatever the system information says.
Expected<StorageBytes> legacy_storages(const SharedBytes& bytes, std::size_t offset, const pickle::Value& keys,
                                       const StorageReferences& references) {
  std::unordered_map<std::string_view, const StorageReference*> by_key;
  for (const auto& [value, reference] : references) {
    const StorageReference* known = by_key.try_emplace(reference.key, &reference).first->second;
    if (known->element_size != reference.element_size)
      return fail("storage '{}' is used as {} and as {}", excerpt(reference.key), excerpt(known->type),
                  excerpt(reference.type));
  }
  ByteReader reader(bytes.view);
  TAPER_TRY(reader.seek(offset));
  StorageBytes storages;
  for (const pickle::Value* key : keys.items()) {
    const auto name = key->text();
    const auto reference = name ? by_key.find(*name) : by_key.end();
    if (reference == by_key.end()) return fail("{} is listed as a storage that no tensor uses", pickle::describe(*key));
    if (!reference->second->element_size)
      return fail("storage '{}' is of {}, whose size is unknown", excerpt(*name), excerpt(reference->second->type));
    if (reader.remaining() < sizeof(std::int64_t))
      return fail_with_hint(
          fmt::format("the file ends at byte {}, where storage '{}' should start", bytes.view.size(), excerpt(*name)),
          std::string(kDamagedHint));
    TAPER_ASSIGN(const auto count, reader.read<std::int64_t>());
    const auto size = checked_mul<std::uint64_t>(static_cast<std::uint64_t>(count), *reference->second->element_size);
    if (count < 0 || !size || *size > reader.remaining())
      return fail_with_hint(fmt::format("storage '{}' declares {} elements of {}, the file has {} bytes left",
                                        excerpt(*name), count, excerpt(reference->second->type), reader.remaining()),
                            std::string(kDamagedHint));
    storages.insert_or_assign(reference->first, bytes.sub(reader.offset(), *size));
    TAPER_TRY(reader.seek(reader.offset() + *size));
  }
  return storages;
}

Expected<Checkpoint> read_legacy_checkpoint(const SharedBytes& bytes) {
  constexpr pickle::Limits kFew = {.values = 1000};
  constexpr pickle::Limits kKeys = {.values = std::size_t{1} << 20};
  std::size_t offset = 0;
  TAPER_ASSIGN(const pickle::Document magic, next_pickle(bytes, offset, "magic number", kFew));
  if (!is_legacy_magic(*magic.root))
    return fail_with_hint(
        fmt::format("this is a pickle of {}, but not one written by torch.save", pickle::describe(*magic.root)),
        "save the weights with torch.save(model.state_dict(), 'model.pt')");
  TAPER_ASSIGN(const pickle::Document protocol, next_pickle(bytes, offset, "protocol number", kFew));
  if (protocol.root->integer() != kLegacyProtocol)
    return fail("the file's protocol is {}, expected {}", pickle::describe(*protocol.root), kLegacyProtocol);
  TAPER_ASSIGN(const pickle::Document system, next_pickle(bytes, offset, "system information", kFew));
  TAPER_ASSIGN(pickle::Document document, next_pickle(bytes, offset, "main pickle", {}));
  TAPER_ASSIGN(const pickle::Document keys, next_pickle(bytes, offset, "list of storages", kKeys));
  if (!keys.root->sequence()) return fail("{} stands for the list of storages", pickle::describe(*keys.root));

  StorageSource source;
  source.file_size = bytes.view.size();
  TAPER_ASSIGN(source.references, storage_references(*document.arena));
  TAPER_ASSIGN(StorageBytes storages, legacy_storages(bytes, offset, *keys.root, source.references));
  source.read = [storages = std::move(storages)](const StorageReference& reference) -> Expected<SharedBytes> {
    const auto found = storages.find(reference.key);
    if (found == storages.end()) return fail("the file has no storage '{}'", excerpt(reference.key));
    return found->second;
  };
  return finish(std::move(document), std::move(source), "PyTorch legacy");
}

}  // namespace

Expected<Checkpoint> read_torch_checkpoint(SharedBytes bytes) {
  const std::string_view text = as_text(bytes.view);
  if (looks_like_zip(text)) return read_zip_checkpoint(std::move(bytes));
  if (looks_like_tar(text))
    return fail_with_hint(
        "this is a tar archive, perhaps a checkpoint of PyTorch before 0.1.10, which taper does not read",
        "unpack it, or load it in PyTorch and save it again with torch.save");
  // Protocols 2 to 5 start with PROTO, 0 and 1 of the legacy format with the magic number in decimal.
  if (text.starts_with('\x80') || text.starts_with(fmt::format("L{}", kLegacyMagicDecimal)))
    return read_legacy_checkpoint(bytes);
  return fail("this is not a file of torch.save: it starts neither as a zip archive nor as a pickle");
}

}  // namespace taper
