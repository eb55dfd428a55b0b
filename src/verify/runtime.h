// What runtimes that are loaded at run time have in common: values by name, where libraries are, what they print.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace taper {

// A value and its name in the model's signature.
struct SignatureTensor {
  std::string name;
  Tensor value;
};

// The sizes that outputs will have, by name.
using OutputShapes = std::map<std::string, std::vector<std::int64_t>, std::less<>>;

struct RuntimeInfo {
  std::string name;  // "LiteRT"
  std::filesystem::path path;
  std::string version;  // "2.3.0", or empty where nothing tells
};

// The files `relative` ("ai_edge_litert/libLiteRt.so") of installed Python packages, in this order: the active virtual
// environment, the user's and the system's site-packages; of each the newest Python first.
std::vector<std::filesystem::path> installed_in_packages(const std::filesystem::path& relative);

// The version of the package `package` that `library` belongs to, from the name of the folder that the package
// installer leaves beside it; empty if there is none.
std::string package_version(const std::filesystem::path& library, std::string_view package);

// Log lines as part of a message: on one line, without those that only inform.
std::string on_one_line(std::string_view log);

}  // namespace taper
