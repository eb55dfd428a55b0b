// Operators that choose elements by their values: how many there are is only known once they ran.
#include "ops/selecting.h"

#include <algorithm>
#include <array>
#include <limits>

#include "ops/families.h"
#include "ops/indices.h"

namespace taper {

std::pair<Value*, Dim> repeated_mask(Value* x) {
  const Node* expand = x->producer;
  if (expand == nullptr || (expand->op != "expand" && expand->op != "expand_to") ||
      expand->operands[0]->producer == nullptr)
    return {x, 1};
  const Node& unsqueeze = *expand->operands[0]->producer;
  if (unsqueeze.op != "unsqueeze" && unsqueeze.op != "reshape" && unsqueeze.op != "reshape_to") return {x, 1};
  Value* mask = unsqueeze.operands[0];
  const Shape &narrow = mask->type.shape, &wide = x->type.shape, &between = unsqueeze.results[0]->type.shape;
  if (narrow.empty() || narrow.size() > wide.size() || between.size() != wide.size()) return {x, 1};
  Dim times = 1;
  for (std::size_t axis = 0; axis < wide.size(); ++axis) {
    const Dim& size = axis < narrow.size() ? narrow[axis] : Dim(1);
    if (between[axis] != size || (axis < narrow.size() && wide[axis] != size)) return {x, 1};
    if (axis >= narrow.size()) times = times * wide[axis];
  }
  return {mask, times};
}

namespace {

using tflite::BuiltinOperator;

// ------------------------------------------------------------------------------------------------------------- nonzero

Expected<std::vector<Type>> infer_nonzero(const InferCall& call) {
  if (call.type(0).dtype != DType::boolean || call.shape(0).empty())
    return fail("x is {}, expected bool of at least one axis", type_text(call.type(0)));
  TAPER_ASSIGN(const Dim count, one_size(call.attrs, "count"));
  return std::vector{Type{DType::i64, {count, static_cast<std::int64_t>(call.shape(0).size())}}};
}

Expected<std::vector<Array>> eval_nonzero(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Integers strides = row_major_strides(x.shape);
  Array out{DType::i64, {0, static_cast<std::int64_t>(x.shape.size())}, {}};
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    if (x.values[i] == 0) continue;
    ++out.shape[0];
    for (std::size_t axis = 0; axis < x.shape.size(); ++axis)
      out.values.push_back(static_cast<double>(static_cast<std::int64_t>(i) / strides[axis] % x.shape[axis]));
  }
  return std::vector{std::move(out)};
}

// The graph of a file doesn't name how many there are: once for each operand.
Status name_count(std::span<Value* const> operands, Attrs& attrs) {
  const auto [mask, times] = repeated_mask(operands[0]);
  attrs.set("count", Shape{Dim::symbol(fmt::format("count{}", mask->id)) * times});
  return {};
}

Status name_length(std::span<Value* const> operands, Attrs& attrs) {
  attrs.set("length", Shape{Dim::symbol(fmt::format("count{}by{}", operands[0]->id, operands[1]->id))});
  return {};
}

Op nonzero() {
  return {
      .name = "nonzero",
      .doc =
          "the places of the elements of x that are true, in order, a row of indices each; `count` names their number",
      .operands = {"x"},
      .attrs = {{"count", AttrKind::shape}},
      .infer = infer_nonzero,
      .eval = eval_nonzero,
      .measures_sizes = true,
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        return {build("permute", {build("nonzero_by_axis", {operands[0]}, node.attrs)}, {{"dims", Integers{1, 0}}})};
      },
      .tflite = {.builtin = BuiltinOperator::WHERE,
                 .since = "1.14.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<tflite::WhereOptionsT>(),
                 .read_operands = name_count},
      .tensorflow =
          {.op = "Where", .result = "index", .inputs = {operand(0)}, .types = {{"T"}}, .read_operands = name_count},
      .examples = {{{{DType::boolean, {5}}}, {{"count", Shape{Dim::symbol("n")}}}},
                   {{{DType::boolean, {3, 4}}}, {{"count", Shape{Dim::symbol("n")}}}}},
  };
}

