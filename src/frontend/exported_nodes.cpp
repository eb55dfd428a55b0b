#include "frontend/exported_nodes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "frontend/aten_advice.h"
#include "frontend/aten_table.h"
#include "frontend/exported_numbers.h"

namespace taper::exported {

using aten::Arg;
using aten::NamedArg;
using aten::TensorPtr;

void Import::assume(std::string sentence) {
  if (std::ranges::find(assumptions, sentence) == assumptions.end()) assumptions.push_back(std::move(sentence));
}

Shape Import::shape(const Shape& declared) const {
  Shape result;
  result.reserve(declared.size());
  for (const Dim& dim : declared) result.push_back(dim.constant() ? dim : substitute(dim, replacements));
  return result;
}

std::string place_of(const Node& node) {
  if (node.module_path.empty()) return node.source_line;
  if (node.source_line.empty()) return node.module_path;
  return fmt::format("{}: {}", node.module_path, node.source_line);
}

namespace {

constexpr std::string_view kHigherOrder = "torch.ops.higher_order.";
constexpr std::string_view kAten = "torch.ops.aten.";
constexpr std::string_view kOps = "torch.ops.";
// The marks that torch.func leaves around a function that it maps or derives: what stands between them is computed on
// tensors of other axes than it says.
constexpr std::string_view kTransforms = "torch._functorch.predispatch.";

// Calls that check what is so in every run that ends well.
constexpr std::array<std::string_view, 7> kAssertions = {"_assert_scalar",
                                                         "_assert_async",
                                                         "_assert_tensor_metadata",
                                                         "sym_constrain_range",
                                                         "sym_constrain_range_for_size",
                                                         "_functional_assert_async",
                                                         "_linalg_check_errors"};

// "add.Tensor" of "torch.ops.aten.add.Tensor", "torchvision::nms.default" of what the table has of other namespaces;
// nothing for the rest of these.
std::optional<std::string> aten_name(std::string_view target) {
  if (target.starts_with(kAten)) return std::string(target.substr(kAten.size()));
  if (!target.starts_with(kOps)) return std::nullopt;
  std::string name(target.substr(kOps.size()));
  if (const std::size_t dot = name.find('.'); dot != std::string::npos) name.replace(dot, 1, "::");
  return aten::knows(name) ? std::optional(std::move(name)) : std::nullopt;
}

std::string_view without_overload(std::string_view name) {
  return name.substr(0, name.find('.'));
}

bool is_assertion(std::string_view name) {
  return std::ranges::find(kAssertions, without_overload(name)) != kAssertions.end();
}

// The operator of ATen that a call runs behind a token, for what it does beside its results:
// with_effects(token, operator, ...).
std::optional<std::string> effect_of(const Node& node) {
  if (node.target != "torch.ops.higher_order.with_effects" || node.inputs.size() < 2) return std::nullopt;
  const auto* name = node.inputs[1].value.as<std::string>();
  return name != nullptr ? aten_name(*name) : std::nullopt;
}

// Whether a call changes one of its arguments.
bool writes(std::string_view name) {
  const std::string_view base = without_overload(name);
  const std::string_view overload = name.substr(std::min(base.size() + 1, name.size()));
  return (base.ends_with('_') && !base.ends_with("__")) || overload == "out" || overload.ends_with("_out");
}

void collect_names(const Argument& argument, std::set<std::string_view>& names) {
  if (const auto* name = argument.as<ValueName>()) names.insert(name->name);
  if (const auto* list = argument.as<Argument::List>())
    for (const Argument& item : *list) collect_names(item, names);
}

// By node: whether it is a call of ATen that changes nothing and whose results nobody uses. Programs keep those that
// draw random numbers.
std::vector<bool> idle_nodes(const Graph& graph) {
  std::vector<bool> idle(graph.nodes.size(), false);
  std::set<std::string_view> used;
  for (const Argument& output : graph.outputs) collect_names(output, used);
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    std::set<std::string_view> results;
    for (const Argument& output : node.outputs) collect_names(output, results);
    const auto name = aten_name(node.target);
    idle[i] = name && !writes(*name) &&
              std::ranges::none_of(results, [&](std::string_view result) { return used.contains(result); });
    if (idle[i]) continue;
    for (const NamedArgument& input : node.inputs) collect_names(input.value, used);
  }
  return idle;
}

bool is_size_query(std::string_view name) {
  return name == "sym_size.int" || name == "sym_numel.default" || name == "sym_numel";
}

Expected<Arg> size_query(std::string_view name, std::span<const NamedArg> arguments) {
  const auto* tensor = arguments.empty() ? nullptr : arguments[0].arg.as<TensorPtr>();
  if (tensor == nullptr) return fail("{} of what is no tensor", name);
  const Shape& shape = (*tensor)->type().shape;
  if (name != "sym_size.int") return Arg(element_count(shape));
  const Dim* dim = arguments.size() < 2 ? nullptr : arguments[1].arg.as<Dim>();
  const auto axis = dim == nullptr ? std::nullopt : dim->constant();
  const auto rank = static_cast<std::int64_t>(shape.size());
  if (!axis || *axis < -rank || *axis >= rank) return fail("{} of a tensor {}", name, shape_text(shape));
  return Arg(shape[static_cast<std::size_t>(*axis < 0 ? *axis + rank : *axis)]);
}

// ------------------------------------------------------------------------------------------------------------- results

// Compares what was computed with what the program declares; `type`: of a part of complex numbers.
Status check_declared(const Import& import, const Graph& graph, const std::string& name, const Type& type,
                      bool complex) {
  const auto found = graph.tensors.find(name);
  if (found == graph.tensors.end()) return {};
  const auto& of_elements = complex ? found->second.parts : found->second.dtype;
  if (!of_elements && (found->second.dtype || found->second.parts))
    return fail("the program declares '{}' as {} numbers, but {} ones are computed", name, complex ? "real" : "complex",
                complex ? "complex" : "real");
  if (!of_elements) return {};
  const Shape declared = import.shape(found->second.sizes);
  const DType dtype = aten::graph_dtype(*of_elements);
  bool same = dtype == type.dtype && declared.size() == type.shape.size();
  for (std::size_t axis = 0; same && axis < declared.size(); ++axis) {
    const auto wanted = declared[axis].constant();
    const auto given = frozen(type.shape[axis], import.freeing.sizes).constant();
    same = !wanted || !given || *wanted == *given;
  }
  if (same) return {};
  return fail("the program declares '{}' as {}, but {} is computed", name, type_text({dtype, declared}),
              type_text(type));
}

// Whether a call gives the states of an LSTM, or computes with them, and the program declares these wrongly:
// PyTorch 2.5 to 2.12 declare [layers, 1, batch, hidden] for [layers, batch, hidden]. Its own runs of the program take
// the shapes that operators give, as ours do.
bool declares_wrongly(Import& import, const Graph& graph, const Node& node) {
  std::set<std::string_view> operands;
  for (const NamedArgument& input : node.inputs) collect_names(input.value, operands);
  const auto is_misdeclared = [&](std::string_view name) {
    return import.misdeclared.contains({&graph, std::string(name)});
  };
  if (std::ranges::any_of(operands, is_misdeclared)) return true;
  const auto is_state = [&](const Argument& output) {
    const auto* name = output.as<ValueName>();
    const auto meta = name == nullptr ? graph.tensors.end() : graph.tensors.find(name->name);
    return meta != graph.tensors.end() && meta->second.sizes.size() == 4 && meta->second.sizes[1].is(1);
  };
  if (node.target != "torch.ops.aten.lstm.input" || !std::ranges::any_of(node.outputs, is_state)) return false;
  import.assume(
      "PyTorch 2.5 to 2.12 declare the states of LSTMs with one axis more than they have: the files compute with what "
      "the operator gives, as PyTorch does when it runs the program. Where the network takes sizes from the shape of a "
      "state, or flattens it, export with 2.13 or newer");
  return true;
}

Status bind(Import& import, const Graph& graph, const Argument& output, const Arg* result, Values& values) {
  if (const auto* name = output.as<ValueName>()) {
    if (result == nullptr || result->is_none()) {
      values[name->name] = std::nullopt;
      return {};
    }
    if (const auto* tensor = result->as<TensorPtr>()) {
      const Status declared = check_declared(import, graph, name->name, (*tensor)->type(), false);
      if (!declared && !import.distrusts_declared) return declared;
      if (!declared)
        import.misdeclared.emplace(&graph, name->name);
      else if (const auto found = graph.tensors.find(name->name); found != graph.tensors.end())
        learn_sizes(import, found->second.sizes, (*tensor)->type().shape);
    }
    if (const auto* complex = result->as<aten::ComplexTensor>())
      TAPER_TRY(check_declared(import, graph, name->name, complex->real->type(), true));
    values[name->name] = *result;
    return {};
  }
  const auto* names = output.as<Argument::List>();
  if (names == nullptr) return {};
  const auto* results = result == nullptr ? nullptr : result->as<Arg::List>();
  if (results == nullptr || results->size() < names->size())
    return fail("{} results, the program names {}", results == nullptr ? 1 : results->size(), names->size());
  for (std::size_t i = 0; i < names->size(); ++i) TAPER_TRY(bind(import, graph, (*names)[i], &(*results)[i], values));
  return {};
}

Status bind_all(Import& import, const Graph& graph, const Node& node, const Arg& result, Values& values) {
  const auto* list = result.as<Arg::List>();
  if (node.outputs.size() == 1) {
    const bool wrapped = list != nullptr && list->size() == 1 && node.outputs[0].as<ValueName>() != nullptr;
    return bind(import, graph, node.outputs[0], wrapped ? &list->front() : &result, values);
  }
  // Results that nobody asked for, or that are only of use in training, have no value.
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const Arg* one = list != nullptr && i < list->size() ? &(*list)[i] : list == nullptr && i == 0 ? &result : nullptr;
    TAPER_TRY(bind(import, graph, node.outputs[i], one, values));
  }
  return {};
}

