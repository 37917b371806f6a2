#pragma once

#include <optional>

#include "image/image_format.h"
#include "image/vhdx/structure.h"

namespace vireo::image::vhdx {

extern ImageFormat const format;

/// The parent's path, from the locator: relative to the child, else absolute.
std::optional<std::string> parent_path(Storage const& storage, DiskInfo const& info);

}  // namespace vireo::image::vhdx
