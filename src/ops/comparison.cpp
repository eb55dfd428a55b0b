// Comparisons, logic of booleans, and the choice between two values.
#include "ops/families.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

using tflite::BuiltinOperator;

const TfliteVersion kFirst = {1, "1.14.0"};

// -------------------------------------------------------------------------------------------------------- comparisons

Op comparison(Op op) {
  op.infer = infer_comparison;
  op.examples.push_back(example_of({i64({2, 3}), i64({3})}));
  op.examples.push_back(example_of({i32({2, 3}), i32({2, 1})}));
  op.examples.push_back(example_of({boolean({2, 3}), boolean({3})}, 0, 2));
  return op;
}

// Booleans are in order too: false < true. Targets say so of integers.
Op order(Op op) {
  op = comparison(std::move(op));
  op.onnx.dtypes = op.tensorflow.dtypes = number_dtypes();
  op.tflite.dtypes = {{DType::f32, kFirst}, {DType::i64, kFirst}, {DType::i32, kFirst}};
  op.expand = expand_cast<DType::boolean, DType::i32>;
  op.expands_if = [](const Node& node, Target) { return takes_booleans(node); };
  return op;
}

// --------------------------------------------------------------------------------------------------------------- logic

Expected<std::vector<Type>> infer_logic(const InferCall& call) {
  for (std::size_t i = 0; i < call.operands.size(); ++i)
    if (call.type(i).dtype != DType::boolean)
      return fail("operand {} is {}, expected bool", i, info(call.type(i).dtype).name);
  return call.operands.size() == 1 ? same_as_first(call) : infer_comparison(call);
}

Op logic(Op op) {
  op.infer = infer_logic;
  op.tensorflow.types = {};  // there is only bool
  if (op.operands.size() == 1)
    op.examples = {example_of({boolean({2, 3})}, 0, 2)};
  else
    op.examples = {example_of({boolean({2, 3}), boolean({2, 3})}, 0, 2),
                   example_of({boolean({2, 3, 4}), boolean({3, 1})}, 0, 2)};
  return op;
}

// --------------------------------------------------------------------------------------------------------------- where

Expected<std::vector<Type>> infer_where(const InferCall& call) {
  if (call.type(0).dtype != DType::boolean)
    return fail("condition is {}, expected bool", info(call.type(0).dtype).name);
  if (call.type(1).dtype != call.type(2).dtype)
    return fail("the choices are {} and {}, expected one dtype", info(call.type(1).dtype).name,
                info(call.type(2).dtype).name);
  TAPER_ASSIGN(const Shape choices, broadcast(call.shape(1), call.shape(2)));
  TAPER_ASSIGN(Shape shape, broadcast(call.shape(0), choices));
  return std::vector{Type{call.type(1).dtype, std::move(shape)}};
}

Expected<std::vector<Array>> eval_where(const EvalCall& call) {
  const auto first = [](double a, double) { return a; };
  const auto second = [](double, double b) { return b; };
  // All three in the shape of the result.
  TAPER_ASSIGN(const Array choices, zip_elements(call.operand(1), call.operand(2), call.operand(1).dtype, first));
  TAPER_ASSIGN(const Array condition, zip_elements(call.operand(0), choices, DType::boolean, first));
  TAPER_ASSIGN(Array a, zip_elements(condition, call.operand(1), choices.dtype, second));
  TAPER_ASSIGN(const Array b, zip_elements(condition, call.operand(2), choices.dtype, second));
  for (std::size_t i = 0; i < a.values.size(); ++i)
    if (condition.values[i] == 0) a.values[i] = b.values[i];
  return std::vector{std::move(a)};
}

bool chooses_booleans(const Node& node) {
  return node.operands[1]->type.dtype == DType::boolean;
}
// ONNX Runtime has none of these integers, of which int32 holds all.
bool chooses_short_integers(const Node& node) {
  const DType dtype = node.operands[1]->type.dtype;
  return dtype == DType::i8 || dtype == DType::i16 || dtype == DType::u16;
}

