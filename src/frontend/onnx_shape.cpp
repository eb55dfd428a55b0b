// ONNX's operators that move elements, and values made of shapes.
#include <algorithm>
#include <numeric>

#include "frontend/onnx_exact.h"
#include "frontend/onnx_importer.h"
#include "frontend/padding.h"
#include "ops/moves.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

// A lower bound of a positive multiple of `dim`, without the quotients that are taken off it: b floor(a / b) is at most
// a.
Dim without_quotients(Dim dim) {
  constexpr int kMostQuotients = 8;
  for (int i = 0; i < kMostQuotients; ++i) {
    const std::vector<Dim::Term> terms = dim.terms();
    const auto found = std::ranges::find_if(terms, [](const Dim::Term& term) {
      const auto function = term.symbols.size() == 1 ? dim_function(term.symbols[0]) : std::nullopt;
      return term.coefficient < 0 && function && function->name == "floor_div" &&
             function->b.constant().value_or(0) > 0;
    });
    if (found == terms.end()) break;
    const DimFunction quotient = *dim_function(found->symbols[0]);
    const Dim rest = dim - Dim::symbol(found->symbols[0]) * found->coefficient;
    dim = rest * quotient.b + quotient.a * found->coefficient;
  }
  return dim;
}

// Symbols are not negative, functions of them may be.
bool factor_may_be_negative(const std::string& factor) {
  const auto function = dim_function(factor);
  if (!function) return false;
  const bool first = never_negative(function->a), second = never_negative(function->b);
  return !(function->name == "max" ? first || second : first && second);
}

}  // namespace

bool never_negative(const Dim& dim) {
  return !dim.overflowed() && std::ranges::all_of(dim.terms(), [](const Dim::Term& term) {
    return term.coefficient > 0 && std::ranges::none_of(term.symbols, factor_may_be_negative);
  });
}

bool surely_at_most(const Importer& importer, const Dim& a, const Dim& b) {
  // Both or one of two sizes: max(a, b) <= c, min(a, b) <= c.
  if (const auto function = as_function(a); function && function->name != "floor_div") {
    const bool first = surely_at_most(importer, function->a, b), second = surely_at_most(importer, function->b, b);
    if (function->name == "max" ? first && second : first || second) return true;
  }
  const Dim difference = without_quotients(b - a);
  if (difference.overflowed()) return false;
  Dim least = 0;
  for (const Dim::Term& term : difference.terms()) {
    if (term.coefficient < 0 && !term.symbols.empty()) return false;
    if (std::ranges::any_of(term.symbols, factor_may_be_negative)) return false;
    const auto may_be_0 = [&](const std::string& factor) {
      return dim_function(factor).has_value() || importer.may_be_nothing(Dim::symbol(factor));
    };
    if (std::ranges::none_of(term.symbols, may_be_0)) least = least + Dim(term.coefficient);
  }
  return least.constant().value_or(-1) >= 0;
}

namespace {

// ------------------------------------------------------------------------------------------------------------- reshape

// The sizes that operand i says: known, measured when the file runs, or those that the file declares of the result.
std::optional<Shape> wanted_sizes(Call& call, std::size_t i) {
  if (auto known = call.known_if_any(i)) return known->elements;
  if (call.failed()) return std::nullopt;
  const Shape* declared = call.importer.declared_shape(call.name());
  bool measures = false;
  if (declared == nullptr || !constant_sizes(*declared))
    if (auto sizes = measured_sizes(call, i, &measures)) {
      if (measures)
        call.importer.assume(
            fmt::format("the sizes that '{}' computes are numbers of elements, not -1 for what is left",
                        call.node.input(static_cast<int>(i))));
      return sizes;
    }
  if (call.failed()) return std::nullopt;
  if (declared != nullptr) {
    call.importer.want(call.x(i));
    return *declared;
  }
  call.known(i);
  return std::nullopt;
}

void read_reshape(Call& call) {
  const bool keep_zeros = call.flag("allowzero", false);
  Value* x = call.x(0);
  if (call.failed()) return;
  auto wanted = wanted_sizes(call, 1);
  if (!wanted) return;
  Shape shape = std::move(*wanted);
  const Shape& from = x->type.shape;
  std::optional<std::size_t> open;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].is(0) && !keep_zeros) {
      if (i >= from.size())
        return call.fail(fmt::format("shape {} copies axis {} of {}", shape_text(shape), i, shape_text(from)));
      shape[i] = from[i];
    }
    if (shape[i].is(-1)) {
      if (open) return call.fail(fmt::format("shape {} leaves two sizes open", shape_text(shape)));
      open = i;
    }
  }
  if (open) {
    const auto size = remaining_size(from, shape, *open);
    if (!size) return call.fail(fmt::format("elements of shape {} don't fill {}", shape_text(from), shape_text(shape)));
    shape[*open] = *size;
  }
  call.set(0, call.build("reshape", {x}, {{"shape", std::move(shape)}}, call.name()));
}

