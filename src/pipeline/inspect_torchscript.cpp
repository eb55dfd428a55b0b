#include <set>

#include "formats/torchscript_archive.h"
#include "frontend/outline.h"
#include "pipeline/inspect.h"
#include "pipeline/sources.h"
#include "report/text.h"

namespace taper {
namespace {

constexpr int kMostNested = 64;

// "Tensor", "List[Tensor]", "Optional[Tensor]".
std::string annotation_text(const torchscript::Expr& type, int depth = 0) {
  std::string inner;
  for (std::size_t i = 1; i < type.items.size() && depth < kMostNested; ++i)
    inner += (inner.empty() ? "" : ", ") + annotation_text(*type.items[i], depth + 1);
  switch (type.kind) {
    case torchscript::ExprKind::name:
    case torchscript::ExprKind::attribute:
      return std::string(type.text);
    case torchscript::ExprKind::subscript:
      return depth < kMostNested ? fmt::format("{}[{}]", annotation_text(*type.items[0], depth + 1), inner) : "...";
    case torchscript::ExprKind::tuple:
      if (type.items.empty() || depth >= kMostNested) return "";
      return annotation_text(*type.items[0], depth + 1) + (inner.empty() ? "" : ", " + inner);
    default:
      return "...";
  }
}

// The tensors among the attributes of a module and its parts, by their dotted names.
class AttributeTensors {
 public:
  explicit AttributeTensors(WeightSet& weights) : weights_(weights) {}

  void add(const pickle::Value& value, const std::string& path, int depth = 0) {
    if (depth > kMostNested) return;
    if (const auto* tensor = value.tensor()) {
      if (weights_.tensors.emplace(path, &tensor->tensor).second) weights_.order.push_back(path);
      return;
    }
    if (value.object() == nullptr || value.object()->state == nullptr || !seen_.insert(&value).second) return;
    for (const pickle::Entry& entry : value.object()->state->entries())
      if (const auto name = entry.key->text())
        add(*entry.value, path.empty() ? std::string(*name) : fmt::format("{}.{}", path, *name), depth + 1);
  }

 private:
  WeightSet& weights_;
  std::set<const pickle::Value*> seen_;
};

}  // namespace

Expected<Inspection> inspect_torchscript(const SharedBytes& bytes, const Error& reason, const InspectOptions& options) {
  TAPER_ASSIGN(const torchscript::Archive archive, torchscript::read_archive(bytes));
  Inspection found;
  found.what = program_format(SourceKind::torchscript);
  const torchscript::Symbol* root = archive.find(pickle::class_path(*archive.root));
  const torchscript::Function* forward =
      root != nullptr && root->type != nullptr ? root->type->method("forward") : nullptr;
  if (forward == nullptr) return std::unexpected(reason);
  found.what += fmt::format(", {}", root->type->name);
  for (std::size_t i = 1; i < forward->parameters.size(); ++i) {
    const torchscript::Parameter& parameter = forward->parameters[i];
    found.inputs.push_back({std::string(parameter.name),
                            parameter.type == nullptr ? "Tensor" : annotation_text(*parameter.type), "of any shape"});
  }
  WeightSet weights;
  AttributeTensors(weights).add(*archive.root, "");
  if (!weights.tensors.empty()) {
    found.modules = outline({weights}, !options.every_module);
    found.parameters = found.modules->parameters;
  }
  found.notes.push_back(reason.message);
  found.next_step = reason.hint;
  return found;
}

}  // namespace taper
