#include "formats/pickle.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "formats/text.h"

namespace taper::pickle {
namespace {

// The state of the pickle machine (Lib/pickletools.py): a stack, the positions of marks in it, and a memo of values by
// number.
struct Machine {
  Arena& arena;
  ByteReader reader;
  std::uint64_t opcode_offset = 0;
  std::vector<Value*> stack;
  std::vector<std::size_t> marks;
  std::vector<Value*> memo;
  std::uint64_t memoized = 0;  // how many numbers of the memo are set
  bool stopped = false;

  std::size_t floor() const { return marks.empty() ? 0 : marks.back(); }

  Status push(Value* value) {
    stack.push_back(value);
    return {};
  }
  template <class T>
  Status push_new(T payload) {
    return push(arena.add(payload));
  }

  Expected<Value*> pop() {
    if (stack.size() <= floor()) return fail("the stack is empty");
    Value* top = stack.back();
    stack.pop_back();
    return top;
  }
  Expected<Value*> top() const {
    if (stack.size() <= floor()) return fail("the stack is empty");
    return stack.back();
  }
  // What was pushed since the last mark, which is removed.
  Expected<std::vector<const Value*>> pop_to_mark() {
    if (marks.empty()) return fail("there is no mark on the stack");
    const auto start = stack.begin() + static_cast<std::ptrdiff_t>(marks.back());
    std::vector<const Value*> values(start, stack.end());
    stack.erase(start, stack.end());
    marks.pop_back();
    return values;
  }
};

// ---- numbers and texts

template <class T>
T big_endian(Bytes raw) {
  T value = 0;
  for (const std::byte byte : raw) value = static_cast<T>(value << 8 | std::to_integer<T>(byte));
  return value;
}

// Two's complement, little-endian, any length.
Status push_long(Machine& m, Bytes bytes) {
  const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0};
  const std::byte fill{negative ? std::uint8_t{0xff} : std::uint8_t{0}};
  const Bytes high = bytes.subspan(std::min<std::size_t>(bytes.size(), 8));
  const bool sign_fits = bytes.size() <= 8 || ((bytes[7] & std::byte{0x80}) != std::byte{0}) == negative;
  if (!sign_fits || std::ranges::any_of(high, [&](std::byte byte) { return byte != fill; }))
    return m.push(m.arena.add_big_integer({bytes}));
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  std::memcpy(&value, bytes.data(), std::min<std::size_t>(bytes.size(), 8));
  return m.push_new(static_cast<std::int64_t>(value));
}

Status push_decimal(Machine& m, std::string_view digits) {
  // Python's readers disagree about numbers such as 010: octal, decimal or an error.
  const std::string_view magnitude = digits.substr(digits.starts_with('-') ? 1 : 0);
  if (magnitude.starts_with('0') && magnitude.find_first_not_of('0') != std::string_view::npos)
    return fail("'{}' starts with a zero", excerpt(digits));
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size() || code == std::errc::invalid_argument)
    return fail("'{}' is not a decimal integer", excerpt(digits));
  if (code == std::errc::result_out_of_range) return m.push(m.arena.add_big_integer({as_bytes(digits), true}));
  return m.push_new(value);
}

Expected<std::string_view> utf8(Machine& m, std::string_view text) {
  switch (check_utf8(text)) {
    case Utf8::valid:
      return text;
    case Utf8::surrogates:
      return m.arena.strings.emplace_back(without_surrogates(text));
    case Utf8::invalid:
      break;
  }
  return fail("a text is not UTF-8: '{}'", excerpt(text));
}

Status push_text(Machine& m, std::string_view raw) {
  TAPER_ASSIGN(const std::string_view text, utf8(m, raw));
  return m.push_new(Text{text});
}

// A str of Python 2: text where it is text, else bytes.
Status push_string(Machine& m, std::string_view raw) {
  return check_utf8(raw) == Utf8::valid ? m.push_new(Text{raw}) : m.push_new(Blob{as_bytes(raw)});
}

// Reads a length of type L and so many bytes.
template <class L>
Expected<Bytes> counted(Machine& m) {
  TAPER_ASSIGN(const L length, m.reader.read<L>());
  if (std::is_signed_v<L> && length < 0) return fail("a length is negative ({})", length);
  return m.reader.take(static_cast<std::uint64_t>(length));
}

