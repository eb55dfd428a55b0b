#include "frontend/modules.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "formats/text.h"
#include "frontend/aten_advice.h"
#include "frontend/given_dtypes.h"
#include "frontend/input_names.h"
#include "frontend/module_calls.h"
#include "frontend/torchscript_advice.h"

namespace taper {
namespace modules {
namespace {

constexpr int kMostDepth = 200;
constexpr std::size_t kMostRuns = 65536;

constexpr std::string_view kSaveHint =
    "save it as a program in PyTorch: ep = torch.export.export(model, (example_input,)); "
    "torch.export.save(ep, \"model.pt2\")";

// Classes that one call of ATen says.
std::vector<ModuleRow> simple_modules() {
  constexpr std::string_view kConvTranspose =
      "weight=$weight bias=$bias stride=.stride padding=.padding output_padding=.output_padding groups=.groups "
      "dilation=.dilation";
  constexpr std::string_view kAvgPool =
      "kernel_size=.kernel_size stride=.stride padding=.padding ceil_mode=.ceil_mode "
      "count_include_pad=.count_include_pad";
  constexpr std::string_view kAvgPoolNd =
      "kernel_size=.kernel_size stride=.stride padding=.padding ceil_mode=.ceil_mode "
      "count_include_pad=.count_include_pad divisor_override=.divisor_override";
  constexpr std::string_view kConstantPad = "pad=.padding value=.value";
  constexpr std::string_view kReflectionPad = "pad=.padding mode=reflect";
  constexpr std::string_view kReplicationPad = "pad=.padding mode=replicate";
  constexpr std::string_view kCircularPad = "pad=.padding mode=circular";
  return {
      {"Linear", "linear", "weight=$weight bias=$bias"},
      {"NonDynamicallyQuantizableLinear", "linear", "weight=$weight bias=$bias"},
      {"Bilinear", "bilinear", "weight=$weight bias=$bias", nullptr, {{"input1"}, {"input2"}}},
      {"ConvTranspose1d", "conv_transpose1d", kConvTranspose},
      {"ConvTranspose2d", "conv_transpose2d", kConvTranspose},
      {"ConvTranspose3d", "conv_transpose3d", kConvTranspose},
      {"LayerNorm", "layer_norm", "normalized_shape=.normalized_shape weight=$weight bias=$bias eps=.eps"},
      {"GroupNorm", "group_norm", "num_groups=.num_groups weight=$weight bias=$bias eps=.eps"},
      {"LocalResponseNorm", "local_response_norm", "size=.size alpha=.alpha beta=.beta k=.k"},
      {"RMSNorm", "rms_norm", "normalized_shape=.normalized_shape weight=$weight eps=.eps", nullptr, {{"x"}}},
      {"ReLU", "relu"},
      {"ReLU6", "relu6"},
      {"Sigmoid", "sigmoid"},
      {"Tanh", "tanh"},
      {"Tanhshrink", "tanhshrink"},
      {"Softsign", "softsign"},
      {"RReLU", "rrelu", "lower=.lower upper=.upper"},
      {"GELU", "gelu", "approximate=.approximate"},
      {"SiLU", "silu"},
      {"Mish", "mish"},
      {"Hardswish", "hardswish"},
      {"Hardsigmoid", "hardsigmoid"},
      {"Hardtanh", "hardtanh", "min_val=.min_val max_val=.max_val"},
      {"ELU", "elu", "alpha=.alpha"},
      {"CELU", "celu", "alpha=.alpha"},
      {"SELU", "selu"},
      {"LeakyReLU", "leaky_relu", "negative_slope=.negative_slope"},
      {"PReLU", "prelu", "weight=$weight"},
      {"Softplus", "softplus", "beta=.beta threshold=.threshold"},
      {"Softshrink", "softshrink", "lambd=.lambd"},
      {"Hardshrink", "hardshrink", "lambd=.lambd"},
      {"Threshold", "threshold", "threshold=.threshold value=.value"},
      {"LogSigmoid", "log_sigmoid"},
      {"Softmax2d", "softmax", "dim=-3"},
      {"GLU", "glu", "dim=.dim"},
      {"AvgPool1d", "avg_pool1d", kAvgPool},
      {"AvgPool2d", "avg_pool2d", kAvgPoolNd},
      {"AvgPool3d", "avg_pool3d", kAvgPoolNd},
      {"Flatten", "flatten", "start_dim=.start_dim end_dim=.end_dim"},
      {"Unflatten", "unflatten", "dim=.dim sizes=.unflattened_size"},
      {"PixelShuffle", "pixel_shuffle", "upscale_factor=.upscale_factor"},
      {"PixelUnshuffle", "pixel_unshuffle", "downscale_factor=.downscale_factor"},
      {"ChannelShuffle", "channel_shuffle", "groups=.groups"},
      {"ConstantPad1d", "constant_pad_nd", kConstantPad},
      {"ConstantPad2d", "constant_pad_nd", kConstantPad},
      {"ConstantPad3d", "constant_pad_nd", kConstantPad},
      {"ZeroPad1d", "constant_pad_nd", kConstantPad},
      {"ZeroPad2d", "constant_pad_nd", kConstantPad},
      {"ZeroPad3d", "constant_pad_nd", kConstantPad},
      {"ReflectionPad1d", "pad", kReflectionPad},
      {"ReflectionPad2d", "pad", kReflectionPad},
      {"ReflectionPad3d", "pad", kReflectionPad},
      {"ReplicationPad1d", "pad", kReplicationPad},
      {"ReplicationPad2d", "pad", kReplicationPad},
      {"ReplicationPad3d", "pad", kReplicationPad},
      {"CircularPad1d", "pad", kCircularPad},
      {"CircularPad2d", "pad", kCircularPad},
      {"CircularPad3d", "pad", kCircularPad},
      {"Unfold", "im2col", "kernel_size=.kernel_size dilation=.dilation padding=.padding stride=.stride"},
      {"Fold", "col2im",
       "output_size=.output_size kernel_size=.kernel_size dilation=.dilation padding=.padding stride=.stride"},
      {"CosineSimilarity", "cosine_similarity", "dim=.dim eps=.eps", nullptr, {{"x1"}, {"x2"}}},
      {"PairwiseDistance", "pairwise_distance", "p=.norm eps=.eps keepdim=.keepdim", nullptr, {{"x1"}, {"x2"}}},
  };
}

// What is written in a row: True, None, a number, a word.
aten::Arg literal(std::string_view text) {
  if (text == "None") return {};
  if (text == "True" || text == "False") return aten::Arg(text == "True");
  std::int64_t integer = 0;
  if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
      error == std::errc() && end == text.data() + text.size())
    return aten::Arg(Dim(integer));
  double real = 0;
  if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), real);
      error == std::errc() && end == text.data() + text.size())
    return aten::Arg(real);
  return aten::Arg(std::string(text));
}

