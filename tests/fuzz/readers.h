// What is fuzzed: the readers of files of unknown origin. A reader may accept any bytes or throw a
// typed error; anything else (InternalError, another exception, a crash, a sanitizer report) is a
// defect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace pt2q_fuzz {

struct Reader {
  const char* name;  // "pt2"
  void (*read)(const uint8_t* data, size_t size);
  std::vector<std::string> (*seeds)();  // small valid files
};

const std::vector<Reader>& readers();
const Reader* find_reader(const std::string& name);  // null when there is none

// Runs the reader; prints the reason and aborts on a defect.
void check(const Reader& reader, const uint8_t* data, size_t size);

}  // namespace pt2q_fuzz
