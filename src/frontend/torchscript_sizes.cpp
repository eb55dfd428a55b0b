#include "frontend/torchscript_sizes.h"

#include <algorithm>
#include <set>
#include <string>

#include "frontend/aten_table.h"
#include "frontend/torchscript_interpreter.h"

namespace taper::torchscript {
namespace {

// c * symbol + k
struct Line {
  std::string symbol;
  std::int64_t factor = 0, offset = 0;
};
std::optional<Line> as_line(const Dim& size) {
  constexpr std::int64_t kLargest = std::int64_t{1} << 40;
  Line line;
  for (const Dim::Term& term : size.terms()) {
    if (term.coefficient > kLargest || term.coefficient < -kLargest) return std::nullopt;
    if (term.symbols.empty()) {
      line.offset = term.coefficient;
    } else if (term.symbols.size() == 1 && line.factor == 0 && !dim_function(term.symbols[0])) {
      line.symbol = term.symbols[0];
      line.factor = term.coefficient;
    } else {
      return std::nullopt;
    }
  }
  return line.factor == 0 ? std::nullopt : std::optional(line);
}

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {  // of a positive b
  return a / b - (a % b < 0 ? 1 : 0);
}

// What is at most 0 narrows the range of its symbol.
void narrow_to_at_most_zero(aten::Context& context, const Dim& size) {
  const auto line = as_line(size);
  if (!line) return;
  const auto [entry, is_new] = context.symbols.try_emplace(line->symbol);
  SymbolRange& range = entry->second;
  if (is_new) range.least = 1;
  const bool rises = line->factor > 0;
  const std::int64_t bound = floor_quotient(-line->offset, rises ? line->factor : -line->factor);
  if (rises) {
    range.most = std::min(range.most, bound);
  } else {
    // -c s + k <= 0: s is k / c at least, rounded up
    range.least = std::max(range.least, -bound);
  }
}

// What is 0 where a comparison holds, if it says that of anything.
std::optional<Dim> nothing_where(const aten::Context& context, const Undecided::Comparison& comparison) {
  const auto& [op, a, b] = comparison;
  const bool at_most = op == "le" && aten::known_less_equal(context, b, a) == true;
  const bool at_least = op == "ge" && aten::known_less_equal(context, a, b) == true;
  return op == "eq" || at_most || at_least ? std::optional(a - b) : std::nullopt;
}

bool is_multiple(const Dim& size, const Dim& of) {
  const auto terms = size.terms(), units = of.terms();
  if (terms.empty() || units.empty() || terms.size() != units.size()) return terms.empty();
  if (units[0].coefficient == 0 || terms[0].coefficient % units[0].coefficient != 0) return false;
  return size == of * Dim(terms[0].coefficient / units[0].coefficient);
}

// Whether two sizes are one where a condition holds, or does not.
bool equal_where(const aten::Context& context, const Undecided& condition, bool holds, const Dim& a, const Dim& b) {
  aten::Context there{context.build, context.symbols};
  there.counted = context.counted;
  narrow(there, condition, holds);
  if (aten::known_less_equal(there, a, b) == true && aten::known_less_equal(there, b, a) == true) return true;
  return std::ranges::any_of(holds ? condition.if_true : condition.if_false,
                             [&](const Undecided::Comparison& comparison) {
                               const auto nothing = nothing_where(context, comparison);
                               return nothing && is_multiple(a - b, *nothing);
                             });
}

}  // namespace

Undecided::Comparison inverse_of(const Undecided::Comparison& comparison) {
  constexpr std::pair<std::string_view, std::string_view> kInverses[] = {{"lt", "ge"}, {"ge", "lt"}, {"gt", "le"},
                                                                         {"le", "gt"}, {"eq", "ne"}, {"ne", "eq"}};
  const auto* found =
      std::ranges::find(kInverses, comparison.op, &std::pair<std::string_view, std::string_view>::first);
  return {found->second, comparison.a, comparison.b};
}

Dim flag_of(const Undecided::Comparison& comparison) {
  const auto& [op, a, b] = comparison;
  const auto is_positive = [](const Dim& size) { return dim_min(1, dim_max(size, 0)); };
  if (op == "gt") return is_positive(a - b);
  if (op == "lt") return is_positive(b - a);
  if (op == "ge") return is_positive(a - b + Dim(1));
  if (op == "le") return is_positive(b - a + Dim(1));
  const Dim differ = is_positive(a - b) + is_positive(b - a);
  return op == "ne" ? differ : Dim(1) - differ;
}

void narrow(aten::Context& context, const Undecided& condition, bool holds) {
  for (const auto& [op, a, b] : holds ? condition.if_true : condition.if_false) {
    if (op == "le" || op == "eq") narrow_to_at_most_zero(context, a - b);
    if (op == "ge" || op == "eq") narrow_to_at_most_zero(context, b - a);
    if (op == "lt") narrow_to_at_most_zero(context, a - b + Dim(1));
    if (op == "gt") narrow_to_at_most_zero(context, b - a + Dim(1));
  }
}

std::optional<Dim> chosen_size(const aten::Context& context, const Undecided& condition, const Dim& a, const Dim& b) {
  if (a == b) return a;
  if (equal_where(context, condition, false, a, b)) return a;
  if (equal_where(context, condition, true, b, a)) return b;
  for (const Dim& size : {aten::smaller(context, a, b), aten::larger(context, a, b)})
    if (equal_where(context, condition, true, size, a) && equal_where(context, condition, false, size, b)) return size;
  if (!condition.flag) return std::nullopt;
  constexpr std::size_t kMostText = std::size_t{1} << 16;  // flags within flags say nothing to anybody
  const Dim size = b + *condition.flag * (a - b);
  return size.overflowed() || size.text().size() > kMostText ? std::nullopt : std::optional(size);
}

namespace {

// The plain symbols of sizes that a region names, but can't tell from the sizes of its inputs.
std::set<std::string> untold_symbols(const Region& region) {
  std::set<std::string> told, told_sizes, untold;
  for (const taper::Value* input : region.graph.inputs())
    for (const Dim& size : input->type.shape) {
      if (const auto line = as_line(size)) told.insert(line->symbol);
      if (!size.constant()) told_sizes.insert(size.text());
    }
  const auto ask = [&](const Shape& shape) {
    for (const Dim& size : shape) {
      if (size.constant() || told_sizes.contains(size.text())) continue;
      for (std::string& symbol : symbols_of(size))
        if (!told.contains(symbol) && !region.context.counted.contains(symbol)) untold.insert(std::move(symbol));
    }
  };
  for (const Node& node : region.graph.nodes()) {
    for (const NamedAttr& attr : node.attrs)
      if (const auto* shape = std::get_if<Shape>(&attr.second)) ask(*shape);
    for (const taper::Value* result : node.results) ask(result->type.shape);
  }
  return untold;
}

}  // namespace

Status Interpreter::capture_sizes(Region& region) {
  for (const std::string& symbol : untold_symbols(region)) {
    const auto tells = [&](const taper::Value* input) {
      return std::ranges::any_of(input->type.shape, [&](const Dim& size) {
        const auto line = as_line(size);
        return line && line->symbol == symbol;
      });
    };
    const auto& inputs = root_.graph.inputs();
    const auto found = std::ranges::find_if(inputs, tells);
    if (found == inputs.end()) continue;
    TAPER_ASSIGN([[maybe_unused]] const taper::Value* seen,
                 content_in(region, {aten::Tensor::make(*found), &root_, false}));
  }
  return {};
}

namespace {

// What Python's `and` and `or` are in TorchScript: a branch that only says True or False.
struct ShortCircuit {
  std::string_view name;
  bool value;     // what the branch says
  bool if_holds;  // whether it is the first one
};
std::optional<ShortCircuit> short_circuit(const Statement& statement) {
  for (const bool first : {true, false}) {
    const std::vector<Statement>& block = first ? statement.body : statement.otherwise;
    if (block.size() != 1 || block[0].kind != StatementKind::assign || block[0].target->kind != ExprKind::name ||
        block[0].value->kind != ExprKind::boolean)
      continue;
    return ShortCircuit{block[0].target->text, block[0].value->boolean, first};
  }
  return std::nullopt;
}

}  // namespace

void Interpreter::take_back(Told before) {
  warnings.resize(std::min(warnings.size(), before.warnings));
  assumptions.resize(std::min(assumptions.size(), before.assumptions));
  unsupported = std::move(before.unsupported);
  changed_.reset();
  uneven_.reset();
}

// `sizes and x`: stays a condition on sizes if x is one. Returns whether it was one of these.
Expected<bool> Interpreter::join_by_branch(const Undecided& sizes, const Statement& statement) {
  const auto found = short_circuit(statement);
  const std::vector<Statement>& other = found && found->if_holds ? statement.otherwise : statement.body;
  const auto assigns = [](const Statement& one) { return one.kind == StatementKind::assign; };
  if (!found || !std::ranges::all_of(other, assigns)) return false;
  Told before = told();
  const Expected<Branch> branch = run_branch(other, {}, {}, &sizes, !found->if_holds);
  const auto value = branch ? branch->variables.find(found->name) : Variables::const_iterator();
  bool is_known = branch && value != branch->variables.end() &&
                  (value->second.as<bool>() || value->second.as<Undecided>()) && !changed_;
  // What it writes would be gone with it.
  for (std::size_t i = 0; is_known && i < branch->region->captures.size(); ++i) {
    const Expected<bool> changed = is_changed(*branch->region, branch->region->captures[i]);
    is_known = changed && !*changed;
  }
  if (!is_known) {
    take_back(std::move(before));
    return false;
  }
  // c ? true : x is c or x, and so on
  Value condition = sizes;
  if (found->if_holds != found->value) {
    TAPER_ASSIGN(condition, call_operator("__not__", {{"", std::move(condition)}}));
  }
  TAPER_ASSIGN(Value joined,
               call_operator(found->value ? "__or__" : "__and__", {{"", std::move(condition)}, {"", value->second}}));
  frame_->variables.insert_or_assign(found->name, std::move(joined));
  return true;
}

// Where sizes that a condition is about decide it for nearly all of them: what only chooses a truth by it is asked of
// the running program. Returns whether that could be done.
Expected<bool> Interpreter::choose_by_sizes(const Undecided& sizes, const Statement& statement) {
  if (!short_circuit(statement)) return false;
  Told before = told();
  TAPER_ASSIGN(taper::Value * flag, number_in(*region_, sizes, DType::boolean));
  const Status done = branch_on({aten::Tensor::make(flag), region_, true}, statement, &sizes);
  if (!done) take_back(std::move(before));
  return done.has_value();
}

}  // namespace taper::torchscript
