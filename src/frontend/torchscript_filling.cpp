// Lists of which branches decide how many items they get: they fill a tensor that has room for all.
#include "frontend/aten_counts.h"
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {

// Makes a known list one that fills a tensor with room for more.
Status Interpreter::begin_filling(List& list, const Growth& growth, const Dim& room) {
  Builder& build = region_->build;
  std::vector<taper::Value*> parts;
  for (const Value& item : list.items) {
    if (!is_item(item) || item_type(item) != growth.item)
      return error_here("a list of different items gets more of them in one branch than in the other");
    TAPER_ASSIGN(taper::Value * content, number_in(*region_, item, growth.item.dtype));
    parts.push_back(aten::unsqueeze(build, content, 0));
  }
  Shape shape = growth.item.shape;
  shape.insert(shape.begin(), some(region_->context, room));
  parts.push_back(aten::full(build, shape, aten::Arg(Dim(0)), growth.item.dtype));
  taper::Value* all = aten::concat(build, std::move(parts), 0);
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const TensorRef shared, shared_with(list.items, all, std::string(kWritesToItem)));
  list.length = std::make_shared<Value>(Dim(static_cast<std::int64_t>(list.items.size())));
  list.stack = {shared.tensor, region_, growth.is_number};
  list.kind = List::Kind::filling;
  return {};
}

Status Interpreter::add_room(List& list, const Dim& room) {
  Builder& build = region_->build;
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, {list.stack.tensor, list.stack.home, false}));
  Shape more = all->type.shape;
  more[0] = some(region_->context, room);
  taper::Value* longer = aten::concat(build, {all, aten::full(build, more, aten::Arg(Dim(0)), all->type.dtype)}, 0);
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const TensorRef shared, shared_with(std::vector<Value>{list.stack}, longer, std::string(kWritesToItem)));
  list.stack = {shared.tensor, region_, list.stack.is_number};
  return {};
}

// Lists that fill tensors before a loop do so in it.
void Interpreter::note_filling(Attempts& attempts) {
  for (const Value& container : attempts.changed) {
    const auto* list = container.as<std::shared_ptr<List>>();
    if (!list || (*list)->kind != List::Kind::filling || (*list)->home != region_) continue;
    Type item = (*list)->stack.tensor->type();
    item.shape.erase(item.shape.begin());
    attempts.filling.try_emplace(list->get(), Growth{std::move(item), (*list)->stack.is_number, 1, false});
  }
}

Expected<Value> Interpreter::append_to_filling(const std::shared_ptr<List>& list, const Value& item) {
  TAPER_TRY(check_may_change(list));
  const Type& type = list->stack.tensor->type();
  Shape shape = type.shape;
  shape.erase(shape.begin());
  if (!is_item(item) || item.is_tensor() == list->stack.is_number || item_type(item) != Type{type.dtype, shape})
    return error_here(
        fmt::format("{} is put into a list of other items, of a number that depends on data", describe(item)));
  ++list->in_iteration;
  if (++list->added > list->room && list->room > 0)
    return error_here(fmt::format("a branch that depends on data adds more than {} items to a list", list->room),
                      "write into a tensor of known size (out[t] = y)");
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, {list->stack.tensor, list->stack.home, false}));
  TAPER_ASSIGN(taper::Value * content, number_in(*region_, item, type.dtype));
  TAPER_ASSIGN(taper::Value * place, number_in(*region_, *list->length, DType::i64));
  Builder& build = region_->build;
  taper::Value* made =
      build("update_slice", {all, aten::unsqueeze(build, content, 0), places_along(build, place, 0, shape.size() + 1)});
  TAPER_TRY(build.status());
  // The list would see what is written to the item later.
  TAPER_ASSIGN(const TensorRef shared,
               shared_with(std::vector<Value>{item, list->stack}, made, std::string(kWritesToItem)));
  TAPER_ASSIGN(Value length, call_operator("add", {{"", *list->length}, {"", Dim(1)}}));
  list->stack = {shared.tensor, region_, list->stack.is_number};
  list->length = std::make_shared<Value>(std::move(length));
  return list;
}

Expected<Value> Interpreter::item_of_filling(const List& list, const Value& index) {
  Value place = index;
  if (const auto at = index.integer(); at && *at < 0) {
    TAPER_ASSIGN(place, call_operator("add", {{"", *list.length}, {"", index}}));
  } else if (!at) {
    return error_here(
        fmt::format("a list of a number of items that depends on data is indexed by {}", describe(index)));
  }
  return item_of_stack(list.stack, place);
}

// Takes the last item. That there is one is the program's to know.
Expected<Value> Interpreter::pop_from_filling(const Value& container) {
  TAPER_TRY(check_may_change(container));
  List& list = **container.as<std::shared_ptr<List>>();
  TAPER_ASSIGN(Value item, item_of_filling(list, Dim(-1)));
  if (item.is_tensor()) {
    TAPER_ASSIGN(taper::Value * content, content_in(*region_, *item.tensor()));
    TAPER_ASSIGN(item, shared_with(std::vector{item}, content, std::string(kWritesToItem)));
  }
  TAPER_ASSIGN(Value length, call_operator("sub", {{"", *list.length}, {"", Dim(1)}}));
  list.length = std::make_shared<Value>(std::move(length));
  return item;
}

// After the branches and loops that filled it, a list is of as many items as there are.
Status Interpreter::settle(List& list) {
  if (list.kind != List::Kind::filling) return {};
  if (region_ != &root_ || list.home != &root_)
    return error_here("a list is used whose number of items depends on data, in a branch or loop that does too",
                      "write into a tensor of known size (out[t] = y)");
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, {list.stack.tensor, list.stack.home, false}));
  TAPER_ASSIGN(taper::Value * length, number_in(*region_, *list.length, DType::i64));
  taper::Value* part = region_->build(
      "gather", {all, aten::measured_range(region_->context, length, all->type.shape[0])}, {{"dim", std::int64_t{0}}});
  TAPER_TRY(region_->build.status());
  TAPER_ASSIGN(const TensorRef shared, shared_with(std::vector<Value>{list.stack}, part, std::string(kWritesToItem)));
  list.items.clear();
  list.kind = List::Kind::stacked;
  list.stack = {shared.tensor, region_, list.stack.is_number};
  return {};
}

// Whether a loop that failed adds more items to a list in one branch than in another, which is noted for another
// attempt.
bool Interpreter::note_uneven(Attempts& attempts) {
  if (!uneven_) return false;
  const auto& [value, growth] = *uneven_;
  const List* list = value.as<std::shared_ptr<List>>()->get();
  const bool is_here =
      std::ranges::any_of(attempts.changed, [&](const Value& one) { return same_container(one, value); });
  if (!is_here || attempts.filling.contains(list)) return false;
  attempts.filling.emplace(list, growth);
  std::erase_if(attempts.grown, [&](const auto& one) { return one.first.first == list; });
  uneven_.reset();
  return true;
}

}  // namespace taper::torchscript