// The form that ONNX has.
Op nonzero_by_axis() {
  return {
      .name = "nonzero_by_axis",
      .doc = "the places of the elements of x that are true, a row for each axis; `count` names their number",
      .operands = {"x"},
      .attrs = {{"count", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_ASSIGN(std::vector<Type> types, infer_nonzero(call));
        std::swap(types[0].shape[0], types[0].shape[1]);
        return types;
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<Array> rows, eval_nonzero(call));
        const std::int64_t count = rows[0].shape[0], rank = rows[0].shape[1];
        Array out = make_array(DType::i64, {rank, count});
        for (std::int64_t i = 0; i < count; ++i)
          for (std::int64_t axis = 0; axis < rank; ++axis)
            out.values[static_cast<std::size_t>(axis * count + i)] =
                rows[0].values[static_cast<std::size_t>(i * rank + axis)];
        return std::vector{std::move(out)};
      },
      .measures_sizes = true,
      .onnx = {.op_type = "NonZero", .inputs = {operand(0)}},
  };
}

// ------------------------------------------------------------------------------------------------------------- boxes

// Corners of a box, the lower ones first.
struct Box {
  double top, left, bottom, right;
  double area() const { return (bottom - top) * (right - left); }
};

Box box_at(const Array& boxes, std::int64_t row, bool center) {
  const auto at = static_cast<std::size_t>(row) * 4;
  const auto& v = boxes.values;
  if (center) {
    const double x = v[at], y = v[at + 1], w = v[at + 2] / 2, h = v[at + 3] / 2;
    return {y - h, x - w, y + h, x + w};
  }
  return {std::min(v[at], v[at + 2]), std::min(v[at + 1], v[at + 3]), std::max(v[at], v[at + 2]),
          std::max(v[at + 1], v[at + 3])};
}

// The common area over that of both together; 0 where a box has none.
double overlap(const Box& a, const Box& b) {
  if (a.area() <= 0 || b.area() <= 0) return 0;
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double common = std::max(height, 0.0) * std::max(width, 0.0);
  return common / (a.area() + b.area() - common);
}

