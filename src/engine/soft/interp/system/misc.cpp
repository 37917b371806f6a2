#include <immintrin.h>
#include <sched.h>
#include <sys/random.h>

#include "engine/soft/interp/system/lower_system.h"
#include "engine/soft/paravirt.h"

namespace vireo::engine::soft::system {

using namespace x86;

void hlt(Cpu& cpu, Instruction const&, void const*) {
  require_cpl0(cpu);
  cpu.state.activity = Activity::halted;
}

// MONITOR and MWAIT are hints: the wait may end at once. A loop around them is a spin, so the host gets the
// processor.
void monitor(Cpu& cpu, Instruction const& insn, void const*) {
  if (cpu.cpl() != 0) raise_ud();
  if (cpu.gpr<u32>(rcx) != 0) raise_gp();
  auto const address = insn.address_size == 8   ? cpu.gpr<u64>(rax)
                       : insn.address_size == 4 ? cpu.gpr<u32>(rax)
                                                : cpu.gpr<u16>(rax);
  auto const segment = insn.prefixes.has_segment ? insn.prefixes.segment : SegmentRegister::ds;
  static_cast<void>(cpu.read<u8>(segment, address));
}

void mwait(Cpu& cpu, Instruction const&, void const*) {
  if (cpu.cpl() != 0) raise_ud();
  if (cpu.gpr<u32>(rcx) & ~1u) raise_gp();
  sched_yield();
}

// There may be more vCPUs than host processors: a vCPU that spins long lets the one run that it waits for.
void pause(Cpu&, Instruction const&, void const*) {
  constexpr auto patience = u32{64};
  thread_local auto pauses = u32{0};
  _mm_pause();
  if (++pauses % patience == 0) sched_yield();
}

void privileged_nothing(Cpu& cpu, Instruction const&, void const*) { require_cpl0(cpu); }
void undefined(Cpu&, Instruction const&, void const*) { raise_ud(); }

void random_number(Cpu& cpu, Instruction const& insn, void const*) {
  auto value = u64{0};
  auto const got = getrandom(&value, sizeof value, 0) == static_cast<ssize_t>(sizeof value);
  auto const reg = insn.operands[0].reg;
  cpu.state.rflags = (cpu.state.rflags & ~u64{arithmetic_flags}) | (got ? u64{flag_cf} : 0);
  if (!got) value = 0;
  if (insn.operand_size == 2) return cpu.set_gpr(reg, static_cast<u16>(value));
  if (insn.operand_size == 4) return cpu.set_gpr(reg, static_cast<u32>(value));
  cpu.set_gpr(reg, value);
}

void hypercall(Cpu& cpu, Instruction const&, void const*) {
  auto const argument = [&](u8 reg) { return cpu.code64() ? cpu.gpr<u64>(reg) : cpu.gpr<u32>(reg); };
  auto const answer =
      paravirt::hypercall(cpu, argument(rax), argument(rbx), argument(rcx), argument(rdx), argument(rsi));
  if (cpu.code64()) return cpu.set_gpr(rax, answer);
  cpu.set_gpr(rax, static_cast<u32>(answer));
}

}  // namespace vireo::engine::soft::system
