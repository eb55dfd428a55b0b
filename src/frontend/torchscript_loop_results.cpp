// What loops of TorchScript that depend on data leave behind.
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {

struct Interpreter::Round {
  std::vector<taper::Value*> operands = {};
  std::vector<WantedInput> body = {}, condition = {};
  std::vector<std::pair<TensorRef, std::size_t>> written = {};  // tensors of outside, and which result each becomes
};

// What either region reads of outside goes round unchanged, but for tensors that the body writes to.
Status Interpreter::capture_all(Loop& loop, Round& round) {
  Branch& body = loop.body;
  Branch& condition = loop.condition;
  for (Branch* branch : {&body, &condition}) TAPER_TRY(capture_sizes(*branch->region));
  std::vector<Capture> captures;
  for (Branch* branch : {&body, &condition})
    for (const Capture& capture : branch->region->captures) {
      if (!capture.inner.tensor->readable())  // the next iteration would read it
        return error_here(capture.inner.tensor->lost().value_or(sharing_error(capture.outer_value->name)));
      if (!capture.input) continue;
      if (branch == &condition && find_capture(body.region->captures, capture.outer.tensor)) continue;
      captures.push_back(capture);
    }
  for (const Capture& capture : captures) {
    const Capture* in_body = find_capture(body.region->captures, capture.outer.tensor);
    const Capture* in_condition = find_capture(condition.region->captures, capture.outer.tensor);
    round.operands.push_back(capture.outer_value);
    taper::Value* input = in_body ? in_body->input : body.graph->add_input(capture.input->name, capture.input->type);
    round.body.push_back({input, capture.input->name, capture.input->type});
    round.condition.push_back({in_condition ? in_condition->input : nullptr, capture.input->name, capture.input->type});
    taper::Value* after = input;
    if (in_body) {
      TAPER_ASSIGN(after, content_of(*body.region, *in_body->inner.tensor));
    }
    if (after != input) round.written.emplace_back(capture.outer, loop.next.size());
    loop.next.push_back(after);
  }
  return {};
}

Expected<std::vector<taper::Value*>> Interpreter::build_while(Loop& loop, Round& round) {
  Branch& body = loop.body;
  Branch& condition = loop.condition;
  condition.graph->add_output("go_on", loop.go_on);
  for (std::size_t i = 0; i < loop.next.size(); ++i) body.graph->add_output(fmt::format("next_{}", i), loop.next[i]);
  std::vector<std::unique_ptr<Graph>> regions;
  TAPER_ASSIGN(std::unique_ptr<Graph> condition_graph, with_inputs(std::move(*condition.graph), round.condition));
  TAPER_ASSIGN(std::unique_ptr<Graph> body_graph, with_inputs(std::move(*body.graph), round.body));
  regions.push_back(std::move(condition_graph));
  regions.push_back(std::move(body_graph));
  loop.outer.build.set_scope(frame_->scope);
  std::vector<taper::Value*> results =
      loop.outer.build.call("while", std::move(round.operands), {}, "while", std::move(regions));
  TAPER_TRY(loop.outer.build.status());
  return results;
}

// What a variable is, or a list, dict or attribute holds. `after`: what is carried.
Status Interpreter::set_holder(Loop& loop, std::size_t at, std::span<const Value> after) {
  const Loop::Holder& holder = loop.holders[at];
  const std::size_t of_holder = loop.carried_of(at);
  if (holder.growth) {
    Value grown = holder.variable.empty() ? holder.container : stacked_list(TensorRef());
    List& list = **grown.as<std::shared_ptr<List>>();
    list.items.clear();
    list.kind = holder.growth->ragged ? List::Kind::joined : List::Kind::stacked;
    list.axis = holder.growth->ragged ? holder.growth->ragged->axis : 0;
    list.stack = *after[of_holder].tensor();
    list.length = nullptr;
    if (holder.growth->ragged && loop.steps)
      list.length =
          std::make_shared<Value>(Dim(static_cast<std::int64_t>(loop.carried[of_holder].begin.items()->size())) +
                                  *loop.steps * Dim(static_cast<std::int64_t>(holder.growth->count)));
    if (!holder.variable.empty()) frame_->variables.insert_or_assign(holder.variable, std::move(grown));
    return {};
  }
  Value value = loop.rebuilt(at, &loop.outer, [&](std::size_t k) { return after[k]; });
  if (holder.variable.empty()) {
    if (holder.filling) {
      List& list = **holder.container.as<std::shared_ptr<List>>();
      list.kind = List::Kind::filling;
      list.stack.is_number = holder.filling->is_number;
    }
    TAPER_TRY(set_contents(holder.container, value));
  } else if (of_holder != Loop::kNone) {
    frame_->variables.insert_or_assign(holder.variable, std::move(value));
  }
  return {};
}

Status Interpreter::finish(Loop& loop, const Value& entered) {
  Round round;
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    round.operands.push_back(loop.carried[i].initial);
    for (auto [branch, wanted] : {std::pair{&loop.body, &round.body}, std::pair{&loop.condition, &round.condition}})
      wanted->push_back({branch->outputs[i], branch->outputs[i]->name, branch->outputs[i]->type});
  }
  TAPER_TRY(capture_all(loop, round));
  TAPER_ASSIGN(const std::vector<taper::Value*> results, build_while(loop, round));
  for (const auto& [tensor, at] : round.written) TAPER_TRY(tensor.tensor->write(loop.outer.build, results[at]));
  std::vector<aten::TensorPtr> tensors;
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    TAPER_ASSIGN(aten::TensorPtr tensor, result_of(loop, i, tensors, results[i], entered));
    tensors.push_back(std::move(tensor));
  }
  std::vector<Value> after;
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    TAPER_ASSIGN(after.emplace_back(), loop.carried[i].growth ? finish_growing(loop, i, tensors[i], results[0])
                                                              : Expected<Value>(TensorRef{tensors[i], &loop.outer,
                                                                                          loop.carried[i].is_number}));
  }
  for (std::size_t i = 0; i < loop.holders.size(); ++i) TAPER_TRY(set_holder(loop, i, after));
  // What is set anew in every iteration has no value if there is none.
  for (const std::string_view name : loop.assigned)
    if (!loop.before.contains(name)) frame_->variables.erase(name);
  return {};
}

