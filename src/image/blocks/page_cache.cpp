#include "image/blocks/page_cache.h"

#include <algorithm>

#include "vocab/numbers.h"

namespace vireo::image::blocks {
namespace {

constexpr u64 write_grain{512};

}  // namespace

Result<Page*> PageCache::load(Storage const& storage, u64 number, u64 at, u64 length) {
  auto const found = pages_.find(number);
  if (found != pages_.end()) {
    found->second->last_use_ = ++clock_;
    return found->second.get();
  }
  auto bytes = std::vector<std::byte>(length);
  TRY(storage.read(at, bytes));
  return create(number, at, std::move(bytes));
}

Page* PageCache::create(u64 number, u64 at, std::vector<std::byte> bytes) {
  make_room();
  auto& page = pages_[number];
  if (page && page->dirty()) --dirty_;
  page = std::make_unique<Page>(at, std::move(bytes));
  page->last_use_ = ++clock_;
  return page.get();
}

Bytes PageCache::change(Page& page, u64 at, u64 length) {
  if (!page.dirty()) ++dirty_;
  page.dirty_from_ = std::min(page.dirty_from_, at);
  page.dirty_to_ = std::max(page.dirty_to_, at + length);
  return Bytes{page.bytes_}.subspan(at, length);
}

void PageCache::make_room() {
  if (pages_.size() < capacity_) return;
  auto oldest = pages_.end();
  for (auto at = pages_.begin(); at != pages_.end(); ++at) {
    if (at->second->dirty() || at->second->being_written_) continue;
    if (oldest == pages_.end() || at->second->last_use_ < oldest->second->last_use_) oldest = at;
  }
  if (oldest != pages_.end()) pages_.erase(oldest);
}

std::vector<PageCache::Write> PageCache::take_dirty() {
  auto writes = std::vector<Write>{};
  if (dirty_ == 0) return writes;
  for (auto& [number, page] : pages_) {
    if (!page->dirty()) continue;
    auto const from = align_down(page->dirty_from_, write_grain);
    auto const to = std::min<u64>(align_up(page->dirty_to_, write_grain), page->bytes_.size());
    auto const part = page->bytes().subspan(from, to - from);
    writes.push_back({number, from, page->at_ + from, {part.begin(), part.end()}});
    page->dirty_from_ = ~u64{0};
    page->dirty_to_ = 0;
    page->being_written_ = true;
  }
  dirty_ = 0;
  return writes;
}

void PageCache::written(std::vector<Write> const& writes, bool success) {
  for (auto const& write : writes) {
    auto const found = pages_.find(write.number);
    if (found == pages_.end()) continue;
    found->second->being_written_ = false;
    if (!success) static_cast<void>(change(*found->second, write.within, write.bytes.size()));
  }
}

}  // namespace vireo::image::blocks
