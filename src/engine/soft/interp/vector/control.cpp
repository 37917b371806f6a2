#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/family.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::Operation;

void require(Cpu const& cpu, Instruction const& insn) {
  if (insn.prefixes.vex) require_avx(cpu);
  else require_sse(cpu);
}

void ldmxcsr(Cpu& cpu, Instruction const& insn, void const*) {
  require(cpu, insn);
  auto const value = cpu.read<u32>(insn.memory.segment, cpu.effective_address(insn));
  if ((value & 0xffff0000u) != 0) raise_gp();
  cpu.state.extended.mxcsr = value;
}

void stmxcsr(Cpu& cpu, Instruction const& insn, void const*) {
  require(cpu, insn);
  cpu.write<u32>(insn.memory.segment, cpu.effective_address(insn), cpu.state.extended.mxcsr);
}

template <bool low_halves>
void clear_vectors(Cpu& cpu, Instruction const&, void const*) {
  require_avx(cpu);
  auto const count = cpu.code64() ? 16 : 8;
  for (auto i = 0; i < count; i++) {
    cpu.state.extended.ymm_high[i] = {};
    if constexpr (low_halves) cpu.state.extended.xmm[i] = {};
  }
}

}  // namespace

Lowered lower_control(Instruction const& insn) {
  switch (insn.operation) {
    case Operation::ldmxcsr: return {.handler = ldmxcsr};
    case Operation::stmxcsr: return {.handler = stmxcsr};
    case Operation::vzeroupper: return {.handler = clear_vectors<false>};
    case Operation::vzeroall: return {.handler = clear_vectors<true>};
    default: return {};
  }
}

}  // namespace vireo::engine::soft::vector
