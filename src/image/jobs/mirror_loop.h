#pragma once

#include "image/jobs/mirroring.h"

namespace vireo::image {

/// A mirroring from its first copy to its end. On success the filter is gone; on an error it still is there.
struct MirrorRun {
  LiveDisk& disk;
  Mirroring& filter;
  bool compare{};
  OnTargetError on_target_error{};
  /// Both while the disk stands still and the target is the same, flushed: go on in the target, or let it be.
  std::function<Result<>(LiveDisk::Inside&)> pivot;
  std::function<Result<>(LiveDisk::Inside&)> detach;
};
Result<> run_mirror(MirrorRun run, JobControl& control);

}  // namespace vireo::image
