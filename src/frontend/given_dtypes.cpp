#include "frontend/given_dtypes.h"

#include <algorithm>
#include <unordered_set>

#include "formats/text.h"
#include "frontend/aten.h"

namespace taper {
namespace {

// Whether a rule of shapes and dtypes wants floating numbers where there are integers.
bool refuses_integers(const Error& error) {
  return error.message.contains("expected one dtype") || error.message.contains("expected floating");
}

// The inputs that may have to be cast, in the order in which they are tried.
std::vector<std::set<std::string, std::less<>>> casts_to_try(const ProgramOptions& options) {
  constexpr std::size_t kMostAlone = 8;
  std::vector<std::set<std::string, std::less<>>> tries;
  std::set<std::string, std::less<>> narrow, all;
  for (const auto& [name, dtype] : options.input_dtypes) {
    if (is_floating(dtype)) continue;
    if (tries.size() < kMostAlone) tries.push_back({name});
    if (size_of(dtype) < 4) narrow.insert(name);
    all.insert(name);
  }
  for (const auto& several : {narrow, all})
    if (!several.empty() && std::ranges::find(tries, several) == tries.end()) tries.push_back(several);
  return tries;
}

}  // namespace

Value* add_program_input(Graph& graph, Builder& build, const ProgramInput& input, const ProgramOptions& options,
                         std::vector<std::string>& assumptions) {
  DType computed = aten::graph_dtype(input.type.dtype);
  DType in_files = computed;
  const std::string port = fmt::format("input '{}'", excerpt(input.name));
  if (const auto given = options.input_dtypes.find(input.name); given != options.input_dtypes.end()) {
    in_files = given->second;
    if (options.cast_inputs.contains(input.name))
      computed = DType::f32;
    else if (!input.is_told)
      computed = aten::graph_dtype(in_files);
    if (!input.is_told && computed == in_files && !is_floating(in_files) && in_files != DType::boolean &&
        size_of(in_files) < 4)
      assumptions.push_back(
          fmt::format("the program itself gets the {} as {}, and computes as PyTorch does with such a tensor: sums and "
                      "products of integers wrap around",
                      port, info(in_files).name));
  } else if (input.type.dtype != computed) {
    assumptions.push_back(dtype_note(port, input.type.dtype, computed));
  }
  Value* value = graph.add_input(input.name, {in_files, input.type.shape});
  return in_files == computed ? value : build("cast", {value}, {{"to", computed}});
}

Expected<ImportedProgram> import_with_casts(ProgramOptions& options, const ImportWith& import) {
  auto program = import(options);
  if (program || !refuses_integers(program.error())) return program;
  for (const auto& inputs : casts_to_try(options)) {
    ProgramOptions tried = options;
    tried.cast_inputs = inputs;
    auto read = import(tried);
    if (!read && refuses_integers(read.error())) continue;
    options = std::move(tried);
    if (!read) return read;
    for (const std::string& name : inputs)
      read->assumptions.push_back(
          fmt::format("the input '{}' is {} in the files and cast to float32 for the program, which takes no such "
                      "integers",
                      excerpt(name), info(options.input_dtypes.at(name)).name));
    return read;
  }
  return program;
}

std::vector<std::string> floating_inputs_behind(const Value* value) {
  constexpr std::size_t kMostValues = 256, kMostNames = 4;
  std::vector<std::string> names;
  std::vector<const Value*> open = {value};
  std::unordered_set<const Value*> seen = {value};
  for (std::size_t at = 0; at < open.size() && names.size() < kMostNames; ++at) {
    const Node* node = open[at]->producer;
    if (node == nullptr) {
      names.push_back(open[at]->name);
      continue;
    }
    for (const Value* operand : node->operands)
      if (operand != nullptr && is_floating(operand->type.dtype) && open.size() < kMostValues &&
          seen.insert(operand).second)
        open.push_back(operand);
  }
  return names;
}

}  // namespace taper
