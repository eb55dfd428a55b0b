// Views of tensors, and the operators that rebuild a tensor around one.
#include <algorithm>
#include <limits>
#include <map>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

constexpr std::int64_t kMostParts = 65536;

// The strides of a view by those of its base.
using Restride = std::function<Strides(const Shape& base)>;

// How a view is cut, how its base is rebuilt around what is written into it, and where its elements lie.
struct Cut {
  View view;
  WriteBack write_back;
  Restride strides;
};

Strides same_strides(const Shape& base) {
  return base;
}
Restride without_axis(std::size_t axis) {
  return [axis](const Shape& base) {
    Shape strides = base;
    strides.erase(strides.begin() + static_cast<std::ptrdiff_t>(axis));
    return Strides(strides);
  };
}

Expected<Arg> view_of(Call& call, const TensorPtr& base, Cut cut, Value* content = nullptr) {
  const Strides of_base = base->strides();
  TensorPtr tensor = Tensor::make_view(call.build, base, std::move(cut.view), std::move(cut.write_back),
                                       of_base && cut.strides ? cut.strides(*of_base) : std::nullopt, content);
  if (!tensor) {
    TAPER_TRY(call.build.status());
    return fail("the view is empty");
  }
  return Arg(std::move(tensor));
}

Expected<Arg> view_of(Call& call, Cut cut) {
  return view_of(call, call.place("self"), std::move(cut));
}

// -------------------------------------------------------------------------------------------------------------- shapes

// The shape with its one size of -1 filled in. Sizes that both shapes have cancel: quotients of products of sums are
// not always found.
Expected<Shape> resolved(const Shape& from, Shape to) {
  Dim known = 1;
  Shape left = from;
  std::optional<std::size_t> open;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (!to[i].is(-1)) {
      const auto same = to[i].constant() ? left.end() : std::ranges::find(left, to[i]);
      if (same != left.end())
        left.erase(same);
      else
        known = known * to[i];
      continue;
    }
    if (open) return fail("shape {} has two sizes of -1", shape_text(to));
    open = i;
  }
  if (!open) return to;
  const Dim count = element_count(left);
  if (known.is(0)) return fail("shape {} leaves its size of -1 open", shape_text(to));
  const auto rest = divide_exactly(count, known);
  to[*open] = rest ? *rest : floor_divide(count, known);
  if (!rest && count.constant() && known.constant())
    return fail("{} elements don't fill shape {}", element_count(from).text(), shape_text(to));
  return to;
}

// Whether PyTorch gives another shape as a view, and with which strides (computeStride in ATen/TensorUtils.cpp): axes
// of the old shape that lie evenly in memory are one piece, which axes of the new shape divide.
struct Reshaped {
  std::optional<bool> is_view;  // nothing: it depends on sizes that are not known
  Strides strides;
};
Reshaped reshaped_strides(const Shape& from, const Shape& strides, const Shape& to) {
  if (from == to) return {true, strides};
  if (strides == row_major(from) || element_count(from).is(0)) return {true, row_major(to)};
  std::optional<bool> otherwise = false;  // what it is if it turns out to be no view
  Shape found(to.size(), Dim(1));
  std::size_t next = to.size();
  Dim piece = 1, filled = 1, step = strides.back();
  for (std::size_t i = from.size(); i-- > 0;) {
    piece = piece * from[i];
    if (i > 0) {
      if (from[i - 1].is(1) || strides[i - 1] == piece * step) continue;
      // Taken to be apart, which is the stricter way.
      if (!from[i - 1].constant() || !(strides[i - 1] - piece * step).constant()) otherwise = std::nullopt;
    }
    while (next > 0 && (filled != piece || to[next - 1].is(1))) {
      if (filled.constant() && piece.constant() && *filled.constant() > *piece.constant()) break;
      --next;
      found[next] = filled * step;
      filled = filled * to[next];
    }
    if (filled != piece) {
      if (!(filled - piece).constant()) otherwise = std::nullopt;
      return {otherwise, std::nullopt};
    }
    if (i > 0) step = strides[i - 1];
    piece = filled = 1;
  }
  return {next == 0 ? std::optional(true) : otherwise, found};
}

