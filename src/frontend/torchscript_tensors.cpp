// Tensors of TorchScript programs: calls of ATen, and how regions see tensors of the regions around them.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "formats/text.h"
#include "frontend/aten_advice.h"
#include "frontend/aten_counts.h"
#include "frontend/torchscript_interpreter.h"

namespace taper::torchscript {
namespace {

constexpr std::size_t kMostDepth = 16;  // of lists in arguments

bool holds_unknown(const Value& value, std::size_t depth = 0) {
  if (value.is_unknown()) return true;
  const auto* items = depth < kMostDepth ? value.items() : nullptr;
  return items && std::ranges::any_of(*items, [&](const Value& item) { return holds_unknown(item, depth + 1); });
}

// Whether there is a tensor that is no number.
bool holds_tensor(const Value& value, std::size_t depth = 0) {
  if (value.is_tensor() || value.as<ComplexRef>()) return true;
  const auto* items = depth < kMostDepth ? value.items() : nullptr;
  return items && std::ranges::any_of(*items, [&](const Value& item) { return holds_tensor(item, depth + 1); });
}

bool holds_number(const Value& value) {
  return value.tensor() && value.tensor()->is_number;
}

}  // namespace

Storages storages_of(const aten::TensorPtr& tensor) {
  return tensor->roots().empty() ? Storages{tensor} : tensor->roots();
}

bool share_storage(const aten::TensorPtr& a, const aten::TensorPtr& b) {
  const Storages of_b = storages_of(b);
  return std::ranges::any_of(storages_of(a),
                             [&](const auto& root) { return std::ranges::find(of_b, root) != of_b.end(); });
}

// ---- regions

Expected<aten::TensorPtr> Interpreter::use(const TensorRef& tensor) {
  return use_in(*region_, tensor);
}

const Value& Interpreter::present(const Value& value) const {
  const Value* at = &value;
  while (at->tensor()) {
    const auto found = turned_.find(at->tensor()->tensor);
    if (found == turned_.end()) break;
    at = &found->second;
  }
  return *at;
}

Expected<aten::TensorPtr> Interpreter::use_in(Region& region, const TensorRef& tensor) {
  if (const auto turned = turned_.find(tensor.tensor); turned != turned_.end())
    return use_in(region, *turned->second.tensor());
  if (tensor.home == &region) return tensor.tensor;
  if (!region.outer) return error_here("a tensor is used outside of the branch or loop that makes it");
  TAPER_ASSIGN(const aten::TensorPtr outer, use_in(*region.outer, tensor));
  if (const auto known = region.known.find(outer.get()); known != region.known.end()) return known->second.second;
  const bool is_shared = std::ranges::any_of(outer->roots(), [&](const aten::TensorPtr& root) {
    return std::ranges::find(region.shared, root) != region.shared.end();
  });
  std::vector<aten::TensorPtr> bases;
  if (is_shared) {
    for (const aten::TensorPtr& base : outer->bases()) {
      TAPER_ASSIGN(aten::TensorPtr seen, use_in(region, {base, region.outer, false}));
      bases.push_back(std::move(seen));
    }
    if (!outer->uncertain()) {
      TAPER_ASSIGN(const aten::TensorPtr view, view_in(region, *outer, std::move(bases)));
      region.known.emplace(outer.get(), std::pair(outer, view));
      return view;
    }
  }
  TAPER_ASSIGN(taper::Value * outer_value, content_of(*region.outer, *outer));
  Capture capture;
  capture.outer = {outer, region.outer, tensor.is_number};
  capture.outer_value = outer_value;
  const Tensor* constant = constant_of(outer_value);
  if (constant != nullptr && std::ranges::find(region.variable, outer) == region.variable.end()) {
    capture.initial = region.build.constant(*constant, outer_value->name);
  } else {
    capture.input = region.graph.add_input(outer_value->name, outer_value->type);
    capture.initial = capture.input;
  }
  TAPER_TRY(region.build.status());
  aten::TensorPtr inner = aten::Tensor::make(capture.initial);
  if (is_shared) {
    inner = outer->like(region.build, std::move(bases), capture.initial);
    // The region may have written to what it shares elements with already.
    for (const Capture& other : region.captures) {
      if (!share_storage(other.inner.tensor, inner)) continue;
      TAPER_ASSIGN(const bool changed, is_changed(region, other));
      if (changed) inner->outdate();
    }
  }
  capture.inner = {inner, &region, tensor.is_number};
  region.known.emplace(outer.get(), std::pair(outer, capture.inner.tensor));
  region.captures.push_back(capture);
  return capture.inner.tensor;
}

// A view of the region around, cut from its bases as the region sees them.
Expected<aten::TensorPtr> Interpreter::view_in(Region& region, const aten::Tensor& view,
                                               std::vector<aten::TensorPtr> bases) {
  Region* const before = std::exchange(region_, &region);
  aten::TensorPtr cut = view.like(region.build, std::move(bases), nullptr);
  region_ = before;
  TAPER_TRY(region.build.status());
  if (!cut) return error_here("a view can't be cut in a branch or loop that depends on data");
  return cut;
}

std::function<taper::Value*(Builder&)> Interpreter::seen_by_views(taper::Value* content) {
  return [this, tensor = TensorRef{aten::Tensor::make(content), region_, false},
          alive = std::weak_ptr(region_->alive)](Builder& build) {
    auto seen = &region_->build == &build && !alive.expired()
                    ? content_in(*region_, tensor)
                    : error_here("a view that a branch or loop cuts by what it computes is used outside of it");
    if (!seen) build.set_error(std::move(seen).error());
    return seen ? *seen : nullptr;
  };
}

Expected<taper::Value*> Interpreter::content_of(Region& region, aten::Tensor& seen) {
  // Views that are cut anew ask which region is present.
  Region* const before = std::exchange(region_, &region);
  taper::Value* content = seen.content(region.build);
  region_ = before;
  TAPER_TRY(region.build.status());
  return content;
}

Expected<taper::Value*> Interpreter::content_in(Region& region, const TensorRef& tensor) {
  TAPER_ASSIGN(const aten::TensorPtr seen, use_in(region, tensor));
  return content_of(region, *seen);
}

// ---- arguments and results

Expected<aten::Arg> Interpreter::to_arg(const Value& value) {
  if (value.is_none() || value.as<Device>()) return aten::Arg{};
  if (const TensorRef* tensor = value.tensor()) {
    TAPER_ASSIGN(aten::TensorPtr seen, use(*tensor));
    return aten::Arg(std::move(seen));
  }
  if (const ComplexRef* z = value.as<ComplexRef>()) {
    TAPER_ASSIGN(aten::TensorPtr real, use(z->real));
    TAPER_ASSIGN(aten::TensorPtr imag, use(z->imag));
    return aten::Arg(aten::ComplexTensor{std::move(real), std::move(imag)});
  }
  if (const auto* masked = value.as<MaskedRef>()) {
    TAPER_ASSIGN(const Value entries, picked_entries(*masked));
    return to_arg(entries);
  }
  if (const Dim* size = value.as<Dim>()) return aten::Arg(*size);
  if (const double* real = value.as<double>()) return aten::Arg(*real);
  if (const bool* flag = value.as<bool>()) return aten::Arg(*flag);
  if (const auto* text = value.as<std::string>()) return aten::Arg(*text);
  if (const auto* items = value.items()) {
    aten::Arg::List list;
    for (const Value& item : *items) {
      TAPER_ASSIGN(aten::Arg arg, to_arg(item));
      list.push_back(std::move(arg));
    }
    return aten::Arg(std::move(list));
  }
  return error_here(
      fmt::format("{} is an argument of an operator", describe(value)),
      value.as<std::shared_ptr<List>>() ? "make a tensor of the list alone first (torch.stack, torch.cat)" : "");
}

Value Interpreter::from_arg(const aten::Arg& arg, bool is_number) {
  if (const auto* tensor = arg.as<aten::TensorPtr>()) return TensorRef{*tensor, region_, is_number};
  if (const auto* z = arg.as<aten::ComplexTensor>())
    return ComplexRef{{z->real, region_, false}, {z->imag, region_, false}};
  if (const Dim* size = arg.as<Dim>()) return *size;
  if (const double* real = arg.as<double>()) return *real;
  if (const bool* flag = arg.as<bool>()) return *flag;
  if (const auto* text = arg.as<std::string>()) return *text;
  if (const auto* list = arg.as<aten::Arg::List>()) {
    std::vector<Value> items;
    for (const aten::Arg& item : *list) items.push_back(from_arg(item, is_number));
    return new_list(std::move(items));
  }
  return None{};
}

Value Interpreter::unsupported_operator(std::string_view name, std::string_view hint) {
  constexpr std::string_view kAten = "aten::";
  const bool is_aten = hint.empty() && name.starts_with(kAten);
  unsupported.add(name, place(line_), is_aten ? aten::nearest_form(name.substr(kAten.size())) : hint);
  return Unknown{};
}

// Where an operator takes sizes, numbers of the running program become sizes, which are measured there. Whether any
// did.
bool Interpreter::measure_sizes(std::string_view name, const std::vector<Argument>& arguments,
                                std::vector<aten::NamedArg>& args) {
  constexpr std::array<std::string_view, 18> kTakeSizes = {
      "arange", "empty", "expand",    "eye",     "full",   "narrow",  "new_empty",         "new_full", "new_ones",
      "ones",   "rand",  "new_zeros", "one_hot", "repeat", "reshape", "repeat_interleave", "view",     "zeros"};
  if (std::ranges::find(kTakeSizes, name) == kTakeSizes.end()) return false;
  bool any = false;
  const std::function<void(const Value&, aten::Arg&)> measure = [&](const Value& value, aten::Arg& arg) {
    if (const auto* items = value.items(); items != nullptr && arg.as<aten::Arg::List>() != nullptr) {
      aten::Arg::List list = *arg.as<aten::Arg::List>();
      for (std::size_t i = 0; i < items->size() && i < list.size(); ++i) measure((*items)[i], list[i]);
      arg = std::move(list);
      return;
    }
    const TensorRef* number = value.tensor();
    const auto* tensor = arg.as<aten::TensorPtr>();
    if (number == nullptr || !number->is_number || tensor == nullptr || is_floating((*tensor)->type().dtype)) return;
    taper::Value* content = (*tensor)->content(region_->build);
    if (content == nullptr || !region_->graph.owns(content)) return;
    arg = aten::measured_size(region_->context, content);
    any = true;
  };
  for (std::size_t i = 0; i < args.size(); ++i) measure(arguments[i].value, args[i].arg);
  if (any) assume(fmt::format("the sizes that '{}' is given are computed: numbers below 0 count as 0", name));
  return any;
}

Expected<Value> Interpreter::call_aten(std::string_view name, const std::vector<Argument>& arguments) {
  const bool known = aten::knows(name);
  if (!known) return unsupported_operator(fmt::format("aten::{}", name));
  for (const Argument& argument : arguments)
    if (!is_walkable(argument.value)) return error_here(fmt::format("{} is too large", describe(argument.value)));
  const auto value_of = [](const Argument& argument) -> const Value& { return argument.value; };
  if (std::ranges::any_of(arguments, [](const Value& value) { return holds_unknown(value); }, value_of))
    return Unknown{};
  const bool number = std::ranges::any_of(arguments, holds_number, value_of) &&
                      std::ranges::none_of(arguments, [](const Value& value) { return holds_tensor(value); }, value_of);
  std::vector<aten::NamedArg> args;
  for (const Argument& argument : arguments) {
    Value value = argument.value;
    if (const Dim* size = value.as<Dim>(); size && number && !size->constant() && region_ != &root_) {
      TAPER_ASSIGN(taper::Value * content, number_in(*region_, value));
      value = TensorRef{aten::Tensor::make(content), region_, true};
    }
    TAPER_ASSIGN(aten::Arg arg, to_arg(value));
    args.push_back({std::string(argument.name), std::move(arg)});
  }
  // An operator that writes gives its first argument back. Those such as __or__ give a new tensor.
  const bool writes = name.ends_with('_') && !name.ends_with("__");
  const TensorRef* target = writes && !arguments.empty() ? arguments[0].value.tensor() : nullptr;
  auto result = aten::call(region_->context, name, args);
  if (!result && region_->build.status() && measure_sizes(name, arguments, args))
    result = aten::call(region_->context, name, args);
  if (!result) {
    Error error = within(std::move(result).error(), "in " + place(line_));
    return std::unexpected(std::move(error));
  }
  if (target) {
    // Those such as unsqueeze_ give a view, which the tensor is from now on.
    const auto* given = result->as<aten::TensorPtr>();
    TAPER_ASSIGN(const aten::TensorPtr seen, use(*target));
    if (given == nullptr || *given == seen) return *target;
    if (target->home != region_)
      return error_here(
          fmt::format("'{}' changes the shape of a tensor of the program around a branch or loop", name),
          fmt::format("give the result a name of its own: y = x.{}(...)", name.substr(0, name.size() - 1)));
    const Value turned = from_arg(*result, false);
    turned_.insert_or_assign(target->tensor, turned);
    return turned;
  }
  return from_arg(*result, number);
}

Expected<taper::Value*> Interpreter::number_in(Region& region, const Value& number, std::optional<DType> dtype) {
  taper::Value* content = nullptr;
  if (const TensorRef* tensor = number.tensor()) {
    TAPER_ASSIGN(content, content_in(region, *tensor));
    if (dtype) content = aten::cast(region.build, content, *dtype);
  } else if (const bool symbolic = number.as<Undecided>() || (number.as<Dim>() && !number.as<Dim>()->constant());
             symbolic && &region != &root_) {
    // Sizes are read from the program's inputs, which a region need not have.
    TAPER_ASSIGN(taper::Value * outside, number_in(root_, number, dtype));
    return content_in(region, {aten::Tensor::make(outside), &root_, true});
  } else if (const auto* condition = number.as<Undecided>()) {
    content = condition->value(region.build);
    if (dtype) content = aten::cast(region.build, content, *dtype);
  } else {
    aten::Arg arg;
    if (const Dim* size = number.as<Dim>()) arg = *size;
    if (const double* real = number.as<double>()) arg = *real;
    if (const bool* flag = number.as<bool>()) arg = *flag;
    if (arg.is_none()) return error_here(fmt::format("{} stands for a number", describe(number)));
    content = aten::number(region.build, arg, dtype.value_or(aten::number_type(arg)));
  }
  TAPER_TRY(region.build.status());
  return content;
}

// int(x), float(x), bool(x): computed where that is possible, else a tensor of rank 0.
Expected<Value> Interpreter::to_number(const Value& value, std::string_view kind) {
  if (value.is_unknown()) return value;
  if (value.as<Undecided>()) return value;
  if (const auto* text = value.as<std::string>()) {
    char* end = nullptr;
    const double number = std::strtod(text->c_str(), &end);
    if (text->empty() || *end != '\0') return error_here(fmt::format("'{}' is read as a number", excerpt(*text)));
    return to_number(number, kind);
  }
  if (const Dim* size = value.as<Dim>(); size && kind != "float" && kind != "bool") return value;
  if (const auto number = value.number()) {
    if (kind == "float") return *number;
    if (kind == "bool") return *number != 0;
    if (kind == "number") return value;
    if (!(std::abs(*number) < 0x1p63)) return error_here(fmt::format("{} is made an integer", describe(value)));
    return Dim(static_cast<std::int64_t>(*number));
  }
  const DType dtype = kind == "float" ? DType::f32 : kind == "bool" ? DType::boolean : DType::i64;
  if (value.as<Dim>()) {
    if (kind == "bool") return call_operator("ne", {{"", value}, {"", Dim(0)}});
    TAPER_ASSIGN(taper::Value * content, number_in(*region_, value, DType::f32));
    return TensorRef{aten::Tensor::make(content), region_, true};
  }
  const TensorRef* tensor = value.tensor();
  if (!tensor) return error_here(fmt::format("{} is made a number", describe(value)));
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, *tensor));
  const auto count = element_count(content->type.shape).constant();
  if (count && *count != 1)
    return error_here(fmt::format("{} is made a number, expected one element", describe(value)));
  if (!is_floating(content->type.dtype))
    if (const auto integers = aten::known_integers(content); integers && integers->size() == 1) {
      const Dim& known = integers->front();
      if (content->type.dtype == DType::boolean && known.constant()) return to_number(*known.constant() != 0, kind);
      return to_number(known, kind);
    }
  if (auto size = kind == "int" ? aten::rounded_size("trunc", content) : std::nullopt) return std::move(*size);
  if (const auto constant = aten::constant_value(content); constant && constant->values.size() == 1) {
    if (content->type.dtype == DType::boolean) return to_number(constant->values[0] != 0, kind);
    return to_number(constant->values[0], kind);
  }
  if (!content->type.shape.empty()) content = aten::reshape(region_->build, content, {});
  if (kind != "number") content = aten::cast(region_->build, content, dtype);
  TAPER_TRY(region_->build.status());
  return TensorRef{aten::Tensor::make(content), region_, true};
}

