#pragma once

#include <string>

#include "engine/soft/interp/cpu.h"
#include "engine/trace.h"

namespace vireo::engine::soft {

struct Block;

void trace_block(Cpu const& cpu, u64 rip, u8 const* code, Block const& block);
void trace_exception(Cpu const& cpu, Fault const& fault);

char const* register_name(u8 gpr);
std::string registers_text(VcpuState const& state);
/// Registers, segments, control registers and the next instruction, for people.
std::string describe(Cpu& cpu);

}  // namespace vireo::engine::soft
