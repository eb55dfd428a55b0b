// Pieces of tensors: slices, entries, parts, diagonals, and tensors in which they are replaced.
#include <algorithm>
#include <limits>

#include "frontend/aten_cut.h"

namespace taper::aten {
namespace {

constexpr std::int64_t kMostParts = 65536;

Value* rebuilt_around(Builder& build, Value* base, Value* written, std::size_t axis, const Dim& start, const Dim& end) {
  if (base == nullptr || written == nullptr) return nullptr;
  const Dim size = base->type.shape[axis];
  std::vector<Value*> parts;
  if (!start.is(0)) parts.push_back(slice(build, base, axis, 0, start));
  parts.push_back(written);
  if (end != size) parts.push_back(slice(build, base, axis, end, size));
  return concat(build, std::move(parts), axis);
}

Cut piece(std::size_t axis, const Dim& start, const Dim& end) {
  return {[=](Builder& build, Value* base) { return slice(build, base, axis, start, end); },
          [=](Builder& build, Value* base, Value* written) {
            return rebuilt_around(build, base, written, axis, start, end);
          },
          same_strides};
}

// The positions of an axis, those that a view with steps has replaced by the places behind the axis.
Value* interleaved_positions(Builder& build, const Dim& size, std::int64_t start, const Dim& end, std::int64_t step) {
  const auto integer = [&](const Dim& value) { return number(build, Arg(value), DType::i32); };
  Value* place = arange(build, 0, 1, size, DType::i32);
  Value* from_start = start == 0 ? place : build("sub", {place, integer(start)});
  Value* entry = build("floor_divide", {from_start, integer(step)});
  Value* is_entry = build("equal", {build("mul", {entry, integer(step)}), from_start});
  if (start > 0) is_entry = build("logical_and", {is_entry, build("greater_equal", {from_start, integer(0)})});
  if (end != size) is_entry = build("logical_and", {is_entry, build("less", {place, integer(end)})});
  return build("where", {is_entry, build("add", {entry, integer(size)}), place});
}

// Every `step`th entry from `start` on. Written back entry by entry.
Cut stepped(const Shape& shape, std::size_t axis, std::int64_t start, const Dim& end, std::int64_t step) {
  const auto dim = static_cast<std::int64_t>(axis);
  Cut cut;
  cut.strides = [=](const Shape& base) {
    Shape strides = base;
    strides[axis] = strides[axis] * Dim(step);
    return Strides(strides);
  };
  cut.view = [=](Builder& build, Value* base) {
    return build("slice", {base}, {{"dim", dim}, {"start", start}, {"end", Shape{end}}, {"step", step}});
  };
  const auto size = shape[axis].constant();
  const auto last = end.constant();
  if (size && *size > kMostParts) return cut;
  cut.write_back = [=, open = shape[axis]](Builder& build, Value* base, Value* written) {
    Value* both = concat(build, {base, written}, axis);
    if (!size || !last)
      return build("gather", {both, interleaved_positions(build, open, start, end, step)}, {{"dim", dim}});
    // Positions in the base followed by the view.
    Integers from = all_axes(static_cast<std::size_t>(*size));
    std::int64_t next = *size;
    for (std::int64_t i = start; i < *last; i += step) from[static_cast<std::size_t>(i)] = next++;
    return build("gather", {both, integer_vector(build, from)}, {{"dim", dim}});
  };
  return cut;
}

// A table of known size that is cut to an unknown length is long enough, or the program would fail: the largest value
// of the length's symbol for which it is, found by halves.
void assume_at_most(Context& context, const Dim& end, const Dim& size) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const auto most = size.constant();
  const auto symbols = symbols_of(end);
  if (symbols.size() != 1 || !most || known_less_equal(context, end, size)) return;
  const std::string& symbol = *symbols.begin();
  SymbolRange& range = context.symbols.try_emplace(symbol, SymbolRange{.least = 1}).first->second;
  const std::int64_t before = range.most;
  const auto fits = [&](std::int64_t value) {
    range.most = value;
    return range_of(context, end).most <= static_cast<double>(*most);
  };
  std::int64_t low = range.least, high = std::min(before, kMost) + 1;
  if (!fits(low)) {
    range.most = before;
    return;
  }
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  range.most = low;
  context.warnings.push_back(fmt::format("{} is taken to be at most {}: the program cuts a tensor of size {} to {}",
                                         symbol, low, *most, end.text()));
}

Expected<Cut> slice_cut(Call& call, const Shape& shape) {
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return fail("a slice of a number");
  const Dim& size = shape[axis];
  const auto step = constant_integer(call.arg("step"));
  if (!step || *step < 1) return fail("a slice with step {}", call.size("step").text());
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max() / 2;
  const Dim start = clamp_position(call.context, call.size("start"), size);
  Dim end = size;
  if (call.given("end") && call.size("end").constant().value_or(0) < kEnd) {
    assume_at_most(call.context, call.size("end"), size);
    end = larger(call.context, start, clamp_position(call.context, call.size("end"), size));
  }
  if (*step == 1) return piece(axis, start, end);
  const auto first = start.constant();
  if (!first) return fail("a slice with step {} from {}", *step, start.text());
  return stepped(shape, axis, *first, end, *step);
}

Expected<Cut> select_cut(Call& call, const Shape& shape) {
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return fail("an entry of a number");
  const Dim& size = shape[axis];
  const Dim index = position_from_start(call.context, call.size("index"), size);
  if (known_less(call.context, index, 0) == true || known_less_equal(call.context, size, index) == true)
    return fail("entry {} of axis {} of {}", call.size("index").text(), axis, shape_text(shape));
  const auto dim = static_cast<std::int64_t>(axis);
  return Cut{[=](Builder& build, Value* base) {
               if (const auto known = index.constant())
                 return build("select", {base}, {{"dim", dim}, {"index", *known}});
               if (index == size - Dim(1)) return build("select", {base}, {{"dim", dim}, {"index", std::int64_t{-1}}});
               return squeeze(build, slice(build, base, axis, index, index + Dim(1)), dim);
             },
             [=](Builder& build, Value* base, Value* written) {
               return rebuilt_around(build, base, unsqueeze(build, written, dim), axis, index, index + Dim(1));
             },
             without_axis(axis)};
}

Expected<Arg> slice_view(Call& call) {
  TAPER_ASSIGN(Cut cut, slice_cut(call, call.place("self")->type().shape));
  return view_of(call, std::move(cut));
}

Expected<Arg> select_view(Call& call) {
  TAPER_ASSIGN(Cut cut, select_cut(call, call.place("self")->type().shape));
  return view_of(call, std::move(cut));
}

Expected<Arg> narrow(Call& call) {
  const Shape shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return fail("a part of a number");
  Dim start = call.arg("start").as<TensorPtr>() != nullptr ? Dim(0) : call.size("start");
  if (const auto* tensor = call.arg("start").as<TensorPtr>()) {
    const auto known = known_integers((*tensor)->present());
    if (!known || known->size() != 1) return fail("a part whose start is computed when the program runs");
    start = known->front();
  }
  start = position_from_start(call.context, start, shape[axis]);
  return view_of(call, piece(axis, start, start + call.size("length")));
}

// The tensor in which a piece is replaced.
Expected<Arg> scattered(Call& call, Expected<Cut> cut) {
  if (!cut) return std::unexpected(cut.error());
  if (!cut->write_back) return fail("a piece that can't be written");
  Value* base = call.tensor("self");
  Value* piece = cut->view(call.build, base);
  Value* source = cast(call.build, call.tensor("src"), base->type.dtype);
  return fresh(cut->write_back(call.build, base, expand(call.build, source, shape_of(piece))));
}

// --------------------------------------------------------------------------------------------------------- many pieces

// Consecutive parts of an axis.
Expected<Arg> parts_of(Call& call, std::size_t axis, const Shape& lengths) {
  const TensorPtr self = call.place("self");
  const Shape shape = self->type().shape;
  if (lengths.size() > static_cast<std::size_t>(kMostParts)) return fail("{} parts of a tensor", lengths.size());
  // Equal parts are one operator.
  std::vector<Value*> contents(lengths.size(), nullptr);
  const bool equal = std::ranges::all_of(lengths, [&](const Dim& length) { return length == lengths[0]; });
  if (equal && lengths.size() > 1 && divide_exactly(shape[axis], Dim(static_cast<std::int64_t>(lengths.size()))))
    contents = call.build.call(
        "split", {self->content(call.build)},
        {{"dim", static_cast<std::int64_t>(axis)}, {"parts", static_cast<std::int64_t>(lengths.size())}});
  TAPER_TRY(call.build.status());
  Arg::List list;
  Dim start = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const Dim end = start + lengths[i];
    TAPER_ASSIGN(Arg part, view_of(call, self, piece(axis, start, end), contents[i]));
    list.push_back(std::move(part));
    start = end;
  }
  return Arg(std::move(list));
}

