#include "image/qcow2/metadata.h"

#include <algorithm>

namespace vireo::image::qcow2 {
namespace {

Result<> write_all(Storage const& storage, std::vector<PendingWrite> const& writes) {
  for (auto const& write : writes) TRY(storage.write(write.at, write.bytes));
  return {};
}

}  // namespace

Result<Metadata> Metadata::open(Storage const& storage, Header const& header) {
  auto refcounts = TRY(Refcounts::open(storage, header));
  auto mapping = TRY(Mapping::open(storage, header, refcounts));
  return Metadata{header, std::move(refcounts), std::move(mapping)};
}

void Metadata::give_up(u64 offset, u64 length) {
  auto const first = offset >> header.cluster_bits;
  auto const last = (offset + length - 1) >> header.cluster_bits;
  for (auto cluster = first; cluster <= last; ++cluster) given_up_.push_back({cluster, epoch_, false});
}

Result<> Metadata::move(u64 cluster, ClusterState const& from, u64 entry, u64 parts) {
  auto tables = std::vector<u64>{};
  TRY(mapping.set(cluster, entry, parts, refcounts, tables));
  for (auto const table : tables) give_up(table, 1);
  if (from.kind == ClusterState::Kind::compressed) {
    give_up(from.compressed.offset, from.compressed.length);
  } else if (!header.external_data() && from.offset != 0 && (entry & l2_entry::offset_mask) != from.offset) {
    give_up(from.offset, 1);
  }
  return {};
}

Metadata::Epoch Metadata::begin_access() {
  ++in_flight_[epoch_];
  return epoch_;
}

void Metadata::end_access(Epoch epoch) {
  auto const found = in_flight_.find(epoch);
  if (--found->second == 0) in_flight_.erase(found);
}

Metadata::Writes Metadata::take_dirty() {
  auto writes = Writes{refcounts.take_dirty(), mapping.take_dirty(), given_up_.size()};
  ++epoch_;
  return writes;
}

Result<std::vector<Metadata::Freed>> Metadata::written(Writes const& writes, bool success) {
  refcounts.written(writes.refcounts, success);
  mapping.written(writes.mapping, success);
  auto freed = std::vector<Freed>{};
  if (!success) return freed;
  for (auto index = std::size_t{0}; index < writes.given_up; ++index) given_up_[index].unreferenced = true;
  auto const oldest_access = in_flight_.empty() ? ~u64{0} : in_flight_.begin()->first;
  auto kept = std::vector<GivenUp>{};
  for (auto const& each : given_up_) {
    if (!each.unreferenced || each.epoch >= oldest_access) {
      kept.push_back(each);
      continue;
    }
    auto const count = TRY(refcounts.count_of(each.cluster));
    freed.push_back({each.cluster, count == 1});
  }
  given_up_ = std::move(kept);
  if (writes.refcounts.old_table) {
    auto const& old = *writes.refcounts.old_table;
    for (auto each = u64{0}; each < old.count; ++each) {
      refcounts.remove_metadata(old.offset + (each << header.cluster_bits));
      freed.push_back({(old.offset >> header.cluster_bits) + each, true});
    }
  }
  return freed;
}

Result<> Metadata::free(std::vector<Freed> const& clusters) {
  for (auto const& each : clusters) TRY(refcounts.release(each.cluster));
  return {};
}

Result<> write_in_order(Storage const& storage, Metadata::Writes const& writes) {
  TRY(write_all(storage, writes.refcounts.blocks));
  TRY(storage.sync());
  if (!writes.refcounts.table.empty()) {
    TRY(write_all(storage, writes.refcounts.table));
    TRY(storage.sync());
  }
  if (writes.refcounts.header) {
    TRY(storage.write(writes.refcounts.header->at, writes.refcounts.header->bytes));
    TRY(storage.sync());
  }
  if (writes.mapping.tables.empty() && writes.mapping.l1.empty()) return {};
  TRY(write_all(storage, writes.mapping.tables));
  if (!writes.mapping.l1.empty()) {
    TRY(storage.sync());
    TRY(write_all(storage, writes.mapping.l1));
  }
  return storage.sync();
}

}  // namespace vireo::image::qcow2
