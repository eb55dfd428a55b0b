// Names that a target wants once each.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>

#include "base/error.h"

namespace taper {

// Gives each name once, with a numeric suffix where it is taken.
class UniqueNames {
 public:
  bool take(const std::string& name) { return next_.try_emplace(name, 1).second; }
  std::string unique(std::string name) {
    if (name.empty()) name = "value";  // an empty name means an absent input
    if (take(name)) return name;
    while (true) {
      std::string candidate = fmt::format("{}_{}", name, next_[name]++);
      if (take(candidate)) return candidate;
    }
  }

 private:
  std::unordered_map<std::string, std::size_t> next_;  // name -> the next suffix to try
};

}  // namespace taper
