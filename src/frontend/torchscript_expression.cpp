// Expressions of TorchScript programs.
#include <algorithm>
#include <cmath>

#include "formats/text.h"
#include "frontend/torchscript_regions.h"

namespace taper::torchscript {
namespace {

// The operator that a Python operator is.
std::string_view operator_name(std::string_view symbol) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"+", "add"},         {"-", "sub"},       {"*", "mul"},
      {"/", "div"},         {"//", "floordiv"}, {"%", "remainder"},
      {"**", "pow"},        {"@", "matmul"},    {"==", "eq"},
      {"!=", "ne"},         {"<", "lt"},        {"<=", "le"},
      {">", "gt"},          {">=", "ge"},       {"&", "__and__"},
      {"|", "__or__"},      {"^", "__xor__"},   {"<<", "__lshift__"},
      {">>", "__rshift__"}, {"is", "__is__"},   {"is not", "__isnot__"},
  };
  const auto* found = std::ranges::find(kNames, symbol, &std::pair<std::string_view, std::string_view>::first);
  return found != std::end(kNames) ? found->second : std::string_view();
}

}  // namespace

std::string Interpreter::dotted_name(const Expr& expr) const {
  std::vector<std::string_view> parts;
  const Expr* at = &expr;
  for (; at->kind == ExprKind::attribute; at = at->items[0]) parts.push_back(at->text);
  if (at->kind != ExprKind::name || frame_->variables.contains(at->text)) return "";
  parts.push_back(at->text);
  std::ranges::reverse(parts);
  return fmt::format("{}", fmt::join(parts, "."));
}

Expected<Value> Interpreter::named_value(const std::string& name) {
  if (name == "inf") return HUGE_VAL;
  if (name == "nan") return std::nan("");
  if (name.starts_with("CONSTANTS.c")) {
    const std::string digits = name.substr(11);
    const std::size_t index = !digits.empty() && digits.size() < 10 &&
                                      std::ranges::all_of(
                                          digits, [](char c) { return c >= '0' && c <= '9'; })
                                  ? static_cast<std::size_t>(std::stoul(digits))
                                  : archive_.constants.size();
    if (index >= archive_.constants.size())
      return error_here(fmt::format("{} is not among the {} constants", excerpt(name), archive_.constants.size()));
    const std::string path = fmt::format("constant_{}", index);
    return load(*archive_.constants[index], path);
  }
  if (const Symbol* symbol = archive_.find(name)) {
    if (symbol->function) return FunctionRef{symbol};
    return ClassRef{name, symbol};
  }
  // A member of an enumeration.
  if (const std::size_t dot = name.rfind('.'); dot != std::string::npos)
    if (const Symbol* owner = archive_.find(name.substr(0, dot)); owner && owner->type)
      for (const Field& field : owner->type->fields)
        if (field.name == std::string_view(name).substr(dot + 1) && field.value)
          return constant_expression(*owner->file, *field.value);
  return error_here(fmt::format("'{}' is not defined", excerpt(name)));
}

// A complex number, which only tensors are.
Value Interpreter::imaginary_number(double value) {
  const auto constant = [&](double part) {
    const auto single = static_cast<float>(part);
    return TensorRef{aten::Tensor::make(root_.build.constant(tensor_f32({}, {&single, 1}))), &root_, false};
  };
  return ComplexRef{constant(0), constant(value)};
}