void bind_nothing(const Node& node, Values& values) {
  for (const Argument& output : node.outputs)
    if (const auto* name = output.as<ValueName>()) values[name->name] = std::nullopt;
}

// --------------------------------------------------------------------------------------------------------------- calls

Expected<std::vector<NamedArg>> arguments_of(const Values& values, const Node& node) {
  std::vector<NamedArg> arguments;
  arguments.reserve(node.inputs.size());
  for (const NamedArgument& input : node.inputs) {
    TAPER_ASSIGN(Arg arg, argument_of(values, input.value));
    arguments.push_back({input.name, std::move(arg)});
  }
  return arguments;
}

Status bind_number(Import& import, const Graph& graph, const Node& node, Value* number, Values& values) {
  const TensorPtr tensor = aten::Tensor::make(number);
  import.run_time_numbers.insert(tensor);
  return bind_all(import, graph, node, Arg(tensor), values);
}

// Python's operators on sizes. What can't be computed from our sizes is taken from the program: an expression over its
// symbols.
Status run_on_sizes(Import& import, const aten::Context& context, const Graph& graph, const Node& node,
                    Values& values) {
  const auto arguments = arguments_of(values, node);
  if (arguments) {
    std::vector<Arg> plain;
    for (const NamedArg& argument : *arguments) plain.push_back(argument.arg);
    const std::string_view operation = std::string_view(node.target).substr(node.target.rfind('.') + 1);
    for (const Arg& arg : plain)
      if (const double* scale = operation == "mul" ? arg.as<double>() : nullptr)
        if (auto note = aten::note_on_scaled_sizes(*scale)) import.assume(std::move(*note));
    const auto result = aten::call_on_sizes(context, operation, plain);
    if (result && *result) {
      if (const auto* tensor = (*result)->as<TensorPtr>()) import.run_time_numbers.insert(*tensor);
      return bind_all(import, graph, node, **result, values);
    }
    if (Value* number = run_time_number(context.build, operation, plain))
      return bind_number(import, graph, node, number, values);
    const auto is_tensor = [](const Arg& arg) { return arg.as<TensorPtr>() != nullptr; };
    if (std::ranges::any_of(plain, is_tensor)) {
      bind_nothing(node, values);
      return {};
    }
  }
  for (const Argument& output : node.outputs) {
    const auto* name = output.as<ValueName>();
    if (name == nullptr) continue;
    const auto declared = graph.integers.find(name->name);
    // Sizes that follow from freed ones are not what the program says.
    if (declared != graph.integers.end() && !declared->second.overflowed() && import.freeing.sizes.empty())
      values[name->name] = Arg(substitute(declared->second, import.replacements));
    else
      values[name->name] = std::nullopt;
  }
  return {};
}

