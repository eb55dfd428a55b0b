// The source in TorchScript archives: the subset of Python that PyTorch's printer writes (torch/csrc/jit/serialization,
// python_print.cpp), as a syntax tree. Nothing is looked up or run.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace taper::torchscript {

enum class ExprKind : std::uint8_t {
  none,
  boolean,
  integer,
  real,
  imaginary,  // real: the number before the j
  text,
  name,
  attribute,  // items: the object; text: the attribute
  subscript,  // items: the object, the index
  slice,      // items: the object, begin and end (or none)
  call,       // items: the function, the arguments; the last of them have `keywords`
  list,
  tuple,
  dict,         // items: keys and values in turn
  conditional,  // items: the condition, the value if it holds, the other
  negate,
  invert,  // `not x`
  binary,  // text: the operator ("+", "==", "and", "is not", ...)
};

// Texts view the source, or the SourceFile that owns the expression.
struct Expr {
  ExprKind kind = ExprKind::none;
  bool boolean = false;
  std::uint32_t line = 0;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;
  std::vector<const Expr*> items;
  std::vector<std::string_view> keywords;
};

enum class StatementKind : std::uint8_t {
  assign,
  expression,
  conditional,
  while_loop,
  for_loop,
  give_back,
  pass,
  with,
  closure,  // `def target():` within a function, which sees its variables
};

struct Statement {
  StatementKind kind = StatementKind::pass;
  std::uint32_t line = 0;
  const Expr* target = nullptr;      // of assignments and `for`, a tuple for several; the name of a closure
  const Expr* value = nullptr;       // what is assigned, evaluated, returned (or null), iterated; the condition
  const Expr* annotation = nullptr;  // of `x : T = value`
  std::vector<Statement> body;
  std::vector<Statement> otherwise;  // of `else`
};

struct Parameter {
  std::string_view name;
  const Expr* type = nullptr;      // null for `self` without an annotation
  const Expr* fallback = nullptr;  // the default value, or null
};

struct Function {
  std::string_view name;
  std::uint32_t line = 0;
  std::vector<Parameter> parameters;
  const Expr* result = nullptr;  // its type, or null
  std::vector<Statement> body;
};

struct Field {
  std::string_view name;
  const Expr* type = nullptr;
  const Expr* value = nullptr;  // of constants (`padding : Final[int] = 1`), or null
};

struct Class {
  std::string_view name;
  std::string_view base;  // "Module", "NamedTuple", "Enum", "Interface", or empty
  std::vector<Field> fields;
  std::vector<Function> methods;

  const Function* method(std::string_view method_name) const;
};

// One entry code/**.py. Not copied: everything points into it.
struct SourceFile {
  SourceFile() = default;
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;
  SourceFile(SourceFile&&) = default;             // NOLINT(performance-noexcept-move-constructor): a deque allocates
  SourceFile& operator=(SourceFile&&) = default;  // NOLINT(performance-noexcept-move-constructor)

  std::string path;  // "code/__torch__/torch/nn/functional.py"
  std::deque<Class> classes;
  std::deque<Function> functions;

  std::deque<Expr> exprs;
  std::deque<std::string> texts;  // of literals, decoded
};

// Expressions and statements nest at most this deep.
constexpr int kMostNesting = 400;

// Reads one source file. `text` must outlive the result. Errors, with the line: anything that is not the subset, deeper
// nesting than kMostNesting, integers outside of 64 bits. Time and memory are linear in the text.
Expected<SourceFile> parse_source(std::string_view text, std::string path);

}  // namespace taper::torchscript
