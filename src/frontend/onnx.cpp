#include "frontend/onnx.h"

#include <set>

#include "frontend/input_names.h"
#include "frontend/onnx_exact.h"
#include "frontend/onnx_importer.h"
#include "frontend/onnx_names.h"
#include "ops/evaluate.h"
#include "ops/table.h"

namespace taper {
namespace onnx_reader {
namespace {

constexpr std::int64_t kNewestOpset = 25;
constexpr std::int64_t kOldestOpset = 7;
constexpr std::string_view kTooOld =
    "opsets before 7 are not read: onnx.version_converter.convert_version(model, 17) makes a newer file of it";
constexpr std::size_t kMostNodes = 1'000'000;  // after functions are inlined and loops are unrolled
constexpr std::int64_t kMostFolded = 4096;     // elements of operands that are computed when the file is read

// What to do about operators that can't be read.
std::string_view hint_for(std::string_view domain, std::string_view op) {
  struct Hint {
    std::string_view domain, op, hint;  // an empty op: all of the domain
  };
  static constexpr std::string_view kText = "text is not read: do this where the files are used";
  static constexpr Hint kHints[] = {
      {"", "StringNormalizer", kText},
      {"", "StringConcat", kText},
      {"", "StringSplit", kText},
      {"", "RegexFullMatch", kText},
      {"", "TfIdfVectorizer", kText},
      {"", "ImageDecoder", "decode images where the files are used"},
      {"", "RandomNormal", "random numbers are not read: make them an input"},
      {"", "RandomNormalLike", "random numbers are not read: make them an input"},
      {"", "RandomUniform", "random numbers are not read: make them an input"},
      {"", "RandomUniformLike", "random numbers are not read: make them an input"},
      {"", "Bernoulli", "random numbers are not read: make them an input"},
      {"", "Multinomial", "random numbers are not read: make them an input"},
      {"com.microsoft.nchwc", "",
       "ONNX Runtime wrote this file for one processor: save it with ORT_ENABLE_EXTENDED instead of ORT_ENABLE_ALL, or "
       "convert the file that it was made from"},
      {kContrib, "", "an operator of ONNX Runtime's own: convert the file from before its optimizer"},
      {"ai.onnx.ml", "", "classical models are not read, only networks"},
  };
  for (const Hint& hint : kHints)
    if (hint.domain == domain && (hint.op == op || hint.op.empty())) return hint.hint;
  return {};
}

// Elements of the small integer and float types, and complex numbers, can't be told from ours by their dtype.
int small_element(int element) {
  return dtype_from_onnx(element) ? 0 : element;
}

}  // namespace

Expected<Tensor> Importer::tensor(const onnx::TensorProto& message, const SharedBytes& raw) {
  return onnx_tensor(message, folder_, file_, raw);
}

const Shape* Importer::declared_shape(const std::string& name) const {
  const auto found = declared_.find(name);
  return found == declared_.end() ? nullptr : &found->second;
}

void Importer::assume_at_least(const Dim& dim, std::int64_t least) {
  if (const auto symbol = dim.as_symbol()) {
    SymbolRange& range = program_.symbols[*symbol];
    range.least = std::max(range.least, least);
    range.usual = std::max(range.usual, range.least);
  }
}

void Importer::assume_at_most(const Dim& dim, std::int64_t most) {
  if (const auto symbol = dim.as_symbol()) {
    SymbolRange& range = program_.symbols[*symbol];
    range.most = std::min(range.most, most);
    range.usual = std::min(range.usual, range.most);
  }
}

void Importer::assume(std::string sentence) {
  if (std::ranges::find(program_.assumptions, sentence) == program_.assumptions.end())
    program_.assumptions.push_back(std::move(sentence));
}

void Importer::want(const Value* value) {
  // The inputs that the value is computed of.
  std::vector<const Value*> open = {value};
  std::set<const Value*> seen;
  while (!open.empty()) {
    const Value* next = open.back();
    open.pop_back();
    if (next == nullptr || !seen.insert(next).second) continue;
    if (next->producer == nullptr) {
      const auto& inputs = program_.graph.inputs();
      if (std::ranges::find(inputs, next) != inputs.end() && std::ranges::find(wanted_, next->name) == wanted_.end())
        wanted_.push_back(next->name);
      continue;
    }
    open.insert(open.end(), next->producer->operands.begin(), next->producer->operands.end());
  }
}

Value* Importer::materialize(Builder& build, const Slot& slot) {
  if (slot.value != nullptr || slot.known == nullptr) return slot.value;
  const Known& known = *slot.known;
  std::vector<std::int64_t> numbers;
  for (const Dim& dim : known.elements)
    if (const auto number = dim.constant()) numbers.push_back(*number);
  if (numbers.size() == known.elements.size())
    return build.constant(converted(tensor_i64(known.shape, numbers), known.dtype));
  const DType whole = known.dtype == DType::i32 ? DType::i32 : DType::i64;
  Value* value = build("sizes", {}, {{"sizes", Shape(known.elements)}, {"dtype", whole}});
  if (known.shape.size() != 1) value = build("reshape", {value}, {{"shape", to_shape(known.shape)}});
  return known.dtype == whole ? value : build("cast", {value}, {{"to", known.dtype}});
}

Status Importer::define(Scope& scope, const std::string& name, Slot slot) {
  if (!scope.slots.emplace(name, std::move(slot)).second) return fail("'{}' is computed twice", name);
  return {};
}

Expected<Slot> Importer::find(Scope& scope, const std::string& name) {
  if (const auto found = scope.slots.find(name); found != scope.slots.end()) return found->second;
  for (const Scope* around = scope.outer; around != nullptr; around = around->outer) {
    const auto found = around->slots.find(name);
    if (found == around->slots.end()) continue;
    Slot slot = found->second;
    if (slot.value == nullptr || around->build == scope.build) return slot;
    // From outside of a region: constants are copied, their storage is shared.
    const Tensor* constant = constant_of(slot.value);
    if (constant == nullptr) return fail("'{}' lies outside of the region", name);
    slot.value = scope.build->constant(*constant, slot.value->name);
    scope.slots.emplace(name, slot);
    return slot;
  }
  return fail("'{}' is used before it is computed", name);
}

std::vector<std::string> Importer::captures(std::span<const onnx::GraphProto* const> graphs, Scope& outer) {
  std::vector<std::string> used, captured;
  std::set<std::string> seen;
  for (const onnx::GraphProto* graph : graphs) names_used(*graph, used, seen);
  for (const std::string& name : used)
    for (const Scope* around = &outer; around != nullptr; around = around->outer) {
      const auto found = around->slots.find(name);
      if (found == around->slots.end()) continue;
      if (found->second.value != nullptr && constant_of(found->second.value) == nullptr) captured.push_back(name);
      break;
    }
  return captured;
}

// --------------------------------------------------------------------------------------------------------------- nodes

std::int64_t Importer::opset(const Scope& scope, const std::string& domain) const {
  for (const Scope* around = &scope; around != nullptr; around = around->outer)
    if (const auto found = around->opsets.find(domain); found != around->opsets.end()) return found->second;
  const auto found = opsets_.find(domain);
  return found == opsets_.end() ? 1 : found->second;
}

const onnx::FunctionProto* Importer::function(const onnx::NodeProto& node) const {
  const auto found =
      functions_.find(operator_name(domain_of(node.domain()), node.op_type()) + ":" + onnx_overload(node));
  return found == functions_.end() ? nullptr : found->second;
}

void Importer::collect_unsupported(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes,
                                   const std::map<std::string, std::int64_t, std::less<>>& opsets, int depth) {
  if (depth > kMaxDepth) return;  // read_subgraph reports it
  for (const auto& node : nodes) {
    const std::string domain = domain_of(node.domain());
    if (const auto* body = function(node)) {
      if (!checked_functions_.insert(operator_name(domain, node.op_type()) + ":" + onnx_overload(node)).second)
        continue;
      std::map<std::string, std::int64_t, std::less<>> own;
      for (const auto& opset : body->opset_import()) own[domain_of(opset.domain())] = opset.version();
      collect_unsupported(body->node(), own, depth + 1);
      continue;
    }
    const auto version = opsets.find(domain);
    const std::int64_t number = version == opsets.end() ? 1 : version->second;
    if (find_row(domain, node.op_type(), number) == nullptr)
      unsupported_.add(operator_name(domain, node.op_type()),
                       node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name(),
                       domain.empty() && number < kOldestOpset ? kTooOld : hint_for(domain, node.op_type()));
    for (const auto& attribute : node.attribute())
      if (attribute.has_g()) collect_unsupported(attribute.g().node(), opsets, depth + 1);
  }
}

Expected<std::vector<Slot>> Importer::run_row(const Row& row, Call& call) {
  if (row.read != nullptr) {
    row.read(call);
  } else {
    Attrs attrs;
    for (const AttrPair& pair : row.attrs) {
      Attr attr = pair.fallback;
      if (std::holds_alternative<double>(attr))
        attr = call.real(pair.onnx, std::get<double>(attr));
      else if (std::holds_alternative<bool>(attr))
        attr = call.flag(pair.onnx, std::get<bool>(attr));
      else if (std::holds_alternative<std::int64_t>(attr))
        attr = call.integer(pair.onnx, std::get<std::int64_t>(attr));
      attrs.set(std::string(pair.ours), std::move(attr));
    }
    const std::vector<Value*> results =
        call.build.call(row.ours, call.all(), std::move(attrs), clean_name(call.name()));
    for (std::size_t i = 0; i < call.outputs() && i < results.size(); ++i) call.set(i, results[i]);
  }
  TAPER_TRY(call.build.status());
  if (const auto* unread = call.unread()) return fail("attribute '{}' is not read", unread->name());
  for (std::size_t i = 0; i < call.outputs(); ++i) {
    const Slot& slot = call.results()[i];
    if (call.wants(i) && slot.value == nullptr && slot.known == nullptr && slot.sequence == nullptr &&
        !slot.absent_optional)
      return fail("result {} ('{}') is not supported", i, call.name(i));
    if (slot.value != nullptr) TAPER_TRY(check_bounded(slot.value->type));
  }
  return call.results();
}

namespace {
// Whether float64 holds all of these integers; and whether it holds one that only stands for the largest there are, "up
// to the end", which is kept as well.
bool is_told_apart(const Array& array) {
  if (array.dtype != DType::i64 && array.dtype != DType::u64) return true;
  return std::ranges::all_of(array.values, [](double x) { return std::fabs(x) < 0x1p53 || std::fabs(x) == 0x1p63; });
}
bool holds_ends(const Array& array) {
  return array.dtype == DType::i64 &&
         std::ranges::any_of(array.values, [](double x) { return std::fabs(x) == 0x1p63; });
}

// Whether the operator passes numbers on, or compares them: then the largest there are stay what they stand for.
bool passes_numbers_on(const Node& node) {
  static constexpr std::string_view kOps[] = {
      "amax",          "amin",   "clamp",      "equal",   "expand",    "flip", "gather",  "greater",
      "greater_equal", "less",   "less_equal", "maximum", "minimum",   "pad",  "permute", "not_equal",
      "reshape",       "select", "slice",      "squeeze", "unsqueeze", "where"};
  const Op& op = op_of(node);
  return op.is_constant || op.rearrange != nullptr || std::ranges::find(kOps, node.op) != std::end(kOps);
}

// The results of a graph of constants; nothing where float64 does not hold a number on the way.
Expected<std::optional<std::vector<Array>>> computed_exactly(const Graph& graph) {
  bool exact = true;
  std::set<const Value*> ends;
  const auto look_at = [&](const Value& value, const Array& array) {
    exact = exact && is_told_apart(array);
    if (holds_ends(array)) ends.insert(&value);
  };
  for (const Node& node : graph.nodes()) {
    const Tensor* constant = constant_of(node.results[0]);
    if (constant == nullptr) continue;
    if (!is_exact_in_float64(*constant)) return std::nullopt;
    look_at(*node.results[0], to_array(*constant));
  }
  const ValueObserver observer = look_at;
  PreparedGraph prepared(graph, false);
  prepared.observe(&observer);
  TAPER_ASSIGN(std::vector<Array> values, prepared.run({}));
  const auto is_end = [&ends](const Value* value) { return ends.contains(value); };
  for (const Node& node : graph.nodes())
    if (!passes_numbers_on(node) &&
        (std::ranges::any_of(node.operands, is_end) || std::ranges::any_of(node.results, is_end)))
      return std::nullopt;
  if (!exact) return std::nullopt;
  return values;
}
}  // namespace

Expected<std::optional<std::vector<Tensor>>> Importer::compute(const Row& row, const onnx::NodeProto& node,
                                                               std::int64_t version, std::span<const Slot> inputs) {
  for (const auto& attribute : node.attribute())
    if (attribute.has_g()) return std::nullopt;
  std::int64_t elements = 0;
  bool any = false;
  for (const Slot& slot : inputs) {
    if (slot.sequence != nullptr || slot.absent_optional || slot.element != 0) return std::nullopt;
    if (slot.value == nullptr && slot.known == nullptr) continue;
    any = true;
    if (slot.value == nullptr)
      for (const Dim& dim : slot.known->elements)
        if (!dim.constant()) return std::nullopt;
    const Tensor* tensor = slot.value == nullptr ? nullptr : constant_of(slot.value);
    if (slot.value != nullptr && tensor == nullptr) return std::nullopt;
    elements += tensor == nullptr ? static_cast<std::int64_t>(slot.known->elements.size()) : tensor->element_count();
    if (elements > kMostFolded) return std::nullopt;
  }
  if (!any) return std::nullopt;
  Graph scratch;
  Builder build(scratch);
  std::vector<Slot> copies(inputs.begin(), inputs.end());
  for (Slot& slot : copies)
    if (slot.value != nullptr) slot.value = build.constant(*constant_of(slot.value));
  Call call(*this, build, node, version, std::move(copies));
  TAPER_ASSIGN(const std::vector<Slot> computed, run_row(row, call));
  for (const Slot& slot : computed) {
    if (slot.sequence != nullptr || slot.absent_optional || slot.element != 0) return std::nullopt;
    Value* value = materialize(build, slot);
    if (value != nullptr) scratch.add_output("result", value);
  }
  // What is in between may be larger than what comes in and out, but not much.
  for (const Node& inner : scratch.nodes())
    for (const Value* value : inner.results) {
      const auto count = element_count(value->type.shape).constant();
      if (!count || *count > 16 * kMostFolded) return std::nullopt;
    }
  TAPER_ASSIGN(const auto exact, computed_exactly(scratch));
  if (!exact) return std::nullopt;
  const std::vector<Array>& values = *exact;
  std::vector<Tensor> results;
  std::size_t next = 0;
  for (const Slot& slot : computed) {
    const bool given = slot.value != nullptr || slot.known != nullptr;
    results.push_back(given ? to_tensor(values[next++]) : Tensor{});
  }
  return results;
}

Status Importer::read_node(const onnx::NodeProto& node, Scope& scope) {
  if (++node_count_ > kMostNodes) return fail("more than {} nodes", kMostNodes);
  if (const auto* body = function(node)) return call_function(*body, node, scope);
  const std::string domain = domain_of(node.domain());
  const std::int64_t version = opset(scope, domain);
  const Row* row = find_row(domain, node.op_type(), version);
  if (row == nullptr) return fail("there is no such operator in version {}", version);
  std::vector<Slot> inputs;
  for (const std::string& name : node.input()) {
    Slot slot;
    if (!name.empty()) {
      TAPER_ASSIGN(slot, find(scope, name));
    }
    inputs.push_back(std::move(slot));
  }
  while (!inputs.empty() && node.input(static_cast<int>(inputs.size()) - 1).empty()) inputs.pop_back();
  Builder& build = *scope.build;
  build.set_scope(clean_name(node.name()));
  scope_ = &scope;
  std::vector<Slot> results;
  Call call(*this, build, node, version, inputs);
  if (call.lacks_operands(*row)) return build.status();
  if (auto followed = follow(*row, call)) {
    for (Known& known : *followed) {
      Slot slot;
      slot.known = std::make_shared<Known>(std::move(known));
      results.push_back(std::move(slot));
    }
  } else {
    TAPER_TRY(build.status());
    // Nodes of few numbers that are all known are computed now: what depends on them may have to be known as well.
    TAPER_ASSIGN(const auto computed, compute(*row, node, version, inputs));
    if (computed) {
      for (std::size_t i = 0; i < computed->size(); ++i) {
        Slot slot;
        if (call.wants(i)) slot.value = build.constant((*computed)[i], clean_name(call.name(i)));
        results.push_back(std::move(slot));
      }
    } else {
      TAPER_ASSIGN(results, run_row(*row, call));
    }
  }
  for (std::size_t i = 0; i < results.size(); ++i)
    if (call.wants(i)) TAPER_TRY(define(scope, call.name(i), std::move(results[i])));
  return {};
}

Status Importer::read_nodes(const Nodes& nodes, Scope& scope) {
  for (const onnx::NodeProto* next : in_order(nodes)) {
    const onnx::NodeProto& node = *next;
    if (auto status = read_node(node, scope); !status) {
      Error error = std::move(status).error();
      error.message = fmt::format("{}: {}", operator_name(domain_of(node.domain()), node.op_type()), error.message);
      const bool shapes = node.op_type() == "Reshape" || node.op_type() == "Expand";
      if (shapes && !program_.symbols.empty())
        error = hinted(std::move(error),
                       "the file leaves sizes open, and its exporter may have fixed them here: give the input with "
                       "numbers, --input-shape NAME=SIZES");
      const std::string name = node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
      return std::unexpected(within(std::move(error), fmt::format("in node '{}'", clean_name(name))));
    }
  }
  return {};
}

Status Importer::call_function(const onnx::FunctionProto& function, const onnx::NodeProto& node, Scope& scope) {
  if (std::ranges::find(stack_, &function) != stack_.end()) return fail("the function calls itself");
  if (depth_ >= kMaxDepth) return fail("functions and subgraphs lie more than {} deep", kMaxDepth);
  if (node.input_size() > function.input_size() || node.output_size() > function.output_size())
    return fail("{} inputs and {} outputs, the function has {} and {}", node.input_size(), node.output_size(),
                function.input_size(), function.output_size());
  Scope inner;
  inner.build = scope.build;
  for (const auto& opset : function.opset_import()) inner.opsets[domain_of(opset.domain())] = opset.version();
  std::map<std::string, const onnx::AttributeProto*, std::less<>> attributes;
  const std::vector<onnx::AttributeProto> defaults = onnx_defaults(function);
  for (const auto& attribute : defaults) attributes[attribute.name()] = &attribute;
  for (const auto& attribute : node.attribute()) {
    const onnx::AttributeProto* bound = &attribute;
    if (!attribute.ref_attr_name().empty()) {
      if (scope.attributes == nullptr || !scope.attributes->contains(attribute.ref_attr_name())) continue;
      bound = scope.attributes->find(attribute.ref_attr_name())->second;
    }
    attributes[attribute.name()] = bound;
  }
  inner.attributes = &attributes;
  for (int i = 0; i < node.input_size(); ++i) {
    if (node.input(i).empty()) continue;
    TAPER_ASSIGN(Slot slot, find(scope, node.input(i)));
    TAPER_TRY(define(inner, function.input(i), std::move(slot)));
  }
  stack_.push_back(&function);
  ++depth_;
  Status status = read_nodes(function.node(), inner);
  --depth_;
  stack_.pop_back();
  TAPER_TRY(std::move(status));
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty()) continue;
    TAPER_ASSIGN(Slot slot, find(inner, function.output(i)));
    TAPER_TRY(define(scope, node.output(i), std::move(slot)));
  }
  return {};
}

