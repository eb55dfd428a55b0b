#include "frontend/tensorflow.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "frontend/joined_sizes.h"
#include "frontend/read_back.h"
#include "ops/builder.h"
#include "ops/table.h"

namespace taper {
namespace {

using tensorflow::AttrValue;
using tensorflow::NodeDef;
using NodeList = google::protobuf::RepeatedPtrField<NodeDef>;

// ----------------------------------------------------------------------------------------------------------- operators

const std::vector<const Op*>& rows_of(const std::string& name) {
  static const auto rows = [] {
    std::unordered_map<std::string_view, std::vector<const Op*>> by_name;
    for (const Op& op : op_table())
      if (!op.tensorflow.op.empty()) by_name[op.tensorflow.op].push_back(&op);
    return by_name;
  }();
  static const std::vector<const Op*> none;
  const auto found = rows.find(name);
  return found == rows.end() ? none : found->second;
}

// Operators that are no row: values from outside, and names for values.
bool is_structural(const std::string& op) {
  constexpr std::array<std::string_view, 5> kStructural = {"Placeholder", "Const", "VarHandleOp", "ReadVariableOp",
                                                           "Identity"};
  return std::ranges::find(kStructural, op) != kStructural.end();
}

// The node that a reference names: "node", "node:1", "node:result:0".
std::string_view node_of(std::string_view reference) {
  return reference.substr(0, reference.find(':'));
}

// The nodes that the references need, directly or through others.
std::unordered_set<const NodeDef*> needed_nodes(const NodeList& nodes, std::vector<std::string_view> references) {
  std::unordered_map<std::string_view, const NodeDef*> by_name;
  for (const NodeDef& node : nodes) by_name.emplace(node.name(), &node);
  std::unordered_set<const NodeDef*> needed;
  while (!references.empty()) {
    const auto found = by_name.find(node_of(references.back()));
    references.pop_back();
    if (found == by_name.end() || !needed.insert(found->second).second) continue;
    for (const std::string& input : found->second->input()) references.emplace_back(input);
  }
  return needed;
}

Expected<std::int64_t> integer_attr(const NodeDef& node, std::string_view name) {
  const auto found = node.attr().find(std::string(name));
  if (found == node.attr().end() || found->second.value_case() != AttrValue::kI)
    return fail("attribute '{}' is no integer", name);
  return found->second.i();
}

Expected<Attr> attr_value(const AttrValue& value, AttrKind kind) {
  switch (value.value_case()) {
    case AttrValue::kB:
      if (kind == AttrKind::flag) return value.b();
      break;
    case AttrValue::kI:
      if (kind == AttrKind::integer) return value.i();
      break;
    case AttrValue::kF:
      if (kind == AttrKind::real) return static_cast<double>(value.f());
      break;
    case AttrValue::kS:
      if (kind == AttrKind::text) return value.s();
      break;
    case AttrValue::kType:
      if (const auto dtype = dtype_from_tensorflow(value.type()); dtype && kind == AttrKind::dtype) return *dtype;
      break;
    case AttrValue::kList:
      if (kind == AttrKind::integers)
        return std::vector<std::int64_t>(value.list().i().begin(), value.list().i().end());
      break;
    default:
      break;
  }
  return fail("its value is of another kind");
}

// -------------------------------------------------------------------------------------------------------------- reader

class Reader {
 public:
  explicit Reader(const SavedModelContent& content) : content_(content), meta_(content.model.meta_graphs(0)) {
    for (const auto& function : meta_.graph_def().library().function())
      functions_.emplace(function.signature().name(), &function);
  }

  Expected<Graph> run(const KnownShapes& known);

 private:
  // A graph under construction, and what references stand for in it: values, constants that have not become values yet,
  // variables.
  struct Frame {
    Graph& graph;
    Builder build;
    bool in_function;
    int depth;
    std::unordered_map<std::string, Value*> values = {};
    std::unordered_map<std::string, std::pair<std::string, Tensor>> constants = {};  // its node's name, its value
    std::unordered_map<std::string, std::string> variables = {};

