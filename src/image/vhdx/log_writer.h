#pragma once

#include "image/block_map/block_state.h"
#include "image/vhdx/file_header.h"

namespace vireo::image::vhdx {

/// Changes tables through the log (2.3): an entry holds the changes, is stable, then they reach their places.
/// Each entry is a sequence by itself, in the two halves of the log by turns, so that the last complete one is
/// never written over. Not for several threads at once.
class LogWriter {
 public:
  LogWriter(Storage const& storage, FileHeader& header) : storage_{&storage}, header_{&header} {}

  /// Writes of 4 KiB at multiples of it. On return they are stable at their places.
  Result<> write(std::vector<block_map::PendingWrite> const& writes);
  /// The log is empty from now on.
  Result<> close();

 private:
  Result<> write_entry(std::span<block_map::PendingWrite const> writes);
  Result<std::vector<std::byte>> entry(std::span<block_map::PendingWrite const> writes, u64 at) const;

  Storage const* storage_;
  FileHeader* header_;
  UniqueId log_{};
  u64 sequence_{0};
};

}  // namespace vireo::image::vhdx
