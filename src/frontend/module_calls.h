// What the classes of torch.nn share while a pickled module becomes a graph. Internal to the frontend.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/torch_checkpoint.h"
#include "frontend/aten.h"

namespace taper::modules {

using Args = std::vector<aten::Arg>;

class Importer;

// One module at work.
struct Call {
  Importer& importer;
  const pickle::Value& module;
  std::string path;
  std::string_view name;  // of the class: "Conv2d"
  Args inputs;

  // An attribute as an argument: numbers, texts, tuples, None. None too if the module has none of that name.
  aten::Arg attr(std::string_view attribute) const;
  std::int64_t integer(std::string_view attribute, std::int64_t fallback = 0) const;
  bool flag(std::string_view attribute) const;
  // Errors: no number.
  Expected<double> real(std::string_view attribute) const;
  // Of a loss: `reduction` as PyTorch's operators number it.
  aten::Arg reduction() const;
  // A parameter or buffer, or the weight that a hook makes of them; None if it is None or absent.
  Expected<aten::Arg> tensor(std::string_view parameter) const;
  // An input; None beyond those given.
  aten::Arg input(std::size_t i) const { return i < inputs.size() ? inputs[i] : aten::Arg{}; }
  // The shape of an input. Errors: no tensor.
  Expected<Shape> shape(std::size_t i) const;
  // "encoder.layers.0" of "layers.0", a part of this module.
  std::string path_of(std::string_view part) const;

  // A call of ATen. Names of arguments are as in its schema; positional ones have none.
  Expected<aten::Arg> aten(std::string_view op, std::vector<aten::NamedArg> arguments) const;
  // The sub-module at work.
  Expected<aten::Arg> run(std::string_view part, Args args) const;
  bool has_child(std::string_view part) const;
  // The sub-module; null if there is none.
  const pickle::Value* child(std::string_view part) const;
};

// An input of a class' forward. One that is optional is None unless the caller gives its shape.
struct ModuleInput {
  std::string_view name;
  DType dtype = DType::f32;
  bool optional = false;
};

// A class of torch.nn. Where `build` is null, `op` is called with the inputs (at '@', or in front) and `arguments`:
// "weight=$weight" takes a parameter or buffer, "eps=.eps" an attribute, "train=False" and "dim=-3" are themselves.
struct ModuleRow {
  std::string_view name;
  std::string_view op = {};
  std::string_view arguments = {};
  Expected<aten::Arg> (*build)(Call&) = nullptr;
  std::vector<ModuleInput> inputs = {{"input"}};  // of forward
};

// The rows that need more than one call of ATen.
std::vector<ModuleRow> composed_modules();
std::vector<ModuleRow> attention_modules();
std::vector<ModuleRow> recurrent_modules();
std::vector<ModuleRow> loss_modules();

// Whether a list of words holds one.
bool names_class(std::string_view words, std::string_view name);

// Whether calls of a module run code that its file does not hold.
bool has_unknown_hooks(const pickle::Value& module);
// The weight that a hook of torch.nn.utils makes before each call; nothing if there is no such hook.
std::optional<Expected<aten::Arg>> hooked_weight(const Call& call, std::string_view weight);
// A function of PyTorch that was pickled by its name, called on one tensor. Nothing for functions that are not known.
std::optional<Expected<aten::Arg>> call_function(const Call& call, const pickle::Value& function, const aten::Arg& x);

// Sizes that an input may have, "1,3,224,224", by the first module that says some; `first` is called first.
std::string example_shape(const pickle::Value& root, const pickle::Value& first);

// Gives a list's entries, or the argument itself.
aten::Arg first_of(const aten::Arg& result);

class Importer {
 public:
  Importer(aten::Context& the_context) : context(the_context) {}

  Expected<aten::Arg> run(const pickle::Value& module, const std::string& path, Args inputs);
  // The name in torch.nn of a module's class. Errors: a class of others, hooks, classes that have no row for a reason.
  Expected<std::string_view> class_name(const pickle::Value& module, const std::string& path);
  Expected<aten::Arg> call(std::string_view op, std::vector<aten::NamedArg> arguments, std::string_view place);
  Expected<aten::Arg> weight(const pickle::Value& value, const std::string& path);

  aten::Context& context;
  UnsupportedOperators unsupported;
  std::vector<std::string> assumptions;

 private:
  bool notes_training_ = false;  // one note is enough
  int depth_ = 0;
  std::size_t runs_ = 0;
  std::map<const pickle::Value*, aten::Arg> weights_;
};

// The row of a class, by its name in torch.nn; null if there is none.
const ModuleRow* row_of(std::string_view name);

}  // namespace taper::modules
