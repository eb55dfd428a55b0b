#include "frontend/onnx_names.h"

#include <algorithm>
#include <unordered_map>

namespace taper::onnx_reader {
namespace {

// Symbols of the text form are words.
std::string symbol_name(std::string_view param) {
  std::string name(param);
  for (char& c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) c = '_';
  if (name[0] >= '0' && name[0] <= '9') name.insert(0, 1, '_');
  return name;
}

void use(const std::string& name, std::vector<std::string>& used, std::set<std::string>& seen) {
  if (!name.empty() && seen.insert(name).second) used.push_back(name);
}

// What a node takes, and what the graphs in it name.
void names_of(const onnx::NodeProto& node, std::vector<std::string>& used, std::set<std::string>& seen) {
  for (const std::string& name : node.input()) use(name, used, seen);
  for (const auto& attribute : node.attribute())
    if (attribute.has_g()) names_used(attribute.g(), used, seen);
}

}  // namespace

std::string domain_of(const std::string& domain) {
  return domain == "ai.onnx" ? "" : domain;
}

std::string operator_name(const std::string& domain, const std::string& op) {
  return domain.empty() ? op : domain + "." + op;
}

std::string clean_name(std::string name) {
  for (char& c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '_';
  return name;
}

std::string port_name(const std::string& name) {
  constexpr std::string_view kUnnamed = "onnx::";
  return clean_name(name.starts_with(kUnnamed) && name.size() > kUnnamed.size() ? name.substr(kUnnamed.size()) : name);
}

std::set<std::string> plain_sizes(const onnx::GraphProto& graph) {
  std::set<std::string> names;
  for (const auto& input : graph.input())
    for (const auto& dim : input.type().tensor_type().shape().dim())
      if (const auto written = Dim::parse(dim.dim_param()); written && written->as_symbol())
        names.insert(dim.dim_param());
  return names;
}

Dim named_size(const std::string& param, const std::set<std::string>& plain) {
  const auto written = Dim::parse(param);
  if (written &&
      std::ranges::all_of(symbols_of(*written), [&](const std::string& name) { return plain.contains(name); }))
    return *written;
  const bool single = written && symbols_of(*written).size() == 1;
  if (single && (*written - written->evaluate({{symbols_of(*written)[0], 0}}).value_or(0)).terms().size() == 1) {
    const Dim::Term term = written->terms().back();
    if (term.coefficient > 0 && term.symbols == symbols_of(*written)) return *written;
  }
  return Dim::symbol(symbol_name(param));
}

void names_used(const onnx::GraphProto& graph, std::vector<std::string>& used, std::set<std::string>& seen) {
  for (const auto& node : graph.node()) names_of(node, used, seen);
  for (const auto& output : graph.output()) use(output.name(), used, seen);
}

std::vector<const onnx::NodeProto*> in_order(const Nodes& nodes) {
  std::vector<const onnx::NodeProto*> order;
  std::unordered_map<std::string_view, int> producer;
  for (int i = 0; i < nodes.size(); ++i) {
    order.push_back(&nodes[i]);
    for (const std::string& name : nodes[i].output())
      if (!name.empty()) producer.try_emplace(name, i);
  }
  std::vector<std::vector<int>> users(order.size());
  std::vector<int> waits(order.size(), 0);
  bool sorted = true;
  for (int i = 0; i < nodes.size(); ++i) {
    std::vector<std::string> used;
    std::set<std::string> seen;
    names_of(nodes[i], used, seen);
    for (const std::string& name : used) {
      const auto found = producer.find(name);
      if (found == producer.end() || found->second == i) continue;
      sorted = sorted && found->second < i;
      users[static_cast<std::size_t>(found->second)].push_back(i);
      ++waits[static_cast<std::size_t>(i)];
    }
  }
  if (sorted) return order;
  std::set<int> ready;
  for (int i = 0; i < nodes.size(); ++i)
    if (waits[static_cast<std::size_t>(i)] == 0) ready.insert(i);
  std::vector<const onnx::NodeProto*> moved;
  while (!ready.empty()) {
    const int next = *ready.begin();
    ready.erase(ready.begin());
    moved.push_back(&nodes[next]);
    for (const int user : users[static_cast<std::size_t>(next)])
      if (--waits[static_cast<std::size_t>(user)] == 0) ready.insert(user);
  }
  return moved.size() == order.size() ? moved : order;
}

}  // namespace taper::onnx_reader
