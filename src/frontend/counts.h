// Sizes that only elements decide: how many entries a mask picks.
#pragma once

#include <utility>
#include <vector>

#include "ops/builder.h"

namespace taper {

// Whether an input of the graph has a size of that name.
bool names_a_size(const Graph& graph, const std::string& symbol);

// Names such sizes count_1, count_2, ... , of a program and its regions together.
class CountNames {
 public:
  // One that no input of the graph has.
  Dim fresh(const Graph& graph);

 private:
  std::size_t named_ = 0;
};

// What was measured of values, so that those that are computed alike have one size: the places where a mask is true,
// the range up to a number.
class Measured {
 public:
  Value* find(const Graph& graph, const Value* value) const;  // null: not known
  void add(const Value* value, Value* measure) { known_.emplace_back(value, measure); }

 private:
  std::vector<std::pair<const Value*, Value*>> known_;
};

// The numbers below a number (i64[]), none if it is below 0: as many as the running program says, which `size` names.
Value* counted_range(Builder& build, Value* number, const Dim& size);

// Where runs of equal entries of a vector begin, bool[n].
Value* run_begins(Builder& build, Value* vector);

struct Runs {
  Value* values;   // the entry of each run
  Value* number;   // for each entry, which run it lies in, i64[n]
  Value* lengths;  // of each run, i64[runs]
};
// `starts`: where run_begins is true, i64[runs].
Runs runs_of(Builder& build, Value* vector, Value* begins, Value* starts);

// The entries of a vector put where `order`, a permutation i64[n], says.
Value* put_in_order(Builder& build, Value* order, Value* entries);

}  // namespace taper
