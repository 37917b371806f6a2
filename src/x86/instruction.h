#pragma once

#include <array>

#include "x86/operation.h"
#include "x86/registers.h"

namespace vireo::x86 {

enum class OperandKind : u8 {
  none,
  gpr,          // reg 0..15; `high` selects AH CH DH BH (reg 0..3, size 1)
  memory,       // Instruction::memory; size in bytes, 0 when there is none (LEA, INVLPG) or it depends on state
                // (XSAVE)
  immediate,    // Instruction::immediate, already sign- or zero-extended as the instruction says
  immediate2,   // Instruction::immediate2 (ENTER, EXTRQ), or is4 register selectors as `vector`
  relative,     // branch displacement in Instruction::immediate
  far_pointer,  // offset in immediate, selector in immediate2
  segment,
  control,
  debug,
  x87,     // ST(reg)
  mmx,     // MM(reg)
  vector,  // XMM (size <= 16) or YMM (size 32)
};

struct Operand {
  OperandKind kind{};
  u8 reg{};
  u8 size{};  // bytes; FAR m16:64 is 10, m16:32 6; 80-bit real is 10
  bool high{};
  bool read{}, written{};
};

struct MemoryOperand {
  SegmentRegister segment{};  // after overrides and defaults; in 64-bit mode ES CS SS DS have base 0
  u8 base{no_register};
  u8 index{no_register};
  u8 scale{1};                   // 1, 2, 4, 8
  bool rip_relative{};           // base is the next instruction's address
  u8 vector_index{no_register};  // VSIB
  i64 displacement{};            // sign-extended; a 64-bit moffs fits too
};

/// Prefixes in effect. `rep`/`repne` are set only as repeat or as the mandatory prefixes were not consumed.
struct Prefixes {
  bool lock{}, rep{}, repne{}, operand_size{}, address_size{};
  bool has_segment{};
  SegmentRegister segment{};
  u8 rex{};  // 0: none
  bool vex{};
  u8 vex_length{};  // 0: 128, 1: 256
  u8 vex_vvvv{};    // register number (already inverted back)
  bool vex_w{};
};

/// One decoded instruction. Self-contained: nothing points into guest memory.
struct Instruction {
  Operation operation{Operation::invalid};
  u16 row{};    // index into the instruction table: features, flags, text (x86/table.h)
  u8 length{};  // 1..15
  CodeSize code_size{};
  u8 operand_size{};  // 2, 4, 8: the effective operand size in bytes
  u8 address_size{};  // 2, 4, 8
  u8 stack_size{};    // what PUSH, CALL, RET move: 2, 4, 8
  Prefixes prefixes;
  u8 map{};  // opcode map: 0 primary, 1 0F, 2 0F38, 3 0F3A
  u8 opcode{};
  bool has_modrm{};
  u8 modrm{};
  u8 modrm_offset{};      // of the ModRM byte within bytes
  u8 immediate_offset{};  // of the first immediate byte within bytes (= length when none)
  u8 operand_count{};
  std::array<Operand, 5> operands{};  // destination first, in the SDM's order, implicit ones (e.g. CL, DX:AX)
                                      // last or as the SDM writes them
  MemoryOperand memory{};
  u64 immediate{};
  u64 immediate2{};
  std::array<u8, 16> bytes{};
};

}  // namespace vireo::x86
