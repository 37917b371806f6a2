#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::Operation;

template <typename T>
void move(Cpu& cpu, Instruction const& insn, void const*) {
  write_operand<T>(cpu, insn, insn.operands[0], read_operand<T>(cpu, insn, insn.operands[1]));
}

template <typename To, typename From>
void move_extended(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = read_operand<std::make_unsigned_t<From>>(cpu, insn, insn.operands[1]);
  write_register<To>(cpu, insn.operands[0], static_cast<To>(static_cast<From>(value)));
}
template <typename From>
Handler extended_to(u8 size) {
  if (size == 2) return move_extended<u16, From>;
  return size == 4 ? Handler{move_extended<u32, From>} : Handler{move_extended<u64, From>};
}

template <typename T>
void load_address(Cpu& cpu, Instruction const& insn, void const*) {
  write_register<T>(cpu, insn.operands[0], static_cast<T>(cpu.effective_address(insn)));
}

template <typename T>
T swapped(T value) {
  if constexpr (sizeof(T) == 2)
    return __builtin_bswap16(value);
  else if constexpr (sizeof(T) == 4)
    return __builtin_bswap32(value);
  else
    return __builtin_bswap64(value);
}
template <typename T>
void move_swapped(Cpu& cpu, Instruction const& insn, void const*) {
  write_operand<T>(cpu, insn, insn.operands[0], swapped(read_operand<T>(cpu, insn, insn.operands[1])));
}
template <typename T>
void swap_bytes(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = read_register<T>(cpu, insn.operands[0]);
  // SDM: undefined on 16 bits; processors give zero.
  if constexpr (sizeof(T) == 2)
    write_register<T>(cpu, insn.operands[0], 0);
  else
    write_register<T>(cpu, insn.operands[0], swapped(value));
}

template <u8 condition, typename T>
void move_if(Cpu& cpu, Instruction const& insn, void const*) {
  // The source is read, and the upper half cleared, whatever the condition.
  auto const value = read_operand<T>(cpu, insn, insn.operands[1]);
  auto const old = read_register<T>(cpu, insn.operands[0]);
  write_register<T>(cpu, insn.operands[0], holds<condition>(cpu.state.rflags) ? value : old);
}
template <u8 condition>
void set_if(Cpu& cpu, Instruction const& insn, void const*) {
  write_operand<u8>(cpu, insn, insn.operands[0], holds<condition>(cpu.state.rflags));
}
template <u8... condition>
Lowered lower_condition(Instruction const& insn, std::integer_sequence<u8, condition...>) {
  constexpr Handler set[]{set_if<condition>...};
  constexpr Handler move16[]{move_if<condition, u16>...};
  constexpr Handler move32[]{move_if<condition, u32>...};
  constexpr Handler move64[]{move_if<condition, u64>...};
  auto const which = insn.opcode & 0xf;
  if (insn.operation == Operation::setcc) return {.handler = set[which]};
  auto const size = insn.operands[0].size;
  return {.handler = size == 2 ? move16[which] : size == 4 ? move32[which] : move64[which]};
}

void sign_extend_ax(Cpu& cpu, Instruction const& insn, void const*) {
  using enum Operation;
  auto const rax = cpu.state.gpr[x86::rax];
  switch (insn.operation) {
    case cbw: return cpu.set_gpr<u16>(x86::rax, static_cast<u16>(static_cast<i8>(rax)));
    case cwde: return cpu.set_gpr<u32>(x86::rax, static_cast<u32>(static_cast<i16>(rax)));
    case cdqe: return cpu.set_gpr<u64>(x86::rax, static_cast<u64>(static_cast<i32>(rax)));
    case cwd: return cpu.set_gpr<u16>(x86::rdx, static_cast<i16>(rax) < 0 ? 0xffff : 0);
    case cdq: return cpu.set_gpr<u32>(x86::rdx, static_cast<i32>(rax) < 0 ? ~u32{} : 0);
    default: return cpu.set_gpr<u64>(x86::rdx, static_cast<i64>(rax) < 0 ? ~u64{} : 0);
  }
}

void translate_byte(Cpu& cpu, Instruction const& insn, void const*) {
  auto offset = cpu.state.gpr[x86::rbx] + cpu.gpr<u8>(x86::rax);
  if (insn.address_size == 4) offset = static_cast<u32>(offset);
  if (insn.address_size == 2) offset = static_cast<u16>(offset);
  cpu.set_gpr<u8>(x86::rax, cpu.read<u8>(insn.memory.segment, offset));
}

void load_flags_into_ah(Cpu& cpu, Instruction const&, void const*) {
  auto& rax = cpu.state.gpr[x86::rax];
  rax = (rax & ~u64{0xff00}) | u64{flag_bytes(cpu.state.rflags)[0]} << 8;
}
void store_ah_into_flags(Cpu& cpu, Instruction const&, void const*) {
  constexpr auto kept = u8{0xd5};
  flag_bytes(cpu.state.rflags)[0] = static_cast<u8>((cpu.state.gpr[x86::rax] >> 8 & kept) | x86::flag_fixed);
}

}  // namespace

Lowered lower_move(Instruction const& insn) {
  using enum Operation;
  auto const size = insn.operands[0].size;
  auto const from = insn.operands[1].size;
  switch (insn.operation) {
    case mov:
    case movnti: return {.handler = VIREO_BY_SIZE(size, move)};
    case movzx: return {.handler = from == 1 ? extended_to<u8>(size) : extended_to<u16>(size)};
    case movsx: return {.handler = from == 1 ? extended_to<i8>(size) : extended_to<i16>(size)};
    case movsxd:
      if (size == 8) return {.handler = move_extended<u64, i32>};
      return {.handler = size == 4 ? Handler{move<u32>} : Handler{move<u16>}};
    case lea: return {.handler = VIREO_BY_WORD_SIZE(size, load_address)};
    case movbe: return {.handler = VIREO_BY_WORD_SIZE(size, move_swapped)};
    case bswap: return {.handler = VIREO_BY_WORD_SIZE(size, swap_bytes)};
    case cmovcc:
    case setcc: return lower_condition(insn, std::make_integer_sequence<u8, 16>{});
    case cbw:
    case cwde:
    case cdqe:
    case cwd:
    case cdq:
    case cqo: return {.handler = sign_extend_ax};
    case xlat: return {.handler = translate_byte};
    case lahf: return {.handler = load_flags_into_ah};
    case sahf: return {.handler = store_ah_into_flags};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