Expected<Value> Interpreter::evaluate(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::none:
      return None{};
    case ExprKind::boolean:
      return expr.boolean;
    case ExprKind::integer:
      return Dim(expr.integer);
    case ExprKind::real:
      return expr.real;
    case ExprKind::imaginary:
      return imaginary_number(expr.real);
    case ExprKind::text:
      return std::string(expr.text);
    case ExprKind::name: {
      const auto found = frame_->variables.find(expr.text);
      if (found == frame_->variables.end()) return named_value(std::string(expr.text));
      if (const auto* unknown = found->second.as<Unknown>(); unknown && !unknown->why.empty())
        return error_here(fmt::format("'{}' {}", excerpt(expr.text), unknown->why), unknown->hint);
      return present(found->second);
    }
    case ExprKind::attribute: {
      if (const std::string name = dotted_name(expr); !name.empty()) return named_value(name);
      TAPER_ASSIGN(const Value object, evaluate(*expr.items[0]));
      TAPER_ASSIGN(const Value held, attribute(object, expr.text));
      return present(held);
    }
    case ExprKind::subscript: {
      TAPER_ASSIGN(const Value object, evaluate(*expr.items[0]));
      TAPER_ASSIGN(const Value index, evaluate(*expr.items[1]));
      TAPER_ASSIGN(const Value item, subscript(object, index));
      return present(item);
    }
    case ExprKind::slice: {
      TAPER_ASSIGN(const Value object, evaluate(*expr.items[0]));
      TAPER_ASSIGN(const Value begin, evaluate(*expr.items[1]));
      TAPER_ASSIGN(const Value end, evaluate(*expr.items[2]));
      return slice_of(object, begin, end, Dim(1));
    }
    case ExprKind::call:
      return evaluate_call(expr);
    case ExprKind::list:
    case ExprKind::tuple:
    case ExprKind::dict:
      return evaluate_container(expr);
    case ExprKind::conditional:
      return evaluate_choice(expr);
    case ExprKind::negate: {
      TAPER_ASSIGN(Value operand, evaluate(*expr.items[0]));
      return call_operator("neg", {{"", std::move(operand)}});
    }
    case ExprKind::invert: {
      TAPER_ASSIGN(Value operand, evaluate(*expr.items[0]));
      return call_operator("__not__", {{"", std::move(operand)}});
    }
    case ExprKind::binary:
      return binary(expr.text, expr);
  }
  return None{};
}

// [a, b], (a, b) and {k: v}
Expected<Value> Interpreter::evaluate_container(const Expr& expr) {
  if (expr.kind == ExprKind::dict) {
    const auto dict = std::make_shared<Dict>(region_);
    for (std::size_t i = 0; i + 1 < expr.items.size(); i += 2) {
      TAPER_ASSIGN(Value key, evaluate(*expr.items[i]));
      TAPER_ASSIGN(Value value, evaluate(*expr.items[i + 1]));
      dict->entries.emplace_back(std::move(key), std::move(value));
    }
    return dict;
  }
  std::vector<Value> items;
  for (const Expr* item : expr.items) {
    TAPER_ASSIGN(Value value, evaluate(*item));
    items.push_back(std::move(value));
  }
  if (expr.kind == ExprKind::list) return new_list(std::move(items));
  return std::make_shared<Tuple>(std::move(items));
}

// a if c else b
Expected<Value> Interpreter::evaluate_choice(const Expr& expr) {
  TAPER_ASSIGN(const Value condition, evaluate(*expr.items[0]));
  TAPER_ASSIGN(const std::optional<bool> holds, decide(condition));
  if (holds) return evaluate(*expr.items[*holds ? 1 : 2]);
  TAPER_ASSIGN(const Value a, evaluate(*expr.items[1]));
  TAPER_ASSIGN(const Value b, evaluate(*expr.items[2]));
  return call_aten("where", {{"", condition}, {"", a}, {"", b}});
}

Expected<Value> Interpreter::binary(std::string_view op, const Expr& expr) {
  TAPER_ASSIGN(Value a, evaluate(*expr.items[0]));
  if (op == "and" || op == "or") {
    TAPER_ASSIGN(const std::optional<bool> holds, decide(a));
    if (holds == (op == "or")) return a;
    TAPER_ASSIGN(Value b, evaluate(*expr.items[1]));
    if (holds) return b;
    return call_operator(op == "and" ? "__and__" : "__or__", {{"", std::move(a)}, {"", std::move(b)}});
  }
  TAPER_ASSIGN(Value b, evaluate(*expr.items[1]));
  if (op == "in" || op == "not in") {
    TAPER_ASSIGN(Value found, call_operator("__contains__", {{"", std::move(b)}, {"", std::move(a)}}));
    return op == "in" ? Expected<Value>(std::move(found)) : call_operator("__not__", {{"", std::move(found)}});
  }
  return call_operator(operator_name(op), {{"", std::move(a)}, {"", std::move(b)}});
}

// ---- calls

