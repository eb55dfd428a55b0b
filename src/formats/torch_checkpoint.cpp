#include "formats/torch_checkpoint.h"

#include <algorithm>
#include <unordered_map>

#include "formats/archive_kind.h"
#include "formats/file_look.h"
#include "formats/pickle_scan.h"
#include "formats/text.h"
#include "formats/torch_archive.h"
#include "formats/torch_rebuild.h"

namespace taper {
namespace {

// torch/serialization.py: MAGIC_NUMBER 0x1950a86a20f9469cfc6c and PROTOCOL_VERSION of the legacy format.
constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::string_view kLegacyMagicDecimal = "119547037146038801333356";
constexpr std::int64_t kLegacyProtocol = 1001;

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
  if (tops.empty()) {
    std::vector<std::string> names;
    for (const ZipEntry& entry : archive.entries()) names.push_back(excerpt(entry.name));
    return fail_with_hint(fmt::format("a zip archive of {} {} without a data.pkl is not a PyTorch checkpoint{}",
                                      names.size(), names.size() == 1 ? "entry" : "entries",
                                      names.empty() ? "" : fmt::format(" ({})", shortened(names, 5))),
                          "unpack it if a checkpoint is in it, and give that file");
  }
  return fail("the archive holds {} files data.pkl, in '{}' and '{}', expected one", tops.size(), tops[0], tops[1]);
}

Expected<Checkpoint> read_zip_checkpoint(SharedBytes bytes) {
  TAPER_ASSIGN(TorchArchive archive, open_torch_archive(std::move(bytes)));
  TAPER_ASSIGN(archive.top, top_folder(*archive.zip));
  TAPER_TRY(check_form(archive));
  TAPER_ASSIGN(pickle::Document document, read_archived_pickle(archive, "data.pkl", {"data/", ".data/"}));
  return Checkpoint{"PyTorch zip", std::move(document.arena), document.root, {}};
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
