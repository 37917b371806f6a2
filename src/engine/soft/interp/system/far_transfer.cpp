#include "engine/soft/interp/system/far_transfer.h"

#include <algorithm>

#include "engine/soft/interp/system/segment_stack.h"
#include "engine/soft/interp/system/task.h"

namespace vireo::engine::soft {

using x86::SegmentRegister;
using x86::Vector;

namespace {

u64 truncated(u64 value, u8 size) {
  return size == 8 ? value : size == 4 ? static_cast<u32>(value) : static_cast<u16>(value);
}

void enter_code(Cpu& cpu, Segment const& code, u64 offset) {
  cpu.state.cs() = code;
  cpu.state.rip = offset;
  cpu.update_mode();
}

bool is_tss(Cpu const& cpu, Descriptor const& descriptor) {
  auto const type = descriptor.system_type();
  return !cpu.long_mode() && (type == SystemType::tss16_available || type == SystemType::tss32_available ||
                              type == SystemType::tss16_busy || type == SystemType::tss32_busy);
}
bool is_call_gate(Cpu const& cpu, Descriptor const& descriptor) {
  return descriptor.system_type() == SystemType::call_gate32 ||
         (!cpu.long_mode() && descriptor.system_type() == SystemType::call_gate16);
}

/// #GP(selector) unless code at CPL may go to this code segment directly.
void check_direct(Cpu const& cpu, Descriptor const& code, u16 selector) {
  auto const allowed = code.conforming()
                           ? code.dpl() <= cpu.cpl()
                           : requested_privilege(selector) <= cpu.cpl() && code.dpl() == cpu.cpl();
  if (!allowed) raise_gp(selector_error(selector));
}

void check_system_privilege(Cpu const& cpu, Descriptor const& descriptor, u16 selector) {
  if (descriptor.dpl() < std::max(cpu.cpl(), requested_privilege(selector))) raise_gp(selector_error(selector));
}

void transfer_to_task(Cpu& cpu, Descriptor const& descriptor, u16 selector, TaskSwitch why) {
  check_system_privilege(cpu, descriptor, selector);
  finish_task_switch(cpu, descriptor.system_type() == SystemType::task_gate
                              ? switch_task_by_gate(cpu, descriptor, selector_error(selector), why)
                              : switch_task(cpu, selector, why));
}

/// What a call gate leads to.
struct GateTarget {
  Descriptor gate, code;
  u16 selector;
  u64 offset;
  u8 size;  // of what it pushes
};

GateTarget read_call_gate(Cpu& cpu, Descriptor gate, u16 selector) {
  check_system_privilege(cpu, gate, selector);
  if (cpu.long_mode()) {
    gate = read_descriptor(cpu, selector, Vector::gp, 0, true);
    if (gate.high >> 40 & 0x1f) raise_gp(selector_error(selector));
    gate.high &= 0xffffffff;
  }
  if (!gate.present()) raise(Vector::np, selector_error(selector));
  auto const target = gate.gate_selector();
  if (null_selector(target)) raise_gp();
  auto const code = read_descriptor(cpu, target);
  if (!code.code() || code.dpl() > cpu.cpl()) raise_gp(selector_error(target));
  if (cpu.long_mode() && (!code.long_mode() || code.big())) raise_gp(selector_error(target));
  auto const is_16bit = gate.system_type() == SystemType::call_gate16;
  return {.gate = gate,
          .code = code,
          .selector = target,
          .offset = is_16bit ? gate.gate_offset() & 0xffff : gate.gate_offset(),
          .size = cpu.long_mode() ? u8{8}
                  : is_16bit      ? u8{2}
                                  : u8{4}};
}

void jump_through_gate(Cpu& cpu, Descriptor const& gate, u16 selector) {
  auto const target = read_call_gate(cpu, gate, selector);
  if (!target.code.conforming() && target.code.dpl() != cpu.cpl()) raise_gp(selector_error(target.selector));
  auto const code = code_segment(cpu, target.code, target.selector, cpu.cpl());
  check_target(cpu, code, target.offset);
  enter_code(cpu, code, target.offset);
}

PendingStack inner_call_stack(Cpu& cpu, GateTarget const& target, u8 cpl) {
  auto const& state = cpu.state;
  if (cpu.long_mode()) {
    auto const top = inner_stack64(cpu, cpl, 0);
    auto stack = PendingStack{cpu, null_stack_segment(cpl, cpl), top, cpl, true, 0};
    stack.push(state.ss().selector, 8);
    stack.push(state.gpr[x86::rsp], 8);
    return stack;
  }
  auto const inner = inner_stack(cpu, cpl, 0);
  auto const segment = checked_stack_segment(cpu, inner.selector, cpl, Vector::ts);
  auto stack = PendingStack{cpu, segment, inner.pointer, cpl, false, selector_error(inner.selector)};
  stack.push(state.ss().selector, target.size);
  stack.push(state.gpr[x86::rsp], target.size);
  for (auto i = int{target.gate.gate_parameters()} - 1; i >= 0; --i) {
    stack.push(cpu.peek(static_cast<u64>(i) * target.size, target.size), target.size);
  }
  return stack;
}

void call_through_gate(Cpu& cpu, Descriptor const& gate, u16 selector) {
  auto const target = read_call_gate(cpu, gate, selector);
  auto const inner = !target.code.conforming() && target.code.dpl() < cpu.cpl();
  auto const cpl = inner ? target.code.dpl() : cpu.cpl();
  if (!target.code.present()) raise(Vector::np, selector_error(target.selector));
  auto stack = inner ? inner_call_stack(cpu, target, cpl) : PendingStack{cpu};
  stack.push(cpu.state.cs().selector, target.size);
  stack.push(cpu.state.rip, target.size);
  auto const code = code_segment(cpu, target.code, target.selector, cpl);
  check_target(cpu, code, target.offset);
  stack.commit();
  enter_code(cpu, code, target.offset);
}

void return_in_real_mode(Cpu& cpu, u16 bytes_to_release, u8 size) {
  auto stack = PendingStack{cpu};
  auto const offset = stack.pop(size);
  auto const selector = static_cast<u16>(stack.pop(size));
  auto const code = real_mode_segment(cpu, SegmentRegister::cs, selector);
  check_target(cpu, code, offset);
  stack.skip(bytes_to_release);
  stack.commit();
  enter_code(cpu, code, offset);
}

}  // namespace

void drop_inner_segments(Cpu& cpu, u8 cpl) {
  for (auto const which :
       {SegmentRegister::es, SegmentRegister::ds, SegmentRegister::fs, SegmentRegister::gs}) {
    auto& segment = cpu.state.seg(which);
    auto const conforming_code = (segment.attributes & 0x1c) == 0x1c;
    if (!segment.unusable() && !conforming_code && segment.dpl() < cpl) segment = null_segment(0);
  }
}

void far_jump(Cpu& cpu, u16 selector, u64 offset, u8 size) {
  offset = truncated(offset, size);
  if (!cpu.protected_mode()) {
    auto const code = real_mode_segment(cpu, SegmentRegister::cs, selector);
    check_target(cpu, code, offset);
    return enter_code(cpu, code, offset);
  }
  if (null_selector(selector)) raise_gp();
  auto const descriptor = read_descriptor(cpu, selector);
  if (descriptor.code()) {
    check_direct(cpu, descriptor, selector);
    auto const code = code_segment(cpu, descriptor, selector, cpu.cpl());
    check_target(cpu, code, offset);
    return enter_code(cpu, code, offset);
  }
  if (descriptor.code_or_data()) raise_gp(selector_error(selector));
  if (is_call_gate(cpu, descriptor)) return jump_through_gate(cpu, descriptor, selector);
  auto const task =
      is_tss(cpu, descriptor) || (!cpu.long_mode() && descriptor.system_type() == SystemType::task_gate);
  if (!task) raise_gp(selector_error(selector));
  transfer_to_task(cpu, descriptor, selector, TaskSwitch::jump);
}

void far_call(Cpu& cpu, u16 selector, u64 offset, u8 size) {
  offset = truncated(offset, size);
  auto stack = PendingStack{cpu};
  if (!cpu.protected_mode()) {
    auto const code = real_mode_segment(cpu, SegmentRegister::cs, selector);
    check_target(cpu, code, offset);
    stack.push(cpu.state.cs().selector, size);
    stack.push(cpu.state.rip, size);
    stack.commit();
    return enter_code(cpu, code, offset);
  }
  if (null_selector(selector)) raise_gp();
  auto const descriptor = read_descriptor(cpu, selector);
  if (descriptor.code()) {
    check_direct(cpu, descriptor, selector);
    auto const code = code_segment(cpu, descriptor, selector, cpu.cpl());
    stack.push(cpu.state.cs().selector, size);
    stack.push(cpu.state.rip, size);
    check_target(cpu, code, offset);
    stack.commit();
    return enter_code(cpu, code, offset);
  }
  if (descriptor.code_or_data()) raise_gp(selector_error(selector));
  if (is_call_gate(cpu, descriptor)) return call_through_gate(cpu, descriptor, selector);
  auto const task =
      is_tss(cpu, descriptor) || (!cpu.long_mode() && descriptor.system_type() == SystemType::task_gate);
  if (!task) raise_gp(selector_error(selector));
  transfer_to_task(cpu, descriptor, selector, TaskSwitch::call);
}

void far_return(Cpu& cpu, u16 bytes_to_release, u8 size) {
  if (!cpu.protected_mode()) return return_in_real_mode(cpu, bytes_to_release, size);
  auto stack = PendingStack{cpu};
  auto const offset = stack.pop(size);
  auto const selector = static_cast<u16>(stack.pop(size));
  stack.skip(bytes_to_release);
  if (null_selector(selector)) raise_gp();
  auto const descriptor = read_descriptor(cpu, selector);
  auto const cpl = requested_privilege(selector);
  auto const allowed = descriptor.code() && cpl >= cpu.cpl() &&
                       (descriptor.conforming() ? descriptor.dpl() <= cpl : descriptor.dpl() == cpl);
  if (!allowed) raise_gp(selector_error(selector));
  if (cpl == cpu.cpl()) {
    auto const code = code_segment(cpu, descriptor, selector, cpl);
    check_target(cpu, code, offset);
    stack.commit();
    return enter_code(cpu, code, offset);
  }
  auto const outer_pointer = stack.pop(size);
  auto const outer_selector = static_cast<u16>(stack.pop(size));
  auto const code = code_segment(cpu, descriptor, selector, cpl);
  check_target(cpu, code, offset);
  auto const null_allowed =
      cpu.long_mode() && code.long_mode() && cpl != 3 && requested_privilege(outer_selector) == cpl;
  auto const outer = null_selector(outer_selector) && null_allowed
                         ? null_stack_segment(outer_selector, cpl)
                         : checked_stack_segment(cpu, outer_selector, cpl, Vector::gp);
  auto outer_stack = PendingStack{cpu, outer, outer_pointer, cpl, cpu.long_mode() && code.long_mode(), 0};
  outer_stack.skip(bytes_to_release);
  outer_stack.commit();
  drop_inner_segments(cpu, cpl);
  enter_code(cpu, code, offset);
}

}  // namespace vireo::engine::soft
