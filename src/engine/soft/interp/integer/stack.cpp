#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;
using x86::SegmentRegister;

template <typename T>
void push(Cpu& cpu, Instruction const& insn, void const*) {
  cpu.push(read_operand<T>(cpu, insn, insn.operands[0]), sizeof(T));
}
template <typename T>
void pop(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = static_cast<T>(cpu.peek(0, sizeof(T)));
  auto const before = cpu.state.gpr[x86::rsp];
  set_stack_pointer(cpu, before + sizeof(T));
  if (insn.operands[0].kind == OperandKind::gpr) return write_register<T>(cpu, insn.operands[0], value);
  // SDM: an address based on rSP uses its value after the increment. A fault must leave rSP alone.
  auto const offset = cpu.effective_address(insn);
  auto const after = cpu.state.gpr[x86::rsp];
  cpu.state.gpr[x86::rsp] = before;
  cpu.write<T>(insn.memory.segment, offset, value);
  cpu.state.gpr[x86::rsp] = after;
}

u64 wrap(Cpu const& cpu, u64 offset) {
  if (cpu.stack_address_size() == 8) return offset;
  return cpu.stack_address_size() == 4 ? static_cast<u32>(offset) : static_cast<u16>(offset);
}

template <typename T>
void push_all(Cpu& cpu, Instruction const&, void const*) {
  auto const top = stack_pointer(cpu);
  for (auto i = u8{}; i < 8; ++i) {
    cpu.write<T>(SegmentRegister::ss, wrap(cpu, top - (i + 1) * sizeof(T)), cpu.gpr<T>(i));
  }
  set_stack_pointer(cpu, top - 8 * sizeof(T));
}
template <typename T>
void pop_all(Cpu& cpu, Instruction const&, void const*) {
  T values[8];
  for (auto i = 0u; i < 8; ++i) values[i] = static_cast<T>(cpu.peek(i * sizeof(T), sizeof(T)));
  for (auto i = u8{}; i < 8; ++i) {
    if (i != 3) cpu.set_gpr<T>(static_cast<u8>(7 - i), values[i]);
  }
  set_stack_pointer(cpu, cpu.state.gpr[x86::rsp] + 8 * sizeof(T));
}

template <typename T>
void enter(Cpu& cpu, Instruction const& insn, void const*) {
  auto const frame_bytes = static_cast<u16>(insn.immediate);
  auto const level = static_cast<u8>(insn.immediate2) & 31;
  auto const top = stack_pointer(cpu);
  auto const frame = wrap(cpu, top - sizeof(T));
  cpu.write<T>(SegmentRegister::ss, frame, cpu.gpr<T>(x86::rbp));
  auto at = frame;
  for (auto i = 1; i < level; ++i) {
    auto const link = wrap(cpu, cpu.state.gpr[x86::rbp] - static_cast<u64>(i) * sizeof(T));
    at = wrap(cpu, at - sizeof(T));
    cpu.write<T>(SegmentRegister::ss, at, cpu.read<T>(SegmentRegister::ss, link));
  }
  if (level > 0) {
    at = wrap(cpu, at - sizeof(T));
    cpu.write<T>(SegmentRegister::ss, at, static_cast<T>(frame));
  }
  // SDM: #PF or #SS when the new top of the stack cannot be written.
  auto const new_top = wrap(cpu, at - frame_bytes);
  cpu.probe_write(SegmentRegister::ss, new_top, sizeof(T));
  set_stack_pointer(cpu, new_top);
  if constexpr (sizeof(T) == 2)
    cpu.set_gpr<u16>(x86::rbp, static_cast<u16>(frame));
  else if (cpu.stack_address_size() == 8)
    cpu.set_gpr<u64>(x86::rbp, frame);
  else
    cpu.set_gpr<u32>(x86::rbp, static_cast<u32>(frame));
}
template <typename T>
void leave(Cpu& cpu, Instruction const&, void const*) {
  auto const frame = wrap(cpu, cpu.state.gpr[x86::rbp]);
  auto const value = cpu.read<T>(SegmentRegister::ss, frame);
  set_stack_pointer(cpu, frame + sizeof(T));
  cpu.set_gpr<T>(x86::rbp, value);
}

u32 io_privilege(Cpu const& cpu) { return static_cast<u32>(cpu.state.rflags) >> 12 & 3; }
bool virtual_interrupts(Cpu const& cpu, u8 size) { return size == 2 && (cpu.state.cr4 & x86::cr4_vme); }

template <typename T>
void push_flags(Cpu& cpu, Instruction const&, void const*) {
  auto image = cpu.state.rflags & ~u64{x86::flag_vm | x86::flag_rf};
  if (cpu.virtual8086() && io_privilege(cpu) < 3) {
    if (!virtual_interrupts(cpu, sizeof(T))) raise_gp();
    image |= x86::flag_iopl;
    set_flag(image, x86::flag_if, (image & x86::flag_vif) != 0);
  }
  cpu.push(static_cast<T>(image), sizeof(T));
}

template <typename T>
void pop_flags(Cpu& cpu, Instruction const&, void const*) {
  auto const old = cpu.state.rflags;
  auto changes = u64{x86::arithmetic_flags | x86::flag_tf | x86::flag_df | x86::flag_nt};
  if (sizeof(T) > 2) changes |= x86::flag_ac | x86::flag_id;
  auto const virtualised = cpu.virtual8086() && io_privilege(cpu) < 3;
  if (virtualised && !virtual_interrupts(cpu, sizeof(T))) raise_gp();
  auto image = cpu.peek(0, sizeof(T));
  if (virtualised) {
    auto const enables = (image & x86::flag_if) != 0;
    if ((enables && (old & x86::flag_vip)) || (image & x86::flag_tf)) raise_gp();
    changes |= x86::flag_vif;
    set_flag(image, x86::flag_vif, enables);
  } else {
    if (cpu.cpl() <= io_privilege(cpu)) changes |= x86::flag_if;
    if (cpu.cpl() == 0) changes |= x86::flag_iopl;
  }
  cpu.pop(sizeof(T));
  if (sizeof(T) > 2) changes |= x86::flag_rf, image &= ~u64{x86::flag_rf};
  cpu.state.rflags = (old & ~changes) | (image & changes) | x86::flag_fixed;
  auto const changed = old ^ cpu.state.rflags;
  if (changed & x86::flag_ac) cpu.update_rights();
  if ((changed & x86::flag_if) && !(old & x86::flag_if)) cpu.interrupts_enabled();
}

}  // namespace

Lowered lower_stack(Instruction const& insn) {
  using O = Operation;
  auto const size = insn.stack_size;
  switch (insn.operation) {
    case O::push: return {.handler = VIREO_BY_WORD_SIZE(size, push)};
    case O::pop: return {.handler = VIREO_BY_WORD_SIZE(size, pop)};
    case O::pusha: return {.handler = size == 2 ? Handler{push_all<u16>} : Handler{push_all<u32>}};
    case O::popa: return {.handler = size == 2 ? Handler{pop_all<u16>} : Handler{pop_all<u32>}};
    case O::enter: return {.handler = VIREO_BY_WORD_SIZE(size, enter)};
    case O::leave: return {.handler = VIREO_BY_WORD_SIZE(size, leave)};
    case O::pushf: return {.handler = VIREO_BY_WORD_SIZE(size, push_flags)};
    case O::popf: return {.handler = VIREO_BY_WORD_SIZE(size, pop_flags), .ends_block = true};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