Expected<std::vector<Argument>> Interpreter::evaluate_arguments(const Expr& call, std::size_t first) {
  std::vector<Argument> arguments;
  const std::size_t keywords_from = call.items.size() - call.keywords.size();
  for (std::size_t i = first; i < call.items.size(); ++i) {
    TAPER_ASSIGN(Value value, evaluate(*call.items[i]));
    const std::string_view name = i >= keywords_from ? call.keywords[i - keywords_from] : std::string_view();
    arguments.push_back({name, std::move(value)});
  }
  return arguments;
}

Expected<Value> Interpreter::evaluate_call(const Expr& expr) {
  const Expr& function = *expr.items[0];
  line_ = expr.line;
  if (const std::string name = dotted_name(function); !name.empty()) return evaluate_named_call(name, expr);
  if (function.kind == ExprKind::attribute) {
    TAPER_ASSIGN(const Value object, evaluate(*function.items[0]));
    TAPER_ASSIGN(std::vector<Argument> arguments, evaluate_arguments(expr));
    if (const auto* held = object.as<std::shared_ptr<Object>>()) {
      TAPER_ASSIGN(Value result, call_method(*held, function.text, std::move(arguments)));
      region_->build.set_scope(frame_->scope);
      return result;
    }
    arguments.insert(arguments.begin(), {"", object});
    return call_operator(function.text, std::move(arguments));
  }
  TAPER_ASSIGN(const Value callee, evaluate(function));
  TAPER_ASSIGN(std::vector<Argument> arguments, evaluate_arguments(expr));
  if (const auto* reference = callee.as<FunctionRef>())
    return call_function(*reference->symbol->file, *reference->symbol->function, std::move(arguments), frame_->scope);
  if (const auto* type = callee.as<ClassRef>()) return make_object(*type, std::move(arguments));
  return error_here(fmt::format("{} is called", describe(callee)));
}

Expected<Value> Interpreter::make_object(const ClassRef& type, std::vector<Argument> arguments) {
  const Class& declared = *type.symbol->type;
  if (declared.base == "NamedTuple") {
    std::vector<Value> items(declared.fields.size(), Value(None{}));
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const auto named = std::ranges::find(declared.fields, arguments[i].name, &Field::name);
      const std::size_t at = arguments[i].name.empty() ? i : static_cast<std::size_t>(named - declared.fields.begin());
      if (at >= items.size()) return error_here(fmt::format("{} has no such field", excerpt(type.name)));
      items[at] = std::move(arguments[i].value);
    }
    return std::make_shared<Tuple>(std::move(items), &declared);
  }
  const auto object = std::make_shared<Object>();
  object->class_name = type.name;
  object->symbol = type.symbol;
  object->path = frame_->scope;
  object->home = region_;
  if (declared.method("__init__") != nullptr) {
    TAPER_ASSIGN([[maybe_unused]] const Value nothing, call_method(object, "__init__", std::move(arguments)));
  }
  return object;
}

