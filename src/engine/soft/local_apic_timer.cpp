#include <algorithm>

#include "engine/soft/local_apic.h"

// The local APIC's timer (SDM vol. 3, 11.5.4). Everything is kept in ticks of the machine's TSC.
namespace vireo::engine::soft {

using namespace apic;

u64 LocalApic::ticks_per_count() const {
  auto const code = (state_.divide & 3) | (state_.divide & 8) >> 1;
  return u64{timer_ratio_} << ((code + 1) & 7);
}

u32 LocalApic::current_count() const {
  if (state_.timer_start == 0 || timer_mode() == timer_tsc_deadline) return 0;
  auto const now = surroundings_.machine_tsc();
  if (now >= state_.timer_next) return timer_mode() == timer_periodic ? state_.initial_count : 0;
  auto const count = (state_.timer_next - now + ticks_per_count() - 1) / ticks_per_count();
  return static_cast<u32>(std::min<u64>(count, state_.initial_count));
}

void LocalApic::start_count(u32 count) {
  state_.initial_count = count;
  state_.timer_start = state_.timer_next = 0;
  if (count == 0) return;
  state_.timer_start = std::max<u64>(surroundings_.machine_tsc(), 1);
  state_.timer_next = state_.timer_start + count * ticks_per_count();
  surroundings_.timer_changed();
}

u64 LocalApic::timer_deadline() const { return state_.timer_next == 0 ? ~u64{0} : state_.timer_next; }

void LocalApic::poll_timer() {
  if (state_.timer_next == 0) return;
  auto const now = surroundings_.machine_tsc();
  if (now < state_.timer_next) return;
  auto const lvt = state_.lvt[lvt_timer];
  if (timer_mode() == timer_periodic) {
    // A vCPU that was late by several periods gets one interrupt: more would come back to back and help nobody.
    auto const period = std::max<u64>(state_.initial_count * ticks_per_count(), 1);
    state_.timer_next += (now - state_.timer_next) / period * period + period;
  } else {
    state_.timer_start = state_.timer_next = state_.tsc_deadline = 0;
  }
  if (!(lvt & lvt_masked)) deliver_local(lvt & lvt_vector);
}

void LocalApic::set_tsc_deadline(u64 deadline) {
  if (timer_mode() != timer_tsc_deadline) return;
  state_.tsc_deadline = deadline;
  state_.timer_next = 0;
  if (deadline == 0) return;
  auto const machine = surroundings_.machine_tsc();
  auto const guest = machine + surroundings_.guest_tsc_offset();
  auto const distance = deadline > guest ? deadline - guest : 0;
  state_.timer_next = distance > ~machine ? ~u64{0} - 1 : std::max<u64>(machine + distance, 1);
  surroundings_.timer_changed();
  poll_timer();
}

}  // namespace vireo::engine::soft
