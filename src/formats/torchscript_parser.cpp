#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "formats/text.h"
#include "formats/torchscript_lexer.h"
#include "formats/torchscript_source.h"

namespace taper::torchscript {
namespace {

using Block = std::vector<Statement>;
using ExprPtr = const Expr*;

// Operators from the loosest to the tightest.
struct Level {
  std::array<std::string_view, 10> operators;
};
constexpr Level kLevels[] = {
    {{"or"}},       {{"and"}},    {{"==", "!=", "<", "<=", ">", ">=", "is", "in"}},
    {{"|"}},        {{"^"}},      {{"&"}},
    {{"<<", ">>"}}, {{"+", "-"}}, {{"*", "/", "//", "%", "@"}},
    {{"**"}},
};

class Parser {
 public:
  Parser(std::vector<Token> tokens, SourceFile& file) : tokens_(std::move(tokens)), file_(file) {}

  Status run() {
    while (!at(TokenKind::end)) {
      if (at(TokenKind::line_end)) {
        ++at_;
      } else if (is_name("class")) {
        TAPER_TRY(parse_class());
      } else if (is_name("def")) {
        TAPER_ASSIGN(Function function, parse_function());
        file_.functions.push_back(std::move(function));
      } else {
        TAPER_TRY(skip_declaration());
      }
    }
    return {};
  }

 private:
  // ---- tokens

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool at(TokenKind kind) const { return now().kind == kind; }
  bool is_name(std::string_view text) const { return at(TokenKind::name) && now().text == text; }
  bool is_symbol(std::string_view text) const { return at(TokenKind::symbol) && now().text == text; }
  bool accept(std::string_view symbol) {
    if (!is_symbol(symbol)) return false;
    ++at_;
    return true;
  }
  std::unexpected<Error> expected(std::string_view what) const {
    return fail("line {}: expected {}, found {}", now().line, what, describe(now()));
  }
  Status expect(std::string_view symbol) {
    if (!accept(symbol)) return expected(fmt::format("'{}'", symbol));
    return {};
  }
  Expected<std::string_view> expect_name() {
    if (!at(TokenKind::name)) return expected("a name");
    return tokens_[at_++].text;
  }
  Status expect_line_end() {
    if (!at(TokenKind::line_end)) return expected("the end of the line");
    ++at_;
    return {};
  }

  // Keeps the depth of recursion while it lives.
  struct Deeper {
    explicit Deeper(int& counter) : depth(counter) { ++depth; }
    ~Deeper() { --depth; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    int& depth;
  };
  Status check_depth() const {
    if (depth_ > kMostNesting) return fail("line {}: nested deeper than {}", now().line, kMostNesting);
    return {};
  }

  Expr* make(ExprKind kind, std::uint32_t line) {
    Expr& expr = file_.exprs.emplace_back();
    expr.kind = kind;
    expr.line = line;
    return &expr;
  }

  // ---- expressions

  Expected<ExprPtr> parse_expression() {
    const Deeper deeper(depth_);
    TAPER_TRY(check_depth());
    TAPER_ASSIGN(ExprPtr value, parse_binary(0));
    if (!is_name("if")) return value;
    Expr* chosen = make(ExprKind::conditional, now().line);
    ++at_;
    TAPER_ASSIGN(ExprPtr condition, parse_binary(0));
    if (!is_name("else")) return expected("'else'");
    ++at_;
    TAPER_ASSIGN(ExprPtr other, parse_expression());
    chosen->items = {condition, value, other};
    return chosen;
  }

  // The operator of this level that comes now, and the tokens it takes.
  std::optional<std::pair<std::string_view, std::size_t>> operator_of(std::size_t level) const {
    if (!at(TokenKind::name) && !at(TokenKind::symbol)) return std::nullopt;
    if (level == 2 && is_name("not") && next().text == "in")
      return std::pair{std::string_view("not in"), std::size_t{2}};
    const auto& operators = kLevels[level].operators;
    const auto found = std::ranges::find(operators, now().text);
    if (found == operators.end() || now().text.empty()) return std::nullopt;
    if (*found == "is" && next().kind == TokenKind::name && next().text == "not")
      return std::pair{std::string_view("is not"), std::size_t{2}};
    return std::pair{*found, std::size_t{1}};
  }

  Expected<ExprPtr> parse_binary(std::size_t level) {
    if (level == std::size(kLevels)) return parse_unary();
    TAPER_ASSIGN(ExprPtr left, parse_binary(level + 1));
    int joined = 0;
    while (const auto found = operator_of(level)) {
      // Each operator of a chain is one level of the tree.
      if (depth_ + ++joined > kMostNesting) return fail("line {}: nested deeper than {}", now().line, kMostNesting);
      Expr* both = make(ExprKind::binary, now().line);
      both->text = found->first;
      at_ += found->second;
      TAPER_ASSIGN(ExprPtr right, parse_binary(level + 1));
      both->items = {left, right};
      left = both;
    }
    return left;
  }

