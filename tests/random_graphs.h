// Random calls and random graphs, grown from the examples that the rows of the op table bring: no operator is named
// here but `scan`, whose body is grown the same way. Everything follows from a seed. TAPER_SEED says which one tests
// start with, TAPER_RANDOM_ROUNDS how many times more of them they take.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ops/builder.h"
#include "ops/evaluate.h"
#include "ops/table.h"

namespace taper {

class Random {
 public:
  explicit Random(std::uint64_t seed) : generator_(seed * 2 + 1) {}
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(generator_() % bound); }
  bool chance(double probability) { return real(0, 1) < probability; }
  double real(double low, double high) {
    return low + (high - low) * static_cast<double>(generator_() >> 11) * 0x1p-53;  // the same in every library
  }
  template <class Range>
  auto& pick(Range&& range) {
    return range[below(range.size())];
  }

 private:
  std::mt19937_64 generator_;
};

// The seeds for a test of so many cases.
inline std::vector<std::uint64_t> random_seeds(std::size_t count) {
  const auto number = [](const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? std::uint64_t{1} : std::strtoull(text, nullptr, 10);
  };
  std::vector<std::uint64_t> seeds(count * number("TAPER_RANDOM_ROUNDS"));
  for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = number("TAPER_SEED") + i;
  return seeds;
}

inline Array random_array(Random& random, DType dtype, std::vector<std::int64_t> shape, double low, double high) {
  Array array{dtype, std::move(shape), {}};
  std::size_t count = 1;
  for (const std::int64_t size : array.shape) count *= static_cast<std::size_t>(size);
  array.values.resize(count);
  for (double& value : array.values) {
    value = random.real(low, high);
    if (!is_floating(dtype)) value = std::floor(value);
  }
  return to_array(to_tensor(array));
}

// Result types of a call, or nothing if the row refuses it.
inline std::optional<std::vector<Type>> inferred(const Op& op, const std::vector<Type>& types, Attrs attrs) {
  Graph graph;
  std::vector<Value*> operands;
  for (const Type& type : types) operands.push_back(graph.add_input("x", type));
  const std::vector<std::unique_ptr<Graph>> regions;
  if (!complete_attrs(op, attrs) || !check_operand_count(op, operands)) return std::nullopt;
  auto results = op.infer({operands, attrs, regions});
  if (!results) return std::nullopt;
  for (const Type& type : *results)
    for (const Dim& dim : type.shape)
      if (dim.constant().value_or(0) < 0) return std::nullopt;
  return std::move(*results);
}

// -------------------------------------------------------------------------------------------------------------
// resizing

// Which sizes of an example become which, and what else may follow them.
struct Resizing {
  std::map<std::int64_t, Dim> sizes;
  bool multiples = false;  // sizes that are multiples of a size with a number: 3h where h changes
  bool integers = false;   // attributes that are numbers too, not only those that are shapes

  Dim operator()(std::int64_t size) const {
    if (const auto found = sizes.find(size); found != sizes.end()) return found->second;
    for (const auto& [from, to] : sizes)
      if (multiples && from > 1 && size % from == 0) return to * Dim(size / from);
    return size;
  }
  Shape operator()(const Shape& shape) const {
    Shape resized;
    for (const Dim& dim : shape) resized.push_back(dim.constant() ? (*this)(*dim.constant()) : dim);
    return resized;
  }
  Attrs operator()(const Attrs& attrs) const {
    Attrs resized;
    for (auto [name, attr] : attrs) {
      if (auto* shape = std::get_if<Shape>(&attr)) *shape = (*this)(*shape);
      if (auto* number = std::get_if<std::int64_t>(&attr); number != nullptr && integers)
        *number = (*this)(*number).constant().value_or(*number);
      resized.set(name, attr);
    }
    return resized;
  }
  Example operator()(Example example) const {
    for (Type& type : example.operands) type.shape = (*this)(type.shape);
    example.attrs = (*this)(example.attrs);
    return example;
  }
};

