#include "base/error.h"

namespace taper {

std::string Error::text() const {
  std::string line = message;
  for (const std::string& place : where) line += " / " + place;
  return line;
}

std::unexpected<Error> fail_with_hint(std::string message, std::string hint) {
  return std::unexpected(Error{std::move(message), {}, std::move(hint)});
}

Error hinted(Error error, std::string hint) {
  if (error.hint.empty()) error.hint = std::move(hint);
  return error;
}

Error within(Error error, std::string place) {
  error.where.push_back(std::move(place));
  return error;
}

}  // namespace taper
