// TorchScript archives (torch.jit.save, and .ptl of the mobile interpreter): source, attributes and constants.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "formats/pickle.h"
#include "formats/torchscript_source.h"

namespace taper::torchscript {

// What a qualified name ("__torch__.torch.nn.functional.relu") stands for: a class or a function.
struct Symbol {
  const SourceFile* file = nullptr;
  const Class* type = nullptr;
  const Function* function = nullptr;
};

// An example input that torch.jit.trace left in the archive.
struct RecordedInput {
  std::vector<std::int64_t> shape;
  std::optional<DType> dtype;
};

struct Archive {
  std::deque<SourceFile> files;
  std::vector<SharedBytes> sources;  // what the files view
  std::unordered_map<std::string, Symbol> symbols;
  std::shared_ptr<const pickle::Arena> arena;
  const pickle::Value* root = nullptr;  // the module: an object whose class is one of the symbols
  std::shared_ptr<const pickle::Arena> constants_arena;
  std::vector<const pickle::Value*> constants;  // CONSTANTS.c0, ...
  std::vector<RecordedInput> recorded;          // of `forward`, nested ones one after another; empty if none were left

  const Symbol* find(std::string_view name) const;
};

// Whether the archive is one: by the names of its entries.
bool is_torchscript(const SharedBytes& bytes);

// Reads an archive. Tensors are read as in checkpoints. Errors: not such an archive, source that doesn't parse, damaged
// entries. Time is linear in the file.
Expected<Archive> read_archive(SharedBytes bytes);

}  // namespace taper::torchscript