// The example with one thing changed: a size everywhere, an attribute, or another axis in front. The row may refuse it.
inline Example changed(Random& random, Example example, std::int64_t least) {
  const auto size = [&] { return std::max<std::int64_t>(least, static_cast<std::int64_t>(random.below(10))); };
  std::vector<std::int64_t> sizes;
  for (const Type& type : example.operands)
    for (const Dim& dim : type.shape) sizes.push_back(*dim.constant());
  const std::size_t kind = random.below(8);
  if (kind < 5 && !sizes.empty())
    return Resizing{{{random.pick(sizes), size()}}, random.chance(0.5), random.chance(0.3)}(std::move(example));
  if (kind == 5) {
    const Dim axis = size();
    for (Type& type : example.operands) type.shape.insert(type.shape.begin(), axis);
    return example;
  }
  Attrs attrs;
  for (auto [name, attr] : example.attrs) {
    const auto step = [&] { return static_cast<std::int64_t>(random.below(5)) - 2; };
    if (auto* flag = std::get_if<bool>(&attr)) *flag = random.chance(0.5);
    if (auto* number = std::get_if<std::int64_t>(&attr)) *number += step();
    if (auto* numbers = std::get_if<std::vector<std::int64_t>>(&attr); numbers != nullptr && !numbers->empty())
      random.pick(*numbers) += step();
    if (auto* shape = std::get_if<Shape>(&attr); shape != nullptr && !shape->empty()) random.pick(*shape) = size();
    attrs.set(name, attr);
  }
  example.attrs = std::move(attrs);
  return example;
}

// A call of a random row, like one of its examples in other sizes, that the row accepts.
struct RandomCall {
  const Op* op;
  Example example;
  std::vector<Array> operands;
};

inline RandomCall random_call(Random& random, std::int64_t least_size) {
  std::vector<const Op*> rows;
  for (const Op& op : op_table())
    if (!op.examples.empty() && !op.measures_sizes) rows.push_back(&op);  // symbols would have to differ
  while (true) {
    const Op& op = *random.pick(rows);
    RandomCall call{&op, random.pick(op.examples), {}};
    for (std::size_t changes = 1 + random.below(4), tries = 0; changes > 0 && tries < 40; ++tries) {
      Example next = changed(random, call.example, least_size);
      if (!inferred(op, next.operands, next.attrs)) continue;
      call.example = std::move(next);
      --changes;
    }
    std::vector<const Array*> pointers;
    for (const Type& type : call.example.operands)
      call.operands.push_back(
          random_array(random, type.dtype, *constant_sizes(type.shape), call.example.low, call.example.high));
    for (const Array& array : call.operands) pointers.push_back(&array);
    Attrs attrs = call.example.attrs;
    const std::vector<std::unique_ptr<Graph>> regions;
    if (!complete_attrs(op, attrs)) continue;
    // Refused only for numbers that don't fit: an entry that an axis doesn't have, sizes that are others than the
    // type's.
    const bool any_integers =
        std::ranges::any_of(call.operands, [](const Array& array) { return !is_floating(array.dtype); });
    const auto results = op.eval({pointers, attrs, regions, {}});
    const auto types = inferred(op, call.example.operands, attrs);
    bool fits = results && types;
    for (std::size_t i = 0; fits && any_integers && i < results->size(); ++i)
      fits = (*types)[i].shape == to_shape((*results)[i].shape);
    if (fits) return call;
  }
}

// ------------------------------------------------------------------------------------------------------------- graphs

struct RandomGraph {
  Graph graph;
  std::vector<std::vector<Array>> inputs;  // for two choices of the symbols' values
  std::vector<bool> exact;                 // by output: its numbers don't jump when an operand changes a little
};

// A graph that grows by one call after the other, each evaluated at once for two choices of the symbols' values, so
// that operands lie in the range that the row wants and nothing overflows.
class GraphGrower {
 public:
  explicit GraphGrower(Random& random) : random_(random) {}

  struct Grown {
    Value* value;
    std::vector<Array> arrays;  // one per binding
    bool exact = true;
    bool used = false;
  };

  Graph& graph() { return graph_; }
  std::vector<Grown>& pool() { return pool_; }
  const std::vector<Bindings>& bindings() const { return bindings_; }

  Value* add_input(const Type& type, std::vector<Array> arrays) {
    Value* value = graph_.add_input("x", type);
    pool_.push_back({value, std::move(arrays)});
    return value;
  }
  Value* add_random_input(const Type& type) {
    std::vector<Array> arrays;
    for (const Bindings& binding : bindings_)
      arrays.push_back(random_array(random_, type.dtype, *evaluate(type.shape, binding), -2, 2));
    return add_input(type, std::move(arrays));
  }

