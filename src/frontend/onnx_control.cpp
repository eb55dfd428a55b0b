// ONNX's If, Loop and Scan: as regions where the sizes of what they carry stay the same, unrolled where a known number
// of turns changes them.
#include <algorithm>
#include <array>
#include <numeric>

#include "frontend/joined_sizes.h"
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

constexpr std::int64_t kMostUnrolled = 64;
constexpr std::int64_t kMostStacked = 4096;  // entries that a loop keeps room for, where it may stop before

using Graphs = std::vector<std::unique_ptr<Graph>>;

// The region of a subgraph under construction: its graph, the names it sees, and what its builder knows.
struct Region {
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  Builder build{*graph};
  Scope scope;

  explicit Region(Scope& outer) {
    scope.outer = &outer;
    scope.build = &build;
  }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  // Inputs for values from around it.
  void capture(Importer& importer, Scope& outer, const std::vector<std::string>& names) {
    for (const std::string& name : names)
      if (const auto slot = importer.find(outer, name)) {
        Slot inner = *slot;
        inner.value = graph->add_input(name, slot->value->type);
        scope.slots.emplace(name, std::move(inner));
      }
  }
};

std::vector<Value*> captured_values(Call& call, Scope& outer, const std::vector<std::string>& names) {
  std::vector<Value*> values;
  for (const std::string& name : names)
    if (const auto slot = call.importer.find(outer, name)) values.push_back(slot->value);
  return values;
}

// Reads a subgraph into a region and gives its results as values there. Empty after an error.
std::vector<Value*> read_into(Call& call, const onnx::GraphProto& body, Region& region) {
  auto results = call.importer.read_subgraph(body, region.scope);
  std::vector<Value*> values;
  if (results)
    for (const Slot& slot : *results) values.push_back(call.importer.materialize(region.build, slot));
  if (!results) call.build.set_error(results.error());
  if (const auto status = region.build.status(); !status) call.build.set_error(status.error());
  if (!call.failed() && std::ranges::find(values, nullptr) != values.end())
    call.fail("a subgraph gives something that is no tensor");
  return call.failed() ? std::vector<Value*>{} : values;
}

void set_all(Call& call, const std::vector<Slot>& slots) {
  for (std::size_t i = 0; i < slots.size(); ++i) call.set(i, slots[i]);
}

// Reads a subgraph where the node stands.
std::optional<std::vector<Slot>> read_inline(Call& call, const onnx::GraphProto& body,
                                             const std::vector<std::pair<std::string, Slot>>& inputs) {
  Scope inner;
  inner.outer = call.importer.scope();
  inner.build = &call.build;
  for (const auto& [name, slot] : inputs) inner.slots.emplace(name, slot);
  auto results = call.importer.read_subgraph(body, inner);
  if (results) return std::move(*results);
  call.build.set_error(std::move(results).error());
  return std::nullopt;
}

void read_if(Call& call) {
  const onnx::GraphProto* branches[] = {call.graph("then_branch"), call.graph("else_branch")};
  Value* condition = call.x(0);
  if (call.failed()) return;
  if (element_count(condition->type.shape) != Dim(1) || condition->type.dtype != DType::boolean)
    return call.fail("the condition is no bool");
  if (const auto known = call.constant(0)) {
    const auto results = read_inline(call, *branches[to_double(*known)[0] != 0 ? 0 : 1], {});
    if (results) set_all(call, *results);
    return;
  }
  Scope& outer = *call.importer.scope();
  const std::vector<std::string> captured = call.importer.captures(branches, outer);
  Region then(outer), otherwise(outer);
  const std::array<Region*, 2> both = {&then, &otherwise};
  std::array<std::vector<Value*>, 2> given;
  for (const std::size_t i : {0, 1}) {
    both[i]->capture(call.importer, outer, captured);
    given[i] = read_into(call, *branches[i], *both[i]);
    if (call.failed()) return;
  }
  JoinedSizes sizes(*then.graph, *otherwise.graph,
                    [&](const Dim&) { return call.importer.fresh_count(call.build.graph()); });
  const auto joined =
      join_outputs({&then.build, &otherwise.build}, given, sizes,
                   "where the condition is always the same in use, give the file that was exported for it");
  if (!joined) return call.build.set_error(joined.error());
  Graphs regions;
  for (Region* region : both) regions.push_back(std::move(region->graph));
  std::vector<Value*> operands = {call.reshape(condition, {})};
  for (Value* value : captured_values(call, outer, captured)) operands.push_back(value);
  const std::size_t count = given[0].size();
  const std::vector<Value*> results = call.build.call("if", operands, {}, call.name(), std::move(regions));
  for (std::size_t i = 0; i < count && i < results.size(); ++i) {
    sizes.measure(call.build, results[i]);
    call.set(i, results[i]);
  }
}

