#include "frontend/torchscript.h"

#include <algorithm>
#include <set>

#include "formats/text.h"
#include "formats/torchscript_archive.h"
#include "frontend/aten_complex.h"
#include "frontend/given_dtypes.h"
#include "frontend/input_names.h"
#include "frontend/torchscript_advice.h"
#include "frontend/torchscript_interpreter.h"

namespace taper {
namespace torchscript {
namespace {

constexpr std::size_t kMostInputs = 1024;

// One tensor of the program's signature.
struct WantedTensor {
  std::string name;
  bool optional = false;
};

// The inputs of `forward`, made from its arguments' types.
class Inputs {
 public:
  Inputs(const Archive& archive, const ProgramOptions& options, Region& region)
      : archive_(archive), options_(options), region_(region) {}

  std::vector<MissingInput> missing;
  std::vector<MissingInput> containers;                    // the dicts and lists among the arguments
  std::map<std::string, std::int64_t, std::less<>> freed;  // symbols of freed axes, and the sizes that they had
  std::vector<std::string> assumptions;

  // The argument's value; nothing for one that has a default and no shape.
  Expected<std::optional<Value>> make(const Parameter& parameter) {
    if (!parameter.type) return make_tensor(std::string(parameter.name));
    return make(std::string(parameter.name), *parameter.type, parameter.fallback != nullptr);
  }

  // What is said of names that are no inputs is a mistake. `forward` tells of those that there might be.
  Status check_all_used(const Function& forward) const {
    std::vector<std::string> names(used_.begin(), used_.end());
    for (std::string& name : names_of_entries(forward, containers, options_))
      if (!used_.contains(name)) names.push_back(std::move(name));
    return check_input_names(options_, names);
  }

 private:
  static std::string_view base_name(const Expr& type) {
    return type.kind == ExprKind::subscript ? type.items[0]->text : type.text;
  }
  static std::string dotted_name(const Expr& type) {
    if (type.kind != ExprKind::attribute) return std::string(type.text);
    return fmt::format("{}.{}", dotted_name(*type.items[0]), type.text);
  }
  bool given(const std::string& name) const { return options_.input_shapes.contains(name); }
  // Whether a shape was given for `name` or one of its entries.
  bool any_given(const std::string& name) const {
    const auto at = options_.input_shapes.lower_bound(name);
    return given(name) || std::any_of(at, options_.input_shapes.end(),
                                      [&](const auto& entry) { return entry.first.starts_with(name + "_"); });
  }

  Expected<std::optional<Value>> make(const std::string& name, const Expr& type, bool has_default) {
    const std::string_view base = base_name(type);
    if (base == "Tensor") {
      if (has_default && !given(name) && !has_recorded()) return std::nullopt;
      return make_tensor(name);
    }
    if (base == "Optional") {
      if (any_given(name)) return make(name, *type.items[1], false);
      if (has_default) return std::nullopt;
      assumptions.push_back(fmt::format("the optional input '{}' is None", name));
      return Value(None{});
    }
    if (base == "Union" && type.kind == ExprKind::subscript) return make_one_of(name, *type.items[1], has_default);
    if (base == "List" || base == "Tuple") return make_sequence(name, type, has_default);
    if (base == "Dict") {
      const auto dict = std::make_shared<Dict>(&region_);
      for (const auto& [input, shape] : options_.input_shapes) {
        if (!input.starts_with(name + "_")) continue;
        TAPER_ASSIGN(std::optional<Value> value, make_tensor(input));
        dict->entries.emplace_back(input.substr(name.size() + 1), std::move(*value));
      }
      containers.push_back({name, MissingInput::Kind::dict});
      if (dict->entries.empty()) missing.push_back(containers.back());
      return dict;
    }
    if (const Symbol* symbol = archive_.find(dotted_name(type));
        symbol && symbol->type && symbol->type->base == "NamedTuple") {
      std::vector<Value> items;
      for (const Field& field : symbol->type->fields) {
        if (!field.type) return fail("the field '{}' of '{}' has no type", field.name, name);
        TAPER_ASSIGN(std::optional<Value> value, make(fmt::format("{}_{}", name, field.name), *field.type, false));
        items.push_back(value ? std::move(*value) : Value(None{}));
      }
      return std::make_shared<Tuple>(std::move(items), symbol->type);
    }
    if (const auto dtype = number_dtype(base)) {
      if (has_default && !given(name)) return std::nullopt;
      return make_number(name, *dtype);
    }
    if (has_default) return std::nullopt;
    return fail_with_hint(fmt::format("the input '{}' is no tensor but of the type {}, and has no default", name, base),
                          "wrap the model in a module whose forward takes tensors alone, and save that");
  }

