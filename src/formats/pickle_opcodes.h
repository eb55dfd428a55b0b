// The opcodes of Python's pickle format, protocols 0-5 (Lib/pickletools.py of CPython): their names and arguments. What
// they mean is said by those who follow them: pickle.cpp makes values, pickle_walk.cpp sees what would be run.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"

namespace taper::pickle {

enum class Op : std::uint8_t {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  dup = '2',
  float_line = 'F',
  int_line = 'I',
  binint = 'J',
  binint1 = 'K',
  long_line = 'L',
  binint2 = 'M',
  none = 'N',
  persid = 'P',
  binpersid = 'Q',
  reduce = 'R',
  string = 'S',
  binstring = 'T',
  short_binstring = 'U',
  unicode = 'V',
  binunicode = 'X',
  append = 'a',
  build = 'b',
  global = 'c',
  dict = 'd',
  empty_dict = '}',
  appends = 'e',
  get = 'g',
  binget = 'h',
  inst = 'i',
  long_binget = 'j',
  list = 'l',
  empty_list = ']',
  obj = 'o',
  put = 'p',
  binput = 'q',
  long_binput = 'r',
  setitem = 's',
  tuple = 't',
  empty_tuple = ')',
  setitems = 'u',
  binfloat = 'G',
  proto = 0x80,
  newobj = 0x81,
  ext1 = 0x82,
  ext2 = 0x83,
  ext4 = 0x84,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a,
  long4 = 0x8b,
  binbytes = 'B',
  short_binbytes = 'C',
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  binbytes8 = 0x8e,
  empty_set = 0x8f,
  additems = 0x90,
  frozenset = 0x91,
  newobj_ex = 0x92,
  stack_global = 0x93,
  memoize = 0x94,
  frame = 0x95,
  bytearray8 = 0x96,
  next_buffer = 0x97,
  readonly_buffer = 0x98,
};

// What follows the opcode's byte. Numbers are little-endian.
enum class Argument : std::uint8_t {
  none,
  u1,
  u2,
  u4,
  u8,
  i4,
  real,        // 8 bytes, big-endian
  line,        // up to '\n'
  two_lines,   // GLOBAL and INST
  counted_u1,  // a length, then so many bytes
  counted_u4,
  counted_i4,
  counted_u8,
};

struct Opcode {
  Op code;
  std::string_view name;  // as in pickletools
  Argument argument;
};

std::span<const Opcode> opcodes();

// An opcode with its argument, which views the pickle.
struct Instruction {
  const Opcode* opcode = nullptr;
  std::uint64_t offset = 0;      // of the opcode
  std::uint64_t number = 0;      // u1 to u8, and i4 sign-extended
  Bytes bytes;                   // counted bytes, the 8 of a real, or the (first) line
  std::string_view second_line;  // of two_lines

  Op code() const { return opcode->code; }
  std::int64_t signed_number() const { return static_cast<std::int64_t>(number); }
  std::string_view text() const { return as_text(bytes); }
};

// Reads the next opcode. Errors: the end of the bytes, a byte that is no opcode, an argument that is cut off.
Expected<Instruction> next_instruction(ByteReader& reader);

}  // namespace taper::pickle
