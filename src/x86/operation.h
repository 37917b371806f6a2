#pragma once

#include <string_view>

#include "vocab/integers.h"

namespace vireo::x86 {

/// What an instruction does: a mnemonic of the SDM in lower case, near and far forms apart. Legacy SSE and AVX
/// forms are one operation (`addps`, prefixes.vex tells); the `v` names exist in VEX form only. jcc, setcc and
/// cmovcc have their condition in the opcode's low nibble. mov_to_/mov_from_ are MOV with segment, control and
/// debug registers.
enum class Operation : u16 {
  invalid,
#define X(name) name,
#include "x86/operation.inc"
#undef X
  count,
};
inline constexpr u16 operation_count{static_cast<u16>(Operation::count)};

/// The enumerator's spelling without a trailing underscore: "add", "or", "jmp_near".
std::string_view name(Operation operation);

/// Shifts and rotates of general registers and memory, which leave the flags when their count is zero.
constexpr bool shifts_or_rotates(Operation operation) {
  switch (operation) {
    using enum Operation;
    case rol:
    case ror:
    case rcl:
    case rcr:
    case shl:
    case shr:
    case sar:
    case shld:
    case shrd: return true;
    default: return false;
  }
}

}  // namespace vireo::x86
