#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft::vector {

/// FLDENV, FNSTENV, FRSTOR, FNSAVE in their 14/28- and 94/108-byte forms.
Lowered lower_x87_environment(x86::Instruction const& insn);

/// The state keeps ST(0) first, the registers are physical: when TOP changes by itself, the images move.
void rotate_stack(ExtendedState& state, unsigned previous_top);
void set_top(ExtendedState& state, unsigned top);

/// FNINIT: control, status, tags and pointers; the registers stay as they are.
void reset_control(ExtendedState& state);

std::size_t x87_memory_size(x86::Instruction const& insn);

}  // namespace vireo::engine::soft::vector
