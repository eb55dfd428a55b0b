#include "formats/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "formats/text.h"

namespace taper {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // as in the official reader

struct Row {
  std::string_view name;
  DType dtype;
};
constexpr Row kDTypes[] = {
    {"F64", DType::f64}, {"F32", DType::f32}, {"F16", DType::f16},      {"BF16", DType::bf16}, {"I64", DType::i64},
    {"I32", DType::i32}, {"I16", DType::i16}, {"I8", DType::i8},        {"U8", DType::u8},     {"U16", DType::u16},
    {"U32", DType::u32}, {"U64", DType::u64}, {"BOOL", DType::boolean},
};
static_assert(std::size(kDTypes) == kDTypeCount);

// One entry of the header as it stands there.
struct Declared {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::uint64_t> offsets;
  bool has_shape = false;
};

bool is_complete(const Declared& tensor) {
  return tensor.offsets.size() == 2 && !tensor.dtype.empty() && tensor.has_shape;
}

// Receives the header's JSON piece by piece: two levels of objects and arrays of integers, nothing else. Each callback
// returns whether to go on; `problem` says why not.
class HeaderHandler : public nlohmann::json_sax<Json> {
 public:
  std::vector<Declared> tensors;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::string problem;

  bool start_object(std::size_t) override {
    if (depth_ == 0 || (depth_ == 1 && field_ == Field::none)) {
      if (depth_ == 1 && !in_metadata_) tensors.push_back(Declared{name_, {}, {}, {}, false});
      ++depth_;
      return true;
    }
    return refuse("holds an object where none belongs");
  }
  bool end_object() override {
    if (depth_ == 2 && !in_metadata_ && !is_complete(tensors.back()))
      return refuse("lacks its dtype, shape or two offsets");
    --depth_;
    field_ = Field::none;
    in_metadata_ = false;
    return true;
  }
  bool key(string_t& text) override {
    if (depth_ == 1) {
      name_ = text;
      in_metadata_ = text == "__metadata__";
      if (in_metadata_ && has_metadata_) return refuse("is given twice");
      has_metadata_ = has_metadata_ || in_metadata_;
      return true;
    }
    if (in_metadata_) {
      name_ = text;
      return true;
    }
    const Declared& tensor = tensors.back();
    const bool repeated = (text == "dtype" && !tensor.dtype.empty()) || (text == "shape" && tensor.has_shape) ||
                          (text == "data_offsets" && !tensor.offsets.empty());
    if (repeated) return refuse(fmt::format("gives '{}' twice", text));
    field_ = text == "dtype"          ? Field::dtype
             : text == "shape"        ? Field::shape
             : text == "data_offsets" ? Field::offsets
                                      : Field::none;
    return field_ != Field::none || refuse(fmt::format("holds an unknown field '{}'", excerpt(text)));
  }
  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_) {
      metadata.emplace_back(name_, text);
      return true;
    }
    if (depth_ != 2 || field_ != Field::dtype || text.empty()) return refuse("holds a text where none belongs");
    tensors.back().dtype = text;
    return true;
  }
  bool start_array(std::size_t) override {
    if (in_array_ || depth_ != 2 || (field_ != Field::shape && field_ != Field::offsets))
      return refuse("holds an array where none belongs");
    in_array_ = true;
    if (field_ == Field::shape) tensors.back().has_shape = true;
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    return true;
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (!in_array_) return refuse("holds a number where none belongs");
    if (field_ == Field::offsets) {
      tensors.back().offsets.push_back(number);
    } else if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return refuse(fmt::format("has a size of {}", number));
    } else {
      tensors.back().shape.push_back(static_cast<std::int64_t>(number));
    }
    return true;
  }
  bool number_integer(number_integer_t number) override { return refuse(fmt::format("has a size of {}", number)); }
  bool number_float(number_float_t, const string_t&) override { return refuse("holds a fraction where none belongs"); }
  bool null() override { return refuse("holds null where nothing belongs"); }
  bool boolean(bool) override { return refuse("holds a truth value where none belongs"); }
  bool binary(binary_t&) override { return refuse("holds binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    problem = fmt::format("is not valid JSON at byte {}", 8 + position);
    return false;
  }

 private:
  enum class Field { none, dtype, shape, offsets };

  bool refuse(std::string reason) {
    problem = fmt::format("{} (at '{}')", reason, excerpt(name_));
    return false;
  }

  int depth_ = 0;
  bool in_metadata_ = false;
  bool has_metadata_ = false;
  bool in_array_ = false;
  Field field_ = Field::none;
  std::string name_;
};

