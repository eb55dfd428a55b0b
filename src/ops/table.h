// The table of operators. Rows live in family files (ops/elementwise.cpp, ...); each family is listed in table.cpp.
#pragma once

#include <string_view>
#include <vector>

#include "ops/op.h"

namespace taper {

// All rows, in the order of the documentation.
const std::vector<Op>& op_table();
// The row named `name`; nullptr if there is none.
const Op* find_op(std::string_view name);

// A node's row. Only for graphs that check() accepts.
const Op& op_of(const Node& node);

// Fills in the defaults of absent attributes and checks names, kinds and operand counts of a call of `op`.
Status complete_attrs(const Op& op, Attrs& attrs);
Status check_operand_count(const Op& op, std::span<Value* const> operands);

// Whether kernels compute the call on the grids of its values: those of integers only on integers, those that move
// elements on one grid, loops with what they carry on one grid throughout.
Status check_grids(const Node& node);

// check_structure, and every node against its row: known operator, operands, attributes, result types as inferred,
// grids.
Status check(const Graph& graph);

}  // namespace taper
