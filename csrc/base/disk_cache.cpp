#include "base/disk_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

namespace fs = std::filesystem;

// Part of every path: entries of another version are not looked at.
constexpr const char* kVersion = "v1";
constexpr const char* kMagic = "pt2q cache 1\n";
constexpr size_t kHead = 13 + 4 + 4 + 4;  // magic, checksum, sizes of key and value
constexpr uint64_t kLargestEntry = uint64_t{16} << 20;
constexpr unsigned kStoresPerSweep = 32;           // looking at every entry takes time
constexpr auto kLeftover = std::chrono::hours(1);  // age of temporary files nobody will finish

uint64_t fnv1a(const std::string& text, uint64_t start) {
  uint64_t hash = start;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string number(size_t value) {
  std::string out;
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  return out;
}

uint32_t checksum(const std::string& text) {
  return static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

std::string entry_text(const std::string& key, const std::string& value) {
  const std::string body = number(key.size()) + number(value.size()) + key + value;
  return kMagic + number(checksum(body)) + body;
}

// The value, when `content` is a whole entry of this key.
std::optional<std::string> value_in(const std::string& content, const std::string& key) {
  const size_t start = kHead + key.size();
  if (content.size() < start) return std::nullopt;
  const std::string value = content.substr(start);
  if (content != entry_text(key, value)) return std::nullopt;
  return value;
}

std::string default_directory() {
  const auto variable = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string(text == nullptr ? "" : text);
  };
  if (variable("PT2Q_CACHE") == "0") return "";
  if (const std::string chosen = variable("PT2Q_CACHE_DIR"); !chosen.empty()) return chosen;
  if (const std::string xdg = variable("XDG_CACHE_HOME"); starts_with(xdg, "/"))
    return xdg + "/pt2q";
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/pt2q";
}

// Whether a new file of this name holds all of it.
bool write_file(const std::string& path, const std::string& content) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t count = ::write(fd, content.data() + done, content.size() - done);
    if (count < 0) break;
    done += static_cast<size_t>(count);
  }
  return ::close(fd) == 0 && done == content.size();
}

}  // namespace

DiskCache::DiskCache(std::string directory, uint64_t max_bytes)
    : directory_(std::move(directory)), max_bytes_(max_bytes) {}

DiskCache DiskCache::open() { return DiskCache(default_directory()); }

std::string DiskCache::path_of(const std::string& key) const {
  const uint64_t first = fnv1a(key, 0xcbf29ce484222325ULL);
  return cat(directory_, "/", kVersion, "/", hex(first),
             hex(fnv1a(key, first ^ 0x9e3779b97f4a7c15ULL)));
}

std::optional<std::string> DiskCache::find(const std::string& key) const {
  if (!enabled()) return std::nullopt;
  const std::string path = path_of(key);
  try {
    const auto file = open_file(path);
    if (file->size() > kLargestEntry) return std::nullopt;
    const Bytes content = file->read(0, static_cast<size_t>(file->size()));
    auto value = value_in(std::string(content.text()), key);
    if (value) ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // used now
    return value;
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool DiskCache::store(const std::string& key, const std::string& value) const {
  static std::atomic<unsigned> count{0};
  if (!enabled() || key.size() + value.size() + kHead > kLargestEntry) return false;
  const std::string path = path_of(key);
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) return false;
  const unsigned number_of_this = count++;
  const std::string temporary = cat(path, ".", ::getpid(), ".", number_of_this, ".tmp");
  if (!write_file(temporary, entry_text(key, value)) ||
      ::rename(temporary.c_str(), path.c_str()) != 0) {
    ::unlink(temporary.c_str());
    return false;
  }
  if (number_of_this % kStoresPerSweep == 0) evict();
  return true;
}

// What another process removes meanwhile does not matter.
void DiskCache::evict() const {
  struct Entry {
    fs::file_time_type used;
    uint64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator it(cat(directory_, "/", kVersion), error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    const auto used = it->last_write_time(gone);
    const uint64_t bytes = gone ? 0 : it->file_size(gone);
    if (gone) continue;
    if (it->path().extension() == ".tmp") {
      if (fs::file_time_type::clock::now() - used > kLeftover) fs::remove(it->path(), gone);
      continue;
    }
    entries.push_back({used, bytes, it->path()});
    total += bytes;
  }
  if (total <= max_bytes_) return;
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& e : entries) {
    if (total <= max_bytes_ / 10 * 9) return;
    fs::remove(e.path, error);
    total -= e.bytes;
  }
}

}  // namespace pt2q
