#include "engine/soft/interp/system/segment_instructions.h"

#include <optional>

#include "engine/soft/interp/families.h"
#include "engine/soft/interp/system/far_transfer.h"
#include "engine/soft/interp/system/interrupt.h"
#include "engine/soft/interp/system/iret.h"
#include "engine/soft/interp/system/segment_stack.h"
#include "engine/soft/interp/system/task.h"

namespace vireo::engine::soft {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;
using x86::SegmentRegister;

namespace {

bool is_memory(Instruction const& insn, u8 operand) {
  return insn.operands[operand].kind == OperandKind::memory;
}

SegmentRegister segment_operand(Instruction const& insn, u8 operand) {
  return static_cast<SegmentRegister>(insn.operands[operand].reg);
}

/// Loads a segment register and what goes with it.
void load_segment(Cpu& cpu, SegmentRegister which, u16 selector) {
  cpu.state.seg(which) = checked_segment(cpu, which, selector);
  cpu.update_mode();
}

void move_to_segment(Cpu& cpu, Instruction const& insn, void const*) {
  auto const which = segment_operand(insn, 0);
  if (which == SegmentRegister::cs) raise_ud();
  load_segment(cpu, which, read_u16_operand(cpu, insn, 1));
  if (which == SegmentRegister::ss) cpu.state.interrupt_shadow = true;
}

void move_from_segment(Cpu& cpu, Instruction const& insn, void const*) {
  write_selector_operand(cpu, insn, cpu.state.seg(segment_operand(insn, 1)).selector);
}

void push_segment(Cpu& cpu, Instruction const& insn, void const*) {
  auto const selector = cpu.state.seg(segment_operand(insn, 0)).selector;
  if (insn.stack_size != 4) return cpu.push(selector, insn.stack_size);
  // Processors move the stack pointer by four and write only the selector's 16 bits (SDM vol. 2, PUSH).
  auto const kept = cpu.state.gpr[x86::rsp];
  cpu.state.gpr[x86::rsp] = kept - 2;
  try {
    cpu.push(selector, 2);
  } catch (Fault const&) {
    cpu.state.gpr[x86::rsp] = kept;
    throw;
  }
}

void pop_segment(Cpu& cpu, Instruction const& insn, void const*) {
  auto const which = segment_operand(insn, 0);
  auto const selector = static_cast<u16>(cpu.peek(0, insn.stack_size));
  auto const segment = checked_segment(cpu, which, selector);
  cpu.pop(insn.stack_size);  // with the old SS
  cpu.state.seg(which) = segment;
  cpu.update_mode();
  if (which == SegmentRegister::ss) cpu.state.interrupt_shadow = true;
}

struct FarPointer {
  u16 selector{};
  u64 offset{};
};

FarPointer read_far_pointer(Cpu& cpu, Instruction const& insn) {
  auto const at = cpu.effective_address(insn);
  auto const segment = insn.memory.segment;
  auto const size = insn.operand_size;
  auto const selector_at = at + size;
  auto const selector = cpu.read<u16>(segment, insn.address_size == 8   ? selector_at
                                               : insn.address_size == 4 ? static_cast<u32>(selector_at)
                                                                        : static_cast<u16>(selector_at));
  auto const offset = size == 8   ? cpu.read<u64>(segment, at)
                      : size == 4 ? u64{cpu.read<u32>(segment, at)}
                                  : u64{cpu.read<u16>(segment, at)};
  return {selector, offset};
}

template <SegmentRegister which>
void load_far_pointer(Cpu& cpu, Instruction const& insn, void const*) {
  auto const pointer = read_far_pointer(cpu, insn);
  load_segment(cpu, which, pointer.selector);
  auto const to = insn.operands[0].reg;
  if (insn.operand_size == 8)
    cpu.set_gpr<u64>(to, pointer.offset);
  else if (insn.operand_size == 4)
    cpu.set_gpr<u32>(to, static_cast<u32>(pointer.offset));
  else
    cpu.set_gpr<u16>(to, static_cast<u16>(pointer.offset));
  if (which == SegmentRegister::ss) cpu.state.interrupt_shadow = true;
}

FarPointer far_operand(Cpu& cpu, Instruction const& insn) {
  if (insn.operands[0].kind != OperandKind::far_pointer) return read_far_pointer(cpu, insn);
  return {static_cast<u16>(insn.immediate2), insn.immediate};
}

void jump_far(Cpu& cpu, Instruction const& insn, void const*) {
  auto const to = far_operand(cpu, insn);
  far_jump(cpu, to.selector, to.offset, insn.operand_size);
}

void call_far(Cpu& cpu, Instruction const& insn, void const*) {
  auto const to = far_operand(cpu, insn);
  far_call(cpu, to.selector, to.offset, insn.operand_size);
}

void return_far(Cpu& cpu, Instruction const& insn, void const*) {
  auto const release = insn.operand_count != 0 ? static_cast<u16>(insn.immediate) : u16{};
  far_return(cpu, release, insn.operand_size);
}

void interrupt_return_handler(Cpu& cpu, Instruction const& insn, void const*) {
  interrupt_return(cpu, insn.operand_size);
}

void software_interrupt(Cpu& cpu, Instruction const& insn, void const*) {
  auto const vector = static_cast<u8>(insn.immediate);
  if (cpu.virtual8086() && redirect_interrupt(cpu, vector)) return;
  finish_task_switch(cpu, deliver_once(cpu, {.vector = vector, .kind = Event::Kind::software}));
}

template <u8 vector, Event::Kind kind>
void fixed_interrupt(Cpu& cpu, Instruction const&, void const*) {
  finish_task_switch(cpu, deliver_once(cpu, {.vector = vector, .kind = kind}));
}

void interrupt_on_overflow(Cpu& cpu, Instruction const& insn, void const* extra) {
  if (cpu.state.rflags & x86::flag_of) fixed_interrupt<4, Event::Kind::software_exception>(cpu, insn, extra);
}

}  // namespace

u16 read_u16_operand(Cpu& cpu, Instruction const& insn, u8 operand) {
  if (!is_memory(insn, operand)) return cpu.gpr<u16>(insn.operands[operand].reg);
  return cpu.read<u16>(insn.memory.segment, cpu.effective_address(insn));
}

void write_selector_operand(Cpu& cpu, Instruction const& insn, u16 selector) {
  if (is_memory(insn, 0)) return cpu.write<u16>(insn.memory.segment, cpu.effective_address(insn), selector);
  auto const to = insn.operands[0].reg;
  if (insn.operand_size == 2)
    cpu.set_gpr<u16>(to, selector);
  else
    cpu.set_gpr<u64>(to, selector);
}

Lowered lower_segmentation(Instruction const& insn) {
  switch (insn.operation) {
    case Operation::mov_to_segment: return {move_to_segment, nullptr, true};
    case Operation::mov_from_segment: return {move_from_segment, nullptr, false};
    case Operation::push_segment: return {push_segment, nullptr, false};
    case Operation::pop_segment: return {pop_segment, nullptr, true};
    case Operation::les: return {load_far_pointer<SegmentRegister::es>, nullptr, true};
    case Operation::lds: return {load_far_pointer<SegmentRegister::ds>, nullptr, true};
    case Operation::lss: return {load_far_pointer<SegmentRegister::ss>, nullptr, true};
    case Operation::lfs: return {load_far_pointer<SegmentRegister::fs>, nullptr, true};
    case Operation::lgs: return {load_far_pointer<SegmentRegister::gs>, nullptr, true};
    case Operation::jmp_far: return {jump_far, nullptr, true};
    case Operation::call_far: return {call_far, nullptr, true};
    case Operation::ret_far: return {return_far, nullptr, true};
    case Operation::iret: return {interrupt_return_handler, nullptr, true};
    case Operation::int_: return {software_interrupt, nullptr, true};
    case Operation::int1: return {fixed_interrupt<1, Event::Kind::int1>, nullptr, true};
    case Operation::int3: return {fixed_interrupt<3, Event::Kind::software_exception>, nullptr, true};
    case Operation::into: return {interrupt_on_overflow, nullptr, true};
    default: return lower_descriptor_table(insn);
  }
}

}  // namespace vireo::engine::soft
