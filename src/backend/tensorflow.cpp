#include "backend/tensorflow.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "backend/unique_names.h"
#include "formats/text.h"
#include "ops/table.h"
#include "passes/passes.h"

namespace taper {
namespace {

using tensorflow::AttrValue;
using tensorflow::DataType;
using tensorflow::NodeDef;

// The version of GraphDef that the operators here need, that of TensorFlow 2.4.
constexpr int kGraphVersion = 561;

// ----------------------------------------------------------------------------------------------------------- names

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// TensorFlow's rule for the names of nodes: [A-Za-z0-9.][A-Za-z0-9_.\\/>-]*
bool is_node_name(std::string_view name) {
  const auto allowed = [](char c) { return is_letter_or_digit(c) || std::string_view("_.\\/>-").contains(c); };
  return !name.empty() && (is_letter_or_digit(name[0]) || name[0] == '.') && std::ranges::all_of(name, allowed);
}

// A value's name or a scope as TensorFlow writes such names: parts separated by slashes.
std::string node_name(std::string_view name) {
  std::string out;
  for (const char c : name) out += is_letter_or_digit(c) || c == '_' || c == '-' || c == '/' ? c : c == '.' ? '/' : '_';
  if (out.empty() || !is_letter_or_digit(out[0])) out.insert(0, 1, 'v');
  return out;
}

// The same for arguments of functions: [a-z][a-z0-9_]*
std::string argument_name(std::string_view name) {
  std::string out;
  for (const char c : name)
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : is_letter_or_digit(c) ? c : '_';
  if (out.empty() || !(out[0] >= 'a' && out[0] <= 'z')) out.insert(0, "v_");
  return out;
}

// A name in a signature: letters of ASCII and what else can be printed. Control characters and others give way.
std::string printable_name(std::string_view name, bool ascii, std::string_view fallback) {
  std::string out;
  ascii = ascii || check_utf8(name) != Utf8::valid;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (ascii && (byte & 0xc0U) == 0x80U) continue;  // a character that has begun
    out += byte < 0x20 || byte == 0x7f || (ascii && byte >= 0x80) ? '_' : c;
  }
  return out.empty() ? std::string(fallback) : out;
}

// What TensorFlow makes of the name of an input: the name of a parameter in Python.
std::string parameter_name(std::string_view name) {
  std::string out(name);
  std::ranges::replace_if(out, [](char c) { return !is_letter_or_digit(c); }, '_');
  return (out[0] >= '0' && out[0] <= '9') || out[0] == '_' ? "arg_" + out : out;
}

// Names that no parameter has: Python's keywords, and what the function is called with.
bool is_taken_by_python(std::string_view name) {
  constexpr std::array<std::string_view, 36> kTaken = {
      "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
      "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
      "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
      "or",    "pass",     "raise", "return", "self", "try",    "while",  "with",     "yield"};
  return std::ranges::find(kTaken, name) != kTaken.end();
}

// ------------------------------------------------------------------------------------------------------ attributes

AttrValue& attr(NodeDef& node, std::string_view name) {
  return (*node.mutable_attr())[std::string(name)];
}
void set_type(NodeDef& node, std::string_view name, DataType type) {
  attr(node, name).set_type(type);
}

void write_shape(const Shape& shape, tensorflow::TensorShapeProto& out) {
  for (const Dim& dim : shape) out.add_dim()->set_size(dim.constant().value_or(-1));
}
void write_shape(std::span<const std::int64_t> shape, tensorflow::TensorShapeProto& out) {
  for (const std::int64_t size : shape) out.add_dim()->set_size(size);
}

Status write_attr(const Attr& value, AttrValue& out) {
  if (const auto* flag = std::get_if<bool>(&value))
    out.set_b(*flag);
  else if (const auto* integer = std::get_if<std::int64_t>(&value))
    out.set_i(*integer);
  else if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&value))
    out.mutable_list()->mutable_i()->Assign(integers->begin(), integers->end());
  else if (const auto* real = std::get_if<double>(&value))
    out.set_f(static_cast<float>(*real));  // TensorFlow has no wider one
  else if (const auto* text = std::get_if<std::string>(&value))
    out.set_s(*text);
  else if (const auto* dtype = std::get_if<DType>(&value))
    out.set_type(tensorflow_type(*dtype));
  else
    return fail("a shape or a tensor is no attribute of a TensorFlow operator");
  return {};
}

