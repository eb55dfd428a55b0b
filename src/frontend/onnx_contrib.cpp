// Operators that ONNX Runtime's optimizers put in the place of several: fused activations, products, norms.
#include <cmath>

#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

// gelu(x + bias); the bias may be missing where the operator says so.
void read_biased_gelu(Call& call, bool tanh) {
  Value* x = call.x(0);
  if (call.has(1)) x = call.build("add", {x, call.x(1)});
  call.set(0, call.build("gelu", {x}, {{"tanh_approximation", tanh}}, call.name()));
}

// x sigmoid(alpha x)
void read_quick_gelu(Call& call) {
  const double alpha = call.real("alpha", 1.702F);
  Value* x = call.x(0);
  if (call.failed()) return;
  call.set(0, call.build("mul", {x, call.build("sigmoid", {call.binary("mul", x, alpha)})}, {}, call.name()));
}

// The matrices of x transposed, and before that its first axis moved behind the other leading ones.
Value* transposed(Call& call, Value* x, bool matrices, bool batches) {
  if (call.failed() || (!matrices && !batches)) return x;
  const auto rank = static_cast<std::int64_t>(x->type.shape.size());
  if (rank < 2) return x;
  std::vector<std::int64_t> dims;
  for (std::int64_t i = 0; i < rank; ++i) dims.push_back(i);
  if (batches) std::rotate(dims.begin(), dims.begin() + 1, dims.end() - 1);
  if (matrices) std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
  return call.permute(x, dims);
}

// alpha A' B'
void read_fused_matmul(Call& call) {
  const double alpha = call.real("alpha", 1);
  Value* a = transposed(call, call.x(0), call.flag("transA", false), call.flag("transBatchA", false));
  Value* b = transposed(call, call.x(1), call.flag("transB", false), call.flag("transBatchB", false));
  Value* product = call.apply("MatMul", 13, {a, b})[0];
  call.set(0, alpha == 1 || call.failed() ? product : call.binary("mul", product, alpha));
}

// An activation with its numbers, as fused convolutions and products name it.
Value* activated(Call& call, Value* x, const std::string& name, const std::vector<double>& numbers) {
  if (call.failed()) return nullptr;
  const auto number = [&](std::size_t i, double fallback) { return i < numbers.size() ? numbers[i] : fallback; };
  if (name == "LeakyRelu") return call.build("leaky_relu", {x}, {{"negative_slope", number(0, 0.01)}}, call.name());
  if (name == "Clip")
    return call.build("clamp", {x}, {{"min", number(0, -INFINITY)}, {"max", number(1, INFINITY)}}, call.name());
  if (name == "HardSigmoid")
    return call.build("hard_sigmoid", {x}, {{"alpha", number(0, 0.2)}, {"beta", number(1, 0.5)}}, call.name());
  if (name == "Elu") return call.build("elu", {x}, {{"alpha", number(0, 1.0)}}, call.name());
  for (const std::string_view plain : {"Relu", "Tanh", "Sigmoid", "HardSwish", "Softplus"})
    if (name == plain) return call.apply(name, 14, {x})[0];
  call.fail(fmt::format("activation '{}'", name));
  return nullptr;
}

