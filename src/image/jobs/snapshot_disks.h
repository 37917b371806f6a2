#pragma once

#include <map>

#include "image/jobs/job_work.h"

namespace vireo::image {

/// A new image over a disk's, which the disk goes on in; the old one is only read from then on.
struct DiskSnapshot {
  JobPlace place;
  std::string path;      // of the new image
  std::string format{};  // empty: the disk's own, or qcow2 where that has no overlays
  std::map<std::string, std::string> options{};
};
/// All at one instant, or none: on an error each disk is as before.
Result<> snapshot_disks(std::vector<DiskSnapshot> const& snapshots);

}  // namespace vireo::image
