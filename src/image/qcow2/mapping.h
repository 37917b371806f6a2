#pragma once

#include <vector>

#include "image/qcow2/compressed.h"
#include "image/qcow2/refcounts.h"

namespace vireo::image::qcow2 {

/// What an L2 entry says about a cluster of the disk.
struct ClusterState {
  enum class Kind : u8 { absent, zero, data, compressed, parts };
  Kind kind{Kind::absent};
  u64 offset{};  // where it lies; with zero: a place kept for it, or 0
  bool ours{};   // no snapshot shares it: may be written in place
  CompressedPlace compressed{};
  bool placed{};  // has a place, which may be 0 in a data file
  u64 parts{};    // kind `parts`: as in the entry

  /// One part of 2^part_bits bytes; its own place, if it is data.
  ClusterState part(u64 index, u32 part_bits) const;
};

/// The L1 and L2 tables: from clusters of the disk (counted from 0) to places in the file. Changes stay in
/// memory until taken for writing. Not for several threads at once.
class Mapping {
 public:
  static Result<Mapping> open(Storage const& storage, Header const& header, Refcounts& refcounts);

  /// Places outside the file or on metadata: Errc::corrupt.
  Result<ClusterState> state_of(u64 cluster, Refcounts const& refcounts);
  /// Writes the entry, making an L2 table or a copy of a shared one. `freed` gets the offset of the table given
  /// up.
  Result<> set(u64 cluster, u64 entry, u64 parts, Refcounts& refcounts, std::vector<u64>& freed);
  /// No L2 table: all clusters up to the next table's are absent. Yields their count, or 0.
  u64 absent_run(u64 cluster) const;

  struct Writes {
    std::vector<PendingWrite> tables;  // when refcounts and data are stable
    std::vector<PendingWrite> l1;      // when those are stable
  };
  Writes take_dirty();
  void written(Writes const& writes, bool success);
  bool crowded() const { return tables_.crowded(); }
  bool any_dirty() const { return tables_.any_dirty() || l1_from_ < l1_to_; }

 private:
  Mapping(Storage const& storage, Header const& header);
  Result<Table*> own_table(u64 l1_index, Refcounts& refcounts, std::vector<u64>& freed);
  std::unexpected<Error> corrupt(std::string_view what) const;

  Storage const* storage_;
  Header header_;
  TableCache tables_;
  std::vector<u64> l1_;
  u64 l1_from_{~u64{0}};
  u64 l1_to_{0};
};

}  // namespace vireo::image::qcow2