// ---- values made from others

bool is_callable(const Value* value) {
  return value->kind() == Kind::global || value->kind() == Kind::object || value->kind() == Kind::persistent;
}

// Calls of copyreg's helpers mean a class and the arguments of its __new__.
void see_through_copyreg(Machine& m, Object& object) {
  const auto args = object.arguments->items();
  const auto is_helper = [&](std::string_view name) { return is_global(*object.type, "copy_reg", "copyreg", name); };
  const auto tuple = [&](std::vector<const Value*> items) {
    return m.arena.add_sequence(SequenceKind::tuple, std::move(items));
  };
  if (args.empty() || !is_callable(args[0])) return;
  if (is_helper("__newobj__")) {
    object.type = args[0];
    object.arguments = tuple({args.begin() + 1, args.end()});
  } else if (is_helper("__newobj_ex__") && args.size() == 3 && is_tuple(*args[1])) {
    object.type = args[0];
    object.arguments = args[1];
    object.keywords = args[2];
  } else if (is_helper("_reconstructor") && args.size() == 3) {
    object.type = args[0];
    object.arguments = args[2]->is_none() ? tuple({}) : tuple({args[2]});
  }
}

Status push_object(Machine& m, const Value* type, const Value* arguments, const Value* keywords = nullptr) {
  if (!is_callable(type)) return fail("{} is called, expected a class or function", describe(*type));
  if (!is_tuple(*arguments)) return fail("{} stands for the arguments, expected a tuple", describe(*arguments));
  Object& object = m.arena.objects.emplace_back();
  object.type = type;
  object.arguments = arguments;
  object.keywords = keywords;
  object.offset = m.opcode_offset;
  see_through_copyreg(m, object);
  return m.push_new(&object);
}

Status push_global(Machine& m, std::string_view raw_module, std::string_view raw_name) {
  TAPER_ASSIGN(const std::string_view module, utf8(m, raw_module));
  TAPER_ASSIGN(const std::string_view name, utf8(m, raw_name));
  return m.push_new(&m.arena.globals.emplace_back(Global{module, name, m.opcode_offset}));
}

Status append(Value* target, std::span<const Value* const> values) {
  if (auto* const* sequence = std::get_if<Sequence*>(&target->data);
      sequence && (*sequence)->kind == SequenceKind::list) {
    (*sequence)->items.insert((*sequence)->items.end(), values.begin(), values.end());
  } else if (auto* const* object = std::get_if<Object*>(&target->data)) {
    (*object)->items.insert((*object)->items.end(), values.begin(), values.end());
  } else {
    return fail("items are appended to {}, expected a list", describe(*target));
  }
  return {};
}

Status add_items(Value* target, std::span<const Value* const> values) {
  auto* const* sequence = std::get_if<Sequence*>(&target->data);
  if (!sequence || (*sequence)->kind != SequenceKind::set) {
    if (target->kind() == Kind::object) return append(target, values);
    return fail("items are added to {}, expected a set", describe(*target));
  }
  (*sequence)->items.insert((*sequence)->items.end(), values.begin(), values.end());
  return {};
}

Expected<std::vector<Entry>> paired(std::span<const Value* const> values) {
  if (values.size() % 2 != 0) return fail("a key has no value");
  std::vector<Entry> entries;
  entries.reserve(values.size() / 2);
  for (std::size_t i = 0; i < values.size(); i += 2) entries.push_back({values[i], values[i + 1]});
  return entries;
}

Status set_items(Value* target, std::span<const Value* const> values) {
  TAPER_ASSIGN(const std::vector<Entry> entries, paired(values));
  std::vector<Entry>* into = nullptr;
  if (auto* const* dict = std::get_if<Dict*>(&target->data)) into = &(*dict)->entries;
  if (auto* const* object = std::get_if<Object*>(&target->data)) into = &(*object)->entries;
  if (!into) return fail("an item is set in {}, expected a dict", describe(*target));
  into->insert(into->end(), entries.begin(), entries.end());
  return {};
}

Status memo_put(Machine& m, std::uint64_t index) {
  TAPER_ASSIGN(Value * value, m.top());
  // Picklers number values as they come.
  if (index > 2 * m.arena.values.size() + 1024) return fail("memo number {} is far past the values so far", index);
  if (index >= m.memo.size()) m.memo.resize(index + 1, nullptr);
  if (!m.memo[index]) ++m.memoized;
  m.memo[index] = value;
  return {};
}

