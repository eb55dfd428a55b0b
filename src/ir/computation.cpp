#include "ir/computation.h"

#include <algorithm>

namespace taper {

bool same_computation(const Value* a, const Value* b, int& budget) {
  if (a == b) return true;
  if (a == nullptr || b == nullptr || a->producer == nullptr || b->producer == nullptr || --budget < 0) return false;
  const Node& p = *a->producer;
  const Node& q = *b->producer;
  if (p.op != q.op || a->index != b->index || a->type != b->type || !p.regions.empty() || !q.regions.empty())
    return false;
  const auto same = [](const NamedAttr& x, const NamedAttr& y) {
    return x.first == y.first && same_attr(x.second, y.second);
  };
  return std::ranges::equal(p.attrs, q.attrs, same) &&
         std::ranges::equal(p.operands, q.operands,
                            [&](const Value* x, const Value* y) { return same_computation(x, y, budget); });
}

}  // namespace taper