Cut reshaped(const Shape& from, const Shape& to) {
  return {[to](Builder& build, Value* base) { return reshape(build, base, to); },
          [from](Builder& build, Value*, Value* written) { return reshape(build, written, from); },
          [from, to](const Shape& strides) { return reshaped_strides(from, strides, to).strides; }};
}

Expected<Arg> view_as_shape(Call& call, const Shape& shape) {
  const TensorPtr self = call.place("self");
  return view_of(call, self, reshaped(self->type().shape, shape));
}

// A view where PyTorch can make one, else a copy.
Expected<Arg> reshape_to(Call& call, const Shape& shape) {
  const TensorPtr self = call.place("self");
  const Strides strides = self->strides();
  const bool same = shape == self->type().shape;
  const auto is_view = strides ? reshaped_strides(self->type().shape, *strides, shape).is_view : std::nullopt;
  if (same || is_view == true) return view_as_shape(call, shape);
  Value* content = reshape(call.build, self->content(call.build), shape);
  if (is_view == false || content == nullptr) return fresh(content);
  return perhaps_view(self, content);
}

Expected<Arg> view(Call& call) {
  TAPER_ASSIGN(const Shape shape, resolved(call.place("self")->type().shape, call.sizes("size")));
  return view_as_shape(call, shape);
}

Expected<Arg> reshape_view(Call& call) {
  TAPER_ASSIGN(const Shape shape, resolved(call.place("self")->type().shape, call.sizes("shape")));
  return reshape_to(call, shape);
}

Expected<Arg> view_like(Call& call) {
  return reshape_to(call, call.place("other")->type().shape);
}

Expected<Arg> view_dtype(Call& call) {
  if (call.dtype("dtype") != call.place("self")->type().dtype)
    return fail("the bits of {} as another dtype", type_text(call.place("self")->type()));
  return call.arg("self");
}

Expected<Arg> flatten(Call& call) {
  const Shape& shape = call.place("self")->type().shape;
  if (shape.empty()) return reshape_to(call, {Dim(1)});
  TAPER_ASSIGN(const std::size_t first, call.axis("start_dim", shape.size()));
  TAPER_ASSIGN(const std::size_t last, call.axis("end_dim", shape.size()));
  if (last < first) return fail("axis {} stands before axis {}", last, first);
  const auto at = [&](std::size_t i) { return shape.begin() + static_cast<std::ptrdiff_t>(i); };
  Shape out(shape.begin(), at(first));
  out.push_back(element_count(Shape(at(first), at(last + 1))));
  out.insert(out.end(), at(last + 1), shape.end());
  return reshape_to(call, out);
}

Expected<Arg> unflatten(Call& call) {
  Shape shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return fail("a number has no axis to split");
  TAPER_ASSIGN(const Shape parts, resolved({shape[axis]}, call.sizes("sizes")));
  const auto at = shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  shape.insert(at, parts.begin(), parts.end());
  return view_as_shape(call, shape);
}

Expected<Arg> unsqueeze_view(Call& call) {
  Shape shape = call.place("self")->type().shape;
  TAPER_ASSIGN(const std::size_t axis, axis_of(call.integer("dim"), shape.size() + 1));
  const auto dim = static_cast<std::int64_t>(axis);
  return view_of(call, {[dim](Builder& build, Value* base) { return unsqueeze(build, base, dim); },
                        [dim](Builder& build, Value*, Value* written) { return squeeze(build, written, dim); },
                        [axis, shape](const Shape& base) {
                          Shape strides = base;
                          const Dim around = axis < shape.size() ? shape[axis] * base[axis] : Dim(1);
                          strides.insert(strides.begin() + static_cast<std::ptrdiff_t>(axis), around);
                          return Strides(strides);
                        }});
}