    Frame(Graph& target, bool function, int level)
        : graph(target), build(target), in_function(function), depth(level) {}
    std::string reference(const std::string& node, std::string_view result, std::size_t i) const {
      if (in_function) return fmt::format("{}:{}:{}", node, result, i);
      return i == 0 ? node : fmt::format("{}:{}", node, i);
    }
    bool knows(const std::string& reference) const {
      return values.contains(reference) || constants.contains(reference) || variables.contains(reference);
    }
  };

  Status add_input(Frame& frame, const std::string& name, const NodeDef& node, SymbolNames& symbols);
  Expected<Value*> value_of(Frame& frame, const std::string& reference);
  std::optional<Tensor> index_of(const Frame& frame, const std::string& reference) const;

  Status check_operators_known(const NodeList& nodes, const std::unordered_set<const NodeDef*>& needed) const;
  Status read_nodes(Frame& frame, const NodeList& nodes, std::vector<std::string_view> results);
  Status read_node(Frame& frame, const NodeDef& node);
  Status read_structural(Frame& frame, const NodeDef& node);
  Status read_operator(Frame& frame, const NodeDef& node);
  Expected<Node> read_as(const Op& op, Frame& frame, const NodeDef& node);
  Status read_inputs(const Op& op, Frame& frame, const NodeDef& node, Node& call);
  Status read_attrs(const Op& op, const NodeDef& node, Node& call);
  Status check_spelling(const Op& op, const Frame& frame, const NodeDef& node, const Node& call);
  Status read_functions(const Op& op, Frame& frame, const NodeDef& node, Node& call);
  Expected<std::unique_ptr<Graph>> read_function(const std::string& name, std::span<Value* const> operands,
                                                 const std::vector<std::string>& captured, int depth);

