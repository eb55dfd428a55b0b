// Calls of PyTorch's operators, compared with what PyTorch gave (tests/fixtures/make_aten_cases.py).
#include "frontend/aten.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "frontend/aten_table.h"
#include "ops/evaluate.h"
#include "ops/table.h"

namespace taper::aten {
namespace {

using Json = nlohmann::json;

// A graph under construction, with values for its inputs.
struct Sketch {
  Graph graph;
  Builder build{graph};
  Context context{build};
  std::vector<Array> inputs;

  TensorPtr input(Array array) {
    const std::string name = "x" + std::to_string(inputs.size());
    Value* value = graph.add_input(name, {array.dtype, to_shape(array.shape)});
    inputs.push_back(std::move(array));
    return Tensor::make(value);
  }
  TensorPtr floats(std::vector<std::int64_t> shape, std::vector<double> values) {
    return input({DType::f32, std::move(shape), std::move(values)});
  }
  TensorPtr symbolic(Shape shape) {
    return Tensor::make(graph.add_input("x" + std::to_string(graph.inputs().size()), {DType::f32, std::move(shape)}));
  }
  TensorPtr integers(const std::vector<std::int64_t>& values) {
    return Tensor::make(build.constant(tensor_i64({static_cast<std::int64_t>(values.size())}, values)));
  }

  Expected<Arg> operator()(std::string_view name, std::vector<Arg> args, std::vector<NamedArg> named = {}) {
    std::vector<NamedArg> all;
    for (Arg& arg : args) all.push_back({"", std::move(arg)});
    all.insert(all.end(), named.begin(), named.end());
    return call(context, name, all);
  }
  TensorPtr tensor(std::string_view name, std::vector<Arg> args, std::vector<NamedArg> named = {}) {
    const auto result = (*this)(name, std::move(args), std::move(named));
    if (!result) {
      ADD_FAILURE() << name << ": " << result.error().message;
      return nullptr;
    }
    const TensorPtr* found = result->as<TensorPtr>();
    return found != nullptr ? *found : nullptr;
  }
  std::vector<double> values(const TensorPtr& tensor) {
    graph.add_output("y" + std::to_string(graph.outputs().size()), tensor->content(build));
    auto results = evaluate(graph, inputs);
    if (!results) {
      ADD_FAILURE() << results.error().message;
      return {};
    }
    return results->back().values;
  }
};

Arg list(std::initializer_list<std::int64_t> values) {
  Arg::List entries;
  for (const std::int64_t value : values) entries.emplace_back(Dim(value));
  return Arg(std::move(entries));
}

// ---------------------------------------------------------------------------------------------------- PyTorch's
// results

double number(const Json& json) {
  if (json.is_boolean()) return json.get<bool>() ? 1 : 0;
  if (!json.is_object()) return json.get<double>();
  const auto text = json["f"].get<std::string>();
  const double infinity = std::numeric_limits<double>::infinity();
  return text == "inf" ? infinity : text == "-inf" ? -infinity : std::numeric_limits<double>::quiet_NaN();
}

Array array_of(const Json& json) {
  Array array{*dtype_from_name(json["t"].get<std::string>()), json["s"].get<std::vector<std::int64_t>>(), {}};
  for (const Json& value : json["v"]) array.values.push_back(number(value));
  return array;
}

Arg argument(Sketch& sketch, const Json& json) {
  if (json.is_null()) return Arg{};
  if (json.is_boolean()) return Arg(json.get<bool>());
  if (json.is_number_integer()) return Arg(Dim(json.get<std::int64_t>()));
  if (json.is_number()) return Arg(json.get<double>());
  if (json.is_string()) return Arg(json.get<std::string>());
  if (json.is_array()) {
    Arg::List entries;
    for (const Json& entry : json) entries.push_back(argument(sketch, entry));
    return Arg(std::move(entries));
  }
  if (json.contains("re") && json["re"].is_number()) return Arg(ComplexNumber{number(json["re"]), number(json["im"])});
  if (json.contains("re"))
    return Arg(ComplexTensor{sketch.input(array_of(json["re"])), sketch.input(array_of(json["im"]))});
  if (json.contains("d") && json["d"].get<std::string>().starts_with("complex")) return Arg(ComplexDType{});
  if (json.contains("d")) return Arg(*dtype_from_name(json["d"].get<std::string>()));
  if (json.contains("f")) return Arg(number(json));
  // Integers and flags are constants, as far as programs look at them before they run.
  Array array = array_of(json);
  if (is_floating(array.dtype)) return Arg(sketch.input(std::move(array)));
  return Arg(Tensor::make(sketch.build.constant(to_tensor(array))));
}

// Tensors as outputs; numbers are compared at once.
void add_results(Sketch& sketch, const Arg& result, const Json& expected, std::vector<Json>& outputs) {
  if (result.is_none()) return;
  if (expected.is_array()) {
    const auto* entries = result.as<Arg::List>();
    ASSERT_TRUE(entries != nullptr && entries->size() == expected.size());
    for (std::size_t i = 0; i < entries->size(); ++i) add_results(sketch, (*entries)[i], expected[i], outputs);
  } else if (expected.is_object() && expected.contains("re")) {
    const auto* complex = result.as<ComplexTensor>();
    ASSERT_NE(complex, nullptr);
    add_results(sketch, complex->real, expected["re"], outputs);
    add_results(sketch, complex->imag, expected["im"], outputs);
  } else if (expected.is_object() && expected.contains("t")) {
    const TensorPtr* tensor = result.as<TensorPtr>();
    ASSERT_TRUE(tensor != nullptr && *tensor != nullptr);
    outputs.push_back(expected);
    sketch.graph.add_output("y" + std::to_string(outputs.size()), (*tensor)->content(sketch.build));
  } else if (const bool* flag = result.as<bool>()) {
    EXPECT_EQ(*flag, expected.get<bool>());
  } else {
    const Dim* dim = result.as<Dim>();
    ASSERT_NE(dim, nullptr);
    EXPECT_EQ(*dim, Dim(expected.get<std::int64_t>()));
  }
}

void expect_close(const Array& found, const Array& expected, double tolerance) {
  EXPECT_EQ(found.dtype, graph_dtype(expected.dtype));
  ASSERT_EQ(found.shape, expected.shape);
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    const double a = found.values[i], b = expected.values[i];
    if (std::isnan(b) ? std::isnan(a) : a == b || std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b))) continue;
    ADD_FAILURE() << "element " << i << " is " << a << ", expected " << b;
    return;
  }
}