// The int32 constant that an attribute becomes: a scalar for an integer, a vector for a list or shape (a symbol is -1).
struct IndexConstant {
  bool scalar = false;
  std::int64_t columns = 0;
  std::vector<std::int32_t> values;
  auto operator<=>(const IndexConstant&) const = default;

  Tensor tensor() const {
    if (scalar) return tensor_i32({}, values);
    const Tensor vector = tensor_i32({static_cast<std::int64_t>(values.size())}, values);
    return columns > 0 ? as_matrix(vector, columns) : vector;
  }
};

IndexConstant index_constant(const SpelledInput& input, const Node& node) {
  IndexConstant out;
  const auto append = [&out](std::int64_t value) { out.values.push_back(static_cast<std::int32_t>(value)); };
  if (input.make != nullptr) {
    out.columns = input.columns;
    std::ranges::for_each(input.make(node), append);
    return out;
  }
  const Attr& source = *node.attrs.find(input.attr);
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&source)) std::ranges::for_each(*list, append);
  if (const auto* shape = std::get_if<Shape>(&source))
    for (const Dim& dim : *shape) append(dim.constant().value_or(-1));
  if (const auto* number = std::get_if<std::int64_t>(&source)) {
    out.scalar = true;
    append(*number);
  }
  return out;
}

// ------------------------------------------------------------------------------------------------------- constants

bool is_zero(const Tensor& tensor) {
  return tensor.is_plain() && std::ranges::all_of(tensor.bytes(), [](std::byte byte) { return byte == std::byte{0}; });
}

// What people train: floating numbers, more than one. A vector of zeros is a bias that was not trained yet, larger
// zeros are the beginning of a state.
bool is_variable(const Tensor& tensor) {
  return is_floating(tensor.dtype) && tensor.element_count() > 1 && !(tensor.rank() > 1 && is_zero(tensor));
}

void write_constant(const Tensor& tensor, tensorflow::TensorProto& out) {
  out.set_dtype(tensorflow_type(tensor.dtype));
  write_shape(std::span(tensor.shape), *out.mutable_tensor_shape());
  if (tensor.dtype == DType::f32 && tensor.element_count() > 1 && is_zero(tensor)) {
    out.add_float_val(0);  // stands for all elements
    return;
  }
  std::string& content = *out.mutable_tensor_content();
  content.resize(static_cast<std::size_t>(tensor.byte_count()));
  convert_elements(tensor, tensor.dtype, std::as_writable_bytes(std::span(content)));
}

// ---------------------------------------------------------------------------------------------------------- scopes

// A place for nodes: the main graph, or the body of a function.
struct Scope {
  google::protobuf::RepeatedPtrField<NodeDef>& nodes;
  bool in_function;
  UniqueNames names = UniqueNames(Letters::in_any_case);       // TensorFlow's loaders rename what differs in case alone
  std::unordered_map<const Value*, std::string> tensors = {};  // how nodes refer to a value
  std::map<std::size_t, std::string> handles = {};             // variable -> how nodes refer to its resource
  std::map<std::size_t, std::string> reads = {};               // variable -> how nodes refer to its value
  std::map<IndexConstant, std::string> indices = {};
  std::vector<std::size_t> captured = {};  // variables that a function gets as arguments

