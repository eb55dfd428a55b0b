// Orthogonal factors of small matrices: QR by Householder, singular values and the eigenvectors of symmetric matrices
// by one-sided Jacobi, each as one loop; and what is made of them.
#include <algorithm>
#include <limits>
#include <numeric>

#include "frontend/aten_linalg.h"

namespace taper::aten {
namespace {

constexpr std::int64_t kMostSize = 64;
constexpr int kSweeps = 12;  // of Jacobi, whose last ones change nothing
constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

Value* real_number(Builder& build, double value) {
  return number(build, value, DType::f32);
}

// Matrices with the axes before them as one.
struct Matrices {
  Value* x = nullptr;  // [B, rows, columns]
  Shape batch;
  std::int64_t rows = 0, columns = 0;

  Value* restored(Builder& build, Value* value, std::initializer_list<std::int64_t> last) const {
    Shape shape = batch;
    for (const std::int64_t size : last) shape.emplace_back(size);
    return reshape(build, value, shape);
  }
};

Expected<Matrices> small_matrices(Builder& build, Value* x) {
  TAPER_TRY(build.status());
  const Shape& shape = x->type.shape;
  const auto rows = shape.size() < 2 ? std::nullopt : shape[shape.size() - 2].constant();
  const auto columns = shape.size() < 2 ? std::nullopt : shape.back().constant();
  if (!rows || !columns || *rows < 1 || *columns < 1 || *rows > kMostSize || *columns > kMostSize ||
      !is_floating(x->type.dtype))
    return fail_with_hint(fmt::format("{}, expected matrices of a size that is known, at most {} rows and columns",
                                      type_text(x->type), kMostSize),
                          "compute factors of larger matrices where the files are used, and make them inputs");
  Matrices out{nullptr, Shape(shape.begin(), shape.end() - 2), *rows, *columns};
  out.x = reshape(build, x, {element_count(out.batch), Dim(*rows), Dim(*columns)});
  return out;
}

// The first rows of the identity of `size`, as frames of a loop: [1, count, size].
Value* unit_frames(Builder& build, std::int64_t count, std::int64_t size) {
  std::vector<float> entries(static_cast<std::size_t>(count * size), 0);
  for (std::int64_t i = 0; i < count; ++i) entries[static_cast<std::size_t>(i * size + i)] = 1;
  return build.constant(tensor_f32({1, count, size}, entries), "units");
}

// ------------------------------------------------------------------------------------------------------------------ qr

struct Qr {
  Value* q;  // [B, m, m]
  Value* r;  // [B, m, n]
};

// H = 1 - 2 v v' / v'v takes the k-th column x, from the diagonal on, to -sign(x_k) |x| e_k, as LAPACK does; a column
// that is 0 below the diagonal stays.
std::vector<Value*> reflect(Builder& build, std::span<Value* const> state, Value* row, Value* column) {
  Value* q = state[0];
  Value* r = state[1];
  const std::int64_t m = shape_of(row)[1].constant().value_or(1);
  std::vector<float> below(static_cast<std::size_t>(m * m), 0);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = i + 1; j < m; ++j) below[static_cast<std::size_t>(i * m + j)] = 1;
  Value* rest = build("matmul", {row, build.constant(tensor_f32({m, m}, below), "below")});  // [1, m]
  const auto down = [&](Value* x) { return reshape(build, x, {Dim(m), Dim(1)}); };
  Value* x = build("matmul", {r, reshape(build, column, {shape_of(column)[1], Dim(1)})});  // [B, m, 1]
  Value* tail = build("mul", {x, down(rest)});
  Value* head = build("matmul", {row, x});  // [B, 1, 1]
  Value* tail_square = reduce(build, "sum", build("mul", {tail, tail}), {1}, true);
  Value* norm = build("sqrt", {build("add", {build("mul", {head, head}), tail_square})});
  Value* zero = real_number(build, 0);
  Value* target = build("where", {build("less", {head, zero}), norm, build("neg", {norm})});
  Value* v = build("add", {tail, build("mul", {down(row), build("sub", {head, target})})});
  Value* square = reduce(build, "sum", build("mul", {v, v}), {1}, true);
  Value* acts = build("greater", {tail_square, zero});
  Value* factor = build("where", {acts, square, real_number(build, 1)});
  factor = build("where", {acts, build("div", {real_number(build, 2), factor}), zero});
  Value* across = turned(build, v);
  Value* scaled = build("mul", {v, factor});
  return {build("sub", {q, build("matmul", {build("matmul", {q, scaled}), across})}),
          build("sub", {r, build("matmul", {scaled, build("matmul", {across, r})})})};
}

Qr factored(Builder& build, const Matrices& a) {
  const std::int64_t count = std::min(a.rows, a.columns);
  const std::vector<Value*> frames = {unit_frames(build, count, a.rows), unit_frames(build, count, a.columns)};
  const auto results = after_all(build, {identities(build, element_count(a.batch), a.rows), a.x}, frames,
                                 [](Builder& inner, std::span<Value* const> state, std::span<Value* const> frame) {
                                   return reflect(inner, state, frame[0], frame[1]);
                                 });
  if (build.failed()) return {};
  return {results[0], build("triu", {results[1]}, {{"diagonal", std::int64_t{0}}})};
}

Expected<Arg> qr(Call& call, std::string_view mode) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Matrices a, small_matrices(build, call.tensor(call.schema.parameters[0].name)));
  if (mode != "reduced" && mode != "complete" && mode != "r") return fail("mode '{}' is not known", mode);
  Qr found = factored(build, a);
  TAPER_TRY(build.status());
  const std::int64_t kept = mode == "complete" ? a.rows : std::min(a.rows, a.columns);
  Value* r = a.restored(build, slice(build, found.r, 1, 0, kept), {kept, a.columns});
  Value* q = mode == "r" ? full(build, {Dim(0)}, Arg(0.0), DType::f32)
                         : a.restored(build, slice(build, found.q, 2, 0, kept), {a.rows, kept});
  return fresh_list({q, r});
}

