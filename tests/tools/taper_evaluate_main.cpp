// Reads a program, evaluates its graph by taper's reference, and compares with arrays, for finding out whether a wrong
// file is wrong in the reading or in the writing:
//
//   taper_evaluate FILE.pt2 LOOKS.npz NUMBER [INPUT:AXIS...]
//
// LOOKS.npz holds `NUMBER/in/<input>` and `NUMBER/out/<output>` (tests/zoo/make_zoo.py); INPUT:AXIS sets sizes free.
// Prints each output's largest difference relative to its spread, and fails where one is above 1e-3.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "base/mapped_file.h"
#include "formats/npy.h"
#include "frontend/exported_program.h"
#include "ops/evaluate.h"
#include "ops/table.h"

namespace taper {
namespace {

double difference(const Array& found, const Array& expected) {
  if (found.shape != expected.shape || found.values.empty()) return found.shape == expected.shape ? 0 : INFINITY;
  const auto [least, most] = std::ranges::minmax(expected.values);
  const double spread = most > least ? most - least : std::max(std::abs(most), 1e-6);
  double largest = 0;
  for (std::size_t i = 0; i < found.values.size(); ++i)
    if (found.values[i] != expected.values[i])
      largest = std::max(largest, std::abs(found.values[i] - expected.values[i]) / spread);
  return largest;
}

Expected<bool> run(const std::string& file, const std::string& looks, const std::string& number,
                   const std::vector<std::string>& free) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(file));
  TAPER_ASSIGN(const SharedBytes look_bytes, map_file(looks));
  TAPER_ASSIGN(const auto arrays, read_npz(look_bytes));
  const auto array = [&](const std::string& name) -> Expected<Array> {
    const auto found = std::ranges::find(arrays, name, [](const auto& entry) { return entry.first; });
    if (found == arrays.end()) return fail("{} has no array '{}'", looks, name);
    return to_array(found->second);
  };
  ProgramOptions options;
  for (const std::string& text : free) {
    const std::size_t colon = text.find(':');
    options.dynamic[text.substr(0, colon)].push_back(std::stoll(text.substr(colon + 1)));
  }
  TAPER_ASSIGN(const ImportedProgram program, import_exported_program(bytes, options));
  TAPER_TRY(check(program.graph));
  for (const std::string& sentence : program.assumptions) fmt::print("assumed: {}\n", sentence);
  std::vector<Array> inputs;
  for (const Value* input : program.graph.inputs()) {
    TAPER_ASSIGN(Array values, array(number + "/in/" + input->name));
    inputs.push_back(std::move(values));
  }
  TAPER_ASSIGN(const std::vector<Array> found, evaluate(program.graph, std::move(inputs)));
  bool same = true;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string& name = program.graph.outputs()[i].name;
    TAPER_ASSIGN(const Array expected, array(number + "/out/" + name));
    const double error = difference(found[i], expected);
    fmt::print("{}: {:.1e}\n", name, error);
    same = same && error < 1e-3;
  }
  return same;
}

}  // namespace
}  // namespace taper

int main(int count, char** arguments) {
  if (count < 4) return 2;
  const auto same =
      taper::run(arguments[1], arguments[2], arguments[3], std::vector<std::string>(arguments + 4, arguments + count));
  if (!same) fmt::print("{}\n", same.error().text());
  return same && *same ? 0 : 1;
}
