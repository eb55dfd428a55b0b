// Products of matrices.
#include <algorithm>
#include <cmath>

#include "frontend/aten_table.h"
#include "frontend/einsum.h"

namespace taper::aten {
namespace {

// The matrix that `x` is the transpose of, if it is made as one.
Value* transposed_of(Value* x) {
  if (x == nullptr || x->producer == nullptr || x->producer->op != "permute") return nullptr;
  return x->producer->attrs.integers("dims") == Integers{1, 0} ? x->producer->operands[0] : nullptr;
}

// a b, by PyTorch's rules for vectors. A weight that was transposed for the product makes it a linear layer.
Value* product(Builder& build, Value* a, Value* b, Value* bias = nullptr) {
  if (a == nullptr || b == nullptr) return nullptr;
  const std::size_t left = a->type.shape.size(), right = b->type.shape.size();
  if (left == 0 || right == 0) {
    build.set_error({"matmul: a product of a matrix and a number", {}, {}});
    return nullptr;
  }
  if (Value* weight = transposed_of(b); weight != nullptr && is_floating(a->type.dtype))
    return build("linear", {a, weight, bias});
  Value* x = left == 1 ? unsqueeze(build, a, 0) : a;
  Value* y = right == 1 ? unsqueeze(build, b, 1) : b;
  Value* result = build("matmul", {x, y});
  if (right == 1) result = squeeze(build, result, -1);
  if (left == 1) result = squeeze(build, result, right == 1 ? -1 : -2);
  return bias != nullptr ? build("add", {result, bias}) : result;
}

Expected<Arg> matrix_product(Call& call, std::string_view a, std::string_view b) {
  const auto x = call.promoted({a, b}, Promotion::common);
  return fresh(product(call.build, x[0], x[1]));
}

Expected<Arg> linear(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("input");
  Value* weight = call.tensor("weight");
  Value* bias = call.tensor("bias");
  if (weight->type.shape.size() == 1) {
    Value* y = product(build, x, weight);
    return fresh(bias != nullptr ? build("add", {y, bias}) : y);
  }
  return fresh(build("linear", {x, weight, bias}));
}

Value* scaled_by(Builder& build, Value* x, const Arg& factor) {
  const auto* real = factor.as<double>();
  if (x == nullptr || constant_integer(factor) == 1 || (real != nullptr && *real == 1)) return x;
  return build("mul", {x, number(build, factor, x->type.dtype)});
}

// beta * self + alpha * (a b)
Expected<Arg> add_product(Call& call, std::string_view a, std::string_view b) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", a, b}, Promotion::common);
  const auto is = [&](std::string_view name, std::int64_t wanted) {
    const auto* real = call.arg(name).as<double>();
    return constant_integer(call.arg(name)) == wanted || (real != nullptr && *real == static_cast<double>(wanted));
  };
  if (is("beta", 0)) return fresh(scaled_by(build, product(build, x[1], x[2]), call.arg("alpha")));
  const Shape& columns = shape_of(x[2]);
  const bool as_bias = is("alpha", 1) && is("beta", 1) && !columns.empty() && shape_of(x[0]) == Shape{columns.back()};
  if (as_bias) return fresh(product(build, x[1], x[2], x[0]));
  Value* y = scaled_by(build, product(build, x[1], x[2]), call.arg("alpha"));
  return fresh(build("add", {scaled_by(build, x[0], call.arg("beta")), y}));
}

// beta * self + alpha * (vec1 vec2^T), and the same with a sum of products.
Expected<Arg> add_to_scaled(Call& call, Value* self, Value* product) {
  Value* y = scaled_by(call.build, product, call.arg("alpha"));
  const auto* real = call.arg("beta").as<double>();
  if (constant_integer(call.arg("beta")) == 0 || (real != nullptr && *real == 0)) return fresh(y);
  return fresh(call.build("add", {scaled_by(call.build, self, call.arg("beta")), y}));
}

Expected<Arg> add_outer(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "vec1", "vec2"}, Promotion::common);
  return add_to_scaled(call, x[0], build("mul", {unsqueeze(build, x[1], 1), unsqueeze(build, x[2], 0)}));
}

