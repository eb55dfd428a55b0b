// ONNX's operators that look elements up: gathers, scatters, sorts, and those that choose.
#include <algorithm>
#include <limits>
#include <numeric>

#include "frontend/onnx_importer.h"
#include "frontend/padding.h"

namespace taper::onnx_reader {
namespace {

// Indices below 0 count from the back, of as many as `count` says.
Value* counted_from_front(Call& call, Value* index, Value* count) {
  if (call.failed()) return nullptr;
  Value* negative = call.build("less", {index, call.number(0, index->type.dtype)});
  return call.build("where", {negative, call.build("add", {index, count}), index});
}

using Integers = std::vector<std::int64_t>;

// Indices of an axis of `size` entries, where -1 names the last. Those that are known are counted from the front now.
Value* from_the_front(Call& call, std::size_t operand, const Dim& size) {
  Value* index = call.x(operand);
  if (call.failed()) return nullptr;
  if (const auto tensor = call.constant(operand)) {
    const std::vector<double> values = to_double(*tensor);
    if (std::ranges::none_of(values, [](double value) { return value < 0; })) return index;
    if (const auto number = size.constant()) {
      Array array{tensor->dtype, tensor->shape, values};
      for (double& value : array.values)
        if (value < 0) value += static_cast<double>(*number);
      return call.build.constant(to_tensor(array), index->name);
    }
  }
  return counted_from_front(call, index, size_as_number(call.build, size, index->type.dtype));
}

void read_gather(Call& call) {
  const std::size_t rank = call.rank(0);
  const std::int64_t axis = call.axis(call.integer("axis", 0), rank);
  if (call.failed()) return;
  const Dim size = call.shape(0)[static_cast<std::size_t>(axis)];
  const auto index = call.known_if_any(1);
  if (index && index->shape.empty() && index->elements[0].constant()) {
    std::int64_t at = *index->elements[0].constant();
    if (at < 0 && size.constant()) at += *size.constant();
    if (at >= 0) return call.set(0, call.build("select", {call.x(0)}, {{"dim", axis}, {"index", at}}, call.name()));
    // Counted from the back of an open axis.
    Value* last = call.build("flip", {call.x(0)}, {{"dims", Integers{axis}}});
    return call.set(0, call.build("select", {last}, {{"dim", axis}, {"index", -1 - at}}, call.name()));
  }
  call.set(0, call.build("gather", {call.x(0), from_the_front(call, 1, size)}, {{"dim", axis}}, call.name()));
}

void read_gather_elements(Call& call) {
  const std::int64_t axis = call.axis(call.integer("axis", 0), call.rank(0));
  if (call.failed()) return;
  Value* index = from_the_front(call, 1, call.shape(0)[static_cast<std::size_t>(axis)]);
  call.set(0, call.build("gather_elements", {call.x(0), index}, {{"dim", axis}}, call.name()));
}

// Tuples of indices, each within its own axis.
Value* tuples_from_the_front(Call& call, std::size_t operand, std::size_t first_axis) {
  Value* index = call.x(operand);
  const Shape& shape = call.shape(0);
  if (call.failed()) return nullptr;
  const auto width = index->type.shape.empty() ? std::nullopt : index->type.shape.back().constant();
  if (!width || *width < 0 || static_cast<std::size_t>(*width) + first_axis > shape.size()) {
    call.fail(fmt::format("indices of shape {} into {}", shape_text(index->type.shape), shape_text(shape)));
    return nullptr;
  }
  if (const auto tensor = call.constant(operand))
    if (std::ranges::none_of(to_double(*tensor), [](double value) { return value < 0; })) return index;
  Slot sizes;
  const auto begin = shape.begin() + static_cast<std::ptrdiff_t>(first_axis);
  sizes.known = std::make_shared<Known>(Known{index->type.dtype, {*width}, {begin, begin + *width}});
  Value* counts = call.importer.materialize(call.build, sizes);
  return counted_from_front(call, index, counts);
}

void read_gather_nd(Call& call) {
  const std::int64_t batch = call.integer("batch_dims", 0);
  if (batch < 0) return call.fail("batch_dims is negative");
  Value* index = tuples_from_the_front(call, 1, static_cast<std::size_t>(batch));
  call.set(0, call.build("gather_nd", {call.x(0), index}, {{"batch_dims", batch}}, call.name()));
}

// The call; booleans are joined as numbers.
Value* scattered(Call& call, std::string_view op, Value* x, Value* index, Value* updates, Attrs attrs) {
  if (call.failed()) return nullptr;
  const bool as_numbers = x->type.dtype == DType::boolean && attrs.text("reduction") != "none";
  if (!as_numbers) return call.build(op, {x, index, updates}, std::move(attrs), call.name());
  Value* joined = call.build(op, {call.cast(x, DType::i32), index, call.cast(updates, DType::i32)}, std::move(attrs));
  return call.cast(joined, DType::boolean, call.name());
}

void read_scatter_nd(Call& call) {
  const std::string reduction = call.text("reduction", "none");
  Value* index = tuples_from_the_front(call, 1, 0);
  Value* updates = call.x(2);
  if (call.failed()) return;
  // There are as many updates as tuples, though their numbers may be computed apart.
  for (std::size_t axis = 0; axis + 1 < index->type.shape.size() && axis < updates->type.shape.size(); ++axis) {
    const Dim &wanted = index->type.shape[axis], given = updates->type.shape[axis];
    if (wanted == given || (wanted - given).constant()) continue;
    call.importer.assume(fmt::format("'{}' holds as many updates as '{}' holds tuples: {} and {}", call.node.input(2),
                                     call.node.input(1), given.text(), wanted.text()));
    updates = call.slice(updates, static_cast<std::int64_t>(axis), 0, wanted);
    if (call.failed()) return;
  }
  call.set(0, scattered(call, "scatter_nd", call.x(0), index, updates, {{"reduction", reduction}}));
}

void read_scatter_elements(Call& call) {
  const std::string reduction = call.text("reduction", "none");
  const std::int64_t axis = call.axis(call.integer("axis", 0), call.rank(0));
  if (call.failed()) return;
  Value* index = from_the_front(call, 1, call.shape(0)[static_cast<std::size_t>(axis)]);
  call.set(0,
           scattered(call, "scatter_elements", call.x(0), index, call.x(2), {{"dim", axis}, {"reduction", reduction}}));
}

// A number of one element, which may be known as a real one.
std::optional<Dim> depth_of(Call& call, std::size_t i) {
  if (const auto known = call.constant(i); known && is_floating(known->dtype)) {
    const std::vector<double> depth = to_double(*known);
    constexpr double kMost = 1e9;
    if (depth.size() != 1 || !(depth[0] >= 0 && depth[0] <= kMost)) return std::nullopt;
    return Dim(static_cast<std::int64_t>(depth[0]));
  }
  const auto sizes = operand_sizes(call, i);
  return sizes && sizes->size() == 1 ? std::optional((*sizes)[0]) : std::nullopt;
}

void read_one_hot(Call& call) {
  const std::size_t rank = call.rank(0) + 1;
  const std::int64_t axis = call.axis(call.integer("axis", -1), rank);
  const auto depth = depth_of(call, 1);
  Value* index = call.x(0);
  if (call.failed()) return;
  if (!depth || depth->constant().value_or(1) < 1 || depth->constant().value_or(1) > std::int64_t{1'000'000'000})
    return call.fail("the depth is no number of at least 1");
  // Indices count from -depth; others are hot nowhere, those without a sign that would get one among them.
  if (index->type.dtype == DType::u64) index = call.binary("minimum", index, 0x1p62);
  index = call.cast(index, DType::i64);
  index = counted_from_front(call, index, size_as_number(call.build, *depth, DType::i64));
  Shape ones(rank, Dim(1));
  ones[static_cast<std::size_t>(axis)] = *depth;
  Value* line = call.arange(*depth);
  Value* hot = call.build("equal", {call.unsqueeze(index, {axis}), call.reshape(line, ones)});
  Value* values = call.x(2);
  Value* off = call.build("select", {values}, {{"dim", std::int64_t{0}}, {"index", std::int64_t{0}}});
  Value* on = call.build("select", {values}, {{"dim", std::int64_t{0}}, {"index", std::int64_t{1}}});
  call.set(0, call.build("where", {hot, on, off}, {}, call.name()));
}

void read_top_k(Call& call) {
  const std::int64_t axis = call.axis(call.integer("axis", -1), call.rank(0));
  const bool largest = call.flag("largest", true), sorted = call.flag("sorted", true);
  Shape k;
  if (call.version < 10) {
    k = {call.integer("k", -1)};
  } else if (auto sizes = operand_sizes(call, 1, true)) {
    k = *std::move(sizes);
  }
  if (call.failed()) return;
  if (k.size() != 1 || k[0].constant().value_or(0) < 0) return call.fail("k is no number");
  const std::vector<Value*> out = call.build.call(
      "topk", {call.x(0)}, {{"k", k}, {"dim", axis}, {"largest", largest}, {"sorted", sorted}}, call.name());
  call.set(0, out[0]);
  call.set(1, out[1]);
}

void read_cumsum(Call& call) {
  const Integers axis = call.integers_of(1);
  if (call.failed()) return;
  if (axis.size() != 1) return call.fail("the axis is no number");
  call.set(0, call.build("cumsum", {call.x(0)},
                         {{"dim", call.axis(axis[0], call.rank(0))},
                          {"exclusive", call.flag("exclusive", false)},
                          {"reverse", call.flag("reverse", false)}},
                         call.name()));
}

// Where x is not zero, [rank, count]. Old exporters count with it: of constants, and of vectors that are filled with
// one number, the positions are known.
void read_nonzero(Call& call) {
  const auto constant = call.constant(0);
  Value* x = constant ? nullptr : call.x(0);
  if (call.failed()) return;
  if (constant) {
    const std::vector<double> values = to_double(*constant);
    const auto rank = static_cast<std::size_t>(constant->rank());
    std::vector<Integers> places(std::max<std::size_t>(rank, 1));
    const Integers strides = row_major_strides(constant->shape);
    for (std::size_t i = 0; i < values.size(); ++i)
      for (std::size_t axis = 0; values[i] != 0 && axis < places.size(); ++axis)
        places[axis].push_back(rank == 0 ? 0 : static_cast<std::int64_t>(i) / strides[axis] % constant->shape[axis]);
    const auto count = static_cast<std::int64_t>(places[0].size());
    Integers flat;
    for (const Integers& row : places) flat.insert(flat.end(), row.begin(), row.end());
    return call.set(0, call.build.constant(tensor_i64({static_cast<std::int64_t>(places.size()), count}, flat)));
  }
  const Node* maker = x->producer;
  if (maker != nullptr && maker->op == "full" && x->type.shape.size() == 1 && maker->attrs.real("value") != 0) {
    const Shape length = x->type.shape;
    return call.set(0, call.reshape(call.arange(length[0]), Shape{1, length[0]}, call.name()));
  }
  if (x->type.shape.empty()) x = call.unsqueeze(x, {0});
  call.set(0, call.permute(nonzero_places(call, x), {1, 0}, call.name()));
}

// Entries of an axis, or of the flattened operand, where a condition holds.
void read_compress(Call& call) {
  const bool flat = !call.has_attribute("axis");
  Value* x = call.x(0);
  const auto condition = call.constant(1);
  if (call.failed()) return;
  const std::int64_t axis = flat ? 0 : call.axis(call.integer("axis", 0), call.rank(0));
  if (call.failed()) return;
  if (flat) x = call.reshape(x, Shape{element_count(x->type.shape)});
  Value* kept = nullptr;
  if (condition) {
    const std::vector<double> values = to_double(*condition);
    Integers places;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (values[i] != 0) places.push_back(static_cast<std::int64_t>(i));
    kept = call.vector(places);
  } else if (Value* places = nonzero_places(call, call.x(1)); places != nullptr) {
    kept = call.reshape(places, {places->type.shape[0]});
  }
  call.set(0, call.build("gather", {x, kept}, {{"dim", axis}}, call.name()));
}

// What Unique compares: all entries as a vector, or the parts of an axis as rows of a matrix.
struct Compared {
  Value* entries = nullptr;
  std::int64_t axis = 0;
  Shape shape;  // of the operand with the axis in front; empty: entries
};

Compared compared_of(Call& call) {
  Compared compared;
  Value* x = call.x(0);
  if (call.failed()) return compared;
  if (x->type.dtype == DType::boolean) x = call.cast(x, DType::u8);
  const std::size_t rank = x->type.shape.size();
  if (call.has_attribute("axis")) compared.axis = call.axis(call.integer("axis", 0), rank);
  if (call.failed()) return compared;
  if (!call.has_attribute("axis") || rank == 1) {
    compared.entries = call.reshape(x, Shape{element_count(x->type.shape)});
    return compared;
  }
  Integers to_front(rank);
  std::iota(to_front.begin(), to_front.end(), std::int64_t{0});
  std::rotate(to_front.begin(), to_front.begin() + compared.axis, to_front.begin() + compared.axis + 1);
  x = call.permute(x, to_front);
  if (call.failed()) return compared;
  compared.shape = x->type.shape;
  const Dim columns = element_count(Shape(compared.shape.begin() + 1, compared.shape.end()));
  if (columns.constant().value_or(0) < 1 || *columns.constant() > kMostColumns)
    call.fail(fmt::format("parts of {} elements are compared, expected a known number of them, at most {}",
                          columns.text(), kMostColumns),
              "give what tells the parts apart in fewer elements, one number for each part at best");
  compared.entries = call.reshape(x, Shape{compared.shape[0], columns});
  return compared;
}

Value* as_given(Call& call, const Compared& compared, Value* values, DType dtype) {
  if (call.failed()) return nullptr;
  if (compared.shape.empty()) return call.cast(values, dtype, call.name());
  Shape shape = compared.shape;
  shape[0] = values->type.shape[0];
  Integers back(shape.size());
  std::iota(back.begin(), back.end(), std::int64_t{0});
  std::rotate(back.begin(), back.begin() + 1, back.begin() + compared.axis + 1);
  return call.permute(call.reshape(call.cast(values, dtype), shape), back, call.name());
}

Ordered in_order(Call& call, Value* entries) {
  if (call.failed()) return {nullptr, nullptr};
  if (entries->type.shape.size() == 2) return rows_in_order(call.build, entries);
  const std::vector<Value*> sorted = call.build.call("sort", {entries}, {{"dim", std::int64_t{0}}});
  return call.failed() ? Ordered{nullptr, nullptr} : Ordered{sorted[0], sorted[1]};
}

// The values of a tensor, or the parts along an axis, without repetitions: sorted, or in the order in which they first
// come; where each first stands, which of them each entry is, and how often each comes.
void read_unique(Call& call) {
  const bool sorted = call.flag("sorted", true);
  const DType dtype = call.dtype(0);
  const Compared compared = compared_of(call);
  const Attrs along = {{"dim", std::int64_t{0}}};
  const Ordered ordered = in_order(call, compared.entries);
  // Of equal entries the first one stands first in x: sorting keeps their order.
  Value* begins = run_begins(call.build, ordered.rows);
  Value* starts = nonzero_places(call, begins);
  if (call.failed()) return;
  const Dim count = starts->type.shape[0];
  starts = call.reshape(starts, Shape{count});
  Runs runs = runs_of(call.build, ordered.rows, begins, starts);
  Value* first = call.build("gather", {ordered.order, starts}, along);
  if (!sorted) {
    const std::vector<Value*> by_place = call.build.call("sort", {first}, along);
    if (call.failed()) return;
    const auto reordered = [&](Value* v) { return call.build("gather", {v, by_place[1]}, along); };
    runs.values = reordered(runs.values), runs.lengths = reordered(runs.lengths), first = by_place[0];
    runs.number = call.build("gather", {put_in_order(call.build, by_place[1], call.arange(count)), runs.number}, along);
  }
  call.set(0, as_given(call, compared, runs.values, dtype));
  if (call.outputs() > 1) call.set(1, first);
  if (call.outputs() > 2) call.set(2, put_in_order(call.build, ordered.order, runs.number));
  if (call.outputs() > 3) call.set(3, runs.lengths);
}

void read_non_max_suppression(Call& call) {
  const auto limit = [&](std::size_t i, double fallback, DType dtype) {
    return call.has(i) ? call.cast(call.reshape(call.x(i), Shape{}), dtype) : call.number(fallback, dtype);
  };
  Value *boxes = call.x(0), *scores = call.x(1);
  if (call.failed()) return;
  Value* most = limit(2, 0, DType::i64);
  Value* overlap = limit(3, 0, DType::f32);
  Value* score = limit(4, -std::numeric_limits<double>::infinity(), DType::f32);
  const Attrs attrs = {{"center_point_box", call.flag("center_point_box", false)},
                       {"count", Shape{call.importer.fresh_count(call.build.graph())}}};
  call.set(0, call.build("non_max_suppression", {boxes, scores, most, overlap, score}, attrs, call.name()));
}

// Each batch entry's first lengths[b] frames in reverse order.
void read_reverse_sequence(Call& call) {
  const std::int64_t batch_axis = call.integer("batch_axis", 1), time_axis = call.integer("time_axis", 0);
  const Shape shape = call.shape(0);
  Value* lengths = call.x(1);
  if (call.failed()) return;
  if (shape.size() < 2 || batch_axis + time_axis != 1 || batch_axis * time_axis != 0)
    return call.fail(fmt::format("batch_axis {} and time_axis {}", batch_axis, time_axis));
  Value* x = call.x(0);
  const DType dtype = lengths->type.dtype;
  const Dim steps = shape[static_cast<std::size_t>(time_axis)];
  // index[t, b] = t < lengths[b] ? lengths[b] - 1 - t : t
  Value* line = call.arange(steps, 0, dtype);
  Value* time = call.unsqueeze(line, {batch_axis});
  Value* length = call.unsqueeze(lengths, {time_axis});
  Value* mirrored = call.build("sub", {call.binary("sub", length, 1), time});
  Value* index = call.build("where", {call.build("less", {time, length}), mirrored, time});
  Integers tail(shape.size() - 2);
  std::iota(tail.begin(), tail.end(), std::int64_t{2});
  index = call.build("expand", {call.unsqueeze(index, tail)}, {{"shape", shape}});
  call.set(0, call.build("gather_elements", {x, index}, {{"dim", time_axis}}, call.name()));
}

// A buffer with updates written at each batch entry's position, or around its end.
void read_tensor_scatter(Call& call) {
  const std::string mode = call.text("mode", "linear");
  const std::int64_t axis = call.axis(call.integer("axis", -2), call.rank(0));
  Value* past = call.x(0);
  Value* update = call.x(1);
  if (call.failed()) return;
  const Shape& shape = update->type.shape;
  if (shape.size() != past->type.shape.size())
    return call.fail(fmt::format("{} into {}", type_text(update->type), type_text(past->type)));
  const Dim size = past->type.shape[static_cast<std::size_t>(axis)];
  if (axis == 0) return call.fail("axis 0 is that of the batch");
  Value* position = call.arange(shape[static_cast<std::size_t>(axis)]);
  position = call.unsqueeze(position, {0});
  if (call.has(2)) position = call.build("add", {position, call.unsqueeze(call.x(2), {1})});
  if (mode == "circular") {
    position = call.build("remainder", {position, size_as_number(call.build, size, DType::i64)});
  }
  // [B, n] -> the shape of the update
  Integers others;
  for (std::int64_t i = 1; i < static_cast<std::int64_t>(shape.size()); ++i)
    if (i != axis) others.push_back(i);
  Value* index = call.build("expand", {call.unsqueeze(position, others)}, {{"shape", shape}});
  call.set(0, call.build("scatter_elements", {past, index, update}, {{"dim", axis}, {"reduction", std::string("none")}},
                         call.name()));
}

// argmax and argmin; with select_last_index of the operand reversed.
template <bool kLargest>
void read_arg(Call& call) {
  const std::size_t rank = call.rank(0);
  const std::int64_t axis = call.axis(call.integer("axis", 0), rank);
  const bool keepdim = call.flag("keepdims", true);
  const bool last = call.flag("select_last_index", false);
  Value* x = call.x(0);
  if (call.failed()) return;
  const Attrs attrs = {{"dim", axis}, {"keepdim", keepdim}};
  const char* op = kLargest ? "argmax" : "argmin";
  if (!last) return call.set(0, call.build(op, {x}, attrs, call.name()));
  Value* last_place = size_as_number(call.build, call.shape(0)[static_cast<std::size_t>(axis)] - 1, DType::i64);
  Value* mirrored = call.build(op, {call.build("flip", {x}, {{"dims", Integers{axis}}})}, attrs);
  call.set(0, call.build("sub", {last_place, mirrored}, {}, call.name()));
}

// Columns by their numbers.
void read_array_feature(Call& call) {
  Value* x = call.x(0);
  Value* index = call.x(1);
  if (call.failed()) return;
  if (x->type.shape.size() == 1) x = call.unsqueeze(x, {0});
  index = call.reshape(index, Shape{element_count(index->type.shape)});
  call.set(0, call.build("gather", {x, index}, {{"dim", std::int64_t{-1}}}, call.name()));
}

// 1 at the first largest entry of an axis, 0 elsewhere.
void read_hardmax(Call& call) {
  const Shape shape = call.shape(0);
  const DType dtype = call.dtype(0);
  const std::int64_t axis = call.axis(call.integer("axis", call.version < 13 ? 1 : -1), shape.size());
  Value* x = call.x(0);
  if (call.failed()) return;
  std::int64_t dim = axis;
  if (call.version < 13) {  // over all axes from this one on, taken as one
    const Shape outer(shape.begin(), shape.begin() + axis), inner(shape.begin() + axis, shape.end());
    x = call.reshape(x, Shape{element_count(outer), element_count(inner)});
    dim = 1;
  }
  if (call.failed()) return;
  const Shape work = x->type.shape;
  Value* first = call.build("argmax", {x}, {{"dim", dim}, {"keepdim", true}});
  Shape line(work.size(), Dim(1));
  line[static_cast<std::size_t>(dim)] = work[static_cast<std::size_t>(dim)];
  Value* count = call.arange(work[static_cast<std::size_t>(dim)]);
  Value* hot = call.cast(call.build("equal", {call.reshape(count, line), first}), dtype);
  call.set(0, call.reshape(hot, shape, call.name()));
}

}  // namespace

std::vector<Row> index_rows() {
  return {
      {.op = "Gather", .operands = 2, .read = read_gather},
      {.op = "GatherElements", .operands = 2, .since = 11, .read = read_gather_elements},
      {.op = "GatherND", .operands = 2, .since = 11, .read = read_gather_nd},
      {.op = "ScatterND", .operands = 3, .since = 11, .read = read_scatter_nd},
      {.op = "Scatter", .operands = 3, .since = 9, .read = read_scatter_elements},
      {.op = "ScatterElements", .operands = 3, .since = 11, .read = read_scatter_elements},
      {.op = "TensorScatter", .operands = 2, .since = 24, .read = read_tensor_scatter},
      {.op = "OneHot", .operands = 3, .since = 9, .read = read_one_hot},
      {.op = "TopK", .read = read_top_k},
      {.op = "CumSum", .operands = 2, .since = 11, .read = read_cumsum},
      {.op = "NonMaxSuppression", .operands = 2, .since = 10, .read = read_non_max_suppression},
      {.op = "NonZero", .since = 9, .read = read_nonzero},
      {.op = "Unique", .since = 11, .read = read_unique},
      {.op = "Compress", .operands = 2, .since = 9, .read = read_compress},
      {.op = "ReverseSequence", .operands = 2, .since = 10, .read = read_reverse_sequence},
      {.op = "ArgMax", .read = read_arg<true>},
      {.op = "ArgMin", .read = read_arg<false>},
      {.op = "Hardmax", .read = read_hardmax},
      {.op = "ArrayFeatureExtractor", .operands = 2, .read = read_array_feature, .domain = "ai.onnx.ml"},
  };
}

}  // namespace taper::onnx_reader
