// Tensors as places: views, and writing through them.
#include <ranges>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {
// Chains of views are followed by loops and freed by recursion.
constexpr std::size_t kMostViews = 1000;
}  // namespace

TensorPtr Tensor::make(Value* content) {
  const TensorPtr tensor(new Tensor);
  tensor->content_ = content;
  return tensor;
}

TensorPtr Tensor::make_view(Builder& build, TensorPtr base, View view, WriteBack write_back, bool contiguous,
                            Value* content) {
  const TensorPtr tensor(new Tensor);
  Value* from = base->content(build);
  if (from == nullptr) return nullptr;
  tensor->content_ = content != nullptr ? content : view(build, from);
  if (tensor->content_ == nullptr) return nullptr;
  tensor->root_ = base->root_ ? base->root_ : base;
  tensor->version_ = tensor->root_->version_;
  tensor->depth_ = base->depth_ + 1;
  if (tensor->depth_ > kMostViews) {
    build.set_error({fmt::format("more than {} views of one another", kMostViews), {}, {}});
    return nullptr;
  }
  tensor->base_ = std::move(base);
  tensor->view_ = std::move(view);
  tensor->write_back_ = std::move(write_back);
  tensor->contiguous_ = contiguous;
  return tensor;
}

TensorPtr Tensor::view_of(Builder& build, TensorPtr base) const {
  return make_view(build, std::move(base), view_, write_back_, contiguous_);
}

Value* Tensor::content(Builder& build) {
  if (!root_ || version_ == root_->version_) return content_;
  std::vector<Tensor*> stale;
  for (Tensor* at = this; at->root_ && at->version_ != root_->version_; at = at->base_.get()) stale.push_back(at);
  for (Tensor* tensor : stale | std::views::reverse) {
    Value* cut = tensor->view_(build, tensor->base_->content_);
    if (cut == nullptr) return nullptr;
    tensor->content_ = cut;
    tensor->version_ = root_->version_;
  }
  return content_;
}

Status Tensor::write(Builder& build, Value* content) {
  if (content->type != type()) return fail("{} can't be written into {}", type_text(content->type), type_text(type()));
  if (this->content(build) == nullptr) return build.status();  // the bases below are now of this version
  std::vector<std::pair<Tensor*, Value*>> written = {{this, content}};
  for (Tensor* at = this; at->root_; at = at->base_.get()) {
    if (!at->write_back_)
      return fail("an operator writes into a view of {} that can't be written through", type_text(at->base_->type()));
    Value* rebuilt = at->write_back_(build, at->base_->content_, written.back().second);
    TAPER_TRY(build.status());
    if (rebuilt->type != at->base_->type())
      return fail("writing through a view makes {} of {}", type_text(rebuilt->type), type_text(at->base_->type()));
    written.emplace_back(at->base_.get(), rebuilt);
  }
  Tensor& root = *written.back().first;
  ++root.version_;
  for (const auto& [tensor, value] : written) {
    tensor->content_ = value;
    tensor->version_ = root.version_;
  }
  return {};
}

}  // namespace taper::aten
