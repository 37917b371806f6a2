#include "vocab/base64.h"

#include <algorithm>

namespace vireo {
namespace {

constexpr std::string_view alphabet{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"};

}  // namespace

std::string to_base64(std::span<u8 const> bytes) {
  auto text = std::string{};
  for (auto at = std::size_t{0}; at < bytes.size(); at += 3) {
    auto const count = std::min<std::size_t>(3, bytes.size() - at);
    auto group = u32{0};
    for (auto i = std::size_t{0}; i < 3; ++i) group = group << 8 | (i < count ? bytes[at + i] : 0U);
    for (auto i = std::size_t{0}; i < 4; ++i) text += i <= count ? alphabet[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

Result<std::vector<u8>> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return fail(Errc::invalid, "base64: the length is no multiple of four");
  auto bytes = std::vector<u8>{};
  for (auto at = std::size_t{0}; at < text.size(); at += 4) {
    auto group = u32{0};
    auto count = std::size_t{3};
    for (auto i = std::size_t{0}; i < 4; ++i) {
      auto const is_padding = text[at + i] == '=' && at + 4 == text.size() && i >= 2 && text.back() == '=';
      auto const value = is_padding ? 0 : alphabet.find(text[at + i]);
      if (value == std::string_view::npos)
        return fail(Errc::invalid, "base64: a character that does not belong");
      if (is_padding) count = std::min(count, i - 1);
      group = group << 6 | static_cast<u32>(value);
    }
    for (auto i = std::size_t{0}; i < count; ++i) bytes.push_back(static_cast<u8>(group >> (16 - 8 * i)));
  }
  return bytes;
}

}  // namespace vireo
