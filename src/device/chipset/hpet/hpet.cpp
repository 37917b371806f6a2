#include "device/chipset/hpet/hpet.h"

#include <algorithm>
#include <utility>

namespace vireo::device {

using namespace hpet_spec;

namespace {
constexpr u64 never{~u64{0}};
constexpr u64 merge(u64 old, u64 value, u64 mask) { return (old & ~mask) | (value & mask); }
u64 width_mask(u64 configuration) { return (configuration & Force32) != 0 ? 0xFFFF'FFFF : ~u64{0}; }
}  // namespace

Hpet::Hpet(HpetWiring wiring, bus::Executor& executor, bus::MsiSink& msi)
    : wiring_{std::move(wiring)}, executor_{executor}, msi_{msi} {
  for (auto i = u32{0}; i < timer_count; ++i) {
    alarms_[i] = executor.make_timer([this, i] { expire(i); });
  }
}

void Hpet::start() {
  running_ = true;
  for (auto i = u32{0}; i < timer_count; ++i) schedule(i);
}

void Hpet::stop() {
  running_ = false;
  for (auto const& alarm : alarms_) alarm->cancel();
}

void Hpet::reset() {
  clear_status(never);
  state_ = {};
  wiring_.set_legacy_replaced(false);
}

Result<> Hpet::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  TRY(state::restore(saved, state));
  auto sound = (state.configuration & ~u64{Enable | LegacyReplacement}) == 0 && state.interrupt_status < 8 &&
               state.counted_from_ns >> 62 == 0 &&
               ((state.configuration & Enable) != 0) == (state.counted_from_ns != 0);
  for (auto const& timer : state.timers) sound &= (timer.configuration & ~writable_timer_bits) == 0;
  if (!sound) return fail(Errc::corrupt, "hpet: a field is out of range");
  state_ = state;
  wiring_.set_legacy_replaced((state_.configuration & LegacyReplacement) != 0);
  for (auto i = u32{0}; i < timer_count; ++i) update_line(i);
  return {};
}

u64 Hpet::counter() const {
  if (!enabled()) return state_.counter;
  return state_.counter + (executor_.now_ns() - std::min(state_.counted_from_ns, executor_.now_ns())) / tick_ns;
}

u64 Hpet::ticks_to_match(TimerState const& timer) const {
  auto const mask = width_mask(timer.configuration);
  return (timer.comparator - counter()) & mask;
}

bus::IrqLine* Hpet::line_of(u32 index) const {
  if ((state_.configuration & LegacyReplacement) != 0 && index < 2) {
    return index == 0 ? wiring_.legacy_timer : wiring_.legacy_rtc;
  }
  auto const route = (state_.timers[index].configuration & RouteMask) >> route_shift;
  return route >= 20 && route < 24 ? wiring_.routed.at(route - 20) : nullptr;
}

void Hpet::schedule(u32 index) {
  auto const& timer = state_.timers[index];
  if (!running_ || !enabled() || (timer.configuration & InterruptEnable) == 0) return alarms_[index]->cancel();
  auto const ticks = ticks_to_match(timer);
  if (ticks > (never >> 8)) return alarms_[index]->cancel();  // centuries away: passed, or never set
  alarms_[index]->arm(std::max(executor_.now_ns() + ticks * tick_ns, not_before_ns_[index]));
}

void Hpet::expire(u32 index) {
  auto& timer = state_.timers[index];
  if ((timer.configuration & PeriodicMode) != 0 && timer.period != 0) {
    auto const mask = width_mask(timer.configuration);
    auto const late = (counter() - timer.comparator) & mask;
    timer.comparator = (timer.comparator + (late / timer.period + 1) * timer.period) & mask;
  }
  not_before_ns_[index] = executor_.now_ns() + shortest_period_ns;

  if ((timer.configuration & FsbEnable) != 0) {
    msi_.signal(timer.fsb_route >> 32, static_cast<u32>(timer.fsb_route));
  } else if ((timer.configuration & LevelTriggered) != 0) {
    state_.interrupt_status |= u64{1} << index;
    update_line(index);
  } else if (auto* const line = line_of(index); line != nullptr) {
    line->pulse();
  }
  // A one-shot timer matches again only when the counter has wrapped around.
  if ((timer.configuration & PeriodicMode) != 0) return schedule(index);
  if ((timer.configuration & Force32) != 0) {
    alarms_[index]->arm(executor_.now_ns() + (u64{1} << 32) * tick_ns);
  }
}

void Hpet::update_line(u32 index) {
  if ((state_.timers[index].configuration & LevelTriggered) == 0) return;
  auto* const line = line_of(index);
  auto const active = (state_.interrupt_status >> index & 1) != 0;
  if (line != nullptr) line->set(active && (state_.timers[index].configuration & InterruptEnable) != 0);
}

void Hpet::clear_status(u64 bits) {
  state_.interrupt_status &= ~bits;
  for (auto i = u32{0}; i < timer_count; ++i) update_line(i);
}

u64 Hpet::read_qword(u32 offset) const {
  switch (offset) {
    case Capabilities: return capabilities;
    case Configuration: return state_.configuration;
    case InterruptStatus: return state_.interrupt_status;
    case MainCounter: return counter();
    default: break;
  }
  if (offset < Timer0 || offset >= Timer0 + timer_count * timer_stride) return 0;
  auto const& timer = state_.timers[(offset - Timer0) / timer_stride];
  switch ((offset - Timer0) % timer_stride) {
    case TimerConfiguration: return timer.configuration | fixed_timer_bits;
    case Comparator: return timer.comparator & width_mask(timer.configuration);
    case FsbRoute: return timer.fsb_route;
    default: return 0;
  }
}

void Hpet::write_qword(u32 offset, u64 value, u64 mask) {
  switch (offset) {
    case Configuration: return write_configuration(merge(state_.configuration, value, mask));
    case InterruptStatus: return clear_status(value & mask);
    case MainCounter:
      state_.counter = merge(counter(), value, mask);
      if (enabled()) state_.counted_from_ns = std::max(executor_.now_ns(), u64{1});
      for (auto i = u32{0}; i < timer_count; ++i) schedule(i);
      return;
    default: break;
  }
  if (offset < Timer0 || offset >= Timer0 + timer_count * timer_stride) return;
  auto const index = (offset - Timer0) / timer_stride;
  write_timer(index, (offset - Timer0) % timer_stride, value, mask);
  schedule(index);
}

void Hpet::write_configuration(u64 value) {
  auto const now_counted = counter();
  auto const pending = state_.interrupt_status;
  clear_status(never);  // lowers lines before they may change
  state_.configuration = value & (Enable | LegacyReplacement);
  state_.counter = now_counted;
  state_.counted_from_ns = enabled() ? std::max(executor_.now_ns(), u64{1}) : 0;
  state_.interrupt_status = pending;
  wiring_.set_legacy_replaced((state_.configuration & LegacyReplacement) != 0);
  for (auto i = u32{0}; i < timer_count; ++i) {
    update_line(i);
    schedule(i);
  }
}

void Hpet::write_timer(u32 index, u32 offset, u64 value, u64 mask) {
  auto& timer = state_.timers[index];
  if (offset == TimerConfiguration) {
    auto const pending = state_.interrupt_status;
    clear_status(u64{1} << index);
    timer.configuration = merge(timer.configuration, value, mask) & writable_timer_bits;
    if ((timer.configuration & LevelTriggered) != 0) state_.interrupt_status = pending;
    update_line(index);
  } else if (offset == FsbRoute) {
    timer.fsb_route = merge(timer.fsb_route, value, mask);
  } else if (offset == Comparator) {
    auto const periodic = (timer.configuration & PeriodicMode) != 0;
    if (!periodic || (timer.configuration & SetValue) != 0)
      timer.comparator = merge(timer.comparator, value, mask);
    // In periodic mode a write sets the period; after SetValue it sets both, and the next write the period
    // alone.
    if (periodic) timer.period = merge(timer.period, value, mask) & width_mask(timer.configuration);
    if ((mask & 0xFFFF'FFFF) != 0) timer.configuration &= ~u64{SetValue};
  }
}

u64 Hpet::read_mmio(Gpa at, u8 width) {
  auto const start = at - bus::address_plan::hpet.start;
  auto value = u64{0};
  for (auto done = u32{0}; done < width;) {
    auto const skip = (start + done) & 7;
    auto const taken = std::min<u64>(8 - skip, width - done);
    auto const mask = never >> (64 - 8 * taken);
    value |= (read_qword(static_cast<u32>(start + done - skip)) >> (8 * skip) & mask) << (8 * done);
    done += static_cast<u32>(taken);
  }
  return value;
}

void Hpet::write_mmio(Gpa at, u8 width, u64 value) {
  auto const start = at - bus::address_plan::hpet.start;
  for (auto done = u32{0}; done < width;) {
    auto const skip = (start + done) & 7;
    auto const taken = std::min<u64>(8 - skip, width - done);
    auto const mask = never >> (64 - 8 * taken);
    write_qword(static_cast<u32>(start + done - skip), (value >> (8 * done) & mask) << (8 * skip),
                mask << (8 * skip));
    done += static_cast<u32>(taken);
  }
}

}  // namespace vireo::device