// Without the named axes that are of size 1.
Expected<Arg> squeeze_axes(Call& call, const Integers& axes) {
  const Shape from = call.place("self")->type().shape;
  Integers dims;
  for (const std::int64_t axis : axes)
    if (from[static_cast<std::size_t>(axis)].is(1)) dims.push_back(axis);
  if (dims.empty())
    return view_of(call, {[](Builder&, Value* base) { return base; },
                          [](Builder&, Value*, Value* written) { return written; }, same_strides});
  return view_of(
      call, {[dims](Builder& build, Value* base) { return build("squeeze", {base}, {{"dims", dims}}); },
             [dims](Builder& build, Value*, Value* written) { return build("unsqueeze", {written}, {{"dims", dims}}); },
             [dims](const Shape& base) {
               Shape strides;
               for (std::size_t i = 0; i < base.size(); ++i)
                 if (std::ranges::find(dims, static_cast<std::int64_t>(i)) == dims.end()) strides.push_back(base[i]);
               return Strides(strides);
             }});
}

Expected<Arg> squeeze_view(Call& call) {
  const std::size_t rank = call.place("self")->type().shape.size();
  if (!call.given("dim")) return squeeze_axes(call, all_axes(rank));
  if (const auto* list = call.arg("dim").as<Arg::List>(); list != nullptr && list->empty())
    return squeeze_axes(call, {});
  TAPER_ASSIGN(const Integers axes, call.axes("dim", rank));
  return squeeze_axes(call, axes);
}

// --------------------------------------------------------------------------------------------------------------- order

Cut permuted(const Integers& dims) {
  Integers back(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) back[static_cast<std::size_t>(dims[i])] = static_cast<std::int64_t>(i);
  return {[dims](Builder& build, Value* base) { return permute(build, base, dims); },
          [back](Builder& build, Value*, Value* written) { return permute(build, written, back); },
          [dims](const Shape& base) {
            Shape strides;
            for (const std::int64_t dim : dims) strides.push_back(base[static_cast<std::size_t>(dim)]);
            return Strides(strides);
          }};
}

Expected<Arg> permute_view(Call& call) {
  const std::size_t rank = call.place("self")->type().shape.size();
  Integers dims = call.integers("dims");
  if (dims.size() != rank) return fail("{} axes in order for a tensor of rank {}", dims.size(), rank);
  std::vector<bool> seen(rank, false);
  for (std::int64_t& dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dim, rank));
    if (seen[axis]) return fail("axis {} is named twice", axis);
    seen[axis] = true;
    dim = static_cast<std::int64_t>(axis);
  }
  return view_of(call, permuted(dims));
}

Expected<Arg> exchanged(Call& call, std::int64_t a, std::int64_t b) {
  const std::size_t rank = call.place("self")->type().shape.size();
  TAPER_ASSIGN(const std::size_t first, axis_of(a, rank));
  TAPER_ASSIGN(const std::size_t second, axis_of(b, rank));
  Integers dims = all_axes(rank);
  if (rank > 0) std::swap(dims[first], dims[second]);
  return view_of(call, permuted(dims));
}

Expected<Arg> transpose_view(Call& call) {
  return exchanged(call, call.integer("dim0"), call.integer("dim1"));
}

Expected<Arg> matrix_transpose(Call& call) {
  const std::size_t rank = call.place("self")->type().shape.size();
  if (rank > 2) return fail("a tensor of rank {}, expected a matrix", rank);
  if (rank < 2) return call.arg("self");
  return exchanged(call, 0, 1);
}

Expected<Arg> reversed_axes(Call& call) {
  Integers dims = all_axes(call.place("self")->type().shape.size());
  std::ranges::reverse(dims);
  return view_of(call, permuted(dims));
}

