// Weights on their way into a file: tensors as they were read, converted piece by piece while a writer streams them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/tensor.h"

namespace taper {

// One constant and the dtype it is stored as. The tensor may be strided, mapped or big-endian; nothing is converted
// before it is written. The default is an empty constant of no bytes.
struct WeightSource {
  Tensor tensor{.dtype = DType::u8, .shape = {0}, .strides = {1}, .storage = {}, .big_endian = false};
  DType dtype = DType::u8;

  std::uint64_t byte_count() const {
    return static_cast<std::uint64_t>(tensor.element_count()) * static_cast<std::uint64_t>(size_of(dtype));
  }
};

// The tensor stored as what it is, and opaque bytes (metadata, packed integers) as a constant of uint8.
WeightSource stored_as_is(Tensor tensor);
WeightSource stored_bytes(SharedBytes bytes);

// Takes the next bytes of a file. An error ends the writing and is what the writer returns.
using ByteSink = std::function<Status(Bytes)>;

// Sinks that append to `out`, which must outlive them. Errors: the stream went bad, with the system's reason.
ByteSink sink_to(std::ostream& out);
ByteSink sink_to(std::vector<std::byte>& out);

// Sends the elements in row-major order in pieces of at most 1 MiB, converted to `source.dtype`; those of a plain
// tensor of that dtype from where they lie. Never holds more than one piece, and says of mapped bytes that they are
// sent.
Status stream_elements(const WeightSource& source, const ByteSink& sink);

// What a warning says of weights that hold NaN or infinity.
class NotFiniteWeights {
 public:
  // Reads the elements as stream_elements does, those that strides of 0 repeat once. Where it may be a mask, minus
  // infinity alone is nothing to warn of.
  void look_at(const std::string& name, const Tensor& tensor, bool may_be_mask);
  // Nothing if all weights are finite as float32.
  std::optional<std::string> warning() const;

 private:
  std::vector<std::string> found_;
};

}  // namespace taper
