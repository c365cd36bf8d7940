#include "base/memory.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

// The live mappings, by address: size.
struct Mappings {
  std::mutex mutex;
  std::map<const char*, size_t> ranges;
};

Mappings& mappings() {
  static auto* m = new Mappings();  // lives until the process ends, as static models may
  return *m;
}

}  // namespace

std::shared_ptr<FileMapping> FileMapping::open(int fd, size_t size, const std::string& path) {
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    throw FileError(cat("cannot map '", path, "': ", std::strerror(errno)), "load it without mmap");
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0 || static_cast<size_t>(info.st_size) < size) {
    ::munmap(data, size);
    throw FileError(cat("'", path, "' ends early: it was cut while being read"));
  }
  std::shared_ptr<FileMapping> mapping(new FileMapping(static_cast<char*>(data), size));
  const std::lock_guard<std::mutex> lock(mappings().mutex);
  mappings().ranges[mapping->data_] = size;
  return mapping;
}

FileMapping::~FileMapping() {
  {
    const std::lock_guard<std::mutex> lock(mappings().mutex);
    mappings().ranges.erase(data_);
  }
  ::munmap(data_, size_);
}

void release_pages(const void* data, size_t bytes) {
  const char* begin = static_cast<const char*>(data);
  const std::lock_guard<std::mutex> lock(mappings().mutex);
  auto range = mappings().ranges.upper_bound(begin);
  if (range == mappings().ranges.begin()) return;
  --range;
  const auto at = static_cast<size_t>(begin - range->first);
  if (at > range->second || bytes > range->second - at) return;
  // Whole pages only: what shares a page with others stays.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t first = (at + page - 1) / page * page;
  const size_t last = (at + bytes) / page * page;
  if (first < last) ::madvise(const_cast<char*>(range->first) + first, last - first, MADV_DONTNEED);
}

void trim_heap() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace pt2q
