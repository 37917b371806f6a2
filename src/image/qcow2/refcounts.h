#pragma once

#include <optional>
#include <unordered_set>

#include "image/qcow2/header.h"
#include "image/qcow2/table_cache.h"

namespace vireo::image::qcow2 {

/// An entry of a refcount block whose counts have 2^order bits.
u64 load_refcount(ConstBytes block, u32 order, u64 index);
void store_refcount(Bytes block, u32 order, u64 index, u64 value);

/// A run of host clusters.
struct ClusterRun {
  u64 offset{};  // bytes
  u64 count{};   // clusters
};

/// Which clusters of the file are in use, and by how many. Clusters count from 0 at the start of the file.
/// Changes stay in memory until taken for writing. Not for several threads at once.
class Refcounts {
 public:
  static Result<Refcounts> open(Storage const& storage, Header const& header);

  Result<u64> count_of(u64 cluster);
  /// One more user of a cluster that has some.
  Result<> share(u64 cluster);
  /// Adds one user to, or removes one from, each cluster; removing the last makes it free.
  Result<> release(u64 cluster);
  /// Takes free clusters in a row: at least one and at most `wanted`; `all`: as many as wanted.
  Result<ClusterRun> allocate(u64 wanted, bool all = false);

  /// Clusters that hold the header, L1, refcounts: never data. Others add what they know.
  bool is_metadata(u64 offset) const { return metadata_.contains(offset >> header_.cluster_bits); }
  void add_metadata(u64 offset, u64 clusters = 1);
  void remove_metadata(u64 offset) { metadata_.erase(offset >> header_.cluster_bits); }
  /// The first byte behind every cluster that is in the file or was allocated.
  u64 end_of_file() const { return end_of_file_; }

  struct Writes {
    std::vector<PendingWrite> blocks;     // first
    std::vector<PendingWrite> table;      // when those are stable
    std::optional<PendingWrite> header;   // when that is stable: the table has moved
    std::optional<ClusterRun> old_table;  // free when that is stable
  };
  Writes take_dirty();
  void written(Writes const& writes, bool success);
  bool crowded() const { return blocks_.crowded(); }
  bool any_dirty() const { return blocks_.any_dirty() || table_from_ < table_to_ || moved_; }

 private:
  Refcounts(Storage const& storage, Header const& header);

  Result<Table*> block_of(u64 cluster, bool create);
  Result<Table*> create_block(u64 index);
  Result<ClusterRun> allocate_long(u64 wanted);
  Result<> grow_table(u64 at_least);
  u64 get(Table const& block, u64 cluster) const;
  void set(Table& block, u64 cluster, u64 value) const;
  void set_table_entry(u64 index, u64 offset);
  std::unexpected<Error> corrupt(std::string_view what) const;

  Storage const* storage_;
  Header header_;
  TableCache blocks_;
  u64 per_block_;            // refcounts in a block
  std::vector<u64> table_;   // offsets of blocks, 0: none
  u64 table_from_{~u64{0}};  // entries that differ from the file
  u64 table_to_{0};
  bool moved_{};
  std::optional<ClusterRun> old_table_;
  std::unordered_set<u64> metadata_;
  u64 first_free_{1};  // no free cluster lies below
  u64 end_of_file_{};
};

}  // namespace vireo::image::qcow2
