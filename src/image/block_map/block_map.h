#pragma once

#include "image/block_map/block_state.h"
#include "image/block_map/space.h"

namespace vireo::image::block_map {

/// A format's tables, from blocks of the disk to places in the file. Changes stay in memory until taken for
/// writing. MappedImage calls under its lock, but for the functions that say otherwise.
class BlockMap {
 public:
  /// Each stage is stable before the next begins.
  using Stages = std::vector<std::vector<PendingWrite>>;

  virtual ~BlockMap() = default;
  /// Places outside the file or on metadata: Errc::corrupt.
  virtual Result<BlockState> state_of(u64 block) = 0;
  virtual Result<> set(u64 block, BlockState const& state, Space& space) = 0;
  /// So many blocks from here on share one missing table; 0: look at each.
  virtual u64 absent_run(u64) const { return 0; }
  /// For partial blocks.
  virtual Result<SectorRun> sector_run(u64 block, u64 within);

  virtual bool any_dirty() const { return false; }
  virtual bool crowded() const { return false; }
  virtual Stages take_dirty() { return {}; }
  virtual void written(Stages const&, bool) {}
  /// Without the lock, one thread at a time; guest data is stable before. On return the tables are stable too.
  virtual Result<> commit(Stages const& stages) = 0;
  /// Without the lock, once, before the first change of the disk's content.
  virtual Result<> before_first_write() { return {}; }
  /// Without the lock, when all is written.
  virtual Result<> close() { return {}; }

  /// For packed blocks, without the lock: fills `into`, or makes the bytes to be written.
  virtual Result<> unpack(u64 block, BlockState const& state, Bytes into) const;
  virtual Result<std::vector<std::byte>> pack(u64 block, ConstBytes from) const;
};

/// Writes the stages, each stable before the next.
Result<> write_stages(Storage const& storage, BlockMap::Stages const& stages);

}  // namespace vireo::image::block_map
