#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "image/block_image.h"
#include "image/block_map/block_map.h"
#include "vocab/guarded.h"

namespace vireo::image::block_map {

/// The layer below: what absent blocks hold.
struct Below {
  std::shared_ptr<BlockImage> image;  // null: zeroes
  u64 start{};                        // where this disk begins in it, bytes
};

/// A disk whose blocks a BlockMap places in a file. Guest data moves outside the lock, which covers the map and
/// the space. Tables reach the file when a flush asks for it, or when too many are dirty, always behind the
/// data that they map; a place given up is used again only when no table in the file and no access names it.
class MappedImage final : public BlockImage {
 public:
  struct Shape {
    u64 bytes{};
    u32 sector{512};
    u64 block{};          // bytes, a power of two
    u64 alignment{};      // of blocks in the file
    bool knows_zero{};    // the map can say `zero`
    bool packs{};         // written blocks are packed
    bool keeps_places{};  // blocks that have a place keep it
    u64 end_of_file{};    // new blocks go behind
    std::string_view log_name;
  };
  MappedImage(std::shared_ptr<Storage const> storage, std::unique_ptr<BlockMap> map, Shape const& shape,
              Below below);
  ~MappedImage() override;

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
  using Epoch = u64;
  using Kind = BlockState::Kind;
  class DataAccess;
  class Claim;
  struct Run {
    BlockState state;
    u64 length{};  // bytes from the offset asked for
  };
  struct GivenUp {
    u64 offset{};
    u64 length{};
    Epoch epoch{};
    bool durable{};  // nothing in the file refers to it
  };

  Result<> check_write(u64 at, u64 length);
  Result<> announce_first_write();
  Result<> finish_write();
  bool below_covers(u64 block) const { return block * shape_.block < below_bytes_; }

  Result<Run> find_run(u64 at, u64 length);
  Result<u64> read_some(u64 at, Bytes into);
  Result<> read_below(u64 at, Bytes into);
  Result<> read_packed(u64 block, BlockState const& state, u64 within, Bytes into);

  Result<u64> write_some(u64 at, ConstBytes from);
  Result<u64> write_new_blocks(Lock& lock, u64 at, ConstBytes from);
  Result<> fill(Space::Place const& place, u64 start, u64 at, ConstBytes from);
  Result<> write_packed(Lock& lock, u64 at, ConstBytes from, BlockState const& old);
  Result<> complete_partial(Lock& lock, u64 block, BlockState const& old);

  Result<u64> zero_some(u64 at, u64 length, bool may_unmap);
  Result<bool> clear_block(u64 block);
  void give_up(BlockState const& state);

  Result<> write_tables();
  Result<> make_room();
  Result<> close();
  std::vector<GivenUp> take_unused(std::size_t durable);

  std::shared_ptr<Storage const> storage_;
  Shape shape_;
  Below below_;
  u64 below_bytes_{};

  RankedMutex<LockRank::image> mutex_;  // covers what follows
  std::condition_variable_any claims_change_;
  std::unique_ptr<BlockMap> map_;
  Space space_;
  std::set<u64> claimed_;  // blocks on their way to a new place
  std::vector<GivenUp> given_up_;
  std::map<Epoch, u32> in_flight_;
  Epoch epoch_{0};

  std::mutex writing_tables_;  // one at a time; taken before mutex_, never inside it
  std::mutex first_write_;     // likewise
  std::atomic<bool> announced_{};

  struct Unpacked {
    u64 place{};
    std::vector<std::byte> bytes;
  };
  std::mutex unpacked_mutex_;
  std::shared_ptr<Unpacked const> unpacked_;  // the last packed block read
};

}  // namespace vireo::image::block_map
