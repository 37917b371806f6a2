#pragma once

#include "engine/soft/interp/cpu.h"
#include "engine/soft/tsc.h"

/// KVM's paravirtual interface as guests know it (Linux,
/// Documentation/virt/kvm/x86/{cpuid,msr,hypercalls}.rst).
namespace vireo::engine::soft {

inline u64 machine_tsc(Cpu const& cpu) { return host_tsc() + cpu.machine_tsc_offset; }
inline u64 guest_tsc(Cpu const& cpu) { return machine_tsc(cpu) + cpu.state.tsc_offset; }

namespace paravirt {

enum Msr : u32 {
  msr_wall_clock_old = 0x11,
  msr_system_time_old = 0x12,
  msr_wall_clock = 0x4b564d00,
  msr_system_time = 0x4b564d01,
  msr_async_pf = 0x4b564d02,
  msr_steal_time = 0x4b564d03,
  msr_eoi = 0x4b564d04,
  msr_poll_control = 0x4b564d05,
};

/// Both answer false for an MSR that is not of this interface or a value that is not allowed: #GP.
bool read_msr(Cpu const& cpu, u32 index, u64& value);
bool write_msr(Cpu& cpu, u32 index, u64 value);

/// Writes the vCPU's time record anew: after a start, and when the guest changed its TSC.
void publish_time(Cpu& cpu);

/// Marks the vCPU as not running (another need not send it a TLB flush, nor spin for it), and as running again;
/// the latter answers true when a TLB flush was left for it.
void mark_preempted(Cpu& cpu);
bool mark_running(Cpu& cpu);
inline bool wants_stolen_time(Cpu const& cpu) { return cpu.state.kvm_steal_time & 1; }
void add_stolen_time(Cpu& cpu, u64 ns);

/// VMCALL and VMMCALL: the value for RAX.
u64 hypercall(Cpu& cpu, u64 number, u64 a0, u64 a1, u64 a2, u64 a3);

}  // namespace paravirt
}  // namespace vireo::engine::soft
