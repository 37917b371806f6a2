#pragma once

#include <atomic>
#include <optional>

#include "image/bitmaps/dirty_bitmap.h"
#include "image/jobs/job_control.h"
#include "image/jobs/live_disk.h"
#include "image/jobs/piece.h"
#include "image/jobs/range_lock.h"

namespace vireo::image {

/// Makes a target the same as a disk in use, and keeps it so. At first the guest's changes are only marked, and
/// copied later; once synchronous they go to both, so that nothing new is marked and the marks come to an end.
class Mirroring final : public DiskFilter {
 public:
  static Result<std::shared_ptr<Mirroring>> create(BlockImage& target, u64 bytes, JobControl& control);
  void before(BlockImage& disk, Change const& change) override;
  void after(BlockImage& disk, Change const& change, bool done) override;

  // For the job's thread.
  void mark(u64 at, u64 length);
  u64 dirty_bytes() const;
  /// While the disk stands still.
  void set_synchronous(bool on) { synchronous_ = on; }
  bool synchronous() const { return synchronous_; }
  bool went_round() const { return went_round_; }
  /// Copies the next marked piece; yields its length, 0 when nothing is marked.
  Result<u64> copy_next(LiveDisk& disk, bool compare);
  /// All that is marked, while the disk stands still; then the target is flushed.
  Result<> copy_rest(BlockImage& disk);
  /// Whether the last error was the target's; an error that the guest's thread met.
  bool failed_at_target() const { return at_target_; }
  std::optional<Error> take_error();

 private:
  Mirroring(BlockImage& target, DirtyBitmap dirty, JobControl& control)
      : target_{target}, control_{control}, dirty_{std::move(dirty)} {}
  std::optional<DirtyRange> take_next();
  Result<> forward(BlockImage& disk, Change const& change);

  BlockImage& target_;
  JobControl& control_;
  RangeLock ranges_;  // while synchronous
  mutable std::mutex mutex_;
  DirtyBitmap dirty_;
  std::optional<Error> error_;
  u64 next_{};
  bool went_round_{};
  std::atomic<bool> synchronous_{};  // changes while the disk stands still
  bool at_target_{};
  Piece piece_;
};

}  // namespace vireo::image
