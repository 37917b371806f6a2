#include "device/vga/vga.h"

// How processors see video memory at A0000: planes, latches, write modes (IBM VGA manual, 2-58 to 2-69).
namespace vireo::device {

using namespace vga_spec;

namespace {

constexpr u64 bank_bytes{64 * KiB};

u32 in_all_planes(u8 byte) { return byte * 0x0101'0101U; }
/// A byte of ones for each plane whose bit is set.
u32 plane_mask(u8 planes) {
  auto mask = u32{0};
  for (auto plane = 0; plane < 4; ++plane) mask |= (planes >> plane & 1) != 0 ? 0xFFU << (8 * plane) : 0;
  return mask;
}
u8 rotate_right(u8 value, u8 count) { return static_cast<u8>((value >> count) | (value << (8 - count) % 8)); }
u32 combine(u8 operation, u32 value, u32 latch) {
  switch (operation & 3) {
    case 1: return value & latch;
    case 2: return value | latch;
    case 3: return value ^ latch;
    default: return value;
  }
}

}  // namespace

/// Where the miscellaneous register shows memory (2-64), with the bank of the Bochs interface.
Vga::Place Vga::place_of(Gpa at) const {
  struct Window {
    u64 start, bytes;
  };
  static constexpr auto windows =
      std::array<Window, 4>{{{0, 0x2'0000}, {0, 0x1'0000}, {0x1'0000, 0x8000}, {0x1'8000, 0x8000}}};
  auto const& window = windows[(state_.graphics[Miscellaneous] & MemoryMap) >> 2];
  auto const offset = at - legacy_range.start;
  if (offset < window.start || offset - window.start >= window.bytes) return {};
  auto const bank = dispi_on() ? state_.dispi[DispiBank] * bank_bytes : 0;
  return {offset - window.start + bank, true};
}

/// Past its end memory begins anew.
u32& Vga::dword(u64 index) {
  // SOUND: video memory is a whole number of pages and aligned to one.
  return reinterpret_cast<u32*>(memory_.data())[index % (memory_.size() / 4)];
}

u64 Vga::read_mmio(Gpa at, u8 width) {
  auto value = u64{0};
  for (auto i = u8{0}; i < width; ++i) value |= u64{read_byte(at + i)} << (8 * i);
  return value;
}

void Vga::write_mmio(Gpa at, u8 width, u64 value) {
  for (auto i = u8{0}; i < width; ++i) write_byte(at + i, static_cast<u8>(value >> (8 * i)));
}

u8 Vga::read_byte(Gpa at) {
  auto const [offset, inside] = place_of(at);
  if (!inside) return 0xFF;
  auto const& graphics = state_.graphics;
  if ((state_.sequencer[MemoryMode] & Chain4) != 0) {
    return std::to_integer<u8>(memory_[offset % memory_.size()]);
  }
  if ((graphics[GraphicsMode] & HostOddEven) != 0) {
    auto const plane = (graphics[ReadMapSelect] & 2U) | (offset & 1);
    return static_cast<u8>(dword(offset >> 1) >> (8 * plane));
  }
  state_.latch = dword(offset);
  if ((graphics[GraphicsMode] & ReadCompare) == 0) {
    return static_cast<u8>(state_.latch >> (8 * (graphics[ReadMapSelect] & 3)));
  }
  auto const cares = plane_mask(graphics[ColourDontCare]);
  auto const differs = (state_.latch ^ plane_mask(graphics[ColourCompare])) & cares;
  return static_cast<u8>(~(differs | differs >> 8 | differs >> 16 | differs >> 24));
}

void Vga::write_byte(Gpa at, u8 value) {
  auto const [offset, inside] = place_of(at);
  if (!inside) return;
  auto const planes = state_.sequencer[MapMask];
  if ((state_.sequencer[MemoryMode] & Chain4) != 0) {
    if ((planes >> (offset & 3) & 1) != 0) memory_[offset % memory_.size()] = std::byte{value};
    return;
  }
  if ((state_.sequencer[MemoryMode] & OddEvenOff) == 0) {
    auto const parity = static_cast<u8>((offset & 1) != 0 ? 0b1010 : 0b0101);
    return write_planes(offset >> 1, value, planes & parity);
  }
  write_planes(offset, value, planes);
}

void Vga::write_planes(u64 offset, u8 value, u8 planes) {
  auto const& graphics = state_.graphics;
  auto const rotated = rotate_right(value, graphics[DataRotate] & 7);
  auto const operation = static_cast<u8>(graphics[DataRotate] >> 3);
  auto const set_reset = plane_mask(graphics[SetReset]);
  auto bits = in_all_planes(graphics[BitMask]);
  auto data = u32{0};
  switch (graphics[GraphicsMode] & WriteMode) {
    case 0: {
      auto const enabled = plane_mask(graphics[EnableSetReset]);
      data = combine(operation, (in_all_planes(rotated) & ~enabled) | (set_reset & enabled), state_.latch);
      break;
    }
    case 1:
      data = state_.latch;
      bits = ~u32{0};
      break;
    case 2: data = combine(operation, plane_mask(value), state_.latch); break;
    default:
      bits &= in_all_planes(rotated);
      data = set_reset;
      break;
  }
  auto const result = (data & bits) | (state_.latch & ~bits);
  auto const mask = plane_mask(planes);
  auto& target = dword(offset);
  target = (target & ~mask) | (result & mask);
}

}  // namespace vireo::device