  // Appends a call of a random row on values of the graph. Returns whether that was possible.
  bool add_call() {
    const Op& op = random_.pick(op_table());
    if (op.examples.empty() || op.measures_sizes) return false;
    const Example& example = random_.pick(op.examples);
    const std::size_t first = random_.below(pool_.size());
    const Type type = pool_[first].value->type;
    if (example.operands.empty() || type.dtype != example.operands[0].dtype || !in_range(pool_[first], example))
      return false;
    Resizing resize{{}, random_.chance(0.5), random_.chance(0.3)};
    const Shape& wanted = example.operands[0].shape;
    for (std::size_t i = 1; i <= std::min(type.shape.size(), wanted.size()); ++i) {
      const Dim& to = type.shape[type.shape.size() - i];
      const std::int64_t from = *wanted[wanted.size() - i].constant();
      if (!(from == 1 ? to.is(1) : resize.sizes.try_emplace(from, to).first->second == to)) return false;
    }
    Example resized = resize(example);
    resized.operands[0] = type;
    if (!inferred(op, resized.operands, resized.attrs)) return false;
    std::vector<Candidate> operands = {{first, {}}};
    for (std::size_t i = 1; i < resized.operands.size(); ++i) {
      auto operand = find_operand(resized, i);
      if (!operand) return false;
      operands.push_back(std::move(*operand));
    }
    return append(op, operands, resized.attrs, {});
  }

  // Appends a scan over a sequence of the graph, with a body that grows from its state and frame.
  bool add_scan() {
    const std::size_t sequence = random_.below(pool_.size()), state = random_.below(pool_.size());
    const Type frames = pool_[sequence].value->type, carried = pool_[state].value->type;
    if (frames.shape.size() != 3 || carried.shape.size() != 2 || frames.dtype != DType::f32 ||
        carried.dtype != DType::f32 || carried.shape[0] != frames.shape[0])
      return false;
    GraphGrower body(random_);
    body.may_add_inputs_ = false;
    body.add_input(carried, pool_[state].arrays);
    Type frame = frames;
    frame.shape.erase(frame.shape.begin() + 1);
    std::vector<Array> entries;
    for (std::size_t i = 0; i < bindings_.size(); ++i)
      entries.push_back(random_array(random_, DType::f32, *evaluate(frame.shape, bindings_[i]), -2, 2));
    body.add_input(frame, std::move(entries));
    body.grow(1 + random_.below(4));
    const auto outputs_like = [&](auto&& fits) {
      std::vector<Value*> values;
      for (const Grown& each : body.pool_)
        if (each.exact && fits(each.value->type)) values.push_back(each.value);
      return values;
    };
    const std::vector<Value*> next = outputs_like([&](const Type& type) { return type == carried; });
    const std::vector<Value*> stacked = outputs_like([&](const Type& type) {
      return type.dtype == DType::f32 && type.shape.size() == 2 && type.shape[0] == carried.shape[0];
    });
    body.graph_.add_output("next", next.back());
    body.graph_.add_output("frame", stacked.back());
    const auto direction = [&] { return std::vector<std::int64_t>{static_cast<std::int64_t>(random_.below(2))}; };
    std::vector<std::unique_ptr<Graph>> regions;
    regions.push_back(std::make_unique<Graph>(std::move(body.graph_)));
    return append(*find_op("scan"), {{state, {}}, {sequence, {}}},
                  {{"states", std::int64_t{1}}, {"reverse_inputs", direction()}, {"reverse_outputs", direction()}},
                  std::move(regions));
  }

  void grow(std::size_t calls) {
    for (std::size_t tries = 0; calls > 0 && tries < 2000; ++tries)
      calls -= may_add_inputs_ && random_.chance(0.1) ? add_scan() : add_call();
  }

 private:
  // A value of the pool, or a new constant.
  struct Candidate {
    std::size_t index = 0;
    std::optional<Tensor> constant;
  };

  // Whether the result has steps: what is a little different before them lies a step apart behind. So it does where a
  // norm over one entry divides what is left of it, nothing but rounding, by the root of eps.
  static bool jumps(const Op& op) {
    static const std::set<std::string_view> names = {"floor",        "ceil",      "round", "trunc",
                                                     "sign",         "remainder", "fmod",  "floor_divide",
                                                     "trunc_divide", "quantize",  "atan2", "onnx_instance_norm"};
    return names.contains(op.name);
  }

  static bool in_range(const Grown& grown, const Example& example) {
    if (is_floating(grown.value->type.dtype) && example.low == -2 && example.high == 2) return true;
    return std::ranges::all_of(grown.arrays, [&](const Array& array) {
      return std::ranges::all_of(array.values, [&](double x) { return x >= example.low && x <= example.high; });
    });
  }

