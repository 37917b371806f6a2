// Calls, recursion and the two usual forms of a bytecode interpreter.
#include <array>

#include "harness.h"

namespace bench {
namespace {

__attribute__((noinline)) uint64_t fib(uint64_t n) {
  opaque(n);
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t fib_20() { return fib(20); }

uint64_t place_queens(unsigned all, unsigned columns, unsigned left, unsigned right) {
  if (columns == all) return 1;
  uint64_t ways{0};
  for (unsigned free{all & ~(columns | left | right)}; free != 0; free &= free - 1) {
    unsigned const bit{free & -free};
    ways += place_queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return ways;
}

uint64_t queens() {
  unsigned all{(1U << 8) - 1};
  opaque(all);
  return place_queens(all, 0, 0, 0);
}

uint64_t ackermann(uint64_t m, uint64_t n) {
  if (m == 0) return n + 1;
  return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

uint64_t ackermann_2_60() {
  uint64_t m{2};
  opaque(m);
  return ackermann(m, 60);
}

// Collatz lengths of 1..limit in a small stack machine.
enum Code : uint8_t { push, load, store, add, multiply3, half, odd, jump_if, jump_if_not, jump, less, stop };
constexpr uint8_t limit{40};
std::array<uint8_t, 64> code;

void prepare_code() {
  size_t at{0};
  auto const emit = [&](auto... bytes) { ((code[at++] = static_cast<uint8_t>(bytes)), ...); };
  emit(push, 1, store, 0);
  size_t const outer{at};
  emit(load, 0, store, 1);
  size_t const inner{at};
  emit(load, 1, push, 2, less, jump_if);
  size_t const leave{at++};
  emit(load, 2, push, 1, add, store, 2, load, 1, odd, jump_if);
  size_t const when_odd{at++};
  emit(load, 1, half, store, 1, jump, inner);
  code[when_odd] = static_cast<uint8_t>(at);
  emit(load, 1, multiply3, push, 1, add, store, 1, jump, inner);
  code[leave] = static_cast<uint8_t>(at);
  emit(load, 0, push, 1, add, store, 0, load, 0, push, limit, less, jump_if, outer, stop);
}

struct State {
  std::array<uint64_t, 16> stack{};
  std::array<uint64_t, 4> variables{};
};

uint64_t interpret_switch() {
  State state;
  uint64_t* top{state.stack.data()};
  uint8_t const* at{code.data()};
  for (;;) {
    switch (*at++) {
      case push: *++top = *at++; break;
      case load: *++top = state.variables[*at++]; break;
      case store: state.variables[*at++] = *top--; break;
      case add: --top, *top += top[1]; break;
      case multiply3: *top *= 3; break;
      case half: *top /= 2; break;
      case odd: *top &= 1; break;
      case less: --top, *top = *top < top[1]; break;
      case jump_if: at = *top-- != 0 ? code.data() + *at : at + 1; break;
      case jump_if_not: at = *top-- == 0 ? code.data() + *at : at + 1; break;
      case jump: at = code.data() + *at; break;
      default: return state.variables[2];
    }
  }
}

uint64_t interpret_goto() {
  static void const* const labels[]{&&do_push,        &&do_load, &&do_store, &&do_add,
                                    &&do_multiply3,   &&do_half, &&do_odd,   &&do_jump_if,
                                    &&do_jump_if_not, &&do_jump, &&do_less,  &&do_stop};
  State state;
  uint64_t* top{state.stack.data()};
  uint8_t const* at{code.data()};
#define NEXT goto* labels[*at++]
  NEXT;
do_push:
  *++top = *at++;
  NEXT;
do_load:
  *++top = state.variables[*at++];
  NEXT;
do_store:
  state.variables[*at++] = *top--;
  NEXT;
do_add:
  --top, *top += top[1];
  NEXT;
do_multiply3:
  *top *= 3;
  NEXT;
do_half:
  *top /= 2;
  NEXT;
do_odd:
  *top &= 1;
  NEXT;
do_jump_if:
  at = *top-- != 0 ? code.data() + *at : at + 1;
  NEXT;
do_jump_if_not:
  at = *top-- == 0 ? code.data() + *at : at + 1;
  NEXT;
do_jump:
  at = code.data() + *at;
  NEXT;
do_less:
  --top, *top = *top < top[1];
  NEXT;
do_stop:
  return state.variables[2];
#undef NEXT
}

// Calls through a table of functions, as a state machine makes them.
using Step = uint32_t (*)(uint32_t);
__attribute__((noinline)) uint32_t step_a(uint32_t x) { return x * 5 + 1; }
__attribute__((noinline)) uint32_t step_b(uint32_t x) { return x ^ (x >> 3); }
__attribute__((noinline)) uint32_t step_c(uint32_t x) { return x + 0x9e37; }
__attribute__((noinline)) uint32_t step_d(uint32_t x) { return (x << 7) | (x >> 25); }
std::array<Step, 4> const steps{step_a, step_b, step_c, step_d};
constexpr size_t table_calls{4000};

uint64_t function_table() {
  uint32_t value{1};
  for (size_t i{0}; i < table_calls; ++i) value = steps[(value >> 5) & 3](value);
  return value;
}

constexpr std::array workloads{
    Workload{"integer.fib", 21891, fib_20},
    Workload{"integer.queens", 2057, queens},
    Workload{"integer.ackermann", 7625, ackermann_2_60},
    Workload{"integer.interpreter_switch", 1000, interpret_switch, prepare_code},
    Workload{"integer.interpreter_goto", 1000, interpret_goto, prepare_code},
    Workload{"integer.function_table", table_calls, function_table},
};

}  // namespace

std::span<Workload const> control_workloads() { return workloads; }

}  // namespace bench