Expected<Arg> add_batched(Call& call) {
  const auto x = call.promoted({"self", "batch1", "batch2"}, Promotion::common);
  return add_to_scaled(call, x[0], reduce(call.build, "sum", product(call.build, x[1], x[2]), {0}, false));
}

// The sum of products along an axis.
Expected<Arg> dot_along(Call& call) {
  const auto x = call.promoted({"x", "y"}, Promotion::common);
  Value* y = call.build("mul", x);
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape_of(y).size()));
  return fresh(reduce(call.build, "sum", y, {static_cast<std::int64_t>(axis)}, false));
}

Expected<Arg> outer(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "vec2"}, Promotion::common);
  return fresh(build("mul", {unsqueeze(build, x[0], 1), unsqueeze(build, x[1], 0)}));
}

Expected<Arg> dot(Call& call, std::string_view other) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", other}, Promotion::common);
  return fresh(reduce(build, "sum", build("mul", x), {0}, false));
}

Expected<Arg> einsum_of(Call& call) {
  std::vector<Value*> operands = call.tensors("tensors");
  if (operands.empty()) return fail("no operands");
  if (const auto* list = call.arg("tensors").as<Arg::List>()) {
    const DType common = result_type(*list);
    for (Value*& operand : operands) operand = cast(call.build, operand, common);
  }
  TAPER_TRY(call.build.status());
  return fresh(einsum(call.build, call.text("equation"), std::move(operands)));
}

// The product of two tensors over pairs of axes.
Expected<Arg> tensor_dot(Call& call) {
  const auto x = call.promoted({"self", "other"}, Promotion::common);
  const Integers a = call.integers("dims_self"), b = call.integers("dims_other");
  const std::size_t left = shape_of(x[0]).size(), right = shape_of(x[1]).size();
  if (a.size() != b.size() || left + right > 48) return fail("{} axes with {}", a.size(), b.size());
  const auto letter = [](std::size_t i) { return static_cast<char>(i < 26 ? 'a' + i : 'A' + (i - 26)); };
  std::string first, second, result;
  for (std::size_t i = 0; i < left; ++i) first += letter(i);
  for (std::size_t i = 0; i < right; ++i) second += letter(left + i);
  for (std::size_t i = 0; i < a.size(); ++i) {
    TAPER_ASSIGN(const std::size_t p, axis_of(a[i], left));
    TAPER_ASSIGN(const std::size_t q, axis_of(b[i], right));
    if (left == 0 || right == 0) return fail("axes of a number");
    second[q] = first[p];
  }
  for (const char label : first + second)
    if (first.contains(label) != second.contains(label)) result += label;
  return fresh(einsum(call.build, first + "," + second + "->" + result, x));
}

// Distances of all rows of x1 from all rows of x2.
Expected<Arg> distances(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"x1", "x2"}, Promotion::floating);
  if (shape_of(x[0]).size() < 2 || shape_of(x[1]).size() < 2) return fail("distances of vectors, expected matrices");
  const double p = call.real_or("p", 2);
  Value* difference = build("sub", {unsqueeze(build, x[0], -2), unsqueeze(build, x[1], -3)});
  if (difference == nullptr) return fresh(nullptr);
  const Integers last = {static_cast<std::int64_t>(difference->type.shape.size()) - 1};
  if (p == 2) return fresh(build("sqrt", {reduce(build, "sum", build("mul", {difference, difference}), last, false)}));
  Value* size = build("abs", {difference});
  if (p == 1) return fresh(reduce(build, "sum", size, last, false));
  if (std::isinf(p)) return fresh(reduce(build, "amax", size, last, false));
  if (p == 0)
    return fresh(reduce(build, "sum", cast(build, cast(build, size, DType::boolean), DType::f32), last, false));
  Value* sum = reduce(build, "sum", build("pow", {size, number(build, p, DType::f32)}), last, false);
  return fresh(build("pow", {sum, number(build, 1 / p, DType::f32)}));
}

