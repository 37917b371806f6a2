#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::Operation;

void nothing(Cpu&, Instruction const&, void const*) {}
void undefined(Cpu&, Instruction const&, void const*) { raise_ud(); }
void fence(Cpu&, Instruction const&, void const*) { std::atomic_thread_fence(std::memory_order_seq_cst); }
/// Caches are coherent with everything a guest can see: only the address is checked, as for a load.
void check_address(Cpu& cpu, Instruction const& insn, void const*) {
  static_cast<void>(read_memory<u8>(cpu, insn));
}

}  // namespace

Lowered lower_hint(Instruction const& insn) {
  using O = Operation;
  switch (insn.operation) {
    case O::nop:
    case O::prefetch:
    case O::prefetchw:
    case O::prefetchnta:
    case O::prefetcht0:
    case O::prefetcht1:
    case O::prefetcht2: return {.handler = nothing};
    case O::lfence:
    case O::sfence:
    case O::mfence: return {.handler = fence};
    case O::clflush:
    case O::clflushopt:
    case O::clwb: return {.handler = check_address};
    case O::ud0:
    case O::ud1:
    case O::ud2: return {.handler = undefined, .ends_block = true};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
