// What a program (torch.export, TorchScript, ONNX) becomes: a graph, and what is known of its symbols.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "ir/graph.h"

namespace taper {

// What a symbolic size may be, and a value that it usually has.
struct SymbolRange {
  static constexpr std::int64_t kOpen = std::numeric_limits<std::int64_t>::max();
  std::int64_t least = 0;
  std::int64_t most = kOpen;
  std::int64_t usual = 1;
};

// What the caller says of a program.
struct ProgramOptions {
  std::map<std::string, Shape, std::less<>> input_shapes;  // by the input's name; symbols allowed
  std::map<std::string, DType, std::less<>> input_dtypes;
  std::set<std::string, std::less<>> cast_inputs = {};      // those that the program gets as float32, whatever is given
  std::map<std::string, Tensor, std::less<>> input_values;  // inputs that become constants
  std::map<std::string, std::vector<std::int64_t>, std::less<>> dynamic;  // axes of inputs to set free
  bool keep_frozen = false;  // leaves those as the program has them, to compare with
  int reading = 0;           // of several ways to set them free (frontend/free_sizes.h), below kAllReadings
};
inline constexpr int kReadings = 3;
// Each with the numbers of batches wherever they stand, and with them once in a shape.
inline constexpr int kAllReadings = 2 * kReadings;

// A size that an export froze and that was set free.
struct FreedSize {
  std::int64_t size = 0;           // that the program had
  std::vector<std::string> notes;  // what was decided by its number alone, a sentence each
  // Those of numbers that stay as they are: a program compared with itself has them on both sides.
  std::vector<std::string> kept_numbers = {};
  // Those of numbers that may be half of it, or numbers of their own: without a proof it can't be set free.
  std::vector<std::string> halves = {};
};

struct ImportedProgram {
  Graph graph;  // inputs and outputs bear the names of the program's signature
  std::map<std::string, SymbolRange, std::less<>> symbols;
  std::vector<std::string> assumptions;  // a sentence per thing that was decided for the user
  std::vector<std::string> warnings;
  std::map<std::string, FreedSize, std::less<>> freed;  // by symbol
  bool has_other_readings = false;                      // whether sizes could be set free in other ways as well
};

// The sentence on an input or output ("input 'x'") whose dtype is another one in the files.
std::string dtype_note(std::string_view port, DType in_program, DType in_files);

// Operators that can't be read, all of one program.
class UnsupportedOperators {
 public:
  // `place`: the module path, and the source line where the file has it. `hint`: the nearest form that can be read.
  void add(std::string_view op, std::string_view place, std::string_view hint = {});
  bool empty() const { return found_.empty(); }
  // "3 operators can't be converted: aten.foo.default (2 times, in encoder.layer, head: line 12 of model.py); ..."
  Error error() const;

 private:
  struct Entry {
    std::size_t count = 0;
    std::vector<std::string> places;  // the first few
    std::string hint;
  };
  std::map<std::string, Entry, std::less<>> found_;
};

}  // namespace taper