// Distances of each pair of rows, the first of which comes before the second.
Expected<Arg> pair_distances(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const auto rows = x->type.shape.size() == 2 ? x->type.shape[0].constant() : std::nullopt;
  constexpr std::int64_t kMostRows = 2048;
  if (!rows || *rows > kMostRows) return fail("distances of the rows of {}", type_text(x->type));
  Integers first, second;
  for (std::int64_t i = 0; i < *rows; ++i)
    for (std::int64_t j = i + 1; j < *rows; ++j) {
      first.push_back(i);
      second.push_back(j);
    }
  const auto pick = [&](const Integers& index) {
    return build("gather", {x, integer_vector(build, index)}, {{"dim", std::int64_t{0}}});
  };
  Value* size = build("abs", {build("sub", {pick(first), pick(second)})});
  const double p = call.real("p");
  if (p == 2) return fresh(build("sqrt", {reduce(build, "sum", build("mul", {size, size}), {1}, false)}));
  if (p == 1) return fresh(reduce(build, "sum", size, {1}, false));
  if (std::isinf(p)) return fresh(reduce(build, "amax", size, {1}, false));
  Value* sum = reduce(build, "sum", build("pow", {size, number(build, p, DType::f32)}), {1}, false);
  return fresh(build("pow", {sum, number(build, 1 / p, DType::f32)}));
}

// a x b for vectors of three along an axis
Expected<Arg> cross(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "other"}, Promotion::common);
  TAPER_TRY(build.status());
  const Shape& shape = shape_of(x[0]);
  std::int64_t dim = call.integer_or("dim", -1);
  if (!call.given("dim")) {
    const auto three = std::ranges::find_if(shape, [](const Dim& size) { return size.is(3); });
    dim = three - shape.begin();
  }
  TAPER_ASSIGN(const std::size_t axis, axis_of(dim, shape.size()));
  if (shape.empty() || !shape[axis].is(3)) return fail("a cross product along an axis that is not of size 3");
  const auto turned = [&](Value* v, Integers order) {
    return build("gather", {v, integer_vector(build, order)}, {{"dim", static_cast<std::int64_t>(axis)}});
  };
  Value* forward = build("mul", {turned(x[0], {1, 2, 0}), turned(x[1], {2, 0, 1})});
  Value* backward = build("mul", {turned(x[0], {2, 0, 1}), turned(x[1], {1, 2, 0})});
  return fresh(build("sub", {forward, backward}));
}

// y[..., o] = sum_ij x1[..., i] W[o, i, j] x2[..., j] + b[o]
Expected<Arg> bilinear(Call& call) {
  Builder& build = call.build;
  Value* y =
      einsum(build, "...i,oij,...j->...o", {call.tensor("input1"), call.tensor("weight"), call.tensor("input2")});
  Value* bias = call.tensor("bias");
  return fresh(bias != nullptr ? build("add", {y, bias}) : y);
}

// The product of three tensors that have axes of size 1 where `expand` says, summed over axes: axes as letters.
Expected<Arg> trilinear(Call& call) {
  constexpr std::size_t kMostAxes = 26;
  const std::size_t rank = shape_of(call.tensor("i1")).size() + call.integers("expand1").size();
  if (rank > kMostAxes) return fail("{} axes", rank);
  const auto axes_but = [&](std::string_view name) {
    const Integers missing = call.integers(name);
    std::string letters;
    for (std::size_t axis = 0; axis < rank; ++axis)
      if (std::ranges::find(missing, static_cast<std::int64_t>(axis)) == missing.end())
        letters += static_cast<char>('a' + axis);
    return letters;
  };
  const std::string letters[] = {axes_but("expand1"), axes_but("expand2"), axes_but("expand3")};
  const std::vector<Value*> factors = {call.tensor("i1"), call.tensor("i2"), call.tensor("i3")};
  for (std::size_t i = 0; i < factors.size(); ++i)
    if (letters[i].size() != shape_of(factors[i]).size())
      return fail("{} as a factor of {} axes", type_text(factors[i]->type), letters[i].size());
  return fresh(einsum(call.build, fmt::format("{}->{}", fmt::join(letters, ","), axes_but("sumdim")), factors));
}

