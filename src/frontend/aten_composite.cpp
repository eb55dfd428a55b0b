// What people write with one call and is a formula of others: diagonals, tables, fake quantization.
#include "frontend/aten_composite.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace taper::aten {
namespace {

// --------------------------------------------------------------------------------------------------------- diagonals

// 1 at row i, column i + offset.
Value* diagonal_mask(Builder& build, const Dim& rows, const Dim& columns, std::int64_t offset) {
  Value* row = unsqueeze(build, arange(build, offset, 1, rows, DType::i64), 1);
  return build("equal", {row, arange(build, 0, 1, columns, DType::i64)});
}

// The last axis as the diagonal of two new axes, which are moved to where they are wanted.
Expected<Value*> embedded_diagonal(Builder& build, Value* x, std::int64_t offset, std::int64_t dim1,
                                   std::int64_t dim2) {
  if (x->type.shape.empty()) return fail("the diagonal of a number");
  const std::size_t rank = x->type.shape.size() + 1;
  constexpr std::int64_t kMost = 1 << 20;
  if (offset < -kMost || offset > kMost) return fail("diagonal {}", offset);
  TAPER_ASSIGN(const std::size_t first, axis_of(dim1, rank));
  TAPER_ASSIGN(const std::size_t second, axis_of(dim2, rank));
  if (first == second) return fail("the diagonal of one axis");
  const Dim size = x->type.shape.back() + Dim(std::abs(offset));
  Shape wide = x->type.shape;
  wide.back() = size;
  // Entry k stands in column k + offset, or in row k - offset.
  if (offset != 0) {
    Shape none = x->type.shape;
    none.back() = std::abs(offset);
    x = concat(build, {full(build, none, Arg(0.0), x->type.dtype), x}, rank - 2);
  }
  TAPER_TRY(build.status());
  Value* entries = unsqueeze(build, x, offset >= 0 ? static_cast<std::int64_t>(rank) - 2 : -1);
  Value* y = build("where", {diagonal_mask(build, size, size, offset), entries, number(build, 0.0, x->type.dtype)});
  TAPER_TRY(build.status());
  Integers dims(rank, -1);
  dims[first] = static_cast<std::int64_t>(rank) - 2;
  dims[second] = static_cast<std::int64_t>(rank) - 1;
  std::int64_t next = 0;
  for (std::int64_t& dim : dims)
    if (dim < 0) dim = next++;
  return permute(build, y, dims);
}

Expected<Arg> diag_embed(Call& call) {
  TAPER_ASSIGN(Value * y, embedded_diagonal(call.build, call.tensor("self"), call.integer_or("offset", 0),
                                            call.integer_or("dim1", -2), call.integer_or("dim2", -1)));
  return fresh(y);
}

// Of the diagonal of a matrix, what is elsewhere being 0.
Value* on_diagonal(Builder& build, Value* x, std::int64_t offset) {
  const Shape& shape = shape_of(x);
  Value* mask = diagonal_mask(build, shape[0], shape[1], offset);
  return build("where", {mask, x, number(build, 0.0, x->type.dtype)});
}

Expected<Arg> trace(Call& call) {
  Value* x = call.tensor("self");
  if (x->type.shape.size() != 2) return fail("the trace of {}", type_text(x->type));
  Value* y = on_diagonal(call.build, x, 0);
  if (!is_floating(x->type.dtype)) y = cast(call.build, y, DType::i64);
  return fresh(reduce(call.build, "sum", y, {0, 1}, false));
}

Expected<Arg> fill_diagonal(Call& call) {
  Value* x = call.tensor("self");
  if (x->type.shape.size() != 2 || call.flag("wrap")) return fail("the diagonal of {}", type_text(x->type));
  Value* mask = diagonal_mask(call.build, x->type.shape[0], x->type.shape[1], 0);
  return fresh(call.build("where", {mask, number(call.build, call.arg("fill_value"), x->type.dtype), x}));
}

// A vector as a matrix, or the diagonal of a matrix.
Expected<Arg> diag(Call& call) {
  Value* x = call.tensor("self");
  const std::int64_t offset = call.integer("diagonal");
  if (x->type.shape.size() == 1) {
    TAPER_ASSIGN(Value * y, embedded_diagonal(call.build, x, offset, 0, 1));
    return fresh(y);
  }
  const auto sizes = constant_sizes(x->type.shape);
  if (!sizes || sizes->size() != 2) return fail("the diagonal of {}", type_text(x->type));
  const std::int64_t row = std::max<std::int64_t>(0, -offset), column = std::max<std::int64_t>(0, offset);
  Integers positions;
  for (std::int64_t i = 0; row + i < (*sizes)[0] && column + i < (*sizes)[1]; ++i)
    positions.push_back((row + i) * (*sizes)[1] + column + i);
  Value* flat = reshape(call.build, x, {(*sizes)[0] * (*sizes)[1]});
  return fresh(call.build("gather", {flat, integer_vector(call.build, positions)}, {{"dim", std::int64_t{0}}}));
}

// The elements in a row as a diagonal.
Expected<Arg> flat_diagonal(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(Value * y, embedded_diagonal(call.build, reshape(call.build, x, {element_count(x->type.shape)}),
                                            call.integer("offset"), 0, 1));
  return fresh(y);
}

// Matrices one after another along the diagonal, zeros elsewhere; vectors and numbers are rows.
Expected<Arg> block_diagonal(Call& call) {
  Builder& build = call.build;
  std::vector<Value*> blocks = call.tensors("tensors");
  if (const auto* list = call.arg("tensors").as<Arg::List>()) {
    const DType common = result_type(*list);
    for (Value*& block : blocks) block = cast(build, block, common);
  }
  TAPER_TRY(build.status());
  Dim width = 0, before = 0;
  for (Value*& block : blocks) {
    const Shape& shape = block->type.shape;
    if (shape.size() > 2) return fail("a block {}, expected a matrix", type_text(block->type));
    if (shape.size() < 2) block = reshape(build, block, {Dim(1), element_count(shape)});
    width = width + shape_of(block)[1];
  }
  for (Value*& block : blocks) {
    const Dim rows = shape_of(block)[0], columns = shape_of(block)[1];
    const auto zeros = [&](const Dim& count) { return full(build, {rows, count}, Arg(0.0), block->type.dtype); };
    block = concat(build, {zeros(before), block, zeros(width - before - columns)}, 1);
    before = before + columns;
  }
  if (blocks.empty()) return fail("no blocks");
  return fresh(concat(build, std::move(blocks), 0));
}

// Columns of powers, from the highest one on or to it.
Expected<Arg> powers(Call& call, bool increasing) {
  constexpr std::int64_t kMost = 256;
  Builder& build = call.build;
  Value* x = call.tensor("x");
  if (x->type.shape.empty()) return fail("powers of a number, expected a vector");
  const auto count = call.given("N") ? constant_integer(call.arg("N")) : x->type.shape.back().constant();
  if (!count || *count < 1 || *count > kMost)
    return fail("columns of powers whose number is not within 1 to {}", kMost);
  const auto last = static_cast<std::int64_t>(x->type.shape.size());
  x = unsqueeze(build, x, last);
  std::vector<Value*> columns = {full(build, shape_of(x), Arg(Dim(1)), x->type.dtype)};
  for (std::int64_t i = 1; i < *count; ++i) columns.push_back(i == 1 ? x : build("mul", {columns.back(), x}));
  if (!increasing) std::ranges::reverse(columns);
  return fresh(concat(build, std::move(columns), static_cast<std::size_t>(last)));
}

// The sum of (y[i] + y[i + 1]) / 2 by distances: a number, or differences of places.
Expected<Arg> trapezoid(Call& call) {
  Builder& build = call.build;
  Value* y = call.promoted({"y"}, Promotion::floating)[0];
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape_of(y).size()));
  if (shape_of(y).empty()) return fail("an integral of a number");
  const auto neighbours = [&](Value* v, std::size_t along, std::string_view row) {
    const Dim size = shape_of(v)[along];
    return build(row, {slice(build, v, along, 1, size), slice(build, v, along, 0, size - Dim(1))});
  };
  Value* sums = build("mul", {neighbours(y, axis, "add"), number(build, 0.5, DType::f32)});
  if (call.given("x")) {
    Value* x = call.promoted({"x"}, Promotion::floating)[0];
    const std::size_t rank = shape_of(x).size();
    if (rank != 1 && rank != shape_of(y).size()) return fail("places {} of {}", type_text(x->type), type_text(y->type));
    Value* steps = neighbours(x, rank == 1 ? 0 : axis, "sub");
    for (std::size_t i = axis + 1; rank == 1 && i < shape_of(y).size(); ++i) steps = unsqueeze(build, steps, -1);
    sums = build("mul", {sums, steps});
  } else {
    sums = build("mul", {sums, number(build, call.arg("dx"), DType::f32)});
  }
  const auto dim = static_cast<std::int64_t>(axis);
  if (call.schema.name == "cumulative_trapezoid") return fresh(build("cumsum", {sums}, {{"dim", dim}}));
  return fresh(reduce(build, "sum", sums, {dim}, false));
}

