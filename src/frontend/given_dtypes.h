// The dtypes that callers give inputs (--input-dtype), and those in which programs get them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/program.h"
#include "ops/builder.h"

namespace taper {

// An input of a program: what its file says, or what it is taken for where the file says nothing.
struct ProgramInput {
  std::string name;
  Type type;            // of the program
  bool is_told = true;  // whether the file tells the dtype
};

// Adds the input to `graph`, and returns it as the program takes it. Of the dtype that `options` give it, else of its
// own. Where the file tells the program's dtype, or `options.cast_inputs` has the input, a given one is cast to it;
// else the program gets what is given, and computes as PyTorch does with such a tensor. Floats are computed in float32.
// Adds a sentence for each dtype that is another one than a user may expect.
Value* add_program_input(Graph& graph, Builder& build, const ProgramInput& input, const ProgramOptions& options,
                         std::vector<std::string>& assumptions);

using ImportWith = std::function<Expected<ImportedProgram>(const ProgramOptions&)>;

// Imports a program whose file may not tell the dtypes of its inputs. Where it refuses integers that were given
// (PyTorch does likewise: no convolution takes uint8 and weights of float32), they are what the files take, and the
// program gets them as float32: first one such input alone, then all of less than 32 bits, then all. A sentence says
// so. `options` are in the end those that came furthest.
Expected<ImportedProgram> import_with_casts(ProgramOptions& options, const ImportWith& import);

// The names of the program's inputs from which floating numbers come that `value` is made of: at most a few.
std::vector<std::string> floating_inputs_behind(const Value* value);

}  // namespace taper
