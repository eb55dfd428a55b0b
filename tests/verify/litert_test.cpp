#include "verify/litert.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "formats/tflite.h"

namespace taper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Judges are software of others: scripts/test provides them and says so in TAPER_REQUIRE_JUDGES.
class LitertTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = load_litert();
    if (!loaded && std::getenv("TAPER_REQUIRE_JUDGES") == nullptr) GTEST_SKIP() << loaded.error().text();
    ASSERT_TRUE(loaded) << loaded.error().text();
    runtime_.emplace(std::move(*loaded));
  }
  const Litert& runtime() const { return *runtime_; }

 private:
  std::optional<Litert> runtime_;
};

// Builds files of one subgraph by hand.
struct FileBuilder {
  tflite::ModelT model;
  std::vector<WeightSource> buffers = {{}};
  tflite::SubGraphT* graph;

  FileBuilder() {
    model.subgraphs.push_back(std::make_unique<tflite::SubGraphT>());
    graph = model.subgraphs[0].get();
  }
  int tensor(std::string name, std::vector<int> shape, std::vector<int> signature = {},
             tflite::TensorType type = tflite::TensorType::FLOAT32, unsigned buffer = 0) {
    auto value = std::make_unique<tflite::TensorT>();
    value->name = std::move(name);
    value->shape = std::move(shape);
    value->shape_signature = std::move(signature);
    value->type = type;
    value->buffer = buffer;
    value->has_rank = true;
    graph->tensors.push_back(std::move(value));
    return static_cast<int>(graph->tensors.size()) - 1;
  }
  int constant(std::string name, const Tensor& value, DType stored) {
    buffers.push_back({value, stored});
    return tensor(std::move(name), {value.shape.begin(), value.shape.end()}, {}, *tflite_type(stored),
                  static_cast<unsigned>(buffers.size() - 1));
  }
  template <class Options = tflite::AbsOptionsT>
  void op(tflite::BuiltinOperator code, std::vector<int> inputs, std::vector<int> outputs, Options options = {},
          int version = 1) {
    auto entry = std::make_unique<tflite::OperatorCodeT>();
    entry->builtin_code = code;
    entry->version = version;
    model.operator_codes.push_back(std::move(entry));
    auto node = std::make_unique<tflite::OperatorT>();
    node->opcode_index = static_cast<unsigned>(model.operator_codes.size() - 1);
    node->inputs = std::move(inputs);
    node->outputs = std::move(outputs);
    if constexpr (!std::is_same_v<Options, tflite::AbsOptionsT>) node->builtin_options.Set(std::move(options));
    graph->operators.push_back(std::move(node));
  }
  void signature(const std::vector<std::pair<std::string, int>>& inputs,
                 const std::vector<std::pair<std::string, int>>& outputs) {
    auto signature = std::make_unique<tflite::SignatureDefT>();
    signature->signature_key = "serving_default";
    const auto fill = [](const auto& from, auto& to) {
      for (const auto& [name, index] : from) {
        auto map = std::make_unique<tflite::TensorMapT>();
        map->name = name;
        map->tensor_index = static_cast<unsigned>(index);
        to.push_back(std::move(map));
      }
    };
    fill(inputs, signature->inputs);
    fill(outputs, signature->outputs);
    model.signature_defs.push_back(std::move(signature));
  }
  SharedBytes bytes(const TfliteWriteOptions& options = {}) const {
    std::vector<std::byte> out;
    const Status status = write_tflite(model, buffers, sink_to(out), options);
    EXPECT_TRUE(status) << status.error().text();
    return share(std::move(out));
  }
};

const std::vector<float> kWeights = {1, -2, 3, 0.5f, 0.25f, -1};

// x [B, 3] -> y = GELU(x w^T) [B, 2] and z = -x w^T, w being float32 or float16; the signature names z first.
FileBuilder dense_model(DType stored = DType::f32) {
  FileBuilder file;
  const int x = file.tensor("x", {1, 3}, {-1, 3});
  int w = file.constant("w", tensor_f32({2, 3}, kWeights), stored);
  if (stored == DType::f16) {
    const int wide = file.tensor("w32", {2, 3});
    file.op(tflite::BuiltinOperator::DEQUANTIZE, {w}, {wide}, tflite::DequantizeOptionsT{}, 3);
    w = wide;
  }
  const int h = file.tensor("h", {1, 2}, {-1, 2});
  const int y = file.tensor("y", {1, 2}, {-1, 2});
  const int z = file.tensor("z", {1, 2}, {-1, 2});
  file.op(tflite::BuiltinOperator::FULLY_CONNECTED, {x, w, -1}, {h}, tflite::FullyConnectedOptionsT{});
  file.op(tflite::BuiltinOperator::GELU, {h}, {y}, tflite::GeluOptionsT{});
  file.op(tflite::BuiltinOperator::NEG, {h}, {z}, tflite::NegOptionsT{});
  file.graph->inputs = {x};
  file.graph->outputs = {y, z};
  file.signature({{"input", x}}, {{"negated", z}, {"output", y}});
  return file;
}

