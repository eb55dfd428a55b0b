#include "formats/size_condition.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "formats/text_cursor.h"

namespace taper {
namespace {

bool takes_one(SizeCondition::Operation operation) {
  using enum SizeCondition::Operation;
  return operation == negate || operation == floor || operation == ceil || operation == truncate ||
         operation == absolute || operation == same || operation == invert;
}

bool is_value(SizeCondition::Operation operation) {
  using enum SizeCondition::Operation;
  return operation == number || operation == decimal || operation == symbol;
}

}  // namespace

// Each rule returns false where the text is no such thing.
class SizeConditionParser : TextCursor {
 public:
  using Operation = SizeCondition::Operation;

  explicit SizeConditionParser(std::string_view text) : TextCursor(text) { found_.text_ = text; }

  std::optional<SizeCondition> run() {
    constexpr std::size_t kLongest = 8192;
    if (text_.size() > kLongest || !either() || next() != '\0' || !compares_ || too_long_) return std::nullopt;
    if (says_equal()) found_.equal_sides_ = std::pair(std::string(left_), std::string(right_));
    return std::move(found_);
  }

  // The steps of another condition, with sizes in the place of its symbols.
  std::optional<SizeCondition> run(const SizeCondition& other, std::span<const std::string> sizes) {
    for (const SizeCondition::Step& step : other.steps_) {
      if (step.operation != Operation::symbol) {
        add(step);
        continue;
      }
      text_ = sizes[static_cast<std::size_t>(step.number)];
      at_ = 0;
      if (!sum() || next() != '\0' || too_long_) return std::nullopt;
    }
    found_.equal_sides_ = other.equal_sides_;
    return too_long_ ? std::nullopt : std::optional(std::move(found_));
  }

 private:
  static bool is_part_of_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
  bool take_word(std::string_view word) {
    next();
    const std::size_t end = at_ + word.size();
    if (!text_.substr(at_).starts_with(word) || (end < text_.size() && is_part_of_name(text_[end]))) return false;
    at_ = end;
    return true;
  }

  void add(const SizeCondition::Step& step) {
    constexpr std::size_t kMostSteps = 4096;
    too_long_ = too_long_ || found_.steps_.size() >= kMostSteps;
    if (too_long_) return;
    found_.steps_.push_back(step);
    if (is_value(step.operation))
      found_.depth_ = std::max(found_.depth_, ++depth_);
    else if (!takes_one(step.operation))
      --depth_;
  }
  void add(Operation operation, std::int64_t number = 0) { add({operation, number, 0}); }

  // Whether the last comparison is all that it says. A remainder by a number is 0 where it is 0 or less.
  bool says_equal() const {
    const auto& steps = found_.steps_;
    const auto has = [&](Operation operation) {
      return std::ranges::find(steps, operation, &SizeCondition::Step::operation) != steps.end();
    };
    if (has(Operation::decimal)) return false;
    if (steps.back().operation == Operation::equal) return true;
    const bool below_one = steps.back().operation == Operation::less && !has(Operation::divide);
    if ((!below_one && steps.back().operation != Operation::at_most) || steps.size() < 4) return false;
    const auto tail = std::span(steps).last(4);
    return tail[0].operation == Operation::number && tail[0].number > 0 && tail[1].operation == Operation::remainder &&
           tail[2].operation == Operation::number && tail[2].number == (below_one ? 1 : 0);
  }

  // ---- conditions

  bool either() {
    if (++nested_ > kMostNested || !both()) return false;
    while (take_word("or")) {
      if (!both()) return false;
      add(Operation::either);
    }
    --nested_;
    return true;
  }

  bool both() {
    if (!inverted()) return false;
    while (take_word("and")) {
      if (!inverted()) return false;
      add(Operation::both);
    }
    return true;
  }

  bool inverted() {
    bool odd = false;
    while (take_word("not")) odd = !odd;
    if (!comparison()) return false;
    if (odd) add(Operation::invert);
    return true;
  }

