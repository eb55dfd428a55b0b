// Padding: constants, reflections, the outermost entries, the other end.
#include <functional>
#include <limits>

#include "ops/families.h"
#include "ops/merged_axes.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

constexpr std::int64_t kLargest = (std::int64_t{1} << 31) - 1;

Expected<std::vector<Type>> infer_pad(const InferCall& call) {
  Type type = call.type(0);
  const Integers& before = call.attrs.integers("before");
  const Integers& after = call.attrs.integers("after");
  const std::string& mode = call.attrs.text("mode");
  if (mode != "constant" && mode != "reflect" && mode != "replicate" && mode != "circular")
    return fail("mode is '{}', expected constant, reflect, replicate or circular", mode);
  if (before.size() != type.shape.size() || after.size() != type.shape.size())
    return fail("{} and {} amounts for x of shape {}", before.size(), after.size(), shape_text(type.shape));
  for (std::size_t axis = 0; axis < before.size(); ++axis) {
    const std::int64_t least = std::min(before[axis], after[axis]), most = std::max(before[axis], after[axis]);
    if (least < -kLargest || most > kLargest) return fail("an amount of {}", least < -kLargest ? least : most);
    const auto size = type.shape[axis].constant();
    // What is copied has to be there: without its edge for a reflection, at least one entry of an edge.
    const std::int64_t needed = mode == "reflect" ? most + 1 : mode == "circular" ? most : mode == "replicate" ? 1 : 0;
    if (most > 0 && size && *size < needed)
      return fail("{} padding of {} for axis {} of size {}", mode, most, axis, *size);
    if (size && *size + std::min<std::int64_t>(0, before[axis]) + std::min<std::int64_t>(0, after[axis]) < 0)
      return fail("padding {} and {} of an axis of size {}", before[axis], after[axis], *size);
    if (mode != "constant" && least < 0 && most > 0) return fail("{} padding that also crops", mode);
    type.shape[axis] = type.shape[axis] + before[axis] + after[axis];
  }
  return std::vector{std::move(type)};
}

// The entry that stands at position i of the padded axis; nothing where the value does.
std::optional<std::int64_t> source_of(std::int64_t i, std::int64_t size, const std::string& mode) {
  if (i >= 0 && i < size) return i;
  if (mode == "constant" || size == 0) return std::nullopt;
  if (mode == "replicate") return i < 0 ? 0 : size - 1;
  if (mode == "circular") return i < 0 ? i + size : i - size;
  return i < 0 ? -i : 2 * (size - 1) - i;
}

Array pad_array(Array x, const Integers& before, const Integers& after, const std::string& mode, double value) {
  for (std::size_t axis = 0; axis < x.shape.size(); ++axis) {
    if (before[axis] == 0 && after[axis] == 0) continue;
    const AxisView view = axis_view(x.shape, axis);
    std::vector<std::int64_t> shape = x.shape;
    shape[axis] += before[axis] + after[axis];
    Array y = make_array(x.dtype, shape);
    for (std::int64_t o = 0; o < view.outer; ++o)
      for (std::int64_t i = 0; i < shape[axis]; ++i) {
        const auto source = source_of(i - before[axis], view.size, mode);
        double* to = y.values.data() + (o * shape[axis] + i) * view.inner;
        if (source)
          std::copy_n(x.values.data() + (o * view.size + *source) * view.inner, view.inner, to);
        else
          std::fill_n(to, view.inner, value);
      }
    x = std::move(y);
  }
  return x;
}

Expected<std::vector<Array>> eval_pad(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Integers& before = call.attrs.integers("before");
  const Integers& after = call.attrs.integers("after");
  const std::string& mode = call.attrs.text("mode");
  for (std::size_t axis = 0; axis < before.size(); ++axis) {
    const std::int64_t most = std::max(before[axis], after[axis]), size = x.shape[axis];
    if (size + std::min<std::int64_t>(0, before[axis]) + std::min<std::int64_t>(0, after[axis]) < 0 ||
        (most > 0 && ((mode == "reflect" && most >= size) || (mode == "circular" && most > size) ||
                      (mode == "replicate" && size == 0))))
      return fail("{} padding {} and {} of an axis of size {}", mode, before[axis], after[axis], size);
  }
  return std::vector{pad_array(x, before, after, mode, call.attrs.real("value"))};
}

