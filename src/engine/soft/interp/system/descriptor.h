#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

/// Types of system descriptors (SDM vol. 3, table 3-2).
enum class SystemType : u8 {
  tss16_available = 1,
  ldt = 2,
  tss16_busy = 3,
  call_gate16 = 4,
  task_gate = 5,
  interrupt_gate16 = 6,
  trap_gate16 = 7,
  tss32_available = 9,
  tss32_busy = 11,
  call_gate32 = 12,
  interrupt_gate32 = 14,
  trap_gate32 = 15,
};

/// A descriptor as it lies in the GDT, LDT or IDT (SDM vol. 3, 3.4.5 and 6.11). `high` holds the second half of
/// 16-byte ones.
struct Descriptor {
  u64 low{}, high{};
  u64 address{};  // where it was read from; 0 for none

  u8 access() const { return static_cast<u8>(low >> 40); }
  u8 type() const { return access() & 0xf; }
  SystemType system_type() const { return static_cast<SystemType>(type()); }
  bool code_or_data() const { return access() & 0x10; }
  bool code() const { return (access() & 0x18) == 0x18; }
  bool conforming() const { return (access() & 0x1c) == 0x1c; }
  bool readable() const { return !code() || (access() & 2); }
  bool writable_data() const { return (access() & 0x1a) == 0x12; }
  u8 dpl() const { return access() >> 5 & 3; }
  bool present() const { return access() & 0x80; }
  bool long_mode() const { return low >> 53 & 1; }
  bool big() const { return low >> 54 & 1; }
  u32 limit() const {
    auto const raw = static_cast<u32>((low & 0xffff) | (low >> 32 & 0xf0000));
    return low >> 55 & 1 ? raw << 12 | 0xfff : raw;
  }
  u64 base() const { return (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000) | high << 32; }
  // gates
  u16 gate_selector() const { return static_cast<u16>(low >> 16); }
  u64 gate_offset() const { return (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32; }
  u8 gate_parameters() const { return low >> 32 & 0x1f; }
  u8 gate_stack_table() const { return low >> 32 & 7; }

  /// The hidden part that loading it gives.
  Segment hidden(u16 selector) const;
};

constexpr bool null_selector(u16 selector) { return (selector & 0xfffc) == 0; }
constexpr u8 requested_privilege(u16 selector) { return selector & 3; }
/// The error code that names a selector; `ext` is 0 or 1.
constexpr u32 selector_error(u16 selector, u32 ext = 0) { return (selector & 0xfffcu) | ext; }

constexpr bool canonical_address(u64 linear) {
  return static_cast<u64>(static_cast<i64>(linear << 16) >> 16) == linear;
}

/// Reads the descriptor that `selector` names. Outside the table: `vector`(selector). `wide` reads 16 bytes.
Descriptor read_descriptor(Cpu& cpu, u16 selector, x86::Vector vector = x86::Vector::gp, u32 ext = 0,
                           bool wide = false);
/// The same for instructions that only ask (LAR, VERR): false when there is none.
bool find_descriptor(Cpu& cpu, u16 selector, Descriptor& out, bool wide = false);

/// Sets the accessed bit in memory and in `descriptor`.
void mark_accessed(Cpu& cpu, Descriptor& descriptor);

/// What a data segment register gets in real and virtual-8086 mode.
Segment real_mode_segment(Cpu const& cpu, x86::SegmentRegister which, u16 selector);
/// Checks and reads what MOV, POP and LDS would load; throws without having changed a register.
Segment checked_segment(Cpu& cpu, x86::SegmentRegister which, u16 selector);
/// A stack segment for `cpl`, from a TSS or a far return: #TS or #GP as `vector` says, #SS when not present.
Segment checked_stack_segment(Cpu& cpu, u16 selector, u8 cpl, x86::Vector vector, u32 ext = 0);
/// SS in 64-bit mode with a null selector.
Segment null_stack_segment(u16 selector, u8 cpl);
/// A null data segment: unusable. Keeps nothing.
Segment null_segment(u16 selector);

/// The code segment of a jump that stays at `cpl`, with RPL set to it: L and D checked against the mode,
/// accessed bit set, present checked (#NP).
Segment code_segment(Cpu& cpu, Descriptor descriptor, u16 selector, u8 cpl, u32 ext = 0);
/// #GP(0) unless `offset` may be RIP in `code`.
void check_target(Cpu const& cpu, Segment const& code, u64 offset);

}  // namespace vireo::engine::soft