// ---------------------------------------------------------------------------------------------------------------- loop

Slot slot_of(Value* value) {
  Slot slot;
  slot.value = value;
  return slot;
}

struct Loop {
  const onnx::GraphProto& body;
  std::optional<Dim> turns;    // the most turns, where it is known
  Value* limit = nullptr;      // the same at run time; nullptr: no limit
  Value* condition = nullptr;  // at the start; nullptr: true
  std::size_t carried = 0;
  std::size_t scanned = 0;
  bool is_counted = false;  // `turns` is how often it runs, no more than that
};

// Whether the body's condition is the one it was given, or true.
bool goes_on(const Loop& loop, const std::vector<Slot>& results, const Value* given) {
  const Slot& next = results[0];
  if (next.value == given && given != nullptr)
    return loop.condition == nullptr || constant_of(loop.condition) != nullptr;
  const Tensor* constant = next.value == nullptr ? nullptr : constant_of(next.value);
  return constant != nullptr && constant->element_count() == 1 && to_double(*constant)[0] != 0;
}

// The loop turn by turn.
void unroll(Call& call, const Loop& loop, std::int64_t turns) {
  std::vector<Slot> carried;
  for (std::size_t i = 0; i < loop.carried; ++i) carried.push_back(call.slot(2 + i));
  std::vector<std::vector<Slot>> scanned(loop.scanned);
  Slot condition = slot_of(loop.condition != nullptr ? loop.condition : call.number(1, DType::boolean));
  for (std::int64_t turn = 0; turn < turns; ++turn) {
    const Tensor* known = condition.value == nullptr ? nullptr : constant_of(condition.value);
    if (known == nullptr)
      return call.fail("the number of turns depends on data, and what is carried changes its shape");
    if (to_double(*known)[0] == 0) break;
    std::vector<std::pair<std::string, Slot>> inputs = {
        {loop.body.input(0).name(), slot_of(call.number(static_cast<double>(turn), DType::i64))},
        {loop.body.input(1).name(), condition}};
    for (std::size_t i = 0; i < loop.carried; ++i)
      inputs.emplace_back(loop.body.input(static_cast<int>(2 + i)).name(), carried[i]);
    auto results = read_inline(call, loop.body, inputs);
    if (!results) return;
    condition = (*results)[0];
    for (std::size_t i = 0; i < loop.carried; ++i) carried[i] = (*results)[1 + i];
    for (std::size_t i = 0; i < loop.scanned; ++i) scanned[i].push_back((*results)[1 + loop.carried + i]);
  }
  for (std::size_t i = 0; i < loop.carried; ++i) call.set(i, carried[i]);
  for (std::size_t i = 0; i < loop.scanned; ++i) {
    std::vector<Value*> entries;
    for (const Slot& slot : scanned[i]) {
      Value* value = call.importer.materialize(call.build, slot);
      entries.push_back(call.unsqueeze(value, {0}));
    }
    if (entries.empty()) return call.fail("no turn, and results to stack", "take the loop out: it never runs");
    call.set(loop.carried + i,
             entries.size() == 1 ? entries[0] : call.build("concat", entries, {{"dim", std::int64_t{0}}}));
  }
}

// The body as a region: its inputs are the carried values and what it captures; `turn` is the first of its inputs, or
// the entry of a sequence.
struct LoopBody {
  explicit LoopBody(Scope& outer) : region(outer) {}

  Region region;
  std::vector<std::string> captured;
  std::vector<Value*> start;    // the condition and the carried values
  std::vector<Value*> next;     // of the same
  std::vector<Value*> stacked;  // one entry of each
  bool goes_on = false;
};

