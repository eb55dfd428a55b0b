#include "pipeline/freed_sizes.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "ops/evaluate.h"
#include "pipeline/program_inputs.h"
#include "pipeline/trials.h"
#include "report/text.h"

namespace taper {
namespace {

constexpr std::uint64_t kFreedSeed = 0;
constexpr double kFreedPatience = 60;  // seconds, after which no other size is looked at

// Equal but for the order of sums.
bool same_numbers(const Array& a, const Array& b) {
  if (a.shape != b.shape || a.dtype != b.dtype) return false;
  double scale = 0;
  for (const double value : a.values)
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  const auto near = [scale](double x, double y) {
    return x == y || (std::isnan(x) && std::isnan(y)) || std::abs(x - y) <= 1e-7 * scale;
  };
  return std::ranges::equal(a.values, b.values, near);
}

bool same_numbers(const std::vector<Array>& a, const std::vector<Array>& b) {
  return std::ranges::equal(a, b, [](const Array& x, const Array& y) { return same_numbers(x, y); });
}

bool is_nowhere_finite(const Array& array) {
  return std::ranges::none_of(array.values, [](double value) { return std::isfinite(value); });
}

// Two arrays of one shape, one behind the other along an axis.
Array joined_arrays(const Array& a, const Array& b, std::size_t axis) {
  Array out{a.dtype, a.shape, {}};
  out.shape[axis] *= 2;
  out.values.reserve(2 * a.values.size());
  std::size_t piece = 1;
  for (std::size_t i = axis; i < a.shape.size(); ++i) piece *= static_cast<std::size_t>(a.shape[i]);
  for (std::size_t at = 0; piece > 0 && at < a.values.size(); at += piece)
    for (const Array* half : {&a, &b})
      out.values.insert(out.values.end(), half->values.begin() + static_cast<std::ptrdiff_t>(at),
                        half->values.begin() + static_cast<std::ptrdiff_t>(at + piece));
  return out;
}

bool holds_symbol(const Dim& dim, const std::string& symbol) {
  const std::vector<std::string> symbols = symbols_of(dim);
  return std::ranges::find(symbols, symbol) != symbols.end();
}

// The axis that is a multiple of the symbol, where no other one holds it. Nothing: no axis holds it.
Expected<std::optional<std::size_t>> axis_of_symbol(const Shape& shape, const std::string& symbol) {
  std::optional<std::size_t> found;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (!holds_symbol(shape[axis], symbol)) continue;
    const auto quotient = divide_exactly(shape[axis], Dim::symbol(symbol));
    if (found || !quotient || holds_symbol(*quotient, symbol))
      return fail("{} can't be cut into halves of it", shape_text(shape));
    found = axis;
  }
  return found;
}

// A program with freed sizes beside the program as it is.
class BesideOriginal {
 public:
  BesideOriginal(const ImportedProgram& freed, const ImportedProgram& original)
      : freed_(freed), original_(original), sizes_(usual_sizes(complete_symbols(freed))) {}

  Status at_the_sizes_of_the_program() {
    TAPER_ASSIGN(first_, random_trial_at(original_.graph, sizes_, kFreedSeed));
    if (std::ranges::all_of(first_.reference, is_nowhere_finite))
      return fail("the program gives no finite numbers to compare");
    TAPER_ASSIGN(const std::vector<Array> results, evaluate(freed_.graph, first_.inputs));
    if (same_numbers(first_.reference, results)) return {};
    return fail_with_hint("with the sizes that the export froze, the program with freed sizes gives other results",
                          "leave --dynamic out, and export with dynamic_shapes where a size is to vary");
  }

  // Whether each half of the entries gives what it gives alone. Errors say what is in the way of an answer.
  Status halves_of(const std::string& symbol) const {
    const auto& inputs = freed_.graph.inputs();
    TAPER_ASSIGN(Trial second, random_trial_at(original_.graph, sizes_, kFreedSeed + 1));
    std::vector<Array> both;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      TAPER_ASSIGN(const auto axis, axis_of_symbol(inputs[i]->type.shape, symbol));
      if (!axis) second.inputs[i] = first_.inputs[i];
      both.push_back(axis ? joined_arrays(first_.inputs[i], second.inputs[i], *axis) : first_.inputs[i]);
    }
    TAPER_ASSIGN(const std::vector<Array> alone, evaluate(original_.graph, second.inputs));
    TAPER_ASSIGN(const std::vector<Array> together, evaluate(freed_.graph, std::move(both)));
    for (std::size_t i = 0; i < together.size(); ++i) {
      const Output& output = freed_.graph.outputs()[i];
      TAPER_ASSIGN(const auto axis, axis_of_symbol(output.value->type.shape, symbol));
      if (!axis) return fail("the output '{}' has no such axis", printable(output.name));
      if (!same_numbers(joined_arrays(first_.reference[i], alone[i], *axis), together[i]))
        return fail("entries along it influence one another, or it was set free wrongly");
    }
    return {};
  }