Expected<Arg> split_with_sizes(Call& call) {
  const Shape& shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  const Shape lengths = call.sizes(call.schema.parameters[1].name);
  if (shape.empty() || lengths.empty()) return fail("no parts of {}", shape_text(shape));
  Dim sum = 0;
  for (const Dim& length : lengths) sum = sum + length;
  if (sum != shape[axis] && (sum - shape[axis]).constant())
    return fail("parts of {} entries in all of an axis of {}", sum.text(), shape[axis].text());
  return parts_of(call, axis, lengths);
}

// Parts of `length` entries; the last one may be shorter.
Expected<Arg> split_by(Call& call, std::size_t axis, const Dim& length) {
  const Dim size = call.place("self")->type().shape[axis];
  Shape lengths;
  if (const auto count = divide_exactly(size, length); count && count->constant()) {
    if (*count->constant() > kMostParts) return fail("{} parts of a tensor", count->text());
    lengths.assign(static_cast<std::size_t>(*count->constant()), length);
    if (lengths.empty()) lengths.push_back(size);
    return parts_of(call, axis, lengths);
  }
  const auto all = size.constant(), each = length.constant();
  if (all && each == 0 && *all == 0) return parts_of(call, axis, {size});
  if (!all || !each || *each < 1) return fail("parts of {} of an axis of size {}", length.text(), size.text());
  if (*all / *each > kMostParts) return fail("{} parts of a tensor", *all / *each);
  for (std::int64_t start = 0; start < *all; start += *each) lengths.emplace_back(std::min(*each, *all - start));
  if (lengths.empty()) lengths.emplace_back(0);
  return parts_of(call, axis, lengths);
}

