#include "ir/graph.h"

#include <algorithm>
#include <unordered_set>

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

const Tensor* constant_of(const Value* value) {
  if (value == nullptr || value->producer == nullptr || value->producer->op != "constant") return nullptr;
  return &value->producer->attrs.get<Tensor>("value");
}

std::string Graph::unique_name(std::string_view hint) {
  auto [entry, fresh] = names_.try_emplace(std::string(hint), 1);
  if (fresh) return std::string(hint);
  while (true) {
    std::string candidate = fmt::format("{}_{}", hint, entry->second++);
    if (names_.try_emplace(candidate, 1).second) return candidate;
  }
}

Value* Graph::add_input(std::string_view input_name, Type type) {
  values_.push_back({unique_name(input_name), std::move(type), nullptr, inputs_.size(), nullptr});
  inputs_.push_back(&values_.back());
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
  nodes_.push_back({std::move(op), std::move(operands), std::move(attrs), {}, std::move(regions), {}});
  Node* node = &nodes_.back();
  for (std::size_t i = 0; i < types.size(); ++i) {
    values_.push_back({unique_name(result_names[i]), std::move(types[i]), node, i, nullptr});
    node->results.push_back(&values_.back());
  }
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
  std::unordered_set<const Value*> defined(graph.inputs().begin(), graph.inputs().end());
  std::unordered_set<std::string_view> names;
  defined.reserve(graph.nodes().size());
  names.reserve(graph.nodes().size());
  const auto define = [&](const Value* value) -> Status {
    if (!names.insert(value->name).second) return fail("value name '{}' stands twice", value->name);
    for (const Dim& dim : value->type.shape)
      if (dim.overflowed()) return fail("a dimension of value '{}' overflows 64 bits", value->name);
    return check_grid(*value);
  };
  for (const Value* input : graph.inputs()) TAPER_TRY(define(input));
  for (const Value* input : graph.inputs()) TAPER_TRY(check_grid(*input));
  for (const Node& node : graph.nodes()) {
    for (const Value* operand : node.operands)
      if (operand != nullptr && !defined.contains(operand))
        return fail("operator '{}' uses value '{}' before it is defined", node.op, operand->name);
    for (std::size_t i = 0; i < node.results.size(); ++i) {
      const Value* result = node.results[i];
      if (result->producer != &node || result->index != i)
        return fail("value '{}' does not know its producer", result->name);
      TAPER_TRY(define(result));
      defined.insert(result);
    }
    for (const auto& region : node.regions) TAPER_TRY(check_structure(*region));
  }
  if (graph.outputs().empty()) return fail("graph '{}' has no outputs", graph.name);
  for (const Output& output : graph.outputs())
    if (!defined.contains(output.value)) return fail("output '{}' is not a value of the graph", output.name);
  return {};
}

}  // namespace taper
