#include "image/block_map/page_cache.h"

#include <algorithm>
#include <iterator>

namespace vireo::image::block_map {

PageCache::Page* PageCache::find(u64 number) {
  auto const found = by_number_.find(number);
  if (found == by_number_.end()) return nullptr;
  pages_.splice(pages_.begin(), pages_, found->second);
  return &*found->second;
}

PageCache::Page* PageCache::insert(u64 number, std::vector<std::byte> bytes) {
  for (auto at = pages_.end(); pages_.size() >= capacity_ && at != pages_.begin();) {
    --at;
    if (at->dirty || at->being_written) continue;
    by_number_.erase(at->number);
    at = pages_.erase(at);
  }
  pages_.push_front(Page{.number = number, .bytes = std::move(bytes)});
  by_number_[number] = pages_.begin();
  return &pages_.front();
}

void PageCache::mark_dirty(Page& page) {
  if (!page.dirty) ++dirty_;
  page.dirty = true;
}

std::vector<PageCache::Page const*> PageCache::take_dirty() {
  auto taken = std::vector<Page const*>{};
  for (auto& page : pages_) {
    if (!page.dirty) continue;
    page.dirty = false;
    page.being_written = true;
    taken.push_back(&page);
  }
  dirty_ = 0;
  std::ranges::sort(taken, {}, [](Page const* page) { return page->number; });
  return taken;
}

void PageCache::written(bool success) {
  for (auto& page : pages_) {
    if (page.being_written && !success) mark_dirty(page);
    page.being_written = false;
  }
}

}  // namespace vireo::image::block_map
