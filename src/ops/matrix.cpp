// Products of matrices.
#include <numeric>

#include "ops/families.h"
#include "ops/merged_axes.h"
#include "ops/modular.h"

namespace taper {
namespace {

// Kernels of products take no more.
constexpr std::size_t kMostProductAxes = 5;

// operands x [..., in], weight [out, in], bias? [out] -> [..., out]
Expected<std::vector<Type>> infer_linear(const InferCall& call) {
  TAPER_TRY(check_one_dtype(call));
  const Shape& x = call.shape(0);
  const Shape& weight = call.shape(1);
  if (x.empty()) return fail("x is a scalar, expected [..., in]");
  if (weight.size() != 2) return fail("weight has shape {}, expected [out, in]", shape_text(weight));
  if (x.back() != weight[1])
    return fail("x has {} features, weight {} takes {}", x.back().text(), shape_text(weight), weight[1].text());
  if (call.has(2) && call.shape(2) != Shape{weight[0]})
    return fail("bias has shape {}, expected [{}]", shape_text(call.shape(2)), weight[0].text());
  Shape out = x;
  out.back() = weight[0];
  return std::vector{Type{call.type(0).dtype, std::move(out)}};
}

Expected<std::vector<Array>> eval_linear(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Array& weight = call.operand(1);
  std::vector<std::int64_t> shape = x.shape;
  const std::int64_t in = shape.back();
  const std::int64_t out_features = weight.shape[0];
  shape.back() = out_features;
  Array out = make_array(x.dtype, shape);
  const std::int64_t rows = in == 0 ? 0 : static_cast<std::int64_t>(x.values.size()) / in;
  if (call.has(2))
    for (std::size_t i = 0; i < out.values.size(); ++i)
      out.values[i] = call.operand(2).values[i % static_cast<std::size_t>(out_features)];
  multiply_accumulate(x.values.data(), weight.values.data(), out.values.data(), rows, out_features, in, true);
  const std::string& activation = call.attrs.text("activation");
  if (activation != "none")
    for (double& value : out.values) value = activate(activation, value);
  return std::vector{std::move(out)};
}

// activation(x * weight + b); products take matrices, so that a vector becomes one of one row.
std::vector<Value*> expand_linear_with(Builder& build, const Node& node, std::span<Value* const> operands,
                                       Value* weight, const Attrs& attrs) {
  const Attrs first = {{"dims", std::vector<std::int64_t>{0}}};
  const bool is_vector = node.operands[0]->type.shape.size() == 1;
  Value* x = is_vector ? build("unsqueeze", {operands[0]}, first) : operands[0];
  Value* y = build("matmul", {x, weight}, attrs);
  if (is_vector) y = build("squeeze", {y}, first);
  if (operands.size() > 2 && operands[2] != nullptr) y = build("add", {y, operands[2]});
  const std::string& activation = node.attrs.text("activation");
  return {activation == "none" ? y : build(activation, {y})};
}

// W^T as a constant of its own.
std::vector<Value*> expand_linear(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* transposed =
      build("permute", {operands[1]}, {{"dims", std::vector<std::int64_t>{1, 0}}}, operands[1]->name + ".transposed");
  return expand_linear_with(build, node, operands, transposed, {});
}

// Rows of one matrix.
std::vector<Value*> expand_linear_to_rows(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& shape = operands[0]->type.shape;
  std::vector<Value*> rows(operands.begin(), operands.end());
  rows[0] = with_shape(build, operands[0], {merged_size(shape, 0, shape.size() - 1), shape.back()});
  return {with_shape(build, build("linear", rows, node.attrs), node.results[0]->type.shape)};
}

// TFLite multiplies floats alone.
std::vector<Value*> expand_linear_tflite(Builder& build, const Node& node, std::span<Value* const> operands) {
  return is_floating(node.operands[0]->type.dtype) ? expand_linear_to_rows(build, node, operands)
                                                   : expand_linear(build, node, operands);
}

// The weight as PyTorch keeps it, so that who tunes the file finds it under its name.
std::vector<Value*> expand_linear_tensorflow(Builder& build, const Node& node, std::span<Value* const> operands) {
  return expand_linear_with(build, node, operands, operands[1], {{"transpose_b", true}});
}

Op linear() {
  using Options = tflite::FullyConnectedOptionsT;
  return {
      .name = "linear",
      .doc = "activation(x W^T + b), W [out, in], over the last axis of x",
      .operands = {"x", "weight", "bias?"},
      .attrs = {activation_attr()},
      .infer = infer_linear,
      .eval = eval_linear,
      .per_step = true,
      .expand = expand_linear,
      .expand_tflite = expand_linear_tflite,
      .expand_tensorflow = expand_linear_tensorflow,
      .tflite = {
          .builtin = tflite::BuiltinOperator::FULLY_CONNECTED,
          .since = "2.0.0",
          .inputs = {operand(0), operand(1), operand(2)},
          .options = tflite_options<Options>(
              OptionField<Options, tflite::ActivationFunctionType>{&Options::fused_activation_function, "activation"},
              FixedOption<Options, bool>{&Options::keep_num_dims, true},
              DerivedOption<Options, bool>{&Options::asymmetric_quantize_inputs, true, is_hybrid_call}),
          // Without keep_num_dims the leading axes would be flattened; version 6 allows a missing bias.
          .version_for =
              [](const Node& node) {
                const bool bias = node.operands.size() > 2 && node.operands[2] != nullptr;
                return bias ? TfliteVersion{5, "2.0.0"} : TfliteVersion{6, "2.1.0"};
              },
          .fits =
              [](const Node& node) {
                return is_floating(node.operands[0]->type.dtype) && !has_more_axes(node, kMostProductAxes);
              },
          .half_operand = 1},
      .examples = {{{{DType::f32, {3, 4}}, {DType::f32, {5, 4}}, {DType::f32, {5}}}},
                   {{{DType::f32, {2, 3, 4}}, {DType::f32, {5, 4}}}},
                   {{{DType::f32, {4}}, {DType::f32, {5, 4}}, {DType::f32, {5}}}},
                   {{{DType::f32, {3, 4}}, {DType::f32, {5, 4}}, {DType::f32, {5}}},
                    {{"activation", std::string("relu")}}},
                   {{f32({2, 1, 2, 1, 2, 3, 4}), f32({5, 4}), f32({5})}}},
  };
}

// a [..., m, k], b [..., k, n] (or [..., n, k] with transpose_b) -> [..., m, n]; leading axes broadcast.
Expected<std::vector<Type>> infer_matmul(const InferCall& call) {
  TAPER_TRY(check_one_dtype(call));
  const Shape& a = call.shape(0);
  const Shape& b = call.shape(1);
  if (a.size() < 2 || b.size() < 2)
    return fail("operands have shapes {} and {}, expected matrices", shape_text(a), shape_text(b));
  const bool transposed = call.attrs.flag("transpose_b");
  const Dim& inner = b[b.size() - (transposed ? 1 : 2)];
  const Dim& columns = b[b.size() - (transposed ? 2 : 1)];
  if (a.back() != inner)
    return fail("inner sizes of {} and {} differ: {} and {}", shape_text(a), shape_text(b), a.back().text(),
                inner.text());
  TAPER_ASSIGN(Shape out, broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2)));
  out.push_back(a[a.size() - 2]);
  out.push_back(columns);
  return std::vector{Type{call.type(0).dtype, std::move(out)}};
}

