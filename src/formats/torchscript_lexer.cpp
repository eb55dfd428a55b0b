#include "formats/torchscript_lexer.h"

#include <algorithm>
#include <array>

#include "formats/text.h"

namespace taper::torchscript {
namespace {

constexpr std::size_t kMostIndents = 400;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool continues_name(char c) {
  return starts_name(c) || is_digit(c);
}

class Lexer {
 public:
  Lexer(std::string_view source, std::deque<std::string>& texts) : source_(source), texts_(texts) {}

  Expected<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      if (at_line_start_ && brackets_ == 0) {
        TAPER_TRY(read_indent());
        continue;
      }
      TAPER_TRY(read_token());
    }
    if (!at_line_start_) add(TokenKind::line_end, {});
    while (indents_.size() > 1) {
      indents_.pop_back();
      add(TokenKind::dedent, {});
    }
    add(TokenKind::end, {});
    return std::move(tokens_);
  }

 private:
  void add(TokenKind kind, std::string_view text) { tokens_.push_back({kind, line_, text}); }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  void skip_comment() {
    while (at_ < source_.size() && source_[at_] != '\n') ++at_;
  }
  void new_line() {
    ++at_;
    ++line_;
  }

  // The blanks before a line's first token. Empty lines and comments count for nothing.
  Status read_indent() {
    std::size_t column = 0;
    while (peek() == ' ' || peek() == '\t' || peek() == '\r') {
      ++column;
      ++at_;
    }
    if (at_ == source_.size()) return {};
    if (peek() == '#') skip_comment();
    if (peek() == '\n') {
      new_line();
      return {};
    }
    if (at_ == source_.size()) return {};
    at_line_start_ = false;
    if (column > indents_.back()) {
      if (indents_.size() >= kMostIndents) return fail("line {}: blocks are nested {} deep", line_, indents_.size());
      indents_.push_back(column);
      add(TokenKind::indent, {});
    }
    while (column < indents_.back()) {
      indents_.pop_back();
      add(TokenKind::dedent, {});
    }
    if (column != indents_.back()) return fail("line {}: its indentation matches no line before", line_);
    return {};
  }

  Status read_token() {
    const char c = peek();
    if (c == '\n') {
      if (brackets_ == 0) {
        add(TokenKind::line_end, {});
        at_line_start_ = true;
      }
      new_line();
      return {};
    }
    if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
      return {};
    }
    if (c == '#') {
      skip_comment();
      return {};
    }
    if (c == '\\' && peek(1) == '\n') {
      ++at_;
      new_line();
      return {};
    }
    if (c == '"' || c == '\'') return read_text(c);
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return read_number();
    if (starts_name(c)) {
      const std::size_t begin = at_;
      while (continues_name(peek())) ++at_;
      add(TokenKind::name, source_.substr(begin, at_ - begin));
      return {};
    }
    return read_symbol();
  }

  Status read_number() {
    const std::size_t begin = at_;
    bool real = false;
    while (is_digit(peek())) ++at_;
    if (peek() == '.') {
      real = true;
      ++at_;
      while (is_digit(peek())) ++at_;
    }
    if (peek() == 'e' || peek() == 'E') {
      real = true;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!is_digit(peek())) return fail("line {}: a number's exponent has no digits", line_);
      while (is_digit(peek())) ++at_;
    }
    const std::string_view text = source_.substr(begin, at_ - begin);
    const bool imaginary = peek() == 'j';
    if (imaginary) ++at_;
    if (continues_name(peek())) return fail("line {}: '{}' is followed by '{}'", line_, excerpt(text), peek());
    add(imaginary ? TokenKind::imaginary : real ? TokenKind::real : TokenKind::integer, text);
    return {};
  }

  // Python's escapes; PyTorch writes bytes that are not printable as three octal digits.
  Status read_text(char quote) {
    ++at_;
    std::string decoded;
    while (true) {
      if (at_ >= source_.size() || peek() == '\n') return fail("line {}: a text does not end", line_);
      const char c = source_[at_++];
      if (c == quote) break;
      if (c != '\\') {
        decoded += c;
        continue;
      }
      TAPER_TRY(read_escape(decoded));
    }
    texts_.push_back(std::move(decoded));
    add(TokenKind::text, texts_.back());
    return {};
  }

  Status read_escape(std::string& decoded) {
    constexpr std::string_view kLetters = "abfnrtv\\'\"";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
    const char c = peek();
    if (c >= '0' && c <= '7') {
      unsigned code = 0;
      for (int digits = 0; digits < 3 && peek() >= '0' && peek() <= '7'; ++digits)
        code = code * 8 + static_cast<unsigned>(source_[at_++] - '0');
      decoded += static_cast<char>(code & 0xffu);
      return {};
    }
    if (c == 'x') {
      unsigned code = 0;
      for (int digit = 1; digit <= 2; ++digit) {
        const std::size_t value = std::string_view("0123456789abcdef").find(static_cast<char>(peek(1) | 0x20));
        if (at_ + 1 >= source_.size() || value == std::string_view::npos)
          return fail("line {}: \\x is not followed by two hexadecimal digits", line_);
        code = code * 16 + static_cast<unsigned>(value);
        ++at_;
      }
      ++at_;
      decoded += static_cast<char>(code);
      return {};
    }
    const std::size_t which = kLetters.find(c);
    if (at_ >= source_.size() || which == std::string_view::npos)
      return fail("line {}: a text has an unknown escape", line_);
    decoded += kMeanings[which];
    ++at_;
    return {};
  }

  Status read_symbol() {
    constexpr std::array<std::string_view, 10> kPairs = {"->", "==", "!=", "<=", ">=", "//", "**", "<<", ">>", ":="};
    constexpr std::string_view kSingles = "()[]{}:,.=+-*/%<>@&|^~;";
    const std::string_view two = source_.substr(at_, 2);
    if (std::ranges::find(kPairs, two) != kPairs.end()) {
      add(TokenKind::symbol, two);
      at_ += 2;
      return {};
    }
    const char c = peek();
    if (kSingles.find(c) == std::string_view::npos)
      return fail("line {}: unexpected character '{}'", line_, excerpt(source_.substr(at_, 1)));
    if (c == '(' || c == '[' || c == '{') ++brackets_;
    if ((c == ')' || c == ']' || c == '}') && brackets_ > 0) --brackets_;
    add(TokenKind::symbol, source_.substr(at_, 1));
    ++at_;
    return {};
  }

  std::string_view source_;
  std::deque<std::string>& texts_;
  std::vector<Token> tokens_;
  std::vector<std::size_t> indents_ = {0};
  std::size_t at_ = 0;
  std::size_t brackets_ = 0;
  std::uint32_t line_ = 1;
  bool at_line_start_ = true;
};

}  // namespace

Expected<std::vector<Token>> tokenize(std::string_view source, std::deque<std::string>& texts) {
  return Lexer(source, texts).run();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::line_end:
      return "the end of the line";
    case TokenKind::indent:
      return "an indented line";
    case TokenKind::dedent:
      return "the end of the block";
    case TokenKind::end:
      return "the end of the file";
    case TokenKind::text:
      return fmt::format("the text \"{}\"", excerpt(token.text));
    default:
      return fmt::format("'{}'", excerpt(token.text));
  }
}

}  // namespace taper::torchscript
