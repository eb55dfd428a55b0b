// What the names in an ONNX file stand for, and the order in which its nodes can be read.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/dim.h"
#include "formats/onnx.h"

namespace taper::onnx_reader {

// ONNX's own domain has two names.
std::string domain_of(const std::string& domain);
std::string operator_name(const std::string& domain, const std::string& op);

// Names in a graph may hold anything but characters that nobody sees.
std::string clean_name(std::string name);
// Inputs and outputs that nobody named are called after the operator that first reads them: "onnx::Gather_0".
std::string port_name(const std::string& name);

// What the caller says of an input by either of its names.
template <class Map>
auto given_for(const Map& given, const std::string& name) {
  const auto found = given.find(name);
  return found != given.end() ? found : given.find(port_name(name));
}

// Sizes that are a symbol of some input by themselves.
std::set<std::string> plain_sizes(const onnx::GraphProto& graph);
// A named size: a symbol, or what is written as one symbol's multiple with a number added ("2*T + 1"), or as any
// expression of `plain` ones ("T + S").
Dim named_size(const std::string& param, const std::set<std::string>& plain);

using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

// Adds to `used` what the nodes and outputs of a graph name, once each, in order.
void names_used(const onnx::GraphProto& graph, std::vector<std::string>& used, std::set<std::string>& seen);
// The nodes, each behind those that compute what it takes. ONNX wants files so, but tools write others and ONNX Runtime
// reads them. Nodes that wait for each other stay where they are.
std::vector<const onnx::NodeProto*> in_order(const Nodes& nodes);

}  // namespace taper::onnx_reader
