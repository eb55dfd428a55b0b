// Branches of TorchScript that depend on data: the row `if`.
#include <algorithm>
#include <array>

#include "formats/text.h"
#include "frontend/aten_counts.h"
#include "frontend/joined_sizes.h"
#include "frontend/torchscript_regions.h"
#include "frontend/torchscript_sizes.h"

namespace taper::torchscript {

namespace {
constexpr std::int64_t kRoom = 32;  // for items that branches add to a list
}

// Pairs of values, one per branch, that become the results of the `if`.
struct Interpreter::Merge {
  struct Pair {
    Value a, b;
    std::optional<DType> number;    // of numbers: their dtype
    std::optional<Type> type = {};  // of tensors that differ in their sizes: that of the result
  };
  std::vector<Pair> pairs;
  const Undecided* sizes = nullptr;  // the condition, if it is one on sizes
};

Status Interpreter::check_item_count(const Value& container, List::Kind before) {
  const auto* list = container.as<std::shared_ptr<List>>();
  if (!list || (*list)->kind == before) return {};
  (*list)->kind = before;
  return error_here("a list grows by an open number of items inside of a branch or loop that depends on data",
                    "collect the items in a list of its own there, and stack that");
}

Expected<Interpreter::Branch> Interpreter::run_branch(const std::vector<Statement>& block, const Storages& shared,
                                                      const std::vector<Value>& changed, const Undecided* sizes,
                                                      bool holds) {
  Branch branch;
  branch.region = std::make_unique<Region>(*branch.graph, region_);
  if (sizes != nullptr) narrow(branch.region->context, *sizes, holds);
  branch.region->shared = shared;
  branch.region->build.set_scope(frame_->scope);
  Region* const before = std::exchange(region_, branch.region.get());
  Variables saved = frame_->variables;
  std::vector<Value> contents;
  std::vector<List::Kind> kinds;
  for (const Value& container : changed) {
    const auto* list = container.as<std::shared_ptr<List>>();
    kinds.push_back(list ? (*list)->kind : List::Kind::known);
    contents.push_back(contents_of(container));
    set_home(container, region_);
  }
  Status status = run_block(block);
  branch.variables = std::exchange(frame_->variables, std::move(saved));
  region_ = before;
  for (std::size_t i = 0; i < changed.size(); ++i) {
    if (const Status counted = check_item_count(changed[i], kinds[i]); status && !counted) status = counted;
    branch.contents.push_back(contents_of(changed[i]));
    if (const Status set = set_contents(changed[i], contents[i]); status && !set) status = set;
    set_home(changed[i], region_);
  }
  if (!status) return std::unexpected(status.error());
  return branch;
}

namespace {

bool holds_tensors(const Value& value) {
  return value.tensor() || (value.items() && std::ranges::any_of(*value.items(), holds_tensors));
}

// Whether one of the two is None and the other one something, or that depends on data for one of them already.
bool is_optional(const Value& a, const Value& b) {
  if (a.as<std::shared_ptr<Maybe>>() || b.as<std::shared_ptr<Maybe>>()) return true;
  return a.is_none() != b.is_none() && !a.as<Uninitialized>() && !b.as<Uninitialized>();
}

Maybe as_maybe(const Value& value) {
  if (const auto* maybe = value.as<std::shared_ptr<Maybe>>()) return **maybe;
  if (value.as<Uninitialized>()) return {value, value};
  if (value.is_none()) return {false, Uninitialized{}};
  return {true, value};
}

}  // namespace

namespace {

// The type of what is of one or the other type, by a condition on sizes.
std::optional<Type> merged_type(const aten::Context& context, const Undecided* sizes, const Type& a, const Type& b) {
  if (sizes == nullptr || a.dtype != b.dtype || a.shape.size() != b.shape.size()) return std::nullopt;
  Type type{a.dtype, {}};
  for (std::size_t i = 0; i < a.shape.size(); ++i) {
    const auto size = chosen_size(context, *sizes, a.shape[i], b.shape[i]);
    if (!size) return std::nullopt;
    type.shape.push_back(*size);
  }
  return type;
}

// The same entries, of which there are as many as `shape` says where this branch is taken.
taper::Value* with_sizes(Builder& build, taper::Value* content, const Shape& shape) {
  for (std::size_t i = 0; i < shape.size() && content != nullptr; ++i)
    if (content->type.shape[i] != shape[i])
      content = build("gather", {content, aten::arange(build, 0, 1, shape[i], DType::i64)},
                      {{"dim", static_cast<std::int64_t>(i)}});
  return content;
}

}  // namespace

Expected<Value> Interpreter::merge_optional(Merge& merging, const Value& a, const Value& b) {
  const Maybe x = as_maybe(a), y = as_maybe(b);
  TAPER_ASSIGN(Value is_there, merge(merging, x.is_there, y.is_there));
  TAPER_ASSIGN(Value value, merge(merging, x.value, y.value));
  if (value.is_unknown()) return value;
  return std::make_shared<Maybe>(std::move(is_there), std::move(value));
}

namespace {

// Whether two types are one but for the sizes of their axes, of which the larger ones can be told.
bool alike_but_for_sizes(const Type& a, const Type& b) {
  if (a.dtype != b.dtype || a.shape.size() != b.shape.size()) return false;
  for (std::size_t axis = 0; axis < a.shape.size(); ++axis)
    if (dim_max(a.shape[axis], b.shape[axis]).overflowed()) return false;
  return true;
}

}  // namespace

// What only one branch sets.
Expected<Value> Interpreter::merge_unset(Merge& merging, const Value& a, const Value& b) {
  const Value& set = a.as<Uninitialized>() ? b : a;
  if (set.tensor()) {
    merging.pairs.push_back({a, b, number_dtype(set)});
    return Pending{merging.pairs.size() - 1};
  }
  if (!holds_tensors(set)) return set;
  std::vector<Value> items;
  for (const Value& item : *set.items()) {
    TAPER_ASSIGN(Value merged, a.as<Uninitialized>() ? merge(merging, a, item) : merge(merging, item, b));
    items.push_back(std::move(merged));
  }
  if (const auto* tuple = set.as<std::shared_ptr<Tuple>>())
    return std::make_shared<Tuple>(std::move(items), (*tuple)->type);
  return new_list(std::move(items));
}

// What tuples, lists and dicts of two branches hold, item by item. Nothing for what doesn't hold as many.
Expected<std::optional<Value>> Interpreter::merge_items(Merge& merging, const Value& a, const Value& b) {
  if (a.items() && b.items() && a.items()->size() == b.items()->size() && a.data.index() == b.data.index()) {
    std::vector<Value> items;
    for (std::size_t i = 0; i < a.items()->size(); ++i) {
      TAPER_ASSIGN(Value item, merge(merging, (*a.items())[i], (*b.items())[i]));
      items.push_back(std::move(item));
    }
    if (const auto* tuple = a.as<std::shared_ptr<Tuple>>())
      return Value(std::make_shared<Tuple>(std::move(items), (*tuple)->type));
    return Value(new_list(std::move(items)));
  }
  const auto* dict_a = a.as<std::shared_ptr<Dict>>();
  const auto* dict_b = b.as<std::shared_ptr<Dict>>();
  if (dict_a && dict_b && (*dict_a)->entries.size() == (*dict_b)->entries.size()) {
    const auto joined = std::make_shared<Dict>(region_);
    for (std::size_t i = 0; i < (*dict_a)->entries.size(); ++i) {
      const auto& [key, value] = (*dict_a)->entries[i];
      if (same_value(key, (*dict_b)->entries[i].first) != true)
        return Value(Unknown{"is a dict of other keys in one branch than in the other"});
      TAPER_ASSIGN(Value merged_value, merge(merging, value, (*dict_b)->entries[i].second));
      joined->entries.emplace_back(key, std::move(merged_value));
    }
    return Value(joined);
  }
  return std::nullopt;
}

// What a variable is after both branches. Pairs of tensors are noted, and stand as Pending until the results exist.
Expected<Value> Interpreter::merge(Merge& merging, const Value& a, const Value& b) {
  const auto note = [&](const Value& x, const Value& y, std::optional<DType> number) -> Value {
    merging.pairs.push_back({x, y, number});
    return Pending{merging.pairs.size() - 1};
  };
  if ((a.as<Uninitialized>() && b.as<Uninitialized>()) || same_container(a, b)) return a;
  if (a.is_unknown() || b.is_unknown()) return a.is_unknown() ? a : b;
  if (a.tensor() && b.tensor() && a.tensor()->tensor == b.tensor()->tensor) return a;
  if (is_optional(a, b)) return merge_optional(merging, a, b);
  if (a.is_tensor() || b.is_tensor()) {
    const bool usable = (a.is_tensor() || a.as<Uninitialized>()) && (b.is_tensor() || b.as<Uninitialized>());
    if (!usable) return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b))};
    if (a.is_tensor() && b.is_tensor() && a.tensor()->tensor->type() != b.tensor()->tensor->type()) {
      const taper::Type &then = a.tensor()->tensor->type(), &otherwise = b.tensor()->tensor->type();
      if (auto type = merged_type(region_->context, merging.sizes, then, otherwise)) {
        merging.pairs.push_back({a, b, std::nullopt, std::move(type)});
        return Pending{merging.pairs.size() - 1};
      }
      if (alike_but_for_sizes(then, otherwise)) return note(a, b, std::nullopt);
      return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b)),
                     "let both branches make tensors of one dtype and as many axes, or give sizes with --input-shape"};
    }
    return note(a, b, std::nullopt);
  }
  if (a.as<Uninitialized>() || b.as<Uninitialized>()) return merge_unset(merging, a, b);
  if (same_value(a, b) == true) return a;
  if (is_number_value(a) && is_number_value(b)) {
    const DType dtype_a = *number_dtype(a);
    const DType dtype_b = *number_dtype(b);
    if (dtype_a != dtype_b)
      return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b))};
    return note(a, b, dtype_a);
  }
  TAPER_ASSIGN(std::optional<Value> of_items, merge_items(merging, a, b));
  if (of_items) return std::move(*of_items);
  if (a.data.index() == b.data.index() && (a.as<Device>() || a.as<Undecided>())) return a;
  return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b))};
}