Expected<Arg> chain(Call& call) {
  std::vector<Value*> matrices = call.tensors(call.schema.parameters[0].name);
  if (matrices.empty()) return fail("no operands");
  Value* y = matrices[0];
  for (std::size_t i = 1; i < matrices.size(); ++i) y = product(call.build, y, matrices[i]);
  return fresh(y);
}

}  // namespace

std::vector<Overload> matrix_overloads() {
  return {
      {"linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor", linear},
      {"matmul(Tensor self, Tensor other) -> Tensor", [](Call& call) { return matrix_product(call, "self", "other"); }},
      {"linalg_matmul(Tensor self, Tensor other) -> Tensor",
       [](Call& call) { return matrix_product(call, "self", "other"); }},
      {"mm(Tensor self, Tensor mat2) -> Tensor", [](Call& call) { return matrix_product(call, "self", "mat2"); }},
      {"bmm(Tensor self, Tensor mat2) -> Tensor", [](Call& call) { return matrix_product(call, "self", "mat2"); }},
      {"mv(Tensor self, Tensor vec) -> Tensor", [](Call& call) { return matrix_product(call, "self", "vec"); }},
      {"dot(Tensor self, Tensor tensor) -> Tensor", [](Call& call) { return dot(call, "tensor"); }},
      {"vdot(Tensor self, Tensor other) -> Tensor", [](Call& call) { return dot(call, "other"); }},
      {"addr(Tensor self, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1) -> Tensor", add_outer},
      {"addbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor", add_batched},
      {"linalg_vecdot(Tensor x, Tensor y, *, int dim=-1) -> Tensor", dot_along},
      {"outer(Tensor self, Tensor vec2) -> Tensor", outer},
      {"ger(Tensor self, Tensor vec2) -> Tensor", outer},
      {"inner(Tensor self, Tensor other) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         const auto x = call.promoted({"self", "other"}, Promotion::common);
         if (shape_of(x[0]).empty() || shape_of(x[1]).empty()) return fresh(call.build("mul", x));
         return fresh(einsum(call.build, shape_of(x[1]).size() == 1 ? "...k,k->..." : "...k,nk->...n", x));
       }},
      {"addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
       [](Call& call) { return add_product(call, "mat1", "mat2"); }},
      {"addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
       [](Call& call) { return add_product(call, "mat", "vec"); }},
      {"baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
       [](Call& call) { return add_product(call, "batch1", "batch2"); }},
      {"einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor", einsum_of},
      {"tensordot(Tensor self, Tensor other, int[] dims_self, int[] dims_other) -> Tensor", tensor_dot},
      {"cdist(Tensor x1, Tensor x2, float p=2, int? compute_mode=None) -> Tensor", distances},
      {"_cdist_forward(Tensor x1, Tensor x2, float p, int? compute_mode) -> Tensor", distances},
      {"_euclidean_dist(Tensor x1, Tensor x2) -> Tensor", distances},
      {"pdist(Tensor self, float p=2) -> Tensor", pair_distances},
      {"_pdist_forward(Tensor self, float p=2.) -> Tensor", pair_distances},
      {"cross(Tensor self, Tensor other, int? dim=None) -> Tensor", cross},
      {"linalg_cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor", cross},
      {"bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None) -> Tensor", bilinear},
      {"_trilinear(Tensor i1, Tensor i2, Tensor i3, int[] expand1, int[] expand2, int[] expand3, int[] sumdim, int "
       "unroll_dim=1) -> Tensor",
       trilinear},
      {"chain_matmul(Tensor[] matrices) -> Tensor", chain},
      {"linalg_multi_dot(Tensor[] tensors) -> Tensor", chain},
  };
}

}  // namespace taper::aten
