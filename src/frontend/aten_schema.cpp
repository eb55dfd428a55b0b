// PyTorch's notation of an operator's schema.
#include <charconv>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// Parts between commas that stand outside of brackets.
std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && (text[i] == '[' || text[i] == '(')) ++depth;
    if (i < text.size() && (text[i] == ']' || text[i] == ')')) --depth;
    if (i < text.size() && (text[i] != ',' || depth > 0)) continue;
    if (const auto part = trimmed(text.substr(start, i - start)); !part.empty()) parts.push_back(part);
    start = i + 1;
  }
  return parts;
}

Expected<Arg> parse_default(std::string_view text, const Parameter& parameter) {
  if (text == "None" || text == "contiguous_format") return Arg{};
  if (text == "True" || text == "False") return Arg(text == "True");
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\''))
    return Arg(std::string(text.substr(1, text.size() - 2)));
  if (text.starts_with('[') && text.ends_with(']')) {
    Arg::List list;
    Parameter element = parameter;
    element.list = false;
    for (const std::string_view part : parts_of(text.substr(1, text.size() - 2))) {
      TAPER_ASSIGN(Arg entry, parse_default(part, element));
      list.push_back(std::move(entry));
    }
    return Arg(std::move(list));
  }
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, integer); error == std::errc() && at == end) {
    if (parameter.type == "float") return Arg(static_cast<double>(integer));
    if (parameter.list) return Arg(Arg::List(static_cast<std::size_t>(parameter.list_size), Arg(Dim(integer))));
    return Arg(Dim(integer));
  }
  double real = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, real); error == std::errc() && at == end)
    return Arg(real);
  return fail("default '{}' of '{}' is no value", text, parameter.name);
}

Expected<Parameter> parse_parameter(std::string_view text) {
  Parameter parameter;
  std::string_view fallback;
  if (const auto equals = text.find('='); equals != std::string_view::npos) {
    fallback = trimmed(text.substr(equals + 1));
    text = trimmed(text.substr(0, equals));
  }
  const auto space = text.rfind(' ');
  if (space == std::string_view::npos) return fail("parameter '{}' has no type", text);
  parameter.name = text.substr(space + 1);
  std::string_view type = trimmed(text.substr(0, space));
  if (type.ends_with('?')) {
    parameter.optional = true;
    type.remove_suffix(1);
  }
  if (type.ends_with(']')) {
    const auto bracket = type.rfind('[');
    const std::string_view count = type.substr(bracket + 1, type.size() - bracket - 2);
    std::from_chars(count.data(), count.data() + count.size(), parameter.list_size);
    parameter.list = true;
    type = type.substr(0, bracket);
    if (type.ends_with('?')) {
      parameter.optional_elements = true;
      type.remove_suffix(1);
    }
  }
  // What a result shares with an operand is said by the rows themselves: "Tensor(a)".
  parameter.type = type.substr(0, type.find('('));
  if (!fallback.empty()) {
    TAPER_ASSIGN(parameter.fallback, parse_default(fallback, parameter));
  }
  return parameter;
}

}  // namespace

Expected<Schema> parse_schema(std::string_view text) {
  Schema schema;
  const auto open = text.find('(');
  const auto close = text.rfind(") ->");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return fail("'{}' is no schema", text);
  const std::string_view name = text.substr(0, open);
  const auto dot = name.find('.');
  schema.name = name.substr(0, dot);
  if (dot != std::string_view::npos) schema.overload = name.substr(dot + 1);
  bool keyword_only = false;
  for (const std::string_view part : parts_of(text.substr(open + 1, close - open - 1))) {
    if (part == "*") {
      keyword_only = true;
      continue;
    }
    TAPER_ASSIGN_WITHIN(Parameter parameter, parse_parameter(part), fmt::format("in schema '{}'", text));
    parameter.keyword_only = keyword_only;
    schema.parameters.push_back(std::move(parameter));
  }
  return schema;
}

}  // namespace taper::aten
