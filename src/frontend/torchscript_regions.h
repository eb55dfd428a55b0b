// What branches and loops of TorchScript that depend on data share. Internal to the interpreter.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/torchscript_interpreter.h"

namespace taper::torchscript {

// Adds the variables that a block may set, in the order of their first assignment.
void add_assigned(const std::vector<Statement>& block, std::vector<std::string_view>& names);
bool gives_back(const std::vector<Statement>& block);

struct WantedInput {
  const taper::Value* present;
  std::string name;
  Type type;
};
// A copy of a region's graph with these inputs: `order` holds the present input that each one is, or null for those
// that the region does not read, with their types.
Expected<std::unique_ptr<Graph>> with_inputs(Graph graph, const std::vector<WantedInput>& order);

const Capture* find_capture(const std::deque<Capture>& captures, const aten::TensorPtr& outer);

// What a tensor of a region is made of: itself and all that it is cut from, each once.
std::vector<aten::TensorPtr> parts_of(const aten::TensorPtr& tensor);

// The places of update_slice: 0 on all axes but one.
taper::Value* places_along(Builder& build, taper::Value* place, std::size_t axis, std::size_t rank);

bool is_number_value(const Value& value);
std::optional<DType> number_dtype(const Value& value);

}  // namespace taper::torchscript
