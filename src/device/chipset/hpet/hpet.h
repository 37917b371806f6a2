#pragma once

#include <array>
#include <functional>

#include "bus/address_plan.h"
#include "bus/device.h"
#include "bus/executor.h"
#include "bus/lines.h"
#include "device/chipset/hpet/spec.h"

namespace vireo::device {

struct HpetWiring {
  bus::IrqLine* legacy_timer{};           // ISA 0, for timer 0 under legacy replacement
  bus::IrqLine* legacy_rtc{};             // ISA 8, for timer 1
  std::array<bus::IrqLine*, 4> routed{};  // GSI 20..23
  std::function<void(bool)> set_legacy_replaced;
};

/// The high precision event timer: a 100 MHz counter and three timers, with messages and legacy replacement.
class Hpet final : public bus::Device, public bus::MmioTarget {
 public:
  Hpet(HpetWiring wiring, bus::Executor& executor, bus::MsiSink& msi);

  bus::MmioTarget* mmio() override { return this; }
  void start() override;
  void stop() override;
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override;

  std::span<GpaRange const> ranges() const override { return {&bus::address_plan::hpet, 1}; }
  u64 read_mmio(Gpa at, u8 width) override;
  void write_mmio(Gpa at, u8 width, u64 value) override;

 private:
  struct TimerState {
    u64 configuration{};
    u64 comparator{~u64{0}};
    u64 period{};
    u64 fsb_route{};
  };
  struct State {
    static constexpr std::string_view schema{"hpet"};
    u64 configuration{};
    u64 interrupt_status{};
    u64 counter{};          // its value at `counted_from_ns`
    u64 counted_from_ns{};  // 0 while halted
    std::array<TimerState, hpet_spec::timer_count> timers{};
    static void fields(auto&& s, auto&& f) {
      f(1, "configuration", s.configuration);
      f(2, "interrupt_status", s.interrupt_status);
      f(3, "counter", s.counter);
      f(4, "counted_from_ns", s.counted_from_ns);
      f(5, "timers", s.timers);
    }
  };

  bool enabled() const { return (state_.configuration & hpet_spec::Enable) != 0; }
  u64 counter() const;
  u64 read_qword(u32 offset) const;
  void write_qword(u32 offset, u64 value, u64 mask);
  void write_configuration(u64 value);
  void write_timer(u32 index, u32 offset, u64 value, u64 mask);
  u64 ticks_to_match(TimerState const& timer) const;
  bus::IrqLine* line_of(u32 index) const;
  void schedule(u32 index);
  void expire(u32 index);
  void update_line(u32 index);
  void clear_status(u64 bits);

  HpetWiring wiring_;
  bus::Executor& executor_;
  bus::MsiSink& msi_;
  std::array<std::unique_ptr<bus::Timer>, hpet_spec::timer_count> alarms_;
  std::array<u64, hpet_spec::timer_count> not_before_ns_{};
  bool running_{false};
  State state_;
};

}  // namespace vireo::device