Expected<std::vector<Slot>> Importer::read_subgraph(const onnx::GraphProto& graph, Scope& scope) {
  if (depth_ >= kMaxDepth) return fail("functions and subgraphs lie more than {} deep", kMaxDepth);
  if (scope.attributes == nullptr && scope.outer != nullptr) scope.attributes = scope.outer->attributes;
  TAPER_TRY(read_initializers(graph, scope));
  ++depth_;
  Scope* const around = scope_;
  Status status = read_nodes(graph.node(), scope);
  scope_ = around;
  --depth_;
  TAPER_TRY(std::move(status));
  std::vector<Slot> results;
  for (const auto& output : graph.output()) {
    TAPER_ASSIGN(Slot slot, find(scope, output.name()));
    results.push_back(std::move(slot));
  }
  return results;
}

// --------------------------------------------------------------------------------------------------------------- model

Status Importer::read_initializers(const onnx::GraphProto& graph, Scope& scope, std::span<const SharedBytes> raw) {
  if (graph.sparse_initializer_size() > 0) return fail("sparse initializers are not read");
  for (int i = 0; i < graph.initializer_size(); ++i) {
    const auto& message = graph.initializer(i);
    const auto at = static_cast<std::size_t>(i);
    TAPER_ASSIGN(Tensor value, tensor(message, at < raw.size() ? raw[at] : SharedBytes{}));
    Slot slot;
    slot.element = small_element(message.data_type());
    slot.value = scope.build->constant(std::move(value), clean_name(message.name()));
    TAPER_TRY(scope.build->status());
    TAPER_TRY(check_bounded(slot.value->type));
    TAPER_TRY(define(scope, message.name(), std::move(slot)));
  }
  return {};
}

