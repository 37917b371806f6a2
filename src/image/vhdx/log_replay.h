#pragma once

#include "image/vhdx/file_header.h"
#include "image/vhdx/patched_file.h"

namespace vireo::image::vhdx {

/// Brings what the log holds into the file, if it may be written to (the log is empty then), else into
/// `patched`. A log without a valid sequence: Errc::corrupt.
Result<> replay_log(Storage const& storage, FileHeader& header, PatchedFile& patched);

}  // namespace vireo::image::vhdx
