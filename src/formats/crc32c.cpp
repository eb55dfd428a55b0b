#include "formats/crc32c.h"

#include <array>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace taper {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78u;  // reflected

// Entry [k][b]: the state after byte b and k zero bytes.
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t state = byte;
    for (int bit = 0; bit < 8; ++bit) state = state >> 1 ^ ((state & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = state;
  }
  for (std::size_t byte = 0; byte < 256; ++byte)
    for (std::size_t k = 1; k < tables.size(); ++k)
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 0xff];
  return tables;
}

// Eight bytes at a time, each through the table of its distance from the end.
std::uint32_t update_by_table(std::uint32_t state, Bytes bytes) {
  static constexpr Tables kTables = make_tables();
  const auto entry = [](std::size_t k, std::uint64_t byte) { return kTables[k][byte & 0xff]; };
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    word ^= state;
    state = 0;
    for (std::size_t k = 0; k < 8; ++k) state ^= entry(7 - k, word >> (8 * k));
  }
  for (const std::byte byte : bytes) state = state >> 8 ^ entry(0, state ^ static_cast<std::uint32_t>(byte));
  return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t update_by_instruction(std::uint32_t state, Bytes bytes) {
  std::uint64_t wide = state;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    wide = _mm_crc32_u64(wide, word);
  }
  state = static_cast<std::uint32_t>(wide);
  for (const std::byte byte : bytes) state = _mm_crc32_u8(state, static_cast<std::uint8_t>(byte));
  return state;
}
#endif

std::uint32_t update(std::uint32_t state, Bytes bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return update_by_instruction(state, bytes);
#endif
  return update_by_table(state, bytes);
}

}  // namespace

std::uint32_t crc32c(Bytes bytes, std::uint32_t crc) {
  return ~update(~crc, bytes);
}

}  // namespace taper
