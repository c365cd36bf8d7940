#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/memory.h"
#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kWriteBuffer = 1 << 20;
constexpr size_t kLargestTransfer = 1 << 30;  // below the 2 GiB limit of one read() or write()

[[noreturn]] void io_error(const std::string& path, const char* action, int code) {
  throw FileError(cat("cannot ", action, " '", path, "': ", std::strerror(code)));
}

class FileSource : public Source {
 public:
  explicit FileSource(const std::string& path, bool mapped = false) : path_(path) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) io_error(path, "open", errno);
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      const int code = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
      ::close(fd_);
      if (code == EISDIR) io_error(path, "read", code);
      throw FileError(cat("cannot read '", path, "': it is not a regular file"),
                      "pass a file object for pipes and other streams");
    }
    size_ = static_cast<uint64_t>(info.st_size);
    if (!mapped || size_ == 0) return;
    try {
      mapping_ = FileMapping::open(fd_, static_cast<size_t>(size_), path);
    } catch (...) {
      ::close(fd_);
      throw;
    }
  }
  ~FileSource() override { ::close(fd_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  uint64_t size() const override { return size_; }
  const std::string& name() const override { return path_; }

  using Source::read;
  void read(uint64_t offset, void* into, size_t size) const override {
    auto* out = static_cast<char*>(into);
    while (size > 0) {
      const ssize_t got =
          ::pread(fd_, out, std::min(size, kLargestTransfer), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) io_error(path_, "read", errno);
      if (got == 0) throw FileError(cat("'", path_, "' ends early: it was cut while being read"));
      out += got;
      offset += static_cast<uint64_t>(got);
      size -= static_cast<size_t>(got);
    }
  }

  Bytes view(uint64_t offset, size_t size) const override {
    const bool inside = offset <= size_ && size <= size_ - offset;
    if (mapping_ == nullptr || !inside || offset % kAlignment != 0) return read(offset, size);
    return Bytes::read_only_view(mapping_->data() + offset, size, mapping_);
  }

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  std::shared_ptr<FileMapping> mapping_;
};

class MemorySource : public Source {
 public:
  MemorySource(Bytes bytes, const std::string& name) : bytes_(std::move(bytes)), name_(name) {}
  uint64_t size() const override { return bytes_.size(); }
  const std::string& name() const override { return name_; }

  using Source::read;
  void read(uint64_t offset, void* into, size_t size) const override {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      throw FileError(cat("'", name_, "' ends early"));
    if (size > 0) std::memcpy(into, bytes_.data() + offset, size);
  }

 private:
  Bytes bytes_;
  std::string name_;
};

}  // namespace

// --- Bytes, Source -------------------------------------------------------------------------------

Bytes Bytes::allocate(size_t size) {
  if (size > SIZE_MAX - kAlignment) throw RuntimeError(cat("out of memory: ", size, " bytes"));
  const size_t rounded = (std::max<size_t>(size, 1) + kAlignment - 1) / kAlignment * kAlignment;
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, rounded));
  if (memory == nullptr) throw RuntimeError(cat("out of memory: cannot allocate ", size, " bytes"));
  Bytes out;
  out.data_ = std::shared_ptr<uint8_t>(memory, std::free);
  out.size_ = size;
  return out;
}

Bytes Bytes::copy_of(std::string_view text) {
  Bytes out = allocate(text.size());
  if (!text.empty()) std::memcpy(out.mutable_data(), text.data(), text.size());
  return out;
}

Bytes Bytes::view(const void* data, size_t size, std::shared_ptr<void> owner) {
  Bytes out;
  out.data_ =
      std::shared_ptr<uint8_t>(std::move(owner), static_cast<uint8_t*>(const_cast<void*>(data)));
  out.size_ = size;
  return out;
}

Bytes Bytes::read_only_view(const void* data, size_t size, std::shared_ptr<void> owner) {
  Bytes out = view(data, size, std::move(owner));
  out.read_only_ = true;
  return out;
}

Bytes Source::read(uint64_t offset, size_t count) const {
  if (offset > size() || count > size() - offset) {
    throw FileError(cat("'", name(), "' is damaged: it has ", size(), " bytes, but ", count,
                        " bytes at offset ", offset, " are needed"));
  }
  Bytes out = Bytes::allocate(count);
  read(offset, out.mutable_data(), count);
  return out;
}

