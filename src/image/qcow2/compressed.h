#pragma once

#include <vector>

#include "image/qcow2/spec.h"
#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::qcow2 {

/// Where a compressed cluster lies, from its L2 entry ("Compressed Clusters Descriptor").
struct CompressedPlace {
  u64 offset{};
  u64 length{};  // at most; the data may end earlier
};
CompressedPlace compressed_place(u64 entry, u32 cluster_bits);

u64 compressed_entry(u64 offset, u64 length, u32 cluster_bits);
/// Empty when it does not get smaller.
Result<std::vector<std::byte>> compress(Compression kind, ConstBytes from);

/// Fills `into` or fails with Errc::corrupt. What follows the compressed data in `from` is ignored.
Result<> decompress(Compression kind, ConstBytes from, Bytes into);

}  // namespace vireo::image::qcow2
