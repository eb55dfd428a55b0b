// Untrusted text: UTF-8 validation, and printing that can't disturb a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace taper {

// RFC 3629. `surrogates` is text that is valid but for encoded surrogates (D800-DFFF), as Python writes undecodable
// file names.
enum class Utf8 { valid, surrogates, invalid };
Utf8 check_utf8(std::string_view text);

// Replaces each encoded surrogate of a `surrogates` text by U+FFFD.
std::string without_surrogates(std::string_view text);

// Appends a code point; surrogates and values past U+10FFFF become U+FFFD.
void append_utf8(std::string& text, char32_t point);

// For messages: control characters and invalid bytes as \xHH, at most about 80 characters.
std::string excerpt(std::string_view text);

// "a, b, c and 4 more", with at most so many items.
std::string shortened(const std::vector<std::string>& items, std::size_t most, std::string_view separator = ", ");

// Python's codec "raw-unicode-escape" (pickle's UNICODE): \uXXXX and \UXXXXXXXX, every other byte is Latin-1.
Expected<std::string> decode_raw_unicode_escape(std::string_view raw);
// A Python 2 string literal with its quotes (pickle's STRING), as bytes.
Expected<std::string> decode_python2_string(std::string_view raw);

}  // namespace taper
