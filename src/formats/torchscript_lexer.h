// Tokens of TorchScript's source. Internal to formats.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace taper::torchscript {

enum class TokenKind : std::uint8_t { name, integer, real, imaginary, text, symbol, line_end, indent, dedent, end };

struct Token {
  TokenKind kind = TokenKind::end;
  std::uint32_t line = 0;
  std::string_view text;  // as written; a literal's content, decoded
};

// Cuts the text into tokens; as in Python, lines end only outside of brackets, and leading blanks give indent and
// dedent. Decoded literals live in `texts`. Errors, with the line: characters and literals that the language does not
// have, dedents to a column that was never indented to.
Expected<std::vector<Token>> tokenize(std::string_view source, std::deque<std::string>& texts);

// A token for messages: "'foo'", "the end of the line".
std::string describe(const Token& token);

}  // namespace taper::torchscript
