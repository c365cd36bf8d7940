#include "base/zip.h"

#include <zlib.h>

#include "io_test_util.h"

namespace pt2q {
namespace {

using pt2q_test::expect_prefixes_refused;
using pt2q_test::run_mutations;
using pt2q_test::source_of;

std::string write_zip(const std::vector<std::pair<std::string, std::string>>& members,
                      bool zip64 = false) {
  MemorySink sink;
  ZipWriter zip(&sink, zip64);
  for (const auto& [name, content] : members) zip.add(name, content);
  zip.finish();
  return sink.buffer;
}

void read_all(const std::string& content) {
  const ZipReader zip(source_of(content));
  for (const ZipEntry& entry : zip.entries()) zip.read(entry);
}

std::string little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
  return out;
}

// A one-member archive whose header fields can be chosen freely.
struct Forged {
  std::string name = "a/x";
  std::string data = "hello";
  uint16_t flags = 0;
  uint16_t method = 0;
  uint64_t size = 5;
  uint64_t header_offset = 0;
  std::string local_name;  // default: name
  std::string central_extra;
  uint16_t count = 1;
  int copies = 1;

  std::string build() const {
    const auto crc = static_cast<uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
    const std::string inner = local_name.empty() ? name : local_name;
    std::string out = little(0x04034b50, 4) + little(20, 2) + little(flags, 2) + little(method, 2) +
                      little(0, 4) + little(crc, 4) + little(data.size(), 4) + little(size, 4) +
                      little(inner.size(), 2) + little(0, 2) + inner + data;
    const size_t directory = out.size();
    for (int i = 0; i < copies; ++i) {
      out += little(0x02014b50, 4) + little(20, 2) + little(20, 2) + little(flags, 2) +
             little(method, 2) + little(0, 4) + little(crc, 4) + little(data.size(), 4) +
             little(size, 4) + little(name.size(), 2) + little(central_extra.size(), 2) +
             little(0, 2) + little(0, 8) + little(header_offset, 4) + name + central_extra;
    }
    const size_t bytes = out.size() - directory;
    return out + little(0x06054b50, 4) + little(0, 4) + little(count, 2) + little(count, 2) +
           little(bytes, 4) + little(directory, 4) + little(0, 2);
  }
};

TEST(Zip, RoundTripIsAligned) {
  for (const bool zip64 : {false, true}) {
    const std::string content = write_zip(
        {{"r/a", "alpha"}, {"r/empty", ""}, {"r/data/0", std::string(1000, '\7')}}, zip64);
    const ZipReader zip(source_of(content));
    ASSERT_EQ(zip.entries().size(), 3U);
    EXPECT_EQ(zip.read("r/a").text(), "alpha");
    EXPECT_EQ(zip.read("r/empty").size(), 0U);
    EXPECT_EQ(zip.read("r/data/0").text(), std::string(1000, '\7'));
    for (const ZipEntry& entry : zip.entries()) EXPECT_EQ(entry.data_offset % 64, 0U) << entry.name;
    EXPECT_THROW(zip.read("r/b"), KeyError);
  }
}

TEST(Zip, SameInputGivesTheSameBytes) {
  EXPECT_EQ(write_zip({{"a", "1"}, {"b", "2"}}), write_zip({{"a", "1"}, {"b", "2"}}));
}

TEST(Zip, ReadsDeflatedMembers) {
  const std::string text(100000, 'z');
  std::string packed(200000, '\0');
  z_stream stream{};
  ASSERT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  Forged f;
  f.method = 8;
  f.data = packed;
  f.size = text.size();
  std::string content = f.build();
  // The checksum of an archive is that of the uncompressed text.
  const auto crc = static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
  const size_t central = content.find("PK\1\2");
  content.replace(central + 16, 4, little(crc, 4));
  EXPECT_EQ(ZipReader(source_of(content)).read("a/x").text(), text);
  // A stated size that is too small, too large, or absurd.
  for (const uint64_t size : {99999ULL, 100001ULL, 4000000000ULL}) {
    std::string lie = content;
    lie.replace(central + 24, 4, little(size, 4));
    EXPECT_THROW(ZipReader(source_of(lie)).read("a/x"), FileError) << size;
  }
  ZipLimits limits;
  limits.member_bytes = 1000;
  EXPECT_THROW(ZipReader(source_of(content), limits), FileError);
}

TEST(Zip, RefusesUnsafeNames) {
  EXPECT_EQ(ZipReader(source_of(Forged().build())).read("a/x").text(), "hello");
  for (const std::string name : {"../x", "a\xff", "a/../../x", "/etc/x", "a\\x", "a\nx", "..",
                                 std::string("a\0x", 3).c_str(), ""}) {
    Forged f;
    f.name = name;
    if (name == "a") continue;
    EXPECT_THROW(ZipReader(source_of(f.build())), FileError) << name;
  }
  Forged f;
  f.name = std::string("a\0x", 3);
  EXPECT_THROW(ZipReader(source_of(f.build())), FileError);
  f.name = std::string(5000, 'a');
  EXPECT_THROW(ZipReader(source_of(f.build())), FileError);
}

TEST(Zip, RefusesContradictoryHeaders) {
  const auto refused = [](const Forged& f) {
    EXPECT_THROW(ZipReader(source_of(f.build())), Error);
  };
  Forged f;
  f.local_name = "a/y";
  refused(f);
  f = {};
  f.copies = 2;  // duplicate name
  f.count = 2;
  refused(f);
  f = {};
  f.count = 9;
  refused(f);
  f = {};
  f.flags = 1;  // encrypted
  refused(f);
  f = {};
  f.method = 12;  // bzip2
  refused(f);
  f = {};
  f.size = 6;  // stored, but two sizes
  refused(f);
  f = {};
  f.header_offset = 3000;
  refused(f);
  f = {};
  f.header_offset = 0xffffffff;  // ZIP64 offset far outside, then a ZIP64 field cut short
  f.central_extra = little(1, 2) + little(8, 2) + little(~uint64_t{0} - 5, 8);
  refused(f);
  f.central_extra = little(1, 2) + little(4, 2) + little(0, 4);
  refused(f);
}

TEST(Zip, RefusesOverlappingMembers) {
  std::string content = write_zip({{"a/1", std::string(64, 'x')}, {"a/2", std::string(64, 'x')}});
  const size_t first = content.find("PK\1\2");
  const size_t second = content.find("PK\1\2", first + 1);
  content.replace(second + 42, 4, little(0, 4));  // both at offset 0
  content.replace(second + 46, 3, "a/1");
  content.replace(first + 46, 3, "a/1");
  EXPECT_THROW(ZipReader(source_of(content)), FileError);
}

TEST(Zip, RefusesWrongChecksums) {
  std::string content = write_zip({{"a/1", std::string(64, 'x')}});
  content[content.find("xxxx")] = 'y';
  const ZipReader zip(source_of(content));
  EXPECT_THROW(zip.read("a/1"), FileError);
}

TEST(Zip, LimitsAreKept) {
  const std::string content = write_zip({{"a/1", "1"}, {"a/2", "2"}});
  ZipLimits limits;
  limits.members = 1;
  EXPECT_THROW(ZipReader(source_of(content), limits), FileError);
  limits = {};
  limits.file_bytes = content.size() - 1;
  EXPECT_THROW(ZipReader(source_of(content), limits), FileError);
}

TEST(Zip, HostileContent) {
  for (const bool zip64 : {false, true}) {
    const std::string content = write_zip({{"r/a", "alpha"}, {"r/b", std::string(70, 'b')}}, zip64);
    expect_prefixes_refused(content, read_all);
    run_mutations(content, 4000, 7, read_all);
  }
  EXPECT_THROW(read_all(std::string(100000, 'P')), FileError);
  EXPECT_THROW(read_all(std::string(70000, '\0')), FileError);
}

}  // namespace
}  // namespace pt2q
