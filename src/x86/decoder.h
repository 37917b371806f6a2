#pragma once

#include <span>

#include "x86/instruction.h"

namespace vireo::x86 {

enum class DecodeStatus : u8 {
  ok,
  truncated,  // the bytes given end inside the instruction: fetch more (may fault)
  too_long,   // over 15 bytes: #GP(0)
  invalid,    // #UD; instruction.length is as far as was read
};

/// Decodes one instruction at the start of `bytes` (up to 15 are looked at). Checks what is decided by the
/// bytes and the code size alone, in the hardware's order: the 15-byte limit, LOCK on what cannot be locked,
/// VEX with 66/F2/F3/LOCK/REX, memory-only and register-only forms, 64-bit-invalid opcodes. CPUID features,
/// CR0/CR4/XCR0 enables, real and virtual-8086 mode restrictions and CPL are for the executor, from the table
/// row. `protected_mode` is false in real and virtual-8086 mode, where VEX is LES/LDS and ARPL is invalid.
DecodeStatus decode(std::span<u8 const> bytes, CodeSize code_size, bool protected_mode, Instruction& out);

}  // namespace vireo::x86
