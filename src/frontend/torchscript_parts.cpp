// Parts of tensors of which the last one may be shorter: what split() gives, and what loops make of them.
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {

// split() along an axis of an open size.
Expected<std::optional<Value>> Interpreter::on_parts(std::string_view name, const std::vector<Argument>& arguments) {
  if (arguments.empty()) return std::nullopt;
  const auto argument = [&](std::size_t i) { return i < arguments.size() ? arguments[i].value : Value(Dim(0)); };
  const Value& first = arguments[0].value;
  if (const auto* held = first.as<std::shared_ptr<List>>(); held && name == "cat") {
    const List& list = **held;
    if (list.kind != List::Kind::joined && list.kind != List::Kind::parts) return std::nullopt;
    const auto dim = argument(1).integer();
    if (!dim) return error_here("the axis of 'cat' is not known");
    TAPER_ASSIGN(const std::size_t axis, aten::axis_of(*dim, list.stack.tensor->type().shape.size()));
    if (axis != list.axis)
      return error_here("tensors of which the last one may be shorter are joined along another axis",
                        "pad the input so that all parts are of one size");
    TAPER_ASSIGN(Value all, call_aten("clone", {{"", list.stack}}));
    return all;
  }
  if (name != "split" || !first.is_tensor()) return std::nullopt;
  const auto part = argument(1).integer(), dim = argument(2).integer();
  const Shape& shape = first.tensor()->tensor->type().shape;
  if (!part || *part < 1 || !dim || shape.empty()) return std::nullopt;
  TAPER_ASSIGN(const std::size_t axis, aten::axis_of(*dim, shape.size()));
  if (shape[axis].constant() || divide_exactly(shape[axis], Dim(*part))) return std::nullopt;
  auto list = std::make_shared<List>(std::vector<Value>(), region_);
  list->kind = List::Kind::parts;
  list->stack = *first.tensor();
  list->axis = axis;
  list->part = *part;
  return Value(std::move(list));
}

Dim Interpreter::part_count(const List& list) {
  const Dim& size = list.stack.tensor->type().shape[list.axis];
  if (aten::known_less(region_->context, 0, size) != true)
    assume(fmt::format("the files are right where {} > 0 alone: of nothing there is one part, which is empty",
                       size.text()));
  return ceil_divide(size, list.part);
}

Expected<Value> Interpreter::part_of_tensor(const List& list, const Value& index) {
  const Dim count = part_count(list);
  if (const auto at = index.integer()) {
    const Dim least = *at < 0 ? Dim(0) - Dim(*at) : Dim(*at) + Dim(1);
    const auto has = aten::known_less_equal(region_->context, least, count);
    if (has == false || least.overflowed()) return error_here(fmt::format("index {} of {} parts", *at, count.text()));
    if (!has)
      assume(fmt::format("there are {} parts at least at {}, as the program demands", least.text(), place(line_)));
  }
  TAPER_ASSIGN(Value at, place_of_index(index, count));
  TAPER_ASSIGN(const Value begin, call_operator("mul", {{"", std::move(at)}, {"", list.part}}));
  TAPER_ASSIGN(Value end, call_operator("add", {{"", begin}, {"", list.part}}));
  const Dim axis(static_cast<std::int64_t>(list.axis));
  return call_operator("slice", {{"", list.stack}, {"", axis}, {"", begin}, {"", std::move(end)}, {"", Dim(1)}});
}

Dim Interpreter::Growth::Ragged::entries(const aten::Context& context, const Dim& steps) const {
  // max(n, 0) steps reach what n steps reach.
  Dim reached = steps;
  if (const auto function = as_function(steps); function && function->name == "max")
    reached = function->a.constant() ? function->b : function->a;
  const bool reaches = aten::known_less_equal(context, size, first + Dim(step) * reached) == true;
  const Dim end = reaches ? size : aten::smaller(context, first + Dim(step) * steps, size);
  const Dim all = aten::larger(context, end - aten::smaller(context, first, size), 0);
  return before + Dim(factor) * all + Dim(offset) * steps;
}

std::optional<Interpreter::Growth> Interpreter::Loop::ragged_growth(std::span<const Value> added,
                                                                    std::span<const Value> old) const {
  const Region& region = *body.region;
  std::optional<Growth> growth;
  std::string symbol;
  for (const Value& item : added) {
    if (!item.is_tensor()) return std::nullopt;
    Type type = item.tensor()->tensor->type();
    std::optional<Growth::Ragged> ragged;
    for (std::size_t axis = 0; axis < type.shape.size(); ++axis) {
      std::vector<std::string> counted = symbols_of(type.shape[axis]);
      std::erase_if(counted, [&](const std::string& name) { return !region.parts.contains(name); });
      if (counted.empty()) continue;
      if (ragged || counted.size() != 1 || (!symbol.empty() && symbol != counted[0])) return std::nullopt;
      symbol = counted[0];
      ragged = Growth::Ragged{.axis = axis, .factor = 0};
      for (const Dim::Term& term : type.shape[axis].terms()) {
        if (term.symbols.empty()) {
          ragged->offset = term.coefficient;
        } else if (term.symbols.size() == 1 && term.symbols[0] == symbol && term.coefficient > 0) {
          ragged->factor = term.coefficient;
        } else {
          return std::nullopt;
        }
      }
    }
    constexpr std::int64_t kMost = std::int64_t{1} << 30;
    if (!ragged || ragged->factor == 0 || ragged->factor > kMost || ragged->offset > kMost || ragged->offset < -kMost ||
        added.size() > kMost)
      return std::nullopt;
    type.shape.erase(type.shape.begin() + static_cast<std::ptrdiff_t>(ragged->axis));
    if (growth && (growth->item != type || growth->ragged->axis != ragged->axis)) return std::nullopt;
    if (growth) {
      growth->ragged->factor += ragged->factor;
      growth->ragged->offset += ragged->offset;
    } else {
      growth = Growth{.item = std::move(type), .count = added.size(), .ragged = ragged};
    }
  }
  if (!growth) return growth;
  for (const Value& item : old) {
    if (!item.is_tensor()) return std::nullopt;
    Type type = item.tensor()->tensor->type();
    const std::size_t axis = growth->ragged->axis;
    if (axis >= type.shape.size()) return std::nullopt;
    growth->ragged->before = growth->ragged->before + type.shape[axis];
    type.shape.erase(type.shape.begin() + static_cast<std::ptrdiff_t>(axis));
    if (type != growth->item) return std::nullopt;
  }
  return growth;
}

// The entries of all items so far: those of this iteration stand behind those of all before.
Expected<taper::Value*> Interpreter::joined_further(Loop& loop, std::size_t i) {
  const Loop::Carried& one = loop.carried[i];
  const Growth::Ragged& ragged = *one.growth->ragged;
  const Region& region = *region_;
  std::vector<Value> items = loop.after(one);
  const Dim axis(static_cast<std::int64_t>(ragged.axis));
  const Region::Part* part = nullptr;
  for (const std::string& symbol : symbols_of(items.at(0).tensor()->tensor->type().shape.at(ragged.axis)))
    if (const auto found = region.parts.find(symbol); found != region.parts.end()) part = &found->second;
  if (part == nullptr) return error_here("a list gets items of different sizes in a loop that depends on data");
  TAPER_ASSIGN(const Value joined, call_aten("cat", {{"", new_list(std::move(items))}, {"", axis}}));
  TAPER_ASSIGN(const Value moved, call_aten("movedim", {{"", joined}, {"", axis}, {"", Dim(0)}}));
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, *moved.tensor()));
  // How many there are before: those of the parts before this one.
  Builder& build = region_->build;
  TAPER_ASSIGN(taper::Value * begin,
               number_in(*region_, aten::smaller(region_->context, ragged.first, ragged.size), DType::i64));
  TAPER_ASSIGN(taper::Value * size, number_in(*region_, part->size, DType::i64));
  taper::Value* place = build("sub", {build("minimum", {part->first, size}), begin});
  if (ragged.factor != 1) place = build("mul", {place, aten::integer_number(build, ragged.factor)});
  if (!ragged.before.is(0)) {
    TAPER_ASSIGN(taper::Value * before, number_in(*region_, ragged.before, DType::i64));
    place = build("add", {place, before});
  }
  if (ragged.offset != 0)
    place = build("add", {place, build("mul", {loop.body.outputs[0], aten::integer_number(build, ragged.offset)})});
  TAPER_ASSIGN(taper::Value * all,
               content_of(*region_, *loop.places[i]));  // unless what they are cut from is written to
  taper::Value* made = build("update_slice", {all, content, places_along(build, place, 0, content->type.shape.size())});
  TAPER_TRY(build.status());
  return made;
}

}  // namespace taper::torchscript