Expected<aten::Arg> run_row(const Call& call, const ModuleRow& row) {
  std::vector<aten::NamedArg> arguments;
  if (row.arguments.find("=@") == std::string_view::npos)
    for (const aten::Arg& input : call.inputs) arguments.push_back({"", input});
  std::string_view rest = row.arguments;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    const std::size_t equals = entry.find('=');
    const std::string name(entry.substr(0, equals));
    const std::string_view value = entry.substr(equals + 1);
    if (value == "@") {
      arguments.push_back({name, call.input(0)});
    } else if (value.starts_with('$')) {
      TAPER_ASSIGN(aten::Arg tensor, call.tensor(value.substr(1)));
      arguments.push_back({name, std::move(tensor)});
    } else if (value == ".reduction") {
      arguments.push_back({name, call.reduction()});
    } else if (!value.starts_with('.') || value.size() == 1) {
      arguments.push_back({name, literal(value)});
    } else if (pickle::attribute(call.module, value.substr(1)) != nullptr) {  // older classes have fewer
      arguments.push_back({name, call.attr(value.substr(1))});
    }
  }
  return call.aten(row.op, std::move(arguments));
}

aten::Arg arg_of(const pickle::Value& value, int depth) {
  constexpr int kMostNesting = 8;
  if (const auto flag = value.boolean()) return aten::Arg(*flag);
  if (const auto integer = value.integer()) return aten::Arg(Dim(*integer));
  if (const auto number = value.number()) return aten::Arg(*number);
  if (const auto text = value.text()) return aten::Arg(std::string(*text));
  if (value.sequence() && depth < kMostNesting) {
    aten::Arg::List list;
    for (const pickle::Value* item : value.items()) list.push_back(arg_of(*item, depth + 1));
    return aten::Arg(std::move(list));
  }
  return {};
}

