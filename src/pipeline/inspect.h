// What a file is and holds: anything that taper reads or writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "taper/taper.h"

namespace taper {

struct Inspection {
  std::string what;                                        // "TFLite model", "PyTorch zip checkpoint, SignTransformer"
  std::uint64_t bytes = 0;                                 // of a folder: of all files in it
  std::vector<std::pair<std::string, std::string>> facts;  // "opset": "17", "producer": "pytorch"
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  std::optional<std::int64_t> parameters;  // elements of weights
  std::map<std::string, std::size_t> operators;
  std::vector<TensorInfo> tensors;    // of files of tensors: checkpoints, arrays
  std::optional<WeightTree> modules;  // of checkpoints: what their weights belong to
  std::vector<std::string> notes;     // what was assumed, what is wrong with it
  std::string next_step;              // in one line or several; of weights that can't be converted
  std::string graph;                  // the text form (docs/ir.md), where it was asked for
};

struct InspectOptions {
  bool graph = false;         // read the file as a graph, which may fail where its operators aren't known
  bool every_module = false;  // modules that are alike are not folded into one
  LoadOptions load;           // sizes that are set free are never proven
};

// Nothing in the file is executed. Errors: what reading says; a file of no known kind.
Expected<Inspection> inspect(const std::filesystem::path& path, const InspectOptions& options = {});

// What a TorchScript file tells where its program can't be run as nobody told shapes: the arguments of `forward` and
// the weights, with the reason as a note. Errors: `reason` where there is no `forward`; what reading the archive says.
Expected<Inspection> inspect_torchscript(const SharedBytes& bytes, const Error& reason, const InspectOptions& options);

}  // namespace taper
