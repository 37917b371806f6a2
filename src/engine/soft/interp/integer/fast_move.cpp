#include "engine/soft/interp/integer/fast.h"

namespace vireo::engine::soft::fast {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

template <typename T>
void move_register(Cpu& cpu, Step const* step, u64 rip) {
  set<T>(cpu, step->destination, get<T>(cpu, step->source));
  return next(cpu, step, rip);
}
template <typename T>
void move_immediate(Cpu& cpu, Step const* step, u64 rip) {
  set<T>(cpu, step->destination, static_cast<T>(step->immediate));
  return next(cpu, step, rip);
}
template <typename T, Form form, bool slow = false>
void move_from_memory(Cpu& cpu, Step const* step, u64 rip) {
  VIREO_LOAD(value, T, (move_from_memory<T, Form::any, true>))
  set<T>(cpu, step->destination, value);
  return next(cpu, step, rip);
}
template <typename T, Form form, bool immediate, bool slow = false>
void move_to_memory(Cpu& cpu, Step const* step, u64 rip) {
  auto const value = immediate ? static_cast<T>(step->immediate) : get<T>(cpu, step->source);
  VIREO_STORE(value, T, (move_to_memory<T, Form::any, immediate, true>))
}

template <typename T>
struct Move {
  template <Form form>
  struct Load {
    static constexpr StepFunction function{move_from_memory<T, form>};
  };
  template <Form form>
  struct Store {
    static constexpr StepFunction function{move_to_memory<T, form, false>};
  };
  template <Form form>
  struct StoreImmediate {
    static constexpr StepFunction function{move_to_memory<T, Form::any, true>};
  };
};
template <typename T>
StepFunction move_of_size(OperandKind first, OperandKind second, Form form) {
  if (first == OperandKind::gpr && second == OperandKind::gpr) return move_register<T>;
  if (first == OperandKind::gpr && second != OperandKind::memory) return move_immediate<T>;
  if (first == OperandKind::gpr) return by_form<Move<T>::template Load>(form);
  if (second == OperandKind::gpr) return by_form<Move<T>::template Store>(form);
  return by_form<Move<T>::template StoreImmediate>(form);
}
bool lower_plain_move(Instruction const& insn, Step& step) {
  auto const& first = insn.operands[0];
  auto const& second = insn.operands[1];
  auto form = Form::any;
  if ((first.kind == OperandKind::memory || second.kind == OperandKind::memory) &&
      !pack_memory(insn, step, form)) {
    return false;
  }
  step.destination = register_offset(first);
  step.source = register_offset(second);
  step.immediate = insn.immediate;
  switch (first.size) {
    case 1: step.function = move_of_size<u8>(first.kind, second.kind, form); return true;
    case 2: step.function = move_of_size<u16>(first.kind, second.kind, form); return true;
    case 4: step.function = move_of_size<u32>(first.kind, second.kind, form); return true;
    default: step.function = move_of_size<u64>(first.kind, second.kind, form); return true;
  }
}

// ---- MOVZX, MOVSX, MOVSXD. `From` is signed or unsigned, To is u32 or u64. ----

template <typename To, typename From>
void extend_register(Cpu& cpu, Step const* step, u64 rip) {
  set<To>(cpu, step->destination, static_cast<To>(get<From>(cpu, step->source)));
  return next(cpu, step, rip);
}
template <typename To, typename From, Form form, bool slow = false>
void extend_memory(Cpu& cpu, Step const* step, u64 rip) {
  VIREO_LOAD(value, std::make_unsigned_t<From>, (extend_memory<To, From, Form::any, true>))
  set<To>(cpu, step->destination, static_cast<To>(static_cast<From>(value)));
  return next(cpu, step, rip);
}
template <typename To, typename From>
struct Extend {
  template <Form form>
  struct Memory {
    static constexpr StepFunction function{extend_memory<To, From, form>};
  };
};
template <typename To, typename From>
bool lower_extension_of(Instruction const& insn, Step& step) {
  auto const& second = insn.operands[1];
  step.destination = register_offset(insn.operands[0]);
  if (second.kind == OperandKind::gpr) {
    step.source = register_offset(second);
    step.function = extend_register<To, From>;
    return true;
  }
  auto form = Form::any;
  if (!pack_memory(insn, step, form)) return false;
  step.function = by_form<Extend<To, From>::template Memory>(form);
  return true;
}
template <typename From>
bool lower_extension(Instruction const& insn, Step& step) {
  if (insn.operands[0].size == 4) return lower_extension_of<u32, From>(insn, step);
  if (insn.operands[0].size == 8) return lower_extension_of<u64, From>(insn, step);
  return false;
}

// ---- LEA ----

template <typename T, Form form>
void load_address(Cpu& cpu, Step const* step, u64 rip) {
  set<T>(cpu, step->destination, static_cast<T>(address<form>(cpu, step, rip)));
  return next(cpu, step, rip);
}
template <typename T>
struct Lea {
  template <Form form>
  struct Address {
    static constexpr StepFunction function{load_address<T, form>};
  };
};
template <typename T>
bool lower_load_address(Instruction const& insn, Step& step) {
  auto form = Form::any;
  if (!pack_memory(insn, step, form)) return false;
  step.destination = register_offset(insn.operands[0]);
  step.function = by_form<Lea<T>::template Address>(form);
  return true;
}

// ---- SETcc, CMOVcc ----

template <u8 condition>
void set_register_if(Cpu& cpu, Step const* step, u64 rip) {
  set<u8>(cpu, step->destination, holds<condition>(cpu.state.rflags));
  return next(cpu, step, rip);
}
template <typename T, u8 condition>
void move_register_if(Cpu& cpu, Step const* step, u64 rip) {
  auto const value = get<T>(cpu, step->source);
  auto const old = get<T>(cpu, step->destination);
  set<T>(cpu, step->destination, holds<condition>(cpu.state.rflags) ? value : old);
  return next(cpu, step, rip);
}
template <u8... condition>
bool lower_conditional(Instruction const& insn, Step& step, std::integer_sequence<u8, condition...>) {
  constexpr StepFunction sets[]{set_register_if<condition>...};
  constexpr StepFunction moves32[]{move_register_if<u32, condition>...};
  constexpr StepFunction moves64[]{move_register_if<u64, condition>...};
  auto const which = insn.opcode & 0xf;
  if (insn.operands[0].kind != OperandKind::gpr) return false;
  step.destination = register_offset(insn.operands[0]);
  if (insn.operation == Operation::setcc) {
    step.function = sets[which];
    return true;
  }
  if (insn.operands[1].kind != OperandKind::gpr || insn.operands[0].size == 2) return false;
  step.source = register_offset(insn.operands[1]);
  step.function = insn.operands[0].size == 4 ? moves32[which] : moves64[which];
  return true;
}

// ---- stack, 64 bits ----

template <bool immediate, bool slow = false>
void push(Cpu& cpu, Step const* step, u64 rip) {
  auto const top = cpu.state.gpr[x86::rsp] - 8;
  auto const value = immediate ? step->immediate : get<u64>(cpu, step->source);
  if constexpr (slow) {
    set_rip(cpu, step, rip);
    cpu.write<u64>(x86::SegmentRegister::ss, top, value);
    cpu.state.gpr[x86::rsp] = top;
    return next_after_store(cpu, step, rip);
  } else {
    auto* const host = cpu.writable(x86::SegmentRegister::ss, top, 8);
    if (host == nullptr) [[unlikely]]
      return push<immediate, true>(cpu, step, rip);
    store_le<u64>(host, value);
    cpu.state.gpr[x86::rsp] = top;
    return next(cpu, step, rip);
  }
}
template <bool slow = false>
void pop(Cpu& cpu, Step const* step, u64 rip) {
  auto const top = cpu.state.gpr[x86::rsp];
  auto value = u64{};
  if constexpr (slow) {
    set_rip(cpu, step, rip);
    value = cpu.read<u64>(x86::SegmentRegister::ss, top);
  } else {
    auto const* const host = cpu.readable(x86::SegmentRegister::ss, top, 8);
    if (host == nullptr) [[unlikely]]
      return pop<true>(cpu, step, rip);
    value = load_le<u64>(host);
  }
  cpu.state.gpr[x86::rsp] = top + 8;
  set<u64>(cpu, step->destination, value);
  return next(cpu, step, rip);
}
bool lower_stack64(Instruction const& insn, Step& step) {
  if (insn.code_size != x86::CodeSize::bits64 || insn.stack_size != 8) return false;
  auto const& operand = insn.operands[0];
  if (operand.kind == OperandKind::memory) return false;
  step.destination = step.source = register_offset(operand);
  step.immediate = insn.immediate;
  if (insn.operation == Operation::pop)
    step.function = pop<>;
  else
    step.function = operand.kind == OperandKind::gpr ? StepFunction{push<false>} : StepFunction{push<true>};
  return true;
}
void leave(Cpu& cpu, Step const* step, u64 rip) {
  set_rip(cpu, step, rip);
  auto const frame = cpu.state.gpr[x86::rbp];
  auto const value = cpu.read<u64>(x86::SegmentRegister::ss, frame);
  cpu.state.gpr[x86::rsp] = frame + 8;
  cpu.state.gpr[x86::rbp] = value;
  return next(cpu, step, rip);
}

// ---- the rest ----

void nothing(Cpu& cpu, Step const* step, u64 rip) { return next(cpu, step, rip); }
void sign_extend_eax(Cpu& cpu, Step const* step, u64 rip) {
  cpu.state.gpr[x86::rax] = static_cast<u64>(i64{static_cast<i32>(cpu.state.gpr[x86::rax])});
  return next(cpu, step, rip);
}
template <typename T>
void sign_into_dx(Cpu& cpu, Step const* step, u64 rip) {
  auto const value = static_cast<std::make_signed_t<T>>(cpu.gpr<T>(x86::rax));
  cpu.set_gpr<T>(x86::rdx, static_cast<T>(value < 0 ? -1 : 0));
  return next(cpu, step, rip);
}

bool always(Step& step, StepFunction function) {
  step.function = function;
  return true;
}

}  // namespace

