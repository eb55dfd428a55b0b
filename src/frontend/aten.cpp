// Finds the overload of a call, fits the arguments to its schema, and builds it.
#include "frontend/aten.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "formats/text.h"
#include "frontend/aten_complex.h"
#include "frontend/aten_composite.h"
#include "frontend/aten_loss.h"
#include "frontend/aten_table.h"
#include "frontend/given_dtypes.h"

namespace taper::aten {
namespace {

struct Row {
  Overload overload;
  Schema schema;
};

struct Table {
  std::deque<Row> rows;
  std::unordered_map<std::string, std::vector<const Row*>> by_name;
};

const Table& table() {
  static const Table instance = [] {
    Table table;
    for (auto* family :
         {pointwise_overloads, special_overloads,  activation_overloads, compare_overloads,  reduce_overloads,
          order_overloads,     unique_overloads,   statistics_overloads, view_overloads,     piece_overloads,
          join_overloads,      index_overloads,    scatter_overloads,    matrix_overloads,   linalg_overloads,
          factor_overloads,    norm_overloads,     conv_overloads,       pool_overloads,     image_overloads,
          recurrent_overloads, packed_overloads,   attention_overloads,  creation_overloads, convert_overloads,
          composite_overloads, complex_overloads,  fourier_overloads,    backward_overloads, loss_overloads,
          vision_overloads,    quantized_overloads})
      for (Overload& overload : family()) {
        auto schema = parse_schema(overload.schema);
        if (!schema) std::abort();  // our own text: any use of the table shows it
        const Row& row = table.rows.emplace_back(std::move(overload), std::move(*schema));
        table.by_name[row.schema.name].push_back(&row);
      }
    return table;
  }();
  return instance;
}

// Operators that are another one under a second name.
constexpr std::array<std::pair<std::string_view, std::string_view>, 47> kAliases = {{
    {"__and__", "bitwise_and"},
    {"__iand__", "bitwise_and_"},
    {"__ior__", "bitwise_or_"},
    {"__ixor__", "bitwise_xor_"},
    {"__ilshift__", "__lshift___"},
    {"__irshift__", "__rshift___"},
    {"__or__", "bitwise_or"},
    {"__xor__", "bitwise_xor"},
    {"absolute", "abs"},
    {"arccos", "acos"},
    {"arccosh", "acosh"},
    {"arcsin", "asin"},
    {"arcsinh", "asinh"},
    {"arctan", "atan"},
    {"arctan2", "atan2"},
    {"arctanh", "atanh"},
    {"clip", "clamp"},
    {"concat", "cat"},
    {"concatenate", "cat"},
    {"divide", "div"},
    {"fix", "trunc"},
    {"greater", "gt"},
    {"greater_equal", "ge"},
    {"less", "lt"},
    {"less_equal", "le"},
    {"moveaxis", "movedim"},
    {"multiply", "mul"},
    {"negative", "neg"},
    {"not_equal", "ne"},
    {"row_stack", "vstack"},
    {"special_digamma", "digamma"},
    {"special_erfinv", "erfinv"},
    {"special_expit", "sigmoid"},
    {"special_gammaln", "lgamma"},
    {"special_i0", "i0"},
    {"special_log_softmax", "log_softmax"},
    {"special_multigammaln", "mvlgamma"},
    {"special_psi", "digamma"},
    {"special_round", "round"},
    {"special_sinc", "sinc"},
    {"special_softmax", "softmax"},
    {"special_xlogy", "xlogy"},
    {"subtract", "sub"},
    {"true_divide", "div"},
    {"trapz", "trapezoid"},
    {"unsafe_chunk", "chunk"},
    {"unsafe_split_with_sizes", "split_with_sizes"},
}};

// What a call's name asks for.
struct Asked {
  const std::vector<const Row*>* rows = nullptr;
  std::optional<std::string_view> overload;  // nothing: any
  bool in_place = false;
};

const std::vector<const Row*>* rows_of(std::string_view name) {
  const auto& rows = table().by_name;
  const auto found = rows.find(std::string(name));
  return found == rows.end() ? nullptr : &found->second;
}

Asked ask(std::string_view name) {
  Asked asked;
  const auto dot = name.find('.');
  std::string_view base = name.substr(0, dot);
  if (dot != std::string_view::npos) {
    asked.overload = name.substr(dot + 1);
    if (*asked.overload == "default") asked.overload = "";
    // Those write the result into their argument `out`.
    if (*asked.overload == "out" || asked.overload->ends_with("_out")) asked.overload = std::nullopt;
  }
  asked.rows = rows_of(base);
  if (asked.rows == nullptr) {
    const auto resolve = [](std::string_view alias) {
      const auto* found = std::ranges::find(kAliases, alias, &std::pair<std::string_view, std::string_view>::first);
      return found == kAliases.end() ? alias : found->second;
    };
    base = resolve(base);
    if (base.ends_with('_')) {
      asked.in_place = true;
      base.remove_suffix(1);
      base = resolve(base);
    }
    // What a functionalized program has instead of views.
    if (rows_of(base) == nullptr && base.ends_with("_copy")) base.remove_suffix(5);
    asked.rows = rows_of(base);
  }
  // pow_.Scalar writes what pow.Tensor_Scalar gives: the arguments tell.
  if (asked.in_place) asked.overload = std::nullopt;
  return asked;
}

bool fits_overload(const Asked& asked, const Row& row) {
  return !asked.overload || row.schema.overload == *asked.overload;
}

// ------------------------------------------------------------------------------------------------------------
// arguments

// PyTorch's numbers of dtypes, which TorchScript's integers are.
std::optional<DType> dtype_of_code(std::int64_t code) {
  switch (code) {
    case 0:
      return DType::u8;
    case 1:
      return DType::i8;
    case 2:
      return DType::i16;
    case 3:
      return DType::i32;
    case 4:
      return DType::i64;
    case 5:
      return DType::f16;
    case 6:
      return DType::f32;
    case 7:
      return DType::f64;
    case 11:
      return DType::boolean;
    case 15:
      return DType::bf16;
    default:
      return std::nullopt;
  }
}

// Types of what changes no number, whose arguments are None.
bool changes_nothing(std::string_view type) {
  return type == "Device" || type == "Layout" || type == "MemoryFormat" || type == "Generator";
}

bool is_number(const Arg& arg) {
  return arg.as<Dim>() != nullptr || arg.as<double>() != nullptr || arg.as<bool>() != nullptr;
}

// A tensor of one known integer as that integer: TorchScript passes those where numbers are expected.
std::optional<Arg> number_of(const Arg& arg) {
  const TensorPtr* tensor = arg.as<TensorPtr>();
  if (tensor == nullptr || !(*tensor)->type().shape.empty()) return std::nullopt;
  if (is_floating((*tensor)->type().dtype)) {
    const auto value = constant_value((*tensor)->present());
    if (!value || value->values.size() != 1) return std::nullopt;
    return Arg(value->values[0]);
  }
  const auto integers = known_integers((*tensor)->present());
  if (!integers || integers->size() != 1) return std::nullopt;
  if ((*tensor)->type().dtype == DType::boolean && integers->front().constant()) return Arg(!integers->front().is(0));
  return Arg(integers->front());
}

// How arguments are fitted. Strict: without conversions that Python makes. Complex: some of them are complex numbers,
// which reals go with.
struct Fitting {
  bool strict = false;
  bool complex = false;
};

// The argument as the parameter takes it; nothing if it doesn't fit.
std::optional<Arg> fit_one(const Arg& arg, const Parameter& parameter, Fitting fitting) {
  const bool strict = fitting.strict;
  const std::string& type = parameter.type;
  if (type == "Tensor") {
    if (const auto* tensor = arg.as<TensorPtr>())
      return *tensor && (*tensor)->present() != nullptr ? std::optional(arg) : std::nullopt;
    return !strict && is_number(arg) ? std::optional(arg) : std::nullopt;
  }
  if (changes_nothing(type)) return Arg{};
  if (type == "Complex") {
    const auto* tensor = arg.as<TensorPtr>();
    const bool real = is_number(arg) || (tensor != nullptr && *tensor && (*tensor)->present() != nullptr);
    return is_complex(arg) || (fitting.complex && real) ? std::optional(arg) : std::nullopt;
  }
  if (type == "ComplexDType") return arg.as<ComplexDType>() != nullptr ? std::optional(arg) : std::nullopt;
  if (type == "any") return arg.as<Arg::List>() != nullptr || is_number(arg) ? std::optional(arg) : std::nullopt;
  if (type == "str") return arg.as<std::string>() != nullptr ? std::optional(arg) : std::nullopt;
  if (type == "ScalarType") {
    if (arg.as<DType>() != nullptr) return arg;
    const auto code = constant_integer(arg);
    const auto dtype = code ? dtype_of_code(*code) : std::nullopt;
    return dtype ? std::optional(Arg(*dtype)) : std::nullopt;
  }
  if (const auto number = strict ? std::nullopt : number_of(arg)) return fit_one(*number, parameter, {.strict = true});
  if (type == "Scalar") return is_number(arg) ? std::optional(arg) : std::nullopt;
  if (type == "float") {
    if (arg.as<double>() != nullptr) return arg;
    const auto integer = constant_integer(arg);
    return integer ? std::optional(Arg(static_cast<double>(*integer))) : std::nullopt;
  }
  if (type == "bool") {
    if (arg.as<bool>() != nullptr) return arg;
    const auto integer = strict ? std::nullopt : constant_integer(arg);
    return integer ? std::optional(Arg(*integer != 0)) : std::nullopt;
  }
  if (type == "SymInt" || type == "int") {
    if (const Dim* dim = arg.as<Dim>()) return type == "SymInt" || dim->constant() ? std::optional(arg) : std::nullopt;
    const bool* flag = strict ? nullptr : arg.as<bool>();
    return flag != nullptr ? std::optional(Arg(Dim(*flag ? 1 : 0))) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<Arg> fit(const Arg& arg, const Parameter& parameter, Fitting fitting) {
  if (arg.is_none()) return parameter.optional || changes_nothing(parameter.type) ? std::optional(arg) : std::nullopt;
  if (!parameter.list) return fit_one(arg, parameter, fitting);
  const auto* list = arg.as<Arg::List>();
  if (list == nullptr) {
    // One integer for all axes.
    if (parameter.list_size == 0 || parameter.type == "Tensor") return std::nullopt;
    const auto one = fit_one(arg, parameter, fitting);
    if (!one) return std::nullopt;
    return Arg(Arg::List(static_cast<std::size_t>(parameter.list_size), *one));
  }
  Arg::List out;
  out.reserve(list->size());
  for (const Arg& entry : *list) {
    if (entry.is_none() && parameter.optional_elements) {
      out.push_back(entry);
      continue;
    }
    auto fitted = fit_one(entry, parameter, fitting);
    if (!fitted) return std::nullopt;
    out.push_back(std::move(*fitted));
  }
  // A list of one stands for all axes likewise.
  const auto wanted = static_cast<std::size_t>(parameter.list_size);
  if (wanted > 1 && out.size() == 1) out.resize(wanted, out.front());
  return Arg(std::move(out));
}

std::string arg_text(const Arg& arg) {
  struct Describe {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(const TensorPtr& tensor) const { return tensor ? type_text(tensor->type()) : "no tensor"; }
    std::string operator()(const Dim& dim) const { return dim.text(); }
    std::string operator()(double value) const { return fmt::format("{}", value); }
    std::string operator()(bool value) const { return value ? "True" : "False"; }
    std::string operator()(const std::string& text) const { return fmt::format("'{:.40}'", text); }
    std::string operator()(DType dtype) const { return std::string(info(dtype).name); }
    std::string operator()(const ComplexTensor& z) const { return "complex numbers, each part " + (*this)(z.real); }
    std::string operator()(const ComplexNumber& z) const { return fmt::format("{}{:+}j", z.real, z.imag); }
    std::string operator()(ComplexDType) const { return "a dtype of complex numbers"; }
    std::string operator()(const Arg::List& list) const {
      std::vector<std::string> texts;
      for (const Arg& entry : list) {
        if (texts.size() == 8) {
          texts.emplace_back("...");
          break;
        }
        texts.push_back(entry.as<Arg::List>() != nullptr ? "[...]" : arg_text(entry));
      }
      return fmt::format("[{}]", fmt::join(texts, ", "));
    }
  };
  return std::visit(Describe{}, arg.value);
}

// One argument per parameter, or why they don't fit.
Expected<std::vector<Arg>> bind(const Schema& schema, std::span<const NamedArg> given, Fitting fitting) {
  std::vector<std::optional<Arg>> bound(schema.parameters.size());
  std::size_t position = 0;
  for (const NamedArg& argument : given) {
    std::size_t at = schema.parameters.size();
    if (argument.name.empty()) {
      at = position++;
      if (at >= bound.size() || schema.parameters[at].keyword_only)
        return fail("takes {} positional arguments, not {}", position - 1,
                    std::ranges::count(given, std::string(), &NamedArg::name));
    } else {
      at = static_cast<std::size_t>(std::ranges::find(schema.parameters, argument.name, &Parameter::name) -
                                    schema.parameters.begin());
      if (at == bound.size() && argument.name == "self") at = 0;  // dropout's `input` is `self` in place
      if (at == bound.size()) return fail("has no parameter '{}'", argument.name);
    }
    if (bound[at]) return fail("'{}' is given twice", schema.parameters[at].name);
    bound[at] = fit(argument.arg, schema.parameters[at], fitting);
    if (!bound[at])
      return fail("{} can't be its '{}' of type {}{}{}", arg_text(argument.arg), schema.parameters[at].name,
                  schema.parameters[at].type, schema.parameters[at].list ? "[]" : "",
                  schema.parameters[at].type == "int" ? " (a number, not a symbol)" : "");
  }
  std::vector<Arg> args;
  args.reserve(bound.size());
  for (std::size_t i = 0; i < bound.size(); ++i) {
    const Parameter& parameter = schema.parameters[i];
    if (!bound[i] && parameter.fallback) bound[i] = parameter.fallback;
    if (!bound[i] && parameter.optional) bound[i] = Arg{};
    if (!bound[i]) return fail("'{}' is missing", parameter.name);
    args.push_back(std::move(*bound[i]));
  }
  return args;
}

// ----------------------------------------------------------------------------------------------------------------
// calls

// A row of ours as it is.
Expected<Arg> build_row(Call& call) {
  std::vector<std::string_view> operands;
  Attrs attrs = call.overload.fixed;
  for (const Parameter& parameter : call.schema.parameters) {
    const auto& mapped = call.overload.attrs;
    const auto attr = std::ranges::find(mapped, parameter.name, &std::pair<std::string_view, std::string_view>::second);
    if (attr == mapped.end()) {
      if (parameter.type == "Tensor" || parameter.type == "Scalar") operands.push_back(parameter.name);
      continue;
    }
    const std::string ours(attr->first);
    if (parameter.type == "Scalar" || parameter.type == "float")
      attrs.set(ours, call.real(parameter.name));
    else if (parameter.type == "bool")
      attrs.set(ours, call.flag(parameter.name));
    else if (parameter.type == "str")
      attrs.set(ours, call.text(parameter.name));
    else if (parameter.list)
      attrs.set(ours, call.integers(parameter.name));
    else
      attrs.set(ours, call.integer(parameter.name));
  }
  return fresh(call.build(call.overload.row, call.promoted(operands, call.overload.promotion), std::move(attrs)));
}

// Writes a result into the place an in-place operator was called on.
Status write_in_place(Builder& build, const Arg& place, const Arg& result) {
  if (const auto* complex = place.as<ComplexTensor>()) {
    const auto* parts = result.as<ComplexTensor>();
    if (parts == nullptr) return fail("writes no complex numbers into complex numbers");
    TAPER_TRY(write_in_place(build, complex->real, parts->real));
    return write_in_place(build, complex->imag, parts->imag);
  }
  const TensorPtr& target = *place.as<TensorPtr>();
  const TensorPtr* written = result.as<TensorPtr>();
  if (written == nullptr) return fail("has no single result to write in place");
  Value* value = cast(build, (*written)->content(build), target->type().dtype);
  if (value != nullptr && value->type.shape != target->type().shape) value = expand(build, value, target->type().shape);
  TAPER_TRY(build.status());
  return target->write(build, value);
}

bool has_null(const Arg& result) {
  if (const auto* tensor = result.as<TensorPtr>()) return *tensor == nullptr || (*tensor)->present() == nullptr;
  if (const auto* complex = result.as<ComplexTensor>()) return has_null(complex->real) || has_null(complex->imag);
  const auto* list = result.as<Arg::List>();
  return list != nullptr && std::ranges::any_of(*list, has_null);
}

bool is_nested(const Arg& arg) {
  const auto* tensor = arg.as<TensorPtr>();
  return tensor != nullptr && *tensor != nullptr && (*tensor)->nested_mask() != nullptr;
}

bool takes_nested(std::string_view name) {
  const std::string_view op = name.substr(0, name.find('.'));
  return op == "_transformer_encoder_layer_fwd" || op == "to_padded_tensor";
}

// Views of what was written to are cut anew before anybody reads their contents.
void refresh(Builder& build, const Arg& arg) {
  if (const auto* tensor = arg.as<TensorPtr>()) (*tensor)->content(build);
  if (const auto* complex = arg.as<ComplexTensor>()) {
    complex->real->content(build);
    complex->imag->content(build);
  }
  if (const auto* list = arg.as<Arg::List>())
    for (const Arg& entry : *list) refresh(build, entry);
}

bool is_row_major(const Arg& arg) {
  if (const auto* tensor = arg.as<TensorPtr>()) return *tensor == nullptr || (*tensor)->contiguous() == true;
  const auto* list = arg.as<Arg::List>();
  return list == nullptr || std::ranges::all_of(*list, is_row_major);
}

// PyTorch's operators often leave the order of a result's elements to their operands: only that of results of row-major
// ones is known.
void forget_strides(const Row& row, std::span<const Arg> operands, const Arg& result) {
  constexpr std::array<std::string_view, 8> kRowMajor = {"cat",   "contiguous", "flatten",    "ravel",
                                                         "stack", "reshape",    "reshape_as", "repeat"};
  if (std::ranges::find(kRowMajor, row.schema.name) != kRowMajor.end()) return;
  if (const auto* tensor = result.as<TensorPtr>(); tensor != nullptr && (*tensor)->bases().empty()) {
    const auto is_result = [&](const Arg& arg) { return arg.as<TensorPtr>() && *arg.as<TensorPtr>() == *tensor; };
    if (std::ranges::none_of(operands, is_result)) (*tensor)->forget_strides();
  }
  if (const auto* list = result.as<Arg::List>())
    for (const Arg& entry : *list) forget_strides(row, operands, entry);
}

// What PyTorch takes integers for alone, beside parameters called "index" or "indices".
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kIndices = {
    {{"bincount", "self"}, {"one_hot", "self"}, {"repeat_interleave", "repeats"}}};

bool takes_integers(std::string_view op, std::string_view parameter) {
  return parameter == "index" || parameter == "indices" ||
         std::ranges::find(kIndices, std::pair(op, parameter)) != kIndices.end();
}

Error refuse_floating_index(const Context& context, std::string_view parameter, const Value* index) {
  Error error{fmt::format("its '{}' is {}, expected integers", parameter, type_text(index->type)), {}, {}};
  const std::vector<std::string> inputs =
      context.in_region ? std::vector<std::string>() : floating_inputs_behind(index);
  for (const std::string& name : inputs) {
    error.message += fmt::format("{}'{}'", name == inputs.front() ? "; it comes from the input " : ", ", excerpt(name));
    error.hint += fmt::format("{}--input-dtype {}=int64", error.hint.empty() ? "say which inputs are integers: " : " ",
                              excerpt(name));
  }
  if (inputs.empty()) error.hint = "say which inputs are integers: --input-dtype NAME=int64";
  return error;
}

// An argument that selects entries. Floats are inputs of which neither the file nor the caller says that they are
// integers. Narrow integers, which PyTorch refuses, can be told of inputs: they are widened.
Status fit_index(const Context& context, const Parameter& parameter, Arg& arg) {
  if (const auto* list = arg.as<Arg::List>()) {  // in which uint8 is a mask
    for (Arg entry : *list)
      if (entry.as<TensorPtr>() != nullptr && is_floating((*entry.as<TensorPtr>())->type().dtype))
        return fit_index(context, parameter, entry);
    return {};
  }
  const auto* tensor = arg.as<TensorPtr>();
  if (tensor == nullptr || *tensor == nullptr) return {};
  const DType dtype = (*tensor)->type().dtype;
  if (is_floating(dtype)) return std::unexpected(refuse_floating_index(context, parameter.name, (*tensor)->present()));
  if (size_of(dtype) < 4 && dtype != DType::boolean)
    arg = fresh(cast(context.build, (*tensor)->content(context.build), DType::i64));
  return context.build.status();
}

Status fit_indices(const Context& context, const Row& row, std::span<Arg> args) {
  for (std::size_t i = 0; i < args.size(); ++i)
    if (takes_integers(row.schema.name, row.schema.parameters[i].name))
      TAPER_TRY(fit_index(context, row.schema.parameters[i], args[i]));
  return {};
}

Expected<Arg> run(Context& context, const Row& row, std::vector<Arg> args, bool in_place) {
  Builder& build = context.build;
  for (const Arg& arg : args) refresh(build, arg);
  TAPER_TRY(build.status());
  TAPER_TRY(fit_indices(context, row, args));
  const bool has_place = in_place && !args.empty() && (args[0].as<TensorPtr>() != nullptr || is_complex(args[0]));
  const Arg target = has_place ? args[0] : Arg{};
  const bool row_major = std::ranges::all_of(args, is_row_major);
  Call call(context, row.overload, row.schema, std::move(args));
  TAPER_ASSIGN(Arg result, row.overload.build != nullptr ? row.overload.build(call) : build_row(call));
  TAPER_TRY(build.status());
  if (has_null(result)) return fail("has no result");
  if (!row_major) forget_strides(row, call.args, result);
  // What PyTorch turns in place is a view here, which callers take for the tensor from now on.
  constexpr std::array<std::string_view, 6> kTurned = {"squeeze",   "swapaxes",  "t",
                                                       "transpose", "unsqueeze", "as_strided"};
  if (!in_place || std::ranges::find(kTurned, row.schema.name) != kTurned.end()) return result;
  if (target.is_none() || target.as<ComplexNumber>() != nullptr) return fail("is called in place on no tensor");
  TAPER_TRY(write_in_place(build, target, result));
  return target;
}

// The same written into the argument `out`, which has to be of the result's shape.
Expected<Arg> run_into(Context& context, const Row& row, std::vector<Arg> args, const Arg& out) {
  const auto* target = out.as<TensorPtr>();
  if (target == nullptr || !*target) return fail("its 'out' is no tensor");
  TAPER_ASSIGN(const Arg result, run(context, row, std::move(args), false));
  const auto* written = result.as<TensorPtr>();
  if (written == nullptr || (*written)->type().shape != (*target)->type().shape)
    return fail("its result has another shape than 'out', which is {}", type_text((*target)->type()));
  TAPER_TRY(write_in_place(context.build, out, result));
  return out;
}

}  // namespace

Expected<Arg> call(Context& context, std::string_view name, std::span<const NamedArg> given) {
  const auto failed = [&](Error error) {
    error.message = fmt::format("aten.{}: {}", name, error.message);
    return std::unexpected(std::move(error));
  };
  if (const auto status = context.build.status(); !status) return std::unexpected(status.error());
  const Asked asked = ask(name);
  std::vector<NamedArg> without_out;
  std::optional<Arg> out;
  for (const NamedArg& argument : given)
    if (argument.name == "out")
      out = argument.arg;
    else
      without_out.push_back(argument);
  const std::span<const NamedArg> arguments = without_out;
  if (!takes_nested(name) && std::ranges::any_of(arguments, is_nested, &NamedArg::arg))
    return failed({"a nested tensor, which only the layers of nn.TransformerEncoder and to_padded_tensor take",
                   {},
                   "give the padded batch, with torch.nn.TransformerEncoder(..., enable_nested_tensor=False)"});
  const bool complex = std::ranges::any_of(arguments, holds_complex, &NamedArg::arg);
  if (asked.rows != nullptr && complex)
    if (auto result = call_by_parts(context, name, arguments)) return *std::move(result);
  std::size_t candidates = 0;
  std::optional<Error> why;
  if (asked.rows != nullptr)
    for (const bool strict : {true, false})
      for (const Row* row : *asked.rows) {
        if (!fits_overload(asked, *row)) continue;
        ++candidates;
        auto args = bind(row->schema, arguments, {.strict = strict, .complex = complex});
        if (!args) {
          why = args.error();
          continue;
        }
        auto result = out ? run_into(context, *row, std::move(*args), *out)
                          : run(context, *row, std::move(*args), asked.in_place);
        if (!result) return failed(result.error());
        return result;
      }
  if (candidates == 0) return fail("there is no operator aten.{}", name);
  if (candidates == 2) return failed(*why);
  std::vector<std::string> texts;
  for (const NamedArg& argument : arguments)
    texts.push_back(argument.name.empty() ? arg_text(argument.arg)
                                          : fmt::format("{}={}", argument.name, arg_text(argument.arg)));
  return fail("aten.{}: no overload takes ({})", name, fmt::join(texts, ", "));
}

bool knows(std::string_view name) {
  const Asked asked = ask(name);
  return asked.rows != nullptr &&
         std::ranges::any_of(*asked.rows, [&](const Row* row) { return fits_overload(asked, *row); });
}

std::vector<std::string> known_overloads() {
  std::vector<std::string> names;
  for (const Row& row : table().rows)
    names.push_back(row.schema.name + "." + (row.schema.overload.empty() ? "default" : row.schema.overload));
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  return names;
}

}  // namespace taper::aten