Expected<Type> Importer::input_type(const onnx::ValueInfoProto& input, int& element) {
  if (!input.has_type() || !input.type().has_tensor_type())
    return fail_with_hint(
        fmt::format("input '{}' is {}, expected a tensor", clean_name(input.name()),
                    input.type().has_sequence_type()   ? "a sequence"
                    : input.type().has_optional_type() ? "an optional"
                                                       : "no tensor"),
        "files of other formats take tensors alone: give each entry as an input of its own, or all of "
        "them joined along an axis");
  const auto& tensor = input.type().tensor_type();
  const auto dtype = dtype_of_element(tensor.elem_type());
  if (!dtype)
    return fail("input '{}' has element type {}, which is not read", clean_name(input.name()), tensor.elem_type());
  element = small_element(tensor.elem_type());
  Type type{*dtype, {}};
  const auto given = given_for(options.input_shapes, input.name());
  if (given != options.input_shapes.end()) {
    if (tensor.has_shape() && static_cast<std::size_t>(tensor.shape().dim_size()) != given->second.size())
      return fail("input '{}' has {} axes, its given shape {}", clean_name(input.name()), tensor.shape().dim_size(),
                  shape_text(given->second));
    type.shape = given->second;
  } else if (tensor.has_shape()) {
    TAPER_ASSIGN(type.shape, declared_shape(input));
  } else {
    return fail_with_hint(fmt::format("input '{}' has no shape", clean_name(input.name())),
                          fmt::format("give it: --input-shape {}=...", clean_name(input.name())));
  }
  TAPER_TRY(free_axes(input, type.shape));
  TAPER_TRY(check_bounded(type));
  return type;
}

