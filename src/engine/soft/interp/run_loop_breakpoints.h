#pragma once

#include <vector>

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

// DR0 to DR7 (SDM vol. 3, 18.2). The run loop takes the slow way, one instruction at a time, while DR7 enables
// anything.

struct DataAccess {
  u64 linear{};
  u64 length{};
  bool write{};
};

/// Bits 0..3 of DR6 for the breakpoints on executing at `linear_rip`.
u64 execution_breakpoints(Cpu const& cpu, u64 linear_rip);
/// DR7 enables a breakpoint on data.
bool watches_data(Cpu const& cpu);
/// What the instruction at RIP will access: memory operands, both sides of a string instruction, the stack.
std::vector<DataAccess> data_accesses(Cpu const& cpu, x86::Instruction const& insn);
/// Bits 0..3 of DR6 for the breakpoints that these accesses meet.
u64 data_breakpoints(Cpu const& cpu, std::vector<DataAccess> const& accesses);

}  // namespace vireo::engine::soft
