// ZIP archives as PyTorch writes them: stored members, 64-byte aligned data, ZIP64 when needed.
// Deflated members are read too. COVERAGE: the central directory is the only truth; local headers
// must agree with it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"

namespace pt2q {

struct ZipLimits {
  uint64_t file_bytes = uint64_t{1} << 40;
  uint64_t members = 1000000;
  uint64_t member_bytes = uint64_t{1} << 38;  // uncompressed
  uint64_t name_bytes = 4096;
  // Uncompressed bytes of all deflated members together: at most this multiple of the file size,
  // or 64 MiB when that is more.
  uint64_t expansion = 200;
};

struct ZipEntry {
  std::string name;
  uint16_t method = 0;  // 0 stored, 8 deflated
  uint32_t crc = 0;
  uint64_t compressed_size = 0;
  uint64_t size = 0;
  uint64_t header_offset = 0;
  uint64_t data_offset = 0;
};

// Refuses with FileError (NotImplementedError for encryption and other compression methods):
// damaged directories, duplicate or unsafe names ("..", absolute, '\\', NUL), members that overlap
// or leave the file, sizes beyond the limits, wrong checksums.
class ZipReader {
 public:
  explicit ZipReader(std::shared_ptr<Source> source, const ZipLimits& limits = {});

  static bool looks_like_zip(const Source& source);  // starts with a local header or is empty zip

  const std::vector<ZipEntry>& entries() const { return entries_; }
  const ZipEntry* find(const std::string& name) const;
  bool contains(const std::string& name) const { return find(name) != nullptr; }
  const std::string& source_name() const { return source_->name(); }
  // Uncompressed content, checksum verified; throws KeyError when absent.
  Bytes read(const std::string& name) const;
  Bytes read(const ZipEntry& entry) const;
  // The same, in place where the source is mapped and the member is stored.
  Bytes view(const std::string& name) const;

 private:
  struct Directory {
    uint64_t offset = 0;
    uint64_t size = 0;
    uint64_t count = 0;
  };
  [[noreturn]] void damaged(const std::string& what) const;
  Directory find_directory() const;
  Directory find_zip64_directory(uint64_t end_record) const;
  void read_directory(const Directory& directory);
  void check_name(const std::string& name) const;
  void check_sizes(const ZipEntry& entry) const;
  void locate_data(ZipEntry* entry, uint64_t directory_offset) const;
  void check_overlaps() const;
  const ZipEntry& entry_of(const std::string& name) const;
  void check_crc(uint32_t crc, const ZipEntry& entry) const;
  uint32_t crc_in_file(const ZipEntry& entry) const;

  std::shared_ptr<Source> source_;
  ZipLimits limits_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, size_t> by_name_;
};

// Writes members whose data starts at a multiple of 64 bytes. Nothing is valid before finish().
class ZipWriter {
 public:
  // `always_zip64` writes ZIP64 records also where they are not needed (for tests).
  explicit ZipWriter(Sink* sink, bool always_zip64 = false)
      : sink_(sink), always_zip64_(always_zip64) {}

  void add(const std::string& name, std::string_view content);
  // Content in pieces, e.g. a tensor behind a header.
  void add(const std::string& name, const std::vector<std::string_view>& pieces);
  // Deflated, where that is smaller; for text.
  void add_compressed(const std::string& name, std::string_view content);
  void finish();

 private:
  void write_member(ZipEntry entry, const std::vector<std::string_view>& pieces);
  void emit(std::string_view bytes);
  std::string local_header(const ZipEntry& entry) const;
  std::string central_header(const ZipEntry& entry) const;

  Sink* sink_;
  bool always_zip64_;
  uint64_t position_ = 0;
  std::vector<ZipEntry> entries_;
};

}  // namespace pt2q
