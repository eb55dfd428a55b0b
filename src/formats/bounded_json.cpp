#include "formats/bounded_json.h"

#include <algorithm>

namespace taper {

using Json = nlohmann::json;

Expected<Json> parse_bounded_json(std::string_view text, std::size_t most_bytes, std::string_view what) {
  if (text.size() > most_bytes) return fail("{} bytes, expected {} of at most {}", text.size(), what, most_bytes);
  // The JSON library takes a NUL for the end.
  if (text.find('\0') != std::string_view::npos) return fail("not JSON: there is a NUL byte");
  // What lies deeper than any member is left out while it is read: values are walked by recursion.
  constexpr int kMostDepth = 8;
  bool too_deep = false;
  const auto keep = [&too_deep](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kMostDepth;
    return depth <= kMostDepth;
  };
  Json json;
  try {
    json = Json::parse(text, keep);
  } catch (const Json::exception& exception) {
    constexpr std::size_t kMostSaid = 200;
    const std::string_view message = exception.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    const std::size_t start = std::min(message.find("] ") + 2, message.size());
    const std::string_view said = message.substr(start, kMostSaid);
    return fail("not JSON: {}{}", said, start + said.size() < message.size() ? "..." : "");
  }
  if (too_deep) return fail("objects or arrays are nested deeper than {}", kMostDepth);
  return json;
}

}  // namespace taper
