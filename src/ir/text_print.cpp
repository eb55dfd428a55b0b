#include <algorithm>
#include <cstring>

#include "ir/text.h"
#include "ir/text_elements.h"

namespace taper {
namespace {

constexpr std::int64_t kInlineElements = 16;
constexpr std::size_t kBlobAlignment = 64;

std::string quoted_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte >= 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out + '"';
}

// As it is where `is_plain` accepts every character, else quoted.
std::string name_text(std::string_view name, bool (*is_plain)(char)) {
  return !name.empty() && std::ranges::all_of(name, is_plain) ? std::string(name) : quoted_text(name);
}
// The names of operators, attributes, outputs and symbols don't start with a digit.
std::string word_text(std::string_view name, bool (*is_plain)(char) = is_word_char) {
  return !name.empty() && is_letter(name[0]) ? name_text(name, is_plain) : quoted_text(name);
}
std::string value_text(const Value* value) {
  return value == nullptr ? "none" : "%" + name_text(value->name, is_value_char);
}

std::string dim_text(const Dim& dim) {
  if (dim.overflowed()) return "!overflow";  // no check accepts it, neither does parse()
  std::string out;
  const auto append = [&out](const Dim::Term& term) {
    const bool negative = term.coefficient < 0;
    out += out.empty() ? (negative ? "-" : "") : (negative ? " - " : " + ");
    const auto bits = static_cast<std::uint64_t>(term.coefficient);
    const std::uint64_t size = negative ? 0 - bits : bits;
    std::string factors = size == 1 && !term.symbols.empty() ? "" : std::to_string(size);
    for (const std::string& symbol : term.symbols)
      factors += (factors.empty() ? "" : "*") + word_text(symbol, is_symbol_char);
    out += factors;
  };
  // The constant term is stored first; people write it last.
  for (const Dim::Term& term : dim.terms())
    if (!term.symbols.empty()) append(term);
  for (const Dim::Term& term : dim.terms())
    if (term.symbols.empty()) append(term);
  return out.empty() ? "0" : out;
}

template <class Range, class Text>
std::string joined(const Range& range, Text text) {
  std::string out;
  for (const auto& item : range) {
    if (!out.empty()) out += ", ";
    out += text(item);
  }
  return out;
}

std::string sizes_text(const Shape& shape) {
  return "[" + joined(shape, dim_text) + "]";
}

std::string typed(DType dtype, const Shape& shape) {
  return std::string(info(dtype).short_name) + sizes_text(shape);
}
std::string typed(const Value& value) {
  std::string text = typed(value.type.dtype, value.type.shape);
  if (value.quantization != nullptr) text += " as " + quantization_text(*value.quantization);
  return text;
}

class Printer {
 public:
  explicit Printer(std::vector<std::byte>* blob) : blob_(blob) {}

  void graph(const Graph& graph, std::size_t indent);
  std::string take() { return std::move(out_); }

 private:
  void node(const Node& node, std::size_t indent);
  std::string attr(const Attr& attr);
  std::string tensor(const Tensor& tensor);

  std::string out_;
  std::vector<std::byte>* blob_;
};

std::string Printer::tensor(const Tensor& tensor) {
  const std::string type = typed(tensor.dtype, to_shape(tensor.shape));
  const std::int64_t count = tensor.element_count();
  if (count > kInlineElements && blob_ == nullptr) return type + " ...";
  const Tensor plain = converted(tensor, tensor.dtype);
  const Bytes bytes = plain.bytes();
  if (count > kInlineElements) {
    blob_->resize((blob_->size() + kBlobAlignment - 1) / kBlobAlignment * kBlobAlignment);
    const std::size_t offset = blob_->size();
    blob_->insert(blob_->end(), bytes.begin(), bytes.end());
    return fmt::format("{} blob({}, {})", type, offset, bytes.size());
  }
  std::string elements;
  const std::size_t size = size_of(tensor.dtype);
  for (std::size_t at = 0; at < bytes.size(); at += size) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + at, size);
    elements += (at > 0 ? ", " : "") + element_text(tensor.dtype, bits);
  }
  return type + " {" + elements + "}";
}

