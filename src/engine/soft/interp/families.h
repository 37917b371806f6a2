#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

/// Each family lowers the instructions that are its own and answers {} for all others.
Lowered lower_integer(x86::Instruction const& insn);  // integer/
Lowered lower_segmentation(
    x86::Instruction const& insn);  // system/: segments, far transfers, interrupts, descriptor tables
Lowered lower_system(
    x86::Instruction const& insn);  // system/: control registers, MSRs, CPUID, I/O, flags, system calls
Lowered lower_vector(x86::Instruction const& insn);  // vector/: x87, MMX, SSE, AVX, XSAVE

}  // namespace vireo::engine::soft