// Whether sums of k products of these integers may be larger than float64 holds.
bool wraps_around(const Array& a, const Array& b, std::int64_t k) {
  if (!is_modular(a) || !is_modular(b)) return false;
  const auto largest = [](const Array& array) {
    double most = 0;
    for (const double value : array.values) most = std::max(most, std::fabs(value));
    return most;
  };
  return static_cast<double>(k) * largest(a) * largest(b) >= 0x1p53;
}

// C[m, n] = A[m, k] * B[n, k]^T (or B[k, n]) of integers of `dtype`, modulo 2^64.
struct ProductSizes {
  std::int64_t m, n, k;
};
void multiply_modular(const double* a, const double* b, double* c, ProductSizes sizes, bool transpose_b, DType dtype) {
  const auto [m, n, k] = sizes;
  for (std::int64_t row = 0; row < m; ++row)
    for (std::int64_t column = 0; column < n; ++column) {
      std::uint64_t sum = 0;
      for (std::int64_t i = 0; i < k; ++i)
        sum += modular_of(a[row * k + i]) * modular_of(b[transpose_b ? column * k + i : i * n + column]);
      c[row * n + column] = number_of_modular(sum, dtype);
    }
}

Expected<std::vector<Array>> eval_matmul(const EvalCall& call) {
  const Array& a = call.operand(0);
  const Array& b = call.operand(1);
  const bool transposed = call.attrs.flag("transpose_b");
  const std::size_t rank = std::max(a.shape.size(), b.shape.size());
  const std::int64_t m = a.shape[a.shape.size() - 2];
  const std::int64_t k = a.shape.back();
  const std::int64_t n = b.shape[b.shape.size() - (transposed ? 2 : 1)];
  // Leading axes, with stride 0 where an operand is broadcast.
  std::vector<std::int64_t> shape(rank, 1), a_steps(rank - 2, 0), b_steps(rank - 2, 0);
  const auto steps = [&](const Array& x, std::vector<std::int64_t>& out) {
    std::int64_t step = x.shape[x.shape.size() - 2] * x.shape.back();
    for (std::size_t i = x.shape.size() - 2; i-- > 0;) {
      const std::size_t axis = i + rank - x.shape.size();
      if (x.shape[i] != 1) {
        out[axis] = step;
        shape[axis] = x.shape[i];
      }
      step *= x.shape[i];
    }
  };
  steps(a, a_steps);
  steps(b, b_steps);
  shape[rank - 2] = m;
  shape[rank - 1] = n;
  Array out = make_array(a.dtype, shape);
  const bool wraps = wraps_around(a, b, k);
  const auto multiply = [&](const double* x, const double* y, double* products) {
    if (wraps) return multiply_modular(x, y, products, {m, n, k}, transposed, a.dtype);
    multiply_accumulate(x, y, products, m, n, k, transposed);
  };
  const std::int64_t matrices = m * n == 0 ? 0 : static_cast<std::int64_t>(out.values.size()) / (m * n);
  for (std::int64_t i = 0; i < matrices; ++i) {
    std::int64_t rest = i, at_a = 0, at_b = 0;
    for (std::size_t axis = rank - 2; axis-- > 0;) {
      const std::int64_t index = rest % shape[axis];
      rest /= shape[axis];
      at_a += index * a_steps[axis];
      at_b += index * b_steps[axis];
    }
    multiply(a.values.data() + at_a, b.values.data() + at_b, out.values.data() + i * m * n);
  }
  return std::vector{std::move(out)};
}