  std::optional<Candidate> find_operand(const Example& example, std::size_t i) {
    const Type& type = example.operands[i];
    std::vector<std::size_t> fitting;
    for (std::size_t k = 0; k < pool_.size(); ++k)
      if (pool_[k].value->type == type && in_range(pool_[k], example)) fitting.push_back(k);
    const auto sizes = constant_sizes(type.shape);
    const bool as_constant = i >= example.inputs || fitting.empty() || (sizes && random_.chance(0.4));
    if (!as_constant) return Candidate{random_.pick(fitting), {}};
    if (sizes) return Candidate{0, to_tensor(random_array(random_, type.dtype, *sizes, example.low, example.high))};
    if (i >= example.inputs || !may_add_inputs_ || graph_.inputs().size() >= 4 || !is_floating(type.dtype) ||
        example.low != -2)
      return std::nullopt;
    add_random_input(type);
    return Candidate{pool_.size() - 1, {}};
  }

  bool append(const Op& op, const std::vector<Candidate>& candidates, Attrs attrs,
              std::vector<std::unique_ptr<Graph>> regions) {
    if (!complete_attrs(op, attrs)) return false;
    std::vector<std::vector<Array>> results;  // by binding
    bool exact = true, any_floating = false;
    for (std::size_t b = 0; b < bindings_.size(); ++b) {
      std::vector<Array> constants(candidates.size());
      std::vector<const Array*> operands;
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        if (candidates[i].constant) constants[i] = to_array(*candidates[i].constant);
        operands.push_back(candidates[i].constant ? &constants[i] : &pool_[candidates[i].index].arrays[b]);
        any_floating = any_floating || is_floating(operands.back()->dtype);
        exact = exact && (candidates[i].constant || pool_[candidates[i].index].exact);
      }
      auto values = op.eval({operands, attrs, regions, bindings_[b]});
      if (!values) return false;
      for (const Array& array : *values)
        for (const double value : array.values)
          if (!(std::fabs(value) <= 1000)) return false;
      results.push_back(std::move(*values));
    }
    std::vector<Value*> operands;
    for (const Candidate& each : candidates) {
      if (!each.constant) pool_[each.index].used = true;
      operands.push_back(each.constant ? build_.constant(*each.constant) : pool_[each.index].value);
    }
    const std::vector<Value*> made = build_.call(op.name, operands, std::move(attrs), {}, std::move(regions));
    if (build_.failed()) return false;
    for (std::size_t i = 0; i < made.size(); ++i) {
      Grown grown{made[i], {}, exact && !(any_floating && (jumps(op) || !is_floating(made[i]->type.dtype)))};
      for (const auto& values : results) grown.arrays.push_back(values[i]);
      pool_.push_back(std::move(grown));
    }
    return true;
  }

 public:
  Status status() const { return build_.status(); }

 private:
  Random& random_;
  Graph graph_;
  Builder build_{graph_};
  std::vector<Bindings> bindings_ = {{{"batch_size", 1}, {"sequence_length", 5}},
                                     {{"batch_size", 3}, {"sequence_length", 2}}};
  std::vector<Grown> pool_;
  bool may_add_inputs_ = true;
};

inline RandomGraph random_graph(std::uint64_t seed) {
  Random random(seed);
  GraphGrower grower(random);
  const Dim batch = Dim::symbol("batch_size"), steps = Dim::symbol("sequence_length");
  const std::vector<Shape> shapes = {
      {batch, steps, 6}, {batch, steps, 6}, {batch, 4}, {batch, steps, 1}, {2, 3, 4}, {1, 5}, {batch, 1, 8}, {steps}};
  for (std::size_t i = 1 + random.below(3); i > 0; --i) grower.add_random_input({DType::f32, random.pick(shapes)});
  grower.grow(1 + random.below(12));
  RandomGraph result;
  std::vector<std::vector<Array>> inputs(grower.bindings().size());
  std::size_t outputs = 0;
  for (const auto& each : grower.pool()) {
    if (each.value->producer == nullptr)
      for (std::size_t b = 0; b < inputs.size(); ++b) inputs[b].push_back(each.arrays[b]);
    if (each.used || each.value->producer == nullptr) continue;
    grower.graph().add_output("y" + std::to_string(outputs++), each.value);
    result.exact.push_back(each.exact);
  }
  result.inputs = std::move(inputs);
  result.graph = std::move(grower.graph());
  return result;
}

}  // namespace taper