// How boxes are chosen: the best score first, of equals the one that comes first; then none that overlaps a chosen one
// by more than `most_overlap`.
struct Choice {
  double most = 0, most_overlap = 0, least_score = 0;
  bool center = false;
};
Integers choose_boxes(const Array& boxes, std::int64_t first, std::span<const double> scores, const Choice& choice) {
  Integers order;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > choice.least_score) order.push_back(static_cast<std::int64_t>(i));
  std::ranges::stable_sort(order, [&](std::int64_t a, std::int64_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  Integers chosen;
  std::vector<Box> kept;
  for (const std::int64_t i : order) {
    if (static_cast<double>(chosen.size()) >= choice.most) break;
    const Box box = box_at(boxes, first + i, choice.center);
    if (std::ranges::any_of(kept, [&](const Box& other) { return overlap(box, other) > choice.most_overlap; }))
      continue;
    kept.push_back(box);
    chosen.push_back(i);
  }
  return chosen;
}

Status check_box_limits(const InferCall& call, DType counted) {
  if (call.type(2) != Type{counted, {}}) return fail("the most boxes are {}", type_text(call.type(2)));
  for (const std::size_t i : {3, 4})
    if (call.type(i) != Type{DType::f32, {}}) return fail("a threshold is {}, expected f32[]", type_text(call.type(i)));
  return {};
}

Expected<std::vector<Type>> infer_suppression(const InferCall& call) {
  TAPER_TRY(check_box_limits(call, DType::i64));
  const Shape &boxes = call.shape(0), &scores = call.shape(1);
  const bool fits = boxes.size() == 3 && boxes[2].is(4) && scores.size() == 3 && scores[0] == boxes[0] &&
                    scores[2] == boxes[1] && call.type(0).dtype == DType::f32 && call.type(1).dtype == DType::f32;
  if (!fits)
    return fail("boxes {} and scores {}, expected f32[batch, n, 4] and f32[batch, classes, n]", type_text(call.type(0)),
                type_text(call.type(1)));
  TAPER_ASSIGN(const Dim count, one_size(call.attrs, "count"));
  return std::vector{Type{DType::i64, {count, 3}}};
}

Expected<std::vector<Array>> eval_suppression(const EvalCall& call) {
  const Array &boxes = call.operand(0), &scores = call.operand(1);
  const std::int64_t batch = scores.shape[0], classes = scores.shape[1], size = scores.shape[2];
  const Choice choice{call.operand(2).values[0], call.operand(3).values[0], call.operand(4).values[0],
                      call.attrs.flag("center_point_box")};
  Array out{DType::i64, {0, 3}, {}};
  for (std::int64_t b = 0; b < batch; ++b)
    for (std::int64_t c = 0; c < classes; ++c) {
      const auto begin = scores.values.begin() + (b * classes + c) * size;
      for (const std::int64_t box : choose_boxes(boxes, b * size, std::span(begin, begin + size), choice)) {
        ++out.shape[0];
        for (const std::int64_t entry : {b, c, box}) out.values.push_back(static_cast<double>(entry));
      }
    }
  return std::vector{std::move(out)};
}

// The numbers of classes and samples for which a kernel each is still a program.
constexpr std::int64_t kMostSuppressions = 256;

std::optional<std::int64_t> suppressions(const Node& node) {
  return (node.operands[1]->type.shape[0] * node.operands[1]->type.shape[1]).constant();
}

Value* entry_of(Builder& build, Value* x, std::int64_t index) {
  return build("select", {x}, {{"dim", std::int64_t{0}}, {"index", index}});
}

// [x, y, width, height] of centers as corners.
Value* corners_of(Builder& build, Value* boxes) {
  const auto part = [&](std::int64_t start) {
    return build("slice", {boxes}, {{"dim", std::int64_t{-1}}, {"start", start}, {"end", Shape{start + 2}}});
  };
  Value* half = build("mul", {part(2), build.scalar(0.5)});
  Value *low = build("sub", {part(0), half}), *high = build("add", {part(0), half});
  return build("concat", {low, high}, {{"dim", std::int64_t{-1}}});
}

// The entries of a vector, as many as `count` (i32[]) says and `size` names.
Value* first_entries(Builder& build, Value* x, Value* count, const Dim& size) {
  const auto number = [&](std::int64_t value) {
    return build.constant(converted(tensor_i64({}, std::array{value}), DType::i32));
  };
  Value* places = build("range", {number(0), count, number(1)}, {{"length", Shape{size}}});
  return build("gather", {x, places}, {{"dim", std::int64_t{0}}});
}

// A kernel for each class of each sample; their rows follow one another.
template <bool inclusive>
std::vector<Value*> expand_suppression(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& scores = node.operands[1]->type.shape;
  const Dim& count = node.attrs.get<Shape>("count")[0];
  const std::string name = count.as_symbol().value_or("count");
  Value* boxes = node.attrs.flag("center_point_box") ? corners_of(build, operands[0]) : operands[0];
  const Attrs first_axis = {{"dim", std::int64_t{0}}};
  const auto cast = [&](Value* x, DType to) { return build("cast", {x}, {{"to", to}}); };
  // No more than there are: results are as long as the most that may come.
  Value* size = build("reshape", {build("sizes", {}, {{"sizes", Shape{scores[2]}}, {"dtype", DType::i64}})},
                      {{"shape", Shape{}}});
  Value* most = cast(build("minimum", {operands[2], size}), DType::i32);
  const bool single = *suppressions(node) == 1;
  // TFLite's kernel drops boxes whose overlap is the threshold, too.
  Value* threshold = operands[3];
  if (inclusive)
    threshold = build("maximum", {build("mul", {threshold, build.scalar(1 + std::numeric_limits<float>::epsilon())}),
                                  build.scalar(std::numeric_limits<float>::min())});
  std::vector<Value*> rows;
  Value* total = nullptr;
  for (std::int64_t b = 0; b < *scores[0].constant(); ++b)
    for (std::int64_t c = 0; c < *scores[1].constant(); ++c) {
      const std::vector<Value*> found =
          build.call("padded_suppression",
                     {entry_of(build, boxes, b), entry_of(build, entry_of(build, operands[1], b), c), most, threshold,
                      operands[4]},
                     {{"length", Shape{Dim::symbol(fmt::format("{}_padded_{}_{}", name, b, c))}}});
      if (build.failed()) return {nullptr};
      const Dim part = single ? count : Dim::symbol(fmt::format("{}_of_{}_{}", name, b, c));
      Value* chosen = cast(first_entries(build, found[0], found[1], part), DType::i64);
      Value* row = build("unsqueeze", {chosen}, {{"dims", Integers{1}}});
      Value* where = build.constant(tensor_i64({1, 2}, std::array{b, c}));
      rows.push_back(
          build("concat", {build("expand", {where}, {{"shape", Shape{part, 2}}}), row}, {{"dim", std::int64_t{1}}}));
      total = total == nullptr ? found[1] : build("add", {total, found[1]});
    }
  if (single) return {rows[0]};
  return {first_entries(build, build("concat", rows, first_axis), total, count)};
}

Op non_max_suppression() {
  return {
      .name = "non_max_suppression",
      .doc =
          "for each sample and class the boxes with the best scores above `score_threshold`, at most `most`, of "
          "which none overlaps a better one by more than `iou_threshold`: rows of sample, class, box; `count` names "
          "their number",
      .operands = {"boxes", "scores", "most", "iou_threshold", "score_threshold"},
      .attrs = {{"center_point_box", AttrKind::flag, false}, {"count", AttrKind::shape}},
      .infer = infer_suppression,
      .eval = eval_suppression,
      .measures_sizes = true,
      .expand = expand_suppression<false>,
      .expands_if =
          [](const Node& node, Target) {
            const auto number = suppressions(node);
            return number && *number > 0 && *number <= kMostSuppressions;
          },
      .expand_tflite = expand_suppression<true>,
      .onnx = {.op_type = "NonMaxSuppression",
               .inputs = {operand(0), operand(1), operand(2), operand(3), operand(4)},
               .attrs = {{"center_point_box", "center_point_box"}}},
  };
}

// The form that TFLite and TensorFlow have.
Op padded_suppression() {
  return {
      .name = "padded_suppression",
      .doc =
          "the boxes that non_max_suppression chooses for one class, followed by zeros up to `length`, and their "
          "number",
      .operands = {"boxes", "scores", "most", "iou_threshold", "score_threshold"},
      .attrs = {{"length", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_box_limits(call, DType::i32));
        const Shape &boxes = call.shape(0), &scores = call.shape(1);
        if (boxes.size() != 2 || !boxes[1].is(4) || scores.size() != 1 || scores[0] != boxes[0])
          return fail("boxes {} and scores {}", type_text(call.type(0)), type_text(call.type(1)));
        TAPER_ASSIGN(const Dim length, one_size(call.attrs, "length"));
        return std::vector{Type{DType::i32, {length}}, Type{DType::i32, {}}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const Choice choice{call.operand(2).values[0], call.operand(3).values[0], call.operand(4).values[0], false};
        const Integers chosen = choose_boxes(call.operand(0), 0, call.operand(1).values, choice);
        const auto most = std::clamp<std::int64_t>(static_cast<std::int64_t>(choice.most), 0, call.operand(1).shape[0]);
        Array out = make_array(DType::i32, {most});
        std::ranges::copy(chosen, out.values.begin());
        return std::vector{std::move(out), Array{DType::i32, {}, {static_cast<double>(chosen.size())}}};
      },
      .measures_sizes = true,
      .tflite = {.builtin = BuiltinOperator::NON_MAX_SUPPRESSION_V4,
                 .since = "2.1.0",
                 .inputs = {operand(0), operand(1), operand(2), operand(3), operand(4)},
                 .options = tflite_options<tflite::NonMaxSuppressionV4OptionsT>(),
                 .read_operands = name_length},
      .tensorflow = {.op = "NonMaxSuppressionV4",
                     .result = "selected_indices",
                     .inputs = {operand(0), operand(1), operand(2), operand(3), operand(4)},
                     .types = {{"T"}, {"T_threshold", 3}},
                     .read_operands = name_length,
                     .results = {"selected_indices", "valid_outputs"}},
  };
}

}  // namespace

std::vector<Op> selecting_ops() {
  return {nonzero(), nonzero_by_axis(), non_max_suppression(), padded_suppression()};
}

}  // namespace taper
