// Values of ONNX's tensor messages: where they lie, and elements of less than a byte or of types that nobody computes
// in.
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/mapped_file.h"
#include "formats/onnx.h"

namespace taper {
namespace {

// Numbers of newer versions of onnx.proto than the library's.
enum Element {
  float8e4m3fn = 17,
  float8e4m3fnuz,
  float8e5m2,
  float8e5m2fnuz,
  uint4,
  int4,
  float4e2m1,
  float8e8m0,
  uint2,
  int2
};

// A small float: sign, exponent, mantissa.
struct SmallFloat {
  int type;
  int mantissa_bits;
  int exponent_bits;
  int bias;
  bool is_ieee;        // the highest exponent is for infinity and NaN
  bool unsigned_zero;  // the bits of -0 are NaN
};
constexpr SmallFloat kSmallFloats[] = {
    {float8e4m3fn, 3, 4, 7, false, false}, {float8e4m3fnuz, 3, 4, 8, false, true},
    {float8e5m2, 2, 5, 15, true, false},   {float8e5m2fnuz, 2, 5, 16, false, true},
    {float4e2m1, 1, 2, 1, false, false},
};

const SmallFloat* small_float(int type) {
  const auto* found = std::ranges::find(kSmallFloats, type, &SmallFloat::type);
  return found == std::end(kSmallFloats) ? nullptr : found;
}

float decode(const SmallFloat& format, unsigned bits) {
  const unsigned sign_bit = 1u << (format.mantissa_bits + format.exponent_bits);
  const unsigned magnitude = bits & (sign_bit - 1);
  const float sign = (bits & sign_bit) != 0 ? -1.0f : 1.0f;
  const int exponent = static_cast<int>(magnitude >> format.mantissa_bits);
  const unsigned mantissa = magnitude & ((1u << format.mantissa_bits) - 1);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  if (format.unsigned_zero && bits == sign_bit) return kNan;
  if (format.is_ieee && exponent == (1 << format.exponent_bits) - 1)
    return mantissa != 0 ? kNan : sign * std::numeric_limits<float>::infinity();
  if (format.type == float8e4m3fn && magnitude == sign_bit - 1) return kNan;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), 1 - format.bias - format.mantissa_bits);
  const auto full = static_cast<float>(mantissa + (1u << format.mantissa_bits));
  return sign * std::ldexp(full, exponent - format.bias - format.mantissa_bits);
}

int bits_of(int type) {
  if (type == uint2 || type == int2) return 2;
  return type == uint4 || type == int4 || type == float4e2m1 ? 4 : 8;
}

struct Location {
  std::string file;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
};

Expected<std::uint64_t> parse_number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return fail("'{}' is no number", text);
  return value;
}

Expected<Location> location_of(const onnx::TensorProto& message) {
  Location location;
  for (const auto& entry : message.external_data()) {
    if (entry.key() == "location") location.file = entry.value();
    if (entry.key() == "offset") {
      TAPER_ASSIGN(location.offset, parse_number(entry.value()));
    }
    if (entry.key() == "length") {
      TAPER_ASSIGN(location.length, parse_number(entry.value()));
    }
  }
  if (location.file.empty()) return fail("external data without a location");
  return location;
}

// The bytes that a message refers to; `expected` of them.
Expected<SharedBytes> external_bytes(const onnx::TensorProto& message, OnnxFolder& folder, std::uint64_t expected) {
  TAPER_ASSIGN(const Location location, location_of(message));
  TAPER_ASSIGN(const SharedBytes file, folder.file(location.file));
  const std::uint64_t length = location.length.value_or(expected);
  if (length != expected) return fail("{} bytes of external data, expected {}", length, expected);
  if (location.offset > file.view.size() || expected > file.view.size() - location.offset)
    return fail("bytes {} to {} of '{}', which has {}", location.offset, location.offset + expected, location.file,
                file.view.size());
  return file.sub(location.offset, expected);
}

// The fields with this number that the library's schema doesn't have.
std::vector<std::string> unknown_fields(const google::protobuf::Message& message, int number) {
  std::vector<std::string> found;
  const google::protobuf::UnknownFieldSet& fields = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < fields.field_count(); ++i)
    if (fields.field(i).number() == number &&
        fields.field(i).type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      found.push_back(fields.field(i).length_delimited());
  return found;
}

std::string last_of(std::vector<std::string> texts) {
  return texts.empty() ? std::string() : std::move(texts.back());
}

}  // namespace

std::string onnx_overload(const onnx::NodeProto& node) {
  return last_of(unknown_fields(node, 8));
}

std::string onnx_overload(const onnx::FunctionProto& function) {
  return last_of(unknown_fields(function, 13));
}

std::vector<onnx::AttributeProto> onnx_defaults(const onnx::FunctionProto& function) {
  std::vector<onnx::AttributeProto> defaults;
  for (const std::string& bytes : unknown_fields(function, 11))
    if (onnx::AttributeProto attribute; attribute.ParseFromString(bytes)) defaults.push_back(std::move(attribute));
  return defaults;
}

