#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::http {

/// Blocks by their number, the least recently used of which goes first. Any thread; a block that several want
/// at a time is fetched once.
class BlockCache {
 public:
  using Block = std::shared_ptr<std::vector<std::byte> const>;
  using Fetch = std::function<Result<std::vector<std::byte>>(u64 number)>;

  explicit BlockCache(std::size_t most) : most_{most} {}
  Result<Block> get(u64 number, Fetch const& fetch);

 private:
  struct Entry {
    Block block;
    std::list<u64>::iterator place;
  };
  void put(u64 number, Block const& block);

  std::size_t most_;
  std::mutex mutex_;
  std::condition_variable fetched_;
  std::set<u64> under_way_;
  std::list<u64> order_;  // the last used first
  std::unordered_map<u64, Entry> blocks_;
};

}  // namespace vireo::image::http