double gelu(double x) {
  return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
}

const Tensor& named(const std::vector<SignatureTensor>& values, std::string_view name) {
  static const Tensor missing;
  for (const SignatureTensor& value : values)
    if (value.name == name) return value.value;
  ADD_FAILURE() << "no output " << name;
  return missing;
}

// Runs the model on rows of the given number and compares with the formula.
void expect_dense(LitertModel& model, std::int64_t rows) {
  std::vector<float> x(static_cast<std::size_t>(rows * 3));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  const std::vector<SignatureTensor> inputs = {{"input", tensor_f32({rows, 3}, x)}};
  const auto result = model.run(inputs);
  ASSERT_TRUE(result) << result.error().text();
  const Tensor& output = named(*result, "output");
  const Tensor& negated = named(*result, "negated");
  ASSERT_EQ(output.shape, (std::vector<std::int64_t>{rows, 2}));
  const auto y = to_double(output);
  const auto z = to_double(negated);
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row)
    for (std::size_t unit = 0; unit < 2; ++unit) {
      double h = 0;
      for (std::size_t i = 0; i < 3; ++i) h += static_cast<double>(x[row * 3 + i] * kWeights[unit * 3 + i]);
      EXPECT_NEAR(y[row * 2 + unit], gelu(h), 1e-6);
      EXPECT_NEAR(z[row * 2 + unit], -h, 1e-6);
    }
}

TEST_F(LitertTest, knows_its_path_and_version) {
  EXPECT_TRUE(std::filesystem::exists(runtime().info().path));
  EXPECT_THAT(runtime().info().version, ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+.*"));
}

TEST_F(LitertTest, runs_a_written_file_in_any_batch_and_again) {
  for (const DType stored : {DType::f32, DType::f16})
    for (const int threads : {0, 1, 2}) {
      auto model = LitertModel::open(runtime(), dense_model(stored).bytes(), threads);
      ASSERT_TRUE(model) << model.error().text();
      EXPECT_THAT(model->input_names(), ElementsAre("input"));
      EXPECT_THAT(model->output_names(), ::testing::UnorderedElementsAre("negated", "output"));
      for (const std::int64_t rows : {1, 1, 5, 5, 2, 70, 1}) expect_dense(*model, rows);
    }
}

TEST_F(LitertTest, runs_a_file_with_data_behind_the_flatbuffer_from_disk) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("taper-litert-{}.tflite", ::getpid());
  std::ofstream(path, std::ios::binary) << as_text(dense_model().bytes({.external_above = 0}).view);
  auto model = LitertModel::open(runtime(), path);
  ASSERT_TRUE(model) << model.error().text();
  expect_dense(*model, 4);
  std::filesystem::remove(path);
}

TEST_F(LitertTest, several_models_live_side_by_side) {
  auto one = LitertModel::open(runtime(), dense_model().bytes());
  auto two = LitertModel::open(runtime(), dense_model(DType::f16).bytes());
  ASSERT_TRUE(one && two);
  expect_dense(*one, 2);
  expect_dense(*two, 3);
  LitertModel moved = std::move(*one);
  expect_dense(moved, 2);
}