void read_flatten(Call& call) {
  const std::int64_t given = call.integer("axis", 1);
  const Shape shape = call.shape(0);
  const auto rank = static_cast<std::int64_t>(shape.size());
  if (call.failed()) return;
  const std::int64_t axis = given < 0 ? given + rank : given;
  if (axis < 0 || axis > rank) return call.fail(fmt::format("axis {} of a value of rank {}", given, rank));
  const Shape outer(shape.begin(), shape.begin() + axis), inner(shape.begin() + axis, shape.end());
  call.set(0, call.build("reshape", {call.x(0)}, {{"shape", Shape{element_count(outer), element_count(inner)}}},
                         call.name()));
}

// Axes as an attribute, and from opset 13 on as an operand.
std::optional<Integers> axes_of(Call& call) {
  auto axes = call.integers("axes");
  if (!axes && call.has(1)) axes = call.integers_of(1);
  return axes;
}

void read_squeeze(Call& call) {
  auto axes = axes_of(call);
  const Shape shape = call.shape(0);
  if (call.failed()) return;
  if (!axes) {
    axes.emplace();
    for (std::size_t i = 0; i < shape.size(); ++i)
      if (shape[i].is(1)) axes->push_back(static_cast<std::int64_t>(i));
  }
  if (axes->empty()) return call.set(0, call.x(0));
  call.set(0, call.build("squeeze", {call.x(0)}, {{"dims", *axes}}, call.name()));
}

void read_unsqueeze(Call& call) {
  auto axes = axes_of(call);
  const std::size_t rank = call.rank(0) + (axes ? axes->size() : 0);
  if (call.failed()) return;
  if (!axes) return call.fail("axes are missing");
  for (std::int64_t& axis : *axes) axis = call.axis(axis, rank);
  std::ranges::sort(*axes);
  if (std::ranges::adjacent_find(*axes) != axes->end()) return call.fail("an axis is named twice");
  if (call.failed()) return;
  if (axes->empty()) return call.set(0, call.x(0));
  call.set(0, call.build("unsqueeze", {call.x(0)}, {{"dims", *axes}}, call.name()));
}

void read_transpose(Call& call) {
  auto perm = call.integers("perm");
  const std::size_t rank = call.rank(0);
  if (call.failed()) return;
  if (!perm) {
    perm.emplace(rank);
    std::iota(perm->rbegin(), perm->rend(), std::int64_t{0});
  }
  call.set(0, call.build("permute", {call.x(0)}, {{"dims", *perm}}, call.name()));
}

void read_expand(Call& call) {
  Value* x = call.x(0);
  if (call.failed()) return;
  const auto wanted = wanted_sizes(call, 1);
  if (!wanted) return;
  const Shape& target = *wanted;
  const Shape& from = x->type.shape;
  // Both broadcast to one shape.
  const std::size_t rank = std::max(from.size(), target.size());
  Shape shape(rank, Dim(1));
  for (std::size_t i = 0; i < rank; ++i) {
    const Dim a = i + from.size() < rank ? Dim(1) : from[i + from.size() - rank];
    const Dim b = i + target.size() < rank ? Dim(1) : target[i + target.size() - rank];
    shape[i] = b.is(1) || (a.constant() && !a.is(1)) ? a : b;
  }
  if (shape == from) return call.set(0, x);
  call.set(0, call.build("expand", {x}, {{"shape", std::move(shape)}}, call.name()));
}