bool crops(const Node& node) {
  const auto negative = [](std::int64_t amount) { return amount < 0; };
  return std::ranges::any_of(node.attrs.integers("before"), negative) ||
         std::ranges::any_of(node.attrs.integers("after"), negative);
}

// x cropped where amounts are negative, and the amounts that are left.
struct Cropped {
  Value* x;
  Integers before, after;
};
Cropped crop(Builder& build, const Node& node, Value* x) {
  Cropped out{x, node.attrs.integers("before"), node.attrs.integers("after")};
  for (std::size_t axis = 0; axis < out.before.size(); ++axis) {
    const std::int64_t start = std::max<std::int64_t>(0, -out.before[axis]);
    const std::int64_t cut = std::max<std::int64_t>(0, -out.after[axis]);
    if (start > 0 || cut > 0)
      out.x = build("slice", {out.x},
                    {{"dim", static_cast<std::int64_t>(axis)},
                     {"start", start},
                     {"end", Shape{node.operands[0]->type.shape[axis] - cut}}});
    out.before[axis] += start;
    out.after[axis] += cut;
  }
  return out;
}

bool pads_nothing(const Cropped& cropped) {
  return std::ranges::all_of(cropped.before, [](std::int64_t n) { return n == 0; }) &&
         std::ranges::all_of(cropped.after, [](std::int64_t n) { return n == 0; });
}

// The last `count` entries of an axis.
Value* last_entries(Builder& build, Value* x, std::int64_t dim, const Dim& size, std::int64_t count) {
  return build("slice", {x}, {{"dim", dim}, {"start", -count}, {"end", Shape{size}}});
}

// Axis by axis: pieces of x beside x.
Value* join_pieces(Builder& build, const Node& node, Cropped cropped) {
  const std::string& mode = node.attrs.text("mode");
  Value* x = cropped.x;
  for (std::size_t axis = 0; x != nullptr && axis < cropped.before.size(); ++axis) {
    const std::int64_t before = cropped.before[axis], after = cropped.after[axis];
    if (before == 0 && after == 0) continue;
    const auto dim = static_cast<std::int64_t>(axis);
    const Dim size = x->type.shape[axis];
    const Attrs flip = {{"dims", Integers{dim}}};
    std::vector<Value*> parts;
    const auto repeat = [&](Value* entry, std::int64_t count) {
      parts.insert(parts.end(), static_cast<std::size_t>(count), entry);
    };
    const auto range = [&](std::int64_t start, std::int64_t end) {
      return build("slice", {x}, {{"dim", dim}, {"start", start}, {"end", Shape{end}}});
    };
    if (before > 0) {
      if (mode == "replicate") repeat(range(0, 1), before);
      if (mode == "circular") parts.push_back(last_entries(build, x, dim, size, before));
      if (mode == "reflect") parts.push_back(build("flip", {range(1, before + 1)}, flip));
    }
    parts.push_back(x);
    if (after > 0) {
      if (mode == "replicate") repeat(last_entries(build, x, dim, size, 1), after);
      if (mode == "circular") parts.push_back(range(0, after));
      if (mode == "reflect") {
        Value* end = last_entries(build, x, dim, size, after + 1);
        end = build("slice", {end}, {{"dim", dim}, {"end", Shape{after}}});
        parts.push_back(build("flip", {end}, flip));
      }
    }
    x = build("concat", parts, {{"dim", dim}});
  }
  return x;
}

std::vector<Value*> expand_pad_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Cropped cropped = crop(build, node, operands[0]);
  if (pads_nothing(cropped)) return {cropped.x};
  const std::string& mode = node.attrs.text("mode");
  if (mode == "circular") return {join_pieces(build, node, cropped)};
  Value* value = nullptr;
  if (mode == "constant") {
    const Array array{operands[0]->type.dtype, {}, {node.attrs.real("value")}};
    value = build.constant(to_tensor(array));
  }
  return {build("onnx_pad", {cropped.x, value},
                {{"before", cropped.before}, {"after", cropped.after}, {"mode", mode == "replicate" ? "edge" : mode}})};
}

// Befores and afters by axis, the rows of a matrix.
Integers pairs(const Node& node) {
  Integers all;
  for (std::size_t axis = 0; axis < node.attrs.integers("before").size(); ++axis) {
    all.push_back(node.attrs.integers("before")[axis]);
    all.push_back(node.attrs.integers("after")[axis]);
  }
  return all;
}