// A WHILE with scalars and a body of its own: s, i = s + x[i], i + 1 while i < 3.
TEST_F(LitertTest, runs_a_loop) {
  FileBuilder file;
  const int x = file.tensor("x", {2, 4}, {-1, 4});
  const int start = file.constant("start", tensor_i32({}, std::vector<std::int32_t>{0}), DType::i32);
  const int last = file.tensor("last", {}, {}, tflite::TensorType::INT32);
  const int y = file.tensor("y", {2, 4}, {-1, 4});
  tflite::WhileOptionsT options;
  options.cond_subgraph_index = 1;
  options.body_subgraph_index = 2;
  file.op(tflite::BuiltinOperator::WHILE, {start, x}, {last, y}, options);
  file.graph->inputs = {x};
  file.graph->outputs = {y};
  file.signature({{"input", x}}, {{"output", y}});
  tflite::SubGraphT* main = file.graph;
  for (const bool body : {false, true}) {
    file.model.subgraphs.push_back(std::make_unique<tflite::SubGraphT>());
    file.graph = file.model.subgraphs.back().get();
    const int i = file.tensor("i", {}, {}, tflite::TensorType::INT32);
    const int s = file.tensor("s", {2, 4}, {-1, 4});
    file.graph->inputs = {i, s};
    if (body) {
      const int one = file.constant("one", tensor_i32({}, std::vector<std::int32_t>{1}), DType::i32);
      const int next = file.tensor("next", {}, {}, tflite::TensorType::INT32);
      const int twice = file.tensor("twice", {2, 4}, {-1, 4});
      file.op(tflite::BuiltinOperator::ADD, {i, one}, {next}, tflite::AddOptionsT{});
      file.op(tflite::BuiltinOperator::ADD, {s, s}, {twice}, tflite::AddOptionsT{});
      file.graph->outputs = {next, twice};
    } else {
      const int three = file.constant("three", tensor_i32({}, std::vector<std::int32_t>{3}), DType::i32);
      const int more = file.tensor("more", {}, {}, tflite::TensorType::BOOL);
      file.op(tflite::BuiltinOperator::LESS, {i, three}, {more}, tflite::LessOptionsT{});
      file.graph->outputs = {more};
    }
  }
  file.graph = main;
  auto model = LitertModel::open(runtime(), file.bytes());
  ASSERT_TRUE(model) << model.error().text();
  for (const std::int64_t rows : {2, 2, 5, 1}) {
    std::vector<float> values(static_cast<std::size_t>(rows * 4), 1.5f);
    const std::vector<SignatureTensor> inputs = {{"input", tensor_f32({rows, 4}, values)}};
    const auto result = model->run(inputs);
    ASSERT_TRUE(result) << result.error().text();
    const auto y_values = to_double(named(*result, "output"));
    EXPECT_EQ(y_values, std::vector<double>(values.size(), 12.0)) << rows;
  }
}

// What the runtime can't hand over must not look like a result. The count of non-zero entries shapes the output of
// WHERE.
TEST_F(LitertTest, an_output_whose_shape_depends_on_values_is_an_error) {
  FileBuilder file;
  const int x = file.tensor("x", {4}, {}, tflite::TensorType::BOOL);
  const int y = file.tensor("y", {1, 1}, {-1, 1}, tflite::TensorType::INT64);
  file.op(tflite::BuiltinOperator::WHERE, {x}, {y}, tflite::WhereOptionsT{});
  file.graph->inputs = {x};
  file.graph->outputs = {y};
  file.signature({{"input", x}}, {{"output", y}});
  auto model = LitertModel::open(runtime(), file.bytes());
  ASSERT_TRUE(model) << model.error().text();
  const Tensor values = make_tensor(DType::boolean, {4}, {std::byte{1}, std::byte{0}, std::byte{1}, std::byte{1}});
  const std::vector<SignatureTensor> inputs = {{"input", values}};
  const auto result = model->run(inputs);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().text(), HasSubstr("output"));
}

TEST_F(LitertTest, an_output_may_grow_with_the_elements_of_an_input_of_one_shape) {
  FileBuilder file;
  const int x = file.tensor("x", {6}, {}, tflite::TensorType::FLOAT32);
  const int places = file.tensor("places", {1, 1}, {-1, 1}, tflite::TensorType::INT64);
  const int y = file.tensor("y", {1, 1}, {-1, 1});
  file.op(tflite::BuiltinOperator::WHERE, {x}, {places}, tflite::WhereOptionsT{});
  file.op(tflite::BuiltinOperator::CAST, {places}, {y}, tflite::CastOptionsT{});
  file.graph->inputs = {x};
  file.graph->outputs = {y};
  file.signature({{"x", x}}, {{"y", y}});
  auto model = LitertModel::open(runtime(), file.bytes());
  ASSERT_TRUE(model) << model.error().text();
  for (const std::int64_t count : {0, 1, 6, 2, 0}) {
    std::vector<float> elements(6, 0);
    std::fill_n(elements.begin(), count, 1.0f);
    const auto found = model->run(std::vector{SignatureTensor{"x", tensor_f32({6}, elements)}}, {{"y", {count, 1}}});
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_THAT(named(*found, "y").shape, ElementsAre(count, 1));
  }
}