void read_tile(Call& call) {
  const Shape from = call.shape(0);
  const auto repeats = operand_sizes(call, 1);
  if (call.failed()) return;
  if (auto numbers = constant_sizes(*repeats); numbers && numbers->size() == from.size()) {
    // No times an axis: nothing of it, as it is.
    Value* x = call.x(0);
    for (std::size_t i = 0; i < from.size(); ++i)
      if ((*numbers)[i] == 0) {
        x = call.slice(x, static_cast<std::int64_t>(i), 0, Dim(0));
        (*numbers)[i] = 1;
      }
    return call.set(0, call.build("tile", {x}, {{"repeats", *numbers}}, call.name()));
  }
  // Symbolic repeats: [a, b] -> [1, a, 1, b] -> [r, a, s, b] -> [ra, sb].
  if (repeats->size() != from.size()) return call.fail("repeats for another number of axes");
  Shape apart, wide, joined;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const Dim& repeat = (*repeats)[i];
    if (!repeat.is(1)) apart.emplace_back(1), wide.push_back(repeat);
    apart.push_back(from[i]);
    wide.push_back(from[i]);
    joined.push_back(from[i] * repeat);
  }
  Value* expanded = call.build("expand", {call.reshape(call.x(0), apart)}, {{"shape", wide}});
  call.set(0, call.reshape(expanded, joined, call.name()));
}

void read_concat(Call& call) {
  const std::int64_t axis = call.integer("axis", 0);
  std::vector<Value*> parts = call.all();
  if (parts.size() == 1) return call.set(0, parts[0]);
  call.set(0, call.build("concat", parts, {{"dim", axis}}, call.name()));
}

// `length` entries of an axis from `start` on.
Value* part_of_axis(Call& call, Value* x, std::int64_t axis, const Dim& start, const Dim& length,
                    std::string_view name) {
  if (call.failed()) return nullptr;
  if (start.constant()) return call.slice(x, axis, *start.constant(), start + length, name);
  return call.build("dynamic_slice", {x, size_as_number(call.build, start, DType::i64)},
                    {{"dim", axis}, {"length", Shape{length}}}, name);
}

// Parts of given sizes, or of equal size but for the last.
void read_split(Call& call) {
  const Shape shape = call.shape(0);
  const std::int64_t axis = call.axis(call.integer("axis", 0), shape.size());
  const auto by_attribute = call.integers("split");
  const std::int64_t count = call.integer("num_outputs", static_cast<std::int64_t>(call.outputs()));
  if (call.failed()) return;
  if (count != static_cast<std::int64_t>(call.outputs()))
    return call.fail(fmt::format("{} parts for {} results", count, call.outputs()));
  const Dim size = shape[static_cast<std::size_t>(axis)];
  Shape lengths;
  if (by_attribute) {
    lengths = to_shape(*by_attribute);
  } else if (call.has(1)) {
    auto given = operand_sizes(call, 1);
    if (!given) return;
    lengths = *std::move(given);
  } else if (const auto part = count > 0 ? divide_exactly(size, Dim(count)) : std::nullopt) {
    const std::vector<Value*> parts =
        call.build.call("split", {call.x(0)}, {{"dim", axis}, {"parts", count}}, call.name());
    for (std::size_t i = 0; i < call.outputs() && i < parts.size(); ++i) call.set(i, parts[i]);
    return;
  } else if (count > 0) {
    const Dim part_size = ceil_divide(size, Dim(count));
    for (std::int64_t i = 0; i + 1 < count; ++i) lengths.push_back(part_size);
    lengths.push_back(size - part_size * Dim(count - 1));
  }
  if (lengths.size() < call.outputs())
    return call.fail(fmt::format("{} parts for {} results", lengths.size(), call.outputs()));
  Dim total = 0;
  for (const Dim& length : lengths) total = total + length;
  // One part is what the others leave, where a length is measured.
  const auto measured = std::ranges::find_if(lengths.rbegin(), lengths.rend(),
                                             [&](const Dim& length) { return call.importer.may_be_nothing(length); });
  if (total != size && measured != lengths.rend()) {
    *measured = size - (total - *measured);
    total = size;
  }
  if (total != size)
    return call.fail(fmt::format("parts {} don't fill axis {} of {}", shape_text(lengths), axis, shape_text(shape)));
  Dim start = 0;
  for (std::size_t i = 0; i < call.outputs(); ++i) {
    call.set(i, part_of_axis(call, call.x(0), axis, start, lengths[i], call.name(i)));
    start = start + lengths[i];
  }
}

