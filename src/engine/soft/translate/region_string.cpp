#include "engine/soft/translate/region.h"

// Instructions that address memory or count by registers that they do not name.
namespace vireo::engine::soft::translate {

using x86::OperandKind;
using x86::Operation;

namespace {

bool is_flat(CodeMode const& mode, x86::SegmentRegister segment) {
  return mode.flat >> static_cast<u8>(segment) & 1;
}

/// With linear addresses that are the registers' values, but for what FS and GS add.
bool repeats_in_place(x86::Instruction const& insn, CodeMode const& mode) {
  if (mode.code64()) return insn.address_size == 8;
  auto const reads = insn.operation == Operation::movs;
  return mode.flat_code && insn.address_size == 4 && is_flat(mode, x86::SegmentRegister::es) &&
         (!reads || is_flat(mode, insn.memory.segment));
}

}  // namespace

Kind classify_implicit(x86::Instruction const& insn, CodeMode const& mode) {
  using enum Operation;
  switch (insn.operation) {
    case movs:
    case stos: return !is_repeated(insn) || repeats_in_place(insn, mode) ? Kind::string : Kind::interpret;
    case cmps:
    case lods:
    case scas: return is_repeated(insn) ? Kind::interpret : Kind::string;
    case xlat: return Kind::string;
    case jcxz:
    case loop:
    case loope:
    case loopne: {
      auto const whole = mode.code64() ? 8 : mode.flat_code ? 4 : insn.operand_size;
      return insn.operand_size == whole ? Kind::loop : Kind::interpret;
    }
    case bt:
    case bts:
    case btr:
    case btc: {
      auto const far =
          insn.operands[0].kind == OperandKind::memory && insn.operands[1].kind == OperandKind::gpr;
      auto const short_address = mode.code64() && insn.address_size == 4;
      return far && !short_address ? Kind::bit_test : Kind::interpret;
    }
    default: return Kind::interpret;
  }
}

}  // namespace vireo::engine::soft::translate
