#pragma once

#include <array>
#include <atomic>
#include <optional>

#include "image/testing/random_disk.h"

namespace vireo::image::testing {

/// A disk whose sectors say which they are and how new, and what a guest knows of it: for memory that is shared
/// with a process that will be killed.
struct SectorAges {
  static constexpr u64 bytes{512}, count{4096};
  static constexpr u64 disk_bytes{count * bytes};

  std::array<std::atomic<u32>, count> started{};  // no sector is newer
  std::array<std::atomic<u32>, count> flushed{};  // or older

  static Shadow content(u64 first, u64 sectors, u32 age) {
    auto data = Shadow(sectors * bytes);
    for (auto at = u64{0}; at < data.size(); at += 8)
      store_le(data.data() + at, (first + at / bytes + 1) << 32 | age);
    return data;
  }
  /// Nothing when it is another sector's, or torn.
  static std::optional<u32> age_of(ConstBytes data, u64 number) {
    auto const first = load_le<u64>(data.data());
    for (auto at = u64{0}; at < bytes; at += 8) {
      if (load_le<u64>(data.data() + at) != first) return std::nullopt;
    }
    if (first == 0) return 0;
    return first >> 32 == number + 1 ? std::optional{static_cast<u32>(first)} : std::nullopt;
  }

  Result<> write(BlockImage& disk, u64 first, u64 sectors, u32 age) {
    for (auto each = first; each < first + sectors; ++each) started[each] = age;
    return disk.write(first * bytes, content(first, sectors, age));
  }
  /// Everything that this thread wrote to its part was flushed.
  void flushed_up_to_now(u64 first, u64 end) {
    for (auto each = first; each < end; ++each) flushed[each] = started[each].load();
  }
  void expect_allows(ConstBytes disk) const {
    for (auto number = u64{0}; number < count && !::testing::Test::HasFailure(); ++number) {
      auto const age = age_of(disk.subspan(number * bytes, bytes), number);
      EXPECT_TRUE(age) << "sector " << number << " holds another's data";
      EXPECT_GE(age.value_or(0), flushed[number]) << "sector " << number << " lost what was flushed";
      EXPECT_LE(age.value_or(0), started[number]) << "sector " << number;
    }
  }
};

}  // namespace vireo::image::testing
