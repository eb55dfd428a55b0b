#include "ops/builder.h"

#include <algorithm>
#include <array>

#include "ops/table.h"

namespace taper {

void Builder::set_error(Error error) {
  if (!error_) error_ = std::move(error);
}

Status Builder::status() const {
  if (error_) return std::unexpected(*error_);
  return {};
}

std::vector<Value*> Builder::call(std::string_view name, std::vector<Value*> operands, Attrs attrs,
                                  std::string_view name_hint, std::vector<std::unique_ptr<Graph>> regions) {
  const Op* op = find_op(name);
  const std::size_t result_count = 8;  // more than any row has: a failed call must still be safe to destructure
  if (!failed() && op == nullptr) set_error({fmt::format("there is no operator '{}'", name), {}, {}});
  if (failed()) return std::vector<Value*>(result_count, nullptr);
  const auto types = [&]() -> Expected<std::vector<Type>> {
    TAPER_TRY(check_operand_count(*op, operands));
    TAPER_TRY(complete_attrs(*op, attrs));
    return op->infer({operands, attrs, regions});
  }();
  if (!types) {
    Error error = types.error();
    error.message = fmt::format("{}: {}", name, error.message);
    if (!scope_.empty()) error = within(std::move(error), fmt::format("in '{}'", scope_));
    set_error(std::move(error));
    return std::vector<Value*>(result_count, nullptr);
  }
  Node* node = graph_.add_node(std::string(name), std::move(operands), std::move(attrs), *types, std::string(name_hint),
                               std::move(regions));
  node->scope = scope_;
  return node->results;
}

namespace {

// Whether inference can't tell the operands apart: it sees types, and the numbers of constants.
bool alike(const Value* a, const Value* b) {
  if (a == nullptr || b == nullptr) return a == b;
  if (a->type != b->type) return false;
  const bool constant = constant_of(a) != nullptr;
  if (constant != (constant_of(b) != nullptr)) return false;
  return !constant || a->producer->attrs.shares_list_with(b->producer->attrs);
}

}  // namespace

std::vector<Value*> Builder::again(const Node& node, std::vector<Value*> operands,
                                   std::vector<std::unique_ptr<Graph>> regions) {
  const std::string& name = node.results[0]->name;
  if (failed() || !regions.empty() || !std::ranges::equal(operands, node.operands, alike))
    return call(node.op, std::move(operands), node.attrs, name, std::move(regions));
  std::vector<Type> types;
  types.reserve(node.results.size());
  for (const Value* result : node.results) types.push_back(result->type);
  Node* same = graph_.add_node(node.op, std::move(operands), node.attrs, std::move(types), name);
  same->scope = scope_;
  return same->results;
}

Value* Builder::operator()(std::string_view op, std::vector<Value*> operands, Attrs attrs, std::string_view name) {
  return call(op, std::move(operands), std::move(attrs), name).front();
}

Value* Builder::constant(Tensor tensor, std::string_view name) {
  return (*this)("constant", {}, {{"value", std::move(tensor)}}, name);
}

Value* Builder::scalar(double value) {
  return constant(tensor_f32({}, std::array{static_cast<float>(value)}));
}

Value* Builder::scalar_i32(std::int64_t value) {
  return constant(tensor_i32({}, std::array{static_cast<std::int32_t>(value)}));
}

}  // namespace taper
