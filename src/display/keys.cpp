#include "display/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "vocab/units.h"

namespace vireo::display {
namespace {

constexpr u8 released{0x80}, extended{0xE0};

struct Key {
  std::string_view name;
  u8 code;
  bool is_extended{};
};

// Scan code set 1 (IBM PS/2 Hardware Interface Technical Reference, keyboards).
constexpr auto keys = std::to_array<Key>({
    {"esc", 0x01},
    {"1", 0x02},
    {"2", 0x03},
    {"3", 0x04},
    {"4", 0x05},
    {"5", 0x06},
    {"6", 0x07},
    {"7", 0x08},
    {"8", 0x09},
    {"9", 0x0A},
    {"0", 0x0B},
    {"-", 0x0C},
    {"=", 0x0D},
    {"backspace", 0x0E},
    {"tab", 0x0F},
    {"q", 0x10},
    {"w", 0x11},
    {"e", 0x12},
    {"r", 0x13},
    {"t", 0x14},
    {"y", 0x15},
    {"u", 0x16},
    {"i", 0x17},
    {"o", 0x18},
    {"p", 0x19},
    {"[", 0x1A},
    {"]", 0x1B},
    {"enter", 0x1C},
    {"ctrl", 0x1D},
    {"a", 0x1E},
    {"s", 0x1F},
    {"d", 0x20},
    {"f", 0x21},
    {"g", 0x22},
    {"h", 0x23},
    {"j", 0x24},
    {"k", 0x25},
    {"l", 0x26},
    {";", 0x27},
    {"'", 0x28},
    {"`", 0x29},
    {"shift", 0x2A},
    {"\\", 0x2B},
    {"z", 0x2C},
    {"x", 0x2D},
    {"c", 0x2E},
    {"v", 0x2F},
    {"b", 0x30},
    {"n", 0x31},
    {"m", 0x32},
    {",", 0x33},
    {".", 0x34},
    {"/", 0x35},
    {"right-shift", 0x36},
    {"alt", 0x38},
    {"space", 0x39},
    {"caps-lock", 0x3A},
    {"f1", 0x3B},
    {"f2", 0x3C},
    {"f3", 0x3D},
    {"f4", 0x3E},
    {"f5", 0x3F},
    {"f6", 0x40},
    {"f7", 0x41},
    {"f8", 0x42},
    {"f9", 0x43},
    {"f10", 0x44},
    {"num-lock", 0x45},
    {"scroll-lock", 0x46},
    {"f11", 0x57},
    {"f12", 0x58},
    {"right-ctrl", 0x1D, true},
    {"right-alt", 0x38, true},
    {"home", 0x47, true},
    {"up", 0x48, true},
    {"page-up", 0x49, true},
    {"left", 0x4B, true},
    {"right", 0x4D, true},
    {"end", 0x4F, true},
    {"down", 0x50, true},
    {"page-down", 0x51, true},
    {"insert", 0x52, true},
    {"delete", 0x53, true},
    {"super", 0x5B, true},
    {"menu", 0x5D, true},
});

constexpr std::string_view shifted{"~!@#$%^&*()_+{}|:\"<>?"};
constexpr std::string_view plain{"`1234567890-=[]\\;',./"};

Key const* find_key(std::string_view name) {
  auto const found = std::ranges::find(keys, name, &Key::name);
  return found == keys.end() ? nullptr : &*found;
}

void append(ScanCodes& codes, Key const& key, u8 release) {
  if (key.is_extended) codes.push_back(extended);
  codes.push_back(static_cast<u8>(key.code | release));
}

/// The keys that give a character.
std::optional<std::vector<std::string>> keys_of(char character) {
  if (character == '\n' || character == '\r') return {{"enter"}};
  if (character == '\t') return {{"tab"}};
  if (character == ' ') return {{"space"}};
  if (character >= 'A' && character <= 'Z')
    return {{"shift", std::string(1, static_cast<char>(character + 32))}};
  if (auto const at = shifted.find(character); at != std::string_view::npos) {
    return {{"shift", std::string{plain.substr(at, 1)}}};
  }
  if (find_key(std::string_view{&character, 1}) != nullptr) return {{std::string(1, character)}};
  return std::nullopt;
}

}  // namespace

Result<ScanCodes> press(std::vector<std::string> const& names) {
  auto pressed = std::vector<Key const*>{};
  for (auto const& name : names) {
    auto const* const key = find_key(name);
    if (key == nullptr) {
      auto known = std::vector<std::string_view>{};
      for (auto const& each : keys) known.push_back(each.name);
      auto const hint = nearest(name, known);
      return fail(Errc::invalid, fmt::format("unknown key '{}'{}", name,
                                             hint.empty() ? "" : fmt::format("; did you mean '{}'?", hint)));
    }
    pressed.push_back(key);
  }
  auto codes = ScanCodes{};
  for (auto const* const key : pressed) append(codes, *key, 0);
  for (auto at = pressed.rbegin(); at != pressed.rend(); ++at) append(codes, **at, released);
  return codes;
}

Result<std::vector<ScanCodes>> type(std::string_view text) {
  auto all = std::vector<ScanCodes>{};
  for (auto const character : text) {
    auto const names = keys_of(character);
    if (!names) {
      return fail(Errc::invalid, fmt::format("byte {:#04x} of the text is on no key of a US keyboard",
                                             static_cast<u8>(character)));
    }
    all.push_back(TRY(press(*names)));
  }
  return all;
}

}  // namespace vireo::display
