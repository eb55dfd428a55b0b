// Inverses, determinants, solutions and factors of small matrices, in steps with one column each: written out for few
// columns, else as a loop.
#include "frontend/aten_linalg.h"

#include <cmath>
#include <functional>
#include <limits>

#include "ops/rules.h"

namespace taper::aten {

std::vector<Value*> after_all(Builder& build, std::vector<Value*> state, std::span<Value* const> frames,
                              const MatrixStep& step) {
  if (build.failed()) return state;
  auto region = std::make_unique<Graph>();
  Builder inner(*region);
  std::vector<Value*> inside, each;
  for (std::size_t i = 0; i < state.size(); ++i)
    inside.push_back(region->add_input(fmt::format("state_{}", i), state[i]->type));
  for (std::size_t i = 0; i < frames.size(); ++i) {
    Type type = frames[i]->type;
    type.shape.erase(type.shape.begin() + 1);
    each.push_back(region->add_input(fmt::format("frame_{}", i), type));
  }
  const std::vector<Value*> next = step(inner, inside, each);
  if (auto status = inner.status(); !status) {
    build.set_error(std::move(status).error());
    return state;
  }
  for (std::size_t i = 0; i < next.size(); ++i) region->add_output(fmt::format("next_{}", i), next[i]);
  const auto states = static_cast<std::int64_t>(state.size());
  state.insert(state.end(), frames.begin(), frames.end());
  std::vector<std::unique_ptr<Graph>> regions;
  regions.push_back(std::move(region));
  return build.call(
      "scan", std::move(state),
      {{"states", states}, {"reverse_inputs", Integers(frames.size(), 0)}, {"reverse_outputs", Integers{}}}, "steps",
      std::move(regions));
}

Value* turned(Builder& build, Value* x) {
  const std::size_t rank = shape_of(x).size();
  return rank < 2 ? x : transpose(build, x, rank - 2, rank - 1);
}

namespace {

Value* identity(Builder& build, std::int64_t n) {
  std::vector<float> entries(static_cast<std::size_t>(n * n), 0);
  for (std::int64_t i = 0; i < n; ++i) entries[static_cast<std::size_t>(i * n + i)] = 1;
  return build.constant(tensor_f32({n, n}, entries), "identity");
}

}  // namespace

Value* identities(Builder& build, const Dim& batch, std::int64_t n) {
  return expand(build, identity(build, n), {batch, Dim(n), Dim(n)});
}

namespace {

// --------------------------------------------------------------------------------------------------------------- steps

constexpr std::int64_t kMostWrittenOut = 4;
constexpr std::int64_t kMostColumns = 1024;

// Column k of matrices [B, n, *]: a vector [1, n] that is 1 there; its number where the step is written out.
struct Column {
  Value* unit;
  std::optional<std::int64_t> index = std::nullopt;
};
using States = std::vector<Value*>;
using ColumnStep = std::function<States(Builder& build, const States& state, const Column& column)>;

Value* unit_vector(Builder& build, std::int64_t n, std::int64_t k) {
  std::vector<float> entries(static_cast<std::size_t>(n), 0);
  entries[static_cast<std::size_t>(k)] = 1;
  return build.constant(tensor_f32({1, n}, entries), "unit");
}

// What the step makes of the state, column by column.
States after_all_columns(Builder& build, States state, std::int64_t n, const ColumnStep& step) {
  if (n <= kMostWrittenOut) {
    for (std::int64_t k = 0; k < n && !build.failed(); ++k) state = step(build, state, {unit_vector(build, n, k), k});
    return state;
  }
  Value* units[] = {reshape(build, identity(build, n), {Dim(1), Dim(n), Dim(n)})};
  return after_all(build, std::move(state), units,
                   [&](Builder& inner, std::span<Value* const> inside, std::span<Value* const> frames) {
                     return step(inner, States(inside.begin(), inside.end()), {frames[0]});
                   });
}

// A column [B, n, 1] of a matrix [B, n, *].
Value* column_of(Builder& build, Value* matrix, const Column& column) {
  if (column.index) return slice(build, matrix, 2, *column.index, *column.index + 1);
  const Dim n = shape_of(column.unit)[1];
  return build("matmul", {slice(build, matrix, 2, 0, n), unsqueeze(build, column.unit, 2)});
}

// ------------------------------------------------------------------------------------------------------------ matrices

// Square matrices with the axes before them as one.
struct Squares {
  Value* matrices = nullptr;  // [B, n, n]
  Shape batch;
  std::int64_t n = 0;
};

Expected<Squares> squares_of(Builder& build, Value* x) {
  TAPER_TRY(build.status());
  const Shape& shape = x->type.shape;
  const auto n = shape.size() < 2 ? std::nullopt : shape.back().constant();
  if (!n || shape[shape.size() - 2] != shape.back() || *n < 1 || *n > kMostColumns || !is_floating(x->type.dtype))
    return fail("{}, expected square matrices of a size that is known, at most {}", type_text(x->type), kMostColumns);
  Squares out{nullptr, Shape(shape.begin(), shape.end() - 2), *n};
  out.matrices = reshape(build, x, {element_count(out.batch), Dim(*n), Dim(*n)});
  return out;
}

Shape with_batch_axes(const Shape& batch, std::initializer_list<Dim> last) {
  Shape shape = batch;
  shape.insert(shape.end(), last.begin(), last.end());
  return shape;
}

Value* zeros(Builder& build, const Shape& shape) {
  return full(build, shape, Arg(0.0), DType::f32);
}

// --------------------------------------------------------------------------------------------------------- elimination

enum class Pivots {
  largest,   // of each column, among the rows that have not been pivots
  nonzero,   // the same, and a column of zeros is left as it is
  diagonal,  // in order
};

// Gauss and Jordan: after all columns each row of the left n columns has one 1.
struct Elimination {
  Value* matrix;  // [B, n, m]
  Value* order;   // [B, n, n]: the row that was the pivot of each column, as unit vectors
  Value* pivots;  // [B, n], by column
};

// Divides the pivot's row by the pivot, and takes its multiples from all others.
States eliminate_column(Builder& build, const States& state, const Column& column, Pivots pivots) {
  Value* matrix = state[0];
  const Dim batch = shape_of(matrix)[0], n = shape_of(matrix)[1];
  Value* one = number(build, 1.0, DType::f32);
  Value* entries = column_of(build, matrix, column);
  Value* chosen = column.unit;  // [B, n] or [1, n]: the row of the pivot
  if (pivots != Pivots::diagonal) {
    // Sizes of free rows; -1 for others.
    Value* size = build("mul", {build("abs", {squeeze(build, entries, 2)}), state[3]});
    size = build("sub", {build("add", {size, state[3]}), one});
    Value* row = build("argmax", {size}, {{"dim", std::int64_t{1}}, {"keepdim", false}});
    chosen = build("one_hot", {row}, {{"depth", n.constant().value_or(1)}, {"dtype", DType::f32}});
  }
  Value* across = unsqueeze(build, chosen, 1);
  Value* down = unsqueeze(build, chosen, 2);
  Value* pivot = build("matmul", {across, entries});
  Value* divisor = pivot;
  if (pivots == Pivots::nonzero)
    divisor = build("where", {build("equal", {pivot, number(build, 0.0, DType::f32)}), one, pivot});
  Value* scaled = build("div", {build("matmul", {across, matrix}), divisor});
  Value* others = build("sub", {matrix, build("mul", {entries, scaled})});
  Value* next = build("add", {build("mul", {others, build("sub", {one, down})}), build("mul", {down, scaled})});
  Value* order = build("add", {state[1], build("mul", {unsqueeze(build, column.unit, 2), across})});
  Value* values = build("mul", {column.unit, reshape(build, pivot, {batch, Dim(1)})});
  States out = {next, order, build("add", {state[2], values})};
  if (pivots != Pivots::diagonal) out.push_back(build("sub", {state[3], chosen}));
  return out;
}

Elimination eliminated(Builder& build, Value* matrix, std::int64_t n, Pivots pivots) {
  const Dim batch = shape_of(matrix).empty() ? Dim(1) : shape_of(matrix)[0];
  States state = {matrix, zeros(build, {batch, Dim(n), Dim(n)}), zeros(build, {batch, Dim(n)})};
  if (pivots != Pivots::diagonal) state.push_back(full(build, {batch, Dim(n)}, Arg(1.0), DType::f32));
  state =
      after_all_columns(build, std::move(state), n, [pivots](Builder& inner, const States& at, const Column& column) {
        return eliminate_column(inner, at, column, pivots);
      });
  state.resize(3, nullptr);
  return {state[0], state[1], state[2]};
}

// A X = right, for [B, n, n] and [B, n, m].
Value* solution(Builder& build, Value* matrices, Value* right, std::int64_t n, Pivots pivots) {
  if (build.failed()) return nullptr;
  const Dim width = shape_of(right)[2];
  const Elimination done = eliminated(build, concat(build, {matrices, right}, 2), n, pivots);
  Value* rows = slice(build, done.matrix, 2, n, Dim(n) + width);
  return pivots == Pivots::diagonal ? rows : build("matmul", {done.order, rows});
}

}  // namespace

Expected<Value*> inverse_of(Builder& build, Value* x) {
  TAPER_ASSIGN(const Squares a, squares_of(build, x));
  Value* right = identities(build, element_count(a.batch), a.n);
  return reshape(build, solution(build, a.matrices, right, a.n, Pivots::largest), x->type.shape);
}

namespace {

Value* first_tensor(Call& call) {
  return call.tensor(call.schema.parameters[0].name);
}

Expected<Arg> inverse(Call& call) {
  TAPER_ASSIGN(Value * y, inverse_of(call.build, first_tensor(call)));
  return fresh(y);
}

// The result with others that only tell of failures or serve gradients: nobody can have them.
Arg with_none(std::vector<Value*> results, std::size_t others) {
  Arg list = fresh_list(results);
  auto& entries = std::get<Arg::List>(list.value);
  entries.resize(entries.size() + others);
  return list;
}

Expected<Arg> inverse_and_info(Call& call) {
  TAPER_ASSIGN(Value * y, inverse_of(call.build, first_tensor(call)));
  return with_none({y}, 1);
}

// -------------------------------------------------------------------------------------------------------- determinants

// The sign of the order in which rows were pivots: -1 for each pair that stands the wrong way round.
Value* sign_of_order(Builder& build, Value* order, std::int64_t n) {
  if (n == 1) return nullptr;
  Value* row = build("argmax", {order}, {{"dim", std::int64_t{2}}, {"keepdim", false}});
  Value* swapped = build("greater", {unsqueeze(build, row, 2), unsqueeze(build, row, 1)});
  std::vector<float> above(static_cast<std::size_t>(n * n), 0);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i + 1; j < n; ++j) above[static_cast<std::size_t>(i * n + j)] = 1;
  Value* pairs = build("mul", {cast(build, swapped, DType::f32), build.constant(tensor_f32({n, n}, above), "above")});
  Value* count = reduce(build, "sum", pairs, {1, 2}, false);
  Value* half = build("mul", {count, number(build, 0.5, DType::f32)});
  Value* odd = build("sub", {half, build("floor", {half})});  // 0 or 1/2
  return build("sub", {number(build, 1.0, DType::f32), build("mul", {odd, number(build, 4.0, DType::f32)})});
}

struct Determinant {
  Value* pivots;  // [B, n]
  Value* sign;    // [B], of their order; null: 1
  Shape batch;
};

Expected<Determinant> determinant_of(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Squares a, squares_of(build, first_tensor(call)));
  const Elimination done = eliminated(build, a.matrices, a.n, Pivots::nonzero);
  return Determinant{done.pivots, sign_of_order(build, done.order, a.n), a.batch};
}