  // Of several types: a tensor where a shape is given for its own name, what has entries where those have shapes.
  Expected<std::optional<Value>> make_one_of(const std::string& name, const Expr& types, bool has_default) {
    const std::vector<const Expr*> all = types.kind == ExprKind::tuple ? types.items : std::vector<const Expr*>{&types};
    const bool entries = !given(name) && any_given(name);
    const auto fits = [&](const Expr& one) { return (base_name(one) == "Tensor") != entries; };
    const Expr* chosen = all.front();
    for (const Expr* one : all) {
      const bool is_none = base_name(*one) == "NoneType" || one->kind == ExprKind::none;
      if (is_none && !any_given(name)) return has_default ? std::optional<Value>() : Value(None{});
      if (!is_none && fits(*one) && !fits(*chosen)) chosen = one;
    }
    return make(name, *chosen, has_default);
  }

  Expected<std::optional<Value>> make_sequence(const std::string& name, const Expr& type, bool has_default) {
    if (has_default && !any_given(name)) return std::nullopt;
    const bool is_list = base_name(type) == "List";
    std::vector<Value> items;
    std::vector<const Expr*> types;
    if (is_list) {
      std::size_t count = 0;
      while (count < kMostInputs && any_given(fmt::format("{}_{}", name, count))) ++count;
      if (count == 0 && next_recorded_ < archive_.recorded.size()) count = archive_.recorded.size() - next_recorded_;
      containers.push_back({name, MissingInput::Kind::list, count});
      if (count == 0) missing.push_back(containers.back());
      types.assign(count, type.items.at(1));
    } else if (type.kind == ExprKind::subscript) {
      const Expr& inner = *type.items[1];
      if (inner.kind == ExprKind::tuple)
        types = inner.items;
      else
        types = {&inner};
    }
    for (const Expr* one : types) {
      TAPER_ASSIGN(std::optional<Value> value, make(fmt::format("{}_{}", name, items.size()), *one, false));
      items.push_back(value ? std::move(*value) : Value(None{}));
    }
    if (is_list) return std::make_shared<List>(std::move(items), &region_);
    return std::make_shared<Tuple>(std::move(items));
  }

  static std::optional<DType> number_dtype(std::string_view type) {
    if (type == "int") return DType::i64;
    if (type == "float") return DType::f32;
    if (type == "bool") return DType::boolean;
    return std::nullopt;
  }

  // A number of Python: a tensor of rank 0, which needs no flag.
  Expected<std::optional<Value>> make_number(const std::string& name, DType dtype) {
    if (used_.size() >= kMostInputs) return fail("the program has more than {} inputs", kMostInputs);
    used_.insert(name);
    if (const auto shape = options_.input_shapes.find(name);
        shape != options_.input_shapes.end() && !shape->second.empty())
      return fail_with_hint(fmt::format("the input '{}' is a number, it has no sizes", name),
                            fmt::format("--input-shape {}= , or nothing at all", name));
    const auto wanted = options_.input_dtypes.find(name);
    if (wanted != options_.input_dtypes.end() && aten::graph_dtype(wanted->second) != dtype)
      return fail("the input '{}' is a number of dtype {}", name, info(dtype).name);
    assumptions.push_back(fmt::format("the number '{}' is an input of rank 0 and dtype {}", name, info(dtype).name));
    taper::Value* input = region_.graph.add_input(name, {dtype, {}});
    return TensorRef{aten::Tensor::make(input), &region_, true};
  }

