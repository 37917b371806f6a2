#pragma once

#include "image/block_image.h"

namespace vireo::image {

bool all_zero(ConstBytes bytes);
/// Where the first byte that is not zero lies at or behind `from`; none: the largest number.
Result<u64> first_data(BlockImage& image, u64 from);

/// Reads, with zeroes behind the end of the disk.
Result<> read_padded(BlockImage& image, u64 at, Bytes into);

/// Pieces of equal kind: calls act(start, length, zero) for parts of `bytes`, cut at multiples of `grain`,
/// joined while they are of one kind.
template <typename Act>
Result<> for_each_kind(ConstBytes bytes, u64 grain, Act act) {
  auto const kind_at = [&](u64 at) {
    return all_zero(bytes.subspan(at, std::min<u64>(grain, bytes.size() - at)));
  };
  for (auto at = u64{0}; at < bytes.size();) {
    auto const zero = kind_at(at);
    auto end = at + grain;
    while (end < bytes.size() && kind_at(end) == zero) end += grain;
    end = std::min<u64>(end, bytes.size());
    TRY(act(at, end - at, zero));
    at = end;
  }
  return {};
}

}  // namespace vireo::image