Expected<std::optional<bool>> Interpreter::decide(const Value& condition) {
  if (condition.is_none()) return false;
  if (const auto number = condition.number()) return *number != 0;
  if (const auto* text = condition.as<std::string>()) return !text->empty();
  if (const auto* items = condition.items()) return !items->empty();
  if (const auto* dict = condition.as<std::shared_ptr<Dict>>()) return !(*dict)->entries.empty();
  if (condition.as<Undecided>() || condition.is_unknown()) return std::nullopt;
  if (!condition.tensor()) return error_here(fmt::format("{} stands for a condition", describe(condition)));
  TAPER_ASSIGN(const Value known, to_number(condition, "bool"));
  if (const bool* flag = known.as<bool>()) return *flag;
  return std::nullopt;
}

namespace {

std::optional<DType> dtype_argument(const std::vector<Argument>& arguments) {
  for (const Argument& argument : arguments)
    if (argument.name == "dtype")
      if (const auto code = argument.value.integer()) return dtype_of_code(*code);
  return std::nullopt;
}

// All numbers of nested lists, and the lists' shape. Nothing if they aren't known or don't make a box.
bool collect_numbers(const Value& value, std::size_t depth, std::vector<std::int64_t>& shape, std::vector<double>& all,
                     DType& dtype) {
  if (const auto* items = value.items()) {
    const auto count = static_cast<std::int64_t>(items->size());
    if (depth >= kMostDepth || all.size() > (std::size_t{1} << 20)) return false;
    if (depth == shape.size()) {
      if (!all.empty()) return false;
      shape.push_back(count);
    }
    return shape[depth] == count && std::ranges::all_of(*items, [&](const Value& item) {
             return collect_numbers(item, depth + 1, shape, all, dtype);
           });
  }
  const auto number = value.number();
  if (!number || depth != shape.size()) return false;
  const DType own = value.as<bool>() ? DType::boolean : value.as<double>() ? DType::f32 : DType::i64;
  if (all.empty() || own == DType::f32 || (own == DType::i64 && dtype == DType::boolean)) dtype = own;
  all.push_back(*number);
  return true;
}

}  // namespace