  // The graph refers to result i of a node by number, functions also by the name of the result.
  std::string reference(const std::string& node, std::string_view result, std::size_t i = 0) const {
    if (in_function) return fmt::format("{}:{}:{}", node, result, i);
    return i == 0 ? node : fmt::format("{}:{}", node, i);
  }
  // Where results have names of their own, each counts from 0.
  std::string result_reference(const std::string& node, const TensorflowSpelling& spelling, std::size_t i) const {
    if (in_function && !spelling.results.empty()) return reference(node, spelling.results[i]);
    return reference(node, spelling.result, i);
  }
  NodeDef& add(std::string_view op, std::string name) {
    NodeDef& node = *nodes.Add();
    node.set_op(std::string(op));
    node.set_name(names.unique(std::move(name)));
    return node;
  }
};

class Speller {
 public:
  Speller(const Graph& graph, const std::string& description)
      : names_(signature_names(graph)), meta_(*file_.model.add_meta_graphs()) {
    file_.model.set_saved_model_schema_version(1);
    auto& info = *meta_.mutable_meta_info_def();
    info.set_meta_graph_version(description);
    info.add_tags("serve");
    info.set_stripped_default_attrs(true);
    meta_.mutable_graph_def()->mutable_versions()->set_producer(kGraphVersion);
  }

  Expected<SavedModelFile> run(const Graph& graph) {
    reserve_names();
    add_inputs(graph);
    TAPER_TRY(add_nodes(graph, main_));
    TAPER_TRY(add_outputs(graph));
    if (!file_.variables.empty()) add_saver();
    return std::move(file_);
  }

 private:
  using View = std::tuple<const std::byte*, DType, bool, std::vector<std::int64_t>, std::vector<std::int64_t>>;

  void reserve_names();
  std::string public_node(const std::string& name);  // of an input or output
  void add_inputs(const Graph& graph);
  Status add_outputs(const Graph& graph);
  Status add_nodes(const Graph& graph, Scope& scope);
  Status add_node(const Node& node, Scope& scope);
  Status add_operands(const Node& node, const TensorflowSpelling& spelling, Scope& scope, NodeDef& out);
  Status add_attrs(const Node& node, const TensorflowSpelling& spelling, NodeDef& out);
  Status add_functions(const Node& node, Scope& scope, NodeDef& out);
  void add_saver();

  std::string reference(const Value* value, Scope& scope);
  std::string constant(const Tensor& tensor, const std::string& name, Scope& scope);
  std::size_t variable(const Tensor& tensor, const std::string& name);
  std::string handle(std::size_t variable, Scope& scope);
  std::string read(std::size_t variable, Scope& scope);
  void finish_function(const Graph& graph, const std::vector<std::size_t>& captured, bool passes_on, Scope& scope,
                       tensorflow::FunctionDef& function);

  const SignatureNames names_;
  std::set<std::string, std::less<>> reserved_;  // names of the signature that are those of nodes
  SavedModelFile file_;
  tensorflow::MetaGraphDef& meta_;
  Scope main_{.nodes = *meta_.mutable_graph_def()->mutable_node(), .in_function = false};
  std::map<View, std::size_t> variables_;
  UniqueNames function_names_;
};

// The names of inputs and outputs are a promise; those of other nodes give way. Signatures take any text: where it is
// no name of a node, or another node's in upper or lower case, the node has another.
void Speller::reserve_names() {
  for (const auto* names : {&names_.inputs, &names_.outputs})
    for (const std::string& name : *names)
      if (is_node_name(name) && main_.names.take(name)) reserved_.insert(name);
  main_.names.take("save");
}

std::string Speller::public_node(const std::string& name) {
  return reserved_.erase(name) > 0 ? name : main_.names.unique(node_name(name));
}

void describe_tensor(const std::string& node, const Type& type, tensorflow::TensorInfo& info) {
  info.set_name(node + ":0");
  info.set_dtype(tensorflow_type(type.dtype));
  write_shape(type.shape, *info.mutable_tensor_shape());
}

tensorflow::SignatureDef& signature_of(tensorflow::MetaGraphDef& meta) {
  tensorflow::SignatureDef& signature = (*meta.mutable_signature_def())["serving_default"];
  signature.set_method_name("tensorflow/serving/predict");
  return signature;
}