// The value that a branch gives for a pair.
Expected<taper::Value*> Interpreter::merged_output(Branch& branch, const Value& value, const Value& other) {
  Region& region = *branch.region;
  if (value.as<Uninitialized>()) {
    // Nobody reads it: zeros of the other's type, none along axes whose sizes only the other branch may know.
    Type type = other.tensor()->tensor->type();
    for (Dim& size : type.shape)
      if (!std::ranges::all_of(symbols_of(size), [&](const std::string& s) { return names_a_size(root_.graph, s); }))
        size = 0;
    taper::Value* zeros = aten::full(region.build, type.shape, aten::Arg(Dim(0)), type.dtype);
    TAPER_TRY(region.build.status());
    return zeros;
  }
  if (value.is_tensor()) return content_in(region, *value.tensor());
  return number_in(region, value, number_dtype(other.as<Uninitialized>() ? value : other));
}

namespace {

bool holds_pending(const Value& value) {
  if (value.as<Pending>()) return true;
  if (const auto* maybe = value.as<std::shared_ptr<Maybe>>())
    return holds_pending((*maybe)->is_there) || holds_pending((*maybe)->value);
  if (const auto* dict = value.as<std::shared_ptr<Dict>>())
    return std::ranges::any_of((*dict)->entries, [](const auto& entry) { return holds_pending(entry.second); });
  return value.items() && std::ranges::any_of(*value.items(), holds_pending);
}

// Puts results in the place of what merge() noted.
Value with_results(const Value& value, const std::vector<Value>& results) {
  if (const auto* pending = value.as<Pending>()) return results[pending->index];
  if (const auto* maybe = value.as<std::shared_ptr<Maybe>>())
    return std::make_shared<Maybe>(with_results((*maybe)->is_there, results), with_results((*maybe)->value, results));
  const auto replace = [&](const std::vector<Value>& items) {
    std::vector<Value> replaced;
    for (const Value& item : items) replaced.push_back(with_results(item, results));
    return replaced;
  };
  if (const auto* tuple = value.as<std::shared_ptr<Tuple>>())
    return std::make_shared<Tuple>(replace((*tuple)->items), (*tuple)->type);
  if (const auto* dict = value.as<std::shared_ptr<Dict>>(); dict && holds_pending(value)) {
    const auto replaced = std::make_shared<Dict>((*dict)->home);
    for (const auto& [key, item] : (*dict)->entries) replaced->entries.emplace_back(key, with_results(item, results));
    return replaced;
  }
  if (const auto* list = value.as<std::shared_ptr<List>>(); list && holds_pending(value))
    return std::make_shared<List>(replace((*list)->items), (*list)->home);
  return value;
}

}  // namespace

