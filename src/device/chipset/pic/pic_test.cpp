#include "device/chipset/pic/pic.h"

#include "bus/device_contract.h"
#include "device/chipset/line_probe.h"
#include "device/chipset/pic/spec.h"

namespace vireo::device {
namespace {

using namespace pic_spec;

struct PicTest : testing::Test {
  void SetUp() override { initialize(); }
  void initialize(u8 icw4 = 1) {
    for (auto const [command, data, base, wiring] :
         {std::array<u16, 4>{0x20, 0x21, 0x30, 4}, std::array<u16, 4>{0xA0, 0xA1, 0x38, 2}}) {
      pic.write_port(command, 1, 0x11);
      pic.write_port(data, 1, base);
      pic.write_port(data, 1, wiring);
      pic.write_port(data, 1, icw4);
    }
  }
  LineProbe intr;
  Pic pic{intr};
};

TEST_F(PicTest, DeliversTheHighestPriorityEdgeFirst) {
  pic.set_input(4, true);
  pic.set_input(1, true);
  EXPECT_TRUE(intr.high);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  EXPECT_EQ(pic.acknowledge(), -1) << "input 4 waits until input 1 has ended";
  pic.write_port(MasterCommand, 1, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x34);
}

TEST_F(PicTest, EdgeIsTakenOnceWhileTheLineStaysHigh) {
  pic.set_input(0, true);
  EXPECT_EQ(pic.acknowledge(), 0x30);
  pic.write_port(MasterCommand, 1, 0x60);
  EXPECT_FALSE(intr.high);
  pic.set_input(0, false);
  pic.set_input(0, true);
  EXPECT_TRUE(intr.high);
}

TEST_F(PicTest, LevelInputRequestsAgainUntilItFalls) {
  pic.write_port(SlaveEdgeLevel, 1, 0x0C);
  pic.set_input(11, true);
  EXPECT_EQ(pic.acknowledge(), 0x3B);
  pic.write_port(SlaveCommand, 1, 0x20);
  pic.write_port(MasterCommand, 1, 0x20);
  EXPECT_TRUE(intr.high);
  pic.set_input(11, false);
  EXPECT_FALSE(intr.high);
}

TEST_F(PicTest, MaskHoldsARequestBack) {
  pic.write_port(MasterData, 1, 0xFF);
  pic.set_input(3, true);
  EXPECT_FALSE(intr.high);
  EXPECT_EQ(pic.read_port(MasterCommand, 1), 0x08U);
  pic.write_port(MasterData, 1, 0xF7);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  pic.write_port(MasterCommand, 1, 0x0B);
  EXPECT_EQ(pic.read_port(MasterCommand, 1), 0x08U);
}

TEST_F(PicTest, AutomaticEndOfInterruptLeavesNothingInService) {
  initialize(3);
  pic.set_input(5, true);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  pic.write_port(MasterCommand, 1, 0x0B);
  EXPECT_EQ(pic.read_port(MasterCommand, 1), 0U);
}

TEST_F(PicTest, SpecialMaskLetsLowerPrioritiesThrough) {
  pic.set_input(1, true);
  pic.acknowledge();
  pic.write_port(MasterData, 1, 0x02);
  pic.write_port(MasterCommand, 1, 0x68);
  pic.set_input(6, true);
  EXPECT_EQ(pic.acknowledge(), 0x36);
}

TEST_F(PicTest, PollAcknowledgesByReading) {
  pic.set_input(7, true);
  pic.write_port(MasterCommand, 1, 0x0C);
  EXPECT_EQ(pic.read_port(MasterCommand, 1), 0x87U);
  EXPECT_FALSE(intr.high);
}

TEST(Pic, KeepsTheDeviceContract) {
  auto intr = LineProbe{};
  bus::contract::expect_device_contract([&] { return std::make_unique<Pic>(intr); },
                                        [](Pic& pic) {
                                          pic.write_port(0x20, 1, 0x11);
                                          pic.write_port(0x21, 1, 0x20);
                                          pic.set_input(9, true);
                                        });
  auto pic = Pic{intr};
  bus::contract::expect_refused(pic, 1, std::vector<std::byte>(28, std::byte{0xFF}));
}

}  // namespace
}  // namespace vireo::device
