// Files: random-access reading, bounds-checked little-endian parsing, and writing that either
// completes or leaves the old file untouched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace pt2q {

// A block of bytes with shared ownership, 64-byte aligned when allocated here.
class Bytes {
 public:
  Bytes() = default;
  static Bytes allocate(size_t size);  // uninitialised
  static Bytes copy_of(std::string_view text);
  static Bytes view(const void* data, size_t size, std::shared_ptr<void> owner);
  // The same over memory that must not be written.
  static Bytes read_only_view(const void* data, size_t size, std::shared_ptr<void> owner);

  const uint8_t* data() const { return data_.get(); }
  uint8_t* mutable_data() { return data_.get(); }
  size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_.get()), size_}; }
  const std::shared_ptr<uint8_t>& owner() const { return data_; }
  bool read_only() const { return read_only_; }

 private:
  std::shared_ptr<uint8_t> data_;
  size_t size_ = 0;
  bool read_only_ = false;
};

// Where a reader takes its bytes from. Reading copies: a file that another process truncates or
// overwrites gives an error or a failed checksum, never a SIGBUS as a mapping would.
class Source {
 public:
  virtual ~Source() = default;
  virtual uint64_t size() const = 0;
  // Fills `into` with `size` bytes at `offset`; throws FileError when they are not all there.
  virtual void read(uint64_t offset, void* into, size_t size) const = 0;
  virtual const std::string& name() const = 0;  // for error messages

  Bytes read(uint64_t offset, size_t size) const;  // checks the range before allocating
  // The range in place, read-only, where the source is mapped; else as read().
  virtual Bytes view(uint64_t offset, size_t size) const { return read(offset, size); }
};

// Throws FileError naming the path and the cause.
std::shared_ptr<Source> open_file(const std::string& path);
// As open_file, but view() gives the file's own pages: see FileMapping for when that is safe.
std::shared_ptr<Source> map_file(const std::string& path);
std::shared_ptr<Source> open_bytes(Bytes bytes, const std::string& name);

// Reads little-endian numbers from memory; every read past the end throws FileError.
class ByteReader {
 public:
  ByteReader(const uint8_t* data, size_t size, std::string context)
      : data_(data), size_(size), context_(std::move(context)) {}
  ByteReader(const Bytes& bytes, std::string context)
      : ByteReader(bytes.data(), bytes.size(), std::move(context)) {}

  size_t position() const { return position_; }
  size_t remaining() const { return size_ - position_; }
  void seek(size_t position);
  void skip(size_t count);
  uint8_t u8();
  uint16_t u16();
  uint32_t u32();
  uint64_t u64();
  double f64_big_endian();
  std::string_view bytes(size_t count);
  // Text up to (without) `end`, which is consumed.
  std::string_view until(char end);
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const uint8_t* take(size_t count);

  const uint8_t* data_;
  size_t size_;
  size_t position_ = 0;
  std::string context_;
};

// Where a writer puts its bytes.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const void* data, size_t size) = 0;
  void write(std::string_view text) { write(text.data(), text.size()); }
};

class MemorySink : public Sink {
 public:
  using Sink::write;
  void write(const void* data, size_t size) override {
    buffer.append(static_cast<const char*>(data), size);
  }
  std::string buffer;
};

// Writes `path` by way of a temporary file in the same directory. Until commit() has returned the
// old file is intact; when anything fails the temporary file is removed and FileError names path
// and cause. A path that is a device or a pipe is written directly.
class AtomicFile : public Sink {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile() override;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  using Sink::write;
  void write(const void* data, size_t size) override;
  void commit();  // fsync, rename over `path`, fsync of the directory

 private:
  [[noreturn]] void fail(const char* action);
  void flush();
  void discard() noexcept;

  std::string path_;       // as given, for messages
  std::string target_;     // symbolic links resolved
  std::string temporary_;  // empty when writing directly
  std::string buffer_;
  int fd_ = -1;
};

}  // namespace pt2q
