// Sizes that are known at run time only: computed from the sizes of a graph's inputs, and of what has as many elements
// as other elements say, each once.
#include <algorithm>
#include <map>
#include <utility>

#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

Attrs along_first_axis() {
  return {{"dim", std::int64_t{0}}};
}

// The symbol of `c * symbol + k`, if `dim` is such.
struct LinearDim {
  std::string symbol;
  std::int64_t factor = 1;
  std::int64_t offset = 0;
};
std::optional<LinearDim> as_linear(const Dim& dim) {
  LinearDim linear;
  for (const Dim::Term& term : dim.terms()) {
    if (term.symbols.empty()) {
      linear.offset = term.coefficient;
    } else if (term.symbols.size() == 1 && linear.symbol.empty() && !dim_function(term.symbols[0])) {
      linear.symbol = term.symbols[0];
      linear.factor = term.coefficient;
    } else {
      return std::nullopt;
    }
  }
  if (linear.symbol.empty() || linear.factor == 0) return std::nullopt;
  return linear;
}

// An axis whose size can be asked for.
struct Source {
  Value* value;
  std::size_t axis;
};

// Builds sizes in a graph under construction. Every size is a vector of one integer, every partial result is kept.
class SizeBuilder {
 public:
  SizeBuilder(Builder& build, DType dtype) : build_(build), dtype_(dtype) {}

  // The sizes of the value say what symbols are.
  void add_measured(Value* value) {
    if (value == nullptr) return;
    for (std::size_t axis = 0; axis < value->type.shape.size(); ++axis) {
      const Dim& dim = value->type.shape[axis];
      if (dim.constant()) continue;
      measured_.try_emplace(dim.text(), Source{value, axis});
      if (const auto linear = as_linear(dim))
        linear_.try_emplace(linear->symbol, std::pair(Source{value, axis}, *linear));
    }
  }

  // Whether all symbols of the dimension can be read from the inputs and what was measured.
  bool can_know(const Dim& dim) const {
    if (dim.constant() || find(dim)) return true;
    return !dim.overflowed() && std::ranges::all_of(symbols_of(dim), [this](const std::string& symbol) {
      return find_symbol(symbol).has_value();
    });
  }
  bool can_know(const Shape& shape) const {
    return std::ranges::all_of(shape, [this](const Dim& dim) { return can_know(dim); });
  }

  Value* constant(const Integers& values) {
    const auto count = static_cast<std::int64_t>(values.size());
    return build_.constant(converted(tensor_i64({count}, values), dtype_), "sizes");
  }

  // A vector with an entry for each size.
  Value* vector(const Shape& shape) {
    std::vector<Value*> parts;
    for (std::size_t i = 0; i < shape.size();) {
      std::size_t end = i;
      Integers numbers;
      while (end < shape.size() && shape[end].constant()) numbers.push_back(*shape[end++].constant());
      if (end == i) {
        parts.push_back(run_of_input(shape, i, end));
      } else {
        parts.push_back(constant(numbers));
      }
      i = end;
    }
    if (parts.empty()) return constant({});
    return parts.size() == 1 ? parts[0] : build_("concat", parts, along_first_axis(), "sizes");
  }

  // A vector of `rank` entries whose entry `axis` is the size; the others are anything.
  Value* vector_at(const Dim& dim, std::size_t axis, std::size_t rank) {
    for (Value* input : build_.graph().inputs())
      if (input->type.shape.size() == rank && input->type.shape[axis] == dim) return shape_of(input);
    Shape shape(rank, Dim(0));
    shape[axis] = dim;
    return vector(shape);
  }

  // The size as an integer of rank 0.
  Value* scalar(const Dim& dim, DType dtype) {
    if (const auto number = dim.constant())
      return build_.constant(converted(tensor_i64({}, std::array{*number}), dtype));
    Value* entry = build_("select", {size(dim)}, {{"dim", std::int64_t{0}}, {"index", std::int64_t{0}}});
    return in_dtype(entry, dtype);
  }

  Value* in_dtype(Value* sizes, DType dtype) {
    return dtype == dtype_ ? sizes : build_("cast", {sizes}, {{"to", dtype}});
  }

 private:
  // An axis of an input, or of a measured value, that has this size.
  std::optional<Source> find(const Dim& dim) const {
    for (Value* input : build_.graph().inputs())
      for (std::size_t axis = 0; axis < input->type.shape.size(); ++axis)
        if (input->type.shape[axis] == dim) return Source{input, axis};
    if (measured_.empty()) return std::nullopt;
    const auto found = measured_.find(dim.text());
    return found == measured_.end() ? std::nullopt : std::optional(found->second);
  }
  // An axis of an input, or of a measured value, whose size says what the symbol is.
  std::optional<std::pair<Source, LinearDim>> find_symbol(const std::string& symbol) const {
    for (Value* input : build_.graph().inputs())
      for (std::size_t axis = 0; axis < input->type.shape.size(); ++axis)
        if (const auto linear = as_linear(input->type.shape[axis]); linear && linear->symbol == symbol)
          return std::pair(Source{input, axis}, *linear);
    const auto found = linear_.find(symbol);
    return found == linear_.end() ? std::nullopt : std::optional(found->second);
  }

