#pragma once

#include <array>
#include <string>
#include <vector>

#include "engine/vcpu_state.h"
#include "x86/instruction.h"

/// The differential test: the same user-mode program runs on the host's processor and in a tier of the
/// engine, from the same registers and memory at the same addresses, and what it leaves behind is compared bit
/// for bit.
namespace vireo::engine::soft::differential {

// Where programs and their memory lie, on both sides. Low, so that absolute and RIP-relative operands reach it.
inline constexpr u64 code_base{0x3100'0000};
inline constexpr u64 code_bytes{0x10'0000};
inline constexpr u64 slot_bytes{512};
inline constexpr u64 slots{code_bytes / slot_bytes};
inline constexpr u64 slots16{
    0x1'0000 / slot_bytes};  // 16-bit code runs in a segment at code_base, on data at scratch_base
inline constexpr u64 scratch_base{0x3234'0000};  // an unmapped page before and after
inline constexpr u64 writable_bytes{0x2000};     // two pages to read and write,
inline constexpr u64 scratch_bytes{0x3000};      // and one to read
inline constexpr u64 context_base{0x3345'0000};  // the native harness' own

using Scratch = std::array<u8, writable_bytes>;

/// The read-only page: operands that programs load, at these offsets from scratch_base.
inline constexpr u64 dword_indices{writable_bytes}, qword_indices{writable_bytes + 0x400},
    masks{writable_bytes + 0x800};
std::array<u8, scratch_bytes - writable_bytes> const& operand_tables();

struct Registers {
  std::array<u64, 16> gpr{};
  u64 rip{}, rflags{}, fs_base{}, gs_base{};
  ExtendedState extended{};
};

struct Element {                      // one generated instruction with the moves that prepare its operands
  u32 start{}, instruction{}, end{};  // offsets in code
  u16 row{};                          // in the instruction table
  u32 undefined_flags{};              // of all elements so far, at its end
  bool may_end_here{true};            // no branch crosses its end
};

struct Program {
  u64 at{};
  x86::CodeSize code_size{x86::CodeSize::bits64};  // others: compatibility mode
  std::vector<u8> code{};
  std::vector<Element> elements{};
  Registers initial{};
  u32 undefined_flags{};  // from its first element to its last
  bool modifies_itself{};

  u64 rip() const { return code_size == x86::CodeSize::bits16 ? at - code_base : at; }
};

struct Outcome {
  bool endless{};    // has been stopped; nothing else counts
  bool completed{};  // otherwise an exception:
  u8 vector{};
  u32 error_code{};
  u64 address{};  // of a page fault
  Registers registers;
};

/// What is not compared, because the processor leaves it undefined or model-specific.
struct Tolerance {
  u32 flags{};        // undefined where the program ended
  bool x87{};         // MMX instructions enter MMX state before they fault
  bool vectors{};     // a gather that faults leaves its mask's unused part and the upper halves as it likes
  bool which_page{};  // what of a wide access faulted first: which page, or the limit
};
Tolerance tolerance(Program const& program, Outcome const& native);

bool same(Outcome const& native, Outcome const& emulated, Tolerance const& tolerance);
std::string listing(Program const& program);
/// Both outcomes side by side, a mark on what differs.
std::string comparison(Program const& program, Outcome const& native, Outcome const& emulated,
                       Tolerance const& tolerance);

}  // namespace vireo::engine::soft::differential
