#include "frontend/tflite.h"

#include <algorithm>
#include <map>
#include <set>

#include "frontend/joined_sizes.h"
#include "frontend/read_back.h"
#include "ops/builder.h"
#include "ops/grid.h"
#include "ops/table.h"

namespace taper {
namespace {

// ----------------------------------------------------------------------------------------------------------- operators

const std::vector<const Op*>& rows_of(tflite::BuiltinOperator builtin) {
  static const auto rows = [] {
    std::map<tflite::BuiltinOperator, std::vector<const Op*>> by_builtin;
    for (const Op& op : op_table())
      if (op.tflite.builtin) by_builtin[*op.tflite.builtin].push_back(&op);
    return by_builtin;
  }();
  static const std::vector<const Op*> none;
  const auto found = rows.find(builtin);
  return found == rows.end() ? none : found->second;
}

std::string operator_name(const tflite::OperatorCodeT& code) {
  if (code.builtin_code == tflite::BuiltinOperator::CUSTOM) return fmt::format("custom '{}'", code.custom_code);
  const std::string name = tflite::EnumNameBuiltinOperator(code.builtin_code);
  return name.empty() ? fmt::format("number {}", static_cast<std::int32_t>(code.builtin_code)) : name;
}

Status check_operators_known(const tflite::ModelT& model) {
  std::map<std::string, std::size_t> unknown;
  for (const auto& subgraph : model.subgraphs)
    for (const auto& call : subgraph->operators) {
      const tflite::OperatorCodeT& code = *model.operator_codes[call->opcode_index];
      if (rows_of(code.builtin_code).empty()) ++unknown[operator_name(code)];
    }
  if (unknown.empty()) return {};
  std::vector<std::string> list;
  list.reserve(unknown.size());
  for (const auto& [name, count] : unknown) list.push_back(fmt::format("{} ({} times)", name, count));
  return fail("operators that are not read: {}", fmt::join(list, "; "));
}

// --------------------------------------------------------------------------------------------------------------- types

bool is_quantized(const tflite::TensorT& tensor) {
  const tflite::QuantizationParametersT* given = tensor.quantization.get();
  return given != nullptr && (!given->scale.empty() || given->details.type != tflite::QuantizationDetails::NONE);
}

// The bits of the signed integers that quantised tensors hold; nothing for other types.
std::optional<int> bits_of(tflite::TensorType type) {
  using enum tflite::TensorType;
  for (const auto& [integers, bits] : {std::pair{INT4, 4}, {INT8, 8}, {INT16, 16}, {INT32, 32}, {INT64, 64}})
    if (integers == type) return bits;
  return std::nullopt;
}

Expected<DType> dtype_of(const tflite::TensorT& tensor) {
  const auto dtype = is_quantized(tensor) ? bits_of(tensor.type).transform([](int) { return DType::f32; })
                                          : dtype_from_tflite(tensor.type);
  if (!dtype)
    return fail("element type {} of {}tensor '{}' is not read", static_cast<int>(tensor.type),
                is_quantized(tensor) ? "the quantised " : "", tensor.name);
  if (tensor.sparsity != nullptr || tensor.is_variable || !tensor.variant_tensors.empty() ||
      tensor.external_buffer != 0)
    return fail("tensor '{}' is sparse, variable or external, which is not read", tensor.name);
  return *dtype;
}

// The declared sizes; -1 is open.
const std::vector<std::int32_t>& declared_sizes(const tflite::TensorT& tensor) {
  return tensor.shape_signature.empty() ? tensor.shape : tensor.shape_signature;
}

// Whether the inferred type is what the file declares, as far as both have numbers.
Status check_declared(const tflite::TensorT& tensor, const Type& type) {
  TAPER_ASSIGN(const DType dtype, dtype_of(tensor));
  const std::vector<std::int32_t>& declared = declared_sizes(tensor);
  bool same = dtype == type.dtype && (declared.empty() || declared.size() == type.shape.size());
  for (std::size_t axis = 0; same && axis < declared.size(); ++axis)
    same = declared[axis] == -1 || type.shape[axis].constant().value_or(declared[axis]) == declared[axis];
  if (same) return {};
  return fail("tensor '{}' is declared as {}[{}], but {} is computed", tensor.name, info(dtype).short_name,
              fmt::join(declared, ", "), type_text(type));
}

Expected<Type> input_type(const tflite::TensorT& tensor, std::string_view name, SymbolNames& symbols) {
  TAPER_ASSIGN(const DType dtype, dtype_of(tensor));
  Type type{dtype, {}};
  const std::vector<std::int32_t>& sizes = declared_sizes(tensor);
  if (sizes.size() > kMaxRank) return fail("input '{}' has {} axes, at most {} are read", name, sizes.size(), kMaxRank);
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    if (sizes[axis] < -1) return fail("input '{}' has size {}", name, sizes[axis]);
    type.shape.push_back(sizes[axis] == -1 ? symbols.symbol(name, axis) : Dim(sizes[axis]));
  }
  return type;
}

// -------------------------------------------------------------------------------------------------------- quantisation

// Scales that lie in a tensor of their own, one per row and block.
Status read_block_scales(const TfliteFile& file, const tflite::SubGraphT& subgraph,
                         const tflite::BlockwiseQuantizationT& blocks, Quantization& q) {
  if (blocks.scales < 0 || static_cast<std::size_t>(blocks.scales) >= subgraph.tensors.size())
    return fail("the tensor {} of its scales does not exist", blocks.scales);
  if (blocks.zero_points > 0) return fail("zero points of blocks are not read");
  TAPER_ASSIGN(const Tensor scales, tflite_constant(file, *subgraph.tensors[static_cast<std::size_t>(blocks.scales)]));
  if (scales.dtype != DType::f16) return fail("its scales are {}, expected float16", info(scales.dtype).name);
  for (const double scale : to_double(scales)) q.scales.push_back(static_cast<float>(scale));
  q.zero_points.assign(q.scales.size(), 0);
  q.block = blocks.block_size;
  if (q.block <= 0) return fail("blocks of {}", q.block);
  return {};
}

// The grid of a tensor; nothing for one of floats.
Expected<std::shared_ptr<const Quantization>> grid_of(const TfliteFile& file, const tflite::SubGraphT& subgraph,
                                                      const tflite::TensorT& tensor) {
  if (!is_quantized(tensor)) return nullptr;
  const tflite::QuantizationParametersT& given = *tensor.quantization;
  Quantization q{.bits = bits_of(tensor.type).value_or(0),
                 .scales = given.scale,
                 .zero_points = given.zero_point,
                 .axis = std::nullopt,
                 .block = 0};
  const auto place = [&] { return fmt::format("in the quantisation of tensor '{}'", tensor.name); };
  if (const auto* blocks = given.details.AsBlockwiseQuantization()) {
    if (auto status = read_block_scales(file, subgraph, *blocks, q); !status)
      return std::unexpected(within(std::move(status).error(), place()));
  } else if (given.details.type != tflite::QuantizationDetails::NONE) {
    return std::unexpected(within(fail("it is of a kind that is not read").error(), place()));
  }
  if (q.zero_points.size() == 1) q.zero_points.resize(q.scales.size(), q.zero_points.front());
  if (q.scales.size() > 1 || q.block > 0) q.axis = given.quantized_dimension;
  Shape shape;
  for (const std::int32_t size : declared_sizes(tensor)) shape.push_back(size < 0 ? Dim::symbol("open") : Dim(size));
  if (auto status = check_quantization(q, shape); !status)
    return std::unexpected(within(std::move(status).error(), place()));
  return std::make_shared<const Quantization>(std::move(q));
}

// ----------------------------------------------------------------------------------------------------------- constants

bool has_data(const TfliteFile& file, const tflite::TensorT& tensor) {
  return !file.buffers[tensor.buffer].view.empty();
}

// Real numbers that quantised constants stand for. They take up to eight times the bytes of the file, and many tensors
// may lie in the same ones: each reading of the same bytes is made once, and of different ones there is a bound.
class QuantizedConstants {
 public:
  explicit QuantizedConstants(const TfliteFile& file) : file_(file) {
    // Buffers may overlap, so that their sizes say less than where they lie.
    const std::byte* first = nullptr;
    const std::byte* end = nullptr;
    for (const SharedBytes& buffer : file.buffers) {
      if (buffer.view.empty()) continue;
      first = first == nullptr ? buffer.view.data() : std::min(first, buffer.view.data());
      end = std::max(end, buffer.view.data() + buffer.view.size());
    }
    constexpr std::uint64_t kMostReadings = 4;
    room_ = kMostReadings * 2 * sizeof(float) * static_cast<std::uint64_t>(end - first);
  }