void Speller::add_inputs(const Graph& graph) {
  for (const Value* input : graph.inputs()) {
    const std::string& name = names_.inputs[input->index];
    NodeDef& node = *main_.nodes.Add();
    node.set_op("Placeholder");
    node.set_name(public_node(name));
    set_type(node, "dtype", tensorflow_type(input->type.dtype));
    write_shape(input->type.shape, *attr(node, "shape").mutable_shape());
    main_.tensors.emplace(input, node.name());
    describe_tensor(node.name(), input->type, (*signature_of(meta_).mutable_inputs())[name]);
  }
}

Status Speller::add_outputs(const Graph& graph) {
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    const Output& output = graph.outputs()[i];
    const std::string& name = names_.outputs[i];
    std::string source = reference(output.value, main_);
    NodeDef& node = *main_.nodes.Add();
    node.set_op("Identity");
    node.set_name(public_node(name));
    node.add_input(std::move(source));
    set_type(node, "T", tensorflow_type(output.value->type.dtype));
    describe_tensor(node.name(), output.value->type, (*signature_of(meta_).mutable_outputs())[name]);
  }
  return {};
}

Status Speller::add_nodes(const Graph& graph, Scope& scope) {
  for (const Node& node : graph.nodes()) {
    if (op_of(node).is_constant) continue;
    if (auto status = add_node(node, scope); !status)
      return std::unexpected(within(std::move(status).error(), fmt::format("in node '{}'", node.results[0]->name)));
  }
  return {};
}

// -------------------------------------------------------------------------------------------------------------- values

std::string Speller::reference(const Value* value, Scope& scope) {
  if (const auto known = scope.tensors.find(value); known != scope.tensors.end()) return known->second;
  const Tensor& tensor = *constant_of(value);
  std::string text = is_variable(tensor) ? read(variable(tensor, value->name), scope)
                                         : constant(tensor, node_name(value->name), scope);
  return scope.tensors.emplace(value, std::move(text)).first->second;
}

std::string Speller::constant(const Tensor& tensor, const std::string& name, Scope& scope) {
  NodeDef& node = scope.add("Const", name);
  set_type(node, "dtype", tensorflow_type(tensor.dtype));
  write_constant(tensor, *attr(node, "value").mutable_tensor());
  return scope.reference(node.name(), "output");
}

std::size_t Speller::variable(const Tensor& tensor, const std::string& name) {
  const View view{tensor.storage.view.data(), tensor.dtype, tensor.big_endian, tensor.shape, tensor.strides};
  const auto [entry, fresh] = variables_.try_emplace(view, file_.variables.size());
  // Its name is that of its node: TensorFlow's converter looks variables up by either.
  if (fresh) file_.variables.push_back({main_.names.unique(node_name(name)), stored_as_is(tensor)});
  return entry->second;
}

std::string Speller::handle(std::size_t variable, Scope& scope) {
  const auto [entry, fresh] = scope.handles.try_emplace(variable);
  if (!fresh) return entry->second;
  const auto& [name, source] = file_.variables[variable];
  if (scope.in_function) {
    scope.captured.push_back(variable);
    return entry->second = scope.names.unique(argument_name(name + "_resource"));
  }
  NodeDef& node = *scope.nodes.Add();
  node.set_op("VarHandleOp");
  node.set_name(name);
  set_type(node, "dtype", tensorflow_type(source.dtype));
  write_shape(std::span(source.tensor.shape), *attr(node, "shape").mutable_shape());
  attr(node, "shared_name").set_s(name);
  return entry->second = node.name();
}

std::string Speller::read(std::size_t variable, Scope& scope) {
  const auto [entry, fresh] = scope.reads.try_emplace(variable);
  if (!fresh) return entry->second;
  const auto& [name, source] = file_.variables[variable];
  std::string resource = handle(variable, scope);
  NodeDef& node = scope.add("ReadVariableOp", name + "/Read/ReadVariableOp");
  node.add_input(std::move(resource));
  set_type(node, "dtype", tensorflow_type(source.dtype));
  return entry->second = scope.reference(node.name(), "value");
}

