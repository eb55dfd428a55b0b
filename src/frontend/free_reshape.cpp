// Literal shapes of reshapes whose operands have freed sizes.
#include <algorithm>
#include <optional>
#include <span>

#include "frontend/free_sizes.h"

namespace taper {
namespace {

// A reshape keeps the order of elements: both shapes fall apart into the shortest runs of axes with equal products.
// Sizes that were 1 belong to no run: they lie in the gaps between them.
class FreedReshape {
 public:
  FreedReshape(const Shape& from, const Shape& to, Freeing& freeing)
      : freeing_(freeing), from_(from), to_(to), result_(to) {
    for (const Dim& dim : from) before_.push_back(frozen(dim, freeing.sizes));
  }

  std::optional<Shape> run() {
    if (!resolve_open_size()) return std::nullopt;
    result_ = to_;
    if (before_ == to_) return from_;
    if (!find_runs()) return std::nullopt;
    for (std::size_t gap = 0; gap <= runs_.size(); ++gap) place_gap(gap);
    for (std::size_t run = 0; run < runs_.size(); ++run) place_run(run);
    return result_;
  }

 private:
  bool freed(const Dim& dim) const { return is_freed(dim, freeing_.sizes); }

  struct Run {
    std::size_t i, i_end, j, j_end;  // axes of the operand and of the result
  };

  // The size that is left to the operator, as it was.
  bool resolve_open_size() {
    const auto open = std::ranges::find(to_, Dim(-1));
    if (open == to_.end()) return true;
    open_ = static_cast<std::size_t>(open - to_.begin());
    *open = 1;
    const auto size = divide_exactly(element_count(before_), element_count(to_));
    if (size) *open = *size;
    return size.has_value();
  }

  static std::size_t past_ones(const Shape& shape, std::size_t axis) {
    while (axis < shape.size() && shape[axis].is(1)) ++axis;
    return axis;
  }

  bool find_runs() {
    std::size_t i = past_ones(before_, 0), j = past_ones(to_, 0);
    while (i < before_.size() && j < to_.size()) {
      Run run{i, i + 1, j, j + 1};
      Dim from_product = before_[i], to_product = to_[j];
      while (from_product != to_product) {
        const auto a = from_product.constant(), b = to_product.constant();
        const bool grow_to = a && b ? *b < *a : run.j_end < to_.size();
        if (grow_to && run.j_end < to_.size())
          to_product = to_product * to_[run.j_end++];
        else if (run.i_end < before_.size())
          from_product = from_product * before_[run.i_end++];
        else
          return false;
      }
      runs_.push_back(run);
      i = past_ones(before_, run.i_end);
      j = past_ones(to_, run.j_end);
    }
    return i == before_.size() && j == to_.size();
  }

  // The axes of size 1 of the result between two runs that nothing took yet.
  std::vector<std::size_t> open_ones(std::size_t gap) const {
    const std::size_t begin = gap == 0 ? 0 : runs_[gap - 1].j_end;
    const std::size_t end = gap == runs_.size() ? to_.size() : runs_[gap].j;
    std::vector<std::size_t> axes;
    for (std::size_t axis = begin; axis < end; ++axis)
      if (result_[axis].is(1)) axes.push_back(axis);
    return axes;
  }

  // Sizes that were 1 stay sizes of their own where there are as many before as after; else the first ones do.
  void place_gap(std::size_t gap) {
    const std::size_t begin = gap == 0 ? 0 : runs_[gap - 1].i_end;
    const std::size_t end = gap == runs_.size() ? from_.size() : runs_[gap].i;
    const std::vector<std::size_t> ones = open_ones(gap);
    const bool all = ones.size() == end - begin;
    std::vector<Dim> sizes;
    for (std::size_t axis = begin; axis < end; ++axis) {
      if (!freed(from_[axis])) continue;
      if (all)
        result_[ones[axis - begin]] = from_[axis];
      else
        sizes.push_back(from_[axis]);
    }
    if (all) return;
    if (!sizes.empty() && ones.size() > sizes.size()) freeing_.ambiguous = true;
    const bool from_the_back = freeing_.reading == 2 && ones.size() > sizes.size();
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      if (k < ones.size())
        result_[ones[from_the_back ? ones.size() - sizes.size() + k : k]] = sizes[k];
      else
        join(gap, sizes[k]);
    }
  }

  // Whether the result has one axis for the run, which is its last one: that of features.
  bool gives_features(std::size_t run) const {
    return runs_[run].j + 1 == runs_[run].j_end && runs_[run].j_end == to_.size();
  }

