// What the readers of ONNX's operators work with: one node, its operands and attributes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/onnx.h"
#include "ops/builder.h"

namespace taper::onnx_reader {

// Integers that may be symbolic, as the arithmetic of shapes has them: row-major, of a fixed shape.
struct Known {
  DType dtype = DType::i64;
  std::vector<std::int64_t> shape;
  std::vector<Dim> elements;
};

// What a name of the file stands for. A value that is known symbolically gets nodes when somebody needs it as a tensor.
struct Slot {
  Value* value = nullptr;
  std::shared_ptr<const Known> known;
  // A sequence of tensors whose length is known, or an optional without content.
  std::shared_ptr<const std::vector<Slot>> sequence;
  bool absent_optional = false;
  // ONNX's element type, where ours is another: float8 and float4 are kept as float32, int4 and int2 as int8.
  int element = 0;
};

class Importer;
struct Row;

// One node under import. Like the builder's, its first error sticks.
class Call {
 public:
  Call(Importer& importer, Builder& builder, const onnx::NodeProto& node, std::int64_t version,
       std::vector<Slot> inputs);

  Builder& build;
  Importer& importer;
  const onnx::NodeProto& node;
  const std::int64_t version;  // of the operator set

  // -------------------------------------------------------------------------------------------------------- operands
  std::size_t inputs() const { return inputs_.size(); }
  bool has(std::size_t i) const { return i < inputs_.size() && present_[i]; }
  // An error, and an empty slot, where the node has no such operand.
  Slot& slot(std::size_t i);
  // The operand as a value of the graph: an error, and nullptr, where the node has no such operand.
  Value* x(std::size_t i);
  // The same where the node need not have it: nullptr then.
  Value* optional(std::size_t i) { return has(i) ? x(i) : nullptr; }
  std::vector<Value*> all();
  // Whether one is missing of those that every node of the row has, which is an error.
  bool lacks_operands(const Row& row);
  const Type& type(std::size_t i);
  const Shape& shape(std::size_t i) { return type(i).shape; }
  DType dtype(std::size_t i) { return type(i).dtype; }
  std::size_t rank(std::size_t i) { return shape(i).size(); }

  // The contents of an integer operand that has to be known, symbolic or not; an error otherwise.
  std::optional<Known> known(std::size_t i);
  // The same where it need not be.
  std::optional<Known> known_if_any(std::size_t i);
  // Numbers that have to be known. Empty after an error.
  std::vector<std::int64_t> integers_of(std::size_t i);
  std::vector<double> reals_of(std::size_t i);
  std::optional<Tensor> constant(std::size_t i);         // of an operand that is constant
  std::optional<Tensor> needed_constant(std::size_t i);  // an error if it isn't

  // ------------------------------------------------------------------------------------------------------ attributes
  const onnx::AttributeProto* attribute(std::string_view name);
  bool has_attribute(std::string_view name) { return attribute(name) != nullptr; }
  std::int64_t integer(std::string_view name, std::int64_t fallback);
  bool flag(std::string_view name, bool fallback) { return integer(name, fallback ? 1 : 0) != 0; }
  double real(std::string_view name, double fallback);
  std::string text(std::string_view name, std::string_view fallback);
  std::optional<std::vector<std::int64_t>> integers(std::string_view name);
  std::optional<std::vector<double>> reals(std::string_view name);
  std::optional<std::vector<std::string>> texts(std::string_view name);
  std::optional<Tensor> tensor(std::string_view name);
  const onnx::GraphProto* graph(std::string_view name);  // an error if there is none
  // Attributes that change nothing here.
  void ignore(std::initializer_list<std::string_view> names);
  // The first attribute that nobody has asked for.
  const onnx::AttributeProto* unread() const;

  // `axis` counted from the front, an error if there is no such axis. 0 after an error.
  std::int64_t axis(std::int64_t axis, std::size_t rank);

  // --------------------------------------------------------------------------------------------------------- results
  std::size_t outputs() const { return static_cast<std::size_t>(node.output_size()); }
  bool wants(std::size_t i) const { return i < outputs() && !node.output(static_cast<int>(i)).empty(); }
  // The name that result i has in the file, for the operator that computes it.
  std::string name(std::size_t i = 0) const { return i < outputs() ? node.output(static_cast<int>(i)) : ""; }
  void set(std::size_t i, Value* value);
  void set(std::size_t i, Slot slot);
  std::vector<Slot>& results() { return results_; }

