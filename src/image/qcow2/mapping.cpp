#include "image/qcow2/mapping.h"

#include <fmt/format.h>

#include <algorithm>

namespace vireo::image::qcow2 {
namespace {

constexpr std::size_t cache_bytes{8 * MiB};  // 64 GiB of disk with clusters of 64 KiB

}  // namespace

Mapping::Mapping(Storage const& storage, Header const& header)
    : storage_{&storage}, header_{header}, tables_{header.cluster_size(), cache_bytes} {}

std::unexpected<Error> Mapping::corrupt(std::string_view what) const {
  return fail(Errc::corrupt,
              fmt::format("{}: qcow2: {}; run \"qemu-img check -r all\" on it", storage_->path(), what));
}

Result<Mapping> Mapping::open(Storage const& storage, Header const& header, Refcounts& refcounts) {
  auto mapping = Mapping{storage, header};
  auto raw = std::vector<std::byte>(u64{header.l1_size} * 8);
  TRY(storage.read(header.l1_table_offset, raw));
  mapping.l1_.resize(header.l1_size);
  for (auto index = u64{0}; index < mapping.l1_.size(); ++index) {
    auto const entry = load_be<u64>(raw.data() + index * 8);
    auto const offset = entry & l1_entry::offset_mask;
    mapping.l1_[index] = entry;
    if (offset == 0) continue;
    if (offset % header.cluster_size() != 0 || offset >= refcounts.end_of_file() ||
        refcounts.is_metadata(offset)) {
      return mapping.corrupt(fmt::format("L1 entry {} is {:#x}", index, entry));
    }
  }
  for (auto const entry : mapping.l1_) {
    if ((entry & l1_entry::offset_mask) != 0) refcounts.add_metadata(entry & l1_entry::offset_mask);
  }
  return mapping;
}

ClusterState ClusterState::part(u64 index, u32 part_bits) const {
  if (kind != Kind::parts) return *this;
  auto state = ClusterState{.ours = ours, .placed = placed};
  if ((parts >> index & 1) != 0) {
    state.kind = Kind::data;
    state.offset = offset + (index << part_bits);
  } else if ((parts >> (32 + index) & 1) != 0) {
    state.kind = Kind::zero;
  }
  return state;
}

Result<ClusterState> Mapping::state_of(u64 cluster, Refcounts const& refcounts) {
  using Kind = ClusterState::Kind;
  auto const l1_index = cluster / header_.l2_entries();
  auto const table_offset = l1_index < l1_.size() ? l1_[l1_index] & l1_entry::offset_mask : 0;
  auto const extended = header_.extended_l2();
  if (table_offset == 0) return ClusterState{.kind = extended ? Kind::parts : Kind::absent};
  auto const table_is_ours = (l1_[l1_index] & l1_entry::copied) != 0;
  auto const index = cluster % header_.l2_entries();
  auto const* const table = TRY(tables_.load(*storage_, table_offset));
  auto const entry = table->entry(index * header_.l2_words());
  auto const parts = extended ? table->entry(index * 2 + 1) : 0;
  auto const wrong = [&] {
    return corrupt(
        fmt::format("L2 entry {} of the table at offset {:#x} is {:#x}", index, table_offset, entry));
  };
  if ((entry & l2_entry::compressed) != 0) {
    auto const place = compressed_place(entry, header_.cluster_bits);
    if (place.offset >= refcounts.end_of_file() || refcounts.is_metadata(place.offset)) return wrong();
    if (parts != 0 || header_.external_data()) return wrong();
    return ClusterState{.kind = Kind::compressed, .offset = place.offset, .ours = false, .compressed = place};
  }
  auto const offset = entry & l2_entry::offset_mask;
  auto const copied = (entry & l2_entry::copied) != 0;
  auto const zero_flag = (entry & l2_entry::zero) != 0;
  auto const placed = offset != 0 || (header_.external_data() && copied);
  if ((entry & l2_entry::reserved) != 0 || (zero_flag && (header_.version < 3 || extended))) return wrong();
  if (header_.external_data()) {
    if (placed && offset != cluster << header_.cluster_bits) return wrong();
  } else {
    if (offset % header_.cluster_size() != 0 || offset >= refcounts.end_of_file()) return wrong();
    if (offset != 0 && refcounts.is_metadata(offset)) return wrong();
  }
  auto const present = parts & subclusters::all_present;
  if ((present & parts >> 32) != 0 || (present != 0 && !placed)) return wrong();
  auto const kind = extended ? Kind::parts : zero_flag ? Kind::zero : placed ? Kind::data : Kind::absent;
  return ClusterState{.kind = kind,
                      .offset = offset,
                      .ours = table_is_ours && copied,
                      .compressed = {},
                      .placed = placed,
                      .parts = parts};
}

u64 Mapping::absent_run(u64 cluster) const {
  auto const l1_index = cluster / header_.l2_entries();
  if (l1_index < l1_.size() && (l1_[l1_index] & l1_entry::offset_mask) != 0) return 0;
  return header_.l2_entries() - cluster % header_.l2_entries();
}

Result<Table*> Mapping::own_table(u64 l1_index, Refcounts& refcounts, std::vector<u64>& freed) {
  auto const old_entry = l1_[l1_index];
  auto const old_offset = old_entry & l1_entry::offset_mask;
  if ((old_entry & l1_entry::copied) != 0 && old_offset != 0) return tables_.load(*storage_, old_offset);
  auto const offset = TRY(refcounts.allocate(1)).offset;
  auto old_bytes = std::vector<std::byte>{};
  if (old_offset != 0) {
    auto const bytes = TRY(tables_.load(*storage_, old_offset))->bytes();
    old_bytes.assign(bytes.begin(), bytes.end());
    freed.push_back(old_offset);
  }
  auto& table = tables_.create(offset);
  std::ranges::copy(old_bytes, table.writable().begin());
  refcounts.add_metadata(offset);
  l1_[l1_index] = offset | l1_entry::copied;
  l1_from_ = std::min(l1_from_, l1_index);
  l1_to_ = std::max(l1_to_, l1_index + 1);
  return &table;
}

Result<> Mapping::set(u64 cluster, u64 entry, u64 parts, Refcounts& refcounts, std::vector<u64>& freed) {
  auto const l1_index = cluster / header_.l2_entries();
  if (l1_index >= l1_.size()) return corrupt("the L1 table is too short");
  auto* const table = TRY(own_table(l1_index, refcounts, freed));
  auto const word = cluster % header_.l2_entries() * header_.l2_words();
  table->set_entry(word, entry);
  if (header_.extended_l2()) table->set_entry(word + 1, parts);
  return {};
}

Mapping::Writes Mapping::take_dirty() {
  auto writes = Writes{.tables = tables_.take_dirty(), .l1 = {}};
  if (l1_from_ < l1_to_) {
    auto bytes = std::vector<std::byte>((l1_to_ - l1_from_) * 8);
    for (auto index = l1_from_; index < l1_to_; ++index) {
      store_be<u64>(bytes.data() + (index - l1_from_) * 8, l1_[index]);
    }
    writes.l1.push_back({header_.l1_table_offset + l1_from_ * 8, std::move(bytes)});
  }
  l1_from_ = ~u64{0};
  l1_to_ = 0;
  return writes;
}

void Mapping::written(Writes const& writes, bool success) {
  tables_.written(writes.tables, success);
  if (success || writes.l1.empty()) return;
  l1_from_ = 0;
  l1_to_ = l1_.size();
}

}  // namespace vireo::image::qcow2
