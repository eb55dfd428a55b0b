#include "frontend/tied_calls.h"

#include <algorithm>
#include <array>
#include <optional>

namespace taper::exported {

bool has_quotients(const Dim& size) {
  return std::ranges::any_of(size.terms(), [](const Dim::Term& term) {
    return std::ranges::any_of(term.symbols,
                               [](const std::string& factor) { return factor.starts_with("floor_div("); });
  });
}

namespace {

constexpr std::size_t kMostZeros = 2048;

constexpr std::array<std::string_view, 6> kKeepingCounts = {
    "torch.ops.aten.view.default",      "torch.ops.aten.reshape.default",         "torch.ops.aten._unsafe_view.default",
    "torch.ops.aten.view_copy.default", "torch.ops.aten.pixel_unshuffle.default", "torch.ops.aten.unflatten.int",
};

// The sizes that a call names, by the program's symbols. Nothing: one is left to the operator, or unknown.
std::optional<Dim> named_count(const Graph& graph, const Node& node) {
  const auto* list = node.inputs.size() != 2 ? nullptr : node.inputs[1].value.as<Argument::List>();
  if (list == nullptr) return std::nullopt;
  Dim count = 1;
  for (const Argument& argument : *list) {
    const auto* number = argument.as<std::int64_t>();
    const auto* name = argument.as<ValueName>();
    const auto symbolic = name == nullptr ? graph.integers.end() : graph.integers.find(name->name);
    if (number == nullptr ? symbolic == graph.integers.end() : *number < 0) return std::nullopt;
    count = count * (number != nullptr ? Dim(*number) : symbolic->second);
  }
  return count;
}

constexpr std::array<std::string_view, 6> kElementwise = {
    "torch.ops.aten.add.Tensor", "torch.ops.aten.sub.Tensor",      "torch.ops.aten.mul.Tensor",
    "torch.ops.aten.div.Tensor", "torch.ops.aten.maximum.default", "torch.ops.aten.minimum.default",
};

class CallTies {
 public:
  explicit CallTies(const Graph& graph) : graph_(graph) {}

  std::vector<Dim> run() {
    for (const Node& node : graph_.nodes) {
      if (node.inputs.empty() || zeros_.size() >= kMostZeros) continue;
      if (std::ranges::find(kKeepingCounts, node.target) != kKeepingCounts.end()) add_reshape(node);
      if (std::ranges::find(kElementwise, node.target) != kElementwise.end() && node.inputs.size() >= 2)
        add_elementwise(shape_of(node.inputs[0].value), shape_of(node.inputs[1].value));
      if (node.target == "torch.ops.aten.cat.default") add_joined(node);
    }
    return std::move(zeros_);
  }

 private:
  const Shape* shape_of(const Argument& argument) const {
    const auto* name = argument.as<ValueName>();
    const auto found = name == nullptr ? graph_.tensors.end() : graph_.tensors.find(name->name);
    return found == graph_.tensors.end() ? nullptr : &found->second.sizes;
  }

  void add(const Dim& difference) {
    constexpr std::size_t kMostTerms = 12;
    if (!difference.overflowed() && !difference.constant() && difference.terms().size() <= kMostTerms)
      zeros_.push_back(difference);
  }

  void add_reshape(const Node& node) {
    const Shape* from = shape_of(node.inputs[0].value);
    const Shape* to = node.outputs.size() == 1 ? shape_of(node.outputs[0]) : nullptr;
    if (from == nullptr || to == nullptr) return;
    const Dim before = element_count(*from);
    for (const auto& after : {std::optional(element_count(*to)), named_count(graph_, node)})
      if (after && has_quotients(before - *after)) add(before - *after);
  }

  // Sizes that are not 1 are the same; of those that are open, the export takes none to be 1.
  void add_elementwise(const Shape* x, const Shape* y) {
    if (x == nullptr || y == nullptr) return;
    for (std::size_t i = 1; i <= std::min(x->size(), y->size()); ++i) {
      const Dim &a = (*x)[x->size() - i], &b = (*y)[y->size() - i];
      if (!a.is(1) && !b.is(1)) add(a - b);
    }
  }

  void add_joined(const Node& node) {
    const auto* parts = node.inputs[0].value.as<Argument::List>();
    const auto* dim = node.inputs.size() < 2 ? nullptr : node.inputs[1].value.as<std::int64_t>();
    const Shape* first = parts == nullptr || parts->empty() ? nullptr : shape_of((*parts)[0]);
    if (first == nullptr) return;
    const auto rank = static_cast<std::int64_t>(first->size());
    const std::int64_t given = dim == nullptr ? 0 : *dim, axis = given < 0 ? given + rank : given;
    for (const Argument& part : *parts) {
      const Shape* shape = shape_of(part);
      if (shape == nullptr || shape->size() != first->size() || zeros_.size() >= kMostZeros) continue;
      for (std::size_t i = 0; i < first->size(); ++i)
        if (static_cast<std::int64_t>(i) != axis) add((*first)[i] - (*shape)[i]);
    }
  }

  const Graph& graph_;
  std::vector<Dim> zeros_;
};

}  // namespace

std::vector<Dim> ties_of_calls(const Graph& graph) {
  return CallTies(graph).run();
}

}  // namespace taper::exported