Status read_pairs(std::span<const Tensor* const> constants, Attrs& attrs) {
  if (constants.size() < 2 || constants[1] == nullptr || constants[1]->rank() != 2 || constants[1]->shape[1] != 2)
    return fail("padding that is no constant matrix of two columns");
  Integers before, after;
  for (const double amount : to_double(*constants[1]))
    (before.size() == after.size() ? before : after).push_back(static_cast<std::int64_t>(amount));
  attrs.set("before", std::move(before));
  attrs.set("after", std::move(after));
  return {};
}

// TFLite pads up to five axes.
constexpr std::size_t kMostPadded = 5;
bool pads_zeros(const Node& node) {
  return node.attrs.text("mode") == "constant" && node.attrs.real("value") == 0 && !crops(node) &&
         !has_more_axes(node, kMostPadded);
}

// x with more entries per axis as `pad` adds them, on five axes or fewer: two axes at a time, the others between them
// as one.
Value* pad_two_by_two(Builder& build, const Cropped& cropped, const std::function<Value*(Value*, Attrs)>& pad) {
  std::vector<std::size_t> padded;
  for (std::size_t axis = 0; axis < cropped.before.size(); ++axis)
    if (cropped.before[axis] != 0 || cropped.after[axis] != 0) padded.push_back(axis);
  Value* x = cropped.x;
  for (std::size_t i = 0; i < padded.size() && !build.failed(); i += 2) {
    const std::size_t first = padded[i], second = padded[std::min(i + 1, padded.size() - 1)];
    Shape whole = x->type.shape, merged;
    Integers before, after;
    bool open = false;  // whether the last merged axis takes the next one
    for (std::size_t axis = 0; axis < whole.size(); ++axis) {
      const bool here = axis == first || axis == second;
      if (open && !here) {
        merged.back() = merged.back() * whole[axis];
        continue;
      }
      open = !here;
      merged.push_back(whole[axis]);
      before.push_back(here ? cropped.before[axis] : 0);
      after.push_back(here ? cropped.after[axis] : 0);
      if (here) whole[axis] = whole[axis] + Dim(before.back() + after.back());
    }
    x = with_shape(build, pad(with_shape(build, x, merged), {{"before", before}, {"after", after}}), whole);
  }
  return x;
}

std::vector<Value*> expand_pad_last(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Cropped cropped = crop(build, node, operands[0]);
  const std::string& mode = node.attrs.text("mode");
  if (pads_nothing(cropped)) return {cropped.x};
  const Attrs all = {{"before", cropped.before}, {"after", cropped.after}};
  if (mode == "constant") {
    const double value = node.attrs.real("value");
    const auto pad = [&](Value* x, const Attrs& attrs) {
      if (value == 0) return build("pad", {x}, attrs);
      return build("pad_with", {x, build.constant(to_tensor(Array{operands[0]->type.dtype, {}, {value}}))}, attrs);
    };
    return {has_more_axes(node, kMostPadded) ? pad_two_by_two(build, cropped, pad) : pad(cropped.x, all)};
  }
  if (mode == "reflect") return {build("mirror_pad", {cropped.x}, all)};
  return {join_pieces(build, node, cropped)};
}

// Amounts move with their axes.
std::optional<CallOnBases> pad_on_bases(const Node& node, std::span<const std::int64_t> dims, std::int64_t base_rank) {
  CallOnBases call{node.attrs, {dims.begin(), dims.end()}};
  call.viewed = 1;
  for (const char* name : {"before", "after"}) {
    Integers amounts(static_cast<std::size_t>(base_rank), 0);
    for (std::size_t axis = 0; axis < dims.size(); ++axis)
      amounts[static_cast<std::size_t>(dims[axis])] = node.attrs.integers(name)[axis];
    call.attrs.set(name, std::move(amounts));
  }
  return call;
}

