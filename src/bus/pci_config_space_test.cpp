#include <gtest/gtest.h>

#include "bus/pci.h"
#include "bus/pci_spec.h"

namespace vireo::bus {
namespace {

using namespace pci_spec;

struct Sink : MsiSink {
  void signal(u64 address, u32 data) override { messages.emplace_back(address, data); }
  std::vector<std::pair<u64, u32>> messages;
};

PciConfigSpace make_config() {
  auto config = PciConfigSpace{{.vendor = 0x1AF4,
                                .device = 0x1042,
                                .subsystem_vendor = 0x1AF4,
                                .subsystem = 0x1100,
                                .revision = 1,
                                .class_code = 0x010000},
                               1};
  config.add_bar(0, {BarKind::io, 0x40});
  config.add_bar(1, {BarKind::memory32, 0x1000});
  config.add_bar(4, {BarKind::memory64_prefetchable, 0x4000});
  config.add_msix(3, 1, 0x0, 0x800);
  return config;
}

constexpr u16 msix_control{0x42};

TEST(PciConfigSpace, ShowsIdentityAndHeaderAtAnyWidth) {
  auto const config = make_config();
  EXPECT_EQ(config.read(VendorId, 4), 0x1042'1AF4U);
  EXPECT_EQ(config.read(RevisionId, 4), 0x0100'0001U);
  EXPECT_EQ(config.read(InterruptPin, 1), 1U);
  EXPECT_EQ(config.read(0xFE, 4), 0U);
  EXPECT_EQ(config.read(0xFFF, 4), 0U);
}

TEST(PciConfigSpace, SizingABarYieldsItsSizeAndType) {
  auto config = make_config();
  EXPECT_TRUE(config.write(0x10, 4, 0xFFFF'FFFF));
  EXPECT_EQ(config.read(0x10, 4), 0xFFFF'FFC1U);
  config.write(0x14, 4, 0xFFFF'FFFF);
  EXPECT_EQ(config.read(0x14, 4), 0xFFFF'F000U);
  config.write(0x20, 4, 0xFFFF'FFFF);
  config.write(0x24, 4, 0xFFFF'FFFF);
  EXPECT_EQ(config.read(0x20, 4), 0xFFFF'C00CU);
  EXPECT_EQ(config.read(0x24, 4), 0xFFFF'FFFFU);
  EXPECT_FALSE(config.write(0x18, 4, 0xFFFF'FFFF));
  EXPECT_EQ(config.read(0x18, 4), 0U);
}

TEST(PciConfigSpace, BarAddressFollowsByteWrites) {
  auto config = make_config();
  config.write(0x20, 4, 0x1234'4000);
  config.write(0x24, 1, 0x80);
  EXPECT_EQ(config.bar_address(4), 0x80'1234'4000U);
}

TEST(PciConfigSpace, ReportsOnlyDecodingChanges) {
  auto config = make_config();
  EXPECT_TRUE(config.write(Command, 2, MemorySpace | BusMaster));
  EXPECT_TRUE(config.memory_enabled() && config.bus_master());
  EXPECT_FALSE(config.write(Command, 2, MemorySpace | BusMaster));
  EXPECT_FALSE(config.write(InterruptLine, 1, 11));
  EXPECT_EQ(config.read(InterruptLine, 1), 11U);
}

TEST(PciConfigSpace, CapabilitiesAreChained) {
  auto config = make_config();
  auto const second = config.add_capability(0x09, {0x10, 0, 0, 0, 0xFF}, {0, 0, 0xFF});
  EXPECT_EQ(config.read(CapabilitiesPointer, 1), 0x40U);
  EXPECT_EQ(config.read(0x40, 2), u32{msix_capability_id} | u32{second} << 8);
  EXPECT_EQ(config.read(second, 4), 0x0010'0009U);
  config.write(second, 4, 0xFFFF'FFFF);
  config.write(static_cast<u16>(second + 4), 4, 0xFFFF'FFFF);
  EXPECT_EQ(config.read(second, 4), 0x0010'0009U);
  EXPECT_EQ(config.read(static_cast<u16>(second + 4), 4), 0x00FF'00FFU & 0xFF'FFFF);
  EXPECT_NE(config.read(Status, 2) & CapabilitiesList, 0U);
}

TEST(PciConfigSpace, MsixSendsTheTableEntry) {
  auto config = make_config();
  auto sink = Sink{};
  config.set_msi_sink(&sink);
  config.write(msix_control, 2, MsixEnable);
  config.msix_write(16, 8, 0xFEE0'1000);
  config.msix_write(24, 4, 0x41);
  config.msix_write(28, 4, 0);
  config.msix_signal(1);
  config.msix_signal(99);
  EXPECT_EQ(sink.messages, (std::vector<std::pair<u64, u32>>{{0xFEE0'1000, 0x41}}));
}

TEST(PciConfigSpace, MaskedVectorPendsUntilUnmasked) {
  auto config = make_config();
  auto sink = Sink{};
  config.set_msi_sink(&sink);
  config.write(msix_control, 2, MsixEnable | MsixFunctionMask);
  config.msix_write(32, 8, 0xFEE0'2000);
  config.msix_write(40, 8, 0x1'0000'0042);
  config.msix_signal(2);
  EXPECT_EQ(config.msix_read(0x800, 8), 4U);
  config.write(msix_control, 2, MsixEnable);
  EXPECT_TRUE(sink.messages.empty());
  config.msix_write(44, 1, 0);
  EXPECT_EQ(sink.messages.size(), 1U);
  EXPECT_EQ(config.msix_read(0x800, 8), 0U);
}

TEST(PciConfigSpace, MsixCoversTableAndPendingBitsOnly) {
  auto const config = make_config();
  EXPECT_TRUE(config.msix_covers(1, 0) && config.msix_covers(1, 47) && config.msix_covers(1, 0x807));
  EXPECT_FALSE(config.msix_covers(1, 48) || config.msix_covers(1, 0x808) || config.msix_covers(0, 0));
  EXPECT_EQ(config.msix_read(44, 8), 1U);
}

TEST(PciConfigSpace, RestoredConfigurationEqualsSaved) {
  auto config = make_config();
  config.write(Command, 2, MemorySpace);
  config.write(0x14, 4, 0xC000'0000);
  config.msix_write(0, 8, 0xFEE0'0000);
  auto fresh = make_config();
  ASSERT_TRUE(fresh.restore(config.save()));
  EXPECT_EQ(fresh.save(), config.save());
  config.reset();
  EXPECT_EQ(config.save(), make_config().save());
}

TEST(PciConfigSpace, RefusesForgedState) {
  auto config = make_config();
  auto identity = config.save();
  identity.fields[1][0] ^= std::byte{1};
  auto vectors = config.save();
  vectors.fields[2].resize(16);
  auto pending = config.save();
  pending.fields[3][0] = std::byte{7};
  EXPECT_FALSE(config.restore(identity));
  EXPECT_FALSE(config.restore(vectors));
  EXPECT_FALSE(config.restore(pending));
  EXPECT_EQ(config.save(), make_config().save());
}

}  // namespace
}  // namespace vireo::bus
