#include "pipeline/inspect.h"

#include <algorithm>
#include <set>

#include "base/mapped_file.h"
#include "formats/archive_kind.h"
#include "formats/checkpoint_file.h"
#include "formats/file_look.h"
#include "formats/npy.h"
#include "formats/onnx.h"
#include "formats/tflite.h"
#include "frontend/outline.h"
#include "frontend/tensorflow.h"
#include "frontend/tflite.h"
#include "frontend/weights.h"
#include "ir/text.h"
#include "pipeline/model.h"
#include "pipeline/sources.h"
#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

TensorInfo tensor_info(std::string name, const Tensor& tensor) {
  return {std::move(name), std::string(info(tensor.dtype).name), shape_text(std::span(tensor.shape))};
}

// ------------------------------------------------------------------------------------------------------------- graphs

void count_operators(const Graph& graph, std::map<std::string, std::size_t>& operators) {
  for (const Node& node : graph.nodes()) {
    if (node.op != "constant") ++operators[node.op];
    for (const auto& region : node.regions) count_operators(*region, operators);
  }
}

// "s27 from 2 to 64, s0 from 16": sizes that may not be just any.
std::string limits_of(const Symbols& symbols) {
  std::string text;
  for (const auto& [symbol, range] : symbols) {
    const bool ends = range.most != SymbolRange::kOpen;
    constexpr std::int64_t kTelling = 2;  // exports don't tell 1 from others
    if (range.least <= kTelling && !ends) continue;
    text += fmt::format("{}{} from {}{}", text.empty() ? "" : ", ", symbol, range.least,
                        ends ? fmt::format(" to {}", range.most) : "");
  }
  return text;
}

Expected<Inspection> inspect_model(const SharedBytes& bytes, const fs::path& path, const InspectOptions& options) {
  LoadOptions how = options.load;
  how.proves_sizes = false;
  TAPER_ASSIGN(const Model model, load(path, how));
  const ModelInfo& info = model.info();
  Inspection found;
  found.what = info.source_format;
  if (!info.family.empty()) found.what += fmt::format(", {}", info.family);
  found.inputs = info.inputs;
  found.outputs = info.output_types;
  found.parameters = info.parameters;
  count_operators(model.impl().graph, found.operators);
  for (const HyperParameter& value : info.hyper_parameters)
    found.facts.emplace_back(value.name, fmt::format("{} ({})", value.value, value.origin));
  if (std::string limits = limits_of(model.impl().symbols); !limits.empty() && info.kind != SourceKind::family)
    found.facts.emplace_back("sizes", std::move(limits));
  found.facts.emplace_back("SHA-256", info.source_sha256);
  std::ranges::copy(info.warnings, std::back_inserter(found.notes));
  std::ranges::copy(info.assumptions, std::back_inserter(found.notes));
  if (options.graph) found.graph = print(model.impl().graph);
  if (info.kind == SourceKind::family || info.kind == SourceKind::module) {
    TAPER_ASSIGN(const Checkpoint checkpoint, read_checkpoint(bytes));
    TAPER_ASSIGN(const std::vector<WeightSet> sets, find_weights(*checkpoint.root));
    if (!sets.empty()) found.modules = outline(sets, !options.every_module);
  }
  return found;
}

// ---------------------------------------------------------------------------------------------------- files of tensors

// A checkpoint of no known family: its tensors, and why it isn't more.
Expected<Inspection> inspect_weights(const SharedBytes& bytes, const Error& reason, const InspectOptions& options) {
  TAPER_ASSIGN(const Checkpoint checkpoint, read_checkpoint(bytes));
  TAPER_ASSIGN(const std::vector<WeightSet> sets, find_weights(*checkpoint.root));
  Inspection found;
  found.what = checkpoint.format == "safetensors" ? checkpoint.format : checkpoint.format + " checkpoint";
  for (const WeightSet& set : sets) {
    if (!set.class_path.empty()) found.what += fmt::format(", pickled module {}", set.class_path);
    std::string prefix = set.place.empty() || sets.size() == 1 ? "" : set.place + ": ";
    prefix += set.prefix;
    for (const auto& [key, tensor] : set.tensors) {
      found.tensors.push_back(tensor_info(prefix + key, *tensor));
    }
    for (const auto& [key, why] : set.not_a_tensor) found.notes.push_back(fmt::format("{}{} {}", prefix, key, why));
  }
  found.modules = outline(sets, !options.every_module);
  found.parameters = found.modules->parameters;
  found.notes.push_back(reason.message);
  found.next_step = reason.hint;
  return found;
}