Op pad_with() {
  return {
      .name = "pad_with",
      .doc = "`pad` with the constant `value`, no negative amounts",
      .operands = {"x", "value"},
      .attrs = {{"before", AttrKind::integers}, {"after", AttrKind::integers}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        if (call.type(1) != Type{call.type(0).dtype, {}})
          return fail("value is {}, expected {}", type_text(call.type(1)), type_text({call.type(0).dtype, {}}));
        Attrs attrs = call.attrs;
        attrs.set("mode", std::string("constant"));
        return infer_pad({call.operands, attrs, call.regions});
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Attrs attrs = call.attrs;
        attrs.set("mode", std::string("constant"));
        attrs.set("value", call.operand(1).values[0]);
        return eval_pad({call.operands, attrs, call.regions, call.bindings});
      },
      .on_bases = pad_on_bases,
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Attrs attrs = node.attrs;
        attrs.set("mode", std::string("constant"));
        return {build("onnx_pad", {operands[0], operands[1]}, attrs)};
      },
      .tflite = {.builtin = tflite::BuiltinOperator::PADV2,
                 .since = "1.9.0",
                 .inputs = {operand(0), made_matrix(2, pairs), operand(1)},
                 .options = tflite_options<tflite::PadV2OptionsT>(),
                 .dtypes = tflite_moved_dtypes("1.9.0"),
                 .fits = [](const Node& node) { return !crops(node) && !has_more_axes(node, kMostPadded); },
                 .read_inputs = read_pairs},
      .tensorflow = {.op = "PadV2",
                     .inputs = {operand(0), made_matrix(2, pairs), operand(1)},
                     .types = {{"T"}, {"Tpaddings", 0, DType::i32}},
                     .fits = [](const Node& node) { return !crops(node); },
                     .read_inputs = read_pairs},
      .examples =
          {{{f32({2, 3, 4}), f32({})}, {{"before", Integers{0, 1, 2}}, {"after", Integers{1, 0, 2}}}, -2, 2, 1}},
  };
}

Op mirror_pad() {
  using Options = tflite::MirrorPadOptionsT;
  return {
      .name = "mirror_pad",
      .doc = "`pad` that mirrors without the edge, no negative amounts",
      .operands = {"x"},
      .attrs = {{"before", AttrKind::integers},
                {"after", AttrKind::integers},
                {"mode", AttrKind::text, std::string("REFLECT")}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        if (call.attrs.text("mode") != "REFLECT") return fail("mode is '{}'", call.attrs.text("mode"));
        Attrs attrs = call.attrs;
        attrs.set("mode", std::string("reflect"));
        return infer_pad({call.operands, attrs, call.regions});
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Attrs attrs = call.attrs;
        attrs.set("mode", std::string("reflect"));
        attrs.set("value", 0.0);
        return eval_pad({call.operands, attrs, call.regions, call.bindings});
      },
      .on_bases = pad_on_bases,
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Attrs attrs = node.attrs;
        attrs.set("mode", std::string("reflect"));
        return {build("onnx_pad", {operands[0]}, attrs)};
      },
      .tflite = {.builtin = tflite::BuiltinOperator::MIRROR_PAD,
                 .since = "1.13.1",
                 .inputs = {operand(0), made_matrix(2, pairs)},
                 .options = tflite_options<Options>(
                     FixedOption<Options, tflite::MirrorPadMode>{&Options::mode, tflite::MirrorPadMode::REFLECT}),
                 .fits = [](const Node& node) { return !crops(node); },
                 .read_inputs = read_pairs},
      .tensorflow = {.op = "MirrorPad",
                     .inputs = {operand(0), made_matrix(2, pairs)},
                     .types = {{"T"}, {"Tpaddings", 0, DType::i32}},
                     .attrs = {{"mode", "mode"}},
                     .fits = [](const Node& node) { return !crops(node); },
                     .read_inputs = read_pairs},
      .examples = {{{f32({1, 4, 5, 2})}, {{"before", Integers{0, 2, 1, 0}}, {"after", Integers{0, 1, 3, 0}}}}},
  };
}

Attrs example_attrs(Integers before, Integers after, std::string mode, double value = 0) {
  return {{"before", std::move(before)}, {"after", std::move(after)}, {"mode", std::move(mode)}, {"value", value}};
}