Status memo_get(Machine& m, std::uint64_t index) {
  if (index >= m.memo.size() || !m.memo[index]) return fail("memo number {} was never set", index);
  return m.push(m.memo[index]);
}

Expected<std::uint64_t> line_number(Machine& m) {
  TAPER_ASSIGN(const std::string_view digits, m.reader.take_line());
  std::uint64_t index = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (digits.empty() || end != digits.data() + digits.size() || code != std::errc{})
    return fail("'{}' is not a memo number", excerpt(digits));
  return index;
}

// ---- the opcodes

Status push_tuple(Machine& m, std::size_t count) {
  if (m.stack.size() - m.floor() < count) return fail("a tuple of {} needs more than the stack holds", count);
  const auto start = m.stack.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<const Value*> items(start, m.stack.end());
  m.stack.erase(start, m.stack.end());
  return m.push(m.arena.add_sequence(SequenceKind::tuple, std::move(items)));
}

template <SequenceKind kind>
Status sequence_since_mark(Machine& m) {
  TAPER_ASSIGN(std::vector<const Value*> items, m.pop_to_mark());
  return m.push(m.arena.add_sequence(kind, std::move(items)));
}

template <SequenceKind kind>
Status empty_sequence(Machine& m) {
  return m.push(m.arena.add_sequence(kind, {}));
}

template <class T>
Status integer(Machine& m) {
  TAPER_ASSIGN(const T value, m.reader.read<T>());
  return m.push_new(static_cast<std::int64_t>(value));
}

template <class L>
Status counted_long(Machine& m) {
  TAPER_ASSIGN(const Bytes bytes, counted<L>(m));
  return push_long(m, bytes);
}

template <class L>
Status counted_text(Machine& m) {
  TAPER_ASSIGN(const Bytes bytes, counted<L>(m));
  return push_text(m, as_text(bytes));
}

template <class L>
Status counted_string(Machine& m) {
  TAPER_ASSIGN(const Bytes bytes, counted<L>(m));
  return push_string(m, as_text(bytes));
}

template <class L>
Status counted_bytes(Machine& m) {
  TAPER_ASSIGN(const Bytes bytes, counted<L>(m));
  return m.push_new(Blob{bytes});
}

template <class T>
Status put_number(Machine& m) {
  TAPER_ASSIGN(const T index, m.reader.read<T>());
  return memo_put(m, index);
}

template <class T>
Status get_number(Machine& m) {
  TAPER_ASSIGN(const T index, m.reader.read<T>());
  return memo_get(m, index);
}

Status op_mark(Machine& m) {
  m.marks.push_back(m.stack.size());
  return {};
}
Status op_stop(Machine& m) {
  m.stopped = true;
  return {};
}
Status op_pop(Machine& m) {
  if (m.stack.size() > m.floor()) {
    m.stack.pop_back();
  } else if (!m.marks.empty()) {  // POP on a mark removes the mark
    m.marks.pop_back();
  } else {
    return fail("the stack is empty");
  }
  return {};
}
Status op_pop_mark(Machine& m) {
  TAPER_ASSIGN(const auto dropped, m.pop_to_mark());
  return {};
}
Status op_dup(Machine& m) {
  TAPER_ASSIGN(Value * top, m.top());
  return m.push(top);
}
Status op_none(Machine& m) {
  return m.push_new(None{});
}
Status op_true(Machine& m) {
  return m.push_new(true);
}
Status op_false(Machine& m) {
  return m.push_new(false);
}