  // "1 < x <= y" is 1 < x and x <= y.
  bool comparison() {
    struct Relation {
      std::string_view token;
      Operation operation;
      bool swaps;
    };
    static constexpr std::array kRelations = {
        Relation{"==", Operation::equal, false},   Relation{"!=", Operation::unequal, false},
        Relation{"<=", Operation::at_most, false}, Relation{">=", Operation::less, true},
        Relation{"<", Operation::less, false},     Relation{">", Operation::at_most, true},
    };
    std::size_t begin = at_, from = found_.steps_.size();
    if (!sum()) return false;
    std::size_t to = found_.steps_.size();
    std::string_view left = text_.substr(begin, at_ - begin);
    for (bool first = true;; first = false) {
      const auto relation = std::ranges::find_if(kRelations, [&](const Relation& each) { return take(each.token); });
      if (relation == kRelations.end()) return true;
      compares_ = true;
      // What stands between two relations is an operand of both.
      if (!first)
        for (std::size_t i = from; i < to && !too_long_; ++i) add(SizeCondition::Step(found_.steps_[i]));
      begin = at_;
      from = found_.steps_.size();
      if (!sum()) return false;
      to = found_.steps_.size();
      // a >= b is not a < b.
      add(relation->operation);
      if (relation->swaps) add(Operation::invert);
      if (!first) add(Operation::both);
      left_ = left;
      right_ = left = text_.substr(begin, at_ - begin);
    }
  }

  // ---- numbers

  bool sum() {
    if (!product()) return false;
    while (true) {
      const bool plus = take("+");
      if (!plus && !take("-")) return true;
      if (!product()) return false;
      add(plus ? Operation::add : Operation::subtract);
    }
  }

  bool product() {
    if (!factor()) return false;
    while (true) {
      next();
      if (text_.substr(at_).starts_with("**")) return false;
      const auto operation = take("//")  ? Operation::floor_divide
                             : take("/") ? Operation::divide
                             : take("*") ? Operation::multiply
                             : take("%") ? Operation::remainder
                                         : Operation::number;
      if (operation == Operation::number) return true;
      if (!factor()) return false;
      add(operation);
    }
  }

  bool factor() {
    bool odd = false;
    while (take("-")) odd = !odd;
    if (!primary()) return false;
    if (odd) add(Operation::negate);
    return true;
  }

  bool primary() {
    if (take("(")) return either() && take(")");
    const char first = next();
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_part_of_name(text_[at_]) || text_[at_] == '.')) ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    if (word.empty()) return false;
    if (std::isdigit(static_cast<unsigned char>(first)) != 0) {
      if (word.find('.') != std::string_view::npos) return decimal(word);
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (error != std::errc{} || end != word.data() + word.size()) return false;
      add(Operation::number, number);
      return true;
    }
    if (take("(")) return call(word);
    if (word.find('.') != std::string_view::npos) return false;
    constexpr std::ptrdiff_t kMostSymbols = 256;
    const auto known = std::ranges::find(found_.symbols_, word);
    if (known - found_.symbols_.begin() >= kMostSymbols) return false;
    add(Operation::symbol, known - found_.symbols_.begin());
    if (known == found_.symbols_.end()) found_.symbols_.emplace_back(word);
    return true;
  }

  bool decimal(std::string_view word) {
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, std::chars_format::fixed);
    if (error != std::errc{} || end != word.data() + word.size() || !std::isfinite(value)) return false;
    add({Operation::decimal, 0, value});
    return true;
  }

  bool call(std::string_view name) {
    struct Function {
      std::string_view name;
      Operation operation;
      bool takes_many;
    };
    static constexpr std::array kFunctions = {
        Function{"max", Operation::greatest, true},
        Function{"Max", Operation::greatest, true},
        Function{"torch.sym_max", Operation::greatest, true},
        Function{"min", Operation::least, true},
        Function{"Min", Operation::least, true},
        Function{"torch.sym_min", Operation::least, true},
        Function{"floor_div", Operation::floor_divide, true},
        Function{"FloorDiv", Operation::floor_divide, true},
        Function{"CleanDiv", Operation::floor_divide, true},
        Function{"Mod", Operation::remainder, true},
        Function{"PythonMod", Operation::remainder, true},
        Function{"math.floor", Operation::floor, false},
        Function{"math.ceil", Operation::ceil, false},
        Function{"math.trunc", Operation::truncate, false},
        Function{"int", Operation::truncate, false},
        Function{"torch.sym_int", Operation::truncate, false},
        Function{"abs", Operation::absolute, false},
        Function{"float", Operation::same, false},
        Function{"torch.sym_float", Operation::same, false},
    };
    const auto function = std::ranges::find(kFunctions, name, &Function::name);
    if (function == kFunctions.end() || !either()) return false;
    if (!function->takes_many) {
      add(function->operation);
      return take(")");
    }
    while (take(",")) {
      if (!either()) return false;
      add(function->operation);
    }
    return take(")");
  }

  static constexpr int kMostNested = 64;

  std::string_view left_, right_;  // of the last comparison
  std::size_t depth_ = 0;
  int nested_ = 0;
  bool compares_ = false, too_long_ = false;
  SizeCondition found_;
};

