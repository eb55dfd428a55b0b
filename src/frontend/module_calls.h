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
  // A parameter or buffer; None if it is None or absent.
  Expected<aten::Arg> tensor(std::string_view parameter) const;
  // An input; None beyond those given.
  aten::Arg input(std::size_t i) const { return i < inputs.size() ? inputs[i] : aten::Arg{}; }

  // A call of ATen. Names of arguments are as in its schema; positional ones have none.
  Expected<aten::Arg> aten(std::string_view op, std::vector<aten::NamedArg> arguments) const;
  // The sub-module at work.
  Expected<aten::Arg> run(std::string_view child, Args args) const;
  bool has_child(std::string_view child) const;
};

// A class of torch.nn. Where `build` is null, `op` is called with the inputs (at '@', or in front) and `arguments`:
// "weight=$weight" takes a parameter or buffer, "eps=.eps" an attribute, "train=False" and "dim=-3" are themselves.
struct ModuleRow {
  std::string_view name;
  std::string_view op = {};
  std::string_view arguments = {};
  Expected<aten::Arg> (*build)(Call&) = nullptr;
  std::vector<std::string_view> inputs = {"input"};  // of forward
};

// The rows that need more than one call of ATen.
std::vector<ModuleRow> composed_modules();
std::vector<ModuleRow> attention_modules();

// Gives a list's entries, or the argument itself.
aten::Arg first_of(const aten::Arg& result);

class Importer {
 public:
  Importer(aten::Context& the_context) : context(the_context) {}

  Expected<aten::Arg> run(const pickle::Value& module, const std::string& path, Args inputs);
  Expected<aten::Arg> call(std::string_view op, std::vector<aten::NamedArg> arguments, std::string_view place);
  Expected<aten::Arg> weight(const pickle::Value& value, const std::string& path);

  aten::Context& context;
  UnsupportedOperators unsupported;
  std::vector<std::string> assumptions;

 private:
  int depth_ = 0;
  std::size_t runs_ = 0;
  std::map<const pickle::Value*, aten::Arg> weights_;
};

// The row of a class, by its name in torch.nn; null if there is none.
const ModuleRow* row_of(std::string_view name);

}  // namespace taper::modules
