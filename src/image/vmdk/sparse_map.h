#pragma once

#include "image/block_map/block_map.h"
#include "image/block_map/page_cache.h"
#include "image/vmdk/sparse_header.h"

namespace vireo::image::vmdk {

using block_map::BlockState;
using block_map::Space;

/// Parts of the file that hold no guest data, so that no table entry can lead a guest onto them.
class MetadataRanges {
 public:
  void add(u64 offset, u64 length) { ranges_.push_back({offset, offset + length}); }
  /// Sorts and joins. False: two of them overlap.
  bool settle();
  bool touches(u64 offset, u64 length) const;
  /// After settle(): behind all others.
  void append(u64 offset, u64 length) { ranges_.push_back({offset, offset + length}); }

 private:
  struct Range {
    u64 from{};
    u64 to{};
  };
  std::vector<Range> ranges_;
};

/// Grain directory and grain tables of a hosted sparse or COWD extent. Order of writing: grain tables (both
/// copies), then directories that name new tables.
class SparseMap final : public block_map::BlockMap {
 public:
  static Result<std::unique_ptr<SparseMap>> open(Storage const& storage, SparseHeader const& header);

  Result<BlockState> state_of(u64 block) override;
  Result<> set(u64 block, BlockState const& state, Space& space) override;
  u64 absent_run(u64 block) const override;
  bool any_dirty() const override { return pages_.any_dirty() || directory_dirty_; }
  bool crowded() const override { return pages_.crowded(); }
  Stages take_dirty() override;
  void written(Stages const& stages, bool success) override;
  Result<> commit(Stages const& stages) override { return block_map::write_stages(*storage_, stages); }
  Result<> before_first_write() override;
  Result<> unpack(u64 block, BlockState const& state, Bytes into) const override;
  Result<std::vector<std::byte>> pack(u64 block, ConstBytes from) const override;

 private:
  using Page = block_map::PageCache::Page;
  SparseMap(Storage const& storage, SparseHeader const& header, u64 end);
  Result<std::vector<u32>> read_directory(u64 at, std::string_view name) const;
  Result<> guard_metadata();
  Result<Page*> table(u64 number);
  Result<> make_table(u64 number, Space& space);
  Result<u32> place_of_table(Space& space);
  Result<u64> packed_length(u64 offset) const;
  std::unexpected<Error> corrupt(std::string_view what, u64 index, u64 offset) const;
  bool knows_zero() const { return (header_.flags & sparse_flag::zeroed_grain) != 0; }

  Storage const* storage_;
  SparseHeader header_;
  u64 end_;  // the first byte behind every grain
  std::vector<u32> directory_;
  std::vector<u32> redundant_;  // empty: none
  MetadataRanges metadata_;     // for writers only
  block_map::PageCache pages_;
  bool directory_dirty_{};
  bool directory_taken_{};
};

}  // namespace vireo::image::vmdk