std::optional<Dim> declared_integer(const Graph& graph, const Node& node) {
  const auto* name = node.outputs.empty() ? nullptr : node.outputs[0].as<ValueName>();
  const auto found = name == nullptr ? graph.integers.end() : graph.integers.find(name->name);
  return found == graph.integers.end() ? std::nullopt : std::optional(found->second);
}

// A range whose end is a fraction of a size, such as T / 2: the program says how many entries it has. Nothing: where
// that hangs on rounding, or isn't known.
std::optional<Expected<Arg>> counted_range(const Import& import, aten::Context& context, const Graph& graph,
                                           const Node& node, std::string_view name,
                                           std::span<const NamedArg> arguments) {
  constexpr double kFinest = 1024;
  const auto* output = node.outputs.size() == 1 ? node.outputs[0].as<ValueName>() : nullptr;
  if (output == nullptr || without_overload(name) != "arange" || !import.freeing.sizes.empty()) return std::nullopt;
  const auto declared = graph.tensors.find(output->name);
  if (declared == graph.tensors.end() || declared->second.sizes.size() != 1 || !declared->second.dtype)
    return std::nullopt;
  const auto fraction = [](const Arg& arg) -> std::optional<Arg> {
    const auto number = aten::constant_integer(arg);
    const double* real = arg.as<double>();
    if (number) return Arg(static_cast<double>(*number));
    if (real == nullptr || *real * kFinest != std::trunc(*real * kFinest)) return std::nullopt;
    return arg;
  };
  std::optional<Arg> start = Arg(0.0), step = Arg(1.0);
  if (name.starts_with("arange.start")) start = arguments.empty() ? std::nullopt : fraction(arguments[0].arg);
  if (name == "arange.start_step") step = arguments.size() < 3 ? std::nullopt : fraction(arguments[2].arg);
  const Dim count = import.shape(declared->second.sizes)[0];
  const auto is_unknown = [&](const std::string& symbol) {
    return is_unbacked(symbol) && !import.replacements.contains(symbol);
  };
  if (!start || !step || count.overflowed() || std::ranges::any_of(symbols_of(count), is_unknown)) return std::nullopt;
  const auto of = [&](std::string_view called, Expected<Arg> x, const Arg& y) -> Expected<Arg> {
    if (!x) return x;
    return aten::call(context, called, std::vector<NamedArg>{{"", std::move(*x)}, {"", y}});
  };
  Expected<Arg> range = of("to.dtype", aten::call(context, "arange", std::vector<NamedArg>{{"", count}}), DType::f32);
  range = of("add.Scalar", of("mul.Scalar", std::move(range), *step), *start);
  return of("to.dtype", std::move(range), aten::graph_dtype(*declared->second.dtype));
}

