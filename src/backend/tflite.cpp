#include "backend/tflite.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "backend/unique_names.h"
#include "base/mapped_file.h"
#include "ops/evaluate.h"
#include "ops/grid.h"
#include "ops/table.h"

namespace taper {
namespace {

tflite::TensorType integer_type(int bits) {
  switch (bits) {
    case 4:
      return tflite::TensorType::INT4;
    case 8:
      return tflite::TensorType::INT8;
    case 16:
      return tflite::TensorType::INT16;
    case 32:
      return tflite::TensorType::INT32;
    default:
      return tflite::TensorType::INT64;
  }
}

// "2.10.0" > "2.9.0"
bool newer(std::string_view a, std::string_view b) {
  const auto numbers = [](std::string_view text) {
    std::vector<int> parts;
    while (!text.empty()) {
      int number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc{}) break;
      parts.push_back(number);
      text.remove_prefix(static_cast<std::size_t>(end - text.data()));
      if (!text.empty()) text.remove_prefix(1);
    }
    return parts;
  };
  return numbers(a) > numbers(b);
}

// The constant that is stored for a value: itself, or one that is cast, which is done while it is written.
const Value* stored_constant(const Value& value) {
  if (constant_of(&value) != nullptr) return &value;
  if (value.producer == nullptr || value.producer->op != "cast") return nullptr;
  const Value* source = value.producer->operands[0];
  return constant_of(source) != nullptr && source->quantization == nullptr ? source : nullptr;
}

class Speller {
 public:
  Speller(const Graph& graph, const TfliteMetadata& metadata)
      : metadata_(metadata), default_sizes_(with_measured_sizes(graph, metadata.default_sizes)) {
    result_.buffers.emplace_back();  // buffer 0 stands for "no data"
    result_.model.description = metadata.description;
  }

  Expected<TfliteModel> run(const Graph& graph) {
    TAPER_TRY(add_subgraph(graph, "main"));
    name_tensors_once();
    add_signature(graph);
    add_min_runtime_version();
    return std::move(result_);
  }

 private:
  using TensorIndices = std::unordered_map<const Value*, std::int32_t>;

  Expected<std::int32_t> add_subgraph(const Graph& graph, std::string name);
  Status add_node(const Node& node, tflite::SubGraphT& subgraph, TensorIndices& tensors);
  Expected<std::int32_t> add_value(const Value& value, tflite::SubGraphT& subgraph, TensorIndices& tensors);
  std::int32_t add_constant(WeightSource source, std::string name, tflite::SubGraphT& subgraph,
                            const Quantization* quantization = nullptr);
  void set_quantization(tflite::TensorT& tensor, const Quantization& quantization, tflite::SubGraphT& subgraph);
  Expected<std::vector<std::int32_t>> spell_inputs(const Node& node, const Op& op, tflite::SubGraphT& subgraph,
                                                   TensorIndices& tensors);
  std::uint32_t operator_code(tflite::BuiltinOperator builtin, TfliteVersion version);
  std::uint32_t buffer_for(WeightSource source);
  std::uint32_t buffer_for(const Tensor& tensor, const Quantization& quantization);
  std::uint32_t buffer_for_integers(WeightSource source);
  void name_tensors_once();
  void add_signature(const Graph& graph);
  void add_min_runtime_version();

