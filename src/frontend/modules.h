// Whole pickled modules (torch.save(model)) as graphs, where the modules are PyTorch's own.
#pragma once

#include "formats/torch_checkpoint.h"
#include "frontend/program.h"

namespace taper {

// Builds the graph of a pickled torch.nn module: Sequential, and the classes of torch.nn whose forward follows from
// their attributes. All run as in eval(). Inputs bear the names of forward's arguments in PyTorch ("input", "src",
// "query", ...), outputs are output, output_1, ... . Errors: a class that has a forward of its own, which a file does
// not hold (the message names it and shows how to save the model instead), hooks, shapes that `options` do not give,
// classes of torch.nn without a row, all at once.
Expected<ImportedProgram> import_module(const Checkpoint& checkpoint, const ProgramOptions& options);

}  // namespace taper