  Expected<ExprPtr> parse_unary() {
    const Deeper deeper(depth_);
    TAPER_TRY(check_depth());
    const std::uint32_t line = now().line;
    if (is_name("not") || is_symbol("-")) {
      Expr* unary = make(is_symbol("-") ? ExprKind::negate : ExprKind::invert, line);
      ++at_;
      if (unary->kind == ExprKind::negate && at(TokenKind::integer)) return parse_integer(true);
      TAPER_ASSIGN(ExprPtr operand, parse_unary());
      unary->items = {operand};
      return unary;
    }
    return parse_postfix();
  }

  Expected<ExprPtr> parse_postfix() {
    TAPER_ASSIGN(ExprPtr value, parse_primary());
    int chained = 0;
    while (true) {
      if (depth_ + chained++ > kMostNesting) return fail("line {}: nested deeper than {}", now().line, kMostNesting);
      const std::uint32_t line = now().line;
      if (accept(".")) {
        TAPER_ASSIGN(const std::string_view name, expect_name());
        Expr* attribute = make(ExprKind::attribute, line);
        attribute->text = name;
        attribute->items = {value};
        value = attribute;
      } else if (accept("(")) {
        TAPER_ASSIGN(value, parse_call(value, line));
      } else if (accept("[")) {
        TAPER_ASSIGN(value, parse_subscript(value, line));
      } else {
        return value;
      }
    }
  }

  Expected<ExprPtr> parse_call(ExprPtr function, std::uint32_t line) {
    Expr* call = make(ExprKind::call, line);
    call->items = {function};
    while (!accept(")")) {
      if (at(TokenKind::name) && next().kind == TokenKind::symbol && next().text == "=") {
        call->keywords.push_back(now().text);
        at_ += 2;
      } else if (!call->keywords.empty()) {
        return expected("a keyword argument");
      }
      TAPER_ASSIGN(ExprPtr argument, parse_expression());
      call->items.push_back(argument);
      if (!is_symbol(")")) TAPER_TRY(expect(","));
    }
    return call;
  }

  Expected<ExprPtr> parse_subscript(ExprPtr object, std::uint32_t line) {
    const auto bound = [&]() -> Expected<ExprPtr> {
      if (is_symbol(":") || is_symbol("]")) return make(ExprKind::none, line);
      return parse_expression();
    };
    if (!is_symbol(":")) {
      TAPER_ASSIGN(ExprPtr index, parse_tuple("]"));
      if (!is_symbol(":")) {
        TAPER_TRY(expect("]"));
        Expr* subscript = make(ExprKind::subscript, line);
        subscript->items = {object, index};
        return subscript;
      }
      return parse_slice(object, index, line, bound);
    }
    return parse_slice(object, make(ExprKind::none, line), line, bound);
  }

  Expected<ExprPtr> parse_slice(ExprPtr object, ExprPtr begin, std::uint32_t line, const auto& bound) {
    TAPER_TRY(expect(":"));
    TAPER_ASSIGN(ExprPtr end, bound());
    TAPER_TRY(expect("]"));
    Expr* slice = make(ExprKind::slice, line);
    slice->items = {object, begin, end};
    return slice;
  }

  // One expression, or several with commas between them, up to a token that can't start one.
  Expected<ExprPtr> parse_tuple(std::string_view closing) {
    TAPER_ASSIGN(ExprPtr first, parse_expression());
    if (!is_symbol(",")) return first;
    Expr* tuple = make(ExprKind::tuple, first->line);
    tuple->items = {first};
    while (accept(",")) {
      if (is_symbol(closing) || at(TokenKind::line_end) || is_symbol("=")) break;
      TAPER_ASSIGN(ExprPtr item, parse_expression());
      tuple->items.push_back(item);
    }
    return tuple;
  }

  Expected<ExprPtr> parse_integer(bool negative) {
    std::string digits = (negative ? "-" : "") + std::string(now().text);
    Expr* number = make(ExprKind::integer, now().line);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number->integer);
    if (error != std::errc{} || end != digits.data() + digits.size())
      return fail("line {}: the integer {} is outside of 64 bits", now().line, excerpt(digits));
    ++at_;
    return number;
  }

