#include "frontend/program.h"

#include <algorithm>

namespace taper {

std::string dtype_note(std::string_view port, DType in_program, DType in_files) {
  return fmt::format("{} is {} in the program and {} in the files", port, info(in_program).name, info(in_files).name);
}

void UnsupportedOperators::add(std::string_view op, std::string_view place, std::string_view hint) {
  constexpr std::size_t kShown = 3;
  Entry& entry = found_[std::string(op)];
  ++entry.count;
  if (!hint.empty()) entry.hint = hint;
  if (!place.empty() && entry.places.size() < kShown && std::ranges::find(entry.places, place) == entry.places.end())
    entry.places.emplace_back(place);
}

Error UnsupportedOperators::error() const {
  std::string list, hints;
  for (const auto& [op, entry] : found_) {
    list += fmt::format("{}{} ({} time{}{}{})", list.empty() ? "" : "; ", op, entry.count, entry.count == 1 ? "" : "s",
                        entry.places.empty() ? "" : ", in ", fmt::join(entry.places, ", "));
    if (!entry.hint.empty()) hints += fmt::format("{}{}: {}", hints.empty() ? "" : "; ", op, entry.hint);
  }
  if (hints.empty())
    hints =
        "say the same with operators that convert (taper ops lists what they become), or compute it where the files "
        "are used";
  return {fmt::format("{} operator{} can't be converted: {}", found_.size(), found_.size() == 1 ? "" : "s", list),
          {},
          std::move(hints)};
}

}  // namespace taper