  Value* shape_of(Value* input) {
    Value*& shape = shapes_[input];
    if (shape == nullptr) shape = build_("shape_of", {input}, {{"dtype", dtype_}}, input->name + ".shape");
    return shape;
  }
  Value* entries(Value* vector, std::size_t begin, std::size_t end) {
    if (vector == nullptr) return nullptr;
    if (begin == 0 && vector->type.shape[0].is(static_cast<std::int64_t>(end))) return vector;
    return build_("slice", {vector},
                  {{"dim", std::int64_t{0}},
                   {"start", static_cast<std::int64_t>(begin)},
                   {"end", Shape{static_cast<std::int64_t>(end)}}},
                  "size");
  }

  // Entries of `shape` from `i` on that an input has side by side, in one slice; sets `end`.
  Value* run_of_input(const Shape& shape, std::size_t i, std::size_t& end) {
    end = i + 1;
    const auto source = find(shape[i]);
    if (!source) return size(shape[i]);
    const Shape& sizes = source->value->type.shape;
    while (end < shape.size() && source->axis + end - i < sizes.size() && shape[end] == sizes[source->axis + end - i])
      ++end;
    if (end == i + 1) return size(shape[i]);
    return entries(shape_of(source->value), source->axis, source->axis + end - i);
  }

  Value* size(const Dim& dim) {
    if (const auto number = dim.constant()) return constant({*number});
    Value*& known = sizes_[dim.text()];
    if (known == nullptr) known = compute(dim);
    return known;
  }

  Value* compute(const Dim& dim) {
    if (const auto source = find(dim)) return entries(shape_of(source->value), source->axis, source->axis + 1);
    if (const auto symbol = dim.as_symbol()) {
      const auto [source, linear] = *find_symbol(*symbol);
      Value* value = entries(shape_of(source.value), source.axis, source.axis + 1);
      if (linear.offset != 0) value = build_("sub", {value, constant({linear.offset})});
      if (linear.factor != 1) value = build_("floor_divide", {value, constant({linear.factor})});
      return value;
    }
    Value* sum = nullptr;
    for (const Dim::Term& term : dim.terms()) {
      Value* product = nullptr;
      for (const std::string& factor : term.symbols) {
        Value* value = size_of_factor(factor);
        product = product == nullptr ? value : build_("mul", {product, value});
      }
      if (product == nullptr)
        product = constant({term.coefficient});
      else if (term.coefficient != 1)
        product = build_("mul", {product, constant({term.coefficient})});
      sum = sum == nullptr ? product : build_("add", {sum, product});
    }
    return sum;
  }

  Value* size_of_factor(const std::string& factor) {
    const auto function = dim_function(factor);
    if (!function) return size(Dim::symbol(factor));
    const std::string_view op = function->name == "floor_div" ? "floor_divide"
                                : function->name == "max"     ? "maximum"
                                                              : "minimum";
    Value* a = size(function->a);
    return build_(op, {a, size(function->b)});
  }

  Builder& build_;
  DType dtype_;
  std::map<std::string, Source, std::less<>> measured_;                      // by the size's text
  std::map<std::string, std::pair<Source, LinearDim>, std::less<>> linear_;  // by the symbol
  std::map<Value*, Value*> shapes_;
  std::map<std::string, Value*> sizes_;
};

// ------------------------------------------------------------------------------------------------------------ rewrites

// The first entries of an axis, as many as a size says.
Value* narrow_to_size(Builder& build, SizeBuilder& sizes, const Node& node, Value* x) {
  const std::int64_t start = node.attrs.integer("start"), step = node.attrs.integer("step");
  const Shape& shape = node.operands[0]->type.shape;
  const std::int64_t dim = node.attrs.integer("dim");
  const auto axis = static_cast<std::size_t>(dim < 0 ? dim + static_cast<std::int64_t>(shape.size()) : dim);
  if (start != 0) x = build("slice", {x}, {{"dim", dim}, {"start", start}, {"end", Shape{shape[axis]}}});
  const Dim first = start < 0 ? shape[axis] + Dim(start) : Dim(start);
  const Dim length = node.attrs.get<Shape>("end")[0] - first;
  Value* narrowed = build("narrow_to", {x, sizes.vector_at(length, axis, shape.size())},
                          {{"dim", static_cast<std::int64_t>(axis)}, {"length", Shape{length}}},
                          step == 1 ? node.results[0]->name : "");
  if (step == 1) return narrowed;
  return build("slice", {narrowed}, {{"dim", dim}, {"end", Shape{length}}, {"step", step}}, node.results[0]->name);
}

// Whether one shape is the other but for axes of size 1.
bool differ_in_ones(const Shape& a, const Shape& b) {
  const auto without_ones = [](Shape shape) {
    std::erase_if(shape, [](const Dim& dim) { return dim.is(1); });
    return shape;
  };
  return without_ones(a) == without_ones(b);
}

