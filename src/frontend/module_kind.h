// Which module of PyTorch has weights of these names and shapes.
#pragma once

#include <string>
#include <string_view>

#include "taper/taper.h"

namespace taper {

// "Conv2d 3 -> 64, kernel 7x7", "GRU input 178, hidden 256, 2 layers, bidirectional": a guess from the weights that lie
// in `module` itself; "" where they are those of no module that is known. `name`: what the module is called, which
// tells embeddings from linear layers. `class_name`: its class where that is known ("ConvTranspose2d"), else "".
std::string module_kind(const WeightTree& module, std::string_view name, std::string_view class_name);

}  // namespace taper
