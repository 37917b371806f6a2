#include "image/qcow2/refcounts.h"

#include <fmt/format.h>

#include <algorithm>

namespace vireo::image::qcow2 {
namespace {

constexpr std::size_t cache_bytes{1 * MiB};
constexpr u64 largest_cluster_number{u64{1} << 46};

}  // namespace

Refcounts::Refcounts(Storage const& storage, Header const& header)
    : storage_{&storage},
      header_{header},
      blocks_{header.cluster_size(), cache_bytes},
      per_block_{header.cluster_size() * 8 >> header.refcount_order} {}

std::unexpected<Error> Refcounts::corrupt(std::string_view what) const {
  return fail(Errc::corrupt, fmt::format("{}: qcow2 refcounts: {}; run \"qemu-img check -r all\" on it",
                                         storage_->path(), what));
}

Result<Refcounts> Refcounts::open(Storage const& storage, Header const& header) {
  auto refcounts = Refcounts{storage, header};
  auto const bytes = u64{header.refcount_table_clusters} << header.cluster_bits;
  auto raw = std::vector<std::byte>(bytes);
  TRY(storage.read(header.refcount_table_offset, raw));
  refcounts.end_of_file_ = align_up(TRY(storage.size()), header.cluster_size());
  refcounts.table_.resize(bytes / 8);
  refcounts.add_metadata(0);
  refcounts.add_metadata(header.luks_offset,
                         align_up(header.luks_bytes, header.cluster_size()) >> header.cluster_bits);
  refcounts.add_metadata(header.refcount_table_offset, header.refcount_table_clusters);
  refcounts.add_metadata(header.l1_table_offset,
                         align_up(u64{header.l1_size} * 8, header.cluster_size()) >> header.cluster_bits);
  for (auto index = u64{0}; index < refcounts.table_.size(); ++index) {
    auto const offset = load_be<u64>(raw.data() + index * 8) & refcount_table_offset_mask;
    refcounts.table_[index] = offset;
    if (offset == 0) continue;
    if (offset % header.cluster_size() != 0 || offset >= refcounts.end_of_file_ ||
        refcounts.is_metadata(offset)) {
      return refcounts.corrupt(fmt::format("block {} lies at offset {:#x}", index, offset));
    }
    refcounts.add_metadata(offset);
  }
  return refcounts;
}

void Refcounts::add_metadata(u64 offset, u64 clusters) {
  for (auto each = u64{0}; each < clusters; ++each) metadata_.insert((offset >> header_.cluster_bits) + each);
}

u64 load_refcount(ConstBytes block, u32 order, u64 index) {
  auto const* const bytes = block.data();
  switch (order) {
    case 3: return load_be<u8>(bytes + index);
    case 4: return load_be<u16>(bytes + index * 2);
    case 5: return load_be<u32>(bytes + index * 4);
    case 6: return load_be<u64>(bytes + index * 8);
    default: {  // several in a byte, the first in the lowest bits
      auto const bits = 1u << order;
      auto const value = load_le<u8>(bytes + index * bits / 8);
      return (value >> (index * bits % 8)) & ((1u << bits) - 1);
    }
  }
}

void store_refcount(Bytes block, u32 order, u64 index, u64 value) {
  auto* const bytes = block.data();
  switch (order) {
    case 3: store_be<u8>(bytes + index, static_cast<u8>(value)); break;
    case 4: store_be<u16>(bytes + index * 2, static_cast<u16>(value)); break;
    case 5: store_be<u32>(bytes + index * 4, static_cast<u32>(value)); break;
    case 6: store_be<u64>(bytes + index * 8, value); break;
    default: {
      auto const bits = 1u << order;
      auto const shift = index * bits % 8;
      auto const mask = ((1u << bits) - 1) << shift;
      auto* const byte = bytes + index * bits / 8;
      store_le<u8>(byte, static_cast<u8>((load_le<u8>(byte) & ~mask) | value << shift));
    }
  }
}

u64 Refcounts::get(Table const& block, u64 cluster) const {
  return load_refcount(block.bytes(), header_.refcount_order, cluster % per_block_);
}

void Refcounts::set(Table& block, u64 cluster, u64 value) const {
  auto const index = cluster % per_block_;
  store_refcount(block.writable(), header_.refcount_order, index, value);
  block.changed((index << header_.refcount_order) / 8, std::max(1u, (1u << header_.refcount_order) / 8));
}

void Refcounts::set_table_entry(u64 index, u64 offset) {
  table_[index] = offset;
  table_from_ = std::min(table_from_, index);
  table_to_ = std::max(table_to_, index + 1);
}

Result<Table*> Refcounts::block_of(u64 cluster, bool create) {
  auto const index = cluster / per_block_;
  if (index >= table_.size() || table_[index] == 0) {
    if (create) return create_block(index);
    return nullptr;
  }
  return blocks_.load(*storage_, table_[index]);
}

/// The block takes the first cluster of the region that it counts, which is free since nothing there was
/// counted.
Result<Table*> Refcounts::create_block(u64 index) {
  if (index >= table_.size()) TRY(grow_table(index + 1));
  if (table_[index] != 0) return blocks_.load(*storage_, table_[index]);
  auto const cluster = index * per_block_;
  auto const offset = cluster << header_.cluster_bits;
  if (cluster >= largest_cluster_number)
    return fail(Errc::no_space, storage_->path() + ": the image is too large");
  if (is_metadata(offset)) return corrupt(fmt::format("metadata at offset {:#x} is not counted", offset));
  auto& block = blocks_.create(offset);
  set(block, cluster, 1);
  set_table_entry(index, offset);
  add_metadata(offset);
  end_of_file_ = std::max(end_of_file_, offset + header_.cluster_size());
  return &block;
}

Result<> Refcounts::grow_table(u64 at_least) {
  auto const entries = align_up(std::max(at_least + 1, table_.size() * 2), header_.cluster_size() / 8);
  if (entries * 8 > std::max(largest_refcount_table_bytes, header_.cluster_size())) {
    return fail(Errc::no_space,
                fmt::format("{}: the image has reached the largest size for its cluster size of {}",
                            storage_->path(), header_.cluster_size()));
  }
  // One move at a time reaches the file: a table that moved and was not written yet is let go at once.
  auto const abandoned =
      moved_ ? ClusterRun{header_.refcount_table_offset, header_.refcount_table_clusters} : ClusterRun{};
  if (!moved_) old_table_ = ClusterRun{header_.refcount_table_offset, header_.refcount_table_clusters};
  table_.resize(entries);
  auto const place = TRY(allocate(entries * 8 >> header_.cluster_bits, true));
  moved_ = true;
  header_.refcount_table_offset = place.offset;
  header_.refcount_table_clusters = static_cast<u32>(place.count);
  add_metadata(place.offset, place.count);
  for (auto each = u64{0}; each < abandoned.count; ++each) {
    auto const cluster = (abandoned.offset >> header_.cluster_bits) + each;
    metadata_.erase(cluster);
    TRY(release(cluster));
  }
  return {};
}

Result<u64> Refcounts::count_of(u64 cluster) {
  auto const* const block = TRY(block_of(cluster, false));
  return block == nullptr ? 0 : get(*block, cluster);
}

Result<> Refcounts::share(u64 cluster) {
  auto* const block = TRY(block_of(cluster, false));
  auto const count = block == nullptr ? 0 : get(*block, cluster);
  if (count == 0) {
    return corrupt(fmt::format("cluster at {:#x} is in use and not counted", cluster << header_.cluster_bits));
  }
  auto const bits = 1u << header_.refcount_order;
  if (bits < 64 && count + 1 >= u64{1} << bits) {
    return fail(Errc::unsupported,
                fmt::format("{}: qcow2: counts of {} bits hold no more snapshots", storage_->path(), bits));
  }
  set(*block, cluster, count + 1);
  return {};
}

Result<> Refcounts::release(u64 cluster) {
  auto* const block = TRY(block_of(cluster, false));
  auto const count = block == nullptr ? 0 : get(*block, cluster);
  if (count == 0)
    return corrupt(fmt::format("cluster at {:#x} is freed once too often", cluster << header_.cluster_bits));
  set(*block, cluster, count - 1);
  if (count == 1) first_free_ = std::min(first_free_, cluster);
  return {};
}

/// A run over several regions, each of which begins with its block as a rule: at the end of the file, the
/// blocks that count it behind it.
Result<ClusterRun> Refcounts::allocate_long(u64 wanted) {
  auto const regions = (wanted + per_block_ - 2) / (per_block_ - 1);
  auto const first_region = [&] {
    return ((end_of_file_ >> header_.cluster_bits) + per_block_ - 1) / per_block_;
  };
  while (first_region() + regions > table_.size()) TRY(grow_table(first_region() + regions));
  auto const region = first_region();
  auto const start = region * per_block_;
  for (auto each = u64{0}; each < regions; ++each) {
    auto const offset = (start + wanted + each) << header_.cluster_bits;
    if (table_[region + each] != 0) return corrupt(fmt::format("block {} counts nothing", region + each));
    blocks_.create(offset);
    set_table_entry(region + each, offset);
    add_metadata(offset);
  }
  for (auto cluster = start; cluster < start + wanted + regions; ++cluster) {
    auto* const block = TRY(block_of(cluster, false));
    set(*block, cluster, 1);
  }
  end_of_file_ = (start + wanted + regions) << header_.cluster_bits;
  return ClusterRun{start << header_.cluster_bits, wanted};
}

Result<ClusterRun> Refcounts::allocate(u64 wanted, bool all) {
  if (all && wanted >= per_block_) return allocate_long(wanted);
  auto start = first_free_;
  auto count = u64{0};
  for (auto cluster = start; count < wanted; ++cluster) {
    auto const* const block = TRY(block_of(cluster, true));
    auto const used = get(*block, cluster) != 0 || is_metadata(cluster << header_.cluster_bits);
    if (!used) {
      if (count++ == 0) start = cluster;
      continue;
    }
    if (count != 0 && !all) break;
    count = 0;
  }
  for (auto cluster = start; cluster < start + count; ++cluster) {
    auto* const block = TRY(block_of(cluster, true));
    set(*block, cluster, 1);
  }
  if (!all) first_free_ = start + count;  // else holes may lie below
  auto const offset = start << header_.cluster_bits;
  end_of_file_ = std::max(end_of_file_, offset + (count << header_.cluster_bits));
  return ClusterRun{offset, count};
}

Refcounts::Writes Refcounts::take_dirty() {
  auto writes = Writes{};
  writes.blocks = blocks_.take_dirty();
  if (moved_) {
    table_from_ = 0;
    table_to_ = table_.size();
  }
  if (table_from_ < table_to_) {
    auto bytes = std::vector<std::byte>((table_to_ - table_from_) * 8);
    for (auto index = table_from_; index < table_to_; ++index) {
      store_be<u64>(bytes.data() + (index - table_from_) * 8, table_[index]);
    }
    writes.table.push_back({header_.refcount_table_offset + table_from_ * 8, std::move(bytes)});
  }
  if (moved_) {
    auto bytes = std::vector<std::byte>(12);
    store_be<u64>(bytes.data(), header_.refcount_table_offset);
    store_be<u32>(bytes.data() + 8, header_.refcount_table_clusters);
    writes.header = PendingWrite{header_at::refcount_table_offset, std::move(bytes)};
    writes.old_table = std::exchange(old_table_, std::nullopt);
    moved_ = false;
  }
  table_from_ = ~u64{0};
  table_to_ = 0;
  return writes;
}

void Refcounts::written(Writes const& writes, bool success) {
  blocks_.written(writes.blocks, success);
  if (success) return;
  if (!writes.table.empty()) {
    table_from_ = 0;
    table_to_ = table_.size();
  }
  if (writes.header) {
    moved_ = true;
    if (!old_table_) old_table_ = writes.old_table;
  }
}

}  // namespace vireo::image::qcow2
