#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>

#include "image/block_image.h"
#include "image/blocks/layout.h"
#include "image/blocks/page_cache.h"
#include "vocab/guarded.h"

namespace vireo::image::blocks {

/// A disk of equal blocks, which lie anywhere in the file. What is absent comes from the parent, or is zero.
class BlockMappedImage final : public BlockImage {
 public:
  BlockMappedImage(Storage storage, std::unique_ptr<Layout> layout, std::unique_ptr<BlockImage> parent);
  ~BlockMappedImage() override;

  Geometry geometry() const override;
  Result<> read(u64 at, Bytes into) override;
  ConstBytes view(u64 at, u64 length) override;
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override;
  Result<Extent> extent_at(u64 at) override;
  Result<Place> place_at(u64 at) override;

 private:
  using Lock = std::unique_lock<RankedMutex<LockRank::image>>;
  using Kind = Block::Kind;
  /// Bytes of one block that are of one kind.
  struct Run {
    Block block;
    Kind kind{};
    u64 file_at{};  // with data
    u64 length{};
  };
  /// What to write: bytes, or zeroes.
  struct Source {
    ConstBytes bytes{};
    u64 length{};
    bool zeroes{};
    bool may_unmap{};
    Source part(u64 from, u64 count) const {
      return {zeroes ? bytes : bytes.subspan(from, count), count, zeroes, may_unmap};
    }
  };

  Result<> check_write(u64 at, u64 length) const;
  Result<> begin_write();
  Result<> write_all(u64 at, Source source);
  Result<> finish_write();

  // With the lock held.
  Result<Page*> table_page(u64 number);
  Result<Block> block_of(u64 number);
  Result<> set_block(u64 number, Block const& block);
  Result<Page*> bitmap_of(u64 number, Block const& block);
  Result<Run> find_run(u64 at, u64 length);
  Result<Layout::NewBlock> take_new_block();

  Result<u64> read_some(u64 at, Bytes into);
  Result<> read_parent(u64 at, Bytes into);

  Result<u64> write_some(u64 at, Source const& source);
  Result<u64> clear_some(u64 at, u64 length);
  bool covers_block(u64 at, u64 length) const;
  bool below_is_zero(u64 at) const { return at >= parent_bytes_; }
  Result<> write_absent(Lock& lock, u64 at, Source const& source, Run const& run);
  Result<> begin_block(Layout::NewBlock const& fresh);
  Result<> fill_block(Layout::NewBlock const& fresh, u64 at, Source const& source, Kind before);
  Result<> fill_sectors(u64 block_place, u64 at, Source const& source);
  Result<> copy_from_parent(u64 place, u64 at, u64 end);
  Result<> store(u64 place, Source const& source);

  Result<> write_tables();

  Storage storage_;
  std::unique_ptr<Layout> layout_;  // covered by mutex_
  std::unique_ptr<BlockImage> parent_;
  Layout::Shape shape_;
  u64 parent_bytes_{};

  RankedMutex<LockRank::image> mutex_;  // covers all that follows up to settled_
  PageCache table_;
  PageCache bitmaps_;
  bool changed_{};           // since opening
  std::set<u64> busy_;       // blocks that get a place, or sectors, at the moment
  std::vector<u64> unused_;  // places whose filling failed
  std::condition_variable_any settled_;

  // One thread writes tables at a time. Taken before mutex_, never inside it.
  std::mutex writing_tables_;
};

}  // namespace vireo::image::blocks