Expected<Arg> move_axes(Call& call, const Integers& source, const Integers& destination) {
  const std::size_t rank = call.place("self")->type().shape.size();
  if (source.size() != destination.size()) return fail("moves {} axes to {}", source.size(), destination.size());
  Integers dims(rank, -1);
  std::vector<bool> moved(rank, false);
  for (std::size_t i = 0; i < source.size(); ++i) {
    TAPER_ASSIGN(const std::size_t from, axis_of(source[i], rank));
    TAPER_ASSIGN(const std::size_t to, axis_of(destination[i], rank));
    if (rank == 0) continue;
    if (moved[from] || dims[to] != -1) return fail("an axis is named twice");
    moved[from] = true;
    dims[to] = static_cast<std::int64_t>(from);
  }
  std::int64_t next = 0;
  for (std::int64_t& dim : dims) {
    if (dim != -1) continue;
    while (moved[static_cast<std::size_t>(next)]) ++next;
    dim = next++;
  }
  return view_of(call, permuted(dims));
}

// -------------------------------------------------------------------------------------------------------------- pieces

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
  Dim index = call.size("index");
  if (known_less(call.context, index, 0) == true) index = index + size;
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
  if (known_less(call.context, start, 0) == true) start = start + shape[axis];
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

// ----------------------------------------------------------------------------------------------------------- many
// pieces

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
  const auto all = size.constant();
  if (!all) return fail("{} parts of an axis of size {}", sections, size.text());
  for (std::int64_t i = 0; i < sections; ++i) lengths.emplace_back(*all / sections + (i < *all % sections ? 1 : 0));
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

// -------------------------------------------------------------------------------------------------------------- others

Expected<Arg> expand_view(Call& call, Shape shape) {
  const Shape from = call.place("self")->type().shape;
  if (shape.size() < from.size()) return fail("shape {} can't be {}", shape_text(from), shape_text(shape));
  const std::size_t added = shape.size() - from.size();
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i].is(-1)) {
      if (i < added) return fail("a new axis of size -1");
      shape[i] = from[i - added];
    }
  const bool same = shape == from;
  return view_of(call, {[shape](Builder& build, Value* base) { return expand(build, base, shape); },
                        same ? WriteBack([](Builder&, Value*, Value* written) { return written; }) : WriteBack(),
                        [=](const Shape& base) {
                          Shape strides(shape.size(), Dim(0));
                          for (std::size_t i = added; i < shape.size(); ++i)
                            if (from[i - added] == shape[i]) strides[i] = base[i - added];
                          return Strides(strides);
                        }});
}

// The diagonal of two axes as the last one: entries of the two axes, flattened, at even distances.
Expected<Cut> diagonal_cut(Call& call, const Shape& shape) {
  TAPER_ASSIGN(const std::size_t first, call.axis("dim1", shape.size()));
  TAPER_ASSIGN(const std::size_t second, call.axis("dim2", shape.size()));
  if (first == second) return fail("the diagonal of one axis");
  const auto rows = shape[first].constant(), columns = shape[second].constant();
  if (!rows || !columns || *rows > kMostParts || *columns > kMostParts)
    return fail("the diagonal of axes of sizes {} and {}", shape[first].text(), shape[second].text());
  const std::int64_t offset = call.integer("offset");
  if (offset < -*rows || offset > *columns) return fail("diagonal {} of {} by {}", offset, *rows, *columns);
  const std::int64_t row = std::max<std::int64_t>(0, -offset), column = std::max<std::int64_t>(0, offset);
  Integers positions;
  for (std::int64_t i = 0; row + i < *rows && column + i < *columns; ++i)
    positions.push_back((row + i) * *columns + column + i);
  Integers order, back(shape.size());
  Shape flat, apart;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (i != first && i != second) {
      order.push_back(static_cast<std::int64_t>(i));
      flat.push_back(shape[i]);
    }
  apart = flat;
  apart.insert(apart.end(), {*rows, *columns});
  flat.emplace_back(*rows * *columns);
  order.insert(order.end(), {static_cast<std::int64_t>(first), static_cast<std::int64_t>(second)});
  for (std::size_t i = 0; i < order.size(); ++i)
    back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
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
             [=](const Shape& base) {
               Shape strides;
               for (std::size_t i = 0; i < base.size(); ++i)
                 if (i != first && i != second) strides.push_back(base[i]);
               strides.push_back(base[first] + base[second]);
               return Strides(strides);
             }};
}

