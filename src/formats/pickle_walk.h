// Follows a pickle the way Python's unpickler does, opcode by opcode, to see what it would import and call. Nothing is
// made but a note of what each value is. What comes before damage counts: Python has run it when it finds the damage.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "formats/pickle_globals.h"

namespace taper::pickle {

enum class Use : std::uint8_t { imported, instantiated, called, changed };

// A global that is not safe, and what becomes of it.
struct Mention {
  std::string module;
  std::string name;
  std::uint64_t offset = 0;  // of the opcode that names it first, in the pickle
  Trust trust = Trust::unknown;
  Use use = Use::imported;
  std::string reason;
  std::uint64_t calls = 0;
  std::vector<std::string> arguments;  // of the first calls: "'id'", short and printable
  bool state_set = false;              // BUILD gives its instance a state
};

// Bytes that the pickle would hand to a loader of pickles.
struct NestedPickle {
  std::uint64_t offset = 0;  // of the opcode that calls the loader
  SharedBytes bytes;
};

struct Walk {
  std::vector<Mention> mentions;      // by offset
  std::vector<std::string> harmless;  // "collections.OrderedDict", sorted
  std::vector<NestedPickle> nested;
  bool stopped = false;  // by STOP; else see `problem`
  std::string problem;   // "the pickle ends at byte 7 without STOP"
  std::uint64_t problem_offset = 0;
  std::uint64_t size = 0;         // bytes followed, up to and including STOP
  std::uint64_t looked_at = 0;    // bytes: more than `size` if the end of a line was searched in vain
  bool holds_raw_arrays = false;  // joblib writes arrays between the opcodes, which end the walk
};

// Walks one pickle from the start of `bytes`. Time and memory are linear in the bytes walked; more than some millions
// of values end the walk with a problem.
Walk walk(const SharedBytes& bytes, const std::vector<std::string>& trusted = {});

}  // namespace taper::pickle