// The products of rows and columns, summed: integers, which TFLite and ONNX Runtime multiply no matrices of.
std::vector<Value*> expand_integer_matmul(Builder& build, const Node& node, std::span<Value* const> operands) {
  const auto axis = [](std::int64_t dim) { return Attrs{{"dims", std::vector{dim}}}; };
  const bool transposed = node.attrs.flag("transpose_b");
  // [..., m, k, 1] and [..., 1, k, n]; with B^T [..., m, 1, k] and [..., 1, n, k].
  Value* a = build("unsqueeze", {operands[0]}, axis(transposed ? -2 : -1));
  Value* b = build("unsqueeze", {operands[1]}, axis(-3));
  return {build("sum", {build("mul", {a, b})}, axis(transposed ? -1 : -2))};
}

bool multiplies_floats(const Node& node) {
  return is_floating(node.operands[0]->type.dtype);
}

// Sums of products hold m k n numbers at a time.
bool has_few_products(const Node& node) {
  constexpr std::int64_t kMostProducts = std::int64_t{1} << 26;
  const Shape& a = node.operands[0]->type.shape;
  const auto count = (element_count(node.results[0]->type.shape) * a.back()).constant();
  return !count || *count <= kMostProducts;
}

// Leading axes that both operands have, or that one of them has, become one where they are neighbours. A matrix stays
// one. Where they take turns the operands are repeated first, so that both have all.
std::vector<Value*> expand_matmul_to_few_axes(Builder& build, const Node& node, std::span<Value* const> operands) {
  constexpr std::size_t kMostRuns = kMostProductAxes - 2;
  const Shape& result = node.results[0]->type.shape;
  const std::size_t leading = result.size() - 2;
  const auto full = [&](const Shape& shape) {
    Shape out(result.size() - shape.size(), Dim(1));
    out.insert(out.end(), shape.begin(), shape.end());
    return out;
  };
  std::vector<Value*> factors(operands.begin(), operands.end());
  if (factors[1]->type.shape.size() == 2) {
    const Shape& a = factors[0]->type.shape;
    factors[0] = with_shape(build, factors[0], {merged_size(a, 0, a.size() - 1), a.back()});
  } else {
    Shape a = full(factors[0]->type.shape), b = full(factors[1]->type.shape);
    // Runs of axes end where these change: who has more than one entry.
    std::vector<std::size_t> ends;
    const auto find_runs = [&] {
      ends.clear();
      std::size_t in_a = 2, in_b = 2;  // neither has any yet
      for (std::size_t axis = 0; axis < leading; ++axis) {
        if (result[axis].is(1)) continue;
        const std::size_t now_a = a[axis].is(1) ? 0 : 1, now_b = b[axis].is(1) ? 0 : 1;
        if (in_a != 2 && (in_a != now_a || in_b != now_b)) ends.push_back(axis);
        in_a = now_a, in_b = now_b;
      }
      ends.push_back(leading);
    };
    find_runs();
    if (ends.size() > kMostRuns) {
      for (Shape* shape : {&a, &b}) std::copy_n(result.begin(), leading, shape->begin());
      factors = {build("expand", {factors[0]}, {{"shape", a}}), build("expand", {factors[1]}, {{"shape", b}})};
      find_runs();
    }
    for (std::size_t i = 0; i < 2; ++i) {
      const Shape& whole = i == 0 ? a : b;
      Shape merged;
      std::size_t begin = 0;
      for (const std::size_t end : ends) {
        merged.push_back(merged_size(whole, begin, end));
        begin = end;
      }
      merged.insert(merged.end(), whole.end() - 2, whole.end());
      factors[i] = with_shape(build, factors[i], merged);
    }
  }
  return {with_shape(build, build("matmul", factors, node.attrs), result)};
}