void judge(const Json& line) {
  Sketch sketch;
  std::vector<NamedArg> arguments;
  for (const Json& arg : line["args"]) arguments.push_back({"", argument(sketch, arg)});
  if (line.contains("kwargs"))
    for (const auto& [name, arg] : line["kwargs"].items()) arguments.push_back({name, argument(sketch, arg)});
  const auto result = call(sketch.context, line["op"].get<std::string>(), arguments);
  ASSERT_TRUE(result) << result.error().message;
  std::vector<Json> outputs;
  add_results(sketch, *result, line["result"], outputs);
  if (outputs.empty()) return;
  const auto checked = check(sketch.graph);
  ASSERT_TRUE(checked) << checked.error().message;
  const auto found = evaluate(sketch.graph, sketch.inputs);
  ASSERT_TRUE(found) << found.error().message;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    expect_close((*found)[i], array_of(outputs[i]), line.value("tolerance", 2e-5));
}

TEST(AtenTest, calls_give_what_pytorch_gives) {
  std::ifstream file(TAPER_SOURCE_DIR "/tests/fixtures/aten_cases.jsonl");
  std::string line;
  std::size_t count = 0;
  while (std::getline(file, line)) {
    ++count;
    const Json json = Json::parse(line);
    SCOPED_TRACE("line " + std::to_string(count) + ": " + line.substr(0, 200));
    judge(json);
  }
  EXPECT_GT(count, 300U);
}

TEST(AtenTest, every_call_without_its_overload_finds_the_same) {
  Sketch s;
  const TensorPtr x = s.floats({2}, {1, 2});
  EXPECT_EQ(s.values(s.tensor("add", {x, x}, {{"alpha", Arg(Dim(2))}})), (std::vector<double>{3, 6}));
  EXPECT_EQ(s.values(s.tensor("add", {x, Arg(Dim(1))})), (std::vector<double>{2, 3}));
  EXPECT_EQ(s.values(s.tensor("add.Tensor", {x, Arg(1.5)})), (std::vector<double>{2.5, 3.5}));
  EXPECT_EQ(s.values(s.tensor("sum", {x, list({0}), Arg(true)})), (std::vector<double>{3}));
  EXPECT_EQ(s.values(s.tensor("max", {x, s.floats({2}, {0, 5})})), (std::vector<double>{1, 5}));
}

// -------------------------------------------------------------------------------------------------- writing through
// views

TEST(AtenTest, writes_through_views_of_views) {
  Sketch s;
  const TensorPtr x = s.floats({2, 3}, {0, 1, 2, 3, 4, 5});
  const TensorPtr flat = s.tensor("view", {x, list({6})});
  const TensorPtr row = s.tensor("select", {x, Arg(Dim(0)), Arg(Dim(1))});
  const TensorPtr part = s.tensor("slice", {row, Arg(Dim(0)), Arg(Dim(1)), Arg(Dim(3))});
  const TensorPtr turned = s.tensor("t", {x});
  s.tensor("mul_", {part, Arg(Dim(10))});
  EXPECT_EQ(s.values(x), (std::vector<double>{0, 1, 2, 3, 40, 50}));
  EXPECT_EQ(s.values(flat), (std::vector<double>{0, 1, 2, 3, 40, 50}));
  s.tensor("fill_", {s.tensor("select", {turned, Arg(Dim(0)), Arg(Dim(0))}), Arg(Dim(7))});
  EXPECT_EQ(s.values(x), (std::vector<double>{7, 1, 2, 7, 40, 50}));
  EXPECT_EQ(s.values(row), (std::vector<double>{7, 40, 50}));
  s.tensor("copy_", {s.tensor("slice", {flat, Arg(Dim(0)), Arg(Dim(0)), Arg{}, Arg(Dim(2))}), Arg(Dim(-1))});
  EXPECT_EQ(s.values(x), (std::vector<double>{-1, 1, -1, 7, -1, 50}));
}

TEST(AtenTest, writes_through_each_kind_of_view) {
  const std::vector<std::pair<const char*, std::vector<Arg>>> kinds = {
      {"unsqueeze", {Arg(Dim(0))}},
      {"squeeze", {}},
      {"permute", {list({1, 0})}},
      {"diagonal", {}},
      {"flatten", {}},
      {"detach", {}},
      {"narrow", {Arg(Dim(1)), Arg(Dim(0)), Arg(Dim(2))}},
      {"expand", {list({2, 2})}},
      {"contiguous", {}},
  };
  for (const auto& [name, rest] : kinds) {
    SCOPED_TRACE(name);
    Sketch s;
    const TensorPtr x = s.floats({2, 2}, {1, 2, 3, 4});
    std::vector<Arg> args = {x};
    args.insert(args.end(), rest.begin(), rest.end());
    s.tensor("add_", {s.tensor(name, args), Arg(Dim(10))});
    const bool diagonal = std::string_view(name) == "diagonal";
    EXPECT_EQ(s.values(x), diagonal ? (std::vector<double>{11, 2, 3, 14}) : (std::vector<double>{11, 12, 13, 14}));
  }
}

