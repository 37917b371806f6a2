#include "engine/soft/interp/system/msr.h"
#include "engine/soft/tsc.h"

namespace vireo::engine::soft::system {

namespace {

/// IA32_ARCH_CAPABILITIES: nothing speculates here, so guests need no mitigation. "Enhanced IBRS" spares
/// retpolines.
enum ArchCapabilities : u64 {
  rdcl_no = 1u << 0,
  ibrs_all = 1u << 1,
  skip_l1dfl_vmentry = 1u << 3,
  ssb_no = 1u << 4,
  mds_no = 1u << 5,
  if_pschange_mc_no = 1u << 6,
  taa_no = 1u << 8,
  sbdr_ssdp_no = 1u << 13,
  fbsdp_no = 1u << 14,
  psdp_no = 1u << 15,
  bhi_no = 1u << 20,
  pbrsb_no = 1u << 24,
  gds_no = 1u << 26,
  rfds_no = 1u << 27,
  its_no = u64{1} << 62,
};
constexpr u64 not_vulnerable{rdcl_no | ibrs_all | skip_l1dfl_vmentry | ssb_no | mds_no | if_pschange_mc_no |
                             taa_no | sbdr_ssdp_no | fbsdp_no | psdp_no | bhi_no | pbrsb_no | gds_no | rfds_no |
                             its_no};
constexpr u64 microcode_revision{u64{0x0100'0000} << 32};                 // high half, as RDMSR gives it
constexpr u64 spec_ctrl_defined{1u << 0 | 1u << 1 | 1u << 2 | 1u << 10};  // IBRS, STIBP, SSBD, BHI_DIS_S
constexpr u64 misc_enable_fixed{1u << 11 | 1u << 12};                     // no branch trace, no PEBS
constexpr u64 debugctl_ignored{0x3};                                      // LBR (no records) and BTF

template <u64 constant>
bool read_constant(Cpu&, u32, u64& value) {
  value = constant;
  return true;
}
bool ignore_write(Cpu&, u32, u64) { return true; }
bool write_zero_only(Cpu&, u32, u64 value) { return value == 0; }
bool write_command(Cpu&, u32, u64 value) { return value <= 1; }

bool read_arch_capabilities(Cpu& cpu, u32, u64& value) {
  value = not_vulnerable;
  return cpu.has(x86::Feature::arch_capabilities);
}
bool read_spec_ctrl(Cpu& cpu, u32, u64& value) {
  value = cpu.state.spec_ctrl;
  return true;
}
bool write_spec_ctrl(Cpu& cpu, u32, u64 value) {
  if (value & ~spec_ctrl_defined) return false;
  cpu.state.spec_ctrl = value;
  return true;
}
bool read_misc_enable(Cpu& cpu, u32, u64& value) {
  value = cpu.state.misc_enable | misc_enable_fixed;
  return true;
}
bool write_misc_enable(Cpu& cpu, u32, u64 value) {
  cpu.state.misc_enable = value & ~misc_enable_fixed;
  return true;
}
// The ratio of the maximum without turbo, in units of 100 MHz.
bool read_platform_info(Cpu&, u32, u64& value) {
  value = (host_tsc_description().hz / 100'000'000 & 0xff) << 8;
  return true;
}
bool write_debugctl(Cpu&, u32, u64 value) { return (value & ~debugctl_ignored) == 0; }

constexpr auto zero = read_constant<0>;

// clang-format off
constexpr MsrRow rows[]{
    {0x0, 0x1, zero, write_zero_only},        // P5 machine check address and type
    {0x17, 0x17, zero, nullptr},              // platform id
    {0x2a, 0x2a, zero, ignore_write},         // power-on configuration
    {0x34, 0x34, zero, nullptr},              // SMI count
    {0x3a, 0x3a, read_constant<1>, nullptr},  // feature control: locked, no VMX
    {0x48, 0x48, read_spec_ctrl, write_spec_ctrl},
    {0x49, 0x49, nullptr, write_command},  // prediction command
    {0x79, 0x79, nullptr, ignore_write},   // microcode update
    {0x8b, 0x8b, read_constant<microcode_revision>, ignore_write},
    {0xcd, 0xcd, read_constant<3>, nullptr},  // bus clock: 100 MHz
    {0xce, 0xce, read_platform_info, nullptr},
    {0x10a, 0x10a, read_arch_capabilities, nullptr},
    {0x10b, 0x10b, nullptr, write_command},  // flush command
    {0x11e, 0x11e, zero, ignore_write},      // L2 control
    {0x140, 0x140, zero, write_zero_only},   // misc features enables
    {0x179, 0x179, zero, nullptr},           // machine check capabilities: no banks
    {0x17a, 0x17a, zero, write_zero_only},   // machine check status
    {0x198, 0x199, zero, ignore_write},      // performance status, control
    {0x19a, 0x19c, zero, write_zero_only},   // clock modulation, thermal interrupt and status
    {0x1a0, 0x1a0, read_misc_enable, write_misc_enable},
    {0x1d9, 0x1d9, zero, write_debugctl},
    {0x1db, 0x1de, zero, write_zero_only},  // last branch and interrupt records
    // Absent, and probed for by the processor's model alone: #GP without a line in the log
    {0x33, 0x33, nullptr, nullptr},    // split lock detection
    {0x4e, 0x4f, nullptr, nullptr},    // PPIN
    {0xc1, 0xc8, nullptr, nullptr},    // performance counters
    {0xe7, 0xe8, nullptr, nullptr},    // MPERF, APERF
    {0x186, 0x18d, nullptr, nullptr},  // event selectors
    {0x1ad, 0x1ad, nullptr, nullptr},  // turbo ratios
    {0x1b0, 0x1b0, nullptr, nullptr},  // energy bias
    {0x309, 0x30b, nullptr, nullptr},  // fixed counters
    {0x345, 0x345, nullptr, nullptr},  // PERF_CAPABILITIES
    {0x38d, 0x390, nullptr, nullptr},  // fixed and global counter control
    {0x606, 0x61f, nullptr, nullptr},  // RAPL
    {0x639, 0x64f, nullptr, nullptr},
    {0x770, 0x777, nullptr, nullptr},  // hardware P-states
    // AMD's, which guests read by the vendor's name alone
    {0xc001'0010, 0xc001'0010, zero, ignore_write},  // SYSCFG
    {0xc001'0015, 0xc001'0015, read_constant<u64{1} << 24>, ignore_write},  // HWCR: TSC at constant rate
    {0xc001'001f, 0xc001'001f, zero, ignore_write},  // NB_CFG
    {0xc001'0055, 0xc001'0055, zero, ignore_write},  // interrupt pending
    {0xc001'0058, 0xc001'0058, zero, ignore_write},  // MMIO configuration base
    {0xc001'0112, 0xc001'0112, zero, ignore_write},  // TSEG
    {0xc001'0140, 0xc001'0141, zero, ignore_write},  // OS-visible workarounds
    {0xc001'1020, 0xc001'1023, zero, ignore_write},  // LS_CFG, IC_CFG, BU_CFG
    {0xc001'1029, 0xc001'102d, zero, ignore_write},  // DE_CFG, BU_CFG2
};
// clang-format on

}  // namespace

std::span<MsrRow const> identity_msrs() { return rows; }

}  // namespace vireo::engine::soft::system
