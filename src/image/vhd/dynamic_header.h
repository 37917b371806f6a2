#pragma once

#include <string>
#include <vector>

#include "image/vhd/footer.h"

namespace vireo::image::vhd {

/// The header of dynamic and differencing disks, every number checked against its bounds and the file's size.
struct DynamicHeader {
  struct Locator {
    u32 platform{};
    u64 at{};
    u32 length{};
  };
  u64 table_at{};
  u32 entries{};
  u32 block{};
  UniqueId parent_id{};
  u32 parent_time_stamp{};
  std::string parent_name;
  std::vector<Locator> locators{};

  /// Of the sectors that say which sectors of a block are there.
  u64 bitmap_bytes() const { return align_up(align_up(block / 512, 8) / 8, 512); }
};

Result<DynamicHeader> read_dynamic_header(Storage const& storage, Footer const& footer);
std::vector<std::byte> encode_dynamic_header(DynamicHeader const& header);

/// The file that the header and its locators lead to, whose UUID is the one named. Errc::not_found, or
/// Errc::corrupt when all that were found are of other UUIDs.
Result<std::string> find_parent(Storage const& child, DynamicHeader const& header);

/// How a child names its parent: the header's fields for it, and the locators' text, which goes to
/// `locators_at`.
struct ParentReference {
  DynamicHeader header{};
  std::vector<std::byte> locator_data{};
  u64 bytes{};  // of the parent's disk
};
Result<ParentReference> refer_to_parent(std::string const& path, std::string const& parent, u64 locators_at);

}  // namespace vireo::image::vhd