TEST(AtenTest, copies_are_no_views) {
  Sketch s;
  const TensorPtr x = s.floats({2, 2}, {1, 2, 3, 4});
  s.tensor("zero_", {s.tensor("clone", {x})});
  s.tensor("zero_", {s.tensor("reshape", {s.tensor("t", {x}), list({4})})});
  EXPECT_EQ(s.values(x), (std::vector<double>{1, 2, 3, 4}));
}

TEST(AtenTest, in_place_results_keep_the_dtype_and_the_shape) {
  Sketch s;
  const TensorPtr x = s.integers({1, 2});
  const TensorPtr y = s.tensor("add_", {x, Arg(Dim(1))});
  EXPECT_EQ(y, x);
  EXPECT_EQ(s.values(x), (std::vector<double>{2, 3}));
  s.tensor("copy_", {x, Arg(2.7)});
  EXPECT_EQ(x->type().dtype, DType::i64);
  EXPECT_EQ(s.values(x), (std::vector<double>{2, 2}));
}

TEST(AtenTest, refuses_to_write_through_an_expanded_view) {
  Sketch s;
  const TensorPtr wide = s.tensor("expand", {s.floats({1}, {1}), list({3})});
  const auto result = s("add_", {wide, Arg(Dim(1))});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, testing::HasSubstr("can't be written through"));
}

// --------------------------------------------------------------------------------------------------------- symbolic
// sizes

TEST(AtenTest, shapes_follow_symbols) {
  Sketch s;
  const Dim b = Dim::symbol("B"), t = Dim::symbol("T");
  const TensorPtr x = s.symbolic({b, t, 6});
  const auto size = s("size", {x, Arg(Dim(1))});
  ASSERT_TRUE(size);
  EXPECT_EQ(*size->as<Dim>(), t);
  EXPECT_EQ(s.tensor("view", {x, Arg(Arg::List{Arg(b), Arg(t), Arg(Dim(2)), Arg(Dim(-1))})})->type().shape,
            (Shape{b, t, 2, 3}));
  EXPECT_EQ(s.tensor("flatten", {x, Arg(Dim(0)), Arg(Dim(1))})->type().shape, (Shape{b * t, 6}));
  const Dim fewer = floor_divide(t, 10) - 1;
  const Arg heads(Arg::List{Arg(b), Arg(fewer), Arg(Dim(-1)), Arg(Dim(3))});
  EXPECT_EQ(s.tensor("view", {s.symbolic({b, fewer, 6}), heads})->type().shape, (Shape{b, fewer, 2, 3}));
  EXPECT_EQ(s.tensor("arange", {Arg(t)})->type().shape, Shape{t});
  EXPECT_EQ(s.tensor("slice", {x, Arg(Dim(1)), Arg(Dim(-1))})->type().shape, (Shape{b, 1, 6}));
  EXPECT_EQ(s.tensor("slice", {x, Arg(Dim(1)), Arg(Dim(1))})->type().shape, (Shape{b, t - Dim(1), 6}));
  EXPECT_EQ(s.tensor("slice", {x, Arg(Dim(1)), Arg{}, Arg(Dim(-1))})->type().shape, (Shape{b, t - Dim(1), 6}));
  EXPECT_EQ(s.tensor("expand", {x, list({-1, -1, 6})})->type().shape, (Shape{b, t, 6}));
}

TEST(AtenTest, a_table_cut_to_an_unknown_length_bounds_it) {
  Sketch s;
  const Dim t = Dim::symbol("T");
  const TensorPtr table = s.symbolic({32, 4});
  EXPECT_EQ(s.tensor("slice", {table, Arg(Dim(0)), Arg(Dim(0)), Arg(t)})->type().shape, (Shape{t, 4}));
  EXPECT_EQ(s.context.symbols.at("T").most, 32);
  EXPECT_EQ(s.context.warnings.size(), 1U);
  const Dim half = floor_divide(Dim::symbol("S") + 1, 2);
  EXPECT_EQ(s.tensor("slice", {table, Arg(Dim(0)), Arg(Dim(0)), Arg(half)})->type().shape, (Shape{half, 4}));
  EXPECT_EQ(s.context.symbols.at("S").most, 64);
  EXPECT_THAT(s.context.warnings.back(),
              testing::HasSubstr("S is taken to be at most 64: the program cuts a tensor of size 32"));
}

TEST(AtenTest, integers_come_back_out_of_tensors_of_sizes) {
  Sketch s;
  const Dim t = Dim::symbol("T");
  const TensorPtr size = s.tensor("scalar_tensor", {Arg(t)}, {{"dtype", Arg(DType::i64)}});
  const TensorPtr half = s.tensor("floor_divide", {s.tensor("add", {size, Arg(Dim(1))}), Arg(Dim(2))});
  const auto item = s("Int", {half});
  ASSERT_TRUE(item) << item.error().message;
  EXPECT_EQ(*item->as<Dim>(), floor_divide(t + Dim(1), 2));
  EXPECT_EQ(s.tensor("zeros", {Arg(Arg::List{Arg(half)})})->type().shape, Shape{floor_divide(t + Dim(1), 2)});
  const auto computed = s("item", {s.symbolic({})});
  ASSERT_FALSE(computed);
  EXPECT_THAT(computed.error().message, testing::HasSubstr("computed when the program runs"));
}