  Expected<Tensor> read(const tflite::TensorT& tensor, const Quantization& q) {
    const Bytes bytes = file_.buffers[tensor.buffer].view;
    std::vector<Reading>& known = known_[bytes.data()];
    for (const Reading& reading : known)
      if (reading.size == bytes.size() && reading.shape == tensor.shape && reading.grid == q) return reading.value;
    std::vector<std::int64_t> shape(tensor.shape.begin(), tensor.shape.end());
    TAPER_TRY(check_bounded({DType::f32, to_shape(shape)}));
    TAPER_TRY(check_quantization(q, to_shape(shape)));
    const std::uint64_t needed = 2 * sizeof(float) * static_cast<std::uint64_t>(bytes.size());
    if (needed > room_) return fail("more quantised constants than the file has bytes for");
    room_ -= needed;
    TAPER_ASSIGN(Tensor value, from_stored_integers(bytes, std::move(shape), q));
    known.push_back({bytes.size(), tensor.shape, q, value});
    return value;
  }

 private:
  struct Reading {
    std::size_t size;
    std::vector<std::int32_t> shape;
    Quantization grid;
    Tensor value;
  };

  const TfliteFile& file_;
  std::map<const std::byte*, std::vector<Reading>> known_;
  std::uint64_t room_ = 0;  // bytes that may still be taken
};

// Nothing for a tensor that has no data, or holds quantised numbers.
Expected<std::optional<Tensor>> constant_in(const TfliteFile& file, const tflite::TensorT& tensor) {
  TAPER_ASSIGN(const DType dtype, dtype_of(tensor));
  if (is_quantized(tensor)) return std::nullopt;
  if (has_data(file, tensor)) {
    TAPER_ASSIGN(Tensor constant, tflite_constant(file, tensor));
    TAPER_TRY(check_bounded({dtype, to_shape(constant.shape)}));
    return constant;
  }
  // A constant without elements has a buffer of its own, without bytes.
  std::vector<std::int64_t> shape(tensor.shape.begin(), tensor.shape.end());
  const auto count = checked_element_count(shape);
  if (tensor.buffer == 0 || !count || *count != 0) return std::nullopt;
  TAPER_TRY(check_bounded({dtype, to_shape(shape)}));
  return make_tensor(dtype, std::move(shape), {});
}

// Whether options say the same, field by field.
bool same_options(const tflite::BuiltinOptionsUnion& a, const tflite::BuiltinOptionsUnion& b) {
  const auto packed = [](const tflite::BuiltinOptionsUnion& options) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(flatbuffers::Offset<flatbuffers::Table>(options.Pack(builder).o));
    return std::vector<std::uint8_t>(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  };
  return a.type == b.type && packed(a) == packed(b);
}

// -------------------------------------------------------------------------------------------------------------- reader

class Reader {
 public:
  explicit Reader(const TfliteFile& file) : file_(file), constants_(file), used_(file.model.subgraphs.size(), false) {}

