#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft::vector {

// What the control registers must allow before an instruction runs (SDM vol. 2, 2.4 and 2.6; vol. 3, 2.5
// and 13.1).

[[noreturn, gnu::cold]] void refuse_sse(Cpu const& cpu);
[[noreturn, gnu::cold]] void refuse_avx(Cpu const& cpu);
[[noreturn, gnu::cold]] void refuse_mmx(Cpu const& cpu);

inline void require_sse(Cpu const& cpu) {
  auto const stops = cpu.state.cr0 & (x86::cr0_em | x86::cr0_ts);
  auto const lacks = ~cpu.state.cr4 & x86::cr4_osfxsr;
  if ((stops | lacks) != 0) [[unlikely]]
    refuse_sse(cpu);
}

inline constexpr u64 xcr0_avx{6};
inline void require_avx(Cpu const& cpu) {
  auto const stops = cpu.state.cr0 & x86::cr0_ts;
  auto const lacks = (~cpu.state.cr4 & x86::cr4_osxsave) | (~cpu.state.xcr0 & xcr0_avx);
  if ((stops | lacks) != 0) [[unlikely]]
    refuse_avx(cpu);
}

/// An x87 exception that is flagged and not masked: the next waiting instruction reports it.
inline bool x87_exception_pending(ExtendedState const& state) { return (state.fsw & ~state.fcw & 0x3f) != 0; }
inline void require_no_x87_exception(Cpu const& cpu) {
  if (x87_exception_pending(cpu.state.extended)) [[unlikely]]
    raise(x86::Vector::mf);
}

inline void require_x87(Cpu const& cpu) {
  if ((cpu.state.cr0 & (x86::cr0_em | x86::cr0_ts)) != 0) [[unlikely]]
    raise(x86::Vector::nm);
}
inline void require_mmx(Cpu const& cpu) {
  if ((cpu.state.cr0 & (x86::cr0_em | x86::cr0_ts)) != 0) [[unlikely]]
    refuse_mmx(cpu);
  require_no_x87_exception(cpu);
}

/// The linear address's low bits decide alignment; segments other than FS and GS have base 0 in 64-bit mode.
inline void require_alignment(Cpu const& cpu, x86::SegmentRegister segment, u64 offset, u64 mask) {
  auto const flat = cpu.code64() && segment < x86::SegmentRegister::fs;
  if (((offset + (flat ? 0 : cpu.state.seg(segment).base)) & mask) != 0) [[unlikely]]
    raise_gp();
}

}  // namespace vireo::engine::soft::vector