// How a branch cuts a tensor from what it captured.
struct Interpreter::Origin {
  aten::TensorPtr outer;              // the tensor as the region around has it; null: made in the branch
  std::vector<aten::TensorPtr> cuts;  // from there on
  Storages mixed;                     // what else of the region around it may share elements with
  Storages made;                      // storages of the branch
  bool row_major = true;

  bool is_outer() const { return outer && cuts.empty(); }
};

Expected<Interpreter::Origin> Interpreter::origin_of(const Branch& branch, const Value& value) {
  Origin origin;
  if (!value.is_tensor()) return origin;
  aten::TensorPtr tensor = value.tensor()->tensor;
  if (value.tensor()->home != branch.region.get()) {
    TAPER_ASSIGN(origin.outer, use(*value.tensor()));
    return origin;
  }
  origin.row_major = tensor->contiguous() == true;
  const auto captured = [&](const aten::TensorPtr& part) -> aten::TensorPtr {
    const auto is_inner = [&](const Capture& capture) { return capture.inner.tensor == part; };
    const auto found = std::ranges::find_if(branch.region->captures, is_inner);
    return found == branch.region->captures.end() ? nullptr : found->outer.tensor;
  };
  for (const aten::TensorPtr& part : parts_of(tensor)) {
    if (aten::TensorPtr outer = captured(part))
      origin.mixed.push_back(std::move(outer));
    else if (part->bases().empty())
      origin.made.push_back(part);
  }
  if (origin.mixed.empty()) return origin;
  for (; !captured(tensor) && tensor->bases().size() == 1 && !tensor->uncertain(); tensor = tensor->bases().front())
    origin.cuts.insert(origin.cuts.begin(), tensor);
  origin.outer = captured(tensor);
  if (origin.outer) origin.mixed.clear();
  return origin;
}