  Expected<Graph> run(const KnownShapes& known);

 private:
  // A subgraph and what has been read of it.
  struct Frame {
    const tflite::SubGraphT& source;
    Graph& graph;
    Builder build;
    std::vector<Value*> values;  // by tensor; nullptr before it is known
    int depth;

    Frame(const tflite::SubGraphT& subgraph, Graph& target, int level)
        : source(subgraph), graph(target), build(target), values(subgraph.tensors.size(), nullptr), depth(level) {
      graph.name = subgraph.name;
    }
    const tflite::TensorT& tensor(std::int32_t index) const { return *source.tensors[static_cast<std::size_t>(index)]; }
    Value*& value(std::int32_t index) { return values[static_cast<std::size_t>(index)]; }
  };

  Status add_input(Frame& frame, std::int32_t tensor, std::string name, Type type);
  Status read_grid(Frame& frame, std::int32_t tensor);
  // A constant without elements has a buffer of its own, without bytes.
  bool is_constant(const tflite::TensorT& tensor) const {
    return has_data(file_, tensor) ||
           (tensor.buffer != 0 && !is_quantized(tensor) && constant_in(file_, tensor).value_or(std::nullopt));
  }
  Expected<Value*> value_of(Frame& frame, std::int32_t tensor);
  Expected<std::optional<Tensor>> index_of(const Frame& frame, std::int32_t tensor);