Expected<Inspection> inspect_arrays(const SharedBytes& bytes, bool archive) {
  Inspection found;
  found.what = archive ? "NumPy archive (.npz)" : "NumPy array (.npy)";
  if (!archive) {
    TAPER_ASSIGN(const Tensor tensor, read_npy(bytes));
    found.tensors.push_back(tensor_info("", tensor));
    return found;
  }
  TAPER_ASSIGN(const std::vector<std::string> names, npz_names(bytes));
  for (const std::string& name : names) {
    const auto tensor = read_npz_array(bytes, name);
    if (tensor) {
      found.tensors.push_back(tensor_info(name, *tensor));
    } else {
      found.notes.push_back(tensor.error().text());
    }
  }
  return found;
}

// --------------------------------------------------------------------------------------------------------------- ONNX

TensorInfo onnx_info(const onnx::ValueInfoProto& value) {
  const auto& type = value.type().tensor_type();
  const auto dtype = dtype_from_onnx(type.elem_type());
  std::string shape;
  for (const auto& dim : type.shape().dim()) {
    const std::string size = dim.has_dim_value()       ? fmt::format("{}", dim.dim_value())
                             : dim.dim_param().empty() ? "?"
                                                       : dim.dim_param();
    shape += (shape.empty() ? "" : ", ") + size;
  }
  if (!value.type().has_tensor_type()) return {value.name(), "not a tensor", ""};
  return {value.name(), dtype ? std::string(info(*dtype).name) : fmt::format("type {}", type.elem_type()),
          type.has_shape() ? "[" + shape + "]" : "of any shape"};
}

// protobuf has bounded the nesting when it parsed the file.
void count_onnx(const onnx::GraphProto& graph, Inspection& found) {
  for (const onnx::NodeProto& node : graph.node()) {
    ++found.operators[node.domain().empty() ? node.op_type() : node.domain() + "." + node.op_type()];
    for (const auto& attribute : node.attribute()) {
      if (attribute.has_g()) count_onnx(attribute.g(), found);
      for (const auto& body : attribute.graphs()) count_onnx(body, found);
    }
  }
  for (const onnx::TensorProto& weight : graph.initializer()) {
    std::int64_t count = 1;
    for (const std::int64_t size : weight.dims()) count = checked_mul(count, size).value_or(0);
    found.parameters = checked_add(*found.parameters, count).value_or(*found.parameters);
  }
}

Expected<Inspection> inspect_onnx(const SharedBytes& bytes) {
  TAPER_ASSIGN(const onnx::ModelProto model, read_onnx(bytes.view));
  Inspection found;
  found.what = "ONNX model";
  found.facts.emplace_back("IR version", fmt::format("{}", model.ir_version()));
  for (const auto& opset : model.opset_import())
    found.facts.emplace_back(opset.domain().empty() ? "opset" : "opset of " + opset.domain(),
                             fmt::format("{}", opset.version()));
  if (!model.producer_name().empty())
    found.facts.emplace_back("producer", fmt::format("{} {}", model.producer_name(), model.producer_version()));
  if (!model.doc_string().empty()) found.facts.emplace_back("description", model.doc_string());
  const onnx::GraphProto& graph = model.graph();
  std::set<std::string_view> weights;
  for (const auto& weight : graph.initializer()) weights.insert(weight.name());
  found.parameters = 0;
  for (const auto& input : graph.input())
    if (!weights.contains(input.name())) found.inputs.push_back(onnx_info(input));
  for (const auto& output : graph.output()) found.outputs.push_back(onnx_info(output));
  count_onnx(graph, found);
  for (const auto& function : model.functions()) ++found.operators["function " + function.name()];
  return found;
}

// ------------------------------------------------------------------------------------------------------------- TFLite

TensorInfo tflite_info(const tflite::TensorT& tensor, const std::string& name) {
  const auto dtype = dtype_from_tflite(tensor.type);
  const auto& shape = tensor.shape_signature.empty() ? tensor.shape : tensor.shape_signature;
  std::string sizes;
  for (const std::int32_t size : shape)
    sizes += fmt::format("{}{}", sizes.empty() ? "" : ", ", size < 0 ? "?" : fmt::format("{}", size));
  return {name, dtype ? std::string(info(*dtype).name) : tflite::EnumNameTensorType(tensor.type), "[" + sizes + "]"};
}

