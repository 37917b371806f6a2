#pragma once

#include "engine/soft/interp/differential_program.h"

namespace vireo::engine::soft::differential {

/// Not with a count of zero.
bool writes_flags_always(x86::Instruction const& insn);

/// Arithmetic flags that this program, running on at `rip`, overwrites before it reads them, as far as some
/// instructions tell: a tier that leaves out writing them may show stale ones after a fault.
u32 dead_flags(Program const& program, u64 rip);

}  // namespace vireo::engine::soft::differential
