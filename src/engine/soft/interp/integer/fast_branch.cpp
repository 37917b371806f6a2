#include "engine/soft/interp/integer/fast.h"
#include "engine/soft/interp/integer/operands.h"
#include "x86/address.h"

// Near branches of 64-bit mode. Each is the last step of its block.
namespace vireo::engine::soft::fast {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;
using x86::SegmentRegister;

[[gnu::noinline, gnu::cold]] void refuse(Cpu& cpu, Step const* step, u64 rip) {
  set_rip(cpu, step, rip);
  raise_gp();
}
[[gnu::always_inline]] inline void go(Cpu& cpu, Step const* step, u64 rip, u64 target) {
  if (!x86::is_canonical(target)) [[unlikely]]
    return refuse(cpu, step, rip);
  cpu.state.rip = target;
}

template <u8 condition>
void jump_if(Cpu& cpu, Step const* step, u64 rip) {
  auto const after = rip + step->end;
  return go(cpu, step, rip, holds<condition>(cpu.state.rflags) ? after + step->immediate : after);
}
template <u8... condition>
StepFunction conditional_jump(u8 opcode, std::integer_sequence<u8, condition...>) {
  constexpr StepFunction jumps[]{jump_if<condition>...};
  return jumps[opcode & 0xf];
}
void jump(Cpu& cpu, Step const* step, u64 rip) { return go(cpu, step, rip, rip + step->end + step->immediate); }
void jump_register(Cpu& cpu, Step const* step, u64 rip) {
  return go(cpu, step, rip, get<u64>(cpu, step->source));
}
template <Form form, bool slow = false>
void jump_memory(Cpu& cpu, Step const* step, u64 rip) {
  VIREO_LOAD(target, u64, (jump_memory<Form::any, true>))
  return go(cpu, step, rip, target);
}

/// What CALL does once its target is known.
[[gnu::noinline]] void call_slowly(Cpu& cpu, Step const* step, u64 rip, u64 target) {
  set_rip(cpu, step, rip);
  if (!x86::is_canonical(target)) raise_gp();
  auto const top = cpu.state.gpr[x86::rsp] - 8;
  cpu.write<u64>(SegmentRegister::ss, top, rip + step->end);
  cpu.state.gpr[x86::rsp] = top;
  cpu.state.rip = target;
}
[[gnu::always_inline]] inline void call_target(Cpu& cpu, Step const* step, u64 rip, u64 target) {
  auto const top = cpu.state.gpr[x86::rsp] - 8;
  auto* const host = cpu.writable(SegmentRegister::ss, top, 8);
  if (host == nullptr || !x86::is_canonical(target)) [[unlikely]]
    return call_slowly(cpu, step, rip, target);
  store_le<u64>(host, rip + step->end);
  cpu.state.gpr[x86::rsp] = top;
  cpu.state.rip = target;
}
void call(Cpu& cpu, Step const* step, u64 rip) {
  return call_target(cpu, step, rip, rip + step->end + step->immediate);
}
void call_register(Cpu& cpu, Step const* step, u64 rip) {
  return call_target(cpu, step, rip, get<u64>(cpu, step->source));
}
template <Form form, bool slow = false>
void call_memory(Cpu& cpu, Step const* step, u64 rip) {
  VIREO_LOAD(target, u64, (call_memory<Form::any, true>))
  return call_target(cpu, step, rip, target);
}
[[gnu::noinline]] void return_slowly(Cpu& cpu, Step const* step, u64 rip) {
  set_rip(cpu, step, rip);
  auto const target = cpu.read<u64>(SegmentRegister::ss, cpu.state.gpr[x86::rsp]);
  if (!x86::is_canonical(target)) raise_gp();
  cpu.state.gpr[x86::rsp] += 8 + step->immediate;
  cpu.state.rip = target;
}
void return_near(Cpu& cpu, Step const* step, u64 rip) {
  auto const top = cpu.state.gpr[x86::rsp];
  auto const* const host = cpu.readable(SegmentRegister::ss, top, 8);
  if (host == nullptr) [[unlikely]]
    return return_slowly(cpu, step, rip);
  auto const target = load_le<u64>(host);
  if (!x86::is_canonical(target)) [[unlikely]]
    return return_slowly(cpu, step, rip);
  cpu.state.gpr[x86::rsp] = top + 8 + step->immediate;
  cpu.state.rip = target;
}

template <Form form>
struct JumpMemory {
  static constexpr StepFunction function{jump_memory<form>};
};
template <Form form>
struct CallMemory {
  static constexpr StepFunction function{call_memory<form>};
};

bool lower_indirect(Instruction const& insn, Step& step, bool calls) {
  auto const& operand = insn.operands[0];
  if (operand.kind == OperandKind::relative) {
    step.function = calls ? call : jump;
    return true;
  }
  if (operand.kind == OperandKind::gpr) {
    step.source = register_offset(operand);
    step.function = calls ? call_register : jump_register;
    return true;
  }
  auto form = Form::any;
  if (!pack_memory(insn, step, form)) return false;
  step.function = calls ? by_form<CallMemory>(form) : by_form<JumpMemory>(form);
  return true;
}

}  // namespace

bool lower_branch(Instruction const& insn, Step& step) {
  using O = Operation;
  if (insn.code_size != x86::CodeSize::bits64 || insn.operand_size != 8) return false;
  step.immediate = insn.immediate;
  switch (insn.operation) {
    case O::jcc:
      step.function = conditional_jump(insn.opcode, std::make_integer_sequence<u8, 16>{});
      return true;
    case O::jmp_near: return lower_indirect(insn, step, false);
    case O::call_near: return lower_indirect(insn, step, true);
    case O::ret_near:
      step.immediate = insn.opcode == 0xc2 ? insn.immediate : 0;
      step.function = return_near;
      return true;
    default: return false;
  }
}

}  // namespace vireo::engine::soft::fast
