// CRC-32C (Castagnoli), which protects TensorFlow's tensor bundles.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace taper {

// The checksum of a text whose first part has the checksum `crc` (0 for none) and whose rest is `bytes`: polynomial
// 0x1EDC6F41, bits reflected, inverted at both ends (RFC 3720, appendix B.4).
std::uint32_t crc32c(Bytes bytes, std::uint32_t crc = 0);

// The form in which leveldb and TensorFlow store a checksum, so that checksums of data that holds checksums stay good.
inline std::uint32_t masked_crc32c(std::uint32_t crc) {
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

}  // namespace taper
