#include "frontend/families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <map>

#include "fake_checkpoints.h"
#include "frontend/weights.h"
#include "ops/evaluate.h"

namespace taper {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// Everything that a transformer's shapes don't tell, and a length that its table has.
LoadOptions told() {
  LoadOptions options;
  options.config.num_heads = 2;
  options.config.pooling = "mean";
  options.config.norm_eps = 1e-6;
  options.sequence_length = 10;
  return options;
}

LoadOptions untold() {
  LoadOptions options;
  options.sequence_length = 10;
  return options;
}

Expected<ImportedModel> import_weights(const Weights& weights, const LoadOptions& options = untold()) {
  Values values;
  return import_checkpoint(values.checkpoint(values.state(weights)), options);
}

ImportedModel import_ok(const Checkpoint& checkpoint, const LoadOptions& options = untold()) {
  auto model = import_checkpoint(checkpoint, options);
  EXPECT_TRUE(model) << model.error().text();
  return model ? std::move(*model) : ImportedModel{};
}

ImportedModel import_ok(const Weights& weights, const LoadOptions& options = untold()) {
  Values values;
  return import_ok(values.checkpoint(values.state(weights)), options);
}

std::string error_of(const Weights& weights, const LoadOptions& options = untold()) {
  const auto model = import_weights(weights, options);
  return model ? "" : model.error().text();
}

std::string error_of(const Checkpoint& checkpoint, const LoadOptions& options = untold()) {
  const auto model = import_checkpoint(checkpoint, options);
  return model ? "" : model.error().text();
}

HyperParameter parameter(const ModelInfo& info, std::string_view name) {
  const auto found = std::ranges::find(info.hyper_parameters, name, &HyperParameter::name);
  return found == info.hyper_parameters.end() ? HyperParameter{} : *found;
}

std::vector<const Node*> nodes_of(const Graph& graph, std::string_view op) {
  std::vector<const Node*> nodes;
  for (const Node& node : graph.nodes())
    if (node.op == op) nodes.push_back(&node);
  return nodes;
}

const Tensor* constant_named(const Graph& graph, std::string_view name) {
  for (const Node* node : nodes_of(graph, "constant"))
    if (node->result()->name == name) return constant_of(node->result());
  return nullptr;
}

std::vector<double> outputs_for(const Graph& graph, std::int64_t frames = 3) {
  const auto outputs = evaluate(graph, {to_array(random_tensor({2, frames, 4}, 99))});
  EXPECT_TRUE(outputs) << outputs.error().text();
  return outputs ? outputs->front().values : std::vector<double>{};
}

// ---------------------------------------------------------------------------------------------------- the graph

TEST(Families, names_inputs_outputs_weights_and_scopes) {
  const ImportedModel model = import_ok(transformer_weights(), told());
  ASSERT_THAT(model.graph.inputs(), SizeIs(1));
  EXPECT_EQ(model.graph.inputs()[0]->name, "input");
  EXPECT_EQ(type_text(model.graph.inputs()[0]->type), "f32[batch_size, sequence_length, 4]");
  ASSERT_THAT(model.graph.outputs(), SizeIs(1));
  EXPECT_EQ(model.graph.outputs()[0].name, "output");
  EXPECT_EQ(type_text(model.graph.outputs()[0].value->type), "f32[batch_size, 5]");
  EXPECT_TRUE(constant_named(model.graph, "encoder_layers.0.attention.W_q.weight"));
  EXPECT_FALSE(constant_named(model.graph, "cls_token"));
  EXPECT_FALSE(constant_named(model.graph, "category_head.0.weight"));
  EXPECT_EQ(nodes_of(model.graph, "multi_head_attention")[0]->scope, "encoder_layers.0.attention");
  EXPECT_EQ(model.info.family, "SignTransformer");
  EXPECT_EQ(model.info.source_format, "PyTorch zip checkpoint");
  EXPECT_THAT(model.info.input_shape, ElementsAre(1, 10, 4));
  EXPECT_THAT(model.info.outputs, ElementsAre("output"));
  EXPECT_THAT(model.info.warnings, IsEmpty());
  EXPECT_THAT(model.info.assumptions, IsEmpty());
}

TEST(Families, counts_weights_but_not_the_positional_table) {
  std::int64_t count = 0;
  for (const auto& [key, tensor] : transformer_weights()) count += key == "pos_encoder.pe" ? 0 : tensor.element_count();
  EXPECT_EQ(import_ok(transformer_weights(), told()).info.parameters, count);
}

TEST(Families, leaves_float32_weights_where_they_are) {
  const Weights weights = gru_weights();
  const ImportedModel model = import_ok(weights);
  const Tensor* constant = constant_named(model.graph, "gru1.weight_ih_l0");
  ASSERT_TRUE(constant);
  EXPECT_EQ(constant->bytes().data(), weights[0].second.bytes().data());
}

TEST(Families, exports_the_category_head_when_all_heads_are_wanted) {
  LoadOptions options = untold();
  options.all_heads = true;
  const ImportedModel model = import_ok(gru_weights(), options);
  EXPECT_THAT(model.info.outputs, ElementsAre("output", "category"));
  EXPECT_EQ(type_text(model.graph.outputs()[1].value->type), "f32[batch_size, 3]");
  const ImportedModel headless = import_ok(gru_ctc_weights(), options);
  EXPECT_THAT(headless.info.outputs, ElementsAre("output"));
  EXPECT_THAT(headless.info.warnings, ElementsAre(HasSubstr("no category head")));
}

TEST(Families, a_gru_without_biases_is_one_with_biases_of_zero) {
  const Weights bare = gru_weights(false);
  Weights zeros = bare;
  for (const auto& [path, size] : {std::pair{"gru1", 18}, {"gru2", 15}})
    for (const char* name : {".bias_ih_l0", ".bias_hh_l0"})
      zeros.emplace_back(std::string(path) + name,
                         tensor_f32({size}, std::vector<float>(static_cast<std::size_t>(size))));
  EXPECT_EQ(outputs_for(import_ok(bare).graph), outputs_for(import_ok(zeros).graph));
}

// -------------------------------------------------------------------------------- what shapes don't tell, and who does

TEST(Settings, names_every_assumed_value) {
  const ModelInfo info = import_ok(transformer_weights()).info;
  EXPECT_THAT(info.assumptions, SizeIs(3));
  EXPECT_THAT(info.assumptions, Contains(HasSubstr("the number of attention heads (n_heads) was assumed to be 8")));
  EXPECT_THAT(info.assumptions, Contains(HasSubstr("the pooling over time (pooling_method) was assumed to be 'mean'")));
  EXPECT_THAT(info.assumptions, Contains(HasSubstr("the epsilon of the norms (norm_eps) was assumed to be 1e-06")));
  EXPECT_EQ(parameter(info, "n_heads").origin, "assumed");
  EXPECT_EQ(parameter(info, "emb_dim").origin, "shapes");
  EXPECT_EQ(parameter(info, "emb_dim").value, "8");
  EXPECT_THAT(import_ok(gru_ctc_weights()).info.assumptions,
              ElementsAre(HasSubstr("(ln_eps) was assumed to be 1e-05")));
}

TEST(Settings, take_the_configuration_before_the_module_before_hyper_parameters) {
  Values values;
  const Weights weights = transformer_weights();
  const auto file = [&](const std::map<std::string, Values::Entries>& attributes) {
    return values.checkpoint(values.dict(
        {{"model", values.module(weights, attributes)},
         {"config", values.dict({{"n_heads", values.number(1)}, {"pooling_method", values.text("max")}})}}));
  };
  const std::map<std::string, Values::Entries> attributes = {
      {"", {{"pooling_method", values.text("cls")}}},
      {"encoder_layers.0.attention", {{"num_heads", values.number(4)}}}};

  const ModelInfo configured = import_ok(file(attributes), told()).info;
  EXPECT_EQ(parameter(configured, "n_heads").value, "2");
  EXPECT_EQ(parameter(configured, "n_heads").origin, "config");
  EXPECT_THAT(configured.warnings, Contains(HasSubstr("'encoder_layers.0.attention.num_heads' says 4: 2 was used")));
  EXPECT_THAT(configured.warnings, Contains(HasSubstr("'config.n_heads' says 1: 2 was used")));

  const ModelInfo by_module = import_ok(file(attributes)).info;
  EXPECT_EQ(parameter(by_module, "n_heads").value, "4");
  EXPECT_EQ(parameter(by_module, "n_heads").origin, "module attributes");
  EXPECT_EQ(parameter(by_module, "pooling_method").value, "cls");
  EXPECT_EQ(by_module.source_format, "PyTorch zip checkpoint, pickled module networks.Net");

  const ModelInfo by_file = import_ok(file({})).info;
  EXPECT_EQ(parameter(by_file, "n_heads").value, "1");
  EXPECT_EQ(parameter(by_file, "n_heads").origin, "hyper-parameters");
  EXPECT_EQ(parameter(by_file, "pooling_method").value, "max");
}

TEST(Settings, belong_to_each_module_of_its_own) {
  Values values;
  const auto root =
      values.module(transformer_weights(2), {{"encoder_layers.0.attention", {{"num_heads", values.number(4)}}},
                                             {"encoder_layers.1.attention", {{"num_heads", values.number(1)}}},
                                             {"input_norm", {{"eps", values.real(0.25)}}},
                                             {"encoder_layers.1.residual2.norm", {{"eps", values.real(0.5)}}}});
  LoadOptions options = untold();
  options.config.pooling = "mean";
  const ImportedModel model = import_ok(values.checkpoint(root), options);
  const auto attention = nodes_of(model.graph, "multi_head_attention");
  ASSERT_THAT(attention, SizeIs(2));
  EXPECT_EQ(attention[0]->attrs.integer("num_heads"), 4);
  EXPECT_EQ(attention[1]->attrs.integer("num_heads"), 1);
  std::map<std::string, double> eps;
  for (const Node* node : nodes_of(model.graph, "layer_norm")) eps[node->scope] = node->attrs.real("eps");
  EXPECT_EQ(eps["input_norm"], 0.25);
  EXPECT_EQ(eps["encoder_layers.1.residual2.norm"], 0.5);
  EXPECT_EQ(eps["encoder_layers.0.residual1.norm"], 1e-6);
  EXPECT_EQ(parameter(model.info, "n_heads").value, "4, 1");
  EXPECT_THAT(parameter(model.info, "norm_eps").origin, HasSubstr("assumed"));
}

TEST(Settings, are_read_from_namespaces_groups_and_beside_the_weights) {
  Values values;
  const auto* state = values.state(transformer_weights());
  const auto heads = [&](const Values::Entries& beside) {
    Values::Entries entries = {{"state_dict", state}};
    entries.insert(entries.end(), beside.begin(), beside.end());
    return parameter(import_ok(values.checkpoint(values.dict(entries))).info, "n_heads").value;
  };
  const Values::Entries four = {{"n_heads", values.number(4)}};
  EXPECT_EQ(heads({{"args", values.object("argparse", "Namespace", four)}}), "4");
  EXPECT_EQ(heads({{"config", values.dict({{"model", values.dict(four)}})}}), "4");
  EXPECT_EQ(heads(four), "4");
  Values::Entries mixed = four;
  for (const auto& [key, tensor] : transformer_weights()) mixed.emplace_back(key, values.tensor(tensor));
  EXPECT_EQ(parameter(import_ok(values.checkpoint(values.dict(mixed))).info, "n_heads").value, "4");
}

TEST(Settings, the_eps_of_an_optimizer_is_not_that_of_the_norms) {
  Values values;
  const auto* state = values.state(transformer_weights());
  const auto eps = [&](const char* name) {
    const auto* told_values = values.dict({{"eps", values.real(0.125)}});
    return parameter(import_ok(values.checkpoint(values.dict({{"model", state}, {name, told_values}}))).info,
                     "norm_eps")
        .value;
  };
  EXPECT_EQ(eps("args"), "1e-06");
  EXPECT_EQ(eps("model_args"), "0.125");
}

TEST(Settings, of_another_kind_are_ignored_with_a_warning) {
  Values values;
  const auto* wrong = values.dict({{"n_heads", values.text("eight")}});
  const ModelInfo info =
      import_ok(values.checkpoint(values.dict({{"model", values.state(transformer_weights())}, {"config", wrong}})))
          .info;
  EXPECT_THAT(info.warnings, ElementsAre(HasSubstr("'config.n_heads' is 'eight', expected an integer")));
  EXPECT_EQ(parameter(info, "n_heads").origin, "assumed");
}

TEST(Settings, that_contradict_the_weights_are_warned_of) {
  Values values;
  const auto* wrong = values.dict(
      {{"hidden1", values.number(256)}, {"bidirectional", values.flag(true)}, {"hidden2", values.number(5)}});
  const ModelInfo info =
      import_ok(values.checkpoint(values.dict({{"model", values.state(gru_weights())}, {"config", wrong}}))).info;
  EXPECT_THAT(info.warnings, ElementsAre(HasSubstr("'config.hidden1' says hidden1 = 256, the weights say 6"),
                                         HasSubstr("'config.bidirectional' says bidirectional = True")));
  EXPECT_EQ(parameter(info, "hidden1").value, "6");
}

TEST(Settings, are_read_from_the_metadata_of_safetensors) {
  Values values;
  Checkpoint checkpoint = values.checkpoint(values.state(transformer_weights()));
  checkpoint.format = "safetensors";
  checkpoint.metadata = {{"n_heads", "4"}, {"pooling_method", "max"}};
  const ModelInfo info = import_ok(checkpoint).info;
  EXPECT_EQ(parameter(info, "n_heads").value, "4");
  EXPECT_EQ(parameter(info, "pooling_method").value, "max");
  EXPECT_EQ(info.source_format, "safetensors");
}

TEST(Settings, heads_must_divide_the_embedding) {
  LoadOptions options = told();
  for (const std::int64_t heads : {3, 0, -2}) {
    options.config.num_heads = heads;
    EXPECT_THAT(error_of(transformer_weights(), options), HasSubstr("heads don't divide the embedding of 8 columns"));
  }
}

TEST(Settings, an_unknown_pooling_is_refused) {
  LoadOptions options = told();
  options.config.pooling = "attention";
  EXPECT_THAT(error_of(transformer_weights(), options), HasSubstr("the pooling is 'attention', expected"));
}

// ---------------------------------------------------------------------------------------------- finding the weights

TEST(FindWeights, strips_prefixes_again_and_again) {
  for (const char* prefix : {"module.", "model.", "_orig_mod.", "module._orig_mod.model."})
    EXPECT_TRUE(constant_named(import_ok(with_prefix(gru_weights(), prefix)).graph, "gru1.weight_ih_l0")) << prefix;
  Weights averaged = with_prefix(gru_weights(), "module.");
  averaged.emplace_back("n_averaged", tensor_i64({}, std::array<std::int64_t, 1>{7}));
  EXPECT_THAT(import_ok(averaged).info.warnings, ElementsAre(HasSubstr("left out: n_averaged")));
}

TEST(FindWeights, takes_the_network_out_of_a_larger_module) {
  Weights weights = with_prefix(gru_weights(), "net.");
  add_random(weights, "criterion.weight", {5});
  const ModelInfo info = import_ok(weights).info;
  EXPECT_EQ(info.family, "MediaPipeGRU");
  EXPECT_THAT(info.warnings, ElementsAre(HasSubstr("1 more weights beside those below 'net.'")));
}

TEST(FindWeights, prefers_raw_weights_to_averages) {
  Values values;
  Weights averaged = gru_weights();
  tensor_of(averaged, "gloss_head.bias") = tensor_f32({5}, std::vector<float>(5, 9.0f));
  const auto bias_of = [&](const Values::Entries& entries) {
    return to_double(*constant_named(import_ok(values.checkpoint(values.dict(entries))).graph, "gloss_head.bias"))[0];
  };
  const auto* raw = values.state(gru_weights());
  const auto* average = values.state(averaged);
  for (const char* name : {"ema", "model_ema", "ema_state_dict"})
    EXPECT_NE(bias_of({{name, average}, {"whatever", raw}}), 9) << name;
  EXPECT_EQ(bias_of({{"epoch", values.number(1)}, {"ema", average}}), 9);
  const auto* broken = values.state(without(gru_weights(), "gru2.weight_hh_l0"));
  EXPECT_THAT(error_of(values.checkpoint(values.dict({{"ema", average}, {"model", broken}}))),
              HasSubstr("gru2.weight_hh_l0 is missing"));
}

TEST(FindWeights, says_when_there_is_a_choice) {
  Values values;
  const auto* root = values.dict({{"student", values.state(gru_weights())}, {"model", values.state(gru_weights())}});
  EXPECT_THAT(
      import_ok(values.checkpoint(root)).info.warnings,
      ElementsAre(HasSubstr("the file also holds a MediaPipeGRU in 'student': the weights in 'model' were taken")));
}

// ---- a pickle can refer to one value from many places: the work follows from the file's size all the same

TEST(FindWeights, names_that_many_dicts_share_are_not_copied_for_each) {
  Values values;
  const pickle::Value* weight = values.tensor(random_tensor({2}, 1));
  const std::string name(std::size_t{1} << 20, 'n');
  pickle::Arena arena;
  const pickle::Value* shared = arena.add_text(name);
  Values::Entries dicts;
  for (int i = 0; i < 9000; ++i)
    dicts.emplace_back(std::to_string(i), arena.add_dict({{shared, i % 2 == 0 ? weight : values.dict({})}}));
  const auto sets = find_weights(*values.dict(dicts));  // 9 GB if copied
  ASSERT_TRUE(sets);
  EXPECT_THAT(*sets, IsEmpty());
}

const pickle::Value* module_of(Values& values, const pickle::Value* parameters, const Values::Entries& modules) {
  return values.object(
      "m", "N", {{"_parameters", parameters}, {"_buffers", values.dict({})}, {"_modules", values.dict(modules)}});
}

// With `count` modules of one weight each.
const pickle::Value* large_module(Values& values, int count) {
  const pickle::Value* parameters = values.dict({{"weight", values.tensor(random_tensor({1}, 1))}});
  Values::Entries modules;
  for (int i = 0; i < count; ++i) modules.emplace_back(fmt::format("part{}", i), module_of(values, parameters, {}));
  return module_of(values, values.dict({}), modules);
}

TEST(FindWeights, a_module_inside_many_others_is_not_flattened_for_each) {
  Values values;
  const pickle::Value* large = large_module(values, 4000);
  Values::Entries around;
  for (int i = 0; i < 9000; ++i)
    around.emplace_back(std::to_string(i), module_of(values, values.dict({}), {{"inner", large}}));
  const auto sets = find_weights(*values.dict(around));
  ASSERT_TRUE(sets);
  EXPECT_LT(sets->size(), 200u);
}

TEST(FindWeights, branches_of_many_modules_take_linear_time) {
  Values values;
  const auto sets = find_weights(*large_module(values, 30'000));
  ASSERT_TRUE(sets);
  const std::vector<WeightSet> parts = branches(sets->at(0));
  ASSERT_THAT(parts, SizeIs(30'000));
  EXPECT_THAT(parts[0].modules, SizeIs(1));
  EXPECT_EQ(parts[0].modules[0].path, "");
  EXPECT_EQ(parts[0].class_path, "m.N");
}

// Seconds of the processor until a checkpoint of so many parts that belong to no family is refused.
double seconds_to_refuse(int parts) {
  Values values;
  const auto* tensor = values.tensor(random_tensor({1}, 1));
  Values::Entries entries;
  for (int i = 0; i < parts; ++i) entries.emplace_back(fmt::format("m{}.weight", i), tensor);
  const Checkpoint checkpoint = values.checkpoint(values.dict(entries));
  const std::clock_t start = std::clock();
  EXPECT_THAT(error_of(checkpoint), HasSubstr(fmt::format("{} tensors", parts)));
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// Sixteen times the parts took 256 times as long when every part was compared with every family.
TEST(Import, looks_at_many_small_parts_in_linear_time) {
  EXPECT_LT(seconds_to_refuse(48'000), 80 * seconds_to_refuse(3'000));
}

TEST(Import, names_tensors_that_can_not_be_weights) {
  Values values;
  const auto* quantised = values.unsupported("is a quantised tensor");
  EXPECT_THAT(error_of(values.checkpoint(values.dict({{"a.weight", quantised}}))),
              HasSubstr("there are no tensors that can be weights; 'a.weight' is a quantised tensor"));
  const auto* tensor = values.tensor(random_tensor({2, 2}, 1));
  EXPECT_THAT(error_of(values.checkpoint(values.dict({{"a.weight", quantised}, {"b.weight", tensor}}))),
              HasSubstr("'b.weight' to 'b.weight'; 'a.weight' is a quantised tensor; of the families"));
}

TEST(Import, names_a_key_that_is_too_long) {
  Values values;
  const auto* state = values.state({{std::string(5000, 'k'), random_tensor({3}, 1)}});
  EXPECT_THAT(error_of(values.checkpoint(state)), HasSubstr("has 5000 bytes, expected at most 4096 in a state dict"));
  EXPECT_THAT(error_of(values.checkpoint(values.dict({{"state_dict", state}}))), HasSubstr("has 5000 bytes"));
}

TEST(FindWeights, names_what_the_file_holds_instead) {
  Values values;
  const auto* moments = values.state({{"exp_avg", random_tensor({3}, 1)}, {"exp_avg_sq", random_tensor({3}, 2)}});
  EXPECT_THAT(error_of(values.checkpoint(values.dict({{"optimizer_state_dict", moments}}))),
              HasSubstr("no weights were found: the file holds dict of 1 entries ('optimizer_state_dict'"));
  EXPECT_THAT(error_of(values.checkpoint(values.dict({{"epoch", values.number(3)}}))), HasSubstr("'epoch': int 3"));
  EXPECT_THAT(error_of(values.checkpoint(values.object("training.state", "Trainer", {}))),
              HasSubstr("training.state.Trainer, which would need that class's code"));
  EXPECT_THAT(error_of(values.checkpoint(values.tensor(random_tensor({3}, 1)))), HasSubstr("float32 [3]"));
}

// ------------------------------------------------------------------------------------------ weights that don't fit

TEST(Misfit, names_every_missing_and_wrong_key_with_the_shape_it_should_have) {
  Weights weights = without(without(gru_weights(), "gru2.weight_hh_l0"), "gloss_head.bias");
  tensor_of(weights, "gru1.bias_hh_l0") = random_tensor({17}, 1);
  const std::string error = error_of(weights);
  EXPECT_THAT(error, HasSubstr("look like a MediaPipeGRU, but 3 keys do not fit"));
  EXPECT_THAT(error, HasSubstr("gru2.weight_hh_l0 is missing, expected [15, 5]"));
  EXPECT_THAT(error, HasSubstr("gloss_head.bias is missing, expected [5]"));
  EXPECT_THAT(error, HasSubstr("gru1.bias_hh_l0 has shape [17], expected [18]"));
}

TEST(Misfit, blames_the_wrong_weight_and_not_those_that_agree) {
  Weights weights = transformer_weights();
  tensor_of(weights, "embedding.weight") = random_tensor({9, 4}, 1);
  const std::string error = error_of(weights, told());
  EXPECT_THAT(error, HasSubstr("one key does not fit: embedding.weight has shape [9, 4], expected [8, 4]"));
}

TEST(Misfit, a_layer_number_made_to_exhaust_memory_is_no_layer) {
  Weights weights = transformer_weights();
  add_random(weights, "encoder_layers.4000000000000.attention.W_q.weight", {8, 8});
  add_random(weights, "encoder_layers.50.attention.W_q.weight", {8, 8});
  EXPECT_THAT(import_ok(weights, told()).info.warnings,
              ElementsAre(HasSubstr("2 weights of the file are no part of a SignTransformer")));
}

TEST(Misfit, a_missing_layer_is_missed) {
  Weights weights = transformer_weights(2);
  for (auto& [key, tensor] : weights)
    if (key.starts_with("encoder_layers.1.")) key[15] = '2';
  EXPECT_THAT(error_of(weights, told()),
              HasSubstr("16 keys do not fit: encoder_layers.1.attention.W_q.weight is missing"));
}

TEST(Misfit, a_bias_of_a_pair_is_missed) {
  EXPECT_THAT(error_of(without(gru_weights(), "gru1.bias_hh_l0")), HasSubstr("gru1.bias_hh_l0 is missing"));
  Weights half = gru_ctc_weights();
  add_random(half, "category_head.weight", {3, 5});
  EXPECT_THAT(error_of(half), HasSubstr("category_head.bias is missing, expected [3]"));
}

TEST(Misfit, a_second_layer_is_refused) {
  Weights weights = gru_weights();
  add_random(weights, "gru2.weight_ih_l1", {15, 5});
  EXPECT_THAT(error_of(weights), HasSubstr("gru2.weight_ih_l1 is too much, expected gru2 to be one layer"));
}

TEST(Misfit, other_extra_weights_are_left_out_with_a_warning) {
  Weights weights = gru_weights();
  add_random(weights, "attention.query", {5});
  EXPECT_THAT(import_ok(weights).info.warnings, ElementsAre(HasSubstr("left out: attention.query")));
}

TEST(Misfit, weights_must_be_numbers_with_a_fraction) {
  Weights weights = gru_weights();
  tensor_of(weights, "gloss_head.bias") = tensor_i32({5}, std::array<std::int32_t, 5>{});
  EXPECT_THAT(error_of(weights), HasSubstr("gloss_head.bias is int32"));
}

TEST(Misfit, empty_weights_fit_nothing) {
  Weights weights = gru_weights();
  for (auto& [key, tensor] : weights) tensor = random_tensor(std::vector<std::int64_t>(tensor.shape.size(), 0), 1);
  EXPECT_THAT(error_of(weights), HasSubstr("12 keys do not fit"));
}

TEST(Misfit, expanded_weights_are_counted_before_they_are_written_out) {
  Weights weights = gru_weights();
  const std::int64_t classes = std::int64_t{1} << 40;
  const Tensor one = random_tensor({1}, 1);
  tensor_of(weights, "gloss_head.weight") = *make_view(DType::f32, {classes, 5}, {0, 0}, one.storage, 0);
  tensor_of(weights, "gloss_head.bias") = *make_view(DType::f32, {classes}, {0}, one.storage, 0);
  EXPECT_THAT(error_of(weights), HasSubstr("more than 67108864 weights"));
}

TEST(Misfit, an_unknown_network_lists_the_families_that_were_tried) {
  Weights weights;
  add_random(weights, "conv1.weight", {4, 3});
  add_linear(weights, "fc", 2, 4);
  const std::string error = error_of(weights);
  EXPECT_THAT(error, HasSubstr("there are 3 tensors, 'conv1.weight' to 'fc.bias'; of the families"));
  EXPECT_THAT(error, HasSubstr("it has none of a " + family_names().front()));
  for (const std::string& family : family_names()) EXPECT_THAT(error, HasSubstr(family));
}

TEST(Misfit, an_unknown_network_is_outlined) {
  Weights weights;
  for (const char* layer : {"stem.0.", "stem.1."}) add_random(weights, layer + std::string("weight"), {4, 3, 3, 3});
  add_random(weights, "rnn.weight_hh_l0", {16, 4});
  const auto model = import_weights(weights);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().text(), HasSubstr("perhaps a network with convolutions and LSTM layers"));
  EXPECT_THAT(model.error().hint, HasSubstr("\n  program = torch.export.export("));
}

TEST(Misfit, a_family_that_is_told_refuses_others) {
  LoadOptions options = told();
  options.config.family = "MediaPipeGRU";
  EXPECT_THAT(error_of(transformer_weights(), options), HasSubstr("are said to be a MediaPipeGRU, but"));
  options.config.family = "SignTransformer";
  EXPECT_TRUE(import_weights(transformer_weights(), options));
  options.config.family = "Other";
  EXPECT_THAT(error_of(transformer_weights(), options),
              HasSubstr("the family is 'Other', expected one of SignTransformer,"));
}

TEST(Misfit, weights_that_are_not_finite_are_named) {
  Weights weights = gru_weights();
  std::vector<float> values(5, 1.0f);
  values[1] = std::numeric_limits<float>::quiet_NaN();
  values[3] = -std::numeric_limits<float>::infinity();
  tensor_of(weights, "gloss_head.bias") = tensor_f32({5}, values);
  tensor_of(weights, "category_head.bias") =
      converted(tensor_f32({3}, std::array{70000.0f, 1.0f, 2.0f}), DType::f16);  // overflows
  const ModelInfo info = import_ok(weights).info;
  ASSERT_THAT(info.warnings, SizeIs(1));
  EXPECT_THAT(info.warnings[0], HasSubstr("gloss_head.bias (2 of 5)"));
  EXPECT_THAT(info.warnings[0], HasSubstr("category_head.bias (1 of 3)"));
}

// ----------------------------------------------------------------------------------------------------------- lengths

TEST(Lengths, out_of_range_are_refused) {
  for (const std::int64_t length : {std::int64_t{0}, std::int64_t{-5}, kMostFrames + 1}) {
    LoadOptions options = told();
    options.sequence_length = length;
    EXPECT_THAT(error_of(gru_weights(), options), HasSubstr(fmt::format("the sequence length is {}", length)));
  }
}

TEST(Lengths, beyond_the_table_continue_the_sinusoid_whatever_it_is_stored_in) {
  const Tensor exact = sinusoid_table(40, 8);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::f64}) {
    Weights weights = transformer_weights();
    tensor_of(weights, "pos_encoder.pe") = converted(sinusoid_table(20, 8), dtype);
    LoadOptions options = told();
    options.sequence_length = 40;
    const ImportedModel model = import_ok(weights, options);
    const Tensor* table = constant_named(model.graph, "pos_encoder.pe");
    ASSERT_TRUE(table);
    EXPECT_THAT(table->shape, ElementsAre(1, 40, 8));
    const std::vector<double> values = to_double(*table), wanted = to_double(exact);
    for (std::size_t i = 20 * 8; i < values.size(); ++i) ASSERT_NEAR(values[i], wanted[i], 1e-5) << i;
    EXPECT_THAT(parameter(model.info, "positions").value, HasSubstr("40"));
    EXPECT_THAT(outputs_for(model.graph, 40), SizeIs(10));
  }
}

TEST(Lengths, beyond_a_table_that_is_no_sinusoid_are_refused) {
  Weights weights = transformer_weights();
  std::vector<float> values;
  for (const double value : to_double(sinusoid_table(20, 8))) values.push_back(static_cast<float>(value));
  values[77] += 0.001f;
  tensor_of(weights, "pos_encoder.pe") = tensor_f32({1, 20, 8}, values);
  LoadOptions options = told();
  options.sequence_length = 20;
  EXPECT_TRUE(import_weights(weights, options));
  options.sequence_length = 21;
  const auto model = import_weights(weights, options);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().text(), HasSubstr("'pos_encoder.pe' holds 20 positions, the sequence length 21 needs 21"));
  EXPECT_THAT(model.error().hint, HasSubstr("--sequence-length 20"));
  options.sequence_length = 20;
  options.config.pooling = "cls";  // whose token takes a position
  EXPECT_THAT(error_of(weights, options), HasSubstr("the sequence length 20 needs 21"));
}

TEST(Lengths, one_row_or_nan_proves_no_sinusoid) {
  for (const Tensor& table : {sinusoid_table(1, 8), tensor_f32({1, 2, 8}, std::vector<float>(16, std::nanf("")))}) {
    Weights weights = transformer_weights();
    tensor_of(weights, "pos_encoder.pe") = table;
    EXPECT_THAT(error_of(weights, told()), HasSubstr("it is not the sinusoid"));
  }
}

TEST(Lengths, a_long_table_in_float32_is_still_the_sinusoid) {
  Weights weights = transformer_weights();
  tensor_of(weights, "pos_encoder.pe") = sinusoid_table(5000, 8);
  LoadOptions options = told();
  options.sequence_length = 5001;
  EXPECT_TRUE(import_weights(weights, options));
}

}  // namespace
}  // namespace taper