Expected<Arg> call_node(Import& import, aten::Context& context, const Graph& graph, const Node& node,
                        const Values& values) {
  if (node.target.starts_with(kHigherOrder))
    return call_higher_order(import, context, std::string_view(node.target).substr(kHigherOrder.size()), node, values);
  const auto name = aten_name(node.target);
  if (!name) return fail("there is no operator '{}'", node.target);
  TAPER_ASSIGN(std::vector<NamedArg> arguments, arguments_of(values, node));
  if (is_size_query(*name)) return size_query(*name, arguments);
  import.freeing.place = place_of(node);
  const auto* made = node.outputs.empty() ? nullptr : node.outputs[0].as<ValueName>();
  import.freeing.makes_state = made != nullptr && import.freeing.states.contains(made->name);
  TAPER_TRY(free_literals(context.build, *name, arguments, import.freeing));
  if (is_item(*name)) return item(import, context, *name, arguments, declared_integer(graph, node));
  if (*name == "select.int" && !arguments.empty() && is_run_time_number(import, arguments.back().arg))
    return select_entry(context, arguments);
  const bool is_computed =
      std::ranges::any_of(arguments, [&](const NamedArg& each) { return is_run_time_number(import, each.arg); });
  context.next_count = declared_count(import, graph, node);
  auto called = aten::call(context, *name, arguments);
  // Where a number is a tensor, the overload for tensors does the same. Else it is a size.
  if (!called && is_computed)
    if (auto other = aten::call(context, without_overload(*name), arguments)) called = std::move(other);
  if (!called && is_computed)
    if (auto range = counted_range(import, context, graph, node, *name, arguments)) called = std::move(*range);
  if (!called && is_computed && context.build.status()) {
    TAPER_ASSIGN(arguments, numbers_as_sizes(import, context, graph, node, values));
    if (*name == "split_with_sizes.default" || *name == "split.sizes") give_rest_to_last_part(arguments);
    context.next_count.reset();
    called = aten::call(context, *name, arguments);
  }
  context.next_count.reset();
  TAPER_ASSIGN(Arg result, std::move(called));
  remember_sizes(result, import.freeing);
  return result;
}