// Differences of neighbours on both sides, at the ends those of one side: of one step, or by `edge_order` 2 of two.
Value* slope_along(Builder& build, Value* x, std::size_t axis, double step, bool two_steps) {
  const Dim size = shape_of(x)[axis];
  const auto entry = [&](const Dim& at) { return slice(build, x, axis, at, at + Dim(1)); };
  const auto scaled = [&](Value* y, double by) { return build("mul", {y, number(build, by, DType::f32)}); };
  const auto end = [&](const Dim& first, const Dim& second, const Dim& third, double sign) {
    if (!two_steps) return scaled(build("sub", {entry(second), entry(first)}), sign / step);
    Value* sum = build("sub", {scaled(entry(second), 4), build("add", {scaled(entry(first), 3), entry(third)})});
    return scaled(sum, sign / (2 * step));
  };
  Value* inside =
      scaled(build("sub", {slice(build, x, axis, 2, size), slice(build, x, axis, 0, size - Dim(2))}), 1 / (2 * step));
  return concat(build, {end(0, 1, 2, 1), inside, end(size - Dim(1), size - Dim(2), size - Dim(3), -1)}, axis);
}

Expected<Arg> gradient(Call& call) {
  Value* x = call.promoted({"self"}, Promotion::floating)[0];
  const std::size_t rank = shape_of(x).size();
  const std::int64_t edge_order = call.integer("edge_order");
  if (edge_order != 1 && edge_order != 2) return fail("edge_order is {}, expected 1 or 2", edge_order);
  Integers dims = all_axes(rank);
  if (call.given("dim")) {
    const auto one = constant_integer(call.arg("dim"));
    dims = one ? Integers{*one} : call.integers("dim");
  }
  std::vector<double> steps(dims.size(), 1);
  if (call.given("spacing")) {
    const auto* list = call.arg("spacing").as<Arg::List>();
    if (list != nullptr && list->size() != dims.size())
      return fail("{} distances for {} axes", list->size(), dims.size());
    steps = list != nullptr ? call.reals("spacing") : std::vector<double>(dims.size(), call.real("spacing"));
  }
  if (rank == 0) return fail("slopes of a number");
  std::vector<Value*> slopes;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dims[i], rank));
    if (const auto size = shape_of(x)[axis].constant(); size && *size <= edge_order)
      return fail("slopes along an axis of {}", type_text(x->type));
    slopes.push_back(slope_along(call.build, x, axis, steps[i], edge_order == 2));
  }
  return fresh_list(slopes);
}

