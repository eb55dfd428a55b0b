// What a program (torch.export, TorchScript, ONNX) becomes: a graph, and what is known of its symbols.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace taper {

// What a symbolic size may be, and a value that it usually has.
struct SymbolRange {
  std::int64_t least = 0;
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
  std::int64_t usual = 1;
};

struct ImportedProgram {
  Graph graph;  // inputs and outputs bear the names of the program's signature
  std::map<std::string, SymbolRange, std::less<>> symbols;
  std::vector<std::string> assumptions;  // a sentence per thing that was decided for the user
  std::vector<std::string> warnings;
};

}  // namespace taper