Expected<Arg> split(Call& call) {
  const Shape& shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return fail("parts of a number");
  return split_by(call, axis, call.size("split_size"));
}

Expected<Arg> chunk(Call& call) {
  const Shape& shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  const std::int64_t chunks = call.integer("chunks");
  if (shape.empty() || chunks < 1) return fail("{} parts of {}", chunks, shape_text(shape));
  if (const auto exact = divide_exactly(shape[axis], Dim(chunks))) return split_by(call, axis, *exact);
  const Dim length = ceil_divide(shape[axis], Dim(chunks));
  // More than two parts of an open size may be fewer than that.
  if (!shape[axis].constant() && chunks == 2) return parts_of(call, axis, {length, shape[axis] - length});
  if (!shape[axis].constant())
    return fail_with_hint(
        fmt::format("{} parts of an axis of size {}, which may not be equal", chunks, shape[axis].text()),
        fmt::format("export with a size that is a multiple: {} * Dim(...), or with split and the sizes of the parts",
                    chunks));
  return split_by(call, axis, length);
}

// Parts that differ by at most one entry.
Expected<Arg> tensor_split(Call& call) {
  const Shape& shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return fail("parts of a number");
  const Dim& size = shape[axis];
  Shape lengths;
  if (call.arg("indices").as<Arg::List>() != nullptr) {
    Dim start = 0;
    for (const Dim& index : call.sizes("indices")) {
      const Dim end = larger(call.context, start, clamp_position(call.context, index, size));
      lengths.push_back(end - start);
      start = end;
    }
    lengths.push_back(size - start);
    return parts_of(call, axis, lengths);
  }
  const std::int64_t sections = call.integer("sections");
  if (sections < 1 || sections > kMostParts) return fail("{} parts of a tensor", sections);
  if (const auto exact = divide_exactly(size, Dim(sections)))
    return parts_of(call, axis, Shape(static_cast<std::size_t>(sections), *exact));
  for (std::int64_t i = 0; i < sections; ++i) lengths.push_back(floor_divide(size + (sections - 1 - i), Dim(sections)));
  return parts_of(call, axis, lengths);
}

// Parts of a named axis: hsplit, vsplit and dsplit.
Expected<Arg> split_axis(Call& call, std::int64_t dim) {
  const std::string& parameter = call.schema.parameters[1].name;
  const NamedArg arguments[] = {{"", call.arg("self")}, {parameter, call.arg(parameter)}, {"dim", Dim(dim)}};
  return aten::call(call.context, "tensor_split", arguments);
}
Expected<Arg> split_horizontally(Call& call) {
  return split_axis(call, call.place("self")->type().shape.size() == 1 ? 0 : 1);
}
Expected<Arg> split_vertically(Call& call) {
  return split_axis(call, 0);
}
Expected<Arg> split_in_depth(Call& call) {
  return split_axis(call, 2);
}

