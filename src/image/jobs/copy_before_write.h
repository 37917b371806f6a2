#pragma once

#include <optional>
#include <set>

#include "image/bitmaps/dirty_bitmap.h"
#include "image/jobs/job_control.h"
#include "image/jobs/live_disk.h"
#include "image/jobs/piece.h"

namespace vireo::image {

/// Brings a disk as it was when this was added to a target: what the guest is about to change goes there first.
class CopyBeforeWrite final : public DiskFilter {
 public:
  static Result<std::shared_ptr<CopyBeforeWrite>> create(BlockImage& target, u64 bytes, JobControl& control,
                                                         bool compare);
  void before(BlockImage& disk, Change const& change) override;
  void after(BlockImage&, Change const&, bool) override {}

  // For the job's thread; marking while the disk stands still.
  void mark_all() { pending_.mark_all(); }
  void mark(DirtyBitmap const& changed) { pending_.merge(changed); }
  u64 pending_bytes() const;
  /// Copies the next piece; yields its length, 0 when nothing is left.
  Result<u64> copy_next(LiveDisk& disk);

 private:
  CopyBeforeWrite(BlockImage& target, DirtyBitmap pending, JobControl& control, bool compare)
      : target_{target}, control_{control}, compare_{compare}, pending_{std::move(pending)} {}
  void preserve(BlockImage& disk, u64 granule);
  std::optional<DirtyRange> claim();
  void settle(DirtyRange const& range, Result<> const& outcome);
  bool any_busy(DirtyRange const& range) const;

  BlockImage& target_;
  JobControl& control_;
  bool compare_;
  mutable std::mutex mutex_;  // the rest
  std::condition_variable settled_;
  DirtyBitmap pending_;
  std::set<u64> busy_;  // granules on their way
  std::optional<Error> error_;
  u64 next_{};
  Piece piece_;
};

}  // namespace vireo::image
