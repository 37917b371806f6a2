#pragma once

#include <compare>

#include "vocab/integers.h"

namespace vireo {

/// A number that does not mix with others: Gpa{x}.value gives it back, + and - take plain distances.
template <typename Tag, typename T = u64>
struct StrongNumber {
  T value{};

  constexpr StrongNumber() = default;
  constexpr explicit StrongNumber(T v) : value{v} {}
  constexpr auto operator<=>(StrongNumber const&) const = default;
  constexpr StrongNumber operator+(T distance) const { return StrongNumber{static_cast<T>(value + distance)}; }
  constexpr StrongNumber operator-(T distance) const { return StrongNumber{static_cast<T>(value - distance)}; }
  constexpr T operator-(StrongNumber other) const { return static_cast<T>(value - other.value); }
};

using Gpa = StrongNumber<struct GpaTag>;             // guest-physical address, bytes
using Gva = StrongNumber<struct GvaTag>;             // guest-linear address, bytes
using Lba = StrongNumber<struct LbaTag>;             // disk sector number
using VcpuId = StrongNumber<struct VcpuIdTag, u32>;  // also the initial APIC id

/// `length` bytes from `start`; never wraps around the end of the address space.
template <typename Number>
struct Range {
  Number start;
  u64 length{};

  constexpr bool contains(Number at, u64 bytes = 1) const {
    return at >= start && bytes <= length && at - start <= length - bytes;
  }
  constexpr bool overlaps(Range const& other) const {
    return start < other.start ? other.start - start < length : start - other.start < other.length;
  }
  constexpr Number end() const { return start + length; }
  constexpr bool operator==(Range const&) const = default;
};
using GpaRange = Range<Gpa>;

inline constexpr u64 page_size{4096};
inline constexpr u64 KiB{1024};
inline constexpr u64 MiB{1024 * KiB};
inline constexpr u64 GiB{1024 * MiB};

constexpr u64 align_down(u64 value, u64 alignment) { return value & ~(alignment - 1); }
constexpr u64 align_up(u64 value, u64 alignment) { return align_down(value + alignment - 1, alignment); }

}  // namespace vireo