TEST(AtenTest, sizes_are_computed_with) {
  Graph graph;
  Builder build(graph);
  Context context{build, {{"T", {.least = 2, .most = 64}}}, {}};
  const Dim t = Dim::symbol("T");
  const auto run = [&](std::string_view name, std::vector<Arg> args) {
    auto result = call_on_sizes(context, name, args);
    return result && *result ? **result : Arg{};
  };
  EXPECT_EQ(*run("floordiv", {t, Dim(2)}).as<Dim>(), floor_divide(t, 2));
  EXPECT_EQ(*run("mul", {t, 2.0}).as<Dim>(), t * Dim(2));
  EXPECT_EQ(*run("mod", {Dim(-7), Dim(3)}).as<Dim>(), Dim(2));
  EXPECT_EQ(*run("truediv", {Dim(3), Dim(2)}).as<double>(), 1.5);
  EXPECT_EQ(*run("ge", {t, Dim(2)}).as<bool>(), true);
  EXPECT_EQ(*run("lt", {t, Dim(65)}).as<bool>(), true);
  EXPECT_EQ(*run("eq", {t, Dim(1)}).as<bool>(), false);
  EXPECT_EQ(*run("max", {t, Dim(1)}).as<Dim>(), t);
  EXPECT_EQ(*run("sym_min", {t, Dim(8)}).as<Dim>(), dim_min(t, 8));
  const auto open = call_on_sizes(context, "eq", std::array{Arg(t), Arg(Dim(8))});
  ASSERT_TRUE(open.has_value());
  ASSERT_FALSE(*open);
  EXPECT_THAT(open->error().message, testing::HasSubstr("T eq 8"));
  EXPECT_FALSE(call_on_sizes(context, "getitem", {}).has_value());
}

// -----------------------------------------------------------------------------------------------------------------
// errors

// A program over an axis of open size, at some of its sizes.
struct OpenAxis {
  Sketch sketch;
  Dim size = Dim::symbol("L");
  TensorPtr x = sketch.symbolic({2, size});

  std::vector<double> values(const TensorPtr& y, std::int64_t length) {
    if (sketch.graph.outputs().empty()) sketch.graph.add_output("y", y->content(sketch.build));
    Array array{DType::f32, {2, length}, {}};
    for (std::int64_t i = 0; i < 2 * length; ++i) array.values.push_back(static_cast<double>(i));
    const auto found = evaluate(sketch.graph, {array});
    EXPECT_TRUE(found) << found.error().message;
    return found ? found->back().values : std::vector<double>{};
  }
};

TEST(AtenTest, knows_the_ranges_of_remainders) {
  Sketch s;
  const Dim l = Dim::symbol("L");
  const Dim missing = floor_remainder(Dim(0) - l, 8), half = floor_divide(missing, 2);
  const auto lies_within = [&](const Dim& size, double least, double most) {
    const Interval range = range_of(s.context, size);
    return range.least == least && range.most == most;
  };
  EXPECT_TRUE(lies_within(missing, 0, 7));
  EXPECT_TRUE(lies_within(floor_remainder(Dim(4) - floor_remainder(l, 4), 4), 0, 3));
  EXPECT_TRUE(lies_within(half, 0, 3));
  EXPECT_TRUE(lies_within(missing - half, 0, 4));
  EXPECT_TRUE(lies_within(l - 3 * floor_divide(l, 3), 0, 2));
  EXPECT_EQ(known_less(s.context, l + missing, l), false);
  EXPECT_EQ(known_less_equal(s.context, floor_divide(l, 2), l), true);
}

TEST(AtenTest, pads_to_multiples_of_a_number) {
  using Values = std::vector<double>;
  const std::vector<std::pair<std::string, Values>> modes = {{"constant", {0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 0}},
                                                             {"reflect", {0, 1, 2, 3, 4, 3, 5, 6, 7, 8, 9, 8}},
                                                             {"replicate", {0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 9}},
                                                             {"circular", {0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 5}}};
  for (const auto& [mode, expected] : modes) {
    SCOPED_TRACE(mode);
    OpenAxis open;
    const Dim missing = floor_remainder(Dim(0) - open.size, 3);
    const TensorPtr y = open.sketch.tensor("pad", {open.x, Arg(Arg::List{Dim(0), missing}), mode});
    EXPECT_EQ(y->type().shape[1], open.size + missing);
    EXPECT_EQ(open.values(y, 5), expected);
    EXPECT_EQ(open.values(y, 3), (Values{0, 1, 2, 3, 4, 5}));
  }
}

TEST(AtenTest, pads_or_crops_by_what_sizes_say) {
  OpenAxis open;
  const TensorPtr y = open.sketch.tensor("pad", {open.x, Arg(Arg::List{open.size - Dim(4), Dim(-1)})});
  EXPECT_EQ(y->type().shape[1], 2 * open.size - Dim(5));
  EXPECT_THAT(open.values(y, 5), testing::ElementsAre(0, 0, 1, 2, 3, 0, 5, 6, 7, 8));
  EXPECT_THAT(open.values(y, 3), testing::ElementsAre(1, 4));
}

TEST(AtenTest, writes_every_other_entry_of_an_open_axis) {
  OpenAxis open;
  const TensorPtr copy = open.sketch.tensor("clone", {open.x});
  const TensorPtr odd = open.sketch.tensor("slice.Tensor", {copy, Dim(1), Dim(1), Arg{}, Dim(2)});
  open.sketch.tensor("mul_.Scalar", {odd, Dim(10)});
  EXPECT_THAT(open.values(copy, 3), testing::ElementsAre(0, 10, 2, 3, 40, 5));
  EXPECT_THAT(open.values(copy, 4), testing::ElementsAre(0, 10, 2, 30, 4, 50, 6, 70));
}

