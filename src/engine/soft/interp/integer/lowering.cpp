#include "engine/soft/interp/integer/lowering.h"

#include "engine/soft/interp/families.h"
#include "engine/soft/interp/integer/fast.h"
#include "engine/soft/interp/lower.h"

namespace vireo::engine::soft {

Lowered lower_integer(x86::Instruction const& insn) {
  constexpr Lowered (*groups[])(x86::Instruction const&){
      lower_move,  lower_arithmetic, lower_shift,  lower_bit,  lower_exchange,
      lower_stack, lower_branch,     lower_string, lower_hint, lower_decimal,
  };
  for (auto const group : groups) {
    if (auto const lowered = group(insn); lowered.handler != nullptr) return lowered;
  }
  return {};
}

bool lower_fast(x86::Instruction const& insn, Step& step) {
  return fast::lower_move(insn, step) || fast::lower_branch(insn, step) || fast::lower_alu(insn, step);
}

}  // namespace vireo::engine::soft
