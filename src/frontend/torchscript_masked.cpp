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

// Nothing is looked up before the program runs for masks that are known. Nothing: the mask has other axes.
Expected<std::optional<Value>> Interpreter::pick_by_mask(const TensorRef& x, const TensorRef& mask) {
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, x));
  TAPER_ASSIGN(taper::Value * picked, content_in(*region_, mask));
  const Shape& shape = content->type.shape;
  const Shape& of_mask = picked->type.shape;
  if (of_mask.empty() || of_mask.size() > shape.size() || !std::equal(of_mask.begin(), of_mask.end(), shape.begin()))
    return std::nullopt;
  return MaskedRef{{aten::Tensor::make(content), region_, false}, {aten::Tensor::make(picked), region_, false}};
}

// The entries that are picked, one after the other: how many they are is measured when the program runs.
Expected<Value> Interpreter::picked_entries(const MaskedRef& masked) {
  if (*masked.entries) return Value(**masked.entries);
  // Those that are picked outside of a branch or loop are looked up there.
  const Region* around = region_;
  while (around != nullptr && around != masked.x.home) around = around->outer;
  if (around == nullptr)
    return error_here(
        "entries that a mask picks are used in a branch or loop that depends on data, but picked in another",
        "pick them (x[mask]) where they are used");
  Region* const before = std::exchange(region_, masked.x.home);
  Expected<Value> picked = call_aten("index", {{"", masked.x}, {"", new_list({masked.mask})}});
  region_ = before;
  TAPER_ASSIGN(Value entries, std::move(picked));
  if (entries.is_tensor()) *masked.entries = *entries.tensor();
  return entries;
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

// Of all entries, or along their axis by sum or mean, without looking them up. Nothing for other reductions.
Expected<std::optional<Value>> Interpreter::reduce_masked(std::string_view name, const MaskedRef& masked,
                                                          const std::vector<Argument>& arguments) {
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
      return std::nullopt;
  }
  if (is_count ? (name == "size" && !along) || (name == "numel" && rank != picked)
               : along && name != "sum" && name != "mean")
    return std::nullopt;
  TAPER_ASSIGN(const Value count, call_aten("sum", {{"", masked.mask}}));
  if (is_count) return to_number(count, "int");
  const bool largest = name == "max" || name == "amax";
  const bool smallest = name == "min" || name == "amin";
  if ((largest || smallest) && !is_floating(masked.x.tensor->type().dtype)) return std::nullopt;
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

// The mask that a call picks or writes entries by, unless it is known; null if it does no such thing.
Expected<const Value*> Interpreter::picking_mask(std::string_view name, const std::vector<Argument>& arguments) {
  if (arguments.size() < 2 || !arguments[0].value.is_tensor()) return nullptr;
  const Value& second = arguments[1].value;
  const Value* mask = nullptr;
  if (name == "masked_select") mask = &second;
  if ((name == "index" || name == "index_put_" || name == "index_put") && second.items() && second.items()->size() == 1)
    mask = &second.items()->front();
  if (mask == nullptr || !is_mask(*mask)) return nullptr;
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, *mask->tensor()));
  return aten::constant_value(content) ? nullptr : mask;
}

Expected<bool> Interpreter::same_mask(const TensorRef& a, const TensorRef& b) {
  int budget = 200;
  TAPER_ASSIGN(const taper::Value* p, content_in(*region_, a));
  TAPER_ASSIGN(const taper::Value* q, content_in(*region_, b));
  return same_computation(p, q, budget);
}

// x[mask] = entries that the same mask picked of a tensor like x: elements choose, none is moved. Nothing otherwise.
Expected<std::optional<Value>> Interpreter::put_back(std::string_view name, const std::vector<Argument>& arguments,
                                                     const TensorRef& mask, const MaskedRef& masked) {
  const auto* flag = arguments.size() > 3 ? arguments[3].value.as<bool>() : nullptr;
  TAPER_ASSIGN(const bool same, same_mask(mask, masked.mask));
  TAPER_ASSIGN(taper::Value * x, content_in(*region_, *arguments[0].value.tensor()));
  if (!same || (flag != nullptr && *flag) || x->type != masked.x.tensor->type()) return std::nullopt;
  Shape wide = masked.mask.tensor->type().shape;
  wide.resize(x->type.shape.size(), Dim(1));
  TAPER_ASSIGN(taper::Value * picked, content_in(*region_, masked.mask));
  TAPER_ASSIGN(taper::Value * source, content_in(*region_, masked.x));
  Builder& build = region_->build;
  taper::Value* made = build("where", {aten::reshape(build, picked, wide), source, x});
  TAPER_TRY(build.status());
  const Value put = TensorRef{aten::Tensor::make(made), region_, false};
  if (name == "index_put") return put;
  TAPER_ASSIGN(Value written, call_aten("copy_", {arguments[0], {"", put}}));
  return written;
}

// Entry by entry: computed for all elements, of which the mask then picks. Nothing where entries of unlike places meet.
Expected<std::optional<Value>> Interpreter::on_each_masked(std::string_view name, const MaskedRef& masked,
                                                           std::vector<Argument> arguments) {
  if (std::ranges::find(kPointwise, name) == std::end(kPointwise)) return std::nullopt;
  for (Argument& argument : arguments) {
    if (const auto* one = argument.value.as<MaskedRef>()) {
      TAPER_ASSIGN(const bool same, same_mask(one->mask, masked.mask));
      if (!same || one->x.tensor->type().shape != masked.x.tensor->type().shape) return std::nullopt;
      argument.value = TensorRef(one->x);
    } else if (argument.value.tensor() && !argument.value.tensor()->tensor->type().shape.empty()) {
      return std::nullopt;
    }
  }
  TAPER_ASSIGN(const Value made, call_operator(name, std::move(arguments)));
  if (!made.is_tensor()) return made;
  return Value(MaskedRef{*made.tensor(), masked.mask});
}

Expected<std::optional<Value>> Interpreter::on_masked(std::string_view name, const std::vector<Argument>& arguments) {
  TAPER_ASSIGN(const Value* mask, picking_mask(name, arguments));
  if (mask != nullptr && (name == "index" || name == "masked_select"))
    return pick_by_mask(*arguments[0].value.tensor(), *mask->tensor());
  const MaskedRef* masked = nullptr;
  bool are_tensors = false;
  for (const Argument& argument : arguments)
    if (const auto* one = argument.value.as<MaskedRef>()) {
      masked = one;
      are_tensors = are_tensors || one->entries->has_value();
    }
  if (masked == nullptr) return std::nullopt;
  std::optional<Value> made;
  if (!are_tensors && mask != nullptr && arguments.size() >= 3 && arguments[2].value.as<MaskedRef>()) {
    TAPER_ASSIGN(made, put_back(name, arguments, *mask->tensor(), *masked));
  } else if (!are_tensors && arguments[0].value.as<MaskedRef>() &&
             std::ranges::find(kReductions, name) != std::end(kReductions)) {
    TAPER_ASSIGN(made, reduce_masked(name, *masked, arguments));
  }
  if (!made && !are_tensors) {
    TAPER_ASSIGN(made, on_each_masked(name, *masked, arguments));
  }
  if (made) return made;
  std::vector<Argument> whole = arguments;
  for (Argument& argument : whole)
    if (const auto* one = argument.value.as<MaskedRef>()) {
      TAPER_ASSIGN(argument.value, picked_entries(*one));
    }
  TAPER_ASSIGN(Value result, call_operator(name, std::move(whole)));
  return result;
}

}  // namespace taper::torchscript
