#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/strings.h"
#include "base/zip.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEndRecord = 0x06054b50;
constexpr uint32_t kZip64EndRecord = 0x06064b50;
constexpr uint32_t kZip64Locator = 0x07064b50;
constexpr size_t kEndRecordSize = 22;
constexpr size_t kZip64EndRecordSize = 56;
constexpr size_t kZip64LocatorSize = 20;
constexpr size_t kLocalHeaderSize = 30;
constexpr size_t kCentralHeaderSize = 46;
constexpr size_t kLongestComment = 65535;
constexpr uint16_t kEncrypted = 0x2041;  // plain, strong and masked-header encryption
constexpr uint64_t kFreeExpansion = uint64_t{64} << 20;
constexpr uint64_t kMostDeflateExpands = 1032;  // a limit of the format itself

uint32_t crc_of(const uint8_t* data, size_t size) {
  uLong crc = ::crc32(0, nullptr, 0);
  while (size > 0) {
    const size_t part = std::min<size_t>(size, 1U << 30);
    crc = ::crc32(crc, data, static_cast<uInt>(part));
    data += part;
    size -= part;
  }
  return static_cast<uint32_t>(crc);
}

// Fills the fields of `entry` that hold 0xffffffff from the ZIP64 extra field.
void apply_zip64_extra(std::string_view extra, const std::string& context, ZipEntry* entry) {
  ByteReader reader(reinterpret_cast<const uint8_t*>(extra.data()), extra.size(),
                    context + ": extra field");
  constexpr uint32_t kEscape = 0xffffffff;
  while (reader.remaining() >= 4) {
    const uint16_t id = reader.u16();
    const uint16_t size = reader.u16();
    if (id != 1) {
      reader.skip(size);
      continue;
    }
    ByteReader field(reinterpret_cast<const uint8_t*>(reader.bytes(size).data()), size,
                     context + ": ZIP64 field");
    if (entry->size == kEscape) entry->size = field.u64();
    if (entry->compressed_size == kEscape) entry->compressed_size = field.u64();
    if (entry->header_offset == kEscape) entry->header_offset = field.u64();
    return;
  }
}

// Inflates exactly `out.size()` bytes from the whole input.
void inflate_all(const Bytes& packed, Bytes* out, const std::string& context) {
  z_stream stream{};
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw RuntimeError("zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, ::inflateEnd);
  constexpr size_t kPart = 1U << 30;
  size_t consumed = 0;
  size_t produced = 0;
  uint8_t spare = 0;  // room for one byte too many: the size in the directory may lie
  int state = Z_OK;
  while (state == Z_OK) {
    const size_t in = std::min(packed.size() - consumed, kPart);
    const size_t room = std::min(out->size() - produced, kPart);
    stream.next_in = const_cast<Bytef*>(packed.data() + consumed);
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = room > 0 ? out->mutable_data() + produced : &spare;
    stream.avail_out = room > 0 ? static_cast<uInt>(room) : 1;
    state = ::inflate(&stream, Z_NO_FLUSH);
    consumed += in - stream.avail_in;
    const size_t made = (room > 0 ? room : 1) - stream.avail_out;
    if (room == 0 && made > 0) break;
    produced += made;
  }
  if (state != Z_STREAM_END || produced != out->size() || consumed != packed.size())
    throw FileError(cat(context, ": compressed data is damaged"));
}

}  // namespace

void ZipReader::damaged(const std::string& what) const {
  throw FileError(cat("'", source_->name(), "' is not a valid ZIP archive: ", what),
                  "the file may be truncated or damaged: copy or save it again");
}

bool ZipReader::looks_like_zip(const Source& source) {
  if (source.size() < 4) return false;
  const Bytes head = source.read(0, 4);
  const uint32_t signature = ByteReader(head, source.name()).u32();
  return signature == kLocalHeader || signature == kEndRecord;
}

ZipReader::ZipReader(std::shared_ptr<Source> source, const ZipLimits& limits)
    : source_(std::move(source)), limits_(limits) {
  if (source_->size() > limits_.file_bytes) {
    throw FileError(cat("'", source_->name(), "' has ", source_->size(),
                        " bytes, more than the limit of ", limits_.file_bytes));
  }
  if (source_->size() < kEndRecordSize) damaged("it is too short");
  const Directory directory = find_directory();
  read_directory(directory);
  for (ZipEntry& entry : entries_) locate_data(&entry, directory.offset);
  check_overlaps();
}