  bool has_recorded() const { return next_recorded_ < archive_.recorded.size(); }

  Expected<std::optional<Value>> make_tensor(const std::string& name) {
    if (used_.size() >= kMostInputs) return fail("the program has more than {} inputs", kMostInputs);
    used_.insert(name);
    const RecordedInput* recorded = has_recorded() ? &archive_.recorded[next_recorded_++] : nullptr;
    ProgramInput wanted{.name = name, .type = {}, .is_told = recorded != nullptr && recorded->dtype.has_value()};
    Type& type = wanted.type;
    if (recorded) {
      type.shape = to_shape(recorded->shape);
      type.dtype = recorded->dtype.value_or(DType::f32);
    }
    const auto shape = options_.input_shapes.find(name);
    if (shape != options_.input_shapes.end()) type.shape = shape->second;
    const bool has_shape = recorded || shape != options_.input_shapes.end();
    if (!has_shape) missing.push_back({name});
    if (const auto axes = options_.dynamic.find(name); has_shape && axes != options_.dynamic.end())
      for (const std::int64_t axis : axes->second) {
        TAPER_ASSIGN(const std::size_t at, freed_axis(name, axis, type.shape.size()));
        Dim& size = type.shape[at];
        const auto before = size.constant();
        if (!before) continue;  // a symbol is free
        const std::string symbol = fmt::format("{}_{}", name, at);
        freed.emplace(symbol, *before);
        size = Dim::symbol(symbol);
      }
    taper::Value* input = add_program_input(region_.graph, region_.build, wanted, options_, assumptions);
    TAPER_TRY(region_.build.status());
    return TensorRef{aten::Tensor::make(input), &region_, false};
  }

  const Archive& archive_;
  const ProgramOptions& options_;
  Region& region_;
  std::set<std::string, std::less<>> used_;
  std::size_t next_recorded_ = 0;
};

// A loop that tracing unrolled takes each entry that an axis had, and no more of them where it is open.
Status refuse_unrolled(const Graph& graph, const std::map<std::string, std::int64_t, std::less<>>& freed) {
  std::map<std::string, std::set<std::int64_t>, std::less<>> taken;
  for (const Node& node : graph.nodes()) {
    if (node.op != "select") continue;
    const Shape& shape = node.operands[0]->type.shape;
    const std::int64_t dim = node.attrs.integer("dim"), rank = static_cast<std::int64_t>(shape.size());
    const auto symbol = shape[static_cast<std::size_t>(dim < 0 ? dim + rank : dim)].as_symbol();
    if (symbol && freed.contains(*symbol)) taken[*symbol].insert(node.attrs.integer("index"));
  }
  for (const auto& [symbol, entries] : taken) {
    const std::int64_t size = freed.find(symbol)->second;
    if (size < 2 || *entries.begin() != 0 || std::ssize(entries) != size || *entries.rbegin() != size - 1) continue;
    return fail_with_hint(
        fmt::format("the program takes all {} entries of an axis of the freed size '{}' one by one: a "
                    "loop that tracing unrolled",
                    size, symbol),
        "save torch.jit.script(model), which keeps loops; or leave this axis out of --dynamic");
  }
  return {};
}

// Sequences of lengths that the program holds have as many steps as the longest of them, or more.
void keep_lengths(const aten::Context& context, std::map<std::string, SymbolRange, std::less<>>& symbols) {
  for (const aten::PackedSequences& packed : context.packed) {
    const auto symbol = packed.steps.as_symbol();
    const auto range = symbol ? symbols.find(*symbol) : symbols.end();
    if (range == symbols.end()) continue;
    range->second.least = std::max(range->second.least, packed.longest.constant().value_or(1));
    range->second.usual = std::max(range->second.usual, range->second.least);
  }
}

// Gives the graph its outputs.
class Outputs {
 public:
  Outputs(Interpreter& interpreter, Region& region, std::vector<std::string>& assumptions)
      : interpreter_(interpreter), region_(region), assumptions_(assumptions) {}