Status run_node(Import& import, aten::Context& context, const Graph& graph, const Node& node, Values& values) {
  const auto name = aten_name(node.target), effect = effect_of(node);
  if ((name && is_assertion(*name)) || (effect && is_assertion(*effect))) {
    bind_nothing(node, values);
    return {};
  }
  context.build.set_scope(node.module_path);
  if (!node.target.starts_with(kOps)) return run_on_sizes(import, context, graph, node, values);
  TAPER_ASSIGN(const Arg result, call_node(import, context, graph, node, values));
  import.distrusts_declared = declares_wrongly(import, graph, node);
  return bind_all(import, graph, node, result, values);
}

}  // namespace

void find_unsupported(const Graph& graph, UnsupportedOperators& unsupported) {
  const std::vector<bool> idle = idle_nodes(graph);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (idle[i]) continue;
    for (const NamedArgument& input : node.inputs)
      if (const auto* inner = input.value.as<Subgraph>()) find_unsupported(*inner->graph, unsupported);
    const std::string_view target = node.target;
    if (target.ends_with("_add_batch_dim") && target.starts_with(kTransforms))
      unsupported.add("torch.vmap", place_of(node),
                      "call the function on the batch itself, or export and save "
                      "exported_program.run_decompositions(), which has no vmap left");
    if (!target.starts_with(kOps)) continue;
    if (const auto effect = effect_of(node)) {
      if (!is_assertion(*effect))
        unsupported.add(fmt::format("aten.{}", *effect), place_of(node), "run for its effect");
    } else if (const auto name = aten_name(target)) {
      if (!is_assertion(*name) && !is_size_query(*name) && !aten::knows(*name))
        unsupported.add(fmt::format("aten.{}", *name), place_of(node), aten::nearest_form(*name));
    } else if (!target.starts_with(kHigherOrder)) {
      unsupported.add(target.substr(kOps.size()), place_of(node), "an operator of another library or of the user");
    } else if (!knows_higher_order(target.substr(kHigherOrder.size()))) {
      unsupported.add(target.substr(kOps.size()), place_of(node));
    }
  }
}

