// How often a loop of TorchScript runs whose end its own condition decides.
#include <unordered_map>

#include "frontend/aten_counts.h"
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {
namespace {

constexpr int kMostLookedAt = 500;

// What a condition says of how often it holds in a row, beginning with 0 iterations.
struct Bound {
  bool never = false;
  std::optional<Dim> most;  // it holds so often at most
  bool exact = false;       // or just so often
  // It holds just so often as this number of outside says, and `more`.
  taper::Value* times = nullptr;
  Dim more = 0;
};

std::string_view inverted(std::string_view op) {
  constexpr std::pair<std::string_view, std::string_view> kInverses[] = {
      {"less", "greater_equal"}, {"less_equal", "greater"}, {"greater", "less_equal"},
      {"greater_equal", "less"}, {"equal", "not_equal"},    {"not_equal", "equal"},
  };
  const auto* found = std::ranges::find(kInverses, op, &std::pair<std::string_view, std::string_view>::first);
  return found != std::end(kInverses) ? found->second : std::string_view();
}

// An integer in an iteration: known + scale * (what a carried number is then).
struct Linear {
  std::size_t carried = ~std::size_t{0};
  std::int64_t scale = 0;
  Dim known = 0;
};

}  // namespace

// Reads the condition of a loop. Inputs of regions are followed to what they are outside.
class Interpreter::StepCounter {
 public:
  StepCounter(const Loop& loop, const aten::Context& context) : loop_(loop), context_(context) {
    for (const Branch* branch : {&loop.body, &loop.condition})
      for (std::size_t i = 0; i < loop.carried.size(); ++i) carried_.emplace(branch->outputs[i], i);
    for (const Branch* branch : {&loop.body, &loop.condition})
      for (const Region* region = branch->region.get(); region != nullptr; region = region->outer)
        for (const Capture& capture : region->captures)
          if (capture.input) outside_.emplace(capture.input, capture.outer_value);
  }

  // Whether an integer is this size.
  bool is_known(const taper::Value* value, const Dim& size) {
    const auto number = linear(value);
    return number && number->scale == 0 && number->known == size;
  }

  // What the loop's condition says.
  Bound bound(const Value& entered) {
    // A condition is a variable that iterations set, or asked anew before each of them.
    const auto variable = carried_.find(loop_.go_on);
    if (variable == carried_.end()) return holds(loop_.go_on, true);
    after_iteration_ = true;
    Bound later = holds(loop_.next[variable->second], true);
    if (later.times != nullptr) return asks_alike(loop_.carried[variable->second].initial) ? later : Bound{};
    // What is asked before the first iteration need not be what is asked after each.
    const auto* sizes = entered.as<Undecided>();
    taper::Value* first = sizes ? loop_.carried[variable->second].initial : nullptr;
    later.exact = later.exact && first != nullptr && compared_ && compares_alike(first);
    if (later.most && !later.exact) later.most = aten::larger(context_, *later.most, 1);
    return later;
  }

  // An integer of the body in iteration m, as first + second * m.
  std::optional<std::pair<Dim, std::int64_t>> line_of(const taper::Value* value) {
    const auto number = linear(value);
    if (!number || number->scale == 0 || std::abs(number->scale) > (1 << 20)) return std::nullopt;
    const auto counter = counter_at(number->carried);
    if (!counter) return std::nullopt;
    return std::pair(number->known + Dim(number->scale) * counter->offset, number->scale * counter->slope);
  }

  // Numbers that grow by the same in each iteration: how they begin, and by how much.
  std::map<std::string_view, std::pair<Dim, std::int64_t>> counters() {
    std::map<std::string_view, std::pair<Dim, std::int64_t>> all;
    for (std::size_t i = 0; i < loop_.carried.size(); ++i)
      if (const auto line = loop_.carried[i].is_number ? counter_at(i) : std::nullopt)
        all.emplace(loop_.carried[i].name, std::pair(line->offset, line->slope));
    return all;
  }

 private:
  std::optional<Linear> linear(const taper::Value* value) {
    if (value == nullptr || --budget_ < 0) return std::nullopt;
    if (const auto known = aten::known_integers(value); known && known->size() == 1)
      return Linear{.known = known->front()};
    if (const auto found = carried_.find(value); found != carried_.end())
      return Linear{.carried = found->second, .scale = 1};
    if (const auto found = outside_.find(value); found != outside_.end()) return linear(found->second);
    const Node* node = value->producer;
    if (node == nullptr) return std::nullopt;
    if (node->op == "reshape" || node->op == "cast") {
      const bool whole = !is_floating(node->operands[0]->type.dtype) && !is_floating(value->type.dtype);
      return whole ? linear(node->operands[0]) : std::nullopt;
    }
    if (node->op != "add" && node->op != "sub" && node->op != "mul") return std::nullopt;
    const auto a = linear(node->operands[0]);
    const auto b = linear(node->operands[1]);
    if (!a || !b) return std::nullopt;
    return node->op == "mul" ? product(*a, *b) : sum(*a, *b, node->op == "add" ? 1 : -1);
  }

  static std::optional<Linear> sum(const Linear& a, const Linear& b, std::int64_t sign) {
    if (a.scale != 0 && b.scale != 0 && a.carried != b.carried) return std::nullopt;
    return Linear{a.scale != 0 ? a.carried : b.carried, a.scale + sign * b.scale, a.known + Dim(sign) * b.known};
  }
  static std::optional<Linear> product(const Linear& a, const Linear& b) {
    const auto factor = (a.scale == 0 ? a : b).known.constant();
    const Linear& other = a.scale == 0 ? b : a;
    if (!factor || (a.scale != 0 && b.scale != 0) || std::abs(*factor) > (1 << 20)) return std::nullopt;
    return Linear{other.carried, other.scale * *factor, other.known * Dim(*factor)};
  }

  // a - b after m iterations, as offset + slope * m.
  struct Line {
    std::int64_t slope;
    Dim offset;
  };
  std::optional<Line> difference(const taper::Value* a, const taper::Value* b) {
    const auto p = linear(a), q = linear(b);
    const auto d = p && q ? sum(*p, *q, -1) : std::nullopt;
    if (!d || d->scale == 0) return std::nullopt;
    const auto counter = counter_at(d->carried);
    if (!counter || std::abs(d->scale) > (1 << 20)) return std::nullopt;
    return Line{d->scale * counter->slope, d->known + Dim(d->scale) * counter->offset};
  }
  // What is carried, if it grows by the same number in each iteration.
  std::optional<Line> counter_at(std::size_t i) {
    const auto begin = linear(loop_.carried[i].initial);
    const auto next = linear(loop_.next[i]);
    if (!begin || begin->scale != 0 || !next || next->carried != i || next->scale != 1) return std::nullopt;
    const auto step = next->known.constant();
    if (!step || *step == 0 || std::abs(*step) > (1 << 20)) return std::nullopt;
    return Line{*step, begin->known};
  }

  Bound comparison(std::string_view op, const taper::Value* a, const taper::Value* b) {
    const auto line = difference(a, b);
    if (!line) return by_number(op, a, b);
    const auto [slope, offset] = *line;
    Dim first;  // the first m where it does not hold
    if ((op == "less" || op == "less_equal") && slope > 0)
      first = ceil_divide(Dim(op == "less" ? 0 : 1) - offset, Dim(slope));
    else if ((op == "greater" || op == "greater_equal") && slope < 0)
      first = ceil_divide(offset + Dim(op == "greater" ? 0 : 1), Dim(-slope));
    else if (op == "not_equal" && std::abs(slope) == 1 &&
             aten::known_less_equal(context_, 0, Dim(-slope) * offset) == true)
      first = Dim(-slope) * offset;
    else
      return {};
    if (first.overflowed()) return {};
    compared_ = Compared{op, slope, offset};
    if (after_iteration_) first = first + Dim(1);
    return {.most = aten::larger(context_, first, 0), .exact = true};
  }

  // i < n where i grows by 1 from what is known, and n is a number that is the same in all iterations.
  Bound by_number(std::string_view op, const taper::Value* a, const taper::Value* b) {
    if (op == "greater" || op == "greater_equal") std::swap(a, b);
    const bool equals = op == "less_equal" || op == "greater_equal";
    if ((!equals && op != "less" && op != "greater") || is_floating(b->type.dtype)) return {};
    const auto line = line_of(a);
    taper::Value* outer = nullptr;
    for (auto found = outside_.find(b); found != outside_.end(); found = outside_.find(outer)) outer = found->second;
    const auto changes = [&](const Capture& capture) {
      return capture.outer_value == outer &&
             (capture.inner.tensor->lost() || capture.inner.tensor->present() != capture.initial);
    };
    if (!line || line->second != 1 || outer == nullptr || std::ranges::any_of(loop_.body.region->captures, changes))
      return {};
    by_number_ = ByNumber{equals, line->first, outer};
    return {.times = outer, .more = Dim((equals ? 1 : 0) + (after_iteration_ ? 1 : 0)) - line->first};
  }

  // Whether a condition outside compares what is counted before any iteration with that number.
  bool asks_alike(const taper::Value* first) {
    const Node* node = first->producer;
    if (node == nullptr || node->operands.size() != 2) return false;
    const bool turned = node->op == "greater" || node->op == "greater_equal";
    if (node->op != (turned              ? by_number_.equals ? "greater_equal" : "greater"
                     : by_number_.equals ? "less_equal"
                                         : "less"))
      return false;
    const auto begin = linear(node->operands[turned ? 1 : 0]);
    return node->operands[turned ? 0 : 1] == by_number_.times && begin && begin->scale == 0 &&
           begin->known == by_number_.first - Dim(1);
  }

  static Bound both(const Bound& a, const Bound& b) {
    if (a.never || b.never) return {.never = true};
    if (!a.most || !b.most) return {.most = a.most ? a.most : b.most};
    return *a.most == *b.most ? Bound{.most = a.most, .exact = a.exact && b.exact} : Bound{.most = a.most};
  }
  static Bound either(const Bound& a, const Bound& b) {
    if (a.never) return b;
    if (b.never) return a;
    return a.most && b.most && *a.most == *b.most ? Bound{.most = a.most} : Bound{};
  }

  // What it says that a flag is `wanted`.
  Bound holds(const taper::Value* flag, bool wanted) {
    if (flag == nullptr || --budget_ < 0) return {};
    if (const auto known = aten::constant_value(flag); known && known->values.size() == 1)
      return {.never = (known->values[0] != 0) != wanted};
    if (const auto found = outside_.find(flag); found != outside_.end()) return holds(found->second, wanted);
    const Node* node = flag->producer;
    if (node == nullptr) return {};
    const auto& operands = node->operands;
    if (node->op == "logical_not") return holds(operands[0], !wanted);
    if ((node->op == "reshape" || node->op == "cast" || node->op == "expand") &&
        operands[0]->type.dtype == DType::boolean)
      return holds(operands[0], wanted);
    const bool is_and = node->op == "logical_and" || node->op == "bitwise_and";
    if (is_and || node->op == "logical_or" || node->op == "bitwise_or") {
      const Bound a = holds(operands[0], wanted), b = holds(operands[1], wanted);
      return is_and == wanted ? both(a, b) : either(a, b);
    }
    if (node->op == "if") return of_branches(*node, flag, wanted);
    const std::string_view opposite = inverted(node->op);
    if (opposite.empty() || operands.size() != 2) return {};
    return comparison(wanted ? std::string_view(node->op) : opposite, operands[0], operands[1]);
  }

  Bound of_branches(const Node& node, const taper::Value* flag, bool wanted) {
    const auto at = static_cast<std::size_t>(std::ranges::find(node.results, flag) - node.results.begin());
    std::optional<Bound> all;
    for (const bool then : {true, false}) {
      const Graph& region = *node.regions[then ? 0 : 1];
      for (std::size_t i = 0; i < region.inputs().size() && i + 1 < node.operands.size(); ++i)
        outside_.emplace(region.inputs()[i], node.operands[i + 1]);
      const Bound way = both(holds(node.operands[0], then), holds(region.outputs()[at].value, wanted));
      all = all ? either(*all, way) : way;
    }
    return *all;
  }

  // Whether a comparison outside says of no iterations what the condition says of those after.
  bool compares_alike(const taper::Value* first) {
    const Node* node = first->producer;
    if (node == nullptr || node->op != compared_->op) return false;
    const auto a = linear(node->operands[0]), b = linear(node->operands[1]);
    return a && b && a->scale == 0 && b->scale == 0 && a->known - b->known == compared_->offset - Dim(compared_->slope);
  }

  struct Compared {
    std::string_view op;
    std::int64_t slope;
    Dim offset;
  };
  const Loop& loop_;
  const aten::Context& context_;
  std::unordered_map<const taper::Value*, std::size_t> carried_;
  std::unordered_map<const taper::Value*, taper::Value*> outside_;
  std::optional<Compared> compared_;
  struct ByNumber {
    bool equals = false;
    Dim first = 0;
    const taper::Value* times = nullptr;
  };
  ByNumber by_number_;
  bool after_iteration_ = false;
  int budget_ = kMostLookedAt;
};

// Finds out how often a loop runs where a list grows in it. Returns whether that is new, which the next attempt has to
// know.
Expected<bool> Interpreter::count_steps(Loop& loop, const Value& entered, Attempts& attempts) {
  const bool asks =
      (loop.body.region->asks_ranges || loop.condition.region->asks_ranges) && !attempts.counted && !loop.is_for();
  const bool grows = !attempts.grown.empty() || !attempts.filling.empty();
  if (attempts.steps) {
    StepCounter counter(loop, region_->context);
    return count_ragged(counter, loop, attempts);
  }
  if (!grows && !asks) return false;
  attempts.counted = true;
  if (loop.is_for()) {
    if (region_ != &root_)
      return error_here("a list grows by a number of items that depends on data, in a branch or loop that does too",
                        "write into a tensor of known size (out[t] = y)");
    TAPER_ASSIGN(taper::Value * times, number_in(*region_, *loop.count));
    attempts.measured = aten::measured_range(region_->context, times, std::nullopt);
    TAPER_TRY(region_->build.status());
    attempts.steps = attempts.measured->type.shape[0];
    return true;
  }
  StepCounter counter(loop, region_->context);
  const Bound bound = counter.bound(entered);
  attempts.counters = counter.counters();
  if (bound.times != nullptr && grows && region_ == &root_ && root_.graph.owns(bound.times)) {
    TAPER_ASSIGN(
        const Value times,
        call_operator("add", {{"", TensorRef{aten::Tensor::make(bound.times), region_, true}}, {"", bound.more}}));
    TAPER_ASSIGN(taper::Value * number, number_in(*region_, times, DType::i64));
    attempts.measured = aten::measured_range(region_->context, number, std::nullopt);
    TAPER_TRY(region_->build.status());
    attempts.steps = attempts.measured->type.shape[0];
    return true;
  }
  if (!bound.most && !grows) return asks;
  if (!bound.most)
    return error_here("a list grows in a loop of which it isn't known how often it runs at most",
                      "end the loop by a count too: while i < 100 and ...");
  attempts.steps = bound.most;
  attempts.ends_itself = !bound.exact;
  return true;
}

// The parts that items are as long as, if these follow one another.
std::optional<Interpreter::Growth::Ragged> Interpreter::counted_parts(StepCounter& counter, const Region& region,
                                                                      const Growth& growth,
                                                                      std::span<const Value> items) {
  const Region::Part* part = nullptr;
  for (const Value& item : items) {
    if (!item.is_tensor() || growth.ragged->axis >= item.tensor()->tensor->type().shape.size()) return std::nullopt;
    for (const std::string& symbol : symbols_of(item.tensor()->tensor->type().shape[growth.ragged->axis]))
      if (const auto found = region.parts.find(symbol); found != region.parts.end()) part = &found->second;
  }
  if (part == nullptr) return std::nullopt;
  const taper::Value* last = part->last;
  if (const Node* node = last->producer; node != nullptr && node->op == "minimum") {  // min(i + n, size)
    const bool second = counter.is_known(node->operands[1], part->size);
    if (second || counter.is_known(node->operands[0], part->size)) last = node->operands[second ? 0 : 1];
  }
  const auto from = counter.line_of(part->first), to = counter.line_of(last);
  if (!from || !to || from->second < 1 || from->second != to->second || to->first - from->first != from->second ||
      aten::known_less_equal(region.context, 0, from->first) != true)
    return std::nullopt;
  Growth::Ragged ragged = *growth.ragged;
  ragged.is_counted = true;
  ragged.first = from->first;
  ragged.step = from->second;
  ragged.size = part->size;
  return ragged;
}

// Finds out which parts of a tensor items are as long as. Returns whether that is new, which the next attempt has to
// know.
Expected<bool> Interpreter::count_ragged(StepCounter& counter, const Loop& loop, Attempts& attempts) {
  bool more = false;
  for (const Loop::Carried& one : loop.carried) {
    if (!one.growth || !one.growth->ragged) continue;
    const auto counted = counted_parts(counter, *loop.body.region, *one.growth, loop.after(one));
    if (!counted || (one.growth->ragged->is_counted && *counted != *one.growth->ragged))
      return error_here("a list gets items of different sizes in a loop that depends on data",
                        "parts that follow one another (x[:, i : i + 4]) may be shorter at the end; else pad the input "
                        "so that all are of one size");
    if (one.growth->ragged->is_counted) continue;
    const Loop::Holder& holder = loop.holders[one.holder];
    const auto noted = attempts.grown.find({holder.list(), holder.variable});
    if (noted == attempts.grown.end()) return error_here("a list changes in a loop in a way that is not known");
    noted->second.ragged = counted;
    more = true;
  }
  return more;
}

}  // namespace taper::torchscript
