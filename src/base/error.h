// Errors as values. What can fail returns Expected<T>; context is added on the way out; only main prints.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "taper/error.h"

namespace taper {

// Makes an unexpected Error from a format string.
template <class... Args>
std::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{fmt::format(format, std::forward<Args>(args)...), {}, {}});
}

// The same with a next step for the user.
std::unexpected<Error> fail_with_hint(std::string message, std::string hint);

// Returns `error` with this next step, if it has none.
Error hinted(Error error, std::string hint);

// Returns `error` with one more enclosing place.
Error within(Error error, std::string place);

}  // namespace taper

#define TAPER_CONCAT_(a, b) a##b
#define TAPER_CONCAT(a, b) TAPER_CONCAT_(a, b)

// Evaluates an Expected; returns its error from the enclosing function, else initialises `declaration` with the value:
//   TAPER_ASSIGN(auto header, read_header(bytes));
#define TAPER_ASSIGN(declaration, expression)                                      \
  auto TAPER_CONCAT(taper_try_, __LINE__) = (expression);                          \
  if (!TAPER_CONCAT(taper_try_, __LINE__))                                         \
    return std::unexpected(std::move(TAPER_CONCAT(taper_try_, __LINE__)).error()); \
  declaration = std::move(*TAPER_CONCAT(taper_try_, __LINE__))

// The same, with a place added to the error.
#define TAPER_ASSIGN_WITHIN(declaration, expression, place)                                                \
  auto TAPER_CONCAT(taper_try_, __LINE__) = (expression);                                                  \
  if (!TAPER_CONCAT(taper_try_, __LINE__))                                                                 \
    return std::unexpected(::taper::within(std::move(TAPER_CONCAT(taper_try_, __LINE__)).error(), place)); \
  declaration = std::move(*TAPER_CONCAT(taper_try_, __LINE__))

// Evaluates a Status; returns its error from the enclosing function.
#define TAPER_TRY(expression)                                                                                     \
  do {                                                                                                            \
    if (auto taper_status = (expression); !taper_status) return std::unexpected(std::move(taper_status).error()); \
  } while (false)