ZipReader::Directory ZipReader::find_directory() const {
  const uint64_t size = source_->size();
  const auto tail_size =
      static_cast<size_t>(std::min<uint64_t>(size, kEndRecordSize + kLongestComment));
  const uint64_t tail_offset = size - tail_size;
  const Bytes tail = source_->read(tail_offset, tail_size);
  for (size_t at = tail_size - kEndRecordSize + 1; at-- > 0;) {
    if (tail.data()[at] != 'P' || tail.data()[at + 1] != 'K') continue;
    ByteReader reader(tail, source_->name());
    reader.seek(at);
    if (reader.u32() != kEndRecord) continue;
    reader.seek(at + 20);
    if (at + kEndRecordSize + reader.u16() != tail_size) continue;
    reader.seek(at + 4);
    const uint16_t disk = reader.u16();
    const uint16_t directory_disk = reader.u16();
    const uint16_t count_here = reader.u16();
    Directory directory;
    directory.count = reader.u16();
    directory.size = reader.u32();
    directory.offset = reader.u32();
    const bool escaped =
        directory.count == 0xffff || directory.size == 0xffffffff || directory.offset == 0xffffffff;
    if (escaped) return find_zip64_directory(tail_offset + at);
    if (disk != 0 || directory_disk != 0 || count_here != directory.count)
      damaged("it is split over several files");
    if (directory.offset > tail_offset + at || directory.size > tail_offset + at - directory.offset)
      damaged("the directory lies outside the file");
    return directory;
  }
  damaged("the end record is missing");
}

ZipReader::Directory ZipReader::find_zip64_directory(uint64_t end_record) const {
  if (end_record < kZip64LocatorSize) damaged("the ZIP64 locator is missing");
  const Bytes locator = source_->read(end_record - kZip64LocatorSize, kZip64LocatorSize);
  ByteReader reader(locator, source_->name());
  if (reader.u32() != kZip64Locator) damaged("the ZIP64 locator is missing");
  reader.skip(4);
  const uint64_t record_offset = reader.u64();
  const uint64_t before_locator = end_record - kZip64LocatorSize;
  if (record_offset > before_locator || before_locator - record_offset < kZip64EndRecordSize)
    damaged("the ZIP64 record lies outside the file");
  const Bytes record = source_->read(record_offset, kZip64EndRecordSize);
  ByteReader fields(record, source_->name());
  if (fields.u32() != kZip64EndRecord) damaged("the ZIP64 record is missing");
  fields.seek(32);
  Directory directory;
  directory.count = fields.u64();
  directory.size = fields.u64();
  directory.offset = fields.u64();
  if (directory.offset > record_offset || directory.size > record_offset - directory.offset)
    damaged("the directory lies outside the file");
  return directory;
}

void ZipReader::check_name(const std::string& name) const {
  const auto refuse = [&](const char* why) {
    std::string shown = name.substr(0, 80);
    std::replace_if(
        shown.begin(), shown.end(), [](unsigned char c) { return c < 32 || c == 127; }, '?');
    damaged(cat("the member name '", shown, "' ", why));
  };
  if (name.empty()) refuse("is empty");
  if (name.size() > limits_.name_bytes) refuse("is too long");
  if (name[0] == '/') refuse("is an absolute path");
  for (const unsigned char c : name) {
    if (c < 32 || c == 127 || c == '\\') refuse("contains a control character or '\\'");
  }
  if (!is_utf8(name)) refuse("is not valid UTF-8");
  for (const std::string& part : split(name, '/')) {
    if (part == "..") refuse("contains '..'");
  }
}

void ZipReader::check_sizes(const ZipEntry& entry) const {
  if (entry.size > limits_.member_bytes) {
    throw FileError(cat("'", source_->name(), "': member '", entry.name, "' has ", entry.size,
                        " bytes, more than the limit of ", limits_.member_bytes));
  }
  if (entry.method == 0 && entry.compressed_size != entry.size)
    damaged(cat("member '", entry.name, "' has two different sizes"));
  if (entry.method == 8 && entry.size / kMostDeflateExpands > entry.compressed_size + 1) {
    damaged(cat("member '", entry.name, "' states an impossible size"));
  }
}

void ZipReader::read_directory(const Directory& directory) {
  if (directory.count > limits_.members) {
    throw FileError(cat("'", source_->name(), "' has ", directory.count,
                        " members, more than the limit of ", limits_.members));
  }
  if (directory.count > directory.size / kCentralHeaderSize)
    damaged("the directory is too small for its entries");
  const Bytes raw = source_->read(directory.offset, static_cast<size_t>(directory.size));
  ByteReader reader(raw, cat("'", source_->name(), "': directory"));
  uint64_t expanded = 0;
  for (uint64_t i = 0; i < directory.count; ++i) {
    if (reader.u32() != kCentralHeader) damaged("a directory entry is malformed");
    reader.skip(4);
    const uint16_t flags = reader.u16();
    ZipEntry entry;
    entry.method = reader.u16();
    reader.skip(4);  // time and date
    entry.crc = reader.u32();
    entry.compressed_size = reader.u32();
    entry.size = reader.u32();
    const uint16_t name_size = reader.u16();
    const uint16_t extra_size = reader.u16();
    const uint16_t comment_size = reader.u16();
    reader.skip(8);  // disk and attributes
    entry.header_offset = reader.u32();
    entry.name = std::string(reader.bytes(name_size));
    apply_zip64_extra(reader.bytes(extra_size), source_->name(), &entry);
    reader.skip(comment_size);
    check_name(entry.name);
    if ((flags & kEncrypted) != 0)
      throw NotImplementedError(
          cat("'", source_->name(), "': member '", entry.name, "' is encrypted"));
    if (entry.method != 0 && entry.method != 8) {
      throw NotImplementedError(cat("'", source_->name(), "': member '", entry.name,
                                    "' uses compression method ", entry.method),
                                "save it again with PyTorch, or zip it stored or deflated");
    }
    check_sizes(entry);
    if (entry.method == 8) expanded += entry.size;
    if (expanded > std::max(kFreeExpansion, source_->size() * limits_.expansion))
      damaged("it would expand beyond the limit (a decompression bomb?)");
    if (!by_name_.emplace(entry.name, entries_.size()).second)
      damaged(cat("member '", entry.name, "' exists twice"));
    entries_.push_back(std::move(entry));
  }
  if (reader.remaining() != 0) damaged("the directory has trailing bytes");
}

