#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/soft/interp/block_cache.h"
#include "engine/soft/translate/block.h"
#include "vocab/result.h"

namespace vireo::engine::soft::translate {

/// Host code of one vCPU and what is known of it. Shared memory mapped twice, so that no mapping is both
/// writable and executable. Used by the vCPU's thread only.
class CodeCache {
 public:
  /// Errors: no_space when the host refuses executable memory.
  static Result<std::unique_ptr<CodeCache>> create(u32 capacity);
  ~CodeCache();
  CodeCache(CodeCache const&) = delete;
  CodeCache& operator=(CodeCache const&) = delete;

  u8* writable(u32 offset) { return writable_ + offset; }
  u8 const* executable(u32 offset) const { return executable_ + offset; }
  u32 used() const { return used_; }
  u32 capacity() const { return capacity_; }
  void take(u32 end) { used_ = end; }
  bool contains(u8 const* address) const { return address >= executable_ && address < executable_ + capacity_; }
  u32 offset_of(u8 const* address) const { return static_cast<u32>(address - executable_); }
  /// Points the rel32 at `patch` to `target`.
  void link(u32 patch, u8 const* target);

  /// Forgets all code behind `keep` and gives its memory back.
  void clear(u32 keep);
  /// What code and notes take, in bytes. Not more than capacity() as long as its user looks at it before each
  /// block.
  u64 footprint() const;
  /// Of used(), code that nobody will run again.
  u64 dead() const { return dead_; }

  // ---- pages ----
  /// Code of the page at `host`, for `linear` unless relative. Created when it is new.
  /// `pointer` and `limit` as in PageCode.
  PageCode& page(std::byte* host, u64 linear, u16 mode, bool relative, std::byte* second_host = nullptr,
                 i64 pointer = 0, u32 limit = 0);
  /// All that is made of the page at `host`.
  std::vector<PageCode*> pages_at(std::byte* host);
  std::vector<PageCode*> all_pages();

  // ---- blocks ----
  static constexpr u32 no_block{~u32{0}};
  [[gnu::always_inline]] u32 find(PageCode const& page, u16 offset, bool grouped) const {
    auto const wanted = hash(key_of(page, offset, grouped));
    auto const mask = table_.size() - 1;
    for (auto at = std::size_t{wanted};; ++at) {
      auto const& entry = table_[at & mask];
      if (entry.hash == 0) return no_block;
      if (entry.hash != wanted || entry.block == no_block) continue;
      auto const& block = blocks[entry.block];
      if (block.page == &page && block.start == offset && block.grouped == grouped) return entry.block;
    }
  }
  void insert(u32 block);
  /// The block will not be found or run any more.
  void forget(u32 block);
  /// The block whose code lies around `offset`, or no_block.
  u32 block_at(u32 offset) const;

  // ---- places where code may stop ----
  /// Of the newest block.
  u32 add_site(Site const& site);
  [[gnu::always_inline]] u32 block_of_site(u32 site) const {
    auto block = marks_[site / sites_per_mark];
    while (block + 1 < blocks.size() && blocks[block + 1].first_site <= site) ++block;
    return block;
  }
  /// Where the sites of a block end.
  u32 sites_end(u32 block) const {
    return block + 1 < blocks.size() ? blocks[block + 1].first_site : static_cast<u32>(sites.size());
  }
  /// The number of an instruction for the interpreter; equal ones have one.
  u32 add_interpreted(GenericInstruction const& instruction);

  std::vector<Block> blocks;
  std::vector<Site> sites;
  std::vector<Exit> exits;
  std::deque<GenericInstruction> interpreted;

 private:
  CodeCache(u8* writable, u8* executable, u32 capacity);
  struct Entry {  // which block it really is says the block
    u32 hash{};   // 0: free
    u32 block{no_block};
    bool live() const { return hash != 0 && block != no_block; }
  };
  static u64 key_of(PageCode const& page, u16 offset, bool grouped) {
    return u64{page.number + 1} << 13 | (grouped ? 0u : 0x1000u) | offset;
  }
  u64 key_of(Block const& block) const { return key_of(*block.page, block.start, block.grouped); }
  static u32 hash(u64 key) { return static_cast<u32>(key * 0x9e37'79b9'7f4a'7c15 >> 32) | 1; }
  void grow();
  void put(Entry entry);

  u8* writable_;
  u8* executable_;
  u32 capacity_;
  u32 used_{};
  std::vector<Entry> table_;
  u32 filled_{};
  u64 dead_{};
  static constexpr u32 sites_per_mark{32};
  std::vector<u32> marks_;  // the block of every 32nd site
  std::vector<std::unique_ptr<PageCode>> pages_;
  std::unordered_multimap<std::byte*, PageCode*> by_host_;
  std::unordered_map<u64, u32> interpreted_by_bytes_;
};

}  // namespace vireo::engine::soft::translate