// Reads the body. Nothing where the shapes of carried values change from turn to turn, or after an error.
std::unique_ptr<LoopBody> read_body(Call& call, const Loop& loop, bool stacks) {
  Importer& importer = call.importer;
  Scope& outer = *importer.scope();
  auto body = std::make_unique<LoopBody>(outer);
  Graph& graph = *body->region.graph;
  Builder& build = body->region.build;
  const onnx::GraphProto* graphs[] = {&loop.body};
  body->captured = importer.captures(graphs, outer);
  Value* turn = nullptr;
  if (!stacks) turn = graph.add_input("turn", {DType::i64, {}});
  body->start.push_back(loop.condition != nullptr ? call.reshape(loop.condition, {}) : call.number(1, DType::boolean));
  for (std::size_t i = 0; i < loop.carried; ++i) body->start.push_back(call.x(2 + i));
  if (call.failed()) return nullptr;
  std::vector<Value*> inputs;
  for (std::size_t i = 0; i < body->start.size(); ++i) {
    inputs.push_back(graph.add_input(fmt::format("carried_{}", i), body->start[i]->type));
    body->region.scope.slots.emplace(loop.body.input(static_cast<int>(1 + i)).name(), slot_of(inputs.back()));
  }
  body->region.capture(importer, outer, body->captured);
  if (stacks)
    turn = build("squeeze", {graph.add_input("turn", {DType::i64, {1}})}, {{"dims", std::vector<std::int64_t>{0}}});
  body->region.scope.slots.emplace(loop.body.input(0).name(), slot_of(turn));
  const auto results = importer.read_subgraph(loop.body, body->region.scope);
  if (!results || !build.status()) {
    // What changes its shape may be what the body can't be read with.
    const bool unrolls = loop.turns && loop.turns->constant().value_or(kMostUnrolled + 1) <= kMostUnrolled;
    if (!unrolls) call.build.set_error(!results ? results.error() : build.status().error());
    return nullptr;
  }
  body->goes_on = goes_on(loop, *results, inputs[0]);
  for (std::size_t i = 0; i < results->size(); ++i) {
    Value* value = importer.materialize(build, (*results)[i]);
    if (value == nullptr) return nullptr;
    if (i == 0 && !value->type.shape.empty()) value = build("reshape", {value}, {{"shape", Shape{}}});
    (i <= loop.carried ? body->next : body->stacked).push_back(value);
  }
  for (std::size_t i = 0; i < body->start.size(); ++i)
    if (body->next[i]->type != body->start[i]->type) return nullptr;
  return body;
}

// Whether the condition of a scan's body follows from constants, the number of the turn and itself: then turns are
// known.
bool is_counted(const LoopBody& body) {
  constexpr std::size_t kMostTested = 64;
  const auto& inputs = body.region.graph->inputs();
  std::vector<const Value*> pending = {body.next[0]};
  for (std::size_t i = 0; i < pending.size(); ++i) {
    if (i == kMostTested) return false;
    const Value* value = pending[i];
    if (value->producer == nullptr) {
      if (value != inputs.front() && value != inputs.back()) return false;
      continue;
    }
    for (const Value* operand : value->producer->operands)
      if (operand != nullptr) pending.push_back(operand);
  }
  return true;
}

// A loop of which it is known that it makes no turn: what it carries stays, and of what it stacks there is nothing.
void skip(Call& call, const Loop& loop) {
  const auto body = loop.scanned == 0 ? nullptr : read_body(call, loop, false);
  if (call.failed()) return;
  if (loop.scanned > 0 && body == nullptr) return unroll(call, loop, 0);
  for (std::size_t i = 0; i < loop.carried; ++i) call.set(i, call.slot(2 + i));
  for (std::size_t i = 0; i < loop.scanned; ++i) {
    Type type = body->stacked[i]->type;
    for (const Dim& size : type.shape)
      if (names_one_of(size, measured_symbols(*body->region.graph))) return unroll(call, loop, 0);
    type.shape.insert(type.shape.begin(), Dim(0));
    call.set(loop.carried + i, call.full(type.shape, 0, type.dtype));
  }
}