// "Linear" of "torch.nn.modules.linear.Linear"; nothing for classes of others.
std::optional<std::string_view> torch_class(std::string_view path) {
  if (!path.starts_with("torch.nn.modules.") && !path.starts_with("torch.nn.parallel.")) return std::nullopt;
  return path.substr(path.rfind('.') + 1);
}

// Classes of torch.nn that compute nothing that a file says.
struct Refusal {
  std::string_view names, reason, hint;
};
constexpr Refusal kRefusals[] = {
    {"ModuleList ModuleDict", "in which order its parts run is code that a file does not hold", kSaveHint},
    {"ParameterList ParameterDict Module Container RNNBase RNNCellBase",
     "it computes nothing of its own, PyTorch can't call it either", "save the module that it is a part of"},
    {"LazyLinear LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d "
     "LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d",
     "it has no weights yet", "call the model once before you save it"},
};

std::string at(const std::string& path) {
  return path.empty() ? std::string("the whole model") : fmt::format("module '{}'", excerpt(path));
}

}  // namespace

bool names_class(std::string_view words, std::string_view name) {
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(' '));
    if (word == name) return true;
    words.remove_prefix(std::min(words.size(), word.size() + 1));
  }
  return false;
}

const ModuleRow* row_of(std::string_view name) {
  static const std::unordered_map<std::string_view, ModuleRow> table = [] {
    std::unordered_map<std::string_view, ModuleRow> rows;
    for (auto* family : {simple_modules, composed_modules, attention_modules, recurrent_modules, loss_modules})
      for (ModuleRow& row : family()) rows.emplace(row.name, std::move(row));
    return rows;
  }();
  const auto found = table.find(name);
  return table.contains(name) ? &found->second : nullptr;
}

// ---- calls

aten::Arg Call::attr(std::string_view attribute) const {
  const pickle::Value* value = pickle::attribute(module, attribute);
  return value ? arg_of(*value, 0) : aten::Arg{};
}

std::int64_t Call::integer(std::string_view attribute, std::int64_t fallback) const {
  const aten::Arg value = attr(attribute);
  const Dim* number = value.as<Dim>();
  return number ? number->constant().value_or(fallback) : fallback;
}

bool Call::flag(std::string_view attribute) const {
  const aten::Arg value = attr(attribute);
  return value.as<bool>() && *value.as<bool>();
}

aten::Arg Call::reduction() const {
  constexpr std::string_view kNames[] = {"none", "mean", "sum"};
  const aten::Arg value = attr("reduction");
  const auto* text = value.as<std::string>();
  const auto* found = text ? std::ranges::find(kNames, *text) : std::end(kNames);
  return found == std::end(kNames) ? value : aten::Arg(Dim(found - std::begin(kNames)));
}

Expected<aten::Arg> Call::tensor(std::string_view parameter) const {
  if (auto made = hooked_weight(*this, parameter)) return *std::move(made);
  for (const char* group : {"_parameters", "_buffers"})
    if (const pickle::Value* value = pickle::find(*pickle::attribute(module, group), parameter)) {
      if (value->is_none()) return aten::Arg{};
      return importer.weight(*value, path_of(parameter));
    }
  return aten::Arg{};
}

