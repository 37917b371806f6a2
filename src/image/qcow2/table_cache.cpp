#include "image/qcow2/table_cache.h"

#include <algorithm>

#include "vocab/numbers.h"

namespace vireo::image::qcow2 {
namespace {

constexpr u64 write_grain{4096};
constexpr std::size_t fewest{4};
constexpr std::size_t most{1024};

}  // namespace

void Table::changed(u64 at, u64 length) {
  if (!dirty()) ++dirty_tables_;
  dirty_from_ = std::min(dirty_from_, at);
  dirty_to_ = std::max(dirty_to_, at + length);
}

TableCache::TableCache(u64 cluster_size, std::size_t capacity_bytes)
    : cluster_size_{cluster_size}, capacity_{std::clamp(capacity_bytes / cluster_size, fewest, most)} {}

Result<Table*> TableCache::load(Storage const& storage, u64 offset) {
  auto const found = tables_.find(offset);
  if (found != tables_.end()) {
    found->second->last_use_ = ++clock_;
    return found->second.get();
  }
  auto table = std::make_unique<Table>(cluster_size_, *dirty_tables_);
  TRY(storage.read(offset, table->writable()));
  make_room();
  table->last_use_ = ++clock_;
  return (tables_[offset] = std::move(table)).get();
}

Table& TableCache::create(u64 offset) {
  make_room();
  auto& place = tables_[offset];
  if (place && place->dirty()) --*dirty_tables_;
  place = std::make_unique<Table>(cluster_size_, *dirty_tables_);
  place->changed(0, cluster_size_);
  place->last_use_ = ++clock_;
  return *place;
}

void TableCache::make_room() {
  if (tables_.size() < capacity_) return;
  auto oldest = tables_.end();
  for (auto at = tables_.begin(); at != tables_.end(); ++at) {
    if (at->second->dirty() || at->second->being_written_) continue;
    if (oldest == tables_.end() || at->second->last_use_ < oldest->second->last_use_) oldest = at;
  }
  if (oldest != tables_.end()) tables_.erase(oldest);
}

std::vector<PendingWrite> TableCache::take_dirty() {
  auto writes = std::vector<PendingWrite>{};
  for (auto& [offset, table] : tables_) {
    if (!table->dirty()) continue;
    auto const from = align_down(table->dirty_from_, write_grain);
    auto const to = std::min(align_up(table->dirty_to_, write_grain), cluster_size_);
    auto const part = table->bytes().subspan(from, to - from);
    writes.push_back({offset + from, {part.begin(), part.end()}});
    table->dirty_from_ = ~u64{0};
    table->dirty_to_ = 0;
    --*dirty_tables_;
    table->being_written_ = true;
  }
  return writes;
}

void TableCache::written(std::vector<PendingWrite> const& writes, bool success) {
  for (auto const& write : writes) {
    auto const found = tables_.find(align_down(write.at, cluster_size_));
    if (found == tables_.end()) continue;
    found->second->being_written_ = false;
    if (!success) found->second->changed(write.at % cluster_size_, write.bytes.size());
  }
}

}  // namespace vireo::image::qcow2
