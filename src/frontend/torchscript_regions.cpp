#include "frontend/torchscript_regions.h"

#include <algorithm>
#include <unordered_map>

namespace taper::torchscript {

namespace {

void add_targets(const Expr& target, std::vector<std::string_view>& names) {
  if (target.kind == ExprKind::name && std::ranges::find(names, target.text) == names.end())
    names.push_back(target.text);
  if (target.kind == ExprKind::tuple)
    for (const Expr* part : target.items) add_targets(*part, names);
}

}  // namespace

void add_assigned(const std::vector<Statement>& block, std::vector<std::string_view>& names) {
  for (const Statement& statement : block) {
    if (statement.kind == StatementKind::closure) continue;  // its variables are its own
    if (statement.target) add_targets(*statement.target, names);
    add_assigned(statement.body, names);
    add_assigned(statement.otherwise, names);
  }
}

bool gives_back(const std::vector<Statement>& block) {
  return std::ranges::any_of(block, [](const Statement& statement) {
    if (statement.kind == StatementKind::closure) return false;
    return statement.kind == StatementKind::give_back || gives_back(statement.body) || gives_back(statement.otherwise);
  });
}

Expected<std::unique_ptr<Graph>> with_inputs(Graph graph, const std::vector<WantedInput>& order) {
  auto copy = std::make_unique<Graph>();
  std::unordered_map<const taper::Value*, taper::Value*> mapped = {{nullptr, nullptr}};
  const auto find = [&](const taper::Value* value) -> Expected<taper::Value*> {
    if (const auto found = mapped.find(value); found != mapped.end()) return found->second;
    return fail("a branch or loop reads '{}', which is made elsewhere", value->name);
  };
  for (const WantedInput& input : order) {
    taper::Value* added = copy->add_input(input.name, input.type);
    if (input.present) mapped.emplace(input.present, added);
  }
  for (Node& node : graph.nodes()) {
    std::vector<taper::Value*> operands;
    for (const taper::Value* operand : node.operands) {
      TAPER_ASSIGN(taper::Value * seen, find(operand));
      operands.push_back(seen);
    }
    std::vector<Type> types;
    std::vector<std::string> names;
    for (const taper::Value* result : node.results) {
      types.push_back(result->type);
      names.push_back(result->name);
    }
    Node* made = copy->add_named_node(node.op, std::move(operands), std::move(node.attrs), std::move(types), names,
                                      std::move(node.regions));
    made->scope = node.scope;
    for (std::size_t i = 0; i < node.results.size(); ++i) mapped.emplace(node.results[i], made->results[i]);
  }
  for (const Output& output : graph.outputs()) {
    TAPER_ASSIGN(taper::Value * seen, find(output.value));
    copy->add_output(output.name, seen);
  }
  return copy;
}

const Capture* find_capture(const std::deque<Capture>& captures, const aten::TensorPtr& outer) {
  const auto found = std::ranges::find(captures, outer, [](const Capture& capture) { return capture.outer.tensor; });
  return found == captures.end() ? nullptr : &*found;
}

std::vector<aten::TensorPtr> parts_of(const aten::TensorPtr& tensor) {
  std::vector<aten::TensorPtr> parts = {tensor};
  for (std::size_t i = 0; i < parts.size(); ++i)
    for (const aten::TensorPtr& base : std::vector(parts[i]->bases()))
      if (std::ranges::find(parts, base) == parts.end()) parts.push_back(base);
  return parts;
}

bool is_number_value(const Value& value) {
  return value.as<Dim>() || value.as<double>() || value.as<bool>() || value.as<Undecided>() ||
         (value.tensor() && value.tensor()->is_number);
}

std::optional<DType> number_dtype(const Value& value) {
  if (value.tensor()) return value.tensor()->tensor->type().dtype;
  if (value.as<Dim>()) return DType::i64;
  if (value.as<double>()) return DType::f32;
  if (value.as<bool>() || value.as<Undecided>()) return DType::boolean;
  return std::nullopt;
}

}  // namespace taper::torchscript