Expected<aten::Arg> Call::aten(std::string_view op, std::vector<aten::NamedArg> arguments) const {
  return importer.call(op, std::move(arguments), path);
}

Expected<double> Call::real(std::string_view attribute) const {
  const aten::Arg value = attr(attribute);
  if (const double* number = value.as<double>()) return *number;
  const Dim* whole = value.as<Dim>();
  const auto number = whole ? whole->constant() : std::nullopt;
  if (!number) return fail("module '{}' has no number for {}", excerpt(path), attribute);
  return static_cast<double>(*number);
}

Expected<Shape> Call::shape(std::size_t i) const {
  const aten::Arg value = input(i);
  const auto* tensor = value.as<aten::TensorPtr>();
  if (!tensor) return fail("module '{}' takes {} tensors", excerpt(path), i + 1);
  return (*tensor)->type().shape;
}

std::string Call::path_of(std::string_view part) const {
  return path.empty() ? std::string(part) : fmt::format("{}.{}", path, part);
}

const pickle::Value* Call::child(std::string_view part) const {
  return pickle::find(*pickle::attribute(module, "_modules"), part);
}

bool Call::has_child(std::string_view part) const {
  const pickle::Value* value = child(part);
  return value && !value->is_none();
}

Expected<aten::Arg> Call::run(std::string_view part, Args args) const {
  const pickle::Value* value = child(part);
  if (!value) return fail("module '{}' has no part '{}'", excerpt(path), part);
  return importer.run(*value, path_of(part), std::move(args));
}

aten::Arg first_of(const aten::Arg& result) {
  const auto* list = result.as<aten::Arg::List>();
  return list && !list->empty() ? list->front() : result;
}

Expected<aten::Arg> Importer::weight(const pickle::Value& value, const std::string& path) {
  if (const auto known = weights_.find(&value); known != weights_.end()) return known->second;
  if (value.unsupported()) return fail("'{}' {}", excerpt(path), value.unsupported()->reason);
  if (!value.tensor()) return fail("'{}' is {}, expected a tensor", excerpt(path), pickle::describe(value));
  const Tensor& tensor = value.tensor()->tensor;
  taper::Value* content = context.build.constant(converted(tensor, aten::graph_dtype(tensor.dtype)), path);
  TAPER_TRY(context.build.status());
  aten::Arg made(aten::Tensor::make(content));
  weights_.emplace(&value, made);
  return made;
}

Expected<aten::Arg> Importer::call(std::string_view op, std::vector<aten::NamedArg> arguments, std::string_view place) {
  if (!aten::knows(op)) {
    unsupported.add(fmt::format("aten::{}", op), place, aten::nearest_form(op));
    return arguments.empty() ? aten::Arg{} : arguments.front().arg;
  }
  // After an operator that can't be read the shapes are not known: only names are collected.
  if (!unsupported.empty()) return arguments.empty() ? aten::Arg{} : arguments.front().arg;
  auto result = aten::call(context, op, arguments);
  if (!result && !place.empty())
    return std::unexpected(within(std::move(result).error(), fmt::format("in module '{}'", excerpt(place))));
  return result;
}

Expected<std::string_view> Importer::class_name(const pickle::Value& module, const std::string& path) {
  if (!is_module(module)) return fail("'{}' is {}, expected a module", excerpt(path), pickle::describe(module));
  const std::string class_path = pickle::class_path(module);
  const auto name = torch_class(class_path);
  if (!name)
    return fail_with_hint(fmt::format("{} is of the class '{}', which is not of torch.nn: whether it has a forward of "
                                      "its own is not in a file saved by torch.save(model)",
                                      at(path), excerpt(class_path)),
                          std::string(kSaveHint));
  for (const Refusal& refusal : kRefusals)
    if (names_class(refusal.names, *name))
      return fail_with_hint(fmt::format("{} is a {}: {}", at(path), *name, refusal.reason), std::string(refusal.hint));
  if (pickle::attribute(module, "forward") != nullptr)
    return fail_with_hint(
        fmt::format("{} was given a forward of its own, which is code that a file does not hold", at(path)),
        std::string(kSaveHint));
  if (has_unknown_hooks(module))
    return fail_with_hint(fmt::format("{} has hooks, which are code that a file does not hold", at(path)),
                          std::string(kSaveHint));
  const ModuleRow* row = row_of(*name);
  return row ? row->name : std::string_view{};
}

