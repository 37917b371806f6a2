#pragma once

#include <memory>

#include "image/block_image.h"

namespace vireo::image {

/// Stands for what lies behind an image that is opened alone: `bytes` of zeroes.
std::unique_ptr<BlockImage> empty_layer(u64 bytes);

/// For errors of images that name another: how a user allows to open it.
inline constexpr std::string_view reference_hint{
    "an image's content does not choose which files are read: allow it with --follow-backing "
    "(vireo image) or --disk PATH,follow-backing (vireo run)"};

}  // namespace vireo::image