// ------------------------------------------------------------------------------------------------------------- jacobi

// The columns of the first `rows` of x [B, *, n], n even, made orthogonal by turning all columns in pairs: the first
// half with the second. Between the steps the columns change places as players of a tournament do, so that each meets
// each other in n - 1 steps, and stands in its place again.
Value* orthogonalized(Builder& build, Value* x, std::int64_t rows, std::int64_t n) {
  const std::int64_t half = n / 2;
  // Place 0 stays; the others go round: 1, 2, .., half - 1, n - 1, n - 2, .., half.
  std::vector<std::int64_t> round;
  for (std::int64_t i = 1; i < half; ++i) round.push_back(i);
  for (std::int64_t i = n - 1; i >= half; --i) round.push_back(i);
  std::vector<std::int64_t> from(static_cast<std::size_t>(n), 0);
  for (std::size_t i = 0; i < round.size(); ++i)
    from[static_cast<std::size_t>(round[(i + 1) % round.size()])] = round[i];
  const std::vector<Value*> frames = {full(build, {Dim(1), Dim(kSweeps * (n - 1)), Dim(1)}, Arg(0.0), DType::f32)};
  const auto results =
      after_all(build, {x}, frames, [&](Builder& inner, std::span<Value* const> state, std::span<Value* const>) {
        Value* left = slice(inner, state[0], 2, 0, half);
        Value* right = slice(inner, state[0], 2, half, n);
        Value* upper_left = slice(inner, left, 1, 0, rows);
        Value* upper_right = slice(inner, right, 1, 0, rows);
        const auto product = [&](Value* a, Value* b) {
          return reduce(inner, "sum", inner("mul", {a, b}), {1}, true);  // [B, 1, half]
        };
        Value* one = real_number(inner, 1);
        Value* zero = real_number(inner, 0);
        Value* cross = product(upper_left, upper_right);
        Value* apart = inner("sub", {product(upper_right, upper_right), product(upper_left, upper_left)});
        Value* turns = inner("not_equal", {cross, zero});
        // tan of the angle: the smaller root of t^2 + 2 zeta t = 1
        Value* zeta = inner("div", {apart, inner("where", {turns, inner("add", {cross, cross}), one})});
        Value* size = inner("abs", {zeta});
        Value* root = inner("sqrt", {inner("add", {inner("mul", {zeta, zeta}), one})});
        Value* tangent = inner("div", {one, inner("add", {size, root})});
        tangent = inner("where", {inner("less", {zeta, zero}), inner("neg", {tangent}), tangent});
        tangent = inner("where", {turns, tangent, zero});
        Value* cosine = inner("div", {one, inner("sqrt", {inner("add", {inner("mul", {tangent, tangent}), one})})});
        Value* sine = inner("mul", {tangent, cosine});
        Value* first = inner("sub", {inner("mul", {left, cosine}), inner("mul", {right, sine})});
        Value* second = inner("add", {inner("mul", {left, sine}), inner("mul", {right, cosine})});
        Value* places = inner.constant(tensor_i64({n}, from), "places");
        return std::vector{inner("gather", {concat(inner, {first, second}, 2), places}, {{"dim", std::int64_t{2}}})};
      });
  return build.failed() ? nullptr : results[0];
}

