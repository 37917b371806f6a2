#include <algorithm>

#include "engine/soft/interp/system/descriptor.h"
#include "engine/soft/interp/system/segment_instructions.h"

namespace vireo::engine::soft {

using x86::Instruction;
using x86::Operation;
using x86::Vector;

namespace {

void require_protected_mode(Cpu const& cpu) {
  if (!cpu.protected_mode()) raise_ud();
}
void require_supervisor(Cpu const& cpu) {
  if (cpu.cpl() != 0) raise_gp();
}
void require_umip_permission(Cpu const& cpu) {
  if ((cpu.state.cr4 & x86::cr4_umip) && cpu.cpl() != 0) raise_gp();
}
void set_zero_flag(Cpu& cpu, bool on) {
  cpu.state.rflags = on ? cpu.state.rflags | x86::flag_zf : cpu.state.rflags & ~u64{x86::flag_zf};
}

// ---- questions about selectors ----

bool reachable(Cpu const& cpu, Descriptor const& descriptor, u16 selector) {
  return descriptor.conforming() || descriptor.dpl() >= std::max(cpu.cpl(), requested_privilege(selector));
}

/// Bits of system descriptor types that LAR and LSL accept (SDM vol. 2, tables 3-53 and 3-54).
constexpr u16 lar_types{0b0001'1010'0011'1110}, lar_types_long{0b0001'1010'0000'0100};
constexpr u16 lsl_types{0b0000'1010'0000'1110}, lsl_types_long{0b0000'1010'0000'0100};

bool visible(Cpu& cpu, u16 selector, u16 types, u16 types_long, Descriptor& out) {
  if (null_selector(selector) || !find_descriptor(cpu, selector, out)) return false;
  auto const accepted = cpu.long_mode() ? types_long : types;
  if (!out.code_or_data() && !(accepted >> out.type() & 1)) return false;
  return reachable(cpu, out, selector);
}

void write_answer(Cpu& cpu, Instruction const& insn, u32 value) {
  if (insn.operand_size == 2)
    cpu.set_gpr<u16>(insn.operands[0].reg, static_cast<u16>(value));
  else
    cpu.set_gpr<u32>(insn.operands[0].reg, value);
}

void load_access_rights(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  auto descriptor = Descriptor{};
  auto const found = visible(cpu, read_u16_operand(cpu, insn, 1), lar_types, lar_types_long, descriptor);
  if (found) write_answer(cpu, insn, static_cast<u32>(descriptor.low >> 32) & 0x00ffff00);
  set_zero_flag(cpu, found);
}

void load_segment_limit(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  auto descriptor = Descriptor{};
  auto const found = visible(cpu, read_u16_operand(cpu, insn, 1), lsl_types, lsl_types_long, descriptor);
  if (found) write_answer(cpu, insn, descriptor.limit());
  set_zero_flag(cpu, found);
}

template <bool for_write>
void verify(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  auto const selector = read_u16_operand(cpu, insn, 0);
  auto descriptor = Descriptor{};
  auto const found = !null_selector(selector) && find_descriptor(cpu, selector, descriptor) &&
                     descriptor.code_or_data() && reachable(cpu, descriptor, selector);
  set_zero_flag(cpu, found && (for_write ? descriptor.writable_data() : descriptor.readable()));
}

void adjust_privilege(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  auto const wanted = requested_privilege(cpu.gpr<u16>(insn.operands[1].reg));
  auto const raised = [wanted](u16 selector) {
    return requested_privilege(selector) < wanted ? static_cast<u16>((selector & ~3) | wanted) : selector;
  };
  auto old = u16{};
  if (insn.operands[0].kind == x86::OperandKind::memory) {
    auto const offset = cpu.effective_address(insn);
    old = cpu.read<u16>(insn.memory.segment, offset);
    if (raised(old) != old)
      cpu.write<u16>(insn.memory.segment, offset, raised(old));  // else nothing is written
  } else {
    old = cpu.gpr<u16>(insn.operands[0].reg);
    cpu.set_gpr<u16>(insn.operands[0].reg, raised(old));
  }
  set_zero_flag(cpu, requested_privilege(old) < wanted);
}

// ---- descriptor-table registers ----

template <DescriptorTable VcpuState::* table>
void store_table(Cpu& cpu, Instruction const& insn, void const*) {
  require_umip_permission(cpu);
  auto const& value = cpu.state.*table;
  struct [[gnu::packed]] {
    u16 limit;
    u64 base;
  } const image{value.limit, value.base};
  cpu.write_bytes(insn.memory.segment, cpu.effective_address(insn), &image, cpu.code64() ? 10 : 6);
}

template <DescriptorTable VcpuState::* table>
void load_table(Cpu& cpu, Instruction const& insn, void const*) {
  require_supervisor(cpu);
  struct [[gnu::packed]] {
    u16 limit;
    u64 base;
  } image{};
  cpu.read_bytes(insn.memory.segment, cpu.effective_address(insn), &image, cpu.code64() ? 10 : 6);
  auto const base = !cpu.code64() && insn.operand_size == 2 ? image.base & 0xffffff : image.base;
  if (!canonical_address(base)) raise_gp();
  cpu.state.*table = {.base = base, .limit = image.limit};
}

void store_ldtr(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  require_umip_permission(cpu);
  write_selector_operand(cpu, insn, cpu.state.ldtr.selector);
}

void store_task_register(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  require_umip_permission(cpu);
  write_selector_operand(cpu, insn, cpu.state.tr.selector);
}

Descriptor system_descriptor(Cpu& cpu, u16 selector) {
  if (selector & 4) raise_gp(selector_error(selector));
  auto const descriptor = read_descriptor(cpu, selector, Vector::gp, 0, cpu.long_mode());
  if (descriptor.code_or_data() || (descriptor.high >> 40 & 0x1f)) raise_gp(selector_error(selector));
  return descriptor;
}

void load_ldtr(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  require_supervisor(cpu);
  auto const selector = read_u16_operand(cpu, insn, 0);
  if (null_selector(selector)) {
    cpu.state.ldtr = null_segment(selector);
    return;
  }
  auto const descriptor = system_descriptor(cpu, selector);
  if (descriptor.system_type() != SystemType::ldt) raise_gp(selector_error(selector));
  if (!descriptor.present()) raise(Vector::np, selector_error(selector));
  if (!canonical_address(descriptor.base())) raise_gp(selector_error(selector));
  cpu.state.ldtr = descriptor.hidden(selector);
}

void load_task_register(Cpu& cpu, Instruction const& insn, void const*) {
  require_protected_mode(cpu);
  require_supervisor(cpu);
  auto const selector = read_u16_operand(cpu, insn, 0);
  if (null_selector(selector)) raise_gp();
  auto const descriptor = system_descriptor(cpu, selector);
  auto const available = descriptor.system_type() == SystemType::tss32_available ||
                         (!cpu.long_mode() && descriptor.system_type() == SystemType::tss16_available);
  if (!available) raise_gp(selector_error(selector));
  if (!descriptor.present()) raise(Vector::np, selector_error(selector));
  if (!canonical_address(descriptor.base())) raise_gp(selector_error(selector));
  constexpr auto busy = u8{2};
  cpu.write_linear<u8>(descriptor.address + 5, descriptor.access() | busy, true);
  cpu.state.tr = descriptor.hidden(selector);
  cpu.state.tr.attributes |= busy;
}

// ---- TLB ----

void invalidate_page(Cpu& cpu, Instruction const& insn, void const*) {
  if (cpu.virtual8086()) raise_gp();
  require_supervisor(cpu);
  auto const offset = cpu.effective_address(insn);
  auto const segment = insn.memory.segment;
  auto const based = !cpu.code64() || segment >= x86::SegmentRegister::fs;
  auto const address = based ? cpu.state.seg(segment).base + offset : offset;
  cpu.mmu.flush_page(cpu.code64() ? address : static_cast<u32>(address));
}

void invalidate_by_pcid(Cpu& cpu, Instruction const& insn, void const*) {
  if (!cpu.has(x86::Feature::invpcid)) raise_ud();
  if (cpu.virtual8086()) raise_gp();
  require_supervisor(cpu);
  struct {
    u64 pcid, linear;
  } target{};
  cpu.read_bytes(insn.memory.segment, cpu.effective_address(insn), &target, sizeof target);
  auto const type = cpu.code64() ? cpu.gpr<u64>(insn.operands[0].reg) : cpu.gpr<u32>(insn.operands[0].reg);
  if (type > 3 || (target.pcid >> 12) != 0) raise_gp();
  auto const pcid = static_cast<u16>(target.pcid);
  auto const names_pcid = type < 2;
  if (names_pcid && pcid != 0 && !(cpu.state.cr4 & x86::cr4_pcide)) raise_gp();
  if (type == 0 && !canonical_address(target.linear)) raise_gp();
  switch (type) {
    case 0: return cpu.mmu.flush_page_pcid(target.linear, pcid);
    case 1: return cpu.mmu.flush_pcid(pcid);
    case 2: return cpu.mmu.flush_all();
    default: return cpu.mmu.flush_non_global();
  }
}

}  // namespace

Lowered lower_descriptor_table(Instruction const& insn) {
  switch (insn.operation) {
    case Operation::lar: return {load_access_rights};
    case Operation::lsl: return {load_segment_limit};
    case Operation::verr: return {verify<false>};
    case Operation::verw: return {verify<true>};
    case Operation::arpl: return {adjust_privilege};
    case Operation::sgdt: return {store_table<&VcpuState::gdtr>};
    case Operation::sidt: return {store_table<&VcpuState::idtr>};
    case Operation::lgdt: return {load_table<&VcpuState::gdtr>};
    case Operation::lidt: return {load_table<&VcpuState::idtr>};
    case Operation::sldt: return {store_ldtr};
    case Operation::str: return {store_task_register};
    case Operation::lldt: return {load_ldtr};
    case Operation::ltr: return {load_task_register};
    case Operation::invlpg: return {invalidate_page, nullptr, true};
    case Operation::invpcid: return {invalidate_by_pcid, nullptr, true};
    default: return {};
  }
}

}  // namespace vireo::engine::soft
