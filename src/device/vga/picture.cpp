#include <algorithm>
#include <array>

#include "device/vga/vga.h"

// What the registers make of video memory: characters or a picture.
namespace vireo::device {

using namespace vga_spec;

namespace {

constexpr u32 font_bytes_per_character{32};
constexpr u32 most_columns{256}, most_lines{2048};

/// Where the sequencer's character map register says that a font lies in plane 2 (2-52): map 0..7.
u32 font_offset(u8 map) { return (map & 3U) * 0x4000 + (map >> 2 & 1U) * 0x2000; }
u8 font_map(u8 character_map, bool second) {
  return second ? static_cast<u8>((character_map >> 2 & 3) | (character_map >> 3 & 4))
                : static_cast<u8>((character_map & 3) | (character_map >> 2 & 4));
}

u32 rgb(u32 red, u32 green, u32 blue) { return red << 16 | green << 8 | blue; }
u32 widen(u32 value, u32 bits) { return value * 255 / ((1U << bits) - 1); }

}  // namespace

u8 Vga::memory_at(u64 offset) const { return std::to_integer<u8>(memory_[offset % memory_.size()]); }

u32 Vga::lines() const {
  auto const overflow = state_.crtc[Overflow];
  auto const end = state_.crtc[VerticalDisplayEnd] | (overflow & 2U) << 7 | (overflow & 0x40U) << 3;
  return std::min(end + 1, most_lines);
}

/// A palette entry: 6 bits a colour, or 8 when the Bochs interface asks for them.
u32 Vga::colour(u8 index) const {
  auto const& entry = state_.palette[index & state_.dac_mask];
  if ((state_.dispi[DispiEnable] & Dac8Bit) != 0) return rgb(entry.red, entry.green, entry.blue);
  return rgb(widen(entry.red & 63U, 6), widen(entry.green & 63U, 6), widen(entry.blue & 63U, 6));
}

/// Four bits through the attribute controller's palette (2-85 to 2-92).
u32 Vga::attribute_colour(u8 pixel) const {
  auto const entry = state_.attribute[pixel & state_.attribute[PlaneEnable] & 15];
  auto const select = state_.attribute[ColourSelect];
  auto const high = static_cast<u8>((select & 0b1100) << 4);
  if ((state_.attribute[AttributeMode] & PaletteHigh) == 0) return colour(high | (entry & 0x3F));
  return colour(high | static_cast<u8>((select & 0b11) << 4) | (entry & 15));
}

Vga::Mode Vga::mode() const {
  auto const& crtc = state_.crtc;
  auto result = Mode{};
  if (dispi_on()) {
    auto const& dispi = state_.dispi;
    auto const bits = dispi[DispiBpp] == 15 ? 16U : u32{dispi[DispiBpp]};
    result.kind = bits == 4 ? Mode::Kind::planar : bits == 8 ? Mode::Kind::bytes : Mode::Kind::direct;
    result.bits = dispi[DispiBpp];
    result.width = dispi[DispiXres];
    result.height = dispi[DispiYres];
    result.stride = dispi_stride() * (bits == 4 ? u64{4} / 4 : u64{1});
    result.start = result.stride * dispi[DispiYOffset] + dispi[DispiXOffset] * u64{bits} / 8;
    return result;
  }
  auto const columns = std::min(crtc[HorizontalDisplayEnd] + 1U, most_columns);
  auto const dots = (state_.sequencer[ClockingMode] & EightDots) != 0 ? 8U : 9U;
  auto const start = static_cast<u32>(crtc[StartAddressHigh] << 8 | crtc[StartAddressLow]);
  auto const line_compare =
      crtc[LineCompare] | (crtc[Overflow] & 0x10U) << 4 | (crtc[MaximumScanLine] & 0x40U) << 3;
  result.height = lines();
  result.split = line_compare + 1;
  result.start = u64{start} * 4;
  result.stride = u64{crtc[OffsetRegister]} * 8;
  if ((state_.graphics[Miscellaneous] & GraphicsNotText) == 0) {
    result.kind = Mode::Kind::text;
    result.width = columns * dots;
    return result;
  }
  auto const shift = (state_.graphics[GraphicsMode] & ShiftMode) >> 5;
  result.kind = shift >= 2 ? Mode::Kind::bytes : shift == 1 ? Mode::Kind::two_bit : Mode::Kind::planar;
  result.width = columns * 8 / (result.kind == Mode::Kind::bytes ? 2 : 1);
  result.repeat_y = ((crtc[MaximumScanLine] & 31U) + 1) * ((crtc[MaximumScanLine] & DoubleScan) != 0 ? 2U : 1U);
  result.height /= result.repeat_y;
  return result;
}

std::optional<display::TextScreen> Vga::text() const {
  auto const shown = mode();
  if (shown.kind != Mode::Kind::text) return std::nullopt;
  auto const& crtc = state_.crtc;
  auto screen = display::TextScreen{};
  screen.columns = std::min(crtc[HorizontalDisplayEnd] + 1U, most_columns);
  screen.rows = shown.height / ((crtc[MaximumScanLine] & 31U) + 1);
  for (auto row = u32{0}; row < screen.rows; ++row) {
    auto const line = shown.start + row * shown.stride;
    for (auto column = u32{0}; column < screen.columns; ++column) {
      screen.characters.push_back(memory_at(line + u64{column} * 4));
      screen.attributes.push_back(memory_at(line + u64{column} * 4 + 1));
    }
  }
  auto const cursor = static_cast<u32>(crtc[CursorHigh] << 8 | crtc[CursorLow]);
  auto const start = static_cast<u32>(shown.start / 4);
  auto const is_on =
      (crtc[CursorStart] & CursorOff) == 0 && cursor >= start && cursor - start < screen.characters.size();
  if (is_on) screen.cursor = cursor - start;
  return screen;
}

display::Picture Vga::picture() const {
  auto const shown = mode();
  auto picture = display::Picture{.width = shown.width, .height = shown.height, .pixels = {}};
  picture.pixels.resize(std::size_t{shown.width} * shown.height);
  auto const is_off = !dispi_on() && ((state_.sequencer[ClockingMode] & ScreenOff) != 0 ||
                                      (state_.attribute_index & VideoEnable) == 0);
  if (is_off) return picture;
  if (shown.kind == Mode::Kind::text) {
    draw_text(picture);
    return picture;
  }
  for (auto line = u32{0}; line < shown.height; ++line) {
    draw_line(shown, line, std::span{picture.pixels}.subspan(std::size_t{line} * shown.width, shown.width));
  }
  return picture;
}

void Vga::draw_text(display::Picture& picture) const {
  auto const screen = *text();
  auto const& crtc = state_.crtc;
  auto const dots = (state_.sequencer[ClockingMode] & EightDots) != 0 ? 8U : 9U;
  auto const height = (crtc[MaximumScanLine] & 31U) + 1;
  auto const blinks = (state_.attribute[AttributeMode] & Blink) != 0;
  for (auto i = u32{0}; i < screen.characters.size(); ++i) {
    auto const character = screen.characters[i];
    auto const attribute = screen.attributes[i];
    auto const second = (attribute & 8) == 0;  // bit 3 clear: map B, in bits 4, 1, 0
    auto const font = font_offset(font_map(state_.sequencer[CharacterMap], !second));
    auto const front = attribute_colour(attribute & 15);
    auto const back = attribute_colour(static_cast<u8>(attribute >> 4 & (blinks ? 7 : 15)));
    for (auto line = u32{0}; line < height; ++line) {
      auto const y = i / screen.columns * height + line;
      if (y >= picture.height) break;
      auto glyph = memory_at(u64{4} * (font + character * font_bytes_per_character + line) + 2);
      auto const in_cursor =
          screen.cursor == i && line >= (crtc[CursorStart] & 31U) && line <= (crtc[CursorEnd] & 31U);
      if (in_cursor) glyph = 0xFF;
      auto* const pixels = &picture.pixels[std::size_t{y} * picture.width + i % screen.columns * dots];
      for (auto dot = u32{0}; dot < dots; ++dot) {
        // The ninth dot repeats the eighth for line-drawing characters only.
        auto const repeats = character >= 0xC0 && character <= 0xDF;
        auto const lit = dot < 8 ? (glyph >> (7 - dot) & 1) != 0 : (repeats || in_cursor) && (glyph & 1) != 0;
        pixels[dot] = lit ? front : back;
      }
    }
  }
}

void Vga::draw_line(Mode const& mode, u32 line, std::span<u32> pixels) const {
  auto const scan_line = line * mode.repeat_y;
  auto const start = scan_line >= mode.split ? (line - mode.split / mode.repeat_y) * mode.stride
                                             : mode.start + line * mode.stride;
  for (auto x = u32{0}; x < pixels.size(); ++x) {
    switch (mode.kind) {
      case Mode::Kind::bytes: {
        pixels[x] = colour(memory_at(start + x));
        break;
      }
      case Mode::Kind::planar: {
        auto const at = start + u64{x / 8} * 4;
        auto pixel = u32{0};
        for (auto plane = u32{0}; plane < 4; ++plane)
          pixel |= (memory_at(at + plane) >> (7 - x % 8) & 1U) << plane;
        pixels[x] = attribute_colour(static_cast<u8>(pixel));
        break;
      }
      case Mode::Kind::two_bit: {  // CGA: lines in two banks of 8 KiB, bytes by turns in planes 0 and 1
        auto const offset =
            mode.start + (line & 1) * u64{0x2000} * 2 + (line / 2) * mode.stride + u64{x / 8} * 4;
        auto const byte = memory_at(offset + (x / 4 & 1));
        pixels[x] = attribute_colour(static_cast<u8>(byte >> (6 - x % 4 * 2) & 3));
        break;
      }
      case Mode::Kind::direct: {
        auto const bytes = (mode.bits + 7) / 8;
        auto value = u32{0};
        for (auto i = u32{0}; i < bytes; ++i) value |= u32{memory_at(start + u64{x} * bytes + i)} << (8 * i);
        if (mode.bits == 15)
          value = rgb(widen(value >> 10 & 31, 5), widen(value >> 5 & 31, 5), widen(value & 31, 5));
        if (mode.bits == 16)
          value = rgb(widen(value >> 11, 5), widen(value >> 5 & 63, 6), widen(value & 31, 5));
        pixels[x] = value & 0xFF'FFFF;
        break;
      }
      case Mode::Kind::text: break;
    }
  }
}

}  // namespace vireo::device
