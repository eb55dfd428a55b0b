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

// Batch norms and instance norms: with the statistics that the model was saved with, or those of the call where it
// keeps none.
Result batch_norm(Call& call, const Arg& x) {
  const bool is_batch = call.name.starts_with("Batch") || call.name.starts_with("Sync");
  Arg mean;
  if (is_batch || call.flag("track_running_stats")) {
    TAPER_ASSIGN(mean, call.tensor("running_mean"));
  }
  TAPER_ASSIGN(const Arg weight, call.tensor("weight"));
  TAPER_ASSIGN(const Arg bias, call.tensor("bias"));
  TAPER_ASSIGN(const Arg variance, call.tensor("running_var"));
  if (is_batch || !mean.is_none())
    return call.aten("batch_norm", {{"", x},
                                    {"weight", weight},
                                    {"bias", bias},
                                    {"running_mean", mean},
                                    {"running_var", variance},
                                    {"training", Arg(mean.is_none())},
                                    {"momentum", Arg(0.1)},
                                    {"eps", call.attr("eps")},
                                    {"cudnn_enabled", Arg(false)}});
  return call.aten("instance_norm", {{"", x},
                                     {"weight", weight},
                                     {"bias", bias},
                                     {"running_mean", Arg{}},
                                     {"running_var", Arg{}},
                                     {"use_input_stats", Arg(true)},
                                     {"momentum", Arg(0.1)},
                                     {"eps", call.attr("eps")},
                                     {"cudnn_enabled", Arg(false)}});
}

// An instance norm also takes an image without a batch.
Result instance_norm(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  const auto axes = static_cast<std::size_t>(call.name[call.name.size() - 2] - '0');
  if (shape.size() != axes + 1) return batch_norm(call, call.input(0));
  TAPER_ASSIGN(const Arg batch, call.aten("unsqueeze", {{"", call.input(0)}, {"", Arg(Dim(0))}}));
  TAPER_ASSIGN(const Arg result, batch_norm(call, batch));
  return call.aten("squeeze", {{"", result}, {"", Arg(Dim(0))}});
}

// The sum of x over channels up to `reach` away. As PyTorch has it, the first channel counts in all sums behind it:
// what should take it out starts too late.
Result cross_map_sum(const Call& call, const Arg& x, std::int64_t channels, std::int64_t reach) {
  const auto integers = [](std::initializer_list<std::int64_t> values) {
    Arg::List list;
    for (const std::int64_t value : values) list.emplace_back(Dim(value));
    return Arg(std::move(list));
  };
  const std::int64_t width = 2 * reach + 1;
  TAPER_ASSIGN(const Arg deep, call.aten("unsqueeze", {{"", x}, {"", Arg(Dim(1))}}));
  TAPER_ASSIGN(const Arg means, call.aten("avg_pool3d", {{"", deep},
                                                         {"kernel_size", integers({width, 1, 1})},
                                                         {"stride", integers({1, 1, 1})},
                                                         {"padding", integers({reach, 0, 0})}}));
  TAPER_ASSIGN(const Arg flat, call.aten("squeeze", {{"", means}, {"", Arg(Dim(1))}}));
  TAPER_ASSIGN(const Arg sums, call.aten("mul", {{"", flat}, {"", Arg(Dim(width))}}));
  std::vector<float> is_late(static_cast<std::size_t>(channels));
  for (std::int64_t c = reach + 1; c < channels; ++c) is_late[static_cast<std::size_t>(c)] = 1;
  const Arg late = aten::fresh(call.importer.context.build.constant(tensor_f32({channels, 1, 1}, is_late)));
  TAPER_ASSIGN(const Arg first,
               call.aten("narrow", {{"", x}, {"", Arg(Dim(1))}, {"", Arg(Dim(0))}, {"", Arg(Dim(1))}}));
  TAPER_ASSIGN(const Arg more, call.aten("mul", {{"", first}, {"", late}}));
  return call.aten("add", {{"", sums}, {"", more}});
}