  Status add(const Value& given, const std::string& name) {
    const Value& value = interpreter_.present(given);
    if (const auto* unknown = value.as<Unknown>(); unknown && !unknown->why.empty())
      return fail_with_hint(fmt::format("what the program gives as '{}' {}", name, unknown->why), unknown->hint);
    if (const TensorRef* tensor = value.tensor()) {
      taper::Value* content = tensor->tensor->content(region_.build);
      TAPER_TRY(region_.build.status());
      if (tensor->tensor->nested_mask() != nullptr)
        return fail_with_hint("the program gives a nested tensor", "give x.to_padded_tensor(0.0) in its place");
      region_.graph.add_output(unique(name), content);
      return {};
    }
    if (const auto* z = value.as<ComplexRef>()) {
      const aten::ComplexTensor parts{z->real.tensor, z->imag.tensor};
      TAPER_ASSIGN(const aten::Arg real, aten::view_as_real(region_.context, aten::Arg(parts)));
      const std::string output = unique(name);
      assumptions_.push_back(fmt::format(
          "output '{}' is of complex numbers: the files give reals, real and imaginary part along one more axis",
          output));
      region_.graph.add_output(output, (*real.as<aten::TensorPtr>())->content(region_.build));
      return region_.build.status();
    }
    if (const auto* tuple = value.as<std::shared_ptr<Tuple>>(); tuple && (*tuple)->type) {
      for (std::size_t i = 0; i < (*tuple)->items.size(); ++i)
        TAPER_TRY(add((*tuple)->items[i], std::string((*tuple)->type->fields[i].name)));
      return {};
    }
    if (const TensorRef* stack = value.stack())
      return fail_with_hint(fmt::format("the program gives a list of {} tensors, a number that is open",
                                        stack->tensor->type().shape[0].text()),
                            "give torch.stack(list) in its place");
    if (value.as<std::shared_ptr<Maybe>>())
      return fail_with_hint(fmt::format("the program gives {}", describe(value)),
                            "give a tensor in every case, and a bool beside it");
    if (const auto* masked = value.as<MaskedRef>()) {
      TAPER_ASSIGN(const Value entries, interpreter_.picked_entries(*masked));
      return add(entries, name);
    }
    if (value.items()) {
      for (const Value& item : *value.items()) TAPER_TRY(add(item, name));
      return {};
    }
    if (const auto* dict = value.as<std::shared_ptr<Dict>>()) {
      for (const auto& [key, item] : (*dict)->entries) TAPER_TRY(add(item, text_of(key)));
      return {};
    }
    assumptions_.push_back(fmt::format("a result is left out, because it is no tensor: {}", describe(value)));
    return {};
  }

 private:
  // "output", "output_1", ...
  std::string unique(const std::string& name) {
    const std::size_t before = names_[name]++;
    return before == 0 ? name : fmt::format("{}_{}", name, before);
  }

