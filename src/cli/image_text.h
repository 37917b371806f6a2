#pragma once

#include <string>
#include <vector>

#include "image/operations/describe.h"

namespace vireo::cli {

/// A heading and a line for each.
std::string snapshot_table(std::vector<image::SnapshotInfo> const& snapshots);

}  // namespace vireo::cli