  const TfliteMetadata& metadata_;
  const Bindings default_sizes_;
  TfliteModel result_;
  std::map<std::pair<tflite::BuiltinOperator, int>, std::uint32_t> codes_;
  std::map<std::tuple<const char*, std::size_t, DType>, std::uint32_t> shared_buffers_;
  std::map<std::string, std::uint32_t> small_buffers_;
  std::map<std::pair<ConstantKey, const Quantization*>, std::uint32_t> integer_buffers_;
  std::map<std::pair<std::byte, std::size_t>, std::uint32_t> uniform_buffers_;
  std::unordered_multimap<std::size_t, std::uint32_t> integers_;  // by a hash of the bytes
  TensorIndices main_tensors_;
  int unnamed_ = 0;
};

Expected<std::int32_t> Speller::add_subgraph(const Graph& graph, std::string name) {
  const std::size_t index = result_.model.subgraphs.size();
  result_.model.subgraphs.push_back(std::make_unique<tflite::SubGraphT>());
  // Regions add subgraphs while this one is being filled; it is moved to its place at the end.
  auto subgraph = std::make_unique<tflite::SubGraphT>();
  subgraph->name = std::move(name);
  TensorIndices tensors;
  for (const Value* input : graph.inputs()) {
    TAPER_ASSIGN(const std::int32_t tensor, add_value(*input, *subgraph, tensors));
    subgraph->inputs.push_back(tensor);
  }
  for (const Node& node : graph.nodes())
    if (auto status = add_node(node, *subgraph, tensors); !status)
      return std::unexpected(within(std::move(status).error(), fmt::format("in node '{}'", node.results[0]->name)));
  for (const Output& output : graph.outputs()) {
    TAPER_ASSIGN(const std::int32_t tensor, add_value(*output.value, *subgraph, tensors));
    subgraph->outputs.push_back(tensor);
    if (index == 0) subgraph->tensors[static_cast<std::size_t>(tensor)]->name = output.name;
  }
  if (index == 0) main_tensors_ = std::move(tensors);
  result_.model.subgraphs[index] = std::move(subgraph);
  return static_cast<std::int32_t>(index);
}

Expected<std::int32_t> Speller::add_value(const Value& value, tflite::SubGraphT& subgraph, TensorIndices& tensors) {
  if (const auto known = tensors.find(&value); known != tensors.end()) return known->second;
  if (const Value* constant = stored_constant(value)) {
    const std::int32_t index = add_constant({*constant_of(constant), value.type.dtype}, constant->name, subgraph,
                                            constant->quantization.get());
    tensors.emplace(&value, index);
    return index;
  }
  const auto type = tflite_type(value.type.dtype);
  if (!type) return fail("TFLite has no dtype {}", info(value.type.dtype).name);
  auto tensor = std::make_unique<tflite::TensorT>();
  tensor->name = value.name;
  tensor->type = *type;
  bool dynamic = false;
  for (const Dim& dim : value.type.shape) {
    TAPER_ASSIGN(const std::int64_t size, dim.evaluate(default_sizes_));
    // Default sizes may be too small for a program that drops more entries: readers refuse negative sizes.
    tensor->shape.push_back(static_cast<std::int32_t>(std::max<std::int64_t>(size, 0)));
    tensor->shape_signature.push_back(dim.constant() ? static_cast<std::int32_t>(size) : -1);
    dynamic = dynamic || !dim.constant();
  }
  if (!dynamic) tensor->shape_signature.clear();
  if (value.quantization != nullptr) set_quantization(*tensor, *value.quantization, subgraph);
  const auto index = static_cast<std::int32_t>(subgraph.tensors.size());
  subgraph.tensors.push_back(std::move(tensor));
  tensors.emplace(&value, index);
  return index;
}

// Zeros, of which files with fixed sizes hold many, are stored once for each size. All else is told from them by its
// first bytes.
bool repeats_a_byte(Bytes bytes) {
  return !bytes.empty() && std::ranges::all_of(bytes, [first = bytes[0]](std::byte byte) { return byte == first; });
}

std::uint32_t Speller::buffer_for(WeightSource source) {
  const auto next = static_cast<std::uint32_t>(result_.buffers.size());
  if (source.tensor.is_plain()) {
    // Small constants (axes, indices) are compared by value, weights by where they lie: nothing large is read.
    constexpr std::size_t kSmall = 256;
    const Bytes bytes = source.tensor.bytes();
    const std::string_view value = as_text(bytes);
    const bool as_it_is = source.dtype == source.tensor.dtype;
    if (source.dtype == DType::i8 && value.size() > kSmall) return buffer_for_integers(std::move(source));
    std::uint32_t& known = as_it_is && value.size() <= kSmall ? small_buffers_[std::string(value)]
                           : as_it_is && repeats_a_byte(bytes)
                               ? uniform_buffers_[{bytes[0], bytes.size()}]
                               : shared_buffers_[{value.data(), value.size(), source.dtype}];
    if (known != 0) return known;
    known = next;
  }
  result_.buffers.push_back(std::move(source));
  return next;
}

// A constant on one grid of integers in several places is stored once.
std::uint32_t Speller::buffer_for(const Tensor& tensor, const Quantization& quantization) {
  std::uint32_t& known = integer_buffers_[{key_of(tensor), &quantization}];
  if (known == 0) {
    known = buffer_for_integers(stored_bytes(share(stored_integers(tensor, quantization))));
    release_pages(tensor.storage.view);
  }
  return known;
}

// A table of which rows are taken, and which is the weight of a layer too, has the same integers in both places.
std::uint32_t Speller::buffer_for_integers(WeightSource source) {
  const auto bytes_of = [](const WeightSource& stored) { return as_text(stored.tensor.bytes()); };
  const std::size_t hash = std::hash<std::string_view>{}(bytes_of(source));
  const auto [first, last] = integers_.equal_range(hash);
  for (auto same = first; same != last; ++same)
    if (bytes_of(result_.buffers[same->second]) == bytes_of(source)) return same->second;
  const auto next = static_cast<std::uint32_t>(result_.buffers.size());
  integers_.emplace(hash, next);
  result_.buffers.push_back(std::move(source));
  return next;
}

// Scales and zero points; scales of blocks are a tensor of float16 beside it.
void Speller::set_quantization(tflite::TensorT& tensor, const Quantization& q, tflite::SubGraphT& subgraph) {
  tensor.type = integer_type(q.bits);
  tensor.quantization = std::make_unique<tflite::QuantizationParametersT>();
  tensor.quantization->quantized_dimension = static_cast<std::int32_t>(q.axis.value_or(0));
  if (q.block == 0) {
    tensor.quantization->scale = q.scales;
    tensor.quantization->zero_point = q.zero_points;
    return;
  }
  const auto count = static_cast<std::int64_t>(q.scales.size());
  const std::int64_t rows = tensor.shape[static_cast<std::size_t>(*q.axis)];
  tflite::BlockwiseQuantizationT blocks;
  blocks.scales = add_constant(
      stored_as_is(converted(tensor_f32({rows, count / std::max<std::int64_t>(rows, 1)}, q.scales), DType::f16)),
      tensor.name + ".scales", subgraph);
  blocks.block_size = static_cast<std::int32_t>(q.block);
  tensor.quantization->details.Set(std::move(blocks));
}

std::int32_t Speller::add_constant(WeightSource source, std::string name, tflite::SubGraphT& subgraph,
                                   const Quantization* quantization) {
  auto constant = std::make_unique<tflite::TensorT>();
  constant->name = std::move(name);
  constant->type = *tflite_type(source.dtype);
  for (const std::int64_t size : source.tensor.shape) constant->shape.push_back(static_cast<std::int32_t>(size));
  if (quantization != nullptr) set_quantization(*constant, *quantization, subgraph);
  constant->buffer = quantization != nullptr ? buffer_for(source.tensor, *quantization) : buffer_for(std::move(source));
  subgraph.tensors.push_back(std::move(constant));
  return static_cast<std::int32_t>(subgraph.tensors.size()) - 1;
}

// The int32 constant that an attribute becomes: a scalar for an integer, a vector for a list or shape (a symbol is -1).
Tensor index_tensor(const Attr& attr) {
  std::vector<std::int64_t> values;
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&attr)) values = *list;
  if (const auto* shape = std::get_if<Shape>(&attr))
    for (const Dim& dim : *shape) values.push_back(dim.constant().value_or(-1));
  if (const auto* number = std::get_if<std::int64_t>(&attr))
    return converted(tensor_i64({}, std::vector{*number}), DType::i32);
  return converted(tensor_i64({static_cast<std::int64_t>(values.size())}, values), DType::i32);
}

