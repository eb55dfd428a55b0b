// Programs of torch.export (.pt2) -> graphs.
#pragma once

#include "base/bytes.h"
#include "frontend/program.h"

namespace taper {

// Reads a program of torch.export.save. Inputs bear the names of the program's signature; outputs those of its dict
// keys, or `output`, `output_1`, ... `options` may rename or fix symbols by shapes, give other dtypes to inputs, and
// free sizes that the export froze: literals of the program that follow from such a size are replaced where the shapes
// of the operands say so. Errors: what read_exported_program says, operators that can't be converted (all at once),
// inputs that the program doesn't have, sizes outside of their ranges, and operators whose shape rule fails, with the
// module and source line.
Expected<ImportedProgram> import_exported_program(const SharedBytes& file, const ProgramOptions& options);

}  // namespace taper
