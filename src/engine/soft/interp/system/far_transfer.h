#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

/// JMP, CALL and RET through a code segment, gate or TSS. `size` is the operand size: 2, 4, 8. RIP stands at
/// the next instruction.
void far_jump(Cpu& cpu, u16 selector, u64 offset, u8 size);
void far_call(Cpu& cpu, u16 selector, u64 offset, u8 size);
void far_return(Cpu& cpu, u16 bytes_to_release, u8 size);

/// On a return to the outer level `cpl`: data segments that it may not have become null (SDM vol. 2, RET).
void drop_inner_segments(Cpu& cpu, u8 cpl);

}  // namespace vireo::engine::soft
