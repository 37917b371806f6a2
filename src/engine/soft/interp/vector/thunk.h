#pragma once

#include "engine/soft/code_memory.h"
#include "engine/soft/interp/vector/host_form.h"
#include "engine/vcpu_state.h"

namespace vireo::engine::soft::vector {

/// A generated function: guest registers from the state into the same host registers, the instruction on the
/// memory operand's bytes at `memory` (writable for instructions that store), changed registers back. Not zero:
/// an unmasked SIMD floating-point exception came up; only the state's MXCSR flags have changed then.
using ThunkCode = int (*)(VcpuState*, void const* memory);

struct Thunk {
  ThunkCode code{};
  u8 alignment_mask{};  // the memory operand's address must not have these bits
};

/// How much of the host's processor a thunk takes over.
enum class ThunkKind : u8 {
  simd,        // vector registers only
  simd_float,  // and MXCSR
  x87,         // the whole FXSAVE state
};
ThunkKind thunk_kind(x86::Instruction const& insn);
/// Whether a SIMD instruction's result depends on MXCSR or changes it.
bool uses_mxcsr(x86::Instruction const& insn);

/// The thunk of an instruction, made now or earlier. Null when code memory is full. Takes a lock. Never freed.
Thunk const* find_thunk(x86::Instruction const& insn);

/// A thunk that lives in this thread's own slot until the next call; slow, for when find_thunk has no room.
/// Null when the host gives no executable memory at all.
Thunk const* transient_thunk(x86::Instruction const& insn);

/// Whether the host's processor has what the instruction needs.
bool host_supports(x86::Instruction const& insn);

/// Makes unmasked SIMD exceptions in thunks return instead of kill (a SIGFPE handler, installed once).
void catch_simd_exceptions();

}  // namespace vireo::engine::soft::vector
