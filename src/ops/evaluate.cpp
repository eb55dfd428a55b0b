#include "ops/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "ops/grid.h"
#include "ops/table.h"

namespace taper {
namespace {

// Solves `dim` = `size` for the one symbol that has no value yet, where `dim` is a*symbol + b.
bool solve_dim(const Dim& dim, std::int64_t size, Bindings& bindings) {
  std::map<std::string, Dim, std::less<>> known;
  for (const auto& [symbol, value] : bindings) known.emplace(symbol, Dim(value));
  Dim rest = substitute(dim, known) - Dim(size);
  const std::vector<Dim::Term> terms = rest.terms();
  if (rest.overflowed() || terms.empty() || terms.size() > 2) return false;
  // The constant comes first or not at all: terms are sorted by their symbols.
  const Dim::Term& term = terms.back();
  const std::int64_t constant = terms.size() == 2 ? terms.front().coefficient : 0;
  const bool linear = term.symbols.size() == 1 && !dim_function(term.symbols[0]) &&
                      (terms.size() == 1 || terms.front().symbols.empty());
  if (!linear || constant == std::numeric_limits<std::int64_t>::min()) return false;
  if (-constant % term.coefficient != 0 || -constant / term.coefficient < 0) return false;
  bindings.emplace(term.symbols[0], -constant / term.coefficient);
  return true;
}

Status bind_dim(const Dim& dim, std::int64_t size, Bindings& bindings) {
  if (const auto symbol = dim.as_symbol(); symbol && !bindings.contains(*symbol)) {
    bindings.emplace(*symbol, size);
    return {};
  }
  const auto expected = dim.evaluate(bindings);
  // Sizes of several symbols that no input names alone can't be solved; they stay unchecked.
  if (!expected) solve_dim(dim, size, bindings);
  if (expected && *expected != size) return fail("size {} where {} is {}", size, dim.text(), *expected);
  return {};
}

}  // namespace

Expected<Bindings> bind_symbols(const std::vector<Value*>& values,
                                const std::vector<std::vector<std::int64_t>>& shapes) {
  if (values.size() != shapes.size()) return fail("{} inputs, expected {}", shapes.size(), values.size());
  Bindings bindings;
  // Plain symbols first, so that expressions of them can be checked whatever the order.
  for (const bool plain : {true, false})
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Shape& expected = values[i]->type.shape;
      const auto mismatch = [&] {
        return fail("input '{}' has shape {}, expected {}", values[i]->name, shape_text(std::span(shapes[i])),
                    shape_text(expected));
      };
      if (expected.size() != shapes[i].size()) return mismatch();
      for (std::size_t axis = 0; axis < expected.size(); ++axis)
        if (expected[axis].as_symbol().has_value() == plain && !bind_dim(expected[axis], shapes[i][axis], bindings))
          return mismatch();
    }
  return bindings;
}

namespace {

// Large float32 numbers swallow what is added to them: a score beside the -1e9 of a mask. Networks count on that where
// a mask leaves nothing, whose rows come out uniform.
void absorb(Array& array) {
  constexpr double kLarge = 1 << 20;
  if (array.dtype != DType::f32) return;
  for (double& value : array.values)
    if (std::abs(value) >= kLarge && std::abs(value) <= std::numeric_limits<float>::max())
      value = static_cast<float>(value);
}

}  // namespace

struct PreparedGraph::Impl {
  const Graph& graph;
  bool keep_constants;
  const ValueObserver* observer = nullptr;
  bool in_loop = false;  // beyond the first step
  std::vector<const Node*> nodes;
  std::unordered_map<const Value*, std::size_t> last_use;  // index into nodes; nodes.size() for outputs
  std::unordered_map<const Value*, Array> constants;
  std::unordered_set<const Value*> fixed;  // computed from constants alone: once, where constants are kept

  Impl(const Graph& g, bool keep) : graph(g), keep_constants(keep) {
    for (const Node& node : graph.nodes()) nodes.push_back(&node);
    if (keep)
      for (const Node* node : nodes)
        if (is_fixed(*node)) fixed.insert(node->results.begin(), node->results.end());
    for (std::size_t i = 0; i < nodes.size(); ++i)
      for (const Value* operand : nodes[i]->operands) last_use[operand] = i;
    for (const Output& output : graph.outputs()) last_use[output.value] = nodes.size();
  }

  class Run;

