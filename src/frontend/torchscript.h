// TorchScript archives as graphs.
#pragma once

#include "base/bytes.h"
#include "frontend/program.h"

namespace taper {

// Whether the bytes are a TorchScript archive (torch.jit.save, or .ptl).
bool is_torchscript(const SharedBytes& file);

// Runs `forward` abstractly: what depends on the inputs' elements becomes the graph, all else is computed. Inputs bear
// the names of forward's arguments; the entries of lists and tuples are name_0, name_1, ..., those of dicts name_key.
// Outputs are the keys of a dict, the fields of a NamedTuple, else output, output_1, ... . Shapes are those of
// `options`, else those of the example inputs that torch.jit.trace left. Errors: damaged archives, shapes that are not
// known (the message shows the flags to give), all operators that can't be read at once, exceptions that the program
// raises, conditions on sizes that are not known, what TorchScript has and this reader has not (a message names the
// line).
Expected<ImportedProgram> import_torchscript(const SharedBytes& file, const ProgramOptions& options);

}  // namespace taper
