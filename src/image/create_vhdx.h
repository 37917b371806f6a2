#pragma once

#include <string>

#include "vocab/integers.h"
#include "vocab/numbers.h"
#include "vocab/result.h"

namespace vireo::image {

struct VhdxOptions {
  bool fixed{};        // all blocks have their place from the start
  std::string parent;  // makes a child of it; the path as written: relative ones count from the image's folder
  u64 block{2 * MiB};  // bytes, a power of two from 1 MiB to 256 MiB
  u32 logical_sector{512};  // or 4096
};

/// Makes an empty VHDX image of `size` bytes, rounded up to a sector; 0 takes the parent's size. A file of that
/// name must not exist (Errc::busy). A child has its parent's sectors; the parent is opened, with its
/// references.
Result<> create_vhdx(std::string const& path, u64 size, VhdxOptions const& options = {});

}  // namespace vireo::image