Value* signed_product(Builder& build, Value* x, const Determinant& determinant) {
  Value* y = reduce(build, "prod", x, {1}, false);
  if (determinant.sign != nullptr) y = build("mul", {y, determinant.sign});
  return reshape(build, y, determinant.batch);
}

Expected<Arg> determinant(Call& call, std::size_t others) {
  TAPER_ASSIGN(const Determinant found, determinant_of(call));
  Value* y = signed_product(call.build, found.pivots, found);
  return others == 0 ? fresh(y) : with_none({y}, others);
}

Value* log_of_size(Builder& build, const Determinant& found) {
  Value* logs = build("log", {build("abs", {found.pivots})});
  return reshape(build, reduce(build, "sum", logs, {1}, false), found.batch);
}

Expected<Arg> sign_and_log(Call& call, std::size_t others) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Determinant found, determinant_of(call));
  return with_none({signed_product(build, build("sign", {found.pivots}), found), log_of_size(build, found)}, others);
}

// NaN for a determinant below 0
Expected<Arg> log_of_determinant(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Determinant found, determinant_of(call));
  Value* sign = signed_product(build, build("sign", {found.pivots}), found);
  return fresh(build("add", {log_of_size(build, found), build("log", {sign})}));
}

// ------------------------------------------------------------------------------------------------------------- systems

