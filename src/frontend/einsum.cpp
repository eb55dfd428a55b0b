#include "frontend/einsum.h"

#include <algorithm>
#include <map>
#include <string>

#include "frontend/aten_table.h"

namespace taper {
namespace {

using aten::Integers;
using aten::shape_of;

// Axes as labels: letters, and numbers below 'A' for the axes of an ellipsis, counted from the last one.
using Labels = std::string;
constexpr std::size_t kMostEllipsisAxes = 32;

struct Equation {
  std::vector<Labels> operands;
  Labels result;
};

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The labels of one term; an ellipsis takes the axes that the letters leave.
Expected<Labels> parse_term(std::string_view term, std::size_t ellipsis_axes) {
  Labels labels;
  bool ellipsis = false;
  for (std::size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ') continue;
    if (is_letter(term[i])) {
      labels += term[i];
    } else if (term.substr(i, 3) == "..." && !ellipsis) {
      ellipsis = true;
      for (std::size_t axis = ellipsis_axes; axis-- > 0;) labels += static_cast<char>(1 + axis);
      i += 2;
    } else {
      return fail("'{}' is no term of an equation", term);
    }
  }
  return labels;
}

Expected<Equation> parse(std::string_view text, const std::vector<Value*>& operands) {
  const auto arrow = text.find("->");
  std::string_view left = text.substr(0, arrow);
  std::vector<std::string_view> terms;
  for (std::size_t start = 0; start <= left.size();) {
    const auto comma = std::min(left.find(',', start), left.size());
    terms.push_back(left.substr(start, comma - start));
    start = comma + 1;
  }
  if (terms.size() != operands.size())
    return fail("equation '{}' has {} terms for {} operands", text, terms.size(), operands.size());
  Equation equation;
  std::size_t most = 0;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const auto letters = static_cast<std::size_t>(std::ranges::count_if(terms[i], is_letter));
    const std::size_t rank = shape_of(operands[i]).size();
    const bool ellipsis = terms[i].find("...") != std::string_view::npos;
    if (rank < letters || (rank > letters && !ellipsis) || rank - letters > kMostEllipsisAxes)
      return fail("term '{}' for a tensor of rank {}", terms[i], rank);
    most = std::max(most, rank - letters);
    TAPER_ASSIGN(Labels labels, parse_term(terms[i], rank - letters));
    equation.operands.push_back(std::move(labels));
  }
  if (arrow != std::string_view::npos) {
    TAPER_ASSIGN(equation.result, parse_term(text.substr(arrow + 2), most));
  } else {
    std::map<char, int> counts;
    for (const Labels& labels : equation.operands)
      for (const char label : labels) ++counts[label];
    for (std::size_t axis = most; axis-- > 0;) equation.result += static_cast<char>(1 + axis);
    for (const auto& [label, count] : counts)
      if (is_letter(label) && count == 1) equation.result += label;
  }
  for (const char label : equation.result) {
    if (std::ranges::count(equation.result, label) > 1) return fail("the result of '{}' names an axis twice", text);
    if (std::ranges::none_of(equation.operands, [&](const Labels& labels) { return labels.contains(label); }))
      return fail("the result of '{}' names an axis that no operand has", text);
  }
  return equation;
}

struct Term {
  Value* value;
  Labels labels;
};

// The term with a diagonal in the place of axes of one label: the entries of the two axes side by side, each n + 1-th.
Expected<Term> with_diagonals(Builder& build, Term term) {
  for (std::size_t i = 0; i < term.labels.size(); ++i) {
    const char label = term.labels[i];
    const std::size_t j = term.labels.find(label, i + 1);
    if (j == Labels::npos) continue;
    Shape shape = shape_of(term.value);
    const auto size = shape[i].constant();
    if (!size || shape[i] != shape[j])
      return fail("the diagonal of sizes {} and {}, expected one known size", shape[i].text(), shape[j].text());
    term.labels.erase(j, 1);
    term.labels.erase(i, 1);
    Integers dims = aten::all_axes(shape.size());
    dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(j));
    dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(i));
    dims.insert(dims.end(), {static_cast<std::int64_t>(i), static_cast<std::int64_t>(j)});
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(j));
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(i));
    shape.push_back(Dim(*size) * *size);
    Value* joined = aten::reshape(build, aten::permute(build, term.value, dims), shape);
    term.value = build(
        "slice", {joined},
        {{"dim", static_cast<std::int64_t>(shape.size() - 1)}, {"end", Shape{shape.back()}}, {"step", *size + 1}});
    TAPER_TRY(build.status());
    term.labels += label;
    --i;
  }
  return term;
}

// The term with its axes in the order `wanted`, which names all of them.
Value* ordered(Builder& build, const Term& term, const Labels& wanted) {
  Integers dims;
  for (const char label : wanted) dims.push_back(static_cast<std::int64_t>(term.labels.find(label)));
  return aten::permute(build, term.value, dims);
}