// x (k + alpha / size sum x^2)^-beta
Result cross_map_norm(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  const auto channels = shape.size() == 4 ? shape[1].constant() : std::nullopt;
  const std::int64_t size = call.integer("size");
  constexpr std::int64_t kMost = 1 << 16;
  if (!channels || *channels > kMost || size < 1 || size > kMost)
    return fail("module '{}' takes images [N, C, H, W] of known channels, not {}", call.path, shape_text(shape));
  TAPER_ASSIGN(const double alpha, call.real("alpha"));
  TAPER_ASSIGN(const double beta, call.real("beta"));
  const Arg x = call.input(0);
  TAPER_ASSIGN(const Arg squares, call.aten("mul", {{"", x}, {"", x}}));
  TAPER_ASSIGN(const Arg sums, cross_map_sum(call, squares, *channels, (size - 1) / 2));
  TAPER_ASSIGN(const Arg shares, call.aten("mul", {{"", sums}, {"", Arg(alpha / static_cast<double>(size))}}));
  TAPER_ASSIGN(const Arg scale, call.aten("add", {{"", shares}, {"", call.attr("k")}}));
  TAPER_ASSIGN(const Arg factor, call.aten("pow", {{"", scale}, {"", Arg(-beta)}}));
  return call.aten("mul", {{"", x}, {"", factor}});
}

// Softmax, LogSoftmax and Softmin. Where no axis is given it is the channels', as PyTorch had it before axes were
// given.
Result softmax(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  Arg dim = call.attr("dim");
  if (dim.is_none()) dim = Arg(Dim(shape.size() <= 1 || shape.size() == 3 ? 0 : 1));
  const std::string_view op = call.name == "Softmin"      ? "softmin"
                              : call.name == "LogSoftmax" ? "log_softmax"
                                                          : "softmax";
  return call.aten(op, {{"", call.input(0)}, {"dim", dim}});
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
  if (is_mean || !call.flag("return_indices")) return first_of(result);
  const auto* pair = result.as<Arg::List>();
  if (pair && pair->size() == 2 && (*pair)[1].is_none())
    return fail("module '{}' gives positions in windows of different sizes, which are not supported", call.path);
  return result;
}

