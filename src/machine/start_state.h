#pragma once

#include "engine/vcpu_state.h"
#include "firmware/boot_entry.h"

namespace vireo::machine {

/// The bootstrap processor's state at the entry of a directly loaded kernel.
engine::VcpuState start_state(firmware::BootEntry const& entry);

}  // namespace vireo::machine
