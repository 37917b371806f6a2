#include "engine/soft/interp/system/lower_system.h"

// CLI, STI, CLAC, STAC (SDM vol. 2; virtual interrupts: vol. 3, 21.3).
namespace vireo::engine::soft::system {

using namespace x86;

namespace {

enum class InterruptFlag : u8 { real, virtual_flag };

// Which flag CLI and STI work on at this privilege.
InterruptFlag interrupt_flag(Cpu const& cpu) {
  auto const& state = cpu.state;
  auto const iopl = (state.rflags >> 12) & 3;
  if (cpu.virtual8086()) {
    if (iopl == 3) return InterruptFlag::real;
    if (state.cr4 & cr4_vme) return InterruptFlag::virtual_flag;
    raise_gp();
  }
  if (cpu.cpl() <= iopl) return InterruptFlag::real;
  if (cpu.cpl() == 3 && (state.cr4 & cr4_pvi)) return InterruptFlag::virtual_flag;
  raise_gp();
}

}  // namespace

void cli(Cpu& cpu, Instruction const&, void const*) {
  auto const flag = interrupt_flag(cpu) == InterruptFlag::real ? flag_if : flag_vif;
  cpu.state.rflags &= ~u64{flag};
}

void sti(Cpu& cpu, Instruction const&, void const*) {
  auto& state = cpu.state;
  if (interrupt_flag(cpu) == InterruptFlag::virtual_flag) {
    if (state.rflags & flag_vip) raise_gp();
    state.rflags |= flag_vif;
    return;
  }
  if (state.rflags & flag_if) return;
  state.rflags |= flag_if;
  state.interrupt_shadow = true;
  cpu.interrupts_enabled();
}

void clac(Cpu& cpu, Instruction const&, void const*) {
  if (cpu.cpl() != 0) raise_ud();
  cpu.state.rflags &= ~u64{flag_ac};
  cpu.update_rights();
}

void stac(Cpu& cpu, Instruction const&, void const*) {
  if (cpu.cpl() != 0) raise_ud();
  cpu.state.rflags |= flag_ac;
  cpu.update_rights();
}

}  // namespace vireo::engine::soft::system