// --------------------------------------------------------------------------------------------------------------- nodes

Status Speller::add_operands(const Node& node, const TensorflowSpelling& spelling, Scope& scope, NodeDef& out) {
  for (const SpelledInput& input : spelling.inputs) {
    if (!input.attr.empty() || input.make != nullptr) {
      IndexConstant index = index_constant(input, node);
      const auto [entry, fresh] = scope.indices.try_emplace(std::move(index));
      const std::string_view what = input.attr.empty() ? "index" : input.attr;
      if (fresh) entry->second = constant(entry->first.tensor(), fmt::format("{}/{}", out.name(), what), scope);
      out.add_input(entry->second);
      continue;
    }
    const std::size_t end = input.rest ? node.operands.size() : input.operand + 1;
    for (std::size_t i = input.operand; i < end; ++i) {
      if (i >= node.operands.size() || node.operands[i] == nullptr) return fail("operand {} is absent", i);
      out.add_input(reference(node.operands[i], scope));
    }
  }
  return {};
}

Status Speller::add_attrs(const Node& node, const TensorflowSpelling& spelling, NodeDef& out) {
  for (const TensorflowType& type : spelling.types)
    set_type(out, type.attr, tensorflow_type(type.fixed ? *type.fixed : node.operands[type.operand]->type.dtype));
  for (const auto& [name, ours] : spelling.attrs)
    if (auto status = write_attr(*node.attrs.find(ours), attr(out, name)); !status)
      return std::unexpected(within(std::move(status).error(), fmt::format("in attribute '{}'", ours)));
  if (!spelling.count.empty()) attr(out, spelling.count).set_i(static_cast<std::int64_t>(node.operands.size()));
  if (spelling.computed.write != nullptr) {
    const std::vector<std::int64_t> values = spelling.computed.write(node);
    for (std::size_t i = 0; i < values.size(); ++i) attr(out, spelling.computed.attrs[i]).set_i(values[i]);
  }
  return {};
}

Status Speller::add_node(const Node& node, Scope& scope) {
  const TensorflowSpelling& spelling = op_of(node).tensorflow;
  const std::string op(spelling.op);
  // Constants that the operator needs come before it, but are named after it.
  NodeDef out;
  out.set_op(op);
  out.set_name(scope.names.unique(node.scope.empty() ? op : fmt::format("{}/{}", node_name(node.scope), op)));
  TAPER_TRY(add_operands(node, spelling, scope, out));
  TAPER_TRY(add_attrs(node, spelling, out));
  if (!node.regions.empty()) TAPER_TRY(add_functions(node, scope, out));
  for (std::size_t i = 0; i < node.results.size(); ++i)
    scope.tensors.emplace(node.results[i], scope.result_reference(out.name(), spelling, i));
  *scope.nodes.Add() = std::move(out);
  return {};
}

