#include "engine/soft/translate/code_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace vireo::engine::soft::translate {

namespace {
constexpr u32 first_table_size{1u << 14};
}

Result<std::unique_ptr<CodeCache>> CodeCache::create(u32 capacity) {
  // Shared memory without a name: perf looks into its map of names only for what has no file.
  // SOUND: a fresh mapping, and a second one of the same pages, known to nobody else.
  auto* const writable = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (writable == MAP_FAILED) return fail(Errc::no_space, "no space for translated code");
  auto* const executable = mremap(writable, 0, capacity, MREMAP_MAYMOVE);
  if (executable == MAP_FAILED || mprotect(executable, capacity, PROT_READ | PROT_EXEC) != 0) {
    munmap(writable, capacity);
    if (executable != MAP_FAILED) munmap(executable, capacity);
    return fail(Errc::no_space, "the host refuses executable memory");
  }
  return std::unique_ptr<CodeCache>{
      new CodeCache{static_cast<u8*>(writable), static_cast<u8*>(executable), capacity}};
}

CodeCache::CodeCache(u8* writable, u8* executable, u32 capacity)
    : writable_{writable}, executable_{executable}, capacity_{capacity}, table_(first_table_size) {}

CodeCache::~CodeCache() {
  munmap(writable_, capacity_);
  munmap(executable_, capacity_);
}

void CodeCache::link(u32 patch, u8 const* target) {
  auto const distance = static_cast<i32>(target - (executable_ + patch + 4));
  // SOUND: the vCPU's own thread writes, and it executes nothing of this meanwhile.
  std::memcpy(writable_ + patch, &distance, sizeof distance);
}

void CodeCache::clear(u32 keep) {
  used_ = keep;
  blocks.clear();
  sites.clear();
  exits.clear();
  interpreted.clear();
  std::ranges::fill(table_, Entry{});
  filled_ = 0;
  pages_.clear();
  by_host_.clear();
}

PageCode& CodeCache::page(std::byte* host, u64 linear, u16 mode, bool relative, std::byte* second_host,
                          i64 pointer, u32 limit) {
  auto const [from, to] = by_host_.equal_range(host);
  for (auto at = from; at != to; ++at) {
    auto& known = *at->second;
    if (known.host == host && known.mode == mode && known.relative == relative &&
        known.second_host == second_host && (relative || known.linear == linear) && known.pointer == pointer &&
        known.limit == limit) {
      return known;
    }
  }
  pages_.push_back(std::make_unique<PageCode>());
  auto& page = *pages_.back();
  page.host = host;
  page.linear = linear;
  page.mode = mode;
  page.relative = relative;
  page.second_host = second_host;
  page.pointer = pointer;
  page.limit = limit;
  page.number = static_cast<u32>(pages_.size() - 1);
  by_host_.emplace(host, &page);
  if (second_host != nullptr) by_host_.emplace(second_host, &page);
  return page;
}

void CodeCache::replace(PageCode const& old, u64 linear) {
  auto const forget = [&](std::byte* host) {
    auto const [from, to] = by_host_.equal_range(host);
    for (auto at = from; at != to; ++at) {
      if (at->second == &old) return void(by_host_.erase(at));
    }
  };
  forget(old.host);
  if (old.second_host != nullptr) forget(old.second_host);
  page(old.host, linear, old.mode, old.relative, old.second_host, old.pointer, old.limit);
}

std::vector<PageCode*> CodeCache::pages_at(std::byte* host) {
  auto found = std::vector<PageCode*>{};
  auto const [from, to] = by_host_.equal_range(host);
  for (auto at = from; at != to; ++at) found.push_back(at->second);
  return found;
}

std::vector<PageCode*> CodeCache::all_pages() {
  auto all = std::vector<PageCode*>{};
  for (auto const& page : pages_) all.push_back(page.get());
  return all;
}

void CodeCache::insert(u32 block) {
  if ((filled_ + 1) * 2 > table_.size()) grow();
  auto const key = key_of(blocks[block]);
  auto const mask = table_.size() - 1;
  for (auto at = hash(key) >> 32;; ++at) {
    auto& entry = table_[at & mask];
    if (entry.key != 0 && entry.key != key) continue;
    filled_ += entry.key == 0 ? 1 : 0;
    entry = {key, block};
    return;
  }
}

void CodeCache::forget(u32 block) {
  auto const key = key_of(blocks[block]);
  auto const mask = table_.size() - 1;
  for (auto at = hash(key) >> 32;; ++at) {
    auto& entry = table_[at & mask];
    if (entry.key == 0) return;
    if (entry.key == key) {
      if (entry.block == block) entry.block = no_block;
      return;
    }
  }
}

void CodeCache::grow() {
  auto const old = std::move(table_);
  table_.assign(old.size() * 2, {});
  filled_ = 0;
  auto const mask = table_.size() - 1;
  for (auto const& entry : old) {
    if (entry.block == no_block) continue;
    auto at = hash(entry.key) >> 32;
    while (table_[at & mask].key != 0) ++at;
    table_[at & mask] = entry;
    ++filled_;
  }
}

u32 CodeCache::block_at(u32 offset) const {
  auto const after = std::ranges::upper_bound(blocks, offset, {}, &Block::indirect_entry);
  if (after == blocks.begin()) return no_block;
  auto const number = static_cast<u32>(after - blocks.begin() - 1);
  return offset < blocks[number].code_end ? number : no_block;
}

}  // namespace vireo::engine::soft::translate
