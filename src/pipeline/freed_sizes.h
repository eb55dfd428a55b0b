// Programs some of whose frozen sizes are set free, and what shows that this was right.
#pragma once

#include <functional>

#include "frontend/program.h"

namespace taper {

using ReadProgram = std::function<Expected<ImportedProgram>(const ProgramOptions&)>;

// Reads a program. Where frozen sizes are set free, it is compared with the program as it is: at the sizes that it was
// made with, and at twice a freed size, where each half must give what the program gives for it alone. That proves the
// sizes of batches; of the ways to read what literals don't tell (ProgramOptions::reading) the one is taken that proves
// most. Sizes that nothing proves, as steps that influence one another, are told in the warnings, with all that was
// decided by numbers alone. Without `proves` nothing is evaluated, the first way is taken, and a warning says so.
// Errors: what reading says; other results at the sizes that the program was made with.
Expected<ImportedProgram> read_with_freed_sizes(const ReadProgram& read, const ProgramOptions& options,
                                                bool proves = true);

}  // namespace taper
