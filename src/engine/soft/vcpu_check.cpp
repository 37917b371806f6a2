#include "engine/soft/vcpu_check.h"

#include "engine/soft/interp/system/lower_system.h"

namespace vireo::engine::soft {

using namespace x86;

namespace {

constexpr u64 defined_cr0{0xe005'003f};
constexpr u64 defined_rflags{0x3f'7fd7};
constexpr u32 defined_mxcsr{0xffff};

// The first thing that is wrong, or null.
char const* flaw(VcpuState const& state, Cpu const& cpu) {
  auto const has = [&](u64 value, u64 bits) { return (value & bits) != 0; };
  auto const paging = has(state.cr0, cr0_pg);
  auto const long_mode = has(state.efer, efer_lma);
  if (has(state.cr0, ~defined_cr0)) return "reserved bits in CR0";
  if (has(state.cr4, ~system::supported_cr4(cpu))) return "CR4 bits that the CPU model lacks";
  if (has(state.efer, ~u64{efer_sce | efer_lme | efer_lma | efer_nxe})) return "reserved bits in EFER";
  if (has(state.rflags, ~defined_rflags)) return "reserved bits in RFLAGS";
  if (paging && !has(state.cr0, cr0_pe)) return "paging without protection";
  if (long_mode && !(paging && has(state.cr4, cr4_pae) && has(state.efer, efer_lme)))
    return "long mode without paging";
  if (has(state.cr4, cr4_pcide) && !long_mode) return "PCID outside long mode";
  if (has(state.rflags, flag_vm) && (long_mode || !has(state.cr0, cr0_pe)))
    return "virtual-8086 mode where there is none";
  if (!has(state.xcr0, 1) || has(state.xcr0, ~(system::supported_xcr0(cpu) | 3)) || (state.xcr0 & 6) == 4)
    return "XCR0";
  if (state.xss != 0) return "IA32_XSS";
  if (has(state.extended.mxcsr, ~u64{defined_mxcsr})) return "reserved bits in MXCSR";
  if (has(state.extended.xstate_bv, ~u64{7}) || state.extended.xcomp_bv != 0) return "the XSAVE header";
  if (has(state.dr6 | state.dr7, ~u64{0xffff'ffff})) return "reserved bits in debug registers";
  if (state.activity > Activity::wait_for_sipi) return "an unknown activity";
  return nullptr;
}

}  // namespace

Result<> check_state(VcpuState const& state, Cpu const& cpu) {
  auto const* const wrong = flaw(state, cpu);
  if (wrong == nullptr) return {};
  return fail(Errc::corrupt, std::string{"engine.vcpu: impossible state: "} + wrong);
}

}  // namespace vireo::engine::soft
