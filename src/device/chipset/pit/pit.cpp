#include "device/chipset/pit/pit.h"

#include <algorithm>

namespace vireo::device {

using namespace pit_spec;

namespace {
constexpr u64 shortest_period_ns{50'000};  // a guest must not keep the executor busy with nothing but alarms
}

Pit::Pit(bus::Executor& executor, bus::IrqLine& irq)
    : executor_{executor}, irq_{irq}, timer_{executor.make_timer([this] { expire(); })} {}

std::span<bus::PortRange const> Pit::ports() const {
  static constexpr auto ranges = std::array<bus::PortRange, 2>{{{Counter0, 4}, {NmiStatusControl, 1}}};
  return ranges;
}

void Pit::start() {
  running_ = true;
  schedule();
}

void Pit::stop() {
  running_ = false;
  timer_->cancel();
}

void Pit::reset() {
  state_ = {};
  irq_.set(state_.counters[0].output(executor_.now_ns()));
}

Result<> Pit::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  TRY(state::restore(saved, state));
  for (auto const& counter : state.counters) {
    if (!counter.sound()) return fail(Errc::corrupt, "pit: a counter's field is out of range");
  }
  state_ = state;
  return {};
}

void Pit::schedule() {
  if (!running_) return;
  auto const rise = state_.counters[0].next_rise(executor_.now_ns());
  if (!rise) return timer_->cancel();
  timer_->arm(std::max(*rise, not_before_ns_));
}

void Pit::expire() {
  irq_.set(false);
  irq_.set(true);
  not_before_ns_ = executor_.now_ns() + shortest_period_ns;
  schedule();
}

u32 Pit::read_port(u16 port, u8 width) {
  auto value = u32{0};
  auto const now = executor_.now_ns();
  for (auto i = u8{0}; i < width; ++i) {
    auto byte = u8{0xFF};
    auto const at = port + i;
    if (at >= Counter0 && at <= Counter2) byte = state_.counters[static_cast<u32>(at - Counter0)].read(now);
    if (at == NmiStatusControl) {
      auto const& speaker = state_.counters[2];
      byte = static_cast<u8>((speaker.gate != 0 ? Timer2Gate : 0) | (state_.speaker ? SpeakerData : 0) |
                             (now / refresh_toggle_ns % 2 != 0 ? RefreshToggle : 0) |
                             (speaker.output(now) ? Timer2Output : 0));
    }
    value |= u32{byte} << (8 * i);
  }
  return value;
}

void Pit::write_port(u16 port, u8 width, u32 value) {
  auto const now = executor_.now_ns();
  for (auto i = u8{0}; i < width; ++i) {
    auto const at = port + i;
    auto const byte = static_cast<u8>(value >> (8 * i));
    if (at >= Counter0 && at <= Counter2) state_.counters[static_cast<u32>(at - Counter0)].write(byte, now);
    if (at == ControlWord) write_control(byte);
    if (at == NmiStatusControl) {
      state_.counters[2].set_gate((byte & Timer2Gate) != 0, now);
      state_.speaker = (byte & SpeakerData) != 0;
    }
  }
  if (port == NmiStatusControl) return;
  if (state_.counters[0].counting == 0) irq_.set(state_.counters[0].output(now));
  schedule();
}

void Pit::write_control(u8 value) {
  auto const now = executor_.now_ns();
  auto const which = value >> 6;
  if (which == read_back) {
    for (auto i = u32{0}; i < 3; ++i) {
      if ((value >> (i + 1) & 1) == 0) continue;
      if ((value & KeepCount) == 0) state_.counters[i].latch_count(now);
      if ((value & KeepStatus) == 0) state_.counters[i].latch_status(now);
    }
    return;
  }
  auto& counter = state_.counters[static_cast<u32>(which)];
  if ((value >> 4 & 3) == LatchCommand) return counter.latch_count(now);
  counter.control(value);
}

}  // namespace vireo::device
