#pragma once

#include <string>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

struct VhdOptions {
  bool fixed{};        // the disk's bytes, then a footer; else places are given as blocks are written
  std::string parent;  // not empty: a differencing image over that VHD file, a path as the caller sees it
  u32 block_bytes{2u << 20};  // a power of two, 4 KiB to 64 MiB; others' tools may read nothing but 2 MiB
};

/// Makes an empty VHD image of `size` bytes, rounded up to 512, at most 2040 GiB; 0 takes the parent's size. A
/// file of that name must not exist (Errc::busy).
Result<> create_vhd(std::string const& path, u64 size, VhdOptions const& options = {});

}  // namespace vireo::image
