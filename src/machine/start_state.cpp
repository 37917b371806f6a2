#include "machine/start_state.h"

namespace vireo::machine {
namespace {

// Attributes as in VMX (engine/vcpu_state.h): present, DPL 0, 4 KiB granularity.
constexpr u16 code64_attributes{0xa09b};
constexpr u16 code32_attributes{0xc09b};
constexpr u16 data_attributes{0xc093};

}  // namespace

engine::VcpuState start_state(firmware::BootEntry const& entry) {
  auto const is_long = entry.mode == firmware::BootEntry::Mode::long64;
  auto state = engine::reset_state(true);
  auto const flat = [](u16 selector, u16 attributes) {
    return engine::Segment{.base = 0, .limit = 0xffffffff, .selector = selector, .attributes = attributes};
  };
  state.segment.fill(flat(entry.data_selector, data_attributes));
  state.cs() = flat(entry.code_selector, is_long ? code64_attributes : code32_attributes);
  state.gdtr = {.base = entry.gdt, .limit = entry.gdt_limit};
  state.idtr = {};
  state.rip = entry.rip;
  state.rflags = x86::flag_fixed;
  state.cr0 = x86::cr0_pe | x86::cr0_et;
  state.gpr.fill(0);
  if (is_long) {
    state.gpr[x86::rsi] = entry.argument;
    state.cr0 |= x86::cr0_pg;
    state.cr4 |= x86::cr4_pae;
    state.cr3 = entry.page_table;
    state.efer |= x86::efer_lme | x86::efer_lma;
  } else {
    state.gpr[x86::rbx] = entry.argument;
  }
  return state;
}

}  // namespace vireo::machine
