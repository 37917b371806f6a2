#include "engine/soft/interp/system/iret.h"

#include <array>

#include "engine/soft/interp/system/far_transfer.h"
#include "engine/soft/interp/system/segment_stack.h"
#include "engine/soft/interp/system/task.h"

namespace vireo::engine::soft {

using x86::SegmentRegister;
using x86::Vector;

namespace {

constexpr u64 user_flags{x86::arithmetic_flags | x86::flag_tf | x86::flag_df | x86::flag_nt};

/// RFLAGS after IRET at `cpl` pops `popped`; CPL and IOPL before the return decide.
u64 returned_flags(Cpu const& cpu, u64 popped, u8 size) {
  auto const old = cpu.state.rflags;
  auto mask = user_flags;
  auto const cpl = cpu.cpl();
  auto const iopl = old >> 12 & 3;
  if (cpl <= iopl) mask |= x86::flag_if;
  if (cpl == 0) mask |= x86::flag_iopl;
  if (size > 2) {
    mask |= x86::flag_rf | x86::flag_ac | x86::flag_id;
    if (cpl == 0) mask |= x86::flag_vif | x86::flag_vip;
  }
  return (old & ~mask) | (popped & mask);
}

void set_flags(Cpu& cpu, u64 flags) {
  auto const enabled = !(cpu.state.rflags & x86::flag_if) && (flags & x86::flag_if);
  cpu.state.rflags = flags | x86::flag_fixed;
  cpu.update_mode();
  if (enabled) cpu.interrupts_enabled();
}

/// IRET below IOPL 3 with CR4.VME: VIF stands for IF (SDM vol. 3, 21.3.2).
u64 virtual_interrupt_flags(Cpu const& cpu, u64 popped) {
  auto const enables = (popped & x86::flag_if) != 0;
  if ((popped & x86::flag_tf) || (enables && (cpu.state.rflags & x86::flag_vip))) raise_gp();
  auto const flags = (cpu.state.rflags & ~user_flags) | (popped & user_flags);
  return enables ? flags | x86::flag_vif : flags & ~u64{x86::flag_vif};
}

void return_in_real_mode(Cpu& cpu, u8 size) {
  auto& state = cpu.state;
  auto const privileged = !cpu.virtual8086() || (state.rflags & x86::flag_iopl) == x86::flag_iopl;
  auto const extended = (state.cr4 & x86::cr4_vme) && size == 2;
  if (!privileged && !extended) raise_gp();
  auto stack = PendingStack{cpu};
  auto const offset = stack.pop(size);
  auto const selector = static_cast<u16>(stack.pop(size));
  auto const popped = stack.pop(size);
  auto const code = real_mode_segment(cpu, SegmentRegister::cs, selector);
  check_target(cpu, code, offset);
  auto mask = user_flags | x86::flag_if;
  if (!cpu.virtual8086()) mask |= x86::flag_iopl;
  if (size > 2) mask |= x86::flag_rf | x86::flag_ac | x86::flag_id;
  auto const flags =
      privileged ? (state.rflags & ~mask) | (popped & mask) : virtual_interrupt_flags(cpu, popped);
  stack.commit();
  state.cs() = code;
  state.rip = offset;
  set_flags(cpu, flags);
}

/// The stack holds what was pushed on leaving virtual-8086 mode; EIP, CS and EFLAGS have been popped.
void return_to_virtual8086(Cpu& cpu, PendingStack& stack, u64 offset, u16 code_selector, u64 popped) {
  auto& state = cpu.state;
  auto const pointer = stack.pop(4);
  auto selectors = std::array<u16, 6>{};
  constexpr auto order = std::array{SegmentRegister::ss, SegmentRegister::es, SegmentRegister::ds,
                                    SegmentRegister::fs, SegmentRegister::gs};
  for (auto const which : order) selectors[static_cast<u8>(which)] = static_cast<u16>(stack.pop(4));
  selectors[static_cast<u8>(SegmentRegister::cs)] = code_selector;
  if (static_cast<u32>(offset) > 0xffff) raise_gp();
  constexpr auto known = u64{0x3f7fd5};
  state.rflags = (popped & known) | x86::flag_fixed;
  for (auto i = u8{}; i < 6; ++i) {
    state.segment[i] = real_mode_segment(cpu, static_cast<SegmentRegister>(i), selectors[i]);
  }
  state.rip = static_cast<u16>(offset);
  state.gpr[x86::rsp] = static_cast<u32>(pointer);
  cpu.update_mode();
  if (state.rflags & x86::flag_if) cpu.interrupts_enabled();
}

void return_protected(Cpu& cpu, u8 size) {
  auto& state = cpu.state;
  auto stack = PendingStack{cpu};
  auto const offset = stack.pop(size);
  auto const selector = static_cast<u16>(stack.pop(size));
  auto const popped = stack.pop(size);
  if (!cpu.long_mode() && size == 4 && (popped & x86::flag_vm) && cpu.cpl() == 0) {
    return return_to_virtual8086(cpu, stack, offset, selector, popped);
  }
  if (null_selector(selector)) raise_gp();
  auto const descriptor = read_descriptor(cpu, selector);
  auto const cpl = requested_privilege(selector);
  auto const allowed = descriptor.code() && cpl >= cpu.cpl() &&
                       (descriptor.conforming() ? descriptor.dpl() <= cpl : descriptor.dpl() == cpl);
  if (!allowed) raise_gp(selector_error(selector));
  auto const code = code_segment(cpu, descriptor, selector, cpl);
  auto const to_code64 = cpu.long_mode() && code.long_mode();
  check_target(cpu, code, offset);
  auto const flags = returned_flags(cpu, popped, size);
  auto const outer = cpl > cpu.cpl();
  if (outer || cpu.code64()) {
    auto const pointer = stack.pop(size);
    auto const stack_selector = static_cast<u16>(stack.pop(size));
    auto const may_be_null = to_code64 && cpl != 3 && requested_privilege(stack_selector) == cpl;
    auto const segment = null_selector(stack_selector) && may_be_null
                             ? null_stack_segment(stack_selector, cpl)
                             : checked_stack_segment(cpu, stack_selector, cpl, Vector::gp);
    auto const wide = to_code64 || segment.big();
    state.gpr[x86::rsp] = wide ? pointer : (state.gpr[x86::rsp] & ~u64{0xffff}) | static_cast<u16>(pointer);
    state.ss() = segment;
  } else {
    stack.commit();
  }
  state.cs() = code;
  state.rip = offset;
  if (outer) drop_inner_segments(cpu, cpl);
  set_flags(cpu, flags);
}

}  // namespace

void interrupt_return(Cpu& cpu, u8 size) {
  if (!cpu.protected_mode()) {
    return_in_real_mode(cpu, size);
  } else if (cpu.state.rflags & x86::flag_nt) {
    if (cpu.long_mode()) raise_gp();
    auto const link = cpu.read_linear<u16>(cpu.state.tr.base, true);
    finish_task_switch(cpu, switch_task(cpu, link, TaskSwitch::iret));
  } else {
    return_protected(cpu, size);
  }
  cpu.state.nmi_blocked = false;
}

}  // namespace vireo::engine::soft
