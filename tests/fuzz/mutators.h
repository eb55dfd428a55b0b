// Changes inputs within their structure: what a format's checksums, lengths and offsets would otherwise refuse at the
// door reaches the code behind it. Each mutator takes any input and leaves what it can't read to `bytes`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace taper::fuzz {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::size_t below(std::size_t count) { return count == 0 ? 0 : engine_() % count; }
  bool one_in(std::size_t count) { return below(count) == 0; }
  template <class T>
  const T& pick(const T* first, std::size_t count) {
    return first[below(count)];
  }
  template <class Range>
  decltype(auto) pick(Range&& range) {
    return range[below(std::size(range))];
  }

 private:
  std::minstd_rand engine_;
};

// Changes some bytes without regard to what they mean: LLVMFuzzerMutate in the fuzzers.
using MutateBytes = std::string (*)(std::string bytes, Random& random);
using Mutator = std::string (*)(std::string input, Random& random, MutateBytes bytes);

// A number at or beside an edge.
std::uint64_t edge_number(Random& random);

// Inserts, deletes, repeats, swaps and replaces whole opcodes with operands of the right form; mostly so that the stack
// stays as it was.
std::string mutate_pickle(std::string input, Random& random, MutateBytes bytes);
// The opcodes of one or several pickles, each with its operand; what follows them is the last element.
std::vector<std::string> split_pickle(std::string_view input);

// Changes an entry's content, with lengths and checksum repaired; or makes an entry or the directory lie about one
// thing.
std::string mutate_zip(std::string input, Random& random, MutateBytes bytes);
// The pickle inside an archive, a legacy file's pickles, a safetensors header: what the archive holds stays
// well-formed.
std::string mutate_checkpoint(std::string input, Random& random, MutateBytes bytes);
// The header, with its length repaired, or the data.
std::string mutate_safetensors(std::string input, Random& random, MutateBytes bytes);

// A field of a protobuf message or of one inside it; all lengths are repaired.
std::string mutate_message(std::string input, Random& random, MutateBytes bytes);
// The index and the data of a tensor bundle, as the target takes them; the checksums of blocks and values are repaired.
std::string mutate_tensor_bundle(std::string input, Random& random, MutateBytes bytes);
// A SavedModel and its bundle, as the target takes them.
std::string mutate_tensorflow(std::string input, Random& random, MutateBytes bytes);
// A number in one of the tables of a TFLite file, an operator, a buffer.
std::string mutate_tflite(std::string input, Random& random, MutateBytes bytes);

}  // namespace taper::fuzz
