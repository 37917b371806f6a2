#pragma once

#include "image/block_map/block_map.h"
#include "image/block_map/page_cache.h"
#include "image/vhdx/log_writer.h"
#include "image/vhdx/structure.h"

namespace vireo::image::vhdx {

using block_map::BlockState;

/// The block allocation table, in pages of 4 KiB, and the sector bitmaps. Changes go through the log.
class Bat final : public block_map::BlockMap {
 public:
  Bat(std::unique_ptr<PatchedFile> file, FileHeader const& header, Regions const& regions, DiskInfo const& info,
      u64 file_bytes, bool keeps_identity = false);

  Result<BlockState> state_of(u64 block) override;
  Result<> set(u64 block, BlockState const& state, block_map::Space& space) override;
  Result<block_map::SectorRun> sector_run(u64 block, u64 within) override;
  bool any_dirty() const override { return pages_.any_dirty(); }
  bool crowded() const override { return pages_.crowded(); }
  Stages take_dirty() override;
  void written(Stages const&, bool success) override { pages_.written(success); }
  Result<> commit(Stages const& stages) override;
  Result<> before_first_write() override;
  Result<> close() override;

 private:
  using Page = block_map::PageCache::Page;
  Result<Page*> page_of(u64 entry);
  Result<Page const*> bitmap_page(u64 chunk, u64 page);
  u64 entry_of(u64 block) const { return block + block / info_.chunk_ratio(); }
  Result<> check_place(std::string_view what, u64 entry, u64 offset, u64 length) const;

  std::unique_ptr<PatchedFile> file_;
  Storage const* storage_;
  FileHeader header_;
  std::mutex header_mutex_;  // the first write and the log change it
  LogWriter log_;
  Regions regions_;
  DiskInfo info_;
  bool keeps_identity_;
  u64 end_;  // the first byte behind every block
  block_map::PageCache pages_;
  block_map::PageCache bitmaps_;
};

}  // namespace vireo::image::vhdx