void ZipReader::locate_data(ZipEntry* entry, uint64_t directory_offset) const {
  const auto outside = [&] { damaged(cat("member '", entry->name, "' lies outside the file")); };
  if (entry->header_offset > directory_offset ||
      directory_offset - entry->header_offset < kLocalHeaderSize + entry->name.size()) {
    outside();
  }
  const Bytes header = source_->read(entry->header_offset, kLocalHeaderSize + entry->name.size());
  ByteReader reader(header, source_->name());
  if (reader.u32() != kLocalHeader) damaged(cat("member '", entry->name, "' has no header"));
  reader.skip(4);
  const uint16_t method = reader.u16();
  reader.seek(26);
  const uint16_t name_size = reader.u16();
  const uint16_t extra_size = reader.u16();
  if (method != entry->method || name_size != entry->name.size() ||
      reader.bytes(name_size) != entry->name) {
    damaged(cat("the two headers of member '", entry->name, "' differ"));
  }
  entry->data_offset = entry->header_offset + kLocalHeaderSize + name_size + extra_size;
  if (entry->data_offset > directory_offset ||
      entry->compressed_size > directory_offset - entry->data_offset) {
    outside();
  }
}

void ZipReader::check_overlaps() const {
  std::vector<const ZipEntry*> ordered;
  for (const ZipEntry& entry : entries_) ordered.push_back(&entry);
  std::sort(ordered.begin(), ordered.end(), [](const ZipEntry* a, const ZipEntry* b) {
    return a->header_offset < b->header_offset;
  });
  for (size_t i = 1; i < ordered.size(); ++i) {
    const ZipEntry& before = *ordered[i - 1];
    if (before.data_offset + before.compressed_size > ordered[i]->header_offset)
      damaged(cat("members '", before.name, "' and '", ordered[i]->name, "' overlap"));
  }
}

const ZipEntry* ZipReader::find(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &entries_[it->second];
}

const ZipEntry& ZipReader::entry_of(const std::string& name) const {
  const ZipEntry* entry = find(name);
  if (entry == nullptr) throw KeyError(cat("'", source_->name(), "' has no member '", name, "'"));
  return *entry;
}

void ZipReader::check_crc(uint32_t crc, const ZipEntry& entry) const {
  if (crc == entry.crc) return;
  throw FileError(cat("'", source_->name(), "': member '", entry.name, "': the checksum is wrong"),
                  "the file is damaged: copy or save it again");
}

Bytes ZipReader::read(const std::string& name) const { return read(entry_of(name)); }

Bytes ZipReader::read(const ZipEntry& entry) const {
  Bytes content = source_->read(entry.data_offset, static_cast<size_t>(entry.compressed_size));
  if (entry.method == 8) {
    Bytes inflated = Bytes::allocate(static_cast<size_t>(entry.size));
    inflate_all(content, &inflated, cat("'", source_->name(), "': member '", entry.name, "'"));
    content = std::move(inflated);
  }
  check_crc(crc_of(content.data(), content.size()), entry);
  return content;
}

// By reading, so that the pages of a mapping stay out of memory.
uint32_t ZipReader::crc_in_file(const ZipEntry& entry) const {
  constexpr uint64_t kPart = 1 << 18;
  Bytes part = Bytes::allocate(static_cast<size_t>(std::min(entry.size, kPart)));
  uLong crc = ::crc32(0, nullptr, 0);
  for (uint64_t at = 0; at < entry.size; at += kPart) {
    const auto count = static_cast<size_t>(std::min(kPart, entry.size - at));
    source_->read(entry.data_offset + at, part.mutable_data(), count);
    crc = ::crc32(crc, part.data(), static_cast<uInt>(count));
  }
  return static_cast<uint32_t>(crc);
}

Bytes ZipReader::view(const std::string& name) const {
  const ZipEntry& entry = entry_of(name);
  if (entry.method != 0) return read(entry);
  Bytes content = source_->view(entry.data_offset, static_cast<size_t>(entry.size));
  check_crc(content.read_only() ? crc_in_file(entry) : crc_of(content.data(), content.size()),
            entry);
  return content;
}

}  // namespace pt2q
