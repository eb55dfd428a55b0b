#include "formats/exported_guards.h"

#include <charconv>
#include <set>

#include "formats/size_expression.h"

namespace taper::exported {
namespace {

constexpr std::size_t kMostGuards = 512;
constexpr std::size_t kMostConditions = 4096;
constexpr std::size_t kLongestGuard = 2048;
constexpr std::size_t kLongestCondition = 1 << 16;  // with the names of inputs
constexpr std::size_t kMostTerms = 12;

using Inputs = std::map<std::string, const TensorMeta*, std::less<>>;

Inputs user_inputs(const Program& program) {
  Inputs inputs;
  for (const Input& input : program.inputs) {
    const auto* name = input.argument.as<ValueName>();
    if (name == nullptr || input.kind != InputKind::user) continue;
    if (const auto found = program.graph.tensors.find(name->name); found != program.graph.tensors.end())
      inputs.emplace(name->name, &found->second);
  }
  return inputs;
}

// Replaces "L['x']['y'][0].size()[1]" by the size that input x_y_0 has there.
class GuardReader {
 public:
  GuardReader(std::string_view text, const Inputs& inputs) : text_(text), inputs_(inputs) {}

  // Nothing: it speaks of something else.
  std::optional<std::string> run() {
    std::string out;
    while (at_ < text_.size()) {
      if (!text_.substr(at_).starts_with("L[")) {
        out += text_[at_++];
        continue;
      }
      ++at_;
      const auto size = reference();
      if (!size) return std::nullopt;
      out += size->as_symbol() ? size->text() : "(" + size->text() + ")";
    }
    return out;
  }

 private:
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  // What stands in brackets, without quotes.
  std::optional<std::string_view> key() {
    if (!take("[")) return std::nullopt;
    const std::size_t end = text_.find(']', at_);
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view inside = text_.substr(at_, end - at_);
    at_ = end + 1;
    if (inside.size() >= 2 && (inside[0] == '\'' || inside[0] == '"') && inside.back() == inside[0])
      inside = inside.substr(1, inside.size() - 2);
    return inside;
  }

  std::optional<Dim> reference() {
    std::string name;
    while (at_ < text_.size() && text_[at_] == '[') {
      const auto part = key();
      if (!part) return std::nullopt;
      name += (name.empty() ? "" : "_") + std::string(*part);
    }
    const auto input = inputs_.find(name);
    if (input == inputs_.end() || !take(".size()")) return std::nullopt;
    const auto index = key();
    std::size_t axis = 0;
    if (!index) return std::nullopt;
    const auto [end, error] = std::from_chars(index->data(), index->data() + index->size(), axis);
    if (error != std::errc{} || end != index->data() + index->size() || axis >= input->second->sizes.size())
      return std::nullopt;
    return input->second->sizes[axis];
  }

  std::string_view text_;
  const Inputs& inputs_;
  std::size_t at_ = 0;
};

// A side of a guard; functions in the spelling of dimensions are no Python.
std::optional<Dim> side(std::string_view text, const Inputs& inputs) {
  const auto written = GuardReader(text, inputs).run();
  if (!written) return std::nullopt;
  auto dim = parse_size_expression(*written);
  return dim ? std::optional(std::move(*dim)) : std::nullopt;
}

// A guard as two sides that are equal. A remainder that is 0 or less is 0, where its divisor is a number.
std::optional<std::pair<std::string_view, std::string_view>> equal_sides(std::string_view guard) {
  constexpr std::string_view kEqual = " == ", kAtMostZero = " <= 0";
  if (const std::size_t equal = guard.find(kEqual); equal != std::string_view::npos)
    return std::pair(guard.substr(0, equal), guard.substr(equal + kEqual.size()));
  if (!guard.ends_with(kAtMostZero)) return std::nullopt;
  const std::string_view left = guard.substr(0, guard.size() - kAtMostZero.size());
  const std::size_t remainder = left.rfind(") % ");
  if (remainder == std::string_view::npos || !left.starts_with('(')) return std::nullopt;
  const std::string_view divisor = left.substr(remainder + 4);
  if (divisor.empty() || divisor.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  int depth = 0;  // the bracket before the remainder is that at the start
  for (std::size_t i = 0; i < remainder; ++i) {
    depth += left[i] == '(' ? 1 : left[i] == ')' ? -1 : 0;
    if (depth == 0) return std::nullopt;
  }
  return std::pair(left, std::string_view("0"));
}

}  // namespace

std::vector<Dim> zeros_of_guards(const Json& json, const Program& program) {
  std::vector<Dim> zeros;
  const Json* guards = optional_member(json, "guards_code");
  if (guards == nullptr || !guards->is_array()) return zeros;
  const Inputs inputs = user_inputs(program);
  for (std::size_t i = 0; i < guards->size() && i < kMostGuards; ++i) {
    const Json& guard = (*guards)[i];
    if (!guard.is_string()) continue;
    const std::string_view text = guard.get_ref<const std::string&>();
    const auto sides = text.size() > kLongestGuard ? std::nullopt : equal_sides(text);
    if (!sides) continue;
    const auto left = side(sides->first, inputs), right = side(sides->second, inputs);
    if (!left || !right) continue;
    Dim difference = *left - *right;
    if (!difference.overflowed() && !difference.constant() && difference.terms().size() <= kMostTerms)
      zeros.push_back(std::move(difference));
  }
  return zeros;
}

std::vector<SizeCondition> conditions_of_guards(const Json& json, const Program& program) {
  std::vector<SizeCondition> conditions;
  const Json* guards = optional_member(json, "guards_code");
  if (guards == nullptr || !guards->is_array()) return conditions;
  const Inputs inputs = user_inputs(program);
  std::set<std::string> known;
  for (std::size_t i = 0; i < guards->size() && conditions.size() < kMostConditions; ++i) {
    const Json& guard = (*guards)[i];
    if (!guard.is_string() || guard.get_ref<const std::string&>().size() > kLongestCondition) continue;
    const auto written = GuardReader(guard.get_ref<const std::string&>(), inputs).run();
    if (!written || !known.insert(*written).second) continue;
    if (auto condition = SizeCondition::parse(*written); condition && !condition->symbols().empty())
      conditions.push_back(std::move(*condition));
  }
  return conditions;
}

}  // namespace taper::exported
