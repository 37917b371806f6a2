#pragma once

#include <array>
#include <cstddef>

#include "vocab/integers.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft {

/// One page in the first-level TLB. A valid tag is the page's linear address; an invalid one
/// (Window::no_tag) matches no address that looks at this entry.
struct TlbEntry {
  u64 read{}, execute{};
  u64 page{};      // the host's address of the page's first byte; 0: neither this entry nor that for stores was
                   // filled since the window was cleared
  u64 distance{};  // from the page's linear address to the host's
};
/// The same for stores, in a table of its own: a copy between pages that share an index finds both.
struct TlbWriteEntry {
  u64 tag{};
  u64 distance{};
};
static_assert(sizeof(TlbWriteEntry) == 16);

/// The pages of the last loads and stores by the stack pointer, as the tables have them: such an access needs
/// no look for its entry. Empty, the tags are an address that is not canonical, and the distances lead from it
/// to a page of our own: a stack pointer there meets harmless bytes in place of #SS.
struct StackPages {
  static constexpr u64 nowhere{0x6d1f'83a5'29c4'b000};
  u64 read{nowhere}, read_distance{}, write{nowhere}, write_distance{};
};

/// Whether `size` bytes (1 to page_size) at `address` lie in the page that `tag` stands for. Then address ^ tag
/// is the offset in the page.
constexpr bool in_page(u64 tag, u64 address, u64 size) { return (address ^ tag) <= page_size - size; }

/// What translated code reaches through its GS base: the TLB of one address space and privilege, and behind it
/// the translator's own tables, which nobody else touches.
struct alignas(page_size) Window {
  static constexpr u32 tlb_entries{16384}, jump_entries{32768}, slot_entries{131072};
  struct Jump {
    u64 linear, code;
  };

  std::array<TlbEntry, tlb_entries> tlb;
  std::array<TlbWriteEntry, tlb_entries> writes;
  std::array<Jump, jump_entries> jumps;
  std::array<u64, slot_entries> slots;
  StackPages stack;

  static constexpr u32 index(u64 linear) { return static_cast<u32>(linear >> 12) % tlb_entries; }
  static constexpr u64 no_tag(u32 index) { return index == 0 ? page_size : 0; }
  static constexpr TlbEntry empty(u32 index) {
    return {.read = no_tag(index), .execute = no_tag(index), .page = 0, .distance = 0};
  }
};

/// All windows of one vCPU, in one mapping that takes memory as it is touched; empty at first.
class Windows {
 public:
  static constexpr u8 user{0}, spaces{8};  // user code: one for each of the last address spaces
  static constexpr u8 supervisor{8}, supervisor_ac{9};
  static constexpr u8 count{10};

  Windows();  // throws std::bad_alloc
  ~Windows();
  Windows(Windows const&) = delete;
  Windows& operator=(Windows const&) = delete;

  /// What a window's stack pages are when they are not known.
  StackPages no_stack() const;
  Window& operator[](u8 number) { return first_[number]; }
  Window const& operator[](u8 number) const { return first_[number]; }

 private:
  Window* first_;
  alignas(page_size) std::array<std::byte, page_size> nowhere_{};
};

}  // namespace vireo::engine::soft
