#include "engine/soft/interp/system/lower_system.h"

// Control registers (SDM vol. 3, 2.5; vol. 2, MOV—Move to/from Control Registers).
namespace vireo::engine::soft::system {

using namespace x86;

namespace {

constexpr u64 cr0_defined{cr0_pe | cr0_mp | cr0_em | cr0_ts | cr0_et | cr0_ne | cr0_wp | cr0_am | cr0_nw |
                          cr0_cd | cr0_pg};
constexpr u64 cr3_no_flush{u64{1} << 63};

bool pae_paging(u64 cr0, u64 cr4, u64 efer) { return (cr0 & cr0_pg) && (cr4 & cr4_pae) && !(efer & efer_lma); }

void set_cr0(Cpu& cpu, u64 value) {
  auto& state = cpu.state;
  if (value >> 32 != 0) raise_gp();
  value = (value & cr0_defined) | cr0_et;
  if ((value & cr0_pg) && !(value & cr0_pe)) raise_gp();
  if ((value & cr0_nw) && !(value & cr0_cd)) raise_gp();

  auto efer = state.efer;
  auto const pages_before = (state.cr0 & cr0_pg) != 0;
  auto const pages_after = (value & cr0_pg) != 0;
  if (!pages_before && pages_after && (efer & efer_lme)) {
    if (!(state.cr4 & cr4_pae) || state.cs().long_mode()) raise_gp();
    efer |= efer_lma;
  }
  if (pages_before && !pages_after) {
    if ((state.cr4 & cr4_pcide) || cpu.code64()) raise_gp();
    efer &= ~u64{efer_lma};
  }
  if (!pages_before && pae_paging(value, state.cr4, efer) && !cpu.mmu.pdptes_valid(state.cr3)) raise_gp();
  state.cr0 = value;
  state.efer = efer;
  cpu.update_mode();
}

void set_cr3(Cpu& cpu, u64 value) {
  auto const address = cpu.state.cr4 & cr4_pcide ? value & ~cr3_no_flush : value;
  if (cpu.long_mode() && address >> cpu.mmu.physical_address_bits() != 0) raise_gp();
  cpu.set_cr3(value);
}

void set_cr4(Cpu& cpu, u64 value) {
  auto& state = cpu.state;
  if (value & ~supported_cr4(cpu)) raise_gp();
  auto const changed = state.cr4 ^ value;
  if (cpu.long_mode() && !(value & cr4_pae)) raise_gp();
  if ((changed & value & cr4_pcide) && (!cpu.long_mode() || (state.cr3 & 0xfff) != 0)) raise_gp();
  if (pae_paging(state.cr0, value, state.efer) && (changed & (cr4_pae | cr4_pge | cr4_pse | cr4_smep)) &&
      !cpu.mmu.pdptes_valid(state.cr3)) {
    raise_gp();
  }
  state.cr4 = value;
  cpu.update_mode();
  if (changed & (cr4_pge | cr4_pcide | cr4_pae | cr4_pse | cr4_smep)) cpu.mmu.flush_all();
}

u64 source_register(Cpu const& cpu, Instruction const& insn) {
  auto const value = cpu.state.gpr[insn.operands[1].reg];
  return insn.code_size == CodeSize::bits64 ? value : static_cast<u32>(value);
}

}  // namespace

void mov_to_control(Cpu& cpu, Instruction const& insn, void const*) {
  require_cpl0(cpu);
  auto const value = source_register(cpu, insn);
  switch (insn.operands[0].reg) {
    case 0: return set_cr0(cpu, value);
    case 2: cpu.state.cr2 = value; return;
    case 3: return set_cr3(cpu, value);
    case 4: return set_cr4(cpu, value);
    case 8:
      if (value > 15) raise_gp();
      if (cpu.apic != nullptr) cpu.apic->set_cr8(value);
      return;
    default: raise_ud();
  }
}

void mov_from_control(Cpu& cpu, Instruction const& insn, void const*) {
  require_cpl0(cpu);
  auto value = u64{0};
  switch (insn.operands[1].reg) {
    case 0: value = cpu.state.cr0; break;
    case 2: value = cpu.state.cr2; break;
    case 3: value = cpu.state.cr3; break;
    case 4: value = cpu.state.cr4; break;
    case 8: value = cpu.apic != nullptr ? cpu.apic->cr8() : 0; break;
    default: raise_ud();
  }
  if (insn.code_size == CodeSize::bits64) return cpu.set_gpr(insn.operands[0].reg, value);
  cpu.set_gpr(insn.operands[0].reg, static_cast<u32>(value));
}

void clts(Cpu& cpu, Instruction const&, void const*) {
  require_cpl0(cpu);
  cpu.state.cr0 &= ~u64{cr0_ts};
  cpu.update_mode();
}

void lmsw(Cpu& cpu, Instruction const& insn, void const*) {
  require_cpl0(cpu);
  auto const& source = insn.operands[0];
  auto const value = source.kind == OperandKind::memory
                         ? cpu.read<u16>(insn.memory.segment, cpu.effective_address(insn))
                         : cpu.gpr<u16>(source.reg);
  auto const loaded = u64{cr0_pe | cr0_mp | cr0_em | cr0_ts};
  // PE can be set, not cleared.
  set_cr0(cpu, (cpu.state.cr0 & (~loaded | cr0_pe)) | (value & loaded));
}

void smsw(Cpu& cpu, Instruction const& insn, void const*) {
  if ((cpu.state.cr4 & cr4_umip) && cpu.cpl() != 0) raise_gp();
  auto const& target = insn.operands[0];
  auto const value = cpu.state.cr0;
  if (target.kind == OperandKind::memory) {
    return cpu.write<u16>(insn.memory.segment, cpu.effective_address(insn), static_cast<u16>(value));
  }
  if (insn.operand_size == 2) return cpu.set_gpr(target.reg, static_cast<u16>(value));
  if (insn.operand_size == 4) return cpu.set_gpr(target.reg, static_cast<u32>(value));
  cpu.set_gpr(target.reg, value);
}

// ---- what the model offers, and XCR0 (SDM vol. 1, 13.3; vol. 2, XSETBV) ----

u64 supported_cr4(Cpu const& cpu) {
  struct Row {
    Feature feature;
    u64 bits;
  };
  constexpr Row rows[]{
      {Feature::vme, cr4_vme | cr4_pvi}, {Feature::tsc, cr4_tsd},           {Feature::de, cr4_de},
      {Feature::pse, cr4_pse},           {Feature::pae, cr4_pae},           {Feature::mce, cr4_mce},
      {Feature::pge, cr4_pge},           {Feature::fxsr, cr4_osfxsr},       {Feature::sse, cr4_osxmmexcpt},
      {Feature::umip, cr4_umip},         {Feature::fsgsbase, cr4_fsgsbase}, {Feature::pcid, cr4_pcide},
      {Feature::xsave, cr4_osxsave},     {Feature::smep, cr4_smep},         {Feature::smap, cr4_smap}};
  auto bits = u64{cr4_pce};
  for (auto const& row : rows) {
    if (cpu.has(row.feature)) bits |= row.bits;
  }
  return bits;
}

u64 supported_xcr0(Cpu const& cpu) {
  auto const leaf = cpu.model().lookup(0xd, 0);
  return (u64{leaf.edx} << 32 | leaf.eax) & 7;  // what ExtendedState holds
}

void xgetbv(Cpu& cpu, Instruction const&, void const*) {
  if (!(cpu.state.cr4 & cr4_osxsave)) raise_ud();
  auto const index = cpu.gpr<u32>(rcx);
  if (index > 1 || (index == 1 && !cpu.has(Feature::xgetbv1))) raise_gp();
  // Index 1 asks which components are in use; all that are enabled is always a right answer.
  set_edx_eax(cpu, cpu.state.xcr0);
}

void xsetbv(Cpu& cpu, Instruction const&, void const*) {
  if (!(cpu.state.cr4 & cr4_osxsave)) raise_ud();
  require_cpl0(cpu);
  auto const value = edx_eax(cpu);
  if (cpu.gpr<u32>(rcx) != 0 || !(value & 1) || (value & ~supported_xcr0(cpu)) || (value & 6) == 4) raise_gp();
  cpu.state.xcr0 = value;
  cpu.update_mode();
}

}  // namespace vireo::engine::soft::system
