#pragma once

#include <string_view>

#include "image/storage.h"

namespace vireo::image::blocks {

/// What a table entry says about a block of the disk.
struct Block {
  enum class Kind : u8 { absent, zero, data };
  Kind kind{Kind::absent};
  u64 place{};  // of its data in the file
};

/// The parts of a format that BlockMappedImage does not know. Not for several threads at once.
class Layout {
 public:
  struct Shape {
    u64 bytes{};     // of the disk, a multiple of 512
    u64 block{};     // bytes, a power of two
    u64 table_at{};  // in the file: 32 bits for each block
    u64 entries{};   // at least as many as the disk has blocks
    u64 bitmap{};    // bytes, a multiple of 512: directly before each block's data, a bit for each sector; or 0
    bool bitmap_starts_full{};  // in a new block
    bool zero_entries{};        // an entry can say zero
  };
  struct NewBlock {
    u64 place{};
    bool zeroed{};  // its data reads as zeroes
  };

  virtual ~Layout() = default;
  virtual Shape shape() const = 0;
  /// `stored` is the entry as it lies in the file. Places outside the file or on metadata: Errc::corrupt.
  virtual Result<Block> decode(Storage const& storage, u64 number, u32 stored) const = 0;
  virtual u32 encode(Block const& block) const = 0;
  /// Before the first change since opening.
  virtual Result<> begin_changes(Storage const& storage) = 0;
  /// Makes the file longer by a block. What it writes for that is in order before the table is.
  virtual Result<NewBlock> append(Storage const& storage) = 0;
};

}  // namespace vireo::image::blocks
