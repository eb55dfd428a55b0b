// Every row's examples on integers of all dtypes: a file that is written is valid, runs, and gives what the row means.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "backend/onnx.h"
#include "backend/tflite.h"
#include "examples.h"
#include "formats/onnx.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "scratch_folder.h"
#include "verify/compare.h"
#include "verify/litert.h"
#include "verify/onnxruntime.h"

namespace taper {
namespace {

bool is_unsigned(DType dtype) {
  return dtype == DType::boolean || dtype == DType::u8 || dtype == DType::u16 || dtype == DType::u32 ||
         dtype == DType::u64;
}

// The example with all operands of its first one's dtype in another dtype.
Example in_dtype(const Example& example, DType dtype) {
  Example other = example;
  const DType first = example.operands[0].dtype;
  for (Type& type : other.operands)
    if (type.dtype == first) type.dtype = dtype;
  other.low = std::ceil(other.low);
  if (is_unsigned(dtype)) other.low = std::max(0.0, std::ceil(other.low));
  if (dtype == DType::boolean) other.high = 2;
  return other;
}

bool is_integer(DType dtype) {
  return !is_floating(dtype) && dtype != DType::boolean;
}

// Rows that move elements take all dtypes; others integers and booleans where one of their examples has such.
bool claims(const Op& op, DType dtype) {
  if (op.rearrange != nullptr || op.axes_of_x != nullptr) return true;
  return std::ranges::any_of(op.examples, [&](const Example& example) {
    if (example.operands.empty()) return false;
    const DType own = example.operands[0].dtype;
    return own == dtype || (is_integer(own) && is_integer(dtype));
  });
}

// The call; nothing where the row doesn't take such operands.
std::optional<Graph> call_of(const Op& op, const Example& example) {
  Graph graph;
  Builder build(graph);
  const std::vector<Value*> results = build.call(op.name, operands_in(graph, build, example), example.attrs);
  if (build.failed()) return std::nullopt;
  for (std::size_t i = 0; i < results.size(); ++i) graph.add_output("y" + std::to_string(i), results[i]);
  return graph;
}

std::vector<SignatureTensor> named_inputs(const Graph& graph, const std::vector<Array>& inputs) {
  std::vector<SignatureTensor> named;
  for (std::size_t i = 0; i < inputs.size(); ++i) named.push_back({graph.inputs()[i]->name, to_tensor(inputs[i])});
  return named;
}

// What is wrong with the results; nothing: they are those of the reference.
std::string complaint(const Op& op, const Expected<std::vector<SignatureTensor>>& outputs,
                      const std::vector<Array>& reference) {
  if (!outputs) return outputs.error().text();
  if (outputs->size() != reference.size()) return "another number of outputs";
  for (const SignatureTensor& output : *outputs) {
    const auto index = static_cast<std::size_t>(std::stoi(output.name.substr(1)));
    const auto agreement = compare(converted(to_tensor(reference[index]), output.value.dtype), output.value);
    if (!agreement) return agreement.error().text();
    if (!(agreement->relative_error < op.tolerance)) return fmt::format("an error of {}", agreement->relative_error);
  }
  return {};
}

class Dtypes : public testing::TestWithParam<DType> {
 protected:
  // Judges each call that can be said in a target.
  template <class Judge>
  static void judge_all(Target target, const Judge& judge) {
    for (const Op& op : op_table())
      for (std::size_t i = 0; i < op.examples.size(); ++i) {
        const Example& given = op.examples[i];
        if (given.operands.empty() || !claims(op, GetParam())) continue;
        const Example example = in_dtype(given, GetParam());
        const auto graph = call_of(op, example);
        if (!graph) continue;
        const std::vector<Array> inputs = random_inputs(example);
        const auto reference = evaluate(*graph, inputs);
        const auto legal = legalize(*graph, target);
        if (!reference || !legal) continue;  // told before a file is written
        const std::string wrong = judge(op, *graph, *legal, inputs, *reference);
        EXPECT_EQ(wrong, "") << op.name << ", example " << i << ", " << info(GetParam()).name << "\n" << print(*legal);
      }
  }
};

TEST_P(Dtypes, give_valid_onnx_that_runs) {
  const auto runtime = load_onnxruntime();
  if (!runtime) {
    ASSERT_EQ(std::getenv("TAPER_REQUIRE_JUDGES"), nullptr) << runtime.error().text();
  }
  const testing_support::ScratchFolder scratch;
  judge_all(Target::onnx,
            [&](const Op& op, const Graph& graph, const Graph& legal, const std::vector<Array>& inputs,
                const std::vector<Array>& reference) -> std::string {
              const auto file = spell_onnx(legal);
              if (!file) return file.error().text();
              if (const Status valid = check_onnx(file->model, file->weights); !valid) return valid.error().text();
              if (!runtime) return {};
              std::vector<std::byte> bytes;
              if (!write_onnx(file->model, file->weights, sink_to(bytes))) return "can't be written";
              scratch.file("call.onnx", std::string(as_text(bytes)));
              auto model = OnnxruntimeModel::open(*runtime, scratch.path() / "call.onnx");
              if (!model) return model.error().text();
              return complaint(op, model->run(named_inputs(graph, inputs)), reference);
            });
}

TEST_P(Dtypes, give_tflite_that_runs) {
  const auto runtime = load_litert();
  if (!runtime) {
    ASSERT_EQ(std::getenv("TAPER_REQUIRE_JUDGES"), nullptr) << runtime.error().text();
    GTEST_SKIP() << runtime.error().text();
  }
  judge_all(Target::tflite,
            [&](const Op& op, const Graph& graph, const Graph& legal, const std::vector<Array>& inputs,
                const std::vector<Array>& reference) -> std::string {
              const auto spelled = spell_tflite(legal, {.description = "", .default_sizes = {}});
              if (!spelled) return spelled.error().text();
              std::vector<std::byte> bytes;
              if (!write_tflite(spelled->model, spelled->buffers, sink_to(bytes))) return "can't be written";
              auto model = LitertModel::open(*runtime, share(std::move(bytes)));
              if (!model) return model.error().text();
              return complaint(op, model->run(named_inputs(graph, inputs)), reference);
            });
}

INSTANTIATE_TEST_SUITE_P(All, Dtypes,
                         testing::Values(DType::i64, DType::i32, DType::i16, DType::i8, DType::u8, DType::boolean),
                         [](const auto& named) { return std::string(taper::info(named.param).name); });

}  // namespace
}  // namespace taper
