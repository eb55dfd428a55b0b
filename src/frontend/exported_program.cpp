#include "frontend/exported_program.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <set>
#include <tuple>

#include "formats/exported_program.h"
#include "frontend/aten_complex.h"
#include "frontend/exported_nodes.h"
#include "frontend/exported_numbers.h"
#include "frontend/input_names.h"
#include "frontend/read_back.h"
#include "frontend/size_limits.h"
#include "frontend/tied_sizes.h"

namespace taper {
namespace {

using aten::Arg;
using aten::TensorPtr;
using exported::Argument;
using exported::InputKind;
using exported::OutputKind;
using exported::ValueName;

// The multiples in which freed sizes are taken, by their symbols.
using Parts = std::map<std::string, std::int64_t, std::less<>>;
// The numbers of which paddings make multiples, by the sizes that are padded.
using Fills = std::map<std::string, std::int64_t, std::less<>>;

class Importer {
 public:
  Importer(const exported::Program& program, const ProgramOptions& options, exported::TieChoice choice, Parts parts,
           Fills fills = {}, bool takes_one_more = false)
      : program_(program),
        options_(options),
        choice_(choice),
        parts_(std::move(parts)),
        build_(result_.graph),
        context_{build_} {
    import_.freeing.fills = std::move(fills);
    import_.freeing.takes_one_more = takes_one_more;
  }

  // What calls so far padded at its end: with its padding and without.
  const auto& padded() const { return import_.freeing.padded; }

  // Whether calls so far have literals that may be a freed size and one.
  bool has_one_more() const { return import_.freeing.has_one_more; }
  // Whether they must be, so that the axes that they give can be cut to the freed size.
  bool cuts_one_more() const { return import_.freeing.cuts_one_more; }

  // Whether sizes are tied in ways that nothing was chosen from.
  bool has_open_ties() const { return has_open_ties_; }

  // Larger multiples for the freed sizes that an error names. Nothing: none.
  std::optional<Parts> larger_parts(std::string_view error) const {
    constexpr std::int64_t kMost = 256;
    Parts larger = parts_;
    bool any = false;
    for (const auto& [symbol, size] : freed_sizes_) {
      const std::string name = scaled(Dim::symbol(symbol)).terms()[0].symbols[0];
      if (!names(error, name)) continue;
      std::int64_t& parts = larger.emplace(symbol, 1).first->second;
      const auto fits = [&](std::int64_t wanted) {
        return wanted <= kMost && wanted * 2 <= size && size % wanted == 0;
      };
      std::int64_t next = parts * 2;
      if (!fits(next))
        for (next = parts + 1; next <= kMost && !fits(next);) ++next;
      if (!fits(next)) continue;
      parts = next;
      any = true;
    }
    return any ? std::optional(std::move(larger)) : std::nullopt;
  }

  Expected<ImportedProgram> run() {
    UnsupportedOperators unsupported;
    exported::find_unsupported(program_.graph, unsupported);
    if (!unsupported.empty()) return std::unexpected(unsupported.error());
    TAPER_TRY(check_options());
    for (const exported::Input& input : program_.inputs)
      if (input.kind == InputKind::user) TAPER_TRY(settle_symbols(input));
    TAPER_TRY(add_symbols());
    TAPER_TRY(settle_ties());
    // Users' inputs first: the files name them as the program does, whatever weights are called.
    for (const bool of_user : {true, false})
      for (const exported::Input& input : program_.inputs)
        if ((input.kind == InputKind::user) == of_user) TAPER_TRY(add_input(input));
    TAPER_TRY(run_calls());
    TAPER_TRY(settle_freed_sizes());
    TAPER_TRY(add_outputs());
    note_mutations();
    TAPER_TRY(build_.status());
    result_.assumptions = std::move(import_.assumptions);
    result_.warnings = std::move(context_.warnings);
    return std::move(result_);
  }

 private:
  Status run_calls() {
    if (!import_.freeing.sizes.empty()) import_.freeing.states = exported::first_states(program_.graph);
    auto status = exported::run_nodes(import_, context_, program_.graph, values_);
    if (status || import_.freeing.sizes.empty()) return status;
    return std::unexpected(hinted(
        std::move(status).error(),
        "export with dynamic_shapes, where PyTorch itself knows what follows from the size, instead of --dynamic"));
  }

