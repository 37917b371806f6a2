#include <emmintrin.h>

#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/family.h"
#include "x86/table.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

struct Wide {
  __m128i low, high;
};

template <bool vex>
void require(Cpu const& cpu) {
  if constexpr (vex)
    require_avx(cpu);
  else
    require_sse(cpu);
}

template <typename Register>
__m128i* image(Register& one) {
  // SOUND: the state's register images are 16 bytes each and aligned to 16 within ExtendedState.
  return reinterpret_cast<__m128i*>(one.bytes);
}
__m128i* xmm(Cpu& cpu, u8 reg) { return image(cpu.state.extended.xmm[reg]); }
__m128i* ymm_high(Cpu& cpu, u8 reg) { return image(cpu.state.extended.ymm_high[reg]); }
static_assert(offsetof(ExtendedState, xmm) % 16 == 0 && offsetof(ExtendedState, ymm_high) % 16 == 0);

template <bool vex>
void set_xmm(Cpu& cpu, u8 reg, __m128i value) {
  _mm_store_si128(xmm(cpu, reg), value);
  if constexpr (vex) _mm_store_si128(ymm_high(cpu, reg), _mm_setzero_si128());
}

template <typename T>
T load(Cpu& cpu, Instruction const& insn, u64 offset) {
  if (auto const* const memory = cpu.readable(insn.memory.segment, offset, sizeof(T))) [[likely]] {
    return load_le<T>(memory);
  }
  T value;
  cpu.read_bytes(insn.memory.segment, offset, &value, sizeof value);
  return value;
}

// ---- whole registers ----

template <bool vex, u8 alignment_mask>
void load_128(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  auto const offset = cpu.effective_address(insn);
  if constexpr (alignment_mask != 0) require_alignment(cpu, insn.memory.segment, offset, alignment_mask);
  set_xmm<vex>(cpu, insn.operands[0].reg, load<__m128i>(cpu, insn, offset));
}

template <u8 alignment_mask>
void load_256(Cpu& cpu, Instruction const& insn, void const*) {
  require_avx(cpu);
  auto const offset = cpu.effective_address(insn);
  if constexpr (alignment_mask != 0) require_alignment(cpu, insn.memory.segment, offset, alignment_mask);
  auto const value = load<Wide>(cpu, insn, offset);
  _mm_store_si128(xmm(cpu, insn.operands[0].reg), value.low);
  _mm_store_si128(ymm_high(cpu, insn.operands[0].reg), value.high);
}

template <bool vex, u8 alignment_mask>
void store_128(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  auto const offset = cpu.effective_address(insn);
  if constexpr (alignment_mask != 0) require_alignment(cpu, insn.memory.segment, offset, alignment_mask);
  cpu.write_bytes(insn.memory.segment, offset, xmm(cpu, insn.operands[1].reg), 16);
}

template <u8 alignment_mask>
void store_256(Cpu& cpu, Instruction const& insn, void const*) {
  require_avx(cpu);
  auto const offset = cpu.effective_address(insn);
  if constexpr (alignment_mask != 0) require_alignment(cpu, insn.memory.segment, offset, alignment_mask);
  auto const reg = insn.operands[1].reg;
  auto const value = Wide{_mm_load_si128(xmm(cpu, reg)), _mm_load_si128(ymm_high(cpu, reg))};
  cpu.write_bytes(insn.memory.segment, offset, &value, sizeof value);
}

template <bool vex>
void copy_128(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  set_xmm<vex>(cpu, insn.operands[0].reg, _mm_load_si128(xmm(cpu, insn.operands[1].reg)));
}

void copy_256(Cpu& cpu, Instruction const& insn, void const*) {
  require_avx(cpu);
  auto const from = insn.operands[1].reg, to = insn.operands[0].reg;
  _mm_store_si128(xmm(cpu, to), _mm_load_si128(xmm(cpu, from)));
  _mm_store_si128(ymm_high(cpu, to), _mm_load_si128(ymm_high(cpu, from)));
}

