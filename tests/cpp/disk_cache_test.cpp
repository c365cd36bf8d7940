#include "base/disk_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "environment.h"
#include "io_test_util.h"

namespace pt2q::testing {
namespace {

namespace fs = std::filesystem;

using pt2q_test::read_text;
using pt2q_test::TempDir;
using pt2q_test::write_text;

struct DiskCacheTest : public ::testing::Test {
  size_t files() const {
    size_t count = 0;
    for (const auto& e : fs::recursive_directory_iterator(directory))
      count += e.is_regular_file() ? 1 : 0;
    return count;
  }
  const TempDir temporary;
  const std::string directory = temporary / "cache";
};

TEST_F(DiskCacheTest, KeepsValuesForOtherObjects) {
  const DiskCache cache(directory);
  EXPECT_EQ(cache.find("a"), std::nullopt);
  EXPECT_TRUE(cache.store("a", std::string("1\0 2", 4)));
  EXPECT_TRUE(cache.store("b", ""));
  const DiskCache other(directory);
  EXPECT_EQ(other.find("a"), std::string("1\0 2", 4));
  EXPECT_EQ(other.find("b"), "");
  EXPECT_TRUE(other.store("a", "new"));
  EXPECT_EQ(cache.find("a"), "new");
  EXPECT_EQ(files(), 2U);
}

TEST_F(DiskCacheTest, DamagedEntriesAreMissesAndWrittenAgain) {
  const DiskCache cache(directory);
  ASSERT_TRUE(cache.store("key", "some value"));
  const std::string path = cache.path_of("key");
  const std::string whole = read_text(path);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    write_text(path, damaged);
    EXPECT_EQ(cache.find("key"), std::nullopt) << "byte " << i;
    write_text(path, whole.substr(0, i));
    EXPECT_EQ(cache.find("key"), std::nullopt) << "cut at " << i;
  }
  write_text(path, whole + "x");
  EXPECT_EQ(cache.find("key"), std::nullopt);
  EXPECT_TRUE(cache.store("key", "again"));
  EXPECT_EQ(cache.find("key"), "again");
}

TEST_F(DiskCacheTest, AnEntryOfAnotherKeyIsAMiss) {
  const DiskCache cache(directory);
  ASSERT_TRUE(cache.store("key", "value"));
  fs::copy_file(cache.path_of("key"), cache.path_of("kez"));
  EXPECT_EQ(cache.find("kez"), std::nullopt);
}

TEST_F(DiskCacheTest, ManyWritersLeaveOneWholeEntry) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const DiskCache cache(directory);
      const std::string mine(1000, static_cast<char>('a' + t));
      for (int i = 0; i < 50; ++i) {
        if (!cache.store("key", mine)) ++wrong;
        const auto found = cache.find("key");
        if (!found || found->size() != 1000 ||
            found->find_first_not_of((*found)[0]) != std::string::npos)
          ++wrong;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(files(), 1U);
}

TEST_F(DiskCacheTest, TheLeastRecentlyUsedGoFirst) {
  const DiskCache cache(directory, 10000);
  const std::string value(1000, 'x');
  for (int i = 0; i < 9; ++i) {
    const std::string key = std::to_string(i);
    ASSERT_TRUE(cache.store(key, value));
    // Older than all that follow, in seconds: clocks of file systems are coarse.
    fs::last_write_time(cache.path_of(key),
                        fs::file_time_type::clock::now() - std::chrono::seconds(100 - i));
  }
  EXPECT_TRUE(cache.find("0").has_value());                           // used now
  for (int i = 0; i < 32; ++i) EXPECT_TRUE(cache.store("9", value));  // one of them looks
  EXPECT_TRUE(cache.find("0").has_value());
  EXPECT_TRUE(cache.find("9").has_value());
  EXPECT_FALSE(cache.find("1").has_value());
  EXPECT_LE(files() * 1000, 10000U);
}

TEST_F(DiskCacheTest, ADirectoryThatCannotBeMadeIsNoCache) {
  fs::create_directory(directory);
  write_text(directory + "/file", "");
  const DiskCache cache(directory + "/file/inside");
  EXPECT_FALSE(cache.store("key", "value"));
  EXPECT_EQ(cache.find("key"), std::nullopt);
}

TEST_F(DiskCacheTest, TheEnvironmentSaysWhere) {
  Environment cache("PT2Q_CACHE"), cache_dir("PT2Q_CACHE_DIR"), xdg("XDG_CACHE_HOME"), home("HOME");
  EXPECT_FALSE(DiskCache::open().enabled());
  EXPECT_FALSE(DiskCache::open().store("key", "value"));
  home.set("/home/me");
  EXPECT_EQ(DiskCache::open().directory(), "/home/me/.cache/pt2q");
  xdg.set("/var/cache/me");
  EXPECT_EQ(DiskCache::open().directory(), "/var/cache/me/pt2q");
  cache_dir.set(directory);
  EXPECT_EQ(DiskCache::open().directory(), directory);
  cache.set("0");
  EXPECT_FALSE(DiskCache::open().enabled());
}

}  // namespace
}  // namespace pt2q::testing
