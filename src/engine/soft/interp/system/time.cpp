#include "engine/soft/interp/system/lower_system.h"
#include "engine/soft/paravirt.h"

namespace vireo::engine::soft::system {

using namespace x86;

namespace {

void require_tsc_access(Cpu const& cpu) {
  if ((cpu.state.cr4 & cr4_tsd) && cpu.cpl() != 0) raise_gp();
}

}  // namespace

void rdtsc(Cpu& cpu, Instruction const&, void const*) {
  require_tsc_access(cpu);
  set_edx_eax(cpu, guest_tsc(cpu));
}

void rdtscp(Cpu& cpu, Instruction const&, void const*) {
  require_tsc_access(cpu);
  set_edx_eax(cpu, guest_tsc(cpu));
  cpu.set_gpr(rcx, static_cast<u32>(cpu.state.tsc_aux));
}

void rdpmc(Cpu&, Instruction const&, void const*) { raise_gp(); }  // CPUID leaf 0xA: no counters

void rdpid(Cpu& cpu, Instruction const& insn, void const*) {
  cpu.set_gpr(insn.operands[0].reg, u64{static_cast<u32>(cpu.state.tsc_aux)});
}

}  // namespace vireo::engine::soft::system
