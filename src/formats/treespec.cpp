// Names of outputs, from the description of their tree (torch.utils._pytree.treespec_dumps, protocol 1).
#include <algorithm>
#include <map>

#include "formats/exported_json.h"

namespace taper::exported {
namespace {

constexpr int kMostNested = 32;

// A name that every format takes.
std::string plain(std::string_view key) {
  std::string name;
  for (const char c : key.substr(0, 100)) {
    const bool fits =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
    name += fits ? c : '_';
  }
  return name.empty() || (name[0] >= '0' && name[0] <= '9') ? "output_" + name : name;
}

using Fields = std::map<std::string, std::vector<std::string>>;

// The names of a node's children: keys of a dict, fields of a namedtuple or dataclass; empty where they have none.
std::vector<std::string> child_names(const Json& node, std::size_t count, const Fields& fields) {
  const Json* context = optional_member(node, "context");
  if (context == nullptr || !context->is_string()) return {};
  const auto parsed = parse_json(context->get_ref<const std::string&>());
  if (!parsed) return {};
  if (parsed->is_string())
    if (const auto known = fields.find(parsed->get_ref<const std::string&>()); known != fields.end())
      return known->second.size() == count ? known->second : std::vector<std::string>{};
  // A dataclass has its fields in a list, and after it a list of those that are None.
  const Json* keys = &*parsed;
  if (keys->is_array() && !keys->empty() && keys->front().is_array()) keys = &keys->front();
  if (!keys->is_array() || keys->size() != count) return {};
  std::vector<std::string> names;
  for (const Json& key : *keys) {
    if (key.is_string())
      names.push_back(plain(key.get_ref<const std::string&>()));
    else if (key.is_number_integer())
      names.push_back(plain(key.dump()));
    else
      return {};
  }
  return names;
}

bool walk(const Json& node, const std::string& path, int depth, const Fields& fields, std::vector<std::string>& names) {
  if (depth > kMostNested || !node.is_object()) return false;
  const Json* children = optional_member(node, "children_spec");
  if (children == nullptr || !children->is_array()) return false;
  if (optional_member(node, "type") == nullptr) {
    names.push_back(path.empty() ? "output" : path);
    return children->empty();
  }
  const std::vector<std::string> keys = child_names(node, children->size(), fields);
  for (std::size_t i = 0; i < children->size(); ++i) {
    std::string name = path;
    if (!keys.empty())
      name += path.empty() ? keys[i] : "_" + keys[i];
    else if (!path.empty())
      name += fmt::format("_{}", i);
    else
      name = i == 0 ? "output" : fmt::format("output_{}", i);
    // The one element of a tuple at the top is "output", and what is inside of it starts from there.
    if (!walk((*children)[i], name, depth + 1, fields, names)) return false;
  }
  return true;
}

}  // namespace

std::optional<std::vector<std::string>> leaf_names(std::string_view tree, const Fields& fields) {
  const auto parsed = parse_json(tree);
  if (!parsed || !parsed->is_array() || parsed->size() != 2 || (*parsed)[0] != 1) return std::nullopt;
  std::vector<std::string> names;
  if (!walk((*parsed)[1], "", 0, fields, names)) return std::nullopt;
  std::map<std::string, int> used;  // name -> next suffix to try
  for (std::string& name : names) {
    const std::string base = name;
    while (!used.emplace(name, 1).second) name = fmt::format("{}_{}", base, used[base]++);
  }
  return names;
}

}  // namespace taper::exported
