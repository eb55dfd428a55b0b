#include "report/weight_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>

#include "report/text.h"

namespace taper {
namespace {

constexpr std::size_t kMostNameBytes = 60;
constexpr std::size_t kMostWeightsShown = 5;  // of one module, in one line; of more only the first two

// Printable, and cut in its middle where it is long: prefixes and suffixes both tell modules apart.
std::string short_name(std::string_view name) {
  if (name.size() <= kMostNameBytes) return printable(name);
  constexpr std::size_t kHalf = kMostNameBytes / 2;
  const auto continues = [&](std::size_t at) { return (static_cast<unsigned char>(name[at]) & 0xc0) == 0x80; };
  std::size_t head = kHalf, tail = name.size() - kHalf;
  for (int i = 0; i < 3 && continues(head); ++i) --head;  // not within a character
  for (int i = 0; i < 3 && continues(tail); ++i) ++tail;
  return printable(name.substr(0, head)) + "..." + printable(name.substr(tail));
}

std::string sizes_text(const std::vector<std::int64_t>& sizes) {
  constexpr std::size_t kMostSizes = 8;
  const std::size_t shown = std::min(sizes.size(), kMostSizes);
  const auto end = sizes.begin() + static_cast<std::ptrdiff_t>(shown);
  return fmt::format("[{}{}]", fmt::join(sizes.begin(), end, ", "), shown < sizes.size() ? ", ..." : "");
}

// "weight [64, 3, 7, 7], bias [64] float32": what follows of the same shape or dtype says it once.
std::string weights_text(const std::vector<WeightTree::Weight>& weights) {
  std::string text;
  const std::size_t shown = weights.size() <= kMostWeightsShown ? weights.size() : 2;
  for (std::size_t i = 0; i < shown; ++i) {
    const WeightTree::Weight& weight = weights[i];
    const WeightTree::Weight* next = i + 1 < shown ? &weights[i + 1] : nullptr;
    const bool same_dtype = next != nullptr && next->dtype == weight.dtype;
    text += (i == 0 ? "" : ", ") + short_name(weight.name);
    if (!same_dtype || next->sizes != weight.sizes) text += " " + sizes_text(weight.sizes);
    if (!same_dtype) text += " " + weight.dtype;
  }
  if (shown < weights.size()) text += fmt::format(" and {} more", weights.size() - shown);
  return text;
}

// "62 tensors, 11.7 M parameters, 46.8 MB".
std::string weight_counts(const WeightTree& tree) {
  return fmt::format("{} {}, {} parameters, {}", tree.tensors, tree.tensors == 1 ? "tensor" : "tensors",
                     human_count(tree.parameters), human_size(static_cast<std::uint64_t>(tree.bytes)));
}

std::string tree_name(const WeightTree& tree) {
  if (tree.alike == 1) return short_name(tree.name);
  return fmt::format("{} ... {} ({} alike)", short_name(tree.name), short_name(tree.last), tree.alike);
}

struct TreeRow {
  std::size_t level = 0;
  std::string name, kind, weights;
};

TreeRow weight_row(const WeightTree::Weight& weight, std::size_t level) {
  return {level, short_name(weight.name), "", sizes_text(weight.sizes) + " " + weight.dtype};
}

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::vector<std::string> aligned(const std::vector<TreeRow>& rows) {
  constexpr std::size_t kWidestName = 36, kWidestKind = 44;
  const auto name_columns = [](const TreeRow& row) { return 2 * row.level + columns_of(row.name); };
  std::size_t name = 0, kind = 0;
  for (const TreeRow& row : rows) {
    name = std::max(name, std::min(name_columns(row), kWidestName));
    kind = std::max(kind, std::min(columns_of(row.kind), kWidestKind));
  }
  const auto fill = [](std::size_t columns, std::size_t used) {
    return std::string(columns > used ? columns - used : 0, ' ');
  };
  std::vector<std::string> lines;
  lines.reserve(rows.size());
  for (const TreeRow& row : rows) {
    std::string line = std::string(2 + 2 * row.level, ' ') + row.name;
    if (!row.kind.empty() || !row.weights.empty()) line += fill(name, name_columns(row)) + "  " + row.kind;
    if (!row.weights.empty()) line += (kind > 0 ? fill(kind, columns_of(row.kind)) + "  " : "") + row.weights;
    lines.push_back(std::move(line));
  }
  return lines;
}

// ----------------------------------------------------------------------------------------------- in so many lines

using Opened = std::map<const WeightTree*, std::size_t>;  // how many of a module's parts are shown

// The modules whose parts fit into `most` lines, level by level; then, where lines are left, the first parts of those
// that have more.
Opened opened_within(const WeightTree& root, std::size_t most) {
  constexpr std::size_t kLeastParts = 4;
  Opened opened;
  std::size_t left = most;
  std::deque<const WeightTree*> waiting = {&root};
  std::vector<const WeightTree*> larger;
  while (!waiting.empty()) {
    const WeightTree& tree = *waiting.front();
    waiting.pop_front();
    if (tree.parts.size() > left) {
      larger.push_back(&tree);
      continue;
    }
    left -= tree.parts.size();
    opened[&tree] = tree.parts.size();
    for (const WeightTree& part : tree.parts)
      if (!part.parts.empty()) waiting.push_back(&part);
  }
  for (const WeightTree* tree : larger) {
    if (left <= kLeastParts) break;
    const std::size_t shown = std::min(tree->parts.size(), left - 1);
    opened[tree] = shown;
    left -= std::min(left, shown + 1);
  }
  return opened;
}

void add_rows(const WeightTree& tree, std::size_t level, const Opened& opened, std::vector<TreeRow>& rows) {
  const auto found = opened.find(&tree);
  const std::size_t shown = found == opened.end() ? 0 : found->second;
  for (std::size_t i = 0; i < shown; ++i) {
    const WeightTree& part = tree.parts[i];
    TreeRow row{level, tree_name(part), printable(part.kind), weights_text(part.weights)};
    const bool closed = !part.parts.empty() && !opened.contains(&part);
    if (closed) row.weights += fmt::format("{}... {}", row.weights.empty() ? "" : " ", weight_counts(part));
    rows.push_back(std::move(row));
    if (!closed) add_rows(part, level + 1, opened, rows);
  }
  if (shown < tree.parts.size())
    rows.push_back({level, fmt::format("... and {} more", tree.parts.size() - shown), "", ""});
}

void add_all_rows(const WeightTree& tree, std::size_t level, std::vector<TreeRow>& rows) {
  for (const WeightTree::Weight& weight : tree.weights) rows.push_back(weight_row(weight, level));
  for (const WeightTree& part : tree.parts) {
    rows.push_back({level, printable(part.name), printable(part.kind), ""});
    add_all_rows(part, level + 1, rows);
  }
}

constexpr std::size_t kMostModulesInJson = 10'000;

nlohmann::ordered_json tree_json(const WeightTree& tree, std::size_t& room) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!tree.name.empty()) json["name"] = tree.name;
  if (tree.alike > 1) json["last"] = tree.last;
  if (tree.alike > 1) json["alike"] = tree.alike;
  if (!tree.kind.empty()) json["kind"] = tree.kind;
  json["parameters"] = tree.parameters;
  json["tensors"] = tree.tensors;
  json["bytes"] = tree.bytes;
  for (const WeightTree::Weight& weight : tree.weights)
    json["weights"].push_back({{"name", weight.name}, {"dtype", weight.dtype}, {"shape", weight.sizes}});
  const std::size_t shown = std::min(room, tree.parts.size());
  room -= shown;
  for (std::size_t i = 0; i < shown; ++i) json["parts"].push_back(tree_json(tree.parts[i], room));
  if (shown < tree.parts.size()) json["parts_left_out"] = tree.parts.size() - shown;
  return json;
}

}  // namespace

