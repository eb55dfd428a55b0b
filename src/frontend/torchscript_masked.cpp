// x[mask] where only the running program knows the mask: entries that can be counted, summed, compared, computed with
// one by one, and put back where they come from.
#include <algorithm>
#include <cmath>

#include "frontend/aten_table.h"
#include "frontend/torchscript_regions.h"
#include "ir/computation.h"

namespace taper::torchscript {
namespace {

// Operators that make each entry of the entries in its place alone.
constexpr std::string_view kPointwise[] = {
    "abs",   "add", "ceil", "clamp",  "clamp_max", "clamp_min",  "cos",  "div",   "exp",   "float",
    "floor", "log", "mul",  "neg",    "pow",       "reciprocal", "relu", "round", "rsub",  "sigmoid",
    "sign",  "sin", "sqrt", "square", "sub",       "tanh",       "to",   "log1p", "expm1", "rsqrt",
};
constexpr std::string_view kReductions[] = {"sum", "mean", "max", "min", "amax", "amin", "numel", "len", "size"};

bool is_mask(const Value& value) {
  return value.is_tensor() && value.tensor()->tensor->type().dtype == DType::boolean;
}

}  // namespace

// Nothing is looked up before the program runs for masks that are known.
Expected<Value> Interpreter::pick_by_mask(const TensorRef& x, const TensorRef& mask) {
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, x));
  TAPER_ASSIGN(taper::Value * picked, content_in(*region_, mask));
  const Shape& shape = content->type.shape;
  const Shape& of_mask = picked->type.shape;
  if (of_mask.empty() || of_mask.size() > shape.size() || !std::equal(of_mask.begin(), of_mask.end(), shape.begin()))
    return error_here(fmt::format("a mask {} picks entries of {}", type_text(picked->type), type_text(content->type)));
  return MaskedRef{{aten::Tensor::make(content), region_, false}, {aten::Tensor::make(picked), region_, false}};
}

// All entries, those not picked replaced by a number.
Expected<Value> Interpreter::filled(const MaskedRef& masked, double value) {
  TAPER_ASSIGN(taper::Value * x, content_in(*region_, masked.x));
  TAPER_ASSIGN(taper::Value * mask, content_in(*region_, masked.mask));
  Shape wide = mask->type.shape;
  wide.resize(x->type.shape.size(), Dim(1));
  Builder& build = region_->build;
  taper::Value* made = build("where", {aten::reshape(build, mask, wide), x, aten::number(build, value, x->type.dtype)});
  TAPER_TRY(build.status());
  return TensorRef{aten::Tensor::make(made), region_, false};
}

Expected<Value> Interpreter::reduce_masked(std::string_view name, const MaskedRef& masked,
                                           const std::vector<Argument>& arguments) {
  const auto refuse = [&] {
    return error_here(fmt::format("'{}' of some axes of entries that a mask picks", name),
                      "reduce all of them, or only axis 0 by sum or mean");
  };
  const bool is_count = name == "numel" || name == "len" || name == "size";
  const std::size_t rank = masked.x.tensor->type().shape.size();
  const std::size_t picked = masked.mask.tensor->type().shape.size();  // axes that are one axis of the entries
  bool along = false;                                                  // only the axis of the entries
  for (const Argument& argument : std::span(arguments).subspan(1)) {
    const Value& value = argument.value;
    const auto* items = value.items();
    const bool axis = argument.name != "dtype" && value.integer() == 0 && !value.as<bool>();
    if (axis || (items && items->size() == 1 && items->front().integer() == 0))
      along = true;
    else if (!value.is_none() && (value.as<bool>() == nullptr || *value.as<bool>()))
      return refuse();
  }
  if (is_count ? (name == "size" && !along) || (name == "numel" && rank != picked)
               : along && name != "sum" && name != "mean")
    return refuse();
  TAPER_ASSIGN(const Value count, call_aten("sum", {{"", masked.mask}}));
  if (is_count) return to_number(count, "int");
  const bool largest = name == "max" || name == "amax";
  const bool smallest = name == "min" || name == "amin";
  if ((largest || smallest) && !is_floating(masked.x.tensor->type().dtype)) return refuse();
  TAPER_ASSIGN(const Value all, filled(masked, largest ? -HUGE_VAL : smallest ? HUGE_VAL : 0.0));
  if (largest || smallest) return call_aten(largest ? "amax" : "amin", {{"", all}});
  std::vector<Value> axes;
  for (std::size_t i = 0; i < (along ? picked : rank); ++i) axes.emplace_back(Dim(static_cast<std::int64_t>(i)));
  TAPER_ASSIGN(const Value sum, call_aten("sum", {{"", all}, {"", new_list(std::move(axes))}}));
  if (name == "sum") return sum;
  TAPER_ASSIGN(Value divisor, call_aten("mul", {{"", count}, {"", Dim(1)}}));
  if (!along)
    for (std::size_t i = picked; i < rank; ++i) {
      TAPER_ASSIGN(divisor, call_aten("mul", {{"", divisor}, {"", masked.x.tensor->type().shape[i]}}));
    }
  return call_aten("div", {{"", sum}, {"", divisor}});
}