std::string Printer::attr(const Attr& attr) {
  if (const auto* flag = std::get_if<bool>(&attr)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&attr)) return std::to_string(*integer);
  if (const auto* real = std::get_if<double>(&attr)) {
    const std::string text = element_text(DType::f64, std::bit_cast<std::uint64_t>(*real));
    // What looks like an integer would be one.
    const bool integral = std::ranges::all_of(text, [](char c) { return is_digit(c) || c == '-'; });
    return integral ? text + ".0" : text;
  }
  if (const auto* text = std::get_if<std::string>(&attr)) return quoted_text(*text);
  if (const auto* dtype = std::get_if<DType>(&attr)) return std::string(info(*dtype).short_name);
  if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&attr))
    return fmt::format("[{}]", fmt::join(*integers, ", "));
  if (const auto* shape = std::get_if<Shape>(&attr)) return "shape" + sizes_text(*shape);
  return tensor(std::get<Tensor>(attr));
}

void Printer::node(const Node& node, std::size_t indent) {
  out_.append(indent, ' ');
  out_ += joined(node.results, value_text);
  out_ +=
      fmt::format("{}= {}({})", node.results.empty() ? "" : " ", word_text(node.op), joined(node.operands, value_text));
  if (node.attrs.begin() != node.attrs.end())
    out_ += " {" +
            joined(node.attrs,
                   [this](const NamedAttr& named) { return word_text(named.first) + " = " + attr(named.second); }) +
            "}";
  out_ += " :";
  if (!node.results.empty()) out_ += " " + joined(node.results, [](const Value* result) { return typed(*result); });
  if (!node.scope.empty()) out_ += " @ " + quoted_text(node.scope);
  if (!node.regions.empty()) {
    out_ += " {\n";
    for (const auto& region : node.regions) graph(*region, indent + 2);
    out_.append(indent, ' ');
    out_ += "}";
  }
  out_ += "\n";
}

void Printer::graph(const Graph& graph, std::size_t indent) {
  out_.append(indent, ' ');
  out_ +=
      fmt::format("graph {} ({}) {{\n", quoted_text(graph.name),
                  joined(graph.inputs(), [](const Value* input) { return value_text(input) + ": " + typed(*input); }));
  for (const Node& n : graph.nodes()) node(n, indent + 2);
  out_.append(indent + 2, ' ');
  out_ += "return";
  if (!graph.outputs().empty())
    out_ += " " + joined(graph.outputs(), [](const Output& output) {
              return word_text(output.name) + " = " + value_text(output.value);
            });
  out_ += "\n";
  out_.append(indent, ' ');
  out_ += "}\n";
}

bool same_values(const std::vector<Value*>& a, const std::vector<Value*>& b, bool (*same)(const Value&, const Value&)) {
  return std::ranges::equal(
      a, b, [same](const Value* x, const Value* y) { return x == nullptr || y == nullptr ? x == y : same(*x, *y); });
}

// Names are unique within a graph, so that an operand is known by its name.
bool same_name(const Value& a, const Value& b) {
  return a.name == b.name;
}
bool same_name_and_type(const Value& a, const Value& b) {
  const bool same_grid = a.quantization == nullptr || b.quantization == nullptr ? a.quantization == b.quantization
                                                                                : *a.quantization == *b.quantization;
  return a.name == b.name && a.type == b.type && same_grid;
}

bool same_node(const Node& a, const Node& b) {
  const auto same_named_attr = [](const NamedAttr& x, const NamedAttr& y) {
    return x.first == y.first && same_attr(x.second, y.second);
  };
  const auto same_region = [](const auto& x, const auto& y) { return same_graph(*x, *y); };
  return a.op == b.op && a.scope == b.scope && same_values(a.operands, b.operands, same_name) &&
         same_values(a.results, b.results, same_name_and_type) &&
         std::equal(a.attrs.begin(), a.attrs.end(), b.attrs.begin(), b.attrs.end(), same_named_attr) &&
         std::ranges::equal(a.regions, b.regions, same_region);
}

}  // namespace

std::string print(const Graph& graph, std::vector<std::byte>* blob) {
  Printer printer(blob);
  printer.graph(graph, 0);
  return printer.take();
}

bool same_graph(const Graph& a, const Graph& b) {
  const auto same_output = [](const Output& x, const Output& y) {
    return x.name == y.name && same_name(*x.value, *y.value);
  };
  return a.name == b.name && same_values(a.inputs(), b.inputs(), same_name_and_type) &&
         std::ranges::equal(a.nodes(), b.nodes(), same_node) &&
         std::ranges::equal(a.outputs(), b.outputs(), same_output);
}

}  // namespace taper
