// Programs of torch.export.save (.pt2): the archive, its weights, and the program as plain structs. The schema is
// PyTorch's torch/_export/serde/schema.py.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/dim.h"
#include "base/tensor.h"
#include "formats/size_condition.h"

namespace taper::exported {

struct Graph;

// The name of a tensor or of a symbolic number, bool or float of the graph.
struct ValueName {
  std::string name;
};
// A graph that is handed to a higher-order operator.
struct Subgraph {
  std::string name;
  std::shared_ptr<const Graph> graph;
};
struct ComplexNumber {
  double real = 0, imag = 0;
};
struct ComplexDType {};
// What taper has no use for: custom objects, dtypes that it doesn't know. Only calls that need it fail.
struct Unread {
  std::string what;  // "an operator as an argument"
};

// An argument of a call. Devices, layouts and memory formats change no number: they are nothing, as None is.
struct Argument {
  using List = std::vector<Argument>;
  std::variant<std::monostate, ValueName, std::int64_t, double, bool, std::string, DType, Subgraph, List, Unread,
               ComplexNumber, ComplexDType>
      value;

  bool is_none() const { return std::holds_alternative<std::monostate>(value); }
  template <class T>
  const T* as() const {
    return std::get_if<T>(&value);
  }
};

struct NamedArgument {
  std::string name;  // of the operator's schema; empty for higher-order operators
  Argument value;
};

struct Node {
  std::string target;  // "torch.ops.aten.add.Tensor", "_operator.mul"
  std::vector<NamedArgument> inputs;
  std::vector<Argument> outputs;
  std::string module_path;  // "encoder.layers.0.linear1"; "" for the root
  std::string source_line;  // "line 12 of model.py"; "" if the file doesn't say
};

struct TensorMeta {
  std::optional<DType> dtype;  // nothing for those that taper doesn't read
  Shape sizes;
  std::optional<DType> parts = std::nullopt;  // of complex numbers, which have no dtype: that of their parts
  std::string unread = {};                    // what was wrong with a size that is unknown (overflowed)
};

struct Graph {
  std::vector<Argument> inputs;
  std::vector<Argument> outputs;
  std::vector<Node> nodes;
  std::map<std::string, TensorMeta, std::less<>> tensors;  // by name
  std::map<std::string, Dim, std::less<>> integers;        // symbolic ones, by name
};

enum class InputKind : std::uint8_t { user, parameter, buffer, constant_tensor, constant, custom_object, token };
struct Input {
  InputKind kind = InputKind::user;
  Argument argument;   // a name of the graph, or the value that the program was made for
  std::string target;  // of parameters, buffers and constants: the name among the weights
};

enum class OutputKind : std::uint8_t { user, buffer_mutation, parameter_mutation, input_mutation, gradient, token };
struct Output {
  OutputKind kind = OutputKind::user;
  Argument argument;
  std::string target;  // what is mutated
};

struct SymbolInfo {
  std::optional<std::int64_t> least, most;
  std::optional<std::int64_t> usual;  // the size that the program was made with
};

struct Program {
  std::string torch_version;   // "2.13.0+cpu"
  std::string schema_version;  // "8.20"
  Graph graph;
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  std::vector<std::string> output_names;  // of the user's outputs in their order: of dict keys, or "output", "output_1"
  std::map<std::string, SymbolInfo, std::less<>> symbols;
  std::vector<Dim> zeros;                 // expressions of sizes that are 0 in every run, as the program's guards say
  std::vector<SizeCondition> conditions;  // all that its guards say of sizes
  std::size_t unread_guards = 0;          // on open sizes, which say something else
  std::string unread_guard;               // the first of them, shortened
  std::map<std::string, Tensor, std::less<>> weights;  // parameters, buffers, constants: views of the archive
  // Those of complex numbers: tensors of reals, whose last axis is that of real and imaginary part.
  std::map<std::string, Tensor, std::less<>> complex_weights;
  std::map<std::string, std::string, std::less<>> unread;  // weights that can't be read, and why: "is a sparse tensor"
};

// Whether the bytes are a zip archive with an exported program.
bool is_exported_program(const SharedBytes& bytes);

// Reads the layouts of PyTorch 2.5 to 2.7 (serialized_exported_program.json beside pickled weights), 2.8 (models/ with
// pickled weights) and 2.9 on (models/ with raw weights), schemas 7 and 8. Stored weights stay in `bytes`. Errors: not
// such an archive, another schema (found, expected), several programs, JSON that doesn't follow the schema, weights
// that are missing, shorter than declared, or reach outside of their storage. Time and memory are linear in the bytes.
Expected<Program> read_exported_program(const SharedBytes& bytes);

}  // namespace taper::exported