// Columns of x [B, *, n] in the order that indices [B, n] give.
Value* columns_at(Builder& build, Value* x, Value* indices) {
  if (build.failed()) return nullptr;
  const Shape shape = x->type.shape;
  Value* spread = expand(build, unsqueeze(build, indices, 1), shape);
  return build("gather_elements", {x, spread}, {{"dim", std::int64_t{2}}});
}

struct Svd {
  Value* u = nullptr;  // [B, m, k], k = min(m, n)
  Value* s = nullptr;  // [B, k], the largest first
  Value* v = nullptr;  // [B, n, k]
};

// A V has orthogonal columns, whose norms are the singular values. The columns of U of singular values that are 0 are
// 0.
Svd decomposed(Builder& build, const Matrices& a) {
  if (a.rows < a.columns) {
    Matrices other = a;
    other.x = turned(build, a.x);
    std::swap(other.rows, other.columns);
    Svd found = decomposed(build, other);
    std::swap(found.u, found.v);
    return found;
  }
  const Dim batch = element_count(a.batch);
  const std::int64_t n = a.columns, even = n + n % 2;
  Value* joined = concat(build, {a.x, identities(build, batch, n)}, 1);
  if (even != n)
    joined = concat(build, {joined, full(build, {batch, Dim(a.rows + n), Dim(1)}, Arg(0.0), DType::f32)}, 2);
  Value* turned = slice(build, orthogonalized(build, joined, a.rows, even), 2, 0, n);
  if (build.failed()) return {};
  Value* product = slice(build, turned, 1, 0, a.rows);
  Value* sizes = build("sqrt", {reduce(build, "sum", build("mul", {product, product}), {1}, false)});
  const auto sorted = build.call("sort", {sizes}, {{"dim", std::int64_t{1}}, {"descending", true}, {"stable", true}});
  if (build.failed()) return {};
  Value* u = columns_at(build, product, sorted[1]);
  Value* v = columns_at(build, slice(build, turned, 1, a.rows, a.rows + n), sorted[1]);
  Value* norm = unsqueeze(build, sorted[0], 1);
  Value* is_zero = build("equal", {norm, real_number(build, 0)});
  return {build("div", {u, build("where", {is_zero, real_number(build, 1), norm})}), sorted[0], v};
}

