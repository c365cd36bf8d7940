// Entry point of libFuzzer; PT2Q_FUZZ_READER names the reader.
#include "readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const pt2q_fuzz::Reader* const reader = pt2q_fuzz::find_reader(PT2Q_FUZZ_READER);
  pt2q_fuzz::check(*reader, data, size);
  return 0;
}