Status op_int(Machine& m) {
  TAPER_ASSIGN(const std::string_view digits, m.reader.take_line());
  if (digits == "00" || digits == "01") return m.push_new(digits == "01");  // how protocol 0 writes bools
  return push_decimal(m, digits);
}
Status op_long(Machine& m) {
  TAPER_ASSIGN(std::string_view digits, m.reader.take_line());
  if (digits.ends_with('L')) digits.remove_suffix(1);
  return push_decimal(m, digits);
}
Status op_float(Machine& m) {
  TAPER_ASSIGN(const std::string_view digits, m.reader.take_line());
  double value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  // from_chars also reads C's nan(...), which Python does not.
  if (end != digits.data() + digits.size() || code == std::errc::invalid_argument || digits.ends_with(')'))
    return fail("'{}' is not a number", excerpt(digits));
  // Out of range, from_chars leaves the value alone and strtod rounds, to 0 or infinity.
  return m.push_new(code == std::errc{} ? value : std::strtod(std::string(digits).c_str(), nullptr));
}
Status op_binfloat(Machine& m) {
  TAPER_ASSIGN(const Bytes raw, m.reader.take(8));
  return m.push_new(std::bit_cast<double>(big_endian<std::uint64_t>(raw)));
}

Status op_string(Machine& m) {
  TAPER_ASSIGN(const std::string_view raw, m.reader.take_line());
  TAPER_ASSIGN(std::string text, decode_python2_string(raw));
  return push_string(m, m.arena.strings.emplace_back(std::move(text)));
}
Status op_unicode(Machine& m) {
  TAPER_ASSIGN(const std::string_view raw, m.reader.take_line());
  TAPER_ASSIGN(std::string text, decode_raw_unicode_escape(raw));
  return m.push(m.arena.add_text(std::move(text)));
}

Status op_tuple1(Machine& m) {
  return push_tuple(m, 1);
}
Status op_tuple2(Machine& m) {
  return push_tuple(m, 2);
}
Status op_tuple3(Machine& m) {
  return push_tuple(m, 3);
}

Status op_empty_dict(Machine& m) {
  return m.push(m.arena.add_dict({}));
}
Status op_dict(Machine& m) {
  TAPER_ASSIGN(const auto items, m.pop_to_mark());
  TAPER_ASSIGN(std::vector<Entry> entries, paired(items));
  return m.push(m.arena.add_dict(std::move(entries)));
}

Status op_append(Machine& m) {
  TAPER_ASSIGN(const Value* item, m.pop());
  TAPER_ASSIGN(Value * target, m.top());
  return append(target, std::array{item});
}
Status op_appends(Machine& m) {
  TAPER_ASSIGN(const auto items, m.pop_to_mark());
  TAPER_ASSIGN(Value * target, m.top());
  return append(target, items);
}
Status op_additems(Machine& m) {
  TAPER_ASSIGN(const auto items, m.pop_to_mark());
  TAPER_ASSIGN(Value * target, m.top());
  return add_items(target, items);
}
Status op_setitem(Machine& m) {
  TAPER_ASSIGN(const Value* value, m.pop());
  TAPER_ASSIGN(const Value* key, m.pop());
  TAPER_ASSIGN(Value * target, m.top());
  return set_items(target, std::array{key, value});
}
Status op_setitems(Machine& m) {
  TAPER_ASSIGN(const auto items, m.pop_to_mark());
  TAPER_ASSIGN(Value * target, m.top());
  return set_items(target, items);
}

Status op_global(Machine& m) {
  TAPER_ASSIGN(const std::string_view module, m.reader.take_line());
  TAPER_ASSIGN(const std::string_view name, m.reader.take_line());
  return push_global(m, module, name);
}
Status op_stack_global(Machine& m) {
  TAPER_ASSIGN(const Value* name, m.pop());
  TAPER_ASSIGN(const Value* module, m.pop());
  if (!name->text() || !module->text())
    return fail("a global is named by {} and {}, expected two texts", describe(*module), describe(*name));
  return push_global(m, *module->text(), *name->text());
}

