#include "base/dim.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/bytes.h"

namespace taper {

std::optional<std::int64_t> Dim::constant() const {
  if (overflowed_) return std::nullopt;
  if (terms_.empty()) return 0;
  if (terms_.size() == 1 && terms_[0].symbols.empty()) return terms_[0].coefficient;
  return std::nullopt;
}

std::optional<std::string> Dim::as_symbol() const {
  if (overflowed_ || terms_.size() != 1 || terms_[0].coefficient != 1 || terms_[0].symbols.size() != 1)
    return std::nullopt;
  return terms_[0].symbols[0];
}

void Dim::add_term(Term term) {
  const auto at = std::ranges::lower_bound(terms_, term.symbols, {}, &Term::symbols);
  if (at == terms_.end() || at->symbols != term.symbols) {
    if (terms_.size() == kMostTerms || term.symbols.size() > kMostFactors) overflowed_ = true;
    if (term.coefficient != 0 && !overflowed_) terms_.insert(at, std::move(term));
    return;
  }
  const auto sum = checked_add(at->coefficient, term.coefficient);
  if (!sum) overflowed_ = true;
  if (sum && *sum != 0)
    at->coefficient = *sum;
  else
    terms_.erase(at);
}

Dim operator+(const Dim& a, const Dim& b) {
  Dim sum = a;
  sum.overflowed_ = a.overflowed_ || b.overflowed_;
  for (const Dim::Term& term : b.terms_) sum.add_term(term);
  return sum;
}

Dim operator*(const Dim& a, const Dim& b) {
  Dim product;
  product.overflowed_ = a.overflowed_ || b.overflowed_;
  for (const Dim::Term& x : a.terms_)
    for (const Dim::Term& y : b.terms_) {
      const auto coefficient = checked_mul(x.coefficient, y.coefficient);
      if (!coefficient) product.overflowed_ = true;
      if (product.overflowed_) return product;
      Dim::Term term{*coefficient, x.symbols};
      term.symbols.insert(term.symbols.end(), y.symbols.begin(), y.symbols.end());
      std::ranges::sort(term.symbols);
      product.add_term(std::move(term));
    }
  return product;
}

std::optional<Dim> divide_exactly(const Dim& a, const Dim& b) {
  if (a.overflowed() || b.overflowed() || b.terms().size() != 1) return std::nullopt;
  const Dim::Term& divisor = b.terms()[0];
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
  if (terms_.empty()) return "0";
  std::string out;
  // The constant term sorts first; people write it last.
  std::vector<const Term*> order;
  for (const Term& term : terms_)
    if (!term.symbols.empty()) order.push_back(&term);
  if (terms_[0].symbols.empty()) order.push_back(&terms_[0]);
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

Expected<Dim> Dim::parse(std::string_view text) {
  Dim sum;
  std::size_t at = 0;
  const auto skip_spaces = [&] {
    while (at < text.size() && text[at] == ' ') ++at;
  };
  const auto is_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  const auto overflow = [&] { return fail("dimension '{}' overflows 64 bits or has too many terms", text); };
  Dim sign = 1;
  skip_spaces();
  if (at < text.size() && text[at] == '-') {
    sign = Dim(-1);
    ++at;
  }
  while (true) {
    Dim product = sign;
    while (true) {
      skip_spaces();
      const std::size_t begin = at;
      while (at < text.size() && is_name(text[at])) ++at;
      const std::string_view factor = text.substr(begin, at - begin);
      if (factor.empty()) return fail("'{}' is not a dimension", text);
      if (std::isdigit(static_cast<unsigned char>(factor[0])) != 0) {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(factor.data(), factor.data() + factor.size(), number);
        if (error != std::errc{} || end != factor.data() + factor.size()) return fail("'{}' is not a dimension", text);
        product = product * Dim(number);
      } else {
        product = product * Dim::symbol(std::string(factor));
      }
      if (product.overflowed()) return overflow();
      skip_spaces();
      if (at >= text.size() || text[at] != '*') break;
      ++at;
    }
    sum = sum + product;
    if (sum.overflowed()) return overflow();
    if (at >= text.size()) break;
    if (text[at] != '+' && text[at] != '-') return fail("'{}' is not a dimension", text);
    sign = text[at] == '+' ? Dim(1) : Dim(-1);
    ++at;
  }
  return sum;
}

Expected<std::int64_t> Dim::evaluate(const Bindings& bindings) const {
  if (overflowed_) return fail("a dimension overflows 64 bits");
  std::int64_t sum = 0;
  for (const Term& term : terms_) {
    std::int64_t product = term.coefficient;
    for (const std::string& symbol : term.symbols) {
      const auto bound = bindings.find(symbol);
      if (bound == bindings.end()) return fail("dimension '{}' has no value", symbol);
      const auto next = checked_mul(product, bound->second);
      if (!next) return fail("dimension '{}' overflows 64 bits", text());
      product = *next;
    }
    const auto next = checked_add(sum, product);
    if (!next) return fail("dimension '{}' overflows 64 bits", text());
    sum = *next;
  }
  return sum;
}

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
