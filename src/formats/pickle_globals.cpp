#include "formats/pickle_globals.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "formats/pickle_global_lists.h"

namespace taper::pickle {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

using Names = std::set<std::string_view, std::less<>>;
using NamesByModule = std::unordered_map<std::string_view, Names>;
using ReasonByModule = std::unordered_map<std::string_view, std::string_view>;

const NamesByModule& safe_by_module() {
  static const NamesByModule table = [] {
    NamesByModule made;
    for (const SafeNames& row : safe_names())
      for (const std::string_view name : split(row.names, ' ')) made[row.module].insert(name);
    return made;
  }();
  return table;
}

const ReasonByModule& reason_by_module() {
  static const ReasonByModule table = [] {
    ReasonByModule made;
    for (const DangerousModules& row : dangerous_modules())
      for (const std::string_view module : split(row.modules, ' ')) made.try_emplace(module, row.reason);
    return made;
  }();
  return table;
}

bool is_standard(std::string_view top) {
  static const Names table = [] {
    const auto names = split(standard_modules(), ' ');
    return Names(names.begin(), names.end());
  }();
  return table.contains(top);
}

bool is_safe(std::string_view module, std::string_view name) {
  const auto found = safe_by_module().find(module);
  return found != safe_by_module().end() && found->second.contains(name);
}

// The reason of the longest part of the dotted name that has one.
std::optional<std::string_view> module_reason(std::string_view module) {
  while (true) {
    if (const auto found = reason_by_module().find(module); found != reason_by_module().end()) return found->second;
    const std::size_t dot = module.rfind('.');
    if (dot == std::string_view::npos) return std::nullopt;
    module = module.substr(0, dot);
  }
}

std::optional<std::string_view> name_reason(std::string_view module, std::string_view name) {
  for (const DangerousNames& row : dangerous_names()) {
    const auto modules = split(row.modules, ' ');
    const auto names = split(row.names, ' ');
    if (std::ranges::find(modules, module) == modules.end()) continue;
    if (std::ranges::find(names, name) != names.end()) return row.reason;
  }
  return std::nullopt;
}

bool is_special(std::string_view part) {
  return part.size() > 4 && part.starts_with("__") && part.ends_with("__");
}

// By Python's convention classes start with a capital, and modules, functions and their attributes do not.
bool is_class_like(std::string_view part) {
  const std::size_t first = part.find_first_not_of('_');
  return first != std::string_view::npos && part[first] >= 'A' && part[first] <= 'Z';
}

bool is_within(std::string_view module, std::string_view package) {
  return module.starts_with(package) && (module.size() == package.size() || module[package.size()] == '.');
}

Judgement dangerous(std::string_view reason) {
  return {Trust::dangerous, Care::none, std::string(reason)};
}

// What the name alone gives away: walks along attributes to somewhere else.
std::optional<Judgement> judge_walk(std::span<const std::string_view> parts) {
  for (const std::string_view part : parts)
    if (is_special(part)) return dangerous(fmt::format("reaches into Python through '{}'", part));
  for (const std::string_view part : parts.first(parts.size() - 1))
    if (!is_class_like(part)) return dangerous(fmt::format("walks through '{}', which is no class", part));
  return std::nullopt;
}

std::optional<Judgement> judge_careful(std::string_view module, std::string_view name) {
  for (const CarefulName& row : careful_names())
    if (row.module == module && row.name == name)
      return Judgement{Trust::dangerous, row.care,
                       std::string(name_reason(module, name).value_or(module_reason(module).value_or("")))};
  return std::nullopt;
}

// Packages of which functions are dangerous and classes unknown unless they are in the list.
constexpr std::array<std::string_view, 5> kLibraries = {"torch", "torchvision", "torchaudio", "torchtext", "numpy"};

Judgement judge_other(std::string_view module, std::span<const std::string_view> parts,
                      std::span<const std::string> trusted) {
  const std::string_view top = module.substr(0, module.find('.'));
  const bool classes_only = std::ranges::all_of(parts, is_class_like);
  if (std::ranges::find(kLibraries, top) != kLibraries.end() && !classes_only)
    return dangerous(fmt::format("is a function or value of {} that no checkpoint needs", top));
  if (const auto reason = name_reason("", parts.back())) return dangerous(*reason);
  if (std::ranges::any_of(trusted, [&](const std::string& package) { return is_within(module, package); }))
    return {Trust::trusted, Care::none, "is trusted (--trust)"};
  if (std::ranges::find(kLibraries, top) != kLibraries.end())
    return {Trust::unknown, Care::none, fmt::format("is a class of {} that is not known to be harmless", top)};
  if (top == "__torch__") return {Trust::unknown, Care::none, "is a class of the archive's TorchScript program"};
  if (top == "__main__") return {Trust::unknown, Care::none, "is a part of the program that saved the file"};
  return {Trust::unknown, Care::none, fmt::format("is not known: importing '{}' runs its code", module)};
}

}  // namespace

bool is_dotted_name(std::string_view text) {
  for (const std::string_view part : split(text, '.')) {
    if (part.empty() || (part.front() >= '0' && part.front() <= '9')) return false;
    const bool letters = std::ranges::all_of(part, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
             static_cast<unsigned char>(c) >= 0x80;
    });
    if (!letters) return false;
  }
  return true;
}

Judgement judge(std::string_view module, std::string_view name, std::span<const std::string> trusted) {
  if (is_safe(module, name)) return {Trust::safe, Care::none, ""};
  if (auto careful = judge_careful(module, name)) return *std::move(careful);
  if (!is_dotted_name(module) || !is_dotted_name(name)) return dangerous("is not a name that Python's pickler writes");
  const auto parts = split(name, '.');
  if (auto walk = judge_walk(parts)) return *std::move(walk);
  if (parts.size() > 1 && is_safe(module, parts.front()))
    return {Trust::unknown, Care::method, fmt::format("is an attribute of the class {}", parts.front())};
  if (const auto reason = name_reason(module, parts.front())) return dangerous(*reason);
  if (const auto reason = module_reason(module)) return dangerous(*reason);
  if (is_standard(module.substr(0, module.find('.'))))
    return dangerous("is a part of Python's standard library that no checkpoint needs");
  return judge_other(module, parts, trusted);
}

std::string_view trust_name(Trust trust) {
  constexpr std::array<std::string_view, 4> kNames = {"safe", "trusted", "unknown", "dangerous"};
  return kNames[static_cast<std::size_t>(trust)];
}

}  // namespace taper::pickle
