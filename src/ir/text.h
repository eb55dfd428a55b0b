// The text form of graphs: what a dump shows, a test fixture says and `taper opt` reads. docs/ir.md describes it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "ir/graph.h"

namespace taper {

// Prints a graph, one line per node. Tensors of up to 16 elements stand in the text; larger ones are appended to
// `blob`, which the text refers to by offset, or are elided where there is none. For graphs that check_structure()
// accepts, parse(print(graph, &blob), blob) gives the same graph.
std::string print(const Graph& graph, std::vector<std::byte>* blob = nullptr);

// Reads what print() wrote, or a person. Tensors in `blob` stay there: the graph shares its ownership. Operators are
// not looked at: check() does that. Errors, with line and column: anything against the grammar, names that are used
// before they are defined or defined twice, tensors whose elements don't fit their type or lie outside the blob, elided
// tensors, regions nested deeper than 64.
Expected<Graph> parse(std::string_view text, const SharedBytes& blob = {});

// Equal names, types, operators, operands, attributes and constants bit by bit, regions, scopes and outputs, in one
// order.
bool same_graph(const Graph& a, const Graph& b);

}  // namespace taper
