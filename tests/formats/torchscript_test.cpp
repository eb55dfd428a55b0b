// TorchScript's source and archives: what PyTorch's printer writes is read, anything else is refused by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builders.h"
#include "formats/torchscript_archive.h"
#include "formats/torchscript_source.h"

namespace taper::torchscript {
namespace {

using testing::HasSubstr;

// The expression of `return ...` in a function.
struct Parsed {
  std::string text;
  Expected<SourceFile> file;
  const Expr& expr() const { return *file->functions.at(0).body.at(0).value; }
};
Parsed parsed(const std::string& expression) {
  Parsed result{"def f(x: Tensor) -> Tensor:\n  return " + expression + "\n", fail("not read")};
  result.file = parse_source(result.text, "code/__torch__.py");
  EXPECT_TRUE(result.file) << result.file.error().text();
  return result;
}

std::string error_of(const std::string& source) {
  const auto file = parse_source(source, "code/__torch__.py");
  return file ? "" : file.error().text();
}

TEST(TorchScriptSource, reads_classes_functions_and_their_lines) {
  const std::string source =
      "op_version_set = 1\n"
      "import __torch__.torch\n"
      "class Net(Module):\n"
      "  __parameters__ = [\"w\", ]\n"
      "  w : Tensor\n"
      "  __annotations__[\"0\"] = __torch__.Foo\n"
      "  n : Final[int] = 4\n"
      "  def forward(self: __torch__.Net,\n"
      "    x: Tensor,\n"
      "    k: int=3) -> Tensor:\n"
      "    # File \"net.py\", line 3\n"
      "    a, b, = (self).helper(x, k)\n"
      "    if torch.gt(k, 2):\n"
      "      y : Optional[int] = 3\n"
      "    else:\n"
      "      pass\n"
      "    return a\n"
      "def free() -> bool:\n"
      "  return True\n";
  const auto file = parse_source(source, "code/__torch__.py");
  ASSERT_TRUE(file) << file.error().text();
  ASSERT_EQ(file->classes.size(), 1u);
  const Class& net = file->classes[0];
  EXPECT_EQ(net.base, "Module");
  ASSERT_EQ(net.fields.size(), 4u);
  EXPECT_EQ(net.fields[2].name, "0");
  EXPECT_EQ(net.fields[2].type->text, "Foo");
  EXPECT_EQ(net.fields[3].value->integer, 4);
  const Function* forward = net.method("forward");
  ASSERT_NE(forward, nullptr);
  EXPECT_EQ(forward->line, 8u);
  ASSERT_EQ(forward->parameters.size(), 3u);
  EXPECT_EQ(forward->parameters[2].fallback->integer, 3);
  ASSERT_EQ(forward->body.size(), 3u);
  EXPECT_EQ(forward->body[0].target->items.size(), 2u);
  EXPECT_EQ(forward->body[0].line, 12u);
  EXPECT_EQ(forward->body[1].otherwise.size(), 1u);
  EXPECT_EQ(file->functions.at(0).name, "free");
}

TEST(TorchScriptSource, reads_numbers_as_the_printer_writes_them) {
  EXPECT_EQ(parsed("9223372036854775807").expr().integer, INT64_MAX);
  EXPECT_EQ(parsed("-9223372036854775808").expr().integer, INT64_MIN);
  EXPECT_EQ(parsed("1.0000000000000001e-05").expr().real, 1e-5);
  EXPECT_EQ(parsed("2.").expr().real, 2);
  EXPECT_EQ(parsed("1.e-5").expr().real, 1e-5);
}

TEST(TorchScriptSource, decodes_escapes_of_texts) {
  EXPECT_EQ(parsed(R"("a\n\"q\" \'s\' \\ \303\251 \x41")").expr().text, "a\n\"q\" 's' \\ \303\251 A");
}

TEST(TorchScriptSource, reads_nested_calls_lists_and_types) {
  const Parsed call = parsed("torch.conv2d(x, (self).weight, None, [1, 1], annotate(List[int], []), dtype=6)");
  EXPECT_EQ(call.expr().kind, ExprKind::call);
  EXPECT_EQ(call.expr().items.size(), 7u);
  EXPECT_EQ(call.expr().keywords, std::vector<std::string_view>{"dtype"});
  EXPECT_EQ(parsed("(x)[0]").expr().kind, ExprKind::subscript);
  EXPECT_EQ(parsed("(x)[0:2]").expr().kind, ExprKind::slice);
  EXPECT_EQ(parsed("{\"a\": 1, \"b\": (1,)}").expr().items.size(), 4u);
  EXPECT_EQ(parsed("a if b else c").expr().kind, ExprKind::conditional);
  EXPECT_EQ(parsed("2.5j").expr().kind, ExprKind::imaginary);
  EXPECT_EQ(parsed("2.5j").expr().real, 2.5);
}

TEST(TorchScriptSource, reads_functions_within_functions) {
  const auto file = parse_source("def f(x):\n  def g():\n    return x\n  return fork(g)\n", "code/__torch__.py");
  ASSERT_TRUE(file) << file.error().text();
  const std::vector<Statement>& body = file->functions[0].body;
  ASSERT_EQ(body.size(), 2u);
  EXPECT_EQ(body[0].kind, StatementKind::closure);
  EXPECT_EQ(body[0].target->text, "g");
  ASSERT_EQ(body[0].body.size(), 1u);
  EXPECT_EQ(body[0].body[0].kind, StatementKind::give_back);
  EXPECT_THAT(error_of("def f():\n  def g(x):\n    return x\n"), HasSubstr("line 2: expected ')'"));
}

TEST(TorchScriptSource, says_what_it_expected_and_in_which_line) {
  EXPECT_THAT(error_of("def f():\n  return (1\n"), HasSubstr("line 3: expected ')', found the end of the"));
  EXPECT_THAT(error_of("def f():\n  raise x\n"), HasSubstr("line 2: expected a statement of TorchScript"));
  EXPECT_THAT(error_of("x = \"abc\n"), HasSubstr("line 1: a text does not end"));
  EXPECT_THAT(error_of("def f():\n  return 1.jk\n"), HasSubstr("is followed by 'k'"));
  EXPECT_THAT(error_of("def f():\n  return 99999999999999999999\n"), HasSubstr("outside of 64 bits"));
  EXPECT_THAT(error_of("def f():\n    pass\n  pass\n"), HasSubstr("indentation"));
  EXPECT_THAT(error_of("class A(Module):\n"), HasSubstr("expected an indented block"));
  EXPECT_THAT(error_of("def f():\n  x = $\n"), HasSubstr("line 2: unexpected character '$'"));
}

TEST(TorchScriptSource, refuses_deep_nesting) {
  for (const char* open : {"(", "[", "-", "not ", "f(", "{1:", "x["}) {
    std::string source = "def f():\n  return ";
    for (int i = 0; i < 100000; ++i) source += open;
    EXPECT_NE(error_of(source + "1\n"), "") << open;
  }
  std::string chain = "def f():\n  return x", sums = chain;
  for (int i = 0; i < 100000; ++i) {
    chain += ".y";
    sums += " + 1";
  }
  EXPECT_THAT(error_of(chain + "\n"), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of(sums + "\n"), HasSubstr("nested deeper"));
  std::string blocks = "def f():\n";
  for (int i = 1; i < 1000; ++i) blocks += std::string(static_cast<std::size_t>(i), ' ') + "if x:\n";
  EXPECT_THAT(error_of(blocks), HasSubstr("nested"));
}

TEST(TorchScriptSource, survives_being_cut_off_anywhere) {
  const std::string source =
      "class A(Module):\n  w : Tensor\n  def forward(self: __torch__.A,\n    x: Tensor) -> Tensor:\n"
      "    for i in range(3):\n      x = torch.add(x, \"\\303\", alpha=1)\n    while True:\n      pass\n    return (x, "
      ")\n";
  for (std::size_t size = 0; size < source.size(); ++size)
    static_cast<void>(parse_source(std::string_view(source).substr(0, size), "code/__torch__.py"));
}

std::string archive(const std::string& source, const std::string& data) {
  return torch_zip(data,
                   {stored("archive/constants.pkl", protocol2(")")), stored("archive/code/__torch__.py", source)});
}

TEST(TorchScriptArchive, finds_what_names_stand_for) {
  const std::string module =
      protocol2(pickled_global("__torch__", "A") + ")\x81}" + pickled_text("n") + pickled_int(3) + "sb");
  const auto read =
      read_archive(shared(archive("class A(Module):\n  n : int\n  def forward(self) -> int:\n    return 1\n", module)));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(pickle::class_path(*read->root), "__torch__.A");
  ASSERT_NE(read->find("__torch__.A"), nullptr);
  EXPECT_NE(read->find("__torch__.A")->type->method("forward"), nullptr);
  EXPECT_EQ(read->find("__torch__.B"), nullptr);
}

TEST(TorchScriptArchive, names_the_file_of_source_that_is_wrong) {
  const auto read = read_archive(shared(archive("class\n", protocol2("N"))));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().text(), HasSubstr("code/__torch__.py"));
}

TEST(TorchScriptArchive, is_told_from_checkpoints) {
  EXPECT_TRUE(is_torchscript(shared(archive("", protocol2("N")))));
  EXPECT_FALSE(is_torchscript(shared(torch_zip(protocol2("N")))));
  EXPECT_FALSE(is_torchscript(shared("PK")));
}

}  // namespace
}  // namespace taper::torchscript
