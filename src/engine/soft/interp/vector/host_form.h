#pragma once

#include <array>
#include <compare>

#include "x86/instruction.h"

namespace vireo::engine::soft::vector {

/// A guest instruction as the host executes it in 64-bit mode: same operation and register numbers, but a
/// memory operand is [rsi] and an explicit general register is rax. Two guest instructions with the same form
/// share a thunk.
struct HostForm {
  std::array<u8, 15> bytes{};
  u8 length{};
  auto operator<=>(HostForm const&) const = default;
};

HostForm host_form(x86::Instruction const& insn);

}  // namespace vireo::engine::soft::vector
