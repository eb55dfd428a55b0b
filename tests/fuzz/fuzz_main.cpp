// One libFuzzer program per target: TAPER_FUZZ_TARGET names the function.
#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  taper::fuzz::TAPER_FUZZ_TARGET({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