// A list of what depends on data or sizes as a tensor.
Expected<Value> Interpreter::stacked(const Value& value, std::optional<DType> dtype, std::size_t depth) {
  if (const auto* items = value.items()) {
    if (depth > kMostDepth) return error_here("a list is nested too deep");
    std::vector<Value> parts;
    for (const Value& item : *items) {
      TAPER_ASSIGN(Value part, stacked(item, dtype, depth + 1));
      parts.push_back(std::move(part));
    }
    return call_aten("stack", {{"", new_list(std::move(parts))}});
  }
  if (value.is_unknown()) return value;
  TAPER_ASSIGN(taper::Value * content, number_in(*region_, value, dtype));
  return TensorRef{aten::Tensor::make(content), region_, false};
}

Expected<Value> Interpreter::make_tensor(const std::vector<Argument>& arguments) {
  if (arguments.empty()) return error_here("torch.tensor is called without data");
  if (!is_walkable(arguments[0].value)) return error_here("a tensor's data is too large");
  std::optional<DType> dtype = dtype_argument(arguments);
  if (dtype) dtype = aten::graph_dtype(*dtype);
  if (const TensorRef* stack = arguments[0].value.stack()) {  // of numbers
    const Value all = TensorRef{stack->tensor, stack->home, false};
    if (!dtype) return call_aten("clone", {{"", all}});
    return call_aten("to", {{"", all}, {"dtype", Dim(dtype_code(*dtype))}, {"copy", true}});
  }
  std::vector<std::int64_t> shape;
  std::vector<double> numbers;
  DType own = DType::f32;
  if (!collect_numbers(arguments[0].value, 0, shape, numbers, own)) return stacked(arguments[0].value, dtype, 0);
  taper::Value* content =
      region_->build.constant(to_tensor(Array{dtype.value_or(own), std::move(shape), std::move(numbers)}));
  TAPER_TRY(region_->build.status());
  return TensorRef{aten::Tensor::make(content), region_, false};
}