std::vector<Value*> expand_matmul_tflite(Builder& build, const Node& node, std::span<Value* const> operands) {
  return multiplies_floats(node) ? expand_matmul_to_few_axes(build, node, operands)
                                 : expand_integer_matmul(build, node, operands);
}

Op matmul() {
  using Options = tflite::BatchMatMulOptionsT;
  return {
      .name = "matmul",
      .doc = "A B, or A B^T with transpose_b, over the last two axes; leading axes broadcast",
      .operands = {"a", "b"},
      .attrs = {{"transpose_b", AttrKind::flag, false}},
      .infer = infer_matmul,
      .eval = eval_matmul,
      .per_step = true,
      .per_step_if =
          [](const Node& node) {
            return constant_of(node.operands[1]) != nullptr && node.operands[1]->type.shape.size() == 2;
          },
      .expands_if =
          [](const Node& node, Target target) {
            if (target == Target::tflite)
              return multiplies_floats(node) ? has_more_axes(node, kMostProductAxes) : has_few_products(node);
            return node.attrs.flag("transpose_b");
          },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Value* b = operands[1];
        if (node.attrs.flag("transpose_b")) {
          std::vector<std::int64_t> dims(b->type.shape.size());
          std::iota(dims.begin(), dims.end(), 0);
          std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
          b = build("permute", {b}, {{"dims", dims}});
        }
        return {build("matmul", {operands[0], b})};
      },
      .expand_tflite = expand_matmul_tflite,
      .onnx = {.op_type = "MatMul",
               .inputs = {operand(0), operand(1)},
               .dtypes = {DType::f64, DType::f32, DType::f16, DType::i64, DType::i32, DType::u64, DType::u32},
               .fits = [](const Node& node) { return !node.attrs.flag("transpose_b"); }},
      .tflite = {.builtin = tflite::BuiltinOperator::BATCH_MATMUL,
                 .since = "2.3.0",
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<Options>(
                     OptionField<Options, bool>{&Options::adj_y, "transpose_b"},
                     DerivedOption<Options, bool>{&Options::asymmetric_quantize_inputs, true, is_hybrid_call}),
                 .fits =
                     [](const Node& node) { return multiplies_floats(node) && !has_more_axes(node, kMostProductAxes); },
                 .half_operand = 1},
      .tensorflow = {.op = "BatchMatMulV2",
                     .inputs = {operand(0), operand(1)},
                     .dtypes = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32},
                     .attrs = {{"adj_y", "transpose_b"}}},
      .examples = {{{{DType::f32, {2, 3, 4}}, {DType::f32, {2, 4, 5}}}},
                   {{{DType::f32, {2, 3, 4}}, {DType::f32, {2, 5, 4}}}, {{"transpose_b", true}}},
                   {{{DType::f32, {3, 4}}, {DType::f32, {4, 5}}}},
                   {{f32({2, 1, 2, 1, 3, 3, 4}), f32({2, 1, 2, 1, 3, 4, 5})}},
                   {{f32({2, 1, 2, 3, 1, 3, 4}), f32({3, 2, 5, 4})}, {{"transpose_b", true}}},
                   {{f32({2, 1, 2, 1, 2, 3, 4}), f32({1, 2, 1, 2, 1, 4, 5})}},
                   {{f32({2, 1, 2, 1, 2, 3, 4}), f32({4, 5})}},
                   {{{DType::i64, {2, 3, 4}}, {DType::i64, {4, 5}}}, {}, -9, 9},
                   {{{DType::i32, {3, 4}}, {DType::i32, {2, 5, 4}}}, {{"transpose_b", true}}, -9, 9}},
  };
}

}  // namespace

std::vector<Op> matrix_ops() {
  return {linear(), matmul()};
}

}  // namespace taper
