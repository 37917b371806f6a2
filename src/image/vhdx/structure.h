#pragma once

#include <map>
#include <string>
#include <vector>

#include "image/vhdx/patched_file.h"

namespace vireo::image::vhdx {

struct Region {
  u64 offset{};
  u64 length{};
  u64 end() const { return offset + length; }
};
struct Regions {
  Region bat;
  Region metadata;
};
/// Unknown regions that are required: Errc::unsupported. Those that overlap each other or the log:
/// Errc::corrupt.
Result<Regions> read_regions(PatchedFile const& file, Region const& log);

/// What the metadata items say, every number checked.
struct DiskInfo {
  u64 bytes{};
  u64 block{};
  u32 logical_sector{512};
  u32 physical_sector{4096};
  bool leaves_blocks_allocated{};
  bool has_parent{};
  std::map<std::string, std::string> locator;  // of the parent, as UTF-8
  u64 size_at{};                               // where `bytes` stands in the file

  u64 blocks() const { return bytes / block + (bytes % block != 0 ? 1 : 0); }
  /// Payload blocks that share a sector bitmap block.
  u64 chunk_ratio() const { return sectors_per_chunk * logical_sector / block; }
  u64 bat_entries() const {
    auto const chunks = (blocks() + chunk_ratio() - 1) / chunk_ratio();
    return has_parent ? chunks * (chunk_ratio() + 1) : blocks() + chunks - 1;
  }
};
Result<DiskInfo> read_disk_info(PatchedFile const& file, Region const& metadata);

/// How a child names its parent.
struct ParentReference {
  std::string path;
  UniqueId data_write{};
};
std::vector<std::byte> locator_bytes(ParentReference const& parent);

/// UTF-16LE to UTF-8 and back. What is no valid text: "?".
std::string from_utf16(ConstBytes bytes);
std::vector<std::byte> to_utf16(std::string_view text);
/// "{01234567-89ab-...}", lower case.
std::string guid_text(UniqueId const& id);

}  // namespace vireo::image::vhdx
