// The mutators are worth their code if what they make gets past the door: most mutants of a readable input are
// readable, and not all of them are the input itself.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/mapped_file.h"
#include "formats/checkpoint_file.h"
#include "formats/onnx.h"
#include "formats/pickle.h"
#include "formats/saved_model.h"
#include "formats/tflite.h"
#include "formats/zip.h"
#include "targets.h"

namespace taper::fuzz {
namespace {

// In place of LLVMFuzzerMutate.
std::string flip_a_byte(std::string bytes, Random& random) {
  if (bytes.empty()) return "x";
  bytes[random.below(bytes.size())] ^= static_cast<char>(1 << random.below(8));
  return bytes;
}

SharedBytes shared(const std::string& text) {
  const Bytes bytes = as_bytes(text);
  return share({bytes.begin(), bytes.end()});
}

std::string seed(const std::string& file) {
  return std::string(as_text(map_file(std::filesystem::path(TAPER_SOURCE_DIR "/tests/fuzz/corpus") / file)->view));
}

struct Case {
  std::string name;
  std::string file;
  Mutator mutate;
  bool (*reads)(const std::string&);
  int least;  // of 200 mutants
};

// gtest prints parameters; without this their bytes, padding too.
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class Mutants : public testing::TestWithParam<Case> {};

TEST_P(Mutants, are_mostly_readable_and_differ) {
  const Case& c = GetParam();
  const std::string input = seed(c.file);
  ASSERT_TRUE(c.reads(input));
  int read = 0, changed = 0;
  for (unsigned i = 0; i < 200; ++i) {
    Random random(i + 1);
    const std::string mutant = c.mutate(input, random, flip_a_byte);
    if (mutant == input) continue;
    ++changed;
    if (c.reads(mutant)) ++read;
  }
  EXPECT_GE(changed, 150);
  EXPECT_GE(read, c.least);
  EXPECT_LT(read, 200);
}

bool reads_bundle(const std::string& text) {
  Bytes rest = as_bytes(text);
  const Bytes index = take_part(rest);
  return read_tensor_bundle(share({index.begin(), index.end()}), share({rest.begin(), rest.end()})).has_value();
}

bool reads_parts(const std::string& text) {
  Bytes rest = as_bytes(text);
  const Bytes model = take_part(rest);
  return read_saved_model(model) && reads_bundle(std::string(as_text(rest)));
}

const std::vector<Case> kCases = {
    {"zip", "export/seed_variants_gru.pt", mutate_zip,
     [](const std::string& t) { return open_zip(shared(t)).has_value(); }, 60},
    {"checkpoint", "export/seed_variants_gru.pt", mutate_checkpoint,
     [](const std::string& t) { return read_checkpoint(shared(t)).has_value(); }, 60},
    {"legacy", "export/seed_forms_legacy_strided.pt", mutate_checkpoint,
     [](const std::string& t) { return read_checkpoint(shared(t)).has_value(); }, 30},
    {"safetensors", "export/seed_forms_safetensors_f16_transformer_long.safetensors", mutate_safetensors,
     [](const std::string& t) { return read_checkpoint(shared(t)).has_value(); }, 60},
    {"tensor_bundle", "tensor_bundle/seed_gru", mutate_tensor_bundle, reads_bundle, 60},
    {"saved_model", "saved_model/seed_gru", mutate_message,
     [](const std::string& t) { return read_saved_model(as_bytes(t)).has_value(); }, 60},
    {"tensorflow", "tensorflow/seed_gru", mutate_tensorflow, reads_parts, 60},
    {"onnx", "onnx/seed_gru", mutate_message, [](const std::string& t) { return read_onnx(as_bytes(t)).has_value(); },
     60},
    {"tflite", "tflite/seed_gru", mutate_tflite,
     [](const std::string& t) { return read_tflite(shared(t)).has_value(); }, 60},
};

INSTANTIATE_TEST_SUITE_P(Fuzz, Mutants, testing::ValuesIn(kCases), [](const auto& c) { return c.param.name; });

TEST(SplitPickle, gives_every_opcode_and_leaves_what_follows) {
  const std::string text = std::string("\x80\x02}q\0X\1\0\0\0aK\1s.", 15) + "\x80\x02N." + "rest";
  const std::vector<std::string> parts = split_pickle(text);
  ASSERT_EQ(parts.size(), 11u);
  EXPECT_EQ(parts[3], std::string("X\1\0\0\0a", 6));
  EXPECT_EQ(parts.back(), "rest");
  std::string joined;
  for (const std::string& part : parts) joined += part;
  EXPECT_EQ(joined, text);
}

}  // namespace
}  // namespace taper::fuzz
