// Views of tensors as parts of others: how they are cut and written back. Internal to the rows of views.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

// The strides of a view by those of its base.
using Restride = std::function<Strides(const Shape& base)>;

// How a view is cut, how its base is rebuilt around what is written into it, and where its elements lie.
struct Cut {
  View view;
  WriteBack write_back;
  Restride strides;
};

// Strides of a view with the axes of its base, and with one axis less.
Strides same_strides(const Shape& base);
Restride without_axis(std::size_t axis);

// The view of a tensor, or of the argument `self`. Errors: it can't be cut.
Expected<Arg> view_of(Call& call, const TensorPtr& base, Cut cut, Value* content = nullptr);
Expected<Arg> view_of(Call& call, Cut cut);

}  // namespace taper::aten
