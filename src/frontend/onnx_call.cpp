#include "frontend/onnx_call.h"

#include <set>

#include "frontend/onnx.h"
#include "frontend/onnx_importer.h"
#include "ops/rules.h"

namespace taper::onnx_reader {
namespace {

using onnx::AttributeProto;

// Elements of a constant that is read as sizes, axes and the like.
constexpr std::int64_t kMostKnown = 4096;

bool counts(DType dtype) {
  return !is_floating(dtype);
}

}  // namespace

Call::Call(Importer& in, Builder& builder, const onnx::NodeProto& proto, std::int64_t opset, std::vector<Slot> inputs)
    : build(builder), importer(in), node(proto), version(opset), inputs_(std::move(inputs)) {
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    present_.push_back(i >= static_cast<std::size_t>(proto.input_size()) || !proto.input(static_cast<int>(i)).empty());
  results_.resize(static_cast<std::size_t>(proto.output_size()));
}

void Call::fail(std::string message, std::string hint) {
  build.set_error({std::move(message), {}, std::move(hint)});
}

Slot& Call::slot(std::size_t i) {
  if (i < inputs_.size()) return inputs_[i];
  fail(fmt::format("input {} is missing", i));
  return missing_ = {};
}

Value* Call::x(std::size_t i) {
  if (failed()) return nullptr;
  if (!has(i)) {
    fail(fmt::format("input {} is missing", i));
    return nullptr;
  }
  Slot& slot = inputs_[i];
  if (slot.value == nullptr) {
    if (slot.sequence != nullptr || slot.absent_optional) {
      fail(fmt::format("input {} is {}, expected a tensor", i, slot.sequence != nullptr ? "a sequence" : "empty"));
      return nullptr;
    }
    slot.value = importer.materialize(build, slot);
  }
  return slot.value;
}

bool Call::lacks_operands(const Row& row) {
  for (std::size_t i = 0; i < row.operands && !failed(); ++i)
    if (!has(i)) fail(fmt::format("input {} is missing", i));
  return failed();
}

std::vector<Value*> Call::all() {
  std::vector<Value*> values;
  for (std::size_t i = 0; i < inputs_.size(); ++i) values.push_back(x(i));
  return values;
}

const Type& Call::type(std::size_t i) {
  static const Type none;
  const Value* value = x(i);
  return value == nullptr ? none : value->type;
}

std::optional<Tensor> Call::constant(std::size_t i) {
  if (failed() || !has(i)) return std::nullopt;
  if (inputs_[i].value == nullptr && inputs_[i].known == nullptr) return std::nullopt;
  if (const Known* known = inputs_[i].known.get(); known != nullptr && inputs_[i].value == nullptr) {
    for (const Dim& dim : known->elements)
      if (!dim.constant()) return std::nullopt;
  }
  const Tensor* tensor = constant_of(x(i));
  return tensor == nullptr ? std::nullopt : std::optional(*tensor);
}

std::optional<Tensor> Call::needed_constant(std::size_t i) {
  auto tensor = constant(i);
  if (!tensor && !failed()) fail_for_unknown(i);
  return tensor;
}

std::optional<Known> Call::known_if_any(std::size_t i) {
  if (failed() || !has(i)) return std::nullopt;
  if (inputs_[i].known != nullptr) return *inputs_[i].known;
  if (inputs_[i].value == nullptr || !counts(inputs_[i].value->type.dtype)) return std::nullopt;
  const Tensor* tensor = constant_of(inputs_[i].value);
  if (tensor == nullptr || tensor->element_count() > kMostKnown) return std::nullopt;
  std::vector<std::int64_t> values(static_cast<std::size_t>(tensor->element_count()));
  convert_elements(*tensor, DType::i64, std::as_writable_bytes(std::span(values)));
  return Known{tensor->dtype, tensor->shape, {values.begin(), values.end()}};
}

std::optional<Known> Call::known(std::size_t i) {
  auto known = known_if_any(i);
  if (!known && !failed()) fail_for_unknown(i);
  return known;
}

void Call::fail_for_unknown(std::size_t i) {
  if (!has(i)) {
    fail(fmt::format("input {} is missing", i));
    return;
  }
  importer.want(inputs_[i].value);
  fail(fmt::format("the value of input {} ('{}') has to be known when the file is read", i,
                   node.input(static_cast<int>(i))),
       "store it as an initializer; where it comes of sizes, give those as numbers: --input-shape NAME=SIZES");
}

std::vector<std::int64_t> Call::integers_of(std::size_t i) {
  std::vector<std::int64_t> values;
  const auto content = known(i);
  if (!content) return values;
  for (const Dim& dim : content->elements) {
    if (!dim.constant()) {
      fail(fmt::format("input {} is {}, expected numbers", i, shape_text(content->elements)));
      return {};
    }
    values.push_back(*dim.constant());
  }
  return values;
}

std::vector<double> Call::reals_of(std::size_t i) {
  const auto tensor = needed_constant(i);
  if (!tensor) return {};
  if (tensor->element_count() > kMostKnown) {
    fail(fmt::format("input {} has {} elements, expected at most {}", i, tensor->element_count(), kMostKnown));
    return {};
  }
  return to_double(*tensor);
}

// ---------------------------------------------------------------------------------------------------------- attributes

const AttributeProto* Call::attribute(std::string_view name) {
  read_.emplace(name);
  for (const AttributeProto& attribute : node.attribute()) {
    if (attribute.name() != name) continue;
    if (attribute.ref_attr_name().empty()) return &attribute;
    // An attribute of the function that is called; one that the call doesn't give is not there.
    const auto* bound = importer.scope()->attributes;
    if (bound == nullptr) return nullptr;
    const auto found = bound->find(attribute.ref_attr_name());
    return found == bound->end() ? nullptr : found->second;
  }
  return nullptr;
}

void Call::ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) read_.emplace(name);
}