  Status read_operators(Frame& frame);
  Status read_operator(Frame& frame, const tflite::OperatorT& source);
  Expected<Node> read_as(const Op& op, Frame& frame, const tflite::OperatorT& source);
  Status read_inputs(const Op& op, Frame& frame, const tflite::OperatorT& source, Node& call);
  Status check_results(const Op& op, const Frame& frame, const tflite::OperatorT& source, const Node& call);
  Status check_spelling(const Op& op, const Frame& frame, const tflite::OperatorT& source, const Node& call);
  Status read_regions(const Op& op, const Frame& frame, const tflite::OperatorT& source, Node& call);
  Expected<std::unique_ptr<Graph>> read_region(std::int32_t index, std::span<Value* const> operands, int depth);

  const TfliteFile& file_;
  QuantizedConstants constants_;
  std::vector<bool> used_;  // subgraphs: each is read once, which bounds the work and rules out cycles
};

Expected<Graph> Reader::run(const KnownShapes& known) {
  const tflite::ModelT& model = file_.model;
  TAPER_TRY(check_operators_known(model));
  const auto found = std::ranges::find_if(
      model.signature_defs, [](const auto& signature) { return signature->signature_key == "serving_default"; });
  if (found == model.signature_defs.end()) return fail("there is no signature 'serving_default'");
  const tflite::SignatureDefT& signature = **found;
  if (signature.subgraph_index >= used_.size()) return fail("the signature's subgraph does not exist");
  used_[signature.subgraph_index] = true;

  Graph graph;
  Frame frame(*model.subgraphs[signature.subgraph_index], graph, 0);
  SymbolNames symbols(known);
  std::set<std::string_view> names;
  for (const auto& entry : signature.inputs) {
    const auto tensor = static_cast<std::int32_t>(entry->tensor_index);
    if (std::ranges::find(frame.source.inputs, tensor) == frame.source.inputs.end() ||
        !names.insert(entry->name).second)
      return fail("input '{}' of the signature is no input of its subgraph, or stands twice", entry->name);
    TAPER_ASSIGN(Type type, input_type(frame.tensor(tensor), entry->name, symbols));
    TAPER_TRY(add_input(frame, tensor, entry->name, std::move(type)));
  }
  if (signature.inputs.size() != frame.source.inputs.size())
    return fail("{} inputs of the signature, its subgraph has {}", signature.inputs.size(), frame.source.inputs.size());
  TAPER_TRY(read_operators(frame));
  names.clear();
  for (const auto& entry : signature.outputs) {
    if (!names.insert(entry->name).second) return fail("output '{}' of the signature stands twice", entry->name);
    TAPER_ASSIGN(Value * value, value_of(frame, static_cast<std::int32_t>(entry->tensor_index)));
    graph.add_output(entry->name, value);
  }
  if (graph.outputs().empty()) return fail("the signature has no outputs");
  return graph;
}

Status Reader::add_input(Frame& frame, std::int32_t tensor, std::string name, Type type) {
  if (frame.value(tensor) != nullptr) return fail("tensor '{}' is an input twice", frame.tensor(tensor).name);
  if (is_constant(frame.tensor(tensor)))
    return fail("tensor '{}' is an input and a constant", frame.tensor(tensor).name);
  TAPER_TRY(check_declared(frame.tensor(tensor), type));
  frame.value(tensor) = frame.graph.add_input(std::move(name), std::move(type));
  return read_grid(frame, tensor);
}

// What the file declares of a tensor may be more, or less, than is inferred of its value: the grid has to fit both.
Status Reader::read_grid(Frame& frame, std::int32_t tensor) {
  TAPER_ASSIGN(auto grid, grid_of(file_, frame.source, frame.tensor(tensor)));
  if (grid == nullptr) return {};
  if (auto status = check_quantization(*grid, frame.value(tensor)->type.shape); !status)
    return std::unexpected(within(std::move(status).error(), fmt::format("in tensor '{}'", frame.tensor(tensor).name)));
  frame.value(tensor)->quantization = std::move(grid);
  return {};
}

// The value of a tensor, which a constant becomes when it is first used.
Expected<Value*> Reader::value_of(Frame& frame, std::int32_t tensor) {
  if (Value* known = frame.value(tensor)) return known;
  const tflite::TensorT& source = frame.tensor(tensor);
  TAPER_ASSIGN(auto grid, grid_of(file_, frame.source, source));
  std::optional<Tensor> constant;
  if (grid != nullptr && has_data(file_, source)) {
    TAPER_ASSIGN_WITHIN(constant, constants_.read(source, *grid), fmt::format("in tensor '{}'", source.name));
  } else {
    TAPER_ASSIGN(constant, constant_in(file_, source));
  }
  if (!constant) return fail("tensor '{}' is used before it is computed", source.name);
  frame.value(tensor) = frame.build.constant(std::move(*constant), source.name.empty() ? "constant" : source.name);
  TAPER_TRY(frame.build.status());
  TAPER_TRY(read_grid(frame, tensor));
  return frame.value(tensor);
}

// The constant that an input of an operator is, if it can stand for an attribute; nothing else.
Expected<std::optional<Tensor>> Reader::index_of(const Frame& frame, std::int32_t tensor) {
  if (tensor < 0) return std::nullopt;
  TAPER_ASSIGN(auto constant, constant_in(file_, frame.tensor(tensor)));
  if (constant && !is_index(*constant)) constant.reset();
  return constant;
}

Status Reader::read_operators(Frame& frame) {
  for (std::size_t i = 0; i < frame.source.operators.size(); ++i) {
    const tflite::OperatorT& source = *frame.source.operators[i];
    if (auto status = read_operator(frame, source); !status)
      return std::unexpected(
          within(std::move(status).error(),
                 fmt::format("in operator {} ({}) of subgraph '{}'", i,
                             operator_name(*file_.model.operator_codes[source.opcode_index]), frame.source.name)));
  }
  return {};
}

// The first row in whose spelling the operator can be read. Where several share a builtin, at most one can.
Status Reader::read_operator(Frame& frame, const tflite::OperatorT& source) {
  if (!source.custom_options.empty() || source.large_custom_options_size != 0 ||
      source.builtin_options_2.type != tflite::BuiltinOptions2::NONE)
    return fail("it has custom options");
  std::optional<Error> error;
  for (const Op* op : rows_of(file_.model.operator_codes[source.opcode_index]->builtin_code)) {
    auto call = read_as(*op, frame, source);
    if (!call) {
      Error reason = std::move(call).error();
      reason.message = fmt::format("{}{}: {}", error ? error->message + "; " : "", op->name, reason.message);
      error = std::move(reason);
      continue;
    }
    const std::string hint = source.outputs.empty() ? std::string() : frame.tensor(source.outputs[0]).name;
    const std::vector<Value*> results =
        frame.build.call(op->name, std::move(call->operands), std::move(call->attrs), hint, std::move(call->regions));
    TAPER_TRY(frame.build.status());
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (frame.value(source.outputs[i]) != nullptr)
        return fail("tensor '{}' is computed twice", frame.tensor(source.outputs[i]).name);
      frame.value(source.outputs[i]) = results[i];
      TAPER_TRY(read_grid(frame, source.outputs[i]));
    }
    if (auto status = check_grids(*results.front()->producer); !status) return status;
    return {};
  }
  return std::unexpected(std::move(*error));
}