Expected<aten::Arg> Importer::run(const pickle::Value& module, const std::string& path, Args inputs) {
  struct Deeper {
    int& depth;
    ~Deeper() { --depth; }
  };
  const Deeper deeper{++depth_};
  if (depth_ > kMostDepth || ++runs_ > kMostRuns) return fail("modules are nested too deep, perhaps in a cycle");
  TAPER_ASSIGN(const std::string_view name, class_name(module, path));
  const ModuleRow* row = row_of(name);
  if (!row) {
    unsupported.add(pickle::class_path(module), path, kSaveHint);
    return inputs.empty() ? aten::Arg{} : inputs.front();
  }
  if (const pickle::Value* training = pickle::attribute(module, "training");
      training && training->boolean() == true && !std::exchange(notes_training_, true))
    assumptions.push_back(fmt::format("{} was saved in training mode and is converted as in eval()",
                                      path.empty() ? std::string("the model") : at(path)));
  Call call{*this, module, path, row->name, std::move(inputs)};
  context.build.set_scope(path);
  return row->build ? row->build(call) : run_row(call, *row);
}

namespace {

// Adds tensors to the graph's outputs, in order.
Status add_outputs(aten::Context& context, const aten::Arg& result, std::size_t& count) {
  if (const auto* list = result.as<aten::Arg::List>()) {
    for (const aten::Arg& entry : *list) TAPER_TRY(add_outputs(context, entry, count));
    return {};
  }
  if (const auto* tensor = result.as<aten::TensorPtr>()) {
    taper::Value* content = (*tensor)->content(context.build);
    TAPER_TRY(context.build.status());
    context.build.graph().add_output(count == 0 ? "output" : fmt::format("output_{}", count), content);
    ++count;
  }
  return {};
}

// The part that a module calls first with its own inputs; null if that is the module itself.
const pickle::Value* first_part(const pickle::Value& module, std::string_view name) {
  if (name == "DataParallel" || name == "DistributedDataParallel")
    return pickle::find(*pickle::attribute(module, "_modules"), "module");
  const auto children = pickle::attribute(module, "_modules")->entries();
  return name == "Sequential" && !children.empty() ? children.front().value : nullptr;
}

// The module that is called first: its inputs are the model's, or within a Sequential its first one is.
struct First {
  const pickle::Value* module;
  bool in_sequence = false;
};
First first_module(const pickle::Value& module) {
  First first{&module};
  for (int depth = 0; depth < kMostDepth; ++depth) {
    const std::string path = pickle::class_path(*first.module);
    const auto name = torch_class(path);
    const pickle::Value* part = name ? first_part(*first.module, *name) : nullptr;
    if (!part || !is_module(*part)) break;
    first = {part, first.in_sequence || *name == "Sequential"};
  }
  return first;
}

// Makes symbols of the axes that the caller sets free; their numbers stay the usual sizes.
Status set_free(const ProgramOptions& options, std::string_view input, Shape& shape,
                std::map<std::string, SymbolRange, std::less<>>& symbols) {
  const auto axes = options.dynamic.find(input);
  if (axes == options.dynamic.end()) return {};
  for (const std::int64_t axis : axes->second) {
    TAPER_ASSIGN(const std::size_t at, freed_axis(input, axis, shape.size()));
    Dim& size = shape[at];
    const auto number = size.constant();
    if (!number) continue;  // a symbol is free
    std::string symbol = fmt::format("{}_{}", input, at);
    while (symbols.contains(symbol)) symbol += '_';
    symbols[symbol] = {.least = 1, .usual = std::max<std::int64_t>(*number, 1)};
    size = Dim::symbol(std::move(symbol));
  }
  return {};
}

}  // namespace

