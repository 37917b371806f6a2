#pragma once

#include <memory>
#include <vector>

#include "image/block_image.h"
#include "image/operations/create.h"

namespace vireo::image {

/// Makes an image of a part of a disk.
Result<> copy_range(BlockImage& source, u64 start, u64 length, CreateRequest target);

/// Several disks in a row, as one for reading.
std::unique_ptr<BlockImage> join_disks(std::vector<std::unique_ptr<BlockImage>> disks);

}  // namespace vireo::image
