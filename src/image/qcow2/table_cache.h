#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "image/storage.h"

namespace vireo::image::qcow2 {

/// Bytes on their way to the file.
struct PendingWrite {
  u64 at{};
  std::vector<std::byte> bytes;
};

/// One cluster of L2 entries or refcounts. Remembers which part differs from the file.
class Table {
 public:
  Table(std::size_t bytes, std::size_t& dirty_tables) : bytes_(bytes), dirty_tables_{dirty_tables} {}
  ConstBytes bytes() const { return bytes_; }
  u64 entry(u64 index) const { return load_be<u64>(bytes_.data() + index * 8); }
  void set_entry(u64 index, u64 value) {
    store_be<u64>(bytes_.data() + index * 8, value);
    changed(index * 8, 8);
  }
  /// For those that write the bytes themselves.
  Bytes writable() { return bytes_; }
  void changed(u64 at, u64 length);
  bool dirty() const { return dirty_from_ < dirty_to_; }

 private:
  friend class TableCache;
  std::vector<std::byte> bytes_;
  std::size_t& dirty_tables_;
  u64 dirty_from_{~u64{0}};
  u64 dirty_to_{0};
  bool being_written_{};
  u64 last_use_{};
};

/// Tables by their place in the file. It never writes: dirty tables stay until taken by take_dirty() and
/// confirmed by written(); only clean ones are let go. Not for several threads at once.
class TableCache {
 public:
  TableCache(u64 cluster_size, std::size_t capacity_bytes);

  /// Valid until the next load() or create().
  Result<Table*> load(Storage const& storage, u64 offset);
  /// A table of zeroes, all of it dirty.
  Table& create(u64 offset);

  /// More than half is dirty: time to write.
  bool crowded() const { return *dirty_tables_ * 2 > capacity_; }
  bool any_dirty() const { return *dirty_tables_ != 0; }
  std::vector<PendingWrite> take_dirty();
  /// The outcome of writing what take_dirty() gave; after a failure it is dirty again.
  void written(std::vector<PendingWrite> const& writes, bool success);

 private:
  void make_room();

  u64 cluster_size_;
  std::size_t capacity_;
  u64 clock_{0};
  std::unique_ptr<std::size_t> dirty_tables_{std::make_unique<std::size_t>(0)};  // tables refer to it
  std::unordered_map<u64, std::unique_ptr<Table>> tables_;
};

}  // namespace vireo::image::qcow2
