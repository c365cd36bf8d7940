#include "base/file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/strings.h"
#include "error_message.h"
#include "io_test_util.h"

namespace pt2q {
namespace {

using pt2q_test::read_text;
using pt2q_test::TempDir;
using pt2q_test::write_text;

TEST(AtomicFile, ReplacesTheFileAtCommitOnly) {
  const TempDir dir;
  const std::string path = dir / "model.bin";
  write_text(path, "old");
  ::chmod(path.c_str(), 0640);
  {
    AtomicFile file(path);
    file.write("new content");
    EXPECT_EQ(read_text(path), "old");
    file.commit();
  }
  EXPECT_EQ(read_text(path), "new content");
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640U);
  EXPECT_EQ(dir.file_count(), 1U);
}

TEST(AtomicFile, WithoutCommitNothingChanges) {
  const TempDir dir;
  const std::string path = dir / "model.bin";
  write_text(path, "old");
  {
    AtomicFile file(path);
    file.write(std::string(3 << 20, 'x'));
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(dir.file_count(), 1U);
}

TEST(AtomicFile, FollowsSymbolicLinks) {
  const TempDir dir;
  write_text(dir / "real", "old");
  ASSERT_EQ(::symlink("real", (dir / "link").c_str()), 0);
  AtomicFile file(dir / "link");
  file.write("new");
  file.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "link"));
  EXPECT_EQ(read_text(dir / "real"), "new");
}

std::string message_of(const std::function<void()>& fn) {
  return testing::error_message<FileError>(fn);
}

TEST(AtomicFile, FullDiskIsReported) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
  const std::string message = message_of([] {
    AtomicFile file("/dev/full");
    file.write(std::string(4096, 'x'));
    file.commit();
  });
  EXPECT_NE(message.find("/dev/full"), std::string::npos) << message;
  EXPECT_NE(message.find("No space left on device"), std::string::npos) << message;
  struct stat info {};
  ASSERT_EQ(::stat("/dev/full", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));  // the device was not replaced by a file
}

// A file size limit makes write() fail in the middle, as a full disk does.
TEST(AtomicFile, FailedWriteKeepsTheOldFileAndRemovesTheTemporary) {
  const TempDir dir;
  const std::string path = dir / "model.bin";
  write_text(path, "old");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit saved{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &saved), 0);
  const rlimit tight{2 << 20, saved.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string message = message_of([&] {
    AtomicFile file(path);
    file.write(std::string(5 << 20, 'x'));
    file.commit();
  });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &saved), 0);
  EXPECT_NE(message.find(path), std::string::npos) << message;
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(dir.file_count(), 1U);
}

TEST(AtomicFile, MissingOrForbiddenDirectory) {
  const TempDir dir;
  EXPECT_NE(message_of([&] { AtomicFile file(dir / "none/model.bin"); }).find("No such file"),
            std::string::npos);
  EXPECT_NE(message_of([&] { AtomicFile file(dir / "."); }).find("directory"), std::string::npos);
}

// An ordinary user's rights while it lives: root may write to read-only directories.
class WithoutPrivileges {
 public:
  static constexpr uid_t kNobody = 65534;

  explicit WithoutPrivileges(const std::vector<std::string>& owned) : user_(::geteuid()) {
    if (user_ != 0) return;
    for (const std::string& path : owned) {
      if (::chown(path.c_str(), kNobody, static_cast<gid_t>(-1)) != 0) std::abort();
    }
    if (::seteuid(kNobody) != 0) std::abort();
  }
  ~WithoutPrivileges() {
    if (::seteuid(user_) != 0) std::abort();
  }
  WithoutPrivileges(const WithoutPrivileges&) = delete;
  WithoutPrivileges& operator=(const WithoutPrivileges&) = delete;

 private:
  uid_t user_;
};

TEST(AtomicFile, ReadOnlyDirectoryKeepsTheOldFile) {
  const TempDir dir;
  const std::string locked = dir / "locked";
  std::filesystem::create_directory(locked);
  write_text(locked + "/model.bin", "old");
  ::chmod(locked.c_str(), 0500);
  {
    const WithoutPrivileges user({dir / "", locked, locked + "/model.bin"});
    const std::string message = message_of([&] { AtomicFile file(locked + "/model.bin"); });
    EXPECT_NE(message.find("Permission denied"), std::string::npos) << message;
    EXPECT_NE(message.find(locked), std::string::npos) << message;
    EXPECT_EQ(read_text(locked + "/model.bin"), "old");
  }
  ::chmod(locked.c_str(), 0700);
}

TEST(Source, ReadsRangesAndRefusesOthers) {
  const TempDir dir;
  write_text(dir / "data", "0123456789");
  const auto source = open_file(dir / "data");
  EXPECT_EQ(source->size(), 10U);
  EXPECT_EQ(source->read(3, 4).text(), "3456");
  EXPECT_EQ(source->read(10, 0).size(), 0U);
  EXPECT_THROW(source->read(7, 4), FileError);
  EXPECT_THROW(source->read(~uint64_t{0}, 2), FileError);
  std::filesystem::resize_file(dir / "data", 4);  // cut while it is open
  EXPECT_THROW(source->read(3, 4), FileError);
  EXPECT_THROW(open_file(dir / "none"), FileError);
  EXPECT_THROW(open_file(dir / "."), FileError);
}

TEST(Strings, Utf8) {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "a\xc2\x80z"})
    EXPECT_TRUE(is_utf8(good)) << good;
  // stray and missing continuations, overlong forms, a surrogate, beyond U+10FFFF
  for (const char* bad : {"\x80", "\xc3", "a\xe2\x82", "\xc3z", "\xc0\x80", "\xe0\x80\x80",
                          "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(ByteReader, ReadsLittleEndianAndStopsAtTheEnd) {
  const std::string text("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", 15);
  const Bytes bytes = Bytes::copy_of(text);
  ByteReader reader(bytes, "test");
  EXPECT_EQ(reader.u8(), 0x01);
  EXPECT_EQ(reader.u16(), 0x0302);
  EXPECT_EQ(reader.u32(), 0x07060504U);
  EXPECT_EQ(reader.u64(), 0x0f0e0d0c0b0a0908U);
  EXPECT_THROW(reader.u8(), FileError);
  reader.seek(0);
  EXPECT_THROW(reader.bytes(16), FileError);
  EXPECT_THROW(reader.until('\x7f'), FileError);
  EXPECT_EQ(reader.until('\x03').size(), 2U);
  EXPECT_THROW(reader.seek(16), FileError);
}

}  // namespace
}  // namespace pt2q