// Regions become functions of their operands and of the variables that any of them reads.
Status Speller::add_functions(const Node& node, Scope& scope, NodeDef& out) {
  const Op& op = op_of(node);
  const TensorflowRegions& spelling = op.tensorflow.regions;
  const std::string base = function_names_.unique(argument_name(out.name()));
  const std::size_t count = node.regions.size();
  std::vector<tensorflow::FunctionDef> functions(count);
  std::vector<Scope> scopes;
  std::vector<std::size_t> captured;
  for (std::size_t k = 0; k < count; ++k) {
    const Graph& region = *node.regions[k];
    functions[k].mutable_signature()->set_name(fmt::format("{}_{}", base, spelling.functions[k]));
    Scope& inner = scopes.emplace_back(Scope{.nodes = *functions[k].mutable_node_def(), .in_function = true});
    for (const Value* input : region.inputs())
      inner.tensors.emplace(input, inner.names.unique(argument_name(input->name)));
    TAPER_TRY(add_nodes(region, inner));
    for (const Output& output : region.outputs()) reference(output.value, inner);
    for (const std::size_t variable : inner.captured)
      if (std::ranges::find(captured, variable) == captured.end()) captured.push_back(variable);
  }
  AttrValue::ListValue& types = *attr(out, spelling.argument_types).mutable_list();
  AttrValue::ListValue& shapes = *attr(out, "output_shapes").mutable_list();
  for (std::size_t i = op.region_operands; i < node.operands.size(); ++i)
    types.add_type(tensorflow_type(node.operands[i]->type.dtype));
  for (const Value* result : node.results) {
    if (!spelling.result_types.empty())
      attr(out, spelling.result_types).mutable_list()->add_type(tensorflow_type(result->type.dtype));
    write_shape(result->type.shape, *shapes.add_shape());
  }
  for (const std::size_t variable : captured) {
    out.add_input(handle(variable, scope));
    types.add_type(tensorflow::DT_RESOURCE);
    if (spelling.carries) shapes.add_shape();
  }
  for (std::size_t k = 0; k < count; ++k) {
    const bool passes_on = spelling.carries && k + 1 == count;
    finish_function(*node.regions[k], captured, passes_on, scopes[k], functions[k]);
    attr(out, spelling.functions[k]).mutable_func()->set_name(functions[k].signature().name());
    *meta_.mutable_graph_def()->mutable_library()->add_function() = std::move(functions[k]);
  }
  if (spelling.carries) attr(out, "parallel_iterations").set_i(10);
  attr(out, "_lower_using_switch_merge").set_b(true);  // sessions then run regions in their own executor
  return {};
}

// Arguments: the region's inputs, then the variables. Results: its outputs; of a body, which passes them on, then the
// variables again.
void Speller::finish_function(const Graph& graph, const std::vector<std::size_t>& captured, bool passes_on,
                              Scope& scope, tensorflow::FunctionDef& function) {
  tensorflow::OpDef& signature = *function.mutable_signature();
  signature.set_is_stateful(!captured.empty());
  const auto add_argument = [&](const std::string& name, DataType type) {
    auto& argument = *signature.add_input_arg();
    argument.set_name(name);
    argument.set_type(type);
  };
  const auto add_result = [&](const std::string& source, DataType type) {
    auto& result = *signature.add_output_arg();
    result.set_name(fmt::format("result_{}", signature.output_arg_size()));
    result.set_type(type);
    (*function.mutable_ret())[result.name()] = source;
  };
  for (const Value* input : graph.inputs()) add_argument(scope.tensors.at(input), tensorflow_type(input->type.dtype));
  for (const Output& output : graph.outputs())
    add_result(scope.tensors.at(output.value), tensorflow_type(output.value->type.dtype));
  for (const std::size_t variable : captured) {
    const std::string resource = handle(variable, scope);
    add_argument(resource, tensorflow::DT_RESOURCE);
    if (passes_on) add_result(resource, tensorflow::DT_RESOURCE);
  }
}

// --------------------------------------------------------------------------------------------------------------- saver

