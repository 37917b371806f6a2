#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "image/qcow2/editor.h"
#include "image/qcow2/spec.h"
#include "vocab/bytes.h"

namespace vireo::image::qcow2 {

Result<std::size_t> Editor::find(std::string const& which) const {
  auto const& all = snapshots();
  for (auto const by_name : {false, true}) {
    for (auto index = std::size_t{0}; index < all.size(); ++index) {
      if ((by_name ? all[index].info.name : all[index].info.id) == which) return index;
    }
  }
  return fail(Errc::not_found,
              fmt::format("{}: no snapshot '{}'; \"snapshot list\" shows them", storage_->path(), which));
}

/// The header names it last of all.
Result<> Editor::write_snapshot_table(std::vector<Snapshot> snapshots) {
  auto const encoded = encode_snapshots(snapshots);
  if (encoded.size() > largest_snapshot_table || snapshots.size() > most_snapshots) {
    return fail(Errc::no_space, fmt::format("{}: qcow2: no room for another snapshot", storage_->path()));
  }
  auto const at = encoded.empty() ? u64{0} : TRY(allocate(encoded.size()));
  TRY(flush());
  if (!encoded.empty()) TRY(storage_->write(at, encoded));
  TRY(storage_->sync());
  auto fields = std::vector<std::byte>(12);
  store_be<u32>(fields.data(), static_cast<u32>(snapshots.size()));
  store_be<u64>(fields.data() + 4, at);
  TRY(storage_->write(header_at::nb_snapshots, fields));
  TRY(storage_->sync());
  auto const old_at = header_.snapshots_offset;
  auto const old_bytes = snapshots_.bytes;
  header_.snapshots = static_cast<u32>(snapshots.size());
  header_.snapshots_offset = at;
  snapshots_ = {std::move(snapshots), encoded.size()};
  return release_bytes(old_at, old_bytes);
}

Result<> Editor::create_snapshot(std::string const& name, u64 seconds, u32 nanoseconds) {
  if (name.empty() || name.size() > 255) {
    return fail(Errc::invalid, fmt::format("a snapshot's name of {} bytes; 1 to 255", name.size()));
  }
  auto highest = u64{0};
  for (auto const& each : snapshots()) {
    auto number = u64{0};
    std::from_chars(each.info.id.data(), each.info.id.data() + each.info.id.size(), number);
    highest = std::max(highest, number);
  }
  auto const l1 = TRY(read_entries(header_.l1_table_offset, header_.l1_size));
  TRY(share_all(l1));
  auto const at = TRY(allocate(u64{header_.l1_size} * 8));
  TRY(flush());
  TRY(mark_owned(true));  // from now on nothing is written in place
  auto const shared = TRY(read_entries(header_.l1_table_offset, header_.l1_size));
  TRY(write_entries(at, shared));
  auto all = snapshots();
  all.push_back({.info = {.id = fmt::format("{}", highest + 1),
                          .name = name,
                          .seconds = seconds,
                          .nanoseconds = nanoseconds,
                          .disk_bytes = header_.size},
                 .l1_table_offset = at,
                 .l1_size = header_.l1_size});
  TRY(write_snapshot_table(std::move(all)));
  return give_back();
}

Result<> Editor::apply_snapshot(std::string const& which) {
  auto const& snapshot = snapshots()[TRY(find(which))];
  auto l1 = TRY(read_entries(snapshot.l1_table_offset, snapshot.l1_size));
  auto const per_entry = header_.l2_entries() << header_.cluster_bits;
  auto const bytes = snapshot.info.disk_bytes;
  auto const needed = bytes / per_entry + (bytes % per_entry != 0 ? 1 : 0);
  if (needed * 8 > largest_l1_bytes) {
    return fail(Errc::corrupt,
                fmt::format("{}: qcow2: snapshot {} is of {} bytes", storage_->path(), which, bytes));
  }
  if (l1.size() < needed) l1.resize(needed);
  for (auto& entry : l1) entry &= ~l1_entry::copied;
  auto bitmaps = TRY(begin_change_of_disk());
  auto const old = TRY(read_entries(header_.l1_table_offset, header_.l1_size));
  auto const old_at = header_.l1_table_offset;
  TRY(share_all(l1));
  auto const at = TRY(allocate(l1.size() * 8));
  TRY(flush());
  TRY(write_entries(at, l1));
  TRY(write_active_table(bytes, at, l1.size()));
  TRY(release_all(old));
  TRY(release_bytes(old_at, old.size() * 8));
  TRY(give_back());
  TRY(mark_owned(false));
  return end_change_of_disk(std::move(bitmaps), bytes, true);
}

Result<> Editor::delete_snapshot(std::string const& which) {
  auto const index = TRY(find(which));
  auto const gone = snapshots()[index];
  auto all = snapshots();
  all.erase(all.begin() + static_cast<std::ptrdiff_t>(index));
  auto const l1 = TRY(read_entries(gone.l1_table_offset, gone.l1_size));
  TRY(write_snapshot_table(std::move(all)));
  TRY(release_all(l1));
  TRY(release_bytes(gone.l1_table_offset, l1.size() * 8));
  TRY(give_back());
  return mark_owned(false);
}

}  // namespace vireo::image::qcow2
