#include "formats/pickle_opcodes.h"

#include <array>

namespace taper::pickle {
namespace {

constexpr Opcode kOpcodes[] = {
    {Op::mark, "MARK", Argument::none},
    {Op::stop, "STOP", Argument::none},
    {Op::pop, "POP", Argument::none},
    {Op::pop_mark, "POP_MARK", Argument::none},
    {Op::dup, "DUP", Argument::none},
    {Op::float_line, "FLOAT", Argument::line},
    {Op::int_line, "INT", Argument::line},
    {Op::binint, "BININT", Argument::i4},
    {Op::binint1, "BININT1", Argument::u1},
    {Op::long_line, "LONG", Argument::line},
    {Op::binint2, "BININT2", Argument::u2},
    {Op::none, "NONE", Argument::none},
    {Op::persid, "PERSID", Argument::line},
    {Op::binpersid, "BINPERSID", Argument::none},
    {Op::reduce, "REDUCE", Argument::none},
    {Op::string, "STRING", Argument::line},
    {Op::binstring, "BINSTRING", Argument::counted_i4},
    {Op::short_binstring, "SHORT_BINSTRING", Argument::counted_u1},
    {Op::unicode, "UNICODE", Argument::line},
    {Op::binunicode, "BINUNICODE", Argument::counted_u4},
    {Op::append, "APPEND", Argument::none},
    {Op::build, "BUILD", Argument::none},
    {Op::global, "GLOBAL", Argument::two_lines},
    {Op::dict, "DICT", Argument::none},
    {Op::empty_dict, "EMPTY_DICT", Argument::none},
    {Op::appends, "APPENDS", Argument::none},
    {Op::get, "GET", Argument::line},
    {Op::binget, "BINGET", Argument::u1},
    {Op::inst, "INST", Argument::two_lines},
    {Op::long_binget, "LONG_BINGET", Argument::u4},
    {Op::list, "LIST", Argument::none},
    {Op::empty_list, "EMPTY_LIST", Argument::none},
    {Op::obj, "OBJ", Argument::none},
    {Op::put, "PUT", Argument::line},
    {Op::binput, "BINPUT", Argument::u1},
    {Op::long_binput, "LONG_BINPUT", Argument::u4},
    {Op::setitem, "SETITEM", Argument::none},
    {Op::tuple, "TUPLE", Argument::none},
    {Op::empty_tuple, "EMPTY_TUPLE", Argument::none},
    {Op::setitems, "SETITEMS", Argument::none},
    {Op::binfloat, "BINFLOAT", Argument::real},
    {Op::proto, "PROTO", Argument::u1},
    {Op::newobj, "NEWOBJ", Argument::none},
    {Op::ext1, "EXT1", Argument::u1},
    {Op::ext2, "EXT2", Argument::u2},
    {Op::ext4, "EXT4", Argument::i4},
    {Op::tuple1, "TUPLE1", Argument::none},
    {Op::tuple2, "TUPLE2", Argument::none},
    {Op::tuple3, "TUPLE3", Argument::none},
    {Op::newtrue, "NEWTRUE", Argument::none},
    {Op::newfalse, "NEWFALSE", Argument::none},
    {Op::long1, "LONG1", Argument::counted_u1},
    {Op::long4, "LONG4", Argument::counted_i4},
    {Op::binbytes, "BINBYTES", Argument::counted_u4},
    {Op::short_binbytes, "SHORT_BINBYTES", Argument::counted_u1},
    {Op::short_binunicode, "SHORT_BINUNICODE", Argument::counted_u1},
    {Op::binunicode8, "BINUNICODE8", Argument::counted_u8},
    {Op::binbytes8, "BINBYTES8", Argument::counted_u8},
    {Op::empty_set, "EMPTY_SET", Argument::none},
    {Op::additems, "ADDITEMS", Argument::none},
    {Op::frozenset, "FROZENSET", Argument::none},
    {Op::newobj_ex, "NEWOBJ_EX", Argument::none},
    {Op::stack_global, "STACK_GLOBAL", Argument::none},
    {Op::memoize, "MEMOIZE", Argument::none},
    {Op::frame, "FRAME", Argument::u8},
    {Op::bytearray8, "BYTEARRAY8", Argument::counted_u8},
    {Op::next_buffer, "NEXT_BUFFER", Argument::none},
    {Op::readonly_buffer, "READONLY_BUFFER", Argument::none},
};
static_assert(std::size(kOpcodes) == 68);  // those of pickletools.opcodes

constexpr auto kOpcodeByCode = [] {
  std::array<const Opcode*, 256> table = {};
  for (const Opcode& row : kOpcodes) table[static_cast<std::uint8_t>(row.code)] = &row;
  return table;
}();

template <class T>
Status read_number(ByteReader& reader, Instruction& instruction) {
  TAPER_ASSIGN(const T value, reader.read<T>());
  instruction.number = static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  return {};
}

// Reads a length of type L and so many bytes.
template <class L>
Status read_counted(ByteReader& reader, Instruction& instruction) {
  TAPER_ASSIGN(const L length, reader.read<L>());
  if (std::is_signed_v<L> && length < 0) return fail("a length is negative ({})", length);
  TAPER_ASSIGN(instruction.bytes, reader.take(static_cast<std::uint64_t>(length)));
  return {};
}

Status read_line(ByteReader& reader, Instruction& instruction) {
  TAPER_ASSIGN(const std::string_view line, reader.take_line());
  instruction.bytes = as_bytes(line);
  return {};
}

Status read_argument(ByteReader& reader, Instruction& instruction) {
  switch (instruction.opcode->argument) {
    case Argument::none:
      return {};
    case Argument::u1:
      return read_number<std::uint8_t>(reader, instruction);
    case Argument::u2:
      return read_number<std::uint16_t>(reader, instruction);
    case Argument::u4:
      return read_number<std::uint32_t>(reader, instruction);
    case Argument::u8:
      return read_number<std::uint64_t>(reader, instruction);
    case Argument::i4:
      return read_number<std::int32_t>(reader, instruction);
    case Argument::real: {
      TAPER_ASSIGN(instruction.bytes, reader.take(8));
      return {};
    }
    case Argument::line:
      return read_line(reader, instruction);
    case Argument::two_lines: {
      TAPER_TRY(read_line(reader, instruction));
      TAPER_ASSIGN(instruction.second_line, reader.take_line());
      return {};
    }
    case Argument::counted_u1:
      return read_counted<std::uint8_t>(reader, instruction);
    case Argument::counted_u4:
      return read_counted<std::uint32_t>(reader, instruction);
    case Argument::counted_i4:
      return read_counted<std::int32_t>(reader, instruction);
    case Argument::counted_u8:
      return read_counted<std::uint64_t>(reader, instruction);
  }
  return {};
}

}  // namespace

std::span<const Opcode> opcodes() {
  return kOpcodes;
}

Expected<Instruction> next_instruction(ByteReader& reader) {
  Instruction instruction;
  instruction.offset = reader.offset();
  const auto code = reader.read<std::uint8_t>();
  if (!code) return fail("the pickle ends at byte {} without STOP", instruction.offset);
  instruction.opcode = kOpcodeByCode[*code];
  if (!instruction.opcode) return fail("byte 0x{:02x} at offset {} is not a pickle opcode", *code, instruction.offset);
  if (Status status = read_argument(reader, instruction); !status)
    return std::unexpected(
        within(std::move(status).error(),
               fmt::format("in opcode {} at byte {}", instruction.opcode->name, instruction.offset)));
  return instruction;
}

}  // namespace taper::pickle
