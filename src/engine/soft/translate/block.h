#pragma once

#include <array>
#include <vector>

#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/context.h"
#include "vocab/integers.h"

namespace vireo::engine::soft::translate {

// There are hundreds of thousands of these notes: they are kept small.

/// A guest register that has no host register, in the place of one that the block does not use; or a distance
/// to host addresses (then nobody's).
class Loan {
 public:
  Loan() = default;
  Loan(u8 guest, u8 place, bool written)
      : place_{static_cast<u8>(place & 0xf)},
        guest_{static_cast<u8>(guest == nobody ? 0 : guest & 7)},
        written_{written} {}
  bool has_guest() const { return guest_ != 0; }
  u8 guest() const { return static_cast<u8>(guest_ | 8); }  // 9, 10, 11
  u8 place() const { return place_; }  // host register = the guest register that it belongs to otherwise
  bool written() const { return written_; }

 private:
  u8 place_ : 4 {};
  u8 guest_ : 3 {};
  bool written_ : 1 {};
};
static_assert(sizeof(Loan) == 1);

struct PageCode;

/// Guest code of one page, translated.
struct Block {
  static constexpr u32 most_code{0xffff};

  PageCode* page{};
  // In the code cache: r10 = linear address, r11 = offset in the jump cache, flags saved. The other places are
  // given by their distance from here.
  u32 indirect_entry{};
  u32 first_site{};
  u16 start{};                             // offset in the page
  u16 length{};                            // of guest code, bytes
  u16 saved_entry{};                       // flags saved in the context
  u16 entry{};                             // flags in RFLAGS
  u16 stale_saved_entry{}, stale_entry{};  // where the last two lead once the guest's code has changed
  u16 code_size{};
  u8 loan_count : 4 {};
  bool valid : 1 {true};
  bool grouped : 1 {true};  // accesses share checks; false: what such a block falls back to
  static constexpr u32 most_loans{8};
  std::array<Loan, most_loans> loans{};

  u32 entry_for(bool flags_saved) const { return indirect_entry + (flags_saved ? saved_entry : entry); }
  u32 code_end() const { return indirect_entry + code_size; }
};
static_assert(sizeof(Block) == 40);

/// What is kept of the flags in the context: a byte that is CF, or all.
enum class Saved : u8 { nothing, carry, all };

/// An instruction at which translated code may stop. Its block follows from its number:
/// CodeCache::block_of_site().
struct Site {
  u32 guest_offset : 12 {};  // from the block's start
  u32 size : 13 {};          // of the access
  u32 flags_kept : 2 {};     // Saved
  bool write : 1 {};
  bool plain : 1 {};  // the access faults for its page alone: no alignment, canonical unless #PF comes first
  bool loans_ended : 1 {};  // the registers are all in their own places
  bool traps : 1 {};
  // One of these, by what the site is for.
  union {
    u32 interpreted{};  // ExitKind::interpret: index of the instruction
    u32 host_offset;    // `traps`: where its host instruction begins
    i32 popped;         // ExitKind::indirect: bytes that the instruction has taken from the stack
  };

  Saved flags() const { return static_cast<Saved>(flags_kept); }
};
static_assert(sizeof(Site) == 8);

/// A direct jump out of a block.
struct Exit {
  i64 target{};  // guest address relative to the page's start
  u32 block : 30 {};
  bool grouped : 1 {true};  // what it wants of its target
  bool flags_saved : 1 {};
  union {
    u32 patch{};  // for jumps within the page: where the rel32 lies
    u32 slot;     // for jumps to other pages
  };
};
static_assert(sizeof(Exit) == 16);

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
  bool relative{};  // may run at other addresses; code reads the present one from this slot of its window:
  u32 slot{};
  // By window: the page's linear address there, while the stamp is that of the window's tables.
  std::array<u64, Windows::count> places{};
  std::array<u32, Windows::count> place_stamps{};
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
