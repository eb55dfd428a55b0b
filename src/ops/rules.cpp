#include "ops/rules.h"

#include <cblas.h>
#include <sys/mman.h>

#include <cmath>
#include <mutex>
#include <new>

#include "ops/modular.h"
#include "ops/table.h"

namespace taper {
namespace {

// Whether y is what x is if x is a size, which is no less than 0: max(0, x), maybe cut to what is larger than x.
bool is_raised(const Dim& y, const Dim& x) {
  const Dim raised = dim_max(0, x);
  if (y == raised) return true;
  const auto function = as_function(y);
  if (!function || function->name != "min") return false;
  const auto cut = [&](const Dim& one, const Dim& other) {
    return one == raised && (other - x).constant().value_or(-1) >= 0;
  };
  return cut(function->a, function->b) || cut(function->b, function->a);
}

}  // namespace

std::vector<DType> onnx_wide_dtypes() {
  return {DType::f64, DType::f32, DType::f16, DType::i64, DType::i32};
}

std::vector<DType> onnx_ordered_dtypes() {
  std::vector<DType> dtypes = onnx_wide_dtypes();
  dtypes.insert(dtypes.end(), {DType::i8, DType::u8});
  return dtypes;
}

Type f32(const std::vector<std::int64_t>& sizes) {
  return {DType::f32, to_shape(sizes)};
}

Expected<std::size_t> normalize_axis(std::int64_t axis, std::size_t rank) {
  const auto count = static_cast<std::int64_t>(rank);
  if (axis < -count || axis >= count) return fail("axis {} of a value of rank {}", axis, rank);
  return static_cast<std::size_t>(axis < 0 ? axis + count : axis);
}

Expected<Shape> broadcast(const Shape& a, const Shape& b) {
  const std::size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    const Dim one = 1;
    const Dim& x = i + a.size() < rank ? one : a[i + a.size() - rank];
    const Dim& y = i + b.size() < rank ? one : b[i + b.size() - rank];
    const bool differ = x != y && !x.is(1) && !y.is(1);
    const bool takes_y = x.is(1) || (differ && is_raised(x, y));
    if (differ && !takes_y && !is_raised(y, x))
      return fail("shapes {} and {} don't broadcast: sizes {} and {}", shape_text(a), shape_text(b), x.text(),
                  y.text());
    out[i] = takes_y ? y : x;
  }
  return out;
}

Expected<std::vector<Type>> same_as_first(const InferCall& call) {
  return std::vector{call.type(0)};
}

Status check_one_dtype(const InferCall& call) {
  if (call.type(0).dtype == call.type(1).dtype) return {};
  return fail("operands are {} and {}, expected one dtype", info(call.type(0).dtype).name,
              info(call.type(1).dtype).name);
}

Tensor as_matrix(Tensor vector, std::int64_t columns) {
  vector.shape = {vector.shape[0] / columns, columns};
  vector.strides = row_major_strides(vector.shape);
  return vector;
}

std::optional<CallOnBases> elements_on_bases(const Node& node, std::span<const std::int64_t> dims, std::int64_t) {
  return CallOnBases{node.attrs, {dims.begin(), dims.end()}};
}

std::optional<CallOnBases> axis_on_bases(const Node& node, std::span<const std::int64_t> dims, std::int64_t) {
  CallOnBases call{node.attrs, {dims.begin(), dims.end()}};
  call.attrs.set("dim", dims[*normalize_axis(node.attrs.integer("dim"), dims.size())]);
  return call;
}

std::optional<CallOnBases> reduction_on_bases(const Node& node, std::span<const std::int64_t> dims, std::int64_t) {
  CallOnBases call{node.attrs, {}};
  std::vector<std::int64_t> reduced;
  for (const std::int64_t dim : node.attrs.integers("dims")) reduced.push_back(dims[*normalize_axis(dim, dims.size())]);
  std::ranges::sort(reduced);
  for (const std::int64_t dim : dims) {
    const auto before = std::ranges::lower_bound(reduced, dim);
    const bool gone = before != reduced.end() && *before == dim;
    if (node.attrs.flag("keepdim"))
      call.dims.push_back(dim);
    else if (!gone)
      call.dims.push_back(dim - (before - reduced.begin()));
  }
  call.attrs.set("dims", std::move(reduced));
  return call;
}

AxisView axis_view(const std::vector<std::int64_t>& shape, std::size_t axis) {
  AxisView view;
  for (std::size_t i = 0; i < axis; ++i) view.outer *= shape[i];
  view.size = shape[axis];
  for (std::size_t i = axis + 1; i < shape.size(); ++i) view.inner *= shape[i];
  return view;
}

Array make_array(DType dtype, std::vector<std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return {dtype, std::move(shape), std::vector<double>(static_cast<std::size_t>(count))};
}

Array to_array(const Tensor& tensor) {
  return {tensor.dtype, tensor.shape, to_double(tensor)};
}

void wrap_integers(Array& array) {
  if (is_floating(array.dtype) || array.dtype == DType::boolean) return;
  const double span = std::ldexp(1.0, static_cast<int>(8 * size_of(array.dtype)));
  const double low = is_unsigned(array.dtype) ? 0 : -span / 2;
  // The largest integer of 64 bits is as a float64 the number after it.
  const double last = size_of(array.dtype) > 4 ? low + span : low + span - 1;
  for (double& value : array.values)
    if ((value < low || value > last) && std::isfinite(value)) value -= span * std::floor((value - low) / span);
}

Tensor to_tensor(const Array& array) {
  const auto bytes = std::as_bytes(std::span(array.values));
  return converted(make_tensor(DType::f64, array.shape, {bytes.begin(), bytes.end()}), array.dtype);
}