// A X = B with batches that broadcast.
Expected<Value*> solved(Builder& build, Value* a, Value* b, Pivots pivots) {
  TAPER_ASSIGN(const Squares square, squares_of(build, a));
  const Shape& right = shape_of(b);
  if (right.size() < 2 || right[right.size() - 2] != Dim(square.n) || b->type.dtype != a->type.dtype)
    return fail("a system of {} and {}", type_text(a->type), type_text(b->type));
  TAPER_ASSIGN(const Shape batch, broadcast(square.batch, Shape(right.begin(), right.end() - 2)));
  const Dim n = square.n, width = right.back(), count = element_count(batch);
  const auto flat = [&](Value* x, const Dim& columns) {
    return reshape(build, expand(build, x, with_batch_axes(batch, {n, columns})), {count, n, columns});
  };
  Value* x = solution(build, flat(a, n), flat(b, width), square.n, pivots);
  return reshape(build, x, with_batch_axes(batch, {n, width}));
}

Expected<Value*> solved_from(Builder& build, Value* a, Value* b, bool left, Pivots pivots) {
  if (left) return solved(build, a, b, pivots);
  TAPER_ASSIGN(Value * x, solved(build, turned(build, a), turned(build, b), pivots));
  return turned(build, x);
}

Expected<Arg> solve(Call& call, std::size_t others) {
  Builder& build = call.build;
  Value* a = call.tensor("A");
  Value* b = call.tensor("B");
  const bool left = call.flag("left");
  Shape vectors = shape_of(a);
  if (!vectors.empty()) vectors.pop_back();
  const bool is_vector = shape_of(b).size() == 1 || shape_of(b) == vectors;
  if (is_vector) b = unsqueeze(build, b, left ? -1 : -2);
  TAPER_ASSIGN(Value * x, solved_from(build, a, b, left, Pivots::largest));
  if (is_vector) x = squeeze(build, x, left ? -1 : -2);
  return others == 0 ? fresh(x) : with_none({x}, others);
}

