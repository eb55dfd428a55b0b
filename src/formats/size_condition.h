// Conditions on sizes, as the guards of exported programs write them in Python. Internal to formats and frontend.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace taper {

// "(s0 // 8)*(s53 // 8) != 16", "8 <= s0 or s0 % 4 == 0": integers, fractions and decimals inside of math.ceil and the
// like, chained comparisons, and, or, not. It is evaluated on numbers, so that it costs no more than it is long.
class SizeCondition {
 public:
  // Nothing: anything else, more than 8192 bytes, 4096 steps or 256 symbols, nested deeper than 64.
  static std::optional<SizeCondition> parse(std::string_view text);

  const std::string& text() const { return text_; }
  const std::vector<std::string>& symbols() const { return symbols_; }
  std::size_t length() const { return steps_.size(); }
  // What it says is equal, as text, if it says nothing else: also of a remainder that is 0 or less. Decimals say
  // nothing.
  const std::optional<std::pair<std::string, std::string>>& equal_sides() const { return equal_sides_; }
  // The same on other sizes: texts of dimensions in the place of symbols(), in their order.
  std::optional<SizeCondition> with(std::span<const std::string> sizes) const;

  // All numbers from one to another, which may be infinite.
  struct Span {
    double least = 0, most = 0;
  };
  // `sizes` are those of symbols(), in their order. Whether it holds for all of them, or for none; where it divides by
  // 0 it does not. Nothing: for some, or that is not known.
  std::optional<bool> holds(std::span<const Span> sizes) const;

  enum class Operation : std::uint8_t {
    number,
    decimal,
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
    absolute,
    same,
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
    double real = 0;          // of decimals
  };

 private:
  friend class SizeConditionParser;

  std::string text_;
  std::vector<std::string> symbols_;
  std::optional<std::pair<std::string, std::string>> equal_sides_;
  std::vector<Step> steps_;  // operands stand before what takes them
  std::size_t depth_ = 0;    // of the stack
};

}  // namespace taper
