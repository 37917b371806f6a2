#pragma once

#include <functional>
#include <shared_mutex>

#include "vocab/bytes.h"
#include "vocab/numbers.h"
#include "vocab/result.h"

namespace vireo::image {

/// Ranges at any place over something that reads and writes whole blocks only. Any thread: a write that changes
/// a part of a block reads it, changes it and writes it, alone.
class AlignedAccess {
 public:
  using Read = std::function<Result<>(u64 at, Bytes into)>;
  using Write = std::function<Result<>(u64 at, ConstBytes from)>;

  /// `block` is a power of two.
  AlignedAccess(u64 block, Read read, Write write)
      : block_{block}, read_{std::move(read)}, write_{std::move(write)} {}

  Result<> read(u64 at, Bytes into);
  Result<> write(u64 at, ConstBytes from);
  /// The whole blocks of a range go to `act`, zeroes are written to what is left at its ends.
  Result<> zero(u64 at, u64 length, std::function<Result<>(u64 at, u64 length)> const& act);
  u64 block() const { return block_; }
  /// Before the first read or write.
  void use_blocks_of(u64 bytes) { block_ = bytes; }

 private:
  bool is_whole(u64 at, u64 length) const { return (at | length) % block_ == 0; }
  Result<> write_part(u64 at, ConstBytes from);

  u64 block_;
  Read read_;
  Write write_;
  std::shared_mutex parts_;
};

}  // namespace vireo::image
