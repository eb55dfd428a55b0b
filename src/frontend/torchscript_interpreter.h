// Runs TorchScript abstractly: what doesn't depend on the inputs' elements is computed, the rest becomes a graph.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "frontend/program.h"
#include "frontend/torchscript_value.h"

namespace taper::torchscript {

// A tensor of an outer region that a region reads.
struct Capture {
  TensorRef outer;
  taper::Value* outer_value = nullptr;
  TensorRef inner;
  taper::Value* initial = nullptr;  // what the region begins with: its input or a constant
  taper::Value* input = nullptr;    // the region's; null for constants
};

// Storages of an outer region, by their roots. Tensors of one storage are captured apart, which is cheap, unless a
// region writes to it: then the root is captured and views are cut from it anew.
using Storages = std::vector<aten::TensorPtr>;
Storages storages_of(const aten::TensorPtr& tensor);
bool share_storage(const aten::TensorPtr& a, const aten::TensorPtr& b);

// A graph under construction: the program's, or one of a branch or loop that depends on data.
struct Region {
  Region(Graph& the_graph, Region* the_outer)
      : graph(the_graph),
        outer(the_outer),
        build(the_graph),
        context(the_outer == nullptr ? aten::Context{build} : the_outer->context.inside(build)) {}
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  Graph& graph;
  Region* outer;
  Builder build;
  aten::Context context;
  std::deque<Capture> captures;
  Storages shared;    // of the region around
  Storages variable;  // constants of the region around that this one writes to in a loop
  std::shared_ptr<const bool> alive = std::make_shared<const bool>(true);  // for views that may outlive the region
  bool guesses_ranges = false;  // these are not known yet: parts are taken to lie within tensors until they are
  bool asks_ranges = false;     // whether that was asked for
  // Counts of iterations, and between which sizes they lie.
  std::unordered_map<const taper::Value*, std::pair<Dim, Dim>> ranges;
  // Parts of tensors of which it isn't known how long they are, by the symbol of that: from where to where, of what.
  struct Part {
    taper::Value* first = nullptr;
    taper::Value* last = nullptr;
    Dim size = 0;
  };
  std::map<std::string, Part, std::less<>> parts;
  // Tensors of the region around (first), as this one sees them.
  std::unordered_map<const aten::Tensor*, std::pair<aten::TensorPtr, aten::TensorPtr>> known;
};

// Whether an operator knows what lists that grow in a loop are.
bool takes_growing(std::string_view name);

using Variables = std::unordered_map<std::string_view, Value>;

// A call that is being run.
struct Frame {
  const SourceFile* file = nullptr;
  Variables variables;
  std::string scope;  // the module's path
  std::optional<Value> result;
  std::map<std::string_view, const Statement*> closures = {};  // by name
};

struct Argument {
  std::string_view name;  // empty: positional
  Value value;
};

class Interpreter {
 public:
  // `budget`: how many statements and loop iterations may run.
  Interpreter(const Archive& archive, Region& root, std::size_t budget)
      : archive_(archive), root_(root), region_(&root), budget_(budget) {}
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  ~Interpreter();

  // Makes the value of an attribute tree of the archive. Objects are named by their path.
  Expected<Value> load(const pickle::Value& value, const std::string& path, int depth = 0);

  // Calls a method of an object; arguments as in Python.
  Expected<Value> call_method(const std::shared_ptr<Object>& self, std::string_view name,
                              std::vector<Argument> arguments);

  UnsupportedOperators unsupported;
  std::vector<std::string> assumptions;
  std::vector<std::string> warnings;

  // What a tensor is that an operator such as unsqueeze_ has turned; all else as it is.
  const Value& present(const Value& value) const;

  // The value of a default, which uses no variables.
  // What a closure of the present call gives, whose variables are its own.
  Expected<Value> run_closure(std::string_view name);
  Expected<Value> constant_expression(const SourceFile& file, const Expr& expr);

  // The entries that a mask picks as a tensor.
  Expected<Value> picked_entries(const MaskedRef& masked);

 private:
  friend class Builtins;

  // ---- statements
  Expected<Value> call_function(const SourceFile& file, const Function& function, std::vector<Argument> arguments,
                                std::string scope);
  Status run_block(const std::vector<Statement>& block);
  Status run_statement(const Statement& statement);
  Status assign(const Expr& target, Value value);
  Status run_conditional(const Statement& statement);
  Status run_while(const Statement& statement);
  Status run_for(const Statement& statement);
  Status run_with(const Statement& statement);
  // What iterations set that have run already is no state of those that follow.
  using Names = std::set<std::string_view>;
  static Names names_of(const Variables& variables);
  void forget_others(const Names& names);
  Status spend(std::uint32_t line);