// A carried value after the loop. Without an iteration it is the tensor that it was before.
Expected<aten::TensorPtr> Interpreter::result_of(const Loop& loop, std::size_t i,
                                                 std::span<const aten::TensorPtr> others, taper::Value* made,
                                                 const Value& entered) {
  const Loop::Carried& one = loop.carried[i];
  aten::TensorPtr tensor = aten::Tensor::make(made);
  if (one.is_number) return tensor;
  if (loop.places[i]->contiguous() != true) tensor->forget_strides();
  if (one.is_written) {
    for (const aten::TensorPtr& alias : one.aliases) alias->lose(sharing_error(one.name));
  } else if (one.is_replaced && (entered.as<bool>() || entered.as<Undecided>() || entered.tensor())) {
    const bool runs = loop.steps && aten::known_less(region_->context, 0, *loop.steps) == true && !loop.ends_itself;
    if (entered.as<bool>() || (one.growth && runs)) return tensor;
    // Without an iteration, what has grown is what it was copied from.
    if (one.growth && one.aliases.size() > 1)
      return aten::Tensor::make_uncertain(one.aliases, made, sharing_error(one.name));
    TAPER_ASSIGN(taper::Value * flag, number_in(*region_, entered, DType::boolean));
    return aten::Tensor::make_choice(seen_by_views(flag), tensor, one.before, made);
  }
  std::vector<aten::TensorPtr> bases;
  if (!one.is_written) bases = one.aliases;
  for (const auto& [a, b] : loop.related)
    if (b == i) bases.push_back(others[a]);
  if (!bases.empty()) return aten::Tensor::make_uncertain(std::move(bases), made, sharing_error(one.name));
  return tensor;
}

}  // namespace taper::torchscript