const AttributeProto* Call::unread() const {
  for (const AttributeProto& attribute : node.attribute())
    if (!read_.contains(attribute.name())) return &attribute;
  return nullptr;
}

namespace {
// The attribute if it is of the kind, or null; a wrong kind is an error.
const AttributeProto* of_kind(Call& call, std::string_view name, AttributeProto::AttributeType kind) {
  const AttributeProto* attribute = call.attribute(name);
  if (attribute == nullptr || attribute->type() == kind) return attribute;
  call.fail(fmt::format("attribute '{}' is of kind {}, expected {}", name, static_cast<int>(attribute->type()),
                        static_cast<int>(kind)));
  return nullptr;
}
}  // namespace

std::int64_t Call::integer(std::string_view name, std::int64_t fallback) {
  const auto* attribute = of_kind(*this, name, AttributeProto::INT);
  return attribute == nullptr ? fallback : attribute->i();
}

double Call::real(std::string_view name, double fallback) {
  const auto* attribute = of_kind(*this, name, AttributeProto::FLOAT);
  return attribute == nullptr ? fallback : static_cast<double>(attribute->f());
}

std::string Call::text(std::string_view name, std::string_view fallback) {
  const auto* attribute = of_kind(*this, name, AttributeProto::STRING);
  return attribute == nullptr ? std::string(fallback) : attribute->s();
}

std::optional<std::vector<std::int64_t>> Call::integers(std::string_view name) {
  const auto* attribute = of_kind(*this, name, AttributeProto::INTS);
  if (attribute == nullptr) return std::nullopt;
  return std::vector<std::int64_t>(attribute->ints().begin(), attribute->ints().end());
}

std::optional<std::vector<double>> Call::reals(std::string_view name) {
  const auto* attribute = of_kind(*this, name, AttributeProto::FLOATS);
  if (attribute == nullptr) return std::nullopt;
  return std::vector<double>(attribute->floats().begin(), attribute->floats().end());
}

std::optional<std::vector<std::string>> Call::texts(std::string_view name) {
  const auto* attribute = of_kind(*this, name, AttributeProto::STRINGS);
  if (attribute == nullptr) return std::nullopt;
  return std::vector<std::string>(attribute->strings().begin(), attribute->strings().end());
}

std::optional<Tensor> Call::tensor(std::string_view name) {
  const auto* attribute = of_kind(*this, name, AttributeProto::TENSOR);
  if (attribute == nullptr) return std::nullopt;
  auto tensor = importer.tensor(attribute->t());
  if (!tensor) {
    build.set_error(std::move(tensor).error());
    return std::nullopt;
  }
  return std::move(*tensor);
}

const onnx::GraphProto* Call::graph(std::string_view name) {
  const auto* attribute = of_kind(*this, name, AttributeProto::GRAPH);
  if (attribute == nullptr && !failed()) fail(fmt::format("attribute '{}' is missing", name));
  return attribute == nullptr ? nullptr : &attribute->g();
}

std::int64_t Call::axis(std::int64_t axis, std::size_t rank) {
  const auto normal = normalize_axis(axis, rank);
  if (normal) return static_cast<std::int64_t>(*normal);
  build.set_error(normal.error());
  return 0;
}

// ------------------------------------------------------------------------------------------------------------- results

void Call::set(std::size_t i, Value* value) {
  if (i < results_.size()) results_[i].value = value;
}

void Call::set(std::size_t i, Slot slot) {
  if (i < results_.size()) results_[i] = std::move(slot);
}

// -------------------------------------------------------------------------------------------------------------- pieces

Value* Call::number(double value, DType dtype) const {
  Array array{dtype, {}, {value}};
  return build.constant(to_tensor(array));
}

Value* Call::vector(const std::vector<std::int64_t>& values, DType dtype) const {
  return build.constant(converted(tensor_i64({static_cast<std::int64_t>(values.size())}, values), dtype));
}

Value* Call::cast(Value* value, DType dtype, std::string_view name) const {
  if (value == nullptr || value->type.dtype == dtype) return value;
  return build("cast", {value}, {{"to", dtype}}, name);
}

