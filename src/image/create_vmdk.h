#pragma once

#include <string>
#include <string_view>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

/// VMware's createType values.
enum class VmdkKind : u8 { monolithic_sparse, monolithic_flat, split_sparse, split_flat, stream_optimized };

struct VmdkOptions {
  VmdkKind kind{VmdkKind::monolithic_sparse};
  std::string parent;   // makes a child of it; the path as written: relative ones count from the image's folder
  bool zeroed_grain{};  // may say "zero" over a parent; VMware's own products before Workstation 8 know it not
  std::string_view adapter{"lsilogic"};  // or "ide", "buslogic", "legacyESX"
};

/// Makes an empty VMDK image of `size` bytes, rounded up to 512; 0 takes the parent's size. None of its files
/// may exist (Errc::busy). A child is sparse; its parent is opened, with its references.
Result<> create_vmdk(std::string const& path, u64 size, VmdkOptions const& options = {});

}  // namespace vireo::image