Expected<Value> Interpreter::evaluate_named_call(const std::string& name, const Expr& expr) {
  // What takes types or names.
  const auto argument = [&](std::size_t i) -> const Expr* { return i < expr.items.size() ? expr.items[i] : nullptr; };
  if ((name == "annotate" || name == "unchecked_cast") && argument(2)) {
    TAPER_ASSIGN(Value value, evaluate(*argument(2)));
    if (const auto* maybe = value.as<std::shared_ptr<Maybe>>(); maybe && name == "unchecked_cast")
      return (*maybe)->value;
    if (name == "annotate" && value.is_tensor() && argument(1)->kind == ExprKind::name) {
      const std::string_view type = argument(1)->text;
      if (type == "int" || type == "float" || type == "bool" || type == "number")  // of a tensor, implicitly
        return to_number(value, type);
    }
    return value;
  }
  // What is forked runs at once: it gives the same whenever it runs.
  if (name == "fork" && argument(1) && argument(1)->kind == ExprKind::name) return run_closure(argument(1)->text);
  if (name == "uninitialized") return Uninitialized{};
  if (name == "isinstance" && argument(2)) {
    TAPER_ASSIGN(const Value value, evaluate(*argument(1)));
    return is_instance(value, *argument(2));
  }
  if ((name == "getattr" || name == "hasattr") && argument(2) && argument(2)->kind == ExprKind::text) {
    TAPER_ASSIGN(const Value object, evaluate(*argument(1)));
    if (name == "getattr") return attribute(object, argument(2)->text);
    return attribute(object, argument(2)->text).has_value();
  }
  // `C.__new__(C)` makes an object without calling __init__.
  if (name.ends_with(".__new__")) {
    const std::string type = name.substr(0, name.size() - 8);
    const auto object = std::make_shared<Object>();
    object->class_name = type;
    object->symbol = archive_.find(type);
    object->path = frame_->scope;
    object->home = region_;
    return object;
  }
  TAPER_ASSIGN(std::vector<Argument> arguments, evaluate_arguments(expr));
  line_ = expr.line;
  if (name.starts_with("torch.") && name != "torch.device") return call_operator(name.substr(6), std::move(arguments));
  if (name == "torch.device") return Device{};
  if (name.starts_with("ops.aten.")) return call_operator(name.substr(9), std::move(arguments));
  if (name.starts_with("ops.prim.")) return call_prim(name.substr(9), std::move(arguments));
  if (name.starts_with("ops.")) {
    std::string op = name.substr(4);
    if (const std::size_t dot = op.find('.'); dot != std::string::npos) op.replace(dot, 1, "::");
    if (aten::knows(op)) return call_operator(op, std::move(arguments));
    return unsupported_operator(op, op.starts_with("quantized") ? "convert the float model: taper quantises by itself"
                                                                : "an operator of an extension");
  }
  if ((name == "int" || name == "float" || name == "bool") && arguments.size() == 1)
    return to_number(arguments[0].value, name);
  if (name.find('.') == std::string::npos && !archive_.find(name)) return call_operator(name, std::move(arguments));
  TAPER_ASSIGN(const Value callee, named_value(name));
  if (const auto* reference = callee.as<FunctionRef>()) {
    TAPER_ASSIGN(Value result, call_function(*reference->symbol->file, *reference->symbol->function,
                                             std::move(arguments), frame_->scope));
    return result;
  }
  if (const auto* type = callee.as<ClassRef>()) return make_object(*type, std::move(arguments));
  return error_here(fmt::format("{} is called", describe(callee)));
}

// isinstance(value, T) and isinstance(value, (T1, T2)).
Expected<Value> Interpreter::is_instance(const Value& value, const Expr& type) {
  if (type.kind == ExprKind::tuple || type.kind == ExprKind::list) {
    for (const Expr* one : type.items) {
      TAPER_ASSIGN(const Value holds, is_instance(value, *one));
      if (*holds.as<bool>()) return true;
    }
    return false;
  }
  if (value.as<std::shared_ptr<Maybe>>())
    return error_here(fmt::format("the type is asked of {}", describe(value)), "ask whether it is None");
  const Expr& base = type.kind == ExprKind::subscript ? *type.items[0] : type;
  const std::string_view name = base.text;
  if (base.kind == ExprKind::none || name == "NoneType") return value.is_none();
  if (name == "Optional" && type.kind == ExprKind::subscript) {
    if (value.is_none()) return true;
    return is_instance(value, *type.items[1]);
  }
  const auto* held = value.as<std::shared_ptr<List>>();
  const bool grows = grown_tensor(value) != nullptr;
  if (name == "Tensor") return value.is_tensor() || value.is_unknown() || grows;
  const TensorRef* number = value.tensor() && value.tensor()->is_number ? value.tensor() : nullptr;
  const std::optional<DType> dtype = number ? std::optional(number->tensor->type().dtype) : std::nullopt;
  if (name == "int") return value.as<Dim>() != nullptr || dtype == DType::i64;
  if (name == "float") return value.as<double>() != nullptr || (dtype && is_floating(*dtype));
  if (name == "bool") return value.as<bool>() != nullptr || value.as<Undecided>() != nullptr || dtype == DType::boolean;
  if (name == "str") return value.as<std::string>() != nullptr;
  if (name == "Dict") return value.as<std::shared_ptr<Dict>>() != nullptr;
  const bool is_list = held != nullptr && !grows;
  if (is_list && !value.items()) return name == "List";
  const bool is_tuple = value.as<std::shared_ptr<Tuple>>() != nullptr;
  if ((name == "List" && is_list) || (name == "Tuple" && is_tuple)) {
    if (name == "Tuple" || type.kind != ExprKind::subscript || value.items()->empty()) return true;
    return is_instance(value.items()->front(), *type.items[1]);
  }
  if (const auto* object = value.as<std::shared_ptr<Object>>()) return (*object)->class_name == dotted_name(type);
  return false;
}

