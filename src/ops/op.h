// One row per operator: what it takes, what it means, and how each target spells it.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/tflite.h"
#include "ir/graph.h"
#include "ops/array.h"

namespace taper {

class Builder;

enum class Target { onnx, tflite, tensorflow };
std::string_view target_name(Target target);

enum class AttrKind { flag, integer, real, text, dtype, integers, shape, tensor };

struct AttrSpec {
  std::string_view name;
  AttrKind kind;
  std::optional<Attr> fallback = std::nullopt;  // none: the attribute must be given
};

// A call of an operator as the shape rule sees it.
struct InferCall {
  std::span<Value* const> operands;
  const Attrs& attrs;
  const std::vector<std::unique_ptr<Graph>>& regions;

  bool has(std::size_t i) const { return i < operands.size() && operands[i] != nullptr; }
  const Type& type(std::size_t i) const { return operands[i]->type; }
  const Shape& shape(std::size_t i) const { return type(i).shape; }
};

// Called with each value of a graph, and of its regions, as an evaluation computes them; constants are left out.
using ValueObserver = std::function<void(const Value&, const Array&)>;

// A call as the reference evaluation sees it: symbols have values.
struct EvalCall {
  std::span<const Array* const> operands;
  const Attrs& attrs;
  const std::vector<std::unique_ptr<Graph>>& regions;
  const Bindings& bindings;
  const ValueObserver* observer = nullptr;  // for the values of the regions

  bool has(std::size_t i) const { return i < operands.size() && operands[i] != nullptr; }
  const Array& operand(std::size_t i) const { return *operands[i]; }
};

using InferFn = Expected<std::vector<Type>> (*)(const InferCall&);
using EvalFn = Expected<std::vector<Array>> (*)(const EvalCall&);
// Rebuilds the call in simpler operators. `node` is the call in the old graph; `operands` are its operands in the new
// one.
using ExpandFn = std::vector<Value*> (*)(Builder& build, const Node& node, std::span<Value* const> operands);

// One input of a target's operator: an operand of ours, all operands from one on, an attribute of ours that the target
// takes as a constant integer tensor, or a constant that follows from the call.
struct SpelledInput {
  std::size_t operand = 0;
  bool rest = false;           // this operand and all after it
  std::string_view attr = {};  // the attribute, as integers; of rank 0 where its kind is integer
  std::vector<std::int64_t> (*make)(const Node&) = nullptr;  // an integer vector
  std::int64_t columns = 0;                                  // what `make` gives as a matrix of so many columns
};
constexpr SpelledInput operand(std::size_t i) {
  return {.operand = i};
}
constexpr SpelledInput operands_from(std::size_t i) {
  return {.operand = i, .rest = true};
}
constexpr SpelledInput attr_tensor(std::string_view name) {
  return {.attr = name};
}
constexpr SpelledInput made(std::vector<std::int64_t> (*make)(const Node&)) {
  return {.make = make};
}
constexpr SpelledInput made_matrix(std::int64_t columns, std::vector<std::int64_t> (*make)(const Node&)) {
  return {.make = make, .columns = columns};
}

// A plain vector as a matrix of so many columns, which divide its length.
Tensor as_matrix(Tensor vector, std::int64_t columns);

// In each spelling, `dtypes` are those that the operator takes in its first operand; empty: all that the target has.
struct OnnxSpelling {
  std::string_view op_type = {};  // empty: not an ONNX operator
  std::vector<SpelledInput> inputs = {};
  std::vector<DType> dtypes = {};
  std::vector<std::pair<std::string_view, std::string_view>> attrs = {};  // ONNX name, our name
  std::vector<NamedAttr> fixed = {};                                      // ONNX attributes that never vary
  bool (*fits)(const Node&) = nullptr;                                    // where not every call can be spelled
  std::vector<NamedAttr> (*made_attrs)(const Node&) = nullptr;            // ONNX attributes that follow from the call
  std::vector<std::string_view> regions = {};                             // the attributes that hold the regions
  bool captures = false;  // there the regions have no inputs: they see the operands under their names
};

// Reads and writes the options table of one builtin operator, both from one list of fields.
struct TfliteOptions {
  std::function<void(const Node&, tflite::BuiltinOptionsUnion&)> write;
  std::function<Status(const tflite::BuiltinOptionsUnion&, Attrs&)> read;
};

// A builtin operator in a version, and the first runtime that has it.
struct TfliteVersion {
  int number = 1;
  std::string_view since;
};

// A dtype that a builtin operator takes in its first operand, and from which version on.
struct TfliteDType {
  DType dtype;
  TfliteVersion version;
};

struct TfliteSpelling {
  std::optional<tflite::BuiltinOperator> builtin = std::nullopt;
  int version = 1;
  std::string_view since = {};  // the first runtime with this version
  std::vector<SpelledInput> inputs = {};
  TfliteOptions options = {};
  std::vector<TfliteDType> dtypes = {};
  TfliteVersion (*version_for)(const Node&) = nullptr;  // where the version depends on the call
  bool (*fits)(const Node&) = nullptr;                  // where not every call can be spelled
  // Restores attributes from the inputs made by `made`: `constants[i]` is the constant value of input i of the file's
  // operator, null if it isn't one. For attributes that neither options nor attr_tensor inputs hold.
  Status (*read_inputs)(std::span<const Tensor* const> constants, Attrs& attrs) = nullptr;
  // Completes attributes that the file leaves to the operands' types: a size of -1, an end counted from the back.
  Status (*read_operands)(std::span<Value* const> operands, Attrs& attrs) = nullptr;
  // The subgraphs of the regions, in the operator's options; none read: it names none.
  void (*write_regions)(std::span<const std::int32_t> subgraphs, tflite::BuiltinOptionsUnion&) = nullptr;
  std::vector<std::int32_t> (*read_regions)(const tflite::BuiltinOptionsUnion&) = nullptr;
  // The operand whose constant is stored as float16 behind a DEQUANTIZE: XNNPACK takes it as it is, and otherwise the
  // kernel computes it once, as long as an interpreter lives.
  std::optional<std::size_t> half_operand = std::nullopt;

