#include "engine/soft/interp/system/lower_system.h"
#include "engine/soft/interp/system/msr.h"
#include "engine/soft/paravirt.h"
#include "x86/address.h"

namespace vireo::engine::soft::system {

using namespace x86;

namespace {

constexpr u32 msr_tsc{0x10}, msr_apic_base{0x1b}, msr_tsc_adjust{0x3b}, msr_sysenter_cs{0x174},
    msr_sysenter_esp{0x175}, msr_sysenter_eip{0x176}, msr_tsc_deadline{0x6e0}, msr_x2apic_first{0x800},
    msr_x2apic_last{0x8ff}, msr_xss{0xda0}, msr_efer{0xc000'0080}, msr_star{0xc000'0081},
    msr_lstar{0xc000'0082}, msr_cstar{0xc000'0083}, msr_sfmask{0xc000'0084}, msr_fs_base{0xc000'0100},
    msr_gs_base{0xc000'0101}, msr_kernel_gs_base{0xc000'0102}, msr_tsc_aux{0xc000'0103};

template <u64 VcpuState::* member>
bool read_state(Cpu& cpu, u32, u64& value) {
  value = cpu.state.*member;
  return true;
}
template <u64 VcpuState::* member>
bool write_any(Cpu& cpu, u32, u64 value) {
  cpu.state.*member = value;
  return true;
}
template <u64 VcpuState::* member>
bool write_canonical(Cpu& cpu, u32, u64 value) {
  if (!x86::is_canonical(value)) return false;
  cpu.state.*member = value;
  return true;
}
template <u64 VcpuState::* member>
bool write_low_half(Cpu& cpu, u32, u64 value) {
  if (value >> 32 != 0) return false;
  cpu.state.*member = value;
  return true;
}
template <SegmentRegister segment>
bool read_segment_base(Cpu& cpu, u32, u64& value) {
  value = cpu.state.seg(segment).base;
  return true;
}
template <SegmentRegister segment>
bool write_segment_base(Cpu& cpu, u32, u64 value) {
  if (!x86::is_canonical(value)) return false;
  cpu.set_segment_base(segment, value);
  return true;
}

bool write_efer(Cpu& cpu, u32, u64 value) {
  auto& state = cpu.state;
  auto allowed = u64{efer_sce | efer_lme | efer_lma};
  if (cpu.has(Feature::nx)) allowed |= efer_nxe;
  if (value & ~allowed) return false;
  if ((state.cr0 & cr0_pg) && ((state.efer ^ value) & efer_lme)) return false;
  state.efer = (value & ~u64{efer_lma}) | (state.efer & efer_lma);
  cpu.update_mode();
  return true;
}

// ---- time (SDM vol. 3, 18.17) ----

// A deadline is compared with the guest's TSC: when that jumps, the moment has to be found anew.
void tsc_jumped(Cpu& cpu, u64 distance) {
  cpu.state.tsc_offset += distance;
  cpu.state.tsc_adjust += distance;
  paravirt::publish_time(cpu);
  auto deadline = u64{0};
  if (cpu.apic != nullptr && cpu.apic->read_msr(msr_tsc_deadline, deadline) && deadline != 0) {
    cpu.apic->write_msr(msr_tsc_deadline, deadline);
  }
}
bool read_tsc(Cpu& cpu, u32, u64& value) {
  value = guest_tsc(cpu);
  return true;
}
bool write_tsc(Cpu& cpu, u32, u64 value) {
  tsc_jumped(cpu, value - guest_tsc(cpu));
  return true;
}
bool write_tsc_adjust(Cpu& cpu, u32, u64 value) {
  tsc_jumped(cpu, value - cpu.state.tsc_adjust);
  return true;
}

// ---- local APIC ----

bool read_apic(Cpu& cpu, u32 index, u64& value) {
  return cpu.apic != nullptr && cpu.apic->read_msr(index, value);
}
bool write_apic(Cpu& cpu, u32 index, u64 value) {
  return cpu.apic != nullptr && cpu.apic->write_msr(index, value);
}
bool write_apic_base(Cpu& cpu, u32 index, u64 value) {
  if (!write_apic(cpu, index, value)) return false;
  cpu.mmu.flush_all();  // what the register page covers has changed
  return true;
}

bool write_xss(Cpu&, u32, u64 value) { return value == 0; }  // no supervisor state components

template <u64 VcpuState::* member>
constexpr MsrRow row(u32 index, bool (*write)(Cpu&, u32, u64)) {
  return {.first = index, .last = index, .read = read_state<member>, .write = write};
}

constexpr MsrRow rows[]{
    {msr_tsc, msr_tsc, read_tsc, write_tsc},
    {msr_apic_base, msr_apic_base, read_apic, write_apic_base},
    row<&VcpuState::tsc_adjust>(msr_tsc_adjust, write_tsc_adjust),
    row<&VcpuState::sysenter_cs>(msr_sysenter_cs, write_low_half<&VcpuState::sysenter_cs>),
    row<&VcpuState::sysenter_esp>(msr_sysenter_esp, write_canonical<&VcpuState::sysenter_esp>),
    row<&VcpuState::sysenter_eip>(msr_sysenter_eip, write_canonical<&VcpuState::sysenter_eip>),
    {msr_tsc_deadline, msr_tsc_deadline, read_apic, write_apic},
    {msr_x2apic_first, msr_x2apic_last, read_apic, write_apic},
    row<&VcpuState::xss>(msr_xss, write_xss),
    row<&VcpuState::efer>(msr_efer, write_efer),
    row<&VcpuState::star>(msr_star, write_any<&VcpuState::star>),
    row<&VcpuState::lstar>(msr_lstar, write_canonical<&VcpuState::lstar>),
    row<&VcpuState::cstar>(msr_cstar, write_canonical<&VcpuState::cstar>),
    row<&VcpuState::sfmask>(msr_sfmask, write_low_half<&VcpuState::sfmask>),
    {msr_fs_base, msr_fs_base, read_segment_base<SegmentRegister::fs>, write_segment_base<SegmentRegister::fs>},
    {msr_gs_base, msr_gs_base, read_segment_base<SegmentRegister::gs>, write_segment_base<SegmentRegister::gs>},
    row<&VcpuState::kernel_gs_base>(msr_kernel_gs_base, write_canonical<&VcpuState::kernel_gs_base>),
    row<&VcpuState::tsc_aux>(msr_tsc_aux, write_low_half<&VcpuState::tsc_aux>),
};

}  // namespace

std::span<MsrRow const> processor_msrs() { return rows; }

}  // namespace vireo::engine::soft::system