Status op_reduce(Machine& m) {  // NEWOBJ takes the same from the stack
  TAPER_ASSIGN(const Value* arguments, m.pop());
  TAPER_ASSIGN(const Value* type, m.pop());
  return push_object(m, type, arguments);
}
Status op_newobj_ex(Machine& m) {
  TAPER_ASSIGN(const Value* keywords, m.pop());
  TAPER_ASSIGN(const Value* arguments, m.pop());
  TAPER_ASSIGN(const Value* type, m.pop());
  if (!keywords->dict()) return fail("{} stands for the keywords, expected a dict", describe(*keywords));
  return push_object(m, type, arguments, keywords);
}
Status op_inst(Machine& m) {
  TAPER_ASSIGN(const std::string_view module, m.reader.take_line());
  TAPER_ASSIGN(const std::string_view name, m.reader.take_line());
  TAPER_ASSIGN(auto arguments, m.pop_to_mark());
  TAPER_TRY(push_global(m, module, name));
  TAPER_ASSIGN(const Value* type, m.pop());
  return push_object(m, type, m.arena.add_sequence(SequenceKind::tuple, std::move(arguments)));
}
Status op_obj(Machine& m) {
  TAPER_ASSIGN(auto items, m.pop_to_mark());
  if (items.empty()) return fail("no class stands after the mark");
  const Value* type = items.front();
  items.erase(items.begin());
  return push_object(m, type, m.arena.add_sequence(SequenceKind::tuple, std::move(items)));
}
Status op_build(Machine& m) {
  TAPER_ASSIGN(const Value* state, m.pop());
  TAPER_ASSIGN(Value * target, m.top());
  auto* const* object = std::get_if<Object*>(&target->data);
  if (!object) return fail("{} is given a state, expected an object", describe(*target));
  if ((*object)->state) return fail("an object is given its state twice");
  (*object)->state = state;
  return {};
}

Status op_persid(Machine& m) {
  TAPER_ASSIGN(const std::string_view raw, m.reader.take_line());
  TAPER_ASSIGN(const std::string_view id, utf8(m, raw));
  return m.push_new(Persistent{m.arena.add(Text{id})});
}
Status op_binpersid(Machine& m) {
  TAPER_ASSIGN(const Value* id, m.pop());
  return m.push_new(Persistent{id});
}

Status op_put(Machine& m) {
  TAPER_ASSIGN(const std::uint64_t index, line_number(m));
  return memo_put(m, index);
}
Status op_get(Machine& m) {
  TAPER_ASSIGN(const std::uint64_t index, line_number(m));
  return memo_get(m, index);
}
Status op_memoize(Machine& m) {
  return memo_put(m, m.memoized);  // as Python does: the numbers may have gaps
}

Status op_proto(Machine& m) {
  TAPER_ASSIGN(const auto version, m.reader.read<std::uint8_t>());
  if (version > 5) return fail("protocol {} is unknown, expected 0 to 5", version);
  return {};
}
Status op_frame(Machine& m) {
  TAPER_ASSIGN(const auto length, m.reader.read<std::uint64_t>());
  if (length > m.reader.remaining()) return fail("a frame of {} bytes has {} left", length, m.reader.remaining());
  return {};
}

Status op_extension(Machine&) {
  return fail("codes of the extension registry have no meaning outside of their program");
}
Status op_buffer(Machine&) {
  return fail("out-of-band buffers are not part of the file");
}

struct Opcode {
  std::uint8_t code;
  std::string_view name;
  Status (*run)(Machine&);
};