template <class T>
Status check_unique(const std::vector<T>& values, auto&& name_of) {
  std::vector<std::string_view> names;
  names.reserve(values.size());
  for (const T& value : values) names.push_back(name_of(value));
  std::ranges::sort(names);
  const auto twin = std::ranges::adjacent_find(names);
  if (twin != names.end()) return fail("the header names '{}' twice", excerpt(*twin));
  return {};
}

Status check_contiguous(const std::vector<Declared>& tensors, std::uint64_t data_size) {
  std::vector<const Declared*> order;
  order.reserve(tensors.size());
  for (const Declared& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, {}, [](const Declared* tensor) { return tensor->offsets; });
  std::uint64_t position = 0;
  for (const Declared* tensor : order) {
    if (tensor->offsets[0] != position || tensor->offsets[1] < position)
      return fail("tensor '{}' lies at bytes {} to {}, expected to start at {}", excerpt(tensor->name),
                  tensor->offsets[0], tensor->offsets[1], position);
    position = tensor->offsets[1];
  }
  if (position != data_size)
    return fail_with_hint(
        fmt::format("the tensors take {} bytes, the file has {} after its header", position, data_size),
        position > data_size ? "the file is probably truncated: copy or download it again" : "");
  return {};
}

Expected<Tensor> tensor_of(const Declared& declared, DType dtype, const SharedBytes& data) {
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(declared.shape));
  const auto size = checked_mul<std::uint64_t>(static_cast<std::uint64_t>(count), size_of(dtype));
  const std::uint64_t given = declared.offsets[1] - declared.offsets[0];
  if (size != given)
    return fail("{} {} takes {} bytes, the header gives {}", info(dtype).name, shape_text(declared.shape),
                size.value_or(0), given);
  return make_view(dtype, declared.shape, row_major_strides(declared.shape), data.sub(declared.offsets[0], given), 0);
}

}  // namespace

Expected<Safetensors> read_safetensors(const SharedBytes& bytes) {
  ByteReader reader(bytes.view);
  TAPER_ASSIGN_WITHIN(const auto header_size, reader.read<std::uint64_t>(), "in the header's length");
  if (header_size > kMostHeaderBytes)
    return fail("the header should have {} bytes, at most {} are allowed", header_size, kMostHeaderBytes);
  TAPER_ASSIGN_WITHIN(const Bytes header, reader.take(header_size), "in the header");
  HeaderHandler handler;
  const std::string_view text = as_text(header);
  if (!text.starts_with('{')) return fail("the header does not start with '{{'");
  // To the parser a NUL is the end of the text, and whatever follows would go unread.
  if (text.find('\0') != std::string_view::npos) return fail("the header holds a NUL byte");
  if (!Json::sax_parse(text.begin(), text.end(), &handler)) return fail("the header {}", handler.problem);
  TAPER_TRY(check_unique(handler.tensors, [](const Declared& tensor) { return std::string_view(tensor.name); }));
  TAPER_TRY(check_unique(handler.metadata, [](const auto& pair) { return std::string_view(pair.first); }));
  TAPER_TRY(check_contiguous(handler.tensors, reader.remaining()));

  Safetensors result;
  result.metadata = std::move(handler.metadata);
  const SharedBytes data = bytes.sub(reader.offset(), reader.remaining());
  for (const Declared& declared : handler.tensors) {
    const auto* row = std::ranges::find(kDTypes, declared.dtype, &Row::name);
    if (row == std::end(kDTypes)) {
      result.unsupported.emplace_back(declared.name, fmt::format("has dtype {}", excerpt(declared.dtype)));
      continue;
    }
    TAPER_ASSIGN_WITHIN(Tensor tensor, tensor_of(declared, row->dtype, data),
                        fmt::format("in tensor '{}'", excerpt(declared.name)));
    result.tensors.emplace_back(declared.name, std::move(tensor));
  }
  return result;
}

}  // namespace taper
