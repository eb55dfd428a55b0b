// The committed checkpoints of real PyTorch, compared with what PyTorch itself reads from them (make_expected.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "formats/checkpoint_file.h"

namespace taper {
namespace {

using pickle::Value;
using testing::HasSubstr;

const std::filesystem::path kFixtures = TAPER_SOURCE_DIR "/tests/fixtures";

std::uint32_t crc_of(Bytes bytes) {
  return static_cast<std::uint32_t>(
      crc32(crc32(0, nullptr, 0), reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

// The same lines as make_expected.py's.
struct Lines {
  std::string text;
  int count = 0;
  std::vector<const Value*> above;

  void add_tensor(const std::string& path, const pickle::TensorValue& value) {
    if (value.is_numpy) return;
    const Tensor plain = converted(value.tensor, value.tensor.dtype);
    text += fmt::format("{}\t{}\t{}\t{:08x}\n", path, info(plain.dtype).name, shape_text(plain.shape),
                        crc_of(plain.bytes()));
    ++count;
  }

  void add(const std::string& path, const Value& value) {
    if (std::ranges::find(above, &value) != above.end()) return;
    above.push_back(&value);
    if (value.tensor()) add_tensor(path, *value.tensor());
    if (is_module(value)) {
      const auto tree = flatten_module(value);
      ASSERT_TRUE(tree) << tree.error().text();
      for (const NamedTensor& each : tree->state.tensors)
        if (each.persistent) add_tensor(fmt::format("{}/{}", path, each.key), *each.value);
    } else if (value.dict()) {
      for (const pickle::Entry& entry : value.entries()) {
        const std::string key =
            entry.key->text() ? std::string(*entry.key->text()) : fmt::format("{}", entry.key->integer().value_or(-1));
        add(fmt::format("{}/{}", path, key), *entry.value);
      }
    } else if (value.sequence() && value.sequence()->kind <= pickle::SequenceKind::tuple) {
      for (std::size_t i = 0; i < value.items().size(); ++i) add(fmt::format("{}/{}", path, i), *value.items()[i]);
    }
    above.pop_back();
  }
};

std::vector<std::vector<std::string>> expected_rows() {
  std::ifstream file(TAPER_SOURCE_DIR "/tests/formats/expected_tensors.txt");
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::vector<std::string>& row = rows.emplace_back(3);
    for (std::string& field : row) std::getline(fields, field, '\t');
  }
  return rows;
}

TEST(CheckpointFixtures, hold_the_tensors_that_pytorch_reads) {
  const auto rows = expected_rows();
  ASSERT_GT(rows.size(), 90u);
  for (const auto& row : rows) {
    SCOPED_TRACE(row[0]);
    const auto checkpoint = read_checkpoint(kFixtures / row[0]);
    ASSERT_TRUE(checkpoint) << checkpoint.error().text();
    Lines lines;
    lines.add("", *checkpoint->root);
    EXPECT_EQ(std::to_string(lines.count), row[1]);
    EXPECT_EQ(fmt::format("{:08x}", crc_of(as_bytes(lines.text))), row[2])
        << "compare with make_expected.py " << row[0] << ":\n"
        << lines.text;
  }
}

nlohmann::json all_fixtures() {
  std::ifstream file(kFixtures / "manifest.json");
  return nlohmann::json::parse(file)["fixtures"];
}

TEST(CheckpointFixtures, are_all_expected_somewhere) {
  std::vector<std::string> expected;
  for (const auto& row : expected_rows()) expected.push_back(row[0]);
  for (const auto& fixture : all_fixtures())
    if (fixture["accept"]) {
      EXPECT_THAT(expected, testing::Contains(fixture["file"].get<std::string>())) << "run make_expected.py";
    }
}

TEST(CheckpointFixtures, refused_ones_are_read_or_give_an_error_that_names_the_file) {
  for (const auto& fixture : all_fixtures()) {
    if (fixture["accept"]) continue;
    const auto file = fixture["file"].get<std::string>();
    const auto checkpoint = read_checkpoint(kFixtures / file);
    const bool broken = file.find("/not_a_checkpoint/") != std::string::npos ||
                        file.find("/truncated/") != std::string::npos || file.find("/damaged/") != std::string::npos;
    if (broken) {
      EXPECT_FALSE(checkpoint) << file;
    }
    if (!checkpoint) {
      EXPECT_THAT(checkpoint.error().text(), HasSubstr(file));
    }
  }
}

TEST(CheckpointFixtures, foreign_values_are_read_as_data) {
  for (const char* file : {"with_everything.pt", "with_everything_protocol5.pt", "with_everything_legacy.pt"}) {
    SCOPED_TRACE(file);
    const auto checkpoint = read_checkpoint(kFixtures / "checkpoints/training" / file);
    ASSERT_TRUE(checkpoint) << checkpoint.error().text();
    const auto at = [&](std::string_view key) -> const Value& {
      const Value* value = pickle::find(*checkpoint->root, key);
      return value ? *value : *checkpoint->root;
    };
    EXPECT_EQ(at("epoch").integer(), 41);
    EXPECT_EQ(at("seed").kind(), pickle::Kind::big_integer);
    EXPECT_EQ(at("np_float").number(), 0.9731);
    EXPECT_EQ(at("np_half").number(), 0.5);
    EXPECT_EQ(at("np_int").integer(), -7);
    EXPECT_EQ(at("np_bool").boolean(), true);
    EXPECT_EQ(pickle::describe(at("np_array")), "int16 [3, 4]");
    EXPECT_EQ(pickle::describe(at("np_fortran")), "float64 [2, 3]");
    EXPECT_EQ(to_double(at("np_fortran").tensor()->tensor), (std::vector<double>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(pickle::describe(at("np_record")).substr(0, 12), "object numpy");
    EXPECT_EQ(pickle::class_path(at("dtype")), "torch.float16");
    EXPECT_EQ(pickle::describe(at("size")), "tuple of 2 items");
    EXPECT_EQ(pickle::describe(at("sparse")), "torch._utils._rebuild_sparse_tensor, which is a sparse tensor");
    EXPECT_TRUE(at("parameter").tensor()->is_parameter);
    EXPECT_EQ(pickle::attribute(at("schedule"), "warmup_steps")->integer(), 500);
    EXPECT_EQ(pickle::attribute(at("slotted"), "patience")->integer(), 3);
    EXPECT_EQ(pickle::attribute(at("namespace"), "lr")->number(), 0.001);
    EXPECT_EQ(at("history").items().back(), &at("history"));  // a list in itself
  }
}

TEST(CheckpointFixtures, attributes_of_a_module_are_read) {
  for (const char* file : {"transformer.pt", "legacy_transformer.pt", "protocol4_transformer.pt"}) {
    SCOPED_TRACE(file);
    const auto checkpoint = read_checkpoint(kFixtures / "checkpoints/modules" / file);
    ASSERT_TRUE(checkpoint) << checkpoint.error().text();
    const auto tree = flatten_module(*checkpoint->root);
    ASSERT_TRUE(tree) << tree.error().text();
    EXPECT_EQ(tree->modules[0].class_path, "models.transformer.SignTransformer");
    ASSERT_NE(pickle::attribute(*tree->modules[0].object, "pooling_method"), nullptr);
    EXPECT_EQ(pickle::attribute(*tree->modules[0].object, "pooling_method")->text(), "mean");
    const auto attention = std::ranges::find(tree->modules, "encoder_layers.0.attention", &Module::path);
    ASSERT_NE(attention, tree->modules.end());
    EXPECT_GT(pickle::attribute(*attention->object, "num_heads")->integer(), 0);
  }
}

}  // namespace
}  // namespace taper
