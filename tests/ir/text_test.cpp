#include "ir/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>

#include "ir/text_elements.h"

namespace taper {
namespace {

using ::testing::HasSubstr;

const Dim kBatch = Dim::symbol("B");
const Dim kTime = Dim::symbol("T");

Graph parsed(std::string_view text, const SharedBytes& blob = {}) {
  auto graph = parse(text, blob);
  EXPECT_TRUE(graph) << graph.error().text() << "\n" << text;
  return graph ? std::move(*graph) : Graph();
}

std::string error_of(std::string_view text, const SharedBytes& blob = {}) {
  const auto graph = parse(text, blob);
  return graph ? "no error" : graph.error().text();
}

void expect_round_trip(const Graph& graph) {
  std::vector<std::byte> blob;
  const std::string text = print(graph, &blob);
  const SharedBytes shared = share(std::move(blob));
  const Graph again = parsed(text, shared);
  EXPECT_TRUE(same_graph(graph, again)) << text << "\nbecame\n" << print(again);
  const Status status = check_structure(again);
  EXPECT_TRUE(status) << status.error().text() << "\n" << text;
}

// A graph of one node with the attribute `a`.
Graph with_attr(Attr attr) {
  Graph graph;
  graph.add_output("y", graph.add_node("op", {}, {{"a", std::move(attr)}}, {{DType::f32, {}}})->result());
  return graph;
}

std::string attr_text(Attr attr, std::vector<std::byte>* blob = nullptr) {
  const std::string text = print(with_attr(std::move(attr)), blob);
  const std::size_t start = text.find("a = ") + 4;
  return text.substr(start, text.find("} :") - start);
}

std::string error_of_attr(std::string_view attr, const SharedBytes& blob = {}) {
  return error_of(fmt::format("graph g () {{\n%y = op() {{a = {}}} : f32[]\nreturn y = %y\n}}", attr), blob);
}

// ---------------------------------------------------------------------------------------------------- quantisation

TEST(TextOfQuantised, reads_back_grids_of_tensors_channels_and_blocks) {
  const Graph graph = parsed(R"(graph g (%x: f32[2, B] as i8 scale [0.5] zero [-3]) {
  %w = op() : f32[2, 64] as i4 scale [0.5, 0.25, 1, 2] zero [0, 0, 0, 0] axis 0 block 32 @ "layer"
  %a, %b = op(%x, %w) : f32[2] as i16 scale [1e-05, 0.1] zero [0, 0] axis 0, f32[2]
  return y = %a
})");
  expect_round_trip(graph);
  const Quantization& x = *graph.inputs()[0]->quantization;
  EXPECT_EQ(x, per_tensor_grid(8, 0.5F, -3));
  const Quantization& w = *graph.nodes()[0].results[0]->quantization;
  EXPECT_EQ(w.bits, 4);
  EXPECT_EQ(w.axis, 0);
  EXPECT_EQ(w.block, 32);
  EXPECT_EQ(graph.nodes()[0].scope, "layer");
  EXPECT_EQ(graph.nodes()[1].results[1]->quantization, nullptr);
}

TEST(TextOfQuantised, refuses_grids_that_are_none) {
  const auto check_of = [](std::string_view type) {
    const Graph graph = parsed(fmt::format("graph g (%x: {}) {{\n%y = op(%x) : f32[]\nreturn y = %y\n}}", type));
    const Status status = check_structure(graph);
    return status ? std::string("no error") : status.error().text();
  };
  EXPECT_EQ(check_of("f32[2, 3] as i8 scale [0.5, 1] zero [0, 0] axis 0"), "no error");
  EXPECT_THAT(check_of("i32[2] as i8 scale [0.5] zero [0]"), HasSubstr("no float32"));
  EXPECT_THAT(check_of("f32[2] as i8 scale [0] zero [0]"), HasSubstr("the scale 0"));
  EXPECT_THAT(check_of("f32[2] as i8 scale [1] zero [128]"), HasSubstr("zero point 128"));
  EXPECT_THAT(check_of("f32[2] as i8 scale [1] zero []"), HasSubstr("0 zero points"));
  EXPECT_THAT(check_of("f32[2, 3] as i8 scale [1, 1] zero [0, 0] axis 1"), HasSubstr("expected 3"));
  EXPECT_THAT(check_of("f32[2, 3] as i8 scale [1, 1] zero [0, 0] axis 2"), HasSubstr("axis 2"));
  EXPECT_THAT(check_of("f32[B, 3] as i8 scale [1, 1] zero [0, 0] axis 0"), HasSubstr("size B"));
  EXPECT_THAT(check_of("f32[2, 3] as i4 scale [1, 1] zero [0, 0] axis 0 block 2"), HasSubstr("blocks of 2"));
  EXPECT_THAT(error_of("graph g (%x: f32[2] as i7 scale [1] zero [0]) {\nreturn y = %x\n}"), HasSubstr("i4, i8"));
  EXPECT_THAT(error_of("graph g (%x: f32[2] as i8 scale [inf] zero [0]) {\nreturn y = %x\n}"), HasSubstr("finite"));
}

// ------------------------------------------------------------------------------------------------------------ form

constexpr std::string_view kExample = R"(graph "head" (%x: f32[B, T, 8], %h: f32[B, 4]) {
  %weight = constant() {value = f32[2, 2] {1, 0.5, -inf, nan}} : f32[2, 2]
  %y, %y.1 = gru(%x, %weight, none) {eps = 1e-05, reverse = true} : f32[B, T, 4], f32[B, 4] @ "encoder.gru"
  %out = scan(%h, %y) {states = 1} : f32[B, 4] {
    graph "" (%h: f32[B, 4], %x: f32[B, 4]) {
      %next = add(%h, %x) : f32[B, 4]
      return h = %next
    }
  }
  return output = %out, "odd name" = %y.1
}
)";

