// Numbers that an exported program takes out of tensors, which only the running program knows. Internal to frontend.
#pragma once

#include "frontend/exported_nodes.h"

namespace taper::exported {

// The symbol of a size that depends on data in the program's notation: "u0".
bool is_unbacked(std::string_view symbol);

// What Python's operators give of numbers that are taken out of tensors when the program runs, or of sizes where they
// are compared; null if they give none.
Value* run_time_number(Builder& build, std::string_view name, std::span<const aten::Arg> arguments);
bool is_run_time_number(const Import& import, const aten::Arg& arg);

bool is_item(std::string_view name);
// A number of a tensor; where it is only known when the program runs, a tensor of rank 0. `output`: what the program
// calls it.
Expected<aten::Arg> item(Import& import, aten::Context& context, std::string_view name,
                         std::span<const aten::NamedArg> arguments, const std::optional<Dim>& output);
// The entry of an axis whose number is computed.
Expected<aten::Arg> select_entry(aten::Context& context, std::span<const aten::NamedArg> arguments);

// The arguments of a call with sizes in the place of run-time numbers: from then on the number is one that is measured.
Expected<std::vector<aten::NamedArg>> numbers_as_sizes(Import& import, aten::Context& context, const Graph& graph,
                                                       const Node& node, const Values& values);

// Parts (self, sizes, dim) of an axis whose sizes are such: as they add up to it, the last one is what the others
// leave.
void give_rest_to_last_part(std::span<aten::NamedArg> arguments);

// What the program calls the size that a node measures, if it gives one.
std::optional<Dim> declared_count(const Import& import, const Graph& graph, const Node& node);
// Learns from a result what the program's names for sizes stand for.
void learn_sizes(Import& import, const Shape& declared, const Shape& given);

}  // namespace taper::exported
