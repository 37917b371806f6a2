#pragma once

#include <array>
#include <cstddef>

#include "engine/soft/translate/emitter.h"
#include "vocab/integers.h"

namespace vireo::engine::soft::translate {

class Translator;

/// Why translated code has come back to C++. RIP and what else is not in registers follows from `site`.
enum class ExitKind : u32 {
  link,       // a direct jump that nobody has linked yet: `site` is an Exit
  slot,       // the same across a page border
  indirect,   // the jump cache misses `address`
  interpret,  // the instruction at `site` is the interpreter's
  access,     // the access of the instruction at `site` needs the interpreter
  poll,       // attention at a backward jump: `site` is an Exit
  stale,      // the block was invalidated: `site` is the block, `address` tells the entry
  trap,       // the host raised an exception at host address `address`
  interrupt,  // attention at the start of a loop: `site` is a Site
};

inline constexpr u32 exit_kinds{9};

/// What translated code keeps in memory. RSP points here while it runs, and the host's stack for slow paths
/// lies below.
struct alignas(256) Context {
  // Guest registers that have no host register (r9, r10, r11), and the places of registers that are lent; in
  // the place of rsp, which needs none, saved flags: a byte with OF and one as LAHF has it, or a byte with CF.
  std::array<u64, 16> gpr{};
  u64 saved_flags() const { return (gpr[4] >> 8 & 0xd5) | (gpr[4] & 1) << 11; }
  void save_flags(u64 rflags) { gpr[4] = flags_for_sahf(rflags); }
  bool saved_carry() const { return (gpr[4] & 0xff) != 0; }
  static constexpr u64 flags_for_sahf(u64 rflags) { return (rflags & 0xff) << 8 | (rflags >> 11 & 1); }
  u32 poll{};       // not zero: leave at the next backward jump
  u32 jump_mask{};  // which bits of a target select its entry in the jump cache; 0: leave at the next indirect
                    // jump
  /// Somebody wants the vCPU: other threads write these two words (Cpu::PollWords).
  bool wanted() const {
    return __atomic_load_n(&poll, __ATOMIC_RELAXED) != 0 || __atomic_load_n(&jump_mask, __ATOMIC_RELAXED) == 0;
  }
  u64* guest{};      // VcpuState::gpr
  void* extended{};  // VcpuState::extended
  u32 vectors{};     // 1: x87, SSE and AVX state is in the host's registers
  u32 kind{};
  u32 site{};
  u64 fault_address{};  // of the access that a slow path refused
  u32 jumped_from{};    // Site of the last RET or indirect JMP: its target may be no address at all
  u32 default_mxcsr{0x1f80};
  u64 address{};
  u64 flags{};        // RFLAGS at the exit
  u64 entry_flags{};  // AH as in SAHF, AL 1 when OF is set
  u64 target{};       // where to begin
  u64 host_stack{};
  u64 fs_base{}, gs_base{};
  std::array<u64, 12> distances{};  // from guest to host addresses, of groups that have no register
  u64 tsc_offset{};                 // what the guest's TSC is beyond the host's
  u32 interrupt_waits{};            // an interrupt could be delivered were IF set
  Translator* translator{};
  // In 16- and 32-bit code, by segment register: base, and Cpu::end_of() for reads and writes.
  std::array<u64, 6> segment_base{}, read_end{}, write_end{};
  u64 code_tag{};  // CS base, and above 32 bits what names it among all code segments: what jumps go by
};

/// Host registers of translated code. RSP is the context; guest r9, r10 and r11 live there.
inline constexpr Reg guest_stack_pointer{Reg::r9}, scratch{Reg::r10}, second_scratch{Reg::r11};

constexpr Mem in_context(std::size_t offset) { return {.base = Reg::rsp, .disp = static_cast<i32>(offset)}; }
constexpr Mem home_of(u8 guest_register) { return in_context(guest_register * 8u); }
inline constexpr Mem saved_flags{home_of(4)}, saved_low_flags{in_context(4 * 8 + 1)};
#define VIREO_CONTEXT(member) \
  ::vireo::engine::soft::translate::in_context(offsetof(::vireo::engine::soft::translate::Context, member))

/// Guest registers that keep their number; the others are rsp, r9, r10, r11.
constexpr bool keeps_its_register(u8 guest) { return guest != 4 && (guest < 9 || guest > 11); }
inline constexpr u8 nobody{0xff};
constexpr bool has_no_register(u8 guest) { return guest >= 9 && guest <= 11; }

}  // namespace vireo::engine::soft::translate