Expected<Arg> singular(Call& call, bool full_matrices, bool turn_v) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Matrices a, small_matrices(build, call.tensor(call.schema.parameters[0].name)));
  if (full_matrices && a.rows != a.columns)
    return fail_with_hint("full factors of matrices that are not square", "take full_matrices=False");
  const Svd found = decomposed(build, a);
  TAPER_TRY(build.status());
  const std::int64_t k = std::min(a.rows, a.columns);
  Value* v =
      turn_v ? a.restored(build, turned(build, found.v), {k, a.columns}) : a.restored(build, found.v, {a.columns, k});
  return fresh_list({a.restored(build, found.u, {a.rows, k}), a.restored(build, found.s, {k}), v});
}

Expected<Arg> singular_values(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Matrices a, small_matrices(build, call.tensor("A")));
  return fresh(a.restored(build, decomposed(build, a).s, {std::min(a.rows, a.columns)}));
}

// Of symmetric matrices, whose lower or upper triangle is read: A + c has the eigenvectors of A, and is positive for c
// from the largest sum of a row on, so that its singular vectors are they. The smallest eigenvalue comes first.
Expected<Arg> symmetric(Call& call, bool with_vectors) {
  Builder& build = call.build;
  TAPER_ASSIGN(Matrices a, small_matrices(build, call.tensor(call.schema.parameters[0].name)));
  if (a.rows != a.columns) return fail("matrices of {} rows and {} columns", a.rows, a.columns);
  const bool upper = call.text("UPLO") == "U" || call.text("UPLO") == "u";
  const auto part = [&](std::int64_t diagonal) {
    return build(upper ? "triu" : "tril", {a.x}, {{"diagonal", upper ? diagonal : -diagonal}});
  };
  Value* whole = build("add", {part(0), turned(build, part(1))});
  Value* shift = reduce(build, "amax", reduce(build, "sum", build("abs", {whole}), {2}, true), {1}, true);
  Value* one = identities(build, element_count(a.batch), a.rows);
  a.x = build("add", {whole, build("mul", {one, shift})});
  Value* v = decomposed(build, a).v;
  if (build.failed()) return std::unexpected(build.status().error());
  v = build("flip", {v}, {{"dims", Integers{2}}});
  // v' A v
  Value* values = reduce(build, "sum", build("mul", {v, build("matmul", {whole, v})}), {1}, false);
  values = a.restored(build, values, {a.rows});
  if (!with_vectors) return fresh(values);
  return fresh_list({values, a.restored(build, v, {a.rows, a.rows})});
}

// The least singular value that counts: the larger one of an absolute bound and a share of the largest value, which is
// the larger size times the step of float32 unless one is told.
Expected<Value*> least_that_counts(Call& call, const Matrices& a, Value* s) {
  Builder& build = call.build;
  double atol = 0;
  std::optional<double> rtol;
  const auto given = [&](std::string_view name) {
    return std::ranges::any_of(call.schema.parameters, [&](const auto& each) { return each.name == name; }) &&
           call.given(name);
  };
  if (call.schema.overload == "atol_rtol_tensor" && (given("atol") || given("rtol")))
    return fail_with_hint("tolerances that are tensors", "give them as numbers");
  for (const std::string_view name : {"rcond", "rtol"})
    if (given(name)) rtol = call.real(name);
  if (given("atol")) {
    atol = call.real("atol");
    if (!rtol && atol > 0) rtol = 0;
  }
  if (!rtol) rtol = static_cast<double>(std::max(a.rows, a.columns)) * kEpsilon;
  Value* largest = slice(build, s, 1, 0, 1);
  return build("maximum", {build("mul", {largest, real_number(build, *rtol)}), real_number(build, atol)});
}

// The factors of a matrix, and which of its singular values count.
struct Counted {
  Matrices matrix;
  Svd factors;
  Value* counts;  // bool, of the shape of factors.s
};
Expected<Counted> counted(Call& call) {
  TAPER_ASSIGN(const Matrices a, small_matrices(call.build, call.tensor(call.schema.parameters[0].name)));
  const Svd found = decomposed(call.build, a);
  TAPER_TRY(call.build.status());
  TAPER_ASSIGN(Value * least, least_that_counts(call, a, found.s));
  return Counted{a, found, call.build("greater", {found.s, least})};
}

