#include "frontend/aten_advice.h"

#include <algorithm>
#include <array>

namespace taper::aten {
namespace {

struct Form {
  std::string_view op, advice;  // an op that ends with '_': all whose names begin so
};

constexpr std::string_view kSolve = "torch.linalg.solve(A, B) converts, which says the same without the factors";
constexpr std::string_view kSymmetric =
    "torch.linalg.eigh and eigvalsh convert, for symmetric matrices; compute others before the export";
constexpr std::string_view kNested =
    "torch.nn.TransformerEncoder(..., enable_nested_tensor=False) has none of it, nor has a program of torch.export";
constexpr std::array kForms = {
    Form{"linalg_lu", kSolve},
    Form{"linalg_lu_", kSolve},
    Form{"lu_", kSolve},
    Form{"linalg_ldl_", kSolve},
    Form{"linalg_eig", kSymmetric},
    Form{"_linalg_eigvals", kSymmetric},
    Form{"linalg_eigvals", kSymmetric},
    Form{"linalg_lstsq", "torch.linalg.pinv(A) @ B converts, for matrices of up to 64 rows and columns"},
    Form{"_nested_tensor_", kNested},
    Form{"_native_batch_norm_legit_functional",
         "it is batch normalization in training mode: call model.eval() before the export"},
};

}  // namespace

std::string_view nearest_form(std::string_view name) {
  const std::string_view op = name.substr(0, name.find('.'));
  const auto form = std::ranges::find_if(
      kForms, [&](const Form& each) { return each.op.ends_with('_') ? op.starts_with(each.op) : op == each.op; });
  return form == kForms.end() ? std::string_view() : form->advice;
}

}  // namespace taper::aten
