#include "engine/soft/interp/families.h"
#include "engine/soft/interp/vector/family.h"
#include "engine/soft/interp/vector/thunk.h"
#include "x86/table.h"

namespace vireo::engine::soft {

Lowered lower_vector(x86::Instruction const& insn) {
  if (x86::row_of(insn).family != x86::Family::vector) return {};
  if (!vector::host_supports(insn)) {
    return {.handler = [](Cpu&, x86::Instruction const&, void const*) { raise_ud(); }};
  }
  constexpr Lowered (*parts[])(x86::Instruction const&){vector::lower_move,   vector::lower_control,
                                                        vector::lower_masked, vector::lower_save,
                                                        vector::lower_x87,    vector::lower_simd};
  for (auto const part : parts) {
    if (auto const lowered = part(insn); lowered.handler != nullptr) return lowered;
  }
  return {};
}

}  // namespace vireo::engine::soft
