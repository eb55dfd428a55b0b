#include "formats/size_condition.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/bytes.h"

namespace taper {
namespace {

bool takes_one(SizeCondition::Operation operation) {
  using enum SizeCondition::Operation;
  return operation == negate || operation == floor || operation == ceil || operation == truncate || operation == invert;
}

}  // namespace

// Each rule returns false where the text is no such thing.
class SizeConditionParser {
 public:
  using Operation = SizeCondition::Operation;

  explicit SizeConditionParser(std::string_view text) : text_(text) { found_.text_ = text; }

  std::optional<SizeCondition> run() {
    constexpr std::size_t kLongest = 8192;
    if (text_.size() > kLongest || !either() || next() != '\0' || !compares_) return std::nullopt;
    return std::move(found_);
  }

 private:
  char next() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(std::string_view token) {
    next();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  static bool is_part_of_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
  bool take_word(std::string_view word) {
    next();
    const std::size_t end = at_ + word.size();
    if (!text_.substr(at_).starts_with(word) || (end < text_.size() && is_part_of_name(text_[end]))) return false;
    at_ = end;
    return true;
  }

  void add(Operation operation, std::int64_t number = 0) {
    found_.steps_.push_back({operation, number});
    const bool is_value = operation == Operation::number || operation == Operation::symbol;
    if (is_value) found_.depth_ = std::max(found_.depth_, ++depth_);
    if (!is_value && !takes_one(operation)) --depth_;
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
    if (!sum()) return false;
    for (bool first = true;; first = false) {
      const auto relation = std::ranges::find_if(kRelations, [&](const Relation& each) { return take(each.token); });
      if (relation == kRelations.end()) return true;
      compares_ = true;
      const std::size_t before = at_;
      if (!sum()) return false;
      // a >= b is not a < b.
      add(relation->operation);
      if (relation->swaps) add(Operation::invert);
      if (!first) add(Operation::both);
      const std::size_t after = at_;
      if (std::ranges::none_of(kRelations, [&](const Relation& each) { return take(each.token); })) return true;
      at_ = before;
      if (!sum()) return false;
      at_ = after;
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
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (error != std::errc{} || end != word.data() + word.size()) return false;
      add(Operation::number, number);
      return true;
    }
    if (take("(")) return call(word);
    if (word.find('.') != std::string_view::npos) return false;
    const auto known = std::ranges::find(found_.symbols_, word);
    add(Operation::symbol, known - found_.symbols_.begin());
    if (known == found_.symbols_.end()) found_.symbols_.emplace_back(word);
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
        Function{"min", Operation::least, true},
        Function{"Min", Operation::least, true},
        Function{"floor_div", Operation::floor_divide, true},
        Function{"math.floor", Operation::floor, false},
        Function{"math.ceil", Operation::ceil, false},
        Function{"math.trunc", Operation::truncate, false},
        Function{"int", Operation::truncate, false},
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

  std::string_view text_;
  std::size_t at_ = 0, depth_ = 0;
  int nested_ = 0;
  bool compares_ = false;
  SizeCondition found_;
};

std::optional<SizeCondition> SizeCondition::parse(std::string_view text) {
  return SizeConditionParser(text).run();
}

namespace {

// over / under, under > 0.
struct Number {
  std::int64_t over = 0, under = 1;
};

using Operation = SizeCondition::Operation;

std::optional<Number> quotient(const Number& a, const Number& b) {
  const auto over = checked_mul(a.over, b.under), under = checked_mul(a.under, b.over);
  if (!over || !under || *under == 0) return std::nullopt;
  if (*under > 0) return Number{*over, *under};
  const auto negative = checked_mul(*over, std::int64_t{-1}), positive = checked_mul(*under, std::int64_t{-1});
  if (!negative || !positive) return std::nullopt;
  return Number{*negative, *positive};
}

std::int64_t rounded_down(const Number& a) {
  const std::int64_t whole = a.over / a.under;
  return a.over % a.under < 0 ? whole - 1 : whole;
}

std::optional<Number> combined(const Number& a, const Number& b, bool subtracts) {
  const auto left = checked_mul(a.over, b.under), right = checked_mul(b.over, subtracts ? -a.under : a.under);
  const auto over = left && right ? checked_add(*left, *right) : std::nullopt;
  const auto under = checked_mul(a.under, b.under);
  return over && under ? std::optional(Number{*over, *under}) : std::nullopt;
}

std::optional<Number> one_of(Operation operation, const Number& a) {
  switch (operation) {
    case Operation::negate: {
      const auto over = checked_mul(a.over, std::int64_t{-1});
      return over ? std::optional(Number{*over, a.under}) : std::nullopt;
    }
    case Operation::floor:
      return Number{rounded_down(a)};
    case Operation::ceil:
      return Number{rounded_down(a) + (a.over % a.under == 0 ? 0 : 1)};
    case Operation::truncate:
      return Number{a.over / a.under};
    default:
      return Number{a.over == 0 ? 1 : 0};
  }
}

std::optional<Number> two_of(Operation operation, const Number& a, const Number& b) {
  if (operation == Operation::add || operation == Operation::subtract)
    return combined(a, b, operation == Operation::subtract);
  if (operation == Operation::both) return Number{a.over != 0 && b.over != 0 ? 1 : 0};
  if (operation == Operation::either) return Number{a.over != 0 || b.over != 0 ? 1 : 0};
  if (operation == Operation::multiply) {
    const auto over = checked_mul(a.over, b.over), under = checked_mul(a.under, b.under);
    return over && under ? std::optional(Number{*over, *under}) : std::nullopt;
  }
  if (operation == Operation::divide || operation == Operation::floor_divide || operation == Operation::remainder) {
    const auto share = quotient(a, b);
    if (!share || operation == Operation::divide) return share;
    const Number whole{rounded_down(*share)};
    if (operation == Operation::floor_divide) return whole;
    const auto product = two_of(Operation::multiply, whole, b);
    return product ? combined(a, *product, true) : std::nullopt;
  }
  const auto difference = combined(a, b, true);
  if (!difference) return std::nullopt;
  const std::int64_t sign = difference->over;
  switch (operation) {
    case Operation::greatest:
      return sign >= 0 ? a : b;
    case Operation::least:
      return sign <= 0 ? a : b;
    case Operation::equal:
      return Number{sign == 0 ? 1 : 0};
    case Operation::unequal:
      return Number{sign != 0 ? 1 : 0};
    case Operation::less:
      return Number{sign < 0 ? 1 : 0};
    default:
      return Number{sign <= 0 ? 1 : 0};
  }
}

}  // namespace

std::optional<bool> SizeCondition::holds(std::span<const std::int64_t> sizes) const {
  std::vector<Number> stack;
  stack.reserve(depth_);
  for (const Step& step : steps_) {
    std::optional<Number> result;
    if (step.operation == Operation::number || step.operation == Operation::symbol) {
      result = Number{step.operation == Operation::number ? step.number : sizes[static_cast<std::size_t>(step.number)]};
    } else if (takes_one(step.operation)) {
      result = one_of(step.operation, stack.back());
      stack.pop_back();
    } else {
      const Number b = stack.back();
      stack.pop_back();
      result = two_of(step.operation, stack.back(), b);
      stack.pop_back();
    }
    if (!result) return std::nullopt;
    stack.push_back(*result);
  }
  return stack.back().over != 0;
}

}  // namespace taper
