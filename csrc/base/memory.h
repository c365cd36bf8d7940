// Memory that is mapped from files, and giving memory back to the operating system.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace pt2q {

// A whole file, mapped read-only. Whoever cuts the file while it is mapped ends this process by
// SIGBUS; writing a new file in its place, as AtomicFile does, is safe.
class FileMapping {
 public:
  // Throws FileError naming path and cause. `size`: what the caller found the file to have.
  static std::shared_ptr<FileMapping> open(int fd, size_t size, const std::string& path);
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  const char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  FileMapping(char* data, size_t size) : data_(data), size_(size) {}
  char* data_;
  size_t size_;
};

// Says that these bytes will hardly be read again. Where they are mapped from a file, their pages
// leave memory (and come back when they are read after all); elsewhere nothing happens.
void release_pages(const void* data, size_t bytes);

// Returns freed heap memory to the operating system.
void trim_heap();

}  // namespace pt2q
