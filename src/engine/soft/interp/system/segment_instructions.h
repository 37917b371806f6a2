#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

/// The part of lower_segmentation about descriptor tables, descriptors and TLB invalidation.
Lowered lower_descriptor_table(x86::Instruction const& insn);

/// A 16-bit register or memory operand.
u16 read_u16_operand(Cpu& cpu, x86::Instruction const& insn, u8 operand);
/// Operand 0: 16 bits of memory, or a register, which is zero-extended when the operand size is above 16 bits.
void write_selector_operand(Cpu& cpu, x86::Instruction const& insn, u16 selector);

}  // namespace vireo::engine::soft