Op pad() {
  return {
      .name = "pad",
      .doc =
          "x with `before` and `after` more entries per axis: `value` (mode constant), mirrored without the edge "
          "(reflect), the edge (replicate), the other end (circular); negative amounts crop",
      .operands = {"x"},
      .attrs = {{"before", AttrKind::integers},
                {"after", AttrKind::integers},
                {"mode", AttrKind::text, std::string("constant")},
                {"value", AttrKind::real, 0.0}},
      .infer = infer_pad,
      .eval = eval_pad,
      .on_bases = pad_on_bases,
      .expands_if = [](const Node& node, Target target) { return target == Target::onnx || !pads_zeros(node); },
      .expand_onnx = expand_pad_onnx,
      .expand_tflite = expand_pad_last,
      .expand_tensorflow = expand_pad_last,
      .tflite = {.builtin = tflite::BuiltinOperator::PAD,
                 .since = "1.5.0",
                 .inputs = {operand(0), made_matrix(2, pairs)},
                 .options = tflite_options<tflite::PadOptionsT>(),
                 .dtypes = tflite_moved_dtypes("1.5.0"),
                 .fits = pads_zeros,
                 .read_inputs = read_pairs},
      .tensorflow = {.op = "Pad",
                     .inputs = {operand(0), made_matrix(2, pairs)},
                     .types = {{"T"}, {"Tpaddings", 0, DType::i32}},
                     .fits = pads_zeros,
                     .read_inputs = read_pairs},
      .examples = {{{f32({2, 3, 4})}, example_attrs({0, 1, 2}, {1, 0, 2}, "constant")},
                   {{f32({2, 3, 4})}, example_attrs({0, 0, 1}, {0, 2, 0}, "constant", 1.5)},
                   {{f32({2, 3, 6})}, example_attrs({0, -1, 2}, {0, 2, -3}, "constant")},
                   {{f32({2, 1, 3, 2, 2, 1, 3})},
                    example_attrs({1, 0, -1, 0, 0, 2, 1}, {0, 0, 1, 0, 0, 0, 1}, "constant", 1.5)},
                   {{f32({2, 3, 1, 2, 2, 3})}, example_attrs({0, 1, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 2}, "constant")},
                   {{f32({1, 2, 4, 5})}, example_attrs({0, 0, 2, 1}, {0, 0, 1, 3}, "reflect")},
                   {{f32({1, 2, 4, 5})}, example_attrs({0, 0, 2, 1}, {0, 0, 1, 3}, "replicate")},
                   {{f32({1, 2, 4, 5})}, example_attrs({0, 0, 2, 1}, {0, 0, 1, 3}, "circular")}},
  };
}

Integers before_and_after(const Node& node) {
  Integers all = node.attrs.integers("before");
  all.insert(all.end(), node.attrs.integers("after").begin(), node.attrs.integers("after").end());
  return all;
}

std::string own_mode(const Attrs& attrs) {
  return attrs.text("mode") == "edge" ? "replicate" : attrs.text("mode");
}

Op onnx_pad() {
  return {
      .name = "onnx_pad",
      .doc = "`pad` with no negative amounts and the value as an operand; what is replicate there is the mode edge",
      .operands = {"x", "value?"},
      .attrs = {{"before", AttrKind::integers}, {"after", AttrKind::integers}, {"mode", AttrKind::text}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        if (call.has(1) && call.type(1) != Type{call.type(0).dtype, {}})
          return fail("value is {}, expected {}", type_text(call.type(1)), type_text({call.type(0).dtype, {}}));
        Attrs attrs = call.attrs;
        attrs.set("mode", own_mode(attrs));
        return infer_pad({call.operands, attrs, call.regions});
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Attrs attrs = call.attrs;
        attrs.set("mode", own_mode(attrs));
        attrs.set("value", call.has(1) ? call.operand(1).values[0] : 0.0);
        return eval_pad({call.operands, attrs, call.regions, call.bindings});
      },
      .onnx = {.op_type = "Pad",
               .inputs = {operand(0), made(before_and_after), operand(1)},
               // those that its runtime has a kernel for
               .dtypes = {DType::f64, DType::f32, DType::f16, DType::i64, DType::i32, DType::u32, DType::u64, DType::i8,
                          DType::u8, DType::boolean},
               .attrs = {{"mode", "mode"}},
               .fits = [](const Node& node) { return !crops(node); }},
      .examples = {{{f32({2, 3, 4}), f32({})},
                    {{"before", Integers{0, 1, 2}}, {"after", Integers{1, 0, 2}}, {"mode", std::string("constant")}}}},
  };
}

}  // namespace

std::vector<Op> padding_ops() {
  return {pad(), onnx_pad(), pad_with(), mirror_pad()};
}

}  // namespace taper
