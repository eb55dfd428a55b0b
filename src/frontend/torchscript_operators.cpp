// Operators of TorchScript on numbers, sizes and conditions; and what is known of tensors.
#include <algorithm>
#include <cmath>

#include "formats/text.h"
#include "frontend/aten_table.h"
#include "frontend/torchscript_builtins.h"
#include "frontend/torchscript_sizes.h"

namespace taper::torchscript {

namespace {

constexpr std::size_t kMostFormatted = std::size_t{1} << 16;  // characters

// ---- what is known of tensors

Made tensor_size(Builtins& call) {
  const Value& tensor = call.at(0);
  if (!tensor.tensor()) return std::nullopt;
  const Shape& shape = call.type_of(0).shape;
  if (call.at(1, "dim").is_none()) {
    std::vector<Value> sizes(shape.begin(), shape.end());
    return call.list(std::move(sizes));
  }
  const auto axis = call.at(1, "dim").integer();
  if (!axis) return call.error("the axis of a size is not known");
  TAPER_ASSIGN(const std::size_t at, aten::axis_of(*axis, shape.size()));
  if (shape.empty()) return call.error("a size of a tensor of rank 0");
  return shape[at];
}

Made tensor_rank(Builtins& call) {
  if (!call.at(0).tensor()) return std::nullopt;
  return Dim(static_cast<std::int64_t>(call.type_of(0).shape.size()));
}

Made tensor_elements(Builtins& call) {
  if (!call.at(0).tensor()) return std::nullopt;
  return element_count(call.type_of(0).shape);
}

Made tensor_dtype(Builtins& call) {
  if (!call.at(0).tensor()) return std::nullopt;
  return Dim(dtype_code(call.type_of(0).dtype));
}

Made tensor_is_floating(Builtins& call) {
  if (!call.at(0).tensor()) return std::nullopt;
  return is_floating(call.type_of(0).dtype);
}

Made tensor_is_contiguous(Builtins& call) {
  if (!call.at(0).tensor()) return true;
  const auto known = call.at(0).tensor()->tensor->contiguous();
  const bool usual = call.at(1, "memory_format").integer().value_or(0) == 0;
  if (known && usual) return *known;
  if (usual)
    return call.error("'is_contiguous' of a tensor of which that isn't known before the program runs",
                      "call contiguous() without asking: it copies nothing where that isn't needed");
  call.assume(fmt::format("a tensor is taken to be contiguous in the format that is asked for at {}", call.place()));
  return true;
}

Made always_false(Builtins&) {
  return false;
}
// Also whether gradients are kept: PyTorch's modules then take the way without operators that are fused for inference.
Made always_true(Builtins&) {
  return true;
}
Made device(Builtins&) {
  return Device{};
}
Made device_type(Builtins&) {
  return std::string("cpu");
}
Made zero(Builtins&) {
  return Dim(0);
}
Made nothing(Builtins&) {
  return None{};
}

Made identity(Builtins& call) {
  return call.at(0);
}

Made warn(Builtins& call) {
  if (const auto* text = call.at(0).as<std::string>())
    TAPER_TRY(call.warn(fmt::format("the program warns: {}", excerpt(*text))));
  return None{};
}

Made raise(Builtins& call) {
  std::string kind = call.at(1).as<std::string>() ? *call.at(1).as<std::string>() : std::string();
  if (kind.starts_with("builtins.")) kind = kind.substr(9);
  return call.error(fmt::format("the program raises {}{}", kind.empty() ? "" : kind + ": ", text_of(call.at(0))));
}

// ---- numbers

Made is_same(Builtins& call) {
  const Value& a = call.at(0);
  const Value& b = call.at(1);
  for (const auto& [one, other] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
    const auto* maybe = one->as<std::shared_ptr<Maybe>>();
    if (maybe && other->is_none())
      return call.name == "__isnot__" ? (*maybe)->is_there : call.again("__not__", {{"", (*maybe)->is_there}});
  }
  bool same = a.data.index() == b.data.index();
  if (same && a.tensor())
    same = a.tensor()->tensor == b.tensor()->tensor;
  else if (same && list_of(a))
    same = *list_of(a) == *list_of(b);
  else if (same && a.as<std::shared_ptr<Object>>())
    same = *a.as<std::shared_ptr<Object>>() == *b.as<std::shared_ptr<Object>>();
  else if (same)
    same = same_value(a, b).value_or(false);
  if (a.as<Uninitialized>() || b.as<Uninitialized>()) return call.error("a value is compared that was not set");
  return call.name == "__is__" ? same : !same;
}

Made negate_condition(Builtins& call) {
  const Value& condition = call.at(0);
  if (const auto* sizes = condition.as<Undecided>())
    return Undecided{fmt::format("not ({})", sizes->text),
                     sizes->general ? std::optional(!*sizes->general) : std::nullopt,
                     [value = sizes->value](Builder& build) { return build("logical_not", {value(build)}); },
                     sizes->flag ? std::optional(Dim(1) - *sizes->flag) : std::nullopt,
                     sizes->if_false,
                     sizes->if_true};
  if (const auto number = condition.number()) return *number == 0;
  if (condition.is_none()) return true;
  return call.again("logical_not", {{"", condition}});
}

using Comparisons = std::vector<Undecided::Comparison>;
Comparisons both(Comparisons a, const Comparisons& b) {
  constexpr std::size_t kMost = 16;
  a.insert(a.end(), b.begin(), b.end());
  if (a.size() > kMost) a.resize(kMost);
  return a;
}

Made join_conditions(Builtins& call) {
  const bool is_and = call.name == "__and__";
  const Value& a = call.at(0);
  const Value& b = call.at(1);
  if (a.is_tensor() || b.is_tensor()) return std::nullopt;
  if (const auto x = a.integer(), y = b.integer(); x && y && !a.as<bool>() && !b.as<bool>())
    return Dim(is_and ? *x & *y : *x | *y);
  for (const auto& [one, other] : {std::pair{&a, &b}, std::pair{&b, &a}})
    if (const bool* flag = one->as<bool>()) return *flag == is_and ? *other : *one;
  const auto* x = a.as<Undecided>();
  const auto* y = b.as<Undecided>();
  if ((x && b.tensor()) || (y && a.tensor())) {
    TAPER_ASSIGN(Value p, call.known_when_run(a));
    TAPER_ASSIGN(Value q, call.known_when_run(b));
    return call.again(call.name, {{"", std::move(p)}, {"", std::move(q)}});
  }
  if (!x || !y) return std::nullopt;
  if (x->text == y->text) return a;
  if (x->text.size() + y->text.size() > kMostFormatted)
    return call.error("a condition on sizes grows too long", "write it in fewer words");
  std::optional<bool> general;
  if (x->general == !is_and || y->general == !is_and) general = !is_and;
  if (x->general == is_and && y->general == is_and) general = is_and;
  std::optional<Dim> flag;
  if (x->flag && y->flag) flag = is_and ? *x->flag * *y->flag : *x->flag + *y->flag - *x->flag * *y->flag;
  return Undecided{fmt::format("({}) {} ({})", x->text, is_and ? "and" : "or", y->text),
                   general,
                   [=, p = x->value, q = y->value](Builder& build) {
                     return build(is_and ? "logical_and" : "logical_or", {p(build), q(build)});
                   },
                   flag,
                   is_and ? both(x->if_true, y->if_true) : Comparisons(),
                   is_and ? Comparisons() : both(x->if_false, y->if_false)};
}

// The first argument with its places filled. `place` appends what stands in the place at a position, and returns how
// long the place is: 0 where there is none.
using Place = std::function<Expected<std::size_t>(std::string_view pattern, std::size_t at, std::string& text)>;
Made with_places_filled(Builtins& call, const Place& place) {
  const auto* pattern = call.at(0).as<std::string>();
  if (!pattern) return std::nullopt;
  std::string text;
  for (std::size_t i = 0; i < pattern->size();) {
    if (text.size() > kMostFormatted) return call.error("a text grows too long");
    TAPER_ASSIGN(const std::size_t length, place(*pattern, i, text));
    if (length == 0) text += (*pattern)[i];
    i += std::max<std::size_t>(length, 1);
  }
  return text;
}

Made format(Builtins& call) {
  std::size_t next = 1;
  return with_places_filled(call,
                            [&](std::string_view pattern, std::size_t at, std::string& text) -> Expected<std::size_t> {
                              if (!pattern.substr(at).starts_with("{}")) return 0;
                              text += text_of(call.at(next++));
                              return 2;
                            });
}

// "..." % values, with the conversions that need no width: %s, %d, %i and %%.
Made percent_format(Builtins& call) {
  std::size_t next = 1;
  const auto place = [&](std::string_view pattern, std::size_t at, std::string& text) -> Expected<std::size_t> {
    if (pattern[at] != '%') return 0;
    const char conversion = at + 1 < pattern.size() ? pattern[at + 1] : '\0';
    if (conversion == '%') {
      text += '%';
      return 2;
    }
    if (conversion != 's' && conversion != 'd' && conversion != 'i')
      return call.error(fmt::format("the text '{}' has a conversion other than %s, %d and %i", excerpt(pattern)));
    if (next >= call.count()) return call.error(fmt::format("'{}' has more places than values", excerpt(pattern)));
    const Value& value = call.at(next++);
    const double* real = value.as<double>();
    const bool whole = conversion != 's' && real && std::abs(*real) < 0x1p63;
    text += whole ? fmt::to_string(static_cast<std::int64_t>(*real)) : text_of(value);
    return 2;
  };
  TAPER_ASSIGN(std::optional<Value> text, with_places_filled(call, place));
  if (text && next != call.count())
    return call.error(fmt::format("'{}' has fewer places than values", text_of(call.at(0))));
  return text;
}

Made text(Builtins& call) {
  return text_of(call.at(0));
}

Made floor_or_ceil(Builtins& call) {
  if (call.at(0).as<Dim>()) return call.at(0);
  const double* value = call.at(0).as<double>();
  if (!value) {
    const TensorRef* number = call.at(0).tensor();
    if (!number || !number->is_number) return std::nullopt;
    if (call.name != "round")
      if (auto size = aten::rounded_size(call.name, number->tensor->present())) return std::move(*size);
    return call.rounded();
  }
  const double rounded = call.name == "floor"  ? std::floor(*value)
                         : call.name == "ceil" ? std::ceil(*value)
                                               : std::nearbyint(*value);
  if (call.name == "round") return rounded;
  if (!(std::abs(rounded) < 0x1p63)) return call.error("a number is too large for an integer");
  return Dim(static_cast<std::int64_t>(rounded));
}

Made range_length(Builtins& call) {  // (begin, end, step)
  const Dim* begin = call.at(0).as<Dim>();
  const Dim* end = call.at(1).as<Dim>();
  const auto step = call.at(2).integer();
  if (step && *step != 0 && (call.at(0).tensor() || call.at(1).tensor())) {
    // max(ceil((end - begin) / step), 0), and backwards the other way round
    const bool forwards = *step > 0;
    TAPER_ASSIGN(Value way, call.again("sub", {{"", call.at(forwards ? 1 : 0)}, {"", call.at(forwards ? 0 : 1)}}));
    TAPER_ASSIGN(way, call.again("add", {{"", std::move(way)}, {"", Dim(std::abs(*step) - 1)}}));
    TAPER_ASSIGN(way, call.again("floordiv", {{"", std::move(way)}, {"", Dim(std::abs(*step))}}));
    return call.again("max", {{"", std::move(way)}, {"", Dim(0)}});
  }
  if (!begin || !end || !step || *step == 0) return call.error("a range is not known");
  const Dim distance = *step > 0 ? *end - *begin : *begin - *end;
  const Dim length = ceil_divide(distance, Dim(std::abs(*step)));
  if (const auto known = length.constant()) return Dim(std::max<std::int64_t>(*known, 0));
  return length;
}

Made derive_index(Builtins& call) {  // (index, begin, step)
  const Dim* index = call.at(0).as<Dim>();
  const Dim* begin = call.at(1).as<Dim>();
  const Dim* step = call.at(2).as<Dim>();
  if (index && begin && step) return *begin + *index * *step;
  TAPER_ASSIGN(Value scaled, call.again("mul", {{"", call.at(0)}, {"", call.at(2)}}));
  return call.again("add", {{"", std::move(scaled)}, {"", call.at(1)}});
}

Made range_list(Builtins& call) {
  const auto count = call.at(0).integer();
  if (!count || *count > (1 << 20)) return call.error("the length of a range is not known, or too large");
  std::vector<Value> items;
  for (std::int64_t i = 0; i < *count; ++i) items.emplace_back(Dim(i));
  return call.list(std::move(items));
}

Made compare(Builtins& call) {
  return call.compare();
}
Made arithmetic(Builtins& call) {
  return call.arithmetic();
}
Made real_function(Builtins& call) {
  return call.real_function();
}

constexpr NamedBuiltin kBuiltins[] = {
    {"size", tensor_size},
    {"dim", tensor_rank},
    {"ndimension", tensor_rank},
    {"numel", tensor_elements},
    {"dtype", tensor_dtype},
    {"is_floating_point", tensor_is_floating},
    {"is_complex", always_false},
    {"is_grad_enabled", always_true},
    {"is_autocast_enabled", always_false},
    {"is_autocast_cpu_enabled", always_false},
    {"requires_grad", always_true},
    {"is_cuda", always_false},
    {"is_nested", always_false},
    {"is_quantized", always_false},
    {"is_sparse", always_false},
    {"is_mkldnn", always_false},
    {"is_cpu", always_true},
    {"is_contiguous", tensor_is_contiguous},
    {"device", device},
    {"type", device_type},
    {"layout", zero},
    {"warn", warn},
    {"print", nothing},
    {"set_grad_enabled", nothing},
    {"data", identity},
    {"requires_grad_", identity},
    {"RaiseException", raise},
    {"__is__", is_same, kTakesGrowing | kTakesUnknown},
    {"__isnot__", is_same, kTakesGrowing | kTakesUnknown},
    {"__not__", negate_condition},
    {"__and__", join_conditions},
    {"__or__", join_conditions},
    {"format", format},
    {"percentFormat", percent_format},
    {"str", text},
    {"floor", floor_or_ceil},
    {"ceil", floor_or_ceil},
    {"round", floor_or_ceil},
    {"__range_length", range_length},
    {"__derive_index", derive_index},
    {"range", range_list},
    {"eq", compare},
    {"ne", compare},
    {"lt", compare},
    {"le", compare},
    {"gt", compare},
    {"ge", compare},
    {"add", arithmetic, kTakesGrowing},
    {"sub", arithmetic},
    {"mul", arithmetic},
    {"div", arithmetic},
    {"floordiv", arithmetic},
    {"remainder", arithmetic},
    {"neg", arithmetic},
    {"pow", arithmetic},
    {"abs", arithmetic},
    {"min", arithmetic},
    {"max", arithmetic},
    {"__round_to_zero_floordiv", arithmetic},
    {"add_", arithmetic, kTakesGrowing},
    {"floor_divide", arithmetic},
    {"sqrt", real_function},
    {"exp", real_function},
    {"log", real_function},
    {"log2", real_function},
    {"sin", real_function},
    {"cos", real_function},
    {"tanh", real_function},
    {"isnan", real_function},
    {"isinf", real_function},
    {"isfinite", real_function},
};

const std::unordered_map<std::string_view, const NamedBuiltin*>& builtins() {
  static const std::unordered_map<std::string_view, const NamedBuiltin*> table = [] {
    std::unordered_map<std::string_view, const NamedBuiltin*> all;
    for (const NamedBuiltin& row : kBuiltins) all.emplace(row.name, &row);
    for (const NamedBuiltin& row : container_builtins()) all.emplace(row.name, &row);
    return all;
  }();
  return table;
}

// What computes with numbers, and not with complex ones.
constexpr Builtins::Function kMath[] = {compare, arithmetic, real_function, floor_or_ceil};

// What is known of complex numbers; what they share with reals is asked of their real part.
std::optional<Value> on_complex(std::string_view name, std::vector<Argument>& arguments) {
  constexpr std::string_view kShared[] = {"size", "dim", "ndimension", "numel", "is_contiguous", "len"};
  constexpr std::int64_t kComplex64 = 9;
  const auto* z = arguments.empty() ? nullptr : arguments[0].value.as<ComplexRef>();
  if (z == nullptr) return std::nullopt;
  if (name == "is_complex") return Value(true);
  if (name == "is_floating_point") return Value(false);
  if (name == "dtype") return Value(Dim(kComplex64));
  if (std::ranges::find(kShared, name) != std::end(kShared)) arguments[0].value = TensorRef(z->real);
  return std::nullopt;
}

bool takes(std::string_view name, Takes what) {
  const auto found = builtins().find(name);
  return found != builtins().end() && (found->second->takes & what) != 0;
}

}  // namespace

bool takes_growing(std::string_view name) {
  return takes(name, kTakesGrowing);
}

Expected<Value> Interpreter::call_operator(std::string_view name, std::vector<Argument> arguments) {
  if (!takes(name, kTakesFilling))
    for (const Argument& argument : arguments)
      if (const auto* list = argument.value.as<std::shared_ptr<List>>()) TAPER_TRY(settle(**list));
  TAPER_ASSIGN(const std::optional<Value> of_grown, on_grown(name, arguments));
  if (of_grown) return *of_grown;
  TAPER_ASSIGN(const std::optional<Value> of_parts, on_parts(name, arguments));
  if (of_parts) return *of_parts;
  // In regions too, "what is asked of a tensor" needs only its type.
  const auto& table = builtins();
  if (const auto found = table.find(name); table.contains(name)) {
    const bool unknown = std::ranges::any_of(arguments, [](const Argument& a) { return a.value.is_unknown(); });
    if (unknown && !takes(name, kTakesUnknown)) {
      for (const Argument& argument : arguments)
        if (const auto* value = argument.value.as<Unknown>(); value && !value->why.empty())
          return error_here(value->why);
      return Unknown{};
    }
    if (const auto made = on_complex(name, arguments)) return *made;
    const bool complex = std::ranges::any_of(arguments, [](const Argument& a) { return a.value.as<ComplexRef>(); });
    if (!complex || std::ranges::find(kMath, found->second->function) == std::end(kMath)) {
      Builtins call(*this, name, arguments);
      TAPER_ASSIGN(std::optional<Value> made, found->second->function(call));
      if (made) return std::move(*made);
    }
  }
  TAPER_ASSIGN(const std::optional<Value> of_stack, on_stack(name, arguments));
  if (of_stack) return *of_stack;
  if (name == "slice" || name == "narrow") {
    TAPER_ASSIGN(const std::optional<Value> slice, slice_when_run(name, arguments));
    if (slice) return *slice;
  }
  TAPER_ASSIGN(const std::optional<Value> masked, on_masked(name, arguments));
  if (masked) return *masked;
  if (name == "select" && arguments.size() == 3 && arguments[0].value.is_tensor() && arguments[2].value.tensor()) {
    TAPER_ASSIGN(const Value index, to_number(arguments[2].value, "int"));
    if (index.tensor()) return dynamic_select(*arguments[0].value.tensor(), arguments[1].value, *index.tensor());
    arguments[2].value = index;
  }
  if (name == "tensor" || name == "as_tensor" || name == "scalar_tensor") return make_tensor(arguments);
  if (name == "full" && arguments.size() > 1 && arguments[1].value.tensor()) return make_full(arguments);
  if (name == "wait" && arguments.size() == 1) return arguments[0].value;  // a future is its value
  if (name == "item") return to_number(arguments.empty() ? Value(None{}) : arguments[0].value, "number");
  if (name == "Int" || name == "Float" || name == "Bool") {
    const std::string_view kind = name == "Int" ? "int" : name == "Float" ? "float" : "bool";
    return to_number(arguments.empty() ? Value(None{}) : arguments[0].value, kind);
  }
  return call_aten(name, arguments);
}

// Operators of the namespace prim.
Expected<Value> Interpreter::call_prim(std::string_view name, std::vector<Argument> arguments) {
  const Value first = arguments.empty() ? Value(None{}) : arguments[0].value;
  if (name == "NumToTensor" || name == "ImplicitTensorToNum") {
    if (name != "NumToTensor" || first.tensor() || first.is_unknown()) return first;
    TAPER_ASSIGN(taper::Value * content, number_in(*region_, first));
    return TensorRef{aten::Tensor::make(content), region_, false};
  }
  if (name == "unchecked_unwrap_optional" || name == "unchecked_cast") {
    const auto* maybe = first.as<std::shared_ptr<Maybe>>();
    return maybe ? (*maybe)->value : first;
  }
  if (name == "shape") return call_operator("size", std::move(arguments));
  if (name == "T" || name == "mT") return call_aten("transpose", {{"", first}, {"", Dim(-2)}, {"", Dim(-1)}});
  if (builtins().contains(name)) return call_operator(name, std::move(arguments));
  const bool optimized = name == "ConstantMKLDNNTensor";
  return unsupported_operator(fmt::format("prim::{}", name),
                              optimized ? "save the module without torch.jit.optimize_for_inference" : "");
}

}  // namespace taper::torchscript
