// Results worth keeping between processes: small entries in a directory, found by the content of
// their keys. A cache can only save time: whatever goes wrong with it is a miss.
//
// The directory is PT2Q_CACHE_DIR, else $XDG_CACHE_HOME/pt2q, else ~/.cache/pt2q; PT2Q_CACHE=0
// turns the cache off. Any number of processes may use one directory: entries are written under
// another name and renamed, carry their key and a checksum, and are ignored when either is wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace pt2q {

class DiskCache {
 public:
  // The one of this process, as the environment says at the time of the call.
  static DiskCache open();
  // In `directory`, made when the first entry is stored; "": off. All entries together take about
  // `max_bytes` at most, looked at now and then: the ones not used for longest go first.
  explicit DiskCache(std::string directory, uint64_t max_bytes = uint64_t{64} << 20);

  bool enabled() const { return !directory_.empty(); }
  const std::string& directory() const { return directory_; }

  std::optional<std::string> find(const std::string& key) const;
  // False when the entry could not be stored.
  bool store(const std::string& key, const std::string& value) const;
  // Where the entry of a key is, or would be.
  std::string path_of(const std::string& key) const;

 private:
  void evict() const;

  std::string directory_;
  uint64_t max_bytes_;
};

}  // namespace pt2q