namespace {

constexpr std::string_view kChosen =
    "which tensors share elements depends on the branch that the running program takes: one of them is written to, and "
    "another one read afterwards (clone() what a branch gives)";

aten::TensorPtr cut_again(Builder& build, const std::vector<aten::TensorPtr>& cuts, aten::TensorPtr from) {
  for (const aten::TensorPtr& cut : cuts)
    if (from) from = cut->view_of(build, std::move(from));
  return from;
}

}  // namespace

// What a branch gives, as the region around has it; `made` is the result of the `if`, which it is where the branch is
// taken.
aten::TensorPtr Interpreter::given_by(const Origin& origin, taper::Value* made) {
  if (!origin.mixed.empty()) return aten::Tensor::make_uncertain(origin.mixed, made, std::string(kChosen));
  if (!origin.outer) {
    aten::TensorPtr tensor = aten::Tensor::make(made);
    if (!origin.row_major) tensor->forget_strides();
    return tensor;
  }
  if (origin.cuts.empty()) return origin.outer;
  const auto cut = [cuts = origin.cuts](Builder& build, taper::Value* from) -> taper::Value* {
    const aten::TensorPtr tensor = cut_again(build, cuts, aten::Tensor::make(from));
    return tensor ? tensor->content(build) : nullptr;
  };
  const auto write_back = [cuts = origin.cuts](Builder& build, taper::Value* from,
                                               taper::Value* written) -> taper::Value* {
    const aten::TensorPtr root = aten::Tensor::make(from);
    const aten::TensorPtr tensor = cut_again(build, cuts, root);
    if (!tensor) return nullptr;
    if (const Status status = tensor->write(build, written); !status) build.set_error(status.error());
    return root->content(build);
  };
  const aten::Strides strides = origin.row_major ? aten::Strides(aten::row_major(made->type.shape)) : std::nullopt;
  aten::TensorPtr view = aten::Tensor::make_view(region_->build, origin.outer, cut, write_back, strides, made);
  if (view) view->outdate();
  return view;
}

// The same where the two have other sizes: no view of what one branch cuts from is one of the other, too.
aten::TensorPtr Interpreter::joined_tensor(const Origin& then, const Origin& otherwise, taper::Value* made) {
  Storages shared;
  for (const Origin* origin : {&then, &otherwise}) {
    shared.insert(shared.end(), origin->mixed.begin(), origin->mixed.end());
    if (origin->outer) shared.push_back(origin->outer);
  }
  const aten::TensorPtr tensor = shared.empty()
                                     ? aten::Tensor::make(made)
                                     : aten::Tensor::make_uncertain(std::move(shared), made, std::string(kChosen));
  if (!then.row_major || !otherwise.row_major) tensor->forget_strides();
  return tensor;
}

