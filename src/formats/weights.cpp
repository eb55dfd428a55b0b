#include "formats/weights.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/mapped_file.h"
#include "formats/text.h"

namespace taper {
namespace {

constexpr std::int64_t kPieceBytes = 1 << 20;

// The same elements without the leading axis, which has size 1.
Tensor without_leading_axis(Tensor tensor) {
  tensor.shape.erase(tensor.shape.begin());
  tensor.strides.erase(tensor.strides.begin());
  return tensor;
}

// A plain tensor, piece after piece, each forgotten when it is sent.
Status stream_plain(const WeightSource& source, const ByteSink& sink) {
  const Tensor& tensor = source.tensor;
  const bool as_is = tensor.dtype == source.dtype;
  const std::int64_t step =
      kPieceBytes / static_cast<std::int64_t>(std::max(size_of(tensor.dtype), size_of(source.dtype)));
  const std::int64_t count = tensor.element_count();
  std::vector<std::byte> scratch(as_is ? 0 : static_cast<std::size_t>(std::min(step, count)) * size_of(source.dtype));
  for (std::int64_t first = 0; first < count; first += step) {
    const std::int64_t length = std::min(step, count - first);
    const SharedBytes bytes = tensor.storage.sub(static_cast<std::size_t>(first) * size_of(tensor.dtype),
                                                 static_cast<std::size_t>(length) * size_of(tensor.dtype));
    const auto piece = std::span(scratch).first(as_is ? 0 : static_cast<std::size_t>(length) * size_of(source.dtype));
    if (!as_is) convert_elements({tensor.dtype, {length}, {1}, bytes, false}, source.dtype, piece);
    TAPER_TRY(sink(as_is ? bytes.view : Bytes(piece)));
    release_pages(bytes.view);
  }
  return {};
}

// `scratch` grows to the largest piece.
Status stream_converted(const Tensor& tensor, DType dtype, const ByteSink& sink, std::vector<std::byte>& scratch) {
  const std::int64_t element_size = static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t bytes = tensor.element_count() * element_size;
  if (bytes <= kPieceBytes) {
    if (scratch.size() < static_cast<std::size_t>(bytes)) scratch.resize(static_cast<std::size_t>(bytes));
    const auto piece = std::span(scratch).first(static_cast<std::size_t>(bytes));
    convert_elements(tensor, dtype, piece);
    return sink(piece);
  }
  const std::int64_t slice_bytes = bytes / tensor.shape[0];
  if (slice_bytes > kPieceBytes) {
    for (std::int64_t i = 0; i < tensor.shape[0]; ++i)
      TAPER_TRY(stream_converted(without_leading_axis(leading_part(tensor, i, 1)), dtype, sink, scratch));
    return {};
  }
  const std::int64_t step = kPieceBytes / slice_bytes;
  for (std::int64_t first = 0; first < tensor.shape[0]; first += step) {
    const std::int64_t count = std::min(step, tensor.shape[0] - first);
    TAPER_TRY(stream_converted(leading_part(tensor, first, count), dtype, sink, scratch));
  }
  return {};
}

}  // namespace

WeightSource stored_as_is(Tensor tensor) {
  const DType dtype = tensor.dtype;
  return {std::move(tensor), dtype};
}

WeightSource stored_bytes(SharedBytes bytes) {
  const auto size = static_cast<std::int64_t>(bytes.view.size());
  return {Tensor{DType::u8, {size}, {1}, std::move(bytes), false}, DType::u8};
}

ByteSink sink_to(std::ostream& out) {
  return [&out](Bytes bytes) -> Status {
    errno = 0;
    if (out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()))) return {};
    const int reason = errno;
    if (reason == 0) return fail("writing {} bytes failed", bytes.size());
    return fail("writing {} bytes failed: {}", bytes.size(), std::generic_category().message(reason));
  };
}

ByteSink sink_to(std::vector<std::byte>& out) {
  return [&out](Bytes bytes) -> Status {
    out.insert(out.end(), bytes.begin(), bytes.end());
    return {};
  };
}

Status stream_elements(const WeightSource& source, const ByteSink& sink) {
  const Tensor& tensor = source.tensor;
  if (tensor.element_count() == 0) return {};
  const auto stream = [&]() -> Status {
    if (tensor.is_plain()) return stream_plain(source, sink);
    std::vector<std::byte> scratch;
    return stream_converted(tensor, source.dtype, sink, scratch);
  };
  const Status streamed = stream();
  release_pages(tensor.storage.view);
  return streamed;
}

void NotFiniteWeights::look_at(const std::string& name, const Tensor& tensor, bool may_be_mask) {
  constexpr std::uint32_t kExponent = 0x7f800000U, kMinusInfinity = 0xff800000U;
  Tensor distinct = tensor;
  for (std::size_t axis = 0; axis < distinct.shape.size(); ++axis)
    if (distinct.strides[axis] == 0) distinct.shape[axis] = std::min<std::int64_t>(distinct.shape[axis], 1);
  std::int64_t all = 0, lowest = 0;
  const auto count = [&](Bytes bytes) -> Status {
    std::uint32_t bits = 0;
    for (std::size_t at = 0; at + sizeof(bits) <= bytes.size(); at += sizeof(bits)) {
      std::memcpy(&bits, bytes.data() + at, sizeof(bits));
      all += (bits & kExponent) == kExponent ? 1 : 0;
      lowest += bits == kMinusInfinity ? 1 : 0;
    }
    return {};
  };
  const std::int64_t elements = distinct.element_count();
  // Pages of small weights stay, to be written soon.
  constexpr std::int64_t kLarge = 1 << 22;
  const Status looked = distinct.byte_count() < kLarge ? count(converted(distinct, DType::f32).bytes())
                                                       : stream_elements({std::move(distinct), DType::f32}, count);
  if (!looked || all == (may_be_mask ? lowest : 0)) return;
  found_.push_back(fmt::format("{} ({} of {})", name, all, elements));
}

std::optional<std::string> NotFiniteWeights::warning() const {
  if (found_.empty()) return std::nullopt;
  return fmt::format("weights are NaN or infinite: {}", shortened(found_, 20));
}

}  // namespace taper
