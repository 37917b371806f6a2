#include "device/vga/vga.h"

#include <gtest/gtest.h>

#include "bus/device_contract.h"
#include "bus/manual_executor.h"
#include "device/chipset/line_probe.h"
#include "device/pci/pci_bus.h"

namespace vireo::device {
namespace {

using namespace vga_spec;

constexpr Gpa window{0xA'0000};
constexpr Gpa text_window{0xB'8000};

class VgaTest : public ::testing::Test {
 protected:
  void set(u16 index_port, u8 index, u8 value) { vga.write_port(index_port, 2, u32{value} << 8 | index); }
  void sequencer(u8 index, u8 value) { set(SequencerIndex, index, value); }
  void graphics(u8 index, u8 value) { set(GraphicsIndex, index, value); }
  void crtc(u8 index, u8 value) { set(CrtcIndex, index, value); }
  void attribute(u8 index, u8 value) {
    vga.read_port(Status1, 1);
    vga.write_port(AttributeWrite, 1, index);
    vga.write_port(AttributeWrite, 1, value);
  }
  void show() {
    vga.read_port(Status1, 1);
    vga.write_port(AttributeWrite, 1, VideoEnable);
  }
  void colour(u8 index, u8 red, u8 green, u8 blue) {
    vga.write_port(DacWriteIndex, 1, index);
    for (auto const part : {red, green, blue}) vga.write_port(DacData, 1, part);
  }
  void dispi(u16 index, u16 value) {
    vga.write_port(DispiIndex, 2, index);
    vga.write_port(DispiData, 2, value);
  }
  u32 read_dispi(u16 index) {
    vga.write_port(DispiIndex, 2, index);
    return vga.read_port(DispiData, 2);
  }
  void write(Gpa at, u8 value) { vga.write_mmio(at, 1, value); }
  u8 read(Gpa at) { return static_cast<u8>(vga.read_mmio(at, 1)); }

  /// Mode 3 with 8 dots: 80 by 25 characters of 8 by 16.
  void text_mode() {
    vga.write_port(MiscWrite, 1, ColourPorts | RamEnable);
    sequencer(ClockingMode, EightDots);
    sequencer(MapMask, 3);
    sequencer(MemoryMode, 2);
    graphics(GraphicsMode, HostOddEven);
    graphics(Miscellaneous, 0x0E);
    graphics(BitMask, 0xFF);
    crtc(HorizontalDisplayEnd, 79);
    crtc(Overflow, 0x1F);
    crtc(MaximumScanLine, 0x4F);
    crtc(VerticalDisplayEnd, 0x8F);
    crtc(OffsetRegister, 40);
    crtc(LineCompare, 0xFF);
    crtc(CursorStart, 13);
    crtc(CursorEnd, 14);
    for (auto i = u8{0}; i < 16; ++i) attribute(i, i);
    attribute(PlaneEnable, 15);
    colour(7, 42, 42, 42);
    colour(1, 0, 0, 63);
    show();
  }
  /// All planes, as mode 12h writes them.
  void planar_mode() {
    vga.write_port(MiscWrite, 1, ColourPorts | RamEnable);
    sequencer(MapMask, 15);
    sequencer(MemoryMode, OddEvenOff);
    graphics(Miscellaneous, 0x05);
    graphics(BitMask, 0xFF);
  }
  void print(u32 place, std::string_view text, u8 attribute_byte = 7) {
    for (auto const character : text) {
      vga.write_mmio(text_window + 2 * place++, 2, u32{attribute_byte} << 8 | static_cast<u8>(character));
    }
  }

  bus::ManualExecutor executor;
  std::vector<std::byte> memory = std::vector<std::byte>(Vga::memory_bytes);
  Vga vga{executor, memory, VgaStart::blank};
};

TEST_F(VgaTest, ShowsCharactersOfTextModes) {
  text_mode();
  print(0, "Hello");
  print(80, "World");
  crtc(CursorLow, 85);
  auto const screen = vga.text().value();
  EXPECT_EQ(screen.columns, 80u);
  EXPECT_EQ(screen.rows, 25u);
  EXPECT_TRUE(screen.to_text().starts_with("Hello\nWorld\n"));
  EXPECT_EQ(screen.cursor, 85u);
  EXPECT_EQ(screen.attributes[0], 7);
  EXPECT_EQ(read(text_window + 2), 'e');
}

TEST_F(VgaTest, BeginsInTextModeWhereNoBiosSetsOne) {
  auto ready = Vga{executor, memory, VgaStart::text_mode};
  ready.write_mmio(text_window + 160, 2, 0x0741);
  auto const screen = ready.text().value();
  EXPECT_EQ(screen.columns, 80u);
  EXPECT_EQ(screen.rows, 25u);
  EXPECT_EQ(screen.to_text().substr(0, 2), "\nA");
  EXPECT_EQ(ready.picture().width, 720u);
}

TEST_F(VgaTest, ScrollsByItsStartAddressAndHidesTheCursor) {
  text_mode();
  print(80, "second line");
  crtc(StartAddressLow, 80);
  crtc(CursorStart, CursorOff);
  auto const screen = vga.text().value();
  EXPECT_TRUE(screen.to_text().starts_with("second line\n"));
  EXPECT_FALSE(screen.cursor);
}

TEST_F(VgaTest, DrawsCharactersWithTheFontInPlane2) {
  text_mode();
  sequencer(MapMask, 4);
  sequencer(MemoryMode, 6);
  graphics(GraphicsMode, 0);
  graphics(Miscellaneous, 4);
  write(window + 'X' * 32 + 1, 0x81);
  text_mode();
  print(0, "X", 0x17);
  auto const picture = vga.picture();
  EXPECT_EQ(picture.width, 640u);
  EXPECT_EQ(picture.height, 400u);
  EXPECT_EQ(picture.pixels[640], 0xAAAAAAu);
  EXPECT_EQ(picture.pixels[640 + 1], 0x0000FFu);
  EXPECT_EQ(picture.pixels[640 + 7], 0xAAAAAAu);
  EXPECT_EQ(picture.pixels[0], 0x0000FFu);
}

TEST_F(VgaTest, WritesPlanesThroughMasksAndLatches) {
  planar_mode();
  write(window + 5, 0xFF);
  sequencer(MapMask, 0b0010);
  graphics(BitMask, 0x0F);
  EXPECT_EQ(read(window + 5), 0xFF);  // loads the latches
  write(window + 5, 0x00);
  graphics(ReadMapSelect, 1);
  EXPECT_EQ(read(window + 5), 0xF0);
  graphics(ReadMapSelect, 0);
  EXPECT_EQ(read(window + 5), 0xFF);
}

TEST_F(VgaTest, WriteModesDoWhatTheManualSays) {
  planar_mode();
  graphics(SetReset, 0b0101);
  graphics(EnableSetReset, 0b1111);
  write(window, 0x00);  // mode 0: set/reset wins
  graphics(ReadMapSelect, 2);
  EXPECT_EQ(read(window), 0xFF);
  graphics(EnableSetReset, 0);

  graphics(GraphicsMode, 1);  // copies the latches
  read(window);
  write(window + 9, 0x12);
  EXPECT_EQ(read(window + 9), 0xFF);

  graphics(GraphicsMode, 2);  // the value is a colour
  write(window + 1, 0b1000);
  graphics(ReadMapSelect, 3);
  EXPECT_EQ(read(window + 1), 0xFF);
  EXPECT_EQ(read(window), 0x00);

  graphics(GraphicsMode, 3);  // the value is a mask
  read(window + 2);
  write(window + 2, 0x3C);
  graphics(ReadMapSelect, 0);
  EXPECT_EQ(read(window + 2), 0x3C);
}

TEST_F(VgaTest, CombinesRotatesAndComparesColours) {
  planar_mode();
  write(window, 0xF0);
  graphics(DataRotate, 3 << 3 | 4);  // exclusive or, rotated by 4
  read(window);
  write(window, 0xFF);
  EXPECT_EQ(read(window), 0x0F);
  graphics(GraphicsMode, ReadCompare);
  graphics(ColourCompare, 0b1111);
  graphics(ColourDontCare, 0b1111);
  EXPECT_EQ(read(window), 0x0F);
}

TEST_F(VgaTest, ShowsMode13h) {
  vga.write_port(MiscWrite, 1, ColourPorts | RamEnable);
  sequencer(ClockingMode, EightDots);
  sequencer(MapMask, 15);
  sequencer(MemoryMode, Chain4 | OddEvenOff);
  graphics(GraphicsMode, 0x40);
  graphics(Miscellaneous, 0x05);
  crtc(HorizontalDisplayEnd, 79);
  crtc(Overflow, 0x1F);
  crtc(MaximumScanLine, 0x41);
  crtc(VerticalDisplayEnd, 0x8F);
  crtc(OffsetRegister, 40);
  crtc(LineCompare, 0xFF);
  colour(200, 63, 0, 0);
  show();
  write(window + 320 + 3, 200);
  auto const picture = vga.picture();
  EXPECT_FALSE(vga.text());
  EXPECT_EQ(picture.width, 320u);
  EXPECT_EQ(picture.height, 200u);
  EXPECT_EQ(picture.pixels[320 + 3], 0xFF0000u);
}

TEST_F(VgaTest, ShowsModesOfTheBochsInterface) {
  EXPECT_EQ(read_dispi(DispiId), dispi_version);
  EXPECT_EQ(read_dispi(DispiMemory64K), 256u);
  dispi(DispiXres, 1024);
  dispi(DispiYres, 768);
  dispi(DispiBpp, 32);
  dispi(DispiEnable, DispiEnabled | LinearFrameBuffer);
  vga.write_bar(FrameBuffer, (768 - 1) * 4096 + 1023 * 4, 4, 0x12'3456);
  auto const picture = vga.picture();
  EXPECT_EQ(picture.width, 1024u);
  EXPECT_EQ(picture.height, 768u);
  EXPECT_EQ(picture.pixels.back(), 0x12'3456u);
  EXPECT_EQ(vga.read_bar(Registers, registers_dispi + 2, 2), 1024u);
}

TEST_F(VgaTest, TellsTheMostThatTheBochsInterfaceTakes) {
  dispi(DispiEnable, GetCapabilities);
  EXPECT_EQ(read_dispi(DispiXres), dispi_most_width);
  dispi(DispiEnable, 0);
  dispi(DispiXres, 0xFFFF);
  dispi(DispiYres, 0xFFFF);
  dispi(DispiBpp, 32);
  dispi(DispiEnable, DispiEnabled);
  dispi(DispiVirtualWidth, 0xFFFF);
  dispi(DispiYOffset, 0xFFFF);
  EXPECT_EQ(vga.picture().pixels.size(), std::size_t{dispi_most_width} * dispi_most_height);
}

TEST_F(VgaTest, ProcessorsReachTheFrameBufferWithoutTheDevice) {
  struct Shown final : bus::MemoryWindows {
    void set(bus::WindowLayer, std::vector<memory::GuestMemory::Window> given) override {
      windows = std::move(given);
    }
    std::vector<memory::GuestMemory::Window> windows;
  };
  auto map = bus::AddressMap{};
  auto msi = MsiProbe{};
  auto line = LineProbe{};
  auto shown = Shown{};
  auto bus = PciBus{map, msi, [&](u8) -> bus::IrqLine& { return line; }, &shown};
  bus.plug({2, 0}, vga);

  bus.write_config({2, 0}, 0x10, 4, 0xD000'0000);
  bus.write_config({2, 0}, 0x04, 2, 2);
  ASSERT_EQ(shown.windows.size(), 1u);
  EXPECT_EQ(shown.windows[0].range, (GpaRange{Gpa{0xD000'0000}, Vga::memory_bytes}));
  EXPECT_EQ(shown.windows[0].host, memory.data());
  bus.write_config({2, 0}, 0x10, 4, 0x1000'0000);  // outside of what the bridge forwards
  EXPECT_TRUE(shown.windows.empty());
}

TEST_F(VgaTest, ProtectsTheCrtcsFirstRegisters) {
  vga.write_port(MiscWrite, 1, ColourPorts);
  crtc(HorizontalDisplayEnd, 79);
  crtc(VerticalRetraceEnd, CrtcProtect);
  crtc(HorizontalDisplayEnd, 5);
  crtc(Overflow, 0xFF);
  vga.write_port(CrtcIndex, 1, HorizontalDisplayEnd);
  EXPECT_EQ(vga.read_port(CrtcData, 1), 79u);
  vga.write_port(CrtcIndex, 1, Overflow);
  EXPECT_EQ(vga.read_port(CrtcData, 1), 0x10u);
}

TEST_F(VgaTest, RetraceComesAndGoesWithTheClock) {
  vga.write_port(MiscWrite, 1, ColourPorts);
  auto seen = std::array<int, 2>{};
  for (auto i = 0; i < 2000; ++i) {
    executor.advance(10'000);
    ++seen.at((vga.read_port(Status1, 1) & VerticalRetrace) != 0 ? 1 : 0);
  }
  EXPECT_GT(seen[0], 1900);
  EXPECT_GT(seen[1], 2);
}

TEST_F(VgaTest, AnyRegistersGiveAPicture) {
  auto random = u32{12345};
  auto const next = [&] { return static_cast<u8>((random = random * 1664525 + 1013904223) >> 24); };
  for (auto round = 0; round < 300; ++round) {
    vga.write_port(MiscWrite, 1, next());
    for (auto i = u8{0}; i < 32; ++i) {
      sequencer(i, next());
      graphics(i, next());
      crtc(i, next());
      attribute(i, next());
      vga.write_port(DispiIndex, 2, i);
      vga.write_port(DispiData, 2, u32{next()} << 8 | next());
      vga.write_mmio(window + (u64{next()} << 9), 8, random);
      vga.read_mmio(window + (u64{next()} << 9), 8);
    }
    auto const picture = vga.picture();
    EXPECT_EQ(picture.pixels.size(), std::size_t{picture.width} * picture.height);
    static_cast<void>(vga.text());
  }
}

TEST_F(VgaTest, KeepsTheDeviceContract) {
  bus::contract::expect_device_contract(
      [&] { return std::make_unique<Vga>(executor, memory, VgaStart::blank); },
      [](Vga& device) {
        device.write_port(MiscWrite, 1, 0x63);
        device.write_port(SequencerIndex, 2, 0x0F02);
        device.write_port(AttributeWrite, 1, 3);
        device.write_port(DacWriteIndex, 1, 9);
        device.write_port(DacData, 1, 9);
      });
}

}  // namespace
}  // namespace vireo::device
