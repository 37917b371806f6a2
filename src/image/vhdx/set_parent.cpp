#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "image/backend.h"
#include "image/vhdx/file_header.h"
#include "image/vhdx/log_replay.h"
#include "image/vhdx/structure.h"
#include "image/vhdx/vhdx_operations.h"

namespace vireo::image::vhdx {

std::vector<std::byte> locator_bytes(ParentReference const& parent) {
  auto windows = parent.path;
  auto const absolute = windows.starts_with('/');
  if (!absolute) std::ranges::replace(windows, '/', '\\');
  auto const pairs = std::vector<std::pair<std::string, std::string>>{
      {"parent_linkage", guid_text(parent.data_write)},
      {absolute ? "absolute_win32_path" : "relative_path", windows}};
  auto bytes = std::vector<std::byte>(20 + pairs.size() * 12);
  store_le(bytes.data(), vhdx_locator);
  store_le<u16>(bytes.data() + 18, static_cast<u16>(pairs.size()));
  for (auto index = std::size_t{0}; index < pairs.size(); ++index) {
    auto const key = to_utf16(pairs[index].first);
    auto const value = to_utf16(pairs[index].second);
    auto* const pair = bytes.data() + 20 + index * 12;
    store_le<u32>(pair, static_cast<u32>(bytes.size()));
    store_le<u32>(pair + 4, static_cast<u32>(bytes.size() + key.size()));
    store_le<u16>(pair + 8, static_cast<u16>(key.size()));
    store_le<u16>(pair + 10, static_cast<u16>(value.size()));
    bytes.insert(bytes.end(), key.begin(), key.end());
    bytes.insert(bytes.end(), value.begin(), value.end());
  }
  return bytes;
}

namespace {

constexpr u64 first_sector{512};

/// The metadata table, whose first sector is written in one piece.
struct Table {
  Storage const& storage;
  Region region;
  std::vector<std::byte> bytes;

  u64 count() const { return load_le<u16>(bytes.data() + metadata_at::count); }
  std::byte* entry(u64 index) { return bytes.data() + metadata_at::entries + index * metadata_at::entry_bytes; }
  std::optional<u64> find(UniqueId const& id) {
    for (auto index = u64{0}; index < count(); ++index) {
      if (load_unique_id(entry(index)) == id) return index;
    }
    return std::nullopt;
  }
  Region place(u64 index) {
    return {load_le<u32>(entry(index) + metadata_at::entry_offset),
            load_le<u32>(entry(index) + metadata_at::entry_length)};
  }
  Result<> write() {
    if (metadata_at::entries + (count() + 1) * metadata_at::entry_bytes > first_sector) {
      return fail(Errc::unsupported,
                  fmt::format("{}: VHDX: has so many metadata items that its parent cannot be "
                              "changed in one step",
                              storage.path()));
    }
    TRY(storage.write(region.offset, ConstBytes{bytes}.first(first_sector)));
    return storage.sync();
  }
  void remove(u64 index) {
    for (auto next = index + 1; next < count(); ++next) {
      std::copy_n(entry(next), metadata_at::entry_bytes, entry(next - 1));
    }
    std::fill_n(entry(count() - 1), metadata_at::entry_bytes, std::byte{0});
    store_le<u16>(bytes.data() + metadata_at::count, static_cast<u16>(count() - 1));
  }
  void add(UniqueId const& id, Region const& at) {
    auto* const fresh = entry(count());
    store_le(fresh, id);
    store_le<u32>(fresh + metadata_at::entry_offset, static_cast<u32>(at.offset));
    store_le<u32>(fresh + metadata_at::entry_length, static_cast<u32>(at.length));
    store_le<u32>(fresh + metadata_at::entry_flags, metadata_at::is_required);
    store_le<u16>(bytes.data() + metadata_at::count, static_cast<u16>(count() + 1));
  }
  /// Behind or between the items.
  Result<u64> room_for(u64 length) {
    auto at = metadata_at::table_bytes;
    for (auto moved = true; moved;) {
      moved = false;
      for (auto index = u64{0}; index < count(); ++index) {
        auto const item = place(index);
        if (item.offset >= at + length || item.end() <= at) continue;
        at = align_up(item.end(), 8);
        moved = true;
      }
    }
    if (at + length <= region.length) return at;
    return fail(Errc::unsupported, fmt::format("{}: VHDX: no room for its parent's path", storage.path()));
  }
};

Result<> write_flag(Table& table, bool child) {
  auto const index = table.find(item::file_parameters);
  if (!index) return fail(Errc::corrupt, fmt::format("{}: VHDX: no file parameters", table.storage.path()));
  auto const at = table.region.offset + table.place(*index).offset + 4;
  auto flags = std::vector<std::byte>(4);
  TRY(table.storage.read(at, flags));
  auto const others = load_le<u32>(flags.data()) & ~has_parent;
  store_le<u32>(flags.data(), others | (child ? has_parent : 0));
  TRY(table.storage.write(at, flags));
  return table.storage.sync();
}

}  // namespace

/// A locator without the flag counts for nothing, the flag without a locator would be damage.
Result<> set_parent(Storage const& storage, Backing const& parent) {
  auto header = TRY(read_file_header(storage));
  auto patched = PatchedFile{storage};
  TRY(replay_log(storage, header, patched));
  auto const regions = TRY(read_regions(patched, {header.log_offset, header.log_length}));
  auto const info = TRY(read_disk_info(patched, regions.metadata));
  if (info.leaves_blocks_allocated) {
    return fail(Errc::unsupported, fmt::format("{}: VHDX: a fixed image has no parent", storage.path()));
  }
  auto table = Table{storage, regions.metadata, std::vector<std::byte>(metadata_at::table_bytes)};
  TRY(storage.read(table.region.offset, table.bytes));
  auto const old = table.find(item::parent_locator);
  if (parent.path.empty()) {
    TRY(write_flag(table, false));
    if (old) table.remove(*old);
    return table.write();
  }
  auto const below = TRY(Storage::open(name_beside(storage.path(), parent.path), false, CacheMode::writeback));
  auto const locator =
      locator_bytes({.path = parent.path, .data_write = TRY(read_file_header(below)).data_write});
  auto const at = TRY(table.room_for(locator.size()));
  TRY(storage.write(table.region.offset + at, locator));
  TRY(storage.sync());
  if (old) table.remove(*old);
  table.add(item::parent_locator, {at, locator.size()});
  TRY(table.write());
  return write_flag(table, true);
}

}  // namespace vireo::image::vhdx
