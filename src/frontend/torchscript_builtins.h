// What the operators of TorchScript on numbers, texts and containers share. Internal to the interpreter.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/torchscript_interpreter.h"

namespace taper::torchscript {

// One call.
class Builtins {
 public:
  using Made = Expected<std::optional<Value>>;  // nothing: not for these arguments
  using Function = Made (*)(Builtins&);

  Builtins(Interpreter& interpreter, std::string_view the_name, std::vector<Argument>& arguments)
      : run(interpreter), name(the_name), args(arguments) {}

  Interpreter& run;
  std::string_view name;
  std::vector<Argument>& args;

  // The argument at a place, or by its name; None if it is not given.
  const Value& at(std::size_t i, std::string_view keyword = {}) const {
    static const Value none;
    if (i < args.size() && args[i].name.empty()) return args[i].value;
    for (const Argument& argument : args)
      if (!keyword.empty() && argument.name == keyword) return argument.value;
    return none;
  }
  std::size_t count() const { return args.size(); }
  std::unexpected<Error> error(std::string message, std::string hint = {}) const {
    return run.error_here(std::move(message), std::move(hint));
  }
  const aten::Context& context() const { return run.region_->context; }
  Value list(std::vector<Value> items) const { return run.new_list(std::move(items)); }
  // Whether a list or dict may change here.
  Status may_change(const Value& container) const { return run.check_may_change(container); }
  Expected<Value> again(std::string_view other, std::vector<Argument> arguments) const {
    return run.call_operator(other, std::move(arguments));
  }
  // A condition on sizes that the running program decides as such a number; other values as they are.
  Expected<Value> known_when_run(const Value& value) const {
    if (!value.as<Undecided>()) return value;
    TAPER_ASSIGN(taper::Value * content, run.number_in(*run.region_, value, DType::boolean));
    return TensorRef{aten::Tensor::make(content), run.region_, true};
  }
  Dim part_count(const List& list) const { return run.part_count(list); }
  void assume(std::string sentence) const { run.assume(std::move(sentence)); }
  std::string place() const { return run.place(run.line_); }
  // Such a tensor, which may share elements with those that the list holds.
  Expected<Value> shared_with(std::span<const Value> tensors, const Value& made) const {
    if (!made.is_tensor()) return made;
    TAPER_ASSIGN(taper::Value * content, run.content_in(*run.region_, *made.tensor()));
    TAPER_ASSIGN(Value shared, run.shared_with(tensors, content,
                                               "an item of a list is written to, or the list after it (append "
                                               "y.clone())"));
    return shared;
  }
  Value stacked(const TensorRef& stack) const { return run.stacked_list(stack); }
  Expected<Value> listed(const Value& tensor) const { return run.listed(tensor, 0); }
  // A tensor or number as a tensor.
  Expected<Value> as_tensor(const Value& value) const {
    if (const TensorRef* tensor = value.tensor()) return TensorRef{tensor->tensor, tensor->home, false};
    return run.make_tensor({{"", value}});
  }
  const Type& type_of(std::size_t i) const { return at(i).tensor()->tensor->type(); }
  Status warn(std::string text) const {
    if (std::ranges::find(run.warnings, text) == run.warnings.end() && run.warnings.size() < 100)
      run.warnings.push_back(std::move(text));
    return {};
  }

  Region* region() const { return run.region_; }
  // Counts what grows towards the program's budget.
  void charge(std::size_t items) const { run.spent_ += items / 8; }
  Expected<Value> slice(const Value& object, const Value& begin, const Value& end, const Value& step) const {
    return run.slice_of(object, begin, end, step);
  }
  Expected<Value> append_to_filling(const std::shared_ptr<List>& list, const Value& item) const {
    return run.append_to_filling(list, item);
  }
  Expected<Value> pop_from_filling(const Value& list) const { return run.pop_from_filling(list); }
  Made set_in_stack(const Value& list, const Value& index, const Value& item) const {
    TAPER_ASSIGN(Value set, run.set_in_stack(list, index, item));
    return set;
  }
  // A list so many times, which only the running program knows.
  Made repeated(const Value& list, const Value& times) const { return run.repeated_list(list, times); }
  Expected<Value> length_of(const List& list) const { return run.grown_length(*list.start, list.items.size()); }
  // A list with some items more than a growing one, which stays as it is.
  Expected<Value> longer(const List& list, const std::vector<Value>& items, bool in_front) const {
    auto grown = std::make_shared<List>(list.items, region());
    if (!list.items.empty() && list.grew_in_front != in_front)
      return error("a list grows at both ends in a loop that depends on data");
    grown->kind = List::Kind::growing;
    grown->start = list.start;
    grown->grew_in_front = in_front;
    grown->items.insert(in_front ? grown->items.begin() : grown->items.end(), items.begin(), items.end());
    return grown;
  }
  Expected<Value> item(const Value& object, const Value& index) const { return run.subscript(object, index); }
  // A number that depends on data, rounded to an integer.
  Made rounded() const {
    TAPER_ASSIGN(const Value real, run.call_aten(name, args));
    return run.to_number(real, "int");
  }

  Made compare() const;
  Made arithmetic();
  Made real_function() const;
};

using Made = Builtins::Made;

// What an operator knows to do with, beside plain values: flags.
enum Takes : std::uint8_t {
  kTakesPlain = 0,
  kTakesGrowing = 1,  // lists that grow in a loop; others get a copy of what there is so far
  kTakesFilling = 2,  // lists of which branches decide how many items they have; for others these are settled first
  kTakesUnknown = 4,  // the result of an operator that can't be read, to go on and find the others
};
struct NamedBuiltin {
  std::string_view name;
  Builtins::Function function;
  int takes = kTakesPlain;
};

inline const std::shared_ptr<List>* list_of(const Value& value) {
  return value.items() ? value.as<std::shared_ptr<List>>() : nullptr;
}
// A list that grows by an item in each iteration of a loop that is being read.
inline List* growing_list(const Value& value) {
  const auto* list = value.as<std::shared_ptr<List>>();
  return list && (*list)->kind == List::Kind::growing ? list->get() : nullptr;
}
// A list of which branches decide how many items it has.
inline const List* filling_list(const Value& value) {
  const auto* list = value.as<std::shared_ptr<List>>();
  return list && (*list)->kind == List::Kind::filling ? list->get() : nullptr;
}
// The parts of a tensor, as many as the running program finds.
inline const List* parts_list(const Value& value) {
  const auto* list = value.as<std::shared_ptr<List>>();
  return list && (*list)->kind == List::Kind::parts ? list->get() : nullptr;
}
inline const std::shared_ptr<Dict>* dict_of(const Value& value) {
  return value.as<std::shared_ptr<Dict>>();
}

// The sum of two lists.
Made join_lists(Builtins& call);
// any, all, sum, min and max of a list that is known.
Made fold_list(Builtins& call);

// The operators on lists, dicts and texts.
std::span<const NamedBuiltin> container_builtins();

}  // namespace taper::torchscript
