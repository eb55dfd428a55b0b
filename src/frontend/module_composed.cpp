// Classes of torch.nn that take more than one call of ATen.
#include <algorithm>

#include "frontend/aten_table.h"
#include "frontend/module_calls.h"

namespace taper::modules {
namespace {

using aten::Arg;
using Result = Expected<Arg>;

const aten::TensorPtr* tensor_of(const Arg& arg) {
  return arg.as<aten::TensorPtr>();
}

Result same(Call& call) {
  return call.input(0);
}

Result sequential(Call& call) {
  Arg value = call.input(0);
  for (const pickle::Entry& child : pickle::attribute(call.module, "_modules")->entries()) {
    if (child.value->is_none() || !child.key->text()) continue;
    TAPER_ASSIGN(value, call.run(*child.key->text(), {value}));
  }
  return value;
}

Result convolution(Call& call) {
  const std::string op = fmt::format("conv{}", call.name.substr(4));
  Arg x = call.input(0);
  Arg padding = call.attr("padding");
  const Arg mode = call.attr("padding_mode");
  const auto* mode_name = mode.as<std::string>();
  if (mode_name && *mode_name != "zeros") {
    TAPER_ASSIGN(x,
                 call.aten("pad", {{"", x}, {"pad", call.attr("_reversed_padding_repeated_twice")}, {"mode", mode}}));
    padding = Arg(Arg::List{Arg(Dim(0))});
  }
  TAPER_ASSIGN(const Arg weight, call.tensor("weight"));
  TAPER_ASSIGN(const Arg bias, call.tensor("bias"));
  return call.aten(op, {{"", x},
                        {"weight", weight},
                        {"bias", bias},
                        {"stride", call.attr("stride")},
                        {"padding", padding},
                        {"dilation", call.attr("dilation")},
                        {"groups", call.attr("groups")}});
}

// Batch norms, and instance norms that keep statistics: with those that the model was saved with.
Result batch_norm(Call& call) {
  TAPER_ASSIGN(const Arg mean, call.tensor("running_mean"));
  const bool is_batch = call.name.starts_with("Batch") || call.name.starts_with("Sync");
  if (is_batch && mean.is_none())
    return fail("module '{}' keeps no running statistics: it computes those of each batch, also in eval()", call.path);
  TAPER_ASSIGN(const Arg weight, call.tensor("weight"));
  TAPER_ASSIGN(const Arg bias, call.tensor("bias"));
  TAPER_ASSIGN(const Arg variance, call.tensor("running_var"));
  if (!mean.is_none())
    return call.aten("batch_norm", {{"", call.input(0)},
                                    {"weight", weight},
                                    {"bias", bias},
                                    {"running_mean", mean},
                                    {"running_var", variance},
                                    {"training", Arg(false)},
                                    {"momentum", Arg(0.1)},
                                    {"eps", call.attr("eps")},
                                    {"cudnn_enabled", Arg(false)}});
  return call.aten("instance_norm", {{"", call.input(0)},
                                     {"weight", weight},
                                     {"bias", bias},
                                     {"running_mean", Arg{}},
                                     {"running_var", Arg{}},
                                     {"use_input_stats", Arg(true)},
                                     {"momentum", Arg(0.1)},
                                     {"eps", call.attr("eps")},
                                     {"cudnn_enabled", Arg(false)}});
}

Result local_response_norm(Call& call) {
  const Arg input = call.input(0);
  const auto* x = tensor_of(input);
  if (!x) return fail("module '{}' takes a tensor", call.path);
  Builder& build = call.importer.context.build;
  const auto real = [&](std::string_view name) {
    const Arg value = call.attr(name);
    if (const double* number = value.as<double>()) return *number;
    return static_cast<double>(aten::constant_integer(value).value_or(0));
  };
  taper::Value* result =
      build("local_response_norm", {(*x)->content(build)},
            {{"size", call.integer("size", 1)}, {"alpha", real("alpha")}, {"beta", real("beta")}, {"k", real("k")}});
  TAPER_TRY(build.status());
  return aten::fresh(result);
}

Result softsign(Call& call) {  // x / (1 + |x|)
  TAPER_ASSIGN(const Arg size, call.aten("abs", {{"", call.input(0)}}));
  TAPER_ASSIGN(const Arg divisor, call.aten("add", {{"", size}, {"", Arg(Dim(1))}}));
  return call.aten("div", {{"", call.input(0)}, {"", divisor}});
}

Result tanhshrink(Call& call) {  // x - tanh(x)
  TAPER_ASSIGN(const Arg part, call.aten("tanh", {{"", call.input(0)}}));
  return call.aten("sub", {{"", call.input(0)}, {"", part}});
}

Result softmin(Call& call) {
  TAPER_ASSIGN(const Arg negative, call.aten("neg", {{"", call.input(0)}}));
  return call.aten("softmax", {{"", negative}, {"dim", call.attr("dim")}});
}

Result rrelu(Call& call) {  // in eval(): the mean slope
  const Arg lower = call.attr("lower");
  const Arg upper = call.attr("upper");
  if (!lower.as<double>() || !upper.as<double>()) return fail("module '{}' has no slopes", call.path);
  return call.aten("leaky_relu",
                   {{"", call.input(0)}, {"negative_slope", Arg((*lower.as<double>() + *upper.as<double>()) / 2)}});
}

// Output sizes of which some may be None: as the input's.
Result adaptive_pool(Call& call) {
  const bool is_mean = call.name.contains("Avg");
  const std::string axes(call.name.substr(call.name.size() - 2, 1));
  const std::string op = fmt::format("adaptive_{}_pool{}d", is_mean ? "avg" : "max", axes);
  const auto count = static_cast<std::size_t>(axes[0] - '0');
  const Arg given = call.attr("output_size");
  const Arg input = call.input(0);
  const auto* x = tensor_of(input);
  if (!x || (*x)->type().shape.size() < count) return fail("module '{}' pools over {} axes", call.path, count);
  const Shape& shape = (*x)->type().shape;
  Arg::List sizes;
  const auto* list = given.as<Arg::List>();
  for (std::size_t i = 0; i < count; ++i) {
    const Arg& size = list && i < list->size() ? (*list)[i] : given;
    sizes.push_back(size.is_none() || size.as<Arg::List>() ? Arg(shape[shape.size() - count + i]) : size);
  }
  TAPER_ASSIGN(const Arg result, call.aten(op, {{"", input}, {"output_size", Arg(std::move(sizes))}}));
  return call.flag("return_indices") ? result : first_of(result);
}

Result max_pool(Call& call) {
  std::string op = fmt::format("max_pool{}", call.name.substr(7));
  if (call.flag("return_indices")) op += "_with_indices";
  return call.aten(op, {{"", call.input(0)},
                        {"kernel_size", call.attr("kernel_size")},
                        {"stride", call.attr("stride")},
                        {"padding", call.attr("padding")},
                        {"dilation", call.attr("dilation")},
                        {"ceil_mode", call.attr("ceil_mode")}});
}

// F.interpolate: sizes or factors, one for all axes or one for each.
Result upsample(Call& call) {
  const Arg input = call.input(0);
  const auto* x = tensor_of(input);
  const std::size_t rank = x ? (*x)->type().shape.size() : 0;
  if (rank < 3 || rank > 5) return fail("module '{}' takes a tensor of rank 3 to 5", call.path);
  const auto for_axes = [&](const Arg& value, bool as_real) -> Arg {
    if (value.is_none()) return value;
    const auto convert = [&](const Arg& one) {
      const auto integer = aten::constant_integer(one);
      return as_real && integer ? Arg(static_cast<double>(*integer)) : one;
    };
    Arg::List all;
    if (const auto* list = value.as<Arg::List>())
      for (const Arg& one : *list) all.push_back(convert(one));
    else
      all.assign(rank - 2, convert(value));
    return Arg(std::move(all));
  };
  if (const auto* recomputes = call.attr("recompute_scale_factor").as<bool>(); recomputes != nullptr && *recomputes)
    return fail("module '{}' recomputes its scale factor", call.path);
  const Arg mode = call.attr("mode");
  const std::string mode_name = mode.as<std::string>() ? *mode.as<std::string>() : "nearest";
  std::vector<aten::NamedArg> arguments = {{"", input}, {"output_size", for_axes(call.attr("size"), false)}};
  const Arg factors = for_axes(call.attr("scale_factor"), true);
  if (mode_name.starts_with("nearest")) {
    arguments.push_back({"scale_factors", factors});
    return call.aten(
        fmt::format("{}{}d.vec", mode_name == "nearest" ? "upsample_nearest" : "_upsample_nearest_exact", rank - 2),
        std::move(arguments));
  }
  const Arg align = call.attr("align_corners");
  arguments.push_back({"align_corners", align.is_none() ? Arg(false) : align});
  arguments.push_back({"scale_factors", factors});
  return call.aten(fmt::format("upsample_{}{}d.vec", mode_name, rank - 2), std::move(arguments));
}

// Rows that are too long are shortened in the table itself, call by call.
Result embedding(Call& call) {
  if (!call.attr("max_norm").is_none())
    return fail("module '{}' shortens rows that are longer than max_norm", call.path);
  TAPER_ASSIGN(const Arg weight, call.tensor("weight"));
  return call.aten("embedding", {{"weight", weight}, {"indices", call.input(0)}});
}

// ---- recurrent networks

// Zeros [layers, batch, size] of the input's dtype.
Result zero_state(Call& call, const Dim& layers, const Dim& batch, std::int64_t size, bool batched) {
  Arg::List sizes = {Arg(layers)};
  if (batched) sizes.emplace_back(batch);
  sizes.emplace_back(Dim(size));
  return call.aten("zeros", {{"size", Arg(std::move(sizes))}, {"dtype", Arg(DType::f32)}});
}

Result recurrent(Call& call) {
  const Arg input = call.input(0);
  const auto* x = tensor_of(input);
  const std::size_t rank = x ? (*x)->type().shape.size() : 0;
  if (rank != 2 && rank != 3) return fail("module '{}' takes a tensor of rank 2 or 3", call.path);
  if (rank == 2) return fail("module '{}' takes a sequence without a batch: give the input a batch of 1", call.path);
  const bool batch_first = call.flag("batch_first");
  const bool both_ways = call.flag("bidirectional");
  const std::int64_t layers = call.integer("num_layers", 1);
  const std::int64_t hidden = call.integer("hidden_size");
  const std::int64_t projection = call.integer("proj_size");
  const std::int64_t ways = both_ways ? 2 : 1;
  if (layers < 1 || layers > 1000) return fail("module '{}' has {} layers", call.path, layers);
  const bool is_lstm = call.name == "LSTM";
  const Dim batch = (*x)->type().shape[batch_first ? 0 : 1];
  Arg::List states;
  TAPER_ASSIGN(Arg state, zero_state(call, layers * ways, batch, projection > 0 ? projection : hidden, true));
  states.push_back(std::move(state));
  if (is_lstm) {
    TAPER_ASSIGN(Arg cell, zero_state(call, layers * ways, batch, hidden, true));
    states.push_back(std::move(cell));
  }
  Arg::List weights;
  for (std::int64_t layer = 0; layer < layers; ++layer)
    for (const char* way : {"", "_reverse"}) {
      if (*way != '\0' && !both_ways) continue;
      for (const char* kind : {"weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"}) {
        TAPER_ASSIGN(Arg weight, call.tensor(fmt::format("{}_l{}{}", kind, layer, way)));
        if (!weight.is_none()) weights.push_back(std::move(weight));
      }
    }
  const Arg mode = call.attr("mode");
  std::string op = is_lstm ? "lstm" : call.name == "GRU" ? "gru" : "rnn_tanh";
  if (mode.as<std::string>() && *mode.as<std::string>() == "RNN_RELU") op = "rnn_relu";
  return call.aten(op, {{"", input},
                        {"", is_lstm ? Arg(std::move(states)) : states.front()},
                        {"", Arg(std::move(weights))},
                        {"", Arg(call.flag("bias"))},
                        {"", Arg(Dim(layers))},
                        {"", Arg(0.0)},
                        {"", Arg(false)},
                        {"", Arg(both_ways)},
                        {"", Arg(batch_first)}});
}

Result recurrent_cell(Call& call) {
  const Arg input = call.input(0);
  const auto* x = tensor_of(input);
  if (!x || (*x)->type().shape.size() != 2) return fail("module '{}' takes a tensor of rank 2", call.path);
  TAPER_ASSIGN(const Arg state, zero_state(call, (*x)->type().shape[0], {}, call.integer("hidden_size"), false));
  std::string op = call.name == "LSTMCell" ? "lstm_cell" : call.name == "GRUCell" ? "gru_cell" : "rnn_tanh_cell";
  const Arg kind = call.attr("nonlinearity");
  if (kind.as<std::string>() && *kind.as<std::string>() == "relu") op = "rnn_relu_cell";
  std::vector<aten::NamedArg> arguments = {{"", input},
                                           {"", call.name == "LSTMCell" ? Arg(Arg::List{state, state}) : state}};
  for (const char* name : {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}) {
    TAPER_ASSIGN(Arg weight, call.tensor(name));
    arguments.push_back({"", std::move(weight)});
  }
  return call.aten(op, std::move(arguments));
}

}  // namespace

std::vector<ModuleRow> composed_modules() {
  std::vector<ModuleRow> rows = {
      {.name = "Sequential", .build = sequential},   {.name = "LocalResponseNorm", .build = local_response_norm},
      {.name = "Softsign", .build = softsign},       {.name = "Tanhshrink", .build = tanhshrink},
      {.name = "Softmin", .build = softmin},         {.name = "RReLU", .build = rrelu},
      {.name = "LSTMCell", .build = recurrent_cell}, {.name = "GRUCell", .build = recurrent_cell},
      {.name = "RNNCell", .build = recurrent_cell},  {.name = "Embedding", .build = embedding},
  };
  for (const std::string_view name :
       {"Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"})
    rows.push_back({.name = name, .build = same});
  for (const std::string_view name : {"Conv1d", "Conv2d", "Conv3d"})
    rows.push_back({.name = name, .build = convolution});
  for (const std::string_view name : {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "InstanceNorm1d",
                                      "InstanceNorm2d", "InstanceNorm3d"})
    rows.push_back({.name = name, .build = batch_norm});
  for (const std::string_view name : {"AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d",
                                      "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"})
    rows.push_back({.name = name, .build = adaptive_pool});
  for (const std::string_view name : {"MaxPool1d", "MaxPool2d", "MaxPool3d"})
    rows.push_back({.name = name, .build = max_pool});
  for (const std::string_view name : {"Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"})
    rows.push_back({.name = name, .build = upsample});
  for (const std::string_view name : {"LSTM", "GRU", "RNN"}) rows.push_back({.name = name, .build = recurrent});
  return rows;
}

}  // namespace taper::modules
