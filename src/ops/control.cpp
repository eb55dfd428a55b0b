// Control flow.
#include "ops/evaluate.h"
#include "ops/families.h"
#include "ops/rules.h"

namespace taper {
namespace {

// Both regions take the carried values; the condition gives one bool, the body the next carried values of the same
// types.
Expected<std::vector<Type>> infer_while(const InferCall& call) {
  if (call.regions.size() != 2) return fail("expected a condition and a body");
  std::vector<Type> types;
  for (const Value* operand : call.operands) types.push_back(operand->type);
  for (const auto& region : call.regions) {
    if (region->inputs().size() != types.size())
      return fail("a region has {} inputs, expected {}", region->inputs().size(), types.size());
    for (std::size_t i = 0; i < types.size(); ++i)
      if (region->inputs()[i]->type != types[i])
        return fail("region input '{}' is {}, expected {}", region->inputs()[i]->name,
                    type_text(region->inputs()[i]->type), type_text(types[i]));
  }
  const auto& condition = call.regions[0]->outputs();
  if (condition.size() != 1 || condition[0].value->type != Type{DType::boolean, {}})
    return fail("the condition is no bool");
  const auto& next = call.regions[1]->outputs();
  if (next.size() != types.size()) return fail("the body gives {} values, expected {}", next.size(), types.size());
  for (std::size_t i = 0; i < types.size(); ++i)
    if (next[i].value->type != types[i])
      return fail("value {} is {}, its next {}", i, type_text(types[i]), type_text(next[i].value->type));
  return types;
}

Expected<std::vector<Array>> eval_while(const EvalCall& call) {
  std::vector<Array> carried;
  for (const Array* operand : call.operands) carried.push_back(*operand);
  PreparedGraph condition(*call.regions[0]);
  PreparedGraph body(*call.regions[1]);
  while (true) {
    TAPER_ASSIGN(const std::vector<Array> go_on, condition.run(carried));
    if (go_on[0].values[0] == 0) return carried;
    TAPER_ASSIGN(carried, body.run(std::move(carried)));
  }
}

// Both regions take the operands behind the condition and give values of the same types.
Expected<std::vector<Type>> infer_if(const InferCall& call) {
  if (call.regions.size() != 2) return fail("expected two regions");
  if (call.operands.empty() || call.type(0) != Type{DType::boolean, {}})
    return fail("the condition is {}, expected a bool", call.operands.empty() ? "absent" : type_text(call.type(0)));
  for (const auto& region : call.regions) {
    if (region->inputs().size() + 1 != call.operands.size())
      return fail("a region has {} inputs, expected {}", region->inputs().size(), call.operands.size() - 1);
    for (std::size_t i = 0; i < region->inputs().size(); ++i)
      if (region->inputs()[i]->type != call.type(i + 1))
        return fail("region input '{}' is {}, expected {}", region->inputs()[i]->name,
                    type_text(region->inputs()[i]->type), type_text(call.type(i + 1)));
  }
  std::vector<Type> types;
  for (const Output& output : call.regions[0]->outputs()) types.push_back(output.value->type);
  const auto& others = call.regions[1]->outputs();
  if (types.empty() || others.size() != types.size())
    return fail("the regions give {} and {} values", types.size(), others.size());
  for (std::size_t i = 0; i < types.size(); ++i)
    if (others[i].value->type != types[i])
      return fail("value {} is {} in one region, {} in the other", i, type_text(types[i]),
                  type_text(others[i].value->type));
  return types;
}

Expected<std::vector<Array>> eval_if(const EvalCall& call) {
  std::vector<Array> inputs;
  for (std::size_t i = 1; i < call.operands.size(); ++i) inputs.push_back(call.operand(i));
  return evaluate(*call.regions[call.operand(0).values.at(0) != 0 ? 0 : 1], std::move(inputs));
}

}  // namespace

std::vector<Op> control_ops() {
  std::vector<Op> rows;
  rows.push_back({
      .name = "while",
      .doc = "runs the body on the carried values as long as the condition holds",
      .operands = {"carried*"},
      .infer = infer_while,
      .eval = eval_while,
      .tflite = {.builtin = tflite::BuiltinOperator::WHILE, .since = "1.15.0", .inputs = {operands_from(0)}},
      .tensorflow = {.op = "While", .inputs = {operands_from(0)}, .types = {}},
  });
  rows.push_back({
      .name = "if",
      .doc =
          "what the first region makes of the operands behind the condition if that holds, else what the second does",
      .operands = {"condition", "operands*"},
      .infer = infer_if,
      .eval = eval_if,
  });
  return rows;
}

}  // namespace taper
