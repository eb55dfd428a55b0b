// bytes -> plain structs: each reader refuses its input, or gives what can be used.
#include "../formats/builders.h"
#include "formats/checkpoint_file.h"
#include "formats/npy.h"
#include "formats/onnx.h"
#include "formats/pickle_scan.h"
#include "formats/safetensors.h"
#include "formats/saved_model.h"
#include "formats/zip.h"
#include "frontend/families.h"
#include "pipeline/steps.h"
#include "quantize/recipe.h"
#include "targets.h"

namespace taper::fuzz {

void use(const Tensor& tensor) {
  constexpr std::int64_t kEnough = 1 << 16;
  if (tensor.element_count() > kEnough) return;
  require(to_double(tensor).size() == static_cast<std::size_t>(tensor.element_count()));
}

void zip(Bytes input) {
  const auto archive = open_zip(share({input.begin(), input.end()}));
  if (!archive) return;
  for (const ZipEntry& entry : archive->entries()) {
    require(archive->find(entry.name) == &entry);
    const auto bytes = archive->read(entry);
    require(!bytes || bytes->view.size() == entry.size);
    static_cast<void>(archive->verify(entry));
  }
}

namespace {

void walk(const pickle::Arena& arena) {
  for (const pickle::Value& value : arena.values) {
    require(!pickle::describe(value).empty());
    static_cast<void>(pickle::class_path(value));
    static_cast<void>(pickle::attribute(value, "_modules"));
    if (value.tensor()) use(value.tensor()->tensor);
  }
}

}  // namespace

void pickle(Bytes input) {
  const auto document = taper::pickle::read(share({input.begin(), input.end()}));
  if (!document) return;
  require(document->size <= input.size());
  walk(*document->arena);
}

// A verdict in any case, with a reason where it is not "clean" and places that the file has.
void pickle_scan(Bytes input) {
  const FileScan scan = scan_bytes(share({input.begin(), input.end()}));
  require((scan.verdict == Verdict::clean) == scan.reason.empty());
  require(!scan.format.empty());
  for (const ScanFinding& finding : scan.findings) {
    require(!finding_text(finding.mention).empty());
    require(!finding.file_offset || *finding.file_offset < input.size());
  }
}

namespace {

void walk(const Checkpoint& checkpoint) {
  walk(*checkpoint.arena);
  static_cast<void>(state_dict_of(*checkpoint.root));
  static_cast<void>(flatten_module(*checkpoint.root));
  for (const taper::pickle::Entry& entry : checkpoint.root->entries()) {
    static_cast<void>(state_dict_of(*entry.value));
    static_cast<void>(flatten_module(*entry.value));
  }
}

}  // namespace

void checkpoint(Bytes input) {
  const auto read = read_checkpoint(share({input.begin(), input.end()}));
  if (read) walk(*read);
}

// The input is the pickle of an archive that holds two storages, so that mutations reach the rebuilding of tensors.
void torch_pickle(Bytes input) {
  const std::string pickled(as_text(input));
  const auto read = read_torch_checkpoint(shared(torch_zip(
      pickled, {stored("archive/data/0", std::string(96, '\1')), stored("archive/data/1", std::string(8, '\2'))})));
  if (read) walk(*read);
}

void safetensors(Bytes input) {
  const auto file = read_safetensors(share({input.begin(), input.end()}));
  if (!file) return;
  for (const auto& [name, tensor] : file->tensors) use(tensor);
}

void npy(Bytes input) {
  const SharedBytes bytes = share({input.begin(), input.end()});
  if (const auto tensor = read_npy(bytes); tensor && tensor->element_count() < (1 << 16)) {
    const auto again = read_npy(share(write_npy(*tensor)));
    require(again && identical(*tensor, *again));
  }
  if (const auto arrays = read_npz(bytes))
    for (const auto& [name, tensor] : *arrays) use(tensor);
}

// The index with its length before it, then the data.
void tensor_bundle(Bytes input) {
  const Bytes index = take_part(input);
  const auto tensors = read_tensor_bundle(share({index.begin(), index.end()}), share({input.begin(), input.end()}));
  if (!tensors) return;
  for (const auto& [name, tensor] : *tensors) use(tensor);
}

// What is read is written and read again.
void saved_model(Bytes input) {
  const auto model = read_saved_model(input);
  if (!model) return;
  std::vector<std::byte> written;
  require(write_saved_model(*model, sink_to(written)).has_value());
  require(read_saved_model(written).has_value());
  for (const auto& node : model->meta_graphs(0).graph_def().node())
    for (const auto& [name, attr] : node.attr())
      if (const auto tensor = tensorflow_tensor(attr.tensor())) use(*tensor);
}

// What is read is written and read again.
void onnx(Bytes input) {
  const auto model = read_onnx(input);
  if (!model) return;
  std::vector<std::byte> written;
  require(write_onnx(*model, {}, sink_to(written)).has_value());
  require(read_onnx(written).has_value());
  for (const auto& initializer : model->graph().initializer())
    if (const auto tensor = onnx_tensor(initializer)) use(*tensor);
}

void config(Bytes input) {
  static const std::vector<std::string> families = family_names();
  const auto file = parse_config(as_text(input), families);
  if (file) static_cast<void>(file->of("gru"));
}

void recipe(Bytes input) {
  const auto read = parse_recipe(as_text(input));
  if (!read) return;
  for (const RecipeEntry& entry : read->entries) require(!scheme_name(entry.config).empty());
  const RecipeEntry* entry = entry_for(*read, {"encoder.layers.1.linear1", {"linear_7"}}, "FULLY_CONNECTED");
  require(entry == nullptr || !read->entries.empty());
  const FixedRange* told = range_for(*read, "input");
  require(told == nullptr || (told->range.low <= 0 && told->range.high >= 0));
}

}  // namespace taper::fuzz