// Room for the entries that the turns stack, [most turns, ...]: each turn writes its own. Where there may be no turn,
// room for one more: the body is prepared for writing an entry even if it never runs. Nothing after an error.
struct Stacks {
  std::vector<Value*> start;  // around the loop
  std::vector<Value*> next;   // in its body
};
std::optional<Stacks> make_room(Call& call, const Loop& loop, LoopBody& body) {
  Graph& graph = *body.region.graph;
  Builder& build = body.region.build;
  Stacks stacks;
  for (std::size_t i = 0; i < body.stacked.size(); ++i) {
    Value* entry = build("unsqueeze", {body.stacked[i]}, {{"dims", std::vector<std::int64_t>{0}}});
    if (!build.status()) break;
    for (const Dim& size : entry->type.shape)
      if (names_one_of(size, measured_symbols(graph))) {
        call.fail("the size of stacked results depends on data", "stack results of one size");
        return std::nullopt;
      }
    Type type = entry->type;
    type.shape[0] = loop.turns->constant() ? *loop.turns : *loop.turns + Dim(1);
    stacks.start.push_back(call.full(type.shape, 0, type.dtype));
    Value* all = graph.add_input(fmt::format("stack_{}", i), type);
    const std::vector<std::int64_t> first(entry->type.shape.size() - 1, 0);
    Value* place = build("unsqueeze", {graph.inputs()[0]}, {{"dims", std::vector<std::int64_t>{0}}});
    if (!first.empty())
      place = build("concat", {place, build.constant(tensor_i64({static_cast<std::int64_t>(first.size())}, first))},
                    {{"dim", std::int64_t{0}}});
    stacks.next.push_back(build("update_slice", {all, entry, place}));
  }
  return stacks;
}

// A `while` that carries: turn, condition, carried values, what it captures, room for stacked results, and the limit
// where it is no number. Gives the number of its turns.
Value* run_while(Call& call, const Loop& loop, LoopBody& content) {
  LoopBody* const body = &content;
  Graph& graph = *body->region.graph;
  Builder& build = body->region.build;
  std::vector<Value*> operands = {call.number(0, DType::i64)};
  operands.insert(operands.end(), body->start.begin(), body->start.end());
  const std::vector<Value*> given = captured_values(call, *call.importer.scope(), body->captured);
  operands.insert(operands.end(), given.begin(), given.end());
  std::vector<Value*> next = {
      build("add", {graph.inputs()[0], build.constant(tensor_i64({}, std::array{std::int64_t{1}}))})};
  next.insert(next.end(), body->next.begin(), body->next.end());
  for (std::size_t i = next.size(); i < operands.size(); ++i) next.push_back(graph.inputs()[i]);
  const auto stacks = loop.turns && loop.scanned > 0 ? make_room(call, loop, content) : Stacks();
  if (!stacks) return nullptr;
  const std::size_t first_stack = operands.size();
  operands.insert(operands.end(), stacks->start.begin(), stacks->start.end());
  next.insert(next.end(), stacks->next.begin(), stacks->next.end());
  const bool limit_varies = loop.limit != nullptr && constant_of(loop.limit) == nullptr;
  if (limit_varies) {
    operands.push_back(loop.limit);
    next.push_back(graph.add_input("limit", loop.limit->type));
  }
  auto test = std::make_unique<Graph>();
  Builder check(*test);
  for (std::size_t i = 0; i < operands.size(); ++i) {
    test->add_input(graph.inputs()[i]->name, graph.inputs()[i]->type);
    graph.add_output(fmt::format("next_{}", i), next[i]);
  }
  Value* go_on = test->inputs()[1];
  if (loop.limit != nullptr) {
    Value* limit = limit_varies ? test->inputs().back() : check.constant(*constant_of(loop.limit));
    go_on = check("logical_and", {go_on, check("less", {test->inputs()[0], limit})});
  }
  for (const Status& status : {check.status(), build.status()})
    if (!status) call.build.set_error(status.error());
  test->add_output("go_on", go_on);
  Graphs regions;
  regions.push_back(std::move(test));
  regions.push_back(std::move(body->region.graph));
  const std::vector<Value*> out = call.build.call("while", operands, {}, call.name(), std::move(regions));
  if (call.failed()) return nullptr;
  for (std::size_t i = 0; i < loop.carried; ++i) call.set(i, out[2 + i]);
  if (stacks->start.empty()) return out[0];
  Value* places = loop.is_counted ? nullptr : measured_range(call, out[0]);
  for (std::size_t i = 0; i < stacks->start.size() && !call.failed(); ++i) {
    Value* all = out[first_stack + i];
    if (places != nullptr)
      all = call.build("gather", {all, places}, {{"dim", std::int64_t{0}}});
    else if (all->type.shape[0] != *loop.turns)
      all = call.build("slice", {all}, {{"dim", std::int64_t{0}}, {"end", Shape{*loop.turns}}});
    call.set(loop.carried + i, all);
  }
  return out[0];
}