  // The input's name, if it is a tensor of the user's.
  const exported::TensorMeta* meta_of(const Argument& argument) const {
    const auto* name = argument.as<ValueName>();
    if (name == nullptr) return nullptr;
    const auto found = program_.graph.tensors.find(name->name);
    return found == program_.graph.tensors.end() ? nullptr : &found->second;
  }

  // Names in the options that the program doesn't have are mistakes.
  Status check_options() const {
    std::vector<std::string> names;
    for (const exported::Input& input : program_.inputs)
      if (const auto* name = input.argument.as<ValueName>(); name != nullptr && input.kind == InputKind::user)
        names.push_back(name->name);
    return check_input_names(options_, names);
  }

  // ---- sizes

  // Complex numbers are reals in the files, with one more axis: of real and imaginary part.
  static Shape sizes_in_files(const exported::TensorMeta& meta) {
    Shape sizes = meta.sizes;
    if (meta.parts) sizes.emplace_back(2);
    return sizes;
  }

  // What the caller says of the sizes of one input.
  Status settle_symbols(const exported::Input& input) {
    const exported::TensorMeta* meta = meta_of(input.argument);
    if (meta == nullptr) return {};
    const std::string& name = input.argument.as<ValueName>()->name;
    const Shape sizes = sizes_in_files(*meta);
    const std::size_t rank = sizes.size();
    if (const auto wanted = options_.input_shapes.find(name); wanted != options_.input_shapes.end()) {
      if (wanted->second.size() != rank)
        return fail_with_hint(fmt::format("input '{}' is given the shape {}, the program has {} axes", name,
                                          shape_text(wanted->second), rank),
                              "give a size for each: " + shape_flag(name, sizes));
      for (std::size_t axis = 0; axis < rank; ++axis) TAPER_TRY(settle(name, axis, sizes[axis], wanted->second[axis]));
    }
    if (const auto free = options_.dynamic.find(name); free != options_.dynamic.end())
      for (const std::int64_t given : free->second) {
        TAPER_ASSIGN(const std::size_t axis, freed_axis(name, given, rank));
        const Dim& size = sizes[axis];
        if (size.constant())
          free_axis(name, axis, size, shared_symbol(name, axis, size));
        else
          tell_of_open(name, axis, size);
      }
    return {};
  }

  // --dynamic of what the export left open.
  void tell_of_open(const std::string& name, std::size_t axis, const Dim& size) {
    std::string range;
    const auto symbol = size.as_symbol();
    if (const auto info = symbol ? program_.symbols.find(*symbol) : program_.symbols.end();
        info != program_.symbols.end()) {
      if (info->second.least) range += fmt::format(", {} or more", *info->second.least);
      if (info->second.most) range += fmt::format(", at most {}", *info->second.most);
    }
    import_.assume(
        fmt::format("axis {} of input '{}' is open already, --dynamic changes nothing: it is the program's "
                    "size '{}'{}",
                    axis, name, size.text(), range));
  }

  Status settle(const std::string& name, std::size_t axis, const Dim& declared, const Dim& wanted) {
    if (const auto symbol = declared.as_symbol()) {
      const auto [found, is_new] = import_.replacements.emplace(*symbol, wanted);
      if (!is_new && found->second != wanted)
        return fail("axis {} of input '{}' is given as {}, but the program has the size {} there, which is given as {}",
                    axis, name, wanted.text(), *symbol, found->second.text());
      return check_range(*symbol, wanted);
    }
    if (declared == wanted || !declared.constant()) return {};  // functions of symbols follow from the other inputs
    if (!wanted.constant() && wanted.as_symbol()) {
      free_axis(name, axis, declared, wanted);
      return {};
    }
    return fail_with_hint(
        fmt::format("axis {} of input '{}' is given as {}, the export fixed it to {}", axis, name, wanted.text(),
                    declared.text()),
        fmt::format("--dynamic {}:{} sets it free where the operators allow it, or export with dynamic_shapes", name,
                    axis));
  }

  Status check_range(const std::string& symbol, const Dim& wanted) const {
    constexpr const char* kRange =
        "choose a size in this range, or export with another one: torch.export.Dim(min=, max=)";
    const auto value = wanted.constant();
    const auto info = program_.symbols.find(symbol);
    if (!value || info == program_.symbols.end()) return {};
    if (info->second.least && *value < *info->second.least)
      return fail_with_hint(
          fmt::format("size {} is given as {}, the program takes {} or more", symbol, *value, *info->second.least),
          kRange);
    if (info->second.most && *value > *info->second.most)
      return fail_with_hint(
          fmt::format("size {} is given as {}, the program takes at most {}", symbol, *value, *info->second.most),
          kRange);
    return {};
  }

