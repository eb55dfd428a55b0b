// Branches and loops of TorchScript that depend on data: the rows `if` and `while`.
#include <algorithm>
#include <cmath>

#include "formats/text.h"
#include "frontend/aten_table.h"
#include "frontend/torchscript_interpreter.h"

namespace taper::torchscript {
namespace {

// The variables that a block may set, in the order of their first assignment.
void add_targets(const Expr& target, std::vector<std::string_view>& names) {
  if (target.kind == ExprKind::name && std::ranges::find(names, target.text) == names.end())
    names.push_back(target.text);
  if (target.kind == ExprKind::tuple)
    for (const Expr* part : target.items) add_targets(*part, names);
}

void add_assigned(const std::vector<Statement>& block, std::vector<std::string_view>& names) {
  for (const Statement& statement : block) {
    if (statement.target) add_targets(*statement.target, names);
    add_assigned(statement.body, names);
    add_assigned(statement.otherwise, names);
  }
}

bool gives_back(const std::vector<Statement>& block) {
  return std::ranges::any_of(block, [](const Statement& statement) {
    return statement.kind == StatementKind::give_back || gives_back(statement.body) || gives_back(statement.otherwise);
  });
}

// A copy of a region's graph with these inputs: `order` holds the present input that each one is, or null for those
// that the region does not read, with their types.
struct WantedInput {
  const taper::Value* present;
  std::string name;
  Type type;
};
Expected<std::unique_ptr<Graph>> with_inputs(Graph graph, const std::vector<WantedInput>& order) {
  auto copy = std::make_unique<Graph>();
  std::unordered_map<const taper::Value*, taper::Value*> mapped = {{nullptr, nullptr}};
  const auto find = [&](const taper::Value* value) -> Expected<taper::Value*> {
    if (const auto found = mapped.find(value); found != mapped.end()) return found->second;
    return fail("a branch or loop reads '{}', which is made elsewhere", value->name);
  };
  for (const WantedInput& input : order) {
    taper::Value* added = copy->add_input(input.name, input.type);
    if (input.present) mapped.emplace(input.present, added);
  }
  for (Node& node : graph.nodes()) {
    std::vector<taper::Value*> operands;
    for (const taper::Value* operand : node.operands) {
      TAPER_ASSIGN(taper::Value * seen, find(operand));
      operands.push_back(seen);
    }
    std::vector<Type> types;
    std::vector<std::string> names;
    for (const taper::Value* result : node.results) {
      types.push_back(result->type);
      names.push_back(result->name);
    }
    Node* made = copy->add_named_node(node.op, std::move(operands), std::move(node.attrs), std::move(types), names,
                                      std::move(node.regions));
    made->scope = node.scope;
    for (std::size_t i = 0; i < node.results.size(); ++i) mapped.emplace(node.results[i], made->results[i]);
  }
  for (const Output& output : graph.outputs()) {
    TAPER_ASSIGN(taper::Value * seen, find(output.value));
    copy->add_output(output.name, seen);
  }
  return copy;
}

const Capture* find_capture(const std::deque<Capture>& captures, const aten::TensorPtr& outer) {
  const auto found = std::ranges::find(captures, outer, [](const Capture& capture) { return capture.outer.tensor; });
  return found == captures.end() ? nullptr : &*found;
}

bool is_number_value(const Value& value) {
  return value.as<Dim>() || value.as<double>() || value.as<bool>() || (value.tensor() && value.tensor()->is_number);
}

std::optional<DType> number_dtype(const Value& value) {
  if (value.tensor()) return value.tensor()->tensor->type().dtype;
  if (value.as<Dim>()) return DType::i64;
  if (value.as<double>()) return DType::f32;
  if (value.as<bool>()) return DType::boolean;
  return std::nullopt;
}

}  // namespace

// ---- branches

// Pairs of values, one per branch, that become the results of the `if`.
struct Interpreter::Merge {
  struct Pair {
    Value a, b;
    std::optional<DType> number;  // of numbers: their dtype
  };
  std::vector<Pair> pairs;
};

Expected<Interpreter::Branch> Interpreter::run_branch(const std::vector<Statement>& block, const Storages& shared) {
  Branch branch;
  branch.region = std::make_unique<Region>(*branch.graph, region_);
  branch.region->shared = shared;
  branch.region->context.symbols = region_->context.symbols;
  branch.region->build.set_scope(frame_->scope);
  Region* const before = std::exchange(region_, branch.region.get());
  Variables saved = frame_->variables;
  const Status status = run_block(block);
  branch.variables = std::exchange(frame_->variables, std::move(saved));
  region_ = before;
  if (!status) return std::unexpected(status.error());
  return branch;
}

// What a variable is after both branches. Pairs of tensors are noted, and stand as Pending until the results exist.
Expected<Value> Interpreter::merge(Merge& merging, const Value& a, const Value& b) {
  const auto note = [&](const Value& x, const Value& y, std::optional<DType> number) -> Value {
    merging.pairs.push_back({x, y, number});
    return Pending{merging.pairs.size() - 1};
  };
  if (a.as<Uninitialized>() && b.as<Uninitialized>()) return a;
  if (a.is_unknown() || b.is_unknown()) return a.is_unknown() ? a : b;
  if (a.tensor() && b.tensor() && a.tensor()->tensor == b.tensor()->tensor) return a;
  if (a.is_tensor() || b.is_tensor()) {
    const bool usable = (a.is_tensor() || a.as<Uninitialized>()) && (b.is_tensor() || b.as<Uninitialized>());
    if (!usable) return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b))};
    if (a.is_tensor() && b.is_tensor() && a.tensor()->tensor->type() != b.tensor()->tensor->type())
      return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b))};
    return note(a, b, std::nullopt);
  }
  if (a.as<Uninitialized>()) return b.tensor() ? note(a, b, number_dtype(b)) : b;
  if (b.as<Uninitialized>()) return a.tensor() ? note(a, b, number_dtype(a)) : a;
  if (same_value(a, b) == true) return a;
  if (is_number_value(a) && is_number_value(b)) {
    const DType dtype_a = *number_dtype(a);
    const DType dtype_b = *number_dtype(b);
    if (dtype_a != dtype_b)
      return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b))};
    return note(a, b, dtype_a);
  }
  if (a.items() && b.items() && a.items()->size() == b.items()->size() && a.data.index() == b.data.index()) {
    std::vector<Value> items;
    for (std::size_t i = 0; i < a.items()->size(); ++i) {
      TAPER_ASSIGN(Value item, merge(merging, (*a.items())[i], (*b.items())[i]));
      items.push_back(std::move(item));
    }
    if (const auto* tuple = a.as<std::shared_ptr<Tuple>>())
      return std::make_shared<Tuple>(std::move(items), (*tuple)->type);
    return new_list(std::move(items));
  }
  if (a.data.index() == b.data.index() && (a.as<Device>() || a.as<Undecided>())) return a;
  return Unknown{fmt::format("is {} in one branch and {} in the other", describe(a), describe(b))};
}

