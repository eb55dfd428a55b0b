// Exporters write the arithmetic of shapes as nodes: Shape, Gather, Mul, Concat, ... . It is followed symbolically
// here, so that it becomes symbolic sizes.
#include <algorithm>

#include "frontend/onnx_importer.h"
#include "ops/rules.h"

namespace taper::onnx_reader {
namespace {

constexpr std::size_t kMostElements = 1024;

using Sizes = std::vector<std::int64_t>;

bool is_symbolic(const Slot& slot) {
  return slot.known != nullptr &&
         std::ranges::any_of(slot.known->elements, [](const Dim& dim) { return !dim.constant(); });
}

// ------------------------------------------------------------------------------------------------------------ movement

// Operators that only move elements of these operands.
struct Mover {
  std::string_view op;
  std::size_t first;
  std::size_t count;
};
constexpr Mover kMovers[] = {
    {"Gather", 0, 1},  {"Slice", 0, 1},     {"Concat", 0, 99},        {"Unsqueeze", 0, 1}, {"Squeeze", 0, 1},
    {"Reshape", 0, 1}, {"Flatten", 0, 1},   {"Expand", 0, 1},         {"Tile", 0, 1},      {"Split", 0, 1},
    {"Where", 1, 2},   {"Transpose", 0, 1}, {"GatherElements", 0, 1}, {"GatherND", 0, 1},
};

// The row runs on numbers that stand for the elements.
std::optional<std::vector<Known>> move_elements(const Row& row, Call& call, const Mover& mover) {
  std::vector<Dim> elements;
  std::vector<Slot> inputs;
  DType dtype = DType::i64;
  for (std::size_t i = 0; i < call.inputs(); ++i) {
    Slot slot = call.slot(i);
    if (call.has(i) && i >= mover.first && i < mover.first + mover.count) {
      const auto known = call.known_if_any(i);
      if (!known || elements.size() + known->elements.size() > kMostElements) return std::nullopt;
      Known numbers{DType::i64, known->shape, {}};
      for (const Dim& dim : known->elements) {
        numbers.elements.emplace_back(static_cast<std::int64_t>(elements.size()));
        elements.push_back(dim);
      }
      dtype = known->dtype;
      slot = {};
      slot.known = std::make_shared<Known>(std::move(numbers));
    } else if (is_symbolic(slot)) {
      return std::nullopt;
    }
    inputs.push_back(std::move(slot));
  }
  const auto computed = call.importer.compute(row, call.node, call.version, inputs);
  if (!computed || !*computed) return std::nullopt;  // the row itself will tell what is wrong
  std::vector<Known> results;
  for (const Tensor& moved : **computed) {
    Known result{dtype, moved.shape, {}};
    for (const double number : to_double(moved)) result.elements.push_back(elements[static_cast<std::size_t>(number)]);
    results.push_back(std::move(result));
  }
  return results;
}

// ---------------------------------------------------------------------------------------------------------- arithmetic

bool is_positive(const Dim& dim) {
  return never_negative(dim - 1);
}

std::optional<Dim> equal(const Dim& a, const Dim& b) {
  if (a == b) return Dim(1);
  const Dim difference = a - b;
  if (difference.constant() || is_positive(difference) || is_positive(b - a)) return Dim(0);
  return std::nullopt;
}

std::optional<Dim> less(const Dim& a, const Dim& b) {
  const Dim difference = b - a;
  if (const auto number = difference.constant()) return Dim(*number > 0 ? 1 : 0);
  if (is_positive(difference)) return Dim(1);
  if (is_positive(a - b + 1)) return Dim(0);
  return std::nullopt;
}

std::optional<Dim> negated(std::optional<Dim> truth) {
  if (!truth) return std::nullopt;
  return Dim(truth->is(0) ? 1 : 0);
}

std::optional<Dim> quotient(const Dim& a, const Dim& b) {
  if (b.is(0)) return std::nullopt;
  // ONNX rounds towards zero.
  if (const auto x = a.constant(), y = b.constant(); x && y) {
    if (*y == -1) return Dim(0) - a;
    return Dim(*x / *y);
  }
  if (const auto y = b.constant(); y && *y < 0) return quotient(Dim(0) - a, Dim(0) - b);
  if (!never_negative(b)) return std::nullopt;
  if (never_negative(a)) return floor_divide(a, b);
  return dim_max(floor_divide(a, b), 0) - dim_max(floor_divide(Dim(0) - a, b), 0);
}

std::optional<Dim> remainder(const Dim& a, const Dim& b) {
  if (b.is(0)) return std::nullopt;
  return floor_remainder(a, b);
}

struct BinaryRule {
  std::string_view op;
  std::optional<Dim> (*apply)(const Dim&, const Dim&);
  bool compares = false;
};
constexpr BinaryRule kBinary[] = {
    {"Add", [](const Dim& a, const Dim& b) -> std::optional<Dim> { return a + b; }},
    {"Sub", [](const Dim& a, const Dim& b) -> std::optional<Dim> { return a - b; }},
    {"Mul", [](const Dim& a, const Dim& b) -> std::optional<Dim> { return a * b; }},
    {"Div", quotient},
    {"Mod", remainder},
    {"Max", [](const Dim& a, const Dim& b) -> std::optional<Dim> { return dim_max(a, b); }},
    {"Min", [](const Dim& a, const Dim& b) -> std::optional<Dim> { return dim_min(a, b); }},
    {"Equal", equal, true},
    {"Less", less, true},
    {"Greater", [](const Dim& a, const Dim& b) { return less(b, a); }, true},
    {"LessOrEqual", [](const Dim& a, const Dim& b) { return negated(less(b, a)); }, true},
    {"GreaterOrEqual", [](const Dim& a, const Dim& b) { return negated(less(a, b)); }, true},
};

std::optional<Known> apply_binary(const BinaryRule& rule, const Known& a, const Known& b) {
  const auto shape = broadcast(to_shape(a.shape), to_shape(b.shape));
  if (!shape) return std::nullopt;
  const Sizes sizes = *constant_sizes(*shape);
  const auto count = checked_element_count(sizes);
  if (!count || *count > static_cast<std::int64_t>(kMostElements)) return std::nullopt;
  Known result{rule.compares ? DType::boolean : a.dtype, sizes, {}};
  const auto at = [&](const Known& operand, std::int64_t flat) -> const Dim& {
    const Sizes strides = row_major_strides(operand.shape);
    std::int64_t position = 0;
    for (std::size_t i = sizes.size(); i-- > 0;) {
      const std::int64_t index = flat % sizes[i];
      flat /= sizes[i];
      const std::size_t skipped = sizes.size() - operand.shape.size();
      if (i >= skipped && operand.shape[i - skipped] != 1) position += index * strides[i - skipped];
    }
    return operand.elements[static_cast<std::size_t>(position)];
  };
  for (std::int64_t i = 0; i < *count; ++i) {
    auto value = rule.apply(at(a, i), at(b, i));
    if (!value || value->overflowed()) return std::nullopt;
    result.elements.push_back(std::move(*value));
  }
  return result;
}

struct ReductionRule {
  std::string_view op;
  Dim (*join)(const Dim&, const Dim&);
};
constexpr ReductionRule kReductions[] = {
    {"ReduceProd", [](const Dim& a, const Dim& b) { return a * b; }},
    {"ReduceSum", [](const Dim& a, const Dim& b) { return a + b; }},
    {"ReduceMin", dim_min},
    {"ReduceMax", dim_max},
};

std::optional<Known> apply_reduction(Call& call, const ReductionRule& rule, const Known& x) {
  if (x.shape.size() != 1 || x.elements.empty()) return std::nullopt;
  const auto axes = call.integers("axes");
  const bool names_axes = axes ? !axes->empty() : call.has(1) && element_count(call.shape(1)) != Dim(0);
  if (call.failed()) return std::nullopt;
  if (!names_axes && call.flag("noop_with_empty_axes", false)) return x;
  const bool keeps = call.flag("keepdims", true);
  Known result{x.dtype, keeps ? Sizes{1} : Sizes{}, {}};
  Dim total = x.elements[0];
  for (std::size_t i = 1; i < x.elements.size() && !total.overflowed(); ++i) total = rule.join(total, x.elements[i]);
  if (total.overflowed()) return std::nullopt;
  result.elements = {total};
  return result;
}

// The sizes of the operand from `start` up to `end`, which may count from the back.
std::optional<std::vector<Known>> sizes_of(Call& call) {
  if (!call.has(0) || (call.slot(0).sequence != nullptr)) return std::nullopt;
  const auto& known = call.slot(0).known;
  const Shape shape = known != nullptr ? to_shape(known->shape) : call.shape(0);
  if (call.failed()) return std::nullopt;
  const auto rank = static_cast<std::int64_t>(shape.size());
  const auto place = [&](std::string_view name, std::int64_t fallback) {
    const std::int64_t value = call.integer(name, fallback);
    return std::clamp(value < 0 ? value + rank : value, std::int64_t{0}, rank);
  };
  const std::int64_t start = place("start", 0);
  const std::int64_t end = std::max(place("end", rank), start);
  Known sizes{DType::i64, {end - start}, {shape.begin() + start, shape.begin() + end}};
  return std::vector{std::move(sizes)};
}

}  // namespace

std::optional<std::vector<Known>> follow(const Row& row, Call& call) {
  const std::string& op = call.node.op_type();
  if (!row.domain.empty() || call.failed()) return std::nullopt;
  if (op == "Shape") return sizes_of(call);
  if (op == "Size" && call.has(0) && call.slot(0).sequence == nullptr) {
    const auto& known = call.slot(0).known;
    const Dim count = element_count(known != nullptr ? to_shape(known->shape) : call.shape(0));
    if (call.failed() || count.overflowed()) return std::nullopt;
    return std::vector{Known{DType::i64, {}, {count}}};
  }
  bool any = false;
  for (std::size_t i = 0; i < call.inputs(); ++i) any = any || is_symbolic(call.slot(i));
  if (!any) return std::nullopt;
  if (const auto* mover = std::ranges::find(kMovers, op, &Mover::op); mover != std::end(kMovers))
    return move_elements(row, call, *mover);
  std::vector<Known> operands;
  for (std::size_t i = 0; i < call.inputs(); ++i) {
    auto known = call.known_if_any(i);
    if (!known) return std::nullopt;
    operands.push_back(std::move(*known));
  }
  if (const auto* rule = std::ranges::find(kBinary, op, &BinaryRule::op);
      rule != std::end(kBinary) && operands.size() == 2) {
    if (call.flag("fmod", false)) return std::nullopt;  // of the dividend's sign
    auto result = apply_binary(*rule, operands[0], operands[1]);
    if (!result) return std::nullopt;
    return std::vector{std::move(*result)};
  }
  if (op == "Identity") return std::vector{std::move(operands[0])};
  if (op == "Neg") {
    for (Dim& dim : operands[0].elements) dim = Dim(0) - dim;
    return std::vector{std::move(operands[0])};
  }
  if (op == "Cast") {
    const auto dtype = dtype_from_onnx(static_cast<int>(call.integer("to", 0)));
    if (dtype != DType::i64 && dtype != DType::i32) return std::nullopt;
    operands[0].dtype = *dtype;
    return std::vector{std::move(operands[0])};
  }
  if (const auto* rule = std::ranges::find(kReductions, op, &ReductionRule::op);
      rule != std::end(kReductions) && call.inputs() <= 2) {
    auto result = apply_reduction(call, *rule, operands[0]);
    if (!result) return std::nullopt;
    return std::vector{std::move(*result)};
  }
  return std::nullopt;
}

}  // namespace taper::onnx_reader
