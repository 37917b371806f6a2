#pragma once

#include <array>

#include "bus/address_plan.h"
#include "bus/device.h"
#include "bus/executor.h"
#include "bus/lines.h"

namespace vireo::device {

/// ACPI power management: PM1a events and control with the SCI, the PM timer, general-purpose events, soft off
/// and the power button. The machine is always in ACPI mode (there is no SMI command port).
class AcpiPm final : public bus::Device, public bus::PioTarget {
 public:
  AcpiPm(bus::Executor& executor, bus::IrqLine& sci, bus::MachineControl& control);

  void press_power_button();
  /// Raises general-purpose event 0..15.
  void raise_event(u8 number);

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
    static constexpr std::string_view schema{"acpi_pm"};
    u16 status{};
    u16 enable{};
    u16 control{1};  // SCI_EN
    u16 gpe_status{};
    u16 gpe_enable{};
    u64 overflows_seen{};  // changes of the timer's bit 31 that TMR_STS has shown
    static void fields(auto&& s, auto&& f) {
      f(1, "status", s.status);
      f(2, "enable", s.enable);
      f(3, "control", s.control);
      f(4, "gpe_status", s.gpe_status);
      f(5, "gpe_enable", s.gpe_enable);
      f(6, "overflows_seen", s.overflows_seen);
    }
  };
  u64 timer() const;
  void update();
  u8 read_byte(u16 offset) const;
  void write_byte(u16 offset, u8 value);
  void write_sleep();

  bus::Executor& executor_;
  bus::IrqLine& sci_;
  bus::MachineControl& control_;
  std::unique_ptr<bus::Timer> overflow_timer_;
  bool running_{false};
  State state_;
};

}  // namespace vireo::device