std::string tflite_operator(const tflite::OperatorCodeT& code) {
  const auto number = std::max(static_cast<int>(code.builtin_code), static_cast<int>(code.deprecated_builtin_code));
  const auto builtin = static_cast<tflite::BuiltinOperator>(number);
  if (builtin == tflite::BuiltinOperator::CUSTOM) return "custom " + code.custom_code;
  const std::string name = tflite::EnumNameBuiltinOperator(builtin);
  return name.empty() ? fmt::format("builtin {}", number) : name;
}

// How many elements a constant has, of types of less than a byte too; 0 where its sizes make no sense.
std::int64_t elements_of(const std::vector<std::int32_t>& shape) {
  std::int64_t count = 1;
  for (const std::int32_t size : shape) count = size < 0 ? 0 : checked_mul(count, std::int64_t{size}).value_or(0);
  return count;
}

Expected<Inspection> inspect_tflite(const SharedBytes& bytes, const InspectOptions& options) {
  TAPER_ASSIGN(const TfliteFile file, read_tflite(bytes));
  const tflite::ModelT& model = file.model;
  Inspection found;
  found.what = "TFLite model";
  if (!model.description.empty()) found.facts.emplace_back("description", model.description);
  found.facts.emplace_back("subgraphs", fmt::format("{}", model.subgraphs.size()));
  std::int64_t parameters = 0;
  for (const auto& subgraph : model.subgraphs) {
    for (const auto& op : subgraph->operators)
      ++found.operators[tflite_operator(*model.operator_codes[op->opcode_index])];
    for (const auto& tensor : subgraph->tensors)
      if (tensor->buffer < file.buffers.size() && !file.buffers[tensor->buffer].view.empty())
        parameters = checked_add(parameters, elements_of(tensor->shape)).value_or(parameters);
  }
  found.parameters = parameters;
  const tflite::SignatureDefT* signature = model.signature_defs.empty() ? nullptr : model.signature_defs[0].get();
  if (signature != nullptr && signature->subgraph_index < model.subgraphs.size()) {
    found.facts.emplace_back("signature", signature->signature_key);
    const auto& tensors = model.subgraphs[signature->subgraph_index]->tensors;
    const auto add = [&](const auto& maps, std::vector<TensorInfo>& list) {
      for (const auto& entry : maps)
        if (entry->tensor_index < tensors.size())
          list.push_back(tflite_info(*tensors[entry->tensor_index], entry->name));
    };
    add(signature->inputs, found.inputs);
    add(signature->outputs, found.outputs);
  } else if (!model.subgraphs.empty()) {
    const tflite::SubGraphT& main = *model.subgraphs[0];
    const auto add = [&](const std::vector<std::int32_t>& indices, std::vector<TensorInfo>& list) {
      for (const std::int32_t i : indices) {
        const tflite::TensorT& tensor = *main.tensors[static_cast<std::size_t>(i)];
        list.push_back(tflite_info(tensor, tensor.name));
      }
    };
    add(main.inputs, found.inputs);
    add(main.outputs, found.outputs);
  }
  if (options.graph) {
    TAPER_ASSIGN(const Graph graph, import_tflite(file));
    found.graph = print(graph);
  }
  return found;
}

// --------------------------------------------------------------------------------------------------------- SavedModel

TensorInfo tensorflow_info(const std::string& name, const tensorflow::TensorInfo& tensor) {
  const auto dtype = dtype_from_tensorflow(tensor.dtype());
  std::string sizes;
  for (const auto& dim : tensor.tensor_shape().dim())
    sizes += fmt::format("{}{}", sizes.empty() ? "" : ", ", dim.size() < 0 ? "?" : fmt::format("{}", dim.size()));
  return {name, dtype ? std::string(info(*dtype).name) : fmt::format("type {}", static_cast<int>(tensor.dtype())),
          "[" + sizes + "]"};
}

