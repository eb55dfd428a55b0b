// Pickles, opcode by opcode (Lib/pickletools.py of CPython; a table of its own, so that it can't share a mistake with
// the reader's).
#include <algorithm>
#include <array>
#include <optional>

#include "../formats/builders.h"
#include "mutators.h"

namespace taper::fuzz {
namespace {

// What follows an opcode's byte.
enum class Form { bytes, counted, line, two_lines };
// What it does to the stack: opcodes of the same effect can take each other's place.
enum class Effect { push, keep, other };

struct Opcode {
  unsigned char code;
  Form form;
  std::size_t width;  // of the operand, or of its length
  Effect effect;
};
constexpr Opcode kOpcodes[] = {
    {'(', Form::bytes, 0, Effect::other},     {'.', Form::bytes, 0, Effect::other},
    {'0', Form::bytes, 0, Effect::other},     {'1', Form::bytes, 0, Effect::other},
    {'2', Form::bytes, 0, Effect::push},      {'F', Form::line, 0, Effect::push},
    {'I', Form::line, 0, Effect::push},       {'J', Form::bytes, 4, Effect::push},
    {'K', Form::bytes, 1, Effect::push},      {'L', Form::line, 0, Effect::push},
    {'M', Form::bytes, 2, Effect::push},      {'N', Form::bytes, 0, Effect::push},
    {'P', Form::line, 0, Effect::push},       {'Q', Form::bytes, 0, Effect::keep},
    {'R', Form::bytes, 0, Effect::other},     {'S', Form::line, 0, Effect::push},
    {'T', Form::counted, 4, Effect::push},    {'U', Form::counted, 1, Effect::push},
    {'V', Form::line, 0, Effect::push},       {'X', Form::counted, 4, Effect::push},
    {'a', Form::bytes, 0, Effect::other},     {'b', Form::bytes, 0, Effect::other},
    {'c', Form::two_lines, 0, Effect::push},  {'d', Form::bytes, 0, Effect::other},
    {'}', Form::bytes, 0, Effect::push},      {'e', Form::bytes, 0, Effect::other},
    {'g', Form::line, 0, Effect::push},       {'h', Form::bytes, 1, Effect::push},
    {'i', Form::two_lines, 0, Effect::other}, {'j', Form::bytes, 4, Effect::push},
    {'l', Form::bytes, 0, Effect::other},     {']', Form::bytes, 0, Effect::push},
    {'o', Form::bytes, 0, Effect::other},     {'p', Form::line, 0, Effect::keep},
    {'q', Form::bytes, 1, Effect::keep},      {'r', Form::bytes, 4, Effect::keep},
    {'s', Form::bytes, 0, Effect::other},     {'t', Form::bytes, 0, Effect::other},
    {')', Form::bytes, 0, Effect::push},      {'u', Form::bytes, 0, Effect::other},
    {'G', Form::bytes, 8, Effect::push},      {0x80, Form::bytes, 1, Effect::keep},
    {0x81, Form::bytes, 0, Effect::other},    {0x82, Form::bytes, 1, Effect::push},
    {0x83, Form::bytes, 2, Effect::push},     {0x84, Form::bytes, 4, Effect::push},
    {0x85, Form::bytes, 0, Effect::keep},     {0x86, Form::bytes, 0, Effect::other},
    {0x87, Form::bytes, 0, Effect::other},    {0x88, Form::bytes, 0, Effect::push},
    {0x89, Form::bytes, 0, Effect::push},     {0x8a, Form::counted, 1, Effect::push},
    {0x8b, Form::counted, 4, Effect::push},   {'B', Form::counted, 4, Effect::push},
    {'C', Form::counted, 1, Effect::push},    {0x8c, Form::counted, 1, Effect::push},
    {0x8d, Form::counted, 8, Effect::push},   {0x8e, Form::counted, 8, Effect::push},
    {0x8f, Form::bytes, 0, Effect::push},     {0x90, Form::bytes, 0, Effect::other},
    {0x91, Form::bytes, 0, Effect::other},    {0x92, Form::bytes, 0, Effect::other},
    {0x93, Form::bytes, 0, Effect::other},    {0x94, Form::bytes, 0, Effect::keep},
    {0x95, Form::bytes, 8, Effect::keep},     {0x96, Form::counted, 8, Effect::push},
    {0x97, Form::bytes, 0, Effect::push},     {0x98, Form::bytes, 0, Effect::keep},
};
static_assert(std::size(kOpcodes) == 68);

constexpr std::string_view kTexts[] = {"storage",    "module",
                                       "cpu",        "0",
                                       "1",          "FloatStorage",
                                       "weight",     "_parameters",
                                       "_modules",   "_buffers",
                                       "latin1",     "f4",
                                       "<",          ">",
                                       "state_dict", "_non_persistent_buffers_set",
                                       "",           "\xc3\xa9\xed",
                                       "config",     "num_heads"};
// Module and name, as GLOBAL and INST take them.
constexpr std::string_view kGlobals[] = {"torch._utils\n_rebuild_tensor_v2\n",
                                         "torch._utils\n_rebuild_tensor_v3\n",
                                         "torch._utils\n_rebuild_parameter\n",
                                         "torch._utils\n_rebuild_sparse_tensor\n",
                                         "torch._tensor\n_rebuild_from_type_v2\n",
                                         "torch.nn.parameter\nParameter\n",
                                         "torch\nFloatStorage\n",
                                         "torch\nHalfStorage\n",
                                         "torch\nLongStorage\n",
                                         "torch.storage\nUntypedStorage\n",
                                         "torch\nfloat32\n",
                                         "torch\nSize\n",
                                         "collections\nOrderedDict\n",
                                         "collections\ndefaultdict\n",
                                         "collections\nCounter\n",
                                         "builtins\nset\n",
                                         "builtins\nbytearray\n",
                                         "builtins\ngetattr\n",
                                         "copyreg\n_reconstructor\n",
                                         "copy_reg\n__newobj__\n",
                                         "_codecs\nencode\n",
                                         "numpy\ndtype\n",
                                         "numpy\nndarray\n",
                                         "numpy.core.multiarray\n_reconstruct\n",
                                         "numpy.core.multiarray\nscalar\n",
                                         "numpy._core.numeric\n_frombuffer\n",
                                         "posix\nsystem\n"};

const Opcode* opcode_of(char code) {
  const auto* const found = std::ranges::find(kOpcodes, static_cast<unsigned char>(code), &Opcode::code);
  return found == std::end(kOpcodes) ? nullptr : found;
}

// The length of the opcode at the start of `input` with its operand; nothing if it is none or is cut off.
std::optional<std::size_t> opcode_length(std::string_view input) {
  const Opcode* opcode = input.empty() ? nullptr : opcode_of(input[0]);
  if (opcode == nullptr) return std::nullopt;
  std::size_t end = 1;
  if (opcode->form == Form::line || opcode->form == Form::two_lines) {
    for (int lines = opcode->form == Form::line ? 1 : 2; lines > 0; --lines) {
      end = input.find('\n', end);
      if (end++ == std::string_view::npos) return std::nullopt;
    }
    return end;
  }
  if (input.size() - end < opcode->width) return std::nullopt;
  end += opcode->width;
  if (opcode->form == Form::bytes) return end;
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < opcode->width; ++i)
    length |= static_cast<std::uint64_t>(static_cast<unsigned char>(input[1 + i])) << (8 * i);
  if (length > input.size() - end) return std::nullopt;
  return end + length;
}

// A small number for what counts or refers, now and then one at an edge.
std::uint64_t operand_number(Random& random) {
  return random.one_in(4) ? edge_number(random) : random.below(24);
}

std::string new_line(char code, Random& random) {
  if (code == 'S') return "'" + std::string(random.pick(kTexts)) + "'\n";
  if (code == 'V' || code == 'P') return std::string(random.pick(kTexts)) + "\n";
  return std::to_string(static_cast<std::int64_t>(operand_number(random))) + (code == 'L' ? "L\n" : "\n");
}

std::string new_opcode(const Opcode& opcode, Random& random) {
  std::string text(1, static_cast<char>(opcode.code));
  switch (opcode.form) {
    case Form::bytes:
      return text + little(operand_number(random), static_cast<int>(opcode.width));
    case Form::line:
      return text + new_line(text[0], random);
    case Form::two_lines:
      return text.append(random.pick(kGlobals));
    case Form::counted:
      break;
  }
  const std::string_view operand = random.pick(kTexts);
  return text.append(little(operand.size(), static_cast<int>(opcode.width))).append(operand);
}

const Opcode& opcode_with(Effect effect, Random& random) {
  while (true)
    if (const Opcode& opcode = random.pick(kOpcodes); opcode.effect == effect) return opcode;
}

// The same opcode with another operand.
std::string with_operand(const std::string& text, Random& random, MutateBytes bytes) {
  const Opcode& opcode = *opcode_of(text[0]);
  if (opcode.form != Form::counted || random.one_in(2)) return new_opcode(opcode, random);
  const std::size_t start = 1 + opcode.width;
  std::string operand = bytes(text.substr(start), random);
  if (opcode.width == 1) operand.resize(std::min<std::size_t>(operand.size(), 255));
  return text[0] + little(operand.size(), static_cast<int>(opcode.width)) + operand;
}

void change_one(std::vector<std::string>& opcodes, Random& random, MutateBytes bytes) {
  const std::size_t at = random.below(opcodes.size());
  const auto place = [&](std::size_t i) { return opcodes.begin() + static_cast<std::ptrdiff_t>(i); };
  const Effect effect = opcode_of(opcodes[at][0])->effect;
  switch (random.below(8)) {
    case 0:  // a value that is dropped again
      opcodes.insert(place(at), {new_opcode(opcode_with(Effect::push, random), random), "0"});
      break;
    case 1:
    case 2:  // another of the same effect, or any
      opcodes[at] = new_opcode(random.one_in(8) ? random.pick(kOpcodes) : opcode_with(effect, random), random);
      break;
    case 3:
    case 4:
      opcodes[at] = with_operand(opcodes[at], random, bytes);
      break;
    case 5:  // one that stands elsewhere, in the place of one of the same effect
      if (const std::string other = random.pick(opcodes); opcode_of(other[0])->effect == effect) opcodes[at] = other;
      break;
    case 6:  // a run again: whole values, with luck
      if (const std::size_t end = at + 1 + random.below(std::min<std::size_t>(opcodes.size() - at, 12)); true) {
        const std::vector<std::string> run(place(at), place(end));
        opcodes.insert(place(random.one_in(2) ? end : random.below(opcodes.size())), run.begin(), run.end());
      }
      break;
    default:
      if (effect == Effect::keep || random.one_in(4))
        opcodes.erase(place(at));
      else
        std::swap(opcodes[at], random.pick(opcodes));
  }
}

}  // namespace

std::vector<std::string> split_pickle(std::string_view input) {
  std::vector<std::string> parts;
  bool stopped = false;
  while (!stopped || input.starts_with('\x80')) {
    const auto length = opcode_length(input);
    if (!length) break;
    parts.emplace_back(input.substr(0, *length));
    stopped = input[0] == '.';
    input.remove_prefix(*length);
  }
  parts.emplace_back(input);
  return parts;
}

std::string mutate_pickle(std::string input, Random& random, MutateBytes bytes) {
  std::vector<std::string> opcodes = split_pickle(input);
  const std::string rest = std::move(opcodes.back());
  opcodes.pop_back();
  if (opcodes.size() < 2) return bytes(std::move(input), random);
  for (std::size_t changes = 1 + random.below(3); changes > 0 && !opcodes.empty(); --changes)
    change_one(opcodes, random, bytes);
  std::string out;
  for (const std::string& opcode : opcodes) out += opcode;
  return out + rest;
}

}  // namespace taper::fuzz