Expected<Arg> diagonal(Call& call) {
  TAPER_ASSIGN(Cut cut, diagonal_cut(call, call.place("self")->type().shape));
  return view_of(call, std::move(cut));
}

// Windows of `size` entries, `step` apart, as a new last axis.
Expected<Arg> unfold(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dimension", x->type.shape.size()));
  const std::int64_t size = call.integer("size"), step = call.integer("step");
  if (x->type.shape.empty() || size < 1 || step < 1) return fail("windows of {} entries, {} apart", size, step);
  const Dim windows = floor_divide(x->type.shape[axis] - Dim(size), Dim(step)) + Dim(1);
  if (windows.constant().value_or(1) < 0) return fail("windows of {} of {} entries", size, x->type.shape[axis].text());
  Value* starts = unsqueeze(build, arange(build, 0, step, windows, DType::i64), 1);
  Value* index = build("add", {starts, arange(build, 0, 1, size, DType::i64)});
  Value* y = build("gather", {x, index}, {{"dim", static_cast<std::int64_t>(axis)}});
  TAPER_TRY(build.status());
  Integers dims = all_axes(y->type.shape.size());
  dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1);
  dims.push_back(static_cast<std::int64_t>(axis) + 1);
  return perhaps_view(call.place("self"), permute(build, y, dims));
}

// Elements of a row-major tensor by their distances.
Expected<Arg> as_strided(Call& call) {
  Builder& build = call.build;
  const TensorPtr self = call.place("self");
  const auto sizes = constant_sizes(call.sizes("size")), strides = constant_sizes(call.sizes("stride"));
  const std::int64_t offset = call.integer_or("storage_offset", 0);
  const auto total = element_count(self->type().shape).constant();
  if (self->contiguous() != true || !sizes || !strides || sizes->size() != strides->size() || !total)
    return fail("elements of {} by strides", type_text(self->type()));
  if (offset == 0 && row_major_strides(*sizes) == *strides && element_count(call.sizes("size")).is(*total))
    return view_as_shape(call, call.sizes("size"));
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(*sizes));
  constexpr std::int64_t kMostElements = 1 << 22;
  if (count > kMostElements) return fail("{} elements by strides", count);
  Integers positions(static_cast<std::size_t>(count), offset);
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i;
    for (std::size_t axis = sizes->size(); axis-- > 0; rest /= (*sizes)[axis])
      positions[static_cast<std::size_t>(i)] += rest % (*sizes)[axis] * (*strides)[axis];
    if (positions[static_cast<std::size_t>(i)] < 0 || positions[static_cast<std::size_t>(i)] >= *total)
      return fail("strides lead out of {}", type_text(self->type()));
  }
  Value* flat = reshape(build, self->content(build), {Dim(*total)});
  Value* found = build("gather", {flat, integer_vector(build, positions)}, {{"dim", std::int64_t{0}}});
  return perhaps_view(self, reshape(build, found, call.sizes("size")));
}

Expected<Arg> same(Call& call) {
  return call.arg("self");
}

// Another size over the same elements, in row-major order. Further ones would be of memory that nobody has written.
Expected<Arg> resized(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Shape size = call.sizes("size");
  if (x->type.shape == size) return call.arg("self");
  const Dim kept = element_count(size), present = element_count(x->type.shape);
  if (known_less_equal(call.context, kept, present) != true)
    return fail("{} is resized to {}, whose elements nobody has written", type_text(x->type), shape_text(size));
  return fresh(reshape(build, slice(build, reshape(build, x, {present}), 0, 0, kept), size));
}

// In place, tensors keep their sizes.
Expected<Arg> resized_in_place(Call& call) {
  const TensorPtr x = call.place("self");
  if (x->type().shape == call.sizes("size")) return Arg(x);
  return fail("{} is resized to {} in place", type_text(x->type()), shape_text(call.sizes("size")));
}

}  // namespace

