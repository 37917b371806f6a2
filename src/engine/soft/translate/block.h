#pragma once

#include <array>
#include <vector>

#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/emitter.h"
#include "vocab/integers.h"

namespace vireo::engine::soft::translate {

/// A guest register that has no host register, in the place of one that the block does not use; or a distance
/// to host addresses (guest is `nobody`).
struct Loan {
  u8 guest{};
  u8 place{};  // host register = the guest register that it belongs to otherwise
  bool written{};
};

struct PageCode;

/// Guest code of one page, translated. Addresses are offsets in the code cache.
struct Block {
  PageCode* page{};
  u16 start{};                             // offset in the page
  u16 length{};                            // of guest code, bytes
  u32 indirect_entry{};                    // r10 = linear address, r11 = offset in the jump cache, flags saved
  u32 saved_entry{};                       // flags saved in the context
  u32 entry{};                             // flags in RFLAGS
  u32 stale_saved_entry{}, stale_entry{};  // where the last two lead once the guest's code has changed
  u32 code_end{};
  u32 first_site{}, sites{};
  u8 loan_count{};
  bool valid{true};
  bool grouped{true};  // accesses share checks; false: what such a block falls back to
  std::array<Loan, 12> loans{};
};

/// What is kept of the flags in the context: a byte that is CF, or all.
enum class Saved : u8 { nothing, carry, all };

/// An instruction at which translated code may stop.
struct Site {
  u32 block{};
  u32 interpreted{};   // for ExitKind::interpret: index of the instruction
  u32 host_offset{};   // for traps: where its host instruction begins
  u16 guest_offset{};  // from the block's start
  u16 size{};          // of the access
  bool write{};
  Saved flags{};
  bool plain{};        // the access faults for its page alone: no alignment, canonical unless #PF comes first
  bool loans_ended{};  // the registers are all in their own places
  i32 popped{};        // bytes that the instruction has taken from the stack
};

/// A direct jump out of a block.
struct Exit {
  u32 block{};
  u32 patch{};         // where the rel32 lies, for jumps within the page
  i64 target{};        // guest address relative to the page's start
  u32 slot{};          // for jumps to other pages
  bool grouped{true};  // what it wants of its target
  bool flags_saved{};
};

/// Translated code of one guest page, as seen at one linear address (or at any, when relative).
struct PageCode {
  std::byte* host{};
  std::byte* second_host{};  // for instructions that go on in the next page, which lies there; null for others
  u64 linear{};              // of the page's first byte, when it was translated first
  u16 mode{};
  // Outside of 64-bit mode, unless CodeMode::flat_code: the instruction pointer at the page's first byte, which
  // may lie before the segment, and CS's limit.
  i64 pointer{};
  u32 limit{};
  bool relative{};                // may run at another address: Context::delta tells the distance
  // By window: the distance there, while the stamp is that of the window's tables.
  std::array<u64, Windows::count> deltas{};
  std::array<u32, Windows::count> delta_stamps{};
  u64 chunks{}, second_chunks{};  // 64-byte pieces of the two that stores are watched in
  u16 crossings{};  // which of the last 15 bytes begin an instruction that goes on in the next page
  std::vector<u32> blocks;
  u32 number{};
  u32 invalidations{};

  static constexpr u16 first_crossing{4096 - 15};
  bool crosses_at(u16 offset) const {
    return offset >= first_crossing && (crossings >> (offset - first_crossing) & 1);
  }
  void note_crossing(u16 offset) { crossings = static_cast<u16>(crossings | 1u << (offset - first_crossing)); }
};

}  // namespace vireo::engine::soft::translate