 private:
  const ImportedProgram& freed_;
  const ImportedProgram& original_;
  Bindings sizes_;
  Trial first_;
};

// The freed sizes that nothing proves, and why.
using Unproven = std::map<std::string, std::string>;

Expected<Unproven> unproven_sizes(const ImportedProgram& freed, const ImportedProgram& original) {
  const auto start = std::chrono::steady_clock::now();
  BesideOriginal comparison(freed, original);
  TAPER_TRY(comparison.at_the_sizes_of_the_program());
  Unproven unproven;
  for (const auto& [symbol, size] : freed.freed) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    const Status proof = passed.count() > kFreedPatience ? Status(fail("evaluating the program takes too long"))
                                                         : comparison.halves_of(symbol);
    if (!proof) unproven.emplace(symbol, proof.error().text());
  }
  return unproven;
}

struct Judged {
  ImportedProgram program;
  Unproven unproven;
};

Expected<Judged> judged(Expected<ImportedProgram> program, const ImportedProgram& original) {
  if (!program) return std::unexpected(std::move(program).error());
  TAPER_ASSIGN(Unproven unproven, unproven_sizes(*program, original));
  return Judged{std::move(*program), std::move(unproven)};
}

// What was decided for these sizes, each decision once.
void tell_decisions(ImportedProgram& program, const std::function<bool(const std::string&)>& concerns) {
  std::set<std::string> told;
  for (const auto& [symbol, freed] : program.freed)
    if (concerns(symbol))
      for (const std::string& note : freed.notes)
        if (told.insert(note).second) program.assumptions.push_back(note);
}

// Numbers that may be half of a size are right either way only where a proof shows it.
Status check_halves(const ImportedProgram& program, const Unproven& unproven) {
  for (const auto& [symbol, reason] : unproven) {
    const std::vector<std::string>& halves = program.freed.at(symbol).halves;
    if (halves.empty()) continue;
    return fail_with_hint(
        fmt::format("{}, or a number of its own, and nothing in the program tells which", halves[0]),
        "export with dynamic_shapes; or, where it is a number of its own, with another length: one at which that axis "
        "is neither twice the number nor one more or less");
  }
  return {};
}

// What was decided for sizes that are proven needs no words, but for numbers that stay.
void tell_of_freed(ImportedProgram& program, const Unproven& unproven) {
  tell_decisions(program, [&](const std::string& symbol) { return unproven.contains(symbol); });
  for (const auto& [symbol, freed] : program.freed)
    for (const std::string& note : freed.kept_numbers)
      if (std::ranges::find(program.assumptions, note) == program.assumptions.end())
        program.assumptions.push_back(note);
  for (const auto& [symbol, reason] : unproven)
    program.warnings.push_back(
        fmt::format("nothing proves that the size '{}' was set free rightly ({}): compare the files with PyTorch at "
                    "other sizes than {}, or export with dynamic_shapes",
                    symbol, reason, program.freed.at(symbol).size));
}

void tell_of_unlooked_at(ImportedProgram& program) {
  tell_decisions(program, [](const std::string&) { return true; });
  program.warnings.emplace_back(
      "whether sizes were set free rightly is not looked at here: converting the program does");
}

}  // namespace

Expected<ImportedProgram> read_with_freed_sizes(const ReadProgram& read, const ProgramOptions& options, bool proves) {
  Expected<ImportedProgram> first = read(options);
  if (first ? first->freed.empty() : options.dynamic.empty()) return first;
  if (!proves) {
    if (first) tell_of_unlooked_at(*first);
    return first;
  }
  ProgramOptions with = options;
  with.keep_frozen = true;
  TAPER_ASSIGN(const ImportedProgram original, read(with));
  with.keep_frozen = false;
  std::optional<Judged> best;
  std::optional<Error> error;
  const auto is_enough = [&] { return best && (best->unproven.empty() || !best->program.has_other_readings); };
  for (Expected<ImportedProgram> program = std::move(first);; program = read(with)) {
    Expected<Judged> next = judged(std::move(program), original);
    if (next && (!best || next->unproven.size() < best->unproven.size()))
      best = std::move(*next);
    else if (!next && !error)
      error = std::move(next).error();
    if (++with.reading == kAllReadings || is_enough()) break;
  }
  if (!best) return std::unexpected(std::move(*error));
  TAPER_TRY(check_halves(best->program, best->unproven));
  tell_of_freed(best->program, best->unproven);
  return std::move(best->program);
}

}  // namespace taper
