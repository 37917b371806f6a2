#pragma once

#include <map>
#include <set>

#include "image/qcow2/mapping.h"

namespace vireo::image::qcow2 {

/// Everything about the image that is not guest data, and the order in which it may reach the file, so that
/// after a crash at any point no cluster has two owners:
///   data and new refcounts  ->  refcount table  ->  L2 tables  ->  L1  ->  lower refcounts, reuse.
/// Not for several threads at once: Qcow2Image holds its lock around each call.
class Metadata {
 public:
  static Result<Metadata> open(Storage const& storage, Header const& header);

  Header header;
  Refcounts refcounts;
  Mapping mapping;
  std::set<u64> allocating;  // disk clusters on their way to a new place

  Result<ClusterState> state_of(u64 cluster) { return mapping.state_of(cluster, refcounts); }
  /// Points the disk cluster elsewhere; what it occupied is given up.
  Result<> move(u64 cluster, ClusterState const& from, u64 entry, u64 parts = 0);

  /// An access to guest data that looked at the mapping now; places that it knows are not reused before its
  /// end.
  using Epoch = u64;
  Epoch begin_access();
  void end_access(Epoch epoch);

  struct Writes {
    Refcounts::Writes refcounts;
    Mapping::Writes mapping;
    std::size_t given_up{};  // of given_up_, how many are unreferenced once these are stable
  };
  bool anything_to_write() const { return refcounts.any_dirty() || mapping.any_dirty() || !given_up_.empty(); }
  bool crowded() const { return refcounts.crowded() || mapping.crowded(); }
  Writes take_dirty();
  /// Confirms the writes. Yields the clusters that nothing in the file or in flight refers to any longer, for
  /// free(); the caller may punch holes where `sole` is set.
  struct Freed {
    u64 cluster{};
    bool sole{};
  };
  Result<std::vector<Freed>> written(Writes const& writes, bool success);
  Result<> free(std::vector<Freed> const& clusters);

 private:
  struct GivenUp {
    u64 cluster{};
    Epoch epoch{};
    bool unreferenced{};
  };
  Metadata(Header h, Refcounts r, Mapping m)
      : header{std::move(h)}, refcounts{std::move(r)}, mapping{std::move(m)} {}
  void give_up(u64 offset, u64 length);

  std::vector<GivenUp> given_up_;
  std::map<Epoch, u32> in_flight_;
  Epoch epoch_{0};
};

/// Carries the writes out in order. The writes stay valid for written().
Result<> write_in_order(Storage const& storage, Metadata::Writes const& writes);

}  // namespace vireo::image::qcow2
