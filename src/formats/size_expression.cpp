#include "formats/size_expression.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/bytes.h"
#include "base/ratio.h"
#include "formats/text.h"
#include "formats/text_cursor.h"

namespace taper {
namespace {

constexpr std::size_t kLongest = 4096;
constexpr int kMostNested = 64;
constexpr std::int64_t kMostPower = 16;

// A size over a number: fractions live inside of floor() and ceiling().
struct Fraction {
  Dim over;
  std::int64_t under = 1;
};

class Parser : TextCursor {
 public:
  explicit Parser(std::string_view text) : TextCursor(text) {}

  Expected<Dim> parse() {
    if (text_.size() > kLongest)
      return fail("a size expression has {} bytes, at most {} are read", text_.size(), kLongest);
    TAPER_ASSIGN(const Fraction value, sum(0));
    if (next() != '\0') return malformed();
    return whole(value);
  }

 private:
  std::unexpected<Error> malformed() const {
    return fail("size '{}' can't be read at character {}", excerpt(text_), at_ + 1);
  }

  Expected<Fraction> checked(Fraction value) const {
    if (value.over.overflowed()) return fail("size '{}' is too large", excerpt(text_));
    return value;
  }
  Expected<Dim> whole(const Fraction& value) const {
    const auto exact = divide_exactly(value.over, value.under);
    if (!exact) return fail("size '{}' is a fraction", excerpt(text_));
    return *exact;
  }

  Expected<Fraction> add(const Fraction& a, const Fraction& b) const {
    const auto under = checked_mul(a.under, b.under);
    if (!under) return fail("size '{}' is too large", excerpt(text_));
    return checked({a.over * Dim(b.under) + b.over * Dim(a.under), *under});
  }
  Expected<Fraction> multiply(const Fraction& a, const Fraction& b) const {
    const auto under = checked_mul(a.under, b.under);
    if (!under) return fail("size '{}' is too large", excerpt(text_));
    return checked({a.over * b.over, *under});
  }
  // By a number, or exactly by a product of symbols.
  Expected<Fraction> divide(const Fraction& a, const Fraction& b) const {
    constexpr std::int64_t kNegative = std::numeric_limits<std::int64_t>::min();
    if (const auto number = b.over.constant(); number && *number != 0 && *number != kNegative)
      return multiply(a, {Dim(*number < 0 ? -1 : 1) * Dim(b.under), *number < 0 ? -*number : *number});
    TAPER_ASSIGN(const Dim divisor, whole(b));
    const auto exact = divide_exactly(a.over, divisor);
    if (!exact) return fail("size '{}' divides by '{}'", excerpt(text_), divisor.text());
    return checked({*exact, a.under});
  }
  Expected<Fraction> floor_of(const Fraction& a, const Fraction& b) const {
    TAPER_ASSIGN(const Dim divisor, whole(b));
    if (divisor.is(0)) return fail("size '{}' divides by 0", excerpt(text_));
    return checked({floor_divide(a.over, divisor * Dim(a.under)), 1});
  }
  Expected<Fraction> power(const Fraction& base, const Fraction& exponent) const {
    TAPER_ASSIGN(const Dim by, whole(exponent));
    const auto number = by.constant();
    if (!number || *number < -1 || *number > kMostPower)
      return fail("size '{}' has a power of {}", excerpt(text_), by.text());
    if (*number == -1) return divide({1}, base);
    Fraction result{1};
    for (std::int64_t i = 0; i < *number; ++i) {
      TAPER_ASSIGN(result, multiply(result, base));
    }
    return result;
  }

  Expected<Fraction> sum(int depth) {
    if (depth > kMostNested) return fail("size '{}' is nested more than {} deep", excerpt(text_), kMostNested);
    TAPER_ASSIGN(Fraction value, product(depth));
    while (true) {
      if (take("+")) {
        TAPER_ASSIGN(const Fraction more, product(depth));
        TAPER_ASSIGN(value, add(value, more));
      } else if (take("-")) {
        TAPER_ASSIGN(const Fraction less, product(depth));
        TAPER_ASSIGN(value, add(value, {less.over * Dim(-1), less.under}));
      } else {
        return value;
      }
    }
  }

