#pragma once

#include <functional>

#include "image/block_image.h"

namespace vireo::image {

struct Progress {
  u64 done{};  // bytes of the disk
  u64 total{};
};
using Report = std::function<void(Progress const&)>;

/// Makes the disk `to` equal to `from` and writes only where they differ; `to` is as long, or longer.
Result<> copy_differences(BlockImage& from, BlockImage& to);

/// Runs work(at, length) for all pieces of `bytes`, by `jobs` threads; the first error ends it.
Result<> in_pieces(u64 bytes, u64 piece, u32 jobs, Report const& report,
                   std::function<Result<>(u64 at, u64 length)> const& work);

}  // namespace vireo::image
