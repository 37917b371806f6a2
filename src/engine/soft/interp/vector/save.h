#pragma once

#include "engine/vcpu_state.h"

namespace vireo::engine::soft::vector {

/// State components (SDM vol. 1, 13.1).
inline constexpr u64 component_x87{1}, component_sse{2}, component_avx{4};

/// XINUSE: the components of XCR0 that are not in their initial configuration; what XGETBV gives for ECX = 1.
u64 components_in_use(VcpuState const& state);

/// FCW and FSW as the processor keeps them when they are loaded: fixed bits, and ES and B that follow from the
/// flags.
u16 normalised_fcw(u16 value);
u16 normalised_fsw(u16 fsw, u16 fcw);

}  // namespace vireo::engine::soft::vector