// Sizes that the file neither gives nor names are symbols of the input's own.
Expected<Shape> Importer::declared_shape(const onnx::ValueInfoProto& input) {
  Shape shape;
  for (const auto& dim : input.type().tensor_type().shape().dim()) {
    if (dim.has_dim_value() && dim.dim_value() < 0)
      return fail("input '{}' has the size {}", clean_name(input.name()), dim.dim_value());
    if (dim.has_dim_value())
      shape.emplace_back(dim.dim_value());
    else if (!dim.dim_param().empty())
      shape.push_back(named_size(dim.dim_param(), plain_sizes_));
    else
      shape.push_back(symbol_names_.symbol(port_name(input.name()), shape.size()));
  }
  return shape;
}

// Opens the axes that --dynamic names. Those that have a symbol are open.
Status Importer::free_axes(const onnx::ValueInfoProto& input, Shape& shape) {
  const auto freed = given_for(options.dynamic, input.name());
  if (freed == options.dynamic.end()) return {};
  for (const std::int64_t given : freed->second) {
    TAPER_ASSIGN(const std::size_t axis, freed_axis(clean_name(input.name()), given, shape.size()));
    const auto size = shape[axis].constant();
    if (!size) {
      assume(fmt::format("axis {} of input '{}' is open already, --dynamic changes nothing: it is the size '{}'", axis,
                         clean_name(input.name()), shape[axis].text()));
      continue;
    }
    shape[axis] = symbol_names_.symbol(port_name(input.name()), axis);
    program_.symbols[*shape[axis].as_symbol()].usual = std::max<std::int64_t>(*size, 1);
  }
  return {};
}