std::optional<SizeCondition> SizeCondition::parse(std::string_view text) {
  return SizeConditionParser(text).run();
}

std::optional<SizeCondition> SizeCondition::with(std::span<const std::string> sizes) const {
  return SizeConditionParser(text_).run(*this, sizes);
}

namespace {

using Operation = SizeCondition::Operation;
using Span = SizeCondition::Span;

// Spans hold the exact result and the rounded one, which Python has of decimals: what isn't exact is made wider.
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Span kAnyNumber = {-kInfinity, kInfinity};
constexpr double kMostExact = 0x1p53;

// An end of a span.
struct End {
  double value;
  bool exact;
};

Span span_of(const End& least, const End& most) {
  if (std::isnan(least.value) || std::isnan(most.value)) return kAnyNumber;
  const auto is_exact = [](const End& end) { return end.exact && std::abs(end.value) <= kMostExact; };
  return {is_exact(least) ? least.value : std::nextafter(least.value, -kInfinity),
          is_exact(most) ? most.value : std::nextafter(most.value, kInfinity)};
}

End sum_of(double a, double b) {
  const double sum = a + b;
  return {sum, sum - a == b && sum - b == a};
}
End product_of(double a, double b) {
  if (a == 0 || b == 0) return {0, true};
  const double product = a * b;
  return {product, std::fma(a, b, -product) == 0};
}
// `b` may be infinite where the quotient comes near to 0.
End quotient_of(double a, double b) {
  if (std::isinf(b) && !std::isinf(a)) return {0, true};
  const double quotient = a / b;
  return {quotient, std::fma(quotient, b, -a) == 0};
}

Span negated(const Span& a) {
  return {-a.most, -a.least};
}

Span product_of(const Span& a, const Span& b) {
  Span all = {kInfinity, -kInfinity};
  for (const double x : {a.least, a.most})
    for (const double y : {b.least, b.most}) {
      const End product = product_of(x, y);
      const Span one = span_of(product, product);
      all = {std::min(all.least, one.least), std::max(all.most, one.most)};
    }
  return all;
}

// `b` holds no 0.
Span quotient_of(const Span& a, const Span& b) {
  if (b.most < 0) return quotient_of(negated(a), negated(b));
  return span_of(quotient_of(a.least, a.least >= 0 ? b.most : b.least),
                 quotient_of(a.most, a.most >= 0 ? b.least : b.most));
}

// With the sign of `b`, which holds no 0.
Span remainder_of(const Span& a, const Span& b) {
  if (b.most < 0) return negated(remainder_of(negated(a), negated(b)));
  const auto is_whole = [](double value) { return std::abs(value) <= kMostExact && value == std::floor(value); };
  if (b.least == b.most && is_whole(b.least) && is_whole(a.least) && is_whole(a.most) &&
      std::floor(a.least / b.least) == std::floor(a.most / b.least)) {
    const auto rest = [&](double value) {
      const double left = std::fmod(value, b.least);
      return left < 0 ? left + b.least : left;
    };
    return {rest(a.least), rest(a.most)};
  }
  return {0, a.least >= 0 ? std::min(a.most, b.most) : b.most};
}

constexpr Span truth(bool always, bool never) {
  return {always ? 1.0 : 0.0, never ? 0.0 : 1.0};
}
bool is_true(const Span& a) {
  return a.least > 0 || a.most < 0;
}
bool is_false(const Span& a) {
  return a.least == 0 && a.most == 0;
}

Span one_of(Operation operation, const Span& a) {
  switch (operation) {
    case Operation::negate:
      return negated(a);
    case Operation::floor:
      return {std::floor(a.least), std::floor(a.most)};
    case Operation::ceil:
      return {std::ceil(a.least), std::ceil(a.most)};
    case Operation::truncate:
      return {std::trunc(a.least), std::trunc(a.most)};
    case Operation::absolute:
      return a.least >= 0 ? a : a.most <= 0 ? negated(a) : Span{0, std::max(-a.least, a.most)};
    case Operation::invert:
      return truth(is_false(a), is_true(a));
    default:
      return a;
  }
}

Span compared(Operation operation, const Span& a, const Span& b) {
  switch (operation) {
    case Operation::less:
      return truth(a.most < b.least, a.least >= b.most);
    case Operation::at_most:
      return truth(a.most <= b.least, a.least > b.most);
    default: {
      const Span equal =
          truth(a.least == a.most && b.least == b.most && a.least == b.least, a.most < b.least || b.most < a.least);
      return operation == Operation::equal ? equal : Span{1 - equal.most, 1 - equal.least};
    }
  }
}

Span two_of(Operation operation, const Span& a, const Span& b, bool& may_fail) {
  switch (operation) {
    case Operation::add:
      return span_of(sum_of(a.least, b.least), sum_of(a.most, b.most));
    case Operation::subtract:
      return span_of(sum_of(a.least, -b.most), sum_of(a.most, -b.least));
    case Operation::multiply:
      return product_of(a, b);
    case Operation::divide:
    case Operation::floor_divide:
    case Operation::remainder: {
      if (b.least <= 0 && b.most >= 0) {
        may_fail = true;
        return kAnyNumber;
      }
      if (operation == Operation::remainder) return remainder_of(a, b);
      const Span quotient = quotient_of(a, b);
      return operation == Operation::divide ? quotient : one_of(Operation::floor, quotient);
    }
    case Operation::greatest:
      return {std::max(a.least, b.least), std::max(a.most, b.most)};
    case Operation::least:
      return {std::min(a.least, b.least), std::min(a.most, b.most)};
    case Operation::both:
      return truth(is_true(a) && is_true(b), is_false(a) || is_false(b));
    case Operation::either:
      return truth(is_true(a) || is_true(b), is_false(a) && is_false(b));
    default:
      return compared(operation, a, b);
  }
}

}  // namespace

std::optional<bool> SizeCondition::holds(std::span<const Span> sizes) const {
  std::vector<Span> stack;
  stack.reserve(depth_);
  bool may_fail = false;
  for (const Step& step : steps_) {
    if (step.operation == Operation::symbol) {
      stack.push_back(sizes[static_cast<std::size_t>(step.number)]);
    } else if (step.operation == Operation::decimal) {
      stack.push_back({step.real, step.real});
    } else if (step.operation == Operation::number) {
      const End number = {static_cast<double>(step.number), true};
      stack.push_back(span_of(number, number));
    } else if (takes_one(step.operation)) {
      stack.back() = one_of(step.operation, stack.back());
    } else {
      const Span b = stack.back();
      stack.pop_back();
      stack.back() = two_of(step.operation, stack.back(), b, may_fail);
    }
  }
  if (is_false(stack.back())) return false;
  return is_true(stack.back()) && !may_fail ? std::optional(true) : std::nullopt;
}

}  // namespace taper
