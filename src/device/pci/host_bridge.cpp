#include "device/pci/host_bridge.h"

#include <algorithm>

#include "bus/nested_state.h"
#include "device/pci/spec.h"

namespace vireo::device {

using namespace host_bridge_spec;

namespace {

constexpr u32 saved_config_base{0x1000};

constexpr u32 address_bits{Enable | BusMask | DeviceMask | FunctionMask | RegisterMask};
constexpr u8 reset_bits{SystemReset | ResetCpu | FullReset};

/// PCIe 5.0 table 7-1: bus 27..20, device 19..15, function 14..12, register 11..0.
bus::PciAddress ecam_address(u64 offset) {
  return {static_cast<u8>(offset >> 15 & 31), static_cast<u8>(offset >> 12 & 7)};
}
bool on_bus_0(u64 offset) { return offset >> 20 == 0; }

}  // namespace

HostBridge::HostBridge(PciBus& bus, bus::MachineControl& control, ShadowMemory* shadow)
    : bus_{bus},
      control_{control},
      shadow_{shadow},
      config_{{.vendor = vendor_intel, .device = device_q35_mch, .class_code = class_host_bridge}} {
  if (shadow_ != nullptr) ShadowMemory::add_registers(config_);
  bus_.plug({0, 0}, *this);
}

std::span<bus::PortRange const> HostBridge::ports() const {
  static constexpr auto range = bus::PortRange{ConfigAddress, 8};
  return {&range, 1};
}

void HostBridge::reset() {
  state_ = {};
  config_.reset();
  update_shadow();
}

state::Saved HostBridge::save() const {
  auto saved = state::save(state_);
  bus::nest(saved, saved_config_base, config_.save());
  return saved;
}

Result<> HostBridge::restore(state::Saved const& saved) {
  reset();
  auto own = saved;
  auto const config = bus::unnest(own, saved_config_base);
  auto state = State{};
  TRY(state::restore(own, state));
  if ((state.config_address & ~address_bits) != 0 || (state.reset_control & ~reset_bits) != 0) {
    return fail(Errc::corrupt, "host_bridge: a reserved bit is set");
  }
  TRY(config_.restore(config));
  update_shadow();
  state_ = state;
  return {};
}

bool HostBridge::selected() const {
  return (state_.config_address & Enable) != 0 && (state_.config_address & BusMask) == 0;
}

bus::PciAddress HostBridge::address() const {
  return {static_cast<u8>((state_.config_address & DeviceMask) >> 11),
          static_cast<u8>((state_.config_address & FunctionMask) >> 8)};
}

u32 HostBridge::read_port(u16 port, u8 width) {
  auto const ones = 0xFFFF'FFFFU >> (32 - 8 * width);
  if (port == ConfigAddress && width == 4) return state_.config_address;
  if (port == ResetControl && width == 1) return state_.reset_control;
  if (port < ConfigData || port + width > ConfigData + 4 || !selected()) return ones;
  auto const offset = static_cast<u16>((state_.config_address & RegisterMask) + (port - ConfigData));
  return bus_.read_config(address(), offset, width);
}

void HostBridge::write_port(u16 port, u8 width, u32 value) {
  if (port == ConfigAddress && width == 4) {
    state_.config_address = value & address_bits;
    return;
  }
  if (port == ResetControl && width == 1) return write_reset_control(static_cast<u8>(value));
  if (port < ConfigData || port + width > ConfigData + 4 || !selected()) return;
  auto const offset = static_cast<u16>((state_.config_address & RegisterMask) + (port - ConfigData));
  bus_.write_config(address(), offset, width, value);
}

void HostBridge::write_reset_control(u8 value) {
  auto const rises = (value & ~state_.reset_control & ResetCpu) != 0;
  state_.reset_control = value & reset_bits;
  if (rises) control_.request_reset("reset control register (port CF9)");
}

/// Each access arrives at the function in its own width, cut only where it leaves a register of 32 bits.
u64 HostBridge::read_mmio(Gpa at, u8 width) {
  auto const start = at - bus::address_plan::ecam.start;
  auto value = u64{0};
  for (auto done = u32{0}; done < width;) {
    auto const offset = start + done;
    auto const taken = static_cast<u8>(std::min<u64>(4 - (offset & 3), width - done));
    auto const ones = 0xFFFF'FFFFU >> (32 - 8 * taken);
    auto const part = on_bus_0(offset) ? bus_.read_config(ecam_address(offset), offset & 0xFFF, taken) : ones;
    value |= u64{part & ones} << (8 * done);
    done += taken;
  }
  return value;
}

void HostBridge::write_mmio(Gpa at, u8 width, u64 value) {
  auto const start = at - bus::address_plan::ecam.start;
  for (auto done = u32{0}; done < width;) {
    auto const offset = start + done;
    auto const taken = static_cast<u8>(std::min<u64>(4 - (offset & 3), width - done));
    auto const dword = static_cast<u32>(value >> (8 * done)) & (0xFFFF'FFFFU >> (32 - 8 * taken));
    if (on_bus_0(offset)) bus_.write_config(ecam_address(offset), offset & 0xFFF, taken, dword);
    done += taken;
  }
}

IsaBridge::IsaBridge(PciBus& bus)
    : config_{
          {.vendor = vendor_intel, .device = device_ich9_lpc, .revision = 2, .class_code = class_isa_bridge}} {
  bus.plug({31, 0}, *this);
}

}  // namespace vireo::device
