// Spans of untrusted bytes: shared ownership, checked reading and checked arithmetic.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace taper {

using Bytes = std::span<const std::byte>;

// Bytes together with whatever keeps them alive: a mapping, a buffer. Copies are cheap and share the owner.
struct SharedBytes {
  Bytes view;
  std::shared_ptr<const void> owner;

  // The part [offset, offset + size); the caller has checked the range.
  SharedBytes sub(std::size_t offset, std::size_t size) const { return {view.subspan(offset, size), owner}; }
};

// Takes ownership of a buffer.
SharedBytes share(std::vector<std::byte> buffer);

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// a * b and a + b, or nothing on overflow.
template <std::integral T>
std::optional<T> checked_mul(T a, T b) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}
template <std::integral T>
std::optional<T> checked_add(T a, T b) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

// Reads integers and runs of bytes from a span, never past its end. Numbers are little-endian unless said otherwise.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }
  bool at_end() const { return remaining() == 0; }
  Bytes all() const { return bytes_; }

  Status seek(std::size_t offset);
  Expected<Bytes> take(std::uint64_t count);
  // Reads up to and excluding '\n', and steps over it.
  Expected<std::string_view> take_line();

  template <class T>
  Expected<T> read() {
    static_assert(std::is_trivially_copyable_v<T>);
    static_assert(std::endian::native == std::endian::little, "taper is built for little-endian machines");
    auto raw = take(sizeof(T));
    if (!raw) return std::unexpected(std::move(raw).error());
    T value;
    std::memcpy(&value, raw->data(), sizeof(T));
    return value;
  }

 private:
  Bytes bytes_;
  std::size_t offset_ = 0;
};

}  // namespace taper
