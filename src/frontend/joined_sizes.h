// Branches whose results differ in their sizes: how large they are is only known once a branch ran.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/counts.h"

namespace taper {

// Symbols that nodes of a graph measure and no input of it tells.
std::set<std::string, std::less<>> measured_symbols(const Graph& graph);

// Sizes in which the results of two branches differ: symbols, one for each pair of sizes, which are measured of what
// the branches give.
class JoinedSizes {
 public:
  // `then` and `otherwise`: the graphs of the branches, as far as they are there.
  JoinedSizes(const Graph& then, const Graph& otherwise, NameCount name);

  // The type that results of both branches have; nothing where their dtypes or axes differ.
  std::optional<Type> join(const Type& then, const Type& otherwise);
  // Tells the symbols of what the branches give, in the graph around them.
  void measure(Builder& build, Value* result);

 private:
  NameCount name_;
  std::set<std::string, std::less<>> inner_[2];  // symbols that the branches measure, which nobody else knows
  std::map<std::pair<std::string, std::string>, Dim> joined_;
  std::set<std::string, std::less<>> unmeasured_;
};

// Results of the two branches as outputs of their graphs, of one type each. `hint`: what to do where there is none.
Status join_outputs(const std::array<Builder*, 2>& branches, const std::array<std::vector<Value*>, 2>& results,
                    JoinedSizes& sizes, std::string_view hint);

// A result in its branch as a value of the joined type.
Value* as_joined(Builder& build, Value* result, const Type& type);

// The same of whole branches that are read from a file: where their results differ in sizes, the graphs are replaced.
// `name` begins the symbols' names.
Status join_regions(std::vector<std::unique_ptr<Graph>>& regions, const std::string& name);

}  // namespace taper
