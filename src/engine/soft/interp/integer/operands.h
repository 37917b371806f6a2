#pragma once

#include <type_traits>

#include "engine/soft/interp/cpu.h"
#include "engine/soft/interp/integer/flags.h"
#include "x86/address.h"
#include "x86/instruction.h"

namespace vireo::engine::soft {

template <typename T>
T read_register(Cpu const& cpu, x86::Operand const& operand) {
  if constexpr (sizeof(T) == 1) {
    if (operand.high) return static_cast<T>(cpu.state.gpr[operand.reg] >> 8);
  }
  return cpu.gpr<T>(operand.reg);
}
template <typename T>
void write_register(Cpu& cpu, x86::Operand const& operand, T value) {
  if constexpr (sizeof(T) == 1) {
    if (operand.high) {
      cpu.state.gpr[operand.reg] = (cpu.state.gpr[operand.reg] & ~u64{0xff00}) | u64{value} << 8;
      return;
    }
  }
  cpu.set_gpr<T>(operand.reg, value);
}

template <typename T>
T read_memory(Cpu& cpu, x86::Instruction const& insn) {
  return cpu.read<T>(insn.memory.segment, cpu.effective_address(insn));
}
template <typename T>
T read_operand(Cpu& cpu, x86::Instruction const& insn, x86::Operand const& operand) {
  if (operand.kind == x86::OperandKind::gpr) return read_register<T>(cpu, operand);
  if (operand.kind == x86::OperandKind::memory) return read_memory<T>(cpu, insn);
  return static_cast<T>(insn.immediate);
}
template <typename T>
void write_operand(Cpu& cpu, x86::Instruction const& insn, x86::Operand const& operand, T value) {
  if (operand.kind == x86::OperandKind::gpr) return write_register<T>(cpu, operand, value);
  cpu.write<T>(insn.memory.segment, cpu.effective_address(insn), value);
}
/// Read, compute, write back; `f(T old, u64& rflags) -> T` may run several times, each time from the flags
/// before. The flags of the last run are kept. Returns the old value.
template <typename T, typename F>
T modify_operand(Cpu& cpu, x86::Instruction const& insn, x86::Operand const& operand, bool locked, F&& f) {
  if (operand.kind == x86::OperandKind::gpr) {
    auto const old = read_register<T>(cpu, operand);
    write_register<T>(cpu, operand, f(old, cpu.state.rflags));
    return old;
  }
  auto flags = cpu.state.rflags;
  auto const old = cpu.modify<T>(insn.memory.segment, cpu.effective_address(insn), locked, [&](T value) {
    flags = cpu.state.rflags;
    return f(value, flags);
  });
  cpu.state.rflags = flags;
  return old;
}

/// The instance of a handler for an operand size in bytes.
#define VIREO_BY_SIZE(size, handler)                            \
  ((size) == 1   ? ::vireo::engine::soft::Handler{handler<u8>}  \
   : (size) == 2 ? ::vireo::engine::soft::Handler{handler<u16>} \
   : (size) == 4 ? ::vireo::engine::soft::Handler{handler<u32>} \
                 : ::vireo::engine::soft::Handler{handler<u64>})
#define VIREO_BY_WORD_SIZE(size, handler)                       \
  ((size) == 2   ? ::vireo::engine::soft::Handler{handler<u16>} \
   : (size) == 4 ? ::vireo::engine::soft::Handler{handler<u32>} \
                 : ::vireo::engine::soft::Handler{handler<u64>})
#define VIREO_BY_WIDE_SIZE(size, handler) \
  ((size) == 4 ? ::vireo::engine::soft::Handler{handler<u32>} : ::vireo::engine::soft::Handler{handler<u64>})

/// Where a near branch goes, or #GP(0).
inline u64 branch_target(Cpu const& cpu, u64 target, u8 operand_size) {
  if (cpu.code64()) {
    if (!x86::is_canonical(target)) raise_gp();
    return target;
  }
  target = operand_size == 2 ? static_cast<u16>(target) : static_cast<u32>(target);
  if (target > cpu.state.cs().limit) raise_gp();
  return target;
}

inline u64 stack_pointer(Cpu const& cpu) {
  auto const rsp = cpu.state.gpr[x86::rsp];
  if (cpu.stack_address_size() == 8) return rsp;
  return cpu.stack_address_size() == 4 ? static_cast<u32>(rsp) : static_cast<u16>(rsp);
}
inline void set_stack_pointer(Cpu& cpu, u64 value) {
  if (cpu.stack_address_size() == 8)
    cpu.set_gpr<u64>(x86::rsp, value);
  else if (cpu.stack_address_size() == 4)
    cpu.set_gpr<u32>(x86::rsp, static_cast<u32>(value));
  else
    cpu.set_gpr<u16>(x86::rsp, static_cast<u16>(value));
}

}  // namespace vireo::engine::soft