TEST_F(LitertTest, names_what_is_wrong_with_inputs) {
  auto model = LitertModel::open(runtime(), dense_model().bytes());
  ASSERT_TRUE(model) << model.error().text();
  const auto error_of = [&](const std::vector<SignatureTensor>& inputs) {
    const auto result = model->run(inputs);
    return result ? std::string("no error") : result.error().text();
  };
  const Tensor good = tensor_f32({1, 3}, std::vector<float>{1, 2, 3});
  EXPECT_EQ(error_of({}), "input 'input' is missing");
  EXPECT_EQ(error_of({{"input", good}, {"more", good}}), "the model has no input 'more', only 'input'");
  EXPECT_EQ(error_of({{"input", converted(good, DType::f64)}}), "input 'input' is float64, the model takes float32");
  EXPECT_THAT(error_of({{"input", tensor_f32({1, 4}, std::vector<float>{1, 2, 3, 4})}}),
              HasSubstr("refuses shape [1, 4] for input 'input'"));
  EXPECT_THAT(error_of({{"input", tensor_f32({0, 3}, std::vector<float>{})}}), HasSubstr("shape [0, 3] can't be run"));
  expect_dense(*model, 3);  // still usable
}

TEST_F(LitertTest, gives_the_reason_of_the_runtime) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("taper-text-{}.tflite", ::getpid());
  std::ofstream(path) << "this is not a model, whatever its length";
  auto model = LitertModel::open(runtime(), path);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().text(), HasSubstr("TFL3"));
  EXPECT_THAT(model.error().text(), HasSubstr(path.string()));
  std::filesystem::remove(path);
  EXPECT_FALSE(LitertModel::open(runtime(), SharedBytes{as_bytes("neither is this, of course"), nullptr}));
  model = LitertModel::open(runtime(), std::filesystem::path("/nowhere/model.tflite"));
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().text(), HasSubstr("in file '/nowhere/model.tflite'"));

  FileBuilder broken = dense_model();  // weights of another width than the input
  broken.graph->tensors[1]->shape = {3, 2};
  model = LitertModel::open(runtime(), broken.bytes());
  // "... (status): what the runtime reported", from compilation or from the first run.
  const auto reported = ::testing::ContainsRegex("\\): .*[Ff]ailed");
  if (model) {
    const std::vector<SignatureTensor> inputs = {{"input", tensor_f32({1, 3}, std::vector<float>{1, 2, 3})}};
    const auto result = model->run(inputs);
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error().text(), reported);
  } else {
    EXPECT_THAT(model.error().text(), reported);
  }
}

TEST_F(LitertTest, keeps_the_lines_of_the_runtime_off_standard_error) {
  ::testing::internal::CaptureStderr();
  {
    auto loaded = load_litert();
    ASSERT_TRUE(loaded);
    auto model = LitertModel::open(*loaded, dense_model().bytes());
    ASSERT_TRUE(model);
    expect_dense(*model, 9);
    std::fputs("ours\n", stderr);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "ours\n");
}

TEST(LitertLoading, says_why_nothing_was_loaded) {
  auto loaded = load_litert({});
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().hint, HasSubstr("TAPER_LITERT"));
  loaded = load_litert({"/nowhere/libLiteRt.so", "/etc/hostname"});
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, HasSubstr("/nowhere/libLiteRt.so"));
  EXPECT_THAT(loaded.error().message, HasSubstr("/etc/hostname"));
}

TEST(LitertLoading, looks_into_virtual_environments) {
  const auto root = std::filesystem::temp_directory_path() / fmt::format("taper-venv-{}", ::getpid());
  for (const char* version : {"python3.9", "python3.13"}) {
    const auto folder = root / "lib" / version / "site-packages" / "ai_edge_litert";
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "libLiteRt.so") << "x";
  }
  const char* outer = std::getenv("TAPER_LITERT");
  const std::string saved = outer == nullptr ? "" : outer;
  const char* outer_venv = std::getenv("VIRTUAL_ENV");
  const std::string saved_venv = outer_venv == nullptr ? "" : outer_venv;
  ::unsetenv("TAPER_LITERT");
  ::setenv("VIRTUAL_ENV", root.c_str(), 1);
  const auto found = litert_candidates();
  outer_venv == nullptr ? ::unsetenv("VIRTUAL_ENV") : ::setenv("VIRTUAL_ENV", saved_venv.c_str(), 1);
  ::setenv("TAPER_LITERT", "/only/this.so", 1);
  EXPECT_THAT(litert_candidates(), ElementsAre("/only/this.so"));
  outer == nullptr ? ::unsetenv("TAPER_LITERT") : ::setenv("TAPER_LITERT", saved.c_str(), 1);
  std::filesystem::remove_all(root);
  const auto inside = [&](const char* version) {
    return root / "lib" / version / "site-packages" / "ai_edge_litert" / "libLiteRt.so";
  };
  const auto first = std::ranges::find(found, inside("python3.13"));
  ASSERT_NE(first, found.end());
  EXPECT_EQ(*std::next(first), inside("python3.9"));
}

}  // namespace
}  // namespace taper