// What TensorFlow's own Saver adds to a graph: one RestoreV2 whose results are assigned, one SaveV2, both of the file
// that save/Const names; and the variables in the collections where its tools look for them.
void Speller::add_saver() {
  const auto text_constant = [&](const std::string& name, const auto& texts, bool scalar) {
    NodeDef& node = main_.add("Const", name);
    set_type(node, "dtype", tensorflow::DT_STRING);
    tensorflow::TensorProto& value = *attr(node, "value").mutable_tensor();
    value.set_dtype(tensorflow::DT_STRING);
    value.mutable_tensor_shape();
    if (!scalar) value.mutable_tensor_shape()->add_dim()->set_size(static_cast<std::int64_t>(std::size(texts)));
    for (const auto& text : texts) value.add_string_val(text);
    return node.name();
  };
  std::vector<std::string> names, slices(file_.variables.size()), handles, values;
  AttrValue dtypes;
  for (std::size_t i = 0; i < file_.variables.size(); ++i) {
    names.push_back(file_.variables[i].name);
    handles.push_back(handle(i, main_));
    values.push_back(read(i, main_));
    dtypes.mutable_list()->add_type(tensorflow_type(file_.variables[i].source.dtype));
  }
  const std::string default_path = text_constant("save/filename", std::array{"model"}, true);
  NodeDef& path = main_.add("PlaceholderWithDefault", "save/Const");
  path.add_input(default_path);
  set_type(path, "dtype", tensorflow::DT_STRING);
  attr(path, "shape").mutable_shape();
  const std::string path_name = path.name();
  const std::string tensor_names = text_constant("save/tensor_names", names, false);
  const std::string slice_names = text_constant("save/shape_and_slices", slices, false);

  NodeDef& save = main_.add("SaveV2", "save/SaveV2");
  for (const std::string& input : {path_name, tensor_names, slice_names}) save.add_input(input);
  for (const std::string& value : values) save.add_input(value);
  attr(save, "dtypes") = dtypes;
  const std::string save_name = save.name();
  NodeDef& saved = main_.add("Identity", "save/control_dependency");
  saved.add_input(path_name);
  saved.add_input("^" + save_name);
  set_type(saved, "T", tensorflow::DT_STRING);
  attr(saved, "_class").mutable_list()->add_s("loc:@" + path_name);
  const std::string saved_name = saved.name();

  NodeDef& restore = main_.add("RestoreV2", "save/RestoreV2");
  for (const std::string& input : {path_name, tensor_names, slice_names}) restore.add_input(input);
  attr(restore, "dtypes") = dtypes;
  const std::string restore_name = restore.name();
  std::vector<std::string> assignments;
  for (std::size_t i = 0; i < file_.variables.size(); ++i) {
    NodeDef& assign = main_.add("AssignVariableOp", "save/AssignVariableOp");
    assign.add_input(handles[i]);
    assign.add_input(main_.reference(restore_name, "tensors", i));
    set_type(assign, "dtype", tensorflow_type(file_.variables[i].source.dtype));
    assignments.push_back(assign.name());

    tensorflow::VariableDef variable;
    variable.set_variable_name(handles[i] + ":0");
    variable.set_initializer_name(assign.name());
    variable.set_snapshot_name(values[i] + ":0");
    variable.set_is_resource(true);
    variable.set_trainable(true);
    for (const char* collection : {"variables", "trainable_variables"})
      (*meta_.mutable_collection_def())[collection].mutable_bytes_list()->add_value(variable.SerializeAsString());
  }
  NodeDef& restore_all = main_.add("NoOp", "save/restore_all");
  for (const std::string& assignment : assignments) restore_all.add_input("^" + assignment);

  tensorflow::SaverDef& saver = *meta_.mutable_saver_def();
  saver.set_filename_tensor_name(path_name + ":0");
  saver.set_save_tensor_name(saved_name + ":0");
  saver.set_restore_op_name(restore_all.name());
  saver.set_max_to_keep(5);
  saver.set_version(tensorflow::SaverDef::V2);
}

}  // namespace

SignatureNames signature_names(const Graph& graph) {
  SignatureNames names;
  UniqueNames parameters, outputs;
  for (const Value* input : graph.inputs()) {
    std::string name = printable_name(input->name, true, "input");
    if (is_taken_by_python(parameter_name(name))) name += '_';
    std::string apart = name;
    for (int number = 1; !parameters.take(parameter_name(apart)); ++number) apart = fmt::format("{}_{}", name, number);
    names.inputs.push_back(std::move(apart));
  }
  for (const Output& output : graph.outputs())
    names.outputs.push_back(outputs.unique(printable_name(output.name, false, "output")));
  return names;
}

Expected<SavedModelFile> spell_tensorflow(const Graph& graph, const std::string& description) {
  TAPER_TRY(check_spelled(graph, Target::tensorflow));
  return Speller(graph, description).run(graph);
}

}  // namespace taper