// All products of entries, block by block.
Expected<Arg> kronecker(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "other"}, Promotion::common);
  const std::size_t rank = std::max(shape_of(x[0]).size(), shape_of(x[1]).size());
  Shape a = shape_of(x[0]), b = shape_of(x[1]), left, right, out;
  a.insert(a.begin(), rank - a.size(), Dim(1));
  b.insert(b.begin(), rank - b.size(), Dim(1));
  for (std::size_t i = 0; i < rank; ++i) {
    left.insert(left.end(), {a[i], Dim(1)});
    right.insert(right.end(), {Dim(1), b[i]});
    out.push_back(a[i] * b[i]);
  }
  return fresh(reshape(build, build("mul", {reshape(build, x[0], left), reshape(build, x[1], right)}), out));
}

// ------------------------------------------------------------------------------------------------------------ elements

// -x ln x, 0 at 0 and -inf below
Expected<Arg> entropy(Call& call) {
  Builder& build = call.build;
  Value* x = call.promoted({"self"}, Promotion::floating)[0];
  Value* zero = number(build, 0.0, DType::f32);
  Value* at_zero = build("equal", {x, zero});
  Value* inside = build("where", {at_zero, number(build, 1.0, DType::f32), x});
  Value* entropy = build("neg", {build("mul", {x, build("log", {inside})})});
  Value* nothing = number(build, -std::numeric_limits<double>::infinity(), DType::f32);
  return fresh(build("where", {build("less", {x, zero}), nothing, entropy}));
}

