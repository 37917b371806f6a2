#pragma once

#include <string>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

struct VdiOptions {
  bool fixed{};        // every block has its place from the start; else places are given as blocks are written
  std::string parent;  // not empty: a differencing image over that VDI file, a path as the caller sees it
  u32 block_bytes{1u << 20};  // a power of two, 4 KiB to 64 MiB; others' tools read nothing but 1 MiB
};

/// Makes an empty VDI image of `size` bytes, rounded up to 512; 0 takes the parent's size. A file of that name
/// must not exist (Errc::busy). A parent must lie where open_image looks for it: in the image's folder or, for
/// an image in a folder "Snapshots", in the one above.
Result<> create_vdi(std::string const& path, u64 size, VdiOptions const& options = {});

}  // namespace vireo::image