Value* Call::reshape(Value* value, Shape shape, std::string_view name) const {
  if (value == nullptr || value->type.shape == shape) return value;
  return build("reshape", {value}, {{"shape", std::move(shape)}}, name);
}

Value* Call::permute(Value* value, std::vector<std::int64_t> dims, std::string_view name) const {
  if (std::ranges::is_sorted(dims)) return value;
  return build("permute", {value}, {{"dims", std::move(dims)}}, name);
}

Value* Call::arange(const Dim& length, const Dim& start, DType dtype) const {
  return build("arange", {},
               {{"start", Shape{start}}, {"step", std::int64_t{1}}, {"length", Shape{length}}, {"dtype", dtype}});
}

Value* Call::unsqueeze(Value* value, std::vector<std::int64_t> dims) const {
  if (dims.empty()) return value;
  return build("unsqueeze", {value}, {{"dims", std::move(dims)}});
}

Value* Call::squeeze(Value* value, std::vector<std::int64_t> dims) const {
  if (dims.empty()) return value;
  return build("squeeze", {value}, {{"dims", std::move(dims)}});
}

Value* Call::slice(Value* value, std::int64_t dim, std::int64_t start, Dim end, std::string_view name) const {
  return build("slice", {value}, {{"dim", dim}, {"start", start}, {"end", Shape{std::move(end)}}}, name);
}

Value* Call::full(Shape shape, double value, DType dtype) const {
  return build("full", {}, {{"shape", std::move(shape)}, {"value", value}, {"dtype", dtype}});
}

Value* Call::binary(std::string_view op, Value* a, double b) const {
  return a == nullptr ? nullptr : build(op, {a, number(b, a->type.dtype)});
}

std::vector<Value*> Call::apply(std::string_view op, std::int64_t of_version, const std::vector<Value*>& operands,
                                std::initializer_list<std::string_view> kept, std::size_t results) {
  std::vector<Value*> values(results, nullptr);
  if (failed()) return values;
  onnx::NodeProto inner;
  inner.set_name(node.name());
  inner.set_op_type(std::string(op));
  std::vector<Slot> slots;
  for (Value* operand : operands) {
    inner.add_input(operand == nullptr ? "" : operand->name);
    slots.push_back({.value = operand});
  }
  while (!slots.empty() && slots.back().value == nullptr) slots.pop_back();
  for (std::size_t i = 0; i < results; ++i) inner.add_output(wants(i) ? name(i) : "result");
  for (const std::string_view name : kept) {
    const AttributeProto* given = attribute(name);
    if (given == nullptr) continue;
    AttributeProto* copy = inner.add_attribute();
    *copy = *given;
    copy->set_name(std::string(name));
  }
  const Row* row = find_row("", op, of_version);
  if (row == nullptr) {
    fail(fmt::format("there is no {} in version {}", op, of_version));
    return values;
  }
  Call call(importer, build, inner, of_version, std::move(slots));
  if (call.lacks_operands(*row)) return values;
  const auto found = importer.run_row(*row, call);
  if (!found) {
    build.set_error(found.error());
    return values;
  }
  for (std::size_t i = 0; i < results; ++i) values[i] = importer.materialize(build, (*found)[i]);
  return values;
}

// --------------------------------------------------------------------------------------------------------------- table

const std::vector<Row>& rows() {
  static const std::vector<Row> table = [] {
    std::vector<Row> all;
    for (auto* family : {elementwise_rows,
                         matrix_rows,
                         reduce_rows,
                         shape_rows,
                         pad_rows,
                         index_rows,
                         image_rows,
                         resample_rows,
                         sampling_rows,
                         norm_rows,
                         control_rows,
                         quantized_rows,
                         recurrent_rows,
                         attention_rows,
                         loss_rows,
                         sequence_rows,
                         signal_rows,
                         contrib_rows,
                         contrib_attention_rows,
                         contrib_quantized_rows})
      for (Row& row : family()) all.push_back(std::move(row));
    return all;
  }();
  return table;
}

const Row* find_row(std::string_view domain, std::string_view op, std::int64_t version) {
  static const auto index = [] {
    std::unordered_map<std::string_view, std::vector<const Row*>> by_name;
    for (const Row& row : rows()) by_name[row.op].push_back(&row);
    return by_name;
  }();
  const auto found = index.find(op);
  if (found == index.end()) return nullptr;
  const Row* newest = nullptr;
  for (const Row* row : found->second)
    if (row->domain == domain && row->since <= version && (newest == nullptr || row->since > newest->since))
      newest = row;
  return newest;
}

std::optional<DType> dtype_of_element(int element) {
  return widened_dtype(element);
}

}  // namespace taper::onnx_reader

namespace taper {

std::vector<std::string> known_onnx_operators() {
  std::set<std::string> names;
  for (const onnx_reader::Row& row : onnx_reader::rows())
    names.insert(fmt::format("{}{}{}", row.domain, row.domain.empty() ? "" : ".", row.op));
  return {names.begin(), names.end()};
}

}  // namespace taper
