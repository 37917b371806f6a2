#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

void branch_relative(Cpu& cpu, Instruction const& insn) {
  cpu.state.rip = branch_target(cpu, cpu.state.rip + insn.immediate, insn.operand_size);
}

template <u8 condition>
void jump_if(Cpu& cpu, Instruction const& insn, void const*) {
  if (holds<condition>(cpu.state.rflags)) branch_relative(cpu, insn);
}
template <u8... condition>
Handler conditional_jump(u8 which, std::integer_sequence<u8, condition...>) {
  constexpr Handler jumps[]{jump_if<condition>...};
  return jumps[which & 0xf];
}

u64 counter(Cpu const& cpu, Instruction const& insn) {
  auto const rcx = cpu.state.gpr[x86::rcx];
  if (insn.address_size == 8) return rcx;
  return insn.address_size == 4 ? static_cast<u32>(rcx) : static_cast<u16>(rcx);
}
void jump_if_counter_is_zero(Cpu& cpu, Instruction const& insn, void const*) {
  if (counter(cpu, insn) == 0) branch_relative(cpu, insn);
}
void loop(Cpu& cpu, Instruction const& insn, void const*) {
  auto const zero = (cpu.state.rflags & x86::flag_zf) != 0;
  auto const left = counter(cpu, insn) - 1;
  auto const more = insn.address_size == 8   ? left != 0
                    : insn.address_size == 4 ? static_cast<u32>(left) != 0
                                             : static_cast<u16>(left) != 0;
  auto const wanted = insn.operation == Operation::loop || zero == (insn.operation == Operation::loope);
  if (more && wanted) branch_relative(cpu, insn);  // may fault: the counter comes after
  if (insn.address_size == 8)
    cpu.set_gpr<u64>(x86::rcx, left);
  else if (insn.address_size == 4)
    cpu.set_gpr<u32>(x86::rcx, static_cast<u32>(left));
  else
    cpu.set_gpr<u16>(x86::rcx, static_cast<u16>(left));
}

u64 target_of(Cpu& cpu, Instruction const& insn) {
  auto const& operand = insn.operands[0];
  auto const size = insn.operand_size;
  if (operand.kind == OperandKind::relative) return branch_target(cpu, cpu.state.rip + insn.immediate, size);
  auto const target = size == 8   ? read_operand<u64>(cpu, insn, operand)
                      : size == 4 ? read_operand<u32>(cpu, insn, operand)
                                  : read_operand<u16>(cpu, insn, operand);
  return branch_target(cpu, target, size);
}
void jump(Cpu& cpu, Instruction const& insn, void const*) { cpu.state.rip = target_of(cpu, insn); }
void call(Cpu& cpu, Instruction const& insn, void const*) {
  auto const target = target_of(cpu, insn);
  cpu.push(cpu.state.rip, insn.operand_size);
  cpu.state.rip = target;
}
void return_near(Cpu& cpu, Instruction const& insn, void const*) {
  auto const size = insn.operand_size;
  auto const target = branch_target(cpu, cpu.peek(0, size), size);
  auto const released = insn.opcode == 0xc2 ? static_cast<u16>(insn.immediate) : 0u;
  set_stack_pointer(cpu, cpu.state.gpr[x86::rsp] + size + released);
  cpu.state.rip = target;
}

}  // namespace

Lowered lower_branch(Instruction const& insn) {
  using O = Operation;
  switch (insn.operation) {
    case O::jcc:
      return {.handler = conditional_jump(insn.opcode, std::make_integer_sequence<u8, 16>{}),
              .ends_block = true};
    case O::jcxz: return {.handler = jump_if_counter_is_zero, .ends_block = true};
    case O::loop:
    case O::loope:
    case O::loopne: return {.handler = loop, .ends_block = true};
    case O::jmp_near: return {.handler = jump, .ends_block = true};
    case O::call_near: return {.handler = call, .ends_block = true};
    case O::ret_near: return {.handler = return_near, .ends_block = true};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
