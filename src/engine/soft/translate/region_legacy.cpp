#include "engine/soft/translate/region.h"

// 16- and 32-bit code.
namespace vireo::engine::soft::translate {

using x86::OperandKind;
using x86::Operation;

namespace {
/// Operand sizes of branches in flat code cut its addresses, which are not known here.
bool branch_fits(x86::Instruction const& insn, CodeMode const& mode) {
  return !mode.flat_code || insn.operand_size == 4;
}
}  // namespace

Kind classify_legacy(Item const& item, CodeMode const& mode) {
  using enum Operation;
  auto const& insn = item.insn;
  auto const& operand = insn.operands[0];
  auto const relative = operand.kind == OperandKind::relative;
  auto const fits = branch_fits(insn, mode);
  switch (insn.operation) {
    case lea: return Kind::load_address;
    case push: return Kind::push;
    case pop:
      if (operand.kind == OperandKind::gpr) return operand.reg != x86::rsp ? Kind::pop : Kind::interpret;
      return insn.memory.base != x86::rsp || mode.stack_size == 4 ? Kind::pop : Kind::interpret;
    case leave: return Kind::leave;
    case jcc: return fits ? Kind::branch : Kind::interpret;
    case jmp_near: return !fits ? Kind::interpret : relative ? Kind::jump : Kind::indirect_jump;
    case call_near: return !fits ? Kind::interpret : relative ? Kind::call : Kind::indirect_call;
    case ret_near: return fits ? Kind::ret : Kind::interpret;
    default: return Kind::native;
  }
}

}  // namespace vireo::engine::soft::translate
