// The reader of one ONNX model: names, scopes, subgraphs, functions.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "frontend/counts.h"
#include "frontend/onnx_call.h"
#include "frontend/program.h"
#include "frontend/read_back.h"

namespace taper::onnx_reader {

// Names that a graph or function of the file sees. A subgraph sees those around it; where it becomes a region, values
// from outside are inputs of the region (added before it is read) or constants, which are copied into it.
struct Scope {
  const Scope* outer = nullptr;
  Builder* build = nullptr;
  std::unordered_map<std::string, Slot> slots;
  std::map<std::string, std::int64_t, std::less<>> opsets;  // by domain; empty: those of the model
  Measured measured = {};                                   // in the graph under construction
  // Attributes of the call, where the scope is that of a function.
  const std::map<std::string, const onnx::AttributeProto*, std::less<>>* attributes = nullptr;
};

class Importer {
 public:
  Importer(std::shared_ptr<const MappedOnnx> file, OnnxFolder& folder, const ProgramOptions& given)
      : options(given), file_(std::move(file)), model_(file_->model), folder_(folder) {}

  Expected<ImportedProgram> run();

  // Reads the nodes of `graph` into `scope`, whose slots hold its inputs; gives what its outputs stand for.
  Expected<std::vector<Slot>> read_subgraph(const onnx::GraphProto& graph, Scope& scope);
  // What a name stands for in a scope; an error if it is not computed before.
  Expected<Slot> find(Scope& scope, const std::string& name);
  // Names that `graph` takes from around it and that are neither constant nor known symbolically, in order.
  std::vector<std::string> captures(std::span<const onnx::GraphProto* const> graphs, Scope& outer);
  // A slot as a value of the graph under construction.
  Value* materialize(Builder& build, const Slot& slot);
  Expected<Tensor> tensor(const onnx::TensorProto& message, const SharedBytes& raw = {});
  // The types of a node's results that the file declares; nothing where it doesn't.
  const Shape* declared_shape(const std::string& name) const;
  // Remembers that `dim` must be at least or at most a number, where it is one symbol.
  void assume_at_least(const Dim& dim, std::int64_t least);
  void assume_at_most(const Dim& dim, std::int64_t most);
  // Tells the user what was decided for them, once.
  void assume(std::string sentence);
  // Notes that the value of a graph's input has to be known, if `value` is one.
  void want(const Value* value);

  // The results of a row for operands that are all constant and small, computed now; nothing where they are too many,
  // or no plain tensors.
  Expected<std::optional<std::vector<Tensor>>> compute(const Row& row, const onnx::NodeProto& node,
                                                       std::int64_t version, std::span<const Slot> inputs);

  // The results of a row's call, checked.
  Expected<std::vector<Slot>> run_row(const Row& row, Call& call);

  // A symbol for a size that only elements decide.
  Dim fresh_count(const Graph& graph) { return counts_.fresh(graph); }
  // Whether a size may be 0, because elements decide it.
  bool may_be_nothing(const Dim& size) const { return counts_.occur_in(size); }
  Measured& measured() { return scope_->measured; }

  Scope* scope() { return scope_; }
  const std::vector<std::string>& wanted() const { return wanted_; }

  const ProgramOptions& options;

 private:
  Status read_nodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes, Scope& scope);
  Status read_node(const onnx::NodeProto& node, Scope& scope);
  Status call_function(const onnx::FunctionProto& function, const onnx::NodeProto& node, Scope& scope);
  Status read_inputs(Scope& scope);
  Status read_initializers(const onnx::GraphProto& graph, Scope& scope, std::span<const SharedBytes> raw = {});
  Status define(Scope& scope, const std::string& name, Slot slot);
  Expected<Type> input_type(const onnx::ValueInfoProto& input, int& element);
  Expected<Shape> declared_shape(const onnx::ValueInfoProto& input);
  Status free_axes(const onnx::ValueInfoProto& input, Shape& shape);
  void collect_unsupported(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes,
                           const std::map<std::string, std::int64_t, std::less<>>& opsets, int depth);
  std::int64_t opset(const Scope& scope, const std::string& domain) const;
  const onnx::FunctionProto* function(const onnx::NodeProto& node) const;

  std::shared_ptr<const MappedOnnx> file_;  // tensors view its bytes
  const onnx::ModelProto& model_;
  OnnxFolder& folder_;
  ImportedProgram program_;
  std::map<std::string, std::int64_t, std::less<>> opsets_;
  std::map<std::string, const onnx::FunctionProto*, std::less<>> functions_;  // "domain:name"
  std::unordered_map<std::string, Shape> declared_;
  UnsupportedOperators unsupported_;
  std::set<std::string, std::less<>> checked_functions_;
  SymbolNames symbol_names_;
  CountNames counts_;
  std::set<std::string> plain_sizes_;  // symbols that are a size of some input by themselves
  std::vector<std::string> wanted_;
  std::vector<const onnx::FunctionProto*> stack_;
  Scope* scope_ = nullptr;
  std::size_t node_count_ = 0;
  int depth_ = 0;
};

// Symbolic arithmetic on shapes: the results of a node whose operands are known, or nothing if it can't be followed.
std::optional<std::vector<Known>> follow(const Row& row, Call& call);

// onnx_measured.cpp: sizes that the file computes from elements.
// The numbers below a number of one element, i64[count]: none if it is below 0.
Value* measured_range(Call& call, Value* number);
// The sizes that a vector of them holds, of operand i; nothing where it is an input of the graph, or no short vector.
// `measures`: whether any of them is measured.
std::optional<Shape> measured_sizes(Call& call, std::size_t i, bool* measures = nullptr, bool of_inputs = false);
// The sizes that operand i says: known, or measured; an error where they are neither. `of_inputs`: also those that are
// inputs of the network, where any numbers make sense.
std::optional<Shape> operand_sizes(Call& call, std::size_t i, bool of_inputs = false);
// The places where x is not zero, a row of indices each.
Value* nonzero_places(Call& call, Value* x);

// Entries of an axis from one computed place to another, by a step above 0.
Value* computed_slice(Call& call, Value* x, std::int64_t axis, Value* from, Value* to, std::int64_t step);
// onnx_entries.cpp: entry `i` of a vector, as far as its making shows it: of integers, or of real numbers.
std::optional<Dim> entry_of(const Importer& importer, const Value* vector, std::int64_t i);
struct Fraction {
  Dim over, under = 1;
};
std::optional<Fraction> real_entry_of(const Importer& importer, const Value* vector, std::int64_t i);

// onnx_shape.cpp: parts of values, where places are symbols.
// Whether it is 0 or more for all sizes that symbols can stand for, which are not negative.
bool never_negative(const Dim& dim);
// Whether a <= b for all sizes that symbols can stand for: 1 and more, but 0 and more of what elements count.
bool surely_at_most(const Importer& importer, const Dim& a, const Dim& b);

}  // namespace taper::onnx_reader