// ---- 4 or 8 bytes, the rest of the destination cleared ----

template <bool vex, typename T>
void load_part(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  auto const value = cpu.read<T>(insn.memory.segment, cpu.effective_address(insn));
  set_xmm<vex>(cpu, insn.operands[0].reg, _mm_cvtsi64_si128(static_cast<i64>(u64{value})));
}

template <bool vex, typename T>
void store_part(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  cpu.write<T>(insn.memory.segment, cpu.effective_address(insn), load_le<T>(xmm(cpu, insn.operands[1].reg)));
}

template <bool vex, typename T>
void from_gpr(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  auto const value = cpu.gpr<T>(insn.operands[1].reg);
  set_xmm<vex>(cpu, insn.operands[0].reg, _mm_cvtsi64_si128(static_cast<i64>(u64{value})));
}

template <bool vex, typename T>
void to_gpr(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  cpu.set_gpr<T>(insn.operands[0].reg, load_le<T>(xmm(cpu, insn.operands[1].reg)));
}

template <bool vex>
void copy_quadword(Cpu& cpu, Instruction const& insn, void const*) {
  require<vex>(cpu);
  set_xmm<vex>(cpu, insn.operands[0].reg, _mm_move_epi64(_mm_load_si128(xmm(cpu, insn.operands[1].reg))));
}

template <bool vex>
Handler whole(Instruction const& insn) {
  auto const to = insn.operands[0].kind, from = insn.operands[1].kind;
  auto const wide = insn.operands[to == OperandKind::memory ? 1 : 0].size == 32;
  auto const aligned = x86::required_alignment(insn) > 1;
  if (to == OperandKind::vector && from == OperandKind::vector) return wide ? copy_256 : copy_128<vex>;
  if (from == OperandKind::memory) {
    if (wide) return aligned ? load_256<31> : load_256<0>;
    return aligned ? load_128<vex, 15> : load_128<vex, 0>;
  }
  if (wide) return aligned ? store_256<31> : store_256<0>;
  return aligned ? store_128<vex, 15> : store_128<vex, 0>;
}

template <bool vex, typename T>
Handler part(OperandKind to, OperandKind from) {
  if (from == OperandKind::memory) return load_part<vex, T>;
  if (to == OperandKind::memory) return store_part<vex, T>;
  if (from == OperandKind::gpr) return from_gpr<vex, T>;
  if (to == OperandKind::gpr) return to_gpr<vex, T>;
  return sizeof(T) == 8 ? copy_quadword<vex> : nullptr;
}

template <bool vex>
Handler choose(Instruction const& insn) {
  auto const to = insn.operands[0], from = insn.operands[1];
  switch (insn.operation) {
    case Operation::movaps:
    case Operation::movapd:
    case Operation::movdqa:
    case Operation::movups:
    case Operation::movupd:
    case Operation::movdqu:
    case Operation::lddqu:
    case Operation::movntps:
    case Operation::movntpd:
    case Operation::movntdq:
    case Operation::movntdqa: return whole<vex>(insn);
    case Operation::movss:
    case Operation::movsd:
      if (to.kind == OperandKind::vector && from.kind != OperandKind::memory) return nullptr;
      [[fallthrough]];
    case Operation::movd:
    case Operation::movq: {
      auto const other = to.kind == OperandKind::vector ? from : to;
      return other.size == 4 ? part<vex, u32>(to.kind, from.kind) : part<vex, u64>(to.kind, from.kind);
    }
    default: return nullptr;
  }
}

}  // namespace

Lowered lower_move(Instruction const& insn) {
  for (auto const& operand : insn.operands) {
    if (operand.kind == OperandKind::mmx) return {};
  }
  return {.handler = insn.prefixes.vex ? choose<true>(insn) : choose<false>(insn)};
}

}  // namespace vireo::engine::soft::vector
