#pragma once

#include <string>
#include <vector>

#include "image/operations/describe.h"

namespace vireo::image {

/// Snapshots of a disk that nobody has opened. qcow2 holds its own. Other formats have a file beside the image,
/// which travels with it: a qcow2 image of the same size with an internal snapshot for each of theirs, each
/// holding what differs from the one before. Snapshots that its making was interrupted for leave none behind.
std::string snapshot_sidecar(std::string const& path);

struct SnapshotTarget {
  std::string path;
  std::string format{};  // empty: by content
  bool follow_references{};
};
Result<std::vector<SnapshotInfo>> list_snapshots(SnapshotTarget const& target);
Result<> create_snapshot(SnapshotTarget const& target, std::string const& name);
/// Makes the disk what it was then; interrupted in a sidecar format: apply it again. `which`: a name or an id.
Result<> apply_snapshot(SnapshotTarget const& target, std::string const& which);
Result<> delete_snapshot(SnapshotTarget const& target, std::string const& which);

}  // namespace vireo::image
