#include "device/pci/shadow_memory.h"

#include <gtest/gtest.h>

#include "bus/device_contract.h"
#include "device/chipset/line_probe.h"
#include "device/pci/host_bridge.h"
#include "device/pci/spec.h"

namespace vireo::device {
namespace {

using namespace host_bridge_spec;

class ShadowMemoryTest : public ::testing::Test, public bus::MemoryWindows {
 protected:
  static constexpr GpaRange rom{Gpa{4 * GiB - 0x4'0000}, 0x4'0000};

  ShadowMemoryTest() {
    EXPECT_TRUE(memory.add({Gpa{0}, 2 * MiB}, memory::RegionKind::ram));
    EXPECT_TRUE(memory.add(rom, memory::RegionKind::rom));
    EXPECT_TRUE(memory.load(rom.end() - 0x2'0000, std::as_bytes(std::span{"low rom"})));
    EXPECT_TRUE(memory.load(rom.end() - 0x1'0000, std::as_bytes(std::span{"bios"})));
    shadow.emplace(memory, *this, rom);
    bridge.emplace(bus, control, &*shadow);
    bridge->reset();
  }
  void set(bus::WindowLayer layer, std::vector<memory::GuestMemory::Window> windows) override {
    EXPECT_EQ(layer, bus::WindowLayer::shadow);
    memory.set_windows(windows);
  }
  void write_pam(u16 pam, u8 value) { bus.write_config({0, 0}, pam, 1, value); }
  char at(u64 address) { return memory.read_as<char>(Gpa{address}).value_or('-'); }
  bool write(u64 address, char value) { return memory.write_as(Gpa{address}, value).has_value(); }

  memory::GuestMemory memory;
  bus::AddressMap map;
  MsiProbe msi;
  LineProbe line;
  ControlProbe control;
  PciBus bus{map, msi, [this](u8) -> bus::IrqLine& { return line; }, nullptr};
  std::optional<ShadowMemory> shadow;
  std::optional<HostBridge> bridge;
};

TEST_F(ShadowMemoryTest, ShowsTheRomAfterReset) {
  EXPECT_EQ(at(0xE'0000), 'l');
  EXPECT_EQ(at(0xF'0000), 'b');
  EXPECT_FALSE(write(0xF'0000, 'x'));
  EXPECT_EQ(at(0xC'0000), '-');
  EXPECT_TRUE(write(0xB'FFFF, 'x'));
}

TEST_F(ShadowMemoryTest, OpensRamSegmentBySegment) {
  write_pam(PAM1, 0x30);
  EXPECT_EQ(at(0xC'0000), '-');
  EXPECT_TRUE(write(0xC'4000, 'y'));
  EXPECT_EQ(at(0xC'4000), 'y');
  EXPECT_EQ(at(0xC'8000), '-');
  write_pam(PAM0, 0x30);
  EXPECT_TRUE(write(0xF'0000, 'z'));
  EXPECT_EQ(at(0xF'0000), 'z');
  EXPECT_EQ(at(0xE'0000), 'l');
}

TEST_F(ShadowMemoryTest, ProtectsRamThatIsOnlyReadable) {
  write_pam(PAM0, 0x30);
  EXPECT_TRUE(write(0xF'0000, 'z'));
  write_pam(PAM0, 0x10);
  EXPECT_EQ(at(0xF'0000), 'z');
  EXPECT_FALSE(write(0xF'0000, 'q'));
  bridge->reset();
  EXPECT_EQ(at(0xF'0000), 'b');
}

TEST_F(ShadowMemoryTest, LetsWritesThroughToRamWhileItReadsAsRom) {
  write_pam(PAM6, 0x02);
  EXPECT_EQ(at(0xE'8000), '-');  // the device answers
  shadow->write_mmio(Gpa{0xE'8000}, 1, 'w');
  shadow->write_mmio(Gpa{0xE'C000}, 1, 'n');
  EXPECT_EQ(shadow->read_mmio(Gpa{0xE'8000}, 1) & 0xff, 0u);
  write_pam(PAM5, 0x22);
  EXPECT_EQ(shadow->read_mmio(Gpa{0xE'0000}, 1) & 0xff, static_cast<u64>('l'));
  write_pam(PAM6, 0x33);
  EXPECT_EQ(at(0xE'8000), 'w');
  EXPECT_EQ(at(0xE'C000), '\0');
}

TEST_F(ShadowMemoryTest, ComesBackWithTheBridgesState) {
  write_pam(PAM0, 0x30);
  EXPECT_TRUE(write(0xF'0000, 'z'));
  auto const saved = bridge->save();
  bridge->reset();
  ASSERT_TRUE(bridge->restore(saved));
  EXPECT_EQ(at(0xF'0000), 'z');
}

}  // namespace
}  // namespace vireo::device