// The value that a branch gives for a pair.
Expected<taper::Value*> Interpreter::merged_output(Branch& branch, const Value& value, const Value& other) {
  Region& region = *branch.region;
  if (value.as<Uninitialized>()) {
    // Nobody reads it: zeros of the other's type.
    const Type& type = other.tensor()->tensor->type();
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
  return value.items() && std::ranges::any_of(*value.items(), holds_pending);
}

// Puts results in the place of what merge() noted.
Value with_results(const Value& value, const std::vector<Value>& results) {
  if (const auto* pending = value.as<Pending>()) return results[pending->index];
  const auto replace = [&](const std::vector<Value>& items) {
    std::vector<Value> replaced;
    for (const Value& item : items) replaced.push_back(with_results(item, results));
    return replaced;
  };
  if (const auto* tuple = value.as<std::shared_ptr<Tuple>>())
    return std::make_shared<Tuple>(replace((*tuple)->items), (*tuple)->type);
  if (const auto* list = value.as<std::shared_ptr<List>>(); list && holds_pending(value))
    return std::make_shared<List>(replace((*list)->items), (*list)->home);
  return value;
}

}  // namespace

namespace {

// How a branch cuts a tensor from a storage of the region around.
struct Origin {
  aten::TensorPtr outer;              // the root; null: made in the branch
  std::vector<aten::TensorPtr> cuts;  // from the root on
};

// Follows a view to its root.
void add_cuts(aten::TensorPtr tensor, Origin& origin) {
  for (; tensor->base(); tensor = tensor->base()) origin.cuts.insert(origin.cuts.begin(), tensor);
  origin.outer = tensor;
}

// Of what the branch made itself, or from what it captured.
Origin origin_in(const Region& region, const aten::TensorPtr& tensor) {
  Origin origin;
  add_cuts(tensor, origin);
  const auto is_root = [&](const Capture& capture) { return capture.inner.tensor == origin.outer; };
  const auto found = std::ranges::find_if(region.captures, is_root);
  if (found == region.captures.end()) return {};
  add_cuts(found->outer.tensor, origin);
  return origin;
}

bool is_contiguous(const Origin& origin) {
  return !origin.outer || (origin.cuts.empty() ? origin.outer : origin.cuts.back())->contiguous();
}

aten::TensorPtr cut_again(Builder& build, const Origin& origin, const aten::TensorPtr& from) {
  aten::TensorPtr tensor = from;
  for (const aten::TensorPtr& cut : origin.cuts)
    if (tensor) tensor = cut->view_of(build, tensor);
  return tensor;
}

}  // namespace