Expected<std::vector<std::int32_t>> Speller::spell_inputs(const Node& node, const Op& op, tflite::SubGraphT& subgraph,
                                                          TensorIndices& tensors) {
  std::vector<std::int32_t> inputs;
  for (const SpelledInput& input : op.tflite.inputs) {
    if (!input.attr.empty() || input.make != nullptr) {
      Tensor tensor =
          input.make != nullptr ? index_tensor(Attr(input.make(node))) : index_tensor(*node.attrs.find(input.attr));
      if (input.columns > 0) tensor = as_matrix(tensor, input.columns);
      inputs.push_back(add_constant(stored_as_is(std::move(tensor)),
                                    fmt::format("{}.index{}", node.results[0]->name, unnamed_++), subgraph));
      continue;
    }
    const std::size_t end = input.rest ? node.operands.size() : std::min(input.operand + 1, node.operands.size());
    for (std::size_t i = input.operand; i < end; ++i) {
      if (node.operands[i] == nullptr) {
        inputs.push_back(-1);
        continue;
      }
      TAPER_ASSIGN(const std::int32_t tensor, add_value(*node.operands[i], subgraph, tensors));
      inputs.push_back(tensor);
    }
  }
  while (!inputs.empty() && inputs.back() == -1) inputs.pop_back();
  return inputs;
}