Op where_row() {
  return {
      .name = "where",
      .doc = "a where the condition holds, b elsewhere",
      .operands = {"condition", "a", "b"},
      .infer = infer_where,
      .eval = eval_where,
      .per_step = true,
      .on_bases = elements_on_bases,
      .broadcasts = true,
      // ONNX Runtime chooses no booleans, but knows what that means.
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        if (chooses_short_integers(node)) {
          const DType dtype = node.operands[1]->type.dtype;
          const Expr a{&build, operands[1]}, b{&build, operands[2]};
          return {cast(where({&build, operands[0]}, cast(a, DType::i32), cast(b, DType::i32)), dtype).value};
        }
        if (!chooses_booleans(node)) return {build("where", {operands.begin(), operands.end()})};
        Value* holds = build("logical_and", {operands[0], operands[1]});
        Value* fails = build("logical_and", {build("logical_not", {operands[0]}), operands[2]});
        return {build("logical_or", {holds, fails})};
      },
      .onnx = {.op_type = "Where",
               .inputs = {operand(0), operand(1), operand(2)},
               .fits = [](const Node& node) { return !chooses_booleans(node) && !chooses_short_integers(node); }},
      .tflite = {.builtin = BuiltinOperator::SELECT_V2,
                 .since = "2.2.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = tflite_options<tflite::SelectV2OptionsT>()},
      .tensorflow = {.op = "SelectV2", .inputs = {operand(0), operand(1), operand(2)}, .types = {{"T", 1}}},
      .examples = {{{boolean({2, 3}), f32({2, 3}), f32({2, 3})}, {}, 0, 2},
                   {{boolean({2, 1}), f32({3}), f32({})}, {}, 0, 2},
                   {{boolean({2, 3}), i64({2, 3}), i64({})}, {}, 0, 2},
                   {{boolean({2, 3}), boolean({3}), boolean({2, 1})}, {}, 0, 2},
                   {{boolean({2, 3}), {DType::i16, {2, 3}}, {DType::i16, {}}}, {}, 0, 2}},
  };
}

}  // namespace

std::vector<Op> comparison_ops() {
  std::vector<Op> rows;
  const auto row = [&rows](Op op) { rows.push_back(std::move(op)); };
  row(comparison(spelled(binary("equal", "a == b", eval_comparison<[](double a, double b) { return a == b; }>), "Equal",
                         "Equal", BuiltinOperator::EQUAL, "1.14.0", tflite_options<tflite::EqualOptionsT>())));
  Op not_equal =
      comparison(spelled(binary("not_equal", "a != b", eval_comparison<[](double a, double b) { return a != b; }>), "",
                         "NotEqual", BuiltinOperator::NOT_EQUAL, "1.14.0", tflite_options<tflite::NotEqualOptionsT>()));
  not_equal.expand = expand_as<[](Expr a, Expr b) { return apply("logical_not", apply("equal", a, b)); }>;
  row(std::move(not_equal));
  row(order(spelled(binary("less", "a < b", eval_comparison<[](double a, double b) { return a < b; }>), "Less", "Less",
                    BuiltinOperator::LESS, "1.14.0", tflite_options<tflite::LessOptionsT>())));
  row(order(spelled(binary("less_equal", "a <= b", eval_comparison<[](double a, double b) { return a <= b; }>),
                    "LessOrEqual", "LessEqual", BuiltinOperator::LESS_EQUAL, "1.14.0",
                    tflite_options<tflite::LessEqualOptionsT>())));
  row(order(spelled(binary("greater", "a > b", eval_comparison<[](double a, double b) { return b < a; }>), "Greater",
                    "Greater", BuiltinOperator::GREATER, "1.14.0", tflite_options<tflite::GreaterOptionsT>())));
  row(order(spelled(binary("greater_equal", "a >= b", eval_comparison<[](double a, double b) { return a >= b; }>),
                    "GreaterOrEqual", "GreaterEqual", BuiltinOperator::GREATER_EQUAL, "1.14.0",
                    tflite_options<tflite::GreaterEqualOptionsT>())));

  row(logic(spelled(unary("logical_not", "not x", eval_unary<[](double x) { return x == 0 ? 1.0 : 0.0; }>), "Not",
                    "LogicalNot", BuiltinOperator::LOGICAL_NOT, "1.11.0",
                    tflite_options<tflite::LogicalNotOptionsT>())));
  row(logic(spelled(
      binary("logical_and", "a and b", eval_comparison<[](double a, double b) { return a != 0 && b != 0; }>), "And",
      "LogicalAnd", BuiltinOperator::LOGICAL_AND, "1.11.0", tflite_options<tflite::LogicalAndOptionsT>())));
  row(logic(
      spelled(binary("logical_or", "a or b", eval_comparison<[](double a, double b) { return a != 0 || b != 0; }>),
              "Or", "LogicalOr", BuiltinOperator::LOGICAL_OR, "1.11.0", tflite_options<tflite::LogicalOrOptionsT>())));
  Op logical_xor = logic(spelled(
      binary("logical_xor", "either a or b", eval_comparison<[](double a, double b) { return (a != 0) != (b != 0); }>),
      "Xor", ""));
  logical_xor.expand = expand_as<[](Expr a, Expr b) { return apply("not_equal", a, b); }>;
  row(std::move(logical_xor));
  row(where_row());
  return rows;
}

}  // namespace taper
