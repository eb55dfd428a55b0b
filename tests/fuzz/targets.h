// What each fuzzer does with an input, and how it changes inputs. The corpora go through the same functions as plain
// tests (corpus_test.cpp).
#pragma once

#include <cstdlib>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/tensor.h"
#include "mutators.h"

namespace taper::fuzz {

struct Target {
  std::string_view name;  // also of the folder in corpus/ and of the program: fuzz_<name>
  void (*run)(Bytes);
  Mutator mutate = nullptr;  // none: bytes, as libFuzzer changes them
};

std::span<const Target> targets();
const Target* find_target(std::string_view name);

// For properties that must hold whatever the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

// Reads every element of a small tensor.
void use(const Tensor& tensor);

// Cuts a part off the front of `bytes`, whose length stands before it in two bytes; all of it if there is less.
Bytes take_part(Bytes& bytes);

// read_targets.cpp: bytes -> plain structs.
void zip(Bytes input);
void pickle(Bytes input);
void pickle_scan(Bytes input);
void checkpoint(Bytes input);
void torch_pickle(Bytes input);
void safetensors(Bytes input);
void npy(Bytes input);
void tensor_bundle(Bytes input);
void saved_model(Bytes input);
void onnx(Bytes input);
void config(Bytes input);
void recipe(Bytes input);

// graph_targets.cpp: bytes -> graphs, and the whole path to files.
void ir(Bytes input);
void tflite(Bytes input);
void onnx_graph(Bytes input);
void tensorflow(Bytes input);
void torchscript(Bytes input);
void exported_program(Bytes input);
void export_model(Bytes input);

}  // namespace taper::fuzz