std::optional<DType> widened_dtype(int data_type) {
  switch (data_type) {
    case float8e4m3fn:
    case float8e4m3fnuz:
    case float8e5m2:
    case float8e5m2fnuz:
    case float4e2m1:
    case float8e8m0:
      return DType::f32;
    case uint4:
    case uint2:
      return DType::u8;
    case int4:
    case int2:
      return DType::i8;
    default:
      return dtype_from_onnx(data_type);
  }
}

Expected<std::vector<std::byte>> widen_small_elements(int data_type, Bytes packed, std::int64_t count) {
  const auto bits = static_cast<unsigned>(bits_of(data_type));
  const unsigned per_byte = 8 / bits;
  const auto elements = static_cast<std::uint64_t>(count);
  if (packed.size() != elements / per_byte + (elements % per_byte != 0 ? 1 : 0))
    return fail("{} bytes for {} elements of {} bits", packed.size(), count, bits);
  const bool is_float = widened_dtype(data_type) == DType::f32;
  const bool is_signed = data_type == int4 || data_type == int2;
  std::vector<std::byte> out(elements * (is_float ? sizeof(float) : 1));
  for (std::uint64_t i = 0; i < elements; ++i) {
    const auto byte = static_cast<unsigned>(packed[i / per_byte]);
    const unsigned value = byte >> (i % per_byte * bits) & ((1u << bits) - 1);
    if (!is_float) {
      const unsigned sign = 1u << (bits - 1);
      out[i] = static_cast<std::byte>(is_signed ? (value ^ sign) - sign : value);
      continue;
    }
    const SmallFloat* format = small_float(data_type);
    const float number = format != nullptr ? decode(*format, value)
                         : value == 255    ? std::numeric_limits<float>::quiet_NaN()
                                           : std::ldexp(1.0f, static_cast<int>(value) - 127);  // float8e8m0
    std::memcpy(out.data() + i * sizeof(float), &number, sizeof(float));
  }
  return out;
}

Expected<SharedBytes> OnnxFolder::file(const std::string& location) {
  if (const auto found = files_.find(location); found != files_.end()) return found->second;
  if (folder_.empty()) return fail("external data in '{}', but the model lies in no folder", location);
  const std::filesystem::path relative(location);
  if (relative.is_absolute() || location.find('\0') != std::string::npos)
    return fail("external data in '{}', which is no path inside of the model's folder", location);
  std::filesystem::path path = folder_;
  for (const auto& part : relative) {
    if (part == "..") return fail("external data in '{}', outside of the model's folder", location);
    path /= part;
    std::error_code error;
    if (std::filesystem::is_symlink(path, error))
      return fail("external data in '{}', behind a symbolic link", location);
  }
  TAPER_ASSIGN_WITHIN(SharedBytes bytes, map_file(path), fmt::format("in external data '{}'", location));
  return files_.emplace(location, std::move(bytes)).first->second;
}

Expected<Tensor> onnx_tensor(const onnx::TensorProto& message, OnnxFolder& folder, std::shared_ptr<const void> owner,
                             const SharedBytes& raw) {
  const auto read = [&]() -> Expected<Tensor> {
    const auto dtype = widened_dtype(message.data_type());
    if (!dtype) return fail("element type {} is not read", message.data_type());
    const bool external = message.data_location() == onnx::TensorProto::EXTERNAL;
    const bool small = !dtype_from_onnx(message.data_type());
    const bool has_raw = message.has_raw_data() || !raw.view.empty();
    const Bytes given = raw.view.empty() ? as_bytes(message.raw_data()) : raw.view;
    if (!external && !has_raw && !small) return onnx_tensor(message);
    const std::vector<std::int64_t> shape(message.dims().begin(), message.dims().end());
    TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
    if (small) {
      // Typed fields hold one element, or a byte of packed ones, per number.
      std::vector<std::byte> typed;
      for (const std::int32_t number : message.int32_data()) typed.push_back(static_cast<std::byte>(number));
      SharedBytes packed{has_raw ? given : Bytes(typed), nullptr};
      if (external) {
        const auto per_byte = static_cast<std::uint64_t>(8 / bits_of(message.data_type()));
        const auto bytes = (static_cast<std::uint64_t>(count) + per_byte - 1) / per_byte;
        TAPER_ASSIGN(packed, external_bytes(message, folder, bytes));
      }
      TAPER_ASSIGN(std::vector<std::byte> wide, widen_small_elements(message.data_type(), packed.view, count));
      return make_tensor(*dtype, shape, std::move(wide));
    }
    const auto bytes = checked_mul<std::uint64_t>(static_cast<std::uint64_t>(count), size_of(*dtype));
    if (!bytes) return fail("{} elements are too many", count);
    SharedBytes storage = raw.view.empty() ? SharedBytes{given, std::move(owner)} : raw;
    if (external) {
      TAPER_ASSIGN(storage, external_bytes(message, folder, *bytes));
    }
    if (storage.view.size() != *bytes)
      return fail("{} bytes of raw_data for {} {}", storage.view.size(), info(*dtype).name, shape_text(shape));
    return make_view(*dtype, shape, row_major_strides(shape), std::move(storage), 0);
  };
  auto tensor = read();
  if (!tensor) return std::unexpected(within(std::move(tensor).error(), fmt::format("in tensor '{}'", message.name())));
  return tensor;
}

}  // namespace taper