// The results of an `if`: each is what one or the other branch gives, also where that is written to later.
Expected<std::vector<Value>> Interpreter::merged_results(const std::vector<std::pair<Origin, Origin>>& origins,
                                                         const std::vector<bool>& joined, const Merge& merging,
                                                         taper::Value* flag, std::span<taper::Value* const> made) {
  std::vector<Value> results;
  const auto share = [](const Origin& x, const Origin& y) {
    return std::ranges::any_of(
        x.made, [&](const aten::TensorPtr& part) { return std::ranges::find(y.made, part) != y.made.end(); });
  };
  for (std::size_t i = 0; i < origins.size(); ++i) {
    const auto& [then, otherwise] = origins[i];
    aten::TensorPtr tensor = aten::Tensor::make(made[i]);
    if (!merging.pairs[i].number && joined[i]) {
      tensor = joined_tensor(then, otherwise, made[i]);
    } else if (!merging.pairs[i].number) {
      const aten::TensorPtr a = given_by(then, made[i]);
      const aten::TensorPtr b = given_by(otherwise, made[i]);
      TAPER_TRY(region_->build.status());
      const bool fresh = a->bases().empty() && b->bases().empty() && !then.outer && !otherwise.outer;
      if (!fresh) tensor = aten::Tensor::make_choice(seen_by_views(flag), a, b, made[i]);
      if (fresh && !(then.row_major && otherwise.row_major)) tensor->forget_strides();
    }
    // Two of what one branch makes may share elements.
    std::vector<aten::TensorPtr> relatives;
    for (std::size_t j = 0; j < i; ++j)
      if (share(then, origins[j].first) || share(otherwise, origins[j].second))
        relatives.push_back(results[j].tensor()->tensor);
    if (!relatives.empty()) {
      relatives.push_back(tensor);
      tensor = aten::Tensor::make_uncertain(std::move(relatives), made[i], std::string(kChosen));
    }
    results.emplace_back(TensorRef{tensor, region_, merging.pairs[i].number.has_value()});
  }
  return results;
}

Expected<bool> Interpreter::add_shared(std::span<Branch* const> branches, Storages& shared) {
  Storages read, written;
  for (const Branch* branch : branches)
    for (const Capture& capture : branch->region->captures) {
      TAPER_ASSIGN(const bool changed, is_changed(*branch->region, capture));
      read.push_back(capture.outer.tensor);
      if (changed) written.push_back(capture.outer.tensor);
    }
  bool added = false;
  for (const aten::TensorPtr& tensor : written) {
    if (std::ranges::none_of(
            read, [&](const aten::TensorPtr& other) { return other != tensor && share_storage(other, tensor); }))
      continue;
    for (const aten::TensorPtr& root : storages_of(tensor)) {
      if (std::ranges::find(shared, root) != shared.end()) continue;
      shared.push_back(root);
      added = true;
    }
  }
  return added;
}

// Whether a region wrote to what it captured.
Expected<bool> Interpreter::is_changed(Region& region, const Capture& capture) {
  if (!capture.inner.tensor->readable()) return true;
  TAPER_ASSIGN(const taper::Value* content, content_of(region, *capture.inner.tensor));
  return content != capture.initial;
}

// A list of the program that fills a tensor gets room for what a branch may add.
Status Interpreter::make_room(const Value& container) {
  const auto* held = container.as<std::shared_ptr<List>>();
  if (!held || (*held)->kind != List::Kind::filling || region_ != &root_) return {};
  List& list = **held;
  if (list.added + kRoom / 2 <= list.room) return {};
  TAPER_TRY(add_room(list, kRoom));
  list.room += kRoom;
  return {};
}

// The branches are run again where they turn out to write to a storage that several tensors read.
Status Interpreter::branch_on(const TensorRef& condition, const Statement& statement, const Undecided* sizes) {
  if (gives_back(statement.body) || gives_back(statement.otherwise))
    return error_here("a branch that depends on data returns");
  Storages shared;
  std::vector<Value> changed;  // lists and dicts whose items a branch sets
  while (true) {
    for (const Value& container : changed) TAPER_TRY(make_room(container));
    const Expected<bool> done = try_branches(condition, statement, shared, changed, sizes);
    if (done && *done) return {};
    if (done || note_changed(changed)) continue;
    // In the program itself a list that one branch alone makes longer fills a tensor from here on.
    const bool fills = region_ == &root_ && uneven_ && home_of(uneven_->first) == region_;
    if (!fills) return std::unexpected(done.error());
    const auto [container, growth] = *std::exchange(uneven_, std::nullopt);
    List& list = **container.as<std::shared_ptr<List>>();
    if (list.kind != List::Kind::known) return std::unexpected(done.error());
    TAPER_TRY(begin_filling(list, growth, kRoom));
    list.room = kRoom;
  }
}