std::uint32_t Speller::operator_code(tflite::BuiltinOperator builtin, TfliteVersion version) {
  if (newer(version.since, result_.min_runtime_version)) result_.min_runtime_version = version.since;
  const auto [entry, fresh] = codes_.try_emplace({builtin, version.number}, result_.model.operator_codes.size());
  if (fresh) {
    auto code = std::make_unique<tflite::OperatorCodeT>();
    code->builtin_code = builtin;
    code->version = version.number;
    result_.model.operator_codes.push_back(std::move(code));
  }
  return entry->second;
}

Status Speller::add_node(const Node& node, tflite::SubGraphT& subgraph, TensorIndices& tensors) {
  const Op& op = op_of(node);
  if (stored_constant(*node.results[0]) != nullptr) return {};
  if (!op.spelled_in(Target::tflite, node)) return fail("TFLite has no operator for '{}'", node.op);
  auto call = std::make_unique<tflite::OperatorT>();
  const TfliteSpelling& spelling = op.tflite;
  call->opcode_index = operator_code(*spelling.builtin, op.tflite_version(node));
  TAPER_ASSIGN(call->inputs, spell_inputs(node, op, subgraph, tensors));
  for (const Value* result : node.results) {
    TAPER_ASSIGN(const std::int32_t tensor, add_value(*result, subgraph, tensors));
    call->outputs.push_back(tensor);
  }
  if (spelling.options.write) spelling.options.write(node, call->builtin_options);
  if (!node.regions.empty()) {
    std::vector<std::int32_t> subgraphs;
    for (const auto& region : node.regions) {
      TAPER_ASSIGN(const std::int32_t index,
                   add_subgraph(*region, fmt::format("{}.region{}", node.results[0]->name, subgraphs.size())));
      subgraphs.push_back(index);
    }
    spelling.write_regions(subgraphs, call->builtin_options);
  }
  subgraph.operators.push_back(std::move(call));
  return {};
}

// Tools look tensors up by name over all subgraphs. What the file takes and gives keeps its names.
void Speller::name_tensors_once() {
  UniqueNames names;
  std::unordered_set<const tflite::TensorT*> named;
  const auto give = [&](tflite::TensorT& tensor) {
    if (named.insert(&tensor).second) tensor.name = names.unique(std::move(tensor.name));
  };
  const tflite::SubGraphT& main = *result_.model.subgraphs[0];
  for (const std::int32_t input : main.inputs) give(*main.tensors[static_cast<std::size_t>(input)]);
  for (const std::int32_t output : main.outputs) give(*main.tensors[static_cast<std::size_t>(output)]);
  for (const auto& subgraph : result_.model.subgraphs)
    for (const auto& tensor : subgraph->tensors) give(*tensor);
}

void Speller::add_signature(const Graph& graph) {
  auto signature = std::make_unique<tflite::SignatureDefT>();
  signature->signature_key = "serving_default";
  signature->subgraph_index = 0;
  const auto entry = [this](const std::string& name, const Value* value) {
    auto map = std::make_unique<tflite::TensorMapT>();
    map->name = name;
    map->tensor_index = static_cast<std::uint32_t>(main_tensors_.at(value));
    return map;
  };
  for (const Value* input : graph.inputs()) signature->inputs.push_back(entry(input->name, input));
  for (const Output& output : graph.outputs()) signature->outputs.push_back(entry(output.name, output.value));
  result_.model.signature_defs.push_back(std::move(signature));
}

// The metadata entry that tools read: 16 bytes of text, padded with zeros.
void Speller::add_min_runtime_version() {
  constexpr std::size_t kLength = 16;
  std::vector<std::byte> text(kLength, std::byte{0});
  std::memcpy(text.data(), result_.min_runtime_version.data(),
              std::min(kLength - 1, result_.min_runtime_version.size()));
  auto metadata = std::make_unique<tflite::MetadataT>();
  metadata->name = "min_runtime_version";
  metadata->buffer = static_cast<std::uint32_t>(result_.buffers.size());
  result_.buffers.push_back(stored_bytes(share(std::move(text))));
  result_.model.metadata.push_back(std::move(metadata));
}

}  // namespace

Expected<TfliteModel> spell_tflite(const Graph& graph, const TfliteMetadata& metadata) {
  return Speller(graph, metadata).run(graph);
}

}  // namespace taper
