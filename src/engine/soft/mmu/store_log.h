#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "engine/soft/mmu/window.h"

namespace vireo::engine::soft {

/// Lets a stretch of guest code run twice from the same memory. With a log the TLB hands out write tags for
/// stores only, and says which pages they open; what such a page held before is kept. Used by the vCPU's
/// thread only. Stores by others into such a page during a stretch are taken for the guest's.
class StoreLog {
 public:
  /// A stretch begins: no store passes unseen.
  void begin();
  /// The first run is over: its stores are kept aside and undone, for the second.
  void rewind();
  /// The second run has left the same bytes as the first.
  bool same() const;
  /// The first byte that differs; for reports.
  struct Difference {
    std::byte const* at{};
    std::byte first{}, second{};
  };
  Difference difference() const;
  void end() { recording_ = false; }

  // ---- of the MMU; general registers only, as translated code's values are in the others ----
  /// Before stores into this page become possible. False: there is no room, and they must not.
  bool open(std::byte* page, TlbWriteEntry& entry, u32 index) noexcept;
  /// A walk has set accessed or dirty flags, which stay.
  void table_changed(std::byte* entry) noexcept;

 private:
  struct Page {
    std::byte* host{};
    alignas(64) std::array<std::byte, page_size> before, after;
  };
  struct Tag {
    TlbWriteEntry* entry{};
    u32 index{};
  };
  static constexpr u32 most_pages{96}, most_tags{512};
  static constexpr u32 for_second_run{32};  // pages that only the second run stores into

  Page* find(std::byte* page) noexcept;

  std::unique_ptr<std::array<Page, most_pages>> pages_{std::make_unique<std::array<Page, most_pages>>()};
  std::array<Tag, most_tags> tags_{};
  u32 page_count_{}, tag_count_{};
  bool recording_{}, second_run_{};
};

}  // namespace vireo::engine::soft
