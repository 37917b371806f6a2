#pragma once

#include "engine/soft/interp/cpu.h"
#include "vocab/result.h"

namespace vireo::engine::soft {

/// Errc::corrupt unless `state` is one that `cpu` can stand in: no instruction could set what is refused here,
/// and the interpreter relies on it (vector instructions run on the host with this MXCSR, for instance).
Result<> check_state(VcpuState const& state, Cpu const& cpu);

}  // namespace vireo::engine::soft