TEST(IrText, prints_a_line_per_node_and_regions_indented) {
  const Graph graph = parsed(kExample);
  EXPECT_EQ(print(graph), kExample);
  ASSERT_EQ(graph.nodes().size(), 3u);
  const Node& gru = graph.nodes()[1];
  EXPECT_EQ(gru.op, "gru");
  EXPECT_EQ(gru.scope, "encoder.gru");
  EXPECT_EQ(gru.operands[2], nullptr);
  EXPECT_EQ(gru.operands[0], graph.inputs()[0]);
  EXPECT_EQ(gru.attrs.real("eps"), 1e-5);
  EXPECT_TRUE(gru.attrs.flag("reverse"));
  EXPECT_EQ(gru.results[1]->type, (Type{DType::f32, {kBatch, 4}}));
  EXPECT_EQ(graph.nodes()[2].regions[0]->nodes()[0].operands[0], graph.nodes()[2].regions[0]->inputs()[0]);
  EXPECT_EQ(graph.outputs()[1].name, "odd name");
}

TEST(IrText, reads_any_spacing_and_comments) {
  const Graph graph =
      parsed("# a head\ngraph g(%x:f32[2])\n{ %y=relu(%x):f32[2]@\"a\" # positive\n return y=%y }  # end");
  EXPECT_EQ(print(graph), "graph \"g\" (%x: f32[2]) {\n  %y = relu(%x) : f32[2] @ \"a\"\n  return y = %y\n}\n");
}

