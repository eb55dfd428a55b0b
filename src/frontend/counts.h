// Sizes that only elements decide: how many entries a mask picks.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
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
  // Whether such a size is part of this one: it may be 0 then.
  bool occur_in(const Dim& size) const;
  // The size that such a one never exceeds.
  void limit(const std::string& symbol, const Dim& most) { most_.insert_or_assign(symbol, most); }
  // `size` with the most that they may be in their places, where more of one makes it larger.
  Dim at_most(const Dim& size) const;

 private:
  std::size_t named_ = 0;
  std::set<std::string, std::less<>> names_;
  std::map<std::string, Dim, std::less<>> most_;
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

// The symbol for a number of entries, of which there are at most so many.
using NameCount = std::function<Dim(const Dim& most)>;

// The places where a mask (bool, one axis or more) is true, i64[count, its rank]. Masks that are computed alike have
// one count, and one that is repeated has a multiple of it.
Value* places_where(Builder& build, Measured& measured, Value* mask, const NameCount& name);

// How many entries lie between two places.
Dim length_between(const Dim& start, const Dim& end);

// The numbers below a number (i64[]), none if it is below 0: as many as the running program says, which `size` names.
Value* counted_range(Builder& build, Value* number, const Dim& size);

// Rows of a matrix [n, m] in order, the first column first, of equal ones the one that came first; m is a number.
struct Ordered {
  Value* rows;
  Value* order;  // where each was, i64[n]
};
Ordered rows_in_order(Builder& build, Value* rows);
// The most columns of such a matrix: each is sorted by.
inline constexpr std::int64_t kMostColumns = 64;

// Where runs of equal entries of a vector, or rows of a matrix, begin, bool[n].
Value* run_begins(Builder& build, Value* entries);

struct Runs {
  Value* values;   // the entry or row of each run
  Value* number;   // for each entry, which run it lies in, i64[n]
  Value* lengths;  // of each run, i64[runs]
};
// `starts`: where run_begins is true, i64[runs].
Runs runs_of(Builder& build, Value* entries, Value* begins, Value* starts);

// The entries of a vector put where `order`, a permutation i64[n], says.
Value* put_in_order(Builder& build, Value* order, Value* entries);

}  // namespace taper
