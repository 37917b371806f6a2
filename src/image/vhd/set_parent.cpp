#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "image/backend.h"
#include "image/vhd/dynamic_header.h"
#include "image/vhd/utf16.h"
#include "image/vhd/vhd_operations.h"

namespace vireo::image::vhd {
namespace {

Result<> add_locator(ParentReference& parent, u64 locators_at, u32 platform, std::string const& path) {
  auto const encoded = utf16_from_utf8(path, std::endian::little);
  if (!encoded || encoded->size() > longest_locator) {
    return fail(Errc::invalid, fmt::format("{}: vhd: the parent's path is not UTF-8, or too long", path));
  }
  auto const at = align_up(parent.locator_data.size(), 512);
  parent.header.locators.push_back({platform, locators_at + at, static_cast<u32>(encoded->size())});
  parent.locator_data.resize(align_up(at + encoded->size(), 512));
  std::ranges::copy(*encoded, parent.locator_data.begin() + static_cast<std::ptrdiff_t>(at));
  return {};
}

Result<u32> time_stamp_of(std::string const& path) {
  auto failure = std::error_code{};
  auto const time = std::filesystem::last_write_time(path, failure);
  if (failure) return fail(Errc::io, fmt::format("{}: {}", path, failure.message()));
  auto const since_1970 = std::chrono::file_clock::to_sys(time).time_since_epoch();
  return static_cast<u32>(std::chrono::duration_cast<std::chrono::seconds>(since_1970).count() - time_zero);
}

}  // namespace

Result<ParentReference> refer_to_parent(std::string const& path, std::string const& parent, u64 locators_at) {
  auto const storage = TRY(Storage::open(parent, false, CacheMode::writeback));
  auto const above = TRY(read_footer(storage));
  auto failure = std::error_code{};
  auto const from = std::filesystem::absolute(path, failure).parent_path();
  auto const to = std::filesystem::absolute(parent, failure);
  auto relative = to.lexically_relative(from).string();
  if (relative.empty() || relative.find('\\') != std::string::npos) {
    return fail(Errc::invalid, fmt::format("{}: vhd: {} cannot be named as a parent", path, parent));
  }
  if (!relative.starts_with("..")) relative.insert(0, "./");
  std::ranges::replace(relative, '/', '\\');
  auto result = ParentReference{.bytes = above.bytes};
  result.header.parent_id = above.id;
  result.header.parent_time_stamp = TRY(time_stamp_of(parent));
  result.header.parent_name = to.filename().string();
  auto const name = utf16_from_utf8(result.header.parent_name, std::endian::big);
  if (!name || name->size() >= parent_name_units * 2) {
    return fail(Errc::invalid, fmt::format("{}: vhd: the parent's name is not UTF-8, or too long", parent));
  }
  TRY(add_locator(result, locators_at, platform::relative_utf16, relative));
  TRY(add_locator(result, locators_at, platform::absolute_utf16, to.lexically_normal().string()));
  return result;
}

namespace {

/// Where `bytes` of new locators go: the old ones stay whole until the header names the new.
Result<u64> room_for_locators(Storage const& storage, Footer const& footer, DynamicHeader const& header,
                              u64 bytes) {
  auto at = footer.data_offset + dynamic_bytes;
  auto const end = header.table_at > at ? header.table_at : u64{0};
  for (auto moved = true; moved;) {
    moved = false;
    for (auto const& each : header.locators) {
      if (each.at >= at + bytes || each.at + align_up(each.length, 512) <= at) continue;
      at = each.at + align_up(each.length, 512);
      moved = true;
    }
  }
  if (at + bytes <= end) return at;
  return fail(Errc::unsupported,
              fmt::format("{}: vhd: no room for the path of another parent; rebase it while nobody "
                          "has it open",
                          storage.path()));
}

Result<> write_type(Storage const& storage, Footer const& footer, DiskType type) {
  auto raw = footer.raw;
  store_be<u32>(raw.data() + footer_at::disk_type, static_cast<u32>(type));
  store_be<u32>(raw.data() + footer_at::checksum, checksum_of(raw, footer_at::checksum));
  // The one at the end counts.
  auto const bytes = TRY(storage.size());
  if (footer.at_end) TRY(storage.write(bytes - footer_bytes, raw));
  TRY(storage.sync());
  TRY(storage.write(0, raw));
  return storage.sync();
}

}  // namespace

/// The footer says whether there is a parent, the header which. A disk without one does not look at the
/// header's.
Result<> set_parent(Storage const& storage, Backing const& parent) {
  auto const footer = TRY(read_footer(storage));
  if (footer.type == DiskType::fixed) {
    return fail(Errc::unsupported, fmt::format("{}: vhd: a fixed image has no parent", storage.path()));
  }
  auto const header = TRY(read_dynamic_header(storage, footer));
  auto reference = ParentReference{};
  if (!parent.path.empty()) {
    auto const path = name_beside(storage.path(), parent.path);
    auto const bytes = TRY(refer_to_parent(storage.path(), path, 0)).locator_data.size();
    auto const room = TRY(room_for_locators(storage, footer, header, bytes));
    reference = TRY(refer_to_parent(storage.path(), path, room));
    TRY(storage.write(room, reference.locator_data));
    TRY(storage.sync());
  } else {
    TRY(write_type(storage, footer, DiskType::dynamic));
  }
  reference.header.table_at = header.table_at;
  reference.header.entries = header.entries;
  reference.header.block = header.block;
  TRY(storage.write(footer.data_offset, encode_dynamic_header(reference.header)));
  TRY(storage.sync());
  return parent.path.empty() ? Result<>{} : write_type(storage, footer, DiskType::differencing);
}

}  // namespace vireo::image::vhd
