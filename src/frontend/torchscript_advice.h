// What to say of the inputs of a TorchScript program that its file doesn't tell enough of.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/torchscript_source.h"
#include "frontend/program.h"

namespace taper::torchscript {

// An input without a shape, or what inputs are made of: the entries of a dict, the items of a list.
struct MissingInput {
  enum class Kind { tensor, dict, list };
  std::string name;  // of the input; of the argument where that is a dict or list
  Kind kind = Kind::tensor;
};

// The error that asks for shapes. `forward` tells which keys of a dict the program looks up. `dynamic`: axes were to be
// set free of sizes that aren't there.
Error missing_shapes(const Function& forward, const std::vector<MissingInput>& missing, bool dynamic);

// The texts with which `argument` is subscripted in a function, in the order of its source: at most 64.
std::vector<std::string> keys_looked_up(const Function& function, std::string_view argument);

using InputShapes = std::map<std::string, Shape, std::less<>>;

// A program that halves open sizes and doubles them again (U-Nets) takes multiples alone, which shows as shapes that
// differ in quotients. Tries powers of 2 up to 128 as factors of the sizes that `error` divides: `reads` tells whether
// the program takes shapes. Returns the shapes that it takes, where there are such.
std::optional<InputShapes> multiples_taken(const InputShapes& shapes, const Error& error,
                                           const std::function<Status(const InputShapes&)>& reads);

// "--input-shape x=B,3,4*H,4*W" for each input whose shape differs in the two.
std::string shape_flags(const InputShapes& before, const InputShapes& after);

}  // namespace taper::torchscript
