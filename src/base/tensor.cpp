#include "base/tensor.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "base/mapped_file.h"

namespace taper {
namespace {

// Calls `visit` with a value of the storage type of `dtype`.
template <class Visit>
void with_storage_type(DType dtype, Visit&& visit) {
  switch (dtype) {
    case DType::f64:
      return visit(double{});
    case DType::f32:
      return visit(float{});
    case DType::f16:
    case DType::bf16:
    case DType::u16:
      return visit(std::uint16_t{});
    case DType::i64:
      return visit(std::int64_t{});
    case DType::i32:
      return visit(std::int32_t{});
    case DType::i16:
      return visit(std::int16_t{});
    case DType::i8:
      return visit(std::int8_t{});
    case DType::u8:
    case DType::boolean:
      return visit(std::uint8_t{});
    case DType::u32:
      return visit(std::uint32_t{});
    case DType::u64:
      return visit(std::uint64_t{});
  }
}

template <class To, class From>
To number_cast(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (std::isnan(value)) return 0;
    // The limits are compared as `From`; values at or past them saturate.
    if (value <= static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    if (value >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  }
  return static_cast<To>(value);
}

// The number that a stored element stands for, and back.
template <class Stored>
auto decode(Stored stored, DType dtype) {
  if constexpr (std::is_same_v<Stored, std::uint16_t>) {
    if (dtype == DType::f16) return float_from_half(stored);
    if (dtype == DType::bf16) return float_from_bfloat16(stored);
    return static_cast<float>(stored);  // exact: 16 bits fit a float
  } else {
    return stored;
  }
}

template <class Stored, class Number>
Stored encode(Number number, DType dtype) {
  if (dtype == DType::boolean) return static_cast<Stored>(number != Number{});
  if constexpr (std::is_same_v<Stored, std::uint16_t>) {
    if (dtype == DType::f16) return half_from_float(static_cast<float>(number));
    if (dtype == DType::bf16) return bfloat16_from_float(static_cast<float>(number));
  }
  return number_cast<Stored>(number);
}

template <class T>
T load(const std::byte* address, bool swap) {
  T value;
  std::memcpy(&value, address, sizeof(T));
  if (swap) {
    auto* raw = reinterpret_cast<std::byte*>(&value);
    std::reverse(raw, raw + sizeof(T));
  }
  return value;
}

// Elements that lie side by side on both sides: loops over plain types, which the compiler turns into vector code.
template <class From, class To>
void convert_run(const std::byte* source, std::byte* target, std::int64_t count, DType from, DType to) {
  constexpr std::int64_t kBlock = 256;
  From in[kBlock];
  To out[kBlock];
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, count - begin);
    const auto width = static_cast<std::size_t>(size);
    std::memcpy(in, source + begin * static_cast<std::int64_t>(sizeof(From)), width * sizeof(From));
    if constexpr (std::is_same_v<From, float> && std::is_same_v<To, std::uint16_t>) {
      if (to == DType::f16) {
        for (std::int64_t i = 0; i < size; ++i) out[i] = half_from_float(in[i]);
      } else {
        for (std::int64_t i = 0; i < size; ++i) out[i] = encode<To>(in[i], to);
      }
    } else if constexpr (std::is_floating_point_v<From> && std::is_floating_point_v<To>) {
      for (std::int64_t i = 0; i < size; ++i) out[i] = static_cast<To>(in[i]);
    } else {
      for (std::int64_t i = 0; i < size; ++i) out[i] = encode<To>(decode(in[i], from), to);
    }
    std::memcpy(target + begin * static_cast<std::int64_t>(sizeof(To)), out, width * sizeof(To));
  }
}

// Calls `visit(offset, count)` for each run along the last axis, in row-major order; `offset` in elements.
template <class Visit>
void for_each_row(const Tensor& tensor, Visit&& visit) {
  if (tensor.element_count() == 0) return;
  if (tensor.strides == row_major_strides(tensor.shape)) return visit(std::int64_t{0}, tensor.element_count());
  const std::size_t rank = tensor.shape.size();
  if (rank == 0) return visit(std::int64_t{0}, std::int64_t{1});
  std::vector<std::int64_t> index(rank, 0);
  std::int64_t offset = 0;
  while (true) {
    visit(offset, tensor.shape[rank - 1]);
    std::size_t axis = rank - 1;
    while (true) {
      if (axis == 0) return;
      --axis;
      offset += tensor.strides[axis];
      if (++index[axis] < tensor.shape[axis]) break;
      offset -= tensor.strides[axis] * tensor.shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace

std::int64_t Tensor::element_count() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

bool Tensor::is_plain() const {
  return !big_endian && strides == row_major_strides(shape);
}

std::vector<std::int64_t> row_major_strides(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = step;
    step *= std::max<std::int64_t>(shape[axis], 1);
  }
  return strides;
}

Expected<std::int64_t> checked_element_count(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size < 0) return fail("shape {} has a negative size", shape_text(shape));
    // A zero size must not hide an overflow of the others, from which strides are computed.
    const auto product = checked_mul(count, std::max<std::int64_t>(size, 1));
    if (!product) return fail("shape {} has more than 2^63 elements", shape_text(shape));
    count = *product;
  }
  for (const std::int64_t size : shape)
    if (size == 0) return std::int64_t{0};
  return count;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  constexpr std::size_t kMost = 16;  // no tensor of a network has more; a hostile one may
  const std::string more = shape.size() > kMost ? fmt::format(", and {} more", shape.size() - kMost) : "";
  return fmt::format("[{}{}]", fmt::join(shape.first(std::min(shape.size(), kMost)), ", "), more);
}

std::string describe(const Tensor& tensor) {
  return fmt::format("{} {}", info(tensor.dtype).name, shape_text(tensor.shape));
}

Expected<Tensor> make_view(DType dtype, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                           SharedBytes storage,  // NOLINT(performance-unnecessary-value-param): as the header has it
                           std::int64_t byte_offset, bool big_endian) {
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
  if (strides.size() != shape.size()) return fail("{} strides for a tensor of rank {}", strides.size(), shape.size());
  if (byte_offset < 0 || static_cast<std::uint64_t>(byte_offset) > storage.view.size())
    return fail("a tensor starts at byte {} of a storage of {} bytes", byte_offset, storage.view.size());
  std::int64_t last = 0;  // index of the furthest element
  for (std::size_t axis = 0; axis < shape.size() && count > 0; ++axis) {
    if (strides[axis] < 0) return fail("stride {} of axis {} is negative", strides[axis], axis);
    const auto reach = checked_mul(strides[axis], shape[axis] - 1);
    const auto sum = reach ? checked_add(last, *reach) : std::nullopt;
    if (!sum) return fail("strides {} reach past 2^63 elements", shape_text(strides));
    last = *sum;
  }
  const std::uint64_t available = (storage.view.size() - static_cast<std::uint64_t>(byte_offset)) / size_of(dtype);
  if (count > 0 && static_cast<std::uint64_t>(last) >= available)
    return fail("a tensor of shape {} and strides {} needs {} elements, its storage holds {}", shape_text(shape),
                shape_text(strides), last + 1, available);
  const auto offset = static_cast<std::size_t>(byte_offset);
  return Tensor{dtype, std::move(shape), std::move(strides), storage.sub(offset, storage.view.size() - offset),
                big_endian};
}

Tensor leading_part(const Tensor& tensor, std::int64_t first, std::int64_t count) {
  Tensor part = tensor;
  part.shape[0] = count;
  const auto offset = static_cast<std::size_t>(first * tensor.strides[0]) * size_of(tensor.dtype);
  part.storage = tensor.storage.sub(offset, tensor.storage.view.size() - offset);
  return part;
}

Tensor make_tensor(DType dtype, std::vector<std::int64_t> shape, std::vector<std::byte> bytes) {
  std::vector<std::int64_t> strides = row_major_strides(shape);
  return Tensor{dtype, std::move(shape), std::move(strides), share(std::move(bytes)), false};
}

namespace {
template <class T>
Tensor tensor_of(DType dtype, std::vector<std::int64_t> shape, std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return make_tensor(dtype, std::move(shape), {bytes.begin(), bytes.end()});
}
}  // namespace

Tensor tensor_f32(std::vector<std::int64_t> shape, std::span<const float> values) {
  return tensor_of(DType::f32, std::move(shape), values);
}
Tensor tensor_i32(std::vector<std::int64_t> shape, std::span<const std::int32_t> values) {
  return tensor_of(DType::i32, std::move(shape), values);
}
Tensor tensor_i64(std::vector<std::int64_t> shape, std::span<const std::int64_t> values) {
  return tensor_of(DType::i64, std::move(shape), values);
}

void convert_elements(const Tensor& tensor, DType dtype, std::span<std::byte> out) {
  const std::size_t from_size = size_of(tensor.dtype);
  const std::size_t to_size = size_of(dtype);
  const std::int64_t inner_stride = tensor.strides.empty() ? 1 : tensor.strides.back();
  std::byte* target = out.data();
  for_each_row(tensor, [&](std::int64_t offset, std::int64_t count) {
    const std::byte* source = tensor.storage.view.data() + offset * static_cast<std::int64_t>(from_size);
    const std::int64_t step = inner_stride * static_cast<std::int64_t>(from_size);
    if (tensor.dtype == dtype && !tensor.big_endian && inner_stride == 1) {
      std::memcpy(target, source, static_cast<std::size_t>(count) * to_size);
    } else {
      with_storage_type(tensor.dtype, [&](auto from) {
        with_storage_type(dtype, [&](auto to) {
          using From = decltype(from);
          using To = decltype(to);
          if (inner_stride == 1 && !tensor.big_endian) {
            convert_run<From, To>(source, target, count, tensor.dtype, dtype);
          } else if (tensor.dtype == dtype) {  // only gathered or swapped: bits stay
            for (std::int64_t i = 0; i < count; ++i) {
              const From stored = load<From>(source + i * step, tensor.big_endian);
              std::memcpy(target + i * static_cast<std::int64_t>(to_size), &stored, sizeof(From));
            }
          } else {
            for (std::int64_t i = 0; i < count; ++i) {
              const From stored = load<From>(source + i * step, tensor.big_endian);
              const To value = encode<To>(decode(stored, tensor.dtype), dtype);
              std::memcpy(target + i * static_cast<std::int64_t>(to_size), &value, sizeof(To));
            }
          }
        });
      });
    }
    target += static_cast<std::size_t>(count) * to_size;
  });
}

Tensor converted(const Tensor& tensor, DType dtype) {
  if (tensor.dtype == dtype && tensor.is_plain()) return tensor;
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.element_count()) * size_of(dtype));
  convert_elements(tensor, dtype, bytes);
  return make_tensor(dtype, tensor.shape, std::move(bytes));
}

