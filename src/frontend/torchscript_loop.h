// Loops of TorchScript that depend on data while they are read. Internal to the interpreter.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/text.h"
#include "frontend/aten_table.h"
#include "frontend/torchscript_regions.h"

namespace taper::torchscript {

// Visits what tuples and lists hold, in order.
void each_leaf(const Value& value, const std::function<void(const Value&)>& visit);
// The same tuples and lists around other leaves, in order.
Value with_leaves(const Value& value, Region* home, const std::function<Value(const Value&)>& next);

// Of a tensor that may share elements with others, by how a loop went.
std::string sharing_error(std::string_view name);

inline constexpr std::string_view kWritesToGrown =
    "what grows in a loop that depends on data is written to in a way that can't be followed: write to a tensor before "
    "it "
    "is added, or to all of them after the loop";

inline constexpr std::string_view kWritesToItem =
    "an item of a list is written to, or the list after it (ys.append(y.clone()))";

// What lists that grow or fill hold.
inline bool is_item(const Value& value) {
  return value.is_tensor() || is_number_value(value);
}

inline Type item_type(const Value& item) {
  return item.is_tensor() ? item.tensor()->tensor->type() : Type{*number_dtype(item), {}};
}

// A size, or one more where it may be 0: kernels refuse to write into nothing, even in loops that don't run.
inline Dim some(const aten::Context& context, const Dim& size) {
  return aten::known_less(context, 0, size) == true ? size : size + Dim(1);
}

// What one attempt at a loop carries, and what came of it.
struct Interpreter::Loop {
  static constexpr std::size_t kNone = ~std::size_t{0};
  // What the body changes: a variable, or a list or dict.
  struct Holder {
    std::string_view variable;
    Value container;
    Value before;                   // what it is, or holds, before the loop
    std::vector<Value> items = {};  // of a list that fills a tensor: what it holds before the loop
    TensorRef stack = {};           // or the tensor that it fills already, and how many items there are
    std::shared_ptr<const Value> length = {};
    std::size_t added = 0;
    std::optional<Growth> filling = {};        // and how it does
    std::optional<Growth> growth = {};         // of a list whose items become the entries of a tensor
    bool is_stacked = false;                   // a list of an open number of items, some of which are set
    std::vector<std::string_view> names = {};  // of its leaves
    std::vector<Value> after = {};             // its leaves after an iteration; none if it is gone

    // The list that the holder is before the loop; null for what is none.
    const List* list() const {
      const auto* found = (variable.empty() ? container : before).as<std::shared_ptr<List>>();
      return found ? found->get() : nullptr;
    }
  };
  struct Carried {
    std::string_view name;  // of the leaf; empty: the count of iterations
    std::size_t holder = 0, leaf = 0;
    std::optional<Growth> growth = {};  // of the items of a list, or of a tensor along an axis
    Value begin = {};                   // that list or tensor before the loop
    taper::Value* initial = nullptr;
    bool is_number = false;
    aten::TensorPtr before = {};  // of a tensor: where it lies before the loop
    // Tensors of outside that it may share elements with. What grows begins with those that it is copied from; relate()
    // finds the others, and what follows:
    Storages aliases = {};
    bool is_written = false;   // the body writes to it
    bool is_replaced = false;  // every iteration makes a tensor of its own
  };
  const Statement& statement;
  const Value* count;  // how often a `for` runs
  Region& outer;
  std::set<std::string, std::less<>>& names;
  Variables before;
  std::optional<Dim> steps = {};  // how often it runs, or runs at most, where that is known
  taper::Value* measured = nullptr;
  bool counts = false;       // iterations are counted: what is carried first
  bool ends_itself = false;  // by a condition of its own, whatever `steps` is
  std::vector<std::string_view> assigned = {};
  std::vector<Holder> holders = {};
  std::vector<Carried> carried = {};
  Branch body = {}, condition = {};
  std::vector<aten::TensorPtr> places = {};                       // of what is carried, in the body
  std::vector<std::pair<std::size_t, std::size_t>> related = {};  // of what is carried: what may share elements
  taper::Value* go_on = nullptr;
  std::vector<taper::Value*> next = {};

  bool is_for() const { return statement.kind == StatementKind::for_loop; }
  // A name for a leaf, which lives as long as the loop is tried.
  std::string_view name_of(const Holder& holder, std::size_t at, std::size_t leaf) const;
  // Whether a variable stays the same list, as far as is known; `outputs += [y]` sets it to what it is.
  bool keeps_list(std::string_view name, const Attempts& attempts) const {
    const auto found = before.find(name);
    return found != before.end() && found->second.as<std::shared_ptr<List>>() && !attempts.replaced.contains(name);
  }
  // How a list has grown in an iteration, by tensors or numbers like those that are there; nothing if it has not.
  std::optional<Growth> growth_of(std::size_t holder, const Value& list, bool in_front) const;
  // The same of items that are as long as parts of tensors; nothing if they aren't.
  std::optional<Growth> ragged_growth(std::span<const Value> added, std::span<const Value> old) const;
  const Carried* find(std::string_view name) const {
    const auto found = std::ranges::find(carried, name, &Carried::name);
    return found == carried.end() ? nullptr : &*found;
  }
  std::size_t carried_of(std::size_t holder) const {
    const auto found = std::ranges::find(carried, holder, &Carried::holder);
    return found == carried.end() ? kNone : static_cast<std::size_t>(found - carried.begin());
  }
  // What is carried after an iteration: one value, of a list those that it has got; none if it is gone.
  std::vector<Value> after(const Carried& one) const {
    const std::vector<Value>& leaves = holders[one.holder].after;
    if (one.growth && !one.growth->axis) return leaves;
    return one.leaf < leaves.size() ? std::vector{leaves[one.leaf]} : std::vector<Value>();
  }
  static void leave_filling(const Holder& holder);
  // Between which numbers one lies that begins so and gets more by `step` in each iteration.
  std::pair<Dim, Dim> range_of(const Branch& branch, const Dim& begin, std::int64_t step) const;
  // What a holder is with others in the place of what is carried.
  Value rebuilt(std::size_t holder, Region* home, const std::function<Value(std::size_t)>& of_carried) const;
  // Whether the body writes to the place of what is carried.
  bool writes_to(std::size_t i) const { return places[i]->lost() || places[i]->present() != body.begun[i]; }
};

}  // namespace taper::torchscript
