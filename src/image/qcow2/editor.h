#pragma once

#include "image/bitmaps/dirty_bitmap.h"
#include "image/qcow2/bitmap_directory.h"
#include "image/qcow2/refcounts.h"
#include "image/qcow2/snapshot_table.h"

namespace vireo::image::qcow2 {

/// Changes the tables of an image that nobody has opened, in an order in which after a crash at any point no
/// cluster has fewer users counted than it has.
class Editor {
 public:
  /// Marked dirty or corrupt: Errc::corrupt.
  static Result<Editor> open(Storage const& storage);

  Header const& header() const { return header_; }
  std::vector<Snapshot> const& snapshots() const { return snapshots_.snapshots; }

  Result<> resize(u64 bytes);
  Result<> create_snapshot(std::string const& name, u64 seconds, u32 nanoseconds);
  /// `which`: a name or an id. None: Errc::not_found.
  Result<> apply_snapshot(std::string const& which);
  Result<> delete_snapshot(std::string const& which);
  /// In place of all that there are; the opaque ones stay as they are.
  Result<> store_bitmaps(LoadedBitmaps const& bitmaps);

 private:
  using Entries = std::vector<u64>;
  Editor(Storage const& storage, Header header, Refcounts refcounts, SnapshotTable snapshots)
      : storage_{&storage},
        header_{std::move(header)},
        refcounts_{std::move(refcounts)},
        snapshots_{std::move(snapshots)} {}

  Result<std::size_t> find(std::string const& which) const;
  Result<Entries> read_entries(u64 at, u64 count) const;
  Result<> write_entries(u64 at, Entries const& entries) const;
  Result<u64> allocate(u64 bytes);
  Result<> release_bytes(u64 at, u64 bytes);
  /// Each cluster that the table leads to, as often as it does.
  template <typename Act>
  Result<> for_each_use(Entries const& l1, Act act);
  Result<> share_all(Entries const& l1);
  Result<> release_all(Entries const& l1);
  /// Says in the active tables which clusters have one user alone.
  Result<> mark_owned(bool nothing_is);
  Result<> resize_data_file(u64 bytes) const;
  Result<> flush();
  Result<> give_back();
  Result<> write_active_table(u64 bytes, u64 at, u64 entries);
  Result<StoredBitmap> write_bitmap(DirtyBitmap const& bitmap);
  Result<> release_bitmap(StoredBitmap const& stored);
  /// The disk changes otherwise than by writing: bitmaps are out of date in the file until the end.
  Result<LoadedBitmaps> begin_change_of_disk();
  Result<> end_change_of_disk(LoadedBitmaps bitmaps, u64 bytes, bool all_of_it);
  Result<> write_snapshot_table(std::vector<Snapshot> snapshots);

  Storage const* storage_;
  Header header_;
  Refcounts refcounts_;
  SnapshotTable snapshots_;
  std::vector<u64> freed_;  // clusters
};

}  // namespace vireo::image::qcow2
