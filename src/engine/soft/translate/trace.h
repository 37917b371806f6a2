#pragma once

#include <span>
#include <string>

#include "engine/soft/translate/block.h"
#include "engine/soft/translate/context.h"
#include "engine/soft/translate/region.h"
#include "engine/vcpu_state.h"

namespace vireo::engine::soft::translate {

char const* name(ExitKind kind);
/// "address  bytes  text" of each instruction, a line each.
std::string guest_text(Block const& block, u64 linear, CodeMode const& mode);
std::string bytes_text(std::span<u8 const> code);  // 32 in a line
/// General registers, RIP and flags; a mark where the last two differ.
std::string compared_text(VcpuState const& before, VcpuState const& translated, VcpuState const& interpreted);
/// What of x87, SSE and AVX state differs.
std::string vectors_text(ExtendedState const& translated, ExtendedState const& interpreted);

}  // namespace vireo::engine::soft::translate
