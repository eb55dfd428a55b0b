#include "frontend/torchscript_advice.h"

#include <algorithm>
#include <array>
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

using Names = std::set<std::string, std::less<>>;

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// The words of a text, those of numbers among them.
void add_words(std::string_view text, Names& words) {
  std::string word;
  for (const char c : text)
    if (is_word_character(c))
      word += c;
    else if (!word.empty())
      words.insert(std::exchange(word, {}));
  if (!word.empty()) words.insert(word);
}

// The text within the parentheses that open before `text`.
std::string_view until_closed(std::string_view text) {
  int depth = 1;
  for (std::size_t at = 0; at < text.size(); ++at) {
    depth += text[at] == '(' ? 1 : text[at] == ')' ? -1 : 0;
    if (depth == 0) return text.substr(0, at);
  }
  return text;
}

// What rules of operators say of sizes that don't divide, before the number that they were to divide by.
constexpr std::array<std::string_view, 2> kUndivided = {"does not split into ", "is no multiple of "};

// The names within "floor_div(...)" of a message, or all of one on a size that doesn't divide: among them are the
// symbols that multiples may help, and others.
Names divided_names(std::string_view message) {
  constexpr std::string_view kQuotient = "floor_div(";
  Names names;
  for (std::size_t at = message.find(kQuotient); at != std::string_view::npos; at = message.find(kQuotient, at)) {
    at += kQuotient.size();
    add_words(until_closed(message.substr(at)), names);
  }
  for (const std::string_view reason : kUndivided)
    if (message.contains(reason)) add_words(message, names);
  return names;
}

// The number that a size was to be a multiple of; 2 where the message tells none that could be tried.
std::int64_t divisor_told(std::string_view message, std::int64_t most) {
  for (const std::string_view reason : kUndivided) {
    const std::size_t at = message.find(reason);
    if (at == std::string_view::npos) continue;
    std::int64_t divisor = 0;
    for (const char c : message.substr(at + reason.size())) {
      if (c < '0' || c > '9' || divisor > most) break;
      divisor = 10 * divisor + (c - '0');
    }
    if (divisor >= 2 && divisor <= most) return divisor;
  }
  return 2;
}

InputShapes multiplied(const InputShapes& shapes, const Names& symbols, std::int64_t factor) {
  std::map<std::string, Dim, std::less<>> replacements;
  for (const std::string& symbol : symbols) replacements.emplace(symbol, Dim::symbol(symbol) * Dim(factor));
  InputShapes result = shapes;
  for (auto& [name, shape] : result)
    for (Dim& size : shape) size = substitute(size, replacements);
  return result;
}

// Of the symbols whose multiples a program takes, those of which it takes no others.
Names needed_multiples(const InputShapes& shapes, Names symbols, std::int64_t factor,
                       const std::function<Status(const InputShapes&)>& reads) {
  for (const std::string& symbol : Names(symbols)) {
    if (symbols.size() == 1) break;
    symbols.erase(symbol);
    if (!reads(multiplied(shapes, symbols, factor))) symbols.insert(symbol);
  }
  return symbols;
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

std::vector<std::string> names_of_entries(const Function& forward, const std::vector<MissingInput>& arguments,
                                          const ProgramOptions& options) {
  std::vector<std::string> names;
  for (const MissingInput& argument : arguments) {
    if (argument.kind == MissingInput::Kind::tensor) names.push_back(argument.name);
    if (argument.kind == MissingInput::Kind::list) names.push_back(argument.name + "_0");
    if (argument.kind != MissingInput::Kind::dict) continue;
    const std::vector<std::string> keys = keys_looked_up(forward, argument.name);
    for (const std::string& key : keys) names.push_back(fmt::format("{}_{}", argument.name, key));
    if (keys.empty())
      for (const auto& [given, shape] : options.input_shapes)
        names.push_back(fmt::format("{}_{}", argument.name, given));
  }
  return names;
}

Error with_list_items(Error error, const std::vector<MissingInput>& arguments) {
  if (!error.hint.empty() || !error.message.starts_with("index ") || !error.message.contains(" of a list of "))
    return error;
  for (const MissingInput& argument : arguments)
    if (argument.kind == MissingInput::Kind::list)
      error.hint += fmt::format(
          "{}the items of the list '{}' are inputs {}_0, {}_1, ...: give each a shape, "
          "--input-shape {}_{}=SIZES",
          error.hint.empty() ? "" : "; ", argument.name, argument.name, argument.name, argument.name, argument.items);
  return error;
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
  Names open, symbols;
  for (const auto& [name, shape] : shapes)
    for (const Dim& size : shape)
      for (const std::string& symbol : symbols_of(size)) open.insert(symbol);
  const auto add_divided = [&](const Error& failed) {
    for (const std::string& name : divided_names(failed.message))
      if (open.contains(name)) symbols.insert(name);
  };
  add_divided(error);
  if (symbols.empty()) return std::nullopt;
  const auto try_powers = [&](std::int64_t base) -> std::optional<InputShapes> {
    for (std::int64_t factor = base; factor <= kMostFactor; factor *= base) {
      for (std::size_t before = 0; symbols.size() != before;) {  // again with those that the error names beside them
        before = symbols.size();
        const Status read = reads(multiplied(shapes, symbols, factor));
        if (read) return multiplied(shapes, needed_multiples(shapes, symbols, factor, reads), factor);
        add_divided(read.error());
      }
    }
    return std::nullopt;
  };
  const std::int64_t divisor = divisor_told(error.message, kMostFactor);
  if (auto taken = try_powers(divisor); taken || divisor == 2) return taken;
  return try_powers(2);
}

Error with_multiples(Error error, const ProgramOptions& options, const InputShapes& shapes, const ImportWith& import) {
  const auto reads = [&](const InputShapes& candidate) -> Status {
    ProgramOptions tried = options;
    tried.dynamic.clear();
    tried.input_shapes = candidate;
    if (auto program = import(tried); !program) return std::unexpected(std::move(program).error());
    return {};
  };
  if (const auto taken = multiples_taken(shapes, error, reads))
    error.hint = fmt::format("the program takes sizes that divide without a remainder{}: say so with {}{}",
                             error.message.contains("floor_div(") ? " (it halves them and doubles them again)" : "",
                             shape_flags(shapes, *taken), options.dynamic.empty() ? "" : " in the place of --dynamic");
  return error;
}

std::string shape_flags(const InputShapes& before, const InputShapes& after) {
  std::string flags;
  for (const auto& [name, shape] : after)
    if (const auto old = before.find(name); old == before.end() || old->second != shape)
      flags += (flags.empty() ? "" : " ") + shape_flag(name, shape);
  return flags;
}

}  // namespace taper::torchscript
