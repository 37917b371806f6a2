#pragma once

#include <array>

#include "bus/address_plan.h"
#include "bus/device.h"
#include "bus/lines.h"
#include "device/chipset/ioapic/spec.h"

namespace vireo::device {

/// The I/O APIC: 24 inputs that become message-signalled interrupts.
class Ioapic final : public bus::Device, public bus::MmioTarget {
 public:
  explicit Ioapic(bus::MsiSink& sink) : sink_{sink} {}

  /// Drives pin 0..23; high means asserted, whatever polarity the guest believes in.
  void set_input(u8 pin, bool high);
  /// A local APIC ended the level-triggered interrupt `vector`.
  void end_of_interrupt(u8 vector);

  bus::MmioTarget* mmio() override { return this; }
  void start() override {}
  void stop() override {}
  void reset() override { state_ = {}; }
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override;

  std::span<GpaRange const> ranges() const override { return {&bus::address_plan::ioapic, 1}; }
  u64 read_mmio(Gpa at, u8 width) override;
  void write_mmio(Gpa at, u8 width, u64 value) override;

 private:
  struct State {
    static constexpr std::string_view schema{"ioapic"};
    u8 select{};
    u8 id{};
    u32 lines{};
    std::array<u64, ioapic_spec::pin_count> entries{filled()};
    static constexpr std::array<u64, ioapic_spec::pin_count> filled() {
      auto entries_at_reset = std::array<u64, ioapic_spec::pin_count>{};
      entries_at_reset.fill(ioapic_spec::Masked);
      return entries_at_reset;
    }
    static void fields(auto&& s, auto&& f) {
      f(1, "select", s.select);
      f(2, "id", s.id);
      f(3, "lines", s.lines);
      f(4, "entries", s.entries);
    }
  };

  u32 read_register() const;
  void write_register(u32 value, u32 mask);
  void service_level(u8 pin);
  void send(u64 entry);

  bus::MsiSink& sink_;
  State state_;
};

}  // namespace vireo::device