std::shared_ptr<Source> open_file(const std::string& path) {
  return std::make_shared<FileSource>(path);
}

std::shared_ptr<Source> map_file(const std::string& path) {
  return std::make_shared<FileSource>(path, true);
}

std::shared_ptr<Source> open_bytes(Bytes bytes, const std::string& name) {
  return std::make_shared<MemorySource>(std::move(bytes), name);
}

// --- ByteReader ----------------------------------------------------------------------------------

void ByteReader::fail(const std::string& what) const {
  throw FileError(cat(context_, ": ", what, " at byte ", position_));
}

const uint8_t* ByteReader::take(size_t count) {
  if (count > remaining()) fail("unexpected end");
  const uint8_t* at = data_ + position_;
  position_ += count;
  return at;
}

void ByteReader::seek(size_t position) {
  if (position > size_) fail("unexpected end");
  position_ = position;
}
void ByteReader::skip(size_t count) { take(count); }
uint8_t ByteReader::u8() { return *take(1); }

uint16_t ByteReader::u16() {
  const uint8_t* p = take(2);
  return static_cast<uint16_t>(p[0] | (p[1] << 8));
}

uint32_t ByteReader::u32() {
  const uint32_t low = u16();
  return low | (static_cast<uint32_t>(u16()) << 16);
}

uint64_t ByteReader::u64() {
  const uint64_t low = u32();
  return low | (static_cast<uint64_t>(u32()) << 32);
}

double ByteReader::f64_big_endian() {
  const uint8_t* p = take(8);
  uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) bits = (bits << 8) | p[i];
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::string_view ByteReader::bytes(size_t count) {
  return {reinterpret_cast<const char*>(take(count)), count};
}

std::string_view ByteReader::until(char end) {
  const auto* begin = reinterpret_cast<const char*>(data_ + position_);
  const std::string_view rest(begin, remaining());
  const size_t length = rest.find(end);
  if (length == std::string_view::npos) fail("unexpected end");
  position_ += length + 1;
  return rest.substr(0, length);
}

// --- AtomicFile ----------------------------------------------------------------------------------

namespace {

std::string resolve_links(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? std::string(resolved) : path;
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string temporary_name(const std::string& target) {
  static std::atomic<uint32_t> counter{0};
  std::random_device random;
  const size_t slash = target.rfind('/');
  const std::string base = slash == std::string::npos ? target : target.substr(slash + 1);
  // Kept short, so that a long target name does not exceed NAME_MAX.
  return directory_of(target) +
         cat("/.", base.substr(0, 64), ".", ::getpid(), ".", counter++, ".", random(), ".tmp");
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(resolve_links(path)) {
  struct stat info {};
  const bool exists = ::stat(target_.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) io_error(path_, "write", EISDIR);
  if (exists && !S_ISREG(info.st_mode)) {
    fd_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) io_error(path_, "open", errno);
    return;
  }
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = temporary_name(target_);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt > 20)) {
      const int code = errno;
      temporary_.clear();
      io_error(path_, "write", code);
    }
  }
  if (exists) (void)!::fchmod(fd_, info.st_mode & 07777);  // best effort: keeps the permissions
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::fail(const char* action) {
  const int code = errno;
  discard();
  io_error(path_, action, code);
}

void AtomicFile::flush() {
  const char* data = buffer_.data();
  size_t left = buffer_.size();
  while (left > 0) {
    const ssize_t done = ::write(fd_, data, std::min(left, kLargestTransfer));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("write");
    data += done;
    left -= static_cast<size_t>(done);
  }
  buffer_.clear();
}

void AtomicFile::write(const void* data, size_t size) {
  if (fd_ < 0) throw FileError(cat("'", path_, "' was already closed"));
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const size_t part = std::min(size, kWriteBuffer - buffer_.size());
    buffer_.append(bytes, part);
    bytes += part;
    size -= part;
    if (buffer_.size() == kWriteBuffer) flush();
  }
}

void AtomicFile::commit() {
  if (fd_ < 0) throw FileError(cat("'", path_, "' was already closed"));
  flush();
  // EINVAL: a pipe or device that cannot be synchronised.
  if (::fsync(fd_) != 0 && errno != EINVAL) fail("write");
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail("write");
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("replace");
  temporary_.clear();
  const int directory = ::open(directory_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
}

}  // namespace pt2q