// --------------------------------------------------------------------------------------------------------------- slice

Dim smaller_size(const Call& call, const Dim& a, const Dim& b) {
  if (surely_at_most(call.importer, a, b)) return a;
  return surely_at_most(call.importer, b, a) ? b : dim_min(a, b);
}
Dim larger_size(const Call& call, const Dim& a, const Dim& b) {
  if (surely_at_most(call.importer, a, b)) return b;
  return surely_at_most(call.importer, b, a) ? a : dim_max(a, b);
}

// A place on an axis as Slice counts it: negative from the back, within the axis.
Dim place_on_axis(Call& call, const Dim& given, const Dim& size) {
  Dim place = given;
  if (const auto number = given.constant()) {
    if (*number < 0) place = *number <= -(std::int64_t{1} << 31) ? Dim(0) : size + given;
    if (*number >= (std::int64_t{1} << 31) - 1) return size;
    if (size.constant()) return std::clamp(*place.constant(), std::int64_t{0}, *size.constant());
    // How many there are the running program tells: none of them may be there.
    if (call.importer.may_be_nothing(size))
      return *number < 0 ? larger_size(call, place, 0) : smaller_size(call, place, size);
    if (*number >= 0) {
      const auto terms = size.terms();
      const Dim one = terms.size() == 1 && terms[0].coefficient > 0 && terms[0].symbols.size() == 1
                          ? Dim::symbol(terms[0].symbols[0])
                          : Dim();
      if (one.as_symbol()) {
        call.importer.assume_at_least(one, *ceil_divide(*number, terms[0].coefficient).constant());
        return place;
      }
      return *number == 0 ? place : smaller_size(call, place, size);
    }
    call.importer.assume_at_least(size, -*number);
    return place;
  }
  // Surely negative: from the back.
  const Dim back = Dim(0) - given;
  if (surely_at_most(call.importer, 1, back)) {
    call.importer.assume_at_least(back, 1);
    if (size.constant()) call.importer.assume_at_most(back, *size.constant());
    return size.constant() || surely_at_most(call.importer, back, size) ? size + given : dim_max(size + given, Dim(0));
  }
  if (!never_negative(place))
    call.importer.assume(fmt::format("{}, a place on an axis of size {}, is not negative", place.text(), size.text()));
  // A symbolic end stays within a known size: the positional table of a sequence.
  if (const auto number = size.constant()) {
    call.importer.assume_at_most(place, *number);
    return place;
  }
  return smaller_size(call, place, size);
}

Value* slice_axis(Call& call, Value* x, std::int64_t axis, const Dim& from, const Dim& to, std::int64_t step,
                  std::string_view name) {
  if (call.failed()) return nullptr;
  Dim size = x->type.shape[static_cast<std::size_t>(axis)];
  Dim start = from, end = to;
  if (step < 0) {
    // Backwards: entry i becomes entry size - 1 - i.
    x = call.build("flip", {x}, {{"dims", Integers{axis}}});
    const auto mirrored = [&](const Dim& place, bool is_start) -> Dim {
      const auto number = place.constant();
      // The start is clamped to size - 1, the end to -1.
      if (number && size.constant()) {
        const std::int64_t n = *size.constant();
        const std::int64_t at = std::clamp(*number < 0 ? *number + n : *number, std::int64_t{-1}, n - 1);
        return Dim(n - 1 - at);
      }
      if (!number) return size - 1 - place;
      if (*number >= 0) return is_start && *number >= (std::int64_t{1} << 31) - 1 ? Dim(0) : size - 1 - place;
      return *number <= -(std::int64_t{1} << 31) ? size : Dim(-1 - *number);
    };
    start = mirrored(from, true);
    end = mirrored(to, false);
  } else {
    start = place_on_axis(call, from, size);
    end = place_on_axis(call, to, size);
  }
  if (surely_at_most(call.importer, end, start)) end = start;
  if (start.is(0) && end == size && std::abs(step) == 1) return x;
  Attrs attrs = {{"dim", axis}};
  if (start.constant()) {
    attrs.set("start", *start.constant());
    attrs.set("end", Shape{end});
    if (std::abs(step) != 1) attrs.set("step", std::abs(step));
    return call.build("slice", {x}, attrs, name);
  }
  if (std::abs(step) != 1) {
    call.fail(fmt::format("a slice from {} in steps of {}", start.text(), step));
    return nullptr;
  }
  return part_of_axis(call, x, axis, start, length_between(start, end), name);
}