// What one attempt at both branches has found.
struct Interpreter::Both {
  Branch then, otherwise;
  JoinedSizes sizes;
  std::vector<bool> joined = {};  // of the pairs: whether the branches' sizes differ
  Merge merging = {};
  std::vector<std::pair<std::string_view, Value>> variables = {};
  std::vector<Value> contents = {};                                // of the containers that they change
  std::vector<TensorRef> written = {};                             // tensors of outside that either wrote to
  std::vector<std::pair<aten::TensorPtr, std::string>> lost = {};  // those that can't be read any more, and why
  std::vector<std::pair<Origin, Origin>> origins = {};             // of the pairs but those that were written

  std::array<Branch*, 2> branches() { return {&then, &otherwise}; }
  // What both branches only choose needs no result.
  bool is_choice(std::size_t i) const {
    return i < origins.size() && !merging.pairs[i].number && !merging.pairs[i].type && origins[i].first.is_outer() &&
           origins[i].second.is_outer() && origins[i].first.outer->type() == origins[i].second.outer->type();
  }
};

// A list that holds more after one branch than after the other is noted, for it may fill a tensor.
Status Interpreter::check_even(const Value& container, const Value& a, const Value& b) {
  const std::vector<Value>& x = *a.items();
  const std::vector<Value>& y = *b.items();
  if (x.size() == y.size()) return {};
  const std::vector<Value>& longer = x.size() > y.size() ? x : y;
  if (container.as<std::shared_ptr<List>>() && (longer.back().is_tensor() || is_number_value(longer.back()))) {
    const Value& item = longer.back();
    uneven_.emplace(container, Growth{item.is_tensor() ? item.tensor()->tensor->type() : Type{*number_dtype(item), {}},
                                      !item.is_tensor(), 1, false});
  }
  return error_here(
      fmt::format("{} holds {} in one branch and {} in the other", describe(container), x.size(), y.size()),
      "both branches have to add as many items, for how many there are is not known then; else write into a tensor of "
      "known size");
}

// Entries that a mask picks in a branch become a tensor there, also those that are items of what a container holds.
Status Interpreter::pick_in(Branch& branch, Value& value) {
  if (const auto* tuple = value.as<std::shared_ptr<Tuple>>()) {
    std::vector<Value> items = (*tuple)->items;
    if (std::ranges::none_of(items, [](const Value& item) { return item.as<MaskedRef>() != nullptr; })) return {};
    for (Value& item : items) TAPER_TRY(pick_in(branch, item));
    value = std::make_shared<Tuple>(std::move(items), (*tuple)->type);
    return {};
  }
  const auto* masked = value.as<MaskedRef>();
  if (!masked) return {};
  Region* const before = std::exchange(region_, branch.region.get());
  Expected<Value> picked = picked_entries(*masked);
  region_ = before;
  TAPER_ASSIGN(value, std::move(picked));
  return {};
}

// What variables and containers are after both branches.
Status Interpreter::merge_branches(Both& both, const Statement& statement, const std::vector<Value>& changed) {
  std::vector<std::string_view> names;
  add_assigned(statement.body, names);
  add_assigned(statement.otherwise, names);
  for (const std::string_view name : names) {
    const auto a = both.then.variables.find(name);
    const auto b = both.otherwise.variables.find(name);
    if (a == both.then.variables.end() || b == both.otherwise.variables.end()) {
      frame_->variables.erase(name);  // set on one way only: nobody may read it
      continue;
    }
    if (!is_walkable(a->second) || !is_walkable(b->second)) return error_here(fmt::format("'{}' is too large", name));
    TAPER_TRY(pick_in(both.then, a->second));
    TAPER_TRY(pick_in(both.otherwise, b->second));
    TAPER_ASSIGN(Value value, merge(both.merging, a->second, b->second));
    both.variables.emplace_back(name, std::move(value));
  }
  for (std::size_t i = 0; i < changed.size(); ++i) {
    Value& a = both.then.contents[i];
    Value& b = both.otherwise.contents[i];
    if (!is_walkable(a) || !is_walkable(b)) return error_here("a list is too large");
    TAPER_TRY(pick_in(both.then, a));
    TAPER_TRY(pick_in(both.otherwise, b));
    TAPER_TRY(check_even(changed[i], a, b));
    TAPER_ASSIGN(both.contents.emplace_back(), merge(both.merging, a, b));
    if (!both.contents.back().items() || a.items()->size() != b.items()->size())
      return error_here(fmt::format("{} holds more in one branch than in the other", describe(changed[i])));
  }
  return {};
}

