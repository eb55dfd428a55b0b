#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "ir/text.h"
#include "ir/text_elements.h"

namespace taper {
namespace {

// Graphs within graphs are read by recursion, and a product of n symbols takes n^2 steps: both have a bound.
constexpr int kMaxDepth = 64;
constexpr int kMaxFactors = 256;

using Scope = std::unordered_map<std::string, Value*>;

class Parser {
 public:
  Parser(std::string_view text, const SharedBytes& blob) : text_(text), blob_(blob) {}

  Expected<Graph> whole() {
    TAPER_ASSIGN(Graph graph, this->graph(0));
    skip_space();
    if (at_ < text_.size()) return unexpected("the end");
    return graph;
  }

 private:
  // Errors at the place where the reading stands, or stood.
  template <class... Args>
  std::unexpected<Error> fail_at(std::size_t at, fmt::format_string<Args...> format, Args&&... args) const;
  std::unexpected<Error> unexpected(std::string_view expected);

  // Characters and words. Each skips the space and the comments before it.
  void skip_space();
  char peek();
  bool accept(std::string_view token);
  Status expect(std::string_view token);
  std::string_view take_while(bool (*belongs)(char));
  Expected<std::string> quoted();
  Expected<std::string> name(bool (*is_plain)(char));
  // Calls `item` for each of `open item, item, ... close`.
  template <class Item>
  Status list(std::string_view open, std::string_view close, Item item);
  template <class Number>
  Expected<Number> number();

  Expected<Dim> factor(bool& negative);
  Expected<Dim> dim();
  Expected<Shape> sizes();
  std::optional<DType> accept_dtype();
  Expected<Type> type();
  Expected<std::shared_ptr<const Quantization>> quantization();
  Expected<Tensor> tensor(DType dtype);
  Expected<Tensor> tensor_in_blob(Tensor empty, std::size_t start);
  Expected<Attr> number_attr();
  Expected<Attr> attr();
  Expected<Attrs> attrs();

  Expected<std::string> value_name();
  Expected<Value*> value(const Scope& scope);
  Status input(Graph& graph, Scope& scope);
  Status node(Graph& graph, Scope& scope, int depth);
  Status outputs(Graph& graph, const Scope& scope);
  Expected<Graph> graph(int depth);