  Expected<std::vector<Array>> run(std::vector<Array> inputs);
  bool is_fixed(const Node& node) const {
    if (node.operands.empty() || !node.regions.empty()) return false;
    const bool follows = std::ranges::all_of(
        node.operands, [&](const Value* x) { return x == nullptr || constant_of(x) != nullptr || fixed.contains(x); });
    // Open sizes may be measured anew in each step.
    return follows && !names_symbols(node) && std::ranges::all_of(node.results, [](const Value* result) {
             return constant_sizes(result->type.shape).has_value();
           });
  }
  // Whether nothing is new of an input: a loop passes it on as it is.
  bool passes_on(std::size_t input) const {
    const auto& outputs = graph.outputs();
    return in_loop && (outputs.size() != graph.inputs().size() || outputs[input].value == graph.inputs()[input]);
  }
  // Called with each value that is no constant before anything uses it.
  void complete(const Value& value, Array& array) const {
    wrap_integers(array);
    absorb(array);
    if (value.quantization != nullptr) round_to_grid(array, *value.quantization);
    if (observer != nullptr) (*observer)(value, array);
  }
};

namespace {

constexpr std::string_view kContradiction = "what is measured contradicts what is known of sizes";

// Symbols of the results' shapes, from the shapes that they have.
Status bind_results(const Node& node, const std::vector<Array>& results, Bindings& bindings) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Shape& expected = node.results[i]->type.shape;
    for (std::size_t axis = 0; axis < expected.size(); ++axis)
      if (auto status = bind_dim(expected[axis], results[i].shape[axis], bindings); !status)
        return fail("{}: {}", kContradiction, status.error().message);
  }
  return {};
}

// Rows of a table, and the indices that name them there.
struct PickedRows {
  Array rows, index;
};

// Of a large table only the rows that are named become doubles. Nothing if most are, or where an index names none.
std::optional<PickedRows> pick_rows(const Tensor& table, const Array& index) {
  constexpr std::int64_t kLarge = 1 << 20;  // bytes
  const std::int64_t most = table.shape.empty() ? 0 : table.shape[0];
  if (table.byte_count() < kLarge || static_cast<std::int64_t>(index.values.size()) > most / 2) return std::nullopt;
  PickedRows picked{{table.dtype, table.shape, {}}, index};
  std::unordered_map<std::int64_t, double> places;
  for (double& entry : picked.index.values) {
    if (!(entry >= 0 && entry < static_cast<double>(most))) return std::nullopt;
    const auto row = static_cast<std::int64_t>(entry);
    const auto [place, fresh] = places.try_emplace(row, static_cast<double>(places.size()));
    if (fresh) {
      const Array values = to_array(leading_part(table, row, 1));
      picked.rows.values.insert(picked.rows.values.end(), values.values.begin(), values.values.end());
      picked.rows.dtype = values.dtype;
    }
    entry = place->second;
  }
  picked.rows.shape[0] = static_cast<std::int64_t>(places.size());
  return picked;
}

// A constant as kernels see it.
Array constant_array(const Value& value, const Tensor& tensor) {
  Array array = to_array(tensor);
  if (value.quantization != nullptr) round_to_grid(array, *value.quantization);
  return array;
}

}  // namespace

// One run: the values that are still needed.
class PreparedGraph::Impl::Run {
 public:
  explicit Run(Impl& of) : of_(of) {}

  Status take_inputs(std::vector<Array> inputs);
  Status compute(std::size_t index);  // that node
  std::vector<Array> take_outputs();

 private:
  const Array* find(const Value* value);
  std::optional<PickedRows> pick_from(const Op& op, const Node& node);
  Expected<std::vector<Array>> results_of(const Node& node);
  void keep(const Node& node, std::vector<Array> results);

  Impl& of_;
  Bindings bindings_;
  std::unordered_map<const Value*, Array> values_;
};

Status PreparedGraph::Impl::Run::take_inputs(std::vector<Array> inputs) {
  const auto& expected = of_.graph.inputs();
  std::vector<std::vector<std::int64_t>> shapes;
  shapes.reserve(inputs.size());
  for (const Array& input : inputs) shapes.push_back(input.shape);
  TAPER_ASSIGN(bindings_, bind_symbols(expected, shapes));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!of_.passes_on(i)) of_.complete(*expected[i], inputs[i]);
    values_[expected[i]] = std::move(inputs[i]);
  }
  return {};
}

// Constants are converted when they are first used, not when they are defined: weights need not live all at once.
const Array* PreparedGraph::Impl::Run::find(const Value* value) {
  if (value == nullptr) return nullptr;
  if (of_.fixed.contains(value)) return &of_.constants.at(value);
  const Tensor* tensor = constant_of(value);
  if (tensor == nullptr) return &values_.at(value);
  auto& store = of_.keep_constants ? of_.constants : values_;
  const auto found = store.find(value);
  return &(found != store.end() ? found : store.emplace(value, constant_array(*value, *tensor)).first)->second;
}

