#pragma once

#include <array>

#include "engine/soft/translate/emitter.h"
#include "x86/instruction.h"

namespace vireo::engine::soft::translate {

/// Where each guest GPR lives.
struct RegisterMap {
  std::array<Reg, 16> host{Reg::rax, Reg::rcx, Reg::rdx, Reg::rbx, Reg::rsp, Reg::rbp, Reg::rsi, Reg::rdi,
                           Reg::r8,  Reg::r9,  Reg::r10, Reg::r11, Reg::r12, Reg::r13, Reg::r14, Reg::r15};
};

/// Writes a decoded guest instruction of any code size as 64-bit host code with other registers and another
/// memory operand. The operand in ModRM.rm, when it is memory, becomes `mem`; a moffs too. General registers in
/// ModRM.reg, ModRM.rm, VEX.vvvv and the opcode, and the accumulator where it is a short form of such an
/// operand (ADD AL, imm; XCHG rAX, r; moffs), are renamed. Other implicit registers (CL of shifts, rAX and rDX
/// of MUL, the registers of string instructions, XLAT and MASKMOVQ, rSP of PUSH) are not: there the caller
/// guarantees the identity, and 64-bit addresses. Operand size, LOCK, REP of string instructions, mandatory
/// prefixes, immediates, VEX.L and W are kept; segment and address-size prefixes dropped. LEA computes what
/// `mem` says.
///
/// False, and nothing written: AH..BH together with an operand that needs REX or outside of the first four host
/// registers; branches with a displacement, far pointers, segment, control and debug registers, gathers; what
/// exists outside 64-bit mode only; and, from 16- and 32-bit code, what has another size in 64-bit mode (PUSH,
/// POP, near branches, SGDT).
bool reencode(Emitter& out, x86::Instruction const& insn, RegisterMap const& map, Mem const& mem);

}  // namespace vireo::engine::soft::translate
