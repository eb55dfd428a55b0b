// A place in a text that a parser of its own reads.
#pragma once

#include <cstddef>
#include <string_view>

namespace taper {

class TextCursor {
 protected:
  explicit TextCursor(std::string_view text) : text_(text) {}

  // The next character that is no blank; 0 at the end.
  char next() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  // Goes past `token` where it comes next.
  bool take(std::string_view token) {
    next();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace taper
