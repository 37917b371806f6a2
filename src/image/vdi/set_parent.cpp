#include <fmt/format.h>

#include <filesystem>

#include "image/backend.h"
#include "image/vdi/header.h"
#include "image/vdi/vdi_operations.h"

namespace vireo::image::vdi {

/// The header's sector is written in one piece.
Result<> set_parent(Storage const& storage, Backing const& parent) {
  auto const header = TRY(read_header(storage));
  auto above = Header{};
  auto const type = parent.path.empty() ? ImageType::dynamic : ImageType::differencing;
  if (!parent.path.empty()) {
    auto const path = name_beside(storage.path(), parent.path);
    auto const below = TRY(Storage::open(path, false, CacheMode::writeback));
    above = TRY(read_header(below));
    auto const found = TRY(find_parent(storage.path(), above.id));
    auto failure = std::error_code{};
    if (!std::filesystem::equivalent(found, path, failure)) {
      return fail(Errc::invalid,
                  fmt::format("{}: vdi: would find {} as its parent, not {}; both have the same UUID",
                              storage.path(), found, path));
    }
  }
  if (header.type == ImageType::fixed) {
    return fail(Errc::unsupported, fmt::format("{}: vdi: a fixed image has no parent", storage.path()));
  }
  auto sector = std::vector<std::byte>(header_bytes);
  TRY(storage.read(0, sector));
  store_le<u32>(sector.data() + header_at::image_type, static_cast<u32>(type));
  store_le(sector.data() + header_at::parent_uuid, above.id);
  store_le(sector.data() + header_at::parent_modification_uuid, above.modification);
  TRY(storage.write(0, sector));
  return storage.sync();
}

}  // namespace vireo::image::vdi
