#pragma once

#include "engine/soft/interp/cpu.h"

// The parts of the vector family. Each answers {} for what is not its own; lower_vector asks them in this
// order.
namespace vireo::engine::soft::vector {

Lowered lower_move(x86::Instruction const& insn);     // the commonest moves, written by hand
Lowered lower_control(x86::Instruction const& insn);  // LDMXCSR, STMXCSR, VZEROALL, VZEROUPPER
Lowered lower_masked(x86::Instruction const& insn);   // MASKMOV, VMASKMOV, gathers
Lowered lower_save(x86::Instruction const& insn);     // FXSAVE, XSAVE and their kin
Lowered lower_x87(x86::Instruction const& insn);
Lowered lower_simd(x86::Instruction const& insn);  // all else: MMX, SSE, AVX in thunks

}  // namespace vireo::engine::soft::vector
