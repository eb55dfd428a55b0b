// Text for people: sizes, times, and strings from files made safe to print.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace taper {

struct WeightTree;  // taper/taper.h

// "812 B", "3.4 KB", "12.3 MB", "1.2 GB": powers of 1000, at most three digits before the point.
std::string human_size(std::uint64_t bytes);

// "850 us", "12 ms", "1.24 s", "2 min 5 s".
std::string human_seconds(double seconds);

// "1.2 k", "3.4 M": a count in powers of 1000.
std::string human_count(std::int64_t count);

// Valid UTF-8 without control characters: those become "\n", "\x1b", "\u009b"; bytes that are no UTF-8 become "\xff".
// What a file says can then not move the cursor, change colours or fake a line.
std::string printable(std::string_view text);

// An error as lines of printable text: its message, "in ..." per place, what the file holds in the place of a network
// as a tree (report/weight_tree.h), "next: ..." for the hint, further lines of which are indented.
std::string error_lines(const Error& error, const WeightTree* found = nullptr);

// "next: ..." and the further lines of a hint, indented below; none for an empty one.
std::vector<std::string> hint_lines(std::string_view hint);

// The name of a path, printable.
std::string path_text(const std::filesystem::path& path);

}  // namespace taper
