#pragma once

#include <span>

#include "image/image_format.h"

namespace vireo::image {

/// In the order of probing; raw, which anything is, stands last.
std::span<ImageFormat const* const> image_formats();
/// Null when there is none of that name.
ImageFormat const* find_format(std::string_view name);

}  // namespace vireo::image
