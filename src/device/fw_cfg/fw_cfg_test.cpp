#include "device/fw_cfg/fw_cfg.h"

#include <gtest/gtest.h>

#include "bus/device_contract.h"
#include "device/fw_cfg/spec.h"

namespace vireo::device {
namespace {

using namespace fw_cfg_spec;

class FwCfgTest : public ::testing::Test {
 protected:
  FwCfgTest() {
    EXPECT_TRUE(memory.add({Gpa{0}, 1 * MiB}, memory::RegionKind::ram));
    EXPECT_TRUE(fw_cfg.add_file("etc/first", {'a', 'b', 'c'}));
    EXPECT_TRUE(fw_cfg.add_file("bootorder", {'x'}));
  }
  std::string read(u16 key, u32 bytes) {
    fw_cfg.write_port(Selector, 2, key);
    auto text = std::string{};
    for (auto i = u32{0}; i < bytes; ++i) text += static_cast<char>(fw_cfg.read_port(Data, 1));
    return text;
  }
  u32 transfer(u32 control, u32 length, u64 address) {
    auto const access = DmaAccess{std::byteswap(control), std::byteswap(length), std::byteswap(address)};
    EXPECT_TRUE(memory.write_as(Gpa{0x100}, access));
    fw_cfg.write_port(DmaHigh, 4, 0);
    fw_cfg.write_port(DmaLow, 4, std::byteswap(u32{0x100}));
    return std::byteswap(memory.read_as<u32>(Gpa{0x100}).value());
  }
  std::string text(u64 at, u64 bytes) {
    auto result = std::string(bytes, '?');
    EXPECT_TRUE(memory.read(Gpa{at}, std::as_writable_bytes(std::span{result})));
    return result;
  }

  memory::GuestMemory memory;
  FwCfg fw_cfg{memory};
};

TEST_F(FwCfgTest, ShowsItselfAndItsFeatures) {
  EXPECT_EQ(read(Signature, 4), "QEMU");
  EXPECT_EQ(read(Id, 4), std::string("\3\0\0\0", 4));
  EXPECT_EQ(fw_cfg.read_port(DmaHigh, 4), std::byteswap(u32{0x51454D55}));
  EXPECT_EQ(fw_cfg.read_port(DmaLow, 4), std::byteswap(u32{0x20434647}));
}

TEST_F(FwCfgTest, ListsItsFilesByName) {
  auto const directory = read(FileDirectory, 4 + 2 * 64);
  EXPECT_EQ(directory.substr(0, 4), std::string("\0\0\0\2", 4));
  EXPECT_EQ(directory.substr(4, 8), std::string("\0\0\0\1\0\x21\0\0", 8));
  EXPECT_STREQ(directory.c_str() + 12, "bootorder");
  EXPECT_STREQ(directory.c_str() + 12 + 64, "etc/first");
}

TEST_F(FwCfgTest, ReadsZeroesBehindAnItemsEndAndFromUnknownOnes) {
  EXPECT_EQ(read(FileFirst, 5), std::string("abc\0\0", 5));
  EXPECT_EQ(read(0x7777, 2), std::string("\0\0", 2));
}

TEST_F(FwCfgTest, CopiesByDma) {
  EXPECT_EQ(transfer(FileFirst << 16 | DmaSelect | DmaRead, 2, 0x200), 0u);
  EXPECT_EQ(transfer(DmaRead, 2, 0x202), 0u);
  EXPECT_EQ(text(0x200, 5), std::string("abc\0\0", 5));
}

TEST_F(FwCfgTest, SkipsByDma) {
  EXPECT_EQ(transfer(FileFirst << 16 | DmaSelect | DmaSkip, 2, 0), 0u);
  EXPECT_EQ(transfer(DmaRead, 1, 0x200), 0u);
  EXPECT_EQ(text(0x200, 1), "c");
}

TEST_F(FwCfgTest, RefusesWritesAndAddressesOutsideOfMemory) {
  EXPECT_EQ(transfer(FileFirst << 16 | DmaSelect | DmaWrite, 2, 0x200), u32{DmaError});
  EXPECT_EQ(transfer(FileFirst << 16 | DmaSelect | DmaRead, 8192, 1 * MiB - 4096), u32{DmaError});
  EXPECT_EQ(transfer(DmaRead, ~u32{0}, ~u64{0}), u32{DmaError});
  fw_cfg.write_port(DmaHigh, 4, ~u32{0});
  fw_cfg.write_port(DmaLow, 4, ~u32{0});
  EXPECT_EQ(read(Signature, 4), "QEMU");
}

TEST_F(FwCfgTest, RefusesNamesThatDoNotFit) {
  EXPECT_EQ(fw_cfg.add_file("etc/first", {}).error().code(), Errc::invalid);
  EXPECT_EQ(fw_cfg.add_file(std::string(56, 'n'), {}).error().code(), Errc::invalid);
}

TEST_F(FwCfgTest, KeepsTheDeviceContract) {
  bus::contract::expect_device_contract([&] { return std::make_unique<FwCfg>(memory); },
                                        [](FwCfg& device) {
                                          device.write_port(Selector, 2, Signature);
                                          device.read_port(Data, 1);
                                          device.write_port(DmaHigh, 4, 7);
                                        });
}

}  // namespace
}  // namespace vireo::device
