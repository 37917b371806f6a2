#include "device/chipset/uart/uart.h"

#include <string>

#include "bus/device_contract.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

using namespace uart_spec;

struct Terminal : SerialBackend {
  void transmit(ConstBytes bytes) override {
    for (auto const byte : bytes) shown += static_cast<char>(byte);
  }
  void receive_ready() override {
    ++invitations;
    type("");
  }
  void type(std::string const& text) {
    typed += text;
    typed.erase(0, port->receive(std::as_bytes(std::span{typed})));
  }
  SerialPort* port{nullptr};
  std::string shown;
  std::string typed;
  int invitations{0};
};

struct UartTest : testing::Test {
  UartTest() {
    uart.connect(&terminal);
    terminal.port = &uart;
  }
  void put(u8 index, u8 value) { uart.write_port(static_cast<u16>(0x3F8 + index), 1, value); }
  u8 get(u8 index) { return static_cast<u8>(uart.read_port(static_cast<u16>(0x3F8 + index), 1)); }
  LineProbe irq;
  Terminal terminal;
  Uart uart{0x3F8, irq};
};

TEST_F(UartTest, SendsWhatTheGuestWrites) {
  put(ReceiverBuffer, 'h');
  put(ReceiverBuffer, 'i');
  EXPECT_EQ(terminal.shown, "hi");
  EXPECT_EQ(get(LineStatus), HoldingEmpty | Empty);
}

TEST_F(UartTest, RaisesIrqWhenTransmitInterruptIsEnabled) {
  put(InterruptEnable, TransmitterEmpty);
  EXPECT_TRUE(irq.high);
  EXPECT_EQ(get(InterruptIdentification), IdTransmitterEmpty);
  EXPECT_FALSE(irq.high) << "reading the identification ends it";
  EXPECT_EQ(get(InterruptIdentification), IdNone);
}

TEST_F(UartTest, EveryTransmittedByteMakesANewEdge) {
  put(InterruptEnable, TransmitterEmpty);
  auto const before = irq.rises;
  put(ReceiverBuffer, 'a');
  put(ReceiverBuffer, 'b');
  EXPECT_EQ(irq.rises, before + 2);
  EXPECT_EQ(get(InterruptIdentification), IdTransmitterEmpty);
}

TEST_F(UartTest, ReenablingTheTransmitInterruptRaisesItAgain) {
  put(InterruptEnable, TransmitterEmpty);
  get(InterruptIdentification);
  put(InterruptEnable, 0);
  put(InterruptEnable, TransmitterEmpty);
  EXPECT_EQ(get(InterruptIdentification), IdTransmitterEmpty);
}

TEST_F(UartTest, ReceivedDataInterruptsAndIsRead) {
  put(InterruptEnable, ReceivedData);
  terminal.type("x");
  EXPECT_TRUE(irq.high);
  EXPECT_EQ(get(InterruptIdentification), IdReceivedData);
  EXPECT_EQ(get(LineStatus) & DataReady, DataReady);
  EXPECT_EQ(get(ReceiverBuffer), 'x');
  EXPECT_FALSE(irq.high);
}

TEST_F(UartTest, BelowTheTriggerLevelIsACharacterTimeout) {
  put(InterruptIdentification, FifoEnable | 0x80);
  put(InterruptEnable, ReceivedData);
  terminal.type("1234567");
  EXPECT_EQ(get(InterruptIdentification), FifosEnabled | IdCharacterTimeout);
  terminal.type("8");
  EXPECT_EQ(get(InterruptIdentification), FifosEnabled | IdReceivedData);
}

TEST_F(UartTest, NothingTypedIsLostWhenTheFifoIsFull) {
  put(InterruptIdentification, FifoEnable);
  auto const text = std::string{"the quick brown fox jumps over the lazy dog"};
  terminal.type(text);
  EXPECT_EQ(terminal.typed.size(), text.size() - fifo_depth);
  auto seen = std::string{};
  while ((get(LineStatus) & DataReady) != 0) seen += static_cast<char>(get(ReceiverBuffer));
  EXPECT_EQ(seen, text);
  EXPECT_GT(terminal.invitations, 0);
}

TEST_F(UartTest, LoopbackTurnsControlLinesAndData) {
  put(ModemControl, Loopback | Out2 | Rts);
  EXPECT_EQ(get(ModemStatus) & 0xF0, DataCarrierDetect | ClearToSend);
  put(ReceiverBuffer, 0x5A);
  EXPECT_EQ(get(ReceiverBuffer), 0x5A);
  EXPECT_TRUE(terminal.shown.empty());
  put(ReceiverBuffer, 1);
  put(ReceiverBuffer, 2);
  EXPECT_EQ(get(LineStatus) & Overrun, Overrun);
  EXPECT_EQ(get(LineStatus) & Overrun, 0);
}

TEST_F(UartTest, DivisorLatchHidesDataAndInterruptEnable) {
  put(LineControl, DivisorLatchAccess | 3);
  put(ReceiverBuffer, 1);
  put(InterruptEnable, 0);
  EXPECT_EQ(get(ReceiverBuffer), 1);
  put(LineControl, 3);
  EXPECT_TRUE(terminal.shown.empty());
  EXPECT_EQ(get(InterruptEnable), 0);
}

TEST_F(UartTest, IdentifiesAsA16550A) {
  put(InterruptIdentification, FifoEnable);
  EXPECT_EQ(get(InterruptIdentification) & FifosEnabled, FifosEnabled);
  put(Scratch, 0xA5);
  EXPECT_EQ(get(Scratch), 0xA5);
  put(InterruptEnable, 0xFF);
  EXPECT_EQ(get(InterruptEnable), 0x0F);
}

TEST(Uart, KeepsTheDeviceContract) {
  auto irq = LineProbe{};
  bus::contract::expect_device_contract([&] { return std::make_unique<Uart>(0x3F8, irq); },
                                        [](Uart& uart) {
                                          uart.write_port(0x3FF, 1, 7);
                                          uart.receive(std::as_bytes(std::span{"a", 1}));
                                        });
  auto uart = Uart{0x3F8, irq};
  bus::contract::expect_refused(uart, 2, u8{17});
  bus::contract::expect_refused(uart, 4, u8{0xFF});
}

}  // namespace
}  // namespace vireo::device
