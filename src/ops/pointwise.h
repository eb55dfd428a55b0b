// What rows of operators on single elements share.
#pragma once

#include "ops/formula.h"
#include "ops/modular.h"
#include "ops/rules.h"

namespace taper {

template <auto F>
Expected<std::vector<Array>> eval_unary(const EvalCall& call) {
  return map_elements(call.operand(0), F);
}

template <auto F>
Expected<std::vector<Array>> eval_predicate(const EvalCall& call) {
  Array out = make_array(DType::boolean, call.operand(0).shape);
  std::ranges::transform(call.operand(0).values, out.values.begin(), [](double x) { return F(x) ? 1.0 : 0.0; });
  return std::vector{std::move(out)};
}

template <auto F>
Expected<std::vector<Array>> eval_binary(const EvalCall& call) {
  const DType dtype = call.operand(0).dtype;
  TAPER_ASSIGN(Array out, zip_elements(call.operand(0), call.operand(1), dtype, F));
  if (dtype == DType::boolean)
    for (double& x : out.values) x = x != 0 ? 1 : 0;
  if (const Attr* activation = call.attrs.find("activation"); activation != nullptr)
    for (double& x : out.values) x = activate(std::get<std::string>(*activation), x);
  return std::vector{std::move(out)};
}

template <auto Modular, DType dtype>
double modular_result(double a, double b) {
  return number_of_modular(Modular(modular_of(a), modular_of(b)), dtype);
}

// The same of integers by `Modular`, which computes modulo 2^64.
template <auto F, auto Modular>
Expected<std::vector<Array>> eval_arithmetic(const EvalCall& call) {
  const DType dtype = call.operand(0).dtype;
  if (!is_modular(call.operand(0)) || !is_modular(call.operand(1))) return eval_binary<F>(call);
  const auto result = dtype == DType::u64   ? modular_result<Modular, DType::u64>
                      : dtype == DType::i64 ? modular_result<Modular, DType::i64>
                                            : modular_result<Modular, DType::i32>;
  TAPER_ASSIGN(Array out, zip_elements(call.operand(0), call.operand(1), dtype, result));
  wrap_integers(out);
  if (const Attr* activation = call.attrs.find("activation"); activation != nullptr)
    for (double& x : out.values) x = activate(std::get<std::string>(*activation), x);
  return std::vector{std::move(out)};
}

template <auto F>
Expected<std::vector<Array>> eval_comparison(const EvalCall& call) {
  constexpr auto as_number = [](double a, double b) { return F(a, b) ? 1.0 : 0.0; };
  TAPER_ASSIGN(Array out, zip_elements(call.operand(0), call.operand(1), DType::boolean, as_number));
  return std::vector{std::move(out)};
}

// Two operands of one dtype, broadcast.
Expected<std::vector<Type>> infer_binary(const InferCall& call);
// The same of booleans.
Expected<std::vector<Type>> infer_comparison(const InferCall& call);
// As the first operand, which holds floating numbers.
Expected<std::vector<Type>> infer_floating(const InferCall& call);
// Whether the first operand holds floating numbers; booleans.
bool takes_floats(const Node& node);
bool takes_booleans(const Node& node);

// The dtypes of numbers that a target computes with.
std::vector<DType> number_dtypes();

// What TFLite's kernels compute with as plain numbers; narrower integers are quantised ones to them.
std::vector<TfliteDType> tflite_number_dtypes(std::string_view since);
// What TFLite's kernels for moving elements take, but for some; other integers go through wider ones.
std::vector<TfliteDType> tflite_moved_dtypes(std::string_view since, std::initializer_list<DType> without = {});

// Rows without spellings, with examples of float32.
Op unary(std::string_view name, std::string_view doc, EvalFn eval);
Op binary(std::string_view name, std::string_view doc, EvalFn eval);

// The row with what the targets call it; empty names: nothing. TensorFlow names the result of most unary operators `y`,
// that of binary ones `z`.
Op spelled(Op op, std::string_view onnx, std::string_view tensorflow,
           std::optional<tflite::BuiltinOperator> builtin = std::nullopt, std::string_view since = {},
           TfliteOptions options = {});

// The same call on operands of other dtypes, for the tests.
Example example_of(std::vector<Type> operands, double low = -2, double high = 2, Attrs attrs = {});
Type i64(const std::vector<std::int64_t>& sizes);
Type i32(const std::vector<std::int64_t>& sizes);
Type boolean(const std::vector<std::int64_t>& sizes);

}  // namespace taper
