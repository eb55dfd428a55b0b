// Reading the arguments of a call.
#include <algorithm>
#include <cmath>

#include "frontend/aten_table.h"

namespace taper::aten {

const Arg& Call::arg(std::string_view name) const {
  static const Arg none;
  for (std::size_t i = 0; i < args.size(); ++i)
    if (schema.parameters[i].name == name) return args[i];
  return none;
}

TensorPtr Call::place(std::string_view name) const {
  const Arg& argument = arg(name);
  if (const auto* tensor = argument.as<TensorPtr>()) return *tensor;
  if (argument.is_none()) return nullptr;
  return Tensor::make(number(build, argument, number_type(argument)));
}

Value* Call::tensor(std::string_view name) const {
  const TensorPtr tensor = place(name);
  return tensor ? tensor->content(build) : nullptr;
}

std::vector<Value*> Call::tensors(std::string_view name) const {
  std::vector<Value*> contents;
  if (const auto* list = arg(name).as<Arg::List>())
    for (const Arg& entry : *list) {
      const auto* tensor = entry.as<TensorPtr>();
      if (tensor != nullptr)
        contents.push_back((*tensor)->content(build));
      else
        contents.push_back(entry.is_none() ? nullptr : number(build, entry, number_type(entry)));
    }
  return contents;
}

std::int64_t Call::integer(std::string_view name) const {
  return integer_or(name, 0);
}

std::int64_t Call::integer_or(std::string_view name, std::int64_t fallback) const {
  return constant_integer(arg(name)).value_or(fallback);
}

Dim Call::size(std::string_view name) const {
  const Dim* dim = arg(name).as<Dim>();
  return dim != nullptr ? *dim : Dim(0);
}

double Call::real(std::string_view name) const {
  return real_or(name, 0);
}

double Call::real_or(std::string_view name, double fallback) const {
  const Arg& argument = arg(name);
  if (const double* value = argument.as<double>()) return *value;
  if (const bool* value = argument.as<bool>()) return *value ? 1 : 0;
  const auto integer = constant_integer(argument);
  if (!integer && !argument.is_none())
    build.set_error({fmt::format("'{}' is a symbol, expected a number", name), {}, {}});
  return integer ? static_cast<double>(*integer) : fallback;
}

bool Call::flag(std::string_view name) const {
  const bool* value = arg(name).as<bool>();
  return value != nullptr && *value;
}

const std::string& Call::text(std::string_view name) const {
  static const std::string none;
  const auto* value = arg(name).as<std::string>();
  return value != nullptr ? *value : none;
}

std::optional<DType> Call::dtype(std::string_view name) const {
  const DType* value = arg(name).as<DType>();
  return value != nullptr ? std::optional(graph_dtype(*value)) : std::nullopt;
}

Integers Call::integers(std::string_view name) const {
  Integers values;
  if (const auto* list = arg(name).as<Arg::List>())
    for (const Arg& entry : *list) values.push_back(constant_integer(entry).value_or(0));
  return values;
}

Shape Call::sizes(std::string_view name) const {
  Shape values;
  if (const auto* list = arg(name).as<Arg::List>())
    for (const Arg& entry : *list) {
      const Dim* dim = entry.as<Dim>();
      values.push_back(dim != nullptr ? *dim : Dim(0));
    }
  return values;
}

std::vector<double> Call::reals(std::string_view name) const {
  std::vector<double> values;
  if (const auto* list = arg(name).as<Arg::List>())
    for (const Arg& entry : *list) {
      const double* value = entry.as<double>();
      values.push_back(value != nullptr ? *value : 0);
    }
  return values;
}

Expected<std::size_t> axis_of(std::int64_t dim, std::size_t rank) {
  const auto count = static_cast<std::int64_t>(std::max<std::size_t>(rank, 1));
  if (dim < -count || dim >= count) return fail("axis {} of a tensor of rank {}", dim, rank);
  return static_cast<std::size_t>(dim < 0 ? dim + count : dim);
}

Expected<std::size_t> Call::axis(std::string_view name, std::size_t rank) const {
  return axis_of(integer(name), rank);
}

Expected<Integers> Call::axes(std::string_view name, std::size_t rank) const {
  Integers dims = integers(name);
  if (arg(name).as<Dim>() != nullptr) dims = {integer(name)};
  if (dims.empty()) return all_axes(rank);
  for (std::int64_t& dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dim, rank));
    dim = static_cast<std::int64_t>(axis);
  }
  std::ranges::sort(dims);
  if (std::ranges::adjacent_find(dims) != dims.end()) return fail("an axis is named twice");
  if (rank == 0) dims.clear();
  return dims;
}

std::vector<Value*> Call::promoted(std::initializer_list<std::string_view> names, Promotion promotion) const {
  return promoted(std::span(names.begin(), names.size()), promotion);
}

std::vector<Value*> Call::promoted(std::span<const std::string_view> names, Promotion promotion) const {
  std::vector<Arg> operands;
  for (const std::string_view name : names) operands.push_back(arg(name));
  DType common = result_type(operands);
  if (promotion == Promotion::floating && !is_floating(common)) common = DType::f32;
  std::vector<Value*> values;
  for (const Arg& operand : operands) {
    const auto* tensor = operand.as<TensorPtr>();
    if (operand.is_none()) {
      values.push_back(nullptr);
    } else if (tensor == nullptr) {
      values.push_back(number(build, operand, promotion == Promotion::boolean ? DType::boolean : common));
    } else {
      Value* x = (*tensor)->content(build);
      if (promotion == Promotion::boolean) x = cast(build, x, DType::boolean);
      if (promotion == Promotion::common || promotion == Promotion::floating) x = cast(build, x, common);
      values.push_back(x);
    }
  }
  return values;
}

void warn_once(Context& context, std::string warning) {
  std::vector<std::string>& warnings = context.warnings;
  if (std::ranges::find(warnings, warning) == warnings.end()) warnings.push_back(std::move(warning));
}

Arg fresh_list(const std::vector<Value*>& contents) {
  Arg::List list;
  for (Value* content : contents) list.emplace_back(fresh(content));
  return Arg(std::move(list));
}

}  // namespace taper::aten
