// Networks known by their state dicts: a checkpoint's names and shapes -> the graph of the network that has them.
#pragma once

#include <string>
#include <vector>

#include "formats/torch_checkpoint.h"
#include "ir/graph.h"
#include "taper/taper.h"

namespace taper {

inline constexpr std::int64_t kMostFrames = 100'000;  // the longest sequence_length

// The graph has the input `input`, float32 [batch_size, sequence_length, F], and the output `output`: logits [B, G], or
// log-probabilities [B, T, K] of the CTC families; with all heads also `category` ([B, C], [B, T, C]), where there is
// one. Weights are `constant` nodes named by their keys (prefixes such as `module.` left out), float32: those that the
// file holds as contiguous float32 are views of it. `info` is complete but for source and source_sha256.
struct ImportedModel {
  Graph graph;
  ModelInfo info;
};

// Finds the weights in a checkpoint, recognises their family and builds its network. Values that shapes don't tell
// come, in this order, from `options.config`, the attributes of a pickled module, hyper-parameters beside the weights,
// or the family's defaults, which `info.assumptions` names. Errors: no weights, an unknown architecture, keys that are
// missing or have other shapes (all of them), a number of heads that doesn't divide the embedding, a sequence length
// that the positional table doesn't reach (unless it is the sinusoid, which is continued) or outside of 1 to
// kMostFrames.
Expected<ImportedModel> import_checkpoint(const Checkpoint& checkpoint, const LoadOptions& options);

// Whether some weights in the checkpoint have most keys of a family, or are said to be of one by the configuration:
// what doesn't fit is then worth telling, and a module is not looked at as one of torch.nn's.
bool recognises_family(const Checkpoint& checkpoint, const ModelConfig& config);

// "SignTransformer", "MediaPipeGRU", "SignTransformerCtc", "MediaPipeGRUCtc".
std::vector<std::string> family_names();

}  // namespace taper