std::optional<PickedRows> PreparedGraph::Impl::Run::pick_from(const Op& op, const Node& node) {
  if (op.picks_rows == nullptr || !op.picks_rows(node) || of_.fixed.contains(node.results[0])) return std::nullopt;
  const Tensor* table = constant_of(node.operands[0]);
  if (table == nullptr || node.operands[0]->quantization != nullptr) return std::nullopt;
  return pick_rows(*table, *find(node.operands[1]));
}

Expected<std::vector<Array>> PreparedGraph::Impl::Run::results_of(const Node& node) {
  const Op& op = op_of(node);
  std::vector<const Array*> operands;
  operands.reserve(node.operands.size());
  const auto picked = pick_from(op, node);
  for (const Value* operand : node.operands) {
    const bool is_table = picked && operands.empty();
    operands.push_back(is_table ? &picked->rows : find(operand));
  }
  if (picked) operands[1] = &picked->index;
  Array rounded;
  if (op.is_hybrid(node)) {
    rounded = *operands[0];
    round_dynamically(rounded, op.quantized.input_axes);
    operands[0] = &rounded;
  }
  TAPER_ASSIGN(std::vector<Array> results, op.eval({operands, node.attrs, node.regions, bindings_, of_.observer}));
  if (op.measures_sizes) TAPER_TRY(bind_results(node, results, bindings_));
  return results;
}

void PreparedGraph::Impl::Run::keep(const Node& node, std::vector<Array> results) {
  for (std::size_t k = 0; k < results.size() && k < node.results.size(); ++k) {
    const Value* value = node.results[k];
    of_.complete(*value, results[k]);
    if (of_.fixed.contains(value))
      of_.constants[value] = std::move(results[k]);
    else if (of_.last_use.contains(value))
      values_[value] = std::move(results[k]);
  }
}

Status PreparedGraph::Impl::Run::compute(std::size_t index) {
  const Node& node = *of_.nodes[index];
  if (node.op == "constant" || of_.constants.contains(node.results[0])) return {};
  auto results = results_of(node);
  if (!results) {
    Error error = std::move(results).error();
    error.message = fmt::format("{}: {}", node.op, error.message);
    return std::unexpected(within(std::move(error), fmt::format("in node '{}'", node.results[0]->name)));
  }
  for (const Value* operand : node.operands)
    if (operand != nullptr && of_.last_use[operand] == index) values_.erase(operand);
  keep(node, *std::move(results));
  return {};
}

// Values leave by moving: a loop passes whole sequences on unchanged in every step.
std::vector<Array> PreparedGraph::Impl::Run::take_outputs() {
  const std::vector<Output>& leaving = of_.graph.outputs();
  std::vector<Array> outputs(leaving.size());
  std::unordered_map<const Value*, std::size_t> moved;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Value* value = leaving[i].value;
    const auto [first, fresh] = moved.try_emplace(value, i);
    if (!fresh)
      outputs[i] = outputs[first->second];
    else if (constant_of(value) != nullptr || of_.fixed.contains(value))
      outputs[i] = *find(value);
    else
      outputs[i] = std::move(values_.at(value));
  }
  return outputs;
}

Expected<std::vector<Array>> PreparedGraph::Impl::run(std::vector<Array> inputs) {
  Run run(*this);
  TAPER_TRY(run.take_inputs(std::move(inputs)));
  for (std::size_t i = 0; i < nodes.size(); ++i) TAPER_TRY(run.compute(i));
  return run.take_outputs();
}

PreparedGraph::PreparedGraph(const Graph& graph, bool keep_constants)
    : impl_(std::make_unique<Impl>(graph, keep_constants)) {}
PreparedGraph::~PreparedGraph() = default;
PreparedGraph::PreparedGraph(PreparedGraph&&) noexcept = default;

Expected<std::vector<Array>> PreparedGraph::run(std::vector<Array> inputs) {
  return impl_->run(std::move(inputs));
}

void PreparedGraph::observe(const ValueObserver* observer, bool in_loop) {
  impl_->observer = observer;
  impl_->in_loop = in_loop;
}

Expected<std::vector<Array>> evaluate(const Graph& graph, std::vector<Array> inputs) {
  return PreparedGraph(graph, false).run(std::move(inputs));
}

bool contradicts_sizes(const Error& error) {
  return error.message.find(kContradiction) != std::string::npos;
}

Bindings with_measured_sizes(const Graph& graph, Bindings sizes) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) sizes = with_measured_sizes(*region, std::move(sizes));
    if (!op_of(node).measures_sizes) continue;
    const auto most = element_count(node.operands[0]->type.shape).evaluate(sizes);
    for (const Value* result : node.results)
      for (const Dim& dim : result->type.shape)
        for (const std::string& symbol : symbols_of(dim)) sizes.try_emplace(symbol, most.value_or(1));
  }
  return sizes;
}

}  // namespace taper
