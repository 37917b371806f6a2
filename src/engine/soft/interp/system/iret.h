#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

/// IRET in every mode (SDM vol. 2, IRET). `size` is the operand size: 2, 4, 8.
void interrupt_return(Cpu& cpu, u8 size);

}  // namespace vireo::engine::soft
