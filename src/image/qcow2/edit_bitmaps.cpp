#include <algorithm>

#include "image/qcow2/bitmap_directory.h"
#include "image/qcow2/edit_header.h"
#include "image/qcow2/editor.h"
#include "vocab/numbers.h"

namespace vireo::image::qcow2 {
namespace {

bool all_are(ConstBytes bytes, std::byte value) {
  return std::ranges::all_of(bytes, [&](std::byte each) { return each == value; });
}

}  // namespace

Result<StoredBitmap> Editor::write_bitmap(DirtyBitmap const& bitmap) {
  auto const cluster = header_.cluster_size();
  auto table = Entries((bitmap.byte_count() + cluster - 1) >> header_.cluster_bits);
  auto data = std::vector<std::byte>(cluster);
  for (auto index = u64{0}; index < table.size() && !bitmap.inconsistent; ++index) {
    bitmap.store(index << header_.cluster_bits, data);
    if (all_are(data, std::byte{0})) continue;
    if (all_are(data, std::byte{0xff})) {
      table[index] = bitmap_all_ones;
      continue;
    }
    table[index] = TRY(allocate(cluster));
    TRY(storage_->write(table[index], data));
    if (refcounts_.crowded()) TRY(flush());
  }
  auto const at = TRY(allocate(table.size() * 8));
  TRY(write_entries(at, table));
  return StoredBitmap{
      .name = bitmap.name(),
      .table_offset = at,
      .table_size = static_cast<u32>(table.size()),
      .flags = (bitmap.enabled ? bitmap_flag::automatic : 0) | (bitmap.inconsistent ? bitmap_flag::in_use : 0),
      .type = dirty_tracking_bitmap,
      .granularity_bits = static_cast<u8>(bitmap.granularity_bits())};
}

Result<> Editor::release_bitmap(StoredBitmap const& stored) {
  auto const end = refcounts_.end_of_file();
  if (stored.table_offset % header_.cluster_size() != 0 || stored.table_offset >= end ||
      u64{stored.table_size} * 8 > end - stored.table_offset) {
    return {};  // damaged: check finds what is lost
  }
  for (auto const entry : TRY(read_entries(stored.table_offset, stored.table_size))) {
    auto const at = entry & l1_entry::offset_mask;
    if (at != 0 && at % header_.cluster_size() == 0 && at < end) TRY(release_bytes(at, 1));
  }
  return release_bytes(stored.table_offset, u64{stored.table_size} * 8);
}

/// New tables and a new directory, then the header names them, then the old ones go.
Result<> Editor::store_bitmaps(LoadedBitmaps const& bitmaps) {
  if (header_.version < 3) {
    return fail(Errc::unsupported, storage_->path() + ": qcow2 version 2 has no bitmaps; compat=1.1 does");
  }
  auto const old = read_bitmap_directory(*storage_, header_).value_or(std::vector<StoredBitmap>{});
  auto fresh = std::vector<StoredBitmap>{};
  auto gone = std::vector<StoredBitmap>{};
  for (auto const& each : old) (bitmaps.opaque.contains(each.name) ? fresh : gone).push_back(each);
  for (auto const& each : bitmaps.bitmaps) fresh.push_back(TRY(write_bitmap(each)));
  auto const directory = encode_bitmap_directory(fresh);
  if (fresh.size() > most_bitmaps || directory.size() > largest_bitmap_directory) {
    return fail(Errc::no_space, storage_->path() + ": qcow2: no room for another bitmap");
  }
  auto const at = fresh.empty() ? u64{0} : TRY(allocate(directory.size()));
  TRY(flush());
  if (!fresh.empty()) TRY(storage_->write(at, directory));
  TRY(storage_->sync());
  auto content = std::vector<std::byte>(24);
  store_be<u32>(content.data(), static_cast<u32>(fresh.size()));
  store_be<u64>(content.data() + 8, directory.size());
  store_be<u64>(content.data() + 16, at);
  auto edit = HeaderEdit{.autoclear_features = header_.autoclear_features | autoclear_bitmaps};
  auto& named = edit.extensions[extension::bitmaps];
  if (!fresh.empty()) named = std::move(content);
  if (fresh.empty()) edit.autoclear_features = header_.autoclear_features & ~autoclear_bitmaps;
  TRY(edit_header(*storage_, edit));
  auto const old_at = header_.bitmap_directory_offset;
  auto const old_bytes = header_.bitmaps == 0 ? u64{0} : header_.bitmap_directory_bytes;
  header_ = TRY(read_header(*storage_));
  for (auto const& each : gone) TRY(release_bitmap(each));
  if (!old.empty()) TRY(release_bytes(old_at, old_bytes));
  return give_back();
}

Result<LoadedBitmaps> Editor::begin_change_of_disk() {
  auto loaded = load_bitmaps(*storage_, header_);
  TRY(mark_in_use(*storage_, header_));
  return loaded;
}

Result<> Editor::end_change_of_disk(LoadedBitmaps bitmaps, u64 bytes, bool all_of_it) {
  if (bitmaps.bitmaps.empty()) return {};
  for (auto& each : bitmaps.bitmaps) {
    each.resize(bytes);
    if (all_of_it && each.enabled) each.mark_all();
  }
  return store_bitmaps(bitmaps);
}

}  // namespace vireo::image::qcow2
