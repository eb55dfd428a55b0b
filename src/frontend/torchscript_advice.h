// What to say of the inputs of a TorchScript program that its file doesn't tell enough of.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/torchscript_source.h"
#include "frontend/given_dtypes.h"
#include "frontend/program.h"

namespace taper::torchscript {

// An input without a shape, or what inputs are made of: the entries of a dict, the items of a list.
struct MissingInput {
  enum class Kind { tensor, dict, list };
  std::string name;  // of the input; of the argument where that is a dict or list
  Kind kind = Kind::tensor;
  std::size_t items = 0;  // of a list: those that have shapes
};

// The error that asks for shapes. `forward` tells which keys of a dict the program looks up. `dynamic`: axes were to be
// set free of sizes that aren't there.
Error missing_shapes(const Function& forward, const std::vector<MissingInput>& missing, bool dynamic);

// What the inputs may be called that arguments are made of: the keys of dicts that `forward` looks up, else those that
// the caller names, and the first item of lists.
std::vector<std::string> names_of_entries(const Function& forward, const std::vector<MissingInput>& arguments,
                                          const ProgramOptions& options);

// Says how items of the arguments that are lists are given, where the program takes one that isn't there.
Error with_list_items(Error error, const std::vector<MissingInput>& arguments);

// The texts with which `argument` is subscripted in a function, in the order of its source: at most 64.
std::vector<std::string> keys_looked_up(const Function& function, std::string_view argument);

using InputShapes = std::map<std::string, Shape, std::less<>>;

// A program that halves open sizes and doubles them again (U-Nets) takes multiples alone, which shows as shapes that
// differ in quotients; others split sizes into equal parts. Tries as factors of the sizes that `error` divides, or that
// it says not to divide, powers up to 128 of the number that it names, then those of 2: `reads` tells whether the
// program takes shapes. Returns the shapes that it takes, where there are such: with multiples of as few sizes as will
// do.
std::optional<InputShapes> multiples_taken(const InputShapes& shapes, const Error& error,
                                           const std::function<Status(const InputShapes&)>& reads);

// The error, with the multiples in the place of `shapes` that the program takes, where there are such.
Error with_multiples(Error error, const ProgramOptions& options, const InputShapes& shapes, const ImportWith& import);

// "--input-shape x=B,3,4*H,4*W" for each input whose shape differs in the two.
std::string shape_flags(const InputShapes& before, const InputShapes& after);

}  // namespace taper::torchscript
