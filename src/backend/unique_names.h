// Names that a target wants once each.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>

#include "base/error.h"

namespace taper {

// Whether names that differ in upper and lower case alone are one name.
enum class Letters { as_written, in_any_case };

// Gives each name once, with a numeric suffix where it is taken.
class UniqueNames {
 public:
  UniqueNames() = default;
  explicit UniqueNames(Letters letters) : letters_(letters) {}

  bool take(const std::string& name) { return next_.try_emplace(key(name), 1).second; }
  std::string unique(std::string name) {
    if (name.empty()) name = "value";  // an empty name means an absent input
    if (take(name)) return name;
    while (true) {
      std::string candidate = fmt::format("{}_{}", name, next_[key(name)]++);
      if (take(candidate)) return candidate;
    }
  }

 private:
  std::string key(std::string name) const {
    if (letters_ == Letters::in_any_case)
      for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return name;
  }

  Letters letters_ = Letters::as_written;
  std::unordered_map<std::string, std::size_t> next_;  // name -> the next suffix to try
};

}  // namespace taper
