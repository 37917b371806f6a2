#include "engine/soft/interp/integer/alu.h"
#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

template <typename T>
void exchange(Cpu& cpu, Instruction const& insn, void const*) {
  auto const memory_first = insn.operands[0].kind == OperandKind::memory;
  auto const& target = insn.operands[memory_first ? 0 : 1];
  auto const& source = insn.operands[memory_first ? 1 : 0];
  auto const value = read_register<T>(cpu, source);
  // SDM: XCHG with memory locks with or without the prefix.
  auto const old = modify_operand<T>(cpu, insn, target, true, [value](T, u64&) { return value; });
  write_register<T>(cpu, source, old);
}

template <typename T>
void exchange_add(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = read_register<T>(cpu, insn.operands[1]);
  auto const& target = insn.operands[0];
  if (target.kind == OperandKind::gpr) {
    auto const old = read_register<T>(cpu, target);
    auto const sum = alu::add<T>(cpu.state.rflags, old, value);
    write_register<T>(cpu, insn.operands[1], old);
    write_register<T>(cpu, target, sum);
    return;
  }
  auto const old = modify_operand<T>(cpu, insn, target, insn.prefixes.lock,
                                     [value](T was, u64& rflags) { return alu::add<T>(rflags, was, value); });
  write_register<T>(cpu, insn.operands[1], old);
}

template <typename T>
void compare_exchange(Cpu& cpu, Instruction const& insn, void const*) {
  auto const expected = cpu.gpr<T>(x86::rax);
  auto const wanted = read_register<T>(cpu, insn.operands[1]);
  auto const& target = insn.operands[0];
  if (target.kind == OperandKind::gpr) {  // unlike memory, a register is not written when the comparison fails
    auto const old = read_register<T>(cpu, target);
    alu::sub<T>(cpu.state.rflags, expected, old);
    if (old == expected)
      write_register<T>(cpu, target, wanted);
    else
      cpu.set_gpr<T>(x86::rax, old);
    return;
  }
  auto const old = modify_operand<T>(cpu, insn, target, insn.prefixes.lock, [=](T was, u64& rflags) {
    alu::sub<T>(rflags, expected, was);
    return was == expected ? wanted : was;
  });
  if (old != expected) cpu.set_gpr<T>(x86::rax, old);
}

/// CMPXCHG8B and CMPXCHG16B: only ZF changes.
template <typename Whole, typename Half>
void compare_exchange_pair(Cpu& cpu, Instruction const& insn, void const*) {
  constexpr auto bits = 8 * sizeof(Half);
  auto const pair = [&](u8 high, u8 low) {
    return static_cast<Whole>(Whole{cpu.gpr<Half>(high)} << bits | cpu.gpr<Half>(low));
  };
  auto const expected = pair(x86::rdx, x86::rax);
  auto const wanted = pair(x86::rcx, x86::rbx);
  auto const offset = cpu.effective_address(insn);
  if constexpr (sizeof(Whole) == 16) {
    // 64-bit code only, where but FS and GS have base 0. The processor looks at alignment before anything else.
    auto const has_base = insn.memory.segment >= x86::SegmentRegister::fs;
    auto const base = has_base ? cpu.state.seg(insn.memory.segment).base : 0;
    if ((base + offset) % 16 != 0) raise_gp();
  }
  auto const old = cpu.modify<Whole>(insn.memory.segment, offset, insn.prefixes.lock,
                                     [=](Whole was) { return was == expected ? wanted : was; });
  set_flag(cpu.state.rflags, x86::flag_zf, old == expected);
  if (old == expected) return;
  cpu.set_gpr<Half>(x86::rax, static_cast<Half>(old));
  cpu.set_gpr<Half>(x86::rdx, static_cast<Half>(old >> bits));
}

}  // namespace

Lowered lower_exchange(Instruction const& insn) {
  using O = Operation;
  auto const size = insn.operands[0].size;
  switch (insn.operation) {
    case O::xchg: return {.handler = VIREO_BY_SIZE(size, exchange)};
    case O::xadd: return {.handler = VIREO_BY_SIZE(size, exchange_add)};
    case O::cmpxchg: return {.handler = VIREO_BY_SIZE(size, compare_exchange)};
    case O::cmpxchg8b: return {.handler = compare_exchange_pair<u64, u32>};
    case O::cmpxchg16b: return {.handler = compare_exchange_pair<u128, u64>};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
