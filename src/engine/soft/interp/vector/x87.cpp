#include <immintrin.h>

#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/family.h"
#include "engine/soft/interp/vector/save.h"
#include "engine/soft/interp/vector/thunk.h"
#include "engine/soft/interp/vector/x87_environment.h"
#include "x86/table.h"

// x87: arithmetic in thunks; what stores or loads control state, by hand. The thunk never meets a pending
// exception: those are reported here, before.
namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

constexpr u32 mxcsr_usual{0x1f80};
constexpr u16 precision_exception{0x20};

void require_waiting(Cpu const& cpu) {
  require_x87(cpu);
  require_no_x87_exception(cpu);
}

struct Pointers {
  u64 fip{}, fdp{};
  u16 fop{};
};

u64 instruction_offset(Cpu const& cpu, Instruction const& insn) {
  auto const start = cpu.state.rip - insn.length;
  if (insn.code_size == x86::CodeSize::bits64) return start;
  return static_cast<u32>(start);
}

u16 fop_of(Instruction const& insn) { return static_cast<u16>((insn.opcode & 7) << 8 | insn.modrm); }

/// Runs the thunk and puts the guest's own addresses where it has left the host's.
void run(Cpu& cpu, Instruction const& insn, Thunk const& thunk, void const* memory, u64 data_offset,
         bool has_data) {
  auto& state = cpu.state.extended;
  auto const before = Pointers{state.fip, state.fdp, state.fop};
  state.mxcsr &= 0xffff;  // a forged snapshot must not fault in FXRSTOR
  thunk.code(&cpu.state, memory);
  if ((state.mxcsr & ~u32{0x3f}) != mxcsr_usual) _mm_setcsr(mxcsr_usual);
  auto const counts = state.fip != before.fip;  // FIP moved: not a control instruction
  state.fip = counts ? instruction_offset(cpu, insn) : before.fip;
  auto const reports = counts && x87_exception_pending(state);
  state.fdp =
      reports && has_data ? data_offset : before.fdp;  // CPUID 7.0 EBX[6]: only with an unmasked exception
  state.fop = reports ? fop_of(insn) : before.fop;     // as processors since the Pentium 4
}

void on_registers(Cpu& cpu, Instruction const& insn, void const* extra) {
  require_waiting(cpu);
  run(cpu, insn, *static_cast<Thunk const*>(extra), nullptr, 0, false);
}

void on_load(Cpu& cpu, Instruction const& insn, void const* extra) {
  require_waiting(cpu);
  auto const offset = cpu.effective_address(insn);
  alignas(16) std::byte bytes[16];
  auto const size = x87_memory_size(insn);
  if (size == 4)
    store_le(bytes, cpu.read<u32>(insn.memory.segment, offset));
  else if (size == 8)
    store_le(bytes, cpu.read<u64>(insn.memory.segment, offset));
  else
    cpu.read_bytes(insn.memory.segment, offset, bytes, size);
  run(cpu, insn, *static_cast<Thunk const*>(extra), bytes, offset, true);
}

void on_store(Cpu& cpu, Instruction const& insn, void const* extra) {
  require_waiting(cpu);
  auto const offset = cpu.effective_address(insn);
  auto const size = x87_memory_size(insn);
  alignas(16) std::byte bytes[16];
  auto& state = cpu.state.extended;
  auto const store = [&] {
    run(cpu, insn, *static_cast<Thunk const*>(extra), bytes, offset, true);
    auto const unmasked = state.fsw & ~state.fcw & 0x3f;
    return (unmasked & ~precision_exception) == 0;  // otherwise the store does not take place (SDM vol. 1, 8.5)
  };
  try {
    cpu.probe_write(insn.memory.segment, offset, size);
  } catch (Fault const&) {
    auto const before = state;
    if (!store()) return;  // an unmasked exception comes before the access
    state = before;
    throw;
  }
  if (store()) cpu.write_bytes(insn.memory.segment, offset, bytes, size);
}

Handler thunk_handler(Instruction const& insn) {
  for (auto const& operand : insn.operands) {
    if (operand.kind != OperandKind::memory) continue;
    return operand.written ? on_store : on_load;
  }
  return on_registers;
}

void on_transient(Cpu& cpu, Instruction const& insn, void const*) {
  auto const* const thunk = transient_thunk(insn);
  if (thunk == nullptr) raise_ud();
  thunk_handler(insn)(cpu, insn, thunk);
}

// ---- control instructions ----

void fninit(Cpu& cpu, Instruction const&, void const*) {
  require_x87(cpu);
  reset_control(cpu.state.extended);
}

void fnclex(Cpu& cpu, Instruction const&, void const*) {
  require_x87(cpu);
  cpu.state.extended.fsw &= 0x7f00;
}

/// FENI, FDISI and FSETPM of the 8087 and 80287 (DB E0, E1, E4): nothing, and without waiting.
void obsolete_nop(Cpu& cpu, Instruction const&, void const*) { require_x87(cpu); }

void fwait(Cpu& cpu, Instruction const&, void const*) {
  auto const stops = u64{x86::cr0_mp | x86::cr0_ts};
  if ((cpu.state.cr0 & stops) == stops) raise(x86::Vector::nm);
  require_no_x87_exception(cpu);
}

void fldcw(Cpu& cpu, Instruction const& insn, void const*) {
  require_waiting(cpu);
  auto& state = cpu.state.extended;
  state.fcw = normalised_fcw(cpu.read<u16>(insn.memory.segment, cpu.effective_address(insn)));
  state.fsw = normalised_fsw(state.fsw, state.fcw);
}

void fnstcw(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  cpu.write<u16>(insn.memory.segment, cpu.effective_address(insn), cpu.state.extended.fcw);
}

void fnstsw(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  if (insn.operands[0].kind == OperandKind::gpr)
    cpu.set_gpr<u16>(x86::rax, cpu.state.extended.fsw);
  else
    cpu.write<u16>(insn.memory.segment, cpu.effective_address(insn), cpu.state.extended.fsw);
}

}  // namespace

std::size_t x87_memory_size(Instruction const& insn) {
  for (auto const& operand : insn.operands) {
    if (operand.kind == OperandKind::memory) return operand.size;
  }
  return 0;
}

Lowered lower_x87(Instruction const& insn) {
  switch (insn.operation) {
    case Operation::fninit: return {.handler = fninit};
    case Operation::fnclex: return {.handler = fnclex};
    case Operation::fwait: return {.handler = fwait};
    case Operation::fldcw: return {.handler = fldcw};
    case Operation::fnstcw: return {.handler = fnstcw};
    case Operation::fnstsw: return {.handler = fnstsw};
    case Operation::fldenv:
    case Operation::fnstenv:
    case Operation::frstor:
    case Operation::fnsave: return lower_x87_environment(insn);
    case Operation::fnop:
      if (insn.opcode == 0xdb) return {.handler = obsolete_nop};
      break;
    default: break;
  }
  if (x86::row_of(insn).file != x86::RegisterFile::x87) return {};
  auto const* const thunk = find_thunk(insn);
  if (thunk == nullptr) return {.handler = on_transient};
  return {.handler = thunk_handler(insn), .extra = thunk};
}

}  // namespace vireo::engine::soft::vector
