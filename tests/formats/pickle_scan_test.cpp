#include "formats/pickle_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builders.h"

namespace taper {
namespace {

using pickle::Trust;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::string_literals;

const std::string kCall = "cposix\nsystem\n(U\x02idtR";
const std::string kHarmless = protocol2("ccollections\nOrderedDict\n)R");

FileScan scan(const std::string& file) {
  return scan_bytes(shared(file));
}

// "dangerous archive/data.pkl 2": the verdict, and where the first finding is. Where it is in the file must be where
// the file says it.
std::string outcome(const std::string& file) {
  const FileScan result = scan(file);
  std::string text(verdict_name(result.verdict));
  if (result.findings.empty()) return text;
  const ScanFinding& first = result.findings.front();
  if (first.file_offset) {
    EXPECT_EQ(*first.file_offset, file.find("c" + first.mention.module + "\n"));
  } else {
    text += " packed";
  }
  return fmt::format("{} {} {}", text, first.member, first.mention.offset);
}

std::string tar_file(const std::vector<std::pair<std::string, std::string>>& members, bool posix = true) {
  std::string file;
  for (const auto& [name, content] : members) {
    std::string header(512, '\0');
    header.replace(0, name.size(), name);
    header.replace(124, 11, fmt::format("{:011o}", content.size()));
    if (posix) header.replace(257, 5, "ustar");
    header.replace(148, 8, "        ");
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    header.replace(148, 7, fmt::format("{:06o}", sum) + '\0');
    file += header + content + std::string((512 - content.size() % 512) % 512, '\0');
  }
  return file + std::string(1024, '\0');
}

std::string npy_file(const std::string& descr, const std::string& data) {
  const std::string header = "{'descr': " + descr + ", 'fortran_order': False, 'shape': (1,), }\n";
  return "\x93NUMPY\x01"s + '\0' + little(header.size(), 2) + header + data;
}

std::string gzipped(const std::string& text) {
  return "\x1f\x8b\x08"s + std::string(6, '\0') + "\xff" + deflated(text) +
         little(crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())), 4) +
         little(text.size(), 4);
}

const std::string kLegacyStart =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s + protocol2("M\xe9\x03") + protocol2("}");

TEST(PickleScan, finds_the_pickles_of_every_container) {
  const std::string hostile = protocol2(kCall);
  const std::string zipped = torch_zip(hostile);
  const std::pair<std::string, std::string> cases[] = {
      {hostile, "dangerous  2"},
      {kCall + ".", "dangerous  0"},
      {kHarmless + hostile, fmt::format("dangerous  {}", kHarmless.size() + 2)},
      {kHarmless + kCall + ".", fmt::format("dangerous  {}", kHarmless.size())},
      {zipped, "dangerous archive/data.pkl 2"},
      {torch_zip(kHarmless, {stored("archive/other.pkl", hostile)}), "dangerous archive/other.pkl 2"},
      {torch_zip(kHarmless, {stored("archive/README", kCall + ".")}), "dangerous archive/README 0"},
      {torch_zip(kHarmless, {stored("archive/data/0", hostile)}), "dangerous archive/data/0 2"},
      {torch_zip(kHarmless, {compressed("archive/x", hostile)}), "dangerous packed archive/x 2"},
      {zip_file({stored("model.pt", zipped)}), "dangerous model.pt: archive/data.pkl 2"},
      {zip_file({compressed("model.pt", zipped)}), "dangerous packed model.pt: archive/data.pkl 2"},
      {zip_file({stored("a.npy", npy_file("'|O'", hostile))}), "dangerous a.npy 69"},
      {kLegacyStart + hostile + protocol2("]"), "dangerous  27"},
      {kLegacyStart + kHarmless + hostile, "dangerous  57"},
      {npy_file("'|O'", hostile), "dangerous  69"},
      {npy_file("'\\x7cO'", hostile), "dangerous  72"},
      {npy_file("[('a', '<f4'), ('b', 'O')]", hostile), "dangerous  91"},
      {tar_file({{"sys_info", kHarmless}, {"pickle", hostile}}), "dangerous pickle 2"},
      {tar_file({{"pickle", hostile}}, false), "dangerous pickle 2"},
      {tar_file({{"storages", protocol2("K\x01") + "\x01\x02\x03" + hostile}}), "dangerous storages 10"},
      {gzipped(hostile), "dangerous packed inflated 2"},
      {gzipped(zipped), "dangerous packed inflated: archive/data.pkl 2"},
  };
  for (const auto& [file, expected] : cases) EXPECT_EQ(outcome(file), expected);
}

