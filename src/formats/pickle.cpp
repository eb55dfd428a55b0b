#include "formats/pickle.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "formats/pickle_opcodes.h"
#include "formats/text.h"

namespace taper::pickle {
namespace {

// The state of the pickle machine (Lib/pickletools.py): a stack, the positions of marks in it, and a memo of values by
// number.
struct Machine {
  Arena& arena;
  ByteReader reader;
  Instruction now;  // the opcode that is being followed
  std::vector<Value*> stack;
  std::vector<std::size_t> marks;
  std::vector<Value*> memo;
  std::size_t memoized = 0;  // how many numbers of the memo are set
  std::size_t steps = 0;     // opcodes so far
  bool stopped = false;

  // An upper estimate of the bytes held, but for texts, which are no longer than the pickle. Each opcode makes at most
  // one value, and leaves it at most once in a list or dict, of twice the capacity.
  std::size_t memory() const {
    constexpr std::size_t kVector = 32;  // what the first element of a vector takes
    constexpr std::size_t kElement = 2 * sizeof(Entry);
    return steps * kElement + arena.values.size() * sizeof(Value) + arena.globals.size() * sizeof(Global) +
           arena.objects.size() * (sizeof(Object) + 2 * kVector) +
           arena.sequences.size() * (sizeof(Sequence) + kVector) + arena.dicts.size() * (sizeof(Dict) + kVector) +
           (memo.capacity() + stack.capacity() + marks.capacity()) * sizeof(void*);
  }

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
  // TorchScript calls its enumerations with what a member holds, not with a tuple of that.
  const Global* global = type->global();
  const bool of_torchscript = global != nullptr && global->module.starts_with("__torch__");
  if (of_torchscript && (arguments->integer() || arguments->text() || std::holds_alternative<double>(arguments->data)))
    arguments = m.arena.add_sequence(SequenceKind::tuple, {arguments});
  if (!is_tuple(*arguments)) return fail("{} stands for the arguments, expected a tuple", describe(*arguments));
  Object& object = m.arena.objects.emplace_back();
  object.type = type;
  object.arguments = arguments;
  object.keywords = keywords;
  object.offset = m.now.offset;
  see_through_copyreg(m, object);
  return m.push_new(&object);
}

Status push_global(Machine& m, std::string_view raw_module, std::string_view raw_name) {
  TAPER_ASSIGN(const std::string_view module, utf8(m, raw_module));
  TAPER_ASSIGN(const std::string_view name, utf8(m, raw_name));
  return m.push_new(&m.arena.globals.emplace_back(Global{module, name, m.now.offset}));
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
  const std::string_view digits = m.now.text();
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

Status integer(Machine& m) {
  return m.push_new(m.now.signed_number());
}

Status counted_long(Machine& m) {
  return push_long(m, m.now.bytes);
}

Status counted_text(Machine& m) {
  return push_text(m, m.now.text());
}

Status counted_string(Machine& m) {
  return push_string(m, m.now.text());
}

Status counted_bytes(Machine& m) {
  return m.push_new(Blob{m.now.bytes});
}

Status put_number(Machine& m) {
  return memo_put(m, m.now.number);
}

Status get_number(Machine& m) {
  return memo_get(m, m.now.number);
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
  const std::string_view digits = m.now.text();
  if (digits == "00" || digits == "01") return m.push_new(digits == "01");  // how protocol 0 writes bools
  return push_decimal(m, digits);
}
Status op_long(Machine& m) {
  std::string_view digits = m.now.text();
  if (digits.ends_with('L')) digits.remove_suffix(1);
  return push_decimal(m, digits);
}
Status op_float(Machine& m) {
  const std::string_view digits = m.now.text();
  double value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  // from_chars also reads C's nan(...), which Python does not.
  if (end != digits.data() + digits.size() || code == std::errc::invalid_argument || digits.ends_with(')'))
    return fail("'{}' is not a number", excerpt(digits));
  // Out of range, from_chars leaves the value alone and strtod rounds, to 0 or infinity.
  return m.push_new(code == std::errc{} ? value : std::strtod(std::string(digits).c_str(), nullptr));
}
Status op_binfloat(Machine& m) {
  return m.push_new(std::bit_cast<double>(big_endian<std::uint64_t>(m.now.bytes)));
}

Status op_string(Machine& m) {
  TAPER_ASSIGN(std::string text, decode_python2_string(m.now.text()));
  return push_string(m, m.arena.strings.emplace_back(std::move(text)));
}
Status op_unicode(Machine& m) {
  TAPER_ASSIGN(std::string text, decode_raw_unicode_escape(m.now.text()));
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
  return push_global(m, m.now.text(), m.now.second_line);
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
  TAPER_ASSIGN(auto arguments, m.pop_to_mark());
  TAPER_TRY(push_global(m, m.now.text(), m.now.second_line));
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
  TAPER_ASSIGN(const std::string_view id, utf8(m, m.now.text()));
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
  if (m.now.number > 5) return fail("protocol {} is unknown, expected 0 to 5", m.now.number);
  return {};
}
Status op_frame(Machine& m) {
  if (m.now.number > m.reader.remaining())
    return fail("a frame of {} bytes has {} left", m.now.number, m.reader.remaining());
  return {};
}

Status op_extension(Machine&) {
  return fail("codes of the extension registry have no meaning outside of their program");
}
Status op_buffer(Machine&) {
  return fail("out-of-band buffers are not part of the file");
}

struct Handler {
  Op code;
  Status (*run)(Machine&);
};

constexpr Handler kHandlers[] = {
    {Op::mark, op_mark},
    {Op::stop, op_stop},
    {Op::pop, op_pop},
    {Op::pop_mark, op_pop_mark},
    {Op::dup, op_dup},
    {Op::float_line, op_float},
    {Op::int_line, op_int},
    {Op::binint, integer},
    {Op::binint1, integer},
    {Op::long_line, op_long},
    {Op::binint2, integer},
    {Op::none, op_none},
    {Op::persid, op_persid},
    {Op::binpersid, op_binpersid},
    {Op::reduce, op_reduce},
    {Op::string, op_string},
    {Op::binstring, counted_string},
    {Op::short_binstring, counted_string},
    {Op::unicode, op_unicode},
    {Op::binunicode, counted_text},
    {Op::append, op_append},
    {Op::build, op_build},
    {Op::global, op_global},
    {Op::dict, op_dict},
    {Op::appends, op_appends},
    {Op::get, op_get},
    {Op::binget, get_number},
    {Op::inst, op_inst},
    {Op::long_binget, get_number},
    {Op::list, sequence_since_mark<SequenceKind::list>},
    {Op::empty_list, empty_sequence<SequenceKind::list>},
    {Op::obj, op_obj},
    {Op::put, op_put},
    {Op::binput, put_number},
    {Op::long_binput, put_number},
    {Op::setitem, op_setitem},
    {Op::tuple, sequence_since_mark<SequenceKind::tuple>},
    {Op::empty_tuple, empty_sequence<SequenceKind::tuple>},
    {Op::setitems, op_setitems},
    {Op::binfloat, op_binfloat},
    {Op::proto, op_proto},
    {Op::newobj, op_reduce},
    {Op::ext1, op_extension},
    {Op::ext2, op_extension},
    {Op::ext4, op_extension},
    {Op::tuple1, op_tuple1},
    {Op::tuple2, op_tuple2},
    {Op::tuple3, op_tuple3},
    {Op::newtrue, op_true},
    {Op::newfalse, op_false},
    {Op::long1, counted_long},
    {Op::long4, counted_long},
    {Op::binbytes, counted_bytes},
    {Op::short_binbytes, counted_bytes},
    {Op::short_binunicode, counted_text},
    {Op::binunicode8, counted_text},
    {Op::binbytes8, counted_bytes},
    {Op::empty_set, empty_sequence<SequenceKind::set>},
    {Op::additems, op_additems},
    {Op::frozenset, sequence_since_mark<SequenceKind::frozen_set>},
    {Op::newobj_ex, op_newobj_ex},
    {Op::stack_global, op_stack_global},
    {Op::memoize, op_memoize},
    {Op::frame, op_frame},
    {Op::bytearray8, counted_bytes},
    {Op::next_buffer, op_buffer},
    {Op::readonly_buffer, op_buffer},
    {Op::empty_dict, op_empty_dict},
};

constexpr auto kHandlerByCode = [] {
  std::array<Status (*)(Machine&), 256> table = {};
  for (const Handler& row : kHandlers) table[static_cast<std::uint8_t>(row.code)] = row.run;
  return table;
}();
static_assert(std::size(kHandlers) == 68);  // one for each opcode, see pickle_opcodes.cpp

Status step(Machine& machine, const Limits& limits) {
  TAPER_ASSIGN(machine.now, next_instruction(machine.reader));
  Status status = kHandlerByCode[static_cast<std::uint8_t>(machine.now.code())](machine);
  if (status && std::max({machine.arena.values.size(), machine.stack.size(), machine.marks.size()}) > limits.values)
    status = fail("the pickle holds more than {} values", limits.values);
  if (status && ++machine.steps % 1024 == 0 && machine.memory() > limits.memory)
    status = fail("the pickle needs more than {} MB of memory, far more than any checkpoint's", limits.memory >> 20);
  if (!status)
    return std::unexpected(
        within(std::move(status).error(),
               fmt::format("in opcode {} at byte {}", machine.now.opcode->name, machine.now.offset)));
  return {};
}

}  // namespace

Expected<Document> read(SharedBytes bytes, Limits limits) {
  auto arena = std::make_shared<Arena>();
  const Bytes view = bytes.view;
  arena->sources.push_back(std::move(bytes));
  Machine machine{*arena, ByteReader(view)};
  while (!machine.stopped) TAPER_TRY(step(machine, limits));
  if (machine.stack.empty() || !machine.marks.empty())
    return fail("the pickle ends at byte {} with {}", machine.now.offset,
                machine.stack.empty() ? "an empty stack" : "an open mark");
  drop_repeated_keys(*arena);
  return Document{std::move(arena), machine.stack.back(), machine.reader.offset()};
}

}  // namespace taper::pickle
