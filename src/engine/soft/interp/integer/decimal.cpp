#include "engine/soft/interp/integer/alu.h"
#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::Operation;

u8 al(Cpu const& cpu) { return cpu.gpr<u8>(x86::rax); }

/// SF, ZF and PF of a byte; OF cleared as processors do where the SDM leaves it undefined.
void set_result_flags(Cpu& cpu, u8 result, bool cf, bool af) {
  alu::or_<u8>(cpu.state.rflags, result, result);
  set_flag(cpu.state.rflags, x86::flag_cf, cf);
  set_flag(cpu.state.rflags, x86::flag_af, af);
}

/// DAA and DAS (SDM vol. 2).
template <bool subtract>
void adjust_packed(Cpu& cpu, Instruction const&, void const*) {
  auto const old = al(cpu);
  auto const old_cf = carry(cpu.state.rflags);
  auto const low = (old & 0xf) > 9 || (cpu.state.rflags & x86::flag_af);
  auto const high = old > 0x99 || old_cf;
  auto const borrow = subtract && low && old < 6;
  auto const amount = static_cast<u8>((low ? 0x06 : 0) + (high ? 0x60 : 0));
  auto const result = static_cast<u8>(subtract ? old - amount : old + amount);
  cpu.set_gpr<u8>(x86::rax, result);
  set_result_flags(cpu, result, high || borrow, low);
}

/// AAA and AAS: AX is changed as a whole.
template <bool subtract>
void adjust_unpacked(Cpu& cpu, Instruction const&, void const*) {
  auto const adjust = (al(cpu) & 0xf) > 9 || (cpu.state.rflags & x86::flag_af);
  auto ax = cpu.gpr<u16>(x86::rax);
  if (adjust) ax = static_cast<u16>(subtract ? ax - 0x106 : ax + 0x106);
  cpu.set_gpr<u16>(x86::rax, ax & 0xff0f);
  set_result_flags(cpu, static_cast<u8>(ax & 0x0f), adjust, adjust);
}

void adjust_multiply(Cpu& cpu, Instruction const& insn, void const*) {
  auto const base = static_cast<u8>(insn.immediate);
  if (base == 0) raise(x86::Vector::de);
  auto const value = al(cpu);
  cpu.set_gpr<u16>(x86::rax, static_cast<u16>((value / base) << 8 | value % base));
  set_result_flags(cpu, static_cast<u8>(value % base), false, false);
}
void adjust_divide(Cpu& cpu, Instruction const& insn, void const*) {
  auto const ax = cpu.gpr<u16>(x86::rax);
  auto const product = static_cast<u8>((ax >> 8) * static_cast<u8>(insn.immediate));
  // The flags that the SDM leaves undefined are those of this addition.
  cpu.set_gpr<u16>(x86::rax, alu::add<u8>(cpu.state.rflags, static_cast<u8>(ax), product));
}

template <typename T>
void check_bounds(Cpu& cpu, Instruction const& insn, void const*) {
  using S = std::make_signed_t<T>;
  auto const offset = cpu.effective_address(insn);
  auto const lower = static_cast<S>(cpu.read<T>(insn.memory.segment, offset));
  auto const next = offset + sizeof(T);
  auto const at = insn.address_size == 2 ? static_cast<u16>(next) : static_cast<u32>(next);
  auto const index = static_cast<S>(read_register<T>(cpu, insn.operands[0]));
  if (index < lower) raise(x86::Vector::br);  // before the upper bound is read
  auto const upper = static_cast<S>(cpu.read<T>(insn.memory.segment, at));
  if (index > upper) raise(x86::Vector::br);
}

}  // namespace

Lowered lower_decimal(Instruction const& insn) {
  using O = Operation;
  switch (insn.operation) {
    case O::daa: return {.handler = adjust_packed<false>};
    case O::das: return {.handler = adjust_packed<true>};
    case O::aaa: return {.handler = adjust_unpacked<false>};
    case O::aas: return {.handler = adjust_unpacked<true>};
    case O::aam: return {.handler = adjust_multiply};
    case O::aad: return {.handler = adjust_divide};
    case O::bound:
      return {.handler = insn.operands[0].size == 2 ? Handler{check_bounds<u16>} : Handler{check_bounds<u32>}};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