// The operator as a call of `op`, all of it checked but not yet part of the graph.
Expected<Node> Reader::read_as(const Op& op, Frame& frame, const tflite::OperatorT& source) {
  Node call;
  call.op = op.name;
  if (op.tflite.options.read) TAPER_TRY(op.tflite.options.read(source.builtin_options, call.attrs));
  TAPER_TRY(read_inputs(op, frame, source, call));
  TAPER_TRY(check_operand_count(op, call.operands));
  if (op.tflite.read_operands != nullptr) TAPER_TRY(op.tflite.read_operands(call.operands, call.attrs));
  TAPER_TRY(complete_attrs(op, call.attrs));
  if (op.tflite.read_regions != nullptr) TAPER_TRY(read_regions(op, frame, source, call));
  TAPER_TRY(check_results(op, frame, source, call));
  TAPER_TRY(check_spelling(op, frame, source, call));
  return call;
}

Status Reader::read_inputs(const Op& op, Frame& frame, const tflite::OperatorT& source, Node& call) {
  const TfliteSpelling& spelling = op.tflite;
  std::size_t next = 0;
  for (const SpelledInput& input : spelling.inputs) {
    if (input.rest) {
      for (; next < source.inputs.size(); ++next) {
        if (source.inputs[next] < 0) return fail("input {} is absent", next);
        TAPER_ASSIGN(Value * value, value_of(frame, source.inputs[next]));
        call.operands.push_back(value);
      }
      continue;
    }
    const std::int32_t tensor = next < source.inputs.size() ? source.inputs[next] : -1;
    ++next;
    if (input.make != nullptr) continue;  // check_spelling compares it
    if (!input.attr.empty()) {
      TAPER_ASSIGN(const auto constant, index_of(frame, tensor));
      if (!constant) return fail("input {} is no constant of int32, expected '{}'", next - 1, input.attr);
      TAPER_ASSIGN(Attr attr, attr_from(*constant, std::ranges::find(op.attrs, input.attr, &AttrSpec::name)->kind));
      call.attrs.set(std::string(input.attr), std::move(attr));
      continue;
    }
    if (call.operands.size() <= input.operand) call.operands.resize(input.operand + 1, nullptr);
    if (tensor < 0) continue;
    TAPER_ASSIGN(call.operands[input.operand], value_of(frame, tensor));
  }
  if (next < source.inputs.size()) return fail("{} inputs, expected {}", source.inputs.size(), next);
  while (!call.operands.empty() && call.operands.back() == nullptr) call.operands.pop_back();

  if (spelling.read_inputs == nullptr) return {};
  std::vector<std::optional<Tensor>> constants;
  std::vector<const Tensor*> pointers;
  pointers.reserve(source.inputs.size());
  for (const std::int32_t tensor : source.inputs) {
    TAPER_ASSIGN(auto constant, index_of(frame, tensor));
    constants.push_back(std::move(constant));
  }
  for (const auto& constant : constants) pointers.push_back(constant ? &*constant : nullptr);
  return spelling.read_inputs(pointers, call.attrs);
}

