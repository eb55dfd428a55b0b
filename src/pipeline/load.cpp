#include <openssl/evp.h>

#include "base/mapped_file.h"
#include "formats/checkpoint_file.h"
#include "pipeline/model.h"
#include "report/text.h"

namespace taper {
namespace {

Expected<std::string> sha256(Bytes bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1)
    return fail("SHA-256 is not available");
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

Expected<Model> load_bytes(const SharedBytes& bytes, const std::filesystem::path& path, const LoadOptions& options) {
  TAPER_ASSIGN(const Checkpoint checkpoint, read_checkpoint(bytes));
  auto impl = std::make_shared<Model::Impl>();
  TAPER_ASSIGN(impl->imported, import_checkpoint(checkpoint, options));
  impl->sequence_length = options.sequence_length;
  impl->imported.info.source = path;
  impl->source = bytes;
  TAPER_ASSIGN(impl->imported.info.source_sha256, sha256(bytes.view));
  return Model(std::move(impl));
}

}  // namespace

const ModelInfo& Model::info() const {
  return impl_->imported.info;
}

std::vector<std::string> known_families() {
  return family_names();
}

Expected<Model> load(const std::filesystem::path& path, const LoadOptions& options) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  auto model = unless_changed(bytes, load_bytes(bytes, path, options));
  if (!model) return std::unexpected(within(std::move(model).error(), fmt::format("in file '{}'", path_text(path))));
  return model;
}

}  // namespace taper
