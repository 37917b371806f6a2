#include "engine/soft/code_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <new>

namespace vireo::engine::soft {

namespace {
constexpr std::size_t pages_at_once{64};
}  // namespace

CodePages::CodePages(memory::GuestMemory& memory, Rendezvous& rendezvous)
    : memory_{memory}, rendezvous_{rendezvous} {
  follow_blocks();
  memory_.set_write_observer(this);
}

CodePages::~CodePages() {
  memory_.set_write_observer(nullptr);
  forget_regions();
}

void CodePages::forget_regions() {
  for (auto const& region : regions_) ::munmap(region.mapping, region.mapping_bytes);
  regions_.clear();
  first_region_ = end_of_regions_ = nullptr;
}

bool CodePages::follow_blocks() {
  auto const known = std::ranges::equal(regions_, memory_.blocks(), [](Region const& ours, auto const& theirs) {
    return ours.host == address_of(theirs.host) && ours.bytes == theirs.range.length;
  });
  if (known) return false;
  forget_regions();
  for (auto const& region : memory_.blocks()) {
    auto const pages = region.range.length / page_size;
    auto const bytes = pages * (sizeof(Chunks) + sizeof(Tags));
    // SOUND: a fresh private mapping of our own, unmapped by forget_regions(); it takes memory as it is
    // touched.
    auto* const mapping =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc{};
    // SOUND: zero bytes are atomics of value zero; there is room for `pages` of each.
    auto* const chunks = static_cast<Chunks*>(mapping);
    auto* const tags = reinterpret_cast<Tags*>(chunks + pages);
    regions_.push_back({.host = address_of(region.host),
                        .bytes = region.range.length,
                        .chunks = chunks,
                        .tags = tags,
                        .mapping = mapping,
                        .mapping_bytes = bytes});
  }
  first_region_ = regions_.data();
  end_of_regions_ = first_region_ + regions_.size();
  return true;
}

// A request may let others' requests in: when one of them has dropped this page, its chunks may be gone again.
void CodePages::watch(std::byte* page, u64 chunks, Rendezvous::Member* from) {
  auto const at = find(page);
  if (at.chunks == nullptr) return;
  do {
    mark(at, page - offset_in_page(page), chunks, from);
  } while ((at.chunks->load(std::memory_order_seq_cst) & chunks) != chunks);
}

// SOUND: after chunks are set, a TLB takes no new write tag unless somebody clears the chunks; so once all have
// dropped theirs, tags_held may go, if the page was in nobody's hands from before the chunks were set until
// then: that is, if neither the count nor the version of clearings has moved. Else it stays, and costs the next
// watcher a rendezvous in vain. stores_beside stays: a vCPU may store beside other chunks at any time, and
// takes that up by setting it and then seeing that its own chunks are clear; so it, or who sets them, sees the
// other.
void CodePages::mark(Page at, std::byte* page, u64 chunks, Rendezvous::Member* from) {
  auto const before = at.tags->load(std::memory_order_seq_cst);
  if ((at.chunks->load(std::memory_order_seq_cst) & chunks) != chunks) {
    at.chunks->fetch_or(chunks, std::memory_order_seq_cst);
  }
  auto after = at.tags->load(std::memory_order_seq_cst);
  if (!(after & (tags_held | stores_beside))) return;
  rendezvous_.request(from, {&page, 1}, Rendezvous::Request::drop_write_tags);
  if (!(after & tags_held) || after != (before | tags_held) || (after & clearing_mask) != 0) return;
  at.tags->compare_exchange_strong(after, after & ~tags_held, std::memory_order_seq_cst);
}

void CodePages::stored(std::byte const* host, u64 length, Rendezvous::Member* from) {
  // SOUND: a locked access to our own stack: the bytes are visible before the chunks are looked at, as a
  // translator sets chunks before it reads bytes.
  asm volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
  look(host, length, from);
}

void CodePages::written(Gpa at, u64 length) {
  // SOUND: as in stored().
  asm volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
  while (length > 0) {
    auto const region = memory_.find(at);
    if (!region) return;
    auto const offset = at - region->range.start;
    auto const piece = std::min(length, region->range.length - offset);
    look(region->host + offset, piece, nullptr);
    at = at + piece;
    length -= piece;
  }
}

/// The chunks go first and the letters follow: who watches the page anew in between loses its code in vain.
void CodePages::look(std::byte const* host, u64 length, Rendezvous::Member* from) {
  auto hit = std::array<std::byte*, pages_at_once>{};
  auto tags = std::array<Tags*, pages_at_once>{};
  auto count = std::size_t{};
  auto const tell = [&] {
    if (count != 0) rendezvous_.request(from, {hit.data(), count}, Rendezvous::Request::drop_code);
    for (auto i = std::size_t{}; i < count; ++i) tags[i]->fetch_sub(clearing, std::memory_order_seq_cst);
    count = 0;
  };
  while (length > 0) {
    auto const offset = offset_in_page(host);
    auto const piece = std::min(length, page_size - offset);
    auto const page = find(host);
    if (page.chunks != nullptr && is_watched(page, chunks_of(offset, piece))) {
      page.tags->fetch_add(clearing + version, std::memory_order_seq_cst);
      page.chunks->store(0, std::memory_order_seq_cst);
      // SOUND: only compared by those who made code from this page.
      hit[count] = const_cast<std::byte*>(host - offset);
      tags[count++] = page.tags;
      if (count == hit.size()) tell();
    }
    host += piece;
    length -= piece;
  }
  tell();
}

}  // namespace vireo::engine::soft
