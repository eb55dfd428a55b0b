#include "formats/npy.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "formats/text.h"
#include "formats/zip.h"

namespace taper {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::uint64_t kMostHeaderBytes = 1 << 16;  // ours; NumPy's own default is 10000

struct Header {
  std::optional<std::string_view> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
};

// Reads the one form of Python literal that numpy.lib.format writes:
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Expected<Header> parse() {
    Header header;
    TAPER_TRY(expect('{'));
    while (!next_is('}')) {
      TAPER_ASSIGN(const std::string_view key, quoted());
      TAPER_TRY(expect(':'));
      if (key == "descr" && !header.descr) {
        if (next_is('[')) return fail("a structured dtype, expected numbers");
        TAPER_ASSIGN(header.descr, quoted());
      } else if (key == "fortran_order" && !header.fortran_order) {
        TAPER_ASSIGN(header.fortran_order, boolean());
      } else if (key == "shape" && !header.shape) {
        TAPER_ASSIGN(header.shape, tuple());
      } else {
        return fail("key '{}' is unknown or given twice", excerpt(key));
      }
      if (!next_is(',')) break;
      TAPER_TRY(expect(','));
    }
    TAPER_TRY(expect('}'));
    skip_space();
    if (!text_.empty()) return fail("'{}' after the dictionary", excerpt(text_));
    return header;
  }

 private:
  void skip_space() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n')) text_.remove_prefix(1);
  }
  bool next_is(char c) {
    skip_space();
    return text_.starts_with(c);
  }
  Status expect(char c) {
    if (!next_is(c)) return fail("'{}' where '{}' should be", excerpt(text_.substr(0, 10)), c);
    text_.remove_prefix(1);
    return {};
  }
  Expected<std::string_view> quoted() {
    const char quote = next_is('"') ? '"' : '\'';
    TAPER_TRY(expect(quote));
    const std::size_t end = text_.find(quote);
    if (end == std::string_view::npos) return fail("a text without an end");
    const std::string_view inside = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return inside;
  }
  Expected<bool> boolean() {
    skip_space();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return value;
    }
    return fail("'{}' where True or False should be", excerpt(text_.substr(0, 10)));
  }
  Expected<std::vector<std::int64_t>> tuple() {
    std::vector<std::int64_t> numbers;
    TAPER_TRY(expect('('));
    while (!next_is(')')) {
      std::int64_t number = 0;
      const auto [end, code] = std::from_chars(text_.data(), text_.data() + text_.size(), number);
      if (code != std::errc{} || number < 0) return fail("'{}' where a size should be", excerpt(text_.substr(0, 20)));
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      if (text_.starts_with('L')) text_.remove_prefix(1);  // Python 2's long integers
      numbers.push_back(number);
      if (!next_is(',')) break;
      TAPER_TRY(expect(','));
    }
    TAPER_TRY(expect(')'));
    return numbers;
  }

  std::string_view text_;
};

struct Element {
  DType dtype;
  bool big_endian;
};

Expected<Element> element_of(std::string_view descr) {
  const bool has_order = !descr.empty() && std::string_view("<>|=").find(descr.front()) != std::string_view::npos;
  const std::string_view code = descr.substr(has_order ? 1 : 0);
  if (const auto dtype = dtype_from_numpy(code)) return Element{*dtype, descr.front() == '>'};
  if (code.starts_with('O'))
    return fail_with_hint("an array of Python objects, which would need code to be run, expected numbers",
                          "save the array with a numeric dtype");
  return fail("dtype '{}', expected bool, int, uint or float of at most 64 bits", excerpt(descr));
}

