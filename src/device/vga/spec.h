#pragma once

#include "vocab/integers.h"

/// IBM's VGA as "IBM VGA/XGA Technical Reference Manual" (1992), chapter 2, describes its registers, and the
/// Bochs display interface ("dispi") of Bochs and QEMU (QEMU docs/specs/standard-vga).
namespace vireo::device::vga_spec {

enum Port : u16 {
  CrtcIndexMono = 0x3B4,
  CrtcDataMono = 0x3B5,
  Status1Mono = 0x3BA,
  AttributeWrite = 0x3C0,  // index and data in turns
  AttributeRead = 0x3C1,
  MiscWrite = 0x3C2,  // read: input status 0
  SequencerIndex = 0x3C4,
  SequencerData = 0x3C5,
  DacMask = 0x3C6,
  DacReadIndex = 0x3C7,
  DacWriteIndex = 0x3C8,
  DacData = 0x3C9,
  FeatureRead = 0x3CA,
  MiscRead = 0x3CC,
  GraphicsIndex = 0x3CE,
  GraphicsData = 0x3CF,
  CrtcIndex = 0x3D4,
  CrtcData = 0x3D5,
  Status1 = 0x3DA,
  DispiIndex = 0x1CE,
  DispiData = 0x1CF,
};

enum MiscBit : u8 { ColourPorts = 1 << 0, RamEnable = 1 << 1 };

enum Sequencer : u8 { ClockingMode = 1, MapMask = 2, CharacterMap = 3, MemoryMode = 4, sequencer_count = 5 };
enum ClockingBit : u8 { EightDots = 1 << 0, DotClockHalf = 1 << 3, ScreenOff = 1 << 5 };
enum MemoryModeBit : u8 { OddEvenOff = 1 << 2, Chain4 = 1 << 3 };

enum Graphics : u8 {
  SetReset,
  EnableSetReset,
  ColourCompare,
  DataRotate,
  ReadMapSelect,
  GraphicsMode,
  Miscellaneous,
  ColourDontCare,
  BitMask,
  graphics_count
};
enum GraphicsModeBit : u8 { WriteMode = 3, ReadCompare = 1 << 3, HostOddEven = 1 << 4, ShiftMode = 3 << 5 };
enum MiscellaneousBit : u8 { GraphicsNotText = 1 << 0, MemoryMap = 3 << 2 };

enum Crtc : u8 {
  HorizontalDisplayEnd = 0x01,
  Overflow = 0x07,
  PresetRowScan = 0x08,
  MaximumScanLine = 0x09,
  CursorStart = 0x0A,
  CursorEnd = 0x0B,
  StartAddressHigh = 0x0C,
  StartAddressLow = 0x0D,
  CursorHigh = 0x0E,
  CursorLow = 0x0F,
  VerticalRetraceEnd = 0x11,
  VerticalDisplayEnd = 0x12,
  OffsetRegister = 0x13,
  CrtcMode = 0x17,
  LineCompare = 0x18,
  crtc_count = 0x19,
};
enum CrtcBit : u8 { CrtcProtect = 1 << 7, DoubleScan = 1 << 7, CursorOff = 1 << 5 };

enum Attribute : u8 {
  AttributeMode = 0x10,
  Overscan = 0x11,
  PlaneEnable = 0x12,
  ColourSelect = 0x14,
  attribute_count = 0x15
};
enum AttributeBit : u8 { VideoEnable = 1 << 5, Blink = 1 << 3, PaletteHigh = 1 << 7, PixelWidth = 1 << 6 };

enum Status1Bit : u8 { DisplayOff = 1 << 0, VerticalRetrace = 1 << 3 };

enum Dispi : u8 {
  DispiId,
  DispiXres,
  DispiYres,
  DispiBpp,
  DispiEnable,
  DispiBank,
  DispiVirtualWidth,
  DispiVirtualHeight,
  DispiXOffset,
  DispiYOffset,
  DispiMemory64K,
  dispi_count
};
inline constexpr u16 dispi_version{0xB0C5};
enum DispiEnableBit : u16 {
  DispiEnabled = 1,
  GetCapabilities = 2,
  Dac8Bit = 0x20,
  LinearFrameBuffer = 0x40,
  NoClear = 0x80
};
inline constexpr u16 dispi_most_width{2560}, dispi_most_height{1600};

// The PCI function, as guests' drivers know it.
inline constexpr u16 pci_vendor{0x1234}, pci_device{0x1111};
inline constexpr u32 class_vga{0x03'00'00};
enum Bar : u8 { FrameBuffer = 0, Registers = 2 };
inline constexpr u64 registers_bytes{0x1000};
inline constexpr u64 registers_vga{0x400}, registers_vga_end{0x420};  // ports 3C0 to 3DF
inline constexpr u64 registers_dispi{0x500}, registers_dispi_end{0x516};

}  // namespace vireo::device::vga_spec