Expected<Array> zip_elements(const Array& a, const Array& b, DType result, double (*f)(double, double)) {
  const std::size_t rank = std::max(a.shape.size(), b.shape.size());
  std::vector<std::int64_t> shape(rank), a_strides(rank, 0), b_strides(rank, 0);
  const auto fill = [rank](const Array& x, std::vector<std::int64_t>& strides) {
    const auto own = row_major_strides(x.shape);
    for (std::size_t i = 0; i < x.shape.size(); ++i) strides[rank - x.shape.size() + i] = x.shape[i] == 1 ? 0 : own[i];
  };
  fill(a, a_strides);
  fill(b, b_strides);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t x = i + a.shape.size() < rank ? 1 : a.shape[i + a.shape.size() - rank];
    const std::int64_t y = i + b.shape.size() < rank ? 1 : b.shape[i + b.shape.size() - rank];
    if (x != y && x != 1 && y != 1)
      return fail("shapes {} and {} don't broadcast", shape_text(std::span(a.shape)), shape_text(std::span(b.shape)));
    shape[i] = x == 1 ? y : x;
  }
  Array out = make_array(result, shape);
  if (rank == 0) {
    out.values[0] = f(a.values[0], b.values[0]);
    return out;
  }
  // Rows of the last axis, with an odometer over the others.
  const std::int64_t inner = shape[rank - 1];
  const std::int64_t rows = inner == 0 ? 0 : static_cast<std::int64_t>(out.values.size()) / inner;
  std::vector<std::int64_t> index(rank, 0);
  std::int64_t x = 0, y = 0;
  double* target = out.values.data();
  for (std::int64_t row = 0; row < rows; ++row) {
    const double* from_a = a.values.data() + x;
    const double* from_b = b.values.data() + y;
    for (std::int64_t i = 0; i < inner; ++i)
      *target++ = f(from_a[i * a_strides[rank - 1]], from_b[i * b_strides[rank - 1]]);
    for (std::size_t axis = rank - 1; axis-- > 0;) {
      x += a_strides[axis];
      y += b_strides[axis];
      if (++index[axis] < shape[axis]) break;
      x -= a_strides[axis] * shape[axis];
      y -= b_strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

namespace {

// OpenBLAS asks again and again for the buffer of its first product, without end, where there is no memory for it.
void check_room_for_blas() {
  constexpr std::size_t kBuffer = 160U << 20U;  // it takes 128 MiB
  void* room = ::mmap(nullptr, kBuffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw std::bad_alloc();
  ::munmap(room, kBuffer);
}

}  // namespace

void multiply_accumulate(const double* a, const double* b, double* c, std::int64_t m, std::int64_t n, std::int64_t k,
                         bool transpose_b) {
  if (m == 0 || n == 0 || k == 0) return;
  const auto narrow = [](std::int64_t x) { return static_cast<blasint>(x); };
  // Debian's serial OpenBLAS shares its buffers between calls: one at a time.
  static std::mutex in_use;
  const std::lock_guard lock(in_use);
  [[maybe_unused]] static const bool has_room = (check_room_for_blas(), true);  // tried again if it throws
  // The steps of recurrent networks have few rows: for them a product of matrices spends its time on packing B.
  constexpr std::int64_t kFewRows = 4;
  if (m <= kFewRows) {
    const blasint rows = narrow(transpose_b ? n : k);
    const blasint columns = narrow(transpose_b ? k : n);
    for (std::int64_t row = 0; row < m; ++row)
      cblas_dgemv(CblasRowMajor, transpose_b ? CblasNoTrans : CblasTrans, rows, columns, 1.0, b, columns, a + row * k,
                  1, 1.0, c + row * n, 1);
    return;
  }
  cblas_dgemm(CblasRowMajor, CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, narrow(m), narrow(n), narrow(k),
              1.0, a, narrow(k), b, narrow(transpose_b ? k : n), 1.0, c, narrow(n));
}

namespace {
struct Activation {
  std::string_view name;
  tflite::ActivationFunctionType code;
  double (*f)(double);
};
constexpr Activation kActivations[] = {
    {"none", tflite::ActivationFunctionType::NONE, [](double x) { return x; }},
    {"relu", tflite::ActivationFunctionType::RELU, [](double x) { return x > 0 ? x : (std::isnan(x) ? x : 0.0); }},
    {"relu6", tflite::ActivationFunctionType::RELU6, [](double x) { return std::clamp(x, 0.0, 6.0); }},
    {"tanh", tflite::ActivationFunctionType::TANH, [](double x) { return std::tanh(x); }},
};
}  // namespace

bool is_hybrid_call(const Node& node) {
  return op_of(node).is_hybrid(node);
}
bool takes_int16(const Node& node) {
  const Quantization* grid = node.operands[0]->quantization.get();
  return grid != nullptr && grid->bits == 16;
}

tflite::ActivationFunctionType activation_code(const std::string& name) {
  return std::ranges::find(kActivations, std::string_view(name), &Activation::name)->code;
}

std::optional<std::string> activation_name(tflite::ActivationFunctionType code) {
  const auto* row = std::ranges::find(kActivations, code, &Activation::code);
  if (row == std::end(kActivations)) return std::nullopt;
  return std::string(row->name);
}

double activate(const std::string& name, double x) {
  return std::ranges::find(kActivations, std::string_view(name), &Activation::name)->f(x);
}

AttrSpec activation_attr() {
  return {"activation", AttrKind::text, std::string("none")};
}

}  // namespace taper