std::vector<Overload> view_overloads() {
  return {
      {"view(Tensor(a) self, SymInt[] size) -> Tensor(a)", view},
      {"view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)", view_dtype},
      {"_unsafe_view(Tensor self, SymInt[] size) -> Tensor", view},
      {"_reshape_alias(Tensor(a) self, SymInt[] size, SymInt[] stride) -> Tensor(a)", view},
      {"reshape(Tensor(a) self, SymInt[] shape) -> Tensor(a)", reshape_view},
      {"view_as(Tensor(a) self, Tensor other) -> Tensor(a)", view_like},
      {"reshape_as(Tensor(a) self, Tensor other) -> Tensor(a)", view_like},
      {"flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)", flatten},
      {"ravel(Tensor(a) self) -> Tensor(a)",
       [](Call& call) { return reshape_to(call, {element_count(call.place("self")->type().shape)}); }},
      {"unflatten.int(Tensor(a) self, int dim, SymInt[] sizes) -> Tensor(a)", unflatten},
      {"unsqueeze(Tensor(a) self, int dim) -> Tensor(a)", unsqueeze_view},
      {"squeeze(Tensor(a) self) -> Tensor(a)", squeeze_view},
      {"squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)", squeeze_view},
      {"squeeze.dims(Tensor(a) self, int[] dim) -> Tensor(a)", squeeze_view},
      {"permute(Tensor(a) self, int[] dims) -> Tensor(a)", permute_view},
      {"transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)", transpose_view},
      {"swapaxes(Tensor(a) self, int axis0, int axis1) -> Tensor(a)",
       [](Call& call) { return exchanged(call, call.integer("axis0"), call.integer("axis1")); }},
      {"swapdims(Tensor(a) self, int dim0, int dim1) -> Tensor(a)", transpose_view},
      {"t(Tensor(a) self) -> Tensor(a)", matrix_transpose},
      {"numpy_T(Tensor(a) self) -> Tensor(a)", reversed_axes},
      {"mT(Tensor(a) self) -> Tensor(a)", [](Call& call) { return exchanged(call, -1, -2); }},
      {"mH(Tensor(a) self) -> Tensor(a)", [](Call& call) { return exchanged(call, -1, -2); }},
      {"matrix_H(Tensor(a) self) -> Tensor(a)", [](Call& call) { return exchanged(call, -1, -2); }},
      {"adjoint(Tensor(a) self) -> Tensor(a)", [](Call& call) { return exchanged(call, -1, -2); }},
      {"movedim.int(Tensor(a) self, int source, int destination) -> Tensor(a)",
       [](Call& call) { return move_axes(call, {call.integer("source")}, {call.integer("destination")}); }},
      {"movedim.intlist(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
       [](Call& call) { return move_axes(call, call.integers("source"), call.integers("destination")); }},
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
      {"resize(Tensor self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor", resized},
      {"resize_(Tensor self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor", resized_in_place},
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
      {"expand(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)",
       [](Call& call) { return expand_view(call, call.sizes("size")); }},
      {"broadcast_to(Tensor(a) self, SymInt[] size) -> Tensor(a)",
       [](Call& call) { return expand_view(call, call.sizes("size")); }},
      {"expand_as(Tensor(a) self, Tensor other) -> Tensor(a)",
       [](Call& call) { return expand_view(call, call.place("other")->type().shape); }},
      {"diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)", diagonal},
      {"unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)", unfold},
      {"as_strided(Tensor(a) self, SymInt[] size, SymInt[] stride, int? storage_offset=None) -> Tensor(a)", as_strided},
      {"alias(Tensor(a) self) -> Tensor(a)", same},
      {"detach(Tensor(a) self) -> Tensor(a)", same},
      {"requires_grad(Tensor(a) self, bool requires_grad=True) -> Tensor(a)", same},
      {"data(Tensor(a) self) -> Tensor(a)", same},
  };
}

}  // namespace taper::aten
