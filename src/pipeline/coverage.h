// Which branches and loops of a graph an evaluation ran.
#pragma once

#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/graph.h"
#include "ops/array.h"

namespace taper {

// What a graph can do, by number, and what of it was seen: each branch of an `if` whose condition the inputs' elements
// or open sizes decide, and each loop that the elements may end at once, or let go on.
class Coverage {
 public:
  explicit Coverage(const Graph& graph);

  // Each value of an evaluation, as a ValueObserver gets them.
  void observe(const Value& value, const Array& array);

  bool is_empty() const { return texts_.empty(); }
  const std::set<std::size_t>& reached() const { return reached_; }
  // What is not among `reached`.
  std::vector<std::string> missing(const std::set<std::size_t>& reached) const;

 private:
  struct Branches {
    std::size_t then, otherwise;  // numbers
  };
  struct Loop {
    std::size_t none, several;  // numbers
    std::int64_t turns = 0;     // since it was last left
  };

  // Values that inputs decide, by their elements and sizes, or by their elements alone.
  struct Decided {
    std::set<const Value*> by_inputs, by_elements;
  };

  void collect(const Graph& graph, const Decided& decided);
  void add_loop(const Node& node, const Graph& body);
  std::size_t add(std::string text);

  std::vector<std::string> texts_;
  std::set<std::size_t> reached_;
  std::unordered_map<const Value*, std::vector<Branches>> conditions_;
  std::vector<Loop> loops_;
  std::unordered_map<const Value*, std::size_t> turns_, ends_;  // values that are computed in each turn, and at the end
};

}  // namespace taper
