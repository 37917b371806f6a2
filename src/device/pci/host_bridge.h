#pragma once

#include "bus/address_plan.h"
#include "bus/device.h"
#include "bus/lines.h"
#include "device/pci/pci_bus.h"
#include "device/pci/shadow_memory.h"

namespace vireo::device {

/// The host bridge, function 00:00.0: the guest's ways into configuration space (CF8/CFC and ECAM) and, among
/// those ports, the reset control register CF9.
class HostBridge final : public bus::Device,
                         public bus::PioTarget,
                         public bus::MmioTarget,
                         public bus::PciFunction {
 public:
  /// Plugs itself into `bus`. `shadow` outlives it; null: all memory is plain.
  HostBridge(PciBus& bus, bus::MachineControl& control, ShadowMemory* shadow);

  bus::PioTarget* pio() override { return this; }
  bus::MmioTarget* mmio() override { return this; }
  bus::PciFunction* pci() override { return this; }
  /// Maps all functions' BARs: start it after the functions are reset or restored.
  void start() override { bus_.remap(); }
  void stop() override {}
  void reset() override;
  state::Saved save() const override;
  Result<> restore(state::Saved const& saved) override;

  std::span<bus::PortRange const> ports() const override;
  u32 read_port(u16 port, u8 width) override;
  void write_port(u16 port, u8 width, u32 value) override;
  std::span<GpaRange const> ranges() const override { return {&bus::address_plan::ecam, 1}; }
  u64 read_mmio(Gpa at, u8 width) override;
  void write_mmio(Gpa at, u8 width, u64 value) override;

  bus::PciConfigSpace& config() override { return config_; }
  void config_written(u16, u8) override { update_shadow(); }
  u64 read_bar(u8, u64, u8) override { return ~u64{0}; }
  void write_bar(u8, u64, u8, u64) override {}
  void connect_intx(bus::IrqLine*) override {}

 private:
  struct State {
    static constexpr std::string_view schema{"host_bridge"};
    u32 config_address{};
    u8 reset_control{};
    static void fields(auto&& s, auto&& f) {
      f(1, "config_address", s.config_address);
      f(2, "reset_control", s.reset_control);
    }
  };
  bool selected() const;
  bus::PciAddress address() const;
  void write_reset_control(u8 value);
  void update_shadow() {
    if (shadow_ != nullptr) shadow_->update(config_);
  }

  PciBus& bus_;
  bus::MachineControl& control_;
  ShadowMemory* shadow_;
  bus::PciConfigSpace config_;
  State state_;
};

/// The ISA (LPC) bridge at 00:1f.0: identity only; the ISA devices are wired directly.
class IsaBridge final : public bus::Device, public bus::PciFunction {
 public:
  explicit IsaBridge(PciBus& bus);

  bus::PciFunction* pci() override { return this; }
  void start() override {}
  void stop() override {}
  void reset() override { config_.reset(); }
  state::Saved save() const override { return config_.save(); }
  Result<> restore(state::Saved const& saved) override { return config_.restore(saved); }

  bus::PciConfigSpace& config() override { return config_; }
  void config_written(u16, u8) override {}
  u64 read_bar(u8, u64, u8) override { return ~u64{0}; }
  void write_bar(u8, u64, u8, u64) override {}
  void connect_intx(bus::IrqLine*) override {}

 private:
  bus::PciConfigSpace config_;
};

}  // namespace vireo::device