TEST(AtenTest, ranks_the_entries_of_an_open_axis) {
  OpenAxis running;
  const auto largest = running.sketch("cummax", {running.sketch.tensor("neg", {running.x}), Dim(1)});
  ASSERT_TRUE(largest) << largest.error().message;
  EXPECT_THAT(running.values(*(*largest->as<Arg::List>())[0].as<TensorPtr>(), 3),
              testing::ElementsAre(0, 0, 0, -3, -3, -3));
  OpenAxis middle;
  const auto median = middle.sketch("median.dim", {middle.x, Dim(1)});
  ASSERT_TRUE(median) << median.error().message;
  EXPECT_THAT(middle.values(*median->as<Arg::List>()->front().as<TensorPtr>(), 4), testing::ElementsAre(1, 5));
  OpenAxis between;
  const TensorPtr quantile = between.sketch.tensor("quantile.scalar", {between.x, 0.25, Dim(1)});
  EXPECT_THAT(between.values(quantile, 3), testing::ElementsAre(0.5, 3.5));
}

TEST(AtenTest, scales_open_sizes_by_decimals_and_tells_where_rounding_differs) {
  Sketch s;
  const Dim h = Dim::symbol("H");
  const auto resized = [&](double scale) {
    const TensorPtr y = s.tensor("upsample_nearest1d.vec", {s.symbolic({1, 2, h}), Arg{}, Arg(Arg::List{scale})});
    return y == nullptr ? Dim(0) : y->type().shape[2];
  };
  EXPECT_EQ(resized(1.5), floor_divide(3 * h, 2));
  EXPECT_TRUE(s.context.warnings.empty());
  EXPECT_EQ(resized(0.7), floor_divide(7 * h, 10));
  ASSERT_EQ(s.context.warnings.size(), 1U);
  EXPECT_THAT(s.context.warnings[0], testing::HasSubstr("a size of 90 times 0.7 is taken as 63"));
  const auto odd = s("upsample_nearest1d.vec", {s.symbolic({1, 2, h}), Arg{}, Arg(Arg::List{M_PI})});
  ASSERT_FALSE(odd);
  EXPECT_THAT(odd.error().message, testing::HasSubstr("no simple fraction"));
}

TEST(AtenTest, repeats_entries_as_often_as_is_computed) {
  Sketch s;
  const TensorPtr x = s.floats({3}, {1, 2, 3});
  const TensorPtr repeats = s.input({DType::i64, {3}, {2, 0, 1}});
  for (const auto& named : std::vector<std::vector<NamedArg>>{{}, {{"output_size", Dim(3)}}}) {
    const TensorPtr y = s.tensor("repeat_interleave.self_Tensor", {x, repeats, Dim(0)}, named);
    EXPECT_THAT(s.values(y), testing::ElementsAre(1, 1, 3));
  }
}

TEST(AtenTest, measures_how_many_entries_a_mask_picks) {
  Sketch s;
  const TensorPtr x = s.input({DType::f32, {2, 2}, {1, -2, 3, 4}});
  const TensorPtr mask = s.tensor("gt.Scalar", {x, Dim(0)});
  const TensorPtr picked = s.tensor("masked_select", {x, mask});
  EXPECT_THAT(s.values(picked), testing::ElementsAre(1, 3, 4));
  EXPECT_THAT(s.values(s.tensor("nonzero", {x})), testing::ElementsAre(0, 0, 0, 1, 1, 0, 1, 1));
  // A mask that is computed alike picks as many.
  const TensorPtr again = s.tensor("masked_select", {x, s.tensor("gt.Scalar", {x, Dim(0)})});
  EXPECT_EQ(again->type(), picked->type());
  EXPECT_THAT(s.values(s.tensor("add.Tensor", {picked, again})), testing::ElementsAre(2, 6, 8));
}

TEST(AtenTest, finds_distinct_values) {
  Sketch s;
  const TensorPtr x = s.input({DType::i64, {5}, {3, 1, 3, 3, 0}});
  const auto all = s("_unique2", {x, true, true, true});
  ASSERT_TRUE(all) << all.error().message;
  const Arg::List& results = *all->as<Arg::List>();
  EXPECT_THAT(s.values(*results[0].as<TensorPtr>()), testing::ElementsAre(0, 1, 3));
  EXPECT_THAT(s.values(*results[1].as<TensorPtr>()), testing::ElementsAre(2, 1, 2, 2, 0));
  EXPECT_THAT(s.values(*results[2].as<TensorPtr>()), testing::ElementsAre(1, 1, 3));
}

TEST(AtenTest, finds_distinct_rows) {
  Sketch s;
  const TensorPtr x = s.input({DType::i64, {2, 4}, {2, 1, 2, 1, 1, 3, 1, 2}});
  const auto all = s("unique_dim", {x, Dim(1), true, true, true});
  ASSERT_TRUE(all) << all.error().message;
  const Arg::List& results = *all->as<Arg::List>();
  EXPECT_THAT(s.values(*results[0].as<TensorPtr>()), testing::ElementsAre(1, 1, 2, 2, 3, 1));
  EXPECT_THAT(s.values(*results[1].as<TensorPtr>()), testing::ElementsAre(2, 1, 2, 0));
  EXPECT_THAT(s.values(*results[2].as<TensorPtr>()), testing::ElementsAre(1, 1, 2));
  const auto long_rows = s("unique_dim", {s.input({DType::i64, {1, 65}, std::vector<double>(65)}), Dim(0)});
  ASSERT_FALSE(long_rows);
  EXPECT_FALSE(long_rows.error().hint.empty());
}

