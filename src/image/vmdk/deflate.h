#pragma once

#include <vector>

#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::vmdk {

/// A grain as stream-optimized extents hold it: marker, zlib data (RFC 1950), zeroes up to a sector's end.
Result<std::vector<std::byte>> pack_grain(u64 first_sector, ConstBytes grain);
/// Unpacks zlib data; at least `at_least` bytes or Errc::corrupt. The rest of `into` gets zeroes.
Result<> inflate_grain(ConstBytes from, Bytes into, u64 at_least);
/// The most that a grain may take packed.
u64 largest_packed(u64 grain);

}  // namespace vireo::image::vmdk