// Whether only the elements tell that a place counts from the back: what is taken off the axis's own size stays on it.
bool is_open_place(const Call& call, const Dim& place, const Dim& size) {
  if (!call.importer.may_be_nothing(place) || never_negative(place)) return false;
  const bool stays = never_negative(size - place) && !never_negative(Dim(0) - place);
  return !stays && !surely_at_most(call.importer, place, -1);
}

void slice_all(Call& call, const Shape& starts, const Shape& ends, std::optional<Integers> axes,
               std::optional<Integers> steps) {
  Value* x = call.x(0);
  if (call.failed()) return;
  if (!axes) {
    axes.emplace(starts.size());
    std::iota(axes->begin(), axes->end(), std::int64_t{0});
  }
  if (!steps) steps.emplace(starts.size(), 1);
  if (ends.size() != starts.size() || axes->size() != starts.size() || steps->size() != starts.size())
    return call.fail(
        fmt::format("{} starts, {} ends, {} axes, {} steps", starts.size(), ends.size(), axes->size(), steps->size()));
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const std::int64_t axis = call.axis((*axes)[i], x->type.shape.size());
    if ((*steps)[i] == 0 || (*steps)[i] == std::numeric_limits<std::int64_t>::min()) return call.fail("a step of 0");
    const Dim& size = x->type.shape[static_cast<std::size_t>(axis)];
    const auto as_number = [&](const Dim& place) { return size_as_number(call.build, place, DType::i64); };
    if ((*steps)[i] > 0 && (is_open_place(call, starts[i], size) || is_open_place(call, ends[i], size)))
      x = computed_slice(call, x, axis, as_number(starts[i]), as_number(ends[i]), (*steps)[i]);
    else
      x = slice_axis(call, x, axis, starts[i], ends[i], (*steps)[i], i + 1 == starts.size() ? call.name() : "");
    if (call.failed()) return;
  }
  call.set(0, x);
}

void read_slice_1(Call& call) {
  const auto starts = call.integers("starts"), ends = call.integers("ends");
  const auto axes = call.integers("axes");
  if (!starts || !ends) return call.fail("starts or ends are missing");
  slice_all(call, to_shape(*starts), to_shape(*ends), axes, std::nullopt);
}

// A slice whose places are computed from elements.
void read_computed_slice(Call& call) {
  Value *x = call.x(0), *starts = call.x(1), *ends = call.x(2);
  if (call.failed()) return;
  const auto count = starts->type.shape.size() == 1 ? starts->type.shape[0].constant() : std::nullopt;
  if (!count || ends->type.shape != starts->type.shape) return call.fail("starts and ends are of unlike shapes");
  Integers axes, steps(static_cast<std::size_t>(std::clamp<std::int64_t>(*count, 0, std::int64_t{kMaxRank})), 1);
  for (std::int64_t i = 0; i < std::ssize(steps); ++i) axes.push_back(i);
  if (call.has(3)) axes = call.integers_of(3);
  if (call.has(4)) steps = call.integers_of(4);
  if (call.failed()) return;
  if (std::ssize(axes) != *count || std::ssize(steps) != *count) return call.fail("axes or steps don't fit");
  for (std::int64_t i = 0; i < *count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t axis = call.axis(axes[at], x->type.shape.size());
    const auto from = entry_of(call.importer, starts, i), to = entry_of(call.importer, ends, i);
    const auto entry = [&](Value* vector) {
      return call.build("select", {vector}, {{"dim", std::int64_t{0}}, {"index", i}});
    };
    if (from && to)
      x = slice_axis(call, x, axis, *from, *to, steps[at], "");
    else if (steps[at] < 1)
      call.fail(fmt::format("a slice between computed places in steps of {}", steps[at]));
    else
      x = computed_slice(call, x, axis, entry(starts), entry(ends), steps[at]);
    if (call.failed()) return;
  }
  call.set(0, x);
}

