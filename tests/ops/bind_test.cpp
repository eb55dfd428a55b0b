// Values for symbols from the shapes of inputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/evaluate.h"

namespace taper {
namespace {

Expected<Bindings> bind(const std::vector<Shape>& types, const std::vector<std::vector<std::int64_t>>& shapes) {
  Graph graph;
  for (const Shape& shape : types) graph.add_input("x", {DType::f32, shape});
  return bind_symbols(graph.inputs(), shapes);
}

TEST(BindSymbols, solves_sizes_that_are_multiples_and_sums) {
  const Dim t = Dim::symbol("T"), b = Dim::symbol("B");
  EXPECT_EQ(bind({{b, Dim(2) * t + Dim(1)}}, {{3, 9}}), (Bindings{{"B", 3}, {"T", 4}}));
  EXPECT_EQ(bind({{Dim(5) - t}}, {{2}}), (Bindings{{"T", 3}}));
  EXPECT_EQ(bind({{b * t}, {b}}, {{12}, {3}}), (Bindings{{"B", 3}, {"T", 4}}));
}

TEST(BindSymbols, leaves_open_what_has_no_solution) {
  const Dim t = Dim::symbol("T");
  EXPECT_EQ(bind({{Dim(2) * t}}, {{7}}), Bindings());
  EXPECT_EQ(bind({{t * t}}, {{9}}), Bindings());
  EXPECT_FALSE(bind({{t}, {t + Dim(1)}}, {{3}, {3}}));
}

}  // namespace
}  // namespace taper
