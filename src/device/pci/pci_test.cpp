#include <deque>

#include "bus/device_contract.h"
#include "bus/pci_spec.h"
#include "device/chipset/line_probe.h"
#include "device/pci/host_bridge.h"
#include "device/pci/spec.h"

namespace vireo::device {
namespace {

using namespace host_bridge_spec;
using namespace bus::address_plan;
namespace cfg = bus::pci_spec;

/// A function with one BAR of each kind that answers with what was last written.
struct Echo : bus::PciFunction {
  Echo() {
    space.add_bar(0, {bus::BarKind::io, 32});
    space.add_bar(1, {bus::BarKind::memory32, 0x1000});
    space.add_bar(2, {bus::BarKind::memory64, 0x2000});
  }
  bus::PciConfigSpace& config() override { return space; }
  void config_written(u16, u8) override { ++config_writes; }
  void config_reading(u16 offset, u8 width) override { reading = {offset, width}; }
  u64 read_bar(u8 bar, u64 offset, u8) override { return u64{bar} << 16 | offset; }
  void write_bar(u8 bar, u64 offset, u8, u64 value) override { written = {bar, offset, value}; }
  void connect_intx(bus::IrqLine* line) override { intx = line; }
  bus::PciConfigSpace space{{.vendor = 0x1234, .device = 0x5678}, 2};
  std::array<u64, 3> written{};
  bus::IrqLine* intx{nullptr};
  std::pair<u16, u8> reading{};
  int config_writes{0};
};

struct PciTest : testing::Test {
  PciTest() {
    map.map_pio(bridge.ports()[0], bridge);
    map.map_mmio(bridge.ranges()[0], bridge);
    bus.plug({3, 0}, echo);
  }
  u32 config_read(u8 device, u8 offset, u8 width = 4) {
    map.write_port(ConfigAddress, 4, u32{Enable} | u32{device} << 11 | (offset & 0xFCU));
    return map.read_port(static_cast<u16>(ConfigData + (offset & 3)), width);
  }
  void config_write(u8 device, u8 offset, u32 value, u8 width = 4) {
    map.write_port(ConfigAddress, 4, u32{Enable} | u32{device} << 11 | (offset & 0xFCU));
    map.write_port(static_cast<u16>(ConfigData + (offset & 3)), width, value);
  }
  bus::AddressMap map;
  MsiProbe msi;
  ControlProbe control;
  std::deque<u8> gsis;
  LineProbe line;
  PciBus bus{map, msi,
             [this](u8 gsi) -> bus::IrqLine& {
               gsis.push_back(gsi);
               return line;
             },
             nullptr};
  HostBridge bridge{bus, control, nullptr};
  Echo echo;
};

TEST_F(PciTest, BothWaysIntoConfigurationSpaceShowTheSame) {
  EXPECT_EQ(config_read(3, 0), 0x5678'1234U);
  EXPECT_EQ(config_read(3, 2, 2), 0x5678U);
  EXPECT_EQ(map.read_mmio(ecam.start + (3U << 15), 4), 0x5678'1234U);
  EXPECT_EQ(map.read_mmio(ecam.start + (3U << 15) + 2, 2), 0x5678U);
  EXPECT_EQ(config_read(0, 0), 0x29C0'8086U);
}

TEST_F(PciTest, AbsentFunctionsReadAsAllOnes) {
  EXPECT_EQ(config_read(4, 0), 0xFFFF'FFFFU);
  EXPECT_EQ(map.read_mmio(ecam.start + (1U << 20), 8), ~u64{0});
  map.write_port(ConfigAddress, 4, u32{Enable} | 1U << 16);
  EXPECT_EQ(map.read_port(ConfigData, 2), 0xFFFFU);
}

TEST_F(PciTest, ProbeForMechanism1Succeeds) {
  map.write_port(0xCFB, 1, 1);
  map.write_port(ConfigAddress, 4, 0x8000'0000);
  EXPECT_EQ(map.read_port(ConfigAddress, 4), 0x8000'0000U);
}

TEST_F(PciTest, BarIsMappedWhileDecodingIsEnabled) {
  config_write(3, 0x14, 0xC000'0000);
  EXPECT_EQ(map.read_mmio(Gpa{0xC000'0010}, 4), 0xFFFF'FFFFU);
  config_write(3, cfg::Command, cfg::MemorySpace, 2);
  EXPECT_EQ(map.read_mmio(Gpa{0xC000'0010}, 4), 0x1'0010U);
  config_write(3, 0x14, 0xC100'0000);
  EXPECT_EQ(map.read_mmio(Gpa{0xC000'0010}, 4), 0xFFFF'FFFFU);
  map.write_mmio(Gpa{0xC100'0FF8}, 8, 42);
  EXPECT_EQ(echo.written, (std::array<u64, 3>{1, 0xFF8, 42}));
}

TEST_F(PciTest, WideAndPortBarsAreMappedToo) {
  config_write(3, cfg::Command, cfg::MemorySpace | cfg::IoSpace, 2);
  config_write(3, 0x18, 0x0000'4000);
  config_write(3, 0x1C, 0x80);
  config_write(3, 0x10, 0xC020);
  EXPECT_EQ(map.read_mmio(Gpa{0x80'0000'4008}, 8), 0x2'0008U);
  EXPECT_EQ(map.read_port(0xC024, 4), 4U);
}

TEST_F(PciTest, BarOutsideTheWindowsIsNotDecoded) {
  config_write(3, cfg::Command, cfg::MemorySpace | cfg::IoSpace, 2);
  config_write(3, 0x14, 0xFEC0'0000);
  config_write(3, 0x10, 0x0CE0);
  EXPECT_EQ(map.read_mmio(Gpa{0xFEC0'0000}, 4), 0xFFFF'FFFFU);
  EXPECT_EQ(map.read_port(ConfigAddress, 4) & Enable, u32{Enable});
}

TEST_F(PciTest, EcamWritesKeepTheirWidth) {
  map.write_mmio(ecam.start + (3U << 15) + cfg::InterruptLine, 1, 11);
  EXPECT_EQ(config_read(3, cfg::InterruptLine, 1), 11U);
  EXPECT_EQ(echo.config_writes, 1);
}

TEST_F(PciTest, FunctionIsToldBeforeItIsRead) {
  map.read_mmio(ecam.start + (3U << 15) + 0x42, 2);
  EXPECT_EQ(echo.reading, (std::pair<u16, u8>{0x42, 2}));
  config_read(3, 0x44, 1);
  EXPECT_EQ(echo.reading, (std::pair<u16, u8>{0x44, 1}));
}

TEST_F(PciTest, PinsAreSwizzledBySlot) {
  EXPECT_EQ(gsis, std::deque<u8>{gsi_of_pci_pin(3, 2)});
  EXPECT_EQ(echo.intx, &line);
}

TEST_F(PciTest, TakenPlaceIsRefused) {
  auto other = Echo{};
  EXPECT_FALSE(bus.plug({3, 0}, other));
  EXPECT_FALSE(bus.plug({32, 0}, other));
}

TEST_F(PciTest, ResetControlResetsOnTheRisingBit) {
  map.write_port(ResetControl, 1, SystemReset);
  EXPECT_EQ(control.resets, 0);
  map.write_port(ResetControl, 1, SystemReset | ResetCpu);
  EXPECT_EQ(control.resets, 1);
}

TEST_F(PciTest, BridgesKeepTheDeviceContract) {
  auto buses = std::deque<PciBus>{};
  auto const fresh_bus = [&]() -> PciBus& {
    return buses.emplace_back(map, msi, [&](u8) -> bus::IrqLine& { return line; }, nullptr);
  };
  bus::contract::expect_device_contract(
      [&] { return std::make_unique<HostBridge>(fresh_bus(), control, nullptr); },
      [](HostBridge& host) { host.write_port(ConfigAddress, 4, Enable); });
  bus::contract::expect_device_contract([&] { return std::make_unique<IsaBridge>(fresh_bus()); },
                                        [](IsaBridge& isa) { isa.config().write(cfg::InterruptLine, 1, 3); });
  bus::contract::expect_refused(bridge, 1, 0xFFFF'FFFFU);
}

}  // namespace
}  // namespace vireo::device