void read_slice(Call& call) {
  const auto starts = call.known_if_any(1), ends = call.known_if_any(2);
  if (call.failed()) return;
  const auto is_computed = [&](std::size_t i) { return call.x(i)->producer != nullptr; };
  if ((!starts && is_computed(1)) || (!ends && is_computed(2))) return read_computed_slice(call);
  call.known(1), call.known(2);
  if (call.failed()) return;
  std::optional<Integers> axes, steps;
  if (call.has(3)) axes = call.integers_of(3);
  if (call.has(4)) steps = call.integers_of(4);
  if (call.failed()) return;
  slice_all(call, starts->elements, ends->elements, axes, steps);
}

// ----------------------------------------------------------------------------------------------------------- new
// values

void read_constant(Call& call) {
  Slot slot;
  for (const auto& attribute : call.node.attribute()) {
    const std::string& name = attribute.name();
    if (name == "value") {
      auto tensor = call.tensor(name);
      if (!tensor) return;
      const auto* held = call.attribute(name);
      if (!dtype_from_onnx(held->t().data_type())) slot.element = held->t().data_type();
      slot.value = call.build.constant(std::move(*tensor), call.name());
    } else if (name == "value_int") {
      slot.value = call.build.constant(tensor_i64({}, std::array{call.integer(name, 0)}), call.name());
    } else if (name == "value_float") {
      slot.value = call.build.constant(tensor_f32({}, std::array{static_cast<float>(call.real(name, 0))}), call.name());
    } else if (name == "value_ints") {
      const auto values = call.integers(name).value_or(Integers{});
      slot.value = call.build.constant(tensor_i64({static_cast<std::int64_t>(values.size())}, values), call.name());
    } else if (name == "value_floats") {
      const auto values = call.reals(name).value_or(std::vector<double>{});
      const std::vector<float> floats(values.begin(), values.end());
      slot.value = call.build.constant(tensor_f32({static_cast<std::int64_t>(floats.size())}, floats), call.name());
    } else {
      return call.fail(fmt::format("attribute '{}' is not read", name));
    }
  }
  call.set(0, std::move(slot));
}

void read_constant_of_shape(Call& call) {
  const auto given = call.tensor("value");
  const bool is_number = given && given->element_count() == 1;
  const DType dtype = given ? given->dtype : DType::f32;
  auto shape = wanted_sizes(call, 0);
  if (!shape) return;
  if (is_number && !is_exact_in_float64(*given)) {
    Value* number = call.reshape(call.build.constant(*given), Shape{});
    return call.set(0, call.build("expand", {number}, {{"shape", *std::move(shape)}}, call.name()));
  }
  const double value = is_number ? to_double(*given)[0] : 0;
  call.set(0, call.build("full", {}, {{"shape", *std::move(shape)}, {"value", value}, {"dtype", dtype}}, call.name()));
}

