#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

// The groups of lower_integer; each answers {} for what is not its own.
Lowered lower_move(x86::Instruction const& insn);
Lowered lower_arithmetic(x86::Instruction const& insn);
Lowered lower_shift(x86::Instruction const& insn);
Lowered lower_bit(x86::Instruction const& insn);
Lowered lower_exchange(x86::Instruction const& insn);
Lowered lower_decimal(x86::Instruction const& insn);
Lowered lower_stack(x86::Instruction const& insn);
Lowered lower_branch(x86::Instruction const& insn);
Lowered lower_string(x86::Instruction const& insn);
Lowered lower_hint(x86::Instruction const& insn);

}  // namespace vireo::engine::soft
