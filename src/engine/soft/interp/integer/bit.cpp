#include "engine/soft/interp/integer/alu.h"
#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

u64 truncate(u64 address, u8 address_size) {
  if (address_size == 8) return address;
  return address_size == 4 ? static_cast<u32>(address) : static_cast<u16>(address);
}

/// BT, BTS, BTR, BTC: a bit offset in a register may reach any distance from the memory operand.
template <typename T, bool write, typename F>
void bit_test(Cpu& cpu, Instruction const& insn, F&& function) {
  auto const bit = read_operand<T>(cpu, insn, insn.operands[1]);
  auto const& target = insn.operands[0];
  if (target.kind == OperandKind::gpr) {
    auto const result = function(cpu.state.rflags, read_register<T>(cpu, target), bit);
    if (write) write_register<T>(cpu, target, result);
    return;
  }
  auto address = cpu.effective_address(insn);
  if (insn.operands[1].kind == OperandKind::gpr) {
    constexpr auto width = static_cast<i64>(8 * sizeof(T));
    auto const offset = static_cast<i64>(static_cast<std::make_signed_t<T>>(bit));
    auto const unit = (offset & ~(width - 1)) / 8;
    address = truncate(address + static_cast<u64>(unit), insn.address_size);
  }
  if constexpr (!write) {
    function(cpu.state.rflags, cpu.read<T>(insn.memory.segment, address), bit);
  } else {
    auto flags = cpu.state.rflags;
    cpu.modify<T>(insn.memory.segment, address, insn.prefixes.lock, [&](T old) {
      flags = cpu.state.rflags;
      return function(flags, old, bit);
    });
    cpu.state.rflags = flags;
  }
}
#define VIREO_BIT_HANDLER(name, write)                                                                \
  template <typename T>                                                                               \
  void name(Cpu& cpu, Instruction const& insn, void const*) {                                         \
    bit_test<T, write>(cpu, insn,                                                                     \
                       [](u64& rflags, T value, T bit) { return alu::name<T>(rflags, value, bit); }); \
  }
VIREO_BIT_HANDLER(bt, false)
VIREO_BIT_HANDLER(bts, true)
VIREO_BIT_HANDLER(btr, true)
VIREO_BIT_HANDLER(btc, true)
#undef VIREO_BIT_HANDLER

// BSF and BSR of zero leave the register as it was, upper half included, as processors do.
#define VIREO_SCAN_HANDLER(name)                                      \
  template <typename T>                                               \
  void name(Cpu& cpu, Instruction const& insn, void const*) {         \
    auto const source = read_operand<T>(cpu, insn, insn.operands[1]); \
    auto& target = cpu.state.gpr[insn.operands[0].reg];               \
    target = alu::name<T>(cpu.state.rflags, target, source);          \
  }
VIREO_SCAN_HANDLER(bsf)
VIREO_SCAN_HANDLER(bsr)
VIREO_SCAN_HANDLER(popcnt)
VIREO_SCAN_HANDLER(lzcnt)
VIREO_SCAN_HANDLER(tzcnt)
#undef VIREO_SCAN_HANDLER

template <typename T>
void andn(Cpu& cpu, Instruction const& insn, void const*) {
  auto const second = read_operand<T>(cpu, insn, insn.operands[2]);
  auto const first = read_register<T>(cpu, insn.operands[1]);
  write_register<T>(cpu, insn.operands[0], alu::andn<T>(cpu.state.rflags, first, second));
}
#define VIREO_CONTROL_HANDLER(name)                                                            \
  template <typename T>                                                                        \
  void name(Cpu& cpu, Instruction const& insn, void const*) {                                  \
    auto const source = read_operand<T>(cpu, insn, insn.operands[1]);                          \
    auto const control = read_register<T>(cpu, insn.operands[2]);                              \
    write_register<T>(cpu, insn.operands[0], alu::name<T>(cpu.state.rflags, source, control)); \
  }
