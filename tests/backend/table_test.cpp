// Every row's examples as TFLite, computed by LiteRT.
#include <cstdlib>

#include "backend/tflite.h"
#include "examples.h"
#include "passes/passes.h"
#include "verify/compare.h"
#include "verify/litert.h"

namespace taper {
namespace {

class TfliteRow : public ExampleTest {};

TEST_P(TfliteRow, computes_the_formula_in_litert) {
  const Graph graph = call();
  const auto legal = legalize(graph, Target::tflite);
  if (!legal) {
    // Rows that only another target has. The error has to say so.
    EXPECT_FALSE(op().tflite.builtin) << legal.error().text();
    EXPECT_EQ(op().expansion_for(Target::tflite), nullptr) << legal.error().text();
    EXPECT_NE(legal.error().text().find(op().name), std::string::npos) << legal.error().text();
    return;
  }
  const auto runtime = load_litert();
  if (!runtime) {
    ASSERT_EQ(std::getenv("TAPER_REQUIRE_JUDGES"), nullptr) << runtime.error().text();
    GTEST_SKIP() << runtime.error().text();
  }
  const auto spelled = spell_tflite(*legal, {.description = "", .default_sizes = {}});
  ASSERT_TRUE(spelled) << spelled.error().text();
  std::vector<std::byte> bytes;
  ASSERT_TRUE(write_tflite(spelled->model, spelled->buffers, sink_to(bytes)));
  auto model = LitertModel::open(*runtime, share(std::move(bytes)));
  ASSERT_TRUE(model) << model.error().text();

  const std::vector<Array> inputs = random_inputs();
  const auto reference = evaluate(graph, inputs);
  ASSERT_TRUE(reference);
  std::vector<SignatureTensor> named;
  for (std::size_t i = 0; i < inputs.size(); ++i) named.push_back({graph.inputs()[i]->name, to_tensor(inputs[i])});
  const auto outputs = model->run(named);
  ASSERT_TRUE(outputs) << outputs.error().text();
  ASSERT_EQ(outputs->size(), reference->size());
  for (const SignatureTensor& output : *outputs) {
    const auto index = static_cast<std::size_t>(std::stoi(output.name.substr(1)));
    // TFLite counts sizes in 32 bits.
    const Tensor expected = converted(to_tensor((*reference)[index]), output.value.dtype);
    const auto agreement = compare(expected, output.value);
    ASSERT_TRUE(agreement) << agreement.error().text();
    EXPECT_LT(agreement->relative_error, op().tolerance) << op().name;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, TfliteRow, testing::ValuesIn(all_examples()), name_of_case);

}  // namespace
}  // namespace taper
