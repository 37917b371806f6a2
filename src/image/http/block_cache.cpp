#include "image/http/block_cache.h"

namespace vireo::image::http {

Result<BlockCache::Block> BlockCache::get(u64 number, Fetch const& fetch) {
  auto lock = std::unique_lock{mutex_};
  while (true) {
    if (auto const found = blocks_.find(number); found != blocks_.end()) {
      order_.splice(order_.begin(), order_, found->second.place);
      return found->second.block;
    }
    if (under_way_.insert(number).second) break;
    fetched_.wait(lock);
  }
  lock.unlock();
  auto bytes = fetch(number);
  lock.lock();
  under_way_.erase(number);
  fetched_.notify_all();
  if (!bytes) return std::unexpected{std::move(bytes).error()};
  auto block = std::make_shared<std::vector<std::byte> const>(std::move(*bytes));
  put(number, block);
  return block;
}

void BlockCache::put(u64 number, Block const& block) {
  if (blocks_.size() >= most_) {
    blocks_.erase(order_.back());
    order_.pop_back();
  }
  order_.push_front(number);
  blocks_[number] = {block, order_.begin()};
}

}  // namespace vireo::image::http