// The triangle of a matrix, the rest of which nobody reads.
Value* triangle(Builder& build, Value* x, bool upper, bool unit) {
  x = build(upper ? "triu" : "tril", {x}, {{"diagonal", std::int64_t{0}}});
  const auto n = shape_of(x).empty() ? std::nullopt : shape_of(x).back().constant();
  if (!unit || !n) return x;
  Value* diagonal = identity(build, *n);
  return build("where", {cast(build, diagonal, DType::boolean), number(build, 1.0, DType::f32), x});
}

Expected<Arg> solve_triangular(Call& call) {
  Builder& build = call.build;
  TAPER_TRY(squares_of(build, call.tensor("self")));
  Value* a = triangle(build, call.tensor("self"), call.flag("upper"), call.flag("unitriangular"));
  TAPER_ASSIGN(Value * x, solved_from(build, a, call.tensor("B"), call.flag("left"), Pivots::diagonal));
  return fresh(x);
}

// The older form: A is the second argument.
Expected<Arg> triangular_solve(Call& call) {
  Builder& build = call.build;
  TAPER_TRY(squares_of(build, call.tensor("A")));
  Value* a = triangle(build, call.tensor("A"), call.flag("upper"), call.flag("unitriangular"));
  if (call.flag("transpose")) a = turned(build, a);
  TAPER_ASSIGN(Value * x, solved(build, a, call.tensor("self"), Pivots::diagonal));
  return with_none({x}, 1);
}