// Tensors of outside that a branch wrote to, and those that can't be read any more.
Status Interpreter::find_written(Both& both) {
  for (Branch* branch : both.branches())
    for (std::size_t i = 0; i < branch->region->captures.size(); ++i) {
      const Capture& capture = branch->region->captures[i];
      if (!capture.inner.tensor->readable()) {
        if (capture.inner.tensor->lost()) both.lost.emplace_back(capture.outer.tensor, *capture.inner.tensor->lost());
        continue;
      }
      TAPER_ASSIGN(const bool rewritten, is_changed(*branch->region, capture));
      const auto same = [&](const TensorRef& other) { return other.tensor == capture.outer.tensor; };
      if (!rewritten || std::ranges::any_of(both.written, same)) continue;
      both.written.push_back(capture.outer);
    }
  std::erase_if(both.written, [&](const TensorRef& tensor) {
    return std::ranges::any_of(both.lost, [&](const auto& one) { return one.first == tensor.tensor; });
  });
  return {};
}

// What the branches give for each pair.
Status Interpreter::find_outputs(Both& both) {
  Merge& merging = both.merging;
  for (const Merge::Pair& pair : merging.pairs) {
    TAPER_ASSIGN(Origin a, origin_of(both.then, pair.a));
    TAPER_ASSIGN(Origin b, origin_of(both.otherwise, pair.b));
    both.origins.emplace_back(std::move(a), std::move(b));
  }
  for (const TensorRef& tensor : both.written) merging.pairs.push_back({tensor, tensor, std::nullopt});
  for (std::size_t i = 0; i < merging.pairs.size(); ++i) {
    const Merge::Pair& pair = merging.pairs[i];
    if (both.is_choice(i)) {
      both.joined.push_back(false);
      continue;
    }
    TAPER_ASSIGN(taper::Value * a, merged_output(both.then, pair.a, pair.b));
    TAPER_ASSIGN(taper::Value * b, merged_output(both.otherwise, pair.b, pair.a));
    if (pair.type) {
      a = with_sizes(both.then.region->build, a, pair.type->shape);
      b = with_sizes(both.otherwise.region->build, b, pair.type->shape);
      TAPER_TRY(both.then.region->build.status());
      TAPER_TRY(both.otherwise.region->build.status());
    }
    const auto type = both.sizes.join(a->type, b->type);
    if (!type)
      return error_here(
          fmt::format("a variable is {} in one branch and {} in the other", type_text(a->type), type_text(b->type)),
          "let both branches make tensors of one dtype and as many axes");
    both.joined.push_back(pair.type || *type != a->type || *type != b->type);
    both.then.outputs.push_back(as_joined(both.then.region->build, a, *type));
    both.otherwise.outputs.push_back(as_joined(both.otherwise.region->build, b, *type));
    for (Branch* branch : both.branches()) TAPER_TRY(branch->region->build.status());
  }
  return {};
}