  std::string_view text_;
  const SharedBytes& blob_;
  std::size_t at_ = 0;
};

// ----------------------------------------------------------------------------------------------------------- words

template <class... Args>
std::unexpected<Error> Parser::fail_at(std::size_t at, fmt::format_string<Args...> format, Args&&... args) const {
  const std::string_view before = text_.substr(0, at);
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t column = at - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
  return std::unexpected(
      within(fail(format, std::forward<Args>(args)...).error(), fmt::format("at line {}, column {}", line, column)));
}

std::unexpected<Error> Parser::unexpected(std::string_view expected) {
  skip_space();
  if (at_ == text_.size()) return fail_at(at_, "the text ends, expected {}", expected);
  const auto byte = static_cast<unsigned char>(text_[at_]);
  if (byte < 0x20 || byte >= 0x7f) return fail_at(at_, "found byte 0x{:02x}, expected {}", byte, expected);
  std::size_t end = at_;
  while (end < text_.size() && end < at_ + 20 && is_value_char(text_[end])) ++end;
  return fail_at(at_, "found '{}', expected {}", text_.substr(at_, std::max<std::size_t>(end - at_, 1)), expected);
}

void Parser::skip_space() {
  while (at_ < text_.size()) {
    if (text_[at_] == '#')
      at_ = std::min(text_.find('\n', at_), text_.size());
    else if (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')
      ++at_;
    else
      return;
  }
}

char Parser::peek() {
  skip_space();
  return at_ < text_.size() ? text_[at_] : '\0';
}

// A token that is a word does not stand at the beginning of a longer one.
bool Parser::accept(std::string_view token) {
  skip_space();
  if (!text_.substr(at_).starts_with(token)) return false;
  const std::size_t end = at_ + token.size();
  if (is_letter(token.back()) && end < text_.size() && is_word_char(text_[end])) return false;
  at_ = end;
  return true;
}

Status Parser::expect(std::string_view token) {
  if (accept(token)) return {};
  return unexpected(fmt::format("'{}'", token));
}

std::string_view Parser::take_while(bool (*belongs)(char)) {
  const std::size_t start = at_;
  while (at_ < text_.size() && belongs(text_[at_])) ++at_;
  return text_.substr(start, at_ - start);
}

Expected<std::string> Parser::quoted() {
  const std::size_t start = at_++;
  std::string out;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') {
    if (text_[at_] != '\\') {
      out += text_[at_++];
      continue;
    }
    const char escape = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (escape == '"' || escape == '\\') {
      out += escape;
    } else if (escape == 'n' || escape == 't') {
      out += escape == 'n' ? '\n' : '\t';
    } else {
      const std::string_view digits = text_.substr(std::min(at_ + 2, text_.size()), 2);
      unsigned byte = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
      if (escape != 'x' || digits.size() != 2 || error != std::errc{} || end != digits.data() + 2)
        return fail_at(at_, "expected one of the escapes \\\", \\\\, \\n, \\t, \\xHH");
      out += static_cast<char>(byte);
      at_ += 2;
    }
    at_ += 2;
  }
  if (at_ >= text_.size() || text_[at_] != '"') return fail_at(start, "the quoted text has no end on its line");
  ++at_;
  return out;
}

Expected<std::string> Parser::name(bool (*is_plain)(char)) {
  if (peek() == '"') return quoted();
  if (!is_letter(peek())) return unexpected("a name");
  return std::string(take_while(is_plain));
}

template <class Item>
Status Parser::list(std::string_view open, std::string_view close, Item item) {
  TAPER_TRY(expect(open));
  if (accept(close)) return {};
  while (true) {
    TAPER_TRY(item());
    if (accept(close)) return {};
    if (!accept(",")) return unexpected(fmt::format("',' or '{}'", close));
  }
}

template <class Number>
Expected<Number> Parser::number() {
  skip_space();
  Number number{};
  const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
  if (error == std::errc::result_out_of_range) return fail_at(at_, "the number does not fit into 64 bits");
  if (error != std::errc{}) return unexpected("a number");
  at_ = static_cast<std::size_t>(end - text_.data());
  return number;
}

// --------------------------------------------------------------------------------------------------------- tensors

// A number or a symbol. The sign of the product goes into its first number, which may be -2^63.
Expected<Dim> Parser::factor(bool& negative) {
  if (!is_digit(peek())) {
    if (peek() != '"' && !is_letter(peek())) return unexpected("a size or a symbol");
    TAPER_ASSIGN(std::string symbol, name(is_symbol_char));
    return Dim::symbol(std::move(symbol));
  }
  const std::size_t start = at_;
  TAPER_ASSIGN(const auto size, number<std::uint64_t>());
  constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
  if (size > kLargest + (negative ? 1 : 0)) return fail_at(start, "the size does not fit into 64 bits");
  const auto value = static_cast<std::int64_t>(negative ? 0 - size : size);
  negative = false;
  return Dim(value);
}

Expected<Dim> Parser::dim() {
  const std::size_t start = at_;
  Dim sum;
  int factors = 0;
  bool negative = accept("-");
  while (true) {
    Dim product = 1;
    do {
      if (++factors > kMaxFactors) return fail_at(start, "a dimension of more than {} factors", kMaxFactors);
      TAPER_ASSIGN(const Dim next, factor(negative));
      product = product * next;
    } while (accept("*"));
    sum = negative ? sum - product : sum + product;
    const bool plus = accept("+");
    negative = !plus && accept("-");
    if (!plus && !negative) break;
  }
  if (sum.overflowed()) return fail_at(start, "the dimension overflows 64 bits");
  return sum;
}

Expected<Shape> Parser::sizes() {
  Shape shape;
  const auto item = [&]() -> Status {
    TAPER_ASSIGN(Dim size, dim());
    shape.push_back(std::move(size));
    return {};
  };
  TAPER_TRY(list("[", "]", item));
  return shape;
}

std::optional<DType> Parser::accept_dtype() {
  skip_space();
  const std::size_t start = at_;
  const auto found = dtype_from_name(take_while(is_word_char));
  if (!found) at_ = start;
  return found;
}

Expected<Type> Parser::type() {
  const auto dtype = accept_dtype();
  if (!dtype) return unexpected("a type such as f32[2, T]");
  TAPER_ASSIGN(Shape shape, sizes());
  return Type{*dtype, std::move(shape)};
}

// What may follow the type of a value: `as i8 scale [0.5] zero [-3]`, with `axis 0` and `block 32` behind it.
Expected<std::shared_ptr<const Quantization>> Parser::quantization() {
  if (!accept("as")) return nullptr;
  Quantization q{.bits = 0, .scales = {}, .zero_points = {}, .axis = std::nullopt, .block = 0};
  for (const int bits : {4, 8, 16, 32, 64})
    if (accept(fmt::format("i{}", bits))) q.bits = bits;
  if (q.bits == 0) return unexpected("i4, i8, i16, i32 or i64");
  const auto numbers = [this](auto& list_of) {
    return list("[", "]", [&]() -> Status {
      TAPER_ASSIGN(const auto value, (number<typename std::decay_t<decltype(list_of)>::value_type>()));
      list_of.push_back(value);
      return {};
    });
  };
  TAPER_TRY(expect("scale"));
  const std::size_t start = at_;
  TAPER_TRY(numbers(q.scales));
  if (!std::ranges::all_of(q.scales, [](float scale) { return std::isfinite(scale); }))
    return fail_at(start, "a scale that is not finite");
  TAPER_TRY(expect("zero"));
  TAPER_TRY(numbers(q.zero_points));
  if (accept("axis")) {
    TAPER_ASSIGN(q.axis, number<std::int64_t>());
  }
  if (accept("block")) {
    TAPER_ASSIGN(q.block, number<std::int64_t>());
  }
  return std::make_shared<const Quantization>(std::move(q));
}

Expected<Tensor> Parser::tensor_in_blob(Tensor empty, std::size_t start) {
  TAPER_ASSIGN(const auto offset, number<std::uint64_t>());
  TAPER_TRY(expect(","));
  TAPER_ASSIGN(const auto size, number<std::uint64_t>());
  TAPER_TRY(expect(")"));
  const std::uint64_t available = blob_.view.size();
  if (offset > available || size > available - offset)
    return fail_at(start, "{} bytes from {} on of a blob of {} bytes", size, offset, available);
  const auto expected =
      checked_mul<std::uint64_t>(static_cast<std::uint64_t>(empty.element_count()), size_of(empty.dtype));
  if (expected != size) return fail_at(start, "{} bytes for a tensor of {}", size, describe(empty));
  empty.storage = blob_.sub(offset, size);
  return empty;
}

Expected<Tensor> Parser::tensor(DType dtype) {
  const std::size_t start = at_;
  TAPER_ASSIGN(const Shape symbolic, sizes());
  auto shape = constant_sizes(symbolic);
  if (!shape) return fail_at(start, "the shape {} of a tensor is symbolic", shape_text(symbolic));
  const auto count = checked_element_count(*shape);
  if (!count) return fail_at(start, "{}", count.error().message);
  Tensor empty{dtype, *shape, row_major_strides(*shape), {}, false};
  if (accept("...")) return fail_at(start, "the value of the tensor is left out: print with a blob to keep it");
  if (accept("blob(")) return tensor_in_blob(std::move(empty), start);

  std::vector<std::byte> bytes;
  const auto item = [&]() -> Status {
    skip_space();
    const std::size_t element = at_;
    const std::string_view text = take_while([](char c) { return is_value_char(c) || c == '+'; });
    const auto bits = element_from_text(dtype, text);
    if (!bits) return fail_at(element, "'{}' is no element of {}", text, info(dtype).name);
    const Bytes stored = std::as_bytes(std::span(&*bits, 1)).first(size_of(dtype));
    bytes.insert(bytes.end(), stored.begin(), stored.end());
    return {};
  };
  TAPER_TRY(list("{", "}", item));
  if (bytes.size() / size_of(dtype) != static_cast<std::uint64_t>(*count))
    return fail_at(start, "{} elements for a tensor of {}", bytes.size() / size_of(dtype), describe(empty));
  return make_tensor(dtype, std::move(*shape), std::move(bytes));
}

// ------------------------------------------------------------------------------------------------------ attributes

// An integer, or a real number: with a point or an exponent, `inf`, `nan` or the bits in hexadecimal.
Expected<Attr> Parser::number_attr() {
  skip_space();
  const std::size_t start = at_;
  const std::string_view text = take_while([](char c) { return is_value_char(c) || c == '+'; });
  std::int64_t integer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
  if (!text.empty() && end == text.data() + text.size()) {
    if (error != std::errc{}) return fail_at(start, "the integer {} does not fit into 64 bits", text);
    return Attr(integer);
  }
  if (const auto bits = element_from_text(DType::f64, text)) return Attr(std::bit_cast<double>(*bits));
  at_ = start;
  return unexpected("the value of an attribute");
}

Expected<Attr> Parser::attr() {
  if (accept("true")) return Attr(true);
  if (accept("false")) return Attr(false);
  if (peek() == '"') {
    TAPER_ASSIGN(std::string text, quoted());
    return Attr(std::move(text));
  }
  if (peek() == '[') {
    std::vector<std::int64_t> integers;
    const auto item = [&]() -> Status {
      TAPER_ASSIGN(const auto integer, number<std::int64_t>());
      integers.push_back(integer);
      return {};
    };
    TAPER_TRY(list("[", "]", item));
    return Attr(std::move(integers));
  }
  if (accept("shape")) {
    TAPER_ASSIGN(Shape shape, sizes());
    return Attr(std::move(shape));
  }
  if (const auto dtype = accept_dtype()) {
    if (peek() != '[') return Attr(*dtype);
    TAPER_ASSIGN(Tensor value, tensor(*dtype));
    return Attr(std::move(value));
  }
  return number_attr();
}

Expected<Attrs> Parser::attrs() {
  Attrs attrs;
  if (peek() != '{') return attrs;
  const auto item = [&]() -> Status {
    skip_space();
    const std::size_t start = at_;
    TAPER_ASSIGN(std::string key, name(is_word_char));
    if (attrs.find(key) != nullptr) return fail_at(start, "attribute '{}' stands twice", key);
    TAPER_TRY(expect("="));
    TAPER_ASSIGN(Attr value, attr());
    attrs.set(std::move(key), std::move(value));
    return {};
  };
  TAPER_TRY(list("{", "}", item));
  return attrs;
}

// ---------------------------------------------------------------------------------------------------------- graphs

Expected<std::string> Parser::value_name() {
  TAPER_TRY(expect("%"));
  if (at_ < text_.size() && text_[at_] == '"') return quoted();
  if (at_ >= text_.size() || !is_value_char(text_[at_])) return unexpected("the name of a value");
  return std::string(take_while(is_value_char));
}

Expected<Value*> Parser::value(const Scope& scope) {
  skip_space();
  const std::size_t start = at_;
  TAPER_ASSIGN(const std::string name, value_name());
  const auto found = scope.find(name);
  if (found == scope.end() || found->second == nullptr)
    return fail_at(start, "value '{}' is not defined before its use", name);
  return found->second;
}

Status Parser::input(Graph& graph, Scope& scope) {
  skip_space();
  const std::size_t start = at_;
  TAPER_ASSIGN(std::string name, value_name());
  if (scope.contains(name)) return fail_at(start, "value '{}' is defined twice", name);
  TAPER_TRY(expect(":"));
  TAPER_ASSIGN(Type type, this->type());
  scope[name] = graph.add_input(name, std::move(type));
  TAPER_ASSIGN(scope[name]->quantization, quantization());
  return {};
}

// %a, %b = op(%x, none) {key = value} : f32[2], f32[3] @ "scope" { graphs }
Status Parser::node(Graph& graph, Scope& scope, int depth) {
  std::vector<std::string> names;
  while (peek() == '%') {
    const std::size_t start = at_;
    TAPER_ASSIGN(std::string name, value_name());
    // Defined, but of no use before the node is complete.
    if (!scope.try_emplace(name, nullptr).second) return fail_at(start, "value '{}' is defined twice", name);
    names.push_back(std::move(name));
    if (!accept(",")) break;
  }
  TAPER_TRY(expect("="));
  TAPER_ASSIGN(std::string op, name(is_word_char));
  std::vector<Value*> operands;
  const auto item = [&]() -> Status {
    if (accept("none")) {
      operands.push_back(nullptr);
      return {};
    }
    TAPER_ASSIGN(Value* const operand, value(scope));
    operands.push_back(operand);
    return {};
  };
  TAPER_TRY(list("(", ")", item));
  TAPER_ASSIGN(Attrs attrs, this->attrs());
  TAPER_TRY(expect(":"));
  std::vector<Type> types;
  std::vector<std::shared_ptr<const Quantization>> grids;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) TAPER_TRY(expect(","));
    TAPER_ASSIGN(Type type, this->type());
    types.push_back(std::move(type));
    TAPER_ASSIGN(grids.emplace_back(), quantization());
  }
  std::string place;
  if (accept("@")) {
    if (peek() != '"') return unexpected("a quoted scope");
    TAPER_ASSIGN(place, quoted());
  }
  std::vector<std::unique_ptr<Graph>> regions;
  if (accept("{"))
    while (!accept("}")) {
      TAPER_ASSIGN(Graph region, this->graph(depth + 1));
      regions.push_back(std::make_unique<Graph>(std::move(region)));
    }
  Node* node = graph.add_named_node(std::move(op), std::move(operands), std::move(attrs), std::move(types), names,
                                    std::move(regions));
  node->scope = std::move(place);
  for (std::size_t i = 0; i < grids.size(); ++i) node->results[i]->quantization = std::move(grids[i]);
  for (Value* result : node->results) scope[result->name] = result;
  return {};
}

Status Parser::outputs(Graph& graph, const Scope& scope) {
  if (peek() == '}') return {};
  do {
    TAPER_ASSIGN(std::string output, name(is_word_char));
    TAPER_TRY(expect("="));
    TAPER_ASSIGN(Value* const result, value(scope));
    graph.add_output(std::move(output), result);
  } while (accept(","));
  return {};
}

Expected<Graph> Parser::graph(int depth) {
  if (depth > kMaxDepth) return fail_at(at_, "graphs are nested deeper than {}", kMaxDepth);
  TAPER_TRY(expect("graph"));
  Graph graph;
  TAPER_ASSIGN(graph.name, name(is_word_char));
  Scope scope;
  TAPER_TRY(list("(", ")", [&] { return input(graph, scope); }));
  TAPER_TRY(expect("{"));
  while (!accept("return")) {
    if (peek() != '%' && peek() != '=') return unexpected("a node or 'return'");
    TAPER_TRY(node(graph, scope, depth));
  }
  TAPER_TRY(outputs(graph, scope));
  TAPER_TRY(expect("}"));
  return graph;
}

}  // namespace

Expected<Graph> parse(std::string_view text, const SharedBytes& blob) {
  return Parser(text, blob).whole();
}

}  // namespace taper
