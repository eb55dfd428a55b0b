#include "formats/torchscript_archive.h"

#include <algorithm>

#include "formats/archive_kind.h"
#include "formats/text.h"
#include "formats/torch_archive.h"
#include "formats/torch_rebuild.h"

namespace taper::torchscript {
namespace {

constexpr std::string_view kCode = "code/";

// "__torch__.torch.nn.functional" of "code/__torch__/torch/nn/functional.py"
std::string module_name(std::string_view path) {
  std::string name(path.substr(kCode.size(), path.size() - kCode.size() - 3));
  std::ranges::replace(name, '/', '.');
  return name;
}

Status read_sources(const TorchArchive& archive, Archive& result) {
  for (const ZipEntry& entry : archive.zip->entries()) {
    const std::string_view path = without_top_folder(entry.name);
    if (!path.starts_with(kCode) || !path.ends_with(".py") || !entry.name.starts_with(archive.top)) continue;
    TAPER_ASSIGN(SharedBytes bytes, archive.zip->read(entry));
    result.sources.push_back(std::move(bytes));
    TAPER_ASSIGN(SourceFile parsed, parse_source(as_text(result.sources.back().view), std::string(path)));
    const SourceFile& file = result.files.emplace_back(std::move(parsed));
    const std::string module = module_name(file.path);
    for (const Class& type : file.classes)
      result.symbols.emplace(fmt::format("{}.{}", module, type.name), Symbol{&file, &type, nullptr});
    for (const Function& function : file.functions)
      result.symbols.emplace(fmt::format("{}.{}", module, function.name), Symbol{&file, nullptr, &function});
  }
  return {};
}

Expected<std::string> top_folder(const ZipArchive& zip) {
  for (const ZipEntry& entry : zip.entries())
    if (without_top_folder(entry.name) == "constants.pkl") return entry.name.substr(0, entry.name.size() - 13);
  return fail("a zip archive of {} entries without a constants.pkl is not a TorchScript archive", zip.entries().size());
}

// The example inputs are written as tensors whose storages are empty: only their types are read.
void collect_recorded(const pickle::Value& value, const StorageReferences& references, int depth,
                      std::vector<RecordedInput>& out) {
  constexpr int kMostDepth = 16;
  constexpr std::size_t kMostInputs = 256;
  if (depth > kMostDepth || out.size() > kMostInputs) return;
  for (const pickle::Value* item : value.items()) collect_recorded(*item, references, depth + 1, out);
  for (const pickle::Entry& entry : value.entries()) collect_recorded(*entry.value, references, depth + 1, out);
  const pickle::Object* object = value.object();
  if (!object || !object->arguments) return;
  const auto arguments = object->arguments->items();
  if (pickle::class_path(value) == "torch._utils._rebuild_tensor_v2" && arguments.size() > 3) {
    RecordedInput& input = out.emplace_back();
    for (const pickle::Value* size : arguments[2]->items()) input.shape.push_back(size->integer().value_or(-1));
    if (const auto found = references.find(arguments[0]); found != references.end()) input.dtype = found->second.dtype;
  } else if (!arguments.empty()) {
    collect_recorded(*arguments[0], references, depth + 1, out);  // restore_type_tag(value, type)
  }
}

Status read_recorded(const TorchArchive& archive, Archive& result) {
  const ZipEntry* entry = archive.zip->find(archive.top + "traced_inputs.pkl");
  if (!entry) return {};
  TAPER_ASSIGN(SharedBytes bytes, archive.zip->read(*entry));
  TAPER_ASSIGN(const pickle::Document document, pickle::read(std::move(bytes)));
  TAPER_ASSIGN(const StorageReferences references, storage_references(*document.arena));
  const pickle::Value* methods = document.root;
  if (methods->object() && !methods->object()->arguments->items().empty())
    methods = methods->object()->arguments->items()[0];
  if (const pickle::Value* inputs = pickle::find(*methods, "forward"))
    collect_recorded(*inputs, references, 0, result.recorded);
  for (const RecordedInput& input : result.recorded)
    if (std::ranges::any_of(input.shape, [](std::int64_t size) { return size < 0; }))
      return fail("a recorded input has a size below 0");
  return {};
}

}  // namespace

const Symbol* Archive::find(std::string_view name) const {
  const auto found = symbols.find(std::string(name));
  return found != symbols.end() ? &found->second : nullptr;
}

bool is_torchscript(const SharedBytes& bytes) {
  const auto zip = open_zip(bytes);
  return zip && top_folder(*zip);
}

Expected<Archive> read_archive(SharedBytes bytes) {
  TAPER_ASSIGN(TorchArchive archive, open_torch_archive(std::move(bytes)));
  TAPER_ASSIGN(archive.top, top_folder(*archive.zip));
  TAPER_TRY(check_form(archive));
  Archive result;
  TAPER_TRY(read_sources(archive, result));
  TAPER_ASSIGN(pickle::Document data, read_archived_pickle(archive, "data.pkl", {"data/"}));
  result.arena = std::move(data.arena);
  result.root = data.root;
  // Where constants and data share storages (mobile archives), the constants' lie among the data.
  TAPER_ASSIGN(pickle::Document constants, read_archived_pickle(archive, "constants.pkl", {"constants/", "data/"}));
  result.constants_arena = std::move(constants.arena);
  if (!constants.root->sequence()) return fail("constants.pkl holds {}", pickle::describe(*constants.root));
  const auto items = constants.root->items();
  result.constants.assign(items.begin(), items.end());
  if (auto status = read_recorded(archive, result); !status)
    return std::unexpected(within(std::move(status).error(), "in entry 'traced_inputs.pkl'"));
  return result;
}

}  // namespace taper::torchscript