  // ---- what depends on data
  struct Branch {
    std::unique_ptr<Graph> graph = std::make_unique<Graph>();
    std::unique_ptr<Region> region;
    Variables variables;
    std::vector<Value> contents;  // of the containers that it changes
    std::vector<taper::Value*> outputs;
    std::vector<taper::Value*> begun = {};  // of a loop: what is carried when an iteration begins
  };
  struct Merge;
  struct Loop;
  class StepCounter;
  // How iterations make a list or tensor longer: by so many items of this type, at its end or before its first one.
  struct Growth {
    Type item;
    bool is_number = false;
    std::size_t count = 1;
    bool in_front = false;
    std::optional<std::size_t> axis = {};  // a tensor grows along this axis, by entries that are the items
    bool whole = false;                    // iterations write to that tensor: each begins with one of its own
    // Items along whose axis are so many entries as a part of a tensor has, times `factor` and `offset` more; they get
    // joined along it. Parts begin at `first` and, in each iteration, `step` further on, up to `size`.
    struct Ragged {
      std::size_t axis = 0;
      std::int64_t factor = 1, offset = 0;
      bool is_counted = false;
      Dim before = 0;  // entries of the items before the loop
      Dim first = 0, size = 0;
      std::int64_t step = 1;

      bool operator==(const Ragged&) const = default;
      Dim entries(const aten::Context& context, const Dim& steps) const;
    };
    std::optional<Ragged> ragged = {};

