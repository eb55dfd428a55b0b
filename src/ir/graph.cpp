#include "ir/graph.h"

#include <algorithm>

namespace taper {

std::string type_text(const Type& type) {
  return std::string(info(type.dtype).short_name) + shape_text(type.shape);
}

bool same_attr(const Attr& a, const Attr& b) {
  if (a.index() != b.index()) return false;
  return std::visit(
      [&b](const auto& x) {
        using T = std::decay_t<decltype(x)>;
        const T& y = std::get<T>(b);
        if constexpr (std::is_same_v<T, Tensor>)
          return identical(x, y);
        else if constexpr (std::is_same_v<T, double>)
          return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
        else
          return x == y;
      },
      a);
}

const Attrs::List& Attrs::list() const {
  static const List kNone;
  return list_ == nullptr ? kNone : *list_;
}

void Attrs::set(std::string name, Attr value) {
  if (list_ == nullptr)
    list_ = std::make_shared<List>();
  else if (list_.use_count() > 1)
    list_ = std::make_shared<List>(*list_);
  const auto at = std::ranges::lower_bound(*list_, name, {}, &NamedAttr::first);
  if (at != list_->end() && at->first == name)
    at->second = std::move(value);
  else
    list_->insert(at, {std::move(name), std::move(value)});
}

const Attr* Attrs::find(std::string_view name) const {
  const auto at =
      std::ranges::lower_bound(list(), name, {}, [](const NamedAttr& a) { return std::string_view(a.first); });
  return at != end() && at->first == name ? &at->second : nullptr;
}

bool names_symbols(const Node& node) {
  return std::ranges::any_of(node.attrs, [](const NamedAttr& attr) {
    const auto* shape = std::get_if<Shape>(&attr.second);
    return shape != nullptr && !constant_sizes(*shape);
  });
}

const Tensor* constant_of(const Value* value) {
  if (value == nullptr || value->producer == nullptr || value->producer->op != "constant") return nullptr;
  return &value->producer->attrs.get<Tensor>("value");
}

Value* Graph::add_value(std::string_view name_hint, Type type, Node* producer, std::size_t index) {
  values_.push_back({std::string(name_hint), std::move(type), producer, index, values_.size(), nullptr});
  Value* value = &values_.back();
  const auto [taken, fresh] = names_.try_emplace(value->name, Named{value, 1});
  if (fresh) return value;
  Named& named = taken->second;  // stays where it is, unlike the iterator
  do {
    value->name = fmt::format("{}_{}", name_hint, named.next++);
  } while (!names_.try_emplace(value->name, Named{value, 1}).second);
  return value;
}

bool Graph::is_named_once(const Value* value) const {
  const auto named = names_.find(value->name);
  return named != names_.end() && named->second.value == value;
}

Value* Graph::add_input(std::string_view input_name, Type type) {
  inputs_.push_back(add_value(input_name, std::move(type), nullptr, inputs_.size()));
  return inputs_.back();
}

Node* Graph::add_node(std::string op, std::vector<Value*> operands, Attrs attrs, std::vector<Type> types,
                      std::string name_hint, std::vector<std::unique_ptr<Graph>> regions) {
  if (name_hint.empty()) name_hint = op;
  std::vector<std::string> result_names;
  result_names.reserve(types.size());
  for (std::size_t i = 0; i < types.size(); ++i)
    result_names.push_back(i == 0 ? name_hint : fmt::format("{}.{}", name_hint, i));
  return add_named_node(std::move(op), std::move(operands), std::move(attrs), std::move(types), result_names,
                        std::move(regions));
}

Node* Graph::add_named_node(std::string op, std::vector<Value*> operands, Attrs attrs, std::vector<Type> types,
                            const std::vector<std::string>& result_names, std::vector<std::unique_ptr<Graph>> regions) {
  nodes_.push_back({nodes_.size(), std::move(op), std::move(operands), std::move(attrs), {}, std::move(regions), {}});
  Node* node = &nodes_.back();
  node->results.reserve(types.size());
  for (std::size_t i = 0; i < types.size(); ++i)
    node->results.push_back(add_value(result_names[i], std::move(types[i]), node, i));
  return node;
}

namespace {

Status check_grid(const Value& value) {
  if (value.quantization == nullptr) return {};
  if (value.type.dtype != DType::f32) return fail("value '{}' is quantised and no float32", value.name);
  if (auto status = check_quantization(*value.quantization, value.type.shape); !status)
    return std::unexpected(within(std::move(status).error(), fmt::format("in value '{}'", value.name)));
  return {};
}

}  // namespace

Status check_structure(const Graph& graph) {
  const auto check_value = [&graph](const Value* value) -> Status {
    if (!graph.is_named_once(value)) return fail("value name '{}' stands twice", value->name);
    for (const Dim& dim : value->type.shape)
      if (dim.overflowed()) return fail("a dimension of value '{}' overflows 64 bits", value->name);
    return check_grid(*value);
  };
  for (const Value* input : graph.inputs()) TAPER_TRY(check_value(input));
  for (const Node& node : graph.nodes()) {
    const std::size_t defined = node.results.empty() ? graph.value_count() : node.result()->id;
    for (const Value* operand : node.operands)
      if (operand != nullptr && (!graph.owns(operand) || operand->id >= defined))
        return fail("operator '{}' uses value '{}' before it is defined", node.op, operand->name);
    for (std::size_t i = 0; i < node.results.size(); ++i) {
      const Value* result = node.results[i];
      if (result->producer != &node || result->index != i)
        return fail("value '{}' does not know its producer", result->name);
      TAPER_TRY(check_value(result));
    }
    for (const auto& region : node.regions) TAPER_TRY(check_structure(*region));
  }
  if (graph.outputs().empty()) return fail("graph '{}' has no outputs", graph.name);
  for (const Output& output : graph.outputs())
    if (output.value == nullptr || !graph.owns(output.value))
      return fail("output '{}' is not a value of the graph", output.name);
  return {};
}

}  // namespace taper
