#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/mapped_file.h"
#include "formats/checkpoint_file.h"
#include "formats/saved_model.h"
#include "formats/text.h"
#include "formats/weights.h"
#include "frontend/families.h"
#include "frontend/modules.h"
#include "frontend/outline.h"
#include "frontend/weights.h"
#include "ops/evaluate.h"
#include "ops/grid.h"
#include "pipeline/fitting_sizes.h"
#include "pipeline/freed_sizes.h"
#include "pipeline/model.h"
#include "pipeline/program_inputs.h"
#include "pipeline/sources.h"
#include "report/text.h"

namespace taper {
namespace {

// In pieces, so that a mapped file need not be in memory whole.
Expected<std::string> sha256(Bytes bytes) {
  constexpr std::size_t kPiece = 1 << 22;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  bool good = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  for (std::size_t at = 0; good && at < bytes.size(); at += kPiece) {
    const Bytes piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
    good = EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1;
    release_pages(piece);
  }
  if (!good || EVP_DigestFinal_ex(context.get(), digest, &size) != 1) return fail("SHA-256 is not available");
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

Expected<Model::Impl> load_family(const Checkpoint& checkpoint, const LoadOptions& options) {
  if (!options.inputs.empty() && recognises_family(checkpoint, options.config))
    return fail_with_hint(fmt::format("the input '{}' is described, but this is a state dict, whose family decides",
                                      printable(options.inputs[0].name)),
                          "leave the flags for inputs out; --sequence-length sets the number of frames");
  TAPER_ASSIGN(ImportedModel imported, import_checkpoint(checkpoint, options));
  Model::Impl impl;
  impl.graph = std::move(imported.graph);
  impl.info = std::move(imported.info);
  impl.symbols = {{std::string(kBatch), {.least = 1}},
                  {std::string(kSteps), {.least = 1, .most = kMostFrames, .usual = options.sequence_length}}};
  return impl;
}

// Statistics of norms are no parameters: they are measured in training, not learned.
bool is_statistic(std::string_view name) {
  return name.ends_with("running_mean") || name.ends_with("running_var");
}

// Every weight once, however many constants view it.
void count_weights(const Graph& graph, std::set<const std::byte*>& seen, std::int64_t& count) {
  for (const Node& node : graph.nodes()) {
    const Tensor* tensor = node.results.empty() ? nullptr : constant_of(node.results[0]);
    if (tensor != nullptr && is_floating(tensor->dtype) && !is_statistic(node.results[0]->name) &&
        seen.insert(tensor->storage.view.data()).second)
      count = checked_add(count, tensor->element_count()).value_or(count);
    for (const auto& region : node.regions) count_weights(*region, seen, count);
  }
}

// Looks at every constant with axes once.
void find_not_finite(const Graph& graph, std::set<ConstantKey>& seen, NotFiniteWeights& found) {
  for (const Node& node : graph.nodes()) {
    const Tensor* tensor = node.results.empty() ? nullptr : constant_of(node.results[0]);
    if (tensor != nullptr && is_floating(tensor->dtype) && tensor->rank() > 0 && seen.insert(key_of(*tensor)).second)
      found.look_at(node.results[0]->name, *tensor, true);
    for (const auto& region : node.regions) find_not_finite(*region, seen, found);
  }
}

// `fits`: whether to look for sizes that the network runs at.
Expected<Model::Impl> model_of_program(ImportedProgram program, const ProgramOptions& options, SourceKind kind,
                                       bool fits) {
  TAPER_TRY(apply_shapes(options, program));
  TAPER_TRY(separate_names(program));
  if (program.graph.outputs().empty()) return fail("the program has no outputs");
  Model::Impl impl;
  impl.symbols = complete_symbols(program);
  impl.graph = std::move(program.graph);
  if (fits) fit_usual_sizes(impl.graph, impl.symbols);
  impl.info.kind = kind;
  impl.info.family = impl.graph.name;
  impl.info.source_format = program_format(kind);
  impl.info.assumptions = std::move(program.assumptions);
  impl.info.warnings = std::move(program.warnings);
  for (const Output& output : impl.graph.outputs()) impl.info.outputs.push_back(output.name);
  std::set<const std::byte*> seen;
  count_weights(impl.graph, seen, impl.info.parameters);
  std::set<ConstantKey> constants;
  NotFiniteWeights not_finite;
  find_not_finite(impl.graph, constants, not_finite);
  if (auto warning = not_finite.warning()) impl.info.warnings.push_back(*std::move(warning));
  if (!impl.graph.inputs().empty()) {
    const auto shape = evaluate(impl.graph.inputs()[0]->type.shape, usual_sizes(impl.symbols));
    if (shape) impl.info.input_shape = *shape;
  }
  return impl;
}

TensorInfo tensor_info(const std::string& name, const Type& type) {
  return {name, std::string(info(type.dtype).name), shape_text(type.shape)};
}

void describe_types(Model::Impl& impl) {
  for (const Value* input : impl.graph.inputs()) impl.info.inputs.push_back(tensor_info(input->name, input->type));
  for (const Output& output : impl.graph.outputs())
    impl.info.output_types.push_back(tensor_info(output.name, output.value->type));
}

struct FoundModule {
  const pickle::Value* module = nullptr;
  std::string key;  // in the dict around it, if there is one
};

// The network that was saved whole, or the only one in a dict of what a training run saves beside it.
FoundModule find_module(const pickle::Value& root) {
  if (is_module(root)) return {&root, {}};
  FoundModule found;
  if (root.dict() == nullptr) return found;
  for (const pickle::Entry& entry : root.entries()) {
    if (!is_module(*entry.value)) continue;
    if (found.module != nullptr) return {};
    found = {entry.value, pickle::describe(*entry.key)};
    if (const auto text = entry.key->text()) found.key = *text;
  }
  return found;
}

// What a folder holds that could have been meant.
std::unexpected<Error> refuse_folder(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  constexpr std::size_t kMostLooked = 1000, kMostNamed = 5;
  constexpr std::string_view kEndings[] = {".pt2", ".pt", ".pth", ".onnx", ".safetensors", ".ckpt", ".bin", ".ptl"};
  std::vector<std::string> files;
  std::error_code error;
  std::size_t looked = 0;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end && looked < kMostLooked;
       entry.increment(error), ++looked)
    if (std::ranges::find(kEndings, entry->path().extension().native()) != std::end(kEndings) &&
        entry->is_regular_file(error))
      files.push_back(path_text(entry->path()));
  std::ranges::sort(files);
  std::string hint = "name a file in it";
  if (fs::exists(path / kSavedModelFile, error))
    hint =
        "it is a SavedModel of TensorFlow, which taper writes and does not convert; 'taper inspect' shows what it "
        "holds";
  else if (!files.empty())
    hint += ": " + shortened(files, kMostNamed);
  return fail_with_hint(fmt::format("'{}' is a folder, expected a file", path_text(path)), std::move(hint));
}

Expected<Model::Impl> load_source(const SharedBytes& bytes, const std::filesystem::path& path,
                                  const LoadOptions& options) {
  if (const auto kind = program_kind(bytes)) {
    TAPER_ASSIGN(const ProgramOptions said, program_options(options.inputs));
    const auto read = [&](const ProgramOptions& reading) { return import_program(*kind, bytes, path, reading); };
    TAPER_ASSIGN(ImportedProgram program, read_with_freed_sizes(read, said, options.proves_sizes));
    return model_of_program(std::move(program), said, *kind, options.proves_sizes);
  }
  auto read = read_checkpoint(bytes);
  if (!read) return std::unexpected(perhaps_damaged(std::move(read).error()));
  Checkpoint checkpoint = *std::move(read);
  const FoundModule found = find_module(*checkpoint.root);
  if (found.module == nullptr || recognises_family(checkpoint, options.config)) return load_family(checkpoint, options);
  TAPER_ASSIGN(const ProgramOptions said, program_options(options.inputs));
  checkpoint.root = found.module;
  auto imported = import_module(checkpoint, said);
  if (!imported && !found.key.empty())
    return std::unexpected(within(std::move(imported).error(),
                                  fmt::format("in the module under '{}' of the file's dict", printable(found.key))));
  TAPER_ASSIGN(ImportedProgram program, std::move(imported));
  if (!found.key.empty())
    program.assumptions.push_back(
        fmt::format("of the file's dict, the module under '{}' is converted", printable(found.key)));
  return model_of_program(std::move(program), said, SourceKind::module, options.proves_sizes);
}

Expected<Model> load_bytes(const SharedBytes& bytes, const std::filesystem::path& path, const LoadOptions& options) {
  TAPER_ASSIGN(Model::Impl loaded, load_source(bytes, path, options));
  auto impl = std::make_shared<Model::Impl>(std::move(loaded));
  impl->source = bytes;
  impl->info.source = path;
  describe_types(*impl);
  TAPER_ASSIGN(impl->info.source_sha256, sha256(bytes.view));
  return Model(std::move(impl));
}

}  // namespace

const ModelInfo& Model::info() const {
  return impl_->info;
}

std::vector<std::string> known_families() {
  return family_names();
}

std::optional<WeightTree> unknown_weights(const std::filesystem::path& path, const LoadOptions& options) {
  const auto bytes = map_file(path);
  if (!bytes || program_kind(*bytes)) return std::nullopt;
  const auto checkpoint = read_checkpoint(*bytes);
  if (!checkpoint || find_module(*checkpoint->root).module != nullptr || recognises_family(*checkpoint, options.config))
    return std::nullopt;
  auto sets = find_weights(*checkpoint->root);
  if (!sets || sets->empty()) return std::nullopt;
  // Averages hold the same once more.
  if (std::ranges::any_of(*sets, [](const WeightSet& set) { return !set.averaged; }))
    std::erase_if(*sets, [](const WeightSet& set) { return set.averaged; });
  return outline(*sets);
}

Expected<Model> load(const std::filesystem::path& path, const LoadOptions& options) {
  std::error_code ignored;
  if (std::filesystem::is_directory(std::filesystem::symlink_status(path, ignored))) return refuse_folder(path);
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  auto model = unless_changed(bytes, load_bytes(bytes, path, options));
  if (!model) return std::unexpected(within(std::move(model).error(), fmt::format("in file '{}'", path_text(path))));
  return model;
}

}  // namespace taper