// A result of an `if`. Where branches give what lies in one tensor of outside, it is a view of that.
Value Interpreter::merged_result(const Branch& then, const Branch& otherwise, const Merge& merging, std::size_t i,
                                 taper::Value* flag, taper::Value* made) {
  const Merge::Pair& pair = merging.pairs[i];
  const auto origin_of = [&](const Branch& branch, const Value& value) -> Origin {
    if (!value.is_tensor()) return {};
    if (value.tensor()->home == branch.region.get()) return origin_in(*branch.region, value.tensor()->tensor);
    Origin origin;
    if (const auto seen = use(*value.tensor())) add_cuts(*seen, origin);
    return origin;
  };
  const Origin a = origin_of(then, pair.a);
  const Origin b = origin_of(otherwise, pair.b);
  if (!a.outer && !b.outer) return TensorRef{aten::Tensor::make(made), region_, pair.number.has_value()};
  aten::TensorPtr base = a.outer ? a.outer : b.outer;
  if (a.outer && b.outer && a.outer != b.outer) {
    // Which of two it is isn't told before the program runs.
    const auto refuse = [this](Builder& build, taper::Value*) -> taper::Value* {
      build.set_error(
          error_here("one of two tensors that a branch chooses is written to before the choice is read").error());
      return nullptr;
    };
    return TensorRef{aten::Tensor::make_view(region_->build, std::move(base), refuse, nullptr, false, made), region_,
                     false};
  }
  const auto choose = [=, seen_flag = seen_by_views(flag)](Builder& build, taper::Value* x, taper::Value* y) {
    return build("where", {seen_flag(build), x, y});
  };
  const auto cut = [=, seen_made = seen_by_views(made)](Builder& build, taper::Value* from) {
    const auto side = [&](const Origin& origin) -> taper::Value* {
      if (!origin.outer) return seen_made(build);
      const aten::TensorPtr tensor = cut_again(build, origin, aten::Tensor::make(from));
      return tensor ? tensor->content(build) : nullptr;
    };
    return choose(build, side(a), side(b));
  };
  const auto write_back = [=](Builder& build, taper::Value* from, taper::Value* written) -> taper::Value* {
    const auto side = [&](const Origin& origin) -> taper::Value* {
      if (!origin.outer) return from;
      const aten::TensorPtr root = aten::Tensor::make(from);
      const aten::TensorPtr tensor = cut_again(build, origin, root);
      if (!tensor) return nullptr;
      if (const Status status = tensor->write(build, written); !status) build.set_error(status.error());
      return root->content(build);
    };
    return choose(build, side(a), side(b));
  };
  return TensorRef{aten::Tensor::make_view(region_->build, std::move(base), cut, write_back,
                                           is_contiguous(a) && is_contiguous(b), made),
                   region_, false};
}