bool lower_move(Instruction const& insn, Step& step) {
  using O = Operation;
  auto const from = insn.operands[1].size;
  switch (insn.operation) {
    case O::mov: return lower_plain_move(insn, step);
    case O::movzx: return from == 1 ? lower_extension<u8>(insn, step) : lower_extension<u16>(insn, step);
    case O::movsx: return from == 1 ? lower_extension<i8>(insn, step) : lower_extension<i16>(insn, step);
    case O::movsxd: return insn.operands[0].size == 8 && lower_extension<i32>(insn, step);
    case O::lea:
      if (insn.operands[0].size == 8) return lower_load_address<u64>(insn, step);
      return insn.operands[0].size == 4 && lower_load_address<u32>(insn, step);
    case O::setcc:
    case O::cmovcc: return lower_conditional(insn, step, std::make_integer_sequence<u8, 16>{});
    case O::push:
    case O::pop: return lower_stack64(insn, step);
    case O::leave:
      return insn.code_size == x86::CodeSize::bits64 && insn.stack_size == 8 && always(step, leave);
    case O::nop: return always(step, nothing);
    case O::cdqe: return always(step, sign_extend_eax);
    case O::cdq: return always(step, sign_into_dx<u32>);
    case O::cqo: return always(step, sign_into_dx<u64>);
    default: return false;
  }
}

}  // namespace vireo::engine::soft::fast