    bool operator==(const Growth&) const = default;
  };
  // What the attempts before have found out about a loop.
  struct Attempts {
    std::set<std::string_view> carried;  // numbers that iterations change
    std::set<std::string_view> kept;     // tensors that iterations write to but never replace
    std::set<std::string_view> strided;  // carried tensors that don't stay row-major
    // Carried tensors that may share elements with tensors of outside, or with one another, of which one is written to.
    std::map<std::string_view, Storages> aliases;
    std::set<std::pair<std::string_view, std::string_view>> paired;
    Storages shared;
    Storages variable;                         // constants that iterations write to
    std::vector<Value> changed;                // lists and dicts whose items iterations set
    std::set<std::string, std::less<>> names;  // of what tuples, lists and dicts hold
    std::set<std::string_view> replaced;       // variables that iterations set to other lists
    // Lists that iterations make longer, and the variable where that becomes another list.
    std::map<std::pair<const List*, std::string_view>, Growth> grown;
    // Lists that iterations make longer at times, and by how many items at most.
    std::map<const List*, Growth> filling;
    std::int64_t first = 0;            // number of the first iteration
    std::optional<Dim> steps;          // how often the loop runs, or runs at most
    taper::Value* measured = nullptr;  // a vector of so many entries, where the running program measures `steps`
    std::map<std::string_view, std::pair<Dim, std::int64_t>> counters;  // how numbers begin, and by how much they grow
    bool measures = false;     // parts of tensors are as long as the running program finds, whatever the ranges may be
    bool counted = false;      // whether the iterations have been counted, as far as that can be
    bool ends_itself = false;  // then `steps` is how often it runs at most
  };
  // `sizes`: the condition, if it is one on sizes.
  Status branch_on(const TensorRef& condition, const Statement& statement, const Undecided* sizes = nullptr);
  Expected<bool> try_branches(const TensorRef& condition, const Statement& statement, Storages& shared,
                              const std::vector<Value>& changed, const Undecided* sizes);
  // Lets a region see inputs of the program that say the sizes which it names.
  Status capture_sizes(Region& region);
  // What has been told so far, to be taken back after a failed attempt.
  struct Told {
    std::size_t warnings, assumptions;
    UnsupportedOperators unsupported;
  };
  Told told() const { return {warnings.size(), assumptions.size(), unsupported}; }
  void take_back(Told before);
  Expected<bool> join_by_branch(const Undecided& sizes, const Statement& statement);
  Expected<bool> choose_by_sizes(const Undecided& sizes, const Statement& statement);
  struct Both;
  Status pick_in(Branch& branch, Value& value);
  Status merge_branches(Both& both, const Statement& statement, const std::vector<Value>& changed);
  Status find_written(Both& both);
  Status find_outputs(Both& both);
  Expected<std::vector<taper::Value*>> build_if(Both& both, taper::Value* chosen);
  Expected<std::vector<Value>> results_of_branches(Both& both, const TensorRef& condition);
  // Whether a list that a branch or loop changes still has a known number of items.
  Status check_item_count(const Value& container, List::Kind before);
  Expected<Branch> run_branch(const std::vector<Statement>& block, const Storages& shared,
                              const std::vector<Value>& changed, const Undecided* sizes, bool holds);
  // Adds storages that a region writes to and that more than one tensor reads. Returns whether there are new ones.
  Expected<bool> add_shared(std::span<Branch* const> branches, Storages& shared);
  Expected<Value> merge(Merge& merging, const Value& a, const Value& b);
  Expected<Value> merge_unset(Merge& merging, const Value& a, const Value& b);
  Expected<std::optional<Value>> merge_items(Merge& merging, const Value& a, const Value& b);
  Expected<Value> merge_optional(Merge& merging, const Value& a, const Value& b);
  struct Origin;
  Expected<Origin> origin_of(const Branch& branch, const Value& value);
  aten::TensorPtr given_by(const Origin& origin, taper::Value* made);
  aten::TensorPtr joined_tensor(const Origin& then, const Origin& otherwise, taper::Value* made);
  Expected<std::vector<Value>> merged_results(const std::vector<std::pair<Origin, Origin>>& origins,
                                              const std::vector<bool>& joined, const Merge& merging, taper::Value* flag,
                                              std::span<taper::Value* const> made);
  Expected<bool> is_changed(Region& region, const Capture& capture);
  Expected<taper::Value*> merged_output(Branch& branch, const Value& value, const Value& other);
  // `entered`: whether there is a first iteration, which of a `for` is the one numbered `first`.
  Status loop_on(const Statement& statement, const Value* count, const Value& entered, std::int64_t first = 0);
  Expected<bool> try_loop(const Statement& statement, const Value* count, const Value& entered, Attempts& attempts);
  Status find_carried(Loop& loop, const Attempts& attempts);
  Status carry(Loop& loop, const Attempts& attempts, std::size_t holder);
  Status inside(Loop& loop, Branch& branch, const std::function<Status()>& step);
  Expected<std::vector<aten::TensorPtr>> enter(Loop& loop, Branch& branch, const Attempts& attempts);
  Status run_body(Loop& loop, const Attempts& attempts);
  Expected<bool> find_leaves(Loop& loop, Attempts& attempts);
  Expected<bool> carry_more(const Loop& loop, Attempts& attempts);
  // Tensors that share elements with what is carried after an iteration: of outside, made there, carried before it.
  struct Relatives;
  Expected<Relatives> relatives_of(Loop& loop, std::size_t carried, Attempts& attempts, bool& more);
  Expected<bool> note_aliases(Loop& loop, Attempts& attempts);
  Expected<bool> relate(Loop& loop, Attempts& attempts);
  Status run_condition(Loop& loop, const Attempts& attempts);
  Status find_next(Loop& loop);
  Expected<bool> check_types(const Loop& loop, Attempts& attempts);
  Expected<bool> write_constants(const Loop& loop, Attempts& attempts);
  // What grows: a leaf of a holder, or a list that is one. `begin` is that before the loop.
  Status carry_grown(Loop& loop, std::size_t holder, std::size_t leaf, const Growth& growth, const Value& begin);
  Expected<Storages> storages_copied_from(const Growth& growth, const Value& begin);
  void begin_growing(Loop& loop, std::size_t holder, taper::Value* iteration, const aten::TensorPtr& place);
  Expected<bool> note_growth(Loop& loop, std::size_t holder, const Value& value, Attempts& attempts, bool& more);
  Expected<taper::Value*> grown_further(Loop& loop, std::size_t carried);
  Expected<bool> count_steps(Loop& loop, const Value& entered, Attempts& attempts);
  // Items of which the last one may be shorter.
  Expected<taper::Value*> joined_further(Loop& loop, std::size_t carried);
  Expected<bool> count_ragged(StepCounter& counter, const Loop& loop, Attempts& attempts);
  static std::optional<Growth::Ragged> counted_parts(StepCounter& counter, const Region& region, const Growth& growth,
                                                     std::span<const Value> items);
  Expected<std::optional<Value>> on_parts(std::string_view name, const std::vector<Argument>& arguments);
  Dim part_count(const List& list);
  Expected<Value> part_of_tensor(const List& list, const Value& index);
  Expected<Value> finish_growing(Loop& loop, std::size_t carried, const aten::TensorPtr& items,
                                 taper::Value* iterations);
  // Lists that fill a tensor.
  Status begin_filling(List& list, const Growth& growth, const Dim& room);
  bool note_uneven(Attempts& attempts);
  Status make_room(const Value& container);
  Status add_room(List& list, const Dim& room);
  void note_filling(Attempts& attempts);
  Status check_even(const Value& container, const Value& a, const Value& b);
  Expected<Value> append_to_filling(const std::shared_ptr<List>& list, const Value& item);
  Expected<Value> pop_from_filling(const Value& container);
  // Lists of an open number of items.
  Expected<Value> set_in_stack(const Value& container, const Value& index, const Value& item);
  Expected<std::optional<Value>> repeated_list(const Value& list, const Value& times);
  Expected<Value> item_of_filling(const List& list, const Value& index);
  Status settle(List& list);
  // A call on what grows in a loop; nothing if there is none among the arguments.
  Expected<std::optional<Value>> on_grown(std::string_view name, const std::vector<Argument>& arguments);
  Expected<std::optional<Value>> ask_grown_tensor(std::string_view name, const List& list,
                                                  const std::vector<Argument>& arguments);
  Expected<std::optional<Value>> longer_tensor(const std::vector<Value>& parts, const Value& dim);
  List::Start start_of(const Growth& growth, const Value& begin, taper::Value* iteration, const aten::TensorPtr& place);
  static std::optional<Growth> tensor_growth(const Type& before, const Type& next);
  Expected<bool> note_tensor_growth(const Loop& loop, Attempts& attempts);
  Expected<taper::Value*> grown_whole(Loop& loop, std::size_t carried, const Value& whole);
  bool note_writes(const Loop& loop, Attempts& attempts);
  Expected<aten::TensorPtr> whole_place(const List::Start& start);
  // A copy of what such tensors hold, as one that may share elements with them.
  Expected<TensorRef> shared_with(std::span<const Value> tensors, taper::Value* content, std::string why);
  // The place that an index is at, which counts from the end where it is negative.
  Expected<Value> place_of_index(const Value& index, const Value& length);
  Expected<Value> in_place(Value entries, bool in_front, std::optional<std::size_t> axis);
  Expected<Value> entries_so_far(const List::Start& start, std::vector<Value> items = {});
  Expected<Value> grown_length(const List::Start& start, std::size_t here = 0);
  Expected<Value> grown_item(const List& list, const Value& index);
  Expected<TensorRef> grown_items(const List::Start& start, std::vector<Value> items);
  Expected<Value> item_of_stack(const TensorRef& stack, const Value& index);
  Status finish(Loop& loop, const Value& entered);
  // What a loop hands round beside what it carries: what its regions read of outside.
  struct Round;
  Status capture_all(Loop& loop, Round& round);
  Expected<std::vector<taper::Value*>> build_while(Loop& loop, Round& round);
  Status set_holder(Loop& loop, std::size_t holder, std::span<const Value> after);
  Expected<aten::TensorPtr> result_of(const Loop& loop, std::size_t i, std::span<const aten::TensorPtr> others,
                                      taper::Value* made, const Value& entered);
  Expected<Value> iterate_item(const Value& iterated, const Value& index);

