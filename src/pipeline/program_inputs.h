// What the caller says of a program's inputs: from text, and held against the program that was read.
#pragma once

#include <vector>

#include "pipeline/model.h"

namespace taper {

// Errors: shapes and dtypes that can't be read, an input that is described twice.
Expected<ProgramOptions> program_options(const std::vector<InputOptions>& inputs);

// Gives the inputs the shapes that were asked for: numbers take the place of symbols. Errors: an input that the program
// doesn't have, another rank, a size that the program fixed or whose range has no such number, sizes that tell no
// symbol.
Status apply_shapes(const ProgramOptions& options, ImportedProgram& program);

// Gives each output a name of its own: one that an input or an earlier output has gets a number behind it, and is noted
// in the program's assumptions. Files name inputs and outputs in one space.
Status separate_names(ImportedProgram& program);

// The ranges of all symbols of the inputs, where the program tells none those of any size.
Symbols complete_symbols(const ImportedProgram& program);

}  // namespace taper