// torch.load compares the magic number, not how it is written.
TEST(PickleScan, a_legacy_file_may_write_its_magic_number_in_any_way) {
  for (const std::string& magic : {"I119547037146038801333356\n."s, "L1195_47037146038801333356L\n."s,
                                   "N0\x8a\x0b\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\0."s}) {
    const std::string start = magic + "I1001\n.}.";
    EXPECT_EQ(outcome(start + kCall + ".]."), fmt::format("dangerous  {}", start.size())) << magic;
  }
}

TEST(PickleScan, pickles_in_bytes_of_pickles_are_scanned) {
  const std::string inner = torch_zip(protocol2(kCall));
  const std::string outer = protocol2("ctorch.storage\n_load_from_bytes\n(B" + little(inner.size(), 4) + inner + "tR");
  const FileScan result = scan(outer);
  EXPECT_EQ(result.verdict, Verdict::dangerous);
  ASSERT_THAT(result.findings, SizeIs(1));
  EXPECT_THAT(result.findings[0].member, HasSubstr(": archive/data.pkl"));
  const std::string harmless = torch_zip(kHarmless);
  EXPECT_EQ(outcome(protocol2("ctorch.storage\n_load_from_bytes\n(B" + little(harmless.size(), 4) + harmless + "tR")),
            "clean");
  std::string deep = protocol2("}");
  for (int i = 0; i < 20; ++i)
    deep = protocol2("ctorch.storage\n_load_from_bytes\n(B" + little(deep.size(), 4) + deep + "tR");
  EXPECT_THAT(scan(deep).reason, HasSubstr("nested deeper"));
}

TEST(PickleScan, damage_hides_nothing) {
  const std::string zipped = torch_zip(protocol2(kCall));
  EXPECT_EQ(outcome(zipped.substr(0, zipped.size() - 10)), "dangerous archive/data.pkl 2");
  EXPECT_EQ(outcome(torch_zip(kHarmless).substr(0, 150)), "unreadable");
  EXPECT_EQ(outcome(zip_file({compressed("archive/data.pkl", protocol2(kCall))}, {.gap = "x"})),
            "dangerous packed archive/data.pkl 2");
  auto encrypted = stored("archive/data.pkl", protocol2(kCall));
  encrypted.flags = 1;
  EXPECT_EQ(outcome(zip_file({encrypted})), "dangerous archive/data.pkl 2");
  auto lies = stored("archive/data.pkl", protocol2(kCall));
  lies.crc = 1;
  EXPECT_EQ(outcome(zip_file({lies})), "dangerous archive/data.pkl 2");
  auto wrong = stored("archive/data.pkl", kHarmless);
  wrong.crc = 1;
  EXPECT_EQ(outcome(zip_file({wrong})), "unreadable");

  const FileScan broken = scan("\x80\x02" + kCall + "\xff");
  EXPECT_EQ(broken.verdict, Verdict::dangerous);
  EXPECT_THAT(broken.reason, HasSubstr("is broken: byte 0xff at offset 23 is not a pickle opcode; before that it calls "
                                       "posix.system('id')"));
  EXPECT_EQ(outcome(protocol2("ccollections\nOrderedDict\n)R").substr(0, 20)), "unreadable");
  EXPECT_EQ(outcome(kCall), "dangerous  0") << "protocol 0 without STOP";
}

TEST(PickleScan, a_file_can_be_two_things) {
  // The length of a safetensors header is also the opcode BINUNICODE, whose text reaches over the header.
  const std::string header = raw("\0\0\0") + R"({"__metadata__":{}})";
  const std::string file = "X" + little(header.size(), 4) + header + kCall + ".";
  EXPECT_EQ(outcome(file), fmt::format("dangerous  {}", header.size() + 5));
  const std::string tar = tar_file({{"notes", "nothing"}});
  EXPECT_EQ(outcome(kCall + "." + tar.substr(kCall.size() + 1)), "dangerous  0");
}

TEST(PickleScan, joblib_arrays_are_searched) {
  const std::string wrapper = "cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b";
  const FileScan result = scan("\x80\x03" + wrapper + "\x01\x02raw\xff" + protocol2(kCall));
  EXPECT_EQ(result.verdict, Verdict::dangerous);
  EXPECT_EQ(scan("\x80\x03" + wrapper + "\x01\x02raw\xff").verdict, Verdict::unknown);
}

TEST(PickleScan, formats_that_carry_programs_are_not_clean) {
  const auto program = [](const std::string& name) {
    return scan(zip_file({stored("net/data.pkl", kHarmless), stored("net/" + name, kHarmless)}));
  };
  EXPECT_EQ(program("constants.pkl").verdict, Verdict::unknown);
  EXPECT_EQ(program("constants.pkl").format, "TorchScript");
  EXPECT_THAT(program("constants.pkl").reason, HasSubstr("TorchScript program"));
  EXPECT_EQ(program("archive_format").format, "torch.export");
  EXPECT_EQ(program("model.weights.h5").verdict, Verdict::unknown);
  EXPECT_THAT(program("aot/model.so").reason, HasSubstr("native code"));
  EXPECT_EQ(scan("\x89HDF\r\n\x1a\n rest").verdict, Verdict::unknown);
}

