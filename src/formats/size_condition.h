// Conditions on sizes, as the guards of exported programs write them in Python. Internal to formats and frontend.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace taper {

// "(s0 // 8)*(s53 // 8) != 16", "8 <= s0 or s0 % 4 == 0": integers, fractions inside of math.ceil and the like, chained
// comparisons, and, or, not. It is evaluated on numbers, so that it costs no more than it is long.
class SizeCondition {
 public:
  // Nothing: anything else, more than 8192 bytes, nested deeper than 64.
  static std::optional<SizeCondition> parse(std::string_view text);

  const std::string& text() const { return text_; }
  const std::vector<std::string>& symbols() const { return symbols_; }
  std::size_t length() const { return steps_.size(); }
  // `sizes` are those of symbols(), in their order. Nothing: it divides by 0 or overflows.
  std::optional<bool> holds(std::span<const std::int64_t> sizes) const;

  enum class Operation : std::uint8_t {
    number,
    symbol,
    add,
    subtract,
    multiply,
    divide,
    floor_divide,
    remainder,
    negate,
    floor,
    ceil,
    truncate,
    greatest,
    least,
    equal,
    unequal,
    less,
    at_most,
    both,
    either,
    invert,
  };
  struct Step {
    Operation operation = Operation::number;
    std::int64_t number = 0;  // or the place of a symbol
  };

 private:
  friend class SizeConditionParser;

  std::string text_;
  std::vector<std::string> symbols_;
  std::vector<Step> steps_;  // operands stand before what takes them
  std::size_t depth_ = 0;    // of the stack
};

}  // namespace taper