Expected<Arg> unbind(Call& call) {
  const TensorPtr self = call.place("self");
  const Shape shape = self->type().shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  const auto size = shape.empty() ? std::nullopt : shape[axis].constant();
  if (!size || *size > kMostParts) return fail("the entries of axis {} of {}", axis, shape_text(shape));
  const auto dim = static_cast<std::int64_t>(axis);
  Arg::List list;
  for (std::int64_t i = 0; i < *size; ++i) {
    TAPER_ASSIGN(
        Arg entry,
        view_of(call, self,
                {[=](Builder& build, Value* base) { return build("select", {base}, {{"dim", dim}, {"index", i}}); },
                 [=](Builder& build, Value* base, Value* written) {
                   return rebuilt_around(build, base, unsqueeze(build, written, dim), axis, i, i + 1);
                 },
                 without_axis(axis)}));
    list.push_back(std::move(entry));
  }
  return Arg(std::move(list));
}

// ----------------------------------------------------------------------------------------------------------- diagonals

// The axes of a matrix moved behind the others, and back.
struct Apart {
  Integers order, back;
  Shape others;
};

Apart apart_from(const Shape& shape, std::size_t first, std::size_t second) {
  Apart apart;
  apart.back.resize(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (i != first && i != second) {
      apart.order.push_back(static_cast<std::int64_t>(i));
      apart.others.push_back(shape[i]);
    }
  apart.order.insert(apart.order.end(), {static_cast<std::int64_t>(first), static_cast<std::int64_t>(second)});
  for (std::size_t i = 0; i < apart.order.size(); ++i)
    apart.back[static_cast<std::size_t>(apart.order[i])] = static_cast<std::int64_t>(i);
  return apart;
}

Restride diagonal_strides(std::size_t first, std::size_t second) {
  return [=](const Shape& base) {
    Shape strides;
    for (std::size_t i = 0; i < base.size(); ++i)
      if (i != first && i != second) strides.push_back(base[i]);
    strides.push_back(base[first] + base[second]);
    return Strides(strides);
  };
}

// Of open sizes: places are computed, and what is written there is chosen where row and column belong together.
Cut open_diagonal_cut(const Shape& shape, std::size_t first, std::size_t second, std::int64_t offset) {
  const Apart apart = apart_from(shape, first, second);
  const Dim rows = shape[first], columns = shape[second];
  const std::int64_t row = std::max<std::int64_t>(0, -offset), column = std::max<std::int64_t>(0, offset);
  const Dim count = offset == 0 ? dim_min(rows, columns) : dim_max(0, dim_min(rows - row, columns - column));
  const auto dim = static_cast<std::int64_t>(apart.others.size());
  const auto size = [](Builder& build, const Dim& of) { return number(build, Arg(of), DType::i64); };
  Shape flat = apart.others;
  flat.push_back(rows * columns);
  const auto flattened = [=](Builder& build, Value* base) {
    return reshape(build, permute(build, base, apart.order), flat);
  };
  const View entries = [=](Builder& build, Value* base) {
    Value* places = build("mul", {arange(build, 0, 1, count, DType::i64), size(build, columns + 1)});
    places = build("add", {places, size(build, columns * row + column)});
    return build("gather", {flattened(build, base), places}, {{"dim", dim}});
  };
  const WriteBack write = [=](Builder& build, Value* base, Value* written) {
    Value* line = arange(build, 0, 1, rows, DType::i64);
    // Diagonals may be empty: an entry that is no part of one stands before them.
    Value* other = slice(build, flattened(build, base), apart.others.size(), 0, 1);
    Value* both = concat(build, {other, written}, apart.others.size());
    Value* entry = build("sub", {line, integer_number(build, row - 1)});
    entry = build("maximum", {entry, integer_number(build, 0)});
    entry = build("minimum", {entry, size(build, count)});
    Value* along = unsqueeze(build, build("gather", {both, entry}, {{"dim", dim}}), -1);
    Value* partner = build("add", {line, integer_number(build, offset)});
    Value* mask = build("equal", {unsqueeze(build, partner, 1), arange(build, 0, 1, columns, DType::i64)});
    return permute(build, build("where", {mask, along, permute(build, base, apart.order)}), apart.back);
  };
  return {entries, write, diagonal_strides(first, second)};
}

// The diagonal of two axes as the last one: entries of the two axes, flattened, at even distances.
Expected<Cut> diagonal_cut(Call& call, const Shape& shape) {
  TAPER_ASSIGN(const std::size_t first, call.axis("dim1", shape.size()));
  TAPER_ASSIGN(const std::size_t second, call.axis("dim2", shape.size()));
  if (first == second) return fail("the diagonal of one axis");
  const std::int64_t offset = call.integer("offset");
  constexpr std::int64_t kMostOffset = 1 << 20;
  if (offset < -kMostOffset || offset > kMostOffset) return fail("diagonal {}", offset);
  const auto rows = shape[first].constant(), columns = shape[second].constant();
  if (!rows || !columns || *rows > kMostParts || *columns > kMostParts)
    return open_diagonal_cut(shape, first, second, offset);
  if (offset < -*rows || offset > *columns) return fail("diagonal {} of {} by {}", offset, *rows, *columns);
  const std::int64_t row = std::max<std::int64_t>(0, -offset), column = std::max<std::int64_t>(0, offset);
  Integers positions;
  for (std::int64_t i = 0; row + i < *rows && column + i < *columns; ++i)
    positions.push_back((row + i) * *columns + column + i);
  const auto [order, back, others] = apart_from(shape, first, second);
  Shape flat = others, apart = others;
  apart.insert(apart.end(), {*rows, *columns});
  flat.emplace_back(*rows * *columns);
  const auto dim = static_cast<std::int64_t>(flat.size()) - 1;
  const auto flattened = [=](Builder& build, Value* base) { return reshape(build, permute(build, base, order), flat); };
  return Cut{[=](Builder& build, Value* base) {
               return build("gather", {flattened(build, base), integer_vector(build, positions)}, {{"dim", dim}});
             },
             [=, count = *rows * *columns](Builder& build, Value* base, Value* written) {
               Integers from = all_axes(static_cast<std::size_t>(count));
               for (std::size_t i = 0; i < positions.size(); ++i)
                 from[static_cast<std::size_t>(positions[i])] = count + static_cast<std::int64_t>(i);
               Value* both = concat(build, {flattened(build, base), written}, flat.size() - 1);
               Value* mixed = build("gather", {both, integer_vector(build, from)}, {{"dim", dim}});
               return permute(build, reshape(build, mixed, apart), back);
             },
             diagonal_strides(first, second)};
}

Expected<Arg> diagonal(Call& call) {
  TAPER_ASSIGN(Cut cut, diagonal_cut(call, call.place("self")->type().shape));
  return view_of(call, std::move(cut));
}

}  // namespace

