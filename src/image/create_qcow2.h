#pragma once

#include <string>
#include <string_view>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

struct Backing {
  std::string path;         // as written into the image: relative paths count from the image's folder
  std::string_view format;  // "raw", "qcow2"
};

/// Makes an empty qcow2 (version 3) image of `size` bytes; 0 takes the backing file's size. A file of that name
/// must not exist (Errc::busy). cluster_bits: 9 to 21, 16 is the field's default.
Result<> create_qcow2(std::string const& path, u64 size, Backing const& backing = {}, u32 cluster_bits = 16);

}  // namespace vireo::image
