#pragma once

#include <memory>

#include "image/block_image.h"

namespace vireo::image {

/// An image that is open already, as what lies behind another: read only from there.
std::unique_ptr<BlockImage> shared_layer(std::shared_ptr<BlockImage> image);

}  // namespace vireo::image