// A reshape that only adds and removes axes of size 1 needs no sizes.
Value* move_ones(Builder& build, const Shape& from, const Shape& to, Value* x, const std::string& name) {
  Integers removed, added;
  for (std::size_t axis = 0; axis < from.size(); ++axis)
    if (from[axis].is(1)) removed.push_back(static_cast<std::int64_t>(axis));
  for (std::size_t axis = 0; axis < to.size(); ++axis)
    if (to[axis].is(1)) added.push_back(static_cast<std::int64_t>(axis));
  if (!removed.empty()) x = build("squeeze", {x}, {{"dims", removed}}, added.empty() ? name : "");
  // One after the other: EXPAND_DIMS adds one axis.
  for (const std::int64_t axis : added)
    x = build("unsqueeze", {x}, {{"dims", Integers{axis}}}, axis == added.back() ? name : "");
  return x;
}

class Materializer {
 public:
  Materializer(Target target, Builder& build)
      : target_(target), sizes_(build, target == Target::onnx ? DType::i64 : DType::i32) {}

  SizeBuilder& sizes() { return sizes_; }

  Replacement run(Builder& build, const Node& node, std::span<Value* const> operands) {
    const std::string& name = node.results[0]->name;
    if (op_of(node).measures_sizes) {
      std::vector<Value*> results = build.call(node.op, {operands.begin(), operands.end()}, node.attrs, name);
      for (Value* result : results) sizes_.add_measured(result);
      return results;
    }
    if (can_be_said(node, target_)) return std::nullopt;
    if (node.op == "sizes") {
      const auto& shape = node.attrs.get<Shape>("sizes");
      if (!sizes_.can_know(shape)) return std::nullopt;
      return std::vector{sizes_.in_dtype(sizes_.vector(shape), node.attrs.get<DType>("dtype"))};
    }
    if (!names_symbols(node)) return std::nullopt;
    if (node.op == "slice") {
      if (!sizes_.can_know(node.attrs.get<Shape>("end")) || !sizes_.can_know(node.operands[0]->type.shape))
        return std::nullopt;
      return std::vector{narrow_to_size(build, sizes_, node, operands[0])};
    }
    if (node.op == "arange") {
      const Dim& start = node.attrs.get<Shape>("start")[0];
      const Dim& length = node.attrs.get<Shape>("length")[0];
      if (!sizes_.can_know(start) || !sizes_.can_know(length)) return std::nullopt;
      const DType dtype = node.attrs.get<DType>("dtype");
      const DType counted = is_floating(dtype) ? DType::i32 : dtype;
      const Dim step = node.attrs.integer("step");
      Value* numbers = build(
          "range",
          {sizes_.scalar(start, counted), sizes_.scalar(start + step * length, counted), sizes_.scalar(step, counted)},
          {{"length", Shape{length}}}, name);
      return std::vector{counted == dtype ? numbers : build("cast", {numbers}, {{"to", dtype}})};
    }
    if (node.op != "reshape" && node.op != "expand") return std::nullopt;
    const auto& shape = node.attrs.get<Shape>("shape");
    const Shape& from = node.operands[0]->type.shape;
    if (from == shape) return std::vector{operands[0]};
    if (node.op == "reshape" && differ_in_ones(from, shape))
      return std::vector{move_ones(build, from, shape, operands[0], name)};
    if (!sizes_.can_know(shape)) return std::nullopt;
    return std::vector{build(node.op == "reshape" ? "reshape_to" : "expand_to", {operands[0], sizes_.vector(shape)},
                             {{"shape", shape}}, name)};
  }

 private:
  Target target_;
  SizeBuilder sizes_;
};

}  // namespace

Expected<Graph> drop_expands(const Graph& graph) {
  return rewrite(graph, [](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    const Op& op = op_of(node);
    if (!op.broadcasts) return std::nullopt;
    std::vector<Value*> shorter(operands.begin(), operands.end());
    bool changed = false;
    for (Value*& operand : shorter) {
      const Node* producer = operand == nullptr ? nullptr : operand->producer;
      if (producer == nullptr || producer->op != "expand") continue;
      Value* expanded = std::exchange(operand, producer->operands[0]);
      const auto types = op.infer({shorter, node.attrs, node.regions});
      if (types && types->size() == 1 && (*types)[0] == node.results[0]->type)
        changed = true;
      else
        operand = expanded;
    }
    if (!changed) return std::nullopt;
    return build.call(node.op, shorter, node.attrs, node.results[0]->name);
  });
}

Expected<Graph> materialize_dims(const Graph& graph, Target target) {
  const RuleFor rule_for = [target](const Graph&) -> Rule {
    return [target, state = std::shared_ptr<Materializer>()](Builder& build, const Node& node,
                                                             std::span<Value* const> operands) mutable -> Replacement {
      if (state == nullptr) state = std::make_shared<Materializer>(target, build);
      return state->run(build, node, operands);
    };
  };
  return rewrite(graph, rule_for);
}

}  // namespace taper