  // Whether the text has the word.
  static bool names(std::string_view text, std::string_view word) {
    const auto is_part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
      const std::size_t end = at + word.size();
      if ((at == 0 || !is_part(text[at - 1])) && (end == text.size() || !is_part(text[end]))) return true;
    }
    return false;
  }

  // A freed size in its multiples: 8 x_2_over_8.
  Dim scaled(const Dim& symbol) const {
    const auto parts = parts_.find(*symbol.as_symbol());
    if (parts == parts_.end() || parts->second == 1) return symbol;
    return Dim(parts->second) * Dim::symbol(fmt::format("{}_over_{}", *symbol.as_symbol(), parts->second));
  }

  void free_axis(const std::string& name, std::size_t axis, const Dim& size, const Dim& symbol) {
    if (options_.keep_frozen) return;
    freed_[{name, axis}] = symbol;
    freed_sizes_[*symbol.as_symbol()] = *size.constant();
    const Dim::Term term = scaled(symbol).terms()[0];
    import_.freeing.sizes[term.symbols[0]] = *size.constant() / term.coefficient;
    import_.freeing.reading = options_.reading % kReadings;
    import_.freeing.batches_once = options_.reading >= kReadings;
    bool& batch = import_.freeing.batches.emplace(term.symbols[0], true).first->second;
    batch = batch && axis == 0;
    if (term.coefficient != 1)
      import_.assume(fmt::format("the size '{}' that was set free is {}: the operators can't be freed for others",
                                 symbol.text(), scaled(symbol).text()));
  }

  // Axes of several inputs that had one size are one size: masks go with what they mask. Those of one input are not.
  Dim shared_symbol(const std::string& name, std::size_t axis, const Dim& size) {
    for (const auto& [place, symbol] : freed_)
      if (place.first != name && size.is(freed_sizes_[*symbol.as_symbol()])) {
        import_.assume(fmt::format("axis {} of input '{}' is the size '{}', as it had the same length", axis, name,
                                   symbol.text()));
        return symbol;
      }
    std::string symbol = fmt::format("{}_{}", name, axis);
    while (program_.symbols.contains(symbol)) symbol += "_";
    return Dim::symbol(std::move(symbol));
  }

  // What is known of them when all calls are read.
  Status settle_freed_sizes() {
    Freeing& freeing = import_.freeing;
    if (freeing.sizes.empty()) return {};
    std::set<std::string_view> weights;
    for (const Weight& weight : weights_) weights.insert(weight.name);
    for (const exported::Node& node : program_.graph.nodes)
      for (const exported::NamedArgument& input : node.inputs)
        if (const auto* used = input.value.as<ValueName>(); used != nullptr && weights.contains(used->name))
          ++freeing.uses[used->name];
    TAPER_TRY(check_loops(freeing));
    for (const auto& [symbol, least] : freeing.least)
      result_.symbols[symbol].least = std::max(result_.symbols[symbol].least, least);
    for (const auto& [symbol, size] : freeing.sizes)
      result_.freed.emplace(symbol,
                            FreedSize{size, std::move(freeing.notes[symbol]), std::move(freeing.kept_numbers[symbol]),
                                      std::move(freeing.halves[symbol])});
    result_.has_other_readings = freeing.ambiguous;
    return {};
  }

  Status add_symbols() {
    for (const auto& [symbol, info] : program_.symbols) {
      if (!Dim::parse(symbol) || !Dim::parse(symbol)->as_symbol()) continue;  // ranges of expressions
      const auto replaced = import_.replacements.find(symbol);
      const auto name = replaced == import_.replacements.end() ? std::optional(symbol) : replaced->second.as_symbol();
      if (!name) continue;
      if (info.least.value_or(-1) >= 0) import_.never_negative.insert(symbol);
      // What depends on data is no size of an input.
      SymbolRange& range = (exported::is_unbacked(symbol) ? context_.symbols : result_.symbols)[*name];
      range.least = std::max(range.least, std::max<std::int64_t>(info.least.value_or(0), 0));
      range.most = std::min(range.most, info.most.value_or(range.most));
      if (range.least > range.most)
        return fail("size {} lies between {} and {}: nothing does", *name, range.least, range.most);
      range.usual = std::clamp(info.usual.value_or(range.least), range.least, range.most);
    }
    for (const auto& [symbol, size] : import_.freeing.sizes) {
      SymbolRange& range = result_.symbols[symbol];
      range.least = std::max<std::int64_t>(range.least, 1);
      range.usual = size;
    }
    return {};
  }

