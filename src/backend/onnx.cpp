#include "backend/onnx.h"

#include <map>
#include <tuple>
#include <unordered_map>

#include "backend/unique_names.h"
#include "ops/table.h"
#include "passes/passes.h"

namespace taper {
namespace {

constexpr int kOpset = 17;
constexpr int kIrVersion = 8;

std::string place_of(const Node& node) {
  return fmt::format("in node '{}' ({}{}{})", node.results.empty() ? "" : node.results[0]->name, node.op,
                     node.scope.empty() ? "" : " of ", node.scope);
}

void declare(onnx::ValueInfoProto& info, const std::string& name, const Type& type) {
  info.set_name(name);
  auto* tensor = info.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx_type(type.dtype));
  auto* shape = tensor->mutable_shape();  // present though empty: a scalar is not a value of unknown rank
  for (const Dim& size : type.shape) {
    auto* dim = shape->add_dim();
    if (const auto number = size.constant())
      dim->set_dim_value(*number);
    else
      dim->set_dim_param(size.text());
  }
}

// ------------------------------------------------------------------------------------------------------ attributes

Expected<std::vector<std::int64_t>> numbers_of(const Shape& shape) {
  auto sizes = constant_sizes(shape);
  if (!sizes) return fail("the sizes {} are symbolic, ONNX takes numbers here", shape_text(shape));
  return std::move(*sizes);
}

Status write_attr(const Attr& attr, onnx::AttributeProto& out) {
  const auto integer = [&out](std::int64_t value) {
    out.set_type(onnx::AttributeProto::INT);
    out.set_i(value);
    return Status{};
  };
  const auto integers = [&out](const std::vector<std::int64_t>& values) {
    out.set_type(onnx::AttributeProto::INTS);
    out.mutable_ints()->Assign(values.begin(), values.end());
    return Status{};
  };
  if (const auto* flag = std::get_if<bool>(&attr)) return integer(*flag ? 1 : 0);
  if (const auto* value = std::get_if<std::int64_t>(&attr)) return integer(*value);
  if (const auto* dtype = std::get_if<DType>(&attr)) return integer(onnx_type(*dtype));
  if (const auto* values = std::get_if<std::vector<std::int64_t>>(&attr)) return integers(*values);
  if (const auto* real = std::get_if<double>(&attr)) {
    out.set_type(onnx::AttributeProto::FLOAT);  // ONNX has no wider one
    out.set_f(static_cast<float>(*real));
    return {};
  }
  if (const auto* text = std::get_if<std::string>(&attr)) {
    out.set_type(onnx::AttributeProto::STRING);
    out.set_s(*text);
    return {};
  }
  if (const auto* shape = std::get_if<Shape>(&attr)) {
    TAPER_ASSIGN(const auto sizes, numbers_of(*shape));
    return integers(sizes);
  }
  return fail("a tensor is no attribute of an ONNX operator");
}

// ----------------------------------------------------------------------------------------------------------- names

// Integers that no value of the graph holds.
struct MadeInput {
  bool scalar = false;
  std::vector<std::int64_t> values;
  auto operator<=>(const MadeInput&) const = default;

  Tensor tensor() const {
    if (scalar) return tensor_i64({}, values);
    return tensor_i64({static_cast<std::int64_t>(values.size())}, values);
  }
};

// What a graph and its regions share: all values of ONNX, inputs, outputs, initializers and results, have one space of
// names, and constants of regions are initializers of the outermost graph.
struct SharedNames {
  // Initializers by the view that they are, and those that spelling made by their value.
  using View = std::tuple<const std::byte*, DType, bool, std::vector<std::int64_t>, std::vector<std::int64_t>>;

  UniqueNames values = {};
  UniqueNames nodes = {};
  std::map<View, std::string> initializers = {};
  std::map<MadeInput, std::string> made = {};
};

class Speller {
 public:
  Speller(const Graph& graph, onnx::GraphProto& target, OnnxFile& file, SharedNames& shared)
      : graph_(graph), target_(target), file_(file), shared_(shared) {}

  Status run() {
    TAPER_TRY(declare_inputs_and_outputs());
    TAPER_TRY(add_nodes());
    add_identities();
    return {};
  }

  // The graph as a region; it sees the values of `captured` under their names, or has inputs of its own.
  Status run_region(const std::vector<std::string>* captured) {
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      const Value* input = graph_.inputs()[i];
      value_names_.emplace(input, captured != nullptr ? (*captured)[i] : shared_.values.unique(input->name));
      if (captured == nullptr) declare(*target_.add_input(), name_of(input), input->type);
    }
    TAPER_TRY(add_nodes());
    // What a region gives has names of its own: not those of its inputs, of constants or of values outside.
    for (const Output& output : graph_.outputs()) {
      const std::string name = shared_.values.unique(output.name);
      declare(*target_.add_output(), name, output.value->type);
      add_identity(output.value, name);
    }
    return {};
  }

