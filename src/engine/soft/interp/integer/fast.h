#pragma once

#include <cstddef>

#include "engine/soft/interp/block_cache.h"
#include "engine/soft/interp/integer/alu.h"
#include "x86/instruction.h"

// Functions for the most frequent instructions: operands unpacked when the block was made, one function per operation,
// size and operand form. Each ends with a call of the next step's function, which the compiler makes a jump; a build
// without that optimization nests at most Block::max_steps deep.
namespace vireo::engine::soft::fast {

inline constexpr u8 rip_offset{16 * 8};
static_assert(offsetof(VcpuState, rip) == offsetof(VcpuState, gpr) + rip_offset);

template <typename T>
[[gnu::always_inline]] inline T get(Cpu& cpu, u8 offset) {
  // SOUND: offset is below 128, or rip_offset, where RIP follows the registers.
  return load_le<T>(reinterpret_cast<u8 const*>(cpu.state.gpr.data()) + offset);
}
template <typename T>
[[gnu::always_inline]] inline void set(Cpu& cpu, u8 offset, T value) {
  // SOUND: as in get.
  auto* const at = reinterpret_cast<u8*>(cpu.state.gpr.data()) + offset;
  if constexpr (sizeof(T) == 4) store_le<u64>(at, value);
  else store_le<T>(at, value);
}

[[gnu::always_inline]] inline void next(Cpu& cpu, Step const* step, u64 rip) {
  ++step;
  return step->function(cpu, step, rip);
}
[[gnu::always_inline]] inline void next_after_store(Cpu& cpu, Step const* step, u64 rip) {
  if (cpu.code_written) [[unlikely]] return;
  return next(cpu, step, rip);
}
/// Before anything that may fault, leave the block or look at RIP.
[[gnu::always_inline]] inline void set_rip(Cpu& cpu, Step const* step, u64 rip) { cpu.state.rip = rip + step->end; }

enum class Form : u8 {
  base,        // [register or RIP + displacement], 64 bits
  base_index,  // [register + register * scale + displacement], 64 bits
  any,
};

template <Form form>
[[gnu::always_inline]] inline u64 address(Cpu& cpu, Step const* step) {
  auto result = static_cast<u64>(i64{step->displacement});
  if constexpr (form == Form::any) {
    if (step->base != x86::no_register) result += get<u64>(cpu, step->base);
    if (step->index != x86::no_register) result += get<u64>(cpu, step->index) << step->scale;
    return result << step->address_shift >> step->address_shift;
  } else {
    result += get<u64>(cpu, step->base);
    if constexpr (form == Form::base_index) result += get<u64>(cpu, step->index) << step->scale;
    return result;
  }
}
template <typename T, Form form>
[[gnu::always_inline]] inline T load(Cpu& cpu, Step const* step, u64 rip) {
  set_rip(cpu, step, rip);
  return cpu.read<T>(step->segment, address<form>(cpu, step));
}
template <typename T, Form form>
[[gnu::always_inline]] inline void store(Cpu& cpu, Step const* step, u64 rip, T value) {
  set_rip(cpu, step, rip);
  cpu.write<T>(step->segment, address<form>(cpu, step), value);
}

// ---- lowering ----

inline u8 register_offset(x86::Operand const& operand) { return static_cast<u8>(operand.reg * 8 + operand.high); }

/// Packs the memory operand and says which form it has; false when it does not fit.
inline bool pack_memory(x86::Instruction const& insn, Step& step, Form& form) {
  auto const& memory = insn.memory;
  if (memory.vector_index != x86::no_register) return false;
  if (memory.displacement != static_cast<i32>(memory.displacement)) return false;
  step.displacement = static_cast<i32>(memory.displacement);
  step.segment = memory.segment;
  step.address_shift = static_cast<u8>(64 - 8 * insn.address_size);
  auto const has_index = memory.index != x86::no_register;
  auto const has_base = memory.base != x86::no_register || memory.rip_relative;
  step.base = memory.rip_relative ? rip_offset : has_base ? static_cast<u8>(memory.base * 8) : x86::no_register;
  step.index = has_index ? static_cast<u8>(memory.index * 8) : x86::no_register;
  step.scale = static_cast<u8>(memory.scale == 8 ? 3 : memory.scale == 4 ? 2 : memory.scale == 2 ? 1 : 0);
  form = insn.address_size != 8 || !has_base ? Form::any : has_index ? Form::base_index : Form::base;
  return true;
}

bool lower_alu(x86::Instruction const& insn, Step& step);
bool lower_move(x86::Instruction const& insn, Step& step);
bool lower_branch(x86::Instruction const& insn, Step& step);

}  // namespace vireo::engine::soft::fast