  // Sizes that the program takes in multiples alone, or that follow from others, are written as such.
  Status settle_ties() {
    TAPER_ASSIGN(exported::TiedSizes ties,
                 exported::tied_sizes(program_, import_.replacements, std::move(result_.symbols), choice_));
    for (auto& [symbol, size] : import_.replacements) size = substitute(size, ties.sizes);
    import_.replacements.insert(ties.sizes.begin(), ties.sizes.end());
    for (std::string& note : ties.notes) import_.assume(std::move(note));
    exported::SizeLimits limits = exported::size_limits(program_, import_.replacements, std::move(ties.symbols));
    for (std::string& note : limits.notes) import_.assume(std::move(note));
    result_.symbols = std::move(limits.symbols);
    context_.symbols.insert(result_.symbols.begin(), result_.symbols.end());
    has_open_ties_ = ties.open;
    return {};
  }

  // ---- inputs

  Status add_input(const exported::Input& input) {
    const auto* name = input.argument.as<ValueName>();
    switch (input.kind) {
      case InputKind::user:
        return add_user_input(input.argument);
      case InputKind::parameter:
      case InputKind::buffer:
      case InputKind::constant_tensor:
        if (name == nullptr) return fail("'{}' is no tensor of the program", input.target);
        return add_weight(name->name, input.target);
      case InputKind::constant:
      case InputKind::custom_object:
      case InputKind::token:
        // What uses them says so: they are nothing that could be handed on.
        if (name != nullptr) values_[name->name] = std::nullopt;
        return {};
    }
    return {};
  }

  Status add_user_input(const Argument& argument) {
    const auto* name = argument.as<ValueName>();
    if (name == nullptr) {
      if (!argument.is_none()) import_.assume("an input that is no tensor has the value that it was exported with");
      return {};
    }
    const exported::TensorMeta* meta = meta_of(argument);
    if (meta == nullptr)
      return fail(
          "input '{}' is a number that may vary, which can't be an input of the files: pass a tensor, or a number "
          "that the export fixes",
          name->name);
    const auto dtype = meta->parts ? meta->parts : meta->dtype;
    if (!dtype) return fail("input '{}' has a dtype that is not read", name->name);
    if (!meta->unread.empty()) return fail("input '{}' has a size that is not read: {}", name->name, meta->unread);
    Type type{aten::graph_dtype(*dtype), import_.shape(sizes_in_files(*meta))};
    for (std::size_t axis = 0; axis < type.shape.size(); ++axis)
      if (const auto freed = freed_.find({name->name, axis}); freed != freed_.end())
        type.shape[axis] = scaled(freed->second);
    TAPER_TRY(check_bounded(type));
    if (*dtype != type.dtype && !options_.input_dtypes.contains(name->name))
      import_.assume(dtype_note(fmt::format("input '{}'", name->name), *dtype, type.dtype));
    const DType computed = type.dtype;
    if (const auto wanted = options_.input_dtypes.find(name->name); wanted != options_.input_dtypes.end())
      type.dtype = wanted->second;
    Value* value = result_.graph.add_input(name->name, type);
    if (value->name != name->name) return fail("two inputs are named '{}'", name->name);
    if (type.dtype != computed) value = build_("cast", {value}, {{"to", computed}});
    if (meta->parts) return add_complex_input(name->name, value);
    inputs_[name->name] = value;
    return set_tensor(name->name, value);
  }

  Status add_complex_input(const std::string& name, Value* value) {
    import_.assume(fmt::format(
        "input '{}' is of complex numbers: the files take reals, real and imaginary part along one more axis", name));
    TAPER_TRY(build_.status());
    TAPER_ASSIGN(values_[name], aten::view_as_complex(context_, aten::Tensor::make(value)));
    return {};
  }

  Status set_tensor(const std::string& name, Value* value) {
    TAPER_TRY(build_.status());
    values_[name] = Arg(aten::Tensor::make(value));
    return {};
  }