Expected<bool> Interpreter::add_shared(std::span<Branch* const> branches, Storages& shared) {
  Storages read, written;
  for (const Branch* branch : branches)
    for (const Capture& capture : branch->region->captures) {
      TAPER_ASSIGN(const taper::Value* content, content_of(*branch->region, *capture.inner.tensor));
      read.push_back(capture.outer.tensor);
      if (content != capture.initial) written.push_back(capture.outer.tensor);
    }
  bool added = false;
  for (const aten::TensorPtr& tensor : written) {
    const aten::TensorPtr root = root_of(tensor);
    const bool alone = std::ranges::none_of(
        read, [&](const aten::TensorPtr& other) { return other != tensor && root_of(other) == root; });
    if (alone || std::ranges::find(shared, root) != shared.end()) continue;
    shared.push_back(root);
    added = true;
  }
  return added;
}

// The branches are run again where they turn out to write to a storage that several tensors read.
Status Interpreter::branch_on(const TensorRef& condition, const Statement& statement) {
  if (gives_back(statement.body) || gives_back(statement.otherwise))
    return error_here("a branch that depends on data returns");
  Storages shared;
  while (true) {
    TAPER_ASSIGN(const bool done, try_branches(condition, statement, shared));
    if (done) return {};
  }
}

Expected<bool> Interpreter::try_branches(const TensorRef& condition, const Statement& statement, Storages& shared) {
  const UnsupportedOperators unsupported_before = unsupported;
  TAPER_ASSIGN(Branch then, run_branch(statement.body, shared));
  TAPER_ASSIGN(Branch otherwise, run_branch(statement.otherwise, shared));

  std::vector<std::string_view> names;
  add_assigned(statement.body, names);
  add_assigned(statement.otherwise, names);
  Merge merging;
  std::vector<std::pair<std::string_view, Value>> merged;
  for (const std::string_view name : names) {
    const auto a = then.variables.find(name);
    const auto b = otherwise.variables.find(name);
    if (a == then.variables.end() || b == otherwise.variables.end()) {
      frame_->variables.erase(name);  // set on one way only: nobody may read it
      continue;
    }
    if (!is_walkable(a->second) || !is_walkable(b->second)) return error_here(fmt::format("'{}' is too large", name));
    TAPER_ASSIGN(Value value, merge(merging, a->second, b->second));
    merged.emplace_back(name, std::move(value));
  }
  // Tensors of outside that a branch wrote to.
  std::vector<TensorRef> written;
  for (Branch* branch : {&then, &otherwise})
    for (std::size_t i = 0; i < branch->region->captures.size(); ++i) {
      const Capture& capture = branch->region->captures[i];
      TAPER_ASSIGN(const taper::Value* content, content_of(*branch->region, *capture.inner.tensor));
      const auto same = [&](const TensorRef& other) { return other.tensor == capture.outer.tensor; };
      if (content == capture.initial || std::ranges::any_of(written, same)) continue;
      written.push_back(capture.outer);
    }
  for (const TensorRef& tensor : written) merging.pairs.push_back({tensor, tensor, std::nullopt});

  for (const Merge::Pair& pair : merging.pairs) {
    TAPER_ASSIGN(taper::Value * a, merged_output(then, pair.a, pair.b));
    TAPER_ASSIGN(taper::Value * b, merged_output(otherwise, pair.b, pair.a));
    if (a->type != b->type)
      return error_here(
          fmt::format("a variable is {} in one branch and {} in the other", type_text(a->type), type_text(b->type)));
    then.outputs.push_back(a);
    otherwise.outputs.push_back(b);
  }
  Branch* const both[] = {&then, &otherwise};
  TAPER_ASSIGN(const bool again, add_shared(both, shared));
  if (again) {
    unsupported = unsupported_before;
    return false;
  }
  std::vector<Value> results;
  std::vector<taper::Value*> made;
  taper::Value* chosen = nullptr;
  if (!merging.pairs.empty()) {
    // Both branches take all that either reads.
    std::vector<taper::Value*> operands;
    TAPER_ASSIGN(const Value flag, to_number(condition, "bool"));
    TAPER_ASSIGN(chosen, number_in(*region_, flag, DType::boolean));
    operands.push_back(chosen);
    std::vector<WantedInput> then_inputs, otherwise_inputs;
    const auto input_of = [](const Branch& branch, const Capture& capture) -> const taper::Value* {
      const Capture* found = find_capture(branch.region->captures, capture.outer.tensor);
      return found ? found->input : nullptr;
    };
    for (Branch* branch : both)
      for (const Capture& capture : branch->region->captures) {
        if (!capture.input) continue;
        if (branch == &otherwise && input_of(then, capture)) continue;
        operands.push_back(capture.outer_value);
        then_inputs.push_back({branch == &then ? capture.input : nullptr, capture.input->name, capture.input->type});
        otherwise_inputs.push_back(
            {branch == &then ? input_of(otherwise, capture) : capture.input, capture.input->name, capture.input->type});
      }
    std::vector<std::unique_ptr<Graph>> regions;
    for (auto [branch, inputs] : {std::pair{&then, &then_inputs}, std::pair{&otherwise, &otherwise_inputs}}) {
      for (std::size_t i = 0; i < branch->outputs.size(); ++i)
        branch->graph->add_output(fmt::format("result_{}", i), branch->outputs[i]);
      TAPER_ASSIGN(std::unique_ptr<Graph> graph, with_inputs(std::move(*branch->graph), *inputs));
      regions.push_back(std::move(graph));
    }
    made = region_->build.call("if", std::move(operands), {}, "if", std::move(regions));
    TAPER_TRY(region_->build.status());
  }
  const std::size_t values = made.size() - written.size();
  for (std::size_t i = 0; i < written.size(); ++i)
    TAPER_TRY(written[i].tensor->write(region_->build, made[values + i]));
  for (std::size_t i = 0; i < values; ++i)
    results.push_back(merged_result(then, otherwise, merging, i, chosen, made[i]));
  for (auto& [name, value] : merged) frame_->variables.insert_or_assign(name, with_results(value, results));
  return true;
}

