// Runs a reader without libFuzzer: over files, and over seeded mutations of them.
//   pt2q_fuzz READER [--mutations N] [--seed S] [file or folder ...]
// Without files, mutates the built-in small ones. On a defect the input is written to
// crash-READER.bin in the current folder, so that it can be run again.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "readers.h"

namespace {

namespace fs = std::filesystem;
using pt2q_fuzz::Reader;

std::string current;     // the input being read
std::string crash_path;  // where it goes when the reader dies

void keep_input(int signal) {
  if (FILE* f = std::fopen(crash_path.c_str(), "wb")) {
    std::fwrite(current.data(), 1, current.size(), f);
    std::fclose(f);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const Reader& reader, std::string content) {
  current = std::move(content);
  pt2q_fuzz::check(reader, reinterpret_cast<const uint8_t*>(current.data()), current.size());
}

// Flips, overwrites, cuts, repeats and joins, as a byte-level fuzzer does.
std::string mutate(const std::vector<std::string>& corpus, std::mt19937& random) {
  std::string out = corpus[random() % corpus.size()];
  for (unsigned edits = random() % 4 + 1; edits > 0 && !out.empty(); --edits) {
    const size_t at = random() % out.size();
    const size_t length = std::min<size_t>(out.size() - at, random() % 32 + 1);
    switch (random() % 6) {
      case 0:
        out[at] = static_cast<char>(out[at] ^ (1 << random() % 8));
        break;
      case 1:
        out[at] = static_cast<char>(random() % 256);
        break;
      case 2:
        out.resize(at);
        break;
      case 3:
        out.erase(at, length);
        break;
      case 4:
        out.insert(at, out.substr(at, length));
        break;
      default: {
        static constexpr uint64_t kEdges[] = {0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, ~0ULL};
        const uint64_t value = kEdges[random() % 7];
        std::memcpy(&out[at], &value, std::min<size_t>(sizeof value, out.size() - at));
      }
    }
  }
  return out;
}

std::vector<std::string> read_all(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  const auto add = [&](const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  };
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      add(path);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(path)) add(entry.path());
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const Reader* reader = argc > 1 ? pt2q_fuzz::find_reader(argv[1]) : nullptr;
  if (reader == nullptr) {
    std::fprintf(stderr, "usage: pt2q_fuzz READER [--mutations N] [--seed S] [files]\nreaders:");
    for (const Reader& r : pt2q_fuzz::readers()) std::fprintf(stderr, " %s", r.name);
    std::fprintf(stderr, "\n");
    return 2;
  }
  long mutations = 0;
  unsigned seed = 1;
  std::vector<std::string> paths;
  for (int i = 2; i < argc; ++i) {
    if (std::strcmp(argv[i], "--mutations") == 0 && i + 1 < argc) {
      mutations = std::atol(argv[++i]);
    } else if (std::strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
      seed = static_cast<unsigned>(std::atol(argv[++i]));
    } else {
      paths.emplace_back(argv[i]);
    }
  }
  crash_path = std::string("crash-") + reader->name + ".bin";
  for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS}) std::signal(signal, keep_input);
  const std::vector<std::string> corpus = paths.empty() ? reader->seeds() : read_all(paths);
  if (corpus.empty()) {
    std::fprintf(stderr, "no input files\n");
    return 2;
  }
  for (const std::string& content : corpus) run(*reader, content);
  std::mt19937 random(seed);
  for (long i = 0; i < mutations; ++i) run(*reader, mutate(corpus, random));
  std::printf("%s: %zu files, %ld mutations, no defect\n", reader->name, corpus.size(), mutations);
  return 0;
}