  // Multiplies a size that was 1 into the run before or behind a gap.
  void join(std::size_t gap, const Dim& size) {
    const bool has_run_before = gap > 0, has_run_behind = gap < runs_.size();
    if (!has_run_before && !has_run_behind) return;
    bool before = has_run_before;
    if (has_run_before && has_run_behind && !gives_features(gap)) {
      const bool splits = runs_[gap].j_end - runs_[gap].j > 1;
      before = freeing_.reading == 1 || (freeing_.reading == 0 && !splits);
      freeing_.ambiguous = true;
    }
    Dim& axis = result_[before ? runs_[gap - 1].j_end - 1 : runs_[gap].j];
    axis = axis * size;
  }

  void place_run(std::size_t index) {
    const Run& run = runs_[index];
    Dim size = 1;
    for (std::size_t axis = run.i; axis < run.i_end; ++axis) size = size * from_[axis];
    if (!freed(size)) return;
    if (run.i + 1 == run.i_end && run.j + 1 == run.j_end && open_ones(index).empty() && open_ones(index + 1).empty())
      return set(run.j, size);
    // Factors that were 1 become axes of their own where the result has such, before the run or behind it.
    for (const auto& [symbol, before] : freeing_.sizes) {
      if (before != 1) continue;
      while (const auto rest = divide_exactly(size, Dim::symbol(symbol))) {
        size = *rest;
        place_factor(index, Dim::symbol(symbol));
      }
    }
    if (freed(size)) place_product(run, size);
  }

  void place_factor(std::size_t index, const Dim& symbol) {
    const Run& run = runs_[index];
    for (const std::size_t gap : {index, index + 1})
      if (const auto ones = open_ones(gap); !ones.empty()) {
        result_[ones[0]] = symbol;
        return;
      }
    const bool to_run_before = index > 0 && gives_features(index) && run.i_end - run.i > 1;
    Dim& axis = result_[to_run_before ? runs_[index - 1].j_end - 1 : run.j];
    axis = axis * symbol;
  }

  // An axis that may have taken factors that were 1 already.
  void set(std::size_t axis, const Dim& size) {
    const auto joined = divide_exactly(result_[axis], to_[axis]);
    result_[axis] = joined ? size * *joined : size;
  }

  // A product of several freed sizes of which each was an axis of the result. Which of two equal ones comes first,
  // literals don't tell.
  bool place_symbols(const Run& run, Dim product) {
    std::vector<std::pair<std::size_t, Dim>> placed;
    std::vector<std::size_t> others;
    for (std::size_t axis = run.j; axis < run.j_end; ++axis) {
      std::vector<Dim> candidates;
      for (const auto& [symbol, before] : freeing_.sizes)
        if (to_[axis].is(before) && divide_exactly(product, Dim::symbol(symbol)))
          candidates.push_back(Dim::symbol(symbol));
      if (candidates.empty()) {
        others.push_back(axis);
        continue;
      }
      if (candidates.size() > 1) freeing_.ambiguous = true;
      const Dim& size = freeing_.reading == 0 ? candidates.back() : candidates.front();
      product = *divide_exactly(product, size);
      placed.emplace_back(axis, size);
    }
    // What is left may be a size that follows from freed ones.
    if (freed(product) && others.size() == 1 && frozen(product, freeing_.sizes) == to_[others[0]]) {
      placed.emplace_back(others[0], product);
      product = 1;
    }
    if (freed(product) || placed.size() < 2) return false;
    for (const auto& [axis, size] : placed) set(axis, size);
    return true;
  }

  // Sizes that results had before, two or more of which make the product: rows and columns behind strides.
  bool place_derived(const Run& run, const Dim& product) {
    constexpr std::size_t kMostAxes = 4, kMostOfOne = 8;
    const std::size_t count = run.j_end - run.j;
    if (count < 2 || count > kMostAxes) return false;
    std::vector<std::vector<Dim>> choices(count);
    for (std::size_t i = 0; i < count; ++i) {
      const Dim& literal = to_[run.j + i];
      const auto number = literal.constant();
      const auto known = number ? freeing_.derived.find(*number) : freeing_.derived.end();
      if (known != freeing_.derived.end()) choices[i] = known->second;
      for (const auto& [symbol, before] : freeing_.sizes)
        if (literal.is(before)) choices[i].push_back(Dim::symbol(symbol));
      if (choices[i].size() > kMostOfOne) choices[i].resize(kMostOfOne);
      choices[i].push_back(literal);
    }
    std::vector<std::size_t> at(count);
    while (true) {
      Dim all = 1;
      std::size_t chosen = 0;
      for (std::size_t i = 0; i < count; ++i) {
        all = all * choices[i][at[i]];
        chosen += at[i] + 1 < choices[i].size() ? 1 : 0;
      }
      if (chosen >= 2 && all == product) break;
      std::size_t i = count;
      while (i > 0 && ++at[i - 1] == choices[i - 1].size()) at[--i] = 0;
      if (i == 0) return false;
    }
    for (std::size_t i = 0; i < count; ++i)
      if (at[i] + 1 < choices[i].size()) set(run.j + i, choices[i][at[i]]);
    return true;
  }