TEST(AtenTest, differences_of_neighbours_have_one_size) {
  Sketch s;
  const TensorPtr x = s.input({DType::f32, {4}, {1, -2, 3, 4}});
  const TensorPtr places = s.tensor("masked_select", {x, s.tensor("gt.Scalar", {x, Dim(0)})});
  const Dim last = places->type().shape[0];
  const TensorPtr behind = s.tensor("slice.Tensor", {places, Dim(0), Dim(1), last});
  const TensorPtr before = s.tensor("slice.Tensor", {places, Dim(0), Dim(0), Dim(-1)});
  EXPECT_EQ(behind->type(), before->type());
  EXPECT_THAT(s.values(s.tensor("sub.Tensor", {behind, before})), testing::ElementsAre(2, 1));
}

TEST(AtenTest, inverts_larger_matrices_in_a_loop) {
  Sketch s;
  std::vector<double> entries(36, 0);
  for (std::size_t i = 0; i < 6; ++i) entries[i * 6 + (i + 1) % 6] = static_cast<double>(i + 1);  // needs other pivots
  const TensorPtr a = s.floats({6, 6}, entries);
  const TensorPtr product = s.tensor("matmul", {a, s.tensor("linalg_inv", {a})});
  EXPECT_EQ(std::ranges::count(s.graph.nodes(), std::string("scan"), &Node::op), 1);
  const std::vector<double> values = s.values(product);
  ASSERT_EQ(values.size(), 36U);
  for (std::size_t i = 0; i < 36; ++i) EXPECT_NEAR(values[i], i % 7 == 0 ? 1 : 0, 1e-6);
}

TEST(AtenTest, wraps_negative_indices_that_come_at_run_time) {
  Sketch sketch;
  const TensorPtr x = sketch.floats({4}, {10, 11, 12, 13});
  const TensorPtr index = sketch.input({DType::i64, {3}, {-1, 2, -4}});
  const TensorPtr y = sketch.tensor("index.Tensor", {x, Arg(Arg::List{index})});
  EXPECT_THAT(sketch.values(y), testing::ElementsAre(13, 12, 10));
  const TensorPtr taken = sketch.tensor("take", {x, index});
  EXPECT_THAT(sketch.values(taken), testing::ElementsAre(13, 12, 10));
  const TensorPtr put = sketch.tensor("index_put", {x, Arg(Arg::List{index}), sketch.floats({3}, {1, 2, 3})});
  EXPECT_THAT(sketch.values(put), testing::ElementsAre(3, 11, 2, 1));
}

TEST(AtenTest, compares_no_indices_that_can_not_be_negative) {
  Sketch sketch;
  const TensorPtr x = sketch.floats({4}, {10, 11, 12, 13});
  const TensorPtr codes = sketch.input({DType::i64, {3}, {-1, 2, 7}});
  const TensorPtr index = sketch.tensor("remainder.Scalar", {codes, Dim(4)});
  const TensorPtr y = sketch.tensor("index.Tensor", {x, Arg(Arg::List{index})});
  EXPECT_THAT(sketch.values(y), testing::ElementsAre(13, 12, 13));
  EXPECT_TRUE(std::ranges::none_of(sketch.graph.nodes(), [](const Node& node) { return node.op == "where"; }));
}

TEST(AtenTest, makes_bags_of_open_numbers_of_indices) {
  Sketch sketch;
  const Dim batch = Dim::symbol("B");
  const TensorPtr weight = sketch.symbolic({5, 2});
  const TensorPtr indices = Tensor::make(sketch.graph.add_input("indices", {DType::i64, {batch * Dim(3)}}));
  const TensorPtr offsets = sketch.tensor("arange.start_step", {Dim(0), batch * Dim(3), Dim(3)});
  const auto bags = sketch("embedding_bag", {weight, indices, offsets, false, Dim(1)});
  ASSERT_TRUE(bags) << bags.error().message;
  EXPECT_EQ(type_text((*bags->as<Arg::List>()->front().as<TensorPtr>())->type()), "f32[B, 2]");
  EXPECT_TRUE(std::ranges::none_of(sketch.graph.nodes(), [](const Node& node) { return node.op == "matmul"; }));
}

TEST(AtenTest, transforms_signals_in_reals) {
  Sketch sketch;
  const TensorPtr x = sketch.floats({1, 4}, {1, 2, 3, 4});
  const auto close_to = [](std::vector<double> values) {
    return testing::Pointwise(testing::DoubleNear(1e-5), std::move(values));
  };
  const auto complex = sketch("_fft_r2c", {x, list({1}), Dim(0), true});
  ASSERT_TRUE(complex) << complex.error().message;
  const TensorPtr parts = sketch.tensor("view_as_real", {*complex});  // 10, -2 + 2i, -2
  EXPECT_EQ(type_text(parts->type()), "f32[1, 3, 2]");
  EXPECT_THAT(sketch.values(parts), close_to({10, 0, -2, 2, -2, 0}));
  EXPECT_THAT(sketch.values(sketch.tensor("abs", {*complex})), close_to({10, std::sqrt(8.0), 2}));
  EXPECT_THAT(sketch.values(sketch.tensor("_fft_c2r", {*complex, list({1}), Dim(2), Dim(4)})), close_to({1, 2, 3, 4}));
  EXPECT_THAT(sketch.values(sketch.tensor("fft_irfft", {*complex, Dim(4)})), close_to({1, 2, 3, 4}));
  EXPECT_THAT(sketch.values(sketch.tensor("angle", {*complex})), close_to({0, 0.75 * M_PI, M_PI}));
  const auto back = sketch("fft_ifft", {*sketch("fft_fft", {x})});
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_THAT(sketch.values(sketch.tensor("real", {*back})), close_to({1, 2, 3, 4}));
  EXPECT_THAT(sketch.values(sketch.tensor("imag", {*back})), close_to({0, 0, 0, 0}));
}

