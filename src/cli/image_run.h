#pragma once

#include "machine/config.h"
#include "vocab/result.h"

namespace vireo::cli {

/// Fills in what `config.image` of the image store stands for: kernel, initrd, command line and, unless disks
/// are named, a temporary overlay on its disk. What the configuration says already stays.
Result<> apply_image(machine::MachineConfig& config);

}  // namespace vireo::cli
