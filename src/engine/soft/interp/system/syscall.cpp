#include <utility>

#include "engine/soft/interp/system/lower_system.h"
#include "x86/address.h"

// Fast system calls and the FS and GS bases (SDM vol. 3, 5.8.7, 5.8.8; vol. 2).
namespace vireo::engine::soft::system {

using namespace x86;

namespace {

constexpr u16 code64{0xa09b}, code32{0xc09b}, data{0xc093}, dpl3{0x60};

Segment flat(u16 selector, u16 attributes) {
  return {.base = 0, .limit = 0xffff'ffff, .selector = selector, .attributes = attributes};
}

void enter_kernel(Cpu& cpu, u16 selector, u16 code) {
  cpu.state.cs() = flat(static_cast<u16>(selector & 0xfffc), code);
  cpu.state.ss() = flat(static_cast<u16>((selector & 0xfffc) + 8), data);
  cpu.update_mode();
}

void leave_to_user(Cpu& cpu, u16 code_selector, u16 stack_selector, u16 code) {
  cpu.state.cs() = flat(code_selector | 3, code | dpl3);
  cpu.state.ss() = flat(stack_selector | 3, data | dpl3);
  cpu.update_mode();
}

bool is_amd(Cpu const& cpu) { return cpu.model().lookup(0, 0).ebx == 0x6874'7541; }  // "Auth"

void require_fsgsbase(Cpu const& cpu) {
  if (!(cpu.state.cr4 & cr4_fsgsbase)) raise_ud();
}

void read_base(Cpu& cpu, Instruction const& insn, SegmentRegister segment) {
  require_fsgsbase(cpu);
  auto const base = cpu.state.seg(segment).base;
  if (insn.operand_size == 8) return cpu.set_gpr(insn.operands[0].reg, base);
  cpu.set_gpr(insn.operands[0].reg, static_cast<u32>(base));
}

void write_base(Cpu& cpu, Instruction const& insn, SegmentRegister segment) {
  require_fsgsbase(cpu);
  auto const full = cpu.state.gpr[insn.operands[0].reg];
  auto const base = insn.operand_size == 8 ? full : static_cast<u32>(full);
  if (!x86::is_canonical(base)) raise_gp();
  cpu.set_segment_base(segment, base);
}

}  // namespace

// Intel has SYSCALL in 64-bit mode only; AMD also in compatibility mode, where CSTAR is the target, and outside
// long mode.
void syscall(Cpu& cpu, Instruction const&, void const*) {
  auto& state = cpu.state;
  auto const from64 = cpu.code64();
  if (!(state.efer & efer_sce) || !(from64 || (cpu.protected_mode() && is_amd(cpu)))) raise_ud();
  state.gpr[rcx] = state.rip;
  if (!cpu.long_mode()) {
    state.rip = static_cast<u32>(state.star);
    state.rflags &= ~u64{flag_if | flag_vm | flag_rf};
    return enter_kernel(cpu, static_cast<u16>(state.star >> 32), code32);
  }
  state.gpr[r11] = state.rflags & ~u64{flag_rf};
  state.rip = from64 ? state.lstar : state.cstar;
  state.rflags = (state.rflags & ~(state.sfmask | flag_rf)) | flag_fixed;
  enter_kernel(cpu, static_cast<u16>(state.star >> 32), code64);
}

void sysret(Cpu& cpu, Instruction const& insn, void const*) {
  auto& state = cpu.state;
  if (!(state.efer & efer_sce) || !(cpu.code64() || (cpu.protected_mode() && is_amd(cpu)))) raise_ud();
  require_cpl0(cpu);
  auto const to64 = insn.operand_size == 8;
  if (to64 && !x86::is_canonical(state.gpr[rcx])) raise_gp();
  state.rip = to64 ? state.gpr[rcx] : cpu.gpr<u32>(rcx);
  state.rflags = cpu.long_mode() ? (state.gpr[r11] & 0x3c'7fd7) | flag_fixed : state.rflags | flag_if;
  auto const base = static_cast<u16>(state.star >> 48);
  leave_to_user(cpu, static_cast<u16>(base + (to64 ? 16 : 0)), static_cast<u16>(base + 8),
                to64 ? code64 : code32);
  if (state.rflags & flag_if) cpu.interrupts_enabled();
}

void sysenter(Cpu& cpu, Instruction const&, void const*) {
  auto& state = cpu.state;
  if (!(state.cr0 & cr0_pe) || (state.sysenter_cs & 0xfffc) == 0) raise_gp();
  auto const long_mode = cpu.long_mode();
  state.rflags &= ~u64{flag_vm | flag_if | flag_rf};
  state.gpr[rsp] = long_mode ? state.sysenter_esp : static_cast<u32>(state.sysenter_esp);
  state.rip = long_mode ? state.sysenter_eip : static_cast<u32>(state.sysenter_eip);
  enter_kernel(cpu, static_cast<u16>(state.sysenter_cs), long_mode ? code64 : code32);
}

void sysexit(Cpu& cpu, Instruction const& insn, void const*) {
  auto& state = cpu.state;
  if (!(state.cr0 & cr0_pe) || (state.sysenter_cs & 0xfffc) == 0) raise_gp();
  require_cpl0(cpu);
  auto const to64 = insn.operand_size == 8;
  if (to64 && (!x86::is_canonical(state.gpr[rcx]) || !x86::is_canonical(state.gpr[rdx]))) raise_gp();
  state.gpr[rsp] = to64 ? state.gpr[rcx] : cpu.gpr<u32>(rcx);
  state.rip = to64 ? state.gpr[rdx] : cpu.gpr<u32>(rdx);
  auto const code = static_cast<u16>(state.sysenter_cs + (to64 ? 32 : 16));
  leave_to_user(cpu, code, static_cast<u16>(code + 8), to64 ? code64 : code32);
}

void swapgs(Cpu& cpu, Instruction const&, void const*) {
  if (!cpu.code64()) raise_ud();
  require_cpl0(cpu);
  auto const base = std::exchange(cpu.state.kernel_gs_base, cpu.state.seg(SegmentRegister::gs).base);
  cpu.set_segment_base(SegmentRegister::gs, base);
}

void rdfsbase(Cpu& cpu, Instruction const& insn, void const*) { read_base(cpu, insn, SegmentRegister::fs); }
void rdgsbase(Cpu& cpu, Instruction const& insn, void const*) { read_base(cpu, insn, SegmentRegister::gs); }
void wrfsbase(Cpu& cpu, Instruction const& insn, void const*) { write_base(cpu, insn, SegmentRegister::fs); }
void wrgsbase(Cpu& cpu, Instruction const& insn, void const*) { write_base(cpu, insn, SegmentRegister::gs); }

}  // namespace vireo::engine::soft::system
