#pragma once

#include <cstddef>

#include "engine/soft/interp/block_cache.h"
#include "engine/soft/interp/integer/alu.h"
#include "x86/instruction.h"

// Functions for the most frequent instructions: operands unpacked when the block was made, one function per
// operation, size and operand form. Each ends with a call of the next step's function, which the compiler makes
// a jump; a build without that optimization nests at most Block::max_steps deep.
namespace vireo::engine::soft::fast {

template <typename T>
[[gnu::always_inline]] inline T get(Cpu& cpu, u8 offset) {
  // SOUND: offset is below 128.
  return load_le<T>(reinterpret_cast<u8 const*>(cpu.state.gpr.data()) + offset);
}
template <typename T>
[[gnu::always_inline]] inline void set(Cpu& cpu, u8 offset, T value) {
  // SOUND: as in get.
  auto* const at = reinterpret_cast<u8*>(cpu.state.gpr.data()) + offset;
  if constexpr (sizeof(T) == 4)
    store_le<u64>(at, value);
  else
    store_le<T>(at, value);
}

[[gnu::always_inline]] inline void next(Cpu& cpu, Step const* step, u64 rip) {
  ++step;
  return step->function(cpu, step, rip);
}
[[gnu::always_inline]] inline void next_after_store(Cpu& cpu, Step const* step, u64 rip) {
  if (cpu.code_written) [[unlikely]]
    return;
  return next(cpu, step, rip);
}
/// Before anything that may fault, leave the block or look at RIP.
[[gnu::always_inline]] inline void set_rip(Cpu& cpu, Step const* step, u64 rip) {
  cpu.state.rip = rip + step->end;
}

enum class Form : u8 {
  base,        // [register + displacement], 64 bits
  base_index,  // [register + register * scale + displacement], 64 bits
  rip,         // [block's start + displacement]
  any,         // all of these, and others
};

template <Form form>
[[gnu::always_inline]] inline u64 address(Cpu& cpu, Step const* step, u64 rip) {
  auto result = static_cast<u64>(i64{step->displacement});
  if constexpr (form == Form::any) {
    if (step->relative) result += rip;
    if (step->base != x86::no_register) result += get<u64>(cpu, step->base);
    if (step->index != x86::no_register) result += get<u64>(cpu, step->index) << step->scale;
    return result << step->address_shift >> step->address_shift;
  }
  if constexpr (form == Form::rip) return result + rip;
  if constexpr (form == Form::base_index) result += get<u64>(cpu, step->index) << step->scale;
  return result + get<u64>(cpu, step->base);
}

// Memory. A function whose access hits the TLB calls nothing and so needs no stack frame; on a miss it becomes
// its own slow variant, which knows RIP and may fault. `again` is the function's slow instance, one for all
// forms.
#define VIREO_LOAD(value, T, again)                                                                 \
  T value;                                                                                          \
  if constexpr (slow) {                                                                             \
    set_rip(cpu, step, rip);                                                                        \
    value = cpu.read<T>(step->segment, address<Form::any>(cpu, step, rip));                         \
  } else {                                                                                          \
    auto const* const host = cpu.readable(step->segment, address<form>(cpu, step, rip), sizeof(T)); \
    if (host == nullptr) [[unlikely]]                                                               \
      return again(cpu, step, rip);                                                                 \
    value = load_le<T>(host);                                                                       \
  }
#define VIREO_STORE(value, T, again)                                                          \
  if constexpr (slow) {                                                                       \
    set_rip(cpu, step, rip);                                                                  \
    cpu.write<T>(step->segment, address<Form::any>(cpu, step, rip), value);                   \
    return next_after_store(cpu, step, rip);                                                  \
  } else {                                                                                    \
    auto* const host = cpu.writable(step->segment, address<form>(cpu, step, rip), sizeof(T)); \
    if (host == nullptr) [[unlikely]]                                                         \
      return again(cpu, step, rip);                                                           \
    store_le<T>(host, value);                                                                 \
    return next(cpu, step, rip);                                                              \
  }
/// `compute(T old) -> T`; runs once.
#define VIREO_MODIFY(compute, T, again)                                                       \
  if constexpr (slow) {                                                                       \
    set_rip(cpu, step, rip);                                                                  \
    cpu.modify<T>(step->segment, address<Form::any>(cpu, step, rip), false, compute);         \
    return next_after_store(cpu, step, rip);                                                  \
  } else {                                                                                    \
    auto* const host = cpu.writable(step->segment, address<form>(cpu, step, rip), sizeof(T)); \
    if (host == nullptr) [[unlikely]]                                                         \
      return again(cpu, step, rip);                                                           \
    store_le<T>(host, compute(load_le<T>(host)));                                             \
    return next(cpu, step, rip);                                                              \
  }

// ---- lowering ----

inline u8 register_offset(x86::Operand const& operand) {
  return static_cast<u8>(operand.reg * 8 + operand.high);
}

/// Packs the memory operand and says which form it has; false when it does not fit.
inline bool pack_memory(x86::Instruction const& insn, Step& step, Form& form) {
  auto const& memory = insn.memory;
  if (memory.vector_index != x86::no_register) return false;
  auto const relative = memory.rip_relative && insn.address_size == 8;
  if (memory.rip_relative && !relative) return false;
  auto const displacement = memory.displacement + (relative ? step.end : 0);
  if (displacement != static_cast<i32>(displacement)) return false;
  step.displacement = static_cast<i32>(displacement);
  step.relative = relative;
  step.segment = memory.segment;
  step.address_shift = static_cast<u8>(64 - 8 * insn.address_size);
  auto const has_index = memory.index != x86::no_register;
  auto const has_base = memory.base != x86::no_register;
  step.base = has_base ? static_cast<u8>(memory.base * 8) : x86::no_register;
  step.index = has_index ? static_cast<u8>(memory.index * 8) : x86::no_register;
  step.scale = static_cast<u8>(memory.scale == 8 ? 3 : memory.scale == 4 ? 2 : memory.scale == 2 ? 1 : 0);
  form = relative                              ? Form::rip
         : insn.address_size != 8 || !has_base ? Form::any
         : has_index                           ? Form::base_index
                                               : Form::base;
  return true;
}

/// The instance of a group for a form: `Group<form>::function`.
template <template <Form> typename Group>
StepFunction by_form(Form form) {
  switch (form) {
    case Form::base: return Group<Form::base>::function;
    case Form::base_index: return Group<Form::base_index>::function;
    case Form::rip: return Group<Form::rip>::function;
    default: return Group<Form::any>::function;
  }
}

bool lower_alu(x86::Instruction const& insn, Step& step);
bool lower_move(x86::Instruction const& insn, Step& step);
bool lower_branch(x86::Instruction const& insn, Step& step);

}  // namespace vireo::engine::soft::fast
