#include <algorithm>

#include "base/error.h"
#include "pipeline/steps.h"
#include "report/text.h"

namespace taper {

namespace {

Status check_file_stem(const std::string& name) {
  constexpr std::size_t kLongest = 100;  // leaves room for "_fp32.tflite" in the 255 bytes of a file name
  const std::string expected = "expected a name for files, such as 'my_model'";
  if (name.empty()) return fail("a model's name is empty, {}", expected);
  if (name.size() > kLongest) return fail("a model's name has {} bytes, at most {} can be", name.size(), kLongest);
  if (name.front() == '.' || name.front() == '-') {
    return fail("the model name '{}' starts with '{}', {}", printable(name), name.front(), expected);
  }
  const auto bad = std::ranges::find_if(name, [](char c) { return c == '/' || c == '\\'; });
  if (bad != name.end()) return fail("the model name '{}' holds a '{}', {}", printable(name), *bad, expected);
  if (printable(name) != name) {
    return fail("the model name '{}' holds characters that don't print, {}", printable(name), expected);
  }
  if (name == "error" || name == "next_step" || name == "taper_version") {
    return fail("the model name '{}' has another meaning in export_results.json", name);
  }
  return {};
}

}  // namespace

Status check_model_name(const std::string& name) {
  Status checked = check_file_stem(name);
  if (!checked)
    checked.error().hint = "give it a name: 'taper convert FILE --name NAME', 'export_models --model NAME=FILE'";
  return checked;
}

}  // namespace taper
