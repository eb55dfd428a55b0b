// Tensors as places: views, and writing through them.
#include <algorithm>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {
// Chains of views are followed and freed by recursion.
constexpr std::size_t kMostViews = 1000;
}  // namespace

Shape row_major(const Shape& shape) {
  Shape strides(shape.size(), Dim(1));
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

Arg perhaps_view(const TensorPtr& self, Value* content) {
  if (content == nullptr) return fresh(nullptr);
  return Tensor::make_uncertain({self}, content,
                                "a tensor is written to, and then another one is read that may be a view of it or a "
                                "copy, which isn't known before the program runs (clone() makes a copy for sure)");
}

TensorPtr Tensor::make(Value* content) {
  const TensorPtr tensor(new Tensor);
  tensor->content_ = content;
  return tensor;
}

TensorPtr Tensor::make_cut(Kind kind, std::vector<TensorPtr> bases, Value* content) {
  const TensorPtr tensor(new Tensor);
  tensor->kind_ = kind;
  tensor->content_ = content;
  for (const TensorPtr& base : bases) {
    tensor->depth_ = std::max(tensor->depth_, base->depth_ + 1);
    if (base->bases_.empty() && std::ranges::find(tensor->roots_, base) == tensor->roots_.end())
      tensor->roots_.push_back(base);
    for (const TensorPtr& root : base->roots_)
      if (std::ranges::find(tensor->roots_, root) == tensor->roots_.end()) tensor->roots_.push_back(root);
  }
  tensor->bases_ = std::move(bases);
  tensor->version_ = tensor->versions();
  return tensor;
}

TensorPtr Tensor::make_view(Builder& build, TensorPtr base, View view, WriteBack write_back, Strides strides,
                            Value* content) {
  Value* from = base->content(build);
  if (from == nullptr) return nullptr;
  if (content == nullptr) content = view(build, from);
  if (content == nullptr) return nullptr;
  const TensorPtr tensor = make_cut(Kind::view, {std::move(base)}, content);
  if (tensor->depth_ > kMostViews) {
    build.set_error({fmt::format("more than {} views of one another", kMostViews), {}, {}});
    return nullptr;
  }
  tensor->view_ = std::move(view);
  tensor->write_back_ = std::move(write_back);
  tensor->row_major_ = false;
  tensor->strides_ = std::move(strides);
  return tensor;
}

TensorPtr Tensor::view_of(Builder& build, TensorPtr base) const {
  return make_view(build, std::move(base), view_, write_back_, strides());
}

TensorPtr Tensor::make_choice(Flag flag, const TensorPtr& a, const TensorPtr& b, Value* content) {
  const TensorPtr tensor = make_cut(Kind::choice, {a, b}, content);
  if (tensor->depth_ > kMostViews)
    return make_uncertain({a, b}, content, "a tensor is written to that too many branches chose one after another");
  tensor->flag_ = std::move(flag);
  tensor->row_major_ = a->contiguous() == true && b->contiguous() == true;
  if (!tensor->row_major_ && a->strides() == b->strides()) tensor->strides_ = a->strides();
  return tensor;
}

TensorPtr Tensor::make_uncertain(std::vector<TensorPtr> bases, Value* content, std::string why) {
  TensorPtr tensor = make_cut(Kind::uncertain, std::move(bases), content);
  if (tensor->depth_ > kMostViews) tensor = make_cut(Kind::uncertain, std::vector(tensor->roots_), content);
  tensor->why_ = std::move(why);
  tensor->row_major_ = false;
  return tensor;
}

TensorPtr Tensor::like(Builder& build, std::vector<TensorPtr> bases, Value* content) const {
  if (kind_ == Kind::view) return view_of(build, std::move(bases.front()));
  if (kind_ == Kind::uncertain) return make_uncertain(std::move(bases), content, why_);
  const TensorPtr tensor = make_choice(flag_, bases.at(0), bases.at(1), content_);
  tensor->content_ = tensor->cut(build);
  return tensor->content_ != nullptr ? tensor : nullptr;
}

std::optional<bool> Tensor::contiguous() const {
  if (row_major_) return true;
  if (!strides_) return std::nullopt;
  const Shape& shape = type().shape;
  const Shape wanted = row_major(shape);
  std::optional<bool> all = true;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].is(1) || (*strides_)[i] == wanted[i]) continue;
    if (shape[i].constant() && ((*strides_)[i] - wanted[i]).constant()) return false;
    all = std::nullopt;
  }
  return all;
}

void Tensor::forget_strides() {
  row_major_ = false;
  strides_ = std::nullopt;
}

std::uint64_t Tensor::versions() const {
  std::uint64_t sum = 0;
  for (const TensorPtr& root : roots_) sum += root->version_;
  return sum;
}

Value* Tensor::content(Builder& build) {
  if (kind_ == Kind::own && lost_) {
    build.set_error({*lost_, {}, {}});
    return nullptr;
  }
  if (kind_ == Kind::own || version_ == versions()) return content_;
  Value* fresh = cut(build);
  if (fresh == nullptr) return nullptr;
  content_ = fresh;
  version_ = versions();
  return content_;
}

bool Tensor::readable() const {
  if (kind_ == Kind::own) return !lost_;
  if (version_ == versions()) return true;
  return kind_ != Kind::uncertain && std::ranges::all_of(bases_, &Tensor::readable, &TensorPtr::operator*);
}

Value* Tensor::cut(Builder& build) const {
  if (kind_ == Kind::uncertain) {
    build.set_error({why_, {}, {}});
    return nullptr;
  }
  std::vector<Value*> from;
  for (const TensorPtr& base : bases_) {
    from.push_back(base->content(build));
    if (from.back() == nullptr) return nullptr;
  }
  if (kind_ == Kind::view) return view_(build, from[0]);
  Value* flag = flag_(build);
  return flag != nullptr ? build("where", {flag, from[0], from[1]}) : nullptr;
}

Status Tensor::write_through(Builder& build, Value* written) const {
  if (kind_ == Kind::uncertain) {
    for (const TensorPtr& base : bases_) base->lose(why_);
    return {};
  }
  if (kind_ == Kind::view && !write_back_)
    return fail("an operator writes into a view of {} that can't be written through", type_text(bases_[0]->type()));
  // What is chosen of may share elements: the second is read after the first is written.
  for (const TensorPtr& base : bases_) {
    Value* from = base->content(build);
    if (from == nullptr) return build.status();
    Value* rebuilt = nullptr;
    if (kind_ == Kind::view) {
      rebuilt = write_back_(build, from, written);
    } else if (Value* flag = flag_(build); flag != nullptr) {
      const bool first = &base == bases_.data();
      rebuilt = build("where", {flag, first ? written : from, first ? from : written});
    }
    TAPER_TRY(build.status());
    if (rebuilt->type != base->type())
      return fail("writing through a view makes {} of {}", type_text(rebuilt->type), type_text(base->type()));
    TAPER_TRY(base->write(build, rebuilt));
  }
  return {};
}

Status Tensor::write(Builder& build, Value* content) {
  if (content->type != type()) return fail("{} can't be written into {}", type_text(content->type), type_text(type()));
  if (kind_ == Kind::own) {
    ++version_;
    lost_.reset();
  } else {
    TAPER_TRY(write_through(build, content));
    version_ = versions();
  }
  content_ = content;
  return {};
}

void Tensor::lose(const std::string& why) {
  if (kind_ == Kind::own) {
    ++version_;
    lost_ = why;
  }
  for (const TensorPtr& root : roots_) root->lose(why);
}

}  // namespace taper::aten
