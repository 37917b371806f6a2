#pragma once

#include <vector>

#include "image/storage.h"
#include "image/unique_id.h"
#include "image/vhd/spec.h"

namespace vireo::image::vhd {

/// Cylinders, heads and sectors of a disk as the specification's appendix computes them.
struct DiskGeometry {
  u16 cylinders{};
  u8 heads{};
  u8 sectors_per_track{};
  u64 sectors() const { return u64{cylinders} * heads * sectors_per_track; }
  bool operator==(DiskGeometry const&) const = default;
};
DiskGeometry geometry_of(u64 sectors);

/// The ones' complement of the sum of all bytes but the checksum's four.
u32 checksum_of(ConstBytes bytes, u64 checksum_at);

struct Footer {
  DiskType type{DiskType::dynamic};
  u64 bytes{};  // of the disk, a multiple of 512
  u64 data_offset{no_offset};
  UniqueId id{};
  std::vector<std::byte> raw;  // as it stands in the file
  bool at_end{};               // else only the copy at the start is whole
};

/// Errc::corrupt with the field, or without any footer.
Result<Footer> read_footer(Storage const& storage);
std::vector<std::byte> encode_footer(Footer const& footer);

}  // namespace vireo::image::vhd
