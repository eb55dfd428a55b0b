#include "base/dim.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <numeric>
#include <set>

#include "base/bytes.h"

namespace taper {
namespace {

// Functions inside of functions, at most.
constexpr int kMostNested = 32;
// Longer names of factors are no functions: what is nested repeats its parts.
constexpr std::size_t kLongestFunction = 4096;

bool is_function(std::string_view factor) {
  return factor.ends_with(')');
}

using Terms = std::vector<Dim::Term>;

// Adds a term to sorted ones. False: overflow.
bool add_term(Terms& terms, Dim::Term term) {
  const auto at = std::ranges::lower_bound(terms, term.symbols, {}, &Dim::Term::symbols);
  if (at == terms.end() || at->symbols != term.symbols) {
    if (terms.size() == Dim::kMostTerms || term.symbols.size() > Dim::kMostFactors) return false;
    if (term.coefficient != 0) terms.insert(at, std::move(term));
    return true;
  }
  const auto sum = checked_add(at->coefficient, term.coefficient);
  if (!sum) return false;
  if (*sum != 0)
    at->coefficient = *sum;
  else
    terms.erase(at);
  return true;
}

}  // namespace

Dim::Dim(std::vector<Term> terms) {
  if (terms.empty()) return;
  if (terms.size() == 1 && terms[0].symbols.empty())
    number_ = terms[0].coefficient;
  else
    terms_ = std::make_shared<const std::vector<Term>>(std::move(terms));
}

Dim Dim::symbol(std::string name) {
  return Dim(Terms{{1, {std::move(name)}}});
}

Dim Dim::overflow() {
  Dim dim;
  dim.overflowed_ = true;
  return dim;
}

std::vector<Dim::Term> Dim::terms() const {
  if (terms_) return *terms_;
  return number_ == 0 ? Terms{} : Terms{{number_, {}}};
}

std::optional<std::int64_t> Dim::constant() const {
  if (overflowed_ || terms_) return std::nullopt;
  return number_;
}

std::optional<std::string> Dim::as_symbol() const {
  if (!terms_ || terms_->size() != 1) return std::nullopt;
  const Term& term = terms_->front();
  if (term.coefficient != 1 || term.symbols.size() != 1 || is_function(term.symbols[0])) return std::nullopt;
  return term.symbols[0];
}

namespace {

Dim dim_of(const Dim::Term& term) {
  Dim product = term.coefficient;
  for (const std::string& symbol : term.symbols) product = product * Dim::symbol(symbol);
  return product;
}

// Terms that are a number times max(..) or min(..) of sizes without functions.
struct Extreme {
  const Dim::Term* term;
  DimFunction function;
};
std::vector<Extreme> flat_functions(const Terms& sum, std::string_view call) {
  std::vector<Extreme> found;
  for (const Dim::Term& term : sum) {
    if (term.symbols.size() != 1 || !term.symbols[0].starts_with(call)) continue;
    if (std::ranges::count(term.symbols[0], '(') != 1) continue;
    if (auto function = dim_function(term.symbols[0])) found.push_back({&term, std::move(*function)});
  }
  return found;
}

// max(a, b) + min(a + n, b + n) = a + b + n: max(0, T - 2) + min(2, T) is T.
std::optional<Dim> without_extremes(const Terms& sum) {
  const auto holds = [&](std::string_view call) {
    return std::ranges::any_of(
        sum, [&](const Dim::Term& term) { return term.symbols.size() == 1 && term.symbols[0].starts_with(call); });
  };
  if (!holds("max(") || !holds("min(")) return std::nullopt;
  const std::vector<Extreme> least = flat_functions(sum, "min(");
  for (const Extreme& x : flat_functions(sum, "max("))
    for (const Extreme& y : least) {
      if (x.term->coefficient != y.term->coefficient) continue;
      for (const auto& [a, b] : {std::pair(y.function.a, y.function.b), std::pair(y.function.b, y.function.a)}) {
        const Dim apart = a - x.function.a;
        if (!apart.constant() || b - x.function.b != apart) continue;
        Dim shorter = Dim(x.term->coefficient) * (a + x.function.b);
        for (const Dim::Term& term : sum)
          if (&term != x.term && &term != y.term) shorter = shorter + dim_of(term);
        return shorter;
      }
    }
  return std::nullopt;
}

}  // namespace

Dim operator+(const Dim& a, const Dim& b) {
  if (a.overflowed_ || b.overflowed_) return Dim::overflow();
  if (!a.terms_ && !b.terms_) {
    const auto sum = checked_add(a.number_, b.number_);
    return sum ? Dim(*sum) : Dim::overflow();
  }
  Terms sum = a.terms();
  for (Dim::Term& term : b.terms())
    if (!add_term(sum, std::move(term))) return Dim::overflow();
  if (sum.size() > 1 && a.terms_ && b.terms_)
    if (auto shorter = without_extremes(sum)) return *shorter;
  return Dim(std::move(sum));
}

Dim operator*(const Dim& a, const Dim& b) {
  if (a.overflowed_ || b.overflowed_) return Dim::overflow();
  if (!a.terms_ && !b.terms_) {
    const auto product = checked_mul(a.number_, b.number_);
    return product ? Dim(*product) : Dim::overflow();
  }
  Terms product;
  const Terms left = a.terms(), right = b.terms();
  for (const Dim::Term& x : left)
    for (const Dim::Term& y : right) {
      const auto coefficient = checked_mul(x.coefficient, y.coefficient);
      if (!coefficient) return Dim::overflow();
      Dim::Term term{*coefficient, x.symbols};
      term.symbols.insert(term.symbols.end(), y.symbols.begin(), y.symbols.end());
      std::ranges::sort(term.symbols);
      if (!add_term(product, std::move(term))) return Dim::overflow();
    }
  return Dim(std::move(product));
}

std::optional<Dim> divide_exactly(const Dim& a, const Dim& b) {
  if (a.overflowed() || b.overflowed() || b.terms().size() != 1) return std::nullopt;
  const Dim::Term divisor = b.terms()[0];
  Dim quotient;
  for (const Dim::Term& term : a.terms()) {
    // -2^63 / -1 is no 64-bit number.
    if (divisor.coefficient == -1 && !checked_mul(term.coefficient, divisor.coefficient)) return std::nullopt;
    if (term.coefficient % divisor.coefficient != 0) return std::nullopt;
    if (!std::ranges::includes(term.symbols, divisor.symbols)) return std::nullopt;
    std::vector<std::string> left;
    std::ranges::set_difference(term.symbols, divisor.symbols, std::back_inserter(left));
    Dim part(term.coefficient / divisor.coefficient);
    for (std::string& symbol : left) part = part * Dim::symbol(std::move(symbol));
    quotient = quotient + part;
  }
  return quotient;
}

std::string Dim::text() const {
  if (overflowed_) return "overflow";
  if (!terms_) return std::to_string(number_);
  std::string out;
  // The constant term sorts first; people write it last.
  std::vector<const Term*> order;
  for (const Term& term : *terms_)
    if (!term.symbols.empty()) order.push_back(&term);
  if (terms_->front().symbols.empty()) order.push_back(&terms_->front());
  for (const Term* term : order) {
    const bool negative = term->coefficient < 0;
    if (!out.empty())
      out += negative ? " - " : " + ";
    else if (negative)
      out += "-";
    const std::uint64_t size =
        negative ? 0 - static_cast<std::uint64_t>(term->coefficient) : static_cast<std::uint64_t>(term->coefficient);
    const std::string symbols = fmt::format("{}", fmt::join(term->symbols, "*"));
    if (symbols.empty())
      out += std::to_string(size);
    else if (size == 1)
      out += symbols;
    else
      out += fmt::format("{}*{}", size, symbols);
  }
  return out;
}

namespace {

// dim := ['-'] product (('+' | '-') product)*, product := factor ('*' factor)*,
// factor := number | symbol | function '(' dim ',' dim ')'
class DimParser {
 public:
  explicit DimParser(std::string_view text) : text_(text) {}

