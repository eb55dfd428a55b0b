#include "pipeline/program_inputs.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/suggest.h"
#include "frontend/input_names.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "report/text.h"

namespace taper {
namespace {

Expected<Shape> parse_shape(const std::string& text) {
  Shape shape;
  if (text.empty()) return shape;  // a single number
  std::string_view rest = text;
  while (true) {
    const std::size_t comma = rest.find(',');
    TAPER_ASSIGN(Dim dim, Dim::parse(rest.substr(0, comma)));
    if (dim.overflowed() || dim.constant().value_or(1) < 1)
      return fail("a size is '{}', expected at least 1", printable(rest.substr(0, comma)));
    shape.push_back(std::move(dim));
    if (comma == std::string_view::npos) return shape;
    rest.remove_prefix(comma + 1);
  }
}

Error unreadable_shape(Error error, const InputOptions& input) {
  error = within(std::move(error),
                 fmt::format("in the shape '{}' of the input '{}'", printable(*input.shape), printable(input.name)));
  error.hint = fmt::format(
      "give a size for each axis, between commas: numbers, names for sizes that stay open, or multiples of "
      "names, such as --input-shape {}=B,3,4*H,4*W",
      printable(input.name));
  return error;
}

std::unexpected<Error> unknown_dtype(const std::string& input, const std::string& dtype) {
  std::vector<std::string> names;
  for (int i = 0; i < kDTypeCount; ++i) names.emplace_back(info(static_cast<DType>(i)).name);
  // NumPy's and C's names are near enough: "torch.float", "double", "long".
  constexpr std::pair<std::string_view, std::string_view> kOthers[] = {
      {"float", "float32"}, {"double", "float64"}, {"half", "float16"}, {"long", "int64"},
      {"int", "int32"},     {"short", "int16"},    {"byte", "uint8"},   {"char", "int8"}};
  const std::string_view plain = std::string_view(dtype).substr(dtype.starts_with("torch.") ? 6 : 0);
  const auto* other = std::ranges::find(kOthers, plain, [](const auto& entry) { return entry.first; });
  auto meant = nearest(plain, names);
  if (other != std::end(kOthers)) meant = other->second;
  return fail_with_hint(fmt::format("the input '{}' is given the dtype '{}', expected one of {}", printable(input),
                                    printable(dtype), fmt::join(names, ", ")),
                        meant ? fmt::format("did you mean --input-dtype {}={}?", printable(input), *meant)
                              : fmt::format("--input-dtype {}=int64", printable(input)));
}

std::string input_names(const Graph& graph) {
  std::string names;
  for (const Value* input : graph.inputs())
    names += fmt::format("{}{} {}", names.empty() ? "" : ", ", printable(input->name), type_text(input->type));
  return names;
}

// The sizes that stand for symbols of `input`.
Status bind_shape(const Value& input, const Shape& wanted, const Symbols& symbols, Bindings& bindings) {
  const Shape& shape = input.type.shape;
  const auto refuse = [&](const std::string& reason, std::string hint) {
    return fail_with_hint(fmt::format("the shape {} was asked for the input '{}', which is {}: {}", shape_text(wanted),
                                      printable(input.name), type_text(input.type), reason),
                          std::move(hint));
  };
  if (shape.size() != wanted.size())
    return refuse(fmt::format("it has {} axes", shape.size()),
                  "give a size for each: " + shape_flag(input.name, shape));
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const auto size = wanted[axis].constant();
    const auto symbol = shape[axis].as_symbol();
    if (!size || shape[axis] == wanted[axis]) continue;
    if (!symbol)
      return refuse(fmt::format("the program has {} at axis {}", shape[axis].text(), axis),
                    fmt::format("leave that size as it is, save the program with dynamic_shapes, or open the axis with "
                                "--dynamic {}:{}",
                                printable(input.name), axis));
    if (const auto range = symbols.find(*symbol);
        range != symbols.end() && (*size < range->second.least || *size > range->second.most))
      return refuse(
          fmt::format("{} may be {} to {}", *symbol, range->second.least,
                      range->second.most == SymbolRange::kOpen ? "any size" : fmt::format("{}", range->second.most)),
          "choose a size in this range, or save the program with another one (torch.export.Dim(min=, max=))");
    const auto [bound, fresh] = bindings.emplace(*symbol, *size);
    if (!fresh && bound->second != *size)
      return refuse(
          fmt::format("{} is {} already", *symbol, bound->second),
          fmt::format("axes of one name have one size: give {} to all axes that are {}", bound->second, *symbol));
  }
  return {};
}

// Whether a size that is known tells `symbol`, where all its other symbols are known.
bool tells(const Dim& size, const std::string& symbol) {
  int found = 0;
  for (const Dim::Term& term : size.terms())
    for (const std::string& factor : term.symbols) {
      if (dim_function(factor)) return false;
      found += factor == symbol ? 1 : 0;
    }
  return found == 1;
}

// The symbols that the sizes of inputs tell, one after another.
std::set<std::string, std::less<>> symbols_told(const Graph& graph) {
  std::set<std::string, std::less<>> told;
  for (std::size_t before = 1; told.size() != before;) {
    before = told.size();
    for (const Value* input : graph.inputs())
      for (const Dim& size : input->type.shape) {
        std::vector<std::string> unknown = symbols_of(size);
        std::erase_if(unknown, [&](const std::string& symbol) { return told.contains(symbol); });
        if (unknown.size() == 1 && tells(size, unknown.front())) told.insert(unknown.front());
      }
  }
  return told;
}

// Sizes such as B*B, or B + C where no other axis is B or C, don't tell the numbers that the files compute with.
Status check_sizes_told(const ProgramOptions& options, const Graph& graph) {
  if (options.input_shapes.empty()) return {};
  const auto told = symbols_told(graph);
  for (const Value* input : graph.inputs()) {
    const auto given = options.input_shapes.find(input->name);
    if (given == options.input_shapes.end() || given->second != input->type.shape) continue;
    for (const Dim& size : given->second)
      for (const std::string& symbol : symbols_of(size))
        if (!told.contains(symbol))
          return fail_with_hint(
              fmt::format("the size {} of the input '{}' does not tell '{}'", size.text(), printable(input->name),
                          symbol),
              fmt::format("give a name of its own in its place, or '{}' to an axis of some input; multiples of one "
                          "name and sums with a number tell it (4*{}, {} + 1)",
                          symbol, symbol, symbol));
  }
  return {};
}

}  // namespace

