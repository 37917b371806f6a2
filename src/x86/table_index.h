#pragma once

#include "x86/table.h"

namespace vireo::x86 {

/// The rows of one opcode as indices into table(). The first that matches is the instruction.
std::span<u16 const> candidates(Encoding encoding, u8 map, u8 opcode);

}  // namespace vireo::x86
