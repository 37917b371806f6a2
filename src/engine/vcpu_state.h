#pragma once

#include <array>
#include <string_view>

#include "x86/registers.h"

namespace vireo::engine {

/// A segment register with its hidden part (SDM vol. 3, 3.4.3).
struct Segment {
  u64 base{};
  u32 limit{};  // bytes - 1, granularity already applied
  u16 selector{};
  u16 attributes{};  // as in VMX: bits 0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G, and 8 =
                     // unusable

  u8 type() const { return attributes & 0xf; }
  bool code_or_data() const { return attributes & 0x10; }
  u8 dpl() const { return (attributes >> 5) & 3; }
  bool present() const { return attributes & 0x80; }
  bool unusable() const { return attributes & 0x100; }
  bool long_mode() const { return attributes & 0x2000; }
  bool big() const { return attributes & 0x4000; }
};
struct DescriptorTable {
  u64 base{};
  u16 limit{};
  u16 reserved[3]{};
};

/// The x87, SSE and AVX state as in XSAVE's standard format (SDM vol. 1, 13.4): legacy 512 bytes, header 64,
/// then YMM_Hi128.
struct alignas(64) ExtendedState {
  u16 fcw{0x37f}, fsw{};
  u8 ftw{};  // abridged: a bit per physical register, 1 = not empty
  u8 reserved1{};
  u16 fop{};
  u64 fip{}, fdp{};
  u32 mxcsr{0x1f80}, mxcsr_mask{0xffff};
  struct {
    u8 bytes[16]{};
  } st[8];  // ST(0) first; ten bytes each
  struct {
    u8 bytes[16]{};
  } xmm[16];
  u8 reserved2[96]{};
  u64 xstate_bv{}, xcomp_bv{};
  u8 reserved3[48]{};
  struct {
    u8 bytes[16]{};
  } ymm_high[16];
};
static_assert(sizeof(ExtendedState) == 832);

enum class Activity : u8 { running, halted, wait_for_sipi };

/// Everything of one vCPU that a guest can see, but for its local APIC. The one numbered table of DESIGN.md:
/// every engine, reset, snapshot, migration and the gdb stub use it; ids are never reused.
struct VcpuState {
  static constexpr std::string_view schema = "engine.vcpu";

  std::array<u64, 16> gpr{};
  u64 rip{};
  u64 rflags{x86::flag_fixed};
  std::array<Segment, 6> segment{};  // by x86::SegmentRegister
  Segment ldtr{}, tr{};
  DescriptorTable gdtr{}, idtr{};
  u64 cr0{}, cr2{}, cr3{}, cr4{}, xcr0{1};
  std::array<u64, 4> dr{};
  u64 dr6{0xffff0ff0}, dr7{0x400};
  u64 efer{}, star{}, lstar{}, cstar{}, sfmask{}, kernel_gs_base{};
  u64 sysenter_cs{}, sysenter_esp{}, sysenter_eip{};
  u64 pat{0x0007040600070406}, tsc_aux{}, tsc_offset{}, tsc_adjust{}, misc_enable{1}, spec_ctrl{}, xss{};
  u64 mtrr_def_type{};
  std::array<u64, 11> mtrr_fixed{};
  std::array<u64, 16> mtrr_variable{};  // base, mask pairs
  u64 kvm_system_time{}, kvm_wall_clock{}, kvm_steal_time{}, kvm_eoi{}, kvm_async_pf{}, kvm_poll_control{1};
  Activity activity{Activity::running};
  bool interrupt_shadow{};  // after STI or MOV SS: no interrupt before the next instruction
  bool nmi_blocked{}, nmi_pending{};
  ExtendedState extended{};

  static void fields(auto&& s, auto&& f) {
    f(1, "gpr", s.gpr);
    f(2, "rip", s.rip);
    f(3, "rflags", s.rflags);
    f(4, "segment", s.segment);
    f(5, "ldtr", s.ldtr);
    f(6, "tr", s.tr);
    f(7, "gdtr", s.gdtr);
    f(8, "idtr", s.idtr);
    f(9, "cr0", s.cr0);
    f(10, "cr2", s.cr2);
    f(11, "cr3", s.cr3);
    f(12, "cr4", s.cr4);
    f(13, "xcr0", s.xcr0);
    f(14, "dr", s.dr);
    f(15, "dr6", s.dr6);
    f(16, "dr7", s.dr7);
    f(17, "efer", s.efer);
    f(18, "star", s.star);
    f(19, "lstar", s.lstar);
    f(20, "cstar", s.cstar);
    f(21, "sfmask", s.sfmask);
    f(22, "kernel_gs_base", s.kernel_gs_base);
    f(23, "sysenter_cs", s.sysenter_cs);
    f(24, "sysenter_esp", s.sysenter_esp);
    f(25, "sysenter_eip", s.sysenter_eip);
    f(26, "pat", s.pat);
    f(27, "tsc_aux", s.tsc_aux);
    f(28, "tsc_offset", s.tsc_offset);
    f(29, "tsc_adjust", s.tsc_adjust);
    f(30, "misc_enable", s.misc_enable);
    f(31, "spec_ctrl", s.spec_ctrl);
    f(32, "xss", s.xss);
    f(33, "mtrr_def_type", s.mtrr_def_type);
    f(34, "mtrr_fixed", s.mtrr_fixed);
    f(35, "mtrr_variable", s.mtrr_variable);
    f(36, "kvm_system_time", s.kvm_system_time);
    f(37, "kvm_wall_clock", s.kvm_wall_clock);
    f(38, "kvm_steal_time", s.kvm_steal_time);
    f(39, "kvm_eoi", s.kvm_eoi);
    f(40, "kvm_async_pf", s.kvm_async_pf);
    f(41, "kvm_poll_control", s.kvm_poll_control);
    f(42, "activity", s.activity);
    f(43, "interrupt_shadow", s.interrupt_shadow);
    f(44, "nmi_blocked", s.nmi_blocked);
    f(45, "nmi_pending", s.nmi_pending);
    f(46, "extended", s.extended);
  }

  Segment& seg(x86::SegmentRegister r) { return segment[static_cast<u8>(r)]; }
  Segment const& seg(x86::SegmentRegister r) const { return segment[static_cast<u8>(r)]; }
  Segment& cs() { return seg(x86::SegmentRegister::cs); }
  Segment& ss() { return seg(x86::SegmentRegister::ss); }
  Segment const& cs() const { return seg(x86::SegmentRegister::cs); }
  Segment const& ss() const { return seg(x86::SegmentRegister::ss); }
};

/// The state after power-up or INIT (SDM vol. 3, table 10-1). `bootstrap` waits for nothing, others for SIPI.
VcpuState reset_state(bool bootstrap);

}  // namespace vireo::engine
