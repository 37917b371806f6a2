#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "engine/soft/rendezvous.h"
#include "memory/guest_memory.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft {

/// Which bytes of guest memory have been translated by some vCPU, for all vCPUs and devices of a machine. A
/// store into such bytes makes every vCPU drop what it made from their page.
///
/// A page is either watched (it has chunks: no TLB lets stores pass unseen) or free (any TLB may hold a write
/// tag). A TLB takes a write tag by setting `tags_held` and then seeing no chunks; a translator watches by
/// setting chunks and then seeing no tags_held, or making all vCPUs drop their tags. One of the two sees the
/// other.
///
/// While a store's drop is under way (`clearing`) the chunks are gone, but vCPUs may still run what they made
/// from the page: no TLB takes a write tag then, and each further store into the page makes all drop it, too.
class CodePages final : public memory::WriteObserver {
 public:
  static constexpr u64 chunk_size{64};

  /// Becomes the memory's observer.
  CodePages(memory::GuestMemory& memory, Rendezvous& rendezvous);
  ~CodePages() override;
  CodePages(CodePages const&) = delete;
  CodePages& operator=(CodePages const&) = delete;
  /// Blocks may have been added. While nothing runs; true when so: what is known of all pages is
  /// lost, and TLBs and translations have to go.
  bool follow_blocks();
  Rendezvous& rendezvous() { return rendezvous_; }

  // ---- translators ----
  /// Bit i stands for bytes [64 i, 64 i + 64) of the page at this host address. On return each store into them
  /// is noticed; call it before reading them. The caller may be made to drop code on the way, of this page,
  /// too.
  void watch(std::byte* page, u64 chunks, Rendezvous::Member* from);
  /// The chunks that [offset, offset + length) of a page touches.
  static constexpr u64 chunks_of(u64 offset, u64 length) {
    auto const first = offset / chunk_size;
    auto const last = (offset + length - 1) / chunk_size;
    return (~u64{} >> (63 - (last - first))) << first;
  }

  // ---- stores ----
  /// Whether a TLB may have a write tag for this page. `wanted`: a store asks; else it is only given when that
  /// costs nothing.
  [[gnu::always_inline]] bool allow_write_tag(std::byte const* page, bool wanted) {
    auto const at = find(page);
    if (at.chunks == nullptr || at.chunks->load(std::memory_order_acquire) != 0) return false;
    if (!(at.tags->load(std::memory_order_acquire) & tags_held)) {
      if (!wanted) return false;
      at.tags->fetch_or(tags_held, std::memory_order_seq_cst);
    }
    return at.chunks->load(std::memory_order_seq_cst) == 0 &&
           !(at.tags->load(std::memory_order_seq_cst) & clearing_mask);
  }
  /// Whether a store of these bytes, of one page, may go on without being told: none of them is watched, nor
  /// will be before the vCPU has left the code that stores. For pages that get no write tag.
  [[gnu::always_inline]] bool allow_store_beside(std::byte const* host, u64 length) {
    auto const at = find(host);
    auto const wanted = chunks_of(offset_in_page(host), length);
    if (at.chunks == nullptr || is_watched(at, wanted)) return false;
    if (!rendezvous_.has_several()) return true;
    if (!(at.tags->load(std::memory_order_acquire) & stores_beside)) {
      at.tags->fetch_or(stores_beside, std::memory_order_seq_cst);
    }
    return !is_watched(at, wanted);
  }
  /// Some of these bytes, of one page, are watched. After a locked access to them: it will stay so.
  [[gnu::always_inline]] bool watched(std::byte const* host, u64 length) const {
    auto const at = find(host);
    if (at.chunks == nullptr) return false;
    return is_watched(at, chunks_of(offset_in_page(host), length));
  }
  /// A store without a write tag is done. `from` may be null.
  void stored(std::byte const* host, u64 length, Rendezvous::Member* from);
  void written(Gpa at, u64 length) override;

 private:
  using Chunks = std::atomic<u64>;
  using Tags = std::atomic<u32>;
  // Tags: whether some TLB may hold a write tag; whether vCPUs may store beside code (from then on for ever);
  // how many have begun to clear the chunks and not yet made all vCPUs drop the page; and how often that began.
  static constexpr u32 tags_held{1}, stores_beside{2}, clearing{4}, clearing_mask{0x3ff * clearing},
      version{1u << 12};
  struct Region {
    u64 host{};
    u64 bytes{};
    Chunks* chunks{};  // one for each page, as the next
    Tags* tags{};
    void* mapping{};
    u64 mapping_bytes{};
  };
  struct Page {
    Chunks* chunks;  // null: not in guest memory
    Tags* tags;
  };

  // SOUND: addresses are compared and counted only.
  static u64 address_of(std::byte const* host) { return reinterpret_cast<u64>(host); }
  static u64 offset_in_page(std::byte const* host) { return address_of(host) % page_size; }
  [[gnu::always_inline]] Page find(std::byte const* host) const {
    for (auto const* region = first_region_; region != end_of_regions_; ++region) {
      auto const offset = address_of(host) - region->host;
      if (offset < region->bytes) {
        return {region->chunks + offset / page_size, region->tags + offset / page_size};
      }
    }
    return {};
  }
  /// The order matters: who clears counts itself first.
  [[gnu::always_inline]] static bool is_watched(Page at, u64 chunks) {
    return (at.chunks->load(std::memory_order_seq_cst) & chunks) != 0 ||
           (at.tags->load(std::memory_order_seq_cst) & clearing_mask) != 0;
  }
  void forget_regions();
  void mark(Page at, std::byte* page, u64 chunks, Rendezvous::Member* from);
  void look(std::byte const* host, u64 length, Rendezvous::Member* from);

  memory::GuestMemory& memory_;
  Rendezvous& rendezvous_;
  std::vector<Region> regions_;
  Region const* first_region_{};
  Region const* end_of_regions_{};
};

}  // namespace vireo::engine::soft