Expected<Inspection> inspect_saved_model(const fs::path& folder, const InspectOptions& options) {
  std::error_code ignored;
  if (!fs::exists(folder / kSavedModelFile, ignored))
    return fail_with_hint(fmt::format("a folder without '{}', which is no SavedModel", kSavedModelFile),
                          "name a file, or the folder of a SavedModel");
  TAPER_ASSIGN(const SavedModelContent content, read_saved_model_folder(folder));
  const auto& graph = content.model.meta_graphs(0);
  Inspection found;
  found.what = "TensorFlow SavedModel";
  for (const auto& [key, signature] : std::map(graph.signature_def().begin(), graph.signature_def().end())) {
    found.facts.emplace_back("signature", key);
    if (!found.inputs.empty() || !found.outputs.empty()) continue;
    for (const auto& [name, tensor] : std::map(signature.inputs().begin(), signature.inputs().end()))
      found.inputs.push_back(tensorflow_info(name, tensor));
    for (const auto& [name, tensor] : std::map(signature.outputs().begin(), signature.outputs().end()))
      found.outputs.push_back(tensorflow_info(name, tensor));
  }
  for (const auto& node : graph.graph_def().node()) ++found.operators[node.op()];
  for (const auto& function : graph.graph_def().library().function())
    for (const auto& node : function.node_def()) ++found.operators[node.op()];
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : content.variables) parameters += tensor.element_count();
  found.parameters = parameters;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) found.bytes += entry.file_size();
  if (options.graph) {
    TAPER_ASSIGN(const Graph read_back, import_tensorflow(content));
    found.graph = print(read_back);
  }
  return found;
}

// ------------------------------------------------------------------------------------------------------------ all
// kinds

bool is_npz(const SharedBytes& bytes) {
  const auto archive = open_zip(bytes);
  const ArchiveKind* kind = archive ? other_archive(*archive) : nullptr;
  return kind != nullptr && kind->format == "NumPy .npz";
}

// What is said of inputs is for programs: other files have them as they are.
Status refuse_input_flags(const InspectOptions& options) {
  const std::vector<InputOptions>& inputs = options.load.inputs;
  if (inputs.empty()) return {};
  return fail_with_hint(fmt::format("the input '{}' is described, but this is no program whose inputs can be chosen",
                                    printable(inputs[0].name)),
                        "leave --input-shape, --input-dtype and --dynamic out");
}

Expected<Inspection> inspect_bytes(const SharedBytes& bytes, const fs::path& path, const InspectOptions& options) {
  const std::string_view text = as_text(bytes.view);
  const bool is_tflite = text.size() > 8 && text.substr(4).starts_with("TFL3");
  const bool is_npy = text.starts_with("\x93NUMPY");
  const bool is_archive = !is_npy && looks_like_zip(text) && is_npz(bytes);
  if (is_tflite || is_npy || is_archive) {
    TAPER_TRY(refuse_input_flags(options));
    auto found = is_tflite ? inspect_tflite(bytes, options) : inspect_arrays(bytes, is_archive);
    if (!found) return std::unexpected(perhaps_damaged(std::move(found).error()));
    return found;
  }
  if (looks_like_onnx(text) && !options.graph && options.load.inputs.empty()) return inspect_onnx(bytes);
  Expected<Inspection> found = inspect_model(bytes, path, options);
  if (found || options.graph) return found;
  if (program_kind(bytes) == SourceKind::torchscript && options.load.inputs.empty())
    if (auto known = inspect_torchscript(bytes, found.error(), options)) return known;
  // A file of weights whose network isn't known still holds weights.
  if (auto weights = inspect_weights(bytes, found.error(), options); weights && !weights->tensors.empty())
    return weights;
  return found;
}

}  // namespace

Expected<Inspection> inspect(const fs::path& path, const InspectOptions& options) {
  std::error_code ignored;
  const std::string place = fmt::format("in '{}'", path_text(path));
  if (fs::is_directory(path, ignored)) {
    TAPER_TRY(refuse_input_flags(options));
    TAPER_ASSIGN_WITHIN(Inspection found, inspect_saved_model(path, options), place);
    return found;
  }
  if (path.filename() == kSavedModelFile && fs::is_regular_file(fs::symlink_status(path, ignored)))
    return fail_with_hint(
        fmt::format("'{}' is the graph of a SavedModel, whose variables are in other files of its folder",
                    path_text(path)),
        fmt::format("name the folder: taper inspect {}",
                    path_text(path.has_parent_path() ? path.parent_path() : fs::path("."))));
  TAPER_ASSIGN(const SharedBytes bytes, map_file(path));
  auto found = unless_changed(bytes, inspect_bytes(bytes, path, options));
  if (found) found->bytes = bytes.view.size();
  if (!found && found.error().where.empty()) return std::unexpected(within(std::move(found).error(), place));
  return found;
}

}  // namespace taper