  // ---- expressions
  Expected<Value> evaluate(const Expr& expr);
  Expected<Value> evaluate_container(const Expr& expr);
  Expected<Value> evaluate_choice(const Expr& expr);
  Expected<Value> evaluate_call(const Expr& expr);
  Expected<Value> evaluate_named_call(const std::string& name, const Expr& expr);
  Expected<std::vector<Argument>> evaluate_arguments(const Expr& call, std::size_t first = 1);
  Expected<Value> attribute(const Value& object, std::string_view name);
  Expected<Value> subscript(const Value& object, const Value& index);
  Expected<Value> chosen_item(const std::vector<Value>& items, const Value& index);
  Expected<Value> slice_of(const Value& object, const Value& begin, const Value& end, const Value& step);
  Expected<Value> named_value(const std::string& name);
  Value imaginary_number(double value);
  Expected<Value> binary(std::string_view op, const Expr& expr);
  Expected<Value> is_instance(const Value& value, const Expr& type);
  // "torch.nn.functional" of a chain of attributes whose first name is no variable; else empty.
  std::string dotted_name(const Expr& expr) const;
  Expected<Value> make_object(const ClassRef& type, std::vector<Argument> arguments);
  // The truth of a condition; nothing where the running program decides.
  Expected<std::optional<bool>> decide(const Value& condition);