// Numbers between bounds that are computed: how many there are is measured when the file runs.
void read_measured_range(Call& call) {
  Value *start = call.x(0), *limit = call.x(1), *delta = call.x(2);
  if (call.failed()) return;
  const auto bound = [&](Value* x) { return call.reshape(x, Shape{}); };
  start = bound(start), limit = bound(limit), delta = bound(delta);
  const DType dtype = call.dtype(0);
  const auto is = [](const Value* x, double number) {
    return constant_of(x) != nullptr && to_double(*constant_of(x)).at(0) == number;
  };
  if (!is_floating(dtype) && is(start, 0) && is(delta, 1))
    return call.set(0, call.cast(measured_range(call, limit), dtype, call.name()));
  for (const Value* each : {start, limit, delta}) call.importer.want(each);
  if (dtype == DType::i64 || dtype == DType::i32)
    return call.set(0, call.build("range", {start, limit, delta},
                                  {{"length", Shape{call.importer.fresh_count(call.build.graph())}}}, call.name()));
  if (!is_floating(dtype)) {
    const auto wide = [&](Value* x) { return call.cast(x, DType::i64); };
    const Dim length = call.importer.fresh_count(call.build.graph());
    Value* range = call.build("range", {wide(start), wide(limit), wide(delta)}, {{"length", Shape{length}}});
    return call.set(0, call.cast(range, dtype, call.name()));
  }
  Value* count = call.build("ceil", {call.binary("div", call.binary("sub", limit, start), delta)});
  Value* steps = call.binary("mul", call.cast(measured_range(call, count), dtype), delta);
  call.set(0, call.build("add", {start, steps}, {}, call.name()));
}

// Numbers between constant integers that float64 does not hold, of which int64 and uint64 are reckoned alike.
void read_long_range(Call& call, const Tensor& start, const Tensor& limit, const Tensor& delta) {
  if (start.element_count() != 1 || limit.element_count() != 1 || delta.element_count() != 1)
    return call.fail("start, limit or step is no number");
  const std::uint64_t first = long_bits(start)[0], last = long_bits(limit)[0], step = long_bits(delta)[0];
  if (step == 0) return call.fail("the step has to be a number");
  const auto below = [&](std::uint64_t a, std::uint64_t b) {
    return start.dtype == DType::u64 ? a < b : static_cast<std::int64_t>(a) < static_cast<std::int64_t>(b);
  };
  const bool rises = below(0, step);
  const bool is_empty = rises ? !below(first, last) : !below(last, first);
  const std::uint64_t span = is_empty ? 0 : rises ? last - first : first - last, by = rises ? step : 0 - step;
  const std::uint64_t count = span / by + (span % by == 0 ? 0 : 1);
  if (count >= 1 << 22) return call.fail(fmt::format("{} elements", count));
  std::vector<std::uint64_t> values(count);
  for (std::uint64_t i = 0; i < count; ++i) values[i] = first + i * step;
  const auto bytes = std::as_bytes(std::span(values));
  call.set(
      0, call.build.constant(make_tensor(start.dtype, {static_cast<std::int64_t>(count)}, {bytes.begin(), bytes.end()}),
                             call.name()));
}

void read_range(Call& call) {
  const auto start = call.known_if_any(0), limit = call.known_if_any(1), delta = call.known_if_any(2);
  for (const auto* given : {&start, &limit, &delta})
    if (*given && (*given)->elements.size() != 1) return call.fail("start, limit or step is no number");
  if (const auto from = call.constant(0), to = call.constant(1), by = call.constant(2); from && to && by)
    if (!is_exact_in_float64(*from) || !is_exact_in_float64(*to) || !is_exact_in_float64(*by))
      return read_long_range(call, *from, *to, *by);
  if (start && limit && delta) {
    const auto step = delta->elements[0].constant();
    if (!step || *step == 0) return call.fail("the step has to be a number");
    const Dim span = limit->elements[0] - start->elements[0];
    Dim length = *step > 0 ? ceil_divide(span, Dim(*step)) : ceil_divide(Dim(0) - span, Dim(-*step));
    if (length.constant().value_or(0) < 0) length = 0;
    call.set(
        0,
        call.build(
            "arange", {},
            {{"start", Shape{start->elements[0]}}, {"step", *step}, {"length", Shape{length}}, {"dtype", start->dtype}},
            call.name()));
    return;
  }
  const auto first = call.constant(0), last = call.constant(1), step = call.constant(2);
  if (call.failed()) return;
  if (!first || !last || !step) return read_measured_range(call);
  const auto number = [](const Tensor& tensor) { return to_double(tensor).at(0); };
  if (first->element_count() != 1 || last->element_count() != 1 || step->element_count() != 1 || number(*step) == 0)
    return call.fail("start, limit or step is no number");
  const double count = std::max(0.0, std::ceil((number(*last) - number(*first)) / number(*step)));
  if (!(count < 1 << 22)) return call.fail(fmt::format("{} elements", count));
  Array values{call.dtype(0), {static_cast<std::int64_t>(count)}, {}};
  for (std::int64_t i = 0; i < values.shape[0]; ++i)
    values.values.push_back(number(*first) + static_cast<double>(i) * number(*step));
  call.set(0, call.build.constant(to_tensor(values), call.name()));
}