  Expected<ExprPtr> parse_primary() {
    const Token& token = now();
    switch (token.kind) {
      case TokenKind::integer:
        return parse_integer(false);
      case TokenKind::real:
      case TokenKind::imaginary: {
        Expr* number = make(token.kind == TokenKind::real ? ExprKind::real : ExprKind::imaginary, token.line);
        // Out of range is infinite or zero, as in Python.
        number->real = std::strtod(std::string(token.text).c_str(), nullptr);
        ++at_;
        return number;
      }
      case TokenKind::text: {
        Expr* text = make(ExprKind::text, token.line);
        text->text = token.text;
        ++at_;
        return text;
      }
      case TokenKind::name:
        return parse_name();
      case TokenKind::symbol:
        return parse_bracket();
      default:
        return expected("an expression");
    }
  }

  Expected<ExprPtr> parse_name() {
    const Token& token = now();
    ++at_;
    if (token.text == "None") return make(ExprKind::none, token.line);
    if (token.text == "True" || token.text == "False") {
      Expr* flag = make(ExprKind::boolean, token.line);
      flag->boolean = token.text == "True";
      return flag;
    }
    Expr* name = make(ExprKind::name, token.line);
    name->text = token.text;
    return name;
  }

  Expected<ExprPtr> parse_bracket() {
    const std::uint32_t line = now().line;
    if (accept("(")) {
      if (accept(")")) return make(ExprKind::tuple, line);
      TAPER_ASSIGN(ExprPtr inner, parse_tuple(")"));
      TAPER_TRY(expect(")"));
      return inner;
    }
    if (accept("[")) {
      Expr* list = make(ExprKind::list, line);
      while (!accept("]")) {
        TAPER_ASSIGN(ExprPtr item, parse_expression());
        list->items.push_back(item);
        if (!is_symbol("]")) TAPER_TRY(expect(","));
      }
      return list;
    }
    if (accept("{")) {
      Expr* dict = make(ExprKind::dict, line);
      while (!accept("}")) {
        TAPER_ASSIGN(ExprPtr key, parse_expression());
        TAPER_TRY(expect(":"));
        TAPER_ASSIGN(ExprPtr value, parse_expression());
        dict->items.push_back(key);
        dict->items.push_back(value);
        if (!is_symbol("}")) TAPER_TRY(expect(","));
      }
      return dict;
    }
    return expected("an expression");
  }

  // ---- statements

  Expected<Block> parse_block() {
    const Deeper deeper(depth_);
    TAPER_TRY(check_depth());
    TAPER_TRY(expect(":"));
    TAPER_TRY(expect_line_end());
    if (!at(TokenKind::indent)) return expected("an indented block");
    ++at_;
    Block block;
    while (!at(TokenKind::dedent) && !at(TokenKind::end)) {
      TAPER_ASSIGN(Statement statement, parse_statement());
      block.push_back(std::move(statement));
    }
    if (at(TokenKind::dedent)) ++at_;
    return block;
  }

  Expected<Statement> parse_statement() {
    Statement statement;
    statement.line = now().line;
    if (is_name("if") || is_name("while")) {
      statement.kind = is_name("if") ? StatementKind::conditional : StatementKind::while_loop;
      ++at_;
      TAPER_ASSIGN(statement.value, parse_expression());
      TAPER_ASSIGN(statement.body, parse_block());
      if (statement.kind == StatementKind::conditional && is_name("else")) {
        ++at_;
        TAPER_ASSIGN(statement.otherwise, parse_block());
      }
      return statement;
    }
    if (is_name("for")) {
      statement.kind = StatementKind::for_loop;
      ++at_;
      TAPER_ASSIGN(statement.target, parse_postfix());
      if (!is_name("in")) return expected("'in'");
      ++at_;
      TAPER_ASSIGN(statement.value, parse_expression());
      TAPER_ASSIGN(statement.body, parse_block());
      return statement;
    }
    if (is_name("with")) {
      statement.kind = StatementKind::with;
      ++at_;
      TAPER_ASSIGN(statement.value, parse_expression());
      if (is_name("as")) {
        ++at_;
        TAPER_ASSIGN(statement.target, parse_postfix());
      }
      TAPER_ASSIGN(statement.body, parse_block());
      return statement;
    }
    if (is_name("def")) {  // of torch.jit.fork
      statement.kind = StatementKind::closure;
      ++at_;
      TAPER_ASSIGN(statement.target, parse_primary());
      if (statement.target->kind != ExprKind::name) return expected("a name");
      TAPER_TRY(expect("("));
      TAPER_TRY(expect(")"));
      TAPER_ASSIGN(statement.body, parse_block());
      return statement;
    }
    TAPER_TRY(parse_simple(statement));
    TAPER_TRY(expect_line_end());
    return statement;
  }