Status Reader::check_results(const Op& op, const Frame& frame, const tflite::OperatorT& source, const Node& call) {
  TAPER_ASSIGN(const std::vector<Type> types, op.infer({call.operands, call.attrs, call.regions}));
  if (types.size() != source.outputs.size())
    return fail("{} results, expected {}", source.outputs.size(), types.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    TAPER_TRY(check_bounded(types[i]));
    const tflite::TensorT& tensor = frame.tensor(source.outputs[i]);
    TAPER_TRY(check_declared(tensor, types[i]));
    if (is_constant(tensor)) return fail("tensor '{}' is computed and a constant", tensor.name);
  }
  return {};
}

// Whether the backend would write the call as it stands in the file: nothing in the file went unread.
Status Reader::check_spelling(const Op& op, const Frame& frame, const tflite::OperatorT& source, const Node& call) {
  const TfliteSpelling& spelling = op.tflite;
  if (spelling.fits != nullptr && !spelling.fits(call)) return fail("not a call that is written so");
  const tflite::BuiltinOptionsUnion& options = source.builtin_options;
  if (options.type != tflite::BuiltinOptions::NONE && call.regions.empty()) {
    // Where options are absent, all of them are at their defaults, which `options.read` has seen.
    tflite::BuiltinOptionsUnion expected;
    if (spelling.options.write) spelling.options.write(call, expected);
    if (options.value == nullptr || !same_options(options, expected))
      return fail("its options ({}) are not as they are written", tflite::EnumNameBuiltinOptions(options.type));
  }
  for (std::size_t i = 0; i < spelling.inputs.size(); ++i) {
    if (spelling.inputs[i].make == nullptr) continue;
    TAPER_ASSIGN(const auto constant, index_of(frame, i < source.inputs.size() ? source.inputs[i] : -1));
    const std::vector<std::int64_t> expected = spelling.inputs[i].make(call);
    if (!constant || constant->rank() != (spelling.inputs[i].columns > 0 ? 2 : 1) || indices_of(*constant) != expected)
      return fail("input {} is not [{}]", i, fmt::join(expected, ", "));
  }
  return {};
}