TEST(PickleScan, arrays_without_all_their_numbers_are_unreadable) {
  for (const char* shape : {"(1000000000000000000,)", "(9223372036854775807, 9)", "(2,)"}) {
    const std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}\n", shape);
    const FileScan result = scan("\x93NUMPY\x01"s + '\0' + little(header.size(), 2) + header + "1234");
    EXPECT_EQ(result.verdict, Verdict::unreadable) << shape;
  }
}

TEST(PickleScan, formats_of_data_are_clean) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const std::pair<std::string, std::string> cases[] = {
      {little(header.size(), 8) + header + "1234", "safetensors"},
      {npy_file("'<f4'", "1234"), "NumPy .npy"},
      {npy_file("'<U1'", "1234"), "NumPy .npy"},
      {zip_file({stored("a.npy", npy_file("'<f4'", "1234"))}), "NumPy .npz"},
      {"\x89PNG\r\n\x1a\n", "a PNG image"},
      {"GGUF\x03", "a GGUF file (llama.cpp)"},
      {raw("\x1c\x00\x00\x00TFL3"), "a TFLite model"},
      {"\x08\x08\x12\x07pytorch", "ONNX"},
      {"{\"a\": 1}", "text"},
      {kHarmless, "pickle"},
      {"]q\x01.", "pickle"},
      {kLegacyStart + kHarmless + protocol2("]") + "raw numbers", "PyTorch legacy"},
  };
  for (const auto& [file, format] : cases) {
    const FileScan result = scan(file);
    EXPECT_EQ(result.format, format);
    EXPECT_EQ(result.verdict, Verdict::clean) << format << ": " << result.reason;
    EXPECT_THAT(result.findings, IsEmpty());
  }
}

TEST(PickleScan, what_is_no_model_is_unreadable) {
  for (const std::string& file : {""s, "\x80"s, "no model"s, "<html>"s, "BZh9"s, "version https://git-lfs"s,
                                  npy_file("'|O'", ""), "\x1f\x8b\x08zzzzzzz"s, "PK\x03\x04"s})
    EXPECT_EQ(scan(file).verdict, Verdict::unreadable) << file;
}

// Numbers that happen to begin like a pickle.
TEST(PickleScan, weights_give_no_false_alarm) {
  for (const std::string& weights : {"\x80\x02\x01\x02"s, "cab\ncd\n\x01"s, "X\xff\xff\xff\xff"s, "N."s, "\x80\x04."s})
    EXPECT_EQ(outcome(torch_zip(kHarmless, {stored("archive/data/0", weights + std::string(50, '\x3f'))})),
              weights[0] == 'c' ? "unreadable archive/data/0 0" : "clean")
        << weights;
}

TEST(PickleScan, bombs_and_floods_end) {
  const std::string zeros(80 << 20, '\0');
  EXPECT_EQ(scan(torch_zip(kHarmless, {compressed("archive/x", zeros)})).verdict, Verdict::unreadable);
  EXPECT_EQ(scan(gzipped(zeros)).verdict, Verdict::unreadable);
  std::string headers;
  for (int i = 0; i < 20000; ++i) headers += "PK\x03\x04" + std::string(22, '\0') + raw("\x01\x00\x00\x00") + "a";
  EXPECT_EQ(scan(headers).verdict, Verdict::unreadable);
  std::string names = "\x80\x02";
  for (int i = 0; i < 9000; ++i) names += fmt::format("cmodels\nC{}\n", i);
  const FileScan many = scan(names + ".");
  EXPECT_THAT(many.findings, SizeIs(4096));
  EXPECT_EQ(many.verdict, Verdict::unreadable);
}

TEST(PickleScan, the_worst_counts_and_trust_is_the_users) {
  const std::string own = protocol2("cmodels.gru\nNet\n)\x81}b");
  EXPECT_EQ(scan(own).verdict, Verdict::unknown);
  EXPECT_THAT(scan(own).reason, HasSubstr("models.gru.Net() at byte 2"));
  EXPECT_EQ(scan_bytes(shared(own), {{"models"}}).verdict, Verdict::clean);
  EXPECT_EQ(scan_bytes(shared(own + protocol2(kCall)), {{"models"}}).verdict, Verdict::dangerous);
  EXPECT_THAT(scan(kHarmless).harmless, ElementsAre("collections.OrderedDict"));
}

TEST(PickleScan, files_that_are_not_there_are_unreadable) {
  EXPECT_EQ(scan_file("/does/not/exist").verdict, Verdict::unreadable);
  EXPECT_THAT(scan_file("/").reason, HasSubstr("folder"));
}

}  // namespace
}  // namespace taper
