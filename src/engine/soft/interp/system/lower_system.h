#pragma once

#include "engine/soft/interp/cpu.h"

/// Handlers of the system family, one per operation; see Handler in cpu.h.
namespace vireo::engine::soft::system {

#define VIREO_HANDLER(name) void name(Cpu& cpu, x86::Instruction const& insn, void const* extra)

// control.cpp, control_debug.cpp
VIREO_HANDLER(mov_to_control);
VIREO_HANDLER(mov_from_control);
VIREO_HANDLER(clts);
VIREO_HANDLER(lmsw);
VIREO_HANDLER(smsw);
VIREO_HANDLER(xgetbv);
VIREO_HANDLER(xsetbv);
VIREO_HANDLER(mov_to_debug);
VIREO_HANDLER(mov_from_debug);
// cpuid.cpp
VIREO_HANDLER(cpuid);
// msr.cpp
VIREO_HANDLER(rdmsr);
VIREO_HANDLER(wrmsr);
// time.cpp
VIREO_HANDLER(rdtsc);
VIREO_HANDLER(rdtscp);
VIREO_HANDLER(rdpmc);
VIREO_HANDLER(rdpid);
// syscall.cpp
VIREO_HANDLER(syscall);
VIREO_HANDLER(sysret);
VIREO_HANDLER(sysenter);
VIREO_HANDLER(sysexit);
VIREO_HANDLER(swapgs);
VIREO_HANDLER(rdfsbase);
VIREO_HANDLER(rdgsbase);
VIREO_HANDLER(wrfsbase);
VIREO_HANDLER(wrgsbase);
// flags_system.cpp
VIREO_HANDLER(cli);
VIREO_HANDLER(sti);
VIREO_HANDLER(clac);
VIREO_HANDLER(stac);
// io.cpp
VIREO_HANDLER(in);
VIREO_HANDLER(out);
VIREO_HANDLER(ins);
VIREO_HANDLER(outs);
// misc.cpp
VIREO_HANDLER(hlt);
VIREO_HANDLER(monitor);
VIREO_HANDLER(mwait);
VIREO_HANDLER(pause);
VIREO_HANDLER(privileged_nothing);  // INVD, WBINVD: guest caches are the host's, and coherent
VIREO_HANDLER(random_number);
VIREO_HANDLER(hypercall);
VIREO_HANDLER(undefined);

#undef VIREO_HANDLER

inline void require_cpl0(Cpu const& cpu) {
  if (cpu.cpl() != 0) raise_gp();
}
inline u64 edx_eax(Cpu const& cpu) { return u64{cpu.gpr<u32>(x86::rdx)} << 32 | cpu.gpr<u32>(x86::rax); }
inline void set_edx_eax(Cpu& cpu, u64 value) {
  cpu.set_gpr(x86::rax, static_cast<u32>(value));
  cpu.set_gpr(x86::rdx, static_cast<u32>(value >> 32));
}

/// CR4 and XCR0 bits that the model offers.
u64 supported_cr4(Cpu const& cpu);
u64 supported_xcr0(Cpu const& cpu);

}  // namespace vireo::engine::soft::system