Status Reader::read_regions(const Op& op, const Frame& frame, const tflite::OperatorT& source, Node& call) {
  const std::vector<std::int32_t> subgraphs = op.tflite.read_regions(source.builtin_options);
  if (subgraphs.empty()) return fail("it names no subgraphs");
  if (call.operands.size() < op.region_operands) return fail("{} operands", call.operands.size());
  for (const std::int32_t index : subgraphs) {
    TAPER_ASSIGN(auto region,
                 read_region(index, std::span(call.operands).subspan(op.region_operands), frame.depth + 1));
    call.regions.push_back(std::move(region));
  }
  if (op.region_operands > 0) return join_regions(call.regions, fmt::format("joined{}", frame.graph.value_count()));
  return {};
}

// A region's inputs have the types of the values that the loop carries.
Expected<std::unique_ptr<Graph>> Reader::read_region(std::int32_t index, std::span<Value* const> operands, int depth) {
  if (index < 0 || static_cast<std::size_t>(index) >= used_.size())
    return fail("subgraph {} does not exist, there are {}", index, used_.size());
  if (used_[static_cast<std::size_t>(index)]) return fail("subgraph {} is used twice", index);
  if (depth > kMaxDepth) return fail("more than {} loops inside each other", kMaxDepth);
  used_[static_cast<std::size_t>(index)] = true;
  const tflite::SubGraphT& source = *file_.model.subgraphs[static_cast<std::size_t>(index)];
  if (source.inputs.size() != operands.size())
    return fail("subgraph '{}' has {} inputs, expected {}", source.name, source.inputs.size(), operands.size());
  auto graph = std::make_unique<Graph>();
  Frame frame(source, *graph, depth);
  for (std::size_t i = 0; i < operands.size(); ++i)
    TAPER_TRY(add_input(frame, source.inputs[i], frame.tensor(source.inputs[i]).name, operands[i]->type));
  TAPER_TRY(read_operators(frame));
  for (const std::int32_t output : source.outputs) {
    TAPER_ASSIGN(Value * value, value_of(frame, output));
    graph->add_output(frame.tensor(output).name, value);
  }
  return graph;
}

}  // namespace

Expected<Graph> import_tflite(const TfliteFile& file, const KnownShapes& known) {
  return Reader(file).run(known);
}

}  // namespace taper
