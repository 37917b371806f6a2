#include "engine/soft/interp/integer/alu.h"
#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::Operation;

#define VIREO_BINARY_HANDLER(name, function)                                                       \
  template <typename T>                                                                            \
  void name(Cpu& cpu, Instruction const& insn, void const*) {                                      \
    auto const right = read_operand_if_not_memory<T>(cpu, insn);                                   \
    modify_operand<T>(cpu, insn, insn.operands[0], insn.prefixes.lock,                             \
                      [&](T left, u64& rflags) { return alu::function<T>(rflags, left, right); }); \
  }

// At most one operand is memory: when it is the destination, the source is a register or immediate, and the
// other way round.
template <typename T>
T read_operand_if_not_memory(Cpu& cpu, Instruction const& insn) {
  return read_operand<T>(cpu, insn, insn.operands[1]);
}
VIREO_BINARY_HANDLER(add, add)
VIREO_BINARY_HANDLER(or_, or_)
VIREO_BINARY_HANDLER(adc, adc)
VIREO_BINARY_HANDLER(sbb, sbb)
VIREO_BINARY_HANDLER(and_, and_)
VIREO_BINARY_HANDLER(sub, sub)
VIREO_BINARY_HANDLER(xor_, xor_)
#undef VIREO_BINARY_HANDLER

template <typename T>
void compare(Cpu& cpu, Instruction const& insn, void const*) {
  auto const left = read_operand<T>(cpu, insn, insn.operands[0]);
  alu::sub<T>(cpu.state.rflags, left, read_operand<T>(cpu, insn, insn.operands[1]));
}
template <typename T>
void test(Cpu& cpu, Instruction const& insn, void const*) {
  auto const left = read_operand<T>(cpu, insn, insn.operands[0]);
  alu::and_<T>(cpu.state.rflags, left, read_operand<T>(cpu, insn, insn.operands[1]));
}

#define VIREO_UNARY_HANDLER(name)                                                        \
  template <typename T>                                                                  \
  void name(Cpu& cpu, Instruction const& insn, void const*) {                            \
    modify_operand<T>(cpu, insn, insn.operands[0], insn.prefixes.lock,                   \
                      [](T value, u64& rflags) { return alu::name<T>(rflags, value); }); \
  }
VIREO_UNARY_HANDLER(inc)
VIREO_UNARY_HANDLER(dec)
VIREO_UNARY_HANDLER(neg)
VIREO_UNARY_HANDLER(not_)
#undef VIREO_UNARY_HANDLER

template <typename T>
void write_wide(Cpu& cpu, alu::Wide<T> wide) {
  if constexpr (sizeof(T) == 1) {
    cpu.set_gpr<u16>(x86::rax, wide.low);
  } else {
    cpu.set_gpr<T>(x86::rax, wide.low);
    cpu.set_gpr<T>(x86::rdx, wide.high);
  }
}
template <typename T>
void mul(Cpu& cpu, Instruction const& insn, void const*) {
  auto const by = read_operand<T>(cpu, insn, insn.operands[0]);
  write_wide<T>(cpu, alu::mul<T>(cpu.state.rflags, cpu.gpr<T>(x86::rax), by));
}
template <typename T>
void imul_wide(Cpu& cpu, Instruction const& insn, void const*) {
  auto const by = read_operand<T>(cpu, insn, insn.operands[0]);
  write_wide<T>(cpu, alu::imul<T>(cpu.state.rflags, cpu.gpr<T>(x86::rax), by));
}
template <typename T>
void imul_two(Cpu& cpu, Instruction const& insn, void const*) {
  auto const by = read_operand<T>(cpu, insn, insn.operands[1]);
  auto const value = read_register<T>(cpu, insn.operands[0]);
  write_register<T>(cpu, insn.operands[0], alu::imul_low<T>(cpu.state.rflags, value, by));
}
template <typename T>
void imul_three(Cpu& cpu, Instruction const& insn, void const*) {
  auto const value = read_operand<T>(cpu, insn, insn.operands[1]);
  write_register<T>(cpu, insn.operands[0],
                    alu::imul_low<T>(cpu.state.rflags, value, static_cast<T>(insn.immediate)));
}

template <typename T>
alu::Wide<T> dividend(Cpu const& cpu) {
  if constexpr (sizeof(T) == 1)
    return {.low = cpu.gpr<u16>(x86::rax)};
  else
    return {.low = cpu.gpr<T>(x86::rax), .high = cpu.gpr<T>(x86::rdx)};
}
template <typename T>
void write_division(Cpu& cpu, T quotient, T remainder) {
  if constexpr (sizeof(T) == 1) {
    cpu.set_gpr<u16>(x86::rax, static_cast<u16>(remainder << 8 | quotient));
  } else {
    cpu.set_gpr<T>(x86::rax, quotient);
    cpu.set_gpr<T>(x86::rdx, remainder);
  }
}
template <typename T>
void div(Cpu& cpu, Instruction const& insn, void const*) {
  auto const by = read_operand<T>(cpu, insn, insn.operands[0]);
  if (!alu::divides<T>(dividend<T>(cpu), by)) raise(x86::Vector::de);
  T quotient, remainder;
  alu::div<T>(cpu.state.rflags, dividend<T>(cpu), by, quotient, remainder);
  write_division<T>(cpu, quotient, remainder);
}
template <typename T>
void idiv(Cpu& cpu, Instruction const& insn, void const*) {
  auto const by = read_operand<T>(cpu, insn, insn.operands[0]);
  if (!alu::divides_signed<T>(dividend<T>(cpu), by)) raise(x86::Vector::de);
  T quotient, remainder;
  alu::idiv<T>(cpu.state.rflags, dividend<T>(cpu), by, quotient, remainder);
  write_division<T>(cpu, quotient, remainder);
}

