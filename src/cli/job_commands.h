#pragma once

#include "cli/image_tool.h"

namespace vireo::cli {

// Verbs of `vireo disk` that start jobs on a disk of a machine that runs.
Result<> disk_snapshot(Arguments arguments);
Result<> disk_stream(Arguments arguments);
Result<> disk_commit(Arguments arguments);
Result<> disk_mirror(Arguments arguments);
Result<> disk_backup(Arguments arguments);

}  // namespace vireo::cli
