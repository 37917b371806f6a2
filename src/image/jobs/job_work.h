#pragma once

#include <functional>
#include <memory>

#include "image/bitmaps/dirty_bitmap.h"
#include "image/jobs/job_control.h"
#include "image/jobs/live_disk.h"

namespace vireo::image {

/// Called before a disk goes on in another image, while it stands still; an error keeps it where it is. For who
/// keeps a disk's name: after a crash it must be opened there.
using OnMove = std::function<Result<>(std::string const& disk, DiskSource const& now)>;

struct JobPlace {
  std::shared_ptr<LiveDisk> disk;
  std::string name;
  OnMove on_move;
};

/// What a kind of job does.
class JobWork {
 public:
  virtual ~JobWork() = default;
  /// At the instant of the start, while the disk stands still.
  virtual Result<> install(LiveDisk::Inside& disk) = 0;
  /// Likewise, when it, or another disk's job of the same instant, could not be installed.
  virtual void uninstall(LiveDisk::Inside& disk) = 0;
  /// It was never installed: what was made goes.
  virtual void abandon() {}
  /// On the job's thread. Cleans up, however it ends.
  virtual Result<> run(JobControl& control) = 0;
};

using MadeWork = Result<std::unique_ptr<JobWork>>;
MadeWork make_work(StreamSpec const& spec, JobPlace place, JobControl& control);
MadeWork make_work(CommitSpec const& spec, JobPlace place, JobControl& control);
MadeWork make_work(MirrorSpec const& spec, JobPlace place, JobControl& control);
MadeWork make_work(BackupSpec const& spec, JobPlace place, JobControl& control);

/// The bitmaps of an image that is good for something, and what becomes of them where the disk goes on.
std::vector<DirtyBitmap> bitmaps_of(BlockImage& image);
void give_bitmaps(BlockImage& image, std::vector<DirtyBitmap> bitmaps);

}  // namespace vireo::image