VIREO_CONTROL_HANDLER(bextr)
VIREO_CONTROL_HANDLER(bzhi)
#undef VIREO_CONTROL_HANDLER
#define VIREO_LOWEST_BIT_HANDLER(name)                                                \
  template <typename T>                                                               \
  void name(Cpu& cpu, Instruction const& insn, void const*) {                         \
    auto const source = read_operand<T>(cpu, insn, insn.operands[1]);                 \
    write_register<T>(cpu, insn.operands[0], alu::name<T>(cpu.state.rflags, source)); \
  }
VIREO_LOWEST_BIT_HANDLER(blsi)
VIREO_LOWEST_BIT_HANDLER(blsmsk)
VIREO_LOWEST_BIT_HANDLER(blsr)
#undef VIREO_LOWEST_BIT_HANDLER
#define VIREO_DEPOSIT_HANDLER(name)                                       \
  template <typename T>                                                   \
  void name(Cpu& cpu, Instruction const& insn, void const*) {             \
    auto const mask = read_operand<T>(cpu, insn, insn.operands[2]);       \
    auto const source = read_register<T>(cpu, insn.operands[1]);          \
    write_register<T>(cpu, insn.operands[0], alu::name<T>(source, mask)); \
  }
VIREO_DEPOSIT_HANDLER(pdep)
VIREO_DEPOSIT_HANDLER(pext)
#undef VIREO_DEPOSIT_HANDLER

template <u32 flag, bool on>
void change_flag(Cpu& cpu, Instruction const&, void const*) {
  set_flag(cpu.state.rflags, flag, on);
}
void complement_carry(Cpu& cpu, Instruction const&, void const*) { cpu.state.rflags ^= x86::flag_cf; }

}  // namespace

Lowered lower_bit(Instruction const& insn) {
  using O = Operation;
  auto const size = insn.operands[0].size;
  switch (insn.operation) {
    case O::bt: return {.handler = VIREO_BY_WORD_SIZE(size, bt)};
    case O::bts: return {.handler = VIREO_BY_WORD_SIZE(size, bts)};
    case O::btr: return {.handler = VIREO_BY_WORD_SIZE(size, btr)};
    case O::btc: return {.handler = VIREO_BY_WORD_SIZE(size, btc)};
    case O::bsf: return {.handler = VIREO_BY_WORD_SIZE(size, bsf)};
    case O::bsr: return {.handler = VIREO_BY_WORD_SIZE(size, bsr)};
    case O::popcnt: return {.handler = VIREO_BY_WORD_SIZE(size, popcnt)};
    case O::lzcnt: return {.handler = VIREO_BY_WORD_SIZE(size, lzcnt)};
    case O::tzcnt: return {.handler = VIREO_BY_WORD_SIZE(size, tzcnt)};
    case O::andn: return {.handler = VIREO_BY_WIDE_SIZE(size, andn)};
    case O::bextr: return {.handler = VIREO_BY_WIDE_SIZE(size, bextr)};
    case O::bzhi: return {.handler = VIREO_BY_WIDE_SIZE(size, bzhi)};
    case O::blsi: return {.handler = VIREO_BY_WIDE_SIZE(size, blsi)};
    case O::blsmsk: return {.handler = VIREO_BY_WIDE_SIZE(size, blsmsk)};
    case O::blsr: return {.handler = VIREO_BY_WIDE_SIZE(size, blsr)};
    case O::pdep: return {.handler = VIREO_BY_WIDE_SIZE(size, pdep)};
    case O::pext: return {.handler = VIREO_BY_WIDE_SIZE(size, pext)};
    case O::clc: return {.handler = change_flag<x86::flag_cf, false>};
    case O::stc: return {.handler = change_flag<x86::flag_cf, true>};
    case O::cld: return {.handler = change_flag<x86::flag_df, false>};
    case O::std: return {.handler = change_flag<x86::flag_df, true>};
    case O::cmc: return {.handler = complement_carry};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