std::vector<Overload> piece_overloads() {
  return {
      {"slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor(a)",
       slice_view},
      {"select.int(Tensor(a) self, int dim, SymInt index) -> Tensor(a)", select_view},
      {"narrow(Tensor(a) self, int dim, SymInt start, SymInt length) -> Tensor(a)", narrow},
      {"narrow.Tensor(Tensor(a) self, int dim, Tensor start, SymInt length) -> Tensor(a)", narrow},
      {"slice_scatter(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> "
       "Tensor",
       [](Call& call) { return scattered(call, slice_cut(call, call.place("self")->type().shape)); }},
      {"select_scatter(Tensor self, Tensor src, int dim, SymInt index) -> Tensor",
       [](Call& call) { return scattered(call, select_cut(call, call.place("self")->type().shape)); }},
      {"diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
       [](Call& call) { return scattered(call, diagonal_cut(call, call.place("self")->type().shape)); }},
      {"split_with_sizes(Tensor(a -> *) self, SymInt[] split_sizes, int dim=0) -> Tensor(a)[]", split_with_sizes},
      {"split.sizes(Tensor(a -> *) self, SymInt[] split_size, int dim=0) -> Tensor(a)[]", split_with_sizes},
      {"split.Tensor(Tensor(a -> *) self, SymInt split_size, int dim=0) -> Tensor(a)[]", split},
      {"unsafe_split.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]", split},
      {"chunk(Tensor(a -> *) self, int chunks, int dim=0) -> Tensor(a)[]", chunk},
      {"hsplit.int(Tensor(a) self, int sections) -> Tensor(a)[]", split_horizontally},
      {"hsplit.array(Tensor(a) self, int[] indices) -> Tensor(a)[]", split_horizontally},
      {"vsplit.int(Tensor(a) self, int sections) -> Tensor(a)[]", split_vertically},
      {"vsplit.array(Tensor(a) self, int[] indices) -> Tensor(a)[]", split_vertically},
      {"dsplit.int(Tensor(a) self, int sections) -> Tensor(a)[]", split_in_depth},
      {"dsplit.array(Tensor(a) self, int[] indices) -> Tensor(a)[]", split_in_depth},
      {"tensor_split.sections(Tensor(a -> *) self, int sections, int dim=0) -> Tensor(a)[]", tensor_split},
      {"tensor_split.indices(Tensor(a -> *) self, SymInt[] indices, int dim=0) -> Tensor(a)[]", tensor_split},
      {"unbind.int(Tensor(a -> *) self, int dim=0) -> Tensor(a)[]", unbind},
      {"diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)", diagonal},
  };
}

}  // namespace taper::aten