// The strides of a pool, which are its kernel's sizes unless they are given.
Arg strides_of(const Call& call) {
  const Arg stride = call.attr("stride");
  return stride.is_none() ? call.attr("kernel_size") : stride;
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

// The largest |x| of a window, or for an order of -infinity the smallest.
Result extreme_pool(const Call& call, std::size_t axes, bool smallest) {
  TAPER_ASSIGN(Arg x, call.aten("abs", {{"", call.input(0)}}));
  if (smallest) {
    TAPER_ASSIGN(x, call.aten("neg", {{"", x}}));
  }
  TAPER_ASSIGN(const Arg most, call.aten(fmt::format("max_pool{}d", axes), {{"", x},
                                                                            {"kernel_size", call.attr("kernel_size")},
                                                                            {"stride", strides_of(call)},
                                                                            {"ceil_mode", call.attr("ceil_mode")}}));
  if (!smallest) return most;
  return call.aten("neg", {{"", most}});
}

// (sum over a window of x^p)^(1/p), from the mean
Result power_pool(Call& call) {
  TAPER_ASSIGN(const double order, call.real("norm_type"));
  const std::size_t axes = static_cast<std::size_t>(call.name[call.name.size() - 2] - '0');
  if (std::isinf(order)) return extreme_pool(call, axes, order < 0);
  const Arg kernel = call.attr("kernel_size");
  double count = 1;
  for (std::size_t i = 0; i < axes; ++i) {
    const auto* list = kernel.as<Arg::List>();
    const Arg& one = list && i < list->size() ? (*list)[i] : kernel;
    count *= static_cast<double>(aten::constant_integer(one).value_or(1));
  }
  TAPER_ASSIGN(const Arg powers, call.aten("pow", {{"", call.input(0)}, {"", Arg(order)}}));
  TAPER_ASSIGN(const Arg means, call.aten(fmt::format("avg_pool{}d", axes), {{"", powers},
                                                                             {"kernel_size", kernel},
                                                                             {"stride", strides_of(call)},
                                                                             {"ceil_mode", call.attr("ceil_mode")}}));
  TAPER_ASSIGN(const Arg sums, call.aten("mul", {{"", means}, {"", Arg(count)}}));
  return call.aten("pow", {{"", sums}, {"", Arg(1 / order)}});
}

// Values go back to where a pool found them; the result is as large as the smallest image that pools to them.
Result max_unpool(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  const auto axes = static_cast<std::size_t>(call.name[call.name.size() - 2] - '0');
  if (shape.size() <= axes) return fail("module '{}' unpools {} axes", call.path, axes);
  const Arg kernel = call.attr("kernel_size"), stride = strides_of(call), padding = call.attr("padding");
  const auto of_axis = [](const Arg& value, std::size_t i) {
    const auto* list = value.as<Arg::List>();
    return aten::constant_integer(list && i < list->size() ? (*list)[i] : value).value_or(0);
  };
  Arg::List sizes, strides, paddings;
  for (std::size_t i = 0; i < axes; ++i) {
    strides.emplace_back(Dim(of_axis(stride, i)));
    paddings.emplace_back(Dim(of_axis(padding, i)));
    sizes.emplace_back((shape[shape.size() - axes + i] - Dim(1)) * Dim(of_axis(stride, i)) +
                       Dim(of_axis(kernel, i) - 2 * of_axis(padding, i)));
  }
  std::vector<aten::NamedArg> arguments = {
      {"", call.input(0)}, {"", call.input(1)}, {"output_size", Arg(std::move(sizes))}};
  if (axes == 3) {
    arguments.push_back({"stride", Arg(std::move(strides))});
    arguments.push_back({"padding", Arg(std::move(paddings))});
  }
  return call.aten(fmt::format("max_unpool{}d", axes), std::move(arguments));
}

// The sizes that F.interpolate and fractional pools compute of factors for the last `axes` of x.
Expected<Arg> scaled_sizes(const Call& call, const Shape& shape, std::size_t axes, const Arg& factors) {
  Arg::List sizes;
  const auto* list = factors.as<Arg::List>();
  for (std::size_t i = 0; i < axes; ++i) {
    const Arg& factor = list && i < list->size() ? (*list)[i] : factors;
    const double* number = factor.as<double>();
    if (!number || shape.size() < axes)
      return fail("module '{}' has no factors for the sizes of {}", call.path, shape_text(shape));
    TAPER_ASSIGN(Dim size, aten::scaled_size(call.importer.context, shape[shape.size() - axes + i], *number));
    sizes.emplace_back(std::move(size));
  }
  return Arg(std::move(sizes));
}

// Windows at random places, which a module that was made with `_random_samples` keeps.
Result fractional_pool(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  TAPER_ASSIGN(const Arg samples, call.tensor("_random_samples"));
  const auto axes = static_cast<std::size_t>(call.name[call.name.size() - 2] - '0');
  if (samples.is_none())
    return fail_with_hint(
        fmt::format("module '{}' is a {}: it picks its windows at random in each call, also in eval()", call.path,
                    call.name),
        "make it with windows of its own, _random_samples=..., or take a pool such as AdaptiveMaxPool2d");
  Arg sizes = call.attr("output_size");
  if (sizes.is_none()) {
    TAPER_ASSIGN(sizes, scaled_sizes(call, shape, axes, call.attr("output_ratio")));
  }
  TAPER_ASSIGN(const Arg result,
               call.aten(fmt::format("fractional_max_pool{}d", axes), {{"", call.input(0)},
                                                                       {"kernel_size", call.attr("kernel_size")},
                                                                       {"output_size", sizes},
                                                                       {"random_samples", samples}}));
  return call.flag("return_indices") ? result : first_of(result);
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
  const Arg mode = call.attr("mode");
  const std::string mode_name = mode.as<std::string>() ? *mode.as<std::string>() : "nearest";
  Arg sizes = for_axes(call.attr("size"), false), factors = for_axes(call.attr("scale_factor"), true);
  if (sizes.is_none() && (mode_name == "area" || call.flag("recompute_scale_factor"))) {
    TAPER_ASSIGN(sizes, scaled_sizes(call, (*x)->type().shape, rank - 2, factors));
    factors = Arg{};
  }
  if (mode_name == "area")
    return call.aten(fmt::format("adaptive_avg_pool{}d", rank - 2), {{"", input}, {"output_size", sizes}});
  std::vector<aten::NamedArg> arguments = {{"", input}, {"output_size", sizes}};
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

// The rows of a table. PyTorch shortens those that are longer than max_norm when they are looked up.
Result table(Call& call) {
  TAPER_ASSIGN(Arg weight, call.tensor("weight"));
  const Arg most = call.attr("max_norm");
  if (most.is_none()) return weight;
  return call.aten("renorm", {{"", weight}, {"p", call.attr("norm_type")}, {"dim", Arg(Dim(0))}, {"maxnorm", most}});
}

Result embedding(Call& call) {
  TAPER_ASSIGN(const Arg weight, table(call));
  return call.aten("embedding", {{"weight", weight}, {"indices", call.input(0)}});
}

// Rows of a matrix of indices are bags; those of a vector start where `offsets` say.
Result embedding_bag(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  Arg indices = call.input(0), offsets = call.input(1), factors = call.input(2);
  Arg is_closed = call.attr("include_last_offset");  // of offsets that are given
  if (shape.size() == 2 && !offsets.is_none())
    return fail("module '{}' takes no offsets beside a matrix of indices", call.path);
  if (shape.size() != 2 && offsets.is_none())
    return fail("module '{}' takes offsets beside a vector of indices: --input-shape offsets=SIZE", call.path);
  if (shape.size() == 2) {
    const auto length = shape[1].constant();
    if (!length || *length < 1)
      return fail("module '{}' takes bags of a known length, not {}", call.path, shape_text(shape));
    TAPER_ASSIGN(offsets, call.aten("arange.start_step", {{"start", Arg(Dim(0))},
                                                          {"end", Arg(shape[0] * shape[1])},
                                                          {"step", Arg(shape[1])},
                                                          {"dtype", Arg(DType::i64)}}));
    is_closed = Arg(false);
    TAPER_ASSIGN(indices, call.aten("flatten", {{"", indices}}));
    if (!factors.is_none()) {
      TAPER_ASSIGN(factors, call.aten("flatten", {{"", factors}}));
    }
  }
  constexpr std::string_view kModes[] = {"sum", "mean", "max"};
  const Arg mode = call.attr("mode");
  const auto* name = mode.as<std::string>();
  const auto* found = name ? std::ranges::find(kModes, *name) : std::end(kModes);
  TAPER_ASSIGN(const Arg weight, table(call));
  TAPER_ASSIGN(const Arg result, call.aten("embedding_bag.padding_idx", {{"", weight},
                                                                         {"", indices},
                                                                         {"", offsets},
                                                                         {"scale_grad_by_freq", Arg(false)},
                                                                         {"mode", Arg(Dim(found - std::begin(kModes)))},
                                                                         {"sparse", Arg(false)},
                                                                         {"per_sample_weights", factors},
                                                                         {"include_last_offset", is_closed},
                                                                         {"padding_idx", call.attr("padding_idx")}}));
  return first_of(result);
}

// What runs a module on several devices.
Result wrapped(Call& call) {
  return call.run("module", call.inputs);
}

}  // namespace

std::vector<ModuleRow> composed_modules() {
  std::vector<ModuleRow> rows = {
      {.name = "Sequential", .build = sequential},
      {.name = "CrossMapLRN2d", .build = cross_map_norm},
      {.name = "DataParallel", .build = wrapped},
      {.name = "DistributedDataParallel", .build = wrapped},
      {.name = "Embedding", .build = embedding, .inputs = {{"input", DType::i64}}},
      {.name = "EmbeddingBag",
       .build = embedding_bag,
       .inputs = {{"input", DType::i64}, {"offsets", DType::i64, true}, {"per_sample_weights", DType::f32, true}}},
  };
  for (const std::string_view name : {"Softmax", "LogSoftmax", "Softmin"})
    rows.push_back({.name = name, .build = softmax});
  for (const std::string_view name : {"FractionalMaxPool2d", "FractionalMaxPool3d"})
    rows.push_back({.name = name, .build = fractional_pool});
  for (const std::string_view name : {"LPPool1d", "LPPool2d", "LPPool3d"})
    rows.push_back({.name = name, .build = power_pool});
  for (const std::string_view name : {"MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"})
    rows.push_back({.name = name, .build = max_unpool, .inputs = {{"input"}, {"indices", DType::i64}}});
  for (const std::string_view name :
       {"Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"})
    rows.push_back({.name = name, .build = same});
  for (const std::string_view name : {"Conv1d", "Conv2d", "Conv3d"})
    rows.push_back({.name = name, .build = convolution});
  for (const std::string_view name : {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"})
    rows.push_back({.name = name, .build = [](Call& call) { return batch_norm(call, call.input(0)); }});
  for (const std::string_view name : {"InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"})
    rows.push_back({.name = name, .build = instance_norm});
  for (const std::string_view name : {"AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d",
                                      "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"})
    rows.push_back({.name = name, .build = adaptive_pool});
  for (const std::string_view name : {"MaxPool1d", "MaxPool2d", "MaxPool3d"})
    rows.push_back({.name = name, .build = max_pool});
  for (const std::string_view name : {"Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"})
    rows.push_back({.name = name, .build = upsample});
  return rows;
}

}  // namespace taper::modules
