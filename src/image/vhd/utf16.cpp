#include "image/vhd/utf16.h"

namespace vireo::image::vhd {
namespace {

constexpr char32_t replacement{0xfffd};

bool is_high(u32 unit) { return unit >= 0xd800 && unit < 0xdc00; }
bool is_low(u32 unit) { return unit >= 0xdc00 && unit < 0xe000; }

void append_utf8(std::string& text, u32 character) {
  auto const tail = [&](unsigned shift) { return static_cast<char>(0x80 | (character >> shift & 0x3f)); };
  if (character < 0x80) {
    text += static_cast<char>(character);
  } else if (character < 0x800) {
    text += {static_cast<char>(0xc0 | character >> 6), tail(0)};
  } else if (character < 0x10000) {
    text += {static_cast<char>(0xe0 | character >> 12), tail(6), tail(0)};
  } else {
    text += {static_cast<char>(0xf0 | character >> 18), tail(12), tail(6), tail(0)};
  }
}

/// Takes one character off the front; nothing when it is damaged.
std::optional<u32> next_character(std::string_view& text) {
  auto const first = static_cast<u8>(text.front());
  auto const length = first < 0x80 ? 1u : first >= 0xf0 ? 4u : first >= 0xe0 ? 3u : first >= 0xc2 ? 2u : 0u;
  if (length == 0 || length > text.size() || first > 0xf4) return std::nullopt;
  auto character = length == 1 ? u32{first} : first & (0x7fu >> length);
  for (auto const each : text.substr(1, length - 1)) {
    if ((static_cast<u8>(each) & 0xc0) != 0x80) return std::nullopt;
    character = character << 6 | (static_cast<u8>(each) & 0x3fu);
  }
  constexpr u32 smallest[]{0, 0, 0x80, 0x800, 0x10000};
  if (character < smallest[length] || character > 0x10ffff || is_high(character) || is_low(character)) {
    return std::nullopt;
  }
  text.remove_prefix(length);
  return character;
}

}  // namespace

std::string utf8_from_utf16(ConstBytes bytes, std::endian order) {
  auto text = std::string{};
  auto const unit_at = [&](u64 at) -> u32 {
    if (at + 2 > bytes.size()) return 0;
    return order == std::endian::big ? load_be<u16>(bytes.data() + at) : load_le<u16>(bytes.data() + at);
  };
  for (auto at = u64{0}; unit_at(at) != 0; at += 2) {
    auto const unit = unit_at(at);
    if (is_high(unit) && is_low(unit_at(at + 2))) {
      append_utf8(text, 0x10000 + ((unit - 0xd800) << 10) + (unit_at(at + 2) - 0xdc00));
      at += 2;
    } else {
      append_utf8(text, is_high(unit) || is_low(unit) ? static_cast<u32>(replacement) : unit);
    }
  }
  return text;
}

std::optional<std::vector<std::byte>> utf16_from_utf8(std::string_view text, std::endian order) {
  auto bytes = std::vector<std::byte>{};
  auto const append = [&](u32 unit) {
    auto const value = static_cast<u16>(unit);
    bytes.resize(bytes.size() + 2);
    auto* const at = bytes.data() + bytes.size() - 2;
    order == std::endian::big ? store_be(at, value) : store_le(at, value);
  };
  while (!text.empty()) {
    auto const character = next_character(text);
    if (!character) return std::nullopt;
    if (*character < 0x10000) {
      append(*character);
    } else {
      append(0xd800 + ((*character - 0x10000) >> 10));
      append(0xdc00 + ((*character - 0x10000) & 0x3ff));
    }
  }
  return bytes;
}

}  // namespace vireo::image::vhd
