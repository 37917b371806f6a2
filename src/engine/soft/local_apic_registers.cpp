#include "engine/soft/local_apic.h"
#include "observe/log.h"

// The local APIC's registers, as an xAPIC page and as x2APIC MSRs (SDM vol. 3, 11.4.1 and 11.12.1).
namespace vireo::engine::soft {

using namespace apic;

namespace {

struct LvtRegister {
  u32 offset;
  LvtIndex index;
};
constexpr LvtRegister lvt_registers[]{
    {reg_lvt_timer, lvt_timer}, {reg_lvt_thermal, lvt_thermal}, {reg_lvt_performance, lvt_performance},
    {reg_lvt_lint0, lvt_lint0}, {reg_lvt_lint1, lvt_lint1},     {reg_lvt_error, lvt_error}};
LvtRegister const* find_lvt(u32 offset) {
  for (auto const& row : lvt_registers) {
    if (row.offset == offset) return &row;
  }
  return nullptr;
}

bool in_bitmap(u32 offset, u32 first) { return offset >= first && offset < first + 0x80; }

}  // namespace

// ---- common to both modes ----

bool LocalApic::read_common(u32 offset, u32& value) const {
  if (in_bitmap(offset, reg_isr)) return value = state_.isr[(offset - reg_isr) / 16], true;
  if (in_bitmap(offset, reg_tmr))
    return value = tmr_[(offset - reg_tmr) / 16].load(std::memory_order_relaxed), true;
  if (in_bitmap(offset, reg_irr))
    return value = irr_[(offset - reg_irr) / 16].load(std::memory_order_acquire), true;
  if (auto const* row = find_lvt(offset)) return value = state_.lvt[row->index], true;
  switch (offset) {
    case reg_id: value = x2apic() ? id_.value : id_.value << 24; return true;
    case reg_version: value = version; return true;
    case reg_tpr: value = state_.tpr; return true;
    case reg_ppr: value = processor_priority(); return true;
    case reg_ldr: value = address_.load(std::memory_order_relaxed).ldr; return true;
    case reg_svr: value = state_.svr; return true;
    case reg_esr: value = state_.esr; return true;
    case reg_icr_low: value = state_.icr_low; return true;
    case reg_initial_count: value = state_.initial_count; return true;
    case reg_current_count: value = current_count(); return true;
    case reg_divide: value = state_.divide; return true;
    default: return false;
  }
}

void LocalApic::write_common(u32 offset, u32 value) {
  if (auto const* row = find_lvt(offset)) return write_lvt(row->index, value);
  switch (offset) {
    case reg_tpr: state_.tpr = value & 0xff; return priority_changed();
    case reg_eoi: return end_of_interrupt();
    case reg_svr: return write_spurious(value);
    case reg_esr:
      state_.esr = state_.esr_latched;
      state_.esr_latched = 0;
      return;
    case reg_initial_count:
      if (timer_mode() != timer_tsc_deadline) start_count(value);
      return;
    case reg_divide: {
      auto const left = current_count();
      state_.divide = value & 0xb;
      if (left != 0) state_.timer_next = surroundings_.machine_tsc() + left * ticks_per_count();
      return;
    }
    default: return;
  }
}

void LocalApic::write_spurious(u32 value) {
  state_.svr = value & svr_writable;
  if (!(state_.svr & svr_enabled)) {  // 11.4.7.2: a disabled APIC's LVT is masked
    for (auto& entry : state_.lvt) entry |= lvt_masked;
  }
  publish_address();
}

void LocalApic::write_lvt(LvtIndex index, u32 value) {
  auto const old_mode = timer_mode();
  state_.lvt[index] = value & lvt_writable[index];
  if (!(state_.svr & svr_enabled)) state_.lvt[index] |= lvt_masked;
  if (index == lvt_timer && (old_mode == timer_tsc_deadline) != (timer_mode() == timer_tsc_deadline)) {
    state_.timer_start = state_.timer_next = state_.tsc_deadline = 0;
    state_.initial_count = 0;
  }
  if (index == lvt_lint0 && extint_pending()) surroundings_.notify();
}

// ---- the xAPIC page ----

u64 LocalApic::register_page() const { return enabled() && !x2apic() ? state_.base & base_address : ~u64{0}; }

u64 LocalApic::read_register(u32 offset) {
  auto value = u32{0};
  if (offset == reg_dfr) return state_.dfr;
  if (offset == reg_icr_high) return state_.icr_high;
  if (offset == reg_apr || offset == reg_rrd) return 0;
  if (!read_common(offset, value) && offset % 16 == 0) report_error(error_register);
  return value;
}

void LocalApic::write_register(u32 offset, u32 value) {
  switch (offset) {
    case reg_ldr: state_.ldr = value & 0xff00'0000; return publish_address();
    case reg_dfr: state_.dfr = value | 0x0fff'ffff; return publish_address();
    case reg_icr_high: state_.icr_high = value & 0xff00'0000; return;
    case reg_icr_low:
      state_.icr_low = value & icr_writable;
      return command(state_.icr_low, state_.icr_high >> 24);
    default: return write_common(offset, value);
  }
}

// ---- MSRs ----

bool LocalApic::valid_base(u64 value) const {
  return !(value & ~(base_address | base_enabled | base_x2apic | base_bootstrap)) && value >> 48 == 0 &&
         (value & (base_enabled | base_x2apic)) != base_x2apic;
}

bool LocalApic::write_base(u64 value) {
  if (!valid_base(value)) return false;
  auto const was_x2apic = x2apic();
  auto const was_enabled = enabled();
  auto const to_x2apic = (value & base_x2apic) != 0;
  auto const to_enabled = (value & base_enabled) != 0;
  if (was_x2apic && to_enabled && !to_x2apic) return false;  // figure 11-27
  if (!was_enabled && to_x2apic) return false;
  state_.base = value;
  if (was_enabled && !to_enabled) init();
  if (!was_x2apic && to_x2apic) state_.icr_high = 0;
  publish_address();
  return true;
}

bool LocalApic::read_msr(u32 index, u64& value) {
  if (index == msr_apic_base) return value = state_.base, true;
  if (index == msr_tsc_deadline)
    return value = timer_mode() == timer_tsc_deadline ? state_.tsc_deadline : 0, true;
  if (!x2apic() || index < msr_x2apic_first || index > msr_x2apic_last) return false;
  auto const offset = (index - msr_x2apic_first) * 16;
  if (offset == reg_icr_low) return value = u64{state_.icr_high} << 32 | state_.icr_low, true;
  auto low = u32{0};
  if (!read_common(offset, low)) return false;
  value = low;
  return true;
}

bool LocalApic::write_msr(u32 index, u64 value) {
  if (index == msr_apic_base) return write_base(value);
  if (index == msr_tsc_deadline) return set_tsc_deadline(value), true;
  if (!x2apic() || index < msr_x2apic_first || index > msr_x2apic_last) return false;
  return write_x2apic((index - msr_x2apic_first) * 16, value);
}

bool LocalApic::write_x2apic(u32 offset, u64 value) {
  auto const low = static_cast<u32>(value);
  if (offset == reg_icr_low) {
    if (low & ~(icr_writable | icr_pending)) return false;
    state_.icr_low = low & icr_writable;
    state_.icr_high = static_cast<u32>(value >> 32);
    return command(state_.icr_low, state_.icr_high), true;
  }
  if (value >> 32 != 0) return false;
  if (auto const* row = find_lvt(offset)) {
    auto const read_only = row->index == lvt_timer || row->index == lvt_error ? 1u << 12 : 0x5000u;
    if (low & ~(lvt_writable[row->index] | read_only)) return false;
    return write_lvt(row->index, low), true;
  }
  switch (offset) {
    case reg_eoi:
    case reg_esr:
      if (low != 0) return false;
      break;
    case reg_tpr:
      if (low > 0xff) return false;
      break;
    case reg_svr:
      if (low & ~svr_writable) return false;
      break;
    case reg_divide:
      if (low & ~0xbu) return false;
      break;
    case reg_initial_count: break;
    case reg_self_ipi:
      if (low > 0xff) return false;
      return command(static_cast<u32>(Shorthand::self) << 18 | low, 0), true;
    default: return false;
  }
  write_common(offset, low);
  return true;
}

}  // namespace vireo::engine::soft