Expected<ProgramOptions> program_options(const std::vector<InputOptions>& inputs) {
  ProgramOptions options;
  for (const InputOptions& input : inputs) {
    if (input.shape) {
      auto shape = parse_shape(*input.shape);
      if (!shape) return std::unexpected(unreadable_shape(std::move(shape).error(), input));
      if (!options.input_shapes.emplace(input.name, *std::move(shape)).second)
        return fail("the input '{}' is given two shapes", printable(input.name));
    }
    if (input.dtype) {
      const auto dtype = dtype_from_name(*input.dtype);
      if (!dtype) return unknown_dtype(input.name, *input.dtype);
      if (!options.input_dtypes.emplace(input.name, *dtype).second)
        return fail("the input '{}' is given two dtypes", printable(input.name));
    }
    for (const std::int64_t axis : input.dynamic) options.dynamic[input.name].push_back(axis);
  }
  return options;
}

Status apply_shapes(const ProgramOptions& options, ImportedProgram& program) {
  Bindings bindings;
  for (const auto& [name, shape] : options.input_shapes) {
    const auto& inputs = program.graph.inputs();
    const auto found = std::ranges::find(inputs, name, &Value::name);
    if (found == inputs.end())
      return fail("a shape is given for the input '{}', the inputs are: {}", printable(name),
                  input_names(program.graph));
    Shape wanted = shape;
    const Shape& open = (*found)->type.shape;
    if (const auto freed = options.dynamic.find(name); freed != options.dynamic.end() && open.size() == wanted.size())
      for (const std::int64_t axis : freed->second)
        if (const auto rank = static_cast<std::int64_t>(open.size()); axis >= -rank && axis < rank) {
          const auto at = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
          wanted[at] = open[at];
        }
    TAPER_TRY(bind_shape(**found, wanted, program.symbols, bindings));
  }
  if (bindings.empty()) return check_sizes_told(options, program.graph);
  TAPER_ASSIGN(program.graph, freeze_symbols(program.graph, bindings));
  for (const auto& [symbol, size] : bindings) program.symbols.erase(symbol);
  return {};
}

Status separate_names(ImportedProgram& program) {
  const Graph& graph = program.graph;
  std::set<std::string> taken;
  for (const Value* input : graph.inputs()) taken.insert(input->name);
  std::vector<std::string> names;
  bool renamed = false;
  for (const Output& output : graph.outputs()) {
    std::string name = output.name;
    for (int number = 1; !taken.insert(name).second; ++number) name = fmt::format("{}_{}", output.name, number);
    if (name != output.name) {
      renamed = true;
      program.assumptions.push_back(
          fmt::format("the output '{}' is called '{}': its name is taken", printable(output.name), printable(name)));
    }
    names.push_back(std::move(name));
  }
  if (!renamed) return {};
  Graph result;
  result.name = graph.name;
  Builder build(result);
  Cloner cloner(build);
  for (const Value* input : graph.inputs()) cloner.bind(input, result.add_input(input->name, input->type));
  const std::vector<Value*> outputs = cloner.inline_nodes(graph);
  TAPER_TRY(build.status());
  for (std::size_t i = 0; i < outputs.size(); ++i) result.add_output(names[i], outputs[i]);
  program.graph = std::move(result);
  return {};
}

Symbols complete_symbols(const ImportedProgram& program) {
  Symbols symbols;
  for (const Value* input : program.graph.inputs())
    for (const Dim& dim : input->type.shape)
      for (const std::string& symbol : symbols_of(dim)) {
        const auto told = program.symbols.find(symbol);
        symbols.emplace(symbol, told == program.symbols.end() ? SymbolRange{} : told->second);
      }
  return symbols;
}

}  // namespace taper