template <typename T>
void mulx(Cpu& cpu, Instruction const& insn, void const*) {
  auto const product = u128{read_operand<T>(cpu, insn, insn.operands[2])} * cpu.gpr<T>(x86::rdx);
  write_register<T>(cpu, insn.operands[1], static_cast<T>(product));
  write_register<T>(cpu, insn.operands[0], static_cast<T>(product >> (8 * sizeof(T))));
}
template <typename T, u32 flag>
void add_with_flag(Cpu& cpu, Instruction const& insn) {
  auto const right = read_operand<T>(cpu, insn, insn.operands[1]);
  auto const left = read_register<T>(cpu, insn.operands[0]);
  auto const sum = u128{left} + right + ((cpu.state.rflags & flag) != 0);
  write_register<T>(cpu, insn.operands[0], static_cast<T>(sum));
  set_flag(cpu.state.rflags, flag, (sum >> (8 * sizeof(T))) != 0);
}
template <typename T>
void adcx(Cpu& cpu, Instruction const& insn, void const*) {
  add_with_flag<T, x86::flag_cf>(cpu, insn);
}
template <typename T>
void adox(Cpu& cpu, Instruction const& insn, void const*) {
  add_with_flag<T, x86::flag_of>(cpu, insn);
}

template <typename T>
void crc32(Cpu& cpu, Instruction const& insn, void const*) {
  auto const data = read_operand<T>(cpu, insn, insn.operands[1]);
  auto crc = u64{cpu.gpr<u32>(insn.operands[0].reg)};
  // SOUND: registers only; SSE4.2 is in every model that offers CRC32, and models offer what the host has.
  if constexpr (sizeof(T) == 1) asm("crc32b %[d], %k[crc]" : [crc] "+r"(crc) : [d] "r"(data));
  if constexpr (sizeof(T) == 2) asm("crc32w %[d], %k[crc]" : [crc] "+r"(crc) : [d] "r"(data));
  if constexpr (sizeof(T) == 4) asm("crc32l %[d], %k[crc]" : [crc] "+r"(crc) : [d] "r"(data));
  if constexpr (sizeof(T) == 8) asm("crc32q %[d], %[crc]" : [crc] "+r"(crc) : [d] "r"(data));
  cpu.state.gpr[insn.operands[0].reg] = static_cast<u32>(crc);
}

}  // namespace

Lowered lower_arithmetic(Instruction const& insn) {
  using O = Operation;
  auto const size = insn.operands[0].size;
  switch (insn.operation) {
    case O::add: return {.handler = VIREO_BY_SIZE(size, add)};
    case O::or_: return {.handler = VIREO_BY_SIZE(size, or_)};
    case O::adc: return {.handler = VIREO_BY_SIZE(size, adc)};
    case O::sbb: return {.handler = VIREO_BY_SIZE(size, sbb)};
    case O::and_: return {.handler = VIREO_BY_SIZE(size, and_)};
    case O::sub: return {.handler = VIREO_BY_SIZE(size, sub)};
    case O::xor_: return {.handler = VIREO_BY_SIZE(size, xor_)};
    case O::cmp: return {.handler = VIREO_BY_SIZE(size, compare)};
    case O::test: return {.handler = VIREO_BY_SIZE(size, test)};
    case O::inc: return {.handler = VIREO_BY_SIZE(size, inc)};
    case O::dec: return {.handler = VIREO_BY_SIZE(size, dec)};
    case O::neg: return {.handler = VIREO_BY_SIZE(size, neg)};
    case O::not_: return {.handler = VIREO_BY_SIZE(size, not_)};
    case O::mul: return {.handler = VIREO_BY_SIZE(size, mul)};
    case O::div: return {.handler = VIREO_BY_SIZE(size, div)};
    case O::idiv: return {.handler = VIREO_BY_SIZE(size, idiv)};
    case O::imul:
      if (insn.map == 1) return {.handler = VIREO_BY_WORD_SIZE(size, imul_two)};
      if (insn.opcode == 0x69 || insn.opcode == 0x6b) return {.handler = VIREO_BY_WORD_SIZE(size, imul_three)};
      return {.handler = VIREO_BY_SIZE(size, imul_wide)};
    case O::mulx: return {.handler = VIREO_BY_WIDE_SIZE(size, mulx)};
    case O::adcx: return {.handler = VIREO_BY_WIDE_SIZE(size, adcx)};
    case O::adox: return {.handler = VIREO_BY_WIDE_SIZE(size, adox)};
    case O::crc32: return {.handler = VIREO_BY_SIZE(insn.operands[1].size, crc32)};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