bool as_while(Call& call, const Loop& loop) {
  const auto body = read_body(call, loop, false);
  if (body == nullptr) return call.failed();
  run_while(call, loop, *body);
  return true;
}

// Stacked results of a loop that its condition ends: with room for as many as there may be, or, where that is not
// known, after a loop that only counts the turns.
bool as_stacking_while(Call& call, Loop loop) {
  if (loop.turns && loop.turns->constant().value_or(0) <= kMostStacked) return as_while(call, loop);
  loop.turns.reset();
  const auto body = read_body(call, loop, false);
  if (body == nullptr) return call.failed();
  Value* range = measured_range(call, run_while(call, loop, *body));
  if (call.failed()) return true;
  loop.turns = range->type.shape[0];
  loop.is_counted = true;
  return as_while(call, loop);
}

// A stacked entry as the one row of a batch, [1, n], which all targets stack.
Value* as_row(Builder& build, Value* entry) {
  const Dim count = element_count(entry->type.shape);
  if (!count.constant()) return build("unsqueeze", {entry}, {{"dims", std::vector<std::int64_t>{0}}});
  return build("reshape", {entry}, {{"shape", Shape{1, count}}});
}

// The rows of all turns, [1, turns, n], as entries of a shape.
Value* unstacked(Call& call, Value* rows, const Shape& entry) {
  if (call.failed()) return nullptr;
  Shape shape = {rows->type.shape[1]};
  shape.insert(shape.end(), entry.begin(), entry.end());
  return call.reshape(rows, std::move(shape));
}

// With stacked results: a scan over the numbers of the turns, [1, turns], whose batch is one.
bool as_scan(Call& call, Loop loop) {
  if (!loop.turns) {
    call.importer.want(loop.limit);
    return as_stacking_while(call, loop);
  }
  const auto body = read_body(call, loop, true);
  if (body == nullptr) return call.failed();
  if (!body->goes_on) {
    const bool starts = loop.condition == nullptr || constant_of(loop.condition) != nullptr;
    const bool unrolls = loop.turns->constant().value_or(kMostUnrolled + 1) <= kMostUnrolled;
    if (starts && unrolls && is_counted(*body)) return false;
    call.importer.want(loop.condition);
    return as_stacking_while(call, loop);
  }
  if (std::ranges::any_of(body->stacked,
                          [](const Value* entry) { return !element_count(entry->type.shape).constant(); })) {
    loop.is_counted = true;
    return as_while(call, loop);
  }
  Graph& graph = *body->region.graph;
  std::vector<Value*> operands = body->start;
  const std::vector<Value*> given = captured_values(call, *call.importer.scope(), body->captured);
  operands.insert(operands.end(), given.begin(), given.end());
  const std::size_t states = operands.size();
  Value* turns = call.arange(*loop.turns);
  operands.push_back(call.unsqueeze(turns, {0}));
  for (std::size_t i = 0; i < states; ++i)
    graph.add_output(fmt::format("next_{}", i), i < body->next.size() ? body->next[i] : graph.inputs()[i]);
  std::vector<Shape> entries;
  for (Value* entry : body->stacked) {
    entries.push_back(entry->type.shape);
    graph.add_output("stacked", as_row(body->region.build, entry));
  }
  if (const auto status = body->region.build.status(); !status) call.build.set_error(status.error());
  Graphs regions;
  regions.push_back(std::move(body->region.graph));
  const std::vector<Value*> out = call.build.call("scan", operands,
                                                  {{"states", static_cast<std::int64_t>(states)},
                                                   {"reverse_inputs", std::vector<std::int64_t>{0}},
                                                   {"reverse_outputs", std::vector<std::int64_t>(loop.scanned, 0)}},
                                                  call.name(), std::move(regions));
  if (call.failed()) return true;
  for (std::size_t i = 0; i < loop.carried; ++i) call.set(i, out[1 + i]);
  for (std::size_t i = 0; i < loop.scanned; ++i)
    call.set(loop.carried + i, unstacked(call, out[states + i], entries[i]));
  return true;
}

