#pragma once

#include "vocab/bytes.h"

namespace vireo::image::blocks {

inline constexpr u64 sector{512};

/// One bit a sector, the first in the highest bit of the first byte (VHD specification 1.0, "Block Allocation
/// Table and Data Blocks").
bool sector_present(ConstBytes bitmap, u64 number);
/// How many sectors from `first`, at most `most`, are as the first is.
u64 equal_sectors(ConstBytes bitmap, u64 first, u64 most);
void mark_present(Bytes bitmap, u64 first, u64 count);

}  // namespace vireo::image::blocks
