// Higher-order operators: graphs as arguments.
#include <algorithm>
#include <array>

#include "frontend/aten_counts.h"
#include "frontend/exported_nodes.h"
#include "frontend/joined_sizes.h"

namespace taper::exported {

using aten::Arg;
using aten::TensorPtr;

namespace {

// The arguments of a call in their order, graphs apart.
struct HigherOrderCall {
  Import& import;
  aten::Context& context;
  std::vector<const Graph*> graphs;
  std::vector<Arg> before;  // what stands before the first graph
  std::vector<Arg> after;   // what stands after it; lists where the operator takes groups
};

void flatten(const Arg& arg, std::vector<Arg>& flat) {
  if (const auto* list = arg.as<Arg::List>()) {
    for (const Arg& item : *list) flatten(item, flat);
  } else if (arg.as<std::string>() == nullptr) {  // identifiers name a graph, they are not handed to it
    flat.push_back(arg);
  }
}

Expected<Values> bind_inputs(const Graph& graph, std::span<const Arg> operands) {
  if (graph.inputs.size() != operands.size())
    return fail("a graph takes {} values, {} are given", graph.inputs.size(), operands.size());
  Values values;
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (const auto* name = graph.inputs[i].as<ValueName>()) values[name->name] = operands[i];
  return values;
}

Arg all_of(std::vector<Arg> results) {
  return Arg(Arg::List(std::move(results)));
}

// Runs a graph in the place of its call.
Expected<Arg> run_inline(Import& import, aten::Context& context, const Graph& graph, std::span<const Arg> operands) {
  TAPER_ASSIGN(Values values, bind_inputs(graph, operands));
  TAPER_TRY(run_nodes(import, context, graph, values));
  TAPER_ASSIGN(std::vector<Arg> results, results_of(graph, values));
  return all_of(std::move(results));
}

// The tensors among the operands. Numbers have no value in a region of their own.
Expected<std::vector<Value*>> tensors_of(aten::Context& context, std::span<const Arg> operands) {
  std::vector<Value*> tensors;
  for (const Arg& operand : operands) {
    const auto* tensor = operand.as<TensorPtr>();
    if (tensor == nullptr) return fail("a value that a loop carries is a number, expected a tensor");
    tensors.push_back((*tensor)->content(context.build));
  }
  TAPER_TRY(context.build.status());
  return tensors;
}

// An operand of a region. Constants are repeated inside, so that weights stay weights; numbers stay what they are.
struct RegionInput {
  Arg operand;
  Value* value = nullptr;  // of a tensor
  bool passed = false;     // the region has an input for it
};

std::vector<RegionInput> region_inputs(Builder& build, std::span<const Arg> operands, std::size_t carried) {
  std::vector<RegionInput> inputs;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    RegionInput input{operands[i]};
    if (const auto* tensor = operands[i].as<TensorPtr>()) {
      input.value = (*tensor)->content(build);
      input.passed = input.value != nullptr && (i < carried || constant_of(input.value) == nullptr);
    } else if (operands[i].as<aten::ComplexTensor>() != nullptr) {
      build.set_error({"complex numbers can't go into a branch or loop that depends on data", {}, {}});
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

std::vector<Value*> outer_values(std::span<const RegionInput> inputs) {
  std::vector<Value*> values;
  for (const RegionInput& input : inputs)
    if (input.passed) values.push_back(input.value);
  return values;
}

// A bool of rank 0, as regions and `if` take it.
Value* as_condition(Builder& build, Value* value) {
  if (value != nullptr && !value->type.shape.empty()) return build("reshape", {value}, {{"shape", Shape{}}});
  return value;
}

// What a region is for: its outputs are the graph's, as a condition or as they are; those of a branch are only told,
// for the two have to agree; the body of a loop also gives its inputs after the first `carried` ones, unchanged, since
// a loop carries whatever it reads.
enum class RegionKind { branch, condition, body };

Expected<std::unique_ptr<taper::Graph>> build_region(Import& import, const aten::Context& outside, const Graph& graph,
                                                     std::span<const RegionInput> inputs, std::size_t carried,
                                                     RegionKind kind, std::vector<Value*>* given = nullptr) {
  auto region = std::make_unique<taper::Graph>();
  Builder build(*region);
  aten::Context context = outside.inside(build);
  std::vector<Arg> operands;
  std::vector<Value*> handed_on;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const RegionInput& input = inputs[i];
    if (input.passed) {
      Value* inside = region->add_input(input.value->name, input.value->type);
      if (i >= carried) handed_on.push_back(inside);
      operands.emplace_back(aten::Tensor::make(inside));
    } else if (input.value != nullptr) {
      operands.emplace_back(aten::Tensor::make(build.constant(*constant_of(input.value), input.value->name)));
    } else {
      operands.push_back(input.operand);
    }
  }
  TAPER_ASSIGN(Values values, bind_inputs(graph, operands));
  TAPER_TRY(run_nodes(import, context, graph, values));
  TAPER_ASSIGN(const std::vector<Arg> results, results_of(graph, values));
  TAPER_ASSIGN(const std::vector<Value*> tensors, tensors_of(context, results));
  if (kind == RegionKind::branch) *given = tensors;
  for (std::size_t i = 0; kind != RegionKind::branch && i < tensors.size(); ++i)
    region->add_output(fmt::format("result_{}", i),
                       kind == RegionKind::condition ? as_condition(build, tensors[i]) : tensors[i]);
  if (kind == RegionKind::body)
    for (std::size_t i = 0; i < handed_on.size(); ++i) region->add_output(fmt::format("passed_{}", i), handed_on[i]);
  TAPER_TRY(build.status());
  return region;
}

Arg tensors_as_arg(std::span<Value* const> values) {
  std::vector<Arg> results;
  for (Value* value : values) results.emplace_back(aten::Tensor::make(value));
  return all_of(std::move(results));
}

// ----------------------------------------------------------------------------------------------------------- operators

// (settings..., graph, operands...): the settings are of use in training only.
Expected<Arg> inlined(const HigherOrderCall& call) {
  std::vector<Arg> operands;
  for (const Arg& arg : call.after) flatten(arg, operands);
  return run_inline(call.import, call.context, *call.graphs[0], operands);
}

// (device, dtype, enabled, cache, graph, operands...)
Expected<Arg> with_autocast(const HigherOrderCall& call) {
  const bool* enabled = call.before.size() > 2 ? call.before[2].as<bool>() : nullptr;
  if (enabled == nullptr || *enabled) call.import.assume("what autocast runs in half precision is computed in float32");
  return inlined(call);
}

// (condition, then, else, operands)
Expected<Arg> cond(const HigherOrderCall& call) {
  if (call.graphs.size() != 2 || call.before.size() != 1) return fail("expected a condition and two graphs");
  std::vector<Arg> operands;
  for (const Arg& arg : call.after) flatten(arg, operands);
  if (const bool* known = call.before[0].as<bool>())
    return run_inline(call.import, call.context, *call.graphs[*known ? 0 : 1], operands);
  const auto* condition = call.before[0].as<TensorPtr>();
  if (condition == nullptr) return fail("the condition is no tensor");
  Builder& build = call.context.build;
  const std::vector<RegionInput> inputs = region_inputs(build, operands, 0);
  std::vector<std::unique_ptr<taper::Graph>> regions;
  std::array<std::vector<Value*>, 2> given;
  for (const Graph* graph : call.graphs) {
    std::vector<Value*>& results = given[regions.size()];
    TAPER_ASSIGN(auto region, build_region(call.import, call.context, *graph, inputs, 0, RegionKind::branch, &results));
    regions.push_back(std::move(region));
  }
  JoinedSizes sizes(*regions[0], *regions[1], [&](const Dim& most) { return aten::fresh_count(call.context, most); });
  Builder then(*regions[0]), otherwise(*regions[1]);
  TAPER_TRY(
      join_outputs({&then, &otherwise}, given, sizes, "let both branches give tensors of one dtype and as many axes"));
  const std::size_t count = given[0].size();
  std::vector<Value*> values = outer_values(inputs);
  values.insert(values.begin(), as_condition(build, (*condition)->content(build)));
  std::vector<Value*> results = build.call("if", std::move(values), {}, "if", std::move(regions));
  TAPER_TRY(build.status());
  results.resize(std::min(results.size(), count));
  for (Value* result : results) sizes.measure(build, result);
  TAPER_TRY(build.status());
  return tensors_as_arg(results);
}

// (condition, body, carried, additional)
Expected<Arg> while_loop(const HigherOrderCall& call) {
  if (call.graphs.size() != 2 || call.after.empty()) return fail("expected two graphs and the values that they carry");
  std::vector<Arg> operands;
  flatten(call.after[0], operands);
  const std::size_t carried = operands.size();
  for (std::size_t i = 1; i < call.after.size(); ++i) flatten(call.after[i], operands);
  Builder& build = call.context.build;
  TAPER_TRY(tensors_of(call.context, std::span(operands).first(carried)));
  const std::vector<RegionInput> inputs = region_inputs(build, operands, carried);
  std::vector<std::unique_ptr<taper::Graph>> regions;
  TAPER_ASSIGN(auto condition,
               build_region(call.import, call.context, *call.graphs[0], inputs, carried, RegionKind::condition));
  regions.push_back(std::move(condition));
  TAPER_ASSIGN(auto body, build_region(call.import, call.context, *call.graphs[1], inputs, carried, RegionKind::body));
  regions.push_back(std::move(body));
  std::vector<Value*> results = build.call("while", outer_values(inputs), {}, "while", std::move(regions));
  TAPER_TRY(build.status());
  results.resize(std::min(results.size(), carried));
  return tensors_as_arg(results);
}

using Order = std::vector<std::int64_t>;

Value* in_order(Builder& build, Value* x, Order order) {
  return std::ranges::is_sorted(order) ? x : build("permute", {x}, {{"dims", std::move(order)}});
}
Value* in_shape(Builder& build, Value* x, const Shape& shape) {
  return x == nullptr || x->type.shape == shape ? x : build("reshape", {x}, {{"shape", shape}});
}

// A step of a sequence as a matrix, whose columns are of a known number, as the row `scan` has it for all targets: axes
// of open size are rows, the others columns. PyTorch stacks steps in front, `scan` between rows and columns.
class Frame {
 public:
  explicit Frame(Shape shape) : shape_(std::move(shape)) {
    const bool is_matrix = shape_.size() == 2 && shape_[1].constant();
    for (const bool open : {true, false})
      for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
        const bool is_row = is_matrix ? axis == 0 : !shape_[axis].constant();
        if (is_row != open) continue;
        order_.push_back(static_cast<std::int64_t>(axis));
        (open ? rows_ : columns_).push_back(shape_[axis]);
      }
  }

  Type type(DType dtype) const { return {dtype, {element_count(rows_), element_count(columns_)}}; }

  Value* as_matrix(Builder& build, Value* step) const {
    return in_shape(build, in_order(build, step, order_), type(DType::f32).shape);
  }
  Value* from_matrix(Builder& build, Value* matrix) const {
    Shape ordered = rows_;
    ordered.insert(ordered.end(), columns_.begin(), columns_.end());
    return in_order(build, in_shape(build, matrix, ordered), inverse(order_));
  }

  Value* as_matrices(Builder& build, Value* sequence) const {
    const Dim steps = sequence->type.shape[0];
    Shape shape = type(DType::f32).shape;
    shape.insert(shape.begin() + 1, steps);
    return in_shape(build, in_order(build, sequence, with_steps()), shape);
  }
  Value* from_matrices(Builder& build, Value* stacked) const {
    if (stacked == nullptr) return stacked;
    Shape ordered = rows_;
    ordered.push_back(stacked->type.shape[1]);
    ordered.insert(ordered.end(), columns_.begin(), columns_.end());
    return in_order(build, in_shape(build, stacked, ordered), inverse(with_steps()));
  }

 private:
  static Order inverse(const Order& order) {
    Order back(order.size());
    for (std::size_t i = 0; i < order.size(); ++i)
      back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
    return back;
  }
  // The axes of [steps, *shape] with the steps behind the rows.
  Order with_steps() const {
    Order order;
    for (const std::int64_t axis : order_) order.push_back(axis + 1);
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(rows_.size()), 0);
    return order;
  }