Status Importer::read_inputs(Scope& scope) {
  std::vector<std::string> names;  // as the file has them, and as the written files will
  for (const auto& input : model_.graph().input()) {
    if (scope.slots.contains(input.name())) continue;
    names.push_back(port_name(input.name()));
    if (names.back() != input.name()) names.push_back(input.name());
  }
  TAPER_TRY(check_input_names(options, names));
  if (options.input_shapes.empty() && options.dynamic.empty()) plain_sizes_ = plain_sizes(model_.graph());
  for (const auto& input : model_.graph().input()) {
    if (scope.slots.contains(input.name())) continue;  // an initializer
    if (input.name().empty()) return fail("an input has no name");
    Slot slot;
    const auto fixed = given_for(options.input_values, input.name());
    if (fixed != options.input_values.end()) {
      slot.element = small_element(input.type().tensor_type().elem_type());
      slot.value = scope.build->constant(fixed->second, clean_name(input.name()));
      TAPER_TRY(scope.build->status());
    } else {
      TAPER_ASSIGN(Type type, input_type(input, slot.element));
      for (const Dim& dim : type.shape)
        for (const std::string& symbol : symbols_of(dim)) program_.symbols.try_emplace(symbol);
      const std::string name = port_name(input.name());
      const auto wanted = given_for(options.input_dtypes, input.name());
      const DType computed = type.dtype;
      if (wanted != options.input_dtypes.end()) type.dtype = wanted->second;
      slot.value = program_.graph.add_input(name, std::move(type));
      if (slot.value->type.dtype != computed) slot.value = (*scope.build)("cast", {slot.value}, {{"to", computed}});
      TAPER_TRY(scope.build->status());
      if (name != clean_name(input.name()))
        assume(fmt::format("input '{}' is '{}' in the files", clean_name(input.name()), name));
    }
    TAPER_TRY(define(scope, input.name(), std::move(slot)));
  }
  return {};
}

