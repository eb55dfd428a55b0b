// Views of tensors, and the operators that rebuild a tensor around one.
#include <algorithm>
#include <limits>
#include <ranges>

#include "frontend/aten_cut.h"

namespace taper::aten {

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

Expected<Arg> view_of(Call& call, const TensorPtr& base, Cut cut, Value* content) {
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

namespace {

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

// The axes of a tensor in the order in which they lie in memory, the slowest first; nothing where its elements don't
// lie there one after the other, or where that isn't known.
std::optional<Integers> axes_in_memory(const Tensor& x) {
  const auto sizes = constant_sizes(x.type().shape);
  const auto strides = x.strides() ? constant_sizes(*x.strides()) : std::nullopt;
  if (!sizes || !strides) return std::nullopt;
  Integers order = all_axes(sizes->size());
  const auto stride_of = [&](std::int64_t axis) { return (*strides)[static_cast<std::size_t>(axis)]; };
  const auto size_of = [&](std::int64_t axis) { return (*sizes)[static_cast<std::size_t>(axis)]; };
  std::ranges::stable_sort(order, std::greater(), stride_of);
  std::int64_t next = 1;
  for (const std::int64_t axis : order | std::views::reverse) {
    if (size_of(axis) != 1 && stride_of(axis) != next) return std::nullopt;
    next *= size_of(axis);
  }
  return order;
}

// Elements of the memory of a tensor by their distances; an offset that is given counts from the start of that which it
// is a view of.
Expected<Arg> as_strided(Call& call) {
  Builder& build = call.build;
  const TensorPtr place = call.place("self");
  const bool is_absolute = !call.arg("storage_offset").is_none() && place->roots().size() == 1;
  const TensorPtr self = is_absolute ? place->roots().front() : place;
  const auto order = axes_in_memory(*self);
  const auto sizes = constant_sizes(call.sizes("size")), strides = constant_sizes(call.sizes("stride"));
  const std::int64_t offset = call.integer_or("storage_offset", 0);
  const auto total = element_count(self->type().shape).constant();
  if (!order || !sizes || !strides || sizes->size() != strides->size() || !total)
    return fail_with_hint(fmt::format("elements of {} by strides, of which it isn't known how they lie in memory",
                                      type_text(self->type())),
                          "say the same with unfold, or call contiguous() before it");
  if (self->contiguous() == true && offset == 0 && self == place && row_major_strides(*sizes) == *strides &&
      element_count(call.sizes("size")).is(*total))
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
  Value* flat = reshape(build, permute(build, self->content(build), *order), {Dim(*total)});
  Value* found = build("gather", {flat, integer_vector(build, positions)}, {{"dim", std::int64_t{0}}});
  return perhaps_view(place, reshape(build, found, call.sizes("size")));
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
      {"transpose(Tensor(a) self, int dim0, int dim1) -> Tensor(a)", transpose_view},  // transpose_
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
      {"resize(Tensor self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor", resized},
      {"resize_(Tensor self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor", resized_in_place},
      {"expand(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)",
       [](Call& call) { return expand_view(call, call.sizes("size")); }},
      {"broadcast_to(Tensor(a) self, SymInt[] size) -> Tensor(a)",
       [](Call& call) { return expand_view(call, call.sizes("size")); }},
      {"expand_as(Tensor(a) self, Tensor other) -> Tensor(a)",
       [](Call& call) { return expand_view(call, call.place("other")->type().shape); }},
      {"unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)", unfold},
      {"as_strided(Tensor(a) self, SymInt[] size, SymInt[] stride, int? storage_offset=None) -> Tensor(a)", as_strided},
      {"alias(Tensor(a) self) -> Tensor(a)", same},
      {"detach(Tensor(a) self) -> Tensor(a)", same},
      {"requires_grad(Tensor(a) self, bool requires_grad=True) -> Tensor(a)", same},
      {"data(Tensor(a) self) -> Tensor(a)", same},
  };
}

}  // namespace taper::aten
