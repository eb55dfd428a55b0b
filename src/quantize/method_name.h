// What methods are called on the command line and in recipes.
#pragma once

#include <algorithm>
#include <optional>
#include <ranges>
#include <string_view>
#include <vector>

namespace taper {

template <class Method>
struct MethodName {
  Method method;
  std::string_view name;
};

// In a table of MethodNames.
template <class Method>
std::optional<Method> method_named(std::string_view name, const std::ranges::range auto& table) {
  const auto found = std::ranges::find(table, name, &MethodName<Method>::name);
  return found == std::ranges::end(table) ? std::nullopt : std::optional(found->method);
}

std::vector<std::string_view> method_names(const std::ranges::sized_range auto& table) {
  std::vector<std::string_view> names;
  names.reserve(std::ranges::size(table));
  for (const auto& row : table) names.push_back(row.name);
  return names;
}

}  // namespace taper
