// Looks for pickles in a file of any kind and says what loading it would run. Nothing is run, and damage does not end
// the search: what stands before it would have been run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "formats/pickle_walk.h"

namespace taper {

// From harmless to worst; of several, the worst counts.
enum class Verdict : std::uint8_t {
  clean,       // loading runs nothing but what is known to rebuild data
  unknown,     // it names code that taper doesn't know, or is of a format that can carry code
  unreadable,  // damaged, too strange, or no kind of file that taper knows: something may be hidden
  dangerous,   // loading runs something that no checkpoint needs
};

std::string_view verdict_name(Verdict verdict);

struct ScanFinding {
  std::string member;  // "archive/data.pkl"; "" for the file itself; "a.zip: b.pkl" in an archive in an archive
  std::optional<std::uint64_t> file_offset;  // of the opcode, unless it is in compressed or decoded bytes
  pickle::Mention mention;
};

struct FileScan {
  std::string format;  // "PyTorch zip", "PyTorch legacy", "pickle", "safetensors", "a PNG image"...
  Verdict verdict = Verdict::clean;
  std::string reason;  // why it is not clean, in one line
  std::vector<ScanFinding> findings;
  std::vector<std::string> harmless;  // globals that are known to rebuild data: "collections.OrderedDict"
};

struct ScanOptions {
  std::vector<std::string> trusted;  // modules that are the user's own, see pickle::judge
};

// Scans bytes: archives to a depth of a few, with bounds on what they may inflate to. Never fails: what can't be read
// is part of the verdict. Time and memory are linear in the size of the bytes.
FileScan scan_bytes(const SharedBytes& bytes, const ScanOptions& options = {});
// The same for a file; one that can't be mapped is unreadable.
FileScan scan_file(const std::filesystem::path& path, const ScanOptions& options = {});

// "posix.system('id')", or without a call "posix.system".
std::string finding_text(const pickle::Mention& mention);

// For who loads checkpoints: an error if Python's unpickler would run something dangerous in the pickle that starts at
// byte `start`. `member` is what the bytes are in an archive ("archive/data.pkl"), or "".
Status refuse_dangerous_pickle(const SharedBytes& bytes, std::uint64_t start, std::string_view member);

}  // namespace taper