  // Weights that share their bytes are one constant.
  Status add_weight(const std::string& name, const std::string& target) {
    const auto found = program_.weights.find(target);
    if (const auto complex = program_.complex_weights.find(target); complex != program_.complex_weights.end())
      return add_complex_weight(name, target, complex->second);
    if (found == program_.weights.end()) {
      values_[name] = std::nullopt;
      const auto unread = program_.unread.find(target);
      if (unread == program_.unread.end()) return fail("the archive holds no weight '{}'", target);
      import_.assume(fmt::format("'{}' {}, which is not read: nothing that counts may use it", target, unread->second));
      return {};
    }
    const Tensor& tensor = found->second;
    TAPER_TRY(check_bounded({tensor.dtype, to_shape(tensor.shape)}));
    if (const exported::TensorMeta* meta = meta_of(Argument{ValueName{name}});
        meta != nullptr && (meta->dtype != tensor.dtype || meta->sizes != to_shape(tensor.shape)))
      return fail("weight '{}' is {}, the program declares {}", target, describe(tensor), shape_text(meta->sizes));
    Value*& value = constants_[{tensor.storage.view.data(), tensor.dtype, tensor.shape, tensor.strides}];
    if (value == nullptr) {
      value = build_.constant(tensor, target);
      if (const DType computed = aten::graph_dtype(tensor.dtype); computed != tensor.dtype)
        value = build_("cast", {value}, {{"to", computed}});
    }
    weights_.push_back({name, target, value});
    return set_tensor(name, value);
  }

  Status add_complex_weight(const std::string& name, const std::string& target, const Tensor& parts) {
    const Type type{parts.dtype, to_shape(parts.shape)};
    TAPER_TRY(check_bounded(type));
    if (const exported::TensorMeta* meta = meta_of(Argument{ValueName{name}});
        meta != nullptr && (meta->parts != type.dtype || sizes_in_files(*meta) != type.shape))
      return fail("weight '{}' is of complex numbers {}, the program declares {}", target, shape_text(type.shape),
                  shape_text(meta->sizes));
    values_[name] = aten::complex_constant(build_, parts, target);
    return build_.status();
  }

  // ---- outputs

  Expected<Value*> output_value(const Arg& arg, const std::string& name) {
    if (arg.as<aten::ComplexTensor>() != nullptr) {
      import_.assume(fmt::format(
          "output '{}' is of complex numbers: the files give reals, real and imaginary part along one more axis",
          name));
      TAPER_ASSIGN(const Arg parts, aten::view_as_real(context_, arg));
      return (*parts.as<TensorPtr>())->content(build_);
    }
    if (const auto* tensor = arg.as<TensorPtr>()) return (*tensor)->content(build_);
    const Dim* size = arg.as<Dim>();
    if (size == nullptr) return nullptr;
    Value* vector = build_("sizes", {}, {{"sizes", Shape{*size}}});
    return build_("reshape", {vector}, {{"shape", Shape{}}});
  }

  // Floats of other widths are float32 in the files.
  void note_dtype(const std::string& name, const Argument& argument, DType given) {
    const exported::TensorMeta* meta = meta_of(argument);
    const auto declared = meta == nullptr ? std::nullopt : meta->parts ? meta->parts : meta->dtype;
    if (declared && *declared != given) import_.assume(dtype_note(fmt::format("output '{}'", name), *declared, given));
  }

  Status add_outputs() {
    std::size_t user = 0;
    for (const exported::Output& output : program_.outputs) {
      if (output.kind == OutputKind::buffer_mutation || output.kind == OutputKind::parameter_mutation) {
        import_.assume(
            fmt::format("'{}' is updated by the program: the files keep the value that it has now", output.target));
        continue;
      }
      if (output.kind != OutputKind::user && output.kind != OutputKind::input_mutation) continue;
      const bool mutation = output.kind == OutputKind::input_mutation;
      const std::string name = mutation ? output.target + "_changed" : program_.output_names[user++];
      const std::string place = fmt::format("in output '{}'", name);
      TAPER_ASSIGN_WITHIN(const Arg arg, exported::argument_of(values_, output.argument), place);
      if (arg.is_none()) continue;
      TAPER_ASSIGN_WITHIN(Value * value, output_value(arg, name), place);
      TAPER_TRY(build_.status());
      if (value == nullptr) {
        import_.assume(fmt::format("output '{}' is a fixed number or text, which the files don't give", name));
        continue;
      }
      if (mutation)
        import_.assume(fmt::format("output '{}' is what the program leaves in input '{}'", name, output.target));
      note_dtype(name, output.argument, value->type.dtype);
      result_.graph.add_output(name, value);
    }
    if (result_.graph.outputs().empty()) return fail("the program gives no tensor");
    return {};
  }

