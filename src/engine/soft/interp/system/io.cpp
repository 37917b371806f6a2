#include "engine/soft/interp/system/lower_system.h"

// Port I/O and its protection (SDM vol. 1, chapter 19).
namespace vireo::engine::soft::system {

using namespace x86;

namespace {

constexpr u32 tss_bitmap_offset{102};
constexpr u32 repetitions_at_once{1024};  // then interrupts get their turn

void require_port(Cpu& cpu, u16 port, u8 width) {
  auto const& state = cpu.state;
  if (!(state.cr0 & cr0_pe)) return;
  auto const iopl = (state.rflags >> 12) & 3;
  if (cpu.cpl() <= iopl && !cpu.virtual8086()) return;

  auto const& task = state.tr;
  auto const busy_or_free_tss32 = (task.type() & ~2) == 9;
  if (!task.present() || !busy_or_free_tss32 || task.limit < tss_bitmap_offset + 1) raise_gp();
  auto const bitmap = cpu.read_linear<u16>(task.base + tss_bitmap_offset, true);
  auto const at = u32{bitmap} + port / 8u;
  if (at + 1 > task.limit) raise_gp();
  auto const bits = cpu.read_linear<u16>(task.base + at, true) >> (port & 7);
  if (bits & ((1 << width) - 1)) raise_gp();
}

u16 port_of(Cpu const& cpu, Instruction const& insn, Operand const& operand) {
  return operand.kind == OperandKind::immediate ? static_cast<u8>(insn.immediate) : cpu.gpr<u16>(rdx);
}

void set_accumulator(Cpu& cpu, u8 width, u32 value) {
  if (width == 1) return cpu.set_gpr(rax, static_cast<u8>(value));
  if (width == 2) return cpu.set_gpr(rax, static_cast<u16>(value));
  cpu.set_gpr(rax, value);
}

u64 address_mask(Instruction const& insn) { return ~u64{0} >> (64 - 8 * insn.address_size); }

void set_address_register(Cpu& cpu, Instruction const& insn, u8 reg, u64 value) {
  if (insn.address_size == 2) return cpu.set_gpr(reg, static_cast<u16>(value));
  if (insn.address_size == 4) return cpu.set_gpr(reg, static_cast<u32>(value));
  cpu.set_gpr(reg, value);
}

void advance(Cpu& cpu, Instruction const& insn, u8 reg, u8 width) {
  auto const step = cpu.state.rflags & flag_df ? u64{0} - width : u64{width};
  set_address_register(cpu, insn, reg, cpu.state.gpr[reg] + step);
}

/// Runs `once` as often as the REP prefix says. Every finished repetition is part of the state, so a fault or
/// an interrupt finds registers from which the instruction goes on.
template <typename F>
void repeat(Cpu& cpu, Instruction const& insn, F&& once) {
  if (!insn.prefixes.rep && !insn.prefixes.repne) return once();
  for (auto i = u32{0}; i < repetitions_at_once; ++i) {
    auto const count = cpu.state.gpr[rcx] & address_mask(insn);
    if (count == 0) return;
    once();
    set_address_register(cpu, insn, rcx, count - 1);
    if (count == 1) return;
  }
  cpu.state.rip -= insn.length;
}

u32 read_port(Cpu& cpu, u16 port, u8 width) {
  auto const out_of_code = Cpu::OutOfCode{cpu};
  return cpu.machine().read_port(port, width);
}
void write_port(Cpu& cpu, u16 port, u8 width, u32 value) {
  auto const out_of_code = Cpu::OutOfCode{cpu};
  cpu.machine().write_port(port, width, value);
}

}  // namespace

void in(Cpu& cpu, Instruction const& insn, void const*) {
  auto const port = port_of(cpu, insn, insn.operands[1]);
  auto const width = insn.operands[0].size;
  require_port(cpu, port, width);
  set_accumulator(cpu, width, read_port(cpu, port, width));
}

void out(Cpu& cpu, Instruction const& insn, void const*) {
  auto const port = port_of(cpu, insn, insn.operands[0]);
  auto const width = insn.operands[1].size;
  require_port(cpu, port, width);
  auto const value = cpu.gpr<u32>(rax);
  write_port(cpu, port, width, width == 4 ? value : value & ((1u << width * 8) - 1));
}

void ins(Cpu& cpu, Instruction const& insn, void const*) {
  auto const port = cpu.gpr<u16>(rdx);
  auto const width = insn.operands[0].size;
  require_port(cpu, port, width);
  repeat(cpu, insn, [&] {
    auto const offset = cpu.state.gpr[rdi] & address_mask(insn);
    cpu.probe_write(SegmentRegister::es, offset, width);
    auto const value = read_port(cpu, port, width);
    cpu.write_bytes(SegmentRegister::es, offset, &value, width);
    advance(cpu, insn, rdi, width);
  });
}

void outs(Cpu& cpu, Instruction const& insn, void const*) {
  auto const port = cpu.gpr<u16>(rdx);
  auto const width = insn.operands[1].size;
  require_port(cpu, port, width);
  repeat(cpu, insn, [&] {
    auto value = u32{0};
    cpu.read_bytes(insn.memory.segment, cpu.state.gpr[rsi] & address_mask(insn), &value, width);
    write_port(cpu, port, width, value);
    advance(cpu, insn, rsi, width);
  });
}

}  // namespace vireo::engine::soft::system