// `shapes` are set to those of the inputs as soon as these are known.
Expected<ImportedProgram> import(const pickle::Value& root, const ProgramOptions& options,
                                 torchscript::InputShapes& shapes) {
  if (!is_module(root)) return fail("the file holds {}, expected a module", pickle::describe(root));
  ImportedProgram program;
  Builder build(program.graph);
  aten::Context context{build};
  Importer importer(context);
  const First first = first_module(root);
  const std::string class_path = pickle::class_path(*first.module);
  const auto name = torch_class(class_path);
  const ModuleRow* row = name ? row_of(*name) : nullptr;
  if (!row && first.module == &root) TAPER_TRY(importer.class_name(root, ""));
  // Where there is no row, the run below says why.
  std::vector<ModuleInput> takes = row ? row->inputs : ModuleRow{}.inputs;
  if (first.in_sequence) takes = {{"input", takes.front().dtype}};
  Args inputs;
  std::vector<std::string> names;
  for (const ModuleInput& input : takes) names.emplace_back(input.name);
  TAPER_TRY(check_input_names(options, names));
  for (const ModuleInput& input : takes) {
    const auto shape = options.input_shapes.find(input.name);
    if (shape == options.input_shapes.end() && input.optional) {
      inputs.emplace_back();
      continue;
    }
    if (row && shape == options.input_shapes.end())
      return std::unexpected(
          Error{fmt::format("the file does not say which shape the input '{}' has", input.name),
                {},
                fmt::format("give it, with numbers or with names for sizes that vary: --input-shape {}={}", input.name,
                            example_shape(root, *first.module))});
    Type type{input.dtype, {}};
    if (shape != options.input_shapes.end()) type.shape = shape->second;
    for (const Dim& size : type.shape)
      for (const std::string& symbol : symbols_of(size)) program.symbols[symbol].least = 1;
    TAPER_TRY(set_free(options, input.name, type.shape, program.symbols));
    shapes[std::string(input.name)] = type.shape;
    // Layers that take integers take none that are narrower.
    const auto given = options.input_dtypes.find(input.name);
    const bool is_told = !is_floating(input.dtype) && given != options.input_dtypes.end() &&
                         !is_floating(given->second) && size_of(given->second) < 4;
    inputs.emplace_back(aten::Tensor::make(
        add_program_input(program.graph, build, {.name = std::string(input.name), .type = type, .is_told = is_told},
                          options, importer.assumptions)));
    TAPER_TRY(build.status());
  }
  context.symbols = program.symbols;
  TAPER_ASSIGN(const aten::Arg result, importer.run(root, "", std::move(inputs)));
  if (!importer.unsupported.empty()) return std::unexpected(importer.unsupported.error());
  std::size_t count = 0;
  TAPER_TRY(add_outputs(context, result, count));
  program.assumptions = std::move(importer.assumptions);
  program.warnings = std::move(context.warnings);
  return program;
}

}  // namespace modules

Expected<ImportedProgram> import_module(const Checkpoint& checkpoint, const ProgramOptions& options) {
  torchscript::InputShapes shapes;
  ProgramOptions furthest = options;
  auto program = import_with_casts(
      furthest, [&](const ProgramOptions& tried) { return modules::import(*checkpoint.root, tried, shapes); });
  if (program) return program;
  torchscript::InputShapes ignored;
  return std::unexpected(torchscript::with_multiples(
      std::move(program).error(), furthest, shapes,
      [&](const ProgramOptions& tried) { return modules::import(*checkpoint.root, tried, ignored); }));
}

}  // namespace taper