  // What the program wrote into weights and inputs in place is lost when it ends.
  void note_mutations() {
    const auto changed = [&](const std::string& name, const Value* original) {
      const auto found = values_.find(name);
      const auto* tensor = found == values_.end() || !found->second ? nullptr : found->second->as<TensorPtr>();
      return tensor != nullptr && (*tensor)->content(build_) != original;
    };
    for (const Weight& weight : weights_)
      if (changed(weight.name, weight.value))
        import_.assume(
            fmt::format("'{}' is updated by the program: the files keep the value that it has now", weight.target));
    for (const auto& [name, value] : inputs_)
      if (changed(name, value))
        import_.assume(fmt::format("the program writes into input '{}': the files leave it as it is", name));
  }

  struct Weight {
    std::string name, target;
    const Value* value;
  };

  const exported::Program& program_;
  const ProgramOptions& options_;
  exported::TieChoice choice_;
  Parts parts_;
  bool has_open_ties_ = false;
  ImportedProgram result_;
  Builder build_;
  aten::Context context_;
  exported::Import import_;
  exported::Values values_;
  std::map<std::pair<std::string, std::size_t>, Dim> freed_;  // axes of inputs, before they are multiples
  std::map<std::string, std::int64_t, std::less<>> freed_sizes_;
  std::map<std::tuple<const std::byte*, DType, std::vector<std::int64_t>, std::vector<std::int64_t>>, Value*>
      constants_;
  std::vector<Weight> weights_;
  std::map<std::string, const Value*> inputs_;  // as the calls see them
};

// What the paddings of a program may fill up to: the smallest multiples come first. Blocks that are larger than the
// truth would be taken as well by reshapes.
std::vector<Fills> fills_to_try(
    const std::map<std::string, std::pair<std::int64_t, std::int64_t>, std::less<>>& padded) {
  constexpr std::size_t kMost = 64;
  constexpr std::int64_t kMostMultiple = 256;
  std::vector<Fills> tries = {{}};
  for (const auto& [size, sizes] : padded) {
    const auto [with, without] = sizes;
    std::vector<Fills> longer;
    for (std::int64_t multiple = with - without + 1; multiple <= std::min(with, kMostMultiple); ++multiple)
      for (const Fills& fills : tries)
        if (with % multiple == 0 && longer.size() < kMost) longer.emplace_back(fills).emplace(size, multiple);
    if (!longer.empty()) tries = std::move(longer);
  }
  const auto sum = [](const Fills& fills) {
    std::int64_t all = 0;
    for (const auto& [size, multiple] : fills) all += multiple;
    return all;
  };
  std::ranges::stable_sort(tries, {}, sum);
  return tries;
}

}  // namespace

Expected<ImportedProgram> import_exported_program(const SharedBytes& file, const ProgramOptions& options) {
  TAPER_ASSIGN(const exported::Program program, exported::read_exported_program(file));
  // Most programs need no choice, which leaves sizes out.
  constexpr int kMostTries = 16;
  int tries = 0;
  std::optional<Error> first;
  std::optional<ImportedProgram> found;
  Parts parts;
  auto choice = exported::TieChoice::none;
  while (!found && tries++ < kMostTries) {
    Importer importer(program, options, choice, parts);
    auto imported = importer.run();
    if (imported ? importer.cuts_one_more() : importer.has_one_more())
      if (auto longer = Importer(program, options, choice, parts, {}, true).run()) return longer;
    if (imported) {
      found = std::move(*imported);
      break;
    }
    if (!first) first = imported.error();
    if (parts.empty() && !importer.padded().empty())
      for (const Fills& fills : fills_to_try(importer.padded()))
        if (auto filled = Importer(program, options, choice, parts, fills).run()) return filled;
    if (importer.has_open_ties() && choice != exported::TieChoice::number) {
      choice = choice == exported::TieChoice::none ? exported::TieChoice::kind : exported::TieChoice::number;
      continue;
    }
    auto larger = importer.larger_parts(imported.error().text());
    if (!larger) break;
    parts = std::move(*larger);
  }
  if (!found) return std::unexpected(std::move(*first));
  // Messages name sizes that are no part of what is wrong: those do with smaller multiples.
  for (auto& [symbol, most] : parts)
    for (std::int64_t one = 1; one < most && tries < kMostTries; ++one) {
      if (most % one != 0) continue;
      Parts smaller = parts;
      smaller[symbol] = one;
      ++tries;
      auto imported = Importer(program, options, choice, smaller).run();
      if (!imported) continue;
      found = std::move(*imported);
      most = one;
    }
  return std::move(*found);
}

}  // namespace taper