  Expected<Fraction> product(int depth) {
    TAPER_ASSIGN(Fraction value, factor(depth));
    while (true) {
      if (take("//")) {
        TAPER_ASSIGN(const Fraction by, factor(depth));
        TAPER_ASSIGN(value, floor_of(value, by));
      } else if (take("*")) {
        TAPER_ASSIGN(const Fraction by, factor(depth));
        TAPER_ASSIGN(value, multiply(value, by));
      } else if (take("/")) {
        TAPER_ASSIGN(const Fraction by, factor(depth));
        TAPER_ASSIGN(value, divide(value, by));
      } else if (take("%")) {
        TAPER_ASSIGN(const Fraction by, factor(depth));
        TAPER_ASSIGN(value, remainder(value, by));
      } else {
        return value;
      }
    }
  }

  Expected<Fraction> remainder(const Fraction& a, const Fraction& b) const {
    TAPER_ASSIGN(const Dim value, whole(a));
    TAPER_ASSIGN(const Dim divisor, whole(b));
    if (divisor.is(0)) return fail("size '{}' divides by 0", excerpt(text_));
    return checked({floor_remainder(value, divisor), 1});
  }

  Expected<Fraction> factor(int depth) {
    if (depth > kMostNested) return fail("size '{}' is nested more than {} deep", excerpt(text_), kMostNested);
    if (take("-")) {
      TAPER_ASSIGN(const Fraction value, factor(depth + 1));
      return checked({value.over * Dim(-1), value.under});
    }
    TAPER_ASSIGN(const Fraction base, primary(depth));
    if (!take("**")) return base;
    TAPER_ASSIGN(const Fraction exponent, factor(depth + 1));
    return power(base, exponent);
  }

  Expected<Fraction> primary(int depth) {
    if (take("(")) {
      TAPER_ASSIGN(const Fraction value, sum(depth + 1));
      if (!take(")")) return malformed();
      return value;
    }
    const std::size_t begin = at_;
    std::string_view word = name();
    if (word.empty()) return malformed();
    if (std::isdigit(static_cast<unsigned char>(word[0])) != 0) {
      if (at_ < text_.size() && text_[at_] == '.') return decimal(begin);
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (error != std::errc{} || end != word.data() + word.size()) return malformed();
      return Fraction{number};
    }
    if (word == "math" && take(".")) {
      if (name().empty()) return malformed();
      const auto first = static_cast<std::size_t>(word.data() - text_.data());
      word = text_.substr(first, at_ - first);
      if (next() != '(') return malformed();
    }
    if (!take("(")) return Fraction{Dim::symbol(std::string(word))};
    if (word == "Symbol") return symbol();
    if (word == "Float") return real();
    std::vector<Fraction> arguments;
    if (!take(")")) {
      do {
        TAPER_ASSIGN(Fraction argument, sum(depth + 1));
        arguments.push_back(std::move(argument));
        if (skip_keywords()) break;
      } while (take(","));
      if (!take(")")) return malformed();
    }
    return call(word, arguments);
  }

  std::string_view name() {
    next();
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_'))
      ++at_;
    return text_.substr(begin, at_ - begin);
  }

  // Steps over ", integer=True, positive=True", which say nothing of the value.
  bool skip_keywords() {
    const std::size_t before = at_;
    while (take(",")) {
      if (name().empty() || !take("=") || name().empty()) {
        at_ = before;
        return false;
      }
    }
    return at_ != before;
  }

  // "0.7", which stands at `begin`, as 7 / 10.
  Expected<Fraction> decimal(std::size_t begin) {
    begin = text_.find_first_not_of(' ', begin);
    double value = 0;
    const auto [end, error] = std::from_chars(text_.data() + begin, text_.data() + text_.size(), value);
    if (error != std::errc{}) return malformed();
    at_ = static_cast<std::size_t>(end - text_.data());
    if (value == 0) return Fraction{0};
    const auto ratio = simple_ratio(std::fabs(value));
    if (!ratio) return fail("size '{}' multiplies by {}, which is no simple fraction", excerpt(text_), value);
    return Fraction{value < 0 ? -ratio->over : ratio->over, ratio->under};
  }