  TfliteVersion version_of(const Node& node) const;
};

// A scale and zero point.
struct FixedGrid {
  float scale = 1;
  std::int64_t zero_point = 0;
};

// How TFLite's kernels compute an operator on quantised values. A version of number 0: there is no such kernel. Calls
// are told apart by their values' quantization: a result with one is computed by integers, a float result on a
// quantised weight by a hybrid kernel, which rounds x to 255 steps between its extremes before it multiplies integers.
struct QuantizedForm {
  TfliteVersion int8 = {0, {}};    // on int8 values, per tensor
  TfliteVersion int16 = {0, {}};   // on int16 values of zero point 0, int8 weights
  TfliteVersion hybrid = {0, {}};  // float32 in and out, int8 weights
  TfliteVersion hybrid_int4 = {0, {}};
  bool hybrid_blocks = false;                        // int4 weights may have a scale per block
  std::optional<std::size_t> weight = {};            // the operand whose constant has symmetric scales
  std::int64_t (*channels)(const Node&) = {};        // the axis of the weight with a scale for each entry
  std::size_t input_axes = 1;                        // last axes of x over which a hybrid kernel takes the extremes
  std::optional<std::size_t> bias = {};              // int32, beside int16 values int64, of scale s_x s_weight
  bool shares = false;                               // operands and results lie on one grid
  bool chooses = false;                              // elements only move, or are chosen: max(x, c) before is as after
  std::optional<FixedGrid> grid8 = {}, grid16 = {};  // of the result, where kernels know only one
  bool (*fits)(const Node&) = nullptr;               // where kernels don't compute every call on integers
};

// An attribute that names an element type: that of an operand, or one that never varies.
struct TensorflowType {
  std::string_view attr;
  std::size_t operand = 0;
  std::optional<DType> fixed = std::nullopt;
};

// Attributes that are computed from a call, by name, and read back from their values in the same order.
struct TensorflowComputed {
  std::vector<std::string_view> attrs = {};
  std::vector<std::int64_t> (*write)(const Node&) = nullptr;
  Status (*read)(std::span<const std::int64_t> values, Attrs& attrs) = nullptr;
};

// The attributes of an operator with regions: which name their functions, which list the types of what these take and
// give. Where they carry values, the last function passes on what the functions read.
struct TensorflowRegions {
  std::vector<std::string_view> functions = {};
  std::string_view argument_types = {};
  std::string_view result_types = {};
  bool carries = false;
};

// Inputs made by `made` or `attr_tensor` are int32 constants. `read_inputs` and `read_operands` are as for TFLite.
struct TensorflowSpelling {
  std::string_view op = {};            // empty: not a TensorFlow operator
  std::string_view result = "output";  // the name of its results, which functions refer to
  std::vector<SpelledInput> inputs = {};
  std::vector<DType> dtypes = {};
  std::vector<TensorflowType> types = {{"T"}};
  std::vector<std::pair<std::string_view, std::string_view>> attrs = {};  // TensorFlow's name, our name
  std::string_view count = {};                                            // attribute that counts the operands
  TensorflowComputed computed = {};
  bool (*fits)(const Node&) = nullptr;
  Status (*read_inputs)(std::span<const Tensor* const> constants, Attrs& attrs) = nullptr;
  Status (*read_operands)(std::span<Value* const> operands, Attrs& attrs) = nullptr;
  std::vector<std::string_view> results = {};  // where each result has a name of its own
  TensorflowRegions regions = {};
};

// A small call for the tests that run over the table: operand types, attributes, and the range that operands are drawn
// from.
struct Example {
  std::vector<Type> operands;
  Attrs attrs = {};
  double low = -2;
  double high = 2;
  std::size_t inputs = 99;  // operands after this many are constants
  // Where integers lie, both ends included; no range: between `low` and `high` as well.
  std::optional<std::pair<std::int64_t, std::int64_t>> integers = std::nullopt;
};

// A call whose operands are views of other values, their bases: axis i of an operand is axis dims[i] of its base, and
// axes of the base that no operand has are of size 1. The same call on the bases has these attributes, and axis i of
// its old result is axis dims[i] of the new one.
struct CallOnBases {
  Attrs attrs;
  std::vector<std::int64_t> dims;
  std::size_t viewed = 99;  // operands after this many are what they were
};
using OnBasesFn = std::optional<CallOnBases> (*)(const Node& node, std::span<const std::int64_t> dims,
                                                 std::int64_t base_rank);

struct Op {
  std::string_view name;
  std::string_view doc;                    // the formula, one line
  std::vector<std::string_view> operands;  // names; "?" at the end: optional; "*": any number
  std::vector<AttrSpec> attrs;
  InferFn infer = nullptr;
  EvalFn eval = nullptr;
  // The row's function acts on the last axis (or on single elements) alone and is the same for each position of the
  // axes before it, so that it may run step by step along a time axis. Attributes that name axes count from the end.
  bool per_step = false;
  bool (*per_step_if)(const Node&) = nullptr;  // where that holds for some calls only
  // The results of constant operands of one dtype as they are stored, for operators that only move elements: views, or
  // bytes copied in order. Folding then computes nothing, and weights of any size stay where they lie. Empty: not so
  // for these operands.
  std::vector<Tensor> (*rearrange)(std::span<const Tensor* const> operands, const Attrs& attrs) = nullptr;
  // The call on values in another order of axes, where it can be made there as well.
  OnBasesFn on_bases = nullptr;
  // For an operator that only moves, removes or adds axes: the axis of x that each axis of the result is; -1 for new
  // ones.
  std::vector<std::int64_t> (*axes_of_x)(const Node&) = nullptr;
  // Whether of operand 0 only the entries of its first axis count that the indices of operand 1 name.
  bool (*picks_rows)(const Node&) = nullptr;
  // Whether the elements of the operands decide how large the results are. Symbols in the results' shapes that no input
  // tells have their values from there on.
  bool measures_sizes = false;
  // Elements that an evaluation holds beside its operands and results, where these are many.
  Dim (*workspace)(const Node&) = nullptr;
  std::size_t region_operands = 0;  // regions take the operands from this one on
  // Each element of the result follows from the elements of the operands that broadcasting puts there.
  bool broadcasts = false;
  // Fits every target as it is: the backend writes it without an operator (constants).
  bool is_constant = false;
  ExpandFn expand = nullptr;                          // in simpler operators, for targets that have no spelling
  bool (*expands_if)(const Node&, Target) = nullptr;  // where not every call can be expanded
  ExpandFn expand_onnx = nullptr;                     // the form that suits ONNX best, where it differs
  ExpandFn expand_tflite = nullptr;                   // the form that suits TFLite best, where it differs
  ExpandFn expand_tensorflow = nullptr;
  OnnxSpelling onnx = {};
  TfliteSpelling tflite = {};
  QuantizedForm quantized = {};
  TensorflowSpelling tensorflow = {};
  std::vector<Example> examples = {};
  double tolerance = 1e-5;  // of float32 runtimes against eval, relative to the spread of the result

  // The version of TFLite's operator that this call needs, quantised or not.
  TfliteVersion tflite_version(const Node& node) const;
  // Whether a hybrid kernel computes this call: a quantised weight on a float x.
  bool is_hybrid(const Node& node) const;
  // Whether the target has an operator that says this call exactly.
  bool spelled_in(Target target, const Node& node) const;
  // The expansion for a target; nothing if there is none.
  ExpandFn expansion_for(Target target) const;
  // The same for one call.
  ExpandFn expansion_for(Target target, const Node& node) const {
    return expands_if == nullptr || expands_if(node, target) ? expansion_for(target) : nullptr;
  }
};

}  // namespace taper
