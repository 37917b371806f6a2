#pragma once

#include <array>

#include "bus/device.h"
#include "bus/executor.h"
#include "bus/lines.h"
#include "device/chipset/pit/counter.h"

namespace vireo::device {

/// The 8254 interval timer and port 61h, through which counter 2 is gated and seen.
class Pit final : public bus::Device, public bus::PioTarget {
 public:
  Pit(bus::Executor& executor, bus::IrqLine& irq);

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
    static constexpr std::string_view schema{"pit"};
    std::array<PitCounter, 3> counters{PitCounter{}, PitCounter{}, PitCounter{.gate = 0}};
    bool speaker{};
    static void fields(auto&& s, auto&& f) {
      f(1, "counters", s.counters);
      f(2, "speaker", s.speaker);
    }
  };
  void write_control(u8 value);
  void schedule();
  void expire();

  bus::Executor& executor_;
  bus::IrqLine& irq_;
  std::unique_ptr<bus::Timer> timer_;
  bool running_{false};
  u64 not_before_ns_{0};
  State state_;
};

}  // namespace vireo::device