TEST(IrText, prints_attributes_so_that_their_kind_shows) {
  EXPECT_EQ(attr_text(true), "true");
  EXPECT_EQ(attr_text(std::int64_t{-3}), "-3");
  EXPECT_EQ(attr_text(3.0), "3.0");
  EXPECT_EQ(attr_text(-0.0), "-0.0");
  EXPECT_EQ(attr_text(1e300), "1e+300");
  EXPECT_EQ(attr_text(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(attr_text(std::bit_cast<double>(0x7ff0000000000001u)), "0x7ff0000000000001");
  EXPECT_EQ(attr_text(std::string("a \"b\"\n\x01")), R"("a \"b\"\n\x01")");
  EXPECT_EQ(attr_text(DType::bf16), "bf16");
  EXPECT_EQ(attr_text(std::vector<std::int64_t>{1, -2}), "[1, -2]");
  EXPECT_EQ(attr_text(std::vector<std::int64_t>{}), "[]");
  EXPECT_EQ(attr_text(Shape{kBatch * kTime * Dim(2) - Dim(1), 0}), "shape[2*B*T - 1, 0]");
  EXPECT_EQ(attr_text(Shape{Dim::symbol("batch size"), -kTime.evaluate({{"T", 3}}).value()}),
            "shape[\"batch size\", -3]");
  EXPECT_EQ(attr_text(tensor_i32({}, std::array{7})), "i32[] {7}");
}

TEST(IrText, keeps_every_kind_of_attribute) {
  const std::int64_t smallest = std::numeric_limits<std::int64_t>::min();
  const std::vector<Attr> attrs = {true,
                                   false,
                                   smallest,
                                   std::int64_t{0},
                                   0.0,
                                   -0.0,
                                   0.1,
                                   5e-324,
                                   1e22,
                                   1.0,
                                   -std::numeric_limits<double>::infinity(),
                                   std::bit_cast<double>(0x7ff8000000000000u),
                                   std::bit_cast<double>(0xfff8000000000000u),
                                   std::bit_cast<double>(0x7ff0000000000001u),
                                   std::string(),
                                   std::string("none } : \\ \0 \xff é", 17),
                                   DType::f32,
                                   DType::boolean,
                                   std::vector<std::int64_t>{},
                                   std::vector<std::int64_t>{smallest, 1},
                                   Shape{},
                                   Shape{3, kBatch},
                                   Shape{Dim(smallest), Dim(smallest) * kTime + kBatch * kBatch - Dim(3)},
                                   Shape{Dim::symbol("true"), Dim::symbol("9 \"")},
                                   tensor_f32({0, 3}, std::vector<float>{}),
                                   tensor_f32({17}, std::vector<float>(17, 0.1f))};
  for (const Attr& attr : attrs) expect_round_trip(with_attr(attr));
}

TEST(IrText, keeps_the_bits_of_every_half) {
  for (const DType dtype : {DType::f16, DType::bf16})
    for (std::uint64_t bits = 0; bits < 65536; ++bits)
      ASSERT_EQ(element_from_text(dtype, element_text(dtype, bits)), bits) << element_text(dtype, bits);
}

TEST(IrText, refuses_elements_that_their_dtype_cannot_hold) {
  EXPECT_EQ(element_from_text(DType::i8, "-128"), 0x80u);
  EXPECT_EQ(element_from_text(DType::u64, "18446744073709551615"), ~std::uint64_t{0});
  for (const auto& [dtype, text] : std::vector<std::pair<DType, std::string_view>>{{DType::i8, "128"},
                                                                                   {DType::u8, "-1"},
                                                                                   {DType::u8, "256"},
                                                                                   {DType::i64, "9223372036854775808"},
                                                                                   {DType::i32, "1.5"},
                                                                                   {DType::f32, "1e40"},
                                                                                   {DType::f32, ""},
                                                                                   {DType::f32, "-nan"},
                                                                                   {DType::f32, "0x100000000"},
                                                                                   {DType::f16, "0x"},
                                                                                   {DType::boolean, "2"},
                                                                                   {DType::boolean, "0x100"}})
    EXPECT_FALSE(element_from_text(dtype, text)) << text;
}

TEST(IrText, leaves_large_tensors_out_without_a_blob_and_says_so_when_reading) {
  const Attr large = tensor_f32({17}, std::vector<float>(17, 1.0f));
  EXPECT_EQ(attr_text(large), "f32[17] ...");
  EXPECT_THAT(error_of_attr("f32[17] ..."), HasSubstr("print with a blob to keep it / at line 2, column 19"));
}

TEST(IrText, appends_to_a_blob_and_shares_it_when_reading) {
  std::vector<std::byte> blob(3);
  EXPECT_EQ(attr_text(tensor_f32({17}, std::vector<float>(17, 2.0f)), &blob), "f32[17] blob(64, 68)");
  const SharedBytes shared = share(std::move(blob));
  const Graph graph = parsed("graph g () { %y = op() {a = f32[17] blob(64, 68)} : f32[] return y = %y }", shared);
  EXPECT_EQ(graph.nodes()[0].attrs.get<Tensor>("a").storage.view.data(), shared.view.data() + 64);
}

// ------------------------------------------------------------------------------------------------------ comparison

TEST(IrText, finds_every_difference_between_graphs) {
  const Graph graph = parsed(kExample);
  for (const auto& [from, to] :
       std::vector<std::pair<std::string_view, std::string_view>>{{"\"head\"", "\"tail\""},
                                                                  {"%x: f32[B, T, 8]", "%x: f32[B, T, 9]"},
                                                                  {"%weight =", "%w ="},
                                                                  {"-inf", "inf"},
                                                                  {"1e-05", "1e-06"},
                                                                  {"reverse = true", "reverse = false"},
                                                                  {"encoder.gru", "encoder"},
                                                                  {"add(%h, %x)", "add(%x, %h)"},
                                                                  {"= gru(%x, %weight, none)", "= gru(%x, %weight)"},
                                                                  {", none)", ", %h)"},
                                                                  {"states = 1", "states = 1.0"},
                                                                  {"output = %out", "output = %h"},
                                                                  {"output = ", "result = "},
                                                                  {"f32[B, T, 4]", "f16[B, T, 4]"}}) {
    std::string text(kExample);
    text.replace(text.find(from), from.size(), to);
    if (from == "%weight =") text.replace(text.find("%weight,"), 8, "%w,");
    EXPECT_FALSE(same_graph(graph, parsed(text))) << from;
  }
}

// ---------------------------------------------------------------------------------------------------------- errors

TEST(IrText, says_where_the_text_is_wrong) {
  EXPECT_EQ(error_of(""), "the text ends, expected 'graph' / at line 1, column 1");
  EXPECT_EQ(error_of("graph g (%x: f32[2]) {\n  %y = relu(%z) : f32[2]\n  return y = %y\n}"),
            "value 'z' is not defined before its use / at line 2, column 13");
  EXPECT_EQ(error_of("graph g (%x: f32[2]) {\n  %y = relu(%y) : f32[2]\n  return y = %y\n}"),
            "value 'y' is not defined before its use / at line 2, column 13");
  EXPECT_EQ(error_of("graph g (%x: f32[2], %x: f32[3]) { return }"),
            "value 'x' is defined twice / at line 1, column 22");
  EXPECT_EQ(error_of("graph g () { %a, %a = op() : f32[], f32[] return }"),
            "value 'a' is defined twice / at line 1, column 18");
  EXPECT_EQ(error_of("graph g (%x: g32[2]) {}"),
            "found 'g32', expected a type such as f32[2, T] / at line 1, column 14");
  EXPECT_EQ(error_of("graph g (%x: f32[2]) {\n  relu(%x) : f32[2] }"),
            "found 'relu', expected a node or 'return' / at line 2, column 3");
  EXPECT_EQ(error_of("graph g () { %a, %b = op() : f32[] return }"),
            "found 'return', expected ',' / at line 1, column 36");
  EXPECT_EQ(error_of("graph g () { return } graph"), "found 'graph', expected the end / at line 1, column 23");
  EXPECT_EQ(error_of("graph g () { = op() : @ \"a\n\" return }"),
            "the quoted text has no end on its line / at line 1, column 25");
  EXPECT_EQ(error_of("graph \"\\q\" () { return }"),
            "expected one of the escapes \\\", \\\\, \\n, \\t, \\xHH / at line 1, column 8");
  EXPECT_EQ(error_of("graph g () \x80"), "found byte 0x80, expected '{' / at line 1, column 12");
}

TEST(IrText, refuses_wrong_attributes_and_tensors) {
  EXPECT_THAT(error_of_attr("f32[2] {1, 2, 3}"), HasSubstr("3 elements for a tensor of float32 [2]"));
  EXPECT_THAT(error_of_attr("u8[2] {1, 256}"), HasSubstr("'256' is no element of uint8"));
  EXPECT_THAT(error_of_attr("f32[T] {1}"), HasSubstr("the shape [T] of a tensor is symbolic"));
  EXPECT_THAT(error_of_attr("f32[-1] {}"), HasSubstr("negative size"));
  EXPECT_THAT(error_of_attr("f32[4611686018427387904, 4] {}"), HasSubstr("more than 2^63 elements"));
  EXPECT_THAT(error_of_attr("9223372036854775808"), HasSubstr("does not fit into 64 bits"));
  EXPECT_THAT(error_of_attr("shape[9223372036854775807*2]"), HasSubstr("the dimension overflows 64 bits"));
  EXPECT_THAT(error_of_attr("shape[!overflow]"), HasSubstr("found '!', expected a size or a symbol"));
  EXPECT_THAT(error_of_attr("1, a = 2"), HasSubstr("attribute 'a' stands twice"));
  EXPECT_THAT(error_of_attr("maybe"), HasSubstr("found 'maybe', expected the value of an attribute"));
  std::string factors = "shape[T";
  for (int i = 0; i < 300; ++i) factors += "*T";
  EXPECT_THAT(error_of_attr(factors + "]"), HasSubstr("a dimension of more than 256 factors"));
}

TEST(IrText, refuses_tensors_outside_the_blob) {
  const SharedBytes blob = share(std::vector<std::byte>(64));
  EXPECT_EQ(error_of_attr("f32[16] blob(0, 64)", blob), "no error");
  EXPECT_THAT(error_of_attr("f32[16] blob(1, 64)", blob), HasSubstr("64 bytes from 1 on of a blob of 64 bytes"));
  EXPECT_THAT(error_of_attr("f32[16] blob(65, 0)", blob), HasSubstr("of a blob of 64 bytes"));
  EXPECT_THAT(error_of_attr("f32[16] blob(8, 18446744073709551615)", blob), HasSubstr("of a blob of 64 bytes"));
  EXPECT_THAT(error_of_attr("f32[16] blob(0, 60)", blob), HasSubstr("60 bytes for a tensor of float32 [16]"));
}

TEST(IrText, refuses_regions_nested_too_deep) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "graph g () { = op() : {";
  EXPECT_THAT(error_of(text), HasSubstr("graphs are nested deeper than 64"));
}

// ---------------------------------------------------------------------------------------------------------- graphs

class RandomGraphs {
 public:
  explicit RandomGraphs(std::uint32_t seed) : generator_(seed) {}

  Graph graph(int depth = 0) {
    Graph graph;
    graph.name = word();
    std::vector<Value*> values = {nullptr};
    for (std::uint64_t i = below(3); i-- > 0;) values.push_back(graph.add_input(word(), type()));
    for (std::uint64_t i = 1 + below(6); i-- > 0;) {
      std::vector<Value*> operands;
      for (std::uint64_t k = below(4); k-- > 0;) operands.push_back(values[below(values.size())]);
      Attrs attrs;
      for (std::uint64_t k = below(4); k-- > 0;) attrs.set(word(), attr());
      std::vector<Type> types;
      std::vector<std::string> names;
      for (std::uint64_t k = below(4); k-- > 0;) {
        types.push_back(type());
        names.push_back(word());
      }
      std::vector<std::unique_ptr<Graph>> regions;
      if (depth < 3 && below(6) == 0)
        for (std::uint64_t k = below(3); k-- > 0;) regions.push_back(std::make_unique<Graph>(this->graph(depth + 1)));
      Node* node = graph.add_named_node(word(), operands, attrs, types, names, std::move(regions));
      if (below(2) == 0) node->scope = word();
      values.insert(values.end(), node->results.begin(), node->results.end());
    }
    if (values.size() == 1) values.push_back(graph.add_node("last", {}, {}, {type()})->result());
    for (std::uint64_t i = 1 + below(3); i-- > 0;) graph.add_output(word(), values[1 + below(values.size() - 1)]);
    return graph;
  }

 private:
  std::uint64_t bits() { return generator_() | std::uint64_t{generator_()} << 32; }
  std::uint64_t below(std::uint64_t limit) { return bits() % limit; }

  std::string word() {
    constexpr std::string_view kPlain = "abcT_09./-%\"\\ \n#";
    std::string out;
    if (below(8) == 0) return "none";
    for (std::uint64_t i = below(6); i-- > 0;)
      out += below(20) == 0 ? static_cast<char>(below(256)) : kPlain[below(below(2) == 0 ? 6 : kPlain.size())];
    return out;
  }
  Dim dim() {
    Dim sum = static_cast<std::int64_t>(below(9)) - 2;
    if (below(2) == 0) sum = sum * Dim::symbol(below(2) == 0 ? "T" : word());
    if (below(4) == 0) sum = sum + Dim::symbol("B") * Dim::symbol(word()) * Dim(-1);
    if (below(40) == 0) sum = static_cast<std::int64_t>(bits());
    return sum;
  }
  Shape shape() {
    Shape out;
    for (std::uint64_t i = below(4); i-- > 0;) out.push_back(dim());
    return out;
  }
  DType dtype() { return static_cast<DType>(below(kDTypeCount)); }
  Type type() { return {dtype(), shape()}; }

  // Any bits, and strides and byte orders as checkpoints have them.
  Tensor tensor() {
    std::vector<std::int64_t> sizes;
    for (std::uint64_t i = below(4); i-- > 0;) sizes.push_back(static_cast<std::int64_t>(below(5)));
    std::vector<std::byte> bytes(1024);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(below(3) == 0 ? below(256) : below(2));
    std::vector<std::int64_t> strides = row_major_strides(sizes);
    if (below(3) == 0) std::ranges::reverse(strides);
    if (below(3) == 0 && !strides.empty()) strides[0] = 0;
    auto view = make_view(dtype(), sizes, strides, share(std::move(bytes)), 0, below(4) == 0);
    return view ? *view : tensor_f32({}, std::array{1.0f});
  }
  Attr attr() {
    switch (below(8)) {
      case 0:
        return below(2) == 0;
      case 1:
        return static_cast<std::int64_t>(below(2) == 0 ? bits() : below(10));
      case 2:
        return below(2) == 0 ? std::bit_cast<double>(bits()) : static_cast<double>(below(10)) / 4;
      case 3:
        return word();
      case 4:
        return dtype();
      case 5:
        return std::vector<std::int64_t>(below(4), static_cast<std::int64_t>(below(100)) - 50);
      case 6:
        return shape();
      default:
        return tensor();
    }
  }

  std::mt19937 generator_;
};

TEST(IrText, keeps_random_graphs) {
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    expect_round_trip(RandomGraphs(seed).graph());
    if (testing::Test::HasFailure()) return;
  }
}

// No text with a few characters changed or cut does more than be read or refused; what is read prints as itself.
TEST(IrText, survives_damaged_texts) {
  std::mt19937 generator(5);
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::string text = seed % 2 == 0 ? std::string(kExample) : print(RandomGraphs(seed).graph());
    for (std::uint32_t i = generator() % 4; i-- > 0;)
      text[generator() % text.size()] = kExample[generator() % kExample.size()];
    if (seed % 5 == 0) text.resize(generator() % text.size());
    if (const auto graph = parse(text)) {
      const auto again = parse(print(*graph));
      ASSERT_TRUE(again) << again.error().text() << "\n" << text;
      ASSERT_TRUE(same_graph(*graph, *again)) << text;
    }
  }
}

}  // namespace
}  // namespace taper
