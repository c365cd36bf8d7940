// Helpers of the file tests: temporary directories, damaging bytes, and the contract of readers.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>

#include "base/file.h"
#include "base/zip.h"
#include "pt2q/error.h"
#include "pt2q/tensor.h"

namespace pt2q_test {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pt2q_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  size_t file_count() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 private:
  std::string path_;
};

inline std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
inline std::shared_ptr<pt2q::Source> source_of(const std::string& text) {
  return pt2q::open_bytes(pt2q::Bytes::copy_of(text), "test.bin");
}

// What a reader may do with a damaged file: succeed, or throw an Error that is no InternalError.
// True when it succeeded.
inline bool accepts(const std::function<void()>& read, const std::string& what) {
  try {
    read();
    return true;
  } catch (const pt2q::InternalError& e) {
    ADD_FAILURE() << what << ": internal error: " << e.what();
  } catch (const pt2q::Error&) {
  } catch (const std::exception& e) {
    ADD_FAILURE() << what << ": untyped error: " << e.what();
  }
  return false;
}

using Reader = std::function<void(const std::string& content)>;

// No proper prefix of a file may be accepted.
inline void expect_prefixes_refused(const std::string& content, const Reader& read) {
  for (size_t size = 0; size < content.size(); ++size) {
    const std::string what = "prefix of " + std::to_string(size);
    EXPECT_FALSE(accepts([&] { read(content.substr(0, size)); }, what)) << what;
  }
}

// Seeded single-bit flips and short random overwrites never crash a reader. Returns how many of
// the damaged files were accepted.
inline int run_mutations(const std::string& content, int count, unsigned seed, const Reader& read) {
  std::mt19937 random(seed);
  int accepted = 0;
  for (int i = 0; i < count; ++i) {
    std::string damaged = content;
    const int edits = i % 3 == 0 ? 1 : static_cast<int>(random() % 8) + 1;
    for (int k = 0; k < edits; ++k) {
      char& byte = damaged[random() % damaged.size()];
      byte = static_cast<char>(i % 2 == 0 ? byte ^ (1 << (random() % 8))
                                          : static_cast<int>(random() % 256));
    }
    if (accepts([&] { read(damaged); }, "mutation " + std::to_string(i))) ++accepted;
  }
  return accepted;
}

template <typename T>
std::vector<T> values_of(const pt2q::Tensor& t) {
  const pt2q::Tensor c = t.contiguous();
  return {c.data<T>(), c.data<T>() + c.numel()};
}

}  // namespace pt2q_test
