#pragma once

#include <vector>

#include "x86/cpuid_model.h"
#include "x86/table.h"

namespace vireo::engine::soft::differential {

/// The encodings of user-mode code that host and model offer and whose outcome is the processor's alone.
std::vector<x86::Row const*> user_rows(x86::CodeSize code_size, x86::CpuidModel const& model);

x86::Operand const* memory_operand(x86::Instruction const& insn);
bool is_stack(x86::Operation operation);
/// Processors leave a trace of an access that faulted: MXCSR's flags set, or a first part written; and masked
/// stores, whose faults on unselected bytes depend on the model.
bool must_not_fault(x86::Instruction const& insn);

}  // namespace vireo::engine::soft::differential
