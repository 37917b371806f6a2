#include "engine/soft/translate/region.h"

// Instructions that address memory or count by registers that they do not name.
namespace vireo::engine::soft::translate {

using x86::OperandKind;
using x86::Operation;

Kind classify_implicit(x86::Instruction const& insn, CodeMode const& mode) {
  using enum Operation;
  switch (insn.operation) {
    case movs:
    case cmps:
    case stos:
    case lods:
    case scas: return insn.prefixes.rep || insn.prefixes.repne ? Kind::interpret : Kind::string;
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