std::string_view numpy_code(DType dtype) {
  for (const std::string_view code : {"f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "u2", "u4", "u8", "b1"})
    if (dtype_from_numpy(code) == dtype) return code;
  return {};
}

// What a header says, and where the elements begin.
struct Stored {
  Element element;
  std::string_view descr;
  bool fortran_order;
  std::vector<std::int64_t> shape;
  std::size_t begin;
};

Expected<Stored> read_header(const SharedBytes& bytes) {
  ByteReader reader(bytes.view);
  const auto magic = reader.take(kMagic.size());
  if (!magic || as_text(*magic) != kMagic) return fail("this is not a .npy file: it does not start with \\x93NUMPY");
  TAPER_ASSIGN_WITHIN(const auto major, reader.read<std::uint8_t>(), "in the version of a .npy file");
  TAPER_ASSIGN_WITHIN(const auto minor, reader.read<std::uint8_t>(), "in the version of a .npy file");
  if (major < 1 || major > 3) return fail("version {}.{} of .npy, expected 1 to 3", major, minor);
  std::uint64_t header_size = 0;
  if (major == 1) {
    TAPER_ASSIGN_WITHIN(header_size, reader.read<std::uint16_t>(), "in the header's length of a .npy file");
  } else {
    TAPER_ASSIGN_WITHIN(header_size, reader.read<std::uint32_t>(), "in the header's length of a .npy file");
  }
  if (header_size > kMostHeaderBytes)
    return fail("a .npy header of {} bytes, at most {} are allowed", header_size, kMostHeaderBytes);
  TAPER_ASSIGN_WITHIN(const Bytes header_bytes, reader.take(header_size), "in the header of a .npy file");
  TAPER_ASSIGN_WITHIN(Header header, HeaderParser(as_text(header_bytes)).parse(), "in the header of a .npy file");
  if (!header.descr || !header.fortran_order || !header.shape)
    return fail("the header of a .npy file lacks descr, fortran_order or shape");
  TAPER_ASSIGN_WITHIN(const Element element, element_of(*header.descr), "in the header of a .npy file");
  return Stored{element, *header.descr, *header.fortran_order, *std::move(header.shape), reader.offset()};
}

}  // namespace

std::optional<DType> dtype_from_numpy(std::string_view code) {
  struct Row {
    std::string_view code;
    DType dtype;
  };
  constexpr Row kRows[] = {{"f8", DType::f64}, {"f4", DType::f32}, {"f2", DType::f16}, {"i8", DType::i64},
                           {"i4", DType::i32}, {"i2", DType::i16}, {"i1", DType::i8},  {"u1", DType::u8},
                           {"u2", DType::u16}, {"u4", DType::u32}, {"u8", DType::u64}, {"b1", DType::boolean}};
  const auto* row = std::ranges::find(kRows, code, &Row::code);
  return row != std::end(kRows) ? std::optional(row->dtype) : std::nullopt;
}

bool has_npy_header(const SharedBytes& bytes) {
  return read_header(bytes).has_value();
}

Expected<Tensor> read_npy(const SharedBytes& bytes) {
  TAPER_ASSIGN(Stored stored, read_header(bytes));
  const SharedBytes data = bytes.sub(stored.begin, bytes.view.size() - stored.begin);
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(stored.shape));
  if (static_cast<std::uint64_t>(count) > data.view.size() / size_of(stored.element.dtype))
    return fail("shape {} of '{}' needs {} elements, the file has bytes for {}", shape_text(stored.shape), stored.descr,
                count, data.view.size() / size_of(stored.element.dtype));
  std::vector<std::int64_t> strides = row_major_strides(stored.shape);
  if (stored.fortran_order) {
    std::vector<std::int64_t> reversed(stored.shape.rbegin(), stored.shape.rend());
    strides = row_major_strides(reversed);
    std::ranges::reverse(strides);
  }
  return make_view(stored.element.dtype, std::move(stored.shape), std::move(strides), data, 0,
                   stored.element.big_endian);
}

namespace {

constexpr std::string_view kArraySuffix = ".npy";

Expected<Tensor> read_entry(const ZipArchive& archive, const ZipEntry& entry) {
  const std::string place = fmt::format("in array '{}'", entry.name);
  TAPER_ASSIGN_WITHIN(const SharedBytes content, archive.read(entry), place);
  TAPER_ASSIGN_WITHIN(Tensor tensor, read_npy(content), place);
  return tensor;
}

Expected<std::string> array_name(const ZipEntry& entry) {
  if (!entry.name.ends_with(kArraySuffix)) return fail("entry '{}' is not a .npy array", entry.name);
  return entry.name.substr(0, entry.name.size() - kArraySuffix.size());
}

}  // namespace

Expected<std::vector<std::pair<std::string, Tensor>>> read_npz(const SharedBytes& bytes) {
  TAPER_ASSIGN(const ZipArchive archive, open_zip(bytes));
  std::vector<std::pair<std::string, Tensor>> arrays;
  for (const ZipEntry& entry : archive.entries()) {
    TAPER_ASSIGN(std::string name, array_name(entry));
    TAPER_ASSIGN(Tensor tensor, read_entry(archive, entry));
    arrays.emplace_back(std::move(name), std::move(tensor));
  }
  return arrays;
}

Expected<std::vector<std::string>> npz_names(const SharedBytes& bytes) {
  TAPER_ASSIGN(const ZipArchive archive, open_zip(bytes));
  std::vector<std::string> names;
  for (const ZipEntry& entry : archive.entries()) {
    TAPER_ASSIGN(std::string name, array_name(entry));
    names.push_back(std::move(name));
  }
  return names;
}

Expected<Tensor> read_npz_array(const SharedBytes& bytes, std::string_view name) {
  TAPER_ASSIGN(const ZipArchive archive, open_zip(bytes));
  const ZipEntry* entry = archive.find(std::string(name) + std::string(kArraySuffix));
  if (entry == nullptr) return fail("there is no array '{}'", name);
  return read_entry(archive, *entry);
}

std::vector<std::byte> write_npy(const Tensor& tensor) {
  if (tensor.dtype == DType::bf16) return write_npy(converted(tensor, DType::f32));
  const std::string_view code = numpy_code(tensor.dtype);
  const bool one_byte = size_of(tensor.dtype) == 1;
  const std::string comma = tensor.shape.size() == 1 ? "," : "";  // a tuple of one
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                   one_byte ? '|' : '<', code, fmt::join(tensor.shape, ", "), comma);
  // numpy.lib.format: the data starts at a multiple of 64, the header ends with a newline.
  const std::size_t start = kMagic.size() + 4;
  header.append(63 - (start + header.size()) % 64, ' ');
  header += '\n';
  std::vector<std::byte> file(start + header.size() + static_cast<std::size_t>(tensor.byte_count()));
  std::memcpy(file.data(), kMagic.data(), kMagic.size());
  file[6] = std::byte{1};
  file[8] = static_cast<std::byte>(header.size() & 0xff);
  file[9] = static_cast<std::byte>(header.size() >> 8);
  std::memcpy(file.data() + start, header.data(), header.size());
  convert_elements(tensor, tensor.dtype, std::span(file).subspan(start + header.size()));
  return file;
}

}  // namespace taper