  Interpreter& interpreter_;
  Region& region_;
  std::vector<std::string>& assumptions_;
  std::map<std::string, std::size_t> names_;
};

// How much may run: in proportion to the file and to the inputs' sizes.
std::size_t budget_for(const Archive& archive, const Graph& graph) {
  constexpr std::size_t kLeast = 100'000;
  constexpr std::size_t kPerByte = 50;
  constexpr std::size_t kPerStep = 1000;
  constexpr std::int64_t kMostSteps = 10'000;
  std::size_t budget = kLeast;
  for (const SharedBytes& source : archive.sources) budget += kPerByte * source.view.size();
  for (const taper::Value* input : graph.inputs())
    for (const Dim& size : input->type.shape)
      budget +=
          kPerStep * static_cast<std::size_t>(std::clamp<std::int64_t>(size.constant().value_or(0), 0, kMostSteps));
  return budget;
}

// `shapes` are set to those of the inputs as soon as these are known.
Expected<ImportedProgram> import(const Archive& archive, const ProgramOptions& options, InputShapes& shapes) {
  ImportedProgram program;
  Region region(program.graph, nullptr);
  const std::string class_path = pickle::class_path(*archive.root);
  const Symbol* symbol = archive.find(class_path);
  if (!symbol || !symbol->type)
    return fail("the archive's module is of the class '{}', which its code does not define", excerpt(class_path));
  const Function* forward = symbol->type->method("forward");
  if (!forward) return fail("the module {} has no method 'forward'", excerpt(class_path));
  program.graph.name = symbol->type->name;

  Inputs inputs(archive, options, region);
  std::vector<Argument> arguments;
  for (const Parameter& parameter :
       std::span(forward->parameters).subspan(std::min<std::size_t>(1, forward->parameters.size()))) {
    TAPER_ASSIGN(std::optional<Value> value, inputs.make(parameter));
    if (value) arguments.push_back({parameter.name, std::move(*value)});
  }
  TAPER_TRY(inputs.check_all_used(*forward));
  if (!inputs.missing.empty())
    return std::unexpected(missing_shapes(*forward, inputs.missing, !options.dynamic.empty()));
  for (const taper::Value* input : program.graph.inputs()) {
    shapes[input->name] = input->type.shape;
    for (const Dim& size : input->type.shape)
      for (const std::string& name : symbols_of(size)) program.symbols[name].least = 1;
  }
  for (const auto& [name, size] : inputs.freed) program.symbols[name].usual = std::max<std::int64_t>(size, 1);
  region.context.symbols = program.symbols;

  Interpreter interpreter(archive, region, budget_for(archive, program.graph));
  TAPER_ASSIGN(const Value root, interpreter.load(*archive.root, ""));
  const auto* module = root.as<std::shared_ptr<Object>>();
  if (!module) return fail("the archive holds {}, expected a module", describe(root));
  Expected<Value> ran = interpreter.call_method(*module, "forward", std::move(arguments));
  if (!ran) ran = std::unexpected(with_list_items(std::move(ran).error(), inputs.containers));
  if (!ran && !inputs.freed.empty())
    return std::unexpected(hinted(std::move(ran).error(),
                                  "sizes of the example inputs may stand in a traced program: save "
                                  "torch.jit.script(model), or leave this axis out of --dynamic"));
  TAPER_ASSIGN(const Value result, std::move(ran));
  TAPER_TRY(refuse_unrolled(program.graph, inputs.freed));
  if (!interpreter.unsupported.empty()) return std::unexpected(interpreter.unsupported.error());
  program.assumptions = std::move(inputs.assumptions);
  std::ranges::move(interpreter.assumptions, std::back_inserter(program.assumptions));
  keep_lengths(region.context, program.symbols);
  if (!is_walkable(result)) return fail("the program gives {}, which is too large", describe(result));
  TAPER_TRY(Outputs(interpreter, region, program.assumptions).add(result, "output"));
  TAPER_TRY(region.build.status());
  if (program.graph.outputs().empty()) return fail("the program gives {}, no tensor", describe(result));
  program.warnings = std::move(interpreter.warnings);
  std::ranges::move(region.context.warnings, std::back_inserter(program.warnings));
  return program;
}

}  // namespace
}  // namespace torchscript

bool is_torchscript(const SharedBytes& file) {
  return torchscript::is_torchscript(file);
}

Expected<ImportedProgram> import_torchscript(const SharedBytes& file, const ProgramOptions& options) {
  TAPER_ASSIGN(const torchscript::Archive archive, torchscript::read_archive(file));
  torchscript::InputShapes shapes;
  ProgramOptions furthest = options;
  auto program = import_with_casts(
      furthest, [&](const ProgramOptions& tried) { return torchscript::import(archive, tried, shapes); });
  if (program) return program;
  torchscript::InputShapes ignored;
  return std::unexpected(torchscript::with_multiples(
      std::move(program).error(), furthest, shapes,
      [&](const ProgramOptions& tried) { return torchscript::import(archive, tried, ignored); }));
}

}  // namespace taper