Expected<Arg> argument_of(const Values& values, const Argument& argument) {
  if (const auto* name = argument.as<ValueName>()) {
    const auto found = values.find(name->name);
    if (found == values.end()) return fail("value '{}' is used, but nothing gives it", name->name);
    if (!found->second) return fail("value '{}' is not known before the program runs", name->name);
    return *found->second;
  }
  if (const auto* list = argument.as<Argument::List>()) {
    Arg::List items;
    items.reserve(list->size());
    for (const Argument& item : *list) {
      TAPER_ASSIGN(Arg arg, argument_of(values, item));
      items.push_back(std::move(arg));
    }
    return Arg(std::move(items));
  }
  if (const auto* integer = argument.as<std::int64_t>()) return Arg(Dim(*integer));
  if (const auto* real = argument.as<double>()) return Arg(*real);
  if (const auto* flag = argument.as<bool>()) return Arg(*flag ? true : false);
  if (const auto* text = argument.as<std::string>()) return Arg(*text);
  if (const auto* dtype = argument.as<DType>()) return Arg(*dtype);
  if (const auto* complex = argument.as<ComplexNumber>()) return Arg(aten::ComplexNumber{complex->real, complex->imag});
  if (argument.as<ComplexDType>() != nullptr) return Arg(aten::ComplexDType{});
  if (const auto* unread = argument.as<Unread>()) return fail("an argument is {}, which is not read", unread->what);
  if (argument.as<Subgraph>() != nullptr) return fail("an argument is a graph, which the operator doesn't take");
  return Arg();
}

namespace {

constexpr std::array<std::string_view, 4> kRecurrent = {"gru.input", "lstm.input", "rnn_tanh.input", "rnn_relu.input"};
// Those that compute entry by entry, without the overload.
constexpr std::array<std::string_view, 18> kByEntry = {
    "add",    "sub",     "mul",   "div",        "neg", "tanh",     "relu",       "sigmoid",   "clone",
    "detach", "detach_", "alias", "contiguous", "to",  "_to_copy", "zeros_like", "ones_like", "full_like"};

void add_names(const Argument& argument, std::set<std::string, std::less<>>& names) {
  if (const auto* name = argument.as<ValueName>()) names.insert(name->name);
  if (const auto* list = argument.as<Argument::List>())
    for (const Argument& each : *list) add_names(each, names);
}

}  // namespace

std::set<std::string, std::less<>> first_states(const Graph& graph) {
  std::set<std::string, std::less<>> states;
  const auto shape_of = [&](const Argument& argument) {
    const auto* name = argument.as<ValueName>();
    const auto meta = name == nullptr ? graph.tensors.end() : graph.tensors.find(name->name);
    return meta == graph.tensors.end() ? Shape{} : meta->second.sizes;
  };
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const auto name = aten_name(node->target);
    if (!name) continue;
    if (std::ranges::find(kRecurrent, *name) != kRecurrent.end())
      for (const NamedArgument& input : node->inputs)
        if (input.name == "hx") add_names(input.value, states);
    const auto* made = node->outputs.empty() ? nullptr : node->outputs[0].as<ValueName>();
    if (made == nullptr || !states.contains(made->name)) continue;
    if (std::ranges::find(kByEntry, without_overload(*name)) == kByEntry.end()) continue;
    for (const NamedArgument& input : node->inputs)
      if (shape_of(input.value) == shape_of(node->outputs[0])) add_names(input.value, states);
  }
  return states;
}

Status run_nodes(Import& import, aten::Context& context, const Graph& graph, Values& values) {
  const std::vector<bool> idle = idle_nodes(graph);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (idle[i]) {
      bind_nothing(node, values);
      continue;
    }
    auto status = run_node(import, context, graph, node, values);
    if (status) continue;
    Error error = std::move(status).error();
    if (!aten_name(node.target))  // the others say it themselves
      error = within(std::move(error), fmt::format("in a call of {}", node.target));
    if (const std::string place = place_of(node); !place.empty()) error = within(std::move(error), "in " + place);
    return std::unexpected(std::move(error));
  }
  return context.build.status();
}

Expected<std::vector<Arg>> results_of(const Graph& graph, const Values& values) {
  std::vector<Arg> results;
  for (const Argument& output : graph.outputs) {
    TAPER_ASSIGN(Arg result, argument_of(values, output));
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace taper::exported