// Ones on a diagonal: column - row = k.
void read_eye_like(Call& call) {
  const std::int64_t k = call.integer("k", 0);
  const DType own = call.dtype(0);
  const auto dtype = dtype_of_element(static_cast<int>(call.integer("dtype", onnx_type(own))));
  const Shape shape = call.shape(0);
  if (call.failed()) return;
  if (!dtype || shape.size() != 2) return call.fail("expected a matrix and a dtype that is read");
  Value* rows = call.unsqueeze(call.arange(shape[0], k), {1});
  Value* columns = call.unsqueeze(call.arange(shape[1]), {0});
  call.set(0, call.cast(call.build("equal", {rows, columns}), *dtype, call.name()));
}

void read_trilu(Call& call) {
  const bool upper = call.flag("upper", true);
  const Integers k = call.has(1) ? call.integers_of(1) : Integers{0};
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  if (k.size() != 1) return call.fail("k is no number");
  const Shape& shape = call.shape(0);
  if (shape.size() < 2) return call.fail("expected at least two axes");
  // Diagonals far outside say the same as the nearest one.
  const std::int64_t diagonal = std::clamp(k[0], -(std::int64_t{1} << 40), std::int64_t{1} << 40);
  Value* x = call.cast(call.x(0), dtype);
  call.set(0, call.build(upper ? "triu" : "tril", {x}, {{"diagonal", diagonal}}, call.name()));
}

void read_shape_or_size(Call& call) {
  call.fail("the shape of what is no tensor");
}

void read_depth_to_space(Call& call) {
  call.set(0, call.build("depth_to_space", {call.x(0)},
                         {{"block", call.integer("blocksize", 0)}, {"mode", call.text("mode", "DCR")}}, call.name()));
}

void read_space_to_depth(Call& call) {
  call.set(0, call.build("space_to_depth", {call.x(0)}, {{"block", call.integer("blocksize", 0)}}, call.name()));
}

}  // namespace

std::vector<Row> shape_rows() {
  return {
      {.op = "Reshape", .operands = 2, .since = 5, .read = read_reshape},
      {.op = "Flatten", .read = read_flatten},
      {.op = "Squeeze", .read = read_squeeze},
      {.op = "Unsqueeze", .read = read_unsqueeze},
      {.op = "Transpose", .read = read_transpose},
      {.op = "Expand", .operands = 2, .since = 8, .read = read_expand},
      {.op = "Tile", .operands = 2, .since = 6, .read = read_tile},
      {.op = "Concat", .since = 4, .read = read_concat},
      {.op = "Split", .since = 2, .read = read_split},
      {.op = "Slice", .read = read_slice_1},
      {.op = "Slice", .operands = 3, .since = 10, .read = read_slice},
      {.op = "Constant", .operands = 0, .read = read_constant},
      {.op = "ConstantOfShape", .since = 9, .read = read_constant_of_shape},
      {.op = "Range", .operands = 3, .since = 11, .read = read_range},
      {.op = "EyeLike", .since = 9, .read = read_eye_like},
      {.op = "Trilu", .since = 14, .read = read_trilu},
      {.op = "Shape", .read = read_shape_or_size},
      {.op = "Size", .read = read_shape_or_size},
      {.op = "DepthToSpace", .read = read_depth_to_space},
      {.op = "SpaceToDepth", .read = read_space_to_depth},
  };
}

}  // namespace taper::onnx_reader
