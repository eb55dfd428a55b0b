#include "frontend/exported_numbers.h"

#include <algorithm>

#include "frontend/aten_counts.h"

namespace taper::exported {

using aten::Arg;
using aten::NamedArg;
using aten::TensorPtr;

bool is_unbacked(std::string_view symbol) {
  return symbol.size() > 1 && symbol[0] == 'u' &&
         std::ranges::all_of(symbol.substr(1), [](char c) { return c >= '0' && c <= '9'; });
}

Value* run_time_number(Builder& build, std::string_view name, std::span<const Arg> arguments) {
  struct NumberRow {
    std::string_view name, op;
    bool of_sizes;  // also where no operand is a tensor
  };
  constexpr NumberRow kNumbers[] = {
      {"add", "add", false},         {"sub", "sub", false},
      {"mul", "mul", false},         {"floordiv", "floor_divide", false},
      {"mod", "remainder", false},   {"truediv", "div", false},
      {"le", "less_equal", true},    {"lt", "less", true},
      {"ge", "greater_equal", true}, {"gt", "greater", true},
      {"eq", "equal", true},         {"ne", "not_equal", true},
  };
  const auto* row = std::ranges::find(kNumbers, name, &NumberRow::name);
  if (row == std::end(kNumbers) || arguments.size() != 2) return nullptr;
  bool any_tensor = false, any_real = name == "truediv";
  for (const Arg& argument : arguments) {
    const auto* tensor = argument.as<TensorPtr>();
    if (tensor != nullptr && (!(*tensor)->type().shape.empty() || (*tensor)->type().dtype == DType::boolean))
      return nullptr;
    if (tensor == nullptr && argument.as<Dim>() == nullptr && argument.as<double>() == nullptr) return nullptr;
    any_tensor = any_tensor || tensor != nullptr;
    any_real =
        any_real || argument.as<double>() != nullptr || (tensor != nullptr && is_floating((*tensor)->type().dtype));
  }
  if (!any_tensor && !(row->of_sizes && !any_real)) return nullptr;
  const DType dtype = any_real ? DType::f32 : DType::i64;
  std::vector<Value*> operands;
  for (const Arg& argument : arguments) {
    const auto* tensor = argument.as<TensorPtr>();
    const Dim* size = argument.as<Dim>();
    const double* real = argument.as<double>();
    if (tensor != nullptr)
      operands.push_back(build("cast", {(*tensor)->content(build)}, {{"to", dtype}}));
    else if (real != nullptr)
      operands.push_back(build("reshape", {build.constant(tensor_f32({1}, std::array{static_cast<float>(*real)}))},
                               {{"shape", Shape{}}}));
    else
      operands.push_back(
          build("cast", {build("reshape", {build("sizes", {}, {{"sizes", Shape{*size}}})}, {{"shape", Shape{}}})},
                {{"to", dtype}}));
  }
  return build(row->op, std::move(operands));
}

bool is_item(std::string_view name) {
  return name == "item.default" || name == "_local_scalar_dense.default";
}

Expected<Arg> item(Import& import, aten::Context& context, std::string_view name, std::span<const NamedArg> arguments,
                   const std::optional<Dim>& output) {
  auto known = aten::call(context, name, arguments);
  const auto* tensor = arguments.empty() ? nullptr : arguments[0].arg.as<TensorPtr>();
  if (known || tensor == nullptr || !element_count((*tensor)->type().shape).is(1)) return known;
  Value* number = (*tensor)->content(context.build);
  if (!(*tensor)->type().shape.empty()) number = context.build("reshape", {number}, {{"shape", Shape{}}});
  TAPER_TRY(context.build.status());
  const TensorPtr result = aten::Tensor::make(number);
  import.run_time_numbers.insert(result);
  if (const auto symbol = output ? output->as_symbol() : std::nullopt) import.numbers[*symbol] = result;
  return Arg(result);
}

bool is_run_time_number(const Import& import, const Arg& arg) {
  if (const auto* list = arg.as<Arg::List>())
    return std::ranges::any_of(*list, [&](const Arg& each) { return is_run_time_number(import, each); });
  const auto* tensor = arg.as<TensorPtr>();
  return tensor != nullptr && import.run_time_numbers.contains(*tensor);
}

Expected<Arg> select_entry(aten::Context& context, std::span<const NamedArg> arguments) {
  const auto* index = arguments.back().arg.as<TensorPtr>();
  if (index == nullptr || arguments.size() != 3) return fail("an entry of an axis that is no number");
  Value* vector = context.build("reshape", {(*index)->content(context.build)}, {{"shape", Shape{1}}});
  TAPER_TRY(context.build.status());
  const NamedArg dim{"", arguments[1].arg};
  const auto* x = arguments[0].arg.as<TensorPtr>();
  const auto axis = aten::constant_integer(dim.arg);
  if (x == nullptr || !axis) return fail("an entry of what is no tensor");
  const Shape& shape = (*x)->type().shape;
  TAPER_ASSIGN(const std::size_t at, aten::axis_of(*axis, shape.size()));
  vector = aten::counted_from_end(context.build, vector, shape[at]);
  TAPER_TRY(context.build.status());
  TAPER_ASSIGN(Arg entries,
               aten::call(context, "index_select",
                          std::vector<NamedArg>{{"", arguments[0].arg}, dim, {"", aten::Tensor::make(vector)}}));
  return aten::call(context, "squeeze.dim", std::vector<NamedArg>{{"", std::move(entries)}, dim});
}

namespace {

// The size that a number of the program is, measured once.
Expected<Dim> size_of_number(Import& import, aten::Context& context, const std::optional<Dim>& declared) {
  const auto measure = [&](const TensorPtr& tensor, Dim called) -> Expected<Dim> {
    Value* value = tensor->content(context.build);
    TAPER_TRY(context.build.status());
    if (!context.build.graph().owns(value))
      return fail("a size is computed outside of the branch or loop that uses it");
    if (is_floating(value->type.dtype)) return fail("a size is computed as a number with decimals");
    context.next_count = std::move(called);
    Dim size = aten::measured_size(context, value);
    TAPER_TRY(context.build.status());
    return size;
  };
  if (declared) {
    for (const std::string& symbol : symbols_of(*declared)) {
      const auto known = import.numbers.find(symbol);
      if (known == import.numbers.end() || import.replacements.contains(symbol)) continue;
      if (!import.never_negative.contains(symbol))
        return fail_with_hint(
            fmt::format("'{}' is a number of a tensor that is used as a size, but may be below 0", symbol),
            "say torch._check(n >= 0) where the program takes it out of the tensor");
      TAPER_ASSIGN(import.replacements[symbol], measure(known->second, Dim::symbol(symbol)));
    }
    Dim size = substitute(*declared, import.replacements);
    const auto is_open = [&](const std::string& symbol) {
      return is_unbacked(symbol) && !import.replacements.contains(symbol);
    };
    if (std::ranges::none_of(symbols_of(size), is_open)) return size;
  }
  return fail("a size is computed from a number of a tensor in a way that the program doesn't tell");
}

Expected<Arg> with_size(Import& import, aten::Context& context, const Graph& graph, const Argument& argument, Arg arg) {
  if (const auto* list = argument.as<Argument::List>()) {
    const auto* items = arg.as<Arg::List>();
    if (items == nullptr || items->size() != list->size()) return arg;
    Arg::List sizes;
    for (std::size_t i = 0; i < list->size(); ++i) {
      TAPER_ASSIGN(Arg size, with_size(import, context, graph, (*list)[i], (*items)[i]));
      sizes.push_back(std::move(size));
    }
    return Arg(std::move(sizes));
  }
  const auto* name = argument.as<ValueName>();
  if (name == nullptr || !is_run_time_number(import, arg)) return arg;
  const auto declared = graph.integers.find(name->name);
  const auto expression = declared == graph.integers.end() ? std::nullopt : std::optional<Dim>(declared->second);
  TAPER_ASSIGN(Dim size, size_of_number(import, context, expression));
  return Arg(std::move(size));
}

}  // namespace

Expected<std::vector<NamedArg>> numbers_as_sizes(Import& import, aten::Context& context, const Graph& graph,
                                                 const Node& node, const Values& values) {
  std::vector<NamedArg> arguments;
  for (const NamedArgument& input : node.inputs) {
    TAPER_ASSIGN(Arg arg, argument_of(values, input.value));
    TAPER_ASSIGN(Arg sized, with_size(import, context, graph, input.value, std::move(arg)));
    arguments.push_back({input.name, std::move(sized)});
  }
  return arguments;
}

void give_rest_to_last_part(std::span<NamedArg> arguments) {
  const auto* self = arguments.size() < 2 ? nullptr : arguments[0].arg.as<TensorPtr>();
  const auto* sizes = self == nullptr ? nullptr : arguments[1].arg.as<Arg::List>();
  const auto dim = arguments.size() < 3 ? std::optional<std::int64_t>(0) : aten::constant_integer(arguments[2].arg);
  if (sizes == nullptr || sizes->empty() || !dim) return;
  const Shape& shape = (*self)->type().shape;
  const auto axis = aten::axis_of(*dim, shape.size());
  if (!axis) return;
  Dim rest = shape[*axis];
  for (const Arg& size : std::span(*sizes).first(sizes->size() - 1)) {
    if (size.as<Dim>() == nullptr) return;
    rest = rest - *size.as<Dim>();
  }
  const Dim* last = sizes->back().as<Dim>();
  const auto symbol = last == nullptr ? std::nullopt : last->as_symbol();
  if (!symbol || !is_unbacked(*symbol)) return;
  Arg::List adjusted = *sizes;
  adjusted.back() = Arg(std::move(rest));
  arguments[1].arg = Arg(std::move(adjusted));
}

namespace {

// The symbols of the tensors that an argument names.
void add_symbols(const Graph& graph, const Argument& argument, std::set<std::string, std::less<>>& symbols) {
  if (const auto* list = argument.as<Argument::List>())
    for (const Argument& item : *list) add_symbols(graph, item, symbols);
  const auto* name = argument.as<ValueName>();
  const auto found = name == nullptr ? graph.tensors.end() : graph.tensors.find(name->name);
  if (found == graph.tensors.end()) return;
  for (const Dim& dim : found->second.sizes)
    for (std::string& symbol : symbols_of(dim)) symbols.insert(std::move(symbol));
}

}  // namespace

std::optional<Dim> declared_count(const Import& import, const Graph& graph, const Node& node) {
  std::set<std::string, std::less<>> given;  // a size of an operand is not what is counted
  for (const NamedArgument& input : node.inputs) add_symbols(graph, input.value, given);
  for (const Argument& output : node.outputs) {
    const auto* name = output.as<ValueName>();
    const auto found = name == nullptr ? graph.tensors.end() : graph.tensors.find(name->name);
    if (found == graph.tensors.end()) continue;
    for (const Dim& dim : found->second.sizes) {
      const auto symbol = dim.as_symbol();
      if (!symbol || !is_unbacked(*symbol) || given.contains(*symbol)) continue;
      const auto known = import.replacements.find(*symbol);
      return known == import.replacements.end() ? dim : known->second;
    }
  }
  return std::nullopt;
}

void learn_sizes(Import& import, const Shape& declared, const Shape& given) {
  for (std::size_t axis = 0; axis < declared.size() && axis < given.size(); ++axis)
    if (const auto symbol = declared[axis].as_symbol(); symbol && is_unbacked(*symbol))
      import.replacements.try_emplace(*symbol, given[axis]);
}

}  // namespace taper::exported