TEST(AtenTest, computes_with_complex_numbers) {
  Sketch sketch;
  const auto z = sketch("view_as_complex", {sketch.floats({2, 2}, {1, 2, 3, -1})});  // 1 + 2i, 3 - i
  ASSERT_TRUE(z) << z.error().message;
  const auto parts = [&](const Expected<Arg>& arg) {
    return arg ? sketch.values(sketch.tensor("view_as_real", {*arg})) : std::vector<double>{};
  };
  EXPECT_THAT(parts(sketch("mul.Tensor", {*z, *z})), testing::ElementsAre(-3, 4, 8, -6));
  EXPECT_THAT(parts(sketch("mul.Tensor", {*z, sketch.floats({2}, {2, 3})})), testing::ElementsAre(2, 4, 9, -3));
  EXPECT_THAT(parts(sketch("add.Tensor", {*z, *z})), testing::ElementsAre(2, 4, 6, -2));
  EXPECT_THAT(parts(sketch("unsqueeze", {*z, Dim(0)})), testing::ElementsAre(1, 2, 3, -1));
  EXPECT_THAT(parts(sketch("_conj", {*z})), testing::ElementsAre(1, -2, 3, 1));
  EXPECT_FALSE(sketch("relu", {*z}));
  EXPECT_THAT(parts(sketch("add.Tensor", {*z, sketch.floats({2}, {2, 3})})), testing::ElementsAre(3, 2, 6, -1));
}

TEST(AtenTest, writes_into_complex_numbers_and_what_they_are_views_of) {
  Sketch sketch;
  const TensorPtr x = sketch.floats({2, 2}, {1, 2, 3, -1});
  const Arg z = *sketch("view_as_complex", {x});
  const TensorPtr parts = sketch.tensor("view_as_real", {z});
  ASSERT_TRUE(sketch("mul_.Tensor", {z, ComplexNumber{0, 1}}));
  EXPECT_THAT(sketch.values(x), testing::ElementsAre(-2, 1, 1, 3));
  EXPECT_THAT(sketch.values(parts), testing::ElementsAre(-2, 1, 1, 3));
  ASSERT_TRUE(
      sketch("copy_", {*sketch("select.int", {z, Dim(0), Dim(1)}), *sketch("select.int", {z, Dim(0), Dim(0)})}));
  EXPECT_THAT(sketch.values(x), testing::ElementsAre(-2, 1, -2, 1));
  // Through the parts alone nothing is written, as the other part's views would miss it.
  EXPECT_FALSE(sketch("mul_.Scalar", {sketch.tensor("imag", {z}), Dim(2)}));
  EXPECT_FALSE(sketch("mul_.Scalar", {parts, Dim(2)}));
}

TEST(AtenTest, takes_no_reals_for_complex_numbers_in_silence) {
  Sketch sketch;
  const TensorPtr x = sketch.floats({2}, {1, 2});
  const Arg z = *sketch("complex", {x, x});
  EXPECT_FALSE(sketch("view_as_real", {x}));
  EXPECT_FALSE(sketch("cat", {Arg(Arg::List{z, x})}));
  EXPECT_FALSE(sketch("masked_fill.Scalar", {x, sketch.tensor("gt.Scalar", {x, Dim(1)}), ComplexNumber{0, 1}}));
  EXPECT_FALSE(sketch("copy_", {x, z}));
  EXPECT_FALSE(sketch("max", {z}));
}

TEST(AtenTest, takes_losses_whose_open_sizes_have_two_symbols) {
  const std::vector<std::pair<const char*, Shape>> losses = {{"cross_entropy_loss", {Dim::symbol("M")}},
                                                             {"cross_entropy_loss", {Dim::symbol("M"), 3}},
                                                             {"multi_margin_loss", {Dim::symbol("M")}},
                                                             {"multilabel_margin_loss", {Dim::symbol("M"), 3}}};
  for (const auto& [name, target] : losses) {
    SCOPED_TRACE(name);
    std::vector<std::vector<double>> found;
    for (const Dim& rows : {Dim::symbol("N"), Dim(2)}) {
      Sketch sketch;
      const TensorPtr scores = sketch.symbolic({rows, 3});
      Shape shape = target;
      if (rows.constant()) shape[0] = 2;
      std::vector<NamedArg> options;
      if (std::string_view(name) == "cross_entropy_loss") options.push_back({"label_smoothing", Arg(0.1)});
      const TensorPtr y = sketch.tensor(name, {scores, sketch.symbolic(shape)}, options);
      ASSERT_NE(y, nullptr);
      sketch.graph.add_output("y", y->content(sketch.build));
      Array classes{DType::f32, {2}, {2, 0}};
      if (shape.size() == 2) classes = {DType::f32, {2, 3}, {0, 1, 0, 1, 0, 0}};
      const auto results = evaluate(sketch.graph, {{DType::f32, {2, 3}, {0.5, -1, 2, 1, 0, -2}}, classes});
      ASSERT_TRUE(results) << results.error().text();
      found.push_back(results->back().values);
    }
    EXPECT_EQ(found[0], found[1]);
  }
}

TEST(AtenTest, transforms_signals_of_open_size) {
  Sketch sketch;
  const Dim t = Dim::symbol("T");
  const auto z = sketch("fft_rfft", {sketch.symbolic({2, t})});
  ASSERT_TRUE(z) << z.error().message;
  const TensorPtr y = sketch.tensor("fft_irfft", {*z, t});
  ASSERT_NE(y, nullptr);
  EXPECT_EQ(y->type().shape, (Shape{2, t}));
  sketch.graph.add_output("y", y->content(sketch.build));
  for (const std::int64_t size : {5, 8}) {
    Array x{DType::f32, {2, size}, {}};
    for (std::int64_t i = 0; i < 2 * size; ++i) x.values.push_back(static_cast<double>(i * i % 7));
    const auto found = evaluate(sketch.graph, {x});
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_THAT(found->back().values, testing::Pointwise(testing::DoubleNear(1e-5), x.values));
  }
}

