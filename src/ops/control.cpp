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
  condition.observe(call.observer);
  PreparedGraph body(*call.regions[1]);
  body.observe(call.observer);
  // Far more than any sequence has steps: inputs can be such that the condition always holds.
  constexpr std::int64_t kMostTurns = 1 << 18;
  for (std::int64_t turn = 0; turn < kMostTurns; ++turn) {
    TAPER_ASSIGN(const std::vector<Array> go_on, condition.run(carried));
    if (go_on[0].values[0] == 0) return carried;
    TAPER_ASSIGN(carried, body.run(std::move(carried)));
    condition.observe(call.observer, true);
    body.observe(call.observer, true);
  }
  return fail_with_hint(fmt::format("a loop has not ended after {} turns", kMostTurns),
                        "when it ends depends on the inputs: give real ones with --verify-input, or leave the "
                        "verification out with --no-verify");
}

void write_while_regions(std::span<const std::int32_t> subgraphs, tflite::BuiltinOptionsUnion& out) {
  tflite::WhileOptionsT options;
  options.cond_subgraph_index = subgraphs[0];
  options.body_subgraph_index = subgraphs[1];
  out.Set(options);
}
std::vector<std::int32_t> read_while_regions(const tflite::BuiltinOptionsUnion& in) {
  const tflite::WhileOptionsT* options = in.AsWhileOptions();
  if (options == nullptr) return {};
  return {options->cond_subgraph_index, options->body_subgraph_index};
}

void write_if_regions(std::span<const std::int32_t> subgraphs, tflite::BuiltinOptionsUnion& out) {
  tflite::IfOptionsT options;
  options.then_subgraph_index = subgraphs[0];
  options.else_subgraph_index = subgraphs[1];
  out.Set(options);
}
std::vector<std::int32_t> read_if_regions(const tflite::BuiltinOptionsUnion& in) {
  const tflite::IfOptionsT* options = in.AsIfOptions();
  if (options == nullptr) return {};
  return {options->then_subgraph_index, options->else_subgraph_index};
}

// The body takes the number of the step, a bool and the carried values; it gives a bool and the next values.
Expected<std::vector<Type>> infer_onnx_loop(const InferCall& call) {
  if (call.regions.size() != 1) return fail("expected one body");
  const Graph& body = *call.regions[0];
  const std::size_t carried = call.operands.size() < 2 ? 0 : call.operands.size() - 2;
  if (body.inputs().size() != carried + 2 || body.outputs().size() != carried + 1)
    return fail("the body has {} inputs and {} outputs for {} values", body.inputs().size(), body.outputs().size(),
                carried);
  const Type step{DType::i64, {}}, flag{DType::boolean, {}};
  if ((call.has(0) && call.type(0) != step) || (call.has(1) && call.type(1) != flag) ||
      body.inputs()[0]->type != step || body.inputs()[1]->type != flag || body.outputs()[0].value->type != flag)
    return fail("steps are counted by i64[], going on is a bool");
  std::vector<Type> types;
  for (std::size_t i = 0; i < carried; ++i) {
    const Type& type = call.type(i + 2);
    if (body.inputs()[i + 2]->type != type || body.outputs()[i + 1].value->type != type)
      return fail("value {} is {}, in the body {}, its next {}", i, type_text(type),
                  type_text(body.inputs()[i + 2]->type), type_text(body.outputs()[i + 1].value->type));
    types.push_back(type);
  }
  if (types.empty()) return fail("nothing is carried");
  return types;
}

Expected<std::vector<Array>> eval_onnx_loop(const EvalCall& call) {
  std::vector<Array> carried;
  for (std::size_t i = 2; i < call.operands.size(); ++i) carried.push_back(call.operand(i));
  double go_on = call.has(1) ? call.operand(1).values.at(0) : 1;
  PreparedGraph body(*call.regions[0]);
  body.observe(call.observer);
  for (double step = 0; go_on != 0 && (!call.has(0) || step < call.operand(0).values.at(0)); ++step) {
    carried.insert(carried.begin(), {Array{DType::i64, {}, {step}}, Array{DType::boolean, {}, {1}}});
    TAPER_ASSIGN(carried, body.run(std::move(carried)));
    go_on = carried.front().values.at(0);
    carried.erase(carried.begin());
  }
  return carried;
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
  PreparedGraph taken(*call.regions[call.operand(0).values.at(0) != 0 ? 0 : 1], false);
  taken.observe(call.observer);
  return taken.run(std::move(inputs));
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
      .tflite = {.builtin = tflite::BuiltinOperator::WHILE,
                 .since = "1.15.0",
                 .inputs = {operands_from(0)},
                 .write_regions = write_while_regions,
                 .read_regions = read_while_regions},
      .tensorflow = {.op = "While",
                     .inputs = {operands_from(0)},
                     .types = {},
                     .regions = {.functions = {"cond", "body"}, .argument_types = "T", .carries = true}},
  });
  rows.push_back({
      .name = "if",
      .doc =
          "what the first region makes of the operands behind the condition if that holds, else what the second does",
      .operands = {"condition", "operands*"},
      .infer = infer_if,
      .eval = eval_if,
      .region_operands = 1,
      .onnx = {.op_type = "If", .inputs = {operand(0)}, .regions = {"then_branch", "else_branch"}, .captures = true},
      .tflite = {.builtin = tflite::BuiltinOperator::IF,
                 .since = "1.15.0",
                 .inputs = {operand(0), operands_from(1)},
                 .write_regions = write_if_regions,
                 .read_regions = read_if_regions},
      .tensorflow = {.op = "If",
                     .inputs = {operand(0), operands_from(1)},
                     .types = {{"Tcond"}},
                     .regions = {.functions = {"then_branch", "else_branch"},
                                 .argument_types = "Tin",
                                 .result_types = "Tout"}},
  });
  rows.push_back({
      .name = "onnx_loop",
      .doc =
          "ONNX's Loop: runs its body on the number of the step, whether to go on and the carried values, as long as "
          "steps are left and it is to go on",
      .operands = {"steps?", "go_on?", "carried*"},
      .infer = infer_onnx_loop,
      .eval = eval_onnx_loop,
      .region_operands = 2,
      .onnx = {.op_type = "Loop", .inputs = {operand(0), operand(1), operands_from(2)}, .regions = {"body"}},
  });
  return rows;
}

}  // namespace taper
