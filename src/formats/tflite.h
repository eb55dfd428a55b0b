// TFLite files: bytes <-> the plain structs generated from schema/tflite.fbs. Weights are neither copied when read nor
// held in memory when written.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/tensor.h"
#include "formats/schema/tflite_generated.h"
#include "formats/weights.h"

namespace taper {

// A file as it was read. `model.buffers` is empty; `buffers[i]` are the bytes of buffer i, which share the file's
// owner.
struct TfliteFile {
  tflite::ModelT model;
  std::vector<SharedBytes> buffers;
};

// Reads a TFLite file (identifier TFL3, version 3), with data inside the flatbuffer or behind it (Buffer.offset and
// size). Errors: too short, another identifier or version, structure that the flatbuffers verifier rejects (at most 64
// levels and 1,000,000 tables), buffers that lie outside the file, indices of tensors, buffers or operator codes that
// don't exist.
Expected<TfliteFile> read_tflite(const SharedBytes& file);

struct TfliteWriteOptions {
  // Files larger than this have their data behind the flatbuffer, whose offsets end at 2 GiB.
  std::uint64_t external_above = (std::uint64_t{1} << 31) - (1 << 20);
};

// Writes `model` with the data of buffer i taken from `buffers[i]`; `model.buffers` must be empty. Buffer 0 has to be
// empty (the format's "no data"). Data is aligned to 16 bytes. Sets what follows from the rest: version 3, the
// identifier and `deprecated_builtin_code` = min(builtin_code, 127). Memory: the file's size without the data, and one
// piece of a weight. Errors: buffer 0 not empty, a tensor or metadata entry that names a buffer that doesn't exist,
// what the sink returns.
Status write_tflite(const tflite::ModelT& model, std::span<const WeightSource> buffers, const ByteSink& sink,
                    const TfliteWriteOptions& options = {});

// The format's element type of a dtype and back; both ways nothing where the other side has no such type.
std::optional<tflite::TensorType> tflite_type(DType dtype);
std::optional<DType> dtype_from_tflite(tflite::TensorType type);

// The value of a constant: a view on its buffer. Errors: not a constant, an element type without a DType, or a buffer
// whose size is not that of the shape.
Expected<Tensor> tflite_constant(const TfliteFile& file, const tflite::TensorT& tensor);

}  // namespace taper
