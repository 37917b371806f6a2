#pragma once

#include <array>

#include "engine/soft/translate/context.h"

namespace vireo::engine::soft::translate {

class CodeCache;

/// Code between C++ and translated code, written once into the beginning of a code cache.
struct Trampolines {
  /// Runs translated code from Context::target until it leaves; the kind of exit.
  u32 (*enter)(Context*){};
  std::array<u8 const*, exit_kinds> exits{};  // by ExitKind; r11: site, r10: address
  /// Called with r10 = linear address, r11 = site: r10 becomes the host's address, or the access exit is taken.
  u8 const* refill{};
  u8 const* refill_group{};  // the same, but with ZF clear
  u8 const*
      stack_read{};  // called with r10 = linear address: makes its page that of Window::stack; ZF is clear
  u8 const* stack_write{};  // when the TLB does not have it. r11 is lost
  u8 const* set_access{};   // called with r11 = site: STAC, CLAC; r10 becomes 0 when the interpreter must do it
  u8 const* find_jump{};    // jumped to with r10 = target, as exit(indirect)
  u8 const* find_slot{};    // jumped to with r11 = Exit, as exit(slot)
  u8 const* repeat_string{};  // as set_access, for REP MOVS and REP STOS
  /// Jumped to with r11 = site and the flags saved: SYSCALL, SYSRET, IRET.
  u8 const* system_call{};
  u8 const* system_return{};
  u8 const* interrupt_return{};
  u8 const* load_vectors{};  // called
  u32 end{};

  u8 const* exit(ExitKind kind) const { return exits[static_cast<u32>(kind)]; }
};

/// The guest's registers that a C++ function may change, as they lie on the stack meanwhile.
struct SavedRegisters {
  u64 rsp, r8, rdi, rsi, rdx, rcx, rax;
};

/// What RefillFunction gives when it refuses; distances between pages are even.
inline constexpr u64 no_distance{1};
/// `refill(context, linear address, site)`: the distance to the host's address. It must not touch vector
/// registers.
using RefillFunction = u64 (*)(Context*, u64, u32);
/// `find(context, what)`: where to go on, 0 when that must be found outside. It must not touch vector
/// registers.
using FindFunction = u64 (*)(Context*, u64);
/// `change_privilege(context, registers, site)`: where to go on, 0 when the interpreter must take it.
/// `registers` are those of SavedRegisters. It must not touch vector registers.
using PrivilegeFunction = u64 (*)(Context*, SavedRegisters&, u32);
struct SlowPaths {
  RefillFunction refill, set_access;
  FindFunction find_jump, find_slot;
  PrivilegeFunction repeat_string;  // 0 when something is left to do, else anything
  PrivilegeFunction system_call, system_return, interrupt_return;
};

Trampolines write_trampolines(CodeCache& cache, SlowPaths const& slow_paths, bool avx);

}  // namespace vireo::engine::soft::translate
