// Packed sequences and nested tensors of PyTorch, which stand for padded batches.
#include <gtest/gtest.h>

#include <set>

#include "frontend/aten_table.h"
#include "ops/evaluate.h"

namespace taper::aten {
namespace {

struct Program {
  Graph graph;
  Builder build{graph};
  Context context{build};

  TensorPtr input(std::string name, DType dtype, Shape shape) {
    return Tensor::make(graph.add_input(std::move(name), {dtype, std::move(shape)}));
  }
  Expected<Arg> operator()(std::string_view name, std::vector<Arg> arguments) {
    std::vector<NamedArg> named;
    for (Arg& argument : arguments) named.push_back({"", std::move(argument)});
    return call(context, name, named);
  }
  std::vector<Arg> results(std::string_view name, std::vector<Arg> arguments) {
    auto result = (*this)(name, std::move(arguments));
    EXPECT_TRUE(result) << name << ": " << result.error().text();
    if (!result) return std::vector<Arg>(3);
    const auto* list = result->as<Arg::List>();
    return list != nullptr ? *list : std::vector<Arg>{*result};
  }
  std::string error(std::string_view name, std::vector<Arg> arguments) {
    const auto result = (*this)(name, std::move(arguments));
    return result ? "no error" : result.error().text() + " / " + result.error().hint;
  }
  std::vector<Array> run(const std::vector<Arg>& outputs, std::vector<Array> inputs) {
    for (const Arg& output : outputs) graph.add_output("y", (*output.as<TensorPtr>())->content(build));
    EXPECT_TRUE(build.status()) << build.status().error().text();
    auto found = evaluate(graph, std::move(inputs));
    EXPECT_TRUE(found) << found.error().text();
    return found ? *std::move(found) : std::vector<Array>(outputs.size());
  }
  // Whether the outputs come of an operator.
  bool needs(std::string_view op) const {
    std::vector<const Value*> open;
    std::set<const Node*> seen;
    for (const Output& output : graph.outputs()) open.push_back(output.value);
    while (!open.empty()) {
      const Node* node = open.back() == nullptr ? nullptr : open.back()->producer;
      open.pop_back();
      if (node == nullptr || !seen.insert(node).second) continue;
      if (node->op == op) return true;
      open.insert(open.end(), node->operands.begin(), node->operands.end());
    }
    return false;
  }
};

const Shape kBatch = {Dim::symbol("B"), Dim::symbol("T"), 1};

Array sequences() {
  return {DType::f32, {3, 4, 1}, {1, 2, 99, 99, 3, 4, 5, 6, 7, 99, 99, 99}};
}
Array steps_of_each() {
  return {DType::i64, {3}, {2, 4, 1}};
}

// What pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False) calls.
struct Packed {
  TensorPtr x;
  Arg data, batch_sizes, order, inverse;
};
Packed pack(Program& program) {
  const TensorPtr x = program.input("x", DType::f32, kBatch),
                  lengths = program.input("lengths", DType::i64, {kBatch[0]});
  const auto sorted = program.results("sort", {lengths, Arg(Dim(-1)), Arg(true)});
  const auto taken = program.results("index_select", {x, Arg(Dim(0)), sorted[1]});
  const auto packed = program.results("_pack_padded_sequence", {taken[0], sorted[0], Arg(true)});
  const Arg places = Tensor::make(arange(program.build, 0, 1, x->type().shape[0], DType::i64));
  const auto empty = program.results("empty_like", {sorted[1]});
  return {x, packed[0], packed[1], sorted[1],
          program.results("scatter", {empty[0], Arg(Dim(0)), sorted[1], places})[0]};
}

TEST(PackedSequences, hold_entries_step_by_step_and_are_padded_with_what_is_asked_for) {
  Program program;
  const Packed packed = pack(program);
  const auto longest = (*packed.batch_sizes.as<TensorPtr>())->type().shape[0];
  const auto padded =
      program.results("_pad_packed_sequence", {packed.data, packed.batch_sizes, Arg(true), Arg(-1.0), Arg(longest)});
  const auto found =
      program.run({packed.data, packed.batch_sizes, padded[0], padded[1]}, {sequences(), steps_of_each()});
  EXPECT_EQ(found[0].values, (std::vector<double>{3, 1, 7, 4, 2, 5, 6}));
  EXPECT_EQ(found[1].values, (std::vector<double>{3, 2, 1, 1}));
  EXPECT_EQ(found[2].values, (std::vector<double>{3, 4, 5, 6, 1, 2, -1, -1, 7, -1, -1, -1}));
  EXPECT_EQ(found[3].values, (std::vector<double>{4, 2, 1}));
}

TEST(PackedSequences, are_neither_sorted_nor_packed_where_each_is_computed_alone) {
  Program program;
  const Packed packed = pack(program);
  const auto weight = [&](std::vector<std::int64_t> shape) {
    const auto count = static_cast<std::size_t>(shape[0] * shape[1]);
    return Arg(Tensor::make(program.build.constant(tensor_f32(std::move(shape), std::vector<float>(count, 0.5F)))));
  };
  const Arg state = Tensor::make(full(program.build, {1, kBatch[0], 2}, Arg(0.0), DType::f32));
  const auto results =
      program.results("gru", {packed.data, packed.batch_sizes, state, Arg(Arg::List{weight({6, 1}), weight({6, 2})}),
                              Arg(false), Arg(Dim(1)), Arg(0.0), Arg(false), Arg(false)});
  const auto last = program.results("index_select", {results[1], Arg(Dim(1)), packed.inverse});
  const auto found = program.run({last[0]}, {sequences(), steps_of_each()});
  EXPECT_EQ(found[0].shape, (std::vector<std::int64_t>{1, 3, 2}));
  EXPECT_TRUE(program.needs("gru"));
  for (const char* op : {"sort", "gather", "gather_nd", "nonzero", "scatter_elements", "select"})
    EXPECT_FALSE(program.needs(op)) << op;
}

TEST(PackedSequences, that_others_packed_are_an_error) {
  Program program;
  const TensorPtr data = program.input("data", DType::f32, {7, 1}), sizes = program.input("sizes", DType::i64, {4});
  const std::string said = program.error("_pad_packed_sequence", {data, sizes, Arg(true), Arg(0.0), Arg(Dim(4))});
  EXPECT_NE(said.find("pack_padded_sequence"), std::string::npos) << said;
}

TEST(PackedSequences, want_known_lengths_that_fit) {
  for (const std::vector<std::int64_t>& wrong : {std::vector<std::int64_t>{5, 1}, {3, 0}}) {
    Program program;
    const TensorPtr x = program.input("x", DType::f32, {2, 4, 1});
    const Arg lengths = Tensor::make(program.build.constant(tensor_i64({2}, wrong)));
    const std::string said = program.error("_pack_padded_sequence", {x, lengths, Arg(true)});
    EXPECT_NE(said.find("a sequence of"), std::string::npos) << said;
  }
}

TEST(NestedTensors, are_padded_behind_the_entries_that_a_mask_counts) {
  Program program;
  const TensorPtr x = program.input("x", DType::f32, {2, 3, 1}), mask = program.input("mask", DType::boolean, {2, 3});
  const auto nested = program.results("_nested_tensor_from_mask", {x, mask, Arg(false)});
  const auto padded = program.results("to_padded_tensor", {nested[0], Arg(-1.0)});
  const auto found = program.run(
      {padded[0]}, {{DType::f32, {2, 3, 1}, {1, 2, 3, 4, 5, 6}}, {DType::boolean, {2, 3}, {1, 0, 0, 1, 1, 0}}});
  EXPECT_EQ(found[0].shape, (std::vector<std::int64_t>{2, 2, 1}));
  EXPECT_EQ(found[0].values, (std::vector<double>{1, -1, 4, 5}));
}

TEST(NestedTensors, hold_nothing_that_was_behind_their_ends) {
  Program program;
  const TensorPtr x = program.input("x", DType::f32, {2, 2, 1}), mask = program.input("mask", DType::boolean, {2, 2});
  const auto nested = program.results("_nested_tensor_from_mask", {x, mask, Arg(false)});
  const Arg held = Tensor::make((*nested[0].as<TensorPtr>())->content(program.build));
  const auto found =
      program.run({held}, {{DType::f32, {2, 2, 1}, {1, NAN, 3, 4}}, {DType::boolean, {2, 2}, {1, 0, 1, 1}}});
  EXPECT_EQ(found[0].values, (std::vector<double>{1, 0, 3, 4}));
}

TEST(PackedSequences, cut_others_to_the_steps_of_the_longest) {
  Program program;
  const Packed packed = pack(program);
  const auto longest = (*packed.batch_sizes.as<TensorPtr>())->type().shape[0];
  const auto padded =
      program.results("_pad_packed_sequence", {packed.data, packed.batch_sizes, Arg(true), Arg(0.0), Arg(Dim(0))});
  const auto cut = program.results("slice.Tensor", {packed.x, Arg(Dim(1)), Arg(Dim(0)), Arg(longest), Arg(Dim(1))});
  const auto sum = program.results("add.Tensor", {padded[0], cut[0]});
  EXPECT_EQ((*sum[0].as<TensorPtr>())->type().shape, (Shape{kBatch[0], longest, 1}));
}

TEST(PackedSequences, are_made_of_sequences_that_are_filled_up) {
  for (const bool batch_first : {false, true}) {
    Program program;
    const TensorPtr a = program.input("a", DType::f32, {3}), b = program.input("b", DType::f32, {1});
    const auto padded = program.results("pad_sequence", {Arg(Arg::List{a, b}), Arg(batch_first), Arg(-1.0)});
    const auto found = program.run({padded[0]}, {{DType::f32, {3}, {1, 2, 3}}, {DType::f32, {1}, {4}}});
    EXPECT_EQ(found[0].values,
              batch_first ? (std::vector<double>{1, 2, 3, 4, -1, -1}) : (std::vector<double>{1, 4, 2, -1, 3, -1}));
  }
}

TEST(NestedTensors, go_into_no_other_operator) {
  Program program;
  const TensorPtr x = program.input("x", DType::f32, {2, 3, 1}), mask = program.input("mask", DType::boolean, {2, 3});
  const auto nested = program.results("_nested_tensor_from_mask", {x, mask, Arg(false)});
  const std::string said = program.error("relu", {nested[0]});
  EXPECT_NE(said.find("enable_nested_tensor=False"), std::string::npos) << said;
}

}  // namespace
}  // namespace taper::aten
