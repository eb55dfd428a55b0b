// What each fuzzer does with an input. The corpora go through the same functions as plain tests.
#pragma once

#include <cstdlib>
#include <string>

#include "../formats/builders.h"
#include "formats/checkpoint_file.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "formats/saved_model.h"
#include "formats/zip.h"
#include "ir/text.h"

namespace taper::fuzz {

// For properties that must hold whatever the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

inline void use(const Tensor& tensor) {
  constexpr std::int64_t kEnough = 1 << 16;
  if (tensor.element_count() > kEnough) return;
  require(to_double(tensor).size() == static_cast<std::size_t>(tensor.element_count()));
}

inline void zip(Bytes input) {
  const auto archive = open_zip(share({input.begin(), input.end()}));
  if (!archive) return;
  for (const ZipEntry& entry : archive->entries()) {
    require(archive->find(entry.name) == &entry);
    const auto bytes = archive->read(entry);
    require(!bytes || bytes->view.size() == entry.size);
    static_cast<void>(archive->verify(entry));
  }
}

inline void use(const pickle::Arena& arena) {
  for (const pickle::Value& value : arena.values) {
    require(!pickle::describe(value).empty());
    static_cast<void>(pickle::class_path(value));
    static_cast<void>(pickle::attribute(value, "_modules"));
    if (value.tensor()) use(value.tensor()->tensor);
  }
}

inline void pickle(Bytes input) {
  const auto document = taper::pickle::read(share({input.begin(), input.end()}));
  if (!document) return;
  require(document->size <= input.size());
  use(*document->arena);
}

inline void use(const Checkpoint& checkpoint) {
  use(*checkpoint.arena);
  static_cast<void>(state_dict_of(*checkpoint.root));
  static_cast<void>(flatten_module(*checkpoint.root));
  for (const taper::pickle::Entry& entry : checkpoint.root->entries()) {
    static_cast<void>(state_dict_of(*entry.value));
    static_cast<void>(flatten_module(*entry.value));
  }
}

inline void checkpoint(Bytes input) {
  const auto read = read_checkpoint(share({input.begin(), input.end()}));
  if (read) use(*read);
}

// The input is the pickle of an archive that holds two storages, so that mutations reach the rebuilding of tensors.
inline void torch_pickle(Bytes input) {
  const std::string pickled(as_text(input));
  const auto read = read_torch_checkpoint(shared(torch_zip(
      pickled, {stored("archive/data/0", std::string(96, '\1')), stored("archive/data/1", std::string(8, '\2'))})));
  if (read) use(*read);
}

inline void safetensors(Bytes input) {
  const auto file = read_safetensors(share({input.begin(), input.end()}));
  if (!file) return;
  for (const auto& [name, tensor] : file->tensors) use(tensor);
}

inline void npy(Bytes input) {
  const SharedBytes bytes = share({input.begin(), input.end()});
  if (const auto tensor = read_npy(bytes); tensor && tensor->element_count() < (1 << 16)) {
    const auto again = read_npy(share(write_npy(*tensor)));
    require(again && identical(*tensor, *again));
  }
  if (const auto arrays = read_npz(bytes))
    for (const auto& [name, tensor] : *arrays) use(tensor);
}

// The length of the index in two bytes, the index, the data.
inline void tensor_bundle(Bytes input) {
  if (input.size() < 2) return;
  const auto length = static_cast<std::size_t>(input[0]) | static_cast<std::size_t>(input[1]) << 8;
  const SharedBytes all = share({input.begin() + 2, input.end()});
  const std::size_t cut = std::min(length, all.view.size());
  const auto tensors = read_tensor_bundle(all.sub(0, cut), all.sub(cut, all.view.size() - cut));
  if (!tensors) return;
  for (const auto& [name, tensor] : *tensors) use(tensor);
}

// What is read is written and read again.
inline void saved_model(Bytes input) {
  const auto model = read_saved_model(input);
  if (!model) return;
  std::vector<std::byte> written;
  require(write_saved_model(*model, sink_to(written)).has_value());
  require(read_saved_model(written).has_value());
  for (const auto& node : model->meta_graphs(0).graph_def().node())
    for (const auto& [name, attr] : node.attr())
      if (const auto tensor = tensorflow_tensor(attr.tensor())) use(*tensor);
}

// What is read prints as itself.
inline void ir(Bytes input) {
  static const SharedBytes blob = share(std::vector<std::byte>(256));
  const auto graph = parse(as_text(input), blob);
  if (!graph) return;
  std::vector<std::byte> kept;
  const std::string text = print(*graph, &kept);
  const auto again = parse(text, share(std::move(kept)));
  require(again && same_graph(*graph, *again));
  static_cast<void>(check_structure(*again));
}

struct Target {
  std::string_view name;  // also of the folder in corpus/
  void (*run)(Bytes);
};

inline constexpr Target kTargets[] = {
    {"zip", zip},
    {"pickle", pickle},
    {"checkpoint", checkpoint},
    {"torch_pickle", torch_pickle},
    {"safetensors", safetensors},
    {"npy", npy},
    {"tensor_bundle", tensor_bundle},
    {"saved_model", saved_model},
    {"ir", ir},
};

}  // namespace taper::fuzz
