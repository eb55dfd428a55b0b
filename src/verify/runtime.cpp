#include "verify/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <system_error>
#include <utility>

namespace taper {

namespace fs = std::filesystem;

namespace {

// Adds every <prefix>/python3*/<packages>/<relative>, the newest Python first.
void add_installed(const fs::path& prefix, std::string_view packages, const fs::path& relative,
                   std::vector<fs::path>& found) {
  std::error_code ignored;
  std::vector<std::pair<int, fs::path>> versions;
  for (fs::directory_iterator entry(prefix, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const std::string name = entry->path().filename();
    if (!name.starts_with("python3")) continue;
    const int minor = name.starts_with("python3.") ? std::atoi(name.c_str() + 8) : 0;
    const fs::path library = entry->path() / packages / relative;
    if (fs::is_regular_file(library, ignored)) versions.emplace_back(minor, library);
  }
  std::ranges::sort(versions, std::ranges::greater());
  for (auto& [minor, library] : versions) found.push_back(std::move(library));
}

}  // namespace

std::vector<fs::path> installed_in_packages(const fs::path& relative) {
  std::vector<fs::path> found;
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const char* prefix = std::getenv(variable); prefix != nullptr && *prefix != '\0')
      add_installed(fs::path(prefix) / "lib", "site-packages", relative, found);
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    add_installed(fs::path(home) / ".local" / "lib", "site-packages", relative, found);
  for (const char* prefix : {"/usr/local/lib", "/usr/lib"})
    for (const char* packages : {"dist-packages", "site-packages"}) add_installed(prefix, packages, relative, found);
  return found;
}

std::string package_version(const fs::path& library, std::string_view package) {
  std::error_code ignored;
  const fs::path packages = fs::absolute(library, ignored).parent_path().parent_path();
  const std::string prefix = std::string(package) + "-";
  constexpr std::string_view kSuffix = ".dist-info";
  for (fs::directory_iterator entry(packages, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const std::string name = entry->path().filename();
    if (name.starts_with(prefix) && name.ends_with(kSuffix))
      return name.substr(prefix.size(), name.size() - prefix.size() - kSuffix.size());
  }
  return {};
}

std::string on_one_line(std::string_view log) {
  std::string result;
  while (!log.empty()) {
    const std::size_t end = std::min(log.find('\n'), log.size());
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));
    if (line.empty() || line.starts_with("INFO:")) continue;
    if (!result.empty()) result += "; ";
    result += line;
  }
  return result;
}

}  // namespace taper
