#include "engine/soft/mmu/store_log.h"

#include "engine/soft/mmu/page_table.h"

namespace vireo::engine::soft {

namespace {

void copy_page(std::byte* to, std::byte const* from) {
  auto bytes = page_size;
  // SOUND: both have a page; no vector register is touched.
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
}

bool equal(std::byte const* a, std::byte const* b) { return __builtin_memcmp(a, b, page_size) == 0; }

/// Writes nothing but the bytes that differ.
void put_back(std::byte* to, std::byte const* from) {
  for (auto word = u64{0}; word < page_size; word += sizeof(u64)) {
    u64 now, before;
    __builtin_memcpy(&now, to + word, sizeof now);
    __builtin_memcpy(&before, from + word, sizeof before);
    if (now == before) [[likely]]
      continue;
    for (auto at = word; at < word + sizeof(u64); ++at) {
      if (to[at] != from[at]) to[at] = from[at];
    }
  }
}

std::byte* page_of(std::byte* at) {
  // SOUND: the first byte of the page of guest memory around `at`.
  return reinterpret_cast<std::byte*>(reinterpret_cast<u64>(at) & ~(page_size - 1));
}

}  // namespace

void StoreLog::begin() {
  for (auto i = 0u; i < tag_count_; ++i) tags_[i].entry->tag = Window::no_tag(tags_[i].index);
  tag_count_ = page_count_ = 0;
  recording_ = true;
  second_run_ = false;
}

StoreLog::Page* StoreLog::find(std::byte* page) noexcept {
  for (auto i = 0u; i < page_count_; ++i) {
    if ((*pages_)[i].host == page) return &(*pages_)[i];
  }
  return nullptr;
}

bool StoreLog::open(std::byte* page, TlbWriteEntry& entry, u32 index) noexcept {
  if (tag_count_ == most_tags && recording_) return false;
  if (recording_ && find(page) == nullptr) {
    if (page_count_ == most_pages - (second_run_ ? 0 : for_second_run)) return false;
    auto& fresh = (*pages_)[page_count_++];
    fresh.host = page;
    copy_page(fresh.before.data(), page);
    if (second_run_) copy_page(fresh.after.data(), page);
  }
  if (tag_count_ == most_tags) return false;
  tags_[tag_count_++] = {&entry, index};
  return true;
}

void StoreLog::table_changed(std::byte* entry) noexcept {
  if (!recording_) return;
  auto* const page = find(page_of(entry));
  if (page == nullptr) return;
  auto const set = *entry & std::byte{page_accessed | page_dirty};
  auto const offset = entry - page->host;
  page->before[static_cast<std::size_t>(offset)] |= set;
  if (second_run_) page->after[static_cast<std::size_t>(offset)] |= set;
}

void StoreLog::rewind() {
  for (auto i = 0u; i < page_count_; ++i) {
    auto& page = (*pages_)[i];
    copy_page(page.after.data(), page.host);
    put_back(page.host, page.before.data());
  }
  second_run_ = true;
}

bool StoreLog::same() const {
  for (auto i = 0u; i < page_count_; ++i) {
    if (!equal((*pages_)[i].after.data(), (*pages_)[i].host)) return false;
  }
  return true;
}

StoreLog::Difference StoreLog::difference() const {
  for (auto i = 0u; i < page_count_; ++i) {
    auto const& page = (*pages_)[i];
    for (auto at = 0u; at < page_size; ++at) {
      if (page.after[at] != page.host[at]) return {page.host + at, page.after[at], page.host[at]};
    }
  }
  return {};
}

}  // namespace vireo::engine::soft