Expected<Arg> pseudo_inverse(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const auto from, counted(call));
  const auto& [a, found, counts] = from;
  Value* safe = build("where", {counts, found.s, real_number(build, 1)});
  Value* inverse = build("where", {counts, build("div", {real_number(build, 1), safe}), real_number(build, 0)});
  Value* y = build("matmul", {build("mul", {found.v, unsqueeze(build, inverse, 1)}), turned(build, found.u)});
  return fresh(a.restored(build, y, {a.columns, a.rows}));
}

Expected<Arg> matrix_rank(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Counted found, counted(call));
  Value* ones = cast(build, found.counts, DType::f32);
  return fresh(cast(build, found.matrix.restored(build, reduce(build, "sum", ones, {1}, false), {}), DType::i64));
}

}  // namespace

std::vector<Overload> factor_overloads() {
  return {
      {"linalg_qr(Tensor A, str mode='reduced') -> (Tensor Q, Tensor R)",
       [](Call& call) { return qr(call, call.text("mode")); }},
      {"qr(Tensor self, bool some=True) -> (Tensor Q, Tensor R)",
       [](Call& call) { return qr(call, call.flag("some") ? "reduced" : "complete"); }},
      {"linalg_eigh(Tensor self, str UPLO='L') -> (Tensor eigenvalues, Tensor eigenvectors)",
       [](Call& call) { return symmetric(call, true); }},
      {"_linalg_eigh(Tensor A, str UPLO='L', bool compute_v=True) -> (Tensor eigenvalues, Tensor eigenvectors)",
       [](Call& call) { return symmetric(call, true); }},
      {"linalg_eigvalsh(Tensor self, str UPLO='L') -> Tensor", [](Call& call) { return symmetric(call, false); }},
      {"linalg_svd(Tensor A, bool full_matrices=True, *, str? driver=None) -> (Tensor U, Tensor S, Tensor Vh)",
       [](Call& call) { return singular(call, call.flag("full_matrices"), true); }},
      {"_linalg_svd(Tensor A, bool full_matrices=False, bool compute_uv=True, *, str? driver=None) -> (Tensor U, "
       "Tensor "
       "S, Tensor Vh)",
       [](Call& call) { return singular(call, call.flag("full_matrices") && call.flag("compute_uv"), true); }},
      {"svd(Tensor self, bool some=True, bool compute_uv=True) -> (Tensor U, Tensor S, Tensor V)",
       [](Call& call) { return singular(call, !call.flag("some"), false); }},
      {"linalg_svdvals(Tensor A, *, str? driver=None) -> Tensor", singular_values},
      {"linalg_pinv(Tensor self, float rcond, bool hermitian=False) -> Tensor", pseudo_inverse},
      {"linalg_pinv.atol_rtol_float(Tensor self, *, float? atol=None, float? rtol=None, bool hermitian=False) -> "
       "Tensor",
       pseudo_inverse},
      {"linalg_pinv.atol_rtol_tensor(Tensor self, *, Tensor? atol=None, Tensor? rtol=None, bool hermitian=False) -> "
       "Tensor",
       pseudo_inverse},
      {"pinverse(Tensor self, float rcond=1e-15) -> Tensor", pseudo_inverse},
      {"linalg_matrix_rank.atol_rtol_tensor(Tensor input, *, Tensor? atol=None, Tensor? rtol=None, bool "
       "hermitian=False) -> Tensor",
       matrix_rank},
      {"linalg_matrix_rank.atol_rtol_float(Tensor self, *, float? atol=None, float? rtol=None, bool hermitian=False) "
       "-> "
       "Tensor",
       matrix_rank},
  };
}

}  // namespace taper::aten
