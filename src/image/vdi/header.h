#pragma once

#include <vector>

#include "image/storage.h"
#include "image/unique_id.h"
#include "image/vdi/spec.h"

namespace vireo::image::vdi {

/// The header as read, every number checked against its bounds and the file's size.
struct Header {
  ImageType type{ImageType::dynamic};
  u64 table_at{};
  u64 data_at{};
  u64 bytes{};  // of the disk, a multiple of 512
  u32 block{};
  u32 extra{};  // bytes before each block's data
  u32 blocks{};
  u32 allocated{};
  UniqueId id{};
  UniqueId modification{};
  UniqueId parent_id{};
  UniqueId parent_modification{};

  u64 stride() const { return u64{block} + extra; }
};

/// Versions and types of no known kind: Errc::unsupported. Nonsense: Errc::corrupt with the field.
Result<Header> read_header(Storage const& storage);
/// A header block for a new file.
std::vector<std::byte> encode_header(Header const& header);

/// The file beside `child` (see README.md) whose image UUID is `id`. Errc::not_found.
Result<std::string> find_parent(std::string const& child, UniqueId const& id);

}  // namespace vireo::image::vdi
