#pragma once

#include <array>
#include <functional>

#include "bus/device.h"
#include "bus/executor.h"
#include "bus/lines.h"
#include "device/chipset/rtc/calendar.h"
#include "device/chipset/rtc/spec.h"
#include "vocab/numbers.h"

namespace vireo::device {

struct RtcConfig {
  u64 low_memory{};                    // bytes of RAM below 4 GiB, from 0
  u64 high_memory{};                   // bytes of RAM from 4 GiB
  std::function<u64()> wall_clock_ns;  // since 1970, UTC; asked at construction and reset
};

/// The MC146818 clock with its CMOS memory. It follows the machine's clock from the wall-clock time at reset;
/// what the guest sets shifts it. Flags are worked out when somebody looks; alarms run only for enabled
/// interrupts.
class Rtc final : public bus::Device, public bus::PioTarget {
 public:
  Rtc(RtcConfig config, bus::Executor& executor, bus::IrqLine& irq);

  bus::PioTarget* pio() override { return this; }
  void start() override;
  void stop() override;
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override;

  std::span<bus::PortRange const> ports() const override;
  u32 read_port(u16 port, u8 width) override;
  void write_port(u16 port, u8 width, u32 value) override;

 private:
  struct State {
    static constexpr std::string_view schema{"rtc"};
    u8 index{};
    std::array<u8, 128> cmos{};  // time registers hold the time only while Set; registers A, B, C as they are
    i64 offset_ns{};             // wall clock minus machine clock
    i64 updated_second{};        // the last second whose update has been looked at
    i64 periodic_tick{};         // the last periodic tick that has been looked at
    static void fields(auto&& s, auto&& f) {
      f(1, "index", s.index);
      f(2, "cmos", s.cmos);
      f(3, "offset_ns", s.offset_ns);
      f(4, "updated_second", s.updated_second);
      f(5, "periodic_tick", s.periodic_tick);
    }
  };

  u8& cell(u8 index) { return state_.cmos[index & 127]; }
  u8 cell(u8 index) const { return state_.cmos[index & 127]; }
  bool control(rtc_spec::RegisterBBit bit) const { return (cell(rtc_spec::RegisterB) & bit) != 0; }
  i64 now_ns() const;
  bool ticking() const;
  i64 periodic_ns() const;  // 0: off

  u8 encode(u8 value) const;
  u8 decode(u8 raw) const;
  u8 encode_hour(u8 hour) const;
  u8 decode_hour(u8 raw) const;
  void store_time(Calendar const& time);
  void load_time();
  bool alarm_matches(i64 second) const;

  void mark_looked_at();
  void look();  // brings register C up to now
  void update();
  u8 read_register(u8 index);
  void write_register(u8 index, u8 value);
  void write_time(u8 index, u8 value);
  void fill_memory_sizes();

  RtcConfig config_;
  bus::Executor& executor_;
  bus::IrqLine& irq_;
  std::unique_ptr<bus::Timer> timer_;
  bool running_{false};
  State state_;
};

}  // namespace vireo::device
