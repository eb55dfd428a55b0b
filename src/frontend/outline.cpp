#include "frontend/outline.h"

#include <algorithm>
#include <array>

#include "formats/text.h"

namespace taper {
namespace {

// "layers.12.weight" is "layers.*.weight".
std::string without_numbers(std::string_view key) {
  std::string pattern;
  while (true) {
    const std::size_t dot = key.find('.');
    const std::string_view part = key.substr(0, dot);
    const bool number = !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    pattern += number ? std::string_view("*") : part;
    if (dot == std::string_view::npos) return pattern;
    pattern += '.';
    key.remove_prefix(dot + 1);
  }
}

struct Row {
  std::string pattern;
  std::string shape;
  bool same_shape = true;
  std::size_t count = 0;
};

// In the order of the keys.
std::vector<Row> rows_of(const WeightSet& weights) {
  std::vector<Row> rows;
  std::map<std::string, std::size_t> known;
  for (const auto& [key, tensor] : weights.tensors) {
    const auto [place, fresh] = known.try_emplace(without_numbers(key), rows.size());
    const std::string shape = shape_text(std::span(tensor->shape));
    if (fresh) rows.push_back({place->first, shape});
    Row& row = rows[place->second];
    row.same_shape = row.same_shape && row.shape == shape;
    ++row.count;
  }
  return rows;
}

// The rows of a recurrent layer's weights for each unit tell its cell.
std::string recurrent_cell(const WeightSet& weights) {
  for (const auto& [key, tensor] : weights.tensors) {
    if (key.find("weight_hh_l0") == std::string::npos || tensor->shape.size() != 2 || tensor->shape[1] == 0) continue;
    switch (tensor->shape[0] / tensor->shape[1]) {
      case 4:
        return "LSTM";
      case 3:
        return "GRU";
      default:
        return "RNN";
    }
  }
  return "";
}

}  // namespace

std::string outline(const WeightSet& weights) {
  constexpr std::size_t kShown = 12;
  const std::vector<Row> rows = rows_of(weights);
  std::string text;
  for (std::size_t i = 0; i < std::min(rows.size(), kShown); ++i) {
    const Row& row = rows[i];
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", excerpt(row.pattern), row.same_shape ? row.shape : "[...]");
    if (row.count > 1) text += fmt::format(" ({} times)", row.count);
  }
  if (rows.size() > kShown) text += fmt::format(" and {} more", rows.size() - kShown);
  return text;
}

std::string likely_kind(const WeightSet& weights) {
  constexpr std::array<std::string_view, 6> kAttention = {"in_proj_weight", "q_proj",    "query",
                                                          "attn",           "attention", "self_attn"};
  bool attention = false, convolution = false;
  for (const auto& [key, tensor] : weights.tensors) {
    attention = attention || std::ranges::any_of(kAttention, [&](std::string_view name) {
                  return key.find(name) != std::string::npos;
                });
    const bool one_of_many = tensor->shape.size() >= 3 && tensor->shape.size() <= 5;
    convolution = convolution || (one_of_many && key.ends_with("weight"));
  }
  std::vector<std::string> parts;
  if (convolution) parts.emplace_back("convolutions");
  if (attention) parts.emplace_back("attention");
  if (const std::string cell = recurrent_cell(weights); !cell.empty()) parts.push_back(cell + " layers");
  if (parts.empty()) return "";
  return fmt::format("a network with {}", fmt::join(parts, " and "));
}

}  // namespace taper
