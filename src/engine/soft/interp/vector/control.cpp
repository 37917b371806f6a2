#include <emmintrin.h>

#include <utility>

#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/family.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::Operation;

void require(Cpu const& cpu, Instruction const& insn) {
  if (insn.prefixes.vex)
    require_avx(cpu);
  else
    require_sse(cpu);
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

/// Eight 16-byte registers from `first` on; written out, since the compiler makes a slow REP STOS of a loop.
template <typename Register>
[[gnu::always_inline]] inline void clear_eight(Register* first) {
  [first]<std::size_t... i>(std::index_sequence<i...>) {
    // SOUND: the register images are 16 bytes each, aligned to 16.
    (_mm_store_si128(reinterpret_cast<__m128i*>(first[i].bytes), _mm_setzero_si128()), ...);
  }(std::make_index_sequence<8>{});
}

template <bool low_halves>
void clear_vectors(Cpu& cpu, Instruction const&, void const*) {
  require_avx(cpu);
  auto& state = cpu.state.extended;
  clear_eight(state.ymm_high);
  if constexpr (low_halves) clear_eight(state.xmm);
  if (!cpu.code64()) return;
  clear_eight(state.ymm_high + 8);
  if constexpr (low_halves) clear_eight(state.xmm + 8);
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