// ------------------------------------------------------------------------------------------------------------- factors

// A = L L^T, column by column: those of what is left of A, from the diagonal on, by the root of the diagonal.
States factor_column(Builder& build, const States& state, const Column& column,
                     Value* (*from_diagonal)(Builder&, Value*)) {
  const Dim batch = shape_of(state[0])[0], n = shape_of(state[0])[1];
  Value* entries = column_of(build, state[0], column);
  Value* pivot = build("matmul", {unsqueeze(build, column.unit, 1), entries});
  Value* below = unsqueeze(build, from_diagonal(build, column.unit), 2);
  Value* factor = build("div", {build("mul", {entries, below}), build("sqrt", {pivot})});
  Value* across = reshape(build, factor, {batch, Dim(1), n});
  return {build("sub", {state[0], build("mul", {factor, across})}),
          build("add", {state[1], build("mul", {factor, unsqueeze(build, column.unit, 1)})})};
}

// 1 from the 1 of a unit vector on.
Value* ones_from(Builder& build, Value* unit) {
  const std::int64_t n = shape_of(unit)[1].constant().value_or(1);
  std::vector<float> upper(static_cast<std::size_t>(n * n), 0);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i; j < n; ++j) upper[static_cast<std::size_t>(i * n + j)] = 1;
  return build("matmul", {unit, build.constant(tensor_f32({n, n}, upper), "upper")});
}

Expected<Arg> cholesky(Call& call, std::size_t others) {
  Builder& build = call.build;
  Value* x = first_tensor(call);
  TAPER_ASSIGN(const Squares a, squares_of(build, x));
  Value* matrices = call.flag("upper") ? turned(build, a.matrices) : a.matrices;  // only one triangle is read
  States state = {matrices, zeros(build, shape_of(matrices))};
  state = after_all_columns(build, std::move(state), a.n, [](Builder& inner, const States& at, const Column& column) {
    return factor_column(inner, at, column, ones_from);
  });
  TAPER_TRY(build.status());
  Value* factor = call.flag("upper") ? turned(build, state[1]) : state[1];
  factor = reshape(build, factor, x->type.shape);
  return others == 0 ? fresh(factor) : with_none({factor}, others);
}

// A = L L^T or U^T U of a factor.
Value* of_factor(Call& call, std::string_view name) {
  Builder& build = call.build;
  Value* factor = triangle(build, call.tensor(name), call.flag("upper"), false);
  Value* other = turned(build, factor);
  return call.flag("upper") ? build("matmul", {other, factor}) : build("matmul", {factor, other});
}

Expected<Arg> solve_by_factor(Call& call) {
  TAPER_ASSIGN(Value * x, solved(call.build, of_factor(call, "input2"), call.tensor("self"), Pivots::diagonal));
  return fresh(x);
}

Expected<Arg> inverse_by_factor(Call& call) {
  TAPER_ASSIGN(Value * x, inverse_of(call.build, of_factor(call, "self")));
  return fresh(x);
}

// -------------------------------------------------------------------------------------------------------------- powers

Expected<Arg> matrix_power(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  std::int64_t n = call.integer("n");
  constexpr std::int64_t kMost = 1 << 16;
  if (n < -kMost || n > kMost) return fail("a power of {}", n);
  TAPER_ASSIGN(const Squares a, squares_of(build, x));
  if (n == 0) return fresh(expand(build, identity(build, a.n), x->type.shape));
  if (n < 0) {
    TAPER_ASSIGN(x, inverse_of(build, x));
    n = -n;
  }
  Value* result = nullptr;
  for (; n > 0; n /= 2) {
    if (n % 2 != 0) result = result == nullptr ? x : build("matmul", {result, x});
    if (n > 1) x = build("matmul", {x, x});
  }
  return fresh(result);
}

