// Symbolic dimensions: integer polynomials over named symbols, such as `T + 1` or `2*B*T`, and over what polynomials
// can't say: `floor_div(H + 1, 2)`, `max(T, 4)`, `min(T, S)`.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace taper {

// Values for symbols.
using Bindings = std::map<std::string, std::int64_t, std::less<>>;

// The invariant: terms are sorted by their symbols, no two have the same symbols, no coefficient is 0. So equal
// polynomials have equal representations. A computation that overflows 64 bits, or makes more terms or factors than any
// network's shapes have, yields the overflowed Dim, which no check accepts: it equals nothing, not even itself.
//
// Most dimensions are numbers, and graphs are copied from pass to pass: numbers need no memory of their own, and copies
// share their terms.
class Dim {
 public:
  static constexpr std::size_t kMostTerms = 256;
  static constexpr std::size_t kMostFactors = 256;  // symbols of one term

  Dim() = default;
  Dim(std::int64_t constant) : number_(constant) {}  // NOLINT: a number is a dimension
  static Dim symbol(std::string name);
  // Parses what text() prints: "T", "2*B*T + 1", "T - 3".
  static Expected<Dim> parse(std::string_view text);

  bool overflowed() const { return overflowed_; }
  // The number, if no symbol is left.
  std::optional<std::int64_t> constant() const;
  bool is(std::int64_t number) const { return constant() == number; }
  // The symbol's name, if the dimension is one symbol (no function of others) and nothing else.
  std::optional<std::string> as_symbol() const;

  std::string text() const;
  // The value under `bindings`. Errors: a symbol without a value, overflow.
  Expected<std::int64_t> evaluate(const Bindings& bindings) const;

  struct Term {
    std::int64_t coefficient;
    std::vector<std::string> symbols;  // sorted; repeated for powers; functions as text() writes them
    bool operator==(const Term&) const = default;
  };
  std::vector<Term> terms() const;

  friend bool operator==(const Dim& a, const Dim& b) {
    if (a.overflowed_ || b.overflowed_) return false;
    if (!a.terms_ || !b.terms_) return a.terms_ == b.terms_ && a.number_ == b.number_;
    return a.terms_ == b.terms_ || *a.terms_ == *b.terms_;
  }
  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

 private:
  explicit Dim(std::vector<Term> terms);
  static Dim overflow();

  std::shared_ptr<const std::vector<Term>> terms_;  // nothing: the number
  std::int64_t number_ = 0;                         // 0 where there are terms
  bool overflowed_ = false;
};

// a / b if b is a non-zero number that divides every coefficient of a, or if b is a product of symbols and a number
// that divides every term.
std::optional<Dim> divide_exactly(const Dim& a, const Dim& b);

// The quotient rounded down, simplified: what b divides is taken out, nested quotients are joined. `b` must not be 0.
Dim floor_divide(const Dim& a, const Dim& b);
// The quotient rounded up.
Dim ceil_divide(const Dim& a, const Dim& b);
// What floor_divide leaves, which has the sign of b.
Dim floor_remainder(const Dim& a, const Dim& b);
Dim dim_max(const Dim& a, const Dim& b);
Dim dim_min(const Dim& a, const Dim& b);

// A factor that is a function of other dimensions: "floor_div", "max" or "min".
struct DimFunction {
  std::string name;
  Dim a, b;
};
// What the name of a factor says, if it is no plain symbol.
std::optional<DimFunction> dim_function(std::string_view factor);
// The function that `dim` is, with no factor before it and nothing added.
std::optional<DimFunction> as_function(const Dim& dim);

// `dim` with its symbols, also those inside of functions, replaced; symbols without a replacement stay.
Dim substitute(const Dim& dim, const std::map<std::string, Dim, std::less<>>& replacements);
// The plain symbols that occur in `dim`, inside of functions too, sorted.
std::vector<std::string> symbols_of(const Dim& dim);
// Whether one of `symbols` is among them.
bool names_one_of(const Dim& dim, const std::set<std::string, std::less<>>& symbols);

using Shape = std::vector<Dim>;

Shape to_shape(const std::vector<std::int64_t>& sizes);
// All sizes, if none is symbolic.
std::optional<std::vector<std::int64_t>> constant_sizes(const Shape& shape);
// The product of all sizes.
Dim element_count(const Shape& shape);
// "[B, T, 178]"
std::string shape_text(const Shape& shape);
Expected<std::vector<std::int64_t>> evaluate(const Shape& shape, const Bindings& bindings);

}  // namespace taper