// ---- containers

Expected<Value> Interpreter::subscript(const Value& object, const Value& index) {
  if (object.is_unknown() || index.is_unknown()) return Unknown{};
  if (const auto* dict = object.as<std::shared_ptr<Dict>>()) {
    for (const auto& [key, value] : (*dict)->entries)
      if (same_value(key, index) == true) return value;
    return error_here(fmt::format("the dict has no key {}", text_of(index)));
  }
  if (const TensorRef* stack = object.stack()) {
    const List& list = **object.as<std::shared_ptr<List>>();
    if (list.one_item) return *list.one_item;
    TAPER_ASSIGN(Value item, item_of_stack(*stack, index));
    if (!list.repeats || !item.is_tensor()) return item;
    TAPER_ASSIGN(taper::Value * content, content_in(*region_, *item.tensor()));
    TAPER_ASSIGN(item, shared_with(std::vector<Value>{*stack}, content,
                                   "an item of a list that holds one tensor several times is written to, and another "
                                   "one read afterwards (write to the tensor, or repeat clones of it)"));
    return item;
  }
  if (const auto* list = object.as<std::shared_ptr<List>>(); list && (*list)->kind == List::Kind::growing)
    return grown_item(**list, index);
  if (const auto* list = object.as<std::shared_ptr<List>>(); list && (*list)->kind == List::Kind::filling)
    return item_of_filling(**list, index);
  if (const auto* list = object.as<std::shared_ptr<List>>(); list && (*list)->kind == List::Kind::parts)
    return part_of_tensor(**list, index);
  if (object.is_tensor()) return call_operator("select", {{"", object}, {"", Dim(0)}, {"", index}});
  const auto at = index.integer();
  if (const auto* items = object.items()) {
    const auto count = static_cast<std::int64_t>(items->size());
    if (!at) return chosen_item(*items, index);
    const std::int64_t place = *at < 0 ? *at + count : *at;
    if (place < 0 || place >= count) return error_here(fmt::format("index {} of a list of {}", *at, count));
    return (*items)[static_cast<std::size_t>(place)];
  }
  if (const auto* text = object.as<std::string>(); text && at) {
    const auto count = static_cast<std::int64_t>(text->size());
    const std::int64_t place = *at < 0 ? *at + count : *at;
    if (place < 0 || place >= count) return error_here(fmt::format("index {} of a text of {}", *at, count));
    return text->substr(static_cast<std::size_t>(place), 1);
  }
  const bool is_joined = object.as<std::shared_ptr<List>>() != nullptr;
  return error_here(fmt::format("{} is indexed", describe(object)),
                    is_joined ? "join it (torch.cat) and cut the result; else pad the input so that all parts are of "
                                "one size and stack them"
                              : "");
}

// An item of a list at a place that only the running program knows.
Expected<Value> Interpreter::chosen_item(const std::vector<Value>& items, const Value& index) {
  const bool numbers = !items.empty() && is_number_value(items[0]);
  const auto alike = [&](const Value& item) {
    if (numbers) return is_number_value(item) && number_dtype(item) == number_dtype(items[0]);
    return item.is_tensor() && item.tensor()->tensor->type() == items[0].tensor()->tensor->type();
  };
  if (items.empty() || !(index.tensor() || index.as<Dim>()) || (!numbers && !items[0].is_tensor()) ||
      !std::ranges::all_of(items, alike))
    return error_here(fmt::format("a list is indexed by {}", describe(index)),
                      "its items have to be tensors of one shape, or numbers");
  TAPER_ASSIGN(const Value all,
               numbers ? make_tensor({{"", new_list(items)}}) : call_aten("stack", {{"", new_list(items)}}));
  if (!all.is_tensor()) return all;
  TAPER_ASSIGN(const Value item, item_of_stack({all.tensor()->tensor, region_, numbers}, index));
  if (numbers || !item.is_tensor()) return item;
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, *item.tensor()));
  std::vector<aten::TensorPtr> bases;
  for (const Value& one : items) {
    TAPER_ASSIGN(aten::TensorPtr base, use(*one.tensor()));
    bases.push_back(std::move(base));
  }
  return TensorRef{aten::Tensor::make_uncertain(std::move(bases), content,
                                                "an item of a list is written to whose place depends on data, and "
                                                "another one read afterwards"),
                   region_, false};
}

