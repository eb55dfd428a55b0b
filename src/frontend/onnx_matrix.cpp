// ONNX's products of matrices.
#include "frontend/einsum.h"
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

// Vectors are rows on the left and columns on the right.
Value* product(Call& call, Value* a, Value* b, std::string_view name) {
  if (call.failed()) return nullptr;
  const bool row = a->type.shape.size() == 1, column = b->type.shape.size() == 1;
  if (!row && !column) return call.build("matmul", {a, b}, {}, name);
  if (row) a = call.unsqueeze(a, {0});
  if (column) b = call.unsqueeze(b, {1});
  Value* result = call.build("matmul", {a, b});
  if (call.failed()) return nullptr;
  const auto rank = static_cast<std::int64_t>(result->type.shape.size());
  std::vector<std::int64_t> gone;
  if (row) gone.push_back(rank - 2);
  if (column) gone.push_back(rank - 1);
  return call.squeeze(result, gone);
}

// A matrix of known weights on the right is a linear layer.
void read_matmul(Call& call) {
  Value* a = call.x(0);
  Value* b = call.x(1);
  if (call.failed()) return;
  const bool layer = constant_of(b) != nullptr && b->type.shape.size() == 2 && a->type.shape.size() >= 2 &&
                     a->type.dtype == DType::f32 && constant_of(a) == nullptr;
  if (layer) return call.set(0, call.build("linear", {a, call.permute(b, {1, 0})}, {}, call.name()));
  call.set(0, product(call, a, b, call.name()));
}

// Whether integers of the type can be multiplied by the factor as it is.
bool is_whole(double factor, DType dtype) {
  return to_double(to_tensor(Array{dtype, {}, {factor}}))[0] == factor;
}

// alpha * A' B' + beta * C
void read_gemm(Call& call) {
  const double alpha = call.real("alpha", 1), beta = call.real("beta", 1);
  const bool transpose_a = call.flag("transA", false), transpose_b = call.flag("transB", false);
  Value* a = call.x(0);
  Value* b = call.x(1);
  Value* c = call.optional(2);
  if (call.failed()) return;
  if (a->type.shape.size() != 2 || b->type.shape.size() != 2) return call.fail("expected two matrices");
  if (transpose_a) a = call.permute(a, {1, 0});
  const bool has_bias = c != nullptr && beta != 0;
  const bool is_float = is_floating(call.dtype(0));
  if (!is_float && (!is_whole(alpha, call.dtype(0)) || (has_bias && !is_whole(beta, call.dtype(0)))))
    return call.fail(fmt::format("alpha {} and beta {} of integers", alpha, beta),
                     "give whole numbers that the type holds, or cast the operands to floats before");
  const Dim columns = b->type.shape[transpose_b ? 0 : 1];
  const bool layer = constant_of(b) != nullptr && alpha == 1 && call.dtype(0) == DType::f32 &&
                     (!has_bias || (beta == 1 && c->type.shape == Shape{columns} && constant_of(c) != nullptr));
  if (layer) {
    if (!transpose_b) b = call.permute(b, {1, 0});
    return call.set(0, call.build("linear", {a, b, has_bias ? c : nullptr}, {}, call.name()));
  }
  if (transpose_b) b = call.permute(b, {1, 0});
  Value* result = call.build("matmul", {a, b});
  if (alpha != 1) result = call.binary("mul", result, alpha);
  if (has_bias) {
    if (beta != 1) c = call.binary("mul", c, beta);
    result = call.build("add", {result, c}, {}, call.name());
  }
  call.set(0, result);
}

// The determinant of square matrices of known size, by cofactors: n! terms, so small ones only.
Value* determinant(Call& call, const std::vector<std::vector<Value*>>& rows) {
  const std::size_t n = rows.size();
  if (n == 1) return rows[0][0];
  Value* total = nullptr;
  for (std::size_t column = 0; column < n; ++column) {
    std::vector<std::vector<Value*>> minor;
    for (std::size_t i = 1; i < n; ++i) {
      minor.emplace_back();
      for (std::size_t k = 0; k < n; ++k)
        if (k != column) minor.back().push_back(rows[i][k]);
    }
    Value* term = call.build("mul", {rows[0][column], determinant(call, minor)});
    total = total == nullptr ? term : call.build(column % 2 == 0 ? "add" : "sub", {total, term});
  }
  return total;
}

void read_det(Call& call) {
  const Shape shape = call.shape(0);
  if (call.failed()) return;
  const auto n = shape.size() < 2 ? std::nullopt : shape.back().constant();
  if (!n || *n < 1 || *n > 4 || shape[shape.size() - 2] != shape.back())
    return call.fail(fmt::format("matrices of shape {}, expected square ones of at most 4 rows", shape_text(shape)));
  std::vector<std::vector<Value*>> rows(static_cast<std::size_t>(*n));
  for (std::int64_t i = 0; i < *n; ++i) {
    Value* row = call.build("select", {call.x(0)}, {{"dim", std::int64_t{-2}}, {"index", i}});
    for (std::int64_t k = 0; k < *n; ++k)
      rows[static_cast<std::size_t>(i)].push_back(
          call.build("select", {row}, {{"dim", std::int64_t{-1}}, {"index", k}}));
  }
  call.set(0, determinant(call, rows));
}

void read_einsum(Call& call) {
  const std::string equation = call.text("equation", "");
  const std::vector<Value*> operands = call.all();
  if (!call.failed()) call.set(0, einsum(call.build, equation, operands));
}

}  // namespace

std::vector<Row> matrix_rows() {
  return {
      {.op = "MatMul", .operands = 2, .read = read_matmul},
      {.op = "Gemm", .operands = 2, .since = 7, .read = read_gemm},
      {.op = "Einsum", .since = 12, .read = read_einsum},
      {.op = "Det", .since = 11, .read = read_det},
  };
}

}  // namespace taper::onnx_reader