  Expected<Dim> parse() {
    TAPER_ASSIGN(Dim dim, parse_sum(0));
    if (at_ < text_.size()) return malformed();
    return dim;
  }

 private:
  std::unexpected<Error> malformed() const { return fail("'{}' is not a dimension", text_); }
  std::unexpected<Error> overflow() const {
    return fail("dimension '{}' overflows 64 bits or has too many terms", text_);
  }

  // The character after spaces; 0 at the end.
  char next() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (next() != c) return false;
    ++at_;
    return true;
  }

  Expected<Dim> parse_sum(int depth) {
    if (depth > kMostNested) return fail("dimension '{}' is nested more than {} deep", text_, kMostNested);
    Dim sum;
    Dim sign = take('-') ? -1 : 1;
    while (true) {
      Dim product = sign;
      do {
        TAPER_ASSIGN(const Dim factor, parse_factor(depth));
        product = product * factor;
        if (product.overflowed()) return overflow();
      } while (take('*'));
      sum = sum + product;
      if (sum.overflowed()) return overflow();
      if (take('+'))
        sign = 1;
      else if (take('-'))
        sign = -1;
      else
        return sum;
    }
  }

  Expected<Dim> parse_factor(int depth) {
    next();
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_'))
      ++at_;
    const std::string_view factor = text_.substr(begin, at_ - begin);
    if (factor.empty()) return malformed();
    if (std::isdigit(static_cast<unsigned char>(factor[0])) != 0) {
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(factor.data(), factor.data() + factor.size(), number);
      if (error != std::errc{} || end != factor.data() + factor.size()) return malformed();
      return Dim(number);
    }
    if (next() != '(') return Dim::symbol(std::string(factor));
    ++at_;
    TAPER_ASSIGN(const Dim a, parse_sum(depth + 1));
    if (!take(',')) return malformed();
    TAPER_ASSIGN(const Dim b, parse_sum(depth + 1));
    if (!take(')')) return malformed();
    if (factor == "floor_div" && !b.is(0)) return floor_divide(a, b);
    if (factor == "max") return dim_max(a, b);
    if (factor == "min") return dim_min(a, b);
    return malformed();
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Expected<Dim> Dim::parse(std::string_view text) {
  return DimParser(text).parse();
}

namespace {

Expected<std::int64_t> value_of(const std::string& factor, const Bindings& bindings) {
  if (const auto bound = bindings.find(factor); bound != bindings.end()) return bound->second;
  const auto function = dim_function(factor);
  if (!function) return fail("dimension '{}' has no value", factor);
  TAPER_ASSIGN(const std::int64_t a, function->a.evaluate(bindings));
  TAPER_ASSIGN(const std::int64_t b, function->b.evaluate(bindings));
  if (function->name == "max") return std::max(a, b);
  if (function->name == "min") return std::min(a, b);
  const auto quotient = floor_divide(a, b).constant();
  if (!quotient) return fail("dimension '{}' divides by 0 or overflows 64 bits", factor);
  return *quotient;
}

}  // namespace

Expected<std::int64_t> Dim::evaluate(const Bindings& bindings) const {
  if (overflowed_) return fail("a dimension overflows 64 bits");
  if (!terms_) return number_;
  std::int64_t sum = 0;
  for (const Term& term : *terms_) {
    std::int64_t product = term.coefficient;
    for (const std::string& symbol : term.symbols) {
      TAPER_ASSIGN(const std::int64_t value, value_of(symbol, bindings));
      const auto next = checked_mul(product, value);
      if (!next) return fail("dimension '{}' overflows 64 bits", text());
      product = *next;
    }
    const auto next = checked_add(sum, product);
    if (!next) return fail("dimension '{}' overflows 64 bits", text());
    sum = *next;
  }
  return sum;
}

// ----------------------------------------------------------------------------------------------------------- functions

namespace {

const Dim& overflowed_dim() {
  static const Dim dim = Dim(std::numeric_limits<std::int64_t>::max()) + 1;
  return dim;
}

Dim call_of(std::string_view name, const Dim& a, const Dim& b) {
  std::string text = fmt::format("{}({}, {})", name, a.text(), b.text());
  if (a.overflowed() || b.overflowed() || text.size() > kLongestFunction || std::ranges::count(text, '(') > kMostNested)
    return overflowed_dim();
  return Dim::symbol(std::move(text));
}

// The function that `dim` is, with a coefficient of 1 and nothing else but a number added to it.
struct Shifted {
  DimFunction function;
  std::int64_t shift;
};
std::optional<Shifted> as_shifted_function(const Dim& dim) {
  const Terms terms = dim.terms();
  if (dim.overflowed() || terms.empty() || terms.size() > 2) return std::nullopt;
  const Dim::Term& last = terms.back();
  if (last.coefficient != 1 || last.symbols.size() != 1) return std::nullopt;
  const auto shift = (dim - Dim::symbol(last.symbols[0])).constant();
  auto function = dim_function(last.symbols[0]);
  if (!shift || !function) return std::nullopt;
  return Shifted{std::move(*function), *shift};
}

}  // namespace

std::optional<DimFunction> dim_function(std::string_view factor) {
  if (!is_function(factor) || factor.size() > kLongestFunction) return std::nullopt;
  for (const std::string_view name : {"floor_div", "max", "min"}) {
    if (!factor.starts_with(name) || factor.size() <= name.size() || factor[name.size()] != '(') continue;
    const std::string_view inside = factor.substr(name.size() + 1, factor.size() - name.size() - 2);
    int depth = 0;
    for (std::size_t i = 0; i < inside.size(); ++i) {
      if (inside[i] == '(') ++depth;
      if (inside[i] == ')') --depth;
      if (inside[i] != ',' || depth != 0) continue;
      auto a = Dim::parse(inside.substr(0, i));
      auto b = Dim::parse(inside.substr(i + 1));
      if (!a || !b) return std::nullopt;
      return DimFunction{std::string(name), std::move(*a), std::move(*b)};
    }
  }
  return std::nullopt;
}

std::optional<DimFunction> as_function(const Dim& dim) {
  const auto terms = dim.terms();
  if (terms.size() != 1 || terms[0].coefficient != 1 || terms[0].symbols.size() != 1) return std::nullopt;
  return dim_function(terms[0].symbols[0]);
}

namespace {

// How many times b a sum is: 4 B of 4 B T - 4 B S by T - S.
std::optional<Dim> times_of(const Dim& a, const Dim& b) {
  constexpr std::size_t kMostTerms = 8;
  const auto sum = a.terms(), part = b.terms();
  if (part.size() < 2 || part.size() > kMostTerms || sum.size() != part.size()) return std::nullopt;
  const Dim first = dim_of(part[0]);
  for (const Dim::Term& term : sum)
    if (auto times = divide_exactly(dim_of(term), first); times && a == b * *times) return times;
  return std::nullopt;
}

}  // namespace

Dim floor_divide(const Dim& a, const Dim& b) {
  if (a.overflowed() || b.overflowed() || b.is(0)) return overflowed_dim();
  if (auto exact = divide_exactly(a, b)) return *exact;
  const auto divisor = b.constant();
  if (!divisor) {
    if (const auto times = times_of(a, b)) return *times;
    return call_of("floor_div", a, b);
  }
  if (*divisor < 0) return floor_divide(a * -1, b * -1);
  // floor((b q + r) / b) = q + floor(r / b)
  Dim quotient, rest;
  std::int64_t common = *divisor, number = 0;  // of what is left
  for (const Dim::Term& term : a.terms()) {
    const Dim factors = dim_of({1, term.symbols});
    std::int64_t whole = term.coefficient / *divisor;
    std::int64_t left = term.coefficient % *divisor;
    if (left < 0) {
      left += *divisor;
      --whole;
    }
    quotient = quotient + whole * factors;
    rest = rest + left * factors;
    if (term.symbols.empty())
      number = left;
    else
      common = std::gcd(common, left);
  }
  if (rest.constant()) return quotient;
  // floor((g x + r) / (g b)) = floor((x + floor(r / g)) / b)
  if (common > 1)
    if (const auto shared = divide_exactly(rest - number, common))
      return quotient + floor_divide(*shared + number / common, *divisor / common);
  // floor((floor(x / c) + k) / b) = floor((x + k c) / (b c))
  if (const auto nested = as_shifted_function(rest); nested && nested->function.name == "floor_div")
    if (const auto inner = nested->function.b.constant(); inner && *inner > 0)
      return quotient + floor_divide(nested->function.a + Dim(nested->shift) * *inner, b * *inner);
  return quotient + call_of("floor_div", rest, b);
}

Dim ceil_divide(const Dim& a, const Dim& b) {
  const auto divisor = b.constant();
  if (divisor && *divisor > 0) return floor_divide(a + (*divisor - 1), b);
  return floor_divide(a * -1, b) * -1;
}

Dim floor_remainder(const Dim& a, const Dim& b) {
  return a - b * floor_divide(a, b);
}

namespace {

// Reading a function compares what is inside of it: one that is nested deeper would be read again on every level.
std::optional<DimFunction> small_quotient(std::string_view factor) {
  constexpr std::size_t kLongest = 256;
  constexpr int kDeepest = 3;
  if (!factor.starts_with("floor_div(") || factor.size() > kLongest) return std::nullopt;
  return std::ranges::count(factor, '(') <= kDeepest ? dim_function(factor) : std::nullopt;
}

// The sign that a difference has whatever its symbols are: floor_div(x, n) is (x - r) / n for some 0 <= r < n, so that
// 2 floor_div(x, 2) - x is -1 or 0. Nothing: it may have both.
std::optional<int> known_sign(const Dim& difference) {
  constexpr int kMostRounds = 4;
  constexpr std::int64_t kMostScale = 1 << 20;
  Dim scaled = difference;
  std::int64_t scale = 1, least = 0, most = 0;  // of what is added to `scaled` / `scale`
  for (int round = 0; round < kMostRounds && !scaled.overflowed() && !scaled.constant(); ++round) {
    Dim rest;
    std::int64_t factor = 1;
    std::vector<std::pair<std::int64_t, DimFunction>> quotients;
    for (const Dim::Term& term : scaled.terms()) {
      auto function = term.symbols.size() == 1 ? small_quotient(term.symbols[0]) : std::nullopt;
      const auto divisor = function ? function->b.constant() : std::nullopt;
      const Dim product = dim_of(term);
      if (!divisor || *divisor < 2 || *divisor > kMostScale) {
        rest = rest + product;
        continue;
      }
      quotients.emplace_back(term.coefficient, std::move(*function));
      factor *= *divisor;
      if (factor > kMostScale) return std::nullopt;
    }
    if (quotients.empty()) return std::nullopt;
    scale *= factor;
    if (scale > kMostScale) return std::nullopt;
    scaled = rest * Dim(factor);
    least *= factor;
    most *= factor;
    for (const auto& [coefficient, function] : quotients) {
      const std::int64_t divisor = *function.b.constant();
      const auto share = checked_mul(coefficient, factor / divisor);
      const auto span = share ? checked_mul(*share, divisor - 1) : std::nullopt;
      constexpr std::int64_t kMostSpan = std::int64_t{1} << 40;
      if (!span || *span > kMostSpan || *span < -kMostSpan) return std::nullopt;
      scaled = scaled + function.a * Dim(*share);
      (*span > 0 ? least : most) -= *span;
    }
  }
  const auto number = scaled.constant();
  if (!number) return std::nullopt;
  const auto low = checked_add(*number, least), high = checked_add(*number, most);
  if (!low || !high) return std::nullopt;
  if (*low >= 0) return *high == 0 ? 0 : 1;
  return *high <= 0 ? std::optional(-1) : std::nullopt;
}

}  // namespace

Dim dim_max(const Dim& a, const Dim& b) {
  if (const auto sign = known_sign(a - b)) return *sign < 0 ? b : a;
  return a.text() < b.text() ? call_of("max", a, b) : call_of("max", b, a);
}

Dim dim_min(const Dim& a, const Dim& b) {
  if (const auto sign = known_sign(a - b)) return *sign < 0 ? a : b;
  return a.text() < b.text() ? call_of("min", a, b) : call_of("min", b, a);
}

Dim substitute(const Dim& dim, const std::map<std::string, Dim, std::less<>>& replacements) {
  if (dim.overflowed() || dim.constant()) return dim;
  Dim sum;
  for (const Dim::Term& term : dim.terms()) {
    Dim product = term.coefficient;
    for (const std::string& symbol : term.symbols) {
      const auto replacement = replacements.find(symbol);
      if (replacement != replacements.end()) {
        product = product * replacement->second;
      } else if (const auto function = dim_function(symbol)) {
        const Dim a = substitute(function->a, replacements);
        const Dim b = substitute(function->b, replacements);
        product = product * (function->name == "max"   ? dim_max(a, b)
                             : function->name == "min" ? dim_min(a, b)
                                                       : floor_divide(a, b));
      } else {
        product = product * Dim::symbol(symbol);
      }
    }
    sum = sum + product;
  }
  return sum;
}

std::vector<std::string> symbols_of(const Dim& dim) {
  std::set<std::string> symbols;
  for (const Dim::Term& term : dim.terms())
    for (const std::string& symbol : term.symbols) {
      const auto function = dim_function(symbol);
      if (!function) {
        symbols.insert(symbol);
        continue;
      }
      for (const Dim* inner : {&function->a, &function->b}) {
        const auto more = symbols_of(*inner);
        symbols.insert(more.begin(), more.end());
      }
    }
  return {symbols.begin(), symbols.end()};
}

bool names_one_of(const Dim& dim, const std::set<std::string, std::less<>>& symbols) {
  return !symbols.empty() &&
         std::ranges::any_of(symbols_of(dim), [&](const std::string& symbol) { return symbols.contains(symbol); });
}

// -------------------------------------------------------------------------------------------------------------- shapes

Shape to_shape(const std::vector<std::int64_t>& sizes) {
  return {sizes.begin(), sizes.end()};
}

std::optional<std::vector<std::int64_t>> constant_sizes(const Shape& shape) {
  std::vector<std::int64_t> sizes;
  for (const Dim& dim : shape) {
    const auto size = dim.constant();
    if (!size) return std::nullopt;
    sizes.push_back(*size);
  }
  return sizes;
}

Dim element_count(const Shape& shape) {
  Dim count = 1;
  for (const Dim& dim : shape) count = count * dim;
  return count;
}

std::string shape_text(const Shape& shape) {
  std::string out = "[";
  for (const Dim& dim : shape) out += (out.size() > 1 ? ", " : "") + dim.text();
  return out + "]";
}

Expected<std::vector<std::int64_t>> evaluate(const Shape& shape, const Bindings& bindings) {
  std::vector<std::int64_t> sizes;
  for (const Dim& dim : shape) {
    TAPER_ASSIGN(const std::int64_t size, dim.evaluate(bindings));
    if (size < 0) return fail("dimension '{}' is {}, expected 0 or more", dim.text(), size);
    sizes.push_back(size);
  }
  return sizes;
}

}  // namespace taper
