// What an exported program says of the sizes that it takes. Internal to formats.
#pragma once

#include "formats/exported_json.h"

namespace taper::exported {

// Reads "guards_code" of PyTorch 2.9 on into `program`, by the symbols that it declares for its inputs: what they say
// of sizes (`conditions`), the equalities among them also as left minus right side (`zeros`): "L['x'].size()[1] % 2 ==
// 0" is T - 2 floor_div(T, 2). Those on open sizes that have another form, or are too many or too long, are counted.
void read_guards(const Json& json, Program& program);

}  // namespace taper::exported