Term summed(Builder& build, Term term, const Labels& kept) {
  Integers dims;
  Labels rest;
  for (std::size_t i = 0; i < term.labels.size(); ++i)
    if (kept.contains(term.labels[i]))
      rest += term.labels[i];
    else
      dims.push_back(static_cast<std::int64_t>(i));
  return {aten::reduce(build, "sum", term.value, std::move(dims), false), rest};
}

// The term's axes among `wanted`, with size 1 where it has none.
Value* spread(Builder& build, const Term& term, const Labels& wanted) {
  Labels own;
  Integers missing;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (term.labels.contains(wanted[i]))
      own += wanted[i];
    else
      missing.push_back(static_cast<std::int64_t>(i));
  Value* x = ordered(build, term, own);
  return missing.empty() ? x : build("unsqueeze", {x}, {{"dims", missing}});
}

Dim size_of_labels(const Term& term, const Labels& labels) {
  Dim product = 1;
  for (const char label : labels) product = product * shape_of(term.value)[term.labels.find(label)];
  return product;
}

// The product of two terms, summed over what is not kept.
Term joined(Builder& build, Term a, Term b, const Labels& kept) {
  a = summed(build, std::move(a), kept + b.labels);
  b = summed(build, std::move(b), kept + a.labels);
  if (build.failed()) return {nullptr, {}};
  Labels batch, inner, rows, columns;
  for (const char label : a.labels) (!b.labels.contains(label) ? rows : kept.contains(label) ? batch : inner) += label;
  for (const char label : b.labels)
    if (!a.labels.contains(label)) columns += label;
  // Axes of an ellipsis broadcast: those stand with the batch, whether both have them or not.
  const auto from_ellipsis = [](char label) { return !is_letter(label); };
  for (Labels* own : {&rows, &columns}) {
    for (const char label : *own)
      if (from_ellipsis(label)) batch += label;
    std::erase_if(*own, from_ellipsis);
  }
  if (inner.empty()) {
    const Labels all = batch + rows + columns;
    return {build("mul", {spread(build, a, all), spread(build, b, all)}), all};
  }
  const Dim row_count = size_of_labels(a, rows), inner_count = size_of_labels(a, inner);
  const Dim column_count = size_of_labels(b, columns);
  if (size_of_labels(b, inner) != inner_count) {
    build.set_error(
        {fmt::format("einsum: sizes {} and {} of one axis", inner_count.text(), size_of_labels(b, inner).text()),
         {},
         {}});
    return {nullptr, {}};
  }
  Value* left = spread(build, a, batch + rows + inner);
  Value* right = spread(build, b, batch + inner + columns);
  if (build.failed()) return {nullptr, {}};
  const auto leading = [&](Value* x) {
    const Shape& shape = shape_of(x);
    return Shape(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(batch.size()));
  };
  Shape matrix = leading(left);
  matrix.insert(matrix.end(), {row_count, inner_count});
  left = aten::reshape(build, left, matrix);
  matrix = leading(right);
  matrix.insert(matrix.end(), {inner_count, column_count});
  right = aten::reshape(build, right, matrix);
  Value* product = build("matmul", {left, right});
  if (build.failed()) return {nullptr, {}};
  Shape out = leading(product);
  for (const char label : rows) out.push_back(shape_of(a.value)[a.labels.find(label)]);
  for (const char label : columns) out.push_back(shape_of(b.value)[b.labels.find(label)]);
  return {aten::reshape(build, product, out), batch + rows + columns};
}

}  // namespace

Value* einsum(Builder& build, std::string_view equation, std::vector<Value*> operands) {
  if (build.failed()) return nullptr;
  auto parsed = parse(equation, operands);
  if (!parsed) {
    build.set_error(within(parsed.error(), "in einsum"));
    return nullptr;
  }
  for (std::size_t i = 0; i < operands.size(); ++i) {
    auto term = with_diagonals(build, {operands[i], parsed->operands[i]});
    if (!term) {
      build.set_error(within(term.error(), "in einsum"));
      return nullptr;
    }
    operands[i] = term->value;
    parsed->operands[i] = term->labels;
  }
  // What the operands from one on, and the result, still need.
  std::vector<Labels> needed(operands.size() + 1, parsed->result);
  for (std::size_t i = operands.size(); i-- > 0;) needed[i] = needed[i + 1] + parsed->operands[i];
  Term term{operands[0], parsed->operands[0]};
  for (std::size_t i = 1; i < operands.size(); ++i) {
    term = joined(build, std::move(term), {operands[i], parsed->operands[i]}, needed[i + 1]);
    if (build.failed()) return nullptr;
  }
  term = summed(build, std::move(term), parsed->result);
  return ordered(build, term, parsed->result);
}

}  // namespace taper
