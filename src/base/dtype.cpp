#include "base/dtype.h"

#include <array>

namespace taper {
namespace {

constexpr std::array kTable = {
    DTypeInfo{DType::f64, "float64", "f64", 8, true},    DTypeInfo{DType::f32, "float32", "f32", 4, true},
    DTypeInfo{DType::f16, "float16", "f16", 2, true},    DTypeInfo{DType::bf16, "bfloat16", "bf16", 2, true},
    DTypeInfo{DType::i64, "int64", "i64", 8, false},     DTypeInfo{DType::i32, "int32", "i32", 4, false},
    DTypeInfo{DType::i16, "int16", "i16", 2, false},     DTypeInfo{DType::i8, "int8", "i8", 1, false},
    DTypeInfo{DType::u8, "uint8", "u8", 1, false},       DTypeInfo{DType::u16, "uint16", "u16", 2, false},
    DTypeInfo{DType::u32, "uint32", "u32", 4, false},    DTypeInfo{DType::u64, "uint64", "u64", 8, false},
    DTypeInfo{DType::boolean, "bool", "bool", 1, false},
};
static_assert(kTable.size() == kDTypeCount);

}  // namespace

const DTypeInfo& info(DType dtype) {
  return kTable[static_cast<std::size_t>(dtype)];
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeInfo& row : kTable)
    if (row.name == name || row.short_name == name) return row.dtype;
  return std::nullopt;
}

}  // namespace taper
