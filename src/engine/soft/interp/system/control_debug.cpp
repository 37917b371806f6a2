#include "engine/soft/interp/system/lower_system.h"

// Debug registers (SDM vol. 3, 18.2).
namespace vireo::engine::soft::system {

using namespace x86;

namespace {

constexpr u64 dr6_writable{0xe00f}, dr6_fixed{0xffff'0ff0}, dr6_access_detected{1u << 13};
constexpr u64 dr7_writable{0xffff'2bff}, dr7_fixed{0x400}, dr7_general_detect{1u << 13};

// DR4 and DR5 are DR6 and DR7 unless CR4.DE.
u8 checked_register(Cpu& cpu, u8 number) {
  if (number > 7) raise_ud();
  if (number == 4 || number == 5) {
    if (cpu.state.cr4 & cr4_de) raise_ud();
    number = static_cast<u8>(number + 2);
  }
  require_cpl0(cpu);
  if (cpu.state.dr7 & dr7_general_detect) {
    cpu.state.dr6 |= dr6_access_detected;
    raise(Vector::db);
  }
  return number;
}

}  // namespace

void mov_to_debug(Cpu& cpu, Instruction const& insn, void const*) {
  auto const number = checked_register(cpu, insn.operands[0].reg);
  auto const full = cpu.state.gpr[insn.operands[1].reg];
  auto const value = insn.code_size == CodeSize::bits64 ? full : static_cast<u32>(full);
  if (number < 4) {
    cpu.state.dr[number] = value;
  } else {
    if (value >> 32 != 0) raise_gp();
    if (number == 6) cpu.state.dr6 = (value & dr6_writable) | dr6_fixed;
    if (number == 7) cpu.state.dr7 = (value & dr7_writable) | dr7_fixed;
  }
  cpu.update_mode();
}

void mov_from_debug(Cpu& cpu, Instruction const& insn, void const*) {
  auto const number = checked_register(cpu, insn.operands[1].reg);
  auto const value = number < 4 ? cpu.state.dr[number] : number == 6 ? cpu.state.dr6 : cpu.state.dr7;
  if (insn.code_size == CodeSize::bits64) return cpu.set_gpr(insn.operands[0].reg, value);
  cpu.set_gpr(insn.operands[0].reg, static_cast<u32>(value));
}

}  // namespace vireo::engine::soft::system
