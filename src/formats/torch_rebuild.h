// From what a pickle says to plain values: the constructors that checkpoints use, each turned into data. Internal to
// formats.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "formats/pickle.h"

namespace taper {

// A persistent id of torch.save: ('storage', class, key, location, numel[, view]).
struct StorageReference {
  struct View {  // of legacy files: a part of the storage, in elements
    std::uint64_t offset;
    std::uint64_t size;
  };
  std::string_view key;
  std::string_view type;                      // the class's name: "FloatStorage"
  std::optional<DType> dtype;                 // nothing for element types that taper doesn't read
  std::optional<DType> parts;                 // of complex numbers
  std::optional<std::uint64_t> element_size;  // known for more types than `dtype` is
  std::uint64_t count = 0;                    // elements of the whole storage
  std::optional<View> view;
};

// By the Persistent value that refers to it.
using StorageReferences = std::unordered_map<const pickle::Value*, StorageReference>;

// Reads all persistent ids of the arena. Those of legacy files that stand for a class with its source ('module', class,
// ...) become that class in place. Errors: a storage's id that is not as above.
Expected<StorageReferences> storage_references(pickle::Arena& arena);

// Where storages come from.
struct StorageSource {
  StorageReferences references;
  // All bytes of the storage, at least `count` elements of them.
  std::function<Expected<SharedBytes>(const StorageReference&)> read;
  bool big_endian = false;
  std::size_t file_size = 0;
};

// Replaces in place, so that shared values stay shared, every Object whose constructor is known by the value it makes.
// Errors: a tensor's constructor with arguments that it can't have, a tensor outside of its storage, tensors that
// repeat the same few bytes (stride 0) up to sizes that the file doesn't justify, collections copied over and over.
Status rebuild_values(pickle::Arena& arena, const StorageSource& source);

}  // namespace taper