 private:
  Status add_nodes() {
    for (const Node& node : graph_.nodes()) {
      if (op_of(node).is_constant) continue;
      if (auto status = add_node(node); !status)
        return std::unexpected(within(std::move(status).error(), place_of(node)));
    }
    return {};
  }
  Status add_regions(const Node& node, onnx::NodeProto& out);
  void add_identity(const Value* value, const std::string& name);
  Status declare_inputs_and_outputs();
  Status add_node(const Node& node);
  Status add_inputs(const Node& node, onnx::NodeProto& out);
  void add_identities();
  const std::string& name_of(const Value* value);
  std::string initializer(const Tensor& tensor, const std::string& name);
  std::string node_name(const std::string& scope, std::string_view op_type) {
    return shared_.nodes.unique(scope.empty() ? std::string(op_type) : fmt::format("{}/{}", scope, op_type));
  }

  const Graph& graph_;
  onnx::GraphProto& target_;
  OnnxFile& file_;
  SharedNames& shared_;
  std::unordered_map<const Value*, std::string> value_names_;
  std::unordered_map<const Value*, const Output*> named_by_;  // results that carry an output's name
};

Status Speller::declare_inputs_and_outputs() {
  for (const Value* input : graph_.inputs()) {
    if (!shared_.values.take(input->name)) return fail("two inputs are named '{}'", input->name);
    value_names_.emplace(input, input->name);
    declare(*target_.add_input(), input->name, input->type);
  }
  for (const Output& output : graph_.outputs()) {
    if (!shared_.values.take(output.name)) return fail("two inputs or outputs are named '{}'", output.name);
    declare(*target_.add_output(), output.name, output.value->type);
    const Node* producer = output.value->producer;
    if (producer != nullptr && !op_of(*producer).is_constant && named_by_.try_emplace(output.value, &output).second)
      value_names_.emplace(output.value, output.name);
  }
  return {};
}

const std::string& Speller::name_of(const Value* value) {
  const auto found = value_names_.find(value);
  if (found != value_names_.end()) return found->second;
  const Tensor* constant = constant_of(value);
  std::string name = constant != nullptr ? initializer(*constant, value->name) : shared_.values.unique(value->name);
  return value_names_.emplace(value, std::move(name)).first->second;
}

std::string Speller::initializer(const Tensor& tensor, const std::string& name) {
  SharedNames::View view{tensor.storage.view.data(), tensor.dtype, tensor.big_endian, tensor.shape, tensor.strides};
  const auto [entry, fresh] = shared_.initializers.try_emplace(std::move(view));
  if (fresh) {
    entry->second = shared_.values.unique(name);
    file_.weights.push_back({entry->second, stored_as_is(tensor)});
  }
  return entry->second;
}

// ----------------------------------------------------------------------------------------------------------- nodes

// An attribute or a computed constant, as the int64 tensor that ONNX takes for an input.
Expected<MadeInput> made_input(const SpelledInput& input, const Node& node) {
  if (input.make != nullptr) return MadeInput{false, input.make(node)};
  const Attr* attr = node.attrs.find(input.attr);
  if (attr == nullptr) return fail("attribute '{}' is missing", input.attr);
  if (const auto* integer = std::get_if<std::int64_t>(attr)) return MadeInput{true, {*integer}};
  if (const auto* integers = std::get_if<std::vector<std::int64_t>>(attr)) return MadeInput{false, *integers};
  if (const auto* shape = std::get_if<Shape>(attr)) {
    TAPER_ASSIGN(auto sizes, numbers_of(*shape));
    return MadeInput{false, std::move(sizes)};
  }
  return fail("attribute '{}' does not hold integers", input.attr);
}