  // ---- operators
  // torch.NAME or ops.aten.NAME
  Expected<Value> call_operator(std::string_view name, std::vector<Argument> arguments);
  Expected<Value> call_prim(std::string_view name, std::vector<Argument> arguments);
  Expected<Value> call_aten(std::string_view name, const std::vector<Argument>& arguments);
  bool measure_sizes(std::string_view name, const std::vector<Argument>& arguments, std::vector<aten::NamedArg>& args);
  Expected<Value> dynamic_select(const TensorRef& x, const Value& dim, const TensorRef& index);
  // slice and narrow between places that only the running program knows; nothing if that isn't what is asked for.
  Expected<std::optional<Value>> slice_when_run(std::string_view name, std::vector<Argument>& arguments);
  Expected<Value> part_of_length(const aten::TensorPtr& base, std::size_t axis, const Value& first, const Dim& length);
  Expected<Value> measured_part(const aten::TensorPtr& base, std::size_t axis, const Value& first, const Value& last);
  // x[mask], and what can be done with that; nothing if that isn't what is asked for.
  Expected<std::optional<Value>> on_masked(std::string_view name, const std::vector<Argument>& arguments);
  // What lists of an open size are made of and give as tensors; nothing if that isn't what is asked for.
  Expected<std::optional<Value>> on_stack(std::string_view name, const std::vector<Argument>& arguments);
  Value stacked_list(const TensorRef& stack);
  Expected<std::optional<Value>> pick_by_mask(const TensorRef& x, const TensorRef& mask);
  Expected<Value> filled(const MaskedRef& masked, double value);
  Expected<const Value*> picking_mask(std::string_view name, const std::vector<Argument>& arguments);
  Expected<bool> same_mask(const TensorRef& a, const TensorRef& b);
  Expected<std::optional<Value>> put_back(std::string_view name, const std::vector<Argument>& arguments,
                                          const TensorRef& mask, const MaskedRef& masked);
  Expected<std::optional<Value>> on_each_masked(std::string_view name, const MaskedRef& masked,
                                                std::vector<Argument> arguments);
  Expected<std::optional<Value>> reduce_masked(std::string_view name, const MaskedRef& masked,
                                               const std::vector<Argument>& arguments);
  Expected<Value> make_tensor(const std::vector<Argument>& arguments);  // torch.tensor
  Expected<Value> make_full(const std::vector<Argument>& arguments);    // torch.full of what depends on data
  Expected<Value> stacked(const Value& value, std::optional<DType> dtype, std::size_t depth);
  Expected<Value> listed(const Value& tensor, std::size_t depth);        // x.tolist()
  Expected<Value> to_number(const Value& value, std::string_view kind);  // int(x), float(x), bool(x)
  Value unsupported_operator(std::string_view name, std::string_view hint = {});

  // ---- tensors
  // The tensor as the present region sees it.
  Expected<aten::TensorPtr> use(const TensorRef& tensor);
  Expected<aten::TensorPtr> use_in(Region& region, const TensorRef& tensor);
  Expected<taper::Value*> content_in(Region& region, const TensorRef& tensor);
  // Of a tensor that the region sees.
  Expected<taper::Value*> content_of(Region& region, aten::Tensor& seen);
  // A value of the present region as views cut from it see it, in regions inside too.
  std::function<taper::Value*(Builder&)> seen_by_views(taper::Value* content);
  Expected<aten::TensorPtr> view_in(Region& region, const aten::Tensor& view, std::vector<aten::TensorPtr> bases);
  Expected<aten::Arg> to_arg(const Value& value);
  Value from_arg(const aten::Arg& arg, bool is_number);
  // A number or bool as a tensor of rank 0.
  Expected<taper::Value*> number_in(Region& region, const Value& number, std::optional<DType> dtype = std::nullopt);
  Expected<Value> load_tensor(const pickle::TensorValue& tensor, const std::string& path);
  Expected<Value> load_complex(const pickle::Value& value, const Tensor& parts, const std::string& path);
  Value new_list(std::vector<Value> items);
  Status check_may_change(const Value& container);
  bool note_changed(std::vector<Value>& changed);

  // ---- messages
  std::string place(std::uint32_t line) const;
  std::unexpected<Error> error_here(std::string message, std::string hint = {}) const;
  void assume(std::string sentence);

  const Archive& archive_;
  Region& root_;
  Region* region_;
  std::size_t budget_;
  std::size_t spent_ = 0;
  int depth_ = 0;
  std::uint32_t line_ = 0;
  Frame* frame_ = nullptr;
  std::unordered_map<const pickle::Value*, Value> loaded_;
  // A list that got items in one branch and not in the other, or has no room for more, and what they are like.
  std::optional<std::pair<Value, Growth>> uneven_;
  std::optional<Value> changed_;  // the container that an error is about
  // Tensors whose shape an operator changed in place, and views that they are from then on.
  std::map<aten::TensorPtr, Value> turned_;
  std::map<std::string, Value, std::less<>> tensors_;  // by where their elements lie, so that tied weights stay tied
};

}  // namespace taper::torchscript