// Builds the `if`, whose branches take all that either reads. Returns its results.
Expected<std::vector<taper::Value*>> Interpreter::build_if(Both& both, taper::Value* chosen) {
  if (both.then.outputs.empty()) return std::vector<taper::Value*>();
  for (Branch* branch : both.branches()) TAPER_TRY(capture_sizes(*branch->region));
  std::vector<taper::Value*> operands = {chosen};
  std::vector<WantedInput> then_inputs, otherwise_inputs;
  const auto input_of = [](const Branch& branch, const Capture& capture) -> const taper::Value* {
    const Capture* found = find_capture(branch.region->captures, capture.outer.tensor);
    return found ? found->input : nullptr;
  };
  for (Branch* branch : both.branches())
    for (const Capture& capture : branch->region->captures) {
      if (!capture.input) continue;
      const bool is_then = branch == &both.then;
      if (!is_then && input_of(both.then, capture)) continue;
      operands.push_back(capture.outer_value);
      const std::string& name = capture.input->name;
      then_inputs.push_back({is_then ? capture.input : nullptr, name, capture.input->type});
      otherwise_inputs.push_back(
          {is_then ? input_of(both.otherwise, capture) : capture.input, name, capture.input->type});
    }
  std::vector<std::unique_ptr<Graph>> regions;
  for (auto [branch, inputs] : {std::pair{&both.then, &then_inputs}, std::pair{&both.otherwise, &otherwise_inputs}}) {
    for (std::size_t i = 0; i < branch->outputs.size(); ++i)
      branch->graph->add_output(fmt::format("result_{}", i), branch->outputs[i]);
    TAPER_ASSIGN(std::unique_ptr<Graph> graph, with_inputs(std::move(*branch->graph), *inputs));
    regions.push_back(std::move(graph));
  }
  std::vector<taper::Value*> given = region_->build.call("if", std::move(operands), {}, "if", std::move(regions));
  TAPER_TRY(region_->build.status());
  return given;
}

// Writes what the branches wrote. Returns what they give for the pairs.
Expected<std::vector<Value>> Interpreter::results_of_branches(Both& both, const TensorRef& condition) {
  if (both.merging.pairs.empty()) return std::vector<Value>();
  TAPER_ASSIGN(const Value flag, to_number(condition, "bool"));
  TAPER_ASSIGN(taper::Value * chosen, number_in(*region_, flag, DType::boolean));
  TAPER_ASSIGN(const std::vector<taper::Value*> given, build_if(both, chosen));
  for (taper::Value* value : given) both.sizes.measure(region_->build, value);
  TAPER_TRY(region_->build.status());
  for (std::size_t i = 0; i < both.written.size(); ++i)
    TAPER_TRY(both.written[i].tensor->write(region_->build, given[given.size() - both.written.size() + i]));
  std::vector<taper::Value*> made;
  for (std::size_t i = 0, next = 0; i < both.origins.size(); ++i) {
    if (!both.is_choice(i)) {
      made.push_back(given[next++]);
      continue;
    }
    TAPER_ASSIGN(taper::Value * a, content_of(*region_, *both.origins[i].first.outer));
    TAPER_ASSIGN(taper::Value * b, content_of(*region_, *both.origins[i].second.outer));
    made.push_back(region_->build("where", {chosen, a, b}));
    TAPER_TRY(region_->build.status());
  }
  for (const auto& [tensor, why] : both.lost) tensor->lose(why);
  return merged_results(both.origins, both.joined, both.merging, chosen, made);
}

Expected<bool> Interpreter::try_branches(const TensorRef& condition, const Statement& statement, Storages& shared,
                                         const std::vector<Value>& changed, const Undecided* sizes) {
  const UnsupportedOperators unsupported_before = unsupported;
  TAPER_ASSIGN(Branch then, run_branch(statement.body, shared, changed, sizes, true));
  TAPER_ASSIGN(Branch otherwise, run_branch(statement.otherwise, shared, changed, sizes, false));
  JoinedSizes joined_sizes(*then.graph, *otherwise.graph,
                           [&](const Dim& most) { return aten::fresh_count(region_->context, most); });
  Both both{.then = std::move(then), .otherwise = std::move(otherwise), .sizes = std::move(joined_sizes)};
  both.merging.sizes = sizes;
  TAPER_TRY(merge_branches(both, statement, changed));
  TAPER_TRY(find_written(both));
  TAPER_TRY(find_outputs(both));
  TAPER_ASSIGN(const bool again, add_shared(both.branches(), shared));
  if (again) {
    unsupported = unsupported_before;
    return false;
  }
  TAPER_ASSIGN(const std::vector<Value> results, results_of_branches(both, condition));
  for (const auto& [name, value] : both.variables)
    frame_->variables.insert_or_assign(name, with_results(value, results));
  for (std::size_t i = 0; i < changed.size(); ++i)
    TAPER_TRY(set_contents(changed[i], with_results(both.contents[i], results)));
  if (both.merging.pairs.empty())
    for (const auto& [tensor, why] : both.lost) tensor->lose(why);
  return true;
}

}  // namespace taper::torchscript