  // What follows "Float(": the number as text, and its precision.
  Expected<Fraction> real() {
    const char quote = next();
    if (quote != '\'' && quote != '"') return malformed();
    TAPER_ASSIGN(const Fraction value, decimal(++at_));
    if (at_ >= text_.size() || text_[at_] != quote) return malformed();
    ++at_;
    skip_keywords();
    if (!take(")")) return malformed();
    return value;
  }

  // What follows "Symbol(".
  Expected<Fraction> symbol() {
    const char quote = next();
    if (quote != '\'' && quote != '"') return malformed();
    ++at_;
    const std::string_view word = name();
    if (word.empty() || std::isdigit(static_cast<unsigned char>(word[0])) != 0 || at_ >= text_.size() ||
        text_[at_] != quote)
      return malformed();
    ++at_;
    skip_keywords();
    if (!take(")")) return malformed();
    return Fraction{Dim::symbol(std::string(word))};
  }

  Expected<Fraction> fold(const std::vector<Fraction>& arguments,
                          Expected<Fraction> (Parser::*step)(const Fraction&, const Fraction&) const) const {
    Fraction value = arguments[0];
    for (std::size_t i = 1; i < arguments.size(); ++i) {
      TAPER_ASSIGN(value, (this->*step)(value, arguments[i]));
    }
    return value;
  }
  Expected<Fraction> greater(const Fraction& a, const Fraction& b) const {
    TAPER_ASSIGN(const Dim left, whole(a));
    TAPER_ASSIGN(const Dim right, whole(b));
    return checked({dim_max(left, right), 1});
  }
  Expected<Fraction> lesser(const Fraction& a, const Fraction& b) const {
    TAPER_ASSIGN(const Dim left, whole(a));
    TAPER_ASSIGN(const Dim right, whole(b));
    return checked({dim_min(left, right), 1});
  }

  Expected<Fraction> call(std::string_view function, const std::vector<Fraction>& arguments) const {
    const std::size_t count = arguments.size();
    if (count >= 1) {
      if (function == "Add") return fold(arguments, &Parser::add);
      if (function == "Mul") return fold(arguments, &Parser::multiply);
      if (function == "Max" || function == "max") return fold(arguments, &Parser::greater);
      if (function == "Min" || function == "min") return fold(arguments, &Parser::lesser);
    }
    if (count == 1) {
      if (std::ranges::find(kSame, function) != std::end(kSame)) return arguments[0];
      if (function == "floor" || function == "FloorToInt" || function == "TruncToInt" || function == "math.floor" ||
          function == "math.trunc")
        return checked({floor_divide(arguments[0].over, arguments[0].under), 1});
      if (function == "ceiling" || function == "CeilToInt" || function == "math.ceil")
        return checked({ceil_divide(arguments[0].over, arguments[0].under), 1});
    }
    if (count == 2) {
      if (function == "FloorDiv" || function == "CleanDiv") return floor_of(arguments[0], arguments[1]);
      if (function == "IntTrueDiv" || function == "FloatTrueDiv" || function == "Rational")
        return divide(arguments[0], arguments[1]);
      if (function == "Mod" || function == "PythonMod") return remainder(arguments[0], arguments[1]);
      if (function == "Pow" || function == "PowByNatural") return power(arguments[0], arguments[1]);
    }
    if (count == 3 && function == "ModularIndexing") {
      TAPER_ASSIGN(const Fraction quotient, floor_of(arguments[0], arguments[1]));
      return remainder(quotient, arguments[2]);
    }
    return fail("size '{}' calls {} with {} arguments", excerpt(text_), excerpt(function), count);
  }

  static constexpr std::string_view kSame[] = {"Integer", "Identity", "ToFloat", "int", "Int"};
};

}  // namespace

Expected<Dim> parse_size_expression(std::string_view text) {
  return Parser(text).parse();
}

}  // namespace taper