// exp(A) = exp(A / 2^s)^(2^s): a polynomial where A / 2^s is below 1 (its largest row's sum), and s squares. Beyond
// 2^kMostSquares there are no numbers.
Expected<Arg> matrix_exponential(Call& call) {
  constexpr int kMostSquares = 10, kDegree = 12;
  Builder& build = call.build;
  Value* x = first_tensor(call);
  TAPER_ASSIGN(const Squares a, squares_of(build, x));
  const auto real = [&](double value) { return number(build, value, DType::f32); };
  Value* size = reduce(build, "amax", reduce(build, "sum", build("abs", {a.matrices}), {2}, true), {1}, true);
  // The squares are counted by comparisons: logarithms may be rounded to either side.
  Value* scale = real(1);
  for (int s = 0; s < kMostSquares; ++s)
    scale = build("where", {build("greater", {size, real(std::ldexp(1, s))}), real(std::ldexp(1, -s - 1)), scale});
  Value* scaled = build("mul", {a.matrices, scale});
  Value* one = identity(build, a.n);
  Value* y = one;
  for (int k = kDegree; k >= 1; --k)
    y = build("add", {build("matmul", {build("mul", {scaled, real(1.0 / k)}), y}), one});
  for (int s = 0; s < kMostSquares; ++s)
    y = build("where", {build("greater", {size, real(std::ldexp(1, s))}), build("matmul", {y, y}), y});
  Value* beyond = build("greater", {size, real(std::ldexp(1, kMostSquares))});
  y = build("where", {beyond, real(std::numeric_limits<double>::quiet_NaN()), y});
  return fresh(reshape(build, y, x->type.shape));
}

}  // namespace

std::vector<Overload> linalg_overloads() {
  return {
      {"inverse(Tensor self) -> Tensor", inverse},
      {"linalg_inv(Tensor A) -> Tensor", inverse},
      {"linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)", inverse_and_info},
      {"det(Tensor self) -> Tensor", [](Call& call) { return determinant(call, 0); }},
      {"linalg_det(Tensor A) -> Tensor", [](Call& call) { return determinant(call, 0); }},
      {"_linalg_det(Tensor A) -> (Tensor result, Tensor LU, Tensor pivots)",
       [](Call& call) { return determinant(call, 2); }},
      {"slogdet(Tensor self) -> (Tensor sign, Tensor logabsdet)", [](Call& call) { return sign_and_log(call, 0); }},
      {"linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet)", [](Call& call) { return sign_and_log(call, 0); }},
      {"_linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet, Tensor LU, Tensor pivots)",
       [](Call& call) { return sign_and_log(call, 2); }},
      {"logdet(Tensor self) -> Tensor", log_of_determinant},
      {"linalg_solve(Tensor A, Tensor B, *, bool left=True) -> Tensor", [](Call& call) { return solve(call, 0); }},
      {"linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False) -> (Tensor result, Tensor "
       "info)",
       [](Call& call) { return solve(call, 1); }},
      {"_linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False) -> (Tensor result, Tensor LU, "
       "Tensor pivots, Tensor info)",
       [](Call& call) { return solve(call, 3); }},
      {"linalg_solve_triangular(Tensor self, Tensor B, *, bool upper, bool left=True, bool unitriangular=False) -> "
       "Tensor",
       solve_triangular},
      {"triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False, bool unitriangular=False) -> "
       "(Tensor solution, Tensor cloned_coefficient)",
       triangular_solve},
      {"cholesky(Tensor self, bool upper=False) -> Tensor", [](Call& call) { return cholesky(call, 0); }},
      {"linalg_cholesky(Tensor self, *, bool upper=False) -> Tensor", [](Call& call) { return cholesky(call, 0); }},
      {"linalg_cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False) -> (Tensor L, Tensor info)",
       [](Call& call) { return cholesky(call, 1); }},
      {"cholesky_solve(Tensor self, Tensor input2, bool upper=False) -> Tensor", solve_by_factor},
      {"cholesky_inverse(Tensor self, bool upper=False) -> Tensor", inverse_by_factor},
      {"matrix_power(Tensor self, int n) -> Tensor", matrix_power},
      {"linalg_matrix_power(Tensor self, int n) -> Tensor", matrix_power},
      {"matrix_exp(Tensor self) -> Tensor", matrix_exponential},
      {"linalg_matrix_exp(Tensor self) -> Tensor", matrix_exponential},
  };
}

}  // namespace taper::aten