  Shape shape_, rows_, columns_;
  Order order_;
};

// The body gets the states, one entry of each sequence, and what else it reads, which becomes states that never change.
// `backwards`: from the last entries on; what is stacked for an entry stands where that does.
Expected<Arg> run_scan(const HigherOrderCall& call, const std::vector<Arg>& init, const std::vector<Arg>& sequences,
                       const std::vector<Arg>& additional, bool backwards = false) {
  Builder& build = call.context.build;
  TAPER_ASSIGN(const std::vector<Value*> states, tensors_of(call.context, init));
  TAPER_ASSIGN(const std::vector<Value*> steps, tensors_of(call.context, sequences));
  const std::vector<RegionInput> others = region_inputs(build, additional, 0);
  auto region = std::make_unique<taper::Graph>();
  Builder inner(*region);
  aten::Context context = call.context.inside(inner);
  std::vector<Arg> operands;
  std::vector<Value*> outside = states, handed_on;
  for (Value* state : states) operands.emplace_back(aten::Tensor::make(region->add_input(state->name, state->type)));
  std::vector<Arg> inside;
  for (const RegionInput& other : others) {
    if (other.passed) {
      outside.push_back(other.value);
      handed_on.push_back(region->add_input(other.value->name, other.value->type));
      inside.emplace_back(aten::Tensor::make(handed_on.back()));
    } else if (other.value != nullptr) {
      inside.emplace_back(aten::Tensor::make(inner.constant(*constant_of(other.value), other.value->name)));
    } else {
      inside.push_back(other.operand);
    }
  }
  for (Value* sequence : steps) {
    if (sequence->type.shape.empty()) return fail("a sequence has no axes");
    const Frame frame(Shape(sequence->type.shape.begin() + 1, sequence->type.shape.end()));
    outside.push_back(frame.as_matrices(build, sequence));
    TAPER_TRY(build.status());
    Value* step = region->add_input(sequence->name, frame.type(sequence->type.dtype));
    operands.emplace_back(aten::Tensor::make(frame.from_matrix(inner, step)));
  }
  TAPER_TRY(inner.status());
  operands.insert(operands.end(), inside.begin(), inside.end());
  TAPER_ASSIGN(Values values, bind_inputs(*call.graphs[0], operands));
  TAPER_TRY(run_nodes(call.import, context, *call.graphs[0], values));
  TAPER_ASSIGN(const std::vector<Arg> results, results_of(*call.graphs[0], values));
  TAPER_ASSIGN(const std::vector<Value*> tensors, tensors_of(context, results));
  if (tensors.size() < states.size()) return fail("{} states, the graph gives {}", states.size(), tensors.size());
  const std::size_t all_states = states.size() + handed_on.size();
  std::vector<Value*> given = tensors;
  given.insert(given.begin() + static_cast<std::ptrdiff_t>(states.size()), handed_on.begin(), handed_on.end());
  std::vector<Frame> frames;
  for (std::size_t i = 0; i < given.size(); ++i) {
    frames.emplace_back(given[i]->type.shape);
    Value* value = i < all_states ? given[i] : frames.back().as_matrix(inner, given[i]);
    TAPER_TRY(inner.status());
    region->add_output(fmt::format("result_{}", i), value);
  }
  TAPER_TRY(inner.status());
  std::vector<std::unique_ptr<taper::Graph>> regions;
  regions.push_back(std::move(region));
  std::vector<Value*> out =
      build.call("scan", std::move(outside),
                 {{"states", static_cast<std::int64_t>(all_states)},
                  {"reverse_inputs", std::vector<std::int64_t>(steps.size(), backwards)},
                  {"reverse_outputs", std::vector<std::int64_t>(given.size() - all_states, backwards)}},
                 "scan", std::move(regions));
  TAPER_TRY(build.status());
  std::vector<Value*> kept(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(states.size()));
  for (std::size_t i = all_states; i < given.size(); ++i) kept.push_back(frames[i].from_matrices(build, out[i]));
  TAPER_TRY(build.status());
  return tensors_as_arg(kept);
}

std::vector<Arg> group(const HigherOrderCall& call, std::size_t i) {
  std::vector<Arg> flat;
  if (i < call.after.size()) flatten(call.after[i], flat);
  return flat;
}

// As PyTorch 2.6 has it: (graph, first states, sequences, axis of the steps, whether from the last on, additional).
Expected<Arg> scan_along(const HigherOrderCall& call, std::int64_t axis) {
  std::vector<Arg> sequences = group(call, 1);
  for (Arg& sequence : sequences) {
    const std::vector<aten::NamedArg> arguments{{"", sequence}, {"", Arg(Dim(axis))}, {"", Arg(Dim(0))}};
    TAPER_ASSIGN(sequence, aten::call(call.context, "movedim.int", arguments));
  }
  const bool* backwards = call.after[3].as<bool>();
  if (backwards == nullptr) return fail("a scan doesn't say its direction");
  return run_scan(call, group(call, 0), sequences, group(call, 4), *backwards);
}

// (graph, first states, sequences, additional): the graph gives the next states and what is stacked.
Expected<Arg> scan(const HigherOrderCall& call) {
  if (call.after.size() == 5)
    if (const auto axis = aten::constant_integer(call.after[2])) return scan_along(call, *axis);
  return run_scan(call, group(call, 0), group(call, 1), group(call, 2));
}

// (graph, sequences, additional): a scan without states.
Expected<Arg> map(const HigherOrderCall& call) {
  return run_scan(call, {}, group(call, 0), group(call, 1));
}

struct Row {
  std::string_view name;
  Expected<Arg> (*run)(const HigherOrderCall&);
};
constexpr Row kRows[] = {
    {"cond", cond},
    {"while_loop", while_loop},
    {"scan", scan},
    {"map_impl", map},
    {"wrap_with_set_grad_enabled", inlined},
    {"wrap_with_autocast", with_autocast},
    {"invoke_subgraph", inlined},
    {"wrap", inlined},
    {"tag_activation_checkpoint", inlined},
    {"wrap_activation_checkpoint", inlined},
    {"strict_mode", inlined},
};

const Row* find_row(std::string_view name) {
  const auto* row = std::ranges::find(kRows, name, &Row::name);
  return row == std::end(kRows) ? nullptr : row;
}

}  // namespace

bool knows_higher_order(std::string_view name) {
  return find_row(name) != nullptr;
}

Expected<Arg> call_higher_order(Import& import, aten::Context& context, std::string_view name, const Node& node,
                                const Values& values) {
  const Row* row = find_row(name);
  if (row == nullptr) return fail("there is no operator '{}'", name);
  HigherOrderCall call{import, context};
  for (const NamedArgument& input : node.inputs) {
    if (const auto* inner = input.value.as<Subgraph>()) {
      call.graphs.push_back(inner->graph.get());
      continue;
    }
    TAPER_ASSIGN(Arg arg, argument_of(values, input.value));
    (call.graphs.empty() ? call.before : call.after).push_back(std::move(arg));
  }
  if (call.graphs.empty()) return fail("{} without a graph", name);
  return row->run(call);
}

}  // namespace taper::exported
