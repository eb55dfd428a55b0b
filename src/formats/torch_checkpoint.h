// Checkpoints written by torch.save: a pickle of plain values and tensors over storages in the same file.
// Both formats are read: the zip archive (PyTorch 1.6 on) and the legacy stream of pickles (magic
// 0x1950a86a20f9469cfc6c).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "formats/pickle.h"

namespace taper {

// What a checkpoint holds. `root` and all it reaches live in `arena`; tensors view the file's bytes (or, for deflated
// entries, buffers of their own) and keep them alive.
struct Checkpoint {
  std::string format;  // "PyTorch zip", "PyTorch legacy", "safetensors"
  std::shared_ptr<const pickle::Arena> arena;
  const pickle::Value* root = nullptr;
  std::vector<std::pair<std::string, std::string>> metadata;  // of safetensors
};

// Reads a file of torch.save. In the result these are plain values already: tensors and parameters (kind `tensor`, or
// `unsupported` for sparse, quantised, complex and meta ones), NumPy arrays (`tensor`) and scalars (numbers),
// OrderedDict, defaultdict and Counter (`dict`), sets, torch.Size (a tuple), builtins such as int and complex' parts
// where they have a plain value. Dtypes are Globals ("torch.float32"). All other classes are inert Objects. Errors: not
// such a file, truncated, storages missing or shorter than declared, tensors that reach outside of their storage,
// TorchScript and torch.export archives and the tar format of 2016 (by name, with a hint), and pickles that would run
// something dangerous if Python loaded them, such as posix.system (formats/pickle_scan.h).
Expected<Checkpoint> read_torch_checkpoint(SharedBytes bytes);

struct NamedTensor {
  std::string key;
  const pickle::TensorValue* value;
  bool persistent = true;  // false: a buffer that the module's own state_dict() leaves out
};

struct NamedProblem {
  std::string key;
  std::string reason;  // "is a sparse tensor"
};

// The tensors of a state dict, in its order.
struct StateDict {
  std::vector<NamedTensor> tensors;
  std::vector<NamedProblem> unsupported;  // tensors that can't be weights
  std::vector<std::string> others;        // keys whose value is no tensor
};

// A dict with a key of more bytes than these is read as no state dict.
constexpr std::size_t kMostKeyLength = 4096;

// Reads a dict whose keys are texts and most of whose values (more than half) are tensors; nothing if it isn't one.
std::optional<StateDict> state_dict_of(const pickle::Value& value);

// A module of a whole pickled model. Attributes are read with pickle::attribute(*object, name).
struct Module {
  std::string path;        // "encoder_layers.0.attention", "" for the root
  std::string class_path;  // "models.transformer.MultiHeadAttention"
  const pickle::Value* object;
};

struct ModuleTree {
  std::vector<Module> modules;  // the root first, then depth first in the order of registration
  StateDict state;              // parameters, then buffers of each module in the same order, as state_dict() gives them
};

// Whether the value is an object with `_parameters`, `_buffers` and `_modules`: a pickled torch.nn.Module.
bool is_module(const pickle::Value& value);
// Flattens a pickled module. Non-persistent buffers are included and marked; entries that are None are left out.
// Errors: not a module, modules nested deeper than 200 or more than 65536 of them (a cycle).
Expected<ModuleTree> flatten_module(const pickle::Value& value);

}  // namespace taper
