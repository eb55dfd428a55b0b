#include "frontend/read_back.h"

#include <algorithm>

namespace taper {
namespace {

constexpr std::size_t kMaxIndices = 64;  // elements of a constant that stands for an attribute
constexpr std::size_t kMaxTerms = 256;   // terms of the product of all sizes of a value
constexpr std::size_t kMaxDegree = 16;   // symbols in one term of a size

}  // namespace

Status check_bounded(const Type& type) {
  if (type.shape.size() > kMaxRank)
    return fail("a tensor {} has {} axes, at most {} are read", type_text(type), type.shape.size(), kMaxRank);
  std::size_t terms = 1;
  for (const Dim& dim : type.shape) {
    if (dim.overflowed()) return fail("a size overflows 64 bits");
    terms *= std::max<std::size_t>(dim.terms().size(), 1);
    const auto too_high = [](const Dim::Term& term) { return term.symbols.size() > kMaxDegree; };
    if (terms > kMaxTerms || std::ranges::any_of(dim.terms(), too_high)) return fail("sizes are too complicated");
  }
  return {};
}

Dim SymbolNames::symbol(std::string_view input, std::size_t axis) {
  if (known_ != nullptr)
    if (const auto known = known_->find(input); known != known_->end() && axis < known->second.size())
      return known->second[axis];
  std::string name = fmt::format("{}_{}", input, axis);
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  std::ranges::replace_if(name, std::not_fn(allowed), '_');
  if (name[0] >= '0' && name[0] <= '9') name.insert(0, 1, '_');
  while (!used_.insert(name).second) name += '_';
  return Dim::symbol(std::move(name));
}

bool is_index(const Tensor& tensor) {
  return tensor.dtype == DType::i32 && tensor.rank() <= 2 &&
         tensor.element_count() <= static_cast<std::int64_t>(kMaxIndices);
}

std::vector<std::int64_t> indices_of(const Tensor& tensor) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(tensor.element_count()));
  convert_elements(tensor, DType::i32, std::as_writable_bytes(std::span(values)));
  return {values.begin(), values.end()};
}

Expected<Attr> attr_from(const Tensor& tensor, AttrKind kind) {
  if (tensor.rank() > 1) return fail("a matrix where a vector is expected");
  std::vector<std::int64_t> values = indices_of(tensor);
  if (kind == AttrKind::integer && values.size() == 1) return values[0];
  if (kind == AttrKind::integers) return values;
  if (kind == AttrKind::shape) return to_shape(values);
  return fail("{} numbers where one is expected", values.size());
}

}  // namespace taper