// activation(conv(x) + z)
void read_fused_conv(Call& call) {
  const std::string activation = call.text("activation", "");
  const auto numbers = call.reals("activation_params").value_or(std::vector<double>{});
  Value* result = call.apply("Conv", 11, {call.x(0), call.x(1), call.optional(2)},
                             {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"})[0];
  if (call.has(3)) result = call.build("add", {result, call.x(3)});
  call.set(0, activation.empty() ? result : activated(call, result, activation, numbers));
}

void read_fused_gemm(Call& call) {
  const std::string activation = call.text("activation", "");
  const std::vector<double> numbers = {call.real("activation_alpha", activation == "HardSigmoid" ? 0.2
                                                                     : activation == "Elu"       ? 1
                                                                                                 : 0.01),
                                       call.real("activation_beta", 0.5)};
  call.ignore({"activation_gamma"});
  Value* result =
      call.apply("Gemm", 13, {call.x(0), call.x(1), call.optional(2)}, {"alpha", "beta", "transA", "transB"})[0];
  call.set(0, activation.empty() ? result : activated(call, result, activation, numbers));
}

// --------------------------------------------------------------------------------------------------------------- norms

// The sum of the operands that are there, then its norm: layer norm with gamma and beta, or RMS norm with gamma. The
// mean and the deviation of training are not given.
void norm_of_sum(Call& call, std::span<const std::size_t> summed, std::size_t gamma, std::optional<std::size_t> beta) {
  const double eps = call.real("epsilon", 1e-12);
  Value* sum = nullptr;
  for (const std::size_t i : summed)
    if (call.has(i)) sum = sum == nullptr ? call.x(i) : call.build("add", {sum, call.x(i)});
  std::vector<Value*> operands = {sum, call.x(gamma)};
  if (beta && call.has(*beta)) operands.push_back(call.x(*beta));
  call.set(0, call.build(beta ? "layer_norm" : "rms_norm", operands, {{"eps", eps}}, call.name()));
  call.set(3, sum);
}

// norm(input + skip + bias); input, skip, gamma, beta, bias.
void read_skip_layer_norm(Call& call) {
  norm_of_sum(call, std::array<std::size_t, 3>{0, 1, 4}, 2, 3);
}
// input, skip, gamma, bias.
void read_skip_rms_norm(Call& call) {
  norm_of_sum(call, std::array<std::size_t, 3>{0, 1, 3}, 2, std::nullopt);
}

// The norm of the sum of the embeddings of words, positions and segments. Operands: ids, segments, tables of words,
// positions and segments, gamma, beta, mask, positions.
void read_embed_layer_norm(Call& call) {
  const double eps = call.real("epsilon", 1e-12);
  call.ignore({"mask_index_type"});
  const auto rows = [&](std::size_t table, Value* ids) {
    return call.build("gather", {call.x(table), ids}, {{"dim", std::int64_t{0}}});
  };
  const Shape ids = call.shape(0);
  if (call.failed()) return;
  if (ids.size() != 2) return call.fail(fmt::format("ids of shape {}, expected two axes", shape_text(ids)));
  Value* sum = rows(2, call.x(0));
  if (call.has(8)) {
    sum = call.build("add", {sum, rows(3, call.x(8))});
  } else {
    const Shape table = call.shape(3);
    if (table.size() == 2 && table[0].constant()) call.importer.assume_at_most(ids[1], *table[0].constant());
    sum = call.build("add", {sum, call.slice(call.x(3), 0, 0, ids[1])});
  }
  if (call.has(4) && call.has(1)) sum = call.build("add", {sum, rows(4, call.x(1))});
  call.set(0, call.build("layer_norm", {sum, call.x(5), call.x(6)}, {{"eps", eps}}, call.name()));
  if (call.wants(1)) {
    // How many words count, or nothing.
    const DType i32 = DType::i32;
    Value* count = call.has(7) ? call.build("sum", {call.cast(call.x(7), i32)},
                                            {{"dims", std::vector<std::int64_t>{1}}, {"keepdim", false}})
                               : call.full(Shape{ids[0]}, 0, i32);
    call.set(1, call.cast(count, i32));
  }
  call.set(2, sum);
}

// softmax(data + bias)
void read_bias_softmax(Call& call) {
  call.ignore({"is_inner_broadcast"});
  const std::int64_t axis = call.integer("axis", 1);
  const std::size_t rank = call.rank(0);
  if (call.failed()) return;
  if (call.axis(axis, rank) + 1 != static_cast<std::int64_t>(rank)) return call.fail("an axis that is not the last");
  Value* sum = call.build("add", {call.x(0), call.x(1)});
  call.set(0, call.build("softmax", {sum}, {{"dim", std::int64_t{-1}}}, call.name()));
}

// ---------------------------------------------------------------------------------------------- weights of a few bits

// Rows of weights in blocks along the last axis, as bytes of several numbers with the lowest bits first:
// (number - zero point) scale. `packed`: [rows, blocks, bytes of a block].
std::optional<Tensor> unpacked(Call& call, const Tensor& packed, const Tensor& scales,
                               const std::optional<Tensor>& zeros, std::int64_t columns, std::int64_t block,
                               std::int64_t bits) {
  const std::int64_t blocks = (columns + block - 1) / block;
  const std::int64_t rows = packed.rank() == 3 ? packed.shape[0] : 0;
  if (packed.rank() != 3 || packed.shape[1] != blocks || packed.shape[2] != block * bits / 8 ||
      packed.dtype != DType::u8) {
    call.fail(
        fmt::format("weights {} for {} columns in blocks of {}, {} bits each", describe(packed), columns, block, bits));
    return std::nullopt;
  }
  const std::int64_t zero_bytes = (blocks * bits + 7) / 8;
  const bool packed_zeros = zeros && zeros->dtype == DType::u8;
  if (scales.element_count() != rows * blocks ||
      (zeros && zeros->element_count() != rows * (packed_zeros ? zero_bytes : blocks))) {
    call.fail("scales or zero points are for another number of blocks");
    return std::nullopt;
  }
  const Tensor bytes = converted(packed, DType::u8);
  const std::vector<double> factors = to_double(scales);
  const std::vector<double> points = zeros ? to_double(*zeros) : std::vector<double>{};
  const auto field = [bits](unsigned byte, std::int64_t place) {
    return static_cast<double>((byte >> (place * bits % 8)) & ((1U << bits) - 1));
  };
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t at = column / block, inner = column % block;
      const auto byte = static_cast<unsigned>(
          bytes.bytes()[static_cast<std::size_t>((row * blocks + at) * packed.shape[2] + inner * bits / 8)]);
      double zero = std::ldexp(1.0, static_cast<int>(bits) - 1);
      if (packed_zeros)
        zero = field(static_cast<unsigned>(points[static_cast<std::size_t>(row * zero_bytes + at * bits / 8)]), at);
      else if (zeros)
        zero = points[static_cast<std::size_t>(row * blocks + at)];
      values[static_cast<std::size_t>(row * columns + column)] =
          static_cast<float>((field(byte, inner) - zero) * factors[static_cast<std::size_t>(row * blocks + at)]);
    }
  return tensor_f32({rows, columns}, values);
}

// x times the transposed matrix of N rows of K weights, with a bias [N].
void read_matmul_nbits(Call& call) {
  const std::int64_t columns = call.integer("K", 0), rows = call.integer("N", 0), bits = call.integer("bits", 4);
  const std::int64_t block = call.integer("block_size", 0);
  call.ignore({"accuracy_level", "weight_prepacked"});
  if (call.has(4)) return call.fail("columns in another order (g_idx) are not read");
  if ((bits != 2 && bits != 4 && bits != 8) || block < 8 || block % 8 != 0 || block > 1 << 20 || columns < 1 ||
      columns > std::int64_t{1} << 40)
    return call.fail(fmt::format("weights of {} bits in blocks of {}", bits, block));
  const auto packed = call.needed_constant(1), scales = call.needed_constant(2);
  const auto zeros = call.has(3) ? call.needed_constant(3) : std::nullopt;
  if (call.failed()) return;
  const auto weights = unpacked(call, *packed, *scales, zeros, columns, block, bits);
  if (!weights) return;
  if (weights->shape[0] != rows) return call.fail(fmt::format("{} rows of weights, N is {}", weights->shape[0], rows));
  Value* matrix = call.build.constant(*weights, packed ? call.node.input(1) : "");
  const DType dtype = call.dtype(0);
  Value* bias = call.has(5) ? call.cast(call.x(5), DType::f32) : nullptr;
  Value* result = call.build("linear", {call.cast(call.x(0), DType::f32), matrix, bias}, {}, call.name());
  call.set(0, call.cast(result, dtype));
}

Row contrib(std::string_view op, std::size_t operands, void (*read)(Call&)) {
  return {.op = op, .operands = operands, .read = read, .domain = kContrib};
}

}  // namespace

std::vector<Row> contrib_rows() {
  return {
      contrib("BiasGelu", 2, [](Call& c) { read_biased_gelu(c, false); }),
      contrib("FastGelu", 1, [](Call& c) { read_biased_gelu(c, true); }),
      contrib("QuickGelu", 1, read_quick_gelu),
      contrib("FusedMatMul", 2, read_fused_matmul),
      contrib("TransposeMatMul", 2, read_fused_matmul),
      contrib("FusedConv", 2, read_fused_conv),
      contrib("FusedGemm", 2, read_fused_gemm),
      contrib("SkipLayerNormalization", 3, read_skip_layer_norm),
      contrib("SkipSimplifiedLayerNormalization", 3, read_skip_rms_norm),
      contrib("EmbedLayerNormalization", 1, read_embed_layer_norm),
      contrib("BiasSoftmax", 2, read_bias_softmax),
      contrib("MatMulNBits", 3, read_matmul_nbits),
  };
}

}  // namespace taper::onnx_reader