// ---- loops

// What one attempt at a loop carries.
struct Interpreter::Loop {
  struct Carried {
    std::string_view name;  // empty: the count of iterations, or what the body captures
    taper::Value* initial = nullptr;
    bool is_number = false;
  };
  std::vector<Carried> carried;
};

// A loop whose end depends on data: what the body sets is carried. Numbers that no iteration changes stay known; which
// ones these are is found by trying: every attempt carries those that changed in the one before. Tensors are carried
// unless the body only writes to them: then they stay the places that other tensors share.
Status Interpreter::loop_on(const Statement& statement, const Value* count) {
  if (gives_back(statement.body)) return error_here("a loop that depends on data returns");
  Attempts attempts;
  while (true) {
    TAPER_ASSIGN(const bool done, try_loop(statement, count, attempts));
    if (done) return {};
  }
}

Expected<bool> Interpreter::try_loop(const Statement& statement, const Value* count, Attempts& attempts) {
  Region& outer = *region_;
  std::vector<std::string_view> assigned;
  add_assigned(statement.body, assigned);
  Loop loop;
  TensorRef limit;
  if (count) {
    TAPER_ASSIGN(taper::Value * times, number_in(outer, *count, DType::i64));
    limit = {aten::Tensor::make(times), &outer, true};
    TAPER_ASSIGN(taper::Value * zero, number_in(outer, Dim(0), DType::i64));
    loop.carried.push_back({{}, zero, true});
  }
  for (const std::string_view name : assigned) {
    const auto found = frame_->variables.find(name);
    if (found == frame_->variables.end()) continue;  // set anew in every iteration
    const Value& value = found->second;
    if (value.is_tensor() ? attempts.kept.contains(name) : !attempts.carried.contains(name)) continue;
    if (!is_number_value(value) && !value.is_tensor())
      return error_here(fmt::format("'{}' is {} that changes in a loop that depends on data", name, describe(value)));
    TAPER_ASSIGN(taper::Value * initial,
                 value.is_tensor() ? content_in(outer, *value.tensor()) : number_in(outer, value));
    loop.carried.push_back({name, initial, !value.is_tensor()});
  }

  const Variables before = frame_->variables;
  const UnsupportedOperators unsupported_before = unsupported;
  const auto enter = [&](Branch& branch) {
    std::vector<aten::TensorPtr> places;
    branch.region = std::make_unique<Region>(*branch.graph, &outer);
    branch.region->shared = attempts.shared;
    branch.region->context.symbols = outer.context.symbols;
    branch.region->build.set_scope(frame_->scope);
    region_ = branch.region.get();
    for (const Loop::Carried& one : loop.carried) {
      taper::Value* input =
          branch.graph->add_input(one.name.empty() ? "iteration" : std::string(one.name), one.initial->type);
      const TensorRef seen{aten::Tensor::make(input), region_, one.is_number};
      if (!one.name.empty()) frame_->variables.insert_or_assign(one.name, seen);
      branch.outputs.push_back(input);
      places.push_back(seen.tensor);
    }
    return places;
  };
  const auto leave = [&](Branch& branch) {
    branch.variables = std::exchange(frame_->variables, before);
    region_ = &outer;
  };

  // The body; its outputs are inputs so far.
  Branch body;
  const std::vector<aten::TensorPtr> places = enter(body);
  const std::vector<taper::Value*> body_inputs = body.outputs;
  Status status;
  if (count) {
    const TensorRef index{aten::Tensor::make(body_inputs[0]), region_, true};
    status = assign(*statement.target, index);
  }
  if (status) status = run_block(statement.body);
  Region* const body_region = region_;
  leave(body);
  TAPER_TRY(status);

  // Did anything change that is not carried?
  bool complete = true;
  for (const std::string_view name : assigned) {
    const auto was = before.find(name);
    const bool is_carried =
        std::ranges::any_of(loop.carried, [&](const Loop::Carried& one) { return one.name == name; });
    if (was == before.end() || is_carried) continue;
    const auto is = body.variables.find(name);
    const bool same_tensor = is != body.variables.end() && was->second.tensor() && is->second.tensor() &&
                             was->second.tensor()->tensor == is->second.tensor()->tensor;
    if (same_tensor || (is != body.variables.end() && same_value(was->second, is->second) == true)) continue;
    if (was->second.is_unknown() || was->second.as<Uninitialized>()) continue;
    if (attempts.kept.contains(name))
      return error_here(fmt::format("'{}' is both written to and replaced in a loop that depends on data", name));
    attempts.carried.insert(name);
    complete = false;
  }
  // Writing to what is carried would write to what it was before the loop, in the first iteration alone.
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    TAPER_ASSIGN(const taper::Value* after, content_of(*body_region, *places[i]));
    if (after == body_inputs[i]) continue;
    const auto is = body.variables.find(loop.carried[i].name);
    if (is == body.variables.end() || !is->second.tensor() || is->second.tensor()->tensor != places[i])
      return error_here(
          fmt::format("'{}' is both written to and replaced in a loop that depends on data", loop.carried[i].name),
          "replace it only: x = x + y in the place of x.add_(y)");
    attempts.kept.insert(loop.carried[i].name);
    complete = false;
  }
  if (!complete) {
    unsupported = unsupported_before;
    return false;
  }

  // The condition for another iteration.
  Branch condition;
  enter(condition);
  const std::vector<taper::Value*> condition_inputs = condition.outputs;
  taper::Value* go_on = nullptr;
  const auto evaluate_condition = [&]() -> Status {
    if (count) {
      TAPER_ASSIGN(taper::Value * times, content_in(*region_, limit));
      go_on = region_->build("less", {condition_inputs[0], times});
    } else {
      TAPER_ASSIGN(const Value holds, evaluate(*statement.value));
      TAPER_ASSIGN(go_on, number_in(*region_, holds, DType::boolean));
    }
    return region_->build.status();
  };
  status = evaluate_condition();
  leave(condition);
  TAPER_TRY(status);

  // What each carried value is next.
  std::vector<taper::Value*> next;
  region_ = body_region;
  const auto find_next = [&]() -> Status {
    for (std::size_t i = 0; i < loop.carried.size(); ++i) {
      const Loop::Carried& one = loop.carried[i];
      taper::Value* value = nullptr;
      if (one.name.empty()) {
        value = region_->build("add", {body_inputs[i], aten::integer_number(region_->build, 1)});
      } else {
        const Value& given = body.variables.at(one.name);
        if (given.is_unknown() || !(given.tensor() || is_number_value(given)))
          return error_here(fmt::format("'{}' is {} after an iteration that depends on data", one.name,
                                        given.is_unknown() ? "unknown" : describe(given)));
        TAPER_ASSIGN(value, given.is_tensor() ? content_in(*region_, *given.tensor())
                                              : number_in(*region_, given, one.initial->type.dtype));
      }
      TAPER_TRY(region_->build.status());
      if (value->type != one.initial->type)
        return error_here(fmt::format("'{}' is {} before a loop and {} after an iteration", one.name,
                                      type_text(one.initial->type), type_text(value->type)),
                          "a loop that depends on data can't change the size of a tensor");
      next.push_back(value);
    }
    return {};
  };
  status = find_next();
  region_ = &outer;
  TAPER_TRY(status);

  Branch* const both[] = {&body, &condition};
  TAPER_ASSIGN(const bool again, add_shared(both, attempts.shared));
  if (again) {
    unsupported = unsupported_before;
    return false;
  }

  // What either region reads of outside goes round unchanged, but for tensors that the body writes to.
  std::vector<taper::Value*> operands;
  std::vector<WantedInput> body_wanted, condition_wanted;
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    operands.push_back(loop.carried[i].initial);
    body_wanted.push_back({body_inputs[i], body_inputs[i]->name, body_inputs[i]->type});
    condition_wanted.push_back({condition_inputs[i], condition_inputs[i]->name, condition_inputs[i]->type});
  }
  std::vector<std::pair<TensorRef, std::size_t>> written;
  std::vector<Capture> captures;
  for (Branch* branch : both)
    for (const Capture& capture : branch->region->captures) {
      if (!capture.input) {
        TAPER_ASSIGN(const taper::Value* content, content_of(*branch->region, *capture.inner.tensor));
        if (content == capture.initial) continue;
        return error_here("a loop that depends on data writes to a weight or constant");
      }
      if (branch == &condition && find_capture(body.region->captures, capture.outer.tensor)) continue;
      captures.push_back(capture);
    }
  for (const Capture& capture : captures) {
    const Capture* in_body = find_capture(body.region->captures, capture.outer.tensor);
    const Capture* in_condition = find_capture(condition.region->captures, capture.outer.tensor);
    operands.push_back(capture.outer_value);
    taper::Value* input = in_body ? in_body->input : body.graph->add_input(capture.input->name, capture.input->type);
    body_wanted.push_back({input, capture.input->name, capture.input->type});
    condition_wanted.push_back(
        {in_condition ? in_condition->input : nullptr, capture.input->name, capture.input->type});
    taper::Value* after = input;
    if (in_body) {
      TAPER_ASSIGN(after, content_of(*body.region, *in_body->inner.tensor));
    }
    if (after != input) written.emplace_back(capture.outer, next.size());
    next.push_back(after);
  }
  condition.graph->add_output("go_on", go_on);
  for (std::size_t i = 0; i < next.size(); ++i) body.graph->add_output(fmt::format("next_{}", i), next[i]);
  std::vector<std::unique_ptr<Graph>> regions;
  TAPER_ASSIGN(std::unique_ptr<Graph> condition_graph, with_inputs(std::move(*condition.graph), condition_wanted));
  TAPER_ASSIGN(std::unique_ptr<Graph> body_graph, with_inputs(std::move(*body.graph), body_wanted));
  regions.push_back(std::move(condition_graph));
  regions.push_back(std::move(body_graph));
  outer.build.set_scope(frame_->scope);
  const std::vector<taper::Value*> results =
      outer.build.call("while", std::move(operands), {}, "while", std::move(regions));
  TAPER_TRY(outer.build.status());
  for (std::size_t i = 0; i < loop.carried.size(); ++i)
    if (!loop.carried[i].name.empty())
      frame_->variables.insert_or_assign(loop.carried[i].name,
                                         TensorRef{aten::Tensor::make(results[i]), &outer, loop.carried[i].is_number});
  for (const auto& [tensor, at] : written) TAPER_TRY(tensor.tensor->write(outer.build, results[at]));
  // What is set anew in every iteration has no value if there is none.
  for (const std::string_view name : assigned)
    if (!before.contains(name)) frame_->variables.erase(name);
  return true;
}

}  // namespace taper::torchscript
