#include "image/blocks/sector_bitmap.h"

namespace vireo::image::blocks {

bool sector_present(ConstBytes bitmap, u64 number) {
  return (std::to_integer<unsigned>(bitmap[number / 8]) & (0x80u >> number % 8)) != 0;
}

u64 equal_sectors(ConstBytes bitmap, u64 first, u64 most) {
  auto const present = sector_present(bitmap, first);
  auto const whole = present ? std::byte{0xff} : std::byte{0};
  auto count = u64{1};
  while (count < most) {
    auto const next = first + count;
    if (next % 8 == 0 && most - count >= 8 && bitmap[next / 8] == whole) {
      count += 8;
      continue;
    }
    if (sector_present(bitmap, next) != present) break;
    ++count;
  }
  return count;
}

void mark_present(Bytes bitmap, u64 first, u64 count) {
  for (auto number = first; number < first + count; ++number) {
    bitmap[number / 8] |= static_cast<std::byte>(0x80u >> number % 8);
  }
}

}  // namespace vireo::image::blocks