  const SavedModelContent& content_;
  const tensorflow::MetaGraphDef& meta_;
  std::unordered_map<std::string_view, const tensorflow::FunctionDef*> functions_;
  std::unordered_set<const tensorflow::FunctionDef*> used_;  // each is read once: bounds the work, rules out cycles
};

// The node of a signature's tensor, "name:0" or "name".
std::string signature_node(const tensorflow::TensorInfo& info) {
  std::string name = info.name();
  if (name.ends_with(":0")) name.resize(name.size() - 2);
  return name;
}

Expected<Graph> Reader::run(const KnownShapes& known) {
  const auto found = meta_.signature_def().find("serving_default");
  if (found == meta_.signature_def().end()) return fail("there is no signature 'serving_default'");
  const NodeList& nodes = meta_.graph_def().node();
  Graph graph;
  Frame frame(graph, false, 0);
  SymbolNames symbols(known);
  // Placeholders in the order of the graph: the signature's map has none.
  std::unordered_map<std::string, std::string> inputs;  // node -> name
  for (const auto& [name, info] : found->second.inputs()) {
    const auto [entry, fresh] = inputs.emplace(signature_node(info), name);
    if (!fresh) return fail("two inputs are the node '{}'", entry->first);
  }
  for (const NodeDef& node : nodes)
    if (const auto input = inputs.find(node.name()); input != inputs.end()) {
      TAPER_TRY(add_input(frame, input->second, node, symbols));
    }
  if (static_cast<int>(graph.inputs().size()) != found->second.inputs_size())
    return fail("{} inputs of the signature, the graph has {} of them", found->second.inputs_size(),
                graph.inputs().size());
  std::unordered_map<std::string, std::string> outputs;
  std::vector<std::string_view> results;
  for (const auto& [name, info] : found->second.outputs()) {
    const auto [entry, fresh] = outputs.emplace(signature_node(info), name);
    if (!fresh) return fail("two outputs are the node '{}'", entry->first);
    results.push_back(entry->first);
  }
  TAPER_TRY(read_nodes(frame, nodes, std::move(results)));
  for (const NodeDef& node : nodes) {
    const auto output = outputs.find(node.name());
    if (output == outputs.end()) continue;
    TAPER_ASSIGN(Value * value, value_of(frame, node.name()));
    graph.add_output(output->second, value);
    outputs.erase(output);
  }
  if (!outputs.empty() || graph.outputs().empty()) return fail("outputs of the signature are no nodes of the graph");
  return graph;
}

// `name` is that of the signature, which takes any text.
Status Reader::add_input(Frame& frame, const std::string& name, const NodeDef& node, SymbolNames& symbols) {
  const auto dtype = node.attr().find("dtype");
  const auto shape = node.attr().find("shape");
  if (node.op() != "Placeholder" || dtype == node.attr().end() || shape == node.attr().end() ||
      shape->second.shape().unknown_rank())
    return fail("input '{}' is no placeholder of known rank", name);
  const auto type = dtype_from_tensorflow(dtype->second.type());
  if (!type) return fail("input '{}' has element type {}", name, static_cast<int>(dtype->second.type()));
  if (shape->second.shape().dim_size() > static_cast<int>(kMaxRank))
    return fail("input '{}' has {} axes, at most {} are read", name, shape->second.shape().dim_size(), kMaxRank);
  if (frame.knows(node.name())) return fail("node '{}' stands twice", node.name());
  Shape sizes;
  for (const auto& dim : shape->second.shape().dim()) {
    if (dim.size() < -1) return fail("input '{}' has size {}", name, dim.size());
    sizes.push_back(dim.size() == -1 ? symbols.symbol(name, sizes.size()) : Dim(dim.size()));
  }
  frame.values.emplace(node.name(), frame.graph.add_input(name, {*type, std::move(sizes)}));
  return {};
}

// The value of a reference, which a constant becomes when it is first used.
Expected<Value*> Reader::value_of(Frame& frame, const std::string& reference) {
  if (const auto known = frame.values.find(reference); known != frame.values.end()) return known->second;
  const auto constant = frame.constants.find(reference);
  if (constant == frame.constants.end()) return fail("'{}' is used before it is computed", reference);
  const auto& [name, tensor] = constant->second;
  TAPER_TRY(check_bounded({tensor.dtype, to_shape(tensor.shape)}));
  Value* value = frame.build.constant(tensor, name);
  TAPER_TRY(frame.build.status());
  frame.values.emplace(reference, value);
  return value;
}

// The constant that an input is, if it can stand for an attribute.
std::optional<Tensor> Reader::index_of(const Frame& frame, const std::string& reference) const {
  const auto found = frame.constants.find(reference);
  if (found == frame.constants.end() || !is_index(found->second.second)) return std::nullopt;
  return found->second.second;
}

Status Reader::check_operators_known(const NodeList& nodes, const std::unordered_set<const NodeDef*>& needed) const {
  std::map<std::string, std::size_t> unknown;
  for (const NodeDef& node : nodes)
    if (needed.contains(&node) && !is_structural(node.op()) && rows_of(node.op()).empty()) ++unknown[node.op()];
  if (unknown.empty()) return {};
  std::vector<std::string> list;
  list.reserve(unknown.size());
  for (const auto& [name, count] : unknown) list.push_back(fmt::format("{} ({} times)", name, count));
  return fail("operators that are not read: {}", fmt::join(list, "; "));
}

Status Reader::read_nodes(Frame& frame, const NodeList& nodes, std::vector<std::string_view> results) {
  const std::unordered_set<const NodeDef*> needed = needed_nodes(nodes, std::move(results));
  TAPER_TRY(check_operators_known(nodes, needed));
  for (const NodeDef& node : nodes) {
    if (!needed.contains(&node)) continue;
    if (auto status = read_node(frame, node); !status)
      return std::unexpected(
          within(std::move(status).error(), fmt::format("in node '{}' ({})", node.name(), node.op())));
  }
  return {};
}

Status Reader::read_node(Frame& frame, const NodeDef& node) {
  for (const std::string& input : node.input())
    if (input.starts_with('^')) return fail("it waits for '{}', which is not read", input.substr(1));
  return is_structural(node.op()) ? read_structural(frame, node) : read_operator(frame, node);
}

Status Reader::read_structural(Frame& frame, const NodeDef& node) {
  const std::string& op = node.op();
  if (op == "Placeholder") {
    if (!frame.values.contains(node.name())) return fail("a placeholder that is no input of the signature");
    return {};
  }
  const std::string result = frame.reference(node.name(),
                                             op == "VarHandleOp"      ? "resource"
                                             : op == "ReadVariableOp" ? "value"
                                                                      : "output",
                                             0);
  if (frame.knows(result)) return fail("the node stands twice");
  const auto attr = [&](const char* name) {
    const auto found = node.attr().find(name);
    return found == node.attr().end() ? AttrValue::default_instance() : found->second;
  };
  if (op == "Const") {
    TAPER_ASSIGN(Tensor tensor, tensorflow_tensor(attr("value").tensor()));
    frame.constants.emplace(result, std::pair(node.name(), std::move(tensor)));
    return {};
  }
  if (op == "VarHandleOp") {
    frame.variables.emplace(result, attr("shared_name").s());
    return {};
  }
  if (node.input_size() != 1) return fail("{} inputs, expected one", node.input_size());
  if (op == "Identity") {
    TAPER_ASSIGN(Value * value, value_of(frame, node.input(0)));
    frame.values.emplace(result, value);
    return {};
  }
  const auto variable = frame.variables.find(node.input(0));
  if (variable == frame.variables.end()) return fail("'{}' is no variable", node.input(0));
  const auto value = content_.variables.find(variable->second);
  if (value == content_.variables.end()) return fail("variable '{}' is not in the bundle", variable->second);
  if (attr("dtype").type() != tensorflow_type(value->second.dtype))
    return fail("variable '{}' has another element type", variable->second);
  frame.constants.emplace(result, std::pair(variable->second, value->second));
  return {};
}

// The first row in whose spelling the operator can be read. Where several share a name, at most one can.
Status Reader::read_operator(Frame& frame, const NodeDef& node) {
  std::optional<Error> error;
  for (const Op* op : rows_of(node.op())) {
    auto call = read_as(*op, frame, node);
    if (!call) {
      Error reason = std::move(call).error();
      reason.message = fmt::format("{}{}: {}", error ? error->message + "; " : "", op->name, reason.message);
      error = std::move(reason);
      continue;
    }
    const std::vector<Value*> results = frame.build.call(op->name, std::move(call->operands), std::move(call->attrs),
                                                         node.name(), std::move(call->regions));
    TAPER_TRY(frame.build.status());
    for (std::size_t i = 0; i < results.size(); ++i) {
      const auto& names = op->tensorflow.results;
      const std::string reference = frame.in_function && !names.empty()
                                        ? frame.reference(node.name(), names[i], 0)
                                        : frame.reference(node.name(), op->tensorflow.result, i);
      if (frame.knows(reference)) return fail("the node stands twice");
      frame.values.emplace(reference, results[i]);
    }
    return {};
  }
  return std::unexpected(std::move(*error));
}

// The node as a call of `op`, all of it checked but not yet part of the graph.
Expected<Node> Reader::read_as(const Op& op, Frame& frame, const NodeDef& node) {
  Node call;
  call.op = op.name;
  TAPER_TRY(read_attrs(op, node, call));
  TAPER_TRY(op.tensorflow.regions.functions.empty() ? read_inputs(op, frame, node, call)
                                                    : read_functions(op, frame, node, call));
  TAPER_TRY(check_operand_count(op, call.operands));
  if (op.tensorflow.read_operands != nullptr) TAPER_TRY(op.tensorflow.read_operands(call.operands, call.attrs));
  TAPER_TRY(complete_attrs(op, call.attrs));
  TAPER_ASSIGN(const std::vector<Type> types, op.infer({call.operands, call.attrs, call.regions}));
  for (const Type& type : types) TAPER_TRY(check_bounded(type));
  TAPER_TRY(check_spelling(op, frame, node, call));
  return call;
}

Status Reader::read_attrs(const Op& op, const NodeDef& node, Node& call) {
  const TensorflowSpelling& spelling = op.tensorflow;
  for (const auto& [name, ours] : spelling.attrs) {
    const auto found = node.attr().find(std::string(name));
    if (found == node.attr().end()) continue;  // its default, if it has one
    const AttrKind kind = std::ranges::find(op.attrs, ours, &AttrSpec::name)->kind;
    TAPER_ASSIGN_WITHIN(Attr value, attr_value(found->second, kind), fmt::format("in attribute '{}'", name));
    call.attrs.set(std::string(ours), std::move(value));
  }
  if (spelling.computed.read == nullptr) return {};
  std::vector<std::int64_t> values;
  for (const std::string_view name : spelling.computed.attrs) {
    TAPER_ASSIGN(const std::int64_t value, integer_attr(node, name));
    values.push_back(value);
  }
  return spelling.computed.read(values, call.attrs);
}

Status Reader::read_inputs(const Op& op, Frame& frame, const NodeDef& node, Node& call) {
  const auto& inputs = op.tensorflow.inputs;
  const auto count = static_cast<std::size_t>(node.input_size());
  std::size_t next = 0;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const SpelledInput& input = inputs[k];
    const std::size_t behind = inputs.size() - k - 1;  // inputs that follow, one each
    if (count < next + behind + (input.rest ? 0 : 1)) return fail("{} inputs are too few", count);
    if (input.rest) {
      for (; next + behind < count; ++next) {
        TAPER_ASSIGN(Value * value, value_of(frame, node.input(static_cast<int>(next))));
        call.operands.push_back(value);
      }
      continue;
    }
    const std::string& reference = node.input(static_cast<int>(next++));
    if (input.make != nullptr) continue;  // check_spelling compares it
    if (!input.attr.empty()) {
      const auto constant = index_of(frame, reference);
      if (!constant) return fail("input {} is no constant of int32, expected '{}'", next - 1, input.attr);
      TAPER_ASSIGN(Attr attr, attr_from(*constant, std::ranges::find(op.attrs, input.attr, &AttrSpec::name)->kind));
      call.attrs.set(std::string(input.attr), std::move(attr));
      continue;
    }
    if (call.operands.size() <= input.operand) call.operands.resize(input.operand + 1, nullptr);
    TAPER_ASSIGN(call.operands[input.operand], value_of(frame, reference));
  }
  if (next < count) return fail("{} inputs, expected {}", count, next);
  if (op.tensorflow.read_inputs == nullptr) return {};
  const auto input_count = static_cast<std::size_t>(node.input_size());
  std::vector<std::optional<Tensor>> constants;
  std::vector<const Tensor*> pointers;
  constants.reserve(input_count);
  pointers.reserve(input_count);
  for (const std::string& reference : node.input()) constants.push_back(index_of(frame, reference));
  for (const auto& constant : constants) pointers.push_back(constant ? &*constant : nullptr);
  return op.tensorflow.read_inputs(pointers, call.attrs);
}

// Whether the backend would write the call as it stands in the file: nothing in the file went unread.
Status Reader::check_spelling(const Op& op, const Frame& frame, const NodeDef& node, const Node& call) {
  const TensorflowSpelling& spelling = op.tensorflow;
  if (spelling.fits != nullptr && !spelling.fits(call)) return fail("not a call that is written so");
  std::unordered_set<std::string_view> known;
  for (const auto& [name, ours] : spelling.attrs) known.insert(name);
  for (const TensorflowType& type : spelling.types) {
    known.insert(type.attr);
    const DType expected = type.fixed ? *type.fixed : call.operands[type.operand]->type.dtype;
    const auto found = node.attr().find(std::string(type.attr));
    if (found == node.attr().end() || found->second.type() != tensorflow_type(expected))
      return fail("attribute '{}' is not {}", type.attr, info(expected).name);
  }
  if (!spelling.count.empty()) {
    known.insert(spelling.count);
    TAPER_ASSIGN(const std::int64_t count, integer_attr(node, spelling.count));
    if (count != static_cast<std::int64_t>(call.operands.size()))
      return fail("attribute '{}' is {}", spelling.count, count);
  }
  if (spelling.computed.write != nullptr) {
    const std::vector<std::int64_t> expected = spelling.computed.write(call);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      known.insert(spelling.computed.attrs[i]);
      TAPER_ASSIGN(const std::int64_t value, integer_attr(node, spelling.computed.attrs[i]));
      if (value != expected[i])
        return fail("attribute '{}' is {}, expected {}", spelling.computed.attrs[i], value, expected[i]);
    }
  }
  if (!call.regions.empty())
    known.insert({spelling.regions.argument_types, spelling.regions.result_types, "output_shapes",
                  "parallel_iterations", "_lower_using_switch_merge"});
  known.insert(spelling.regions.functions.begin(), spelling.regions.functions.end());
  for (const auto& [name, value] : node.attr())
    if (!known.contains(name)) return fail("attribute '{}' is not read", name);
  for (std::size_t i = 0; i < spelling.inputs.size(); ++i) {
    if (spelling.inputs[i].make == nullptr) continue;
    const auto constant = index_of(frame, node.input(static_cast<int>(i)));
    const std::vector<std::int64_t> expected = spelling.inputs[i].make(call);
    if (!constant || constant->rank() != (spelling.inputs[i].columns > 0 ? 2 : 1) || indices_of(*constant) != expected)
      return fail("input {} is not [{}]", i, fmt::join(expected, ", "));
  }
  return {};
}