Expected<ImportedProgram> Importer::run() {
  for (const auto& opset : model_.opset_import()) opsets_[domain_of(opset.domain())] = opset.version();
  if (const auto main = opsets_.find(""); main != opsets_.end() && (main->second < 1 || main->second > kNewestOpset))
    return fail("opset {} is not read, only those up to {}", main->second, kNewestOpset);
  for (const auto& function : model_.functions())
    functions_.emplace(operator_name(domain_of(function.domain()), function.name()) + ":" + onnx_overload(function),
                       &function);
  collect_unsupported(model_.graph().node(), opsets_, 0);
  if (!unsupported_.empty()) return std::unexpected(unsupported_.error());

  const auto declare = [&](const auto& values) {
    for (const auto& value : values) {
      if (!value.type().has_tensor_type() || !value.type().tensor_type().has_shape()) continue;
      Shape shape;
      for (const auto& dim : value.type().tensor_type().shape().dim()) {
        if (!dim.has_dim_value() || dim.dim_value() < 0) break;
        shape.emplace_back(dim.dim_value());
      }
      if (static_cast<int>(shape.size()) == value.type().tensor_type().shape().dim_size())
        declared_.emplace(value.name(), std::move(shape));
    }
  };
  declare(model_.graph().output());
  declare(model_.graph().value_info());

  program_.graph.name = clean_name(model_.graph().name());
  Builder build(program_.graph);
  Scope scope;
  scope.build = &build;
  TAPER_TRY(read_initializers(model_.graph(), scope, file_->weights));
  TAPER_TRY(read_inputs(scope));
  TAPER_TRY(read_nodes(model_.graph().node(), scope));
  for (const auto& output : model_.graph().output()) {
    TAPER_ASSIGN(Slot slot, find(scope, output.name()));
    if (slot.sequence != nullptr || slot.absent_optional)
      return fail_with_hint(fmt::format("output '{}' is {}, expected a tensor", clean_name(output.name()),
                                        slot.absent_optional ? "an empty optional" : "a sequence"),
                            "take its entries (SequenceAt) or join them (ConcatFromSequence) for outputs");
    Value* value = materialize(build, slot);
    TAPER_TRY(build.status());
    program_.graph.add_output(port_name(output.name()), value);
  }
  TAPER_TRY(check(program_.graph));
  return std::move(program_);
}

}  // namespace onnx_reader

Expected<ImportedProgram> import_onnx(const std::filesystem::path& path, const SharedBytes& bytes,
                                      const ProgramOptions& options, std::vector<std::string>* wanted) {
  TAPER_ASSIGN(MappedOnnx parsed, read_onnx(bytes));
  const auto model = std::make_shared<const MappedOnnx>(std::move(parsed));
  OnnxFolder folder;
  if (!path.empty()) folder = OnnxFolder(path.has_parent_path() ? path.parent_path() : ".");
  onnx_reader::Importer importer(model, folder, options);
  auto program = importer.run();
  if (wanted != nullptr) *wanted = importer.wanted();
  return program;
}

}  // namespace taper
