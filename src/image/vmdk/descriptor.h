#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "image/storage.h"

namespace vireo::image::vmdk {

/// One line of the descriptor's extent section.
struct ExtentLine {
  enum class Access : u8 { read_write, read_only, none };
  Access access{};
  u64 sectors{};
  std::string type;  // "SPARSE", "FLAT", "ZERO", "VMFS", ...
  std::string file;  // as written; empty for ZERO
  u64 offset{};      // sectors in the file; FLAT and VMFS
};

/// The text that describes a disk: its kind, its extents and its parent.
struct Descriptor {
  u32 cid{};
  u32 parent_cid{};
  bool has_cid{};
  std::string create_type;
  std::string parent_hint;
  std::vector<ExtentLine> extents;
};

/// Nonsense: Errc::corrupt with the line's number. `where` names the file.
Result<Descriptor> parse_descriptor(std::string_view where, std::string_view text);

struct DescriptorFields {
  u32 cid{};
  u32 parent_cid{};
  std::string_view create_type;
  std::string_view parent_hint;
  std::vector<ExtentLine> extents;
  std::string_view adapter{"lsilogic"};
  u64 sectors{};
};
std::string descriptor_text(DescriptorFields const& fields);

/// Where a descriptor lies: a file of its own, or some sectors of an extent.
struct DescriptorPlace {
  u64 offset{};  // bytes
  u64 length{};
};
Result<std::string> read_descriptor(Storage const& storage, DescriptorPlace const& place);
/// Puts another content id into the text in place, on stable storage. No effect without a line for it.
Result<> write_cid(Storage const& storage, DescriptorPlace const& place, u32 cid);
/// A new content id, never one of the reserved.
u32 random_cid();

}  // namespace vireo::image::vmdk
