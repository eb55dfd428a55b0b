// What reading our own targets' files back has in common: bounds, names of open sizes, constants that stand for
// attributes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ops/op.h"

namespace taper {

// Bounds on what a hostile file can make out of few bytes. The backends stay far below them.
inline constexpr std::size_t kMaxRank = 8;  // also that of TFLite's kernels and of the masks of strided slices here
inline constexpr int kMaxDepth = 16;        // loops inside loops

// Whether a type is simple enough to go on with. Errors: too many axes, sizes that overflow or are long expressions.
Status check_bounded(const Type& type);

// Shapes of inputs by name, from who knows how open sizes are related: files don't say.
using KnownShapes = std::map<std::string, Shape, std::less<>>;

// Names symbols `<input>_<axis>`, of letters, digits and underscores, each once; or gives what is known.
class SymbolNames {
 public:
  SymbolNames() = default;
  explicit SymbolNames(const KnownShapes& known) : known_(&known) {}
  Dim symbol(std::string_view input, std::size_t axis);

 private:
  const KnownShapes* known_ = nullptr;
  std::set<std::string> used_;
};

// Whether a constant can stand for an attribute: a few int32 numbers in a scalar, vector or matrix.
bool is_index(const Tensor& tensor);
// The numbers of such a constant.
std::vector<std::int64_t> indices_of(const Tensor& tensor);
// The attribute that a backend wrote as this constant. A size of -1 in a shape stays for read_operands.
Expected<Attr> attr_from(const Tensor& tensor, AttrKind kind);

}  // namespace taper
