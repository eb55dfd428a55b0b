#include "formats/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "builders.h"

namespace taper::pickle {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

// Keeps the document so that the values live.
Document read_text(const std::string& text) {
  auto document = read(shared(text));
  EXPECT_TRUE(document) << document.error().text();
  return document ? std::move(*document) : Document{};
}

std::string described(const std::string& text) {
  const auto document = read(shared(text));
  return document ? describe(*document->root) : document.error().text();
}

TEST(Pickle, reads_numbers_of_every_form) {
  const std::pair<std::string, std::string> cases[] = {
      {"N.", "None"},
      {"\x88.", "True"},
      {"I01\n.", "True"},
      {"I00\n.", "False"},
      {"I1\n.", "int 1"},
      {"I-77\n.", "int -77"},
      {"L12345678901L\n.", "int 12345678901"},
      {"L123456789012345678901L\n.", "a big int"},
      {"J\xfe\xff\xff\xff.", "int -2"},
      {"K\xff.", "int 255"},
      {"M\xff\xff.", "int 65535"},
      {raw("\x8a\x00."), "int 0"},
      {raw("\x8a\x01\xff."), "int -1"},
      {raw("\x8a\x02\xff\x00."), "int 255"},
      {raw("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."), "int -9223372036854775808"},
      {raw("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00."), "a big int"},
      {raw("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff."), "int -1"},
      {raw("\x8b\x02\x00\x00\x00\x01\x01."), "int 257"},
      {"F1.5\n.", "float 1.5"},
      {"F-inf\n.", "float -inf"},
      {"F1e+300\n.", "float 1e+300"},
      {"F1e999\n.", "float inf"},
      {"F-1e999\n.", "float -inf"},
      {"F1e-999\n.", "float 0"},
      {raw("G\x3f\xf8\x00\x00\x00\x00\x00\x00."), "float 1.5"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(described(text), expected) << text;
}

TEST(Pickle, reads_texts_of_every_form) {
  const std::pair<std::string, std::string> cases[] = {
      {"S'a\\x41\\n\\101\\\\'\n.", "aA\nA\\"},
      {"S\"it's\"\n.", "it's"},
      {"Vcaf\\u00e9 \\U0001f91f \xe9\n.", "café 🤟 é"},
      {"V\\\\u0041\n.", "\\\\u0041"},
      {raw("X\x02\x00\x00\x00\xc3\xa9."), "é"},
      {raw("\x8c\x01z."), "z"},
      {raw("\x8d\x01\x00\x00\x00\x00\x00\x00\x00z."), "z"},
      {raw("U\x03old."), "old"},
      {raw("T\x03\x00\x00\x00old."), "old"},
      {raw("X\x03\x00\x00\x00\xed\xb3\xbf."), "\xef\xbf\xbd"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(read_text(text).root->text(), expected) << text;
}

TEST(Pickle, reads_bytes_of_every_form) {
  for (const std::string& text :
       {raw("C\x02\x00\xff."), raw("B\x02\x00\x00\x00\x00\xff."), raw("U\x02\x00\xff."),
        raw("\x8e\x02\x00\x00\x00\x00\x00\x00\x00\x00\xff."), raw("\x96\x02\x00\x00\x00\x00\x00\x00\x00\x00\xff.")}) {
    const Document document = read_text(text);
    ASSERT_TRUE(document.root->bytes()) << text;
    EXPECT_EQ(as_text(*document.root->bytes()), raw("\x00\xff"));
  }
}

TEST(Pickle, reads_collections) {
  EXPECT_EQ(described("(K\x01K\x02t."), "tuple of 2 items");
  EXPECT_EQ(described(")."), "tuple of 0 items");
  EXPECT_EQ(described("K\x01K\x02K\x03\x87."), "tuple of 3 items");
  EXPECT_EQ(described("(K\x01l."), "list of 1 items");
  EXPECT_EQ(described("](K\x01K\x02"
                      "e."),
            "list of 2 items");
  EXPECT_EQ(described("]K\x01"
                      "a."),
            "list of 1 items");
  EXPECT_EQ(described("(K\x01K\x02"
                      "d."),
            "dict of 1 entries");
  EXPECT_EQ(described("}(K\x01K\x02K\x03K\x04u."), "dict of 2 entries");
  EXPECT_EQ(described("\x8f(K\x01K\x02\x90."), "set of 2 items");
  EXPECT_EQ(described("(K\x01\x91."), "frozenset of 1 items");
}

TEST(Pickle, a_key_set_twice_keeps_its_place_and_gets_the_last_value) {
  const Document document = read_text(
      "}(\x8c\x01"
      "aK\x01\x8c\x01"
      "bK\x02\x8c\x01"
      "aK\x03K\x07K\x04K\x07K\x05u.");
  ASSERT_EQ(document.root->entries().size(), 3u);
  EXPECT_EQ(document.root->entries()[0].value->integer(), 3);
  EXPECT_EQ(find(*document.root, "a")->integer(), 3);
  EXPECT_EQ(find(*document.root, "b")->integer(), 2);
  EXPECT_EQ(document.root->entries()[2].value->integer(), 5);
  EXPECT_EQ(find(*document.root, "c"), nullptr);
}

// {None: 1, None: 2, True: 3, 1: 4, 1.0: 5, b"a": 6, b"a": 7, nan: 8, nan: 9, 0.5: 10, 0.5: 11, "a": 12}
TEST(Pickle, scalar_keys_are_equal_where_python_has_them_equal) {
  const Document document =
      read_text(raw("}(NK\x01NK\x02\x88K\x03K\x01K\x04"
                    "F1.0\nK\x05"
                    "C\x01"
                    "aK\x06"
                    "C\x01"
                    "aK\x07"
                    "Fnan\nK\x08"
                    "Fnan\nK\x09"
                    "F0.5\nK\x0a"
                    "F0.5\nK\x0b\x8c\x01"
                    "aK\x0cu."));
  std::vector<std::int64_t> values;
  for (const Entry& entry : document.root->entries()) values.push_back(*entry.value->integer());
  EXPECT_EQ(values, (std::vector<std::int64_t>{2, 5, 7, 8, 9, 11, 12}));
}

TEST(Pickle, memoize_counts_the_numbers_that_are_set) {
  // [], memo 9; {}, memo 1 by MEMOIZE, not 10.
  const Document document = read_text(raw("(]q\x09}\x94h\x01t."));
  ASSERT_EQ(document.root->items().size(), 3u);
  EXPECT_EQ(document.root->items()[2], document.root->items()[1]);
}

TEST(Pickle, shared_values_stay_shared_in_every_kind_of_memo) {
  for (const std::string& text : {"(]p7\ng7\nt."s, raw("(]q\x07h\x07t."), raw("(]r\x07\x00\x00\x00j\x07\x00\x00\x00t."),
                                  raw("(]\x94h\x00t."), "(]2t."s}) {
    const Document document = read_text(text);
    ASSERT_EQ(document.root->items().size(), 2u) << text;
    EXPECT_EQ(document.root->items()[0], document.root->items()[1]);
  }
}

TEST(Pickle, a_list_may_hold_itself) {
  const Document document = read_text(
      "]q\x01h\x01"
      "a.");
  EXPECT_EQ(document.root->items()[0], document.root);
}

TEST(Pickle, nothing_is_called) {
  const Document document = read_text("cposix\nsystem\n(S'echo'\ntR.");
  ASSERT_EQ(document.root->kind(), Kind::object);
  EXPECT_EQ(class_path(*document.root), "posix.system");
  EXPECT_EQ(document.root->object()->type->global()->offset, 0u);
  EXPECT_EQ(document.root->object()->offset, 24u);
  EXPECT_EQ(document.root->object()->arguments->items()[0]->text(), "echo");
}

TEST(Pickle, objects_of_every_form_record_class_arguments_and_state) {
  const std::string state = "}\x8c\x01xK\x05s";
  const std::string cases[] = {
      "ca.b\nC\n(K\x01tR" + state + "b.",        // REDUCE
      "ca.b\nC\nK\x01\x85\x81" + state + "b.",   // NEWOBJ
      "ca.b\nC\nK\x01\x85}\x92" + state + "b.",  // NEWOBJ_EX
      "(K\x01ia.b\nC\n" + state + "b.",          // INST
      "(ca.b\nC\nK\x01o" + state + "b.",         // OBJ
      "\x8c\x03"
      "a.b\x8c\x01"
      "C\x93K\x01\x85R" +
          state + "b.",                                          // STACK_GLOBAL
      "ccopyreg\n__newobj__\n(ca.b\nC\nK\x01tR" + state + "b.",  // a helper
      "ccopy_reg\n_reconstructor\n(ca.b\nC\nc__builtin__\nint\nK\x01tR" + state + "b.",
      "ccopyreg\n__newobj_ex__\n(ca.b\nC\nK\x01\x85}tR" + state + "b.",
      "ca.b\nC\nK\x01\x85\x81N" + state +
          "\x86"
          "b.",  // state with slots
  };
  for (const std::string& text : cases) {
    const Document document = read_text(text);
    ASSERT_TRUE(document.root) << text;
    EXPECT_EQ(class_path(*document.root), "a.b.C") << text;
    ASSERT_EQ(document.root->object()->arguments->items().size(), 1u) << text;
    EXPECT_EQ(document.root->object()->arguments->items()[0]->integer(), 1) << text;
    ASSERT_NE(attribute(*document.root, "x"), nullptr) << text;
    EXPECT_EQ(attribute(*document.root, "x")->integer(), 5) << text;
    EXPECT_EQ(attribute(*document.root, "y"), nullptr) << text;
  }
}

TEST(Pickle, objects_record_what_is_put_into_them) {
  const Document document = read_text(
      "ca\nD\n)\x81(\x8c\x01kK\x01u(K\x07K\x08"
      "e.");
  EXPECT_EQ(find(*document.root, "k")->integer(), 1);
  EXPECT_EQ(document.root->items().size(), 2u);
}

TEST(Pickle, nested_classes_are_named_through_getattr) {
  EXPECT_EQ(class_path(*read_text("c__builtin__\ngetattr\n(ca\nOuter\nVInner\ntR)R.").root), "a.Outer.Inner");
}

TEST(Pickle, persistent_ids_are_kept) {
  EXPECT_EQ(read_text("Pkey\n.").root->persistent_id()->text(), "key");
  EXPECT_EQ(read_text("K\x07Q.").root->persistent_id()->integer(), 7);
}

TEST(Pickle, what_follows_stop_is_left_alone) {
  EXPECT_EQ(read_text("K\x01.garbage").size, 3u);
}

TEST(Pickle, refusals_name_opcode_and_offset) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "ends at byte 0 without STOP"},
      {"K\x01", "ends at byte 2 without STOP"},
      {".", "empty stack"},
      {"(K\x01.", "open mark"},
      {"\xfe.", "byte 0xfe at offset 0"},
      {"\x80\x09.", "protocol 9"},
      {"\x82\x01.", "in opcode EXT1 at byte 0"},
      {raw("\x84\x01\x00\x00\x00."), "EXT4"},
      {"\x97.", "NEXT_BUFFER"},
      {"N\x98.", "READONLY_BUFFER at byte 1"},
      {"0.", "the stack is empty"},
      {"2.", "the stack is empty"},
      {"NR.", "in opcode REDUCE at byte 1"},
      {"N)R.", "None is called"},
      {"ca\nb\nNR.", "None stands for the arguments"},
      {"ca\nb\n(NR.", "stack is empty"},
      {"t.", "no mark"},
      {"N\x86.", "tuple of 2"},
      {"(N\x86.", "tuple of 2"},
      {"N]a.", "appended to None"},
      {")Na.", "appended to tuple"},
      {"](N\x90.", "expected a set"},
      {"](NNu.", "expected a dict"},
      {"}(Nu.", "a key has no value"},
      {"(Nd.", "a key has no value"},
      {"}}b.", "expected an object"},
      {"ca\nb\n)\x81}b}b.", "state twice"},
      {"ca\nb\n)N\x92.", "expected a dict"},
      {"NN\x93.", "two texts"},
      {"(o.", "no class"},
      {"h\x01.", "memo number 1 was never set"},
      {"g-1\n.", "not a memo number"},
      {"Nr\xff\xff\xff\xff.", "far past"},
      {"Np99999999999999999999\n.", "not a memo number"},
      {"I12x\n.", "not a decimal"},
      {"I\n.", "not a decimal"},
      {"I010\n.", "starts with a zero"},
      {"L-07L\n.", "starts with a zero"},
      {"Fx\n.", "not a number"},
      {"Fnan(1)\n.", "not a number"},
      {"I1", "has no end"},
      {"Sabc\n.", "no quotes"},
      {"S'\n.", "no quotes"},
      {"S'\\'\n.", "backslash"},
      {"S'\\xq1'\n.", "escape"},
      {"V\\u12\n.", "escape"},
      {"V\\U0001\n.", "escape"},
      {"V\\U00110000\n.", "escape"},
      {raw("X\x01\x00\x00\x00\xff."), "not UTF-8"},
      {raw("X\xff\xff\xff\xff."), "4294967295 bytes expected"},
      {"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "18446744073709551615 bytes expected"},
      {"T\xff\xff\xff\xff.", "length is negative"},
      {"\x8b\xff\xff\xff\xff.", "length is negative"},
      {"\x95\xff\xff\xff\xff\xff\xff\xff\xff.", "frame"},
      {"c\xff\n\n.", "not UTF-8"},
  };
  for (const auto& [text, expected] : cases) EXPECT_THAT(described(text), HasSubstr(expected)) << text;
}

TEST(Pickle, holds_to_the_limit_of_values) {
  const auto too_many = read(shared(std::string(100, ']') + "."), Limits{.values = 50});
  ASSERT_FALSE(too_many);
  EXPECT_THAT(too_many.error().text(), HasSubstr("more than 50 values"));
  EXPECT_FALSE(read(shared(std::string(100, '(') + "."), Limits{.values = 50}));
  EXPECT_FALSE(read(shared("N" + std::string(100, '2') + "."), Limits{.values = 50}));
}

TEST(Pickle, nesting_costs_no_recursion) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "]";
  text += std::string(199'999, 'a') + ".";
  EXPECT_EQ(described(text), "list of 1 items");
}

TEST(Pickle, equal_long_keys_do_not_cost_quadratic_time) {
  // Two equal texts of 100 kB, each used as a key 100,000 times.
  const std::string key(100'000, 'k');
  std::string text = pickled_text(key) +
                     "q\x01"
                     "0" +
                     pickled_text(key) +
                     "q\x02"
                     "0}(";
  for (int i = 0; i < 100'000; ++i) text += "h\x01Nh\x02N";
  EXPECT_EQ(described(text + "u."), "dict of 1 entries");
}

TEST(Pickle, refuses_every_truncation) {
  const std::string text = "\x80\x04" + pickled_global("a", "B") +
                           "(K\x01\x8c\x03"
                           "abcG@\x08" +
                           std::string(6, '\0') +
                           "tR}(\x8c\x01xN\x8c\x01y](K\x02"
                           "euub.";
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(read(shared(text.substr(0, size)))) << size;
}

}  // namespace
}  // namespace taper::pickle
