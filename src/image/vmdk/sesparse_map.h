#pragma once

#include "image/block_map/block_map.h"
#include "image/block_map/page_cache.h"
#include "image/vmdk/sparse_header.h"

namespace vireo::image::vmdk {

/// Grain directory and grain tables of an ESXi seSparse extent, for reading only.
class SeSparseMap final : public block_map::BlockMap {
 public:
  static Result<std::unique_ptr<SeSparseMap>> open(Storage const& storage, SparseHeader const& header);

  Result<block_map::BlockState> state_of(u64 block) override;
  Result<> set(u64 block, block_map::BlockState const& state, block_map::Space& space) override;
  u64 absent_run(u64 block) const override;
  Result<> commit(Stages const&) override { return {}; }

 private:
  SeSparseMap(Storage const& storage, SparseHeader const& header, u64 file_bytes);
  std::unexpected<Error> corrupt(std::string_view what, u64 index, u64 entry) const;

  Storage const* storage_;
  SparseHeader header_;
  u64 file_bytes_;
  std::vector<u64> directory_;
  block_map::PageCache pages_;
};

}  // namespace vireo::image::vmdk