constexpr Opcode kOpcodes[] = {
    {'(', "MARK", op_mark},
    {'.', "STOP", op_stop},
    {'0', "POP", op_pop},
    {'1', "POP_MARK", op_pop_mark},
    {'2', "DUP", op_dup},
    {'F', "FLOAT", op_float},
    {'I', "INT", op_int},
    {'J', "BININT", integer<std::int32_t>},
    {'K', "BININT1", integer<std::uint8_t>},
    {'L', "LONG", op_long},
    {'M', "BININT2", integer<std::uint16_t>},
    {'N', "NONE", op_none},
    {'P', "PERSID", op_persid},
    {'Q', "BINPERSID", op_binpersid},
    {'R', "REDUCE", op_reduce},
    {'S', "STRING", op_string},
    {'T', "BINSTRING", counted_string<std::int32_t>},
    {'U', "SHORT_BINSTRING", counted_string<std::uint8_t>},
    {'V', "UNICODE", op_unicode},
    {'X', "BINUNICODE", counted_text<std::uint32_t>},
    {'a', "APPEND", op_append},
    {'b', "BUILD", op_build},
    {'c', "GLOBAL", op_global},
    {'d', "DICT", op_dict},
    {'}', "EMPTY_DICT", op_empty_dict},
    {'e', "APPENDS", op_appends},
    {'g', "GET", op_get},
    {'h', "BINGET", get_number<std::uint8_t>},
    {'i', "INST", op_inst},
    {'j', "LONG_BINGET", get_number<std::uint32_t>},
    {'l', "LIST", sequence_since_mark<SequenceKind::list>},
    {']', "EMPTY_LIST", empty_sequence<SequenceKind::list>},
    {'o', "OBJ", op_obj},
    {'p', "PUT", op_put},
    {'q', "BINPUT", put_number<std::uint8_t>},
    {'r', "LONG_BINPUT", put_number<std::uint32_t>},
    {'s', "SETITEM", op_setitem},
    {'t', "TUPLE", sequence_since_mark<SequenceKind::tuple>},
    {')', "EMPTY_TUPLE", empty_sequence<SequenceKind::tuple>},
    {'u', "SETITEMS", op_setitems},
    {'G', "BINFLOAT", op_binfloat},
    {0x80, "PROTO", op_proto},
    {0x81, "NEWOBJ", op_reduce},
    {0x82, "EXT1", op_extension},
    {0x83, "EXT2", op_extension},
    {0x84, "EXT4", op_extension},
    {0x85, "TUPLE1", op_tuple1},
    {0x86, "TUPLE2", op_tuple2},
    {0x87, "TUPLE3", op_tuple3},
    {0x88, "NEWTRUE", op_true},
    {0x89, "NEWFALSE", op_false},
    {0x8a, "LONG1", counted_long<std::uint8_t>},
    {0x8b, "LONG4", counted_long<std::int32_t>},
    {'B', "BINBYTES", counted_bytes<std::uint32_t>},
    {'C', "SHORT_BINBYTES", counted_bytes<std::uint8_t>},
    {0x8c, "SHORT_BINUNICODE", counted_text<std::uint8_t>},
    {0x8d, "BINUNICODE8", counted_text<std::uint64_t>},
    {0x8e, "BINBYTES8", counted_bytes<std::uint64_t>},
    {0x8f, "EMPTY_SET", empty_sequence<SequenceKind::set>},
    {0x90, "ADDITEMS", op_additems},
    {0x91, "FROZENSET", sequence_since_mark<SequenceKind::frozen_set>},
    {0x92, "NEWOBJ_EX", op_newobj_ex},
    {0x93, "STACK_GLOBAL", op_stack_global},
    {0x94, "MEMOIZE", op_memoize},
    {0x95, "FRAME", op_frame},
    {0x96, "BYTEARRAY8", counted_bytes<std::uint64_t>},
    {0x97, "NEXT_BUFFER", op_buffer},
    {0x98, "READONLY_BUFFER", op_buffer},
};
static_assert(std::size(kOpcodes) == 68);  // those of pickletools.opcodes

constexpr auto kOpcodeByCode = [] {
  std::array<const Opcode*, 256> table = {};
  for (const Opcode& row : kOpcodes) table[row.code] = &row;
  return table;
}();

Status step(Machine& machine, const Limits& limits) {
  machine.opcode_offset = machine.reader.offset();
  auto code = machine.reader.read<std::uint8_t>();
  if (!code) return fail("the pickle ends at byte {} without STOP", machine.opcode_offset);
  const Opcode* opcode = kOpcodeByCode[*code];
  if (!opcode) return fail("byte 0x{:02x} at offset {} is not a pickle opcode", *code, machine.opcode_offset);
  Status status = opcode->run(machine);
  if (status && std::max({machine.arena.values.size(), machine.stack.size(), machine.marks.size()}) > limits.values)
    status = fail("the pickle holds more than {} values", limits.values);
  if (!status)
    return std::unexpected(
        within(std::move(status).error(), fmt::format("in opcode {} at byte {}", opcode->name, machine.opcode_offset)));
  return {};
}

}  // namespace

Expected<Document> read(SharedBytes bytes, Limits limits) {
  auto arena = std::make_shared<Arena>();
  arena->sources.push_back(bytes);
  Machine machine{*arena, ByteReader(bytes.view)};
  while (!machine.stopped) TAPER_TRY(step(machine, limits));
  if (machine.stack.empty() || !machine.marks.empty())
    return fail("the pickle ends at byte {} with {}", machine.opcode_offset,
                machine.stack.empty() ? "an empty stack" : "an open mark");
  drop_repeated_keys(*arena);
  return Document{std::move(arena), machine.stack.back(), machine.reader.offset()};
}

}  // namespace taper::pickle
