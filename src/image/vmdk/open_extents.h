#pragma once

#include <filesystem>

#include "image/block_map/mapped_image.h"
#include "image/image_format.h"
#include "image/vmdk/sparse_header.h"
#include "image/vmdk/vmdk_image.h"

namespace vireo::image::vmdk {

/// A sparse extent of any kind as a disk of `bytes`.
Result<std::unique_ptr<BlockImage>> open_sparse(std::shared_ptr<Storage const> storage,
                                                SparseHeader const& header, u64 bytes, block_map::Below below);

/// Named after the descriptor, beside it, and no link: belongs to the disk.
bool is_own(std::filesystem::path const& descriptor, std::string const& name);

/// Opens what the descriptor's lines name, beside the file at `path`. Without `follow_references` only files
/// named after it as VMware's tools do ("disk-flat.vmdk", "disk-s001.vmdk"): else Errc::denied.
Result<std::vector<VmdkImage::Part>> open_extents(std::string const& path, Descriptor const& descriptor,
                                                  OpenContext const& context,
                                                  std::shared_ptr<BlockImage> const& parent);

}  // namespace vireo::image::vmdk