TEST(AtenTest, takes_gradients_of_convolutions_of_open_sizes) {
  Sketch sketch;
  const Dim n = Dim::symbol("N"), l = Dim::symbol("L");
  const TensorPtr x = sketch.symbolic({n, 2, l});
  const TensorPtr weight = sketch.floats({4, 1, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3});
  const Arg one = list({1}), two = list({2}), none = list({0});
  const TensorPtr y = sketch.tensor("convolution", {x, weight, Arg{}, two, one, one, false, none, Dim(2)});
  ASSERT_NE(y, nullptr);
  const auto gradients = sketch("convolution_backward", {y, x, weight, Arg{}, two, one, one, false, none, Dim(2),
                                                         Arg(Arg::List{true, true, false})});
  ASSERT_TRUE(gradients) << gradients.error().message;
  const Arg::List& results = *gradients->as<Arg::List>();
  EXPECT_EQ((*results[0].as<TensorPtr>())->type(), x->type());
  EXPECT_EQ((*results[1].as<TensorPtr>())->type(), weight->type());
  EXPECT_TRUE(results[2].is_none());
}

TEST(AtenTest, takes_no_heed_of_devices) {
  Sketch sketch;
  const TensorPtr y = sketch.tensor("to.device", {sketch.floats({2}, {1.5, -2.5}), Arg{}, DType::i64});
  ASSERT_NE(y, nullptr);
  EXPECT_THAT(sketch.values(y), testing::ElementsAre(1, -2));
}

TEST(AtenTest, writes_into_out_what_has_its_shape) {
  Sketch sketch;
  const TensorPtr x = sketch.floats({2}, {1, 2});
  const TensorPtr out = sketch.floats({2}, {0, 0});
  EXPECT_EQ(sketch.tensor("mul.out", {x, x}, {{"out", out}}), out);
  EXPECT_THAT(sketch.values(out), testing::ElementsAre(1, 4));
  const auto wrong = sketch("mul.out", {x, x}, {{"out", sketch.floats({3, 2}, {0, 0, 0, 0, 0, 0})}});
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, testing::HasSubstr("another shape than 'out', which is f32[3, 2]"));
  EXPECT_EQ(sketch.tensor("add", {x, x}, {{"out", out}}), out);
}

TEST(AtenTest, refuses_grids_that_do_not_fit) {
  Sketch s;
  const auto op = [](const char* name) { return std::string("quantized_decomposed::") + name; };
  const TensorPtr x = s.floats({2, 3}, {1, 2, 3, 4, 5, 6}), pair = s.floats({2}, {1, 1});
  const TensorPtr one = s.floats({}, {1});
  const Arg least(Dim(-128)), most(Dim(127)), dtype(DType::i8);
  EXPECT_FALSE(s(op("quantize_per_channel"), {x, pair, pair, Arg(Dim(1)), least, most, dtype}));
  EXPECT_FALSE(s(op("quantize_per_channel"), {x, pair, pair, Arg(Dim(2)), least, most, dtype}));
  EXPECT_FALSE(s(op("quantize_per_channel"), {one, one, one, Arg(Dim(0)), least, most, dtype}));
  EXPECT_FALSE(s(op("quantize_per_tensor.tensor"), {x, pair, pair, least, most, dtype}));
  for (const int group : {-1, 0, 2, 4})
    EXPECT_FALSE(s(op("quantize_per_channel_group"), {x, pair, pair, least, most, dtype, Arg(Dim(group))})) << group;
  EXPECT_FALSE(s(op("quantize_per_channel_group"), {pair, pair, pair, least, most, dtype, Arg(Dim(1))}));
  EXPECT_FALSE(s(op("choose_qparams.tensor"), {x, most, least, Arg(0.1), dtype}));
  EXPECT_FALSE(s(op("choose_qparams_per_token"), {one, dtype}));
  EXPECT_FALSE(s(op("choose_qparams_per_token_asymmetric"), {one, dtype}));
}

TEST(AtenTest, says_what_does_not_fit) {
  Sketch s;
  const TensorPtr x = s.floats({2}, {1, 2});
  const auto message = [&](const Expected<Arg>& result) { return result ? "" : result.error().message; };
  EXPECT_EQ(message(s("no_such_thing", {x})), "there is no operator aten.no_such_thing");
  EXPECT_THAT(message(s("topk", {x})), testing::HasSubstr("'k' is missing"));
  EXPECT_THAT(message(s("relu", {x, x})), testing::HasSubstr("takes 1 positional arguments"));
  EXPECT_THAT(message(s("sum", {x, Arg("text")})), testing::HasSubstr("no overload takes"));
  EXPECT_THAT(message(s("softmax", {x, Arg(Dim(3))})), testing::HasSubstr("axis 3"));
}

TEST(AtenTest, knows_overloads_aliases_and_in_place_forms) {
  EXPECT_TRUE(knows("add.Tensor"));
  EXPECT_TRUE(knows("add_.Tensor"));
  EXPECT_TRUE(knows("relu.default"));
  EXPECT_TRUE(knows("multiply"));
  EXPECT_TRUE(knows("permute_copy"));
  EXPECT_FALSE(knows("add.Nothing"));
  EXPECT_FALSE(knows("fft_hfft2"));
  EXPECT_GT(known_overloads().size(), 400U);
}

}  // namespace
}  // namespace taper::aten