Expected<Value> Interpreter::slice_of(const Value& object, const Value& begin, const Value& end, const Value& step) {
  if (object.is_unknown()) return object;
  if (object.is_tensor())
    return call_operator("slice", {{"", object}, {"", Dim(0)}, {"", begin}, {"", end}, {"", step}});
  if (const TensorRef* stack = object.stack()) {
    const bool reversed = step.integer() == -1 && begin.is_none() && end.is_none();
    const TensorRef all{stack->tensor, stack->home, false};
    TAPER_ASSIGN(const Value part, reversed ? call_aten("flip", {{"", all}, {"", new_list({Dim(0)})}})
                                            : slice_of(all, begin, end, step.is_none() ? Value(Dim(1)) : step));
    if (!part.is_tensor()) return part;
    Value list = stacked_list({part.tensor()->tensor, part.tensor()->home, stack->is_number});
    (*list.as<std::shared_ptr<List>>())->repeats = (*object.as<std::shared_ptr<List>>())->repeats;
    return list;
  }
  const auto* items = object.items();
  const auto* text = object.as<std::string>();
  if (!items && !text) return error_here(fmt::format("{} is sliced", describe(object)));
  const auto stride = step.is_none() ? std::optional<std::int64_t>(1) : step.integer();
  if (stride == -1 && items && begin.is_none() && end.is_none()) {  // [::-1]
    std::vector<Value> reversed(items->rbegin(), items->rend());
    return new_list(std::move(reversed));
  }
  if (stride != 1 && (!stride || *stride < 1))
    return error_here(fmt::format("a slice has the step {}", describe(step)));
  const auto count = static_cast<std::int64_t>(items ? items->size() : text->size());
  const auto bound = [&](const Value& given, std::int64_t fallback) -> std::optional<std::int64_t> {
    if (given.is_none()) return fallback;
    const auto at = given.integer();
    if (!at) return std::nullopt;
    return std::clamp<std::int64_t>(*at < 0 ? *at + count : *at, 0, count);
  };
  const auto from = bound(begin, 0);
  const auto to = bound(end, count);
  if (!from || !to) return error_here(fmt::format("a list is sliced from {} to {}", describe(begin), describe(end)));
  if (text) {
    std::string part;
    for (std::int64_t i = *from; i < *to; i += *stride) part += (*text)[static_cast<std::size_t>(i)];
    return part;
  }
  std::vector<Value> part;
  for (std::int64_t i = *from; i < *to; i += *stride) part.push_back((*items)[static_cast<std::size_t>(i)]);
  if (object.as<std::shared_ptr<Tuple>>()) return std::make_shared<Tuple>(std::move(part));
  return new_list(std::move(part));
}

Value Interpreter::stacked_list(const TensorRef& stack) {
  auto list = std::make_shared<List>(std::vector<Value>(), region_);
  list->kind = List::Kind::stacked;
  list->stack = stack;
  return list;
}

Value Interpreter::new_list(std::vector<Value> items) {
  spent_ += items.size() / 8;  // so that lists can't be doubled without end
  return std::make_shared<List>(std::move(items), region_);
}

Status Interpreter::check_may_change(const Value& container) {
  if (container.stack())
    return error_here("a list changes of which it isn't known how many items it has",
                      "collect the items that are added in a list of its own, and join the two (ys + more)");
  if (home_of(container) == region_) return {};
  changed_ = container;
  return error_here(fmt::format("{} changes inside of a branch or loop that depends on data", describe(container)),
                    "what it holds may change there, not how much: write into a tensor of known size instead of "
                    "appending, or give back a new value");
}

// Whether the branch or loop that just failed changed a container, which is noted for another attempt.
bool Interpreter::note_changed(std::vector<Value>& changed) {
  if (!changed_) return false;
  const Value container = *std::exchange(changed_, std::nullopt);
  const auto is_same = [&](const Value& other) { return same_container(other, container); };
  if (home_of(container) != region_ || std::ranges::any_of(changed, is_same)) {
    changed_ = container;  // of a region further out
    return false;
  }
  changed.push_back(container);
  return true;
}

}  // namespace taper::torchscript