  // What stands behind the number of blocks in the result, where an axis of the run was filled up to blocks: a block,
  // and what was behind the axis already. Nothing: no axis was filled up.
  std::optional<Dim> behind_blocks(const Run& run, const Dim& product) const {
    const auto multiple = [&](const Dim& size) {
      const auto filled = freeing_.filled.find(size.text());
      return filled == freeing_.filled.end() ? std::nullopt : std::optional<Dim>(filled->second);
    };
    if (run.j_end - run.j < 2) return std::nullopt;
    for (std::size_t axis = run.i; axis < run.i_end; ++axis) {
      auto behind = multiple(from_[axis]);
      for (std::size_t other = axis + 1; behind && other < run.i_end; ++other) *behind = *behind * before_[other];
      if (behind) return behind;
    }
    return multiple(product);
  }

  // Of two axes of a result that were as large, which one varies literals don't tell; of batches it is the first.
  void tell_of_equals(const Run& run, std::size_t chosen, const Dim& product) {
    const auto sizes = std::span(to_).subspan(run.j, run.j_end - run.j);
    if (to_[chosen].is(1) || std::ranges::count(sizes, to_[chosen]) < 2) return;
    for (const std::string& symbol : freed_symbols(product, freeing_.sizes)) {
      const auto batch = freeing_.batches.find(symbol);
      if (batch != freeing_.batches.end() && batch->second) continue;
      std::string sentence = fmt::format(
          "an axis of the freed size '{}' is split into {}, of which axis {} is taken to vary: several were as large",
          product.text(), shape_text(Shape(sizes.begin(), sizes.end())), chosen - run.j);
      std::vector<std::string>& kept = freeing_.kept_numbers[symbol];
      if (std::ranges::find(kept, sentence) == kept.end()) kept.push_back(sentence);
      freeing_.note(symbol, std::move(sentence));
    }
  }

  // One size of the run takes what the others leave; from the front, as batches and steps come before features.
  void place_product(const Run& run, const Dim& product) {
    if (place_symbols(run, product) || place_derived(run, product)) return;
    // What was filled up to blocks falls apart into these: their number varies, which stands in front of them.
    const std::optional<Dim> block = behind_blocks(run, product);
    for (std::size_t axis = run.j; axis < run.j_end; ++axis) {
      Dim others = 1;
      for (std::size_t other = run.j; other < run.j_end; ++other)
        if (other != axis) others = others * to_[other];
      const auto quotient = divide_exactly(product, others);
      if (!quotient || frozen(*quotient, freeing_.sizes) != to_[axis]) continue;
      if (block && element_count(Shape(to_.begin() + axis + 1, to_.begin() + run.j_end)) != *block) continue;
      const bool open_is_equal = open_ && run.j <= *open_ && *open_ < run.j_end && to_[*open_] == to_[axis];
      if (!block) tell_of_equals(run, open_is_equal ? *open_ : axis, product);
      return set(open_is_equal && !block ? *open_ : axis, *quotient);
    }
    // Several freed sizes in one run stand side by side, in the order of the operand.
    std::size_t source = run.i;
    for (std::size_t axis = run.j; axis < run.j_end; ++axis)
      for (std::size_t candidate = source; candidate < run.i_end; ++candidate)
        if (before_[candidate] == to_[axis]) {
          set(axis, from_[candidate]);
          source = candidate + 1;
          break;
        }
  }

  Freeing& freeing_;
  const Shape& from_;
  Shape to_, result_, before_;
  std::vector<Run> runs_;
  std::optional<std::size_t> open_;  // the axis whose size was left to the operator
};

}  // namespace

std::optional<Shape> freed_reshape(const Shape& from, const Shape& to, Freeing& freeing) {
  return FreedReshape(from, to, freeing).run();
}

}  // namespace taper
