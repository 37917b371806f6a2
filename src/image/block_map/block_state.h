#pragma once

#include <vector>

#include "vocab/bytes.h"
#include "vocab/integers.h"

namespace vireo::image::block_map {

/// Where a block of the disk is to be found.
struct BlockState {
  enum class Kind : u8 {
    absent,   // ask the layer below; without one: zeroes
    zero,     // zeroes, whatever lies below
    data,     // at `offset`
    partial,  // some sectors at `offset`, the others in the layer below
    packed,   // compressed, `length` bytes at `offset`
  };
  Kind kind{Kind::absent};
  u64 offset{};  // bytes from the start of the file
  u64 length{};  // bytes taken in the file; packed only
};

/// Sectors of a partial block that lie in the same layer.
struct SectorRun {
  bool present{};
  u64 length{};  // bytes from the place asked for
};

/// Bytes on their way to the file.
struct PendingWrite {
  u64 at{};
  std::vector<std::byte> bytes;
};

}  // namespace vireo::image::block_map