Expected<Arg> nan_mean(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const Integers dims, call.axes("dim", x->type.shape.size()));
  const bool keepdim = call.flag("keepdim");
  Value* missing = build("is_nan", {x});
  Value* sum = reduce(build, "sum", build("where", {missing, number(build, 0.0, x->type.dtype), x}), dims, keepdim);
  Value* there = cast(build, build("logical_not", {missing}), DType::f32);
  return fresh(build("div", {sum, reduce(build, "sum", there, dims, keepdim)}));
}

// ------------------------------------------------------------------------------------------------------------- tables

// The number of boundaries below x, or with `right` those up to x: of all, or of each row of x its own.
Expected<Arg> count_boundaries(Call& call, std::string_view boundaries, std::string_view x) {
  Builder& build = call.build;
  auto operands = call.promoted({x, boundaries}, Promotion::common);
  const std::size_t rank = shape_of(operands[1]).size();
  if (rank == 0 || (rank > 1 && shape_of(operands[0]).size() != rank))
    return fail("boundaries {} for {}", type_text(operands[1]->type), type_text(operands[0]->type));
  if (rank > 1) operands[1] = unsqueeze(build, operands[1], static_cast<std::int64_t>(rank) - 1);
  bool right = call.flag("right");
  if (call.given("side")) right = call.text("side") == "right";
  Value* each = unsqueeze(build, operands[0], static_cast<std::int64_t>(shape_of(operands[0]).size()));
  Value* below = build(right ? "less_equal" : "less", {operands[1], each});
  TAPER_TRY(build.status());
  const auto last = static_cast<std::int64_t>(shape_of(below).size()) - 1;
  Value* count = reduce(build, "sum", cast(build, below, DType::i64), {last}, false);
  return fresh(call.flag("out_int32") ? cast(build, count, DType::i32) : count);
}

Expected<Arg> is_in(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"elements", "test_elements"}, Promotion::common);
  Value* each = unsqueeze(build, x[0], static_cast<std::int64_t>(shape_of(x[0]).size()));
  Value* found = build("equal", {each, reshape(build, x[1], {element_count(shape_of(x[1]))})});
  TAPER_TRY(build.status());
  Value* any = reduce(build, "any", found, {static_cast<std::int64_t>(shape_of(found).size()) - 1}, false);
  return fresh(call.flag("invert") ? build("logical_not", {any}) : any);
}

