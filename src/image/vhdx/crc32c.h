#pragma once

#include "vocab/bytes.h"

namespace vireo::image::vhdx {

/// CRC-32C (Castagnoli) of the bytes as if the four at `hole` were zeroes.
u32 crc32c(ConstBytes bytes, u64 hole);

}  // namespace vireo::image::vhdx