// The elements of a tensor as lists within lists, or as one number.
Expected<Value> Interpreter::listed(const Value& tensor, std::size_t depth) {
  const Type type = tensor.tensor()->tensor->type();
  constexpr std::int64_t kMostItems = 1 << 16;
  const std::string_view kind = type.dtype == DType::boolean ? "bool" : is_floating(type.dtype) ? "float" : "int";
  if (type.shape.empty()) return to_number(tensor, kind);
  if (depth > kMostDepth) return error_here("a list is nested too deep");
  const auto count = type.shape[0].constant();
  if (!count && type.shape.size() == 1) {
    TAPER_ASSIGN(const Value copy, call_aten("clone", {{"", tensor}}));
    return stacked_list({copy.tensor()->tensor, region_, true});
  }
  if (!count || *count > kMostItems)
    return error_here(
        fmt::format("'tolist' of a tensor {}, of which it isn't known how many items that gives", type_text(type)),
        "stay with tensors, or give the size as a number with --input-shape");
  std::vector<Value> items;
  for (std::int64_t i = 0; i < *count; ++i) {
    TAPER_TRY(spend(line_));
    TAPER_ASSIGN(const Value entry, call_aten("select", {{"", tensor}, {"", Dim(0)}, {"", Dim(i)}}));
    TAPER_ASSIGN(Value item, listed(entry, depth + 1));
    items.push_back(std::move(item));
  }
  return new_list(std::move(items));
}

Expected<Value> Interpreter::make_full(const std::vector<Argument>& arguments) {
  if (holds_unknown(arguments[0].value)) return Unknown{};
  const auto* sizes = arguments[0].value.items();
  Shape shape;
  if (sizes)
    for (const Value& size : *sizes)
      if (const Dim* dim = size.as<Dim>()) shape.push_back(*dim);
  if (!sizes || shape.size() != sizes->size()) return error_here("the sizes of torch.full are not known");
  std::optional<DType> dtype = dtype_argument(arguments);
  if (dtype) dtype = aten::graph_dtype(*dtype);
  TAPER_ASSIGN(taper::Value * content, number_in(*region_, arguments[1].value, dtype));
  content = aten::expand(region_->build, content, shape);
  TAPER_TRY(region_->build.status());
  return TensorRef{aten::Tensor::make(content), region_, false};
}

}  // namespace taper::torchscript
