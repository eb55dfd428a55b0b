// TFLite files, table by table.
#include <algorithm>

#include "../formats/builders.h"
#include "formats/tflite.h"
#include "mutators.h"

namespace taper::fuzz {
namespace {

// An index beside those that there are, or among them.
std::int32_t some_index(std::size_t count, Random& random) {
  return static_cast<std::int32_t>(random.below(count + 2)) - 1;
}

void change_numbers(std::vector<std::int32_t>& numbers, Random& random, std::int32_t number) {
  if (numbers.empty() || random.one_in(6))
    numbers.push_back(number);
  else if (random.one_in(6))
    numbers.erase(numbers.begin() + static_cast<std::ptrdiff_t>(random.below(numbers.size())));
  else
    random.pick(numbers) = number;
}

void change_tensor(tflite::TensorT& tensor, std::size_t buffers, Random& random) {
  const auto size = static_cast<std::int32_t>(random.one_in(2) ? random.below(8) : edge_number(random));
  switch (random.below(5)) {
    case 0:
    case 1:
      change_numbers(tensor.shape, random, size);
      break;
    case 2:
      change_numbers(tensor.shape_signature, random, random.one_in(2) ? -1 : size);
      break;
    case 3:
      tensor.type = static_cast<tflite::TensorType>(random.below(20));
      break;
    default:
      tensor.buffer = static_cast<std::uint32_t>(random.below(buffers));
  }
}

void change_operator(tflite::OperatorT& op, const tflite::SubGraphT& graph, std::size_t codes, Random& random) {
  switch (random.below(4)) {
    case 0:
      op.opcode_index = static_cast<std::uint32_t>(random.below(codes));
      break;
    case 1:
      change_numbers(op.outputs, random, some_index(graph.tensors.size(), random));
      break;
    case 2:
      op.builtin_options.Reset();
      break;
    default:
      change_numbers(op.inputs, random, some_index(graph.tensors.size(), random));
  }
}

void change_subgraph(tflite::ModelT& model, std::size_t buffers, Random& random) {
  tflite::SubGraphT& graph = *random.pick(model.subgraphs);
  const std::int32_t tensor = some_index(graph.tensors.size(), random);
  switch (random.below(8)) {
    case 0:
      change_numbers(random.one_in(2) ? graph.inputs : graph.outputs, random, tensor);
      break;
    case 1:
      if (!graph.operators.empty()) std::swap(random.pick(graph.operators), random.pick(graph.operators));
      break;
    case 2:
      if (!graph.operators.empty())
        graph.operators.erase(graph.operators.begin() +
                              static_cast<std::ptrdiff_t>(random.below(graph.operators.size())));
      break;
    case 3:
    case 4:
      if (!graph.tensors.empty()) change_tensor(*random.pick(graph.tensors), buffers, random);
      break;
    default:
      if (!graph.operators.empty())
        change_operator(*random.pick(graph.operators), graph, model.operator_codes.size(), random);
  }
}

void change_model(tflite::ModelT& model, std::size_t buffers, Random& random, MutateBytes bytes) {
  switch (random.below(8)) {
    case 0:
      if (!model.operator_codes.empty())
        random.pick(model.operator_codes)->builtin_code = static_cast<tflite::BuiltinOperator>(random.below(210));
      break;
    case 1:
      if (!model.signature_defs.empty()) {
        tflite::SignatureDefT& signature = *random.pick(model.signature_defs);
        auto& maps = random.one_in(2) ? signature.inputs : signature.outputs;
        if (maps.empty()) return;
        tflite::TensorMapT& map = *random.pick(maps);
        map.name = bytes(map.name, random);
        map.tensor_index = static_cast<std::uint32_t>(random.below(16));
      }
      break;
    default:
      if (!model.subgraphs.empty()) change_subgraph(model, buffers, random);
  }
}

}  // namespace

std::string mutate_tflite(std::string input, Random& random, MutateBytes bytes) {
  auto file = read_tflite(shared(input));
  if (!file || file->buffers.empty() || !file->buffers[0].view.empty()) return bytes(std::move(input), random);
  if (random.one_in(6)) {
    SharedBytes& buffer = random.pick(file->buffers);
    if (&buffer != file->buffers.data()) buffer = shared(bytes(std::string(as_text(buffer.view)), random));
  } else {
    change_model(file->model, file->buffers.size(), random, bytes);
  }
  std::vector<WeightSource> buffers;
  for (const SharedBytes& buffer : file->buffers) buffers.push_back(stored_bytes(buffer));
  std::vector<std::byte> out;
  if (!write_tflite(file->model, buffers, sink_to(out))) return bytes(std::move(input), random);
  return std::string(as_text(out));
}

}  // namespace taper::fuzz
