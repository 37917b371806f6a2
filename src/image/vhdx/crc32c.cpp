#include "image/vhdx/crc32c.h"

#include <array>

namespace vireo::image::vhdx {
namespace {

constexpr u32 polynomial{0x82f63b78};  // reflected

/// tables[n][b]: what byte b does to the sum when n more bytes follow it in a word of eight.
constexpr auto tables = [] {
  auto result = std::array<std::array<u32, 256>, 8>{};
  for (auto byte = 0u; byte < 256; ++byte) {
    auto sum = byte;
    for (auto bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? polynomial : 0);
    result[0][byte] = sum;
  }
  for (auto byte = 0u; byte < 256; ++byte) {
    for (auto more = 1u; more < 8; ++more) {
      result[more][byte] = (result[more - 1][byte] >> 8) ^ result[0][result[more - 1][byte] & 0xff];
    }
  }
  return result;
}();

u32 add(u32 sum, ConstBytes bytes) {
  while (bytes.size() >= 8) {
    auto const word = load_le<u64>(bytes.data()) ^ sum;
    sum = 0;
    for (auto at = 0u; at < 8; ++at) sum ^= tables[7 - at][(word >> (at * 8)) & 0xff];
    bytes = bytes.subspan(8);
  }
  for (auto const byte : bytes) sum = (sum >> 8) ^ tables[0][(sum ^ std::to_integer<u32>(byte)) & 0xff];
  return sum;
}

}  // namespace

u32 crc32c(ConstBytes bytes, u64 hole) {
  static constexpr auto zeroes = std::array<std::byte, 4>{};
  auto sum = add(~0u, bytes.first(hole));
  sum = add(sum, zeroes);
  return ~add(sum, bytes.subspan(hole + 4));
}

}  // namespace vireo::image::vhdx
