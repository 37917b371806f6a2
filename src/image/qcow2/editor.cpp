#include "image/qcow2/editor.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/qcow2/compressed.h"
#include "image/qcow2/metadata.h"
#include "image/qcow2/qcow2_format.h"
#include "vocab/numbers.h"

namespace vireo::image::qcow2 {

Result<Editor> Editor::open(Storage const& storage) {
  auto header = TRY(read_header(storage));
  if ((header.incompatible_features & (incompatible::dirty | incompatible::corrupt)) != 0) {
    return fail(
        Errc::corrupt,
        fmt::format("{}: qcow2: marked dirty or corrupt; run \"check -r all\" on it first", storage.path()));
  }
  auto refcounts = TRY(Refcounts::open(storage, header));
  auto snapshots = TRY(read_snapshots(storage, header));
  if (storage.writable()) TRY(clear_unknown_autoclear(storage, header));
  return Editor{storage, std::move(header), std::move(refcounts), std::move(snapshots)};
}

Result<Editor::Entries> Editor::read_entries(u64 at, u64 count) const {
  auto raw = std::vector<std::byte>(count * 8);
  TRY(storage_->read(at, raw));
  auto entries = Entries(count);
  for (auto index = u64{0}; index < count; ++index) entries[index] = load_be<u64>(raw.data() + index * 8);
  return entries;
}

Result<> Editor::write_entries(u64 at, Entries const& entries) const {
  auto raw = std::vector<std::byte>(align_up(entries.size() * 8, header_.cluster_size()));
  for (auto index = std::size_t{0}; index < entries.size(); ++index) {
    store_be<u64>(raw.data() + index * 8, entries[index]);
  }
  return storage_->write(at, raw);
}

Result<u64> Editor::allocate(u64 bytes) {
  auto const cluster = header_.cluster_size();
  return TRY(refcounts_.allocate(align_up(std::max<u64>(bytes, 1), cluster) >> header_.cluster_bits, true))
      .offset;
}

Result<> Editor::release_bytes(u64 at, u64 bytes) {
  if (bytes == 0) return {};
  for (auto cluster = at >> header_.cluster_bits; cluster <= (at + bytes - 1) >> header_.cluster_bits;
       ++cluster) {
    if (TRY(refcounts_.count_of(cluster)) == 1) freed_.push_back(cluster);
    TRY(refcounts_.release(cluster));
  }
  return {};
}

template <typename Act>
Result<> Editor::for_each_use(Entries const& l1, Act act) {
  auto tables = u64{0};
  for (auto const entry : l1) {
    auto const table = entry & l1_entry::offset_mask;
    if (table == 0) continue;
    if (++tables > refcounts_.end_of_file() >> header_.cluster_bits || table % header_.cluster_size() != 0 ||
        table >= refcounts_.end_of_file()) {
      return fail(Errc::corrupt,
                  fmt::format("{}: qcow2: an L2 table at offset {:#x}; run \"check -r all\" on it",
                              storage_->path(), table));
    }
    auto const entries = TRY(read_entries(table, header_.cluster_size() / 8));
    for (auto word = std::size_t{0}; word < entries.size(); word += header_.l2_words()) {
      auto const each = entries[word];
      if ((each & l2_entry::compressed) != 0) {
        auto const place = compressed_place(each, header_.cluster_bits);
        TRY(act(place.offset, place.length));
      } else if ((each & l2_entry::offset_mask) != 0 && !header_.external_data()) {
        TRY(act(each & l2_entry::offset_mask, u64{1}));
      }
    }
    TRY(act(table, u64{1}));
    if (refcounts_.crowded()) TRY(flush());
  }
  return {};
}

Result<> Editor::share_all(Entries const& l1) {
  return for_each_use(l1, [&](u64 at, u64 length) -> Result<> {
    auto const last = (at + length - 1) >> header_.cluster_bits;
    for (auto cluster = at >> header_.cluster_bits; cluster <= last; ++cluster) TRY(refcounts_.share(cluster));
    return {};
  });
}

Result<> Editor::release_all(Entries const& l1) {
  return for_each_use(l1, [&](u64 at, u64 length) { return release_bytes(at, length); });
}

Result<> Editor::flush() {
  auto const writes = Metadata::Writes{refcounts_.take_dirty(), {}, 0};
  auto const outcome = write_in_order(*storage_, writes);
  refcounts_.written(writes.refcounts, outcome.has_value());
  TRY(outcome);
  if (!writes.refcounts.old_table) return {};
  auto const& old = *writes.refcounts.old_table;
  for (auto each = u64{0}; each < old.count; ++each) {
    auto const offset = old.offset + (each << header_.cluster_bits);
    refcounts_.remove_metadata(offset);
    TRY(release_bytes(offset, 1));
  }
  return flush();
}

/// When no table names them any longer.
Result<> Editor::give_back() {
  TRY(flush());
  std::ranges::sort(freed_);
  for (auto index = std::size_t{0}; index < freed_.size();) {
    auto end = index + 1;
    while (end < freed_.size() && freed_[end] == freed_[end - 1] + 1) ++end;
    TRY(storage_->discard(freed_[index] << header_.cluster_bits, (end - index) << header_.cluster_bits));
    index = end;
  }
  freed_.clear();
  return {};
}

Result<> Editor::mark_owned(bool nothing_is) {
  auto l1 = TRY(read_entries(header_.l1_table_offset, header_.l1_size));
  auto const marked = [&](u64 entry, u64 offset, u64 flag) -> Result<u64> {
    auto const alone = !nothing_is && TRY(refcounts_.count_of(offset >> header_.cluster_bits)) == 1;
    return alone ? entry | flag : entry & ~flag;
  };
  for (auto& entry : l1) {
    auto const table = entry & l1_entry::offset_mask;
    if (table == 0) continue;
    auto entries = TRY(read_entries(table, header_.cluster_size() / 8));
    auto const before = entries;
    for (auto word = std::size_t{0}; word < entries.size(); word += header_.l2_words()) {
      auto& each = entries[word];
      auto const offset = each & l2_entry::offset_mask;
      if ((each & l2_entry::compressed) != 0 || offset == 0) continue;
      each = TRY(marked(each, offset, l2_entry::copied));
    }
    if (entries != before) TRY(write_entries(table, entries));
    entry = TRY(marked(entry, table, l1_entry::copied));
  }
  if (!l1.empty()) TRY(write_entries(header_.l1_table_offset, l1));
  return storage_->sync();
}

/// In one sector: all of it changes, or nothing.
Result<> Editor::write_active_table(u64 bytes, u64 at, u64 entries) {
  TRY(storage_->sync());
  auto fields = std::vector<std::byte>(header_at::refcount_table_offset - header_at::size);
  TRY(storage_->read(header_at::size, fields));
  store_be<u64>(fields.data(), bytes);
  store_be<u32>(fields.data() + (header_at::l1_size - header_at::size), static_cast<u32>(entries));
  store_be<u64>(fields.data() + (header_at::l1_table_offset - header_at::size), at);
  TRY(storage_->write(header_at::size, fields));
  header_.size = bytes;
  header_.l1_size = static_cast<u32>(entries);
  header_.l1_table_offset = at;
  return storage_->sync();
}

/// Longer before the disk is; what a shorter disk no longer has were zeroes already.
Result<> Editor::resize_data_file(u64 bytes) const {
  auto const path = TRY(data_file_path(*storage_, header_));
  auto const file = TRY(host::File::open(path, {.write = true}));
  auto const now = TRY(file.size());
  if (file.kind() != host::File::Kind::regular || (bytes < now && !header_.raw_data())) return {};
  TRY(file.truncate(bytes));
  return file.sync();
}

Result<> Editor::resize(u64 bytes) {
  auto const per_entry = header_.l2_entries() << header_.cluster_bits;
  auto const needed = bytes / per_entry + (bytes % per_entry != 0 ? 1 : 0);
  if (bytes == 0 || needed * 8 > largest_l1_bytes) {
    return fail(Errc::invalid,
                fmt::format("{}: qcow2: {} bytes; at most {} with clusters of {}", storage_->path(), bytes,
                            largest_l1_bytes / 8 * per_entry, header_.cluster_size()));
  }
  if (bytes != header_.size && header_.version < 3 && !snapshots().empty()) {
    return fail(
        Errc::unsupported,
        fmt::format("{}: qcow2 version 2 does not know sizes of snapshots; delete them, or convert it to "
                    "compat=1.1",
                    storage_->path()));
  }
  auto bitmaps = TRY(begin_change_of_disk());
  if (header_.external_data()) TRY(resize_data_file(bytes));
  if (needed <= header_.l1_size) {
    TRY(write_active_table(bytes, header_.l1_table_offset, header_.l1_size));
    return end_change_of_disk(std::move(bitmaps), bytes, false);
  }
  auto const old_at = header_.l1_table_offset;
  auto const old_bytes = u64{header_.l1_size} * 8;
  auto l1 = TRY(read_entries(old_at, header_.l1_size));
  l1.resize(needed);
  auto const at = TRY(allocate(needed * 8));
  TRY(flush());
  TRY(write_entries(at, l1));
  TRY(write_active_table(bytes, at, needed));
  TRY(release_bytes(old_at, old_bytes));
  TRY(give_back());
  return end_change_of_disk(std::move(bitmaps), bytes, false);
}

}  // namespace vireo::image::qcow2
