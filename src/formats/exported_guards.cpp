#include "formats/exported_guards.h"

#include <charconv>
#include <set>

#include "formats/size_expression.h"
#include "formats/text.h"

namespace taper::exported {
namespace {

constexpr std::size_t kMostGuards = 4096;
constexpr std::size_t kMostEqual = 512;
constexpr std::size_t kLongestZero = 2048;
constexpr std::size_t kLongestGuard = 8192;  // in the words of sizes
constexpr std::size_t kLongestTogether = 1 << 22;
constexpr std::size_t kMostSteps = 1 << 20;         // of all conditions
constexpr std::size_t kLongestInProgram = 1 << 16;  // with the names of inputs
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

// Sizes are written as often as guards name them.
class SizeTexts {
 public:
  const std::string& of(const Dim& size) {
    const auto [text, is_new] = texts_.try_emplace(&size);
    if (is_new) text->second = size.as_symbol() ? size.text() : "(" + size.text() + ")";
    return text->second;
  }

 private:
  std::map<const Dim*, std::string> texts_;
};

// Replaces "L['x']['y'][0].size()[1]" by the size that input x_y_0 has there.
class GuardReader {
 public:
  GuardReader(std::string_view text, const Inputs& inputs, SizeTexts& texts)
      : text_(text), inputs_(inputs), texts_(texts) {}

  // Nothing: it speaks of something else, or is too long.
  std::optional<std::string> run() {
    std::string out;
    while (at_ < text_.size() && out.size() <= kLongestGuard) {
      if (!text_.substr(at_).starts_with("L[")) {
        out += text_[at_++];
        continue;
      }
      ++at_;
      const Dim* size = reference();
      if (size == nullptr) return std::nullopt;
      names_size_ = true;
      names_open_size_ = names_open_size_ || !size->constant();
      out += texts_.of(*size);
    }
    return out.size() <= kLongestGuard ? std::optional(std::move(out)) : std::nullopt;
  }

  // Whether it may speak of sizes that are open, as far as it was read.
  bool concerns_open_sizes() const {
    return names_open_size_ || (!names_size_ && text_.find(".size()[") != std::string_view::npos);
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

  const Dim* reference() {
    std::string name;
    while (at_ < text_.size() && text_[at_] == '[') {
      const auto part = key();
      if (!part) return nullptr;
      name += (name.empty() ? "" : "_") + std::string(*part);
    }
    const auto input = inputs_.find(name);
    if (input == inputs_.end() || !take(".size()")) return nullptr;
    const auto index = key();
    std::size_t axis = 0;
    if (!index) return nullptr;
    const auto [end, error] = std::from_chars(index->data(), index->data() + index->size(), axis);
    if (error != std::errc{} || end != index->data() + index->size() || axis >= input->second->sizes.size())
      return nullptr;
    return &input->second->sizes[axis];
  }

  std::string_view text_;
  const Inputs& inputs_;
  SizeTexts& texts_;
  std::size_t at_ = 0;
  bool names_size_ = false, names_open_size_ = false;
};

// Left minus right side.
std::optional<Dim> zero_of(const SizeCondition& condition) {
  const auto& sides = condition.equal_sides();
  if (!sides || condition.text().size() > kLongestZero) return std::nullopt;
  const auto left = parse_size_expression(sides->first), right = parse_size_expression(sides->second);
  if (!left || !right) return std::nullopt;
  Dim difference = *left - *right;
  const bool tells = !difference.overflowed() && !difference.constant() && difference.terms().size() <= kMostTerms;
  return tells ? std::optional(std::move(difference)) : std::nullopt;
}

}  // namespace

void read_guards(const Json& json, Program& program) {
  const Json* guards = optional_member(json, "guards_code");
  if (guards == nullptr || !guards->is_array()) return;
  const Inputs inputs = user_inputs(program);
  SizeTexts texts;
  std::set<std::string, std::less<>> known;
  std::size_t length = 0, steps = 0, equal = 0;
  for (std::size_t i = 0; i < guards->size(); ++i) {
    const Json& guard = (*guards)[i];
    if (!guard.is_string()) continue;
    const std::string_view text = guard.get_ref<const std::string&>();
    GuardReader reader(text, inputs, texts);
    const bool reads =
        i < kMostGuards && text.size() <= kLongestInProgram && length <= kLongestTogether && steps <= kMostSteps;
    const auto written = reads ? reader.run() : std::nullopt;
    length += written ? written->size() : 0;
    if (written && known.contains(*written)) continue;
    auto condition = written ? SizeCondition::parse(*written) : std::nullopt;
    if (!condition) {
      if (reader.concerns_open_sizes() && program.unread_guards++ == 0)
        program.unread_guard = excerpt(written ? *written : text);
      continue;
    }
    known.insert(*written);
    if (condition->symbols().empty()) continue;
    steps += condition->length();
    if (condition->equal_sides() && equal++ < kMostEqual)
      if (auto zero = zero_of(*condition)) program.zeros.push_back(std::move(*zero));
    program.conditions.push_back(std::move(*condition));
  }
}

}  // namespace taper::exported