  void fail(std::string message, std::string hint = {});
  bool failed() const { return build.failed(); }

  // ---------------------------------------------------------------------------------------------------------- pieces
  // A constant number of a dtype.
  Value* number(double value, DType dtype) const;
  Value* vector(const std::vector<std::int64_t>& values, DType dtype = DType::i64) const;
  // The same value in another dtype; itself if it has it.
  Value* cast(Value* value, DType dtype, std::string_view name = {}) const;
  Value* reshape(Value* value, Shape shape, std::string_view name = {}) const;
  Value* permute(Value* value, std::vector<std::int64_t> dims, std::string_view name = {}) const;
  Value* unsqueeze(Value* value, std::vector<std::int64_t> dims) const;
  Value* squeeze(Value* value, std::vector<std::int64_t> dims) const;
  Value* slice(Value* value, std::int64_t dim, std::int64_t start, Dim end, std::string_view name = {}) const;
  Value* full(Shape shape, double value, DType dtype) const;
  // start, start + 1, ...
  Value* arange(const Dim& length, const Dim& start = 0, DType dtype = DType::i64) const;
  Value* binary(std::string_view op, Value* a, Value* b) const { return build(op, {a, b}); }
  Value* binary(std::string_view op, Value* a, double b) const;
  // The results of an operator of ONNX's own set, in a version of it, with those attributes of this node that `kept`
  // names. Nullptr stands for operands that are not given, and for results after an error.
  std::vector<Value*> apply(std::string_view op, std::int64_t of_version, const std::vector<Value*>& operands,
                            std::initializer_list<std::string_view> kept = {}, std::size_t results = 1);

 private:
  // An operand whose value the reader needs and the file computes.
  void fail_for_unknown(std::size_t i);

  std::vector<Slot> inputs_;
  Slot missing_;  // stands for operands that are not there
  std::vector<bool> present_;
  std::vector<Slot> results_;
  std::set<std::string, std::less<>> read_;
};

// x as float32, rounded to the numbers that one of ONNX's small float types has. Numbers beyond the largest saturate,
// or become NaN or infinity. Defined with the casts.
Value* small_float(Call& call, Value* x, int element, bool saturate);

// A row of the table: which of our operators an operator of ONNX is, from a version of its operator set on.
struct AttrPair {
  std::string_view onnx;
  std::string_view ours;
  Attr fallback;
};
struct Row {
  std::string_view op;
  std::size_t operands = 1;  // so many a node has at least, none of them left out
  std::int64_t since = 1;
  std::string_view ours = {};  // with the operands as they are
  std::vector<AttrPair> attrs = {};
  void (*read)(Call&) = nullptr;  // where it is not one to one
  std::string_view domain = {};
};

// The families, one function per file.
std::vector<Row> elementwise_rows();
std::vector<Row> matrix_rows();
std::vector<Row> reduce_rows();
std::vector<Row> shape_rows();
std::vector<Row> pad_rows();
std::vector<Row> index_rows();
std::vector<Row> image_rows();
std::vector<Row> norm_rows();
std::vector<Row> resample_rows();
std::vector<Row> sampling_rows();
std::vector<Row> quantized_rows();
std::vector<Row> recurrent_rows();
std::vector<Row> attention_rows();
std::vector<Row> loss_rows();
std::vector<Row> control_rows();
std::vector<Row> sequence_rows();
std::vector<Row> signal_rows();
std::vector<Row> contrib_rows();
std::vector<Row> contrib_attention_rows();
std::vector<Row> contrib_quantized_rows();

// The domain of the operators that ONNX Runtime adds, which its optimizers and quantizers write.
inline constexpr std::string_view kContrib = "com.microsoft";

// The row that reads an operator in a version of its operator set; nullptr if there is none.
const Row* find_row(std::string_view domain, std::string_view op, std::int64_t version);
const std::vector<Row>& rows();

// Tensors of ONNX's dtypes, read into ours: float8 and float4 as float32, int4 and int2 as int8, unsigned ones as
// uint8.
std::optional<DType> dtype_of_element(int element);

}  // namespace taper::onnx_reader
