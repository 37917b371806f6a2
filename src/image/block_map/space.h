#pragma once

#include <vector>

#include "image/storage.h"

namespace vireo::image::block_map {

/// Where new blocks and tables go: places given back in this session, then the end of the file. Not for several
/// threads at once.
class Space {
 public:
  struct Place {
    u64 offset{};
    u64 blocks{};
    bool zeroed{};  // reads as zeroes
  };
  /// `alignment`: a power of two, of blocks in the file.
  Space(Storage const& storage, u64 block_bytes, u64 alignment, u64 end)
      : storage_{&storage}, block_{block_bytes}, alignment_{alignment}, end_{end} {}

  /// At least one and at most `wanted` blocks in a row.
  Result<Place> allocate_blocks(u64 wanted);
  /// At the end of the file.
  Result<Place> allocate_bytes(u64 bytes, u64 alignment);
  void free_block(u64 offset) { free_.push_back(offset); }
  /// The first byte behind all that was given out.
  u64 end() const { return end_; }
  /// Makes the file reach end().
  Result<> settle() const;

 private:
  Storage const* storage_;
  u64 block_;
  u64 alignment_;
  u64 end_;
  std::vector<u64> free_;
};

}  // namespace vireo::image::block_map