  Status parse_simple(Statement& statement) {
    if (is_name("pass")) {
      ++at_;
      return {};
    }
    if (is_name("return")) {
      ++at_;
      statement.kind = StatementKind::give_back;
      if (!at(TokenKind::line_end)) {
        TAPER_ASSIGN(statement.value, parse_tuple(")"));
      }
      return {};
    }
    for (const std::string_view other : {"class", "import", "from", "raise", "del", "break", "continue"})
      if (is_name(other)) return expected("a statement of TorchScript");
    TAPER_ASSIGN(statement.value, parse_tuple("="));
    statement.kind = StatementKind::expression;
    if (accept(":")) {
      TAPER_ASSIGN(statement.annotation, parse_expression());
      if (!is_symbol("=")) return expected("'='");
    }
    if (accept("=")) {
      statement.kind = StatementKind::assign;
      statement.target = statement.value;
      TAPER_ASSIGN(statement.value, parse_tuple(")"));
    }
    return {};
  }

  // ---- declarations

  // `import ...`, `op_version_set = 1`: what old archives start with.
  Status skip_declaration() {
    if (!is_name("import") && !is_name("from") && !(at(TokenKind::name) && next().text == "="))
      return expected("a class or function");
    while (!at(TokenKind::line_end)) {
      if (at(TokenKind::end)) return {};
      ++at_;
    }
    return {};
  }

  Expected<Function> parse_function() {
    ++at_;
    Function function;
    function.line = now().line;
    TAPER_ASSIGN(function.name, expect_name());
    TAPER_TRY(expect("("));
    while (!accept(")")) {
      Parameter parameter;
      TAPER_ASSIGN(parameter.name, expect_name());
      if (accept(":")) {
        TAPER_ASSIGN(parameter.type, parse_expression());
      }
      if (accept("=")) {
        TAPER_ASSIGN(parameter.fallback, parse_expression());
      }
      function.parameters.push_back(parameter);
      if (!is_symbol(")")) TAPER_TRY(expect(","));
    }
    if (accept("->")) {
      TAPER_ASSIGN(function.result, parse_expression());
    }
    TAPER_ASSIGN(function.body, parse_block());
    return function;
  }

  Status parse_class() {
    ++at_;
    Class declared;
    TAPER_ASSIGN(declared.name, expect_name());
    if (accept("(")) {
      TAPER_ASSIGN(declared.base, expect_name());
      TAPER_TRY(expect(")"));
    }
    TAPER_TRY(expect(":"));
    TAPER_TRY(expect_line_end());
    if (!at(TokenKind::indent)) return expected("an indented block");
    ++at_;
    while (!at(TokenKind::dedent) && !at(TokenKind::end)) {
      if (is_name("def")) {
        TAPER_ASSIGN(Function method, parse_function());
        declared.methods.push_back(std::move(method));
      } else {
        TAPER_TRY(parse_field(declared));
      }
    }
    if (at(TokenKind::dedent)) ++at_;
    file_.classes.push_back(std::move(declared));
    return {};
  }

  // `name : T`, `name : Final[T] = value`, `__parameters__ = [...]`, `__annotations__["0"] = T`
  Status parse_field(Class& declared) {
    if (is_name("pass")) {
      ++at_;
      return expect_line_end();
    }
    Field field;
    TAPER_ASSIGN(const ExprPtr name, parse_postfix());
    const bool annotated = name->kind == ExprKind::subscript && name->items[1]->kind == ExprKind::text;
    if (name->kind != ExprKind::name && !annotated) return fail("line {}: expected an attribute's name", name->line);
    field.name = annotated ? name->items[1]->text : name->text;
    if (accept(":")) {
      TAPER_ASSIGN(field.type, parse_expression());
    }
    if (accept("=")) {
      TAPER_ASSIGN(field.value, parse_tuple(")"));
    }
    if (annotated) std::swap(field.type, field.value);
    declared.fields.push_back(field);
    return expect_line_end();
  }

  std::vector<Token> tokens_;
  SourceFile& file_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

const Function* Class::method(std::string_view method_name) const {
  const auto found = std::ranges::find(methods, method_name, &Function::name);
  return found != methods.end() ? &*found : nullptr;
}

Expected<SourceFile> parse_source(std::string_view text, std::string path) {
  SourceFile file;
  file.path = std::move(path);
  auto tokens = tokenize(text, file.texts);
  if (!tokens) return std::unexpected(within(std::move(tokens).error(), fmt::format("in {}", excerpt(file.path))));
  if (auto status = Parser(std::move(*tokens), file).run(); !status)
    return std::unexpected(within(std::move(status).error(), fmt::format("in {}", excerpt(file.path))));
  return file;
}

}  // namespace taper::torchscript