Expected<std::optional<Value>> Interpreter::on_masked(std::string_view name, const std::vector<Argument>& arguments) {
  const auto value = [&](std::size_t i) -> const Value& { return arguments[i].value; };
  const auto listed = [&](const Value& list) -> const Value* {
    return list.items() && list.items()->size() == 1 ? &list.items()->front() : nullptr;
  };
  const Value* mask = nullptr;
  if (arguments.size() >= 2 && value(0).is_tensor()) {
    if (name == "index" || name == "index_put_" || name == "index_put") mask = listed(value(1));
    if (name == "masked_select") mask = &value(1);
    if (mask != nullptr && is_mask(*mask)) {
      TAPER_ASSIGN(taper::Value * content, content_in(*region_, *mask->tensor()));
      if (aten::constant_value(content)) mask = nullptr;
    } else {
      mask = nullptr;
    }
  }
  if (mask != nullptr && (name == "index" || name == "masked_select")) {
    TAPER_ASSIGN(Value picked, pick_by_mask(*value(0).tensor(), *mask->tensor()));
    return picked;
  }
  const MaskedRef* masked = nullptr;
  for (const Argument& argument : arguments)
    if (const auto* one = argument.value.as<MaskedRef>()) masked = one;
  if (masked == nullptr) return std::nullopt;
  const auto same_mask = [&](const TensorRef& a, const TensorRef& b) -> Expected<bool> {
    int budget = 200;
    TAPER_ASSIGN(const taper::Value* p, content_in(*region_, a));
    TAPER_ASSIGN(const taper::Value* q, content_in(*region_, b));
    return same_computation(p, q, budget);
  };
  // Put back where they come from.
  if (mask != nullptr && arguments.size() >= 3 && value(2).as<MaskedRef>()) {
    const bool accumulates = arguments.size() > 3 && value(3).as<bool>() && *value(3).as<bool>();
    TAPER_ASSIGN(const bool same, same_mask(*mask->tensor(), masked->mask));
    TAPER_ASSIGN(taper::Value * x, content_in(*region_, *value(0).tensor()));
    if (same && !accumulates && x->type == masked->x.tensor->type()) {
      Shape wide = masked->mask.tensor->type().shape;
      wide.resize(x->type.shape.size(), Dim(1));
      TAPER_ASSIGN(taper::Value * picked, content_in(*region_, masked->mask));
      TAPER_ASSIGN(taper::Value * source, content_in(*region_, masked->x));
      Builder& build = region_->build;
      taper::Value* made = build("where", {aten::reshape(build, picked, wide), source, x});
      TAPER_TRY(build.status());
      const Value put = TensorRef{aten::Tensor::make(made), region_, false};
      if (name == "index_put") return put;
      TAPER_ASSIGN(Value written, call_aten("copy_", {{"", value(0)}, {"", put}}));
      return written;
    }
  }
  if (arguments[0].value.as<MaskedRef>() && std::ranges::find(kReductions, name) != std::end(kReductions)) {
    TAPER_ASSIGN(Value reduced, reduce_masked(name, *masked, arguments));
    return reduced;
  }
  bool pointwise = std::ranges::find(kPointwise, name) != std::end(kPointwise);
  std::vector<Argument> whole = arguments;
  for (Argument& argument : whole) {
    if (const auto* one = argument.value.as<MaskedRef>()) {
      TAPER_ASSIGN(const bool same, same_mask(one->mask, masked->mask));
      pointwise &= same && one->x.tensor->type().shape == masked->x.tensor->type().shape;
      argument.value = TensorRef(one->x);
    } else if (argument.value.tensor()) {
      pointwise &= argument.value.tensor()->tensor->type().shape.empty();
    }
  }
  if (!pointwise)
    return error_here(fmt::format("'{}' is called on entries that a mask picks, whose number is then not known", name),
                      "x[mask] can be summed, averaged, counted, computed with one by one, and written back to "
                      "x[mask]; elsewhere use torch.where(mask, x, 0)");
  TAPER_ASSIGN(const Value made, call_operator(name, std::move(whole)));
  if (!made.is_tensor()) return made;
  return Value(MaskedRef{*made.tensor(), masked->mask});
}

}  // namespace taper::torchscript