void read_loop(Call& call) {
  const onnx::GraphProto* body = call.graph("body");
  if (call.failed()) return;
  const std::size_t carried = call.inputs() > 2 ? call.inputs() - 2 : 0;
  if (body->input_size() != static_cast<int>(carried) + 2 || body->output_size() < static_cast<int>(carried) + 1)
    return call.fail(fmt::format("the body has {} inputs and {} outputs for {} carried values", body->input_size(),
                                 body->output_size(), carried));
  Loop loop{.body = *body, .carried = carried, .scanned = static_cast<std::size_t>(body->output_size()) - carried - 1};
  if (const auto known = call.known_if_any(0); known && known->elements.size() == 1) loop.turns = known->elements[0];
  // Limits beyond any loop are none.
  const bool unlimited = !call.has(0) || (loop.turns && loop.turns->constant().value_or(0) > (std::int64_t{1} << 53));
  if (!unlimited) loop.limit = call.reshape(call.x(0), {});
  loop.condition = call.optional(1);
  if (call.failed()) return;
  if (const Tensor* starts = loop.condition == nullptr ? nullptr : constant_of(loop.condition);
      starts != nullptr && starts->element_count() == 1 && to_double(*starts)[0] == 0)
    return skip(call, loop);
  if (loop.turns && loop.turns->constant().value_or(1) < 1) return skip(call, loop);
  bool plain = true;
  for (std::size_t i = 0; i < carried; ++i)
    plain = plain && call.slot(2 + i).sequence == nullptr && !call.slot(2 + i).absent_optional;
  if (plain && (loop.scanned > 0 ? as_scan(call, loop) : as_while(call, loop))) return;
  const auto turns = loop.turns ? loop.turns->constant() : std::nullopt;
  const bool stops = loop.condition != nullptr && constant_of(loop.condition) == nullptr;
  if (stops || !turns || *turns > kMostUnrolled)
    return call.fail("what is carried changes its shape from turn to turn",
                     fmt::format("loops of up to {} turns, as a known number, are unrolled", kMostUnrolled));
  unroll(call, loop, *turns);
}

// ---------------------------------------------------------------------------------------------------------------- scan

