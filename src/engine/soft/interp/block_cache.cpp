#include "engine/soft/interp/block_cache.h"

#include <algorithm>

namespace vireo::engine::soft {

namespace {
constexpr u32 front_entries(BlockCache::Size size) { return size == BlockCache::Size::whole ? 65536 : 2048; }
constexpr u32 buckets(BlockCache::Size size) { return size == BlockCache::Size::whole ? 524288 : 8192; }
constexpr std::size_t max_bytes(BlockCache::Size size) {
  return std::size_t{size == BlockCache::Size::whole ? 128u : 3u} << 20;
}
}  // namespace

BlockCache::BlockCache(Size size)
    : front_mask_{front_entries(size) - 1},
      max_bytes_{max_bytes(size)},
      front_(front_entries(size)),
      buckets_(buckets(size)) {
  forget_all();
}
BlockCache::~BlockCache() = default;

Block* BlockCache::find(u64 key) {
  for (auto* block = buckets_[bucket(key)]; block != nullptr; block = block->chain) {
    if (block->key == key) return block;
  }
  return nullptr;
}

void BlockCache::insert(Block* block) {
  auto** at = &buckets_[bucket(block->key)];
  block->chain = *at;
  while (*at != nullptr && (*at)->key != block->key) at = &(*at)->chain;
  if (*at != nullptr) {  // an older version of the same code
    auto* const old = *at;
    *at = old->chain;
    old->key = ~u64{};  // links to it find nothing
    if (block->chain == old) block->chain = old->chain;
  }
  buckets_[bucket(block->key)] = block;
}

void BlockCache::forget_all() {
  none_.key = ~u64{};
  none_.links[0] = none_.links[1] = &none_;
  std::ranges::fill(front_, FrontEntry{});
  std::ranges::fill(buckets_, nullptr);
  chunks_.clear();
  chunk_used_ = chunk_bytes;
  used_ = 0;
}

void* BlockCache::allocate(std::size_t bytes) {
  bytes = (bytes + 63) & ~std::size_t{63};
  if (chunk_used_ + bytes > chunk_bytes) {
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(chunk_bytes + 64));
    chunk_used_ = 0;
    used_ += chunk_bytes;
  }
  auto* const chunk = chunks_.back().get();
  // SOUND: rounds an address up within the chunk, which has 64 bytes to spare.
  auto const start = (reinterpret_cast<u64>(chunk) + 63) & ~u64{63};
  auto* const result = reinterpret_cast<void*>(start + chunk_used_);
  chunk_used_ += bytes;
  return result;
}

}  // namespace vireo::engine::soft