std::string weight_tree_title(const WeightTree& tree) {
  return fmt::format("weights{}: {}", tree.name.empty() ? "" : fmt::format(" in '{}'", short_name(tree.name)),
                     weight_counts(tree));
}

std::vector<std::string> weight_tree_lines(const WeightTree& tree, std::size_t most) {
  constexpr std::size_t kMostOwn = 12;  // weights beside the modules at the top
  std::vector<TreeRow> rows;
  const std::size_t own = tree.weights.size() <= kMostOwn ? tree.weights.size() : kMostOwn - 1;
  for (std::size_t i = 0; i < own; ++i) rows.push_back(weight_row(tree.weights[i], 0));
  if (own < tree.weights.size())
    rows.push_back({0, fmt::format("... and {} more weights", tree.weights.size() - own), "", ""});
  add_rows(tree, 0, opened_within(tree, most - std::min(most, rows.size())), rows);
  return aligned(rows);
}

std::vector<std::string> every_weight_lines(const WeightTree& tree) {
  std::vector<TreeRow> rows;
  add_all_rows(tree, 0, rows);
  return aligned(rows);
}

nlohmann::ordered_json weight_tree_json(const WeightTree& tree) {
  std::size_t room = kMostModulesInJson;
  return tree_json(tree, room);
}

}  // namespace taper