// base^(start + i step)
Expected<Arg> log_space(Call& call) {
  Builder& build = call.build;
  const Dim steps = call.size("steps");
  Value* start = number(build, call.arg("start"), DType::f32);
  Value* width = build("sub", {number(build, call.arg("end"), DType::f32), start});
  Value* index = arange(build, 0, 1, steps, DType::f32);
  Value* parts = number(build, Arg(larger(call.context, steps - Dim(1), 1)), DType::f32);
  Value* exponent = build("add", {start, build("div", {build("mul", {index, width}), parts})});
  Value* base = number(build, std::log(call.real("base")), DType::f32);
  Value* y = build("exp", {build("mul", {exponent, base})});
  return fresh(cast(build, y, call.dtype("dtype").value_or(DType::f32)));
}

}  // namespace

std::vector<Overload> composite_overloads() {
  return {
      {"diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor", diag_embed},
      {"diag(Tensor self, int diagonal=0) -> Tensor", diag},
      {"diagflat(Tensor self, int offset=0) -> Tensor", flat_diagonal},
      {"block_diag(Tensor[] tensors) -> Tensor", block_diagonal},
      {"vander(Tensor x, int? N=None, bool increasing=False) -> Tensor",
       [](Call& call) { return powers(call, call.flag("increasing")); }},
      {"linalg_vander(Tensor x, *, SymInt? N=None) -> Tensor", [](Call& call) { return powers(call, true); }},
      {"trapezoid.x(Tensor y, Tensor x, *, int dim=-1) -> Tensor", trapezoid},
      {"trapezoid.dx(Tensor y, *, Scalar dx=1, int dim=-1) -> Tensor", trapezoid},
      {"cumulative_trapezoid.x(Tensor y, Tensor x, *, int dim=-1) -> Tensor", trapezoid},
      {"cumulative_trapezoid.dx(Tensor y, *, Scalar dx=1, int dim=-1) -> Tensor", trapezoid},
      {"gradient.scalarint(Tensor self, *, Scalar? spacing=None, int? dim=None, int edge_order=1) -> Tensor[]",
       gradient},
      {"gradient.scalararray(Tensor self, *, Scalar spacing, int[] dim, int edge_order=1) -> Tensor[]", gradient},
      {"gradient.array(Tensor self, *, int[] dim, int edge_order=1) -> Tensor[]", gradient},
      {"gradient.scalarrayint(Tensor self, *, Scalar[] spacing, int? dim=None, int edge_order=1) -> Tensor[]",
       gradient},
      {"gradient.scalarrayarray(Tensor self, *, Scalar[] spacing, int[] dim, int edge_order=1) -> Tensor[]", gradient},
      {"trace(Tensor self) -> Tensor", trace},
      {"fill_diagonal(Tensor self, Scalar fill_value, bool wrap=False) -> Tensor", fill_diagonal},
      {"kron(Tensor self, Tensor other) -> Tensor", kronecker},
      {"special_entr(Tensor self) -> Tensor", entropy},
      {"nanmean(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor", nan_mean},
      {"bucketize.Tensor(Tensor self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
       [](Call& call) { return count_boundaries(call, "boundaries", "self"); }},
      {"searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False, str? "
       "side=None, Tensor? sorter=None) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         if (call.given("sorter")) {
           Value* order = cast(call.build, call.tensor("sorter"), DType::i64);
           call.args[0] = fresh(
               call.build("gather_elements", {call.tensor("sorted_sequence"), order}, {{"dim", std::int64_t{-1}}}));
           TAPER_TRY(call.build.status());
         }
         return count_boundaries(call, "sorted_sequence", "self");
       }},
      {"isin.Tensor_Tensor(Tensor elements, Tensor test_elements, *, bool assume_unique=False, bool invert=False) -> "
       "Tensor",
       is_in},
      {"isin.Tensor_Scalar(Tensor elements, Scalar test_elements, *, bool assume_unique=False, bool invert=False) -> "
       "Tensor",
       is_in},
      {"logspace(Scalar start, Scalar end, SymInt steps, float base=10.0, *, ScalarType? dtype=None, Layout? "
       "layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
       log_space},
  };
}

}  // namespace taper::aten
