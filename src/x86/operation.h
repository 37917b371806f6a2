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

}  // namespace vireo::x86
