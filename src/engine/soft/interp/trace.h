#pragma once

#include <string>

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

struct Block;

/// What the run loop prints to stderr. Slow; for debugging. Also set by
/// VIREO_TRACE=exceptions,blocks,registers.
enum TraceWhat : u32 {
  trace_exceptions = 1,
  trace_blocks = 2,
  trace_registers = 4 /* with each block */,
  trace_counters = 8 /* at the end */
};
void set_trace(u32 what);
u32 trace();

void trace_block(Cpu const& cpu, u64 rip, u8 const* code, Block const& block);
void trace_exception(Cpu const& cpu, Fault const& fault);

/// Registers, segments, control registers and the next instruction, for people.
std::string describe(Cpu& cpu);

}  // namespace vireo::engine::soft
