#include "frontend/torchscript_advice.h"

#include <algorithm>
#include <set>

#include "formats/text.h"
#include "frontend/input_names.h"

namespace taper::torchscript {
namespace {

constexpr std::size_t kMostKeys = 64;
constexpr std::string_view kExampleSizes = "1,3,224,224";

void add_key(const Expr& object, const Expr& key, std::string_view argument, std::vector<std::string>& keys) {
  const bool is_lookup = object.kind == ExprKind::name && object.text == argument && key.kind == ExprKind::text;
  if (is_lookup && keys.size() < kMostKeys && std::ranges::find(keys, key.text) == keys.end())
    keys.emplace_back(key.text);
}

// The parser has bounded the nesting.
void find_keys(const Expr& expr, std::string_view argument, std::vector<std::string>& keys) {
  if (expr.kind == ExprKind::subscript && expr.items.size() == 2)
    add_key(*expr.items[0], *expr.items[1], argument, keys);
  if (expr.kind == ExprKind::call && expr.items.size() >= 3)  // torch.__getitem__(d, "key")
    add_key(*expr.items[1], *expr.items[2], argument, keys);
  for (const Expr* item : expr.items)
    if (item != nullptr) find_keys(*item, argument, keys);
}

void find_keys(const std::vector<Statement>& body, std::string_view argument, std::vector<std::string>& keys) {
  for (const Statement& statement : body) {
    for (const Expr* expr : {statement.target, statement.value})
      if (expr != nullptr) find_keys(*expr, argument, keys);
    find_keys(statement.body, argument, keys);
    find_keys(statement.otherwise, argument, keys);
  }
}

// The names within "floor_div(...)" of a message, which no symbol of an input may be taken for.
std::set<std::string, std::less<>> divided_names(std::string_view message) {
  constexpr std::string_view kQuotient = "floor_div(";
  std::set<std::string, std::less<>> names;
  for (std::size_t at = message.find(kQuotient); at != std::string_view::npos; at = message.find(kQuotient, at)) {
    at += kQuotient.size();
    int depth = 1;
    std::string name;
    for (; at < message.size() && depth > 0; ++at) {
      const char c = message[at];
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_') {
        name += c;
        continue;
      }
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
      if (!name.empty()) names.insert(std::exchange(name, {}));
    }
  }
  return names;
}

InputShapes multiplied(const InputShapes& shapes, const std::set<std::string, std::less<>>& symbols,
                       std::int64_t factor) {
  std::map<std::string, Dim, std::less<>> replacements;
  for (const std::string& symbol : symbols) replacements.emplace(symbol, Dim::symbol(symbol) * Dim(factor));
  InputShapes result = shapes;
  for (auto& [name, shape] : result)
    for (Dim& size : shape) size = substitute(size, replacements);
  return result;
}

// "the argument 'd' of forward is a dict, whose entries are inputs named d_KEY ('image', 'mask')".
std::string container_text(const MissingInput& missing, const std::vector<std::string>& keys) {
  if (missing.kind == MissingInput::Kind::list)
    return fmt::format("the argument '{}' of forward is a list, whose items are inputs: {}_0, {}_1, ...", missing.name,
                       missing.name, missing.name);
  std::string found;
  for (const std::string& key : keys) found += fmt::format("{}'{}'", found.empty() ? "" : ", ", excerpt(key));
  return fmt::format(
      "the argument '{}' of forward is a dict, whose entries are inputs with its name before their keys{}",
      missing.name, found.empty() ? "" : fmt::format("; forward looks up {}", found));
}

}  // namespace

std::vector<std::string> keys_looked_up(const Function& function, std::string_view argument) {
  std::vector<std::string> keys;
  find_keys(function.body, argument, keys);
  return keys;
}

Error missing_shapes(const Function& forward, const std::vector<MissingInput>& missing, bool dynamic) {
  std::string names, flags, containers;
  std::size_t count = 0;
  const auto add = [&](const std::string& name) {
    ++count;
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", excerpt(name));
    flags += fmt::format("{}--input-shape {}={}", flags.empty() ? "" : " ", excerpt(name), kExampleSizes);
  };
  for (const MissingInput& input : missing) {
    if (input.kind == MissingInput::Kind::tensor) {
      add(input.name);
      continue;
    }
    const bool is_dict = input.kind == MissingInput::Kind::dict;
    const std::vector<std::string> keys = is_dict ? keys_looked_up(forward, input.name) : std::vector<std::string>();
    containers += "; " + container_text(input, keys);
    if (is_dict && keys.empty()) {
      ++count;
      names += fmt::format("{}'{}_' and its key for each entry", names.empty() ? "" : ", ", input.name);
      flags += fmt::format("{}--input-shape {}_KEY={} with your keys in the place of KEY", flags.empty() ? "" : " ",
                           input.name, kExampleSizes);
    }
    for (const std::string& key : keys) add(input.name + "_" + key);
    if (!is_dict) add(input.name + "_0");
  }
  std::string hint = fmt::format(
      "give it, with your numbers or with names for sizes that vary (B,16): {} (integer inputs also --input-dtype "
      "NAME=int64)",
      flags);
  if (dynamic)
    hint += "; in the place of --dynamic, which opens sizes that a file has, write a name for each size that varies";
  return {fmt::format("the file does not say which shape the input{} {} {}{}", count == 1 ? "" : "s", names,
                      count == 1 ? "has" : "have", containers),
          {},
          std::move(hint)};
}

std::optional<InputShapes> multiples_taken(const InputShapes& shapes, const Error& error,
                                           const std::function<Status(const InputShapes&)>& reads) {
  constexpr std::int64_t kMostFactor = 128;
  std::set<std::string, std::less<>> open;
  for (const auto& [name, shape] : shapes)
    for (const Dim& size : shape)
      for (const std::string& symbol : symbols_of(size)) open.insert(symbol);
  std::set<std::string, std::less<>> symbols;
  const auto add_divided = [&](const Error& failed) {
    for (const std::string& name : divided_names(failed.message))
      if (open.contains(name)) symbols.insert(name);
  };
  add_divided(error);
  if (symbols.empty()) return std::nullopt;
  for (std::int64_t factor = 2; factor <= kMostFactor; factor *= 2) {
    InputShapes candidate = multiplied(shapes, symbols, factor);
    const Status read = reads(candidate);
    if (read) return candidate;
    add_divided(read.error());
  }
  return std::nullopt;
}

std::string shape_flags(const InputShapes& before, const InputShapes& after) {
  std::string flags;
  for (const auto& [name, shape] : after)
    if (const auto old = before.find(name); old == before.end() || old->second != shape)
      flags += (flags.empty() ? "" : " ") + shape_flag(name, shape);
  return flags;
}

}  // namespace taper::torchscript