Status Speller::add_inputs(const Node& node, onnx::NodeProto& out) {
  const auto add_operand = [&](std::size_t i) {
    const Value* value = i < node.operands.size() ? node.operands[i] : nullptr;
    out.add_input(value == nullptr ? std::string() : name_of(value));
  };
  for (const SpelledInput& input : op_of(node).onnx.inputs) {
    if (!input.attr.empty() || input.make != nullptr) {
      TAPER_ASSIGN(const MadeInput made, made_input(input, node));
      const auto [entry, fresh] = shared_.made.try_emplace(made);
      const std::string_view what = input.attr.empty() ? "constant" : input.attr;
      if (fresh) entry->second = initializer(made.tensor(), fmt::format("{}.{}", node.results[0]->name, what));
      out.add_input(entry->second);
    } else if (input.rest) {
      for (std::size_t i = input.operand; i < node.operands.size(); ++i) add_operand(i);
    } else {
      add_operand(input.operand);
    }
  }
  while (out.input_size() > 0 && out.input(out.input_size() - 1).empty()) out.mutable_input()->RemoveLast();
  return {};
}

Status Speller::add_node(const Node& node) {
  const OnnxSpelling& spelling = op_of(node).onnx;
  onnx::NodeProto& out = *target_.add_node();
  out.set_op_type(std::string(spelling.op_type));
  out.set_name(node_name(node.scope, spelling.op_type));
  TAPER_TRY(add_inputs(node, out));
  for (const auto& [onnx_name, name] : spelling.attrs) {
    const Attr* attr = node.attrs.find(name);
    if (attr == nullptr) return fail("attribute '{}' is missing", name);
    onnx::AttributeProto& target = *out.add_attribute();
    target.set_name(std::string(onnx_name));
    if (auto status = write_attr(*attr, target); !status)
      return std::unexpected(within(std::move(status).error(), fmt::format("in attribute '{}'", name)));
  }
  for (const auto& [name, value] : spelling.fixed) {
    onnx::AttributeProto& target = *out.add_attribute();
    target.set_name(name);
    TAPER_TRY(write_attr(value, target));
  }
  if (spelling.made_attrs != nullptr)
    for (const auto& [name, value] : spelling.made_attrs(node)) {
      onnx::AttributeProto& target = *out.add_attribute();
      target.set_name(name);
      TAPER_TRY(write_attr(value, target));
    }
  TAPER_TRY(add_regions(node, out));
  for (const Value* result : node.results) {
    out.add_output(name_of(result));
    if (!named_by_.contains(result)) declare(*target_.add_value_info(), name_of(result), result->type);
  }
  return {};
}

Status Speller::add_regions(const Node& node, onnx::NodeProto& out) {
  const Op& op = op_of(node);
  std::vector<std::string> operands;
  if (op.onnx.captures)
    for (std::size_t i = op.region_operands; i < node.operands.size(); ++i)
      operands.push_back(name_of(node.operands[i]));
  for (std::size_t i = 0; i < node.regions.size(); ++i) {
    onnx::AttributeProto& attribute = *out.add_attribute();
    attribute.set_name(std::string(op.onnx.regions[i]));
    attribute.set_type(onnx::AttributeProto::GRAPH);
    onnx::GraphProto& region = *attribute.mutable_g();
    region.set_name(fmt::format("{}.{}", node.results[0]->name, op.onnx.regions[i]));
    Speller speller(*node.regions[i], region, file_, shared_);
    TAPER_TRY(speller.run_region(op.onnx.captures ? &operands : nullptr));
  }
  return {};
}

void Speller::add_identity(const Value* value, const std::string& name) {
  onnx::NodeProto& out = *target_.add_node();
  out.set_op_type("Identity");
  out.set_name(node_name({}, "Identity"));
  out.add_input(name_of(value));
  out.add_output(name);
}

void Speller::add_identities() {
  for (const Output& output : graph_.outputs()) {
    const auto named = named_by_.find(output.value);
    if (named == named_by_.end() || named->second != &output) add_identity(output.value, output.name);
  }
}

}  // namespace

Expected<OnnxFile> spell_onnx(const Graph& graph, const OnnxMetadata& metadata) {
  TAPER_TRY(check_spelled(graph, Target::onnx));
  OnnxFile file;
  file.model.set_ir_version(kIrVersion);
  file.model.add_opset_import()->set_version(kOpset);
  file.model.set_producer_name(metadata.producer_name);
  file.model.set_producer_version(metadata.producer_version);
  file.model.set_doc_string(metadata.description);
  for (const auto& [key, value] : metadata.properties) {
    auto* property = file.model.add_metadata_props();
    property->set_key(key);
    property->set_value(value);
  }
  const std::string& name = metadata.graph_name.empty() ? graph.name : metadata.graph_name;
  file.model.mutable_graph()->set_name(name.empty() ? "graph" : name);
  SharedNames shared;
  if (auto status = Speller(graph, *file.model.mutable_graph(), file, shared).run(); !status)
    return std::unexpected(within(std::move(status).error(), fmt::format("in graph '{}'", name)));
  return file;
}

}  // namespace taper