// Scan as a scan of ours, which runs over axis 1.
void read_scan(Call& call) {
  const onnx::GraphProto* body = call.graph("body");
  const std::int64_t sequences = call.integer("num_scan_inputs", 0);
  const auto input_axes = call.integers("scan_input_axes"), output_axes = call.integers("scan_output_axes");
  const auto input_directions = call.integers("scan_input_directions");
  const auto output_directions = call.integers("scan_output_directions");
  if (call.failed()) return;
  const auto inputs = static_cast<std::int64_t>(call.inputs());
  const std::int64_t states = inputs - sequences;
  const std::int64_t stacked = body->output_size() - states;
  if (sequences < 1 || states < 0 || stacked < 0 || body->input_size() != inputs)
    return call.fail(fmt::format("{} inputs of which {} are scanned, a body with {} inputs and {} outputs", inputs,
                                 sequences, body->input_size(), body->output_size()));
  const auto pick = [](const std::optional<std::vector<std::int64_t>>& list, std::int64_t i) {
    return list && i < static_cast<std::int64_t>(list->size()) ? (*list)[static_cast<std::size_t>(i)] : 0;
  };
  Scope& outer = *call.importer.scope();
  const onnx::GraphProto* graphs[] = {body};
  const std::vector<std::string> captured = call.importer.captures(graphs, outer);
  // Our scan's entries are [B, ...]: an axis of size 1 stands for the batch that ONNX's doesn't have.
  std::vector<Value*> state_values, operands, sequence_values;
  std::vector<std::int64_t> reverse_inputs, reverse_outputs;
  std::vector<Shape> entries;  // what is stacked
  Region region(outer);
  for (std::int64_t i = 0; i < states; ++i) {
    Value* value = call.x(static_cast<std::size_t>(i));
    if (call.failed()) return;
    state_values.push_back(value);
    Value* input = region.graph->add_input(fmt::format("state_{}", i), value->type);
    region.scope.slots.emplace(body->input(static_cast<int>(i)).name(), slot_of(input));
  }
  // What it captures is a state that stays.
  for (Value* value : captured_values(call, outer, captured)) state_values.push_back(value);
  const std::size_t first_captured = region.graph->inputs().size();
  region.capture(call.importer, outer, captured);
  for (std::int64_t i = 0; i < sequences; ++i) {
    const auto at = static_cast<std::size_t>(states + i);
    const auto rank = static_cast<std::int64_t>(call.rank(at));
    const std::int64_t axis = call.axis(pick(input_axes, i), static_cast<std::size_t>(rank));
    if (call.failed()) return;
    std::vector<std::int64_t> order = {axis};
    for (std::int64_t k = 0; k < rank; ++k)
      if (k != axis) order.push_back(k);
    Value* sequence = call.unsqueeze(call.permute(call.x(at), order), {0});
    if (call.failed()) return;
    sequence_values.push_back(sequence);
    reverse_inputs.push_back(pick(input_directions, i));
    Type entry = sequence->type;
    entry.shape.erase(entry.shape.begin() + 1);
    Value* input = region.graph->add_input(fmt::format("entry_{}", i), entry);
    Value* plain = region.build("squeeze", {input}, {{"dims", std::vector<std::int64_t>{0}}});
    region.scope.slots.emplace(body->input(static_cast<int>(at)).name(), slot_of(plain));
  }
  const std::vector<Value*> results = read_into(call, *body, region);
  if (call.failed()) return;
  for (std::int64_t i = 0; i < states; ++i)
    region.graph->add_output(fmt::format("state_{}", i), results[static_cast<std::size_t>(i)]);
  for (std::size_t i = 0; i < captured.size(); ++i)
    region.graph->add_output(captured[i], region.graph->inputs()[first_captured + i]);
  for (std::int64_t i = 0; i < stacked; ++i) {
    Value* entry = results[static_cast<std::size_t>(states + i)];
    entries.push_back(entry->type.shape);
    region.graph->add_output(fmt::format("stacked_{}", i), as_row(region.build, entry));
    reverse_outputs.push_back(pick(output_directions, i));
  }
  operands = state_values;
  operands.insert(operands.end(), sequence_values.begin(), sequence_values.end());
  Graphs regions;
  regions.push_back(std::move(region.graph));
  const std::vector<Value*> out = call.build.call("scan", operands,
                                                  {{"states", static_cast<std::int64_t>(state_values.size())},
                                                   {"reverse_inputs", reverse_inputs},
                                                   {"reverse_outputs", reverse_outputs}},
                                                  call.name(), std::move(regions));
  if (call.failed()) return;
  for (std::int64_t i = 0; i < states; ++i) call.set(static_cast<std::size_t>(i), out[static_cast<std::size_t>(i)]);
  for (std::int64_t i = 0; i < stacked; ++i) {
    const auto at = static_cast<std::size_t>(i);
    Value* value = unstacked(call, out[state_values.size() + at], entries[at]);
    if (call.failed()) return;
    const std::size_t rank = value->type.shape.size();
    const std::int64_t axis = call.axis(pick(output_axes, i), rank);
    std::vector<std::int64_t> order(rank - 1);
    std::iota(order.begin(), order.end(), std::int64_t{1});
    order.insert(order.begin() + axis, 0);
    call.set(static_cast<std::size_t>(states + i), call.permute(value, order));
  }
}

// Opset 8 has a batch axis in front of everything.
void read_scan_8(Call& call) {
  call.ignore({"body", "num_scan_inputs", "directions"});
  call.fail("batched scans are not read", "convert the model to opset 9 or newer");
}

}  // namespace

std::vector<Row> control_rows() {
  return {
      {.op = "If", .read = read_if},
      {.op = "Loop", .operands = 0, .read = read_loop},
      {.op = "Scan", .operands = 0, .since = 8, .read = read_scan_8},
      {.op = "Scan", .since = 9, .read = read_scan},
  };
}

}  // namespace taper::onnx_reader
