#include "device/chipset/i8042/i8042.h"

#include "bus/device_contract.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

using namespace i8042_spec;

struct I8042Test : testing::Test {
  void command(u8 value) { device.write_port(Command, 1, value); }
  void data(u8 value) { device.write_port(Data, 1, value); }
  u32 status() { return device.read_port(Command, 1); }
  std::vector<u8> drain() {
    auto bytes = std::vector<u8>{};
    while ((status() & OutputFull) != 0) bytes.push_back(static_cast<u8>(device.read_port(Data, 1)));
    return bytes;
  }
  LineProbe irq;
  ControlProbe control;
  I8042 device{irq, control};
};

TEST_F(I8042Test, SelfTestPasses) {
  command(SelfTest);
  EXPECT_EQ(drain(), std::vector<u8>{controller_test_passed});
}

TEST_F(I8042Test, CommandByteIsWrittenAndReadBack) {
  command(WriteMemory);
  data(0x65);
  command(ReadMemory);
  EXPECT_EQ(drain(), std::vector<u8>{0x65});
}

TEST_F(I8042Test, PulseOfTheResetLineResetsTheMachine) {
  command(0xFF);
  EXPECT_EQ(control.resets, 0);
  command(0xFE);
  EXPECT_EQ(control.resets, 1);
}

TEST_F(I8042Test, KeyboardIdentifiesAndResets) {
  data(KeyboardReset);
  EXPECT_EQ(drain(), (std::vector<u8>{Acknowledge, TestPassed}));
  data(Identify);
  EXPECT_EQ(drain(), (std::vector<u8>{Acknowledge, 0xAB, 0x41}));
  data(SetLeds);
  data(0x02);
  EXPECT_EQ(drain(), (std::vector<u8>{Acknowledge, Acknowledge}));
}

TEST_F(I8042Test, EachTypedByteIsANewEdge) {
  EXPECT_TRUE(device.type(std::array<u8, 2>{0x1E, 0x9E}));
  EXPECT_EQ(irq.rises, 1);
  EXPECT_EQ(device.read_port(Data, 1), 0x1EU);
  EXPECT_EQ(irq.rises, 2);
  EXPECT_EQ(device.read_port(Data, 1), 0x9EU);
  EXPECT_FALSE(irq.high);
}

TEST_F(I8042Test, KeysAreRefusedWhileDisabledOrFull) {
  command(DisableKeyboard);
  EXPECT_FALSE(device.type(std::array<u8, 1>{0x1E}));
  command(EnableKeyboard);
  EXPECT_FALSE(device.type(std::array<u8, 17>{}));
  EXPECT_TRUE(device.type(std::array<u8, 16>{}));
}

TEST_F(I8042Test, AuxiliaryLoopComesBackMarked) {
  command(WriteAuxiliaryBuffer);
  data(0x5A);
  EXPECT_NE(status() & OutputIsAuxiliary, 0U);
  EXPECT_FALSE(irq.high);
  EXPECT_EQ(device.read_port(Data, 1), 0x5AU);
}

TEST_F(I8042Test, A20IsSeenThroughBothDoors) {
  device.write_port(SystemControlA, 1, 0);
  command(ReadOutputPort);
  EXPECT_EQ(drain().at(0) & GateA20, 0);
  command(WriteOutputPort);
  data(GateA20 | ResetHigh);
  EXPECT_EQ(device.read_port(SystemControlA, 1), FastA20);
  device.write_port(SystemControlA, 1, FastReset | FastA20);
  EXPECT_EQ(control.resets, 1);
}

TEST_F(I8042Test, KeepsTheDeviceContract) {
  bus::contract::expect_device_contract([&] { return std::make_unique<I8042>(irq, control); },
                                        [](I8042& keyboard) { keyboard.write_port(Command, 1, SelfTest); });
  bus::contract::expect_refused(device, 3, u8{17});
}

}  // namespace
}  // namespace vireo::device
