// The lists behind pickle_globals.h. Internal to formats.
#pragma once

#include <span>
#include <string_view>

#include "formats/pickle_globals.h"

namespace taper::pickle {

// Names of a module, separated by spaces.
struct SafeNames {
  std::string_view module;
  std::string_view names;
};
std::span<const SafeNames> safe_names();

struct CarefulName {
  std::string_view module;
  std::string_view name;
  Care care;
};
std::span<const CarefulName> careful_names();

// Modules and what they are good for in an attack. A module also stands for what is below it; the longest fits.
struct DangerousModules {
  std::string_view modules;  // separated by spaces
  std::string_view reason;
};
std::span<const DangerousModules> dangerous_modules();

// Names that are worth a reason of their own.
struct DangerousNames {
  std::string_view modules;
  std::string_view names;
  std::string_view reason;
};
std::span<const DangerousNames> dangerous_names();

// Every top-level module of Python 2.7 and 3.6 to 3.14 on any system, separated by spaces.
std::string_view standard_modules();

}  // namespace taper::pickle
