// Errors as values: part of the public interface (taper/taper.h includes it).
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace taper {

// What went wrong, in the user's terms: `message` says what was found and what was expected, `where` lists the places
// from the innermost outwards ("in node 'head.0'", "in file 'a.pt'"), `hint` names the next step.
struct Error {
  std::string message;
  std::vector<std::string> where;
  std::string hint;

  // One line: "message / in node 'x' / in file 'a.pt'"; the hint is not part of it.
  std::string text() const;
};

template <class T>
using Expected = std::expected<T, Error>;
using Status = std::expected<void, Error>;

}  // namespace taper
