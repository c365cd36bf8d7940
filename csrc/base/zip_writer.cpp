#include <zlib.h>

#include <algorithm>

#include "base/strings.h"
#include "base/zip.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint32_t kEscape32 = 0xffffffff;
constexpr uint16_t kEscape16 = 0xffff;
constexpr uint16_t kUtf8Names = 0x0800;
constexpr uint16_t kDosDate = 0x0021;  // 1980-01-01: the same input gives the same file

void put(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

uint32_t low32(uint64_t value, bool zip64) {
  return zip64 ? kEscape32 : static_cast<uint32_t>(value);
}

// Fields that local and central headers share, from "version needed" to the name length.
void put_common(std::string* out, const ZipEntry& entry, bool zip64) {
  put(out, zip64 ? 45 : 20, 2);
  put(out, kUtf8Names, 2);
  put(out, entry.method, 2);
  put(out, 0, 2);  // time
  put(out, kDosDate, 2);
  put(out, entry.crc, 4);
  put(out, low32(entry.compressed_size, zip64), 4);
  put(out, low32(entry.size, zip64), 4);
  put(out, entry.name.size(), 2);
}

uint32_t crc_of(const std::vector<std::string_view>& pieces) {
  uLong crc = ::crc32(0, nullptr, 0);
  for (const std::string_view piece : pieces) {
    for (size_t at = 0; at < piece.size();) {
      const size_t part = std::min<size_t>(piece.size() - at, 1U << 30);
      crc =
          ::crc32(crc, reinterpret_cast<const Bytef*>(piece.data() + at), static_cast<uInt>(part));
      at += part;
    }
  }
  return static_cast<uint32_t>(crc);
}

// Raw deflate stream; empty when the content is too large for one call or zlib fails.
std::string deflated(std::string_view content) {
  if (content.size() > (1U << 30)) return "";
  z_stream stream{};
  if (::deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return "";
  std::string out(::deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool done = ::deflate(&stream, Z_FINISH) == Z_STREAM_END;
  out.resize(done ? stream.total_out : 0);
  ::deflateEnd(&stream);
  return out;
}

}  // namespace

void ZipWriter::emit(std::string_view bytes) {
  sink_->write(bytes);
  position_ += bytes.size();
}

std::string ZipWriter::local_header(const ZipEntry& entry) const {
  const bool zip64 = always_zip64_ || entry.size >= kEscape32 || entry.compressed_size >= kEscape32;
  std::string extra;
  if (zip64) {
    put(&extra, 1, 2);
    put(&extra, 16, 2);
    put(&extra, entry.size, 8);
    put(&extra, entry.compressed_size, 8);
  }
  // PyTorch's padding field: 'F' 'B', length, then 'Z's up to the alignment.
  const uint64_t unpadded = position_ + 30 + entry.name.size() + extra.size() + 4;
  const uint64_t padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  extra += "FB";
  put(&extra, padding, 2);
  extra.append(padding, 'Z');
  std::string out;
  put(&out, 0x04034b50, 4);
  put_common(&out, entry, zip64);
  put(&out, extra.size(), 2);
  return out + entry.name + extra;
}

std::string ZipWriter::central_header(const ZipEntry& entry) const {
  const bool zip64 = always_zip64_ || entry.size >= kEscape32 || entry.header_offset >= kEscape32;
  std::string extra;
  if (zip64) {
    put(&extra, 1, 2);
    put(&extra, 24, 2);
    put(&extra, entry.size, 8);
    put(&extra, entry.compressed_size, 8);
    put(&extra, entry.header_offset, 8);
  }
  std::string out;
  put(&out, 0x02014b50, 4);
  put(&out, 45, 2);  // made by
  put_common(&out, entry, zip64);
  put(&out, extra.size(), 2);
  put(&out, 0, 2);  // comment
  put(&out, 0, 2);  // disk
  put(&out, 0, 2);  // internal attributes
  put(&out, 0, 4);  // external attributes
  put(&out, low32(entry.header_offset, zip64), 4);
  return out + entry.name + extra;
}

void ZipWriter::add(const std::string& name, std::string_view content) {
  add(name, std::vector<std::string_view>{content});
}

void ZipWriter::add(const std::string& name, const std::vector<std::string_view>& pieces) {
  ZipEntry entry;
  entry.name = name;
  entry.crc = crc_of(pieces);
  for (const std::string_view piece : pieces) entry.size += piece.size();
  entry.compressed_size = entry.size;
  write_member(std::move(entry), pieces);
}

void ZipWriter::add_compressed(const std::string& name, std::string_view content) {
  const std::string packed = deflated(content);
  if (packed.empty() || packed.size() >= content.size()) {
    add(name, content);
    return;
  }
  ZipEntry entry;
  entry.name = name;
  entry.method = 8;
  entry.crc = crc_of({content});
  entry.size = content.size();
  entry.compressed_size = packed.size();
  write_member(std::move(entry), {packed});
}

void ZipWriter::write_member(ZipEntry entry, const std::vector<std::string_view>& pieces) {
  if (entry.name.empty() || entry.name.size() > 4096) {
    throw ValueError(cat("a ZIP member name must have 1 to 4096 bytes, got ", entry.name.size()));
  }
  entry.header_offset = position_;
  emit(local_header(entry));
  for (const std::string_view piece : pieces) emit(piece);
  entries_.push_back(std::move(entry));
}

void ZipWriter::finish() {
  const uint64_t offset = position_;
  for (const ZipEntry& entry : entries_) emit(central_header(entry));
  const uint64_t size = position_ - offset;
  const uint64_t count = entries_.size();
  const bool zip64 =
      always_zip64_ || offset >= kEscape32 || size >= kEscape32 || count >= kEscape16;
  std::string end;
  if (zip64) {
    put(&end, 0x06064b50, 4);
    put(&end, 44, 8);
    put(&end, 45, 2);
    put(&end, 45, 2);
    put(&end, 0, 8);  // this disk, disk of the directory
    put(&end, count, 8);
    put(&end, count, 8);
    put(&end, size, 8);
    put(&end, offset, 8);
    put(&end, 0x07064b50, 4);
    put(&end, 0, 4);
    put(&end, position_, 8);
    put(&end, 1, 4);
  }
  put(&end, 0x06054b50, 4);
  put(&end, 0, 4);
  put(&end, zip64 ? kEscape16 : count, 2);
  put(&end, zip64 ? kEscape16 : count, 2);
  put(&end, low32(size, zip64), 4);
  put(&end, low32(offset, zip64), 4);
  put(&end, 0, 2);
  emit(end);
}

}  // namespace pt2q
