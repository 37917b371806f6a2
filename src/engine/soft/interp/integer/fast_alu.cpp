#include "engine/soft/interp/integer/fast.h"

namespace vireo::engine::soft::fast {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

#define VIREO_FAST_OPERATION(Name, function, writes_result)   \
  struct Name {                                               \
    static constexpr bool writes{writes_result};              \
    template <typename T>                                     \
    [[gnu::always_inline]] static T apply(u64& f, T a, T b) { \
      return alu::function<T>(f, a, b);                       \
    }                                                         \
  };
VIREO_FAST_OPERATION(Add, add, true)
VIREO_FAST_OPERATION(Or, or_, true)
VIREO_FAST_OPERATION(Adc, adc, true)
VIREO_FAST_OPERATION(Sbb, sbb, true)
VIREO_FAST_OPERATION(And, and_, true)
VIREO_FAST_OPERATION(Sub, sub, true)
VIREO_FAST_OPERATION(Xor, xor_, true)
VIREO_FAST_OPERATION(Cmp, sub, false)
VIREO_FAST_OPERATION(Test, and_, false)
#undef VIREO_FAST_OPERATION

template <typename Op, typename T>
void register_register(Cpu& cpu, Step const* step, u64 rip) {
  auto const result =
      Op::template apply<T>(cpu.state.rflags, get<T>(cpu, step->destination), get<T>(cpu, step->source));
  if constexpr (Op::writes) set<T>(cpu, step->destination, result);
  return next(cpu, step, rip);
}
template <typename Op, typename T>
void register_immediate(Cpu& cpu, Step const* step, u64 rip) {
  auto const result =
      Op::template apply<T>(cpu.state.rflags, get<T>(cpu, step->destination), static_cast<T>(step->immediate));
  if constexpr (Op::writes) set<T>(cpu, step->destination, result);
  return next(cpu, step, rip);
}
template <typename Op, typename T, Form form, bool slow = false>
void register_memory(Cpu& cpu, Step const* step, u64 rip) {
  VIREO_LOAD(right, T, (register_memory<Op, T, Form::any, true>))
  auto const result = Op::template apply<T>(cpu.state.rflags, get<T>(cpu, step->destination), right);
  if constexpr (Op::writes) set<T>(cpu, step->destination, result);
  return next(cpu, step, rip);
}
template <typename Op, typename T, Form form, bool immediate, bool slow = false>
void memory_other(Cpu& cpu, Step const* step, u64 rip) {
  auto const right = immediate ? static_cast<T>(step->immediate) : get<T>(cpu, step->source);
  if constexpr (Op::writes) {
    auto const compute = [&](T left) { return Op::template apply<T>(cpu.state.rflags, left, right); };
    VIREO_MODIFY(compute, T, (memory_other<Op, T, Form::any, immediate, true>))
  } else {
    VIREO_LOAD(left, T, (memory_other<Op, T, Form::any, immediate, true>))
    Op::template apply<T>(cpu.state.rflags, left, right);
    return next(cpu, step, rip);
  }
}

template <typename Op, typename T>
struct Memory {
  template <Form form>
  struct Source {
    static constexpr StepFunction function{register_memory<Op, T, form>};
  };
  template <Form form>
  struct Register {
    static constexpr StepFunction function{memory_other<Op, T, form, false>};
  };
  template <Form form>
  struct Immediate {
    static constexpr StepFunction function{memory_other<Op, T, Form::any, true>};
  };
};
template <typename Op, typename T>
StepFunction binary_of_size(OperandKind first, OperandKind second, Form form) {
  if (first == OperandKind::gpr && second == OperandKind::gpr) return register_register<Op, T>;
  if (first == OperandKind::gpr && second != OperandKind::memory) return register_immediate<Op, T>;
  if (first == OperandKind::gpr) return by_form<Memory<Op, T>::template Source>(form);
  if (second == OperandKind::gpr) return by_form<Memory<Op, T>::template Register>(form);
  return by_form<Memory<Op, T>::template Immediate>(form);
}
template <typename Op>
bool binary(Instruction const& insn, Step& step) {
  auto const first = insn.operands[0];
  auto second = insn.operands[1];
  auto form = Form::any;
  if (insn.prefixes.lock) return false;
  if (first.kind == OperandKind::memory && second.kind == OperandKind::memory) return false;
  if ((first.kind == OperandKind::memory || second.kind == OperandKind::memory) &&
      !pack_memory(insn, step, form)) {
    return false;
  }
  step.destination = register_offset(first);
  step.source = register_offset(second);
  step.immediate = insn.immediate;
  switch (first.size) {
    case 1: step.function = binary_of_size<Op, u8>(first.kind, second.kind, form); return true;
    case 4: step.function = binary_of_size<Op, u32>(first.kind, second.kind, form); return true;
    case 8: step.function = binary_of_size<Op, u64>(first.kind, second.kind, form); return true;
    default: return false;
  }
}

// ---- shifts by an immediate, INC, DEC, NEG, NOT, IMUL, on registers ----

#define VIREO_FAST_SHIFT(name)                                                                             \
  template <typename T>                                                                                    \
  void name(Cpu& cpu, Step const* step, u64 rip) {                                                         \
    auto const count = static_cast<u8>(step->immediate);                                                   \
    set<T>(cpu, step->destination, alu::name<T>(cpu.state.rflags, get<T>(cpu, step->destination), count)); \
    return next(cpu, step, rip);                                                                           \
  }                                                                                                        \
  template <typename T>                                                                                    \
  void name##_by_cl(Cpu& cpu, Step const* step, u64 rip) {                                                 \
    auto const count = get<u8>(cpu, x86::rcx * 8);                                                         \
    set<T>(cpu, step->destination, alu::name<T>(cpu.state.rflags, get<T>(cpu, step->destination), count)); \
    return next(cpu, step, rip);                                                                           \
  }
