#include "engine/soft/interp/integer/alu.h"
#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::Operation;

/// The count: CL, an immediate, or the 1 of the D0 and D1 forms.
u8 shift_count(Cpu const& cpu, Instruction const& insn, u8 operand) {
  auto const& count = insn.operands[operand];
  if (count.kind == x86::OperandKind::gpr) return cpu.gpr<u8>(x86::rcx);
  if (operand == 1 && (insn.opcode == 0xd0 || insn.opcode == 0xd1)) return 1;
  return static_cast<u8>(insn.immediate);
}

#define VIREO_SHIFT_HANDLER(name)                                                                    \
  template <typename T>                                                                              \
  void name(Cpu& cpu, Instruction const& insn, void const*) {                                        \
    auto const count = shift_count(cpu, insn, 1);                                                    \
    modify_operand<T>(cpu, insn, insn.operands[0], false,                                            \
                      [count](T value, u64& rflags) { return alu::name<T>(rflags, value, count); }); \
  }
VIREO_SHIFT_HANDLER(rol)
VIREO_SHIFT_HANDLER(ror)
VIREO_SHIFT_HANDLER(rcl)
VIREO_SHIFT_HANDLER(rcr)
VIREO_SHIFT_HANDLER(shl)
VIREO_SHIFT_HANDLER(shr)
VIREO_SHIFT_HANDLER(sar)
#undef VIREO_SHIFT_HANDLER

#define VIREO_DOUBLE_SHIFT_HANDLER(name)                                                        \
  template <typename T>                                                                         \
  void name(Cpu& cpu, Instruction const& insn, void const*) {                                   \
    auto const count = shift_count(cpu, insn, 2);                                               \
    auto const fill = read_register<T>(cpu, insn.operands[1]);                                  \
    modify_operand<T>(cpu, insn, insn.operands[0], false, [count, fill](T value, u64& rflags) { \
      return alu::name<T>(rflags, value, fill, count);                                          \
    });                                                                                         \
  }
VIREO_DOUBLE_SHIFT_HANDLER(shld)
VIREO_DOUBLE_SHIFT_HANDLER(shrd)
#undef VIREO_DOUBLE_SHIFT_HANDLER

// BMI2: no flags. Operands: destination, source (r/m), count (register or immediate).
template <typename T>
u8 wide_count(Cpu const& cpu, Instruction const& insn) {
  auto const count = insn.operands[2].kind == x86::OperandKind::gpr ? cpu.gpr<u8>(insn.operands[2].reg)
                                                                    : static_cast<u8>(insn.immediate);
  return count & (8 * sizeof(T) - 1);
}
template <typename T>
void rorx(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = read_operand<T>(cpu, insn, insn.operands[1]);
  auto const count = wide_count<T>(cpu, insn);
  auto const left = (8 * sizeof(T) - count) & (8 * sizeof(T) - 1);
  write_register<T>(cpu, insn.operands[0], static_cast<T>(value >> count | value << left));
}
template <typename T>
void sarx(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = static_cast<std::make_signed_t<T>>(read_operand<T>(cpu, insn, insn.operands[1]));
  write_register<T>(cpu, insn.operands[0], static_cast<T>(value >> wide_count<T>(cpu, insn)));
}
template <typename T>
void shlx(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = read_operand<T>(cpu, insn, insn.operands[1]);
  write_register<T>(cpu, insn.operands[0], static_cast<T>(value << wide_count<T>(cpu, insn)));
}
template <typename T>
void shrx(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = read_operand<T>(cpu, insn, insn.operands[1]);
  write_register<T>(cpu, insn.operands[0], static_cast<T>(value >> wide_count<T>(cpu, insn)));
}

}  // namespace

Lowered lower_shift(Instruction const& insn) {
  using O = Operation;
  auto const size = insn.operands[0].size;
  switch (insn.operation) {
    case O::rol: return {.handler = VIREO_BY_SIZE(size, rol)};
    case O::ror: return {.handler = VIREO_BY_SIZE(size, ror)};
    case O::rcl: return {.handler = VIREO_BY_SIZE(size, rcl)};
    case O::rcr: return {.handler = VIREO_BY_SIZE(size, rcr)};
    case O::shl: return {.handler = VIREO_BY_SIZE(size, shl)};
    case O::shr: return {.handler = VIREO_BY_SIZE(size, shr)};
    case O::sar: return {.handler = VIREO_BY_SIZE(size, sar)};
    case O::shld: return {.handler = VIREO_BY_WORD_SIZE(size, shld)};
    case O::shrd: return {.handler = VIREO_BY_WORD_SIZE(size, shrd)};
    case O::rorx: return {.handler = VIREO_BY_WIDE_SIZE(size, rorx)};
    case O::sarx: return {.handler = VIREO_BY_WIDE_SIZE(size, sarx)};
    case O::shlx: return {.handler = VIREO_BY_WIDE_SIZE(size, shlx)};
    case O::shrx: return {.handler = VIREO_BY_WIDE_SIZE(size, shrx)};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
