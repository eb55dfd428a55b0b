// What an exported program says of the sizes that it takes. Internal to formats.
#pragma once

#include "formats/exported_json.h"

namespace taper::exported {

// The equalities among "guards_code" of PyTorch 2.9 on, each as left minus right side: "L['x'].size()[1] % 2 == 0" is
// T - 2 floor_div(T, 2), by the symbols that `program` declares for its inputs. Guards of another form say nothing.
std::vector<Dim> zeros_of_guards(const Json& json, const Program& program);

// All of them that compare sizes, by the same symbols.
std::vector<SizeCondition> conditions_of_guards(const Json& json, const Program& program);

}  // namespace taper::exported