VIREO_FAST_SHIFT(shl)
VIREO_FAST_SHIFT(shr)
VIREO_FAST_SHIFT(sar)
VIREO_FAST_SHIFT(rol)
VIREO_FAST_SHIFT(ror)
#undef VIREO_FAST_SHIFT

#define VIREO_FAST_UNARY(name, Name)                                                                \
  template <typename T>                                                                             \
  void name(Cpu& cpu, Step const* step, u64 rip) {                                                  \
    set<T>(cpu, step->destination, alu::name<T>(cpu.state.rflags, get<T>(cpu, step->destination))); \
    return next(cpu, step, rip);                                                                    \
  }                                                                                                 \
  template <typename T, Form form, bool slow = false>                                               \
  void name##_memory(Cpu& cpu, Step const* step, u64 rip) {                                         \
    auto const compute = [&](T value) { return alu::name<T>(cpu.state.rflags, value); };            \
    VIREO_MODIFY(compute, T, (name##_memory<T, Form::any, true>))                                   \
  }                                                                                                 \
  template <typename T>                                                                             \
  struct Name {                                                                                     \
    template <Form form>                                                                            \
    struct Memory {                                                                                 \
      static constexpr StepFunction function{name##_memory<T, form>};                               \
    };                                                                                              \
    static StepFunction on(Form form) { return by_form<Memory>(form); }                             \
  };
VIREO_FAST_UNARY(inc, Inc)
VIREO_FAST_UNARY(dec, Dec)
VIREO_FAST_UNARY(neg, Neg)
VIREO_FAST_UNARY(not_, Not)
#undef VIREO_FAST_UNARY

template <typename T>
void imul_two(Cpu& cpu, Step const* step, u64 rip) {
  auto const right = get<T>(cpu, step->source);
  set<T>(cpu, step->destination, alu::imul_low<T>(cpu.state.rflags, get<T>(cpu, step->destination), right));
  return next(cpu, step, rip);
}
template <typename T>
void imul_three(Cpu& cpu, Step const* step, u64 rip) {
  auto const right = static_cast<T>(step->immediate);
  set<T>(cpu, step->destination, alu::imul_low<T>(cpu.state.rflags, get<T>(cpu, step->source), right));
  return next(cpu, step, rip);
}

#define VIREO_FAST_BIT(name, writes)                                                                     \
  template <typename T>                                                                                  \
  void name(Cpu& cpu, Step const* step, u64 rip) {                                                       \
    auto const result =                                                                                  \
        alu::name<T>(cpu.state.rflags, get<T>(cpu, step->destination), static_cast<T>(step->immediate)); \
    if (writes) set<T>(cpu, step->destination, result);                                                  \
    return next(cpu, step, rip);                                                                         \
  }                                                                                                      \
  template <typename T>                                                                                  \
  void name##_register(Cpu& cpu, Step const* step, u64 rip) {                                            \
    auto const result =                                                                                  \
        alu::name<T>(cpu.state.rflags, get<T>(cpu, step->destination), get<T>(cpu, step->source));       \
    if (writes) set<T>(cpu, step->destination, result);                                                  \
    return next(cpu, step, rip);                                                                         \
  }
VIREO_FAST_BIT(bt, false)
VIREO_FAST_BIT(bts, true)
VIREO_FAST_BIT(btr, true)
#undef VIREO_FAST_BIT
#define VIREO_FAST_4_8(function) (size == 4 ? StepFunction{function<u32>} : StepFunction{function<u64>})

template <template <typename> typename Unary>
StepFunction unary_on_memory(u8 size, Form form) {
  if (size == 1) return Unary<u8>::on(form);
  return size == 4 ? Unary<u32>::on(form) : Unary<u64>::on(form);
}
bool on_memory(Instruction const& insn, Step& step) {
  using O = Operation;
  auto const size = insn.operands[0].size;
  auto form = Form::any;
  if (insn.operands[0].kind != OperandKind::memory || insn.prefixes.lock || size == 2) return false;
  switch (insn.operation) {
    case O::inc:
    case O::dec:
    case O::neg:
    case O::not_: break;
    default: return false;
  }
  if (!pack_memory(insn, step, form)) return false;
  step.function = insn.operation == O::inc   ? unary_on_memory<Inc>(size, form)
                  : insn.operation == O::dec ? unary_on_memory<Dec>(size, form)
                  : insn.operation == O::neg ? unary_on_memory<Neg>(size, form)
                                             : unary_on_memory<Not>(size, form);
  return true;
}

bool on_register(Instruction const& insn, Step& step) {
  using O = Operation;
  auto const size = insn.operands[0].size;
  if (insn.operands[0].kind != OperandKind::gpr || size < 4) return false;
  step.destination = register_offset(insn.operands[0]);
  switch (insn.operation) {
    case O::inc: step.function = VIREO_FAST_4_8(inc); return true;
    case O::dec: step.function = VIREO_FAST_4_8(dec); return true;
    case O::neg: step.function = VIREO_FAST_4_8(neg); return true;
    case O::not_: step.function = VIREO_FAST_4_8(not_); return true;
    case O::imul: {
      if (insn.operands[1].kind != OperandKind::gpr) return false;
      auto const three = insn.opcode == 0x69 || insn.opcode == 0x6b;
      if (insn.map == 0 && !three) return false;
      step.source = register_offset(insn.operands[1]);
      step.immediate = insn.immediate;
      step.function = three ? VIREO_FAST_4_8(imul_three) : VIREO_FAST_4_8(imul_two);
      return true;
    }
    case O::bt:
    case O::bts:
    case O::btr: {
      auto const by_register = insn.operands[1].kind == OperandKind::gpr;
      step.source = register_offset(insn.operands[1]);
      step.immediate = insn.immediate;
      if (insn.operation == O::bt)
        step.function = by_register ? VIREO_FAST_4_8(bt_register) : VIREO_FAST_4_8(bt);
      if (insn.operation == O::bts)
        step.function = by_register ? VIREO_FAST_4_8(bts_register) : VIREO_FAST_4_8(bts);
      if (insn.operation == O::btr)
        step.function = by_register ? VIREO_FAST_4_8(btr_register) : VIREO_FAST_4_8(btr);
      return true;
    }
    default: break;
  }
  auto const by_cl = insn.operands[1].kind == OperandKind::gpr;
  step.immediate = insn.opcode == 0xd1 ? 1 : insn.immediate;
  switch (insn.operation) {
    case O::shl: step.function = by_cl ? VIREO_FAST_4_8(shl_by_cl) : VIREO_FAST_4_8(shl); return true;
    case O::shr: step.function = by_cl ? VIREO_FAST_4_8(shr_by_cl) : VIREO_FAST_4_8(shr); return true;
    case O::sar: step.function = by_cl ? VIREO_FAST_4_8(sar_by_cl) : VIREO_FAST_4_8(sar); return true;
    case O::rol: step.function = by_cl ? VIREO_FAST_4_8(rol_by_cl) : VIREO_FAST_4_8(rol); return true;
    case O::ror: step.function = by_cl ? VIREO_FAST_4_8(ror_by_cl) : VIREO_FAST_4_8(ror); return true;
    default: return false;
  }
}

}  // namespace

bool lower_alu(Instruction const& insn, Step& step) {
  using O = Operation;
  switch (insn.operation) {
    case O::add: return binary<Add>(insn, step);
    case O::or_: return binary<Or>(insn, step);
    case O::adc: return binary<Adc>(insn, step);
    case O::sbb: return binary<Sbb>(insn, step);
    case O::and_: return binary<And>(insn, step);
    case O::sub: return binary<Sub>(insn, step);
    case O::xor_: return binary<Xor>(insn, step);
    case O::cmp: return binary<Cmp>(insn, step);
    case O::test: return binary<Test>(insn, step);
    default: return on_register(insn, step) || on_memory(insn, step);
  }
}

}  // namespace vireo::engine::soft::fast