// The values come first, then the variables that the functions read.
Status Reader::read_functions(const Op& op, Frame& frame, const NodeDef& node, Node& call) {
  std::vector<std::string> captured;
  for (const std::string& reference : node.input()) {
    if (const auto variable = frame.variables.find(reference); variable != frame.variables.end()) {
      captured.push_back(variable->second);
      continue;
    }
    if (!captured.empty()) return fail("a value behind the variables");
    TAPER_ASSIGN(Value * value, value_of(frame, reference));
    call.operands.push_back(value);
  }
  if (call.operands.size() < op.region_operands) return fail("{} operands", call.operands.size());
  const std::span operands = std::span(call.operands).subspan(op.region_operands);
  for (const std::string_view kind : op.tensorflow.regions.functions) {
    const auto function = node.attr().find(std::string(kind));
    if (function == node.attr().end()) return fail("it names no function as '{}'", kind);
    TAPER_ASSIGN(auto region, read_function(function->second.func().name(), operands, captured, frame.depth + 1));
    call.regions.push_back(std::move(region));
  }
  if (op.region_operands > 0) return join_regions(call.regions, fmt::format("joined{}", frame.graph.value_count()));
  return {};
}

// A function's arguments have the types of what the loop carries.
Expected<std::unique_ptr<Graph>> Reader::read_function(const std::string& name, std::span<Value* const> operands,
                                                       const std::vector<std::string>& captured, int depth) {
  const auto found = functions_.find(name);
  if (found == functions_.end()) return fail("there is no function '{}'", name);
  const tensorflow::FunctionDef& function = *found->second;
  if (!used_.insert(&function).second) return fail("function '{}' is used twice", name);
  if (depth > kMaxDepth) return fail("more than {} loops inside each other", kMaxDepth);
  const auto& arguments = function.signature().input_arg();
  const std::size_t carried = operands.size();
  if (static_cast<std::size_t>(arguments.size()) != carried + captured.size())
    return fail("function '{}' has {} arguments, expected {}", name, arguments.size(), carried + captured.size());
  auto graph = std::make_unique<Graph>();
  graph->name = name;
  Frame frame(*graph, true, depth);
  for (std::size_t i = 0; i < carried + captured.size(); ++i) {
    const std::string& argument = arguments[static_cast<int>(i)].name();
    if (frame.knows(argument)) return fail("function '{}' has two arguments '{}'", name, argument);
    if (i < carried)
      frame.values.emplace(argument, graph->add_input(argument, operands[i]->type));
    else
      frame.variables.emplace(argument, captured[i - carried]);
  }
  std::vector<std::string> results;
  for (const auto& result : function.signature().output_arg()) {
    if (result.type() == tensorflow::DT_RESOURCE) continue;  // the variables, passed on
    const auto source = function.ret().find(result.name());
    if (source == function.ret().end()) return fail("function '{}' does not say what '{}' is", name, result.name());
    results.push_back(source->second);
  }
  if (auto status = read_nodes(frame, function.node_def(), {results.begin(), results.end()}); !status)
    return std::unexpected(within(std::move(status).error(), fmt::format("in function '{}'", name)));
  for (std::size_t i = 0; i < results.size(); ++i) {
    TAPER_ASSIGN(Value * value, value_of(frame, results[i]));
    graph->add_output(fmt::format("result_{}", i + 1), value);
  }
  return graph;
}

}  // namespace

Expected<Graph> import_tensorflow(const SavedModelContent& content, const KnownShapes& known) {
  return Reader(content).run(known);
}

}  // namespace taper