std::vector<double> to_double(const Tensor& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.element_count()));
  convert_elements(tensor, DType::f64, std::as_writable_bytes(std::span(values)));
  return values;
}

Tensor with_changed_rows(const Tensor& tensor,
                         const std::function<void(std::int64_t row, std::span<double> entries)>& change) {
  const std::int64_t rows = tensor.shape[0];
  const std::int64_t count = tensor.element_count() / std::max<std::int64_t>(rows, 1);
  std::vector<double> entries(static_cast<std::size_t>(count));
  Tensor changed{DType::f64, {count}, {1}, {}, false};
  changed.storage.view = std::as_bytes(std::span(entries));
  const std::size_t row_bytes = static_cast<std::size_t>(count) * size_of(tensor.dtype);
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.byte_count()));
  for (std::int64_t row = 0; row < rows; ++row) {
    convert_elements(leading_part(tensor, row, 1), DType::f64, std::as_writable_bytes(std::span(entries)));
    change(row, entries);
    convert_elements(changed, tensor.dtype,
                     std::span(bytes).subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes));
  }
  release_pages(tensor.storage.view);
  return make_tensor(tensor.dtype, tensor.shape, std::move(bytes));
}

bool identical(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  const Tensor x = converted(a, a.dtype);
  const Tensor y = converted(b, b.dtype);
  return std::ranges::equal(x.bytes(), y.bytes());
}

}  // namespace taper
